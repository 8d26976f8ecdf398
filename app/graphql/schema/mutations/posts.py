"""Posts: createPost and its neighbours. Their inputs and retries are elsewhere."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument, field

from app.domain.accounts import HealthReason, blocking_message
from app.domain.api_keys import Scope
from app.domain.errors import ErrorCode, InvalidInput
from app.domain.ids import PostId
from app.domain.post_commands import NewPost
from app.graphql.schema.context import Context, Info
from app.graphql.schema.mutations.extensions import write_field
from app.graphql.schema.mutations.post_inputs import (
    CancelPostInput,
    CreatePostInput,
    CreatePostsInput,
    DeletePostInput,
    PostInput,
    SchedulePostInput,
    UpdatePostInput,
    check_account_ids,
)
from app.graphql.schema.types import Post
from app.services import posts
from app.services.posts import AccountWarning as ServiceAccountWarning
from app.services.posts import CreatedPost, RejectedPost

_DELETED_POST_MESSAGE = "The post that this request created was not found: it was deleted since."


@strawberry.type(description="An account of the post that could not post if it were due now.")
class AccountWarning:
    account_id: int = field(description="The account's number.")
    reason: HealthReason = field(description="Why it cannot post.")
    message: str = field(description="What to do, as a sentence.")

    @classmethod
    def from_service(cls, warning: ServiceAccountWarning) -> "AccountWarning":
        return cls(
            account_id=warning.account_id,
            reason=warning.reason,
            message=blocking_message(warning.reason),
        )


@strawberry.type(description="The post that was created.")
class CreatePostPayload:
    post: Post | None = field(
        description="The post as it stands now; null if it was deleted since."
    )
    warnings: list[AccountWarning] = field(
        description="Accounts to see to before it is due: it would fail there with AUTH."
    )


@strawberry.type(description="Why one of several posts was not created.")
class PostRefusal:
    code: ErrorCode = field(description="The kind of error, as in errorCatalog.")
    message: str = field(description="What is wrong, as a sentence.")
    field: str | None = strawberry.field(description="What is wrong of the post, as a path.")


@strawberry.type(description="What became of one of several posts.")
class CreatePostResult:
    index: int = field(description="Its place in the input, counted from 0.")
    post: Post | None = field(description="The post as it stands now; null if there is an error.")
    warnings: list[AccountWarning] = field(description="Accounts to see to before it is due.")
    error: PostRefusal | None = field(
        description="Why it was refused, or NOT_FOUND if it was deleted since; else null."
    )


@strawberry.type(description="What became of several posts.")
class CreatePostsPayload:
    results: list[CreatePostResult] = field(description="In the order of the input.")
    succeeded: int = field(description="How many were created.")
    failed: int = field(description="How many were refused.")


@strawberry.type(description="The post that was changed.")
class UpdatePostPayload:
    post: Post | None = field(
        description="The post as it stands now; null if it was deleted since."
    )
    warnings: list[AccountWarning] = field(description="Accounts to see to before it is due.")


@strawberry.type(description="The post that was scheduled.")
class SchedulePostPayload:
    post: Post | None = field(
        description="The post as it stands now; null if it was deleted since."
    )
    warnings: list[AccountWarning] = field(description="Accounts to see to before it is due.")


@strawberry.type(description="The post that was cancelled.")
class CancelPostPayload:
    post: Post | None = field(
        description="The post as it stands now; null if it was deleted since."
    )


@strawberry.type(description="The post that was deleted.")
class DeletePostPayload:
    post_id: UUID = field(description="Its UUID, by which nothing is found any more.")


@strawberry.type
class PostMutations:
    @strawberry.mutation(
        description="Create a post: it goes out at once, at its time, or waits as a draft.",
        extensions=write_field(Scope.WRITE),
    )
    async def create_post(
        self,
        info: Info,
        input: Annotated[CreatePostInput, argument(description="The post.")],  # noqa: A002
    ) -> CreatePostPayload | None:
        context = info.context
        wanted = input.to_domain()
        created = await posts.create_post(
            context.database,
            context.write_context("createPost"),
            wanted,
            context.idempotency_key(input.idempotency_key),
            check_quota=cache(partial(context.rate_limit_charge.charge_posts, 1)),
            new_id=context.new_id,
        )
        return CreatePostPayload(
            post=await _load_post(context, created.id),
            warnings=_to_account_warnings(created.warnings),
        )

    @strawberry.mutation(
        description="Create several posts; a refused one costs no other.",
        extensions=write_field(Scope.WRITE),
    )
    async def create_posts(
        self,
        info: Info,
        input: Annotated[CreatePostsInput, argument(description="The posts.")],  # noqa: A002
    ) -> CreatePostsPayload | None:
        context = info.context
        wanted = [_validate_post(each) for each in input.posts]
        for index, error in sorted(context.rejected_posts.items()):
            wanted.insert(index, RejectedPost.from_error(error))
        made = await posts.create_posts(
            context.database,
            context.write_context("createPosts"),
            wanted,
            context.idempotency_key(input.idempotency_key),
            check_quota=cache(partial(context.rate_limit_charge.charge_posts, len(wanted))),
            new_id=context.new_id,
        )
        results = [await _build_result(context, index, each) for index, each in enumerate(made)]
        failed = sum(each.error is not None for each in results)
        return CreatePostsPayload(results=results, succeeded=len(results) - failed, failed=failed)

    @strawberry.mutation(
        description="Change a post, until anything of it was published.",
        extensions=write_field(Scope.WRITE),
    )
    async def update_post(
        self,
        info: Info,
        input: Annotated[UpdatePostInput, argument(description="The changes.")],  # noqa: A002
    ) -> UpdatePostPayload | None:
        context = info.context
        warned = await posts.change_post(
            context.database,
            context.write_context("updatePost"),
            PostId(input.post_id),
            input.to_domain(),
            account_ids=check_account_ids(input.account_ids),
            expected_version=input.expected_version,
            new_id=context.new_id,
        )
        return UpdatePostPayload(
            post=await _load_post(context, input.post_id), warnings=_to_account_warnings(warned)
        )

    @strawberry.mutation(
        description="Submit a draft, to go out at its time or at once.",
        extensions=write_field(Scope.WRITE),
    )
    async def schedule_post(
        self,
        info: Info,
        input: Annotated[SchedulePostInput, argument(description="The time.")],  # noqa: A002
    ) -> SchedulePostPayload | None:
        context = info.context
        warned = await posts.schedule_post(
            context.database,
            context.write_context("schedulePost"),
            PostId(input.post_id),
            input.to_domain(),
            account_ids=check_account_ids(input.account_ids),
            expected_version=input.expected_version,
            new_id=context.new_id,
        )
        return SchedulePostPayload(
            post=await _load_post(context, input.post_id), warnings=_to_account_warnings(warned)
        )

    @strawberry.mutation(
        description="Take a post back: it is a draft again, or, once something of it was attempted,"
        " the rest fails as CANCELLED.",
        extensions=write_field(Scope.WRITE),
    )
    async def cancel_post(
        self,
        info: Info,
        input: Annotated[CancelPostInput, argument(description="The post.")],  # noqa: A002
    ) -> CancelPostPayload | None:
        context = info.context
        await posts.cancel_post(
            context.database,
            context.write_context("cancelPost"),
            PostId(input.post_id),
            expected_version=input.expected_version,
        )
        return CancelPostPayload(post=await _load_post(context, input.post_id))

    @strawberry.mutation(
        description="Delete a post that was not published; nothing of it goes out from here any more.",
        extensions=write_field(Scope.WRITE),
    )
    async def delete_post(
        self,
        info: Info,
        input: Annotated[DeletePostInput, argument(description="The post.")],  # noqa: A002
    ) -> DeletePostPayload | None:
        context = info.context
        await posts.delete_post(
            context.database,
            context.write_context("deletePost"),
            PostId(input.post_id),
            expected_version=input.expected_version,
        )
        return DeletePostPayload(post_id=input.post_id)


async def _load_post(context: Context, post_id: UUID) -> Post | None:
    row = await context.loaders.posts_by_id.load(PostId(post_id))
    return None if row is None else Post.from_row(row, context.clock())


def _to_account_warnings(warnings: Sequence[ServiceAccountWarning]) -> list[AccountWarning]:
    return [AccountWarning.from_service(each) for each in warnings]


def _validate_post(post_input: PostInput) -> NewPost | RejectedPost:
    try:
        return post_input.to_domain()
    except InvalidInput as error:
        return RejectedPost.from_error(error)


async def _build_result(
    context: Context, index: int, outcome: CreatedPost | RejectedPost
) -> CreatePostResult:
    if isinstance(outcome, RejectedPost):
        refusal = PostRefusal(code=outcome.code, message=outcome.message, field=outcome.argument)
        return CreatePostResult(index=index, post=None, warnings=[], error=refusal)
    post = await _load_post(context, outcome.id)
    if post is None:  # it is a repetition
        refusal = PostRefusal(code=ErrorCode.NOT_FOUND, message=_DELETED_POST_MESSAGE, field=None)
        return CreatePostResult(index=index, post=None, warnings=[], error=refusal)
    return CreatePostResult(
        index=index, post=post, warnings=_to_account_warnings(outcome.warnings), error=None
    )
