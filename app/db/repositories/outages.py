"""Accounts and posts that wait for a circuit breaker, of their account or of its server."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement
from app.db.core.types import UtcDateTime
from app.db.models import (
    ACCOUNT_JOIN,
    Account,
    AccountBreaker,
    AccountPause,
    Destination,
    ServerBreaker,
)
from app.domain.circuit_breakers import FAILURE_WINDOW, OpenBreakers, ServerOutage
from app.domain.ids import AccountId, PostId

BREAKER_JOIN = and_(
    AccountBreaker.workspace_id == Account.workspace_id, AccountBreaker.account_id == Account.id
)
"""Join condition of an account with its breaker."""

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


async def open_breakers(reader: Reader, since: datetime) -> Sequence[AnyRow]:
    """Return the accounts of a workspace that wait for a breaker whose next probe is not due since before.

    Each row has the account with its platform and publisher, and the server, the start of the outage and the
    time of the next probe. An account that waits for both breakers is returned twice, the server's first.
    Served by ix_account_breaker_origin and ix_account_breaker_failing.
    """
    on_servers = await reader.rows(_ON_OPEN_SERVERS, since=since)
    return [*on_servers, *await reader.rows(_OPEN_ACCOUNTS, since=since)]


_SINCE = bindparam("since", type_=UtcDateTime())
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


_NOW = bindparam("now", type_=UtcDateTime())
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
