"""Leases that have ended: what was started is unknown, the rest is anybody's. The server's own work."""

from datetime import datetime

from app.db.core.database import Database
from app.db.repositories.claims import expired_leases
from app.domain.destinations import DestinationState
from app.domain.errors import ServiceUnavailable
from app.domain.ids import PostId, WorkspaceId
from app.domain.reports import expire_lease
from app.domain.settlement import History, Receipt, Transition
from app.services.reports import apply_transition
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

MAX_LEASES_PER_RUN = 200
"""After so many the next call goes on, for a server that stops waits for the one that runs."""


async def settle_expired_leases(database: Database, now: datetime) -> None:
    """Settle every lease that has ended, over all workspaces; one read if there is none.

    Processes may do it at once: what has ended is decided again when nobody else can change it. What
    cannot be settled now holds up no other, and is raised as ServiceUnavailable after them.
    """
    async with database.unscoped_connection() as connection:
        lost = await expired_leases(connection, now, limit=MAX_LEASES_PER_RUN)
    unavailable = None
    for workspace_id, post_id in sorted({(row.workspace_id, row.post_id) for row in lost}):
        try:
            await _settle_post(database, workspace_id, post_id, now)
        except ServiceUnavailable as error:  # somebody holds the post for too long
            unavailable = error
    if unavailable:
        raise unavailable


async def _settle_post(
    database: Database, workspace_id: WorkspaceId, post_id: PostId, now: datetime
) -> None:
    errand = WriteContext(workspace_id=workspace_id, actor=None, operation="loseLease", now=now)

    def decide(state: DestinationState, history: History) -> Transition:
        lost = expire_lease(state, history, errand.now)
        return lost or Transition(state=state, receipt=Receipt.REPEATED)

    async def work(uow: UnitOfWork) -> None:
        await uow.lock_posts([post_id])
        post = (await uow.load_posts([post_id]))[post_id]
        for each in post.destinations:
            if each.state.lease_token is not None:
                post, _ = await apply_transition(uow, post, each.id, decide)

    await run_in_transaction(database, errand, work)
