"""Posts: createPost and its neighbours. Inputs are checked by the domain; retries are elsewhere."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Annotated, cast
from uuid import UUID

import strawberry
from strawberry import UNSET, argument, field

from app.domain.accounts import HealthReason, blocking_message
from app.domain.api_keys import Scope
from app.domain.editing import NewPost, PostChanges, Submission
from app.domain.errors import ErrorCode, InvalidInput
from app.domain.ids import AccountId, PostId, check_account_id
from app.domain.posts import MAX_BULK
from app.graphql.context import Context, Info
from app.graphql.mutations.fields import IDEMPOTENCY_KEY, changes
from app.graphql.scalars import Json
from app.graphql.types import Post
from app.services import posts
from app.services.posts import AccountWarning as Warned
from app.services.posts import CreatedPost, RefusedPost

_VERSION = "The version that the change is meant for; STALE_VERSION if somebody was faster."


@strawberry.input(description="What is to be posted.")
class PostInput:
    content: str = field(
        default="", description="The text; may be left out where media or platforms carry it."
    )
    account_ids: list[int] = field(
        default_factory=list,
        description="The accounts that it goes to, in order; only a draft may have none.",
    )
    scheduled_for: datetime | None = field(
        default=None, description="When it goes out; without it, at once."
    )
    draft: bool = field(default=False, description="Whether it waits until it is scheduled.")
    timezone: str | None = field(
        default=None, description="An IANA name, for display; it never moves the time."
    )
    media_ids: list[str] = field(default_factory=list, description="Kept as given.")
    media: list[Json] = field(default_factory=list, description="Kept as given.")
    platform_content: Json | None = field(
        default=None,
        description="By platform: {content, contentType, settings}, kept as given.",
    )
    reference: str | None = field(
        default=None, description="The client's own name for it, to find it by."
    )

    def to_domain(self) -> NewPost:
        """InvalidInput for a value whose kind GraphQL cannot check."""
        return NewPost(
            content=self.content,
            account_ids=_account_ids(self.account_ids),
            scheduled_for=self.scheduled_for,
            is_draft=self.draft,
            timezone=self.timezone,
            media_ids=self.media_ids,
            media=self.media,
            platform_content=_object(self.platform_content),
            reference=self.reference,
        )


@strawberry.input(description="What is to be posted, once.")
class CreatePostInput(PostInput):
    idempotency_key: str | None = field(
        default=None,
        description=IDEMPOTENCY_KEY,
    )


@strawberry.input(description="Several posts, each with its own result.")
class CreatePostsInput:
    posts: list[PostInput] = field(description=f"1 to {MAX_BULK}.")
    idempotency_key: str | None = field(
        default=None,
        description=IDEMPOTENCY_KEY,
    )


@strawberry.input(
    description="What is to be changed; what is left out stays as it is. Null empties what is stored as it"
    " is given; it leaves accountIds and scheduledFor alone, which decide what goes out."
)
class UpdatePostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_VERSION)
    content: str | None = field(default=UNSET, description="The text.")
    account_ids: list[int] | None = field(
        default=None, description="The accounts that it goes to, in order."
    )
    scheduled_for: datetime | None = field(default=None, description="When it goes out.")
    publish_now: bool = field(
        default=False,
        description="Whether it goes out at once; not with scheduledFor. A draft only loses its time: it"
        " goes out by schedulePost.",
    )
    timezone: str | None = field(default=UNSET, description="An IANA name, for display.")
    media_ids: list[str] | None = field(default=UNSET, description="Kept as given.")
    media: list[Json] | None = field(default=UNSET, description="Kept as given.")
    platform_content: Json | None = field(default=UNSET, description="By platform, kept as given.")
    reference: str | None = field(default=UNSET, description="The client's own name for it.")

    def to_domain(self) -> PostChanges:
        """What was passed; InvalidInput for two times."""
        if self.publish_now and self.scheduled_for is not None:
            raise InvalidInput(
                "Pass either scheduledFor or publishNow, not both.", argument="scheduledFor"
            )
        has_time = self.publish_now or self.scheduled_for is not None
        passed: dict[str, object] = {
            "content": self.content or "" if self.content is not UNSET else UNSET,
            "scheduled_for": self.scheduled_for if has_time else UNSET,
            "timezone": self.timezone,
            "media_ids": self.media_ids or [] if self.media_ids is not UNSET else UNSET,
            "media": self.media or [] if self.media is not UNSET else UNSET,
            "platform_content": (
                UNSET if self.platform_content is UNSET else _object(self.platform_content)
            ),
            "reference": self.reference,
        }
        kept = {name: value for name, value in passed.items() if value is not UNSET}
        return cast("PostChanges", kept)


@strawberry.input(description="When a draft goes out.")
class SchedulePostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_VERSION)
    scheduled_for: datetime | None = field(
        default=None, description="The time; without it, the one that the draft has."
    )
    publish_now: bool = field(default=False, description="At once; not with scheduledFor.")
    account_ids: list[int] | None = field(
        default=None, description="The accounts that it goes to; without it, those of the draft."
    )


@strawberry.input(description="The post that is not to go out.")
class CancelPostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_VERSION)


@strawberry.input(description="The post that is to be deleted.")
class DeletePostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_VERSION)


@strawberry.type(description="An account of the post that could not post if it were due now.")
class AccountWarning:
    account_id: int = field(description="The account's number.")
    reason: HealthReason = field(description="Why it cannot post.")
    message: str = field(description="What to do, as a sentence.")

    @classmethod
    def from_service(cls, warned: Warned) -> "AccountWarning":
        return cls(
            account_id=warned.account_id,
            reason=warned.reason,
            message=blocking_message(warned.reason),
        )


@strawberry.type(description="The post that was created.")
class CreatePostPayload:
    post: Post | None = field(description="The post as it stands now.")
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
    post: Post | None = field(description="The post as it stands now; null if it was refused.")
    warnings: list[AccountWarning] = field(description="Accounts to see to before it is due.")
    error: PostRefusal | None = field(description="Why it was refused; null if it was created.")


@strawberry.type(description="What became of several posts.")
class CreatePostsPayload:
    results: list[CreatePostResult] = field(description="In the order of the input.")
    succeeded: int = field(description="How many were created.")
    failed: int = field(description="How many were refused.")


@strawberry.type(description="The post that was changed.")
class UpdatePostPayload:
    post: Post | None = field(description="The post as it stands now.")
    warnings: list[AccountWarning] = field(description="Accounts to see to before it is due.")


@strawberry.type(description="The post that was scheduled.")
class SchedulePostPayload:
    post: Post | None = field(description="The post as it stands now.")
    warnings: list[AccountWarning] = field(description="Accounts to see to before it is due.")


@strawberry.type(description="The post that was cancelled.")
class CancelPostPayload:
    post: Post | None = field(description="The post as it stands now.")


@strawberry.type(description="The post that was deleted.")
class DeletePostPayload:
    post_id: UUID = field(description="Its UUID, by which nothing is found any more.")


@strawberry.type
class PostMutations:
    @strawberry.mutation(
        description="Create a post: it goes out at once, at its time, or waits as a draft.",
        extensions=changes(Scope.WRITE),
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
            context.errand("createPost"),
            wanted,
            context.repetition_key(input.idempotency_key),
            admit=cache(partial(context.count_new_posts, 1)),
            new_id=context.new_id,
        )
        return CreatePostPayload(
            post=await _post(context, created.id), warnings=_warnings(created.warnings)
        )

    @strawberry.mutation(
        description="Create several posts; a refused one costs no other.",
        extensions=changes(Scope.WRITE),
    )
    async def create_posts(
        self,
        info: Info,
        input: Annotated[CreatePostsInput, argument(description="The posts.")],  # noqa: A002
    ) -> CreatePostsPayload | None:
        context = info.context
        wanted = [_checked(each) for each in input.posts]
        for index, error in sorted(context.refused_posts.items()):
            wanted.insert(index, RefusedPost.of(error))
        made = await posts.create_posts(
            context.database,
            context.errand("createPosts"),
            wanted,
            context.repetition_key(input.idempotency_key),
            admit=cache(partial(context.count_new_posts, len(wanted))),
            new_id=context.new_id,
        )
        results = [await _result(context, index, each) for index, each in enumerate(made)]
        failed = sum(each.error is not None for each in results)
        return CreatePostsPayload(results=results, succeeded=len(results) - failed, failed=failed)

    @strawberry.mutation(
        description="Change a post, until anything of it was published.",
        extensions=changes(Scope.WRITE),
    )
    async def update_post(
        self,
        info: Info,
        input: Annotated[UpdatePostInput, argument(description="The changes.")],  # noqa: A002
    ) -> UpdatePostPayload | None:
        context = info.context
        warned = await posts.change_post(
            context.database,
            context.errand("updatePost"),
            PostId(input.post_id),
            input.to_domain(),
            account_ids=None if input.account_ids is None else _account_ids(input.account_ids),
            expected_version=input.expected_version,
            new_id=context.new_id,
        )
        return UpdatePostPayload(
            post=await _post(context, input.post_id), warnings=_warnings(warned)
        )

    @strawberry.mutation(
        description="Submit a draft, to go out at its time or at once.",
        extensions=changes(Scope.WRITE),
    )
    async def schedule_post(
        self,
        info: Info,
        input: Annotated[SchedulePostInput, argument(description="The time.")],  # noqa: A002
    ) -> SchedulePostPayload | None:
        context = info.context
        warned = await posts.schedule_post(
            context.database,
            context.errand("schedulePost"),
            PostId(input.post_id),
            Submission(scheduled_for=input.scheduled_for, publish_now=input.publish_now),
            account_ids=None if input.account_ids is None else _account_ids(input.account_ids),
            expected_version=input.expected_version,
            new_id=context.new_id,
        )
        return SchedulePostPayload(
            post=await _post(context, input.post_id), warnings=_warnings(warned)
        )

    @strawberry.mutation(
        description="Take a post back: it is a draft again, or, once something of it was attempted,"
        " the rest fails as CANCELLED.",
        extensions=changes(Scope.WRITE),
    )
    async def cancel_post(
        self,
        info: Info,
        input: Annotated[CancelPostInput, argument(description="The post.")],  # noqa: A002
    ) -> CancelPostPayload | None:
        context = info.context
        await posts.cancel_post(
            context.database,
            context.errand("cancelPost"),
            PostId(input.post_id),
            expected_version=input.expected_version,
        )
        return CancelPostPayload(post=await _post(context, input.post_id))

    @strawberry.mutation(
        description="Delete a post that was not published; nothing of it goes out any more.",
        extensions=changes(Scope.WRITE),
    )
    async def delete_post(
        self,
        info: Info,
        input: Annotated[DeletePostInput, argument(description="The post.")],  # noqa: A002
    ) -> DeletePostPayload | None:
        context = info.context
        await posts.delete_post(
            context.database,
            context.errand("deletePost"),
            PostId(input.post_id),
            expected_version=input.expected_version,
        )
        return DeletePostPayload(post_id=input.post_id)


async def _post(context: Context, post_id: UUID) -> Post | None:
    row = await context.loaders.posts_by_id.load(PostId(post_id))
    return None if row is None else Post.from_row(row)


def _warnings(warned: Sequence[Warned]) -> list[AccountWarning]:
    return [AccountWarning.from_service(each) for each in warned]


def _checked(wanted: PostInput) -> NewPost | RefusedPost:
    try:
        return wanted.to_domain()
    except InvalidInput as error:
        return RefusedPost.of(error)


async def _result(
    context: Context, index: int, made: CreatedPost | RefusedPost
) -> CreatePostResult:
    if isinstance(made, RefusedPost):
        refusal = PostRefusal(code=made.code, message=made.message, field=made.argument)
        return CreatePostResult(index=index, post=None, warnings=[], error=refusal)
    return CreatePostResult(
        index=index,
        post=await _post(context, made.id),
        warnings=_warnings(made.warnings),
        error=None,
    )


def _account_ids(numbers: Sequence[int] | None) -> list[AccountId]:
    return [check_account_id(number, "accountIds") for number in numbers or ()]


def _object(value: Json | None) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput("platformContent must be an object.", argument="platformContent")
    return value
