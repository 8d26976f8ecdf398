"""Checks for second publications of destinations, and what they are compared with."""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from sqlalchemy import and_, bindparam, delete, exists, func, select, update

from app.db.core.conditions import unindexed
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, Statement, decoded_values
from app.db.core.types import field_names, values_of
from app.db.core.write_session import WriteSession
from app.db.core.writes import expected_values, insert_rows, is_unchanged
from app.db.models import AccountPause, Destination, DuplicateCheck, PublishEvidence
from app.db.repositories.checkpoints import has_unreadable_checkpoint
from app.db.repositories.credentials import has_unreadable_credentials
from app.domain.destinations import Outcome
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId

_MAX_RANKED = 1000
"""Due checks among which those to run next are selected."""


@dataclass(frozen=True, slots=True)
class PendingCheck:
    """Check of one destination. `check_at` is an optimistic lock: each lease changes it."""

    workspace_id: WorkspaceId
    destination_id: DestinationId
    post_id: PostId
    account_id: AccountId
    first_attempt_at: datetime
    """Start of the first attempt: a publication of the destination is not older."""
    check_at: datetime
    """Time from which it can be leased; of a leased one, the end of the lease."""
    attempts: int
    """Checks that began, with the leased one."""


async def add_check(session: WriteSession, check: PendingCheck) -> None:
    await insert_rows(session, DuplicateCheck, [values_of(check, _CHECK_COLUMNS)])


async def due_checks(
    reader: AllWorkspacesReader,
    now: datetime,
    *,
    key_ids: Collection[str],
    max_accounts: int,
    max_of_account: int,
) -> Sequence[Sequence[PendingCheck]]:
    """Return the longest due checks of each of some accounts of all workspaces that are not paused.

    Leaves out accounts and destinations whose credentials or checkpoint none of the keys decrypts. Random
    accounts of the longest due, so that checks that fail delay no others, and that several workers seldom
    select the same.
    """
    rows = await reader.rows(
        _DUE,
        now=now,
        key_ids=[*key_ids],
        max_accounts=max_accounts,
        max_of_account=max_of_account,
    )
    checks = [PendingCheck(**decoded_values(row, _COLUMNS)) for row in rows]
    return [[*of_account] for _, of_account in groupby(checks, _account_key)]


def _account_key(check: PendingCheck) -> tuple[WorkspaceId, AccountId]:
    return check.workspace_id, check.account_id


_COLUMNS = field_names(PendingCheck)
_CHECK_COLUMNS = field_names(PendingCheck, "workspace_id")


# Served by ix_duplicate_check_check_at, and the primary keys of pauses, credentials and checkpoints.
_LONGEST_DUE = (
    select(*(getattr(DuplicateCheck, name) for name in _COLUMNS))
    .where(
        DuplicateCheck.check_at <= bindparam("now"),
        ~exists().where(
            AccountPause.workspace_id == DuplicateCheck.workspace_id,
            AccountPause.account_id == DuplicateCheck.account_id,
            AccountPause.paused_until > bindparam("now"),
        ),
        ~has_unreadable_credentials(DuplicateCheck.workspace_id, DuplicateCheck.account_id),
        ~has_unreadable_checkpoint(DuplicateCheck.workspace_id, DuplicateCheck.destination_id),
    )
    .order_by(DuplicateCheck.check_at)
    .limit(_MAX_RANKED)
    .subquery()
    .c
)
_RANKED_CHECKS = select(
    *_LONGEST_DUE,
    func.row_number()
    .over(
        partition_by=(_LONGEST_DUE.workspace_id, _LONGEST_DUE.account_id),
        order_by=(_LONGEST_DUE.check_at, _LONGEST_DUE.destination_id),
    )
    .label("position"),
).cte("ranked_check")
_RANKED = _RANKED_CHECKS.c
_ACCOUNTS = (
    select(_RANKED.workspace_id, _RANKED.account_id)
    .where(_RANKED.position == 1)
    .order_by(func.random())
    .limit(bindparam("max_accounts"))
    .subquery()
)
_DUE = AllWorkspacesStatement(
    select(*(_RANKED[name] for name in _COLUMNS))
    .join_from(
        _ACCOUNTS,
        _RANKED_CHECKS,
        and_(
            _RANKED.workspace_id == _ACCOUNTS.c.workspace_id,
            _RANKED.account_id == _ACCOUNTS.c.account_id,
        ),
    )
    .where(_RANKED.position <= bindparam("max_of_account"))
    .order_by(_RANKED.workspace_id, _RANKED.account_id, _RANKED.position),
    reason="a worker serves all workspaces",
)


async def lease_check(
    session: WriteSession, due: PendingCheck, check_at: datetime
) -> PendingCheck | None:
    """Lease a check until it is due again; None if another worker has leased it, or stored its result."""
    leased = replace(due, check_at=check_at, attempts=due.attempts + 1)
    changed = {"check_at": check_at, "attempts": leased.attempts}
    row = await session.first(_LEASE, **expected_values(due, _LOCK), **changed)
    return None if row is None else leased


async def delete_check(session: WriteSession, check: PendingCheck) -> bool:
    """Delete a check; False if another worker has changed it since it was read or leased."""
    return await session.first(_DELETE, **expected_values(check, _LOCK)) is not None


_LOCK = ("destination_id", "check_at")
_IS_UNCHANGED = is_unchanged(DuplicateCheck, _LOCK)
_LEASE = (
    update(DuplicateCheck)
    .where(_IS_UNCHANGED)
    .values(check_at=bindparam("check_at"), attempts=bindparam("attempts"))
    .returning(DuplicateCheck.destination_id)
)
_DELETE = delete(DuplicateCheck).where(_IS_UNCHANGED).returning(DuplicateCheck.destination_id)


async def reported_publications(
    reader: Reader, account_ids: Sequence[AccountId], since: datetime
) -> Set[str]:
    """Return the ids and URLs of publications on accounts since a time, with those of their duplicates.

    Served by ix_destination_account_published, and the primary key of the evidence.
    """
    return {
        value
        for account_id in account_ids
        for row in await reader.rows(_REPORTED, account_id=account_id, since=since)
        for value in row
        if value is not None
    }


_REPORTED = Statement(
    select(
        Destination.platform_post_id,
        Destination.platform_post_url,
        PublishEvidence.platform_post_id.label("duplicate_id"),
        PublishEvidence.platform_post_url.label("duplicate_url"),
    )
    .select_from(Destination)
    .outerjoin(
        PublishEvidence,
        and_(
            Destination.is_duplicated,
            PublishEvidence.workspace_id == Destination.workspace_id,
            PublishEvidence.destination_id == Destination.id,
        ),
    )
    .where(
        Destination.account_id == bindparam("account_id"),
        Destination.published_at >= bindparam("since"),
    )
)


async def posts_without_known_publication(
    reader: Reader, account_ids: Sequence[AccountId], since: datetime, *, limit: int
) -> Set[PostId]:
    """Return posts that may be published on accounts since a time under an id that is not reported.

    An attempt that ended before cannot have published since. The limit is that of each statement.
    """
    return {
        PostId(row.post_id)
        for account_id in account_ids
        for statement in _WITHOUT_KNOWN_PUBLICATION
        for row in await reader.rows(statement, account_id=account_id, since=since, limit=limit)
    }


_WITHOUT_KNOWN_PUBLICATION = [
    Statement(
        select(Destination.post_id)
        .where(
            Destination.account_id == bindparam("account_id"), Destination.attempts > 0, *conditions
        )
        .limit(bindparam("limit"))
    )
    for conditions in (
        # Served by ix_destination_account_unsettled.
        (
            Destination.settled_at.is_(None),
            unindexed(Destination.updated_at) >= bindparam("since"),
        ),
        # Served by ix_destination_account_failed.
        (
            Destination.error_category.is_not(None),
            Destination.settled_at >= bindparam("since"),
            Destination.outcome == Outcome.UNKNOWN,
        ),
        # Served by ix_destination_account_published.
        (Destination.published_at >= bindparam("since"), Destination.platform_post_id.is_(None)),
    )
]
