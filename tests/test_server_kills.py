"""A server killed under its writers: what it acknowledged is there, and once. More kills: scripts/kills."""

from dataclasses import replace
from pathlib import Path
from random import Random

from tests.server_kills import KillResults, run_kills


def test_whatever_was_acknowledged_is_there_once(database_url: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()

    figures = run_kills(database_url, logs, kills=3, writers=4, retries=40, randomness=Random(3))

    assert figures.acknowledged > 0
    assert figures.repeated > 0
    assert replace(figures, acknowledged=0, repeated=0) == KillResults(
        acknowledged=0, repeated=0, kills=3, lost=0, duplicates=0, problems=0
    )
