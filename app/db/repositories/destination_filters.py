"""Filters of destinations: their conditions in SQL, and the values of the parameters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    bindparam,
    exists,
    not_,
    or_,
    select,
    type_coerce,
)

from app.db.core.conditions import (
    any_of,
    filter_conditions,
    filter_param,
    filter_params,
    is_indexed_text,
    time_range_conditions,
)
from app.db.core.database import Reader
from app.db.core.paging import Direction, Order
from app.db.core.types import ColumnValues, UtcDateTime
from app.db.models import POST_JOIN, Destination, Post
from app.db.repositories.content_errors import HAS_CONTENT_ERROR
from app.db.repositories.media_checks import HAS_MEDIA_WARNING
from app.db.repositories.overdue import overdue_condition
from app.db.repositories.post_search import (
    SEARCH_CONDITIONS,
    join_search_index,
    page_search_values,
    search_values,
)
from app.domain.destinations import (
    OUTCOMES_BY_STATUS,
    OVERDUE_AFTER,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import (
    CANCELLED,
    Advice,
    ErrorSource,
    NextAction,
    known_errors,
    matching_errors,
)
from app.domain.ids import AccountId, DestinationId, PostId


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationCriteria:
    """Filters of destinations: None does not filter, an empty list matches nothing.

    `*_after` is inclusive, `*_before` is exclusive.
    """

    destination_id: Sequence[DestinationId] | None = None
    status: Sequence[DestinationStatus] | None = None
    platform: Sequence[str] | None = None
    account_id: Sequence[AccountId] | None = None
    post_id: Sequence[PostId] | None = None
    platform_post_url: Sequence[str] | None = None
    error_category: Sequence[ErrorCategory] | None = None
    error_code: Sequence[str] | None = None
    outcome: Sequence[Outcome] | None = None
    failure_group: Sequence[str] | None = None
    source: Sequence[ErrorSource] | None = None
    next_action: Sequence[NextAction] | None = None
    failed_after: datetime | None = None
    """Time at which the destination was settled as failed or unknown; excludes all others."""
    failed_before: datetime | None = None
    max_attempts: int | None = None
    """Maximum number of started attempts over all rounds."""
    scheduled_after: datetime | None = None
    scheduled_before: datetime | None = None
    published_after: datetime | None = None
    published_before: datetime | None = None
    next_retry_after: datetime | None = None
    next_retry_before: datetime | None = None
    settled_after: datetime | None = None
    """Time at which the final or unknown outcome was recorded; excludes destinations without one."""
    settled_before: datetime | None = None
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    overdue: bool | None = None
    late_by_seconds: int | None = None
    """Least lateness of the publication, or least time since the due time of an unsettled destination."""
    retrying: bool | None = None
    duplicated: bool | None = None
    invalid_content: bool | None = None
    media_warning: bool | None = None
    cancelled: bool | None = None
    draft: bool | None = None
    imported: bool | None = None
    awaits_outcome: bool | None = None
    search: str | None = None
    """Part of the text of the post."""
    reference: str | None = None
    """Reference of the post."""

    def with_outcome(self, outcome: Outcome) -> Self:
        """Return the filter restricted to an outcome; it matches nothing if the filter excludes that one."""
        is_included = self.outcome is None or outcome in self.outcome
        return replace(self, outcome=[outcome] if is_included else [])


def has_existing_post(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that the post is not deleted. Served by the primary key, or uq_post_kept.

    Not a join, for which SQLite may read all posts first, once it has statistics.
    """
    subquery = exists(Post.id).where(POST_JOIN, Post.deleted_at.is_(None), *conditions)
    return subquery.correlate(Destination)  # not the post of a statement that joins it


POST_NOT_DELETED = Destination.post_id.not_in(select(Post.id).where(Post.deleted_at.is_not(None)))
"""Condition of statements that aggregate many destinations. Served by ix_post_deleted."""

POST_NOT_IMPORTED = Destination.post_id.not_in(select(Post.id).where(Post.imported_at.is_not(None)))
"""Condition that the post was not imported, for the same statements. Served by ix_post_imported.

A read of each post takes ten times as long.
"""

_HAS_PUBLISHER = or_(
    Destination.claimable_at.is_not(None),
    Destination.lease_token.is_not(None),
    Destination.is_mirrored.expression,
)
AWAITS_OUTCOME = and_(
    Destination.settled_at.is_(None), Destination.due_at.is_not(None), _HAS_PUBLISHER
)
"""`domain.destinations.awaits_outcome` in SQL. Served by ix_destination_waiting.

No destination of a deleted post awaits its outcome.
"""

IS_RETRYING = and_(Destination.next_retry_at.is_not(None), _HAS_PUBLISHER)
"""Condition that a destination, which then is neither settled nor a draft's, awaits an automatic retry.

Served by ix_destination_next_retry.
"""

_HAS_DIAGNOSIS = or_(Destination.settled_at.is_not(None), AWAITS_OUTCOME)
"""Condition that an error has a diagnosis: that of `domain.diagnosis.diagnose_destination` in SQL."""

NEWEST_FIRST = Order(Destination.created_at, Destination.id, Direction.DESC)

_ERROR = type_coerce(Destination.error_category.concat("/"), Text()).concat(Destination.error_code)
"""Category and code as one text, because the type of a category limits the length."""


def _advice_condition(name: str) -> ColumnElement[bool]:
    """Return the condition that there is a diagnosis, with an advice that `_advice_values` selects.

    The first part selects most matches: of a disjunction, PostgreSQL would expect too few.
    """
    return and_(
        any_of(Destination.error_category, f"{name}_categories"),
        not_(any_of(_ERROR, f"{name}_excluded")),
        not_(
            and_(
                any_of(Destination.error_category, f"{name}_partial"),
                not_(any_of(_ERROR, f"{name}_errors")),
            )
        ),
        _HAS_DIAGNOSIS,
    )


LATE, PUBLISHED_LATE, WAITING_LATE = "late_by_seconds", "published_late", "waiting_late"
"""Names of the condition of lateness, and of its halves. ix_destination_lateness and _waiting serve them."""

_PUBLISHED_LATE = Destination.lateness_ms >= bindparam("late_by_ms")
_WAITING_LATE = and_(AWAITS_OUTCOME, Destination.due_at <= bindparam("late_due_before"))

_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **filter_conditions(
        destination_id=Destination.id,
        status=Destination.status,
        platform=Destination.platform,
        account_id=Destination.account_id,
        post_id=Destination.post_id,
        error_category=Destination.error_category,
        error_code=Destination.error_code,
        # No index has outcomes, so the matching statuses are added to use the index on status.
        outcome=Destination.outcome,
        outcome_statuses=Destination.status,
        failure_group=Destination.failure_group,
    ),
    **{
        name: and_(condition, is_indexed_text(Destination.platform_post_url))
        for name, condition in filter_conditions(
            platform_post_url=Destination.platform_post_url
        ).items()
    },
    **time_range_conditions(
        failed=Destination.failed_at,
        scheduled=Destination.due_at,
        published=Destination.published_at,
        next_retry=Destination.next_retry_at,
        settled=Destination.settled_at,
        updated=Destination.updated_at,
    ),
    "unknown": Destination.verifiable_at.is_not(None),
    "source": _advice_condition("source"),
    "next_action": and_(not_(IS_RETRYING), _advice_condition("next_action")),
    "next_action_or_wait": or_(IS_RETRYING, _advice_condition("next_action")),
    "max_attempts": Destination.attempts <= bindparam("max_attempts"),
    "overdue": overdue_condition(bindparam("overdue", type_=UtcDateTime())),
    "not_overdue": not_(overdue_condition(bindparam("not_overdue", type_=UtcDateTime()))),
    LATE: or_(_PUBLISHED_LATE, _WAITING_LATE),
    PUBLISHED_LATE: _PUBLISHED_LATE,
    WAITING_LATE: _WAITING_LATE,
    "retrying": IS_RETRYING,
    "not_retrying": not_(IS_RETRYING),
    "duplicated": Destination.is_duplicated.expression,
    "not_duplicated": not_(Destination.is_duplicated),
    "invalid_content": HAS_CONTENT_ERROR,
    "not_invalid_content": not_(HAS_CONTENT_ERROR),
    "media_warning": HAS_MEDIA_WARNING,
    "not_media_warning": not_(HAS_MEDIA_WARNING),
    "cancelled": Destination.error_code == CANCELLED,
    "not_cancelled": Destination.error_code.is_distinct_from(CANCELLED),
    "draft": Destination.due_at.is_(None),  # all others have a due time
    "not_draft": Destination.due_at.is_not(None),
    "imported": not_(POST_NOT_IMPORTED),
    "not_imported": POST_NOT_IMPORTED,
    "awaits_outcome": AWAITS_OUTCOME,
    "not_awaits_outcome": not_(AWAITS_OUTCOME),
    "reference": Destination.post_id.in_(
        select(Post.id)
        .where(Post.deleted_at.is_(None), Post.reference == bindparam("reference"))
        .correlate(None)
    ),
    "post_reference": has_existing_post(Post.reference == bindparam("post_reference")),
    **{
        name: has_existing_post(SEARCH_CONDITIONS[name])
        for name in ("search", "short_search", "newest")
    },
    "found_post_ids": any_of(Destination.post_id, "found_post_ids"),
    "index_query": Destination.post_id.in_(
        join_search_index(select(Post.id)).where(SEARCH_CONDITIONS["index_query"]).correlate(None)
    ),
}
"""Condition of each filter, under a name in the values of the filters."""


def conditions(filters: Iterable[str]) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters that are set: the names in the values of the filters."""
    return [_CONDITIONS[name] for name in filters if name in _CONDITIONS]


async def page_values(reader: Reader, criteria: DestinationCriteria, now: datetime) -> ColumnValues:
    """Return the values of the filters of a page; `now` decides what is overdue or late."""
    values = _values(criteria, now)
    if criteria.search:
        search = await page_search_values(reader, criteria.search)
        found = search.pop("candidate_ids", None)
        values |= search if found is None else {**search, "found_post_ids": found}
    return values


def count_values(reader: Reader, criteria: DestinationCriteria, now: datetime) -> ColumnValues:
    """Return the values of the filters of a total."""
    search = search_values(reader, criteria.search) if criteria.search else {}
    return _values(criteria, now) | search


def match_values(reader: Reader, criteria: DestinationCriteria, now: datetime) -> ColumnValues:
    """Return the values of the filters for one destination."""
    values = count_values(reader, criteria, now)
    values.pop("index_query", None)
    if "reference" in values:
        values["post_reference"] = values.pop("reference")
    return values


def _values(criteria: DestinationCriteria, now: datetime) -> ColumnValues:
    """Return the values of all filters but the search."""
    values = filter_params(replace(criteria, search=None, source=None, next_action=None))
    if criteria.outcome is not None:
        name, statuses = filter_param("outcome_statuses", statuses_for_outcomes(criteria.outcome))
        values[name] = statuses
        if [*criteria.outcome] == [Outcome.UNKNOWN]:
            values["unknown"] = True
    if criteria.late_by_seconds is not None:
        values["late_by_ms"] = criteria.late_by_seconds * 1000
        values["late_due_before"] = now - timedelta(seconds=criteria.late_by_seconds)
    if criteria.overdue is not None:
        values.pop("overdue")
        values["overdue" if criteria.overdue else "not_overdue"] = now - OVERDUE_AFTER
    for name in _FLAGS:
        if getattr(criteria, name) is False:
            values[f"not_{name}"] = values.pop(name)
    return values | _error_values(criteria)


_FLAGS = (
    "retrying",
    "duplicated",
    "invalid_content",
    "media_warning",
    "cancelled",
    "draft",
    "imported",
    "awaits_outcome",
)
"""Filters with a condition of their own for False."""


def _error_values(criteria: DestinationCriteria) -> ColumnValues:
    """Return the values of the filters by the advice for the error."""
    values: ColumnValues = {}
    sources, actions = criteria.source, criteria.next_action
    if sources is not None:
        values |= _advice_values("source", lambda advice: advice.source in sources)
    if actions is not None:
        values |= _advice_values("next_action", lambda advice: advice.next_action in actions)
        if [*actions] == [NextAction.WAIT]:
            values["retrying"] = values.pop("next_action")
        elif NextAction.WAIT in actions:
            values["next_action_or_wait"] = values.pop("next_action")
    return values


def _advice_values(name: str, matches: Callable[[Advice], bool]) -> ColumnValues:
    """Return the values of `_advice_condition` for the errors with a matching advice."""
    errors, categories = matching_errors(matches)
    excluded = [error for error in known_errors() if error not in errors]
    partial = sorted({category for category, _ in errors}.difference(categories))
    return {
        name: True,
        f"{name}_categories": [*categories, *partial],
        f"{name}_excluded": _error_texts(excluded),
        f"{name}_partial": partial,
        f"{name}_errors": _error_texts(errors),
    }


def _error_texts(errors: Iterable[tuple[ErrorCategory, str]]) -> list[str]:
    return [f"{category.value}/{code}" for category, code in errors]


def statuses_for_outcomes(outcomes: Sequence[Outcome]) -> Sequence[DestinationStatus]:
    """Return the statuses that a destination with one of the outcomes can have."""
    return [
        status
        for status in DestinationStatus
        if not OUTCOMES_BY_STATUS[status].isdisjoint(outcomes)
    ]
