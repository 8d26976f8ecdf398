"""Bulk actions: the same change of all objects that match a filter, in pages, with a dry run and a plan."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from app.db.core.database import Database, Reader
from app.db.core.paging import Page, PageRequest
from app.db.core.statements import AnyRow
from app.db.repositories.posts import destination_counts_by_post_id, load_posts
from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey, canonicalize
from app.domain.ids import PostId
from app.domain.posts import MAX_BULK_DESTINATIONS, Post
from app.domain.signing import KeysetPosition
from app.runtime.computations import run_in_thread
from app.services.bulk_plans import BulkPlan
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.unit_of_work import UnitOfWork, WriteContext

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_BULK_CHANGES = 500
"""Objects of one call, which are decided in one short transaction."""


class BulkCriteria(Protocol):
    """Filter of a bulk action, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def updated_before(self) -> datetime | None:
        """Exclusive upper bound of the time of the last change."""


CriteriaT = TypeVar("CriteriaT", bound=BulkCriteria)


class BulkDecision(Protocol):
    """Decision about one object."""

    @property
    def refusal(self) -> StrEnum | None:
        """Reason why the object is not changed; None if it is."""


DecisionT = TypeVar("DecisionT", bound=BulkDecision)
RefusalT = TypeVar("RefusalT", bound=StrEnum)
RefusalCounts: TypeAlias = Counter[StrEnum | None]
"""Numbers of objects by the reason why they are refused; None counts those that are eligible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPage(Generic[DecisionT]):
    """Decisions about the objects of a page, in page order."""

    decisions: Sequence[DecisionT]
    has_more: bool
    end: KeysetPosition | None
    """Position of the page's last object, to continue from; None for an empty page."""

    @property
    def changed_count(self) -> int:
        return self.counts[None]

    @property
    def counts(self) -> RefusalCounts:
        return Counter(decision.refusal for decision in self.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun(Generic[CriteriaT, DecisionT]):
    """Decisions about the first objects, and the numbers and plan of all that match."""

    page: BulkPage[DecisionT]
    counts: RefusalCounts
    plan: BulkPlan[CriteriaT] | None
    """None if no object would be changed."""


class BulkAction(ABC, Generic[CriteriaT, DecisionT]):
    """A change of posts or destinations that match a filter. The newest objects come first."""

    criteria_type: type[CriteriaT]
    """Type of the filter, from which plans are decoded."""
    decision_type: type[DecisionT]
    """Type of the decisions, from which stored results are decoded."""

    @abstractmethod
    def restrict(self, criteria: CriteriaT) -> CriteriaT:
        """Return the filter of the objects to decide about."""

    def exclude_refused(self, criteria: CriteriaT) -> CriteriaT:
        """Return the filter without objects that are refused, as far as it can express that."""
        return criteria

    @abstractmethod
    async def read_page(
        self, reader: Reader, criteria: CriteriaT, request: PageRequest, now: datetime
    ) -> Page:
        """Return matching rows with `id`, `post_id`, `created_at` and `updated_at`, newest first.

        `post_id` is missing if the rows are posts.
        """

    async def read_planned_page(
        self, reader: Reader, criteria: CriteriaT, request: PageRequest, now: datetime
    ) -> Page:
        """Return a page as `read_page`; refused objects may be left out, so that they do not fill pages."""
        return await self.read_page(reader, criteria, request, now)

    @abstractmethod
    async def count_by_refusal(
        self, reader: Reader, criteria: CriteriaT, now: datetime
    ) -> RefusalCounts:
        """Count all matches by the reason of their refusal."""

    @abstractmethod
    async def decide(
        self, reader: Reader, posts: Sequence[Post], rows: Sequence[AnyRow], now: datetime
    ) -> tuple[list[Post], list[DecisionT]]:
        """Return the posts after the change of the rows, and a decision for each row."""


async def run_bulk_action(
    database: Database,
    write_context: WriteContext,
    action: BulkAction[CriteriaT, DecisionT],
    criteria: CriteriaT,
    request: PageRequest,
    idempotency_key: IdempotencyKey | None,
) -> BulkPage[DecisionT]:
    """Change the matching objects of a page, in one transaction.

    Raises InvalidInput for a filter that no field narrows.
    """
    _require_selective(criteria)
    restricted = action.restrict(criteria)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        matches = await action.read_page(uow.reader, restricted, request, write_context.now)
        return _to_json(await _change(uow, action, matches))

    canonical = [canonicalize(criteria), canonicalize(request)]
    outcome = await run_idempotently(database, write_context, idempotency_key, canonical, work)
    return _from_json(action, outcome)


async def run_bulk_plan(
    database: Database,
    write_context: WriteContext,
    action: BulkAction[CriteriaT, DecisionT],
    plan: BulkPlan[CriteriaT],
    size: int,
    idempotency_key: IdempotencyKey | None,
) -> tuple[BulkPage[DecisionT], BulkPlan[CriteriaT] | None]:
    """Change the next `size` objects of a plan, in one transaction; return the plan of the remaining ones.

    Raises Conflict, and changes nothing, if the plan has expired or more objects are eligible than it has
    left.
    """

    async def work(uow: UnitOfWork) -> StoredOutcome:
        plan.require_valid(write_context.now)
        counts = await action.count_by_refusal(uow.reader, plan.criteria, write_context.now)
        plan.require_unchanged(counts[None])
        request = PageRequest(size=size, after=plan.after)
        matches = await action.read_planned_page(
            uow.reader, plan.criteria, request, write_context.now
        )
        page = await _change(uow, action, matches)
        # On PostgreSQL, objects may have become eligible since they were counted.
        plan.require_unchanged(page.changed_count)
        return _to_json(page)

    canonical = [canonicalize(plan), size]
    outcome = await run_idempotently(database, write_context, idempotency_key, canonical, work)
    page = _from_json(action, outcome)
    return page, plan.continued(page.changed_count, page.end) if page.has_more else None


async def dry_run_bulk_action(
    database: Database,
    write_context: WriteContext,
    action: BulkAction[CriteriaT, DecisionT],
    criteria: CriteriaT,
    request: PageRequest,
) -> DryRun[CriteriaT, DecisionT]:
    """Return the page that `run_bulk_action` would return, the numbers of all matches, and a plan for them.

    Writes nothing and takes no lock. Raises InvalidInput for a filter that no field narrows.
    """
    _require_selective(criteria)
    reader = database.reader(write_context.workspace_id)
    return await run_in_thread(
        partial(_decide, reader, action, criteria, request, write_context.now)
    )


async def _decide(
    reader: Reader,
    action: BulkAction[CriteriaT, DecisionT],
    criteria: CriteriaT,
    request: PageRequest,
    now: datetime,
) -> DryRun[CriteriaT, DecisionT]:
    """Return the decisions about a page, the numbers and the plan, from reads only."""
    restricted = action.restrict(criteria)
    matches = await _limit_posts(reader, await action.read_page(reader, restricted, request, now))
    posts = await load_posts(reader, _post_ids(matches.rows))
    rows = _unchanged_rows(matches.rows, posts)
    _, decisions = await action.decide(reader, _not_deleted(posts), rows, now)
    planned = _unchanged_since(action.exclude_refused(restricted), now)
    planned_count = (await action.count_by_refusal(reader, planned, now))[None]
    plan = BulkPlan(criteria=planned, created_at=now, remaining_count=planned_count)
    return DryRun(
        page=_page(matches, decisions),
        counts=await action.count_by_refusal(reader, restricted, now),
        plan=plan if planned_count else None,
    )


def _unchanged_since(criteria: CriteriaT, cutoff: datetime) -> CriteriaT:
    """Return the filter without objects that were changed after the cutoff."""
    bound = cutoff + timedelta(milliseconds=1)  # exclusive, and stored times have milliseconds
    if criteria.updated_before is not None:
        bound = min(bound, criteria.updated_before)
    return replace(criteria, updated_before=bound)


_UNSELECTIVE_VALUES: Mapping[str, object] = MappingProxyType(
    {
        **dict.fromkeys(
            ("overdue", "retrying", "duplicated", "cancelled", "draft", "imported"), False
        ),
        **dict.fromkeys(("invalid_content", "media_warning", "awaits_outcome"), False),
        "search": "",
    }
)
"""Values that all failed destinations, or all posts, match; retries leave out cancelled ones by default."""


def _require_selective(criteria: "DataclassInstance") -> None:
    """Raise InvalidInput if no field narrows the filter: an omission must not change the whole workspace."""
    for name, value in asdict(criteria).items():
        is_state_filter = bool(value) and name in ("status", "outcome")
        if value is not None and value != _UNSELECTIVE_VALUES.get(name) and not is_state_filter:
            return
    raise InvalidInput(
        "The filter is too broad: set a field that narrows it, such as accountId, a time or a reference."
        " A status, an outcome, false and an empty search do not.",
        argument="filter",
    )


async def _change(
    uow: UnitOfWork, action: BulkAction[CriteriaT, DecisionT], matches: Page
) -> BulkPage[DecisionT]:
    now = uow.write_context.now
    matches = await _limit_posts(uow.reader, matches)
    posts = await uow.load_posts_for_update(_post_ids(matches.rows))
    rows = _unchanged_rows(matches.rows, posts)
    changed, decisions = await action.decide(uow.reader, _not_deleted(posts), rows, now)
    await uow.save_posts(changed)
    return _page(matches, decisions)


async def _limit_posts(reader: Reader, matches: Page) -> Page:
    """Cut the page so that its posts have at most MAX_BULK_DESTINATIONS in all; the first post stays."""
    counts = await destination_counts_by_post_id(reader, _post_ids(matches.rows))
    total = 0
    for index, row in enumerate(matches.rows):
        total += counts.pop(_post_id(row), 0)
        if index and total > MAX_BULK_DESTINATIONS:
            return replace(matches, rows=matches.rows[:index], has_next_page=True)
    return matches


def _unchanged_rows(rows: Sequence[AnyRow], posts: Mapping[PostId, Post]) -> list[AnyRow]:
    """Return the rows that were not changed, removed or deleted between their read and that of the posts.

    On PostgreSQL, a row that was changed meanwhile, before the lock, may not match the filter any more.
    """
    update_times: dict[UUID, datetime] = {}
    for post in _not_deleted(posts):
        update_times[post.id] = post.updated_at
        update_times |= {each.id: each.updated_at for each in post.destinations}
    return [row for row in rows if update_times.get(row.id) == row.updated_at]


def _not_deleted(posts: Mapping[PostId, Post]) -> list[Post]:
    return [post for post in posts.values() if post.deleted_at is None]


def _post_ids(rows: Sequence[AnyRow]) -> set[PostId]:
    return {_post_id(row) for row in rows}


def _post_id(row: AnyRow) -> PostId:
    """Return the post of a destination, or the post itself."""
    return PostId(getattr(row, "post_id", row.id))


def _page(matches: Page, decisions: Sequence[DecisionT]) -> BulkPage[DecisionT]:
    last = matches.rows[-1] if matches.rows else None
    return BulkPage(
        decisions=decisions,
        has_more=matches.has_next_page,
        end=None if last is None else KeysetPosition(last.created_at, str(last.id)),
    )


def _to_json(page: BulkPage[DecisionT]) -> StoredOutcome:
    return {
        "decisions": msgspec.to_builtins(page.decisions),
        "has_more": page.has_more,
        "end": msgspec.to_builtins(page.end),
    }


def _from_json(
    action: BulkAction[CriteriaT, DecisionT], outcome: StoredOutcome
) -> BulkPage[DecisionT]:
    return BulkPage(
        decisions=[msgspec.convert(each, action.decision_type) for each in outcome["decisions"]],
        has_more=outcome["has_more"],
        end=msgspec.convert(outcome["end"], KeysetPosition | None),
    )
