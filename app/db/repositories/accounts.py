"""Accounts: rows and activity for readers, whole accounts for writers, and what their access blocks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
)

from app.db.core.conditions import any_of, sort_key
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.paging import (
    Direction,
    Order,
    Page,
    PageRequest,
    PageSlice,
    read_page,
    slice_statement,
)
from app.db.core.projections import (
    ALL_COLUMNS,
    Projection,
    cached_statement,
    columns_except,
    projected_columns,
)
from app.db.core.statements import (
    AllWorkspacesStatement,
    AnyRow,
    AnySelect,
    Statement,
    decoded_values,
)
from app.db.core.types import UtcDateTime, field_names
from app.db.core.write_session import WriteSession
from app.db.core.writes import acquire_advisory_lock, write_rows
from app.db.models import (
    ACCOUNT_JOIN,
    POST_JOIN,
    Account,
    AccountCredentials,
    Destination,
    Post,
    Workspace,
)
from app.db.repositories.account_filters import (
    AWAITS_RECONNECTION,
    account_conditions,
    blocked_condition,
)
from app.db.repositories.destination_filters import AWAITS_OUTCOME
from app.domain.accounts import MAX_RECONNECTION_WAIT, AccountPublisher
from app.domain.accounts import Account as DomainAccount
from app.domain.destinations import PERMANENT_CATEGORIES, DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import CANCELLED
from app.domain.ids import DEMO_WORKSPACE_ID, AccountId, PostId, WorkspaceKind
from app.domain.times import FIRST_INSTANT

ACCOUNT_COLUMNS = columns_except(Account)


class AccountOrderField(StrEnum):
    """Sort keys of accounts; each value is the name of a column."""

    ACCOUNT_ID = "id"
    CREATED_AT = "created_at"
    CONNECTED_AT = "connected_at"


async def accounts_by_id(
    reader: Reader, ids: Sequence[AccountId], projection: Projection = ALL_COLUMNS
) -> Sequence[AnyRow]:
    """Return the accounts that exist, in no particular order. Served by the primary key."""
    return await reader.rows(_select_by_id(projection), ids=ids)


@cached_statement()
def _select_by_id(projection: Projection) -> Statement:
    return Statement(_select_accounts(projection).where(any_of(Account.id, "ids")), point_key="ids")


_NO_FILTERS: Mapping[str, object] = MappingProxyType({})


async def all_accounts(
    reader: Reader,
    projection: Projection = ALL_COLUMNS,
    filters: Mapping[str, object] = _NO_FILTERS,
) -> Sequence[AnyRow]:
    """Return all accounts of the workspace that match, by id; `filters` of `account_filter_values`."""
    return await reader.rows(_select_all(projection, tuple(filters)), **filters)


@cached_statement()
def _select_all(projection: Projection, filters: tuple[str, ...]) -> Statement:
    statement = _select_accounts(projection).where(*account_conditions(filters))
    return Statement(statement.order_by(Account.id))


async def accounts_page(
    reader: Reader,
    filters: Mapping[str, object],
    order_field: AccountOrderField,
    direction: Direction,
    request: PageRequest,
    projection: Projection = ALL_COLUMNS,
) -> Page:
    """Return one page of the accounts that match. Orders by time sort those of the workspace."""
    order = Order(getattr(Account, order_field.value), Account.id, direction)
    build_statement = partial(_select_page, projection, tuple(filters), order)
    return await read_page(reader, build_statement, filters, order, request)


@cached_statement()
def _select_page(
    projection: Projection, filters: tuple[str, ...], order: Order, page_slice: PageSlice
) -> Statement:
    statement = _select_accounts(projection, order.column.key).where(*account_conditions(filters))
    return slice_statement(statement, order, page_slice)


def _select_accounts(projection: Projection, *required_names: str) -> AnySelect:
    return select(*projected_columns(ACCOUNT_COLUMNS, projection, "id", *required_names))


async def count_accounts(
    reader: Reader, filters: Mapping[str, object] = _NO_FILTERS, limit: int | None = None
) -> int:
    """Count the accounts that match, up to `limit` if there is one."""
    limits = {} if limit is None else {"limit": limit}
    statement = _select_count(tuple(filters), has_limit=limit is not None)
    return await reader.count(statement, **filters, **limits)


@cached_statement()
def _select_count(filters: tuple[str, ...], *, has_limit: bool) -> Statement:
    statement = select(Account.id).where(*account_conditions(filters))
    return Statement(
        statement.limit(bindparam("limit")) if has_limit else statement, counts_rows=True
    )


async def activity_by_account_id(
    reader: Reader, ids: Sequence[AccountId], since: datetime
) -> Sequence[AnyRow]:
    """Return for each account the last publication, the failures since `since`, and the queued destinations.

    A failure counts at the time its outcome became known; cancellations do not count. Served for each
    account by ix_destination_account_published, _failed and _unsettled, without reading the whole history.
    """
    return await reader.rows(_select_activity(), ids=ids, since=since)


@cached_statement()
def _select_activity() -> Statement:
    last_published_at = _select_per_account(func.max(Destination.published_at)).where(
        Destination.published_at.is_not(None)
    )
    permanent = Destination.error_category.in_(PERMANENT_CATEGORIES)
    failures, permanent_failures = (
        _select_per_account(count).where(
            Destination.error_category.is_not(None),
            Destination.status == DestinationStatus.FAILED,
            Destination.settled_at >= bindparam("since"),
            Destination.error_code != CANCELLED,
        )
        for count in (func.count(), func.count(case((permanent, 1))))
    )
    queued = _select_per_account(func.count()).where(
        Destination.status == DestinationStatus.QUEUED, AWAITS_OUTCOME
    )
    return Statement(
        select(
            Account.id.label("account_id"),
            last_published_at.scalar_subquery().label("last_published_at"),
            failures.scalar_subquery().label("failures"),
            permanent_failures.scalar_subquery().label("permanent_failures"),
            queued.scalar_subquery().label("queued"),
        ).where(any_of(Account.id, "ids"))
    )


def _select_per_account(value: ColumnElement[Any]) -> AnySelect:
    """Return a subquery over the destinations of the outer query's account, in the same workspace."""
    return select(value).select_from(Destination).where(ACCOUNT_JOIN).correlate(Account)


_ACCOUNT_FIELDS = field_names(DomainAccount)


async def load_accounts(
    reader: Reader, ids: Collection[AccountId]
) -> dict[AccountId, DomainAccount]:
    """Load the accounts that exist."""
    rows = await reader.rows(_ACCOUNTS, ids=[*ids])
    return {row.id: DomainAccount(**decoded_values(row, _ACCOUNT_FIELDS)) for row in rows}


_ACCOUNTS = Statement(
    select(*(getattr(Account, name) for name in _ACCOUNT_FIELDS)).where(any_of(Account.id, "ids"))
)


async def lock_accounts(reader: Reader, ids: Collection[AccountId]) -> None:
    """Lock the accounts that exist until the transaction ends."""
    await reader.rows(_LOCK_ACCOUNTS, ids=[*ids])


_LOCK_ACCOUNTS = Statement(
    select(Account.id)
    .where(any_of(Account.id, "ids"))
    .order_by(Account.id)
    .with_for_update(key_share=True)
)


async def lock_platform_account(
    session: WriteSession, platform: str, platform_user_id: str
) -> None:
    """Lock a platform's account, which may not be stored yet, until the transaction ends."""
    await acquire_advisory_lock(
        session, f"{session.workspace_id}:account:{platform}:{platform_user_id}", wait=True
    )


async def find_account_by_platform_user(
    reader: Reader, platform: str, platform_user_id: str
) -> AccountId | None:
    """Return the id of the workspace's oldest account of a platform user, or None."""
    row = await reader.first(_BY_PLATFORM_USER, platform=platform, user_id=platform_user_id)
    return None if row is None else AccountId(row.id)


_BY_PLATFORM_USER = Statement(
    select(Account.id)
    .where(
        Account.platform == bindparam("platform"), Account.platform_user_id == bindparam("user_id")
    )
    .order_by(Account.id)
    .limit(1)
)


async def accounts_of_same_user(reader: Reader, account: DomainAccount) -> Sequence[AccountId]:
    """Return the ids of an account and of the workspace's other accounts of the same platform user."""
    rows = await reader.rows(
        _OF_SAME_USER, id=account.id, platform=account.platform, user_id=account.platform_user_id
    )
    return [AccountId(row.id) for row in rows]


_OF_SAME_USER = Statement(
    select(Account.id).where(
        or_(
            Account.id == bindparam("id"),
            and_(
                Account.platform == bindparam("platform"),
                Account.platform_user_id == bindparam("user_id"),
            ),
        )
    )
)


async def write_accounts(
    session: WriteSession,
    accounts: Collection[DomainAccount],
    *,
    previous: Collection[AccountId],
) -> None:
    """Write accounts; `previous` has the ids of those that exist."""
    rows = [asdict(account) for account in accounts]
    await write_rows(session, Account, rows, stored_ids=previous)


async def blocked_accounts_with_due(
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> Sequence[AnyRow]:
    """Return workspace and id of blocked accounts with due destinations that do not wait, in all workspaces.

    Each blocked account costs one lookup in ix_destination_account_unsettled, however many destinations it
    has.
    """
    return await reader.rows(_BLOCKED_WITH_DUE, now=now, limit=limit)


async def accounts_with_ended_waits(
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> Sequence[AnyRow]:
    """Return workspace and id of accounts with destinations whose wait has ended, in all workspaces.

    They wait for a reconnection, or after it for a manual retry. Reads all that wait on these accounts, by
    ix_destination_account_unsettled.
    """
    return await reader.rows(
        _WITH_ENDED_WAITS, now=now, started_until=now - MAX_RECONNECTION_WAIT, limit=limit
    )


async def posts_with_ended_waits(
    reader: Reader, account_id: AccountId, now: datetime, *, limit: int
) -> list[PostId]:
    """Return posts whose destination on the account has waited too long."""
    rows = await reader.rows(
        _POSTS_WITH_ENDED_WAITS,
        account_id=account_id,
        now=now,
        started_until=now - MAX_RECONNECTION_WAIT,
        limit=limit,
    )
    return [PostId(row.post_id) for row in rows]


async def due_post_ids(
    reader: Reader, account_id: AccountId, now: datetime, *, limit: int
) -> list[PostId]:
    """Return posts with a due destination on the account, earliest due first."""
    rows = await reader.rows(_DUE_POST_IDS, account_id=account_id, now=now, limit=limit)
    return [PostId(row.post_id) for row in rows]


async def has_sandbox_accounts(reader: AllWorkspacesReader, now: datetime) -> bool:
    """Return whether a worker publishes on any account of the sandbox without credentials: it needs none.

    Leaves out the demo workspace, whose accounts are examples.
    """
    ((has_account,),) = await reader.rows(
        _HAS_SANDBOX_ACCOUNTS, now=now, demo_workspace_id=DEMO_WORKSPACE_ID
    )
    return bool(has_account)


_HAS_SANDBOX_ACCOUNTS = AllWorkspacesStatement(
    select(
        exists().where(
            Account.publisher == AccountPublisher.SANDBOX,
            not_(blocked_condition(bindparam("now", type_=UtcDateTime()))),
            Workspace.id == Account.workspace_id,
            Workspace.kind == WorkspaceKind.LOCAL,
            Workspace.id != bindparam("demo_workspace_id"),
            ~exists()
            .where(
                AccountCredentials.workspace_id == Account.workspace_id,
                AccountCredentials.account_id == Account.id,
            )
            .correlate(Account),
        )
    ),
    reason="a worker serves all workspaces",
)


async def count_queued_destinations(reader: Reader, account_id: AccountId) -> int:
    """Count the queued destinations of an account, which are claimed when due, or fail without access."""
    return await reader.count(_QUEUED_COUNT, account_id=account_id)


async def count_undecided_destinations(reader: Reader, account_id: AccountId) -> int:
    """Count the destinations of an account that are leased to a publisher, or of unknown outcome.

    Served by ix_destination_account_unsettled and ix_destination_verifiable.
    """
    return await reader.count(_UNDECIDED_COUNT, account_id=account_id)


async def posts_failed_with_auth(
    reader: Reader, account_id: AccountId, *, failed_after: datetime | None, limit: int
) -> list[PostId]:
    """Return posts, except imported ones, that failed on the account with AUTH, earliest failure first.

    Served by ix_destination_account_failed.
    """
    rows = await reader.rows(
        _FAILED_WITH_AUTH,
        account_id=account_id,
        failed_after=failed_after or FIRST_INSTANT,
        limit=limit,
    )
    return [PostId(row.post_id) for row in rows]


async def held_posts(
    reader: Reader,
    account_id: AccountId,
    *,
    held_until: datetime,
    claimable_after: datetime | None,
    limit: int,
) -> list[PostId]:
    """Return posts whose destination on the account is held until a manual retry, earliest due first.

    `claimable_after` leaves out those that were claimable before. Served by ix_destination_account_claimable.
    """
    rows = await reader.rows(
        _HELD,
        account_id=account_id,
        held_until=held_until,
        claimable_after=claimable_after or FIRST_INSTANT,
        limit=limit,
    )
    return [PostId(row.post_id) for row in rows]


async def count_held_posts(
    reader: Reader,
    account_id: AccountId,
    *,
    held_until: datetime,
    claimable_after: datetime | None,
) -> int:
    """Count the same posts."""
    return await reader.count(
        _HELD_COUNT,
        account_id=account_id,
        held_until=held_until,
        claimable_after=claimable_after or FIRST_INSTANT,
    )


async def count_posts_failed_with_auth(
    reader: Reader, account_id: AccountId, *, failed_after: datetime | None
) -> int:
    """Count the same posts."""
    values = {"account_id": account_id, "failed_after": failed_after or FIRST_INSTANT}
    return await reader.count(_FAILED_WITH_AUTH_COUNT, **values)


_QUEUED_CONDITIONS = (
    Destination.settled_at.is_(None),
    Destination.status == DestinationStatus.QUEUED,
)
_BLOCKED_WITH_DUE = AllWorkspacesStatement(
    select(Account.workspace_id, Account.id)
    .where(
        blocked_condition(bindparam("now", type_=UtcDateTime())),
        not_(AWAITS_RECONNECTION),
        select(func.min(Destination.claimable_at))
        .where(ACCOUNT_JOIN, *_QUEUED_CONDITIONS)
        .correlate(Account)
        .scalar_subquery()
        <= bindparam("now"),
    )
    .limit(bindparam("limit")),
    reason="maintenance of all workspaces",
)
_WAIT_HAS_ENDED = (
    *_QUEUED_CONDITIONS,
    Destination.claimable_at <= bindparam("now"),
    Destination.round_started_at <= bindparam("started_until"),
    or_(
        AWAITS_RECONNECTION,
        and_(Account.held_until.is_not(None), Destination.claimable_at <= Account.held_until),
    ),
)
_WITH_ENDED_WAITS = AllWorkspacesStatement(
    select(Account.workspace_id, Account.id)
    .where(
        or_(AWAITS_RECONNECTION, Account.held_until.is_not(None)),
        exists().where(ACCOUNT_JOIN, *_WAIT_HAS_ENDED).correlate(Account),
    )
    .limit(bindparam("limit")),
    reason="maintenance of all workspaces",
)
_POSTS_WITH_ENDED_WAITS = Statement(
    select(Destination.post_id)
    .join(Account, ACCOUNT_JOIN)
    .where(Destination.account_id == bindparam("account_id"), *_WAIT_HAS_ENDED)
    .order_by(Destination.claimable_at)
    .limit(bindparam("limit"))
)
_DUE_POST_IDS = Statement(
    select(Destination.post_id)
    .where(
        Destination.account_id == bindparam("account_id"),
        *_QUEUED_CONDITIONS,
        Destination.claimable_at <= bindparam("now"),
    )
    .order_by(Destination.claimable_at)
    .limit(bindparam("limit"))
)
_QUEUED_COUNT = Statement(
    select(func.count())
    .select_from(Destination)
    .where(
        Destination.account_id == bindparam("account_id"),
        *_QUEUED_CONDITIONS,
        Destination.claimable_at.is_not(None),
    )
)


def _select_destination_count(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    of_account = Destination.account_id == bindparam("account_id")
    return select(func.count()).where(of_account, *conditions).scalar_subquery()


_UNDECIDED_COUNT = Statement(
    select(
        _select_destination_count(
            AWAITS_OUTCOME, Destination.status == DestinationStatus.PUBLISHING
        )
        + _select_destination_count(Destination.verifiable_at.is_not(None))
    )
)
_SELECT_FAILED_WITH_AUTH = (
    select(Destination.post_id)
    .join(Post, POST_JOIN)
    .where(
        Destination.account_id == bindparam("account_id"),
        Destination.error_category == ErrorCategory.AUTH,
        Destination.outcome == Outcome.FAILED,
        Destination.settled_at >= bindparam("failed_after"),
        Post.deleted_at.is_(None),
        Post.imported_at.is_(None),
    )
)
_FAILED_WITH_AUTH = Statement(
    _SELECT_FAILED_WITH_AUTH.order_by(sort_key(Destination.settled_at), Destination.id).limit(
        bindparam("limit")
    )
)
_FAILED_WITH_AUTH_COUNT = Statement(_SELECT_FAILED_WITH_AUTH, counts_rows=True)
_SELECT_HELD = select(Destination.post_id).where(
    Destination.account_id == bindparam("account_id"),
    Destination.status == DestinationStatus.QUEUED,
    Destination.claimable_at <= bindparam("held_until"),
    Destination.claimable_at >= bindparam("claimable_after"),
)
_HELD = Statement(
    _SELECT_HELD.order_by(Destination.claimable_at, Destination.id).limit(bindparam("limit"))
)
_HELD_COUNT = Statement(_SELECT_HELD, counts_rows=True)
