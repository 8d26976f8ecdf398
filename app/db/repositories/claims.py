"""Queries of the job queue: claimable destinations, unknown outcomes, and expired leases."""

import operator
from collections.abc import Callable, Collection, Sequence, Set
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import any_of, sort_key, unindexed
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement
from app.db.models import (
    ACCOUNT_JOIN,
    POST_JOIN,
    Account,
    AccountCredentials,
    Destination,
    Post,
    Workspace,
)
from app.db.repositories.checkpoints import (
    checkpoint_key_ids,
    has_unreadable_checkpoint,
    workspaces_with_checkpoints_of_keys,
)
from app.db.repositories.credentials import has_unreadable_credentials
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationStatus
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId, WorkspaceKind


class ClaimTime(StrEnum):
    """Column with the time from which a destination can be claimed."""

    CLAIMABLE = "claimable_at"
    """Time from which it can be claimed to publish it."""
    VERIFIABLE = "verifiable_at"
    """Time from which it can be claimed to verify its unknown outcome."""


class ClaimGroup(NamedTuple):
    """Destinations of one publisher, on one platform or on all, and on one account or on all."""

    publisher: AccountPublisher
    platform: str | None
    account_id: AccountId | None = None


async def workspaces_to_claim_from(
    reader: AllWorkspacesReader,
    claim_time: ClaimTime,
    now: datetime,
    *,
    groups: Sequence[ClaimGroup],
    workspace_id: WorkspaceId | None,
    rotation_start: WorkspaceId,
    limit: int,
) -> list[WorkspaceId]:
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
    workspace_ids: list[WorkspaceId] = []
    for comparison, bound in ranges:
        if remaining := limit - len(workspace_ids):
            statement = _select_workspaces(claim_time, comparison, have_platform)
            rows = await reader.rows(statement, bound=bound, limit=remaining, **values)
            workspace_ids += [WorkspaceId(row.id) for row in rows]
    return workspace_ids


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
        select(Workspace.id)
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


async def workspaces_with_unreadable_secrets(
    reader: AllWorkspacesReader, workspace_ids: Sequence[WorkspaceId], key_ids: Collection[str]
) -> Set[WorkspaceId]:
    """Return those of the workspaces that have credentials or checkpoints which none of the keys decrypts.

    Served by ix_credential_workspace_id_key_id, and by ix_checkpoint_key_id, from which the checkpoints are
    read only if any of them has another key.
    """
    rows = await reader.rows(
        _WITH_UNREADABLE_CREDENTIALS, workspace_ids=workspace_ids, key_ids=[*key_ids]
    )
    found = {WorkspaceId(row.workspace_id) for row in rows}
    other_keys = {*await checkpoint_key_ids(reader)}.difference(key_ids)
    if other_keys:
        found |= await workspaces_with_checkpoints_of_keys(reader, other_keys) & {*workspace_ids}
    return found


_WITH_UNREADABLE_CREDENTIALS = AllWorkspacesStatement(
    select(AccountCredentials.workspace_id)
    .where(
        any_of(AccountCredentials.workspace_id, "workspace_ids"),
        ~any_of(AccountCredentials.key_id, "key_ids"),
    )
    .distinct(),
    reason="a worker serves all workspaces",
)


async def readable_accounts_to_claim_from(
    reader: Reader,
    claim_time: ClaimTime,
    now: datetime,
    *,
    groups: Sequence[ClaimGroup],
    key_ids: Collection[str],
) -> list[ClaimGroup]:
    """Return the accounts of the groups that have destinations to claim, each as a group.

    Leaves out accounts whose credentials none of the keys decrypts, however many destinations wait on them,
    and accounts on which all destinations wait for the key of their checkpoint. Costs two lookups in
    ix_destination_account_unsettled for each other account, or reads ix_destination_verifiable: unknown
    outcomes are few. Each destination that is left out costs a lookup of its checkpoint.
    """
    rows = await reader.rows(_READABLE_ACCOUNTS[claim_time], now=now, key_ids=[*key_ids])
    platforms = {(group.publisher, group.platform) for group in groups}
    return [
        ClaimGroup(row.publisher, row.platform, AccountId(row.id))
        for row in rows
        if not platforms.isdisjoint({(row.publisher, None), (row.publisher, row.platform)})
    ]


_HAS_READABLE_CHECKPOINT = ~has_unreadable_checkpoint(Destination.workspace_id, Destination.id)
"""True also without a checkpoint."""


def _earliest_on_account(status: DestinationStatus) -> ScalarSelect[datetime | None]:
    # Not min(): PostgreSQL would read all destinations of the account, because of the checkpoints.
    return (
        select(Destination.claimable_at)
        .where(
            ACCOUNT_JOIN,
            Destination.settled_at.is_(None),
            Destination.status == status,
            Destination.claimable_at.is_not(None),
            _HAS_READABLE_CHECKPOINT,
        )
        .order_by(Destination.claimable_at)
        .limit(1)
        .correlate(Account)
        .scalar_subquery()
    )


_READABLE_ACCOUNTS = {
    claim_time: Statement(
        select(Account.id, Account.publisher, Account.platform).where(
            ~has_unreadable_credentials(Account.workspace_id, Account.id), can_claim
        )
    )
    for claim_time, can_claim in (
        (
            ClaimTime.CLAIMABLE,
            or_(
                *(
                    _earliest_on_account(status) <= bindparam("now")
                    for status in (DestinationStatus.QUEUED, DestinationStatus.PUBLISHING)
                )
            ),
        ),
        (
            ClaimTime.VERIFIABLE,
            Account.id.in_(
                select(Destination.account_id).where(
                    Destination.verifiable_at <= bindparam("now"), _HAS_READABLE_CHECKPOINT
                )
            ),
        ),
    )
}


async def lock_destinations(
    reader: Reader,
    claim_time: ClaimTime,
    now: datetime,
    *,
    group: ClaimGroup,
    key_ids: Collection[str],
    limit: int,
) -> list[tuple[PostId, DestinationId]]:
    """Lock destinations to claim with their posts until the transaction ends, the earliest time first.

    Skips rows that another transaction has locked, and on an account, destinations whose checkpoint none of
    the keys decrypts. Served by ix_destination_claimable_publisher, with a platform by
    ix_destination_claimable_platform, and with an account by ix_destination_account_unsettled. Those to
    verify are served by ix_destination_verifiable: unknown outcomes are few, so their publisher, platform
    and account need no index.
    """
    values: dict[str, object] = {"now": now, "limit": limit, "publisher": group.publisher}
    if group.account_id is not None:
        statement = _LOCKABLE_ON_ACCOUNT[claim_time]
        values |= {"account_id": group.account_id, "key_ids": [*key_ids]}
    else:
        statement = _select_lockable(claim_time, of_platform=group.platform is not None)
        if group.platform is not None:
            values["platform"] = group.platform
    rows = await reader.rows(statement, **values)
    return [(PostId(row.post_id), DestinationId(row.id)) for row in rows]


@cached_statement()
def _select_lockable(claim_time: ClaimTime, *, of_platform: bool) -> Statement:
    column = getattr(Destination, claim_time)
    return _lock_statement(column, column, *_group_conditions("", of_platform=of_platform))


def _lock_statement(
    claim_time: InstrumentedAttribute[datetime | None],
    order: ColumnElement[datetime] | InstrumentedAttribute[datetime | None],
    *conditions: ColumnElement[bool],
) -> Statement:
    return Statement(
        select(Destination.post_id, Destination.id)
        .join(Post, POST_JOIN)
        .where(claim_time <= bindparam("now"), *conditions)
        .order_by(order, Destination.id)
        .limit(bindparam("limit"))
        # Locks both: locking destinations first and posts later deadlocks with writers that lock the post.
        .with_for_update(of=[Post, Destination], skip_locked=True)
    )


# Neither an index of the publisher nor one of the time, which have the destinations of all accounts.
_ON_ACCOUNT = (
    Destination.account_id == bindparam("account_id"),
    unindexed(Destination.publisher) == bindparam("publisher", type_=Destination.publisher.type),
    _HAS_READABLE_CHECKPOINT,
)
_LOCKABLE_ON_ACCOUNT = {
    ClaimTime.CLAIMABLE: _lock_statement(
        Destination.claimable_at,
        sort_key(Destination.claimable_at),
        *_ON_ACCOUNT,
        Destination.settled_at.is_(None),
        Destination.status.in_([DestinationStatus.QUEUED, DestinationStatus.PUBLISHING]),
    ),
    ClaimTime.VERIFIABLE: _lock_statement(
        Destination.verifiable_at, Destination.verifiable_at, *_ON_ACCOUNT
    ),
}


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
