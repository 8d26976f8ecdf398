"""Pauses of accounts by rate limits of platforms, for the workers of one database together."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from app.db.core.database import Database
from app.db.repositories.account_pauses import (
    count_in_flight,
    delete_ended_pauses,
    extend_pause,
    has_ended_pauses,
)
from app.domain.account_pauses import MAX_CALLS_IN_FLIGHT, RemainingCalls, pause_end
from app.domain.destinations import OVERDUE_AFTER
from app.domain.ids import AccountId, WorkspaceId
from app.domain.times import Clock, truncate_to_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPauses:
    """Pauses of the accounts of all workspaces."""

    database: Database
    clock: Clock

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


async def prune_pauses(database: Database, now: datetime) -> None:
    """Delete pauses that no longer decide what is overdue; takes no lock if there are none."""
    before = now - OVERDUE_AFTER
    if await has_ended_pauses(database.all_workspaces, before):
        await database.write_all_workspaces(partial(delete_ended_pauses, before=before))
