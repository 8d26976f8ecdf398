"""Circuit breakers of accounts and servers: stored states, and probes."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Insert, and_, bindparam, delete, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import AllWorkspacesStatement, AnyRow
from app.db.core.types import ColumnValues, UtcDateTime, field_names, values_of
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import AccountBreaker, ServerBreaker
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import Breaker, ServerFailure, ServerKey
from app.domain.ids import AccountId


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


_BREAKER_COLUMNS = field_names(Breaker)
_CALL_COLUMNS = field_names(AccountBreakerRecord, "breaker")


ON_SERVER = and_(
    AccountBreaker.publisher == bindparam("key_publisher"),
    AccountBreaker.origin == bindparam("key_origin"),
)
"""Condition of accounts whose last call was one of a server; see `server_parameters`."""


def server_parameters(server: ServerKey) -> dict[str, object]:
    """Return the parameters of statements that have the condition of a server."""
    return {"key_publisher": server.publisher, "key_origin": server.origin}


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
    if await session.first(_LOCK_SERVER_PROBE, **server_parameters(server), now=now) is None:
        return False
    await session.rows(_BEGIN_SERVER_PROBE, **server_parameters(server), until=until)
    return True


_OF_SERVER = and_(
    ServerBreaker.publisher == bindparam("key_publisher"),
    ServerBreaker.origin == bindparam("key_origin"),
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
    await session.rows(_RELEASE_SERVER_PROBE, **server_parameters(server), now=now, until=until)


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
    row = await reader.first(_FIND_SERVER, **server_parameters(server))
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
    await session.rows(_CLOSE_ON_SERVER, **server_parameters(server), now=now, since=since)


_CLOSE_ON_SERVER = AllWorkspacesStatement(
    update(AccountBreaker)
    .where(ON_SERVER, AccountBreaker.failures > 0, AccountBreaker.failing_since >= _SINCE)
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
