"""Arguments and results that all mutations by filter share: pages, dry runs and plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic

import strawberry
from strawberry import field

from app.db.core.paging import PageRequest
from app.domain.errors import InvalidInput
from app.domain.posts import MAX_BULK_DESTINATIONS
from app.domain.signing import CursorCodec
from app.domain.validation.numbers import validate_number
from app.graphql.schema.context import Context
from app.graphql.schema.inputs import IDEMPOTENCY_KEY_DESCRIPTION, optional
from app.services.bulk_actions import (
    MAX_BULK_CHANGES,
    BulkAction,
    BulkPage,
    CriteriaT,
    DecisionT,
    RefusalCounts,
    RefusalT,
    dry_run_bulk_action,
    run_bulk_action,
    run_bulk_plan,
)
from app.services.bulk_plans import PLAN_LIFETIME, BulkPlan, PlanCodec


@strawberry.input
class BulkActionInput:
    dry_run: bool = field(
        default=False,
        description="True to change nothing, and return the decisions for one page and a `plan` for all"
        " matches. `first` and `after` select the page only. Not with `plan`.",
    )
    plan: str | None = optional(
        "`plan` of a dry run or of the call before, in place of `filter` and `after`. Fails with CONFLICT,"
        " without any change, if the plan has expired, or if more match and are eligible than it has left."
    )
    first: int | None = field(
        default=MAX_BULK_CHANGES,
        description=f"Maximum number of objects of this call, newest first, 1 to {MAX_BULK_CHANGES:,}. There"
        f" are fewer if their posts have more than {MAX_BULK_DESTINATIONS:,} destinations in all.",
    )
    after: str | None = optional("Continue after this `endCursor` of an earlier call.")
    idempotency_key: str | None = optional(
        f"{IDEMPOTENCY_KEY_DESCRIPTION} Not needed for a dry run."
    )


@strawberry.type
class BulkActionPayload:
    has_more: bool = field(
        description="True if more objects follow the page; continue with `endCursor`. With a plan,"
        " continue while `plan` is not null instead."
    )
    end_cursor: str | None = field(
        description="Cursor to pass as `after`; null for an empty page, and in a call with a plan."
    )
    plan: str | None = field(
        description="Token to pass as `plan` in the next call: after a dry run, a plan for all that would be"
        " changed; after a call with a plan, one for those that are left. Null if none are, and after other"
        f" calls. Expires {PLAN_LIFETIME.total_seconds() / 60:.0f} minutes after the dry run."
    )
    planned_count: int | None = field(
        description="Number of objects that `plan` changes at most; null without a plan."
    )
    plan_cutoff: datetime | None = field(
        description="UTC time of the dry run; `plan` excludes objects that were created or changed later."
        " Null without a plan."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult(Generic[DecisionT]):
    """Decisions of a call, and the values of BulkActionPayload by name."""

    decisions: Sequence[DecisionT]
    changed_count: int
    refused_count: int
    counts: RefusalCounts
    """Numbers by reason: of all matches in a dry run, otherwise of this call."""
    has_more: bool
    end_cursor: str | None
    plan: str | None
    planned_count: int | None
    plan_cutoff: datetime | None

    def refusals(self, refusal_type: type[RefusalT]) -> list[tuple[RefusalT, int]]:
        """Return the reasons with their numbers, the most frequent first."""
        refused = [(refusal_type(key), n) for key, n in self.counts.items() if key and n]
        return sorted(refused, key=lambda item: (-item[1], item[0]))


async def perform_bulk_action(
    context: Context,
    operation: str,
    action: BulkAction[CriteriaT, DecisionT],
    arguments: BulkActionInput,
    criteria: CriteriaT | None,
) -> BulkResult[DecisionT]:
    """Run an action on a page of the matches of a filter, or of a plan; or do a dry run."""
    size = MAX_BULK_CHANGES if arguments.first is None else arguments.first
    validate_number(size, "first", 1, MAX_BULK_CHANGES)
    # Checked before the write: an error while the response is built could not undo the changes.
    context.response_limit.add(size)
    key = context.idempotency_key(arguments.idempotency_key)
    call = (context.database, context.write_context(operation), action)
    plans = context.plan_codec(operation, action.criteria_type)
    if arguments.plan is not None:
        _reject_with_plan(
            filter=criteria is not None,
            dryRun=arguments.dry_run,
            after=arguments.after is not None,
        )
        plan = plans.decode(arguments.plan)
        page, next_plan = await run_bulk_plan(*call, plan, size, key)
        return _result(page, page.counts, None, plans, next_plan)
    if criteria is None:
        raise InvalidInput("Pass a filter, or the plan of a dry run.", argument="filter")
    cursors = context.cursor_codec(operation)
    after = None if arguments.after is None else cursors.decode(arguments.after, "after")
    request = PageRequest(size=size, after=after)
    if arguments.dry_run:
        dry_run = await dry_run_bulk_action(*call, criteria, request)
        return _result(dry_run.page, dry_run.counts, cursors, plans, dry_run.plan)
    page = await run_bulk_action(*call, criteria, request, key)
    return _result(page, page.counts, cursors, plans, None)


def _reject_with_plan(**passed: bool) -> None:
    for name, is_passed in passed.items():
        if is_passed:
            raise InvalidInput(f"Pass plan without {name}.", argument=name)


def _result(
    page: BulkPage[DecisionT],
    counts: RefusalCounts,
    cursors: CursorCodec | None,
    plans: PlanCodec[CriteriaT],
    plan: BulkPlan[CriteriaT] | None,
) -> BulkResult[DecisionT]:
    """Build a result; without a codec for cursors, it has none."""
    return BulkResult(
        decisions=page.decisions,
        changed_count=page.changed_count,
        refused_count=len(page.decisions) - page.changed_count,
        counts=counts,
        has_more=page.has_more,
        end_cursor=cursors.encode(page.end) if cursors and page.end else None,
        plan=None if plan is None else plans.encode(plan),
        planned_count=None if plan is None else plan.remaining_count,
        plan_cutoff=None if plan is None else plan.created_at,
    )
