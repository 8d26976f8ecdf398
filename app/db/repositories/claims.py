"""Queries of the job queue: claimable destinations, unknown outcomes, and expired leases."""

import operator
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import AllWorkspacesStatement, AnyRow, AnySelect, Statement
from app.db.core.types import UtcDateTime
from app.db.models import (
    ACCOUNT_JOIN,
    POST_JOIN,
    Account,
    AccountBreaker,
    AccountPause,
    Destination,
    Post,
    Workspace,
)
from app.db.repositories.account_filters import blocked_condition
from app.db.repositories.checkpoints import has_unreadable_checkpoint
from app.db.repositories.credentials import has_unreadable_credentials
from app.db.repositories.outages import BREAKER_JOIN, SERVER_IS_OPEN, is_open_after
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import AccountServer, ServerKey
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId, WorkspaceKind
from app.domain.times import FIRST_INSTANT


class ClaimTime(StrEnum):
    """Column with the time from which a destination can be claimed."""

    CLAIMABLE = "claimable_at"
    """Time from which it can be claimed to publish it."""
    VERIFIABLE = "verifiable_at"
    """Time from which it can be claimed to verify its unknown outcome."""


class ClaimableWorkspace(NamedTuple):
    """Workspace with destinations to claim."""

    id: WorkspaceId
    next_account_id: AccountId
    """Larger than the number of each of its accounts."""


class ClaimableAccount(NamedTuple):
    """Account with destinations to claim."""

    id: AccountId
    server: AccountServer | None
    """None before a worker has published on the account."""

    @property
    def needs_probe(self) -> bool:
        """True if one destination may be claimed, to find out whether the server answers again."""
        return self.server is not None and self.server.needs_probe


class ClaimGroup(NamedTuple):
    """Destinations of one publisher, on one platform or on all."""

    publisher: AccountPublisher
    platform: str | None


async def workspaces_to_claim_from(
    reader: AllWorkspacesReader,
    claim_time: ClaimTime,
    now: datetime,
    *,
    groups: Sequence[ClaimGroup],
    workspace_id: WorkspaceId | None,
    rotation_start: WorkspaceId,
    limit: int,
) -> list[ClaimableWorkspace]:
    """Return local workspaces with destinations to claim, from `rotation_start` so that none is always last.

    With `workspace_id`, only that workspace is considered. Costs one index lookup for each workspace and
    group.
    """
    values: dict[str, object] = {"now": now}
    for index, group in enumerate(groups):
        values[f"publisher_{index}"] = group.publisher
        if group.platform is not None:
            values[f"platform_{index}"] = group.platform
    have_platform = tuple(group.platform is not None for group in groups)
    ranges: list[tuple[_Comparison, WorkspaceId]] = (
        [(operator.ge, rotation_start), (operator.lt, rotation_start)]
        if workspace_id is None
        else [(operator.eq, workspace_id)]
    )
    workspaces: list[ClaimableWorkspace] = []
    for comparison, bound in ranges:
        if remaining := limit - len(workspaces):
            statement = _select_workspaces(claim_time, comparison, have_platform)
            rows = await reader.rows(statement, bound=bound, limit=remaining, **values)
            workspaces += [
                ClaimableWorkspace(WorkspaceId(row.id), AccountId(row.next_account_id))
                for row in rows
            ]
    return workspaces


_Comparison: TypeAlias = Callable[[Any, Any], Any]
"""Function of the module `operator`."""


@cached_statement()
def _select_workspaces(
    claim_time: ClaimTime, comparison: _Comparison, have_platform: tuple[bool, ...]
) -> AllWorkspacesStatement:
    """Select workspaces by the comparison of their id with `bound`, and groups numbered from 0."""
    column = getattr(Destination, claim_time)
    can_claim = or_(
        false(),
        *(
            _earliest(column, *_group_conditions(f"_{index}", of_platform=of_platform))
            <= bindparam("now")
            for index, of_platform in enumerate(have_platform)
        ),
    )
    return AllWorkspacesStatement(
        select(Workspace.id, Workspace.next_account_id)
        .where(
            comparison(Workspace.id, bindparam("bound")),
            Workspace.kind == WorkspaceKind.LOCAL,
            can_claim,
        )
        .order_by(Workspace.id)
        .limit(bindparam("limit")),
        reason="a publisher may serve all workspaces",
    )


def _earliest(
    column: InstrumentedAttribute[datetime | None], *conditions: ColumnElement[bool]
) -> ScalarSelect[datetime | None]:
    """Select the earliest time in the outer query's workspace: one lookup in its index."""
    return (
        select(func.min(column))
        .where(Destination.workspace_id == Workspace.id, column.is_not(None), *conditions)
        .correlate(Workspace)
        .scalar_subquery()
    )


def _group_conditions(suffix: str, *, of_platform: bool) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a group; the suffix is that of its parameters."""
    of_publisher = Destination.publisher == bindparam(f"publisher{suffix}")
    if not of_platform:
        return (of_publisher,)
    return of_publisher, Destination.platform == bindparam(f"platform{suffix}")


async def accounts_to_claim_from(
    reader: Reader,
    claim_time: ClaimTime,
    now: datetime,
    *,
    publishers: Sequence[AccountPublisher],
    platforms: Sequence[str] | None,
    key_ids: Collection[str] | None,
    rotation_start: AccountId,
    limit: int,
) -> list[ClaimableAccount]:
    """Return accounts with destinations to claim, from `rotation_start` so that none is always last.

    Leaves out accounts that cannot post, those on which all destinations are held, and those whose pause has
    not ended, unless a client of the API publishes on them. Also leaves out those that wait for an open
    breaker, until its next probe is due. With `key_ids`, also leaves out accounts whose credentials none of
    the keys decrypts, and those on which all destinations wait for the key of their checkpoint.

    Costs one lookup in ix_destination_account_claimable for each account, however many destinations wait on
    it; each that waits for a key costs a lookup of its checkpoint. To verify, reads
    ix_destination_verifiable: unknown outcomes are few.
    """
    values: dict[str, object] = {"now": now, "publishers": [*publishers]}
    if platforms is not None:
        values["platforms"] = [*platforms]
    if key_ids is not None:
        values["key_ids"] = [*key_ids]
    accounts: list[ClaimableAccount] = []
    for comparison in (operator.ge, operator.lt):
        if remaining := limit - len(accounts):
            statement = _select_accounts(
                claim_time,
                comparison,
                of_platforms=platforms is not None,
                has_key_ids=key_ids is not None,
            )
            rows = await reader.rows(statement, bound=rotation_start, limit=remaining, **values)
            accounts += [ClaimableAccount(AccountId(row.id), _to_server(row)) for row in rows]
    return accounts


def _to_server(row: AnyRow) -> AccountServer | None:
    if row.failures is None:
        return None
    key = None if row.origin is None else ServerKey(row.publisher, row.origin)
    return AccountServer(
        key,
        login_origin=row.login_origin,
        is_failing=row.failures > 0,
        account_is_open=row.is_open,
        server_is_open=bool(row.server_is_open),
    )


@cached_statement()
def _select_accounts(
    claim_time: ClaimTime, comparison: _Comparison, *, of_platforms: bool, has_key_ids: bool
) -> Statement:
    """Select accounts by the comparison of their id with `bound`."""
    conditions = [
        comparison(Account.id, bindparam("bound")),
        any_of(Account.publisher, "publishers"),
        _CAN_CLAIM_ON_ACCOUNT[claim_time](has_key_ids=has_key_ids),
        ~is_open_after(_NOW),
    ]
    if of_platforms:
        conditions.append(any_of(Account.platform, "platforms"))
    if claim_time is ClaimTime.CLAIMABLE:
        conditions += [~blocked_condition(_NOW), ~_IS_PAUSED]
    if has_key_ids:
        conditions.append(~has_unreadable_credentials(Account.workspace_id, Account.id))
    return Statement(
        select(
            Account.id,
            AccountBreaker.publisher,
            AccountBreaker.origin,
            AccountBreaker.login_origin,
            AccountBreaker.failures,
            AccountBreaker.is_open,
            SERVER_IS_OPEN.label("server_is_open"),
        )
        .outerjoin(AccountBreaker, BREAKER_JOIN)
        .where(*conditions)
        .order_by(Account.id)
        .limit(bindparam("limit"))
    )


_NOW = bindparam("now", type_=UtcDateTime())
_IS_PAUSED = and_(
    Account.publisher != AccountPublisher.EXTERNAL,
    exists().where(
        AccountPause.workspace_id == Account.workspace_id,
        AccountPause.account_id == Account.id,
        AccountPause.paused_until > _NOW,
    ),
)


# A bound of the range in the index, so that a claim costs the same however many destinations are held.
_IS_NOT_HELD = Destination.claimable_at > func.coalesce(
    Account.held_until, literal(FIRST_INSTANT, UtcDateTime())
)


def _readable(*, has_key_ids: bool) -> list[ColumnElement[bool]]:
    """Return the condition that a destination has no checkpoint which none of the keys decrypts."""
    if not has_key_ids:
        return []
    return [~has_unreadable_checkpoint(Destination.workspace_id, Destination.id)]


def _has_claimable(*, has_key_ids: bool) -> ColumnElement[bool]:
    # Not min(): PostgreSQL would read all destinations of the account, because of the checkpoints.
    earliest = (
        select(Destination.claimable_at)
        .where(
            ACCOUNT_JOIN,
            Destination.claimable_at.is_not(None),
            _IS_NOT_HELD,
            *_readable(has_key_ids=has_key_ids),
        )
        .order_by(Destination.claimable_at)
        .limit(1)
        .correlate(Account)
        .scalar_subquery()
    )
    return earliest <= _NOW


def _has_verifiable(*, has_key_ids: bool) -> ColumnElement[bool]:
    return Account.id.in_(
        select(Destination.account_id).where(
            Destination.verifiable_at <= _NOW, *_readable(has_key_ids=has_key_ids)
        )
    )


_CAN_CLAIM_ON_ACCOUNT = {
    ClaimTime.CLAIMABLE: _has_claimable,
    ClaimTime.VERIFIABLE: _has_verifiable,
}


class ClaimableDestination(NamedTuple):
    """Destination to claim, with its account and post."""

    account_id: AccountId
    post_id: PostId
    id: DestinationId


async def lock_destinations(
    reader: Reader,
    claim_time: ClaimTime,
    now: datetime,
    *,
    account_ids: Sequence[AccountId],
    locked_ids: Sequence[DestinationId],
    key_ids: Collection[str] | None,
    limit_per_account: int,
) -> list[ClaimableDestination]:
    """Lock destinations to claim with their posts until the transaction ends, the earliest time first.

    Skips `locked_ids`, which this transaction has locked before, rows that another one has locked, held
    destinations, and those whose checkpoint none of the keys decrypts. Served by
    ix_destination_account_claimable; those to verify by ix_destination_verifiable.
    """
    values = {"now": now, "locked_ids": locked_ids, "limit": limit_per_account}
    if key_ids is not None:
        values["key_ids"] = [*key_ids]
    if not reader.is_sqlite:
        statement = _select_lockable_on_accounts(claim_time, has_key_ids=key_ids is not None)
        rows = await reader.rows(statement, account_ids=account_ids, **values)
    else:
        statement = _select_lockable_on_account(claim_time, has_key_ids=key_ids is not None)
        rows = [
            row
            for account_id in account_ids
            for row in await reader.rows(statement, account_id=account_id, **values)
        ]
    return [
        ClaimableDestination(AccountId(row.account_id), PostId(row.post_id), DestinationId(row.id))
        for row in rows
    ]


@cached_statement()
def _select_lockable_on_accounts(claim_time: ClaimTime, *, has_key_ids: bool) -> Statement:
    conditions = [ACCOUNT_JOIN]
    if claim_time is ClaimTime.CLAIMABLE:
        conditions.append(_IS_NOT_HELD)
    rows = _lockable(claim_time, *conditions, has_key_ids=has_key_ids).correlate(Account).lateral()
    return Statement(
        select(rows)
        .select_from(Account)
        .join(rows, true())
        .where(any_of(Account.id, "account_ids"))
    )


@cached_statement()
def _select_lockable_on_account(claim_time: ClaimTime, *, has_key_ids: bool) -> Statement:
    """Select without LATERAL, which SQLite does not have."""
    of_account = Destination.account_id == bindparam("account_id")
    rows = _lockable(claim_time, of_account, has_key_ids=has_key_ids)
    if claim_time is ClaimTime.CLAIMABLE:
        rows = rows.join(Account, ACCOUNT_JOIN).where(
            Account.id == bindparam("account_id"), _IS_NOT_HELD
        )
    return Statement(rows)


def _lockable(
    claim_time: ClaimTime, *of_account: ColumnElement[bool], has_key_ids: bool
) -> AnySelect:
    column = getattr(Destination, claim_time)
    return (
        select(Destination.account_id, Destination.post_id, Destination.id)
        .join(Post, POST_JOIN)
        .where(
            *of_account,
            column <= _NOW,
            ~any_of(Destination.id, "locked_ids"),
            *_readable(has_key_ids=has_key_ids),
        )
        .order_by(column, Destination.id)
        .limit(bindparam("limit"))
        # Locks both: locking destinations first and posts later deadlocks with writers that lock the post.
        .with_for_update(of=[Post, Destination], skip_locked=True)
    )


async def expired_leases(
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> Sequence[AnyRow]:
    """Return workspace and post of expired leases in all workspaces.

    Served by ix_destination_leased, which contains only leased destinations.
    """
    return await reader.rows(_EXPIRED_LEASES, now=now, limit=limit)


_EXPIRED_LEASES = AllWorkspacesStatement(
    select(Destination.workspace_id, Destination.post_id)
    .where(Destination.lease_token.is_not(None), Destination.lease_expires_at <= bindparam("now"))
    .limit(bindparam("limit")),
    reason="maintenance of all workspaces",
)
