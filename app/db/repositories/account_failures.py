"""Failures of accounts: numbers of open failures and unknown outcomes, and the last failure of each.

An open failure is a destination that is failed now, without an unknown outcome, a cancellation or a deleted
post.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select

from app.db.core.conditions import any_of, unindexed
from app.db.core.database import Reader
from app.db.core.statements import AnyRow, Statement
from app.db.models import ACCOUNT_JOIN, Account, Destination
from app.db.repositories.board_counts import MAX_BOARD_COUNT
from app.db.repositories.destination_filters import POST_NOT_DELETED
from app.db.repositories.destinations import DESTINATION_COLUMNS
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.diagnosis import CANCELLED
from app.domain.ids import AccountId

_OPEN_FAILURES = (
    select(Destination.id)
    .where(
        ACCOUNT_JOIN,
        Destination.error_category.is_not(None),
        Destination.status == DestinationStatus.FAILED,
        Destination.error_code != CANCELLED,
        Destination.outcome == Outcome.FAILED,
        POST_NOT_DELETED,
    )
    .correlate(Account)
)
"""Open failures of the outer query's account. Served by ix_destination_account_failed."""


async def open_failures_by_account_id(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
    """Return the number of open failures of each account that exists, but at most MAX_BOARD_COUNT + 1."""
    return await reader.rows(_OPEN_COUNTS, ids=ids, limit=MAX_BOARD_COUNT + 1)


_LIMITED = _OPEN_FAILURES.limit(bindparam("limit")).subquery()
_OPEN_COUNT = select(func.count()).select_from(_LIMITED).correlate(Account).scalar_subquery()
_OPEN_COUNTS = Statement(
    select(Account.id.label("account_id"), _OPEN_COUNT.label("failures")).where(
        any_of(Account.id, "ids")
    )
)


async def unknown_count_by_account_id(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
    """Return the number of unknown outcomes of each account that has some.

    Reads all unknown outcomes of the workspace, which are few, from ix_destination_verifiable: no index has
    them by account. `verifiable_at` is set only for unknown outcomes of posts that are not deleted.
    """
    return await reader.rows(_UNKNOWN_COUNTS, ids=ids)


_UNKNOWN_COUNTS = Statement(
    select(Destination.account_id, func.count().label("outcomes"))
    .where(Destination.verifiable_at.is_not(None), any_of(unindexed(Destination.account_id), "ids"))
    .group_by(unindexed(Destination.account_id))
)


async def last_failures_by_account_id(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
    """Return the latest open failure of each account that has one, as a row of the destination."""
    return await reader.rows(_LAST_FAILURES, ids=ids)


_LAST_ID = (
    _OPEN_FAILURES.order_by(Destination.settled_at.desc(), Destination.id.desc())
    .limit(1)
    .scalar_subquery()
)
# A join, because PostgreSQL may read all destinations for `id IN`.
_LAST_FAILURES = Statement(
    select(*DESTINATION_COLUMNS)
    .select_from(Account)
    .join(Destination, Destination.id == _LAST_ID)
    .where(any_of(Account.id, "ids"))
)
