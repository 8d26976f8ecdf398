"""Wake-ups in memory: of several, each is its own process's."""

from uuid import UUID

from app.domain.ids import WorkspaceId
from app.pubsub.memory import MemoryWakeUps
from tests.pubsub.woken import Woken


async def test_no_other_process_is_woken() -> None:
    ours, theirs = MemoryWakeUps(), MemoryWakeUps()
    woken = Woken()
    async with ours.running(Woken()), theirs.running(woken):
        ours.tell(WorkspaceId(UUID(int=1)))
    assert woken.so_far() == []
