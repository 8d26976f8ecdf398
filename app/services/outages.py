"""Outages of servers for which accounts of a workspace wait."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cachetools import TTLCache

from app.db.core.database import Database, Reader
from app.db.core.statements import AnyRow
from app.db.repositories.outages import open_breakers
from app.domain.circuit_breakers import PROBE_TIMEOUT, ServerOutage
from app.domain.ids import AccountId, WorkspaceId
from app.domain.times import Clock

_OUTAGES_TTL = timedelta(seconds=1)
_MAX_CACHED_WORKSPACES = 1_000


@dataclass(frozen=True, slots=True)
class WaitingAccounts:
    """Accounts of one workspace that wait for the same server."""

    outage: ServerOutage
    platform: str
    account_ids: Sequence[AccountId]


class OutageReader:
    """Reader of the outages of workspaces, which reads those of each at most once a second.

    Every read of results by REST shows them.
    """

    def __init__(self, database: Database, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._outages: TTLCache[WorkspaceId, Sequence[WaitingAccounts]] = TTLCache(
            _MAX_CACHED_WORKSPACES, _OUTAGES_TTL.total_seconds(), monotonic
        )

    async def outages(self, workspace_id: WorkspaceId) -> Sequence[WaitingAccounts]:
        """Return what accounts of a workspace wait for, the longest outage first."""
        outages = self._outages.get(workspace_id)
        if outages is None:
            outages = await list_outages(self._database.reader(workspace_id), self._clock())
            self._outages[workspace_id] = outages
        return outages


async def list_outages(reader: Reader, now: datetime) -> list[WaitingAccounts]:
    """Return what accounts of a workspace wait for, the longest outage first.

    Accounts whose own breaker is open are listed together if they are on one server.
    """
    rows_by_account: dict[int, AnyRow] = {}
    for row in await open_breakers(reader, now - PROBE_TIMEOUT):
        rows_by_account.setdefault(row.account_id, row)
    groups: defaultdict[object, list[AnyRow]] = defaultdict(list)
    for row in rows_by_account.values():
        groups[row.account_id if row.origin is None else (row.publisher, row.origin)].append(row)
    return sorted(map(_to_waiting_accounts, groups.values()), key=lambda each: each.outage.since)


def _to_waiting_accounts(rows: Sequence[AnyRow]) -> WaitingAccounts:
    outage = ServerOutage(
        rows[0].origin,
        since=min(row.failing_since for row in rows),
        last_failed_at=max(row.last_failed_at for row in rows),
        next_probe_at=min(row.open_until for row in rows),
    )
    return WaitingAccounts(outage, rows[0].platform, [AccountId(row.account_id) for row in rows])
