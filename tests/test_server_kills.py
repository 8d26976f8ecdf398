"""A short run of `scripts/kills`: writes to a server that is killed repeatedly."""

from dataclasses import replace
from pathlib import Path
from random import Random

from tests.server_kills import KillResults, run_kills


def test_acknowledged_writes_survive_kills_and_take_effect_once(database_url: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()

    results = run_kills(database_url, logs, kills=3, writers=4, retries=40, randomness=Random(3))

    assert results.acknowledged > 0
    assert results.repeated > 0
    assert replace(results, acknowledged=0, repeated=0) == KillResults(
        acknowledged=0, repeated=0, kills=3, lost=0, duplicates=0, problems=0
    )
