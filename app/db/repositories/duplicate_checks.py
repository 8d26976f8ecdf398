"""Checks for second publications of destinations, and what they are compared with."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, delete, func, or_, select, update

from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import Statement
from app.db.core.types import UtcDateTime
from app.db.core.write_session import WriteSession
from app.db.core.writes import insert_rows
from app.db.models import Destination, DuplicateCheck, PublishEvidence
from app.domain.destinations import Destination as DomainDestination
from app.domain.destinations import Outcome
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId

_DUPLICATE_AGE = timedelta(days=1)
"""Longest time from a publication to its duplicate."""


@dataclass(frozen=True, slots=True)
class PendingCheck:
    """Check of one destination. Time and attempts are a fence: a lease changes them."""

    workspace_id: WorkspaceId
    destination_id: DestinationId
    account_id: AccountId
    check_at: datetime
    """Time from which it can be leased; of a leased one, the end of the lease."""
    attempts: int
    """Checks that began, with the leased one."""


async def add_check(
    session: WriteSession,
    workspace_id: WorkspaceId,
    destination: DomainDestination,
    check_at: datetime,
) -> None:
    row = {
        "workspace_id": workspace_id,
        "destination_id": destination.id,
        "account_id": destination.account_id,
        "check_at": check_at,
        "attempts": 0,
    }
    await insert_rows(session, DuplicateCheck, [row])


async def due_checks(
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> Sequence[PendingCheck]:
    """Return the longest due check of each of some random accounts of all workspaces.

    One check per account at a time leaves most of its rate limit to posts. Random, so that checks that fail
    delay no others.
    """
    rows = await reader.rows(_DUE, now=now, limit=limit)
    return [
        PendingCheck(
            WorkspaceId(row.workspace_id),
            DestinationId(row.destination_id),
            AccountId(row.account_id),
            row.check_at,
            row.attempts,
        )
        for row in rows
    ]


# Served by ix_duplicate_check_check_at.
_RANKED = (
    select(
        DuplicateCheck,
        func.row_number()
        .over(
            partition_by=(DuplicateCheck.workspace_id, DuplicateCheck.account_id),
            order_by=(DuplicateCheck.check_at, DuplicateCheck.destination_id),
        )
        .label("position"),
    )
    .where(DuplicateCheck.check_at <= bindparam("now"))
    .subquery()
)
_DUE = Statement(
    select(
        *(
            _RANKED.c[name]
            for name in ("workspace_id", "destination_id", "account_id", "check_at", "attempts")
        )
    )
    .where(_RANKED.c.position == 1)
    .order_by(func.random())
    .limit(bindparam("limit"))
)


async def lease_check(
    session: WriteSession, pending: PendingCheck, *, until: datetime
) -> PendingCheck | None:
    """Lease a check; None if another worker has leased it, or has stored its result."""
    row = await session.first(_LEASE, **_fence(pending), until=until)
    if row is None:
        return None
    return PendingCheck(
        pending.workspace_id, pending.destination_id, pending.account_id, until, row.attempts
    )


async def postpone_check(session: WriteSession, leased: PendingCheck, *, until: datetime) -> None:
    """End the lease of a check without a result, unless it is lost; the check is due again at a time."""
    await session.rows(_POSTPONE, **_fence(leased), until=until)


async def delete_check(session: WriteSession, leased: PendingCheck) -> bool:
    """Delete a leased check; False if the lease is lost."""
    return await session.first(_DELETE, **_fence(leased)) is not None


def _fence(pending: PendingCheck) -> dict[str, object]:
    return {
        "workspace": pending.workspace_id,
        "destination": pending.destination_id,
        "seen_check_at": pending.check_at,
        "seen_attempts": pending.attempts,
    }


_AS_SEEN = and_(
    DuplicateCheck.workspace_id == bindparam("workspace"),
    DuplicateCheck.destination_id == bindparam("destination"),
    DuplicateCheck.check_at == bindparam("seen_check_at", type_=UtcDateTime()),
    DuplicateCheck.attempts == bindparam("seen_attempts"),
)
_POSTPONE = (
    update(DuplicateCheck).where(_AS_SEEN).values(check_at=bindparam("until", type_=UtcDateTime()))
)
_LEASE = _POSTPONE.values(attempts=DuplicateCheck.attempts + 1).returning(DuplicateCheck.attempts)
_DELETE = delete(DuplicateCheck).where(_AS_SEEN).returning(DuplicateCheck.destination_id)


async def reported_publications(reader: Reader, account_id: AccountId, since: datetime) -> Set[str]:
    """Return the ids and URLs of publications on an account since a time, with those of their duplicates.

    Also returns older ones: a duplicate may be newer than the publication that its destination shows.
    Served by ix_destination_account_published, and the primary key of the evidence.
    """
    rows = await reader.rows(_REPORTED, account_id=account_id, since=since - _DUPLICATE_AGE)
    return {value for row in rows for value in row if value is not None}


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
    reader: Reader, account_id: AccountId, since: datetime, *, limit: int
) -> Sequence[PostId]:
    """Return posts that may be published on an account since a time under an id that is not reported.

    Served by ix_destination_account_unsettled, ix_destination_account_failed and
    ix_destination_account_published, or by another index of the account.
    """
    rows = await reader.rows(
        _WITHOUT_KNOWN_PUBLICATION,
        account_id=account_id,
        since=since - _DUPLICATE_AGE,
        limit=limit,
    )
    return [PostId(row.post_id) for row in rows]


_WITHOUT_KNOWN_PUBLICATION = Statement(
    select(Destination.post_id)
    .where(
        Destination.account_id == bindparam("account_id"),
        Destination.attempts > 0,
        or_(
            Destination.settled_at.is_(None),
            and_(
                Destination.error_category.is_not(None),  # for the index
                Destination.outcome == Outcome.UNKNOWN,
            ),
            and_(
                Destination.published_at >= bindparam("since"),
                Destination.platform_post_id.is_(None),
            ),
        ),
    )
    .limit(bindparam("limit"))
)
