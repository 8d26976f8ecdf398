"""Mutation `cancelPosts`; `posts` has the mutation of a single post."""

from typing import Self
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.cancellations import CancellationRefusal
from app.domain.ids import PostId
from app.graphql.schema.context import Info
from app.graphql.schema.inputs import MutationInput, PostFilterInput, optional, to_record
from app.graphql.schema.mutations.bulk_actions import (
    BulkActionInput,
    BulkActionPayload,
    perform_bulk_action,
)
from app.graphql.schema.permissions import write_mutation
from app.graphql.schema.posts import Post, load_post
from app.services.bulk_actions import MAX_BULK_CHANGES
from app.services.cancellations import CancelAction, CancellationDecision


@strawberry.input(description="Input of `cancelPosts`.")
class CancelPostsInput(BulkActionInput):
    filter: PostFilterInput | None = optional(
        "Posts to cancel; scheduled and publishing ones unless `status` is set. A field other than `status`"
        " is required. An empty list matches nothing. Not with `plan`, which has its own filter."
    )


@strawberry.type(description="Decision of `cancelPosts` for one post.")
class PostCancellation:
    post_id: UUID = field(description="UUID of the post.")
    cancelled: bool = field(description="True if cancelled; in a dry run, if it would be.")
    refusal: CancellationRefusal | None = field(
        description="Reason for not cancelling; null if cancelled."
    )
    fix: str | None = field(
        description="Problem and how to resolve it, in sentences; null if cancelled."
    )

    @classmethod
    def from_decision(cls, decision: CancellationDecision) -> Self:
        refusal = decision.refusal
        return to_record(decision, cls, cancelled=refusal is None, fix=refusal and refusal.fix)

    @strawberry.field(description="Current state of the post; null if it was deleted.")
    async def post(self, info: Info) -> Post | None:
        return await load_post(info.context, PostId(self.post_id))


@strawberry.type(description="Number of posts that are not cancelled for one reason.")
class CancellationRefusalCount:
    reason: CancellationRefusal = field(description="Reason for not cancelling.")
    fix: str = field(description="Problem and how to resolve it, in sentences.")
    count: int = field(description="Number of posts.")


@strawberry.type(description="Result of `cancelPosts`.")
class CancelPostsPayload(BulkActionPayload):
    cancellations: list[PostCancellation] = field(
        description="Decision for each post of this call, newest post first."
    )
    cancelled_count: int = field(
        description="Number of posts of this call that were, or would be, cancelled."
    )
    refused_count: int = field(
        description="Number of posts of this call that were not, or would not be, cancelled."
    )
    refusals: list[CancellationRefusalCount] = field(
        description="Numbers of refused posts by reason: of all that match in a dry run, otherwise of this"
        " call."
    )


@strawberry.type
class CancellationMutations:
    @write_mutation(
        f"Cancel the posts that match a filter, at most {MAX_BULK_CHANGES:,} per call, in one transaction."
        " Each becomes a draft again; if any of its destinations was attempted, those that are queued fail"
        " with CANCELLED instead. A post that may not be cancelled has a `refusal`."
    )
    async def cancel_posts(
        self, info: Info, input: MutationInput[CancelPostsInput]
    ) -> CancelPostsPayload | None:
        criteria = None if input.filter is None else input.filter.to_criteria()
        result = await perform_bulk_action(
            info.context, "cancelPosts", CancelAction(), input, criteria
        )
        return to_record(
            result,
            CancelPostsPayload,
            cancellations=[PostCancellation.from_decision(each) for each in result.decisions],
            cancelled_count=result.changed_count,
            refusals=[
                CancellationRefusalCount(reason=reason, fix=reason.fix, count=count)
                for reason, count in result.refusals(CancellationRefusal)
            ],
        )
