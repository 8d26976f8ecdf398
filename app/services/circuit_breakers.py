"""Circuit breakers of accounts and servers, for the workers of one database together."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from cachetools import TTLCache

from app.db.core.database import Database, Reader
from app.db.core.statements import AnyRow
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.repositories.circuit_breakers import (
    AccountBreakerRecord,
    begin_account_probe,
    begin_server_probe,
    close_breakers_on_server,
    count_live_workers,
    count_workspaces_on_server,
    delete_closed_server_breakers,
    failing_accounts,
    find_server_breaker,
    lock_account_breaker,
    lock_server_breaker,
    open_breakers,
    outages_by_account_id,
    record_live_worker,
    save_account_breaker,
    save_server_breaker,
)
from app.domain.accounts import Account
from app.domain.circuit_breakers import (
    FAILURE_WINDOW,
    PROBE_TIMEOUT,
    AccountServer,
    Breaker,
    ServerFailure,
    ServerKey,
    ServerOutage,
    shows_outage,
)
from app.domain.destinations import OVERDUE_AFTER
from app.domain.ids import AccountId, WorkspaceId
from app.domain.times import Clock, truncate_to_ms

WORKER_REPORT_INTERVAL = timedelta(seconds=20)
"""Interval at which a worker reports that it runs."""

_WORKER_TIMEOUT = 3 * WORKER_REPORT_INTERVAL
"""Time without a report after which a worker is taken for stopped."""

_OUTAGES_TTL = timedelta(seconds=1)
_MAX_CACHED_WORKSPACES = 1_000

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreakers:
    """Breakers of all workspaces, to which one worker reports the results of its calls."""

    database: Database
    worker_name: str
    clock: Clock
    random: Callable[[], float]
    """Returns a number from 0 to below 1."""

    async def record_success(
        self,
        workspace_id: WorkspaceId,
        account: Account,
        before: AccountServer | None,
        origin: str,
    ) -> None:
        """Close the breaker of an account, and that of its server after a probe or the first answer to it.

        `before` is what the claim has read, and `origin` the server that has answered last. One that answers
        an account for the first time may have failed for accounts of another workspace only.
        """
        now, server = self._now(), _server_key(account, origin)
        if before is None or before.key != server or before.is_failing:
            succeeded = partial(_record_success, account=account, server=server, now=now)
            await self.database.write(workspace_id, succeeded)
        if server is not None and (before is None or before.key != server or before.server_is_open):
            await self._close_server_if_open(server, now)
        if before is not None and before.server_is_open and before.key not in (None, server):
            await self._release_server_probe(before.key, now)

    async def record_failure(
        self,
        workspace_id: WorkspaceId,
        account: Account,
        before: AccountServer | None,
        origin: str,
        failure: ServerFailure,
        *,
        is_login: bool = False,
    ) -> bool:
        """Count a failed call; return True if a breaker for which the account waits is open now."""
        now, server = self._now(), _server_key(account, origin)

        async def work(session: WriteSession) -> Breaker:
            stored = await lock_account_breaker(session, account.id) or AccountBreakerRecord(
                breaker=Breaker(), publisher=account.publisher, origin=None
            )
            is_probe = before is not None and before.account_is_open
            breaker = stored.breaker.failed(now, self.random, is_probe=is_probe, is_login=is_login)
            record = AccountBreakerRecord(
                breaker=breaker,
                publisher=account.publisher,
                origin=server and server.origin,
                failure=failure,
                worker=self.worker_name,
                is_of_several_workers=breaker.failures > 1
                and stored.failure is failure
                and (stored.is_of_several_workers or stored.worker != self.worker_name),
            )
            await save_account_breaker(session, account.id, record)
            return breaker

        breaker = await self.database.write(workspace_id, work)
        if before is not None and before.server_is_open and before.key not in (None, server):
            await self._release_server_probe(before.key, now)
        if server is None:
            return breaker.is_open
        server_is_open = await self._record_server_failure(
            server,
            breaker.failing_since or now,
            now,
            is_probe=before is not None and before.server_is_open and before.key == server,
        )
        return breaker.is_open or server_is_open

    async def is_waiting(self, workspace_id: WorkspaceId, account: Account) -> bool:
        """Return whether a breaker for which an account waits is open."""
        reader = self.database.reader(workspace_id)
        return bool(await outages_by_account_id(reader, [account.id]))

    async def release_probe(
        self, workspace_id: WorkspaceId, account: Account, before: AccountServer
    ) -> None:
        """Allow another probe immediately, because this one called no server."""
        now = self._now()
        if before.server_is_open and before.key is not None:
            await self._release_server_probe(before.key, now)
        if before.account_is_open:
            await self.database.write(
                workspace_id, partial(_release_account_probe, account_id=account.id, now=now)
            )

    async def report_worker(self) -> None:
        """Store that the worker runs."""
        now = self._now()
        await self.database.write_all_workspaces(
            partial(
                record_live_worker,
                name=self.worker_name,
                now=now,
                stopped_before=now - _WORKER_TIMEOUT,
            )
        )

    async def _record_server_failure(
        self, server: ServerKey, failing_since: datetime, now: datetime, *, is_probe: bool
    ) -> bool:
        """Postpone the next probe of a server, or open its breaker; return True if it is open."""
        reader = self.database.all_workspaces
        if not is_probe:
            known = await find_server_breaker(reader, server)
            if known is not None and known.is_open:
                return True
            is_outage = shows_outage(
                await failing_accounts(reader, server, now - FAILURE_WINDOW),
                live_workers=await count_live_workers(reader, now - _WORKER_TIMEOUT),
                workspaces_on_server=await count_workspaces_on_server(reader, server),
            )
            if not is_outage:
                return False

        async def work(session: AllWorkspacesWriteSession) -> bool:
            stored = await lock_server_breaker(session, server)
            if stored is not None and stored.is_open:
                breaker = stored.failed(now, self.random, is_probe=is_probe)
            elif is_probe:  # closed meanwhile
                return False
            else:
                failing = Breaker(failures=1, failing_since=failing_since, last_failed_at=now)
                breaker = failing.opened(now, self.random)
            await save_server_breaker(session, server, breaker)
            return True

        is_open = await self.database.write_all_workspaces(work)
        if is_open and not is_probe:
            logger.warning("server breaker opened", **server._asdict())
        return is_open

    async def _close_server_if_open(self, server: ServerKey, now: datetime) -> None:
        """Close the breaker of a server that is open, and those of all accounts on it."""
        known = await find_server_breaker(self.database.all_workspaces, server)
        if known is not None and known.is_open:
            await self.database.write_all_workspaces(partial(_close_server, server=server, now=now))
            logger.info("server breaker closed", **server._asdict())

    async def _release_server_probe(self, server: ServerKey, now: datetime) -> None:
        async def work(session: AllWorkspacesWriteSession) -> None:
            stored = await lock_server_breaker(session, server)
            if stored is not None and stored.is_open:
                await save_server_breaker(session, server, stored.released(now))

        await self.database.write_all_workspaces(work)

    def _now(self) -> datetime:
        return truncate_to_ms(self.clock())


async def begin_probe(
    session: WriteSession, account_id: AccountId, server: AccountServer, now: datetime
) -> bool:
    """Make a claim on an account the probe of the breakers that are open; False if another one is.

    Without the probe of the server, that of the account is released: it would delay the account.
    """
    until = now + PROBE_TIMEOUT
    if server.account_is_open and not await begin_account_probe(
        session, account_id, now, until=until
    ):
        return False
    if not server.server_is_open or server.key is None:
        return True
    if await begin_server_probe(session.all_workspaces(), server.key, now, until=until):
        return True
    if server.account_is_open:
        await _release_account_probe(session, account_id=account_id, now=now)
    return False


async def prune_breakers(database: Database, now: datetime) -> None:
    """Delete the breakers of servers that no longer decide what is overdue."""
    await database.write_all_workspaces(
        partial(delete_closed_server_breakers, before=now - OVERDUE_AFTER)
    )


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
        next_probe_at=min(row.open_until for row in rows),
    )
    return WaitingAccounts(outage, rows[0].platform, [AccountId(row.account_id) for row in rows])


def _server_key(account: Account, origin: str) -> ServerKey | None:
    return ServerKey(account.publisher, origin) if account.publisher.has_shared_servers else None


async def _record_success(
    session: WriteSession, *, account: Account, server: ServerKey | None, now: datetime
) -> None:
    stored = await lock_account_breaker(session, account.id)
    breaker = Breaker() if stored is None else stored.breaker.succeeded(now)
    record = AccountBreakerRecord(
        breaker=breaker, publisher=account.publisher, origin=server and server.origin
    )
    await save_account_breaker(session, account.id, record)


async def _close_server(
    session: AllWorkspacesWriteSession, *, server: ServerKey, now: datetime
) -> None:
    stored = await lock_server_breaker(session, server)
    if stored is not None:
        await save_server_breaker(session, server, stored.succeeded(now))
    await close_breakers_on_server(session, server, now)


async def _release_account_probe(
    session: WriteSession, *, account_id: AccountId, now: datetime
) -> None:
    stored = await lock_account_breaker(session, account_id)
    if stored is not None and stored.breaker.is_open:
        released = replace(stored, breaker=stored.breaker.released(now))
        await save_account_breaker(session, account_id, released)
