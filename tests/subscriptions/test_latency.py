"""A few who follow are told of each change once, by sockets and by events. Many of them: scripts/live."""

from pathlib import Path

import pytest

from tests.command_processes import fork
from tests.subscriptions.latency import Load, run


@pytest.mark.parametrize("as_events", [False, True])
async def test_each_change_reaches_everybody_once(
    database_url: str, tmp_path: Path, *, as_events: bool
) -> None:
    load = Load(
        connections=4,
        each=1 if as_events else 2,
        as_events=as_events,
        rate=40,
        seconds=1,
        processes=2,
    )

    figures = await run(database_url, tmp_path, load, fork)

    delivery = figures.delivery
    assert (delivery.missing, delivery.twice, delivery.disordered) == (0, 0, 0)
    assert delivery.expected >= load.subscriptions * 40
    assert not figures.complaints
