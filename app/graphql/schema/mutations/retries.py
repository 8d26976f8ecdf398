"""Mutations of manual retries; `app.domain.manual_retries` decides what may be retried."""

from collections.abc import Sequence
from typing import Self
from uuid import UUID

import strawberry
from strawberry import field

from app.db.core.paging import PageRequest
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import DestinationId, PostId
from app.domain.manual_retries import MAX_RETRIES, RetryRefusal
from app.domain.validation.numbers import validate_number
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import (
    IDEMPOTENCY_KEY_DESCRIPTION,
    DestinationFilterInput,
    MutationInput,
    optional,
    to_record,
    validate_account_ids,
)
from app.graphql.schema.permissions import write_mutation
from app.graphql.schema.types import Destination, Post, load_destination, load_post
from app.services import retries
from app.services.retries import RetriedPage, StoredRetryDecision


@strawberry.input(description="Input of `retryPost`.")
class RetryPostInput:
    post_id: UUID = field(description="UUID of the post.")
    account_ids: list[int] | None = optional("Numbers of the accounts to retry on; null for all.")
    force: bool = field(
        default=False,
        description="True to retry unknown outcomes too. If the post is already on the platform, a retry"
        " publishes it twice: check the platform first.",
    )
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input(description="Input of `retryDestinations`. Imported posts are never retried.")
class RetryDestinationsInput:
    filter: DestinationFilterInput = field(
        description="Destinations to retry; failed ones unless `status` is set. A field other than `status`"
        " and `outcome` is required. An empty list matches nothing."
    )
    dry_run: bool = field(
        default=False,
        description="True to return what would be retried without changing anything.",
    )
    first: int | None = field(
        default=MAX_RETRIES,
        description=f"Maximum number of destinations, newest first, 1 to {MAX_RETRIES:,}.",
    )
    after: str | None = optional("Continue after this `endCursor` of an earlier call.")
    idempotency_key: str | None = optional(
        f"{IDEMPOTENCY_KEY_DESCRIPTION} Not needed for a dry run."
    )


@strawberry.type(name="DestinationRetry", description="Retry decision for one destination.")
class DestinationRetry:
    destination_id: UUID = field(description="UUID of the destination.")
    post_id: UUID = field(description="UUID of the post.")
    account_id: int = field(description="Number of the account in this workspace.")
    platform: str = field(description="Platform of the account.")
    retried: bool = field(description="True if queued again; in a dry run, if it would be.")
    refusal: RetryRefusal | None = field(description="Reason for not retrying; null if retried.")
    fix: str | None = field(description="Instruction to resolve the refusal, as a sentence.")

    @classmethod
    def from_decisions(cls, decisions: Sequence[StoredRetryDecision]) -> list[Self]:
        return [
            to_record(
                decision,
                cls,
                retried=decision.refusal is None,
                fix=decision.refusal and decision.refusal.fix,
            )
            for decision in decisions
        ]

    @strawberry.field(description="Current state of the destination.")
    async def destination(self, info: Info) -> Destination | None:
        return await load_destination(info.context, DestinationId(self.destination_id))


@strawberry.type(description="Result of `retryPost`.")
class RetryPostPayload:
    post: Post | None = field(description="Current state of the post; null if it was deleted.")
    retries: list[DestinationRetry] = field(
        description="Decisions for the requested destinations, in the order of the post."
    )
    retried_count: int = field(description="Number of destinations that were queued again.")


@strawberry.type(description="Result of `retryDestinations`.")
class RetryDestinationsPayload:
    retries: list[DestinationRetry] = field(
        description="Decision for each matching destination, newest destination first."
    )
    retried_count: int = field(
        description="Number of destinations that were, or would be, queued again."
    )
    refused_count: int = field(description="Number of destinations that were not retried.")
    has_more: bool = field(description="True if more match; continue with `endCursor`.")
    end_cursor: str | None = field(
        description="Cursor to pass as `after`; null if nothing matches."
    )


@strawberry.type
class RetryMutations:
    @write_mutation(
        "Retry the failed destinations of a post: they are queued again immediately, published"
        " ones stay unchanged. `attempts` keeps counting; the retry limits start over."
    )
    async def retry_post(
        self, info: Info, input: MutationInput[RetryPostInput]
    ) -> RetryPostPayload | None:
        context, post_id = info.context, PostId(input.post_id)
        decisions = await retries.retry_one_post(
            context.database,
            context.write_context("retryPost"),
            post_id,
            account_ids=validate_account_ids("accountIds", input.account_ids),
            force=input.force,
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return RetryPostPayload(
            post=await load_post(context, post_id),
            retries=DestinationRetry.from_decisions(decisions),
            retried_count=_count_retried(decisions),
        )

    @write_mutation(
        f"Retry the failed destinations that match a filter, at most {MAX_RETRIES:,} per call, in"
        " one transaction. A destination that may not be retried has a `refusal`. Unknown outcomes are"
        " always refused; only `retryPost` can force them. Cancelled destinations are skipped unless the"
        " filter names the code CANCELLED or a failure group."
    )
    async def retry_destinations(
        self, info: Info, input: MutationInput[RetryDestinationsInput]
    ) -> RetryDestinationsPayload | None:
        context = info.context
        codec = context.cursor_codec("retryDestinations")
        after = None if input.after is None else codec.decode(input.after, "after")
        size = MAX_RETRIES if input.first is None else input.first
        page = PageRequest(size=validate_number(size, "first", 1, MAX_RETRIES), after=after)
        key = context.idempotency_key(input.idempotency_key)
        decided = await _retry_or_dry_run(context, input, page, key)
        retried_count = _count_retried(decided.retries)
        end = decided.end_position
        return RetryDestinationsPayload(
            retries=DestinationRetry.from_decisions(decided.retries),
            retried_count=retried_count,
            refused_count=len(decided.retries) - retried_count,
            has_more=decided.has_more,
            end_cursor=None if end is None else codec.encode(end),
        )


async def _retry_or_dry_run(
    context: Context,
    retry_input: RetryDestinationsInput,
    page: PageRequest,
    key: IdempotencyKey | None,
) -> RetriedPage:
    criteria = retry_input.filter.to_criteria()
    write_context = context.write_context("retryDestinations")
    # Checked before the write: an error while the response is built could not undo the retries.
    context.entry_limit.add(page.size)
    if retry_input.dry_run:
        return await retries.dry_run_retry_matching(context.database, write_context, criteria, page)
    return await retries.retry_matching(context.database, write_context, criteria, page, key)


def _count_retried(decisions: Sequence[StoredRetryDecision]) -> int:
    return sum(decision.refusal is None for decision in decisions)
