"""Circuit breakers of accounts and servers: stored states, probes, and the accounts that wait for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Insert,
    and_,
    bindparam,
    delete,
    distinct,
    exists,
    func,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.dml import ReturningInsert

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement
from app.db.core.types import ColumnValues, UtcDateTime, field_names, values_of
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import (
    ACCOUNT_JOIN,
    Account,
    AccountBreaker,
    AccountPause,
    Destination,
    LiveWorker,
    ServerBreaker,
)
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import (
    FAILURE_WINDOW,
    Breaker,
    FailingAccount,
    OpenBreakers,
    ServerFailure,
    ServerKey,
    ServerOutage,
)
from app.domain.ids import AccountId, PostId, WorkspaceId


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBreakerRecord:
    """Breaker of an account, with the server of its last call."""

    breaker: Breaker
    publisher: AccountPublisher
    origin: str | None
    """None for a publisher of the user's own."""
    login_origin: str | None = None
    """Server that renewed the access of the account last; None if no other one did."""
    failure: ServerFailure | None = None
    """Way in which the last failed call failed, with its worker; None after a success."""
    worker: str | None = None
    is_of_several_workers: bool = False
    """True if the last failures in a row, those in the same way, are those of several workers."""

    @property
    def server(self) -> ServerKey | None:
        return None if self.origin is None else ServerKey(self.publisher, self.origin)


BREAKER_JOIN = and_(
    AccountBreaker.workspace_id == Account.workspace_id, AccountBreaker.account_id == Account.id
)
"""Join condition of an account with its breaker."""

_BREAKER_COLUMNS = field_names(Breaker)
_CALL_COLUMNS = field_names(AccountBreakerRecord, "breaker")


_OF_ACCOUNT = and_(
    ServerBreaker.publisher == AccountBreaker.publisher,
    ServerBreaker.origin == AccountBreaker.origin,
)
SERVER_IS_OPEN = (
    exists().where(_OF_ACCOUNT, ServerBreaker.is_open.is_(True)).correlate(AccountBreaker)
)
"""Condition that the breaker of an account's server is open."""


def is_open_after(time: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return the condition that the breaker of an account or of its server is open until after a time.

    True also for a breaker that closed after the time; never NULL, also without a breaker by an outer join.
    """
    return or_(
        and_(AccountBreaker.open_until.is_not(None), AccountBreaker.open_until > time),
        exists().where(_OF_ACCOUNT, ServerBreaker.open_until > time).correlate(AccountBreaker),
    )


def waits_for_server_after(time: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return the condition that a destination waits for a breaker until after a time, or did.

    Served by the primary keys of both tables.
    """
    waits = exists().where(
        AccountBreaker.workspace_id == Destination.workspace_id,
        AccountBreaker.account_id == Destination.account_id,
        is_open_after(time),
    )
    return waits.correlate(Destination)


async def lock_account_breaker(
    session: WriteSession, account_id: AccountId, publisher: AccountPublisher
) -> AccountBreakerRecord:
    """Lock the breaker of an account until the transaction ends; inserts a closed one if it has none."""
    new = AccountBreakerRecord(breaker=Breaker(), publisher=publisher, origin=None)
    (row,) = await session.rows(
        _lock_statement(is_sqlite=session.is_sqlite), **_account_values(account_id, new)
    )
    return AccountBreakerRecord(breaker=_to_breaker(row), **values_of(row, _CALL_COLUMNS))


@cache
def _lock_statement(*, is_sqlite: bool) -> ReturningInsert[Any]:
    # FOR UPDATE cannot lock a row that does not exist yet.
    insert = insert_with_on_conflict(AccountBreaker, is_sqlite=is_sqlite)
    return insert.on_conflict_do_update(
        index_elements=["workspace_id", "account_id"],
        set_={"failures": AccountBreaker.failures},
    ).returning(*(getattr(AccountBreaker, name) for name in (*_BREAKER_COLUMNS, *_CALL_COLUMNS)))


def _account_values(account_id: AccountId, record: AccountBreakerRecord) -> ColumnValues:
    return {
        "account_id": account_id,
        **values_of(record.breaker, _BREAKER_COLUMNS),
        **values_of(record, _CALL_COLUMNS),
    }


def _to_breaker(row: AnyRow) -> Breaker:
    return Breaker(**values_of(row, _BREAKER_COLUMNS))


async def save_account_breaker(
    session: WriteSession, account_id: AccountId, record: AccountBreakerRecord
) -> None:
    """Insert or replace the breaker of an account."""
    await session.rows(
        _save_statement(is_sqlite=session.is_sqlite), **_account_values(account_id, record)
    )


@cache
def _save_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(AccountBreaker, is_sqlite=is_sqlite)
    return insert.on_conflict_do_update(
        index_elements=["workspace_id", "account_id"],
        set_={name: insert.excluded[name] for name in (*_BREAKER_COLUMNS, *_CALL_COLUMNS)},
    )


async def delete_account_breaker(session: WriteSession, account_id: AccountId) -> None:
    """Close the breaker of an account whose server may have changed, and delete what is known of it."""
    await session.rows(_DELETE, account=account_id)


_DELETE = delete(AccountBreaker).where(AccountBreaker.account_id == bindparam("account"))


async def begin_account_probe(
    session: WriteSession, account_id: AccountId, now: datetime, *, until: datetime
) -> bool:
    """Forbid further probes of an account until a time; False if another process has begun one.

    Does not wait for that process: claims begin their probes in different orders, and would deadlock.
    """
    if await session.first(_LOCK_ACCOUNT_PROBE, account=account_id, now=now) is None:
        return False
    await session.rows(_BEGIN_ACCOUNT_PROBE, account=account_id, until=until)
    return True


_NOW = bindparam("now", type_=UtcDateTime())
_SINCE = bindparam("since", type_=UtcDateTime())
_UNTIL = bindparam("until", type_=UtcDateTime())
_LOCK_ACCOUNT_PROBE = (
    select(AccountBreaker.account_id)
    .where(
        AccountBreaker.account_id == bindparam("account"),
        AccountBreaker.is_open.is_(True),
        AccountBreaker.open_until <= _NOW,
    )
    .with_for_update(skip_locked=True)
)
_BEGIN_ACCOUNT_PROBE = (
    update(AccountBreaker)
    .where(AccountBreaker.account_id == bindparam("account"))
    .values(open_until=_UNTIL)
)


async def release_account_probe(
    session: WriteSession,
    account_id: AccountId,
    now: datetime,
    *,
    until: datetime,
) -> None:
    """Allow another probe of an account immediately, unless one has begun or ended since.

    `until` is the time until which the probe forbids others.
    """
    await session.rows(_RELEASE_ACCOUNT_PROBE, account=account_id, now=now, until=until)


_RELEASE_ACCOUNT_PROBE = (
    update(AccountBreaker)
    .where(
        AccountBreaker.account_id == bindparam("account"),
        AccountBreaker.is_open.is_(True),
        AccountBreaker.open_until == _UNTIL,
    )
    .values(open_until=_NOW)
)


async def begin_server_probe(
    session: AllWorkspacesWriteSession, server: ServerKey, now: datetime, *, until: datetime
) -> bool:
    """Forbid further probes of a server until a time; False if another process has begun one.

    Does not wait for that process, as `begin_account_probe` does not.
    """
    if await session.first(_LOCK_SERVER_PROBE, **_key(server), now=now) is None:
        return False
    await session.rows(_BEGIN_SERVER_PROBE, **_key(server), until=until)
    return True


def _key(server: ServerKey) -> dict[str, object]:
    return {"key_publisher": server.publisher, "key_origin": server.origin}


_OF_SERVER = and_(
    ServerBreaker.publisher == bindparam("key_publisher"),
    ServerBreaker.origin == bindparam("key_origin"),
)
_ON_SERVER = and_(
    AccountBreaker.publisher == bindparam("key_publisher"),
    AccountBreaker.origin == bindparam("key_origin"),
)
_LOCK_SERVER_PROBE = AllWorkspacesStatement(
    select(ServerBreaker.origin)
    .where(_OF_SERVER, ServerBreaker.is_open.is_(True), ServerBreaker.open_until <= _NOW)
    .with_for_update(skip_locked=True),
    reason="servers belong to no workspace",
)
_BEGIN_SERVER_PROBE = AllWorkspacesStatement(
    update(ServerBreaker).where(_OF_SERVER).values(open_until=_UNTIL),
    reason="servers belong to no workspace",
)


async def release_server_probe(
    session: AllWorkspacesWriteSession, server: ServerKey, now: datetime, *, until: datetime
) -> None:
    """Allow another probe of a server immediately, as `release_account_probe` does of an account."""
    await session.rows(_RELEASE_SERVER_PROBE, **_key(server), now=now, until=until)


_RELEASE_SERVER_PROBE = AllWorkspacesStatement(
    update(ServerBreaker)
    .where(_OF_SERVER, ServerBreaker.is_open.is_(True), ServerBreaker.open_until == _UNTIL)
    .values(open_until=_NOW),
    reason="servers belong to no workspace",
)


class ServerBreakerRecord(NamedTuple):
    """Breaker of a server, with its last stored answer."""

    breaker: Breaker
    answered_at: datetime | None
    """Time of an answer while the calls of some accounts failed; None before one."""


async def find_server_breaker(
    reader: AllWorkspacesReader, server: ServerKey
) -> ServerBreakerRecord | None:
    """Return the breaker of a server; None if it has none."""
    row = await reader.first(_FIND_SERVER, **_key(server))
    return None if row is None else ServerBreakerRecord(_to_breaker(row), row.answered_at)


_FIND_SERVER = AllWorkspacesStatement(
    select(
        *(getattr(ServerBreaker, name) for name in _BREAKER_COLUMNS), ServerBreaker.answered_at
    ).where(_OF_SERVER),
    reason="servers belong to no workspace",
)


async def lock_server_breaker(session: AllWorkspacesWriteSession, server: ServerKey) -> Breaker:
    """Lock the breaker of a server until the transaction ends; inserts a closed one if it has none."""
    (row,) = await session.rows(
        _lock_server_statement(is_sqlite=session.is_sqlite), **_server_values(server, Breaker())
    )
    return _to_breaker(row)


@cache
def _lock_server_statement(*, is_sqlite: bool) -> AllWorkspacesStatement:
    insert = insert_with_on_conflict(ServerBreaker, is_sqlite=is_sqlite)
    locked = insert.on_conflict_do_update(
        index_elements=["publisher", "origin"], set_={"failures": ServerBreaker.failures}
    ).returning(*(getattr(ServerBreaker, name) for name in _BREAKER_COLUMNS))
    return AllWorkspacesStatement(locked, reason="servers belong to no workspace")


def _server_values(
    server: ServerKey, breaker: Breaker, answered_at: datetime | None = None
) -> ColumnValues:
    return {
        **server._asdict(),
        **values_of(breaker, _BREAKER_COLUMNS),
        "answered_at": answered_at,
    }


async def save_server_breaker(
    session: AllWorkspacesWriteSession, server: ServerKey, breaker: Breaker
) -> None:
    """Insert or replace the breaker of a server; its last stored answer stays."""
    await session.rows(
        _save_server_statement(is_sqlite=session.is_sqlite), **_server_values(server, breaker)
    )


@cache
def _save_server_statement(*, is_sqlite: bool) -> AllWorkspacesStatement:
    insert = insert_with_on_conflict(ServerBreaker, is_sqlite=is_sqlite)
    upsert = insert.on_conflict_do_update(
        index_elements=["publisher", "origin"],
        set_={name: insert.excluded[name] for name in _BREAKER_COLUMNS},
    )
    return AllWorkspacesStatement(upsert, reason="servers belong to no workspace")


async def record_server_answer(
    session: AllWorkspacesWriteSession, server: ServerKey, now: datetime
) -> None:
    """Store that a server has answered, also before it has a breaker."""
    await session.rows(
        _record_answer_statement(is_sqlite=session.is_sqlite),
        **_server_values(server, Breaker(), answered_at=now),
    )


@cache
def _record_answer_statement(*, is_sqlite: bool) -> AllWorkspacesStatement:
    insert = insert_with_on_conflict(ServerBreaker, is_sqlite=is_sqlite)
    upsert = insert.on_conflict_do_update(
        index_elements=["publisher", "origin"], set_={"answered_at": insert.excluded["answered_at"]}
    )
    return AllWorkspacesStatement(upsert, reason="servers belong to no workspace")


async def open_breakers(reader: Reader, since: datetime) -> Sequence[AnyRow]:
    """Return the accounts of a workspace that wait for a breaker whose next probe is not due since before.

    Each row has the account with its platform and publisher, and the server, the start of the outage and the
    time of the next probe. An account that waits for both breakers is returned twice, the server's first.
    Served by ix_account_breaker_origin and ix_account_breaker_failing.
    """
    on_servers = await reader.rows(_ON_OPEN_SERVERS, since=since)
    return [*on_servers, *await reader.rows(_OPEN_ACCOUNTS, since=since)]


_ON_OPEN_SERVERS = Statement(
    select(
        AccountBreaker.account_id,
        Account.platform,
        AccountBreaker.publisher,
        AccountBreaker.origin,
        ServerBreaker.failing_since,
        ServerBreaker.last_failed_at,
        ServerBreaker.open_until,
    )
    .join(ServerBreaker, _OF_ACCOUNT)
    .join(Account, BREAKER_JOIN)
    .where(ServerBreaker.is_open.is_(True), ServerBreaker.open_until >= _SINCE)
    .order_by(AccountBreaker.account_id)
)
_OPEN_ACCOUNTS = Statement(
    select(
        AccountBreaker.account_id,
        Account.platform,
        AccountBreaker.publisher,
        AccountBreaker.origin,
        AccountBreaker.failing_since,
        AccountBreaker.last_failed_at,
        AccountBreaker.open_until,
    )
    .join(Account, BREAKER_JOIN)
    .where(
        AccountBreaker.failures > 0,
        AccountBreaker.is_open.is_(True),
        AccountBreaker.open_until >= _SINCE,
    )
    .order_by(AccountBreaker.account_id)
)


async def accounts_waiting_for_servers(
    reader: AllWorkspacesReader,
    now: datetime,
    *,
    platform: str | None,
    other_platforms: Collection[str],
    started_until: datetime,
    limit: int,
) -> Sequence[AnyRow]:
    """Return workspace and id of accounts on which something has waited too long for a server.

    Those of a platform; None for all platforms but `other_platforms`. `started_until` is the latest start of
    the outage, and of the round of what has waited too long. Leaves out servers that were not called lately:
    no worker may have run. Reads all accounts on which a worker has published, and what is due on those that
    wait, by ix_destination_account_claimable.
    """
    values = {
        "now": now,
        "started_until": started_until,
        "since": now - FAILURE_WINDOW,
        "limit": limit,
    }
    if platform is None:
        return await reader.rows(_WAITING_ON_OTHERS, platforms=[*other_platforms], **values)
    return await reader.rows(_WAITING_ON_PLATFORM, platforms=[platform], **values)


_STARTED_UNTIL = bindparam("started_until", type_=UtcDateTime())
_IS_LONG_DUE = and_(
    Destination.claimable_at <= _NOW, Destination.round_started_at <= _STARTED_UNTIL
)


def _is_long_open(breaker: type[AccountBreaker | ServerBreaker]) -> ColumnElement[bool]:
    return and_(
        breaker.is_open.is_(True),
        breaker.failing_since <= _STARTED_UNTIL,
        breaker.last_failed_at > _SINCE,
    )


_SERVER_IS_LONG_OPEN = (
    exists().where(_OF_ACCOUNT, _is_long_open(ServerBreaker)).correlate(AccountBreaker)
)
_IS_ON_PLATFORM = any_of(Account.platform, "platforms")
_WAITING = (
    select(Account.workspace_id, Account.id)
    .join(AccountBreaker, BREAKER_JOIN)
    .where(
        or_(_SERVER_IS_LONG_OPEN, and_(_is_long_open(AccountBreaker), ~SERVER_IS_OPEN)),
        exists().where(ACCOUNT_JOIN, _IS_LONG_DUE).correlate(Account),
    )
    .limit(bindparam("limit"))
)
_WAITING_ON_PLATFORM = AllWorkspacesStatement(
    _WAITING.where(_IS_ON_PLATFORM), reason="maintenance of all workspaces"
)
_WAITING_ON_OTHERS = AllWorkspacesStatement(
    _WAITING.where(~_IS_ON_PLATFORM), reason="maintenance of all workspaces"
)


async def posts_waiting_for_server(
    reader: Reader, account_id: AccountId, now: datetime, *, started_until: datetime, limit: int
) -> list[PostId]:
    """Return posts that are due on an account whose round started before a time, the earliest first."""
    rows = await reader.rows(
        _WAITING_POSTS, account_id=account_id, now=now, started_until=started_until, limit=limit
    )
    return [PostId(row.post_id) for row in rows]


_WAITING_POSTS = Statement(
    select(Destination.post_id)
    .where(Destination.account_id == bindparam("account_id"), _IS_LONG_DUE)
    .order_by(Destination.claimable_at)
    .limit(bindparam("limit"))
)


async def close_breakers_on_server(
    session: AllWorkspacesWriteSession,
    server: ServerKey,
    now: datetime,
    *,
    since: datetime | None,
) -> None:
    """Close the breakers of accounts on a server that answers again, of those that failed since a time.

    The others failed before the server did, and have another cause.
    """
    await session.rows(_CLOSE_ON_SERVER, **_key(server), now=now, since=since)


_CLOSE_ON_SERVER = AllWorkspacesStatement(
    update(AccountBreaker)
    .where(_ON_SERVER, AccountBreaker.failures > 0, AccountBreaker.failing_since >= _SINCE)
    .values(
        failures=0,
        failing_since=None,
        last_failed_at=None,
        is_open=False,
        open_until=_NOW,
        failed_probes=0,
        failure=None,
        worker=None,
        is_of_several_workers=False,
    ),
    reason="servers belong to no workspace",
)


async def failing_accounts(
    reader: AllWorkspacesReader, server: ServerKey, since: datetime
) -> list[FailingAccount]:
    """Return the accounts of all workspaces whose last call of a server failed since a time.

    Served by ix_account_breaker_origin.
    """
    rows = await reader.rows(_FAILING, **_key(server), since=since)
    return [
        FailingAccount(
            WorkspaceId(row.workspace_id),
            AccountId(row.account_id),
            row.failure,
            row.failures,
            row.failing_since,
            row.worker,
            row.is_of_several_workers,
        )
        for row in rows
    ]


_FAILING = AllWorkspacesStatement(
    select(
        AccountBreaker.workspace_id,
        AccountBreaker.account_id,
        AccountBreaker.failure,
        AccountBreaker.failures,
        AccountBreaker.failing_since,
        AccountBreaker.worker,
        AccountBreaker.is_of_several_workers,
    ).where(
        _ON_SERVER,
        AccountBreaker.failures > 0,
        AccountBreaker.last_failed_at >= _SINCE,
    ),
    reason="servers belong to no workspace",
)


async def count_workspaces_on_server(reader: AllWorkspacesReader, server: ServerKey) -> int:
    """Count the workspaces with an account that calls a server, also only to renew its access.

    Served by ix_account_breaker_origin and ix_account_breaker_login_origin.
    """
    return await reader.count(_WORKSPACES, **_key(server))


_LOGS_IN_ON_SERVER = and_(
    AccountBreaker.publisher == bindparam("key_publisher"),
    AccountBreaker.login_origin == bindparam("key_origin"),
)
_ON_SERVER_IN_ANY_WAY = union(
    select(AccountBreaker.workspace_id).where(_ON_SERVER),
    select(AccountBreaker.workspace_id).where(_LOGS_IN_ON_SERVER),
).subquery()
_WORKSPACES = AllWorkspacesStatement(
    select(func.count()).select_from(_ON_SERVER_IN_ANY_WAY),
    reason="servers belong to no workspace",
)


async def other_origins(reader: AllWorkspacesReader, origin: str, *, limit: int) -> list[str]:
    """Return some servers besides one, without those whose breaker is open.

    Those of most workspaces first, then the first server of each workspace: one workspace with many servers
    must not be the only one that decides. Reads all accounts on which a worker has published.
    """
    rows = await reader.rows(_OTHER_ORIGINS, origin=origin, limit=limit)
    return [row.origin for row in rows]


_WORKING = (
    select(
        AccountBreaker.workspace_id,
        AccountBreaker.origin,
        func.dense_rank()
        .over(partition_by=AccountBreaker.workspace_id, order_by=AccountBreaker.origin)
        .label("number"),
    )
    .where(
        AccountBreaker.origin.is_not(None),
        AccountBreaker.origin != bindparam("origin"),
        AccountBreaker.failures == 0,
        ~SERVER_IS_OPEN,
    )
    .subquery()
)
_OTHER_ORIGINS = AllWorkspacesStatement(
    select(_WORKING.c.origin)
    .group_by(_WORKING.c.origin)
    .order_by(
        func.count(distinct(_WORKING.c.workspace_id)).desc(),
        func.min(_WORKING.c.number),
        _WORKING.c.origin,
    )
    .limit(bindparam("limit")),
    reason="servers belong to no workspace",
)


async def record_live_worker(
    session: AllWorkspacesWriteSession, name: str, now: datetime, *, stopped_before: datetime
) -> None:
    """Store that a worker runs, and delete those that have not reported since a time."""
    await session.rows(_DELETE_STOPPED, before=stopped_before)
    await session.rows(_record_statement(is_sqlite=session.is_sqlite), name=name, seen_at=now)


_DELETE_STOPPED = AllWorkspacesStatement(
    delete(LiveWorker).where(LiveWorker.seen_at < bindparam("before", type_=UtcDateTime())),
    reason="workers belong to the installation",
)


@cache
def _record_statement(*, is_sqlite: bool) -> AllWorkspacesStatement:
    insert = insert_with_on_conflict(LiveWorker, is_sqlite=is_sqlite)
    upsert = insert.on_conflict_do_update(
        index_elements=["name"], set_={"seen_at": insert.excluded["seen_at"]}
    )
    return AllWorkspacesStatement(upsert, reason="workers belong to the installation")


async def count_live_workers(reader: AllWorkspacesReader, since: datetime) -> int:
    """Count the workers that have reported since a time."""
    return await reader.count(_LIVE_WORKERS, since=since)


_LIVE_WORKERS = AllWorkspacesStatement(
    select(func.count()).select_from(LiveWorker).where(LiveWorker.seen_at >= _SINCE),
    reason="workers belong to the installation",
)


async def count_open_breakers(reader: AllWorkspacesReader, since: datetime) -> OpenBreakers:
    """Count the open breakers whose next probe is not due since before a time: posts wait for them.

    Served by ix_account_breaker_failing.
    """
    ((accounts, servers),) = await reader.rows(_OPEN, since=since)
    return OpenBreakers(accounts, servers)


_OPEN = AllWorkspacesStatement(
    select(
        select(func.count())
        .select_from(AccountBreaker)
        .where(
            AccountBreaker.failures > 0,
            AccountBreaker.is_open.is_(True),
            AccountBreaker.open_until >= _SINCE,
        )
        .scalar_subquery(),
        select(func.count())
        .select_from(ServerBreaker)
        .where(ServerBreaker.is_open.is_(True), ServerBreaker.open_until >= _SINCE)
        .scalar_subquery(),
    ),
    reason="metrics of the installation",
)


async def delete_closed_server_breakers(
    session: AllWorkspacesWriteSession, before: datetime
) -> None:
    """Delete the breakers of servers that closed before a time, and have no answer stored since."""
    await session.rows(_DELETE_CLOSED, before=before)


_BEFORE = bindparam("before", type_=UtcDateTime())
_DELETE_CLOSED = AllWorkspacesStatement(
    delete(ServerBreaker).where(
        ServerBreaker.is_open.is_(False),
        or_(ServerBreaker.open_until.is_(None), ServerBreaker.open_until < _BEFORE),
        or_(ServerBreaker.answered_at.is_(None), ServerBreaker.answered_at < _BEFORE),
    ),
    reason="servers belong to no workspace",
)


async def waits_by_account_id(reader: Reader, account_ids: Sequence[AccountId]) -> Sequence[AnyRow]:
    """Return what decides until when the posts of accounts wait, for those that have ever waited.

    The columns of a pause, of the account's breaker, and, with the prefix `server_`, of its server's.
    """
    return await reader.rows(_WAITS, account_ids=account_ids)


async def outages_by_account_id(
    reader: Reader, account_ids: Sequence[AccountId]
) -> dict[AccountId, ServerOutage]:
    """Return the open breakers for which accounts wait."""
    if not account_ids:
        return {}
    rows = await waits_by_account_id(reader, account_ids)
    return {
        AccountId(row.account_id): outage for row in rows if (outage := outage_of(row)) is not None
    }


def outage_of(row: AnyRow) -> ServerOutage | None:
    """Return the open breaker for which an account waits by its row of `waits_by_account_id`."""
    if row.server_is_open:
        return ServerOutage(
            row.origin,
            row.server_failing_since,
            row.server_last_failed_at,
            row.server_open_until,
        )
    if row.is_open:
        return ServerOutage(row.origin, row.failing_since, row.last_failed_at, row.open_until)
    return None


def waits_until(row: AnyRow) -> datetime | None:
    """Return the latest end of the pause and of the open breakers of an account; None without any."""
    times = (row.paused_until, row.open_until, row.server_open_until)
    return max((time for time in times if time is not None), default=None)


def _of_server(column: InstrumentedAttribute[datetime | None]) -> ColumnElement[datetime | None]:
    of_account = select(column).where(_OF_ACCOUNT).correlate(AccountBreaker).scalar_subquery()
    return of_account.label(f"server_{column.key}")


_WAITS = Statement(
    select(
        Account.id.label("account_id"),
        AccountPause.paused_until,
        AccountBreaker.origin,
        AccountBreaker.failing_since,
        AccountBreaker.last_failed_at,
        AccountBreaker.is_open,
        AccountBreaker.open_until,
        SERVER_IS_OPEN.label("server_is_open"),
        _of_server(ServerBreaker.failing_since),
        _of_server(ServerBreaker.last_failed_at),
        _of_server(ServerBreaker.open_until),
    )
    .outerjoin(
        AccountPause,
        and_(
            AccountPause.workspace_id == Account.workspace_id, AccountPause.account_id == Account.id
        ),
    )
    .outerjoin(AccountBreaker, BREAKER_JOIN)
    .where(
        any_of(Account.id, "account_ids"),
        or_(
            AccountPause.paused_until.is_not(None),
            AccountBreaker.open_until.is_not(None),
            SERVER_IS_OPEN,
        ),
    )
)
