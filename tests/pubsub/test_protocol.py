"""What every kind of wake-ups does for its own process, whether others can be reached or not."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from app.domain.ids import WorkspaceId
from app.pubsub.notifier import ChangeNotifier, MemoryChangeNotifier
from app.pubsub.postgresql import PostgreSQLChangeNotifier
from tests.pubsub.recorded_wake_ups import RecordedWakeUps

FIRST, SECOND = (WorkspaceId(UUID(int=number)) for number in (1, 2))

UNREACHABLE_OPTIONS = {"host": "127.0.0.1", "port": 1, "user": "nobody", "database": "none", "ssl": False}

NotifierFactory = Callable[[], ChangeNotifier]


@pytest.fixture(params=[MemoryChangeNotifier, lambda: PostgreSQLChangeNotifier(UNREACHABLE_OPTIONS)])
def make_notifier(request: pytest.FixtureRequest) -> NotifierFactory:
    chosen: NotifierFactory = request.param
    return chosen


async def test_tell_wakes_its_own_process_before_it_returns(make: NotifierFactory) -> None:
    wake_ups, woken = make(), RecordedWakeUps()
    async with wake_ups.listen(woken):
        for each in (FIRST, SECOND, FIRST):
            wake_ups.notify(each)
        assert woken.drain() == [FIRST, SECOND, FIRST]


async def test_nobody_is_woken_before_and_after(make: NotifierFactory) -> None:
    wake_ups, woken = make(), RecordedWakeUps()
    wake_ups.notify(FIRST)
    async with wake_ups.listen(woken):
        pass
    wake_ups.notify(SECOND)
    assert woken.drain() == []


async def test_whoever_runs_next_is_woken_alone(make: NotifierFactory) -> None:
    wake_ups, woken = make(), [RecordedWakeUps(), RecordedWakeUps()]
    for each in woken:
        async with wake_ups.listen(each):
            wake_ups.notify(FIRST)
    assert [each.drain() for each in woken] == [[FIRST], [FIRST]]


async def test_an_error_within_passes_through_and_ends_it(make: NotifierFactory) -> None:
    wake_ups, woken = make(), RecordedWakeUps()
    with pytest.raises(ValueError, match="within"):
        async with wake_ups.listen(woken):
            raise ValueError("within")
    wake_ups.notify(FIRST)
    assert woken.drain() == []


def test_it_runs_in_one_event_loop_after_the_other(make: NotifierFactory) -> None:
    wake_ups = make()

    async def run() -> list[WorkspaceId | None]:
        woken = RecordedWakeUps()
        async with wake_ups.listen(woken):
            wake_ups.notify(FIRST)
            await asyncio.sleep(0.01)
        return woken.drain()

    assert [asyncio.run(run()) for _ in range(2)] == [[FIRST], [FIRST]]
