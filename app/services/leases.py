"""Leases that have ended: what was started is unknown, the rest is anybody's. The server's own work."""

from datetime import datetime

from app.db.engine import Database
from app.db.publishing import lost_leases
from app.domain.destinations import DestinationState
from app.domain.endings import History, Receipt, Recorded
from app.domain.errors import ServiceUnavailable
from app.domain.ids import PostId, WorkspaceId
from app.domain.publishing import lose_lease
from app.services.publishing import decide_about
from app.services.writing import Errand, Writing, write

LEASES_OF_A_CALL = 200
"""After so many the next call goes on, for a server that stops waits for the one that runs."""


async def settle_lost_leases(database: Database, now: datetime) -> None:
    """Settle every lease that has ended, over all workspaces; one read if there is none.

    Processes may do it at once: what has ended is decided again when nobody else can change it. What
    cannot be settled now holds up no other, and is raised as ServiceUnavailable after them.
    """
    async with database.read_all_workspaces() as connection:
        lost = await lost_leases(connection, now, limit=LEASES_OF_A_CALL)
    unavailable = None
    for workspace_id, post_id in sorted({(row.workspace_id, row.post_id) for row in lost}):
        try:
            await _settle(database, workspace_id, post_id, now)
        except ServiceUnavailable as error:  # somebody holds the post for too long
            unavailable = error
    if unavailable:
        raise unavailable


async def _settle(
    database: Database, workspace_id: WorkspaceId, post_id: PostId, now: datetime
) -> None:
    errand = Errand(workspace_id=workspace_id, actor=None, operation="loseLease", now=now)

    def decide(state: DestinationState, history: History) -> Recorded:
        lost = lose_lease(state, history, errand.now)
        return lost or Recorded(state=state, receipt=Receipt.REPEATED)

    async def work(writing: Writing) -> None:
        await writing.lock_posts([post_id])
        post = (await writing.posts([post_id]))[post_id]
        for each in post.destinations:
            if each.state.lease_token is not None:
                post, _ = await decide_about(writing, post, each.id, decide)

    await write(database, errand, work)
