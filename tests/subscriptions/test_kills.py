"""Whoever follows a server that is killed misses nothing and sees nothing twice. More: scripts/live-kills."""

from pathlib import Path
from random import Random

from tests.subscriptions.kills import SERVERS, run
from tests.subscriptions.outages import RestartedDatabase


async def test_everybody_is_told_of_each_change_once(database_url: str, tmp_path: Path) -> None:
    database = RestartedDatabase(database_url, restarts=[])

    figures = await run(database, tmp_path, kills=SERVERS, writers=2, each=1, randomness=Random(3))

    assert figures.mistakes == []
    assert figures.wrong == 0
    assert [each for each in figures.followed if not each.is_clean] == []
    assert all(each.told for each in figures.followed)
    assert any(each.came_back for each in figures.followed)
