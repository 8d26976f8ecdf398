"""Plans of pages of filtered destinations: the parts in which any can match, and how each is read.

A database cannot know how many destinations match the values of a filter. It would read all in page order
if none matches, or sort all that match, depending on its statistics. So matches of selective filters are
counted before, and sorted if they are few. PostgreSQL, which may use any index for a condition, finds these
by their ids. The indexes of due time and update hold the columns of some orders too, and sort far more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, false, or_, select

from app.db.core.conditions import any_of, equality_parameter, without_indexes
from app.db.core.database import Reader
from app.db.core.paging import Direction, NullGroup, Order
from app.db.core.projections import cached_statement
from app.db.core.statements import Record, Statement, column_values
from app.db.core.types import ColumnValues
from app.db.models import Destination, Post
from app.db.repositories.destination_filters import (
    LATE,
    PUBLISHED_LATE,
    WAITING_LATE,
    DestinationCriteria,
    conditions,
    page_values,
    statuses_for_outcomes,
)
from app.domain.destinations import DestinationStatus

MAX_SORTED = 3_000
"""Maximum number of matches that are sorted for a page. Of more, the first are mostly soon found in order."""

MAX_SORTED_UNSELECTIVE = 200
"""The same for an unselective filter, which usually matches many: finding that out must be cheap."""

MAX_SORTED_BY_INDEX = 150_000
"""The same for matches that an index sorts without the table, unless the first are soon found in order."""

MAX_DELETED_POSTS = 20_000
"""Maximum number of deleted posts of a workspace of which the database makes a list for each page."""

_DELETED_POSTS = Statement(
    select(Post.id).where(Post.deleted_at.is_not(None)).limit(bindparam("limit")), counts_rows=True
)
"""Served by ix_post_deleted."""

_BEFORE_EVERY_UPDATE = datetime.min.replace(tzinfo=UTC)
"""ix_destination_updated serves no statement without a condition on the time of the update."""


class PagePart(NamedTuple):
    """Conditions of the destinations in one group of a page."""

    filters: tuple[str, ...]
    """Names of the values that are set."""
    statuses: frozenset[DestinationStatus]
    """Statuses that matches can have."""
    sorted_filters: tuple[str, ...] = ()
    """Filters whose few matches are sorted; empty if the part is read in the order of the page."""
    ids: str | None = None
    """Name of the value with the ids of these matches; None on SQLite, and if an index sorts them."""
    is_sorted_by_index: bool = False
    """True if the index of the sorted filters has all columns of the conditions and the order."""

    @property
    def is_sorted(self) -> bool:
        return bool(self.sorted_filters)

    def conditions(self, order: Order) -> list[ColumnElement[bool]]:
        """Return the conditions; on SQLite, an index serves either the sorted filters or the order."""
        if self.ids is not None:
            return [any_of(Destination.id, self.ids), *conditions(self.filters)]
        indexed = self.sorted_filters or tuple(
            name for name in self.filters if _is_in_order(name, order)
        )
        others = conditions(name for name in self.filters if name not in indexed)
        if order.column.key == "due_at" or not _DUE_TIMES.isdisjoint(self.sorted_filters):
            others += _conditions_on_due_index(self.filters, self.statuses)
        return [*conditions(indexed), *map(without_indexes, others)]


@dataclass(frozen=True, slots=True)
class PagePlan:
    """Values of the filters of a page, and its parts; a group in which nothing matches has none."""

    values: ColumnValues
    parts: Mapping[NullGroup, PagePart]


async def plan_page(
    reader: Reader,
    criteria: DestinationCriteria,
    order: Order,
    now: datetime,
    *,
    null_groups: Iterable[NullGroup] = (NullGroup.ALL,),
    max_sorted_by_index: int = 0,
) -> PagePlan:
    """Return the plan of a page that reads these groups; `now` decides what is overdue or late.

    An index sorts at most `max_sorted_by_index` matches, and none by default: the statement has to select
    the ids of an `is_sorted_by_index` part first.
    """
    values = await page_values(reader, criteria, now)
    if order.column.key == "updated_at":
        values = {"updated_after": _BEFORE_EVERY_UPDATE, **values}
    matches = _Matches(reader, values, max_sorted_by_index)
    parts = {}
    for null_group in null_groups:
        if statuses := _statuses_in(null_group, order, criteria, values):
            part = PagePart(_specialize(values, statuses), statuses)
            if (part_to_read := await matches.sort_few(part, order, null_group)) is not None:
                parts[null_group] = part_to_read
    return PagePlan({**values, **matches.ids}, parts)


class _Matches:
    """Matches of the selective filters of a page, each counted once for all parts."""

    def __init__(self, reader: Reader, values: ColumnValues, max_sorted_by_index: int) -> None:
        self.ids: dict[str, Sequence[Any]] = {}
        """Ids of few matches by the name of their value; empty on SQLite."""
        self._reader = reader
        self._values = values
        self._max_sorted_by_index = max_sorted_by_index
        self._rows: dict[Statement, Sequence[Record]] = {}
        self._matching_more: dict[tuple[tuple[str, ...], int], bool] = {}

    async def sort_few(
        self, part: PagePart, order: Order, null_group: NullGroup
    ) -> PagePart | None:
        """Return the part with the first filters that match few, or as it is; None if nothing matches."""
        for filters in _selective_filters(part.filters, order):
            if await self._can_sort_by_index(part.filters, filters, order):
                if await self._match_more(filters, self._max_sorted_by_index_in(filters, order)):
                    continue
                return part._replace(sorted_filters=filters, is_sorted_by_index=True)
            only_count = self._reader.is_sqlite
            maximum = MAX_SORTED_UNSELECTIVE if filters[0] in _UNSELECTIVE else MAX_SORTED
            rows = await self._read(filters, part.statuses, maximum + 1, only_count=only_count)
            number = rows[0][0] if only_count else len(rows)
            if number > maximum:
                continue
            if number == 0:
                return None
            part = part._replace(sorted_filters=filters)
            if only_count:
                return part
            name = f"{null_group}_ids"
            self.ids[name] = column_values(rows, "id")
            return part._replace(ids=name)
        return part

    async def _can_sort_by_index(
        self, filters: tuple[str, ...], sorted_filters: tuple[str, ...], order: Order
    ) -> bool:
        if not (self._max_sorted_by_index and _has_all_columns(filters, sorted_filters, order)):
            return False
        deleted = await self._reader.count(_DELETED_POSTS, limit=MAX_DELETED_POSTS + 1)
        return deleted <= MAX_DELETED_POSTS

    def _max_sorted_by_index_in(self, filters: tuple[str, ...], order: Order) -> int:
        return MAX_SORTED if _reaches_first(filters, order) else self._max_sorted_by_index

    async def _match_more(self, filters: tuple[str, ...], number: int) -> bool:
        """Return whether more than a number match the filters, whatever their status.

        Takes less time than counting them.
        """
        if (filters, number) not in self._matching_more:
            rows = await self._reader.rows(
                _select_one_after(filters), **self._values, number=number
            )
            self._matching_more[filters, number] = bool(rows)
        return self._matching_more[filters, number]

    async def _read(
        self,
        filters: tuple[str, ...],
        statuses: frozenset[DestinationStatus],
        limit: int,
        *,
        only_count: bool,
    ) -> Sequence[Record]:
        counted_statuses = None if _DUE_TIMES.isdisjoint(filters) else statuses
        statement = _select_few(filters, counted_statuses, only_count=only_count)
        if statement not in self._rows:
            self._rows[statement] = await self._reader.rows(statement, **self._values, limit=limit)
        return self._rows[statement]


@cached_statement()
def _select_few(
    filters: tuple[str, ...], statuses: frozenset[DestinationStatus] | None, *, only_count: bool
) -> Statement:
    """Select the number or the ids of matches, of certain statuses or all, up to a limit.

    Served by the index of each filter, mostly without the table.
    """
    implied = _conditions_on_due_index(filters, statuses) if statuses else ()
    matches = select(Destination.id).where(*conditions(filters), *map(without_indexes, implied))
    return Statement(matches.limit(bindparam("limit")), counts_rows=only_count)


@cached_statement()
def _select_one_after(filters: tuple[str, ...]) -> Statement:
    """Select the id of a match that follows a number of others in the index of the filter."""
    matches = select(Destination.id).where(*conditions(filters))
    return Statement(matches.offset(bindparam("number")).limit(1))


def _conditions_on_due_index(
    filters: Iterable[str], statuses: frozenset[DestinationStatus]
) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that follow from the filters, and that the index of due times alone decides.

    Without them, a page of failures would read every destination that is due in the future.
    """
    if statuses < _ALL:
        yield or_(false(), *(Destination.status == status for status in sorted(statuses)))
    for name in filters:
        if name in _REQUIRING_ERROR:
            yield Destination.error_category.is_not(None)
        if name in ("source", "next_action"):
            yield any_of(Destination.error_category, f"{name}_categories")
        if name == LATE:
            is_due = Destination.due_at <= bindparam("late_due_before")
            yield or_(Destination.status == DestinationStatus.PUBLISHED, is_due)


_ALL = frozenset(DestinationStatus)
_UNSETTLED = frozenset((DestinationStatus.QUEUED, DestinationStatus.PUBLISHING))
_QUEUED, _FAILED, _PUBLISHED = (
    frozenset((status,))
    for status in (DestinationStatus.QUEUED, DestinationStatus.FAILED, DestinationStatus.PUBLISHED)
)
_ERROR_FILTERS = ("error_category", "error_code", "source", "next_action", "next_action_or_wait")
_STATUSES_OF_FILTERS: Mapping[str, frozenset[DestinationStatus]] = {
    **dict.fromkeys(
        (*_ERROR_FILTERS, *map(equality_parameter, _ERROR_FILTERS), "cancelled"),
        _UNSETTLED | _FAILED,
    ),
    **dict.fromkeys(("failed_after", "failed_before"), _FAILED),
    **dict.fromkeys(("settled_after", "settled_before"), _FAILED | _PUBLISHED),
    **dict.fromkeys(("failure_group", equality_parameter("failure_group")), _FAILED),
    **dict.fromkeys(("published_after", "published_before", "duplicated"), _PUBLISHED),
    **dict.fromkeys(("platform_post_url", equality_parameter("platform_post_url")), _PUBLISHED),
    **dict.fromkeys(("next_retry_after", "next_retry_before", "retrying"), _QUEUED),
    **dict.fromkeys(("overdue", "awaits_outcome", "media_warning"), _UNSETTLED),
    **dict.fromkeys(("draft", "invalid_content"), _QUEUED),
    LATE: _UNSETTLED | _PUBLISHED,
}
"""Statuses that a filter can match."""

_STATUSES_WITH_VALUE: Mapping[str, frozenset[DestinationStatus]] = {
    "failed_at": _FAILED,
    "published_at": _PUBLISHED,
    "lateness_ms": _PUBLISHED,
    "next_retry_at": _QUEUED,
}
"""Statuses in which a column can have a value; all for other columns."""

_VALUES_OF_STATUS = ("failed_at", "published_at", "lateness_ms")
"""Columns that always have a value in these statuses."""

_REQUIRING_ERROR = (
    *("error_code", equality_parameter("error_code"), "cancelled"),
    *("retrying", "next_retry_after", "next_retry_before"),
)
"""Filters that match only destinations with an error, without a condition on its category."""


def _statuses_in(
    null_group: NullGroup, order: Order, criteria: DestinationCriteria, filters: Iterable[str]
) -> frozenset[DestinationStatus]:
    """Return the statuses that matching destinations of the group can have, by the CHECKs of the table.

    Without it, SQLite would read a whole index in vain, such as that of lateness for failures.
    """
    column, statuses = order.column.key, _possible_statuses(criteria, filters)
    with_value = _STATUSES_WITH_VALUE.get(column, _ALL)
    match null_group:
        case NullGroup.NON_NULL:
            return statuses & with_value
        case NullGroup.NULL if column in _VALUES_OF_STATUS:
            return statuses - with_value
    return statuses


def _possible_statuses(
    criteria: DestinationCriteria, filters: Iterable[str]
) -> frozenset[DestinationStatus]:
    possible = _ALL.intersection(*(_STATUSES_OF_FILTERS.get(name, _ALL) for name in filters))
    if criteria.status is not None:
        possible &= frozenset(criteria.status)
    if criteria.outcome is not None:
        possible &= frozenset(statuses_for_outcomes(criteria.outcome))
    return possible


def _specialize(filters: Iterable[str], statuses: frozenset[DestinationStatus]) -> tuple[str, ...]:
    """Replace the filter by lateness by the half of it that can match in the statuses."""
    late = LATE
    if statuses <= _PUBLISHED:
        late = PUBLISHED_LATE
    elif statuses.isdisjoint(_PUBLISHED):
        late = WAITING_LATE
    return tuple(late if name == LATE else name for name in filters)


_UNSELECTIVE_LISTS = ("status", "outcome_statuses", "platform")
_UNSELECTIVE = {*_UNSELECTIVE_LISTS, *map(equality_parameter, _UNSELECTIVE_LISTS)}
"""Filters that usually match many."""

_DUE_TIMES = frozenset(("scheduled_after", "scheduled_before"))
_SORT_COLUMNS: Mapping[str, str | None] = {
    **{
        f"{name}_{bound}": column
        for name, column in {
            "failed": "failed_at",
            "scheduled": "due_at",
            "published": "published_at",
            "next_retry": "next_retry_at",
            "settled": None,
            "updated": "updated_at",
        }.items()
        for bound in ("after", "before")
    },
    "retrying": "next_retry_at",
    **dict.fromkeys(("one_failure_group", "failure_group", "unknown", "duplicated")),
    **dict.fromkeys(("overdue", LATE, "reference", "found_post_ids", "account_id")),
    **dict.fromkeys(("draft", "imported")),
    **dict.fromkeys(("platform_post_url", equality_parameter("platform_post_url"))),
    PUBLISHED_LATE: "lateness_ms",
    **dict.fromkeys((WAITING_LATE, "awaits_outcome"), "due_at"),
    **dict.fromkeys(_ERROR_FILTERS),
    **dict.fromkeys(_UNSELECTIVE_LISTS),
    **{
        equality_parameter(name): "created_at"
        for name in (
            *("account_id", "error_category", "error_code"),
            *_UNSELECTIVE_LISTS,
        )
    },
    "cancelled": "created_at",  # by the index of error codes
    **dict.fromkeys(("invalid_content", "media_warning"), "created_at"),
}
"""Column by which the index of a filter is sorted; None if by no column that is an order of pages.

Ids, which always match few, and filters without an index are absent.
"""


def _is_in_order(name: str, order: Order) -> bool:
    """Return whether a filter has no index, or one that returns the matches in the order."""
    return name not in _SORT_COLUMNS or _SORT_COLUMNS[name] == order.column.key


def _selective_filters(filters: Iterable[str], order: Order) -> list[tuple[str, ...]]:
    """Return sets of filters to try, whose matches may be few, and are not in the order.

    Unselective ones are tried only without others, and one by one: SQLite might use the index of
    the wrong one.
    """
    others = [name for name in filters if not _is_in_order(name, order)]
    selective = tuple(name for name in others if name not in _UNSELECTIVE)
    return [selective] if selective else [(name,) for name in others]


_RANGES_SORTED_BY_INDEX = (_DUE_TIMES, frozenset(("updated_after", "updated_before")))
_ORDERS_SORTED_BY_INDEX = ("created_at", "failed_at")
"""Not lateness, which the times do not affect: of many matches, some are near each end of its order."""
_FILTERS_SORTED_BY_INDEX = frozenset(("status", equality_parameter("status")))


def _has_all_columns(filters: Iterable[str], sorted_filters: Iterable[str], order: Order) -> bool:
    """Return whether ix_destination_due or ix_destination_updated has all columns of the conditions."""
    return order.column.key in _ORDERS_SORTED_BY_INDEX and any(
        times.issuperset(sorted_filters)
        and _FILTERS_SORTED_BY_INDEX.issuperset(name for name in filters if name not in times)
        for times in _RANGES_SORTED_BY_INDEX
    )


def _reaches_first(times: Iterable[str], order: Order) -> bool:
    """Return whether a range of times includes the last ones, newest first, or the earliest, oldest first.

    The other times of its destinations are then mostly at the beginning of the order too.
    """
    suffix = "_before" if order.direction is Direction.DESC else "_after"
    return not any(name.endswith(suffix) for name in times)
