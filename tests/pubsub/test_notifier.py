"""Tests of every change notifier within its own process, with or without a connection to others."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from app.domain.ids import WorkspaceId
from app.pubsub.notifier import ChangeNotifier, MemoryChangeNotifier
from app.pubsub.postgresql import PostgreSQLChangeNotifier
from tests.pubsub.notifiers import RecordedWakeUps

FIRST, SECOND = (WorkspaceId(UUID(int=number)) for number in (1, 2))

UNREACHABLE_OPTIONS = {
    "host": "127.0.0.1",
    "port": 1,
    "user": "none",
    "database": "none",
    "ssl": False,
}

NotifierFactory = Callable[[], ChangeNotifier]


@pytest.fixture(
    params=[MemoryChangeNotifier, lambda: PostgreSQLChangeNotifier(UNREACHABLE_OPTIONS)]
)
def create_notifier(request: pytest.FixtureRequest) -> NotifierFactory:
    factory: NotifierFactory = request.param
    return factory


async def test_notify_wakes_its_own_process_before_it_returns(
    create_notifier: NotifierFactory,
) -> None:
    notifier, wake_ups = create_notifier(), RecordedWakeUps()
    async with notifier.listen(wake_ups):
        for workspace in (FIRST, SECOND, FIRST):
            notifier.notify(workspace)
        assert wake_ups.drain() == [FIRST, SECOND, FIRST]


async def test_no_wake_up_arrives_outside_the_context(create_notifier: NotifierFactory) -> None:
    notifier, wake_ups = create_notifier(), RecordedWakeUps()
    notifier.notify(FIRST)
    with pytest.raises(ValueError, match="within"):
        async with notifier.listen(wake_ups):
            raise ValueError("within")
    notifier.notify(SECOND)
    assert wake_ups.drain() == []


async def test_only_the_current_listener_is_woken(create_notifier: NotifierFactory) -> None:
    notifier, listeners = create_notifier(), [RecordedWakeUps(), RecordedWakeUps()]
    for wake_ups in listeners:
        async with notifier.listen(wake_ups):
            notifier.notify(FIRST)
    assert [wake_ups.drain() for wake_ups in listeners] == [[FIRST], [FIRST]]


def test_notifier_runs_in_one_event_loop_after_another(create_notifier: NotifierFactory) -> None:
    notifier = create_notifier()

    async def run() -> list[WorkspaceId | None]:
        wake_ups = RecordedWakeUps()
        async with notifier.listen(wake_ups):
            notifier.notify(FIRST)
            await asyncio.sleep(0.01)
        return wake_ups.drain()

    assert [asyncio.run(run()) for _ in range(2)] == [[FIRST], [FIRST]]


async def test_memory_notifier_wakes_no_other_notifier() -> None:
    ours, theirs = MemoryChangeNotifier(), MemoryChangeNotifier()
    wake_ups = RecordedWakeUps()
    async with ours.listen(RecordedWakeUps()), theirs.listen(wake_ups):
        ours.notify(FIRST)
    assert wake_ups.drain() == []
