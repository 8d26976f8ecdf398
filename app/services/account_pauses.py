"""Pauses of accounts: what rate limits of platforms postpone, for the workers of one database together."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from app.db.core.database import Database
from app.db.repositories.account_pauses import (
    count_in_flight,
    delete_ended_pauses,
    extend_pause,
    has_ended_pauses,
    paused_accounts_with_due,
)
from app.db.repositories.accounts import due_post_ids
from app.domain.account_commands import postpone
from app.domain.account_pauses import (
    MAX_CALLS_IN_FLIGHT,
    MAX_POSTS_TO_POSTPONE,
    RemainingCalls,
    pause_end,
    resumption_times,
    should_postpone,
)
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, WorkspaceId
from app.domain.operations import WAIT_FOR_RATE_LIMIT
from app.domain.settlement import Transition
from app.domain.times import Clock, format_instant, truncate_to_ms
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPauses:
    """Pauses of the accounts of all workspaces."""

    database: Database
    clock: Clock
    random: Callable[[], float]
    """Returns a number from 0 to below 1."""

    async def pause_if_used_up(
        self, workspace_id: WorkspaceId, account_id: AccountId, remaining: RemainingCalls
    ) -> datetime | None:
        """Pause an account if its calls in flight use up the remaining ones; return the end of the pause."""
        in_flight = 0
        if 0 < remaining.calls < MAX_CALLS_IN_FLIGHT:
            in_flight = await count_in_flight(self.database.reader(workspace_id), account_id)
        if not remaining.is_exhausted_by(in_flight):
            return None
        until = truncate_to_ms(pause_end(remaining.resets_in, self.clock()))
        await self.database.write(
            workspace_id, lambda session: extend_pause(session, account_id, until)
        )
        return until

    async def postpone_due(self) -> None:
        """Postpone due posts of each paused account until its pause ends; one read if there are none.

        With many due posts, a further call postpones the next ones.
        """
        pauses = await paused_accounts_with_due(
            self.database.all_workspaces, truncate_to_ms(self.clock())
        )
        for pause in pauses:
            try:
                await self._postpone_on_account(
                    pause.workspace_id, pause.account_id, pause.paused_until
                )
            except ServiceUnavailable:  # a locked post must not prevent claims of other accounts
                logger.warning(
                    "destinations not postponed",
                    workspace_id=str(pause.workspace_id),
                    account_id=pause.account_id,
                    exc_info=True,
                )

    async def _postpone_on_account(
        self, workspace_id: WorkspaceId, account_id: AccountId, until: datetime
    ) -> None:
        now = truncate_to_ms(self.clock())
        due = await due_post_ids(
            self.database.reader(workspace_id), account_id, now, limit=MAX_POSTS_TO_POSTPONE + 1
        )
        if not should_postpone(len(due), until - now):
            return
        ids = due[:MAX_POSTS_TO_POSTPONE]
        write_context = WriteContext.without_actor(workspace_id, WAIT_FOR_RATE_LIMIT, now)

        async def work(uow: UnitOfWork) -> int:
            posts = await uow.load_posts_for_update(ids)
            times = resumption_times(until, now, count=len(ids), random=self.random)
            for post_id, time in zip(ids, times, strict=True):
                post = postpone(posts[post_id], account_id, time, now)
                destination = post.destination_on(account_id)
                if post is not posts[post_id] and destination is not None:
                    posts[post_id] = post
                    transition = Transition(state=destination.state, is_postponement=True)
                    uow.transitions.append((destination.platform, transition))
            await uow.save_posts(posts.values())
            return len(uow.transitions)

        count = await run_in_transaction(self.database, write_context, work)
        if count:
            logger.info(
                "destinations postponed",
                workspace_id=str(workspace_id),
                account_id=account_id,
                count=count,
                paused_until=format_instant(until),
            )


async def prune_pauses(database: Database, now: datetime) -> None:
    """Delete pauses that are over; takes no lock if there are none."""
    if await has_ended_pauses(database.all_workspaces, now):
        await database.write_all_workspaces(partial(delete_ended_pauses, now=now))
