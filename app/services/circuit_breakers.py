"""Circuit breakers of accounts and servers, for the workers of one database together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from cachetools import TTLCache

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.repositories.circuit_breakers import (
    AccountBreakerRecord,
    begin_account_probe,
    begin_server_probe,
    close_breakers_on_server,
    delete_closed_server_breakers,
    find_server_breaker,
    lock_account_breaker,
    lock_server_breaker,
    record_server_answer,
    release_account_probe,
    release_server_probe,
    save_account_breaker,
    save_server_breaker,
)
from app.db.repositories.outages import outages_by_account_id
from app.db.repositories.server_failures import (
    count_live_workers,
    count_workspaces_on_server,
    failing_accounts,
    record_live_worker,
)
from app.domain.accounts import Account
from app.domain.circuit_breakers import (
    FAILURE_WINDOW,
    PROBE_TIMEOUT,
    AccountServer,
    Breaker,
    FailingAccount,
    ServerKey,
    shows_outage,
)
from app.domain.destinations import OVERDUE_AFTER
from app.domain.ids import AccountId, WorkspaceId
from app.domain.times import Clock, truncate_to_ms
from app.platforms.server_contacts import ServerContacts

WORKER_REPORT_INTERVAL = timedelta(seconds=20)
"""Interval at which a worker reports that it runs."""

_WORKER_TIMEOUT = 3 * WORKER_REPORT_INTERVAL
"""Time without a report after which a worker is taken for stopped."""

_ANSWER_INTERVAL = timedelta(seconds=5)
"""Interval at which a worker stores that a server answers."""

_MAX_RECENT_ANSWERS = 1_000

logger = structlog.stdlib.get_logger(__name__)


class CircuitBreakers:
    """Breakers of all workspaces, to which one worker reports the results of its calls."""

    def __init__(
        self, database: Database, worker_name: str, clock: Clock, random: Callable[[], float]
    ) -> None:
        """`random` returns a number from 0 to below 1."""
        self._database = database
        self._worker_name = worker_name
        self._clock = clock
        self._random = random
        self._recent_answers: TTLCache[ServerKey, None] = TTLCache(
            _MAX_RECENT_ANSWERS,
            _ANSWER_INTERVAL.total_seconds(),
            lambda: clock().timestamp(),
        )
        """Servers whose last answer need not be stored yet."""

    async def record_calls(
        self,
        workspace_id: WorkspaceId,
        account: Account,
        passed: AccountServer | None,
        contacts: ServerContacts,
    ) -> bool:
        """Record how servers answered the calls of one attempt; return True if the account has to wait.

        `passed` are the breakers that its claim has passed. Only the probe of a server closes its breaker:
        others may have begun their calls before it opened. A probe that called no server is released.
        """
        now = self._now()
        probe_until = None if passed is None else passed.probe_until
        if passed is not None and passed.server_is_open and passed.key and probe_until:
            await self._end_server_probe(passed.key, probe_until, contacts, now)
        if contacts.last_origin is None:
            if passed is not None and passed.account_is_open and probe_until:
                release = partial(
                    release_account_probe, account_id=account.id, now=now, until=probe_until
                )
                await self._database.write(workspace_id, release)
            # Without a call, another attempt has failed to renew the access.
            return contacts.has_failed_login and await self._is_waiting(workspace_id, account)
        server = _server_key(account, contacts.last_origin)
        await self._record_answers(account, contacts, now)
        if contacts.last_failure is None:
            is_first = passed is None or passed.key != server
            if is_first or _changes_breaker(passed, contacts):
                succeeded = partial(_record_success, account=account, contacts=contacts, now=now)
                await self._database.write(workspace_id, succeeded)
            if is_first and server is not None:
                await self._close_if_not_failing(server, now)
            return False
        is_probe = passed is not None and passed.account_is_open
        breaker = await self._record_failure(workspace_id, account, contacts, is_probe, now)
        server_is_open = server is not None and await self._open_if_failing(server, now)
        return server_is_open or breaker.is_open

    async def report_worker(self) -> None:
        """Store that the worker runs."""
        now = self._now()
        await self._database.write_all_workspaces(
            partial(
                record_live_worker,
                name=self._worker_name,
                now=now,
                stopped_before=now - _WORKER_TIMEOUT,
            )
        )

    async def _is_waiting(self, workspace_id: WorkspaceId, account: Account) -> bool:
        """Return whether a breaker for which an account waits is open."""
        reader = self._database.reader(workspace_id)
        return bool(await outages_by_account_id(reader, [account.id]))

    async def _record_failure(
        self,
        workspace_id: WorkspaceId,
        account: Account,
        contacts: ServerContacts,
        is_probe: bool,
        now: datetime,
    ) -> Breaker:
        """Count the failure of the last call for the breaker of an account, and return its state."""

        async def work(session: WriteSession) -> Breaker:
            stored = await lock_account_breaker(session, account.id, account.publisher)
            failure = contacts.last_failure
            breaker = stored.breaker.failed(
                now, self._random, is_probe=is_probe, is_login=contacts.has_failed_login
            )
            record = replace(
                _with_servers(stored, account, contacts),
                breaker=breaker,
                failure=failure,
                worker=self._worker_name,
                is_of_several_workers=breaker.failures > 1
                and stored.failure is failure
                and (stored.is_of_several_workers or stored.worker != self._worker_name),
            )
            await save_account_breaker(session, account.id, record)
            return breaker

        return await self._database.write(workspace_id, work)

    async def _record_answers(
        self, account: Account, contacts: ServerContacts, now: datetime
    ) -> None:
        """Store that servers answer while they fail for some accounts, so that these are the cause."""
        for origin in contacts.answered:
            server = _server_key(account, origin)
            if server is None or server in self._recent_answers:
                continue
            self._recent_answers[server] = None
            since = now - FAILURE_WINDOW
            if await failing_accounts(self._database.all_workspaces, server, since):
                await self._database.write_all_workspaces(
                    partial(record_server_answer, server=server, now=now)
                )

    async def _open_if_failing(self, server: ServerKey, now: datetime) -> bool:
        """Open the breaker of a server if accounts show that it fails; return True if it is open."""
        reader = self._database.all_workspaces
        stored = await find_server_breaker(reader, server)
        if stored is not None and stored.breaker.is_open:
            return True
        answered_at = None if stored is None else stored.answered_at
        since = now - FAILURE_WINDOW
        failing = await failing_accounts(reader, server, max(since, answered_at or since))
        if not await self._show_outage(failing, server, now):
            return False
        failing_since = min(each.failing_since for each in failing)
        failing_since = max(failing_since, answered_at or failing_since)

        async def work(session: AllWorkspacesWriteSession) -> bool:
            locked = await lock_server_breaker(session, server)
            if locked.is_open:
                return False
            breaker = Breaker(failures=1, failing_since=failing_since, last_failed_at=now)
            await save_server_breaker(session, server, breaker.opened(now, self._random))
            return True

        if await self._database.write_all_workspaces(work):
            logger.warning("server breaker opened", **server._asdict())
        return True

    async def _close_if_not_failing(self, server: ServerKey, now: datetime) -> None:
        """Close the breaker of a server which answers an account of whose calls it did not know before.

        With accounts of one workspace only, their failures had sufficed to open it.
        """
        reader = self._database.all_workspaces
        stored = await find_server_breaker(reader, server)
        if stored is None or (since := stored.breaker.failing_since) is None:
            return
        failing = await failing_accounts(reader, server, since)
        if not await self._show_outage(failing, server, now):
            await self._close_server(server, now)

    async def _show_outage(
        self, failing: Sequence[FailingAccount], server: ServerKey, now: datetime
    ) -> bool:
        reader = self._database.all_workspaces
        return shows_outage(
            failing,
            live_workers=await count_live_workers(reader, now - _WORKER_TIMEOUT),
            workspaces_on_server=await count_workspaces_on_server(reader, server),
        )

    async def _end_server_probe(
        self,
        server: ServerKey,
        probe_until: datetime,
        contacts: ServerContacts,
        now: datetime,
    ) -> None:
        """Close the breaker of a server that answered its probe, or decide when the next one begins."""
        if server.origin in contacts.answered:
            await self._close_server(server, now)
            return
        if server.origin in contacts.results:

            async def work(session: AllWorkspacesWriteSession) -> None:
                stored = await lock_server_breaker(session, server)
                if stored.is_open:
                    failed = stored.failed(now, self._random, is_probe=True)
                    await save_server_breaker(session, server, failed)

        else:
            work = partial(release_server_probe, server=server, now=now, until=probe_until)
        await self._database.write_all_workspaces(work)

    async def _close_server(self, server: ServerKey, now: datetime) -> None:
        async def work(session: AllWorkspacesWriteSession) -> bool:
            stored = await lock_server_breaker(session, server)
            if not stored.is_open:
                return False
            await save_server_breaker(session, server, stored.succeeded(now))
            await close_breakers_on_server(session, server, now, since=stored.failing_since)
            return True

        if await self._database.write_all_workspaces(work):
            logger.info("server breaker closed", **server._asdict())

    def _now(self) -> datetime:
        return truncate_to_ms(self._clock())


async def begin_probe(
    session: WriteSession, account_id: AccountId, server: AccountServer, now: datetime
) -> AccountServer | None:
    """Make a claim on an account the probe of the breakers that are open; None if another one is.

    Without the probe of the server, that of the account is released: it would delay the account.
    """
    until = truncate_to_ms(now + PROBE_TIMEOUT)
    if server.account_is_open and not await begin_account_probe(
        session, account_id, now, until=until
    ):
        return None
    if (
        not server.server_is_open
        or server.key is None
        or await begin_server_probe(session.all_workspaces(), server.key, now, until=until)
    ):
        return server._replace(probe_until=until)
    if server.account_is_open:
        await release_account_probe(session, account_id, now, until=until)
    return None


async def prune_breakers(database: Database, now: datetime) -> None:
    """Delete the breakers of servers that no longer decide what is overdue."""
    await database.write_all_workspaces(
        partial(delete_closed_server_breakers, before=now - OVERDUE_AFTER)
    )


def _server_key(account: Account, origin: str) -> ServerKey | None:
    return ServerKey(account.publisher, origin) if account.publisher.has_shared_servers else None


def _changes_breaker(passed: AccountServer | None, contacts: ServerContacts) -> bool:
    """Return whether answered calls of the same server change what is stored of an account."""
    if passed is None or passed.is_failing:
        return True
    return contacts.login_origin not in (None, passed.login_origin)


def _with_servers(
    record: AccountBreakerRecord, account: Account, contacts: ServerContacts
) -> AccountBreakerRecord:
    """Return the record of an account with the servers that it has called last."""
    if not account.publisher.has_shared_servers:
        return record
    return replace(
        record,
        origin=contacts.last_origin,
        login_origin=contacts.login_origin or record.login_origin,
    )


async def _record_success(
    session: WriteSession, *, account: Account, contacts: ServerContacts, now: datetime
) -> None:
    stored = await lock_account_breaker(session, account.id, account.publisher)
    record = replace(
        _with_servers(stored, account, contacts),
        breaker=stored.breaker.succeeded(now),
        failure=None,
        worker=None,
        is_of_several_workers=False,
    )
    await save_account_breaker(session, account.id, record)
