"""Wake-ups in memory: of several, each is its own process's."""

from uuid import UUID

from app.domain.ids import WorkspaceId
from app.pubsub.notifier import MemoryChangeNotifier
from tests.pubsub.recorded_wake_ups import RecordedWakeUps


async def test_no_other_process_is_woken() -> None:
    ours, theirs = MemoryChangeNotifier(), MemoryChangeNotifier()
    woken = RecordedWakeUps()
    async with ours.listen(RecordedWakeUps()), theirs.listen(woken):
        ours.notify(WorkspaceId(UUID(int=1)))
    assert woken.drain() == []
