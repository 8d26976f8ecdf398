"""Numbers of destinations that need attention, each counted up to a limit, by one statement.

Destinations that await their outcome, or are published or unknown, belong to posts that are not deleted.
Those that failed also look up whether the post is deleted.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, func, not_, or_, select

from app.db.core.conditions import any_of, unindexed
from app.db.core.database import Reader
from app.db.core.projections import Projection
from app.db.core.statements import AnyRow, Record, Statement
from app.db.core.types import UtcDateTime, field_names
from app.db.models import Destination
from app.db.repositories.accounts import all_accounts
from app.db.repositories.content_errors import HAS_CONTENT_ERROR
from app.db.repositories.destination_filters import AWAITS_OUTCOME, IS_RETRYING, POST_NOT_DELETED
from app.db.repositories.media_checks import HAS_MEDIA_WARNING
from app.db.repositories.overdue import overdue_condition
from app.domain.accounts import AccountAccess, ReconnectionState, blocking_reason
from app.domain.destinations import OVERDUE_AFTER, DestinationStatus, Outcome
from app.domain.ids import AccountId

MAX_BOARD_COUNT = 10_000
"""Largest number that is counted exactly."""

SOON = timedelta(hours=24)
"""Time from now on in which a due time is soon."""


class BlockedAccount(NamedTuple):
    """Account that cannot post."""

    id: AccountId
    awaits_reconnection: bool
    """True if its due destinations wait instead of failing."""


async def account_access(reader: Reader) -> dict[AccountId, AccountAccess]:
    """Return the access of all accounts of the workspace."""
    return {AccountId(row.id): _access(row) for row in await all_accounts(reader, _ACCESS)}


async def blocked_accounts(reader: Reader, now: datetime) -> list[BlockedAccount]:
    """Return the accounts of the workspace that cannot post."""
    return [
        BlockedAccount(
            AccountId(row.id),
            awaits_reconnection=ReconnectionState(
                **{name: getattr(row, name) for name in _RECONNECTION_FIELDS}
            ).is_awaited,
        )
        for row in await all_accounts(reader, _ACCESS_AND_RECONNECTION)
        if blocking_reason(_access(row), now) is not None
    ]


async def blocked_account_ids(reader: Reader, now: datetime) -> list[AccountId]:
    """Return the ids of the same accounts."""
    return [account.id for account in await blocked_accounts(reader, now)]


def _access(row: AnyRow) -> AccountAccess:
    return AccountAccess(row.is_active, row.needs_reconnection_since, row.token_expires_at)


_ACCESS_FIELDS = frozenset(field_names(AccountAccess))
_ACCESS = Projection(_ACCESS_FIELDS)
_RECONNECTION_FIELDS = field_names(ReconnectionState)
_ACCESS_AND_RECONNECTION = Projection(_ACCESS_FIELDS | {*_RECONNECTION_FIELDS})


async def count_for_board(
    reader: Reader, *, since: datetime, now: datetime, failing_ids: Sequence[AccountId]
) -> Record:
    """Return the columns BOARD_COUNTS; a number above MAX_BOARD_COUNT means that there are more."""
    row = await reader.first(
        _STATEMENT,
        since=since,
        now=now,
        cutoff=now - OVERDUE_AFTER,
        soon=now + SOON,
        failing_ids=failing_ids,
        limit=MAX_BOARD_COUNT + 1,
    )
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY
    return row


def _time(name: str) -> ColumnElement[datetime]:
    return bindparam(name, type_=UtcDateTime())


_IS_WAITING = (
    Destination.settled_at.is_(None),
    Destination.due_at.is_not(None),
    Destination.claimable_at.is_not(None),
    Destination.due_at <= _time("soon"),
)
"""Served by ix_destination_waiting, as are all columns of the condition."""


def _count(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    limited = select(Destination.id).where(*conditions).limit(bindparam("limit")).subquery()
    return select(func.count()).select_from(limited).scalar_subquery()


_COUNTS = {
    # Served by ix_destination_failed.
    "failed": _count(
        Destination.failed_at.is_not(None),
        Destination.failed_at >= _time("since"),
        Destination.outcome == Outcome.FAILED,
        POST_NOT_DELETED,
    ),
    "unknown": _count(Destination.verifiable_at.is_not(None)),
    "overdue": _count(overdue_condition(_time("cutoff"))),
    # A destination is claimable at its next retry, so it is not overdue before.
    "retrying": _count(
        IS_RETRYING,
        or_(Destination.next_retry_at > _time("cutoff"), not_(overdue_condition(_time("cutoff")))),
    ),
    "publishing": _count(Destination.status == DestinationStatus.PUBLISHING, AWAITS_OUTCOME),
    "due_soon": _count(*_IS_WAITING, Destination.due_at > _time("now")),
    "will_fail": _count(*_IS_WAITING, any_of(Destination.account_id, "failing_ids")),
    "invalid_content": _count(HAS_CONTENT_ERROR),
    "media_warning": _count(HAS_MEDIA_WARNING),
    # Served by ix_destination_duplicated.
    "duplicated": _count(
        Destination.is_duplicated.expression, unindexed(Destination.published_at) >= _time("since")
    ),
}
_STATEMENT = Statement(select(*(count.label(name) for name, count in _COUNTS.items())))
BOARD_COUNTS = tuple(_COUNTS)
"""Columns of the numbers."""
