"""Mutations of posts: create, update, schedule, cancel and delete; `retries` has the manual retries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from uuid import UUID

import strawberry
from strawberry import UNSET, field

from app.domain.errors import ErrorCode, InvalidInput
from app.domain.ids import AccountId, PostId, validate_account_id
from app.domain.media import MAX_DATA_URL_BYTES
from app.domain.operations import UPDATE_POST
from app.domain.post_commands import NewPost, PostUpdate, Schedule
from app.domain.posts import MAX_BULK_POSTS
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import (
    IDEMPOTENCY_KEY_DESCRIPTION,
    MutationInput,
    optional,
    passed_fields,
    to_record,
)
from app.graphql.schema.permissions import write_mutation
from app.graphql.schema.post_warnings import BlockedAccountWarning, RejectedContentWarning
from app.graphql.schema.posts import Post, load_post
from app.graphql.schema.scalars import Json
from app.services import posts
from app.services.posts import CreatedPost, RejectedPost

_DELETED_POST_MESSAGE = "The post that this request created was not found: it was deleted since."
_PLATFORM_CONTENT_DESCRIPTION = (
    "Content by platform, `{content, contentType, settings}`, stored unchanged. If a worker of this server"
    " publishes on one of the accounts, unknown platforms are refused, and names and values that `platforms`"
    " does not have."
)
_MEDIA_DESCRIPTION = (
    "Media objects, stored unchanged. If a worker of this server publishes on one of the accounts, they have"
    " only `url` and `alt`. `url` may be a `data:` URL, which contains the image; the `data:`"
    f" URLs of a post have at most {MAX_DATA_URL_BYTES // 1024} KiB together."
)
_CONTENT_WARNINGS_DESCRIPTION = (
    "Text and media to change before the post is due, or it fails with CONTENT_REJECTED."
)
_TIMEZONE_DESCRIPTION = (
    "IANA time zone for display, such as `Europe/Berlin`; does not affect any time."
)


@strawberry.input(description="Post to create.")
class PostInput:
    content: str = field(
        default="",
        description="Text of the post; may be omitted if there is media or `platformContent`.",
    )
    account_ids: list[int] = field(
        default_factory=list,
        description="Numbers of the accounts to publish on, in order; only a draft may have none.",
    )
    scheduled_for: datetime | None = optional(
        "UTC time when the post is due; null for immediately."
    )
    draft: bool = field(
        default=False, description="True for a draft, which `schedulePost` submits."
    )
    timezone: str | None = optional(_TIMEZONE_DESCRIPTION)
    media_ids: list[str] = field(default_factory=list, description="Media ids, stored unchanged.")
    media: list[Json] = field(default_factory=list, description=_MEDIA_DESCRIPTION)
    platform_content: Json | None = optional(_PLATFORM_CONTENT_DESCRIPTION)
    reference: str | None = optional("Name that the client chooses, to find the post by.")
    copy_of: UUID | None = optional(
        "UUID of a post of which this is a copy. What does not fit the schema of a platform there either is"
        " accepted, if the copy goes to no further account."
    )

    def to_new_post(self) -> NewPost:
        """Convert to a domain record; raises InvalidInput, naming the field, for a wrong type."""
        return to_record(
            self,
            NewPost,
            account_ids=_validate_account_ids(self.account_ids),
            is_draft=self.draft,
            platform_content=_validate_object(self.platform_content),
            copy_of=None if self.copy_of is None else PostId(self.copy_of),
        )


@strawberry.input(description="Input of `createPost`.")
class CreatePostInput(PostInput):
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input(description="Input of `createPosts`.")
class CreatePostsInput:
    posts: list[PostInput] = field(description=f"Posts to create, 1 to {MAX_BULK_POSTS}.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input
class PostVersionInput:
    post_id: UUID = field(description="UUID of the post.")
    expected_version: int | None = optional(
        "Version that the change is based on. Fails with STALE_VERSION if the post has another"
        " version."
    )
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input(
    description="Input of `updatePost`. An omitted field stays unchanged. Null clears a field, except"
    " `accountIds` and `scheduledFor`, which then stay unchanged."
)
class UpdatePostInput(PostVersionInput):
    content: str | None = optional("Text of the post.", default=UNSET)
    account_ids: list[int] | None = optional("Numbers of the accounts to publish on, in order.")
    scheduled_for: datetime | None = optional("UTC time when the post is due.")
    publish_now: bool = field(
        default=False,
        description="True to publish immediately; not together with `scheduledFor`. For a draft,"
        " this only removes its time: submit it with `schedulePost`.",
    )
    timezone: str | None = optional(_TIMEZONE_DESCRIPTION, default=UNSET)
    media_ids: list[str] | None = optional("Media ids, stored unchanged.", default=UNSET)
    media: list[Json] | None = optional(
        f"{_MEDIA_DESCRIPTION} An item that `Post.media` returned with `data` instead of `url` keeps its"
        " image.",
        default=UNSET,
    )
    platform_content: Json | None = optional(_PLATFORM_CONTENT_DESCRIPTION, default=UNSET)
    reference: str | None = optional("Name that the client chooses.", default=UNSET)

    def to_update(self) -> PostUpdate:
        """Return the passed fields; raises InvalidInput if there are two times or a type is wrong."""
        if self.publish_now and self.scheduled_for is not None:
            raise InvalidInput(
                "Pass either scheduledFor or publishNow, not both.", argument="scheduledFor"
            )
        update = passed_fields(self, PostUpdate)
        if self.scheduled_for is None and not self.publish_now:
            del update["scheduled_for"]
        if "content" in update:
            update["content"] = self.content or ""
        if "media_ids" in update:
            update["media_ids"] = self.media_ids or []
        if "media" in update:
            update["media"] = self.media or []
        if "platform_content" in update:
            update["platform_content"] = _validate_object(self.platform_content)
        return update


@strawberry.input(description="Input of `schedulePost`.")
class SchedulePostInput(PostVersionInput):
    scheduled_for: datetime | None = optional(
        "UTC time when the post is due; null for the time of the draft."
    )
    publish_now: bool = field(
        default=False,
        description="True to publish immediately; not together with `scheduledFor`.",
    )
    account_ids: list[int] | None = optional(
        "Numbers of the accounts to publish on; null for the accounts of the draft."
    )


@strawberry.input(description="Input of `cancelPost`.")
class CancelPostInput(PostVersionInput):
    pass


@strawberry.input(description="Input of `deletePost`.")
class DeletePostInput(PostVersionInput):
    pass


@strawberry.type
class PostPayload:
    post: Post | None = field(description="Current state of the post; null if it was deleted.")


@strawberry.type
class SubmittedPostPayload(PostPayload):
    warnings: list[BlockedAccountWarning] = field(
        description="Accounts to fix before the post is due, or it fails on them with AUTH."
    )
    content_warnings: list[RejectedContentWarning] = field(
        description=_CONTENT_WARNINGS_DESCRIPTION
    )


@strawberry.type(description="Result of `createPost`.")
class CreatePostPayload(SubmittedPostPayload):
    pass


@strawberry.type(description="Reason why a post is not created.")
class PostRefusal:
    code: ErrorCode = field(description="Error code, as in `errorCatalog`.")
    message: str = field(description="Human-readable error message.")
    field: str | None = strawberry.field(description="Path of the invalid value within the post.")


@strawberry.type(description="Result for one of the posts of `createPosts`.")
class CreatePostResult:
    index: int = field(description="Index of the post in the input, from 0.")
    post: Post | None = field(description="Current state of the post; null if there is an error.")
    warnings: list[BlockedAccountWarning] = field(
        description="Accounts to fix before the post is due."
    )
    content_warnings: list[RejectedContentWarning] = field(
        description=_CONTENT_WARNINGS_DESCRIPTION
    )
    error: PostRefusal | None = field(
        description="Reason why the post was not created, or NOT_FOUND if it was deleted in the meantime;"
        " null on success."
    )


@strawberry.type(description="Result of `createPosts`.")
class CreatePostsPayload:
    results: list[CreatePostResult] = field(description="Results in the order of the input.")
    succeeded: int = field(description="Number of posts that were created.")
    failed: int = field(description="Number of posts that were not created.")


@strawberry.type(description="Result of `updatePost`.")
class UpdatePostPayload(SubmittedPostPayload):
    pass


@strawberry.type(description="Result of `schedulePost`.")
class SchedulePostPayload(SubmittedPostPayload):
    pass


@strawberry.type(description="Result of `cancelPost`.")
class CancelPostPayload(PostPayload):
    pass


@strawberry.type(description="Result of `deletePost`.")
class DeletePostPayload:
    post_id: UUID = field(description="UUID of the deleted post; queries no longer return it.")


@strawberry.type
class PostMutations:
    @write_mutation("Create a post, to be published immediately or at its time, or a draft.")
    async def create_post(
        self, info: Info, input: MutationInput[CreatePostInput]
    ) -> CreatePostPayload | None:
        context = info.context
        created = await posts.create_post(
            context.database,
            context.write_context("createPost"),
            input.to_new_post(),
            context.idempotency_key(input.idempotency_key),
            unknown_member=context.unknown_members.get(0),
            charge_quota=cache(partial(context.charge_posts, 1)),
            new_id=context.new_id,
        )
        return CreatePostPayload(
            post=await load_post(context, created.id),
            warnings=BlockedAccountWarning.from_warnings(created.warnings.accounts),
            content_warnings=RejectedContentWarning.from_warnings(created.warnings.contents),
        )

    @write_mutation("Create several posts. An invalid post does not affect the others.")
    async def create_posts(
        self, info: Info, input: MutationInput[CreatePostsInput]
    ) -> CreatePostsPayload | None:
        context = info.context
        new_posts = [_to_new_post_or_rejection(post_input) for post_input in input.posts]
        for index, error in sorted(context.rejected_posts.items()):
            new_posts.insert(index, RejectedPost.from_error(error))
        outcomes = await posts.create_posts(
            context.database,
            context.write_context("createPosts"),
            new_posts,
            context.idempotency_key(input.idempotency_key),
            unknown_members=context.unknown_members,
            charge_quota=cache(partial(context.charge_posts, len(new_posts))),
            new_id=context.new_id,
        )
        results = [
            await _build_result(context, index, outcome) for index, outcome in enumerate(outcomes)
        ]
        failed = sum(result.error is not None for result in results)
        return CreatePostsPayload(results=results, succeeded=len(results) - failed, failed=failed)

    @write_mutation("Change a post that is not yet published on any destination.")
    async def update_post(
        self, info: Info, input: MutationInput[UpdatePostInput]
    ) -> UpdatePostPayload | None:
        context, post_id = info.context, PostId(input.post_id)
        warnings = await posts.update_post(
            context.database,
            context.write_context(UPDATE_POST),
            post_id,
            input.to_update(),
            account_ids=_validate_optional_account_ids(input.account_ids),
            expected_version=input.expected_version,
            idempotency_key=context.idempotency_key(input.idempotency_key),
            unknown_member=context.unknown_members.get(0),
            new_id=context.new_id,
        )
        return UpdatePostPayload(
            post=await load_post(context, post_id),
            warnings=BlockedAccountWarning.from_warnings(warnings.accounts),
            content_warnings=RejectedContentWarning.from_warnings(warnings.contents),
        )

    @write_mutation("Submit a draft, to publish it at its time or immediately.")
    async def schedule_post(
        self, info: Info, input: MutationInput[SchedulePostInput]
    ) -> SchedulePostPayload | None:
        context, post_id = info.context, PostId(input.post_id)
        warnings = await posts.schedule_post(
            context.database,
            context.write_context("schedulePost"),
            post_id,
            to_record(input, Schedule),
            account_ids=_validate_optional_account_ids(input.account_ids),
            expected_version=input.expected_version,
            idempotency_key=context.idempotency_key(input.idempotency_key),
            unknown_member=context.unknown_members.get(0),
            new_id=context.new_id,
        )
        return SchedulePostPayload(
            post=await load_post(context, post_id),
            warnings=BlockedAccountWarning.from_warnings(warnings.accounts),
            content_warnings=RejectedContentWarning.from_warnings(warnings.contents),
        )

    @write_mutation(
        "Cancel a post. It becomes a draft again; if any destination was attempted, the remaining"
        " ones fail with CANCELLED instead."
    )
    async def cancel_post(
        self, info: Info, input: MutationInput[CancelPostInput]
    ) -> CancelPostPayload | None:
        context, post_id = info.context, PostId(input.post_id)
        await posts.cancel_post(
            context.database,
            context.write_context("cancelPost"),
            post_id,
            expected_version=input.expected_version,
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return CancelPostPayload(post=await load_post(context, post_id))

    @write_mutation(
        "Delete a post that was not published. This server no longer publishes it anywhere."
    )
    async def delete_post(
        self, info: Info, input: MutationInput[DeletePostInput]
    ) -> DeletePostPayload | None:
        context = info.context
        await posts.delete_post(
            context.database,
            context.write_context("deletePost"),
            PostId(input.post_id),
            expected_version=input.expected_version,
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return DeletePostPayload(post_id=input.post_id)


async def _build_result(
    context: Context, index: int, outcome: CreatedPost | RejectedPost
) -> CreatePostResult:
    if isinstance(outcome, RejectedPost):
        refusal = PostRefusal(code=outcome.code, message=outcome.message, field=outcome.argument)
        return _rejected_result(index, refusal)
    post = await load_post(context, outcome.id)
    if post is None:  # a repeated request, whose post was deleted since the first one
        refusal = PostRefusal(code=ErrorCode.NOT_FOUND, message=_DELETED_POST_MESSAGE, field=None)
        return _rejected_result(index, refusal)
    return CreatePostResult(
        index=index,
        post=post,
        warnings=BlockedAccountWarning.from_warnings(outcome.warnings.accounts),
        content_warnings=RejectedContentWarning.from_warnings(outcome.warnings.contents),
        error=None,
    )


def _rejected_result(index: int, refusal: PostRefusal) -> CreatePostResult:
    return CreatePostResult(index=index, post=None, warnings=[], content_warnings=[], error=refusal)


def _to_new_post_or_rejection(post_input: PostInput) -> NewPost | RejectedPost:
    try:
        return post_input.to_new_post()
    except InvalidInput as error:
        return RejectedPost.from_error(error)


def _validate_optional_account_ids(numbers: Sequence[int] | None) -> list[AccountId] | None:
    return None if numbers is None else _validate_account_ids(numbers)


def _validate_account_ids(numbers: Sequence[int]) -> list[AccountId]:
    return [
        validate_account_id(number, f"accountIds[{index}]") for index, number in enumerate(numbers)
    ]


def _validate_object(value: Json | None) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput("platformContent must be an object.", argument="platformContent")
    return value
