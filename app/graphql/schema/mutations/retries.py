"""Mutations of manual retries; `app.domain.manual_retries` decides what may be retried."""

from typing import Self
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.ids import DestinationId, PostId
from app.domain.manual_retries import RetryRefusal
from app.graphql.schema.context import Info
from app.graphql.schema.destinations import Destination, load_destination
from app.graphql.schema.inputs import (
    IDEMPOTENCY_KEY_DESCRIPTION,
    DestinationFilterInput,
    MutationInput,
    optional,
    to_record,
    validate_account_ids,
)
from app.graphql.schema.mutations.bulk_actions import (
    BulkActionInput,
    BulkActionPayload,
    perform_bulk_action,
)
from app.graphql.schema.permissions import write_mutation
from app.graphql.schema.posts import Post, load_post
from app.services import retries
from app.services.bulk_actions import MAX_BULK_CHANGES
from app.services.retries import RetryAction, RetryDecision


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


@strawberry.input(
    description="Input of `retryDestinations`. Imported posts are skipped; a dry run counts them in"
    " `refusals`."
)
class RetryDestinationsInput(BulkActionInput):
    filter: DestinationFilterInput | None = optional(
        "Destinations to retry; failed ones unless `status` is set. A field other than `status` and `outcome`"
        " is required. An empty list matches nothing. Not with `plan`, which has its own filter."
    )


@strawberry.type(description="Retry decision for one destination.")
class DestinationRetry:
    destination_id: UUID = field(description="UUID of the destination.")
    post_id: UUID = field(description="UUID of the post.")
    account_id: int = field(description="Number of the account in this workspace.")
    platform: str = field(description="Platform of the account.")
    retried: bool = field(description="True if queued again; in a dry run, if it would be.")
    refusal: RetryRefusal | None = field(description="Reason for not retrying; null if retried.")
    fix: str | None = field(
        description="How to resolve the refusal, in sentences; null if retried."
    )

    @classmethod
    def from_decision(cls, decision: RetryDecision) -> Self:
        refusal = decision.refusal
        return to_record(decision, cls, retried=refusal is None, fix=refusal and refusal.fix)

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


@strawberry.type(description="Number of destinations that are not retried for one reason.")
class RetryRefusalCount:
    reason: RetryRefusal = field(description="Reason for not retrying.")
    fix: str = field(description="How to resolve the refusal, in sentences.")
    count: int = field(description="Number of destinations.")


@strawberry.type(description="Result of `retryDestinations`.")
class RetryDestinationsPayload(BulkActionPayload):
    retries: list[DestinationRetry] = field(
        description="Decision for each destination of this call, newest destination first."
    )
    retried_count: int = field(
        description="Number of destinations of this call that were, or would be, queued again."
    )
    refused_count: int = field(
        description="Number of destinations of this call that were not, or would not be, retried."
    )
    refusals: list[RetryRefusalCount] = field(
        description="Numbers of refused destinations by reason: of all that match in a dry run, otherwise of"
        " this call."
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
            retries=[DestinationRetry.from_decision(each) for each in decisions],
            retried_count=sum(decision.refusal is None for decision in decisions),
        )

    @write_mutation(
        f"Retry the failed destinations that match a filter, at most {MAX_BULK_CHANGES:,} per call, in"
        " one transaction. A destination that may not be retried has a `refusal`. Unknown outcomes are"
        " always refused; only `retryPost` can force them. Cancelled destinations are skipped unless the"
        " filter names error codes, failure groups or destinations, or sets `cancelled`."
    )
    async def retry_destinations(
        self, info: Info, input: MutationInput[RetryDestinationsInput]
    ) -> RetryDestinationsPayload | None:
        criteria = None if input.filter is None else input.filter.to_criteria()
        result = await perform_bulk_action(
            info.context, "retryDestinations", RetryAction(), input, criteria
        )
        return to_record(
            result,
            RetryDestinationsPayload,
            retries=[DestinationRetry.from_decision(each) for each in result.decisions],
            retried_count=result.changed_count,
            refusals=[
                RetryRefusalCount(reason=reason, fix=reason.fix, count=count)
                for reason, count in result.refusals(RetryRefusal)
            ],
        )
