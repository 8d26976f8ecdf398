"""Bulk actions: the same change of all objects that match a filter, in pages, with a dry run and a plan."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from app.db.core.database import Database, Reader
from app.db.core.paging import Page, PageRequest
from app.db.core.statements import AnyRow
from app.db.repositories.posts import load_posts
from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey, canonicalize
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import Post
from app.domain.signing import KeysetPosition
from app.services.bulk_plans import BulkPlan, CriteriaT
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.unit_of_work import UnitOfWork, WriteContext

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_BULK_CHANGES = 500
"""Objects of one call, which are decided in one short transaction."""


class Decision(Protocol):
    """Decision about one object."""

    @property
    def refusal(self) -> StrEnum | None:
        """Reason why the object is not changed; None if it is."""


DecisionT = TypeVar("DecisionT", bound=Decision)
RefusalT = TypeVar("RefusalT", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationDecision(Generic[RefusalT]):
    """Decision about a destination."""

    destination_id: DestinationId
    post_id: PostId
    account_id: AccountId
    platform: str
    refusal: RefusalT | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPage(Generic[DecisionT]):
    """Decisions about the objects of a page, in page order."""

    decisions: Sequence[DecisionT]
    has_more: bool
    end: KeysetPosition | None
    """Position of the page's last object, to continue from; None for an empty page."""

    @property
    def changed_count(self) -> int:
        return sum(decision.refusal is None for decision in self.decisions)

    @property
    def refused_counts(self) -> Counter[StrEnum]:
        """Numbers of objects that are not changed, by reason."""
        refusals = (decision.refusal for decision in self.decisions)
        return Counter(refusal for refusal in refusals if refusal is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun(Generic[CriteriaT, DecisionT]):
    """Decisions about the first objects, and the numbers and plan of all that match."""

    page: BulkPage[DecisionT]
    refused_counts: Counter[StrEnum]
    plan: BulkPlan[CriteriaT] | None
    """None if no object would be changed."""


class BulkAction(ABC, Generic[CriteriaT, DecisionT]):
    """A change of posts or destinations that match a filter. The newest objects come first."""

    criteria_type: type[CriteriaT]
    decision_type: type[DecisionT]
    post_id_column = "post_id"
    """Column of the rows with the UUID of the post."""

    @abstractmethod
    def restrict(self, criteria: CriteriaT) -> CriteriaT:
        """Return the filter of the objects to decide about."""

    @abstractmethod
    def eligible_at(self, criteria: CriteriaT, cutoff: datetime) -> CriteriaT:
        """Return the filter without objects that cannot be eligible, or became so after the cutoff."""

    @abstractmethod
    async def read_page(
        self, reader: Reader, criteria: CriteriaT, request: PageRequest, now: datetime
    ) -> Page:
        """Return matching rows with the columns `id` and `created_at`, newest first."""

    @abstractmethod
    async def count_by_refusal(
        self, reader: Reader, criteria: CriteriaT, now: datetime
    ) -> Counter[StrEnum | None]:
        """Count all matches by the reason of their refusal; None counts those that are eligible."""

    @abstractmethod
    async def decide(
        self, reader: Reader, posts: Sequence[Post], rows: Sequence[AnyRow], now: datetime
    ) -> tuple[list[Post], list[DecisionT]]:
        """Return the posts after the change of the rows, and the decisions about rows of these posts."""


async def run_bulk_action(
    database: Database,
    write_context: WriteContext,
    action: BulkAction[CriteriaT, DecisionT],
    criteria: CriteriaT,
    request: PageRequest,
    idempotency_key: IdempotencyKey | None,
) -> BulkPage[DecisionT]:
    """Change the matching objects of a page, in one transaction.

    Raises InvalidInput for a filter that everything matches.
    """
    _require_selective(criteria)
    restricted = action.restrict(criteria)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        return _to_json(await _change_page(uow, action, restricted, request))

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
        page = await _change_page(uow, action, plan.criteria, request)
        # On PostgreSQL, objects may have become eligible since they were counted.
        plan.require_unchanged(page.changed_count)
        return _to_json(page)

    canonical = [canonicalize(plan), size]
    outcome = await run_idempotently(database, write_context, idempotency_key, canonical, work)
    page = _from_json(action, outcome)
    next_plan = plan.continued(page.changed_count, page.end) if page.has_more else None
    return page, next_plan


async def dry_run_bulk_action(
    database: Database,
    write_context: WriteContext,
    action: BulkAction[CriteriaT, DecisionT],
    criteria: CriteriaT,
    request: PageRequest,
) -> DryRun[CriteriaT, DecisionT]:
    """Return the page that `run_bulk_action` would return, the numbers of all matches, and a plan for them.

    Writes nothing and takes no lock. Raises InvalidInput for a filter that everything matches.
    """
    _require_selective(criteria)
    restricted, now = action.restrict(criteria), write_context.now
    reader = database.reader(write_context.workspace_id)
    matches = await action.read_page(reader, restricted, request, now)
    posts = await load_posts(reader, _post_ids(action, matches.rows))
    _, decisions = await action.decide(reader, _not_deleted(posts), matches.rows, now)
    counts = await action.count_by_refusal(reader, restricted, now)
    plan = BulkPlan(
        criteria=action.eligible_at(restricted, now), created_at=now, remaining_count=counts[None]
    )
    return DryRun(
        page=_page(matches, decisions),
        refused_counts=Counter({key: n for key, n in counts.items() if key is not None and n}),
        plan=plan if plan.remaining_count else None,
    )


def before_or_at(cutoff: datetime, before: datetime | None) -> datetime:
    """Return the earlier one of two upper bounds, of which only the cutoff is inclusive."""
    after_cutoff = cutoff + timedelta(milliseconds=1)  # stored times have milliseconds
    return after_cutoff if before is None else min(before, after_cutoff)


_MATCH_ALL: Mapping[str, object] = MappingProxyType(
    {"overdue": False, "retrying": False, "duplicated": False, "search": ""}
)
"""Values of filters that all failed destinations, or all posts, match."""


def _require_selective(criteria: "DataclassInstance") -> None:
    """Raise InvalidInput if everything matches: an omission must not change the whole workspace."""
    for name, value in asdict(criteria).items():
        names_states = bool(value) and name in ("status", "outcome")
        if value is not None and value != _MATCH_ALL.get(name) and not names_states:
            return
    raise InvalidInput(
        "The filter matches everything: set another field than status and outcome, such as an account, a"
        " time or a reference.",
        argument="filter",
    )


async def _change_page(
    uow: UnitOfWork,
    action: BulkAction[CriteriaT, DecisionT],
    criteria: CriteriaT,
    request: PageRequest,
) -> BulkPage[DecisionT]:
    now = uow.write_context.now
    matches = await action.read_page(uow.reader, criteria, request, now)
    posts = await uow.load_posts_for_update(_post_ids(action, matches.rows))
    changed, decisions = await action.decide(uow.reader, _not_deleted(posts), matches.rows, now)
    await uow.save_posts(changed)
    return _page(matches, decisions)


def _post_ids(action: BulkAction[CriteriaT, DecisionT], rows: Sequence[AnyRow]) -> set[PostId]:
    return {PostId(getattr(row, action.post_id_column)) for row in rows}


def _not_deleted(posts: Mapping[PostId, Post]) -> list[Post]:
    """Return the posts except those that were deleted since their rows were read."""
    return [post for post in posts.values() if post.deleted_at is None]


def _page(matches: Page, decisions: Sequence[DecisionT]) -> BulkPage[DecisionT]:
    last = matches.rows[-1] if matches.rows else None
    return BulkPage(
        decisions=decisions,
        has_more=matches.has_next_page,
        end=None if last is None else KeysetPosition(last.created_at, str(last.id)),
    )


def _to_json(page: BulkPage[DecisionT]) -> StoredOutcome:
    outcome: StoredOutcome = msgspec.to_builtins(page)
    return outcome


def _from_json(
    action: BulkAction[CriteriaT, DecisionT], outcome: StoredOutcome
) -> BulkPage[DecisionT]:
    page_type: Any = BulkPage[action.decision_type]  # type: ignore[name-defined]
    page: BulkPage[DecisionT] = msgspec.convert(outcome, page_type)
    return page
