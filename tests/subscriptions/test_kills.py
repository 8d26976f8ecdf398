"""Whoever follows a server that is killed misses nothing and sees nothing twice. More: scripts/live-kills."""

from pathlib import Path
from random import Random

from tests.subscriptions.kills import SERVERS, run_kills
from tests.subscriptions.outages import RestartedDatabase


async def test_everybody_is_told_of_each_change_once(database_url: str, tmp_path: Path) -> None:
    database = RestartedDatabase(database_url, restarts=[])

    figures = await run_kills(database, tmp_path, kills=SERVERS, writers=2, subscribers_each=1, randomness=Random(3))

    assert figures.log_errors == []
    assert figures.mismatched_writes == 0
    assert [each for each in figures.subscribers if not each.is_clean] == []
    assert all(each.received for each in figures.subscribers)
    assert any(each.reconnects for each in figures.subscribers)
