"""What every kind of wake-ups does for its own process, whether others can be reached or not."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from app.domain.ids import WorkspaceId
from app.pubsub.memory import MemoryWakeUps
from app.pubsub.postgresql import PostgreSQLWakeUps
from app.pubsub.protocol import WakeUps
from tests.pubsub.woken import Woken

FIRST, SECOND = (WorkspaceId(UUID(int=number)) for number in (1, 2))

NOBODY_THERE = {"host": "127.0.0.1", "port": 1, "user": "nobody", "database": "none", "ssl": False}

Make = Callable[[], WakeUps]


@pytest.fixture(params=[MemoryWakeUps, lambda: PostgreSQLWakeUps(NOBODY_THERE)])
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


async def test_tell_wakes_its_own_process_before_it_returns(make: Make) -> None:
    wake_ups, woken = make(), Woken()
    async with wake_ups.running(woken):
        for each in (FIRST, SECOND, FIRST):
            wake_ups.tell(each)
        assert woken.so_far() == [FIRST, SECOND, FIRST]


async def test_nobody_is_woken_before_and_after(make: Make) -> None:
    wake_ups, woken = make(), Woken()
    wake_ups.tell(FIRST)
    async with wake_ups.running(woken):
        pass
    wake_ups.tell(SECOND)
    assert woken.so_far() == []


async def test_whoever_runs_next_is_woken_alone(make: Make) -> None:
    wake_ups, woken = make(), [Woken(), Woken()]
    for each in woken:
        async with wake_ups.running(each):
            wake_ups.tell(FIRST)
    assert [each.so_far() for each in woken] == [[FIRST], [FIRST]]


async def test_an_error_within_passes_through_and_ends_it(make: Make) -> None:
    wake_ups, woken = make(), Woken()
    with pytest.raises(ValueError, match="within"):
        async with wake_ups.running(woken):
            raise ValueError("within")
    wake_ups.tell(FIRST)
    assert woken.so_far() == []


def test_it_runs_in_one_event_loop_after_the_other(make: Make) -> None:
    wake_ups = make()

    async def run() -> list[WorkspaceId | None]:
        woken = Woken()
        async with wake_ups.running(woken):
            wake_ups.tell(FIRST)
            await asyncio.sleep(0.01)
        return woken.so_far()

    assert [asyncio.run(run()) for _ in range(2)] == [[FIRST], [FIRST]]
