"""A few who follow are told of each change once, by sockets and by events. Many of them: scripts/live."""

from pathlib import Path

import pytest

from tests.command_processes import fork
from tests.subscriptions.latency import LatencyLoad, run_load


@pytest.mark.parametrize("as_events", [False, True])
async def test_each_change_reaches_everybody_once(
    database_url: str, tmp_path: Path, *, as_events: bool
) -> None:
    load = LatencyLoad(
        connections=4,
        subscriptions_per_connection=1 if as_events else 2,
        use_sse=as_events,
        changes_per_second=40,
        seconds=1,
        processes=2,
    )

    figures = await run_load(database_url, tmp_path, load, fork)

    delivery = figures.delivery
    assert (delivery.missing, delivery.duplicates, delivery.out_of_order) == (0, 0, 0)
    assert delivery.expected >= load.subscriptions * 40
    assert not figures.log_errors
