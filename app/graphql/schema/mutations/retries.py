"""Retries by hand: retryPost and retryDestinations. Which may be retried is the domain's to say."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument, field

from app.db.core.paging import PageRequest
from app.domain.api_keys import Scope
from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import DestinationId, PostId, check_account_id
from app.domain.manual_retries import MAX_RETRIES, RetryRefusal
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import DestinationFilter
from app.graphql.schema.mutations.extensions import IDEMPOTENCY_KEY_DESCRIPTION, write_field
from app.graphql.schema.types import Destination, Post
from app.services import retries
from app.services.retries import DestinationRetry as RetryDecision
from app.services.retries import RetriedPage


@strawberry.input(description="What is to be retried of a post.")
class RetryPostInput:
    post_id: UUID = field(description="The post's UUID.")
    account_ids: list[int] | None = field(
        default=None, description="Only on these of its accounts; without it, on all."
    )
    force: bool = field(
        default=False,
        description="Whether to retry an unknown outcome too. The post may be there already, and would"
        " then be there twice: look on the platform first.",
    )
    idempotency_key: str | None = field(default=None, description=IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input(
    description="What is to be retried, over all posts. Posts that were imported are left out."
)
class RetryDestinationsInput:
    filter: DestinationFilter = field(
        description="Which ones; failed ones unless it names statuses. It must name more than status and"
        " outcome; an empty list matches nothing."
    )
    dry_run: bool = field(
        default=False, description="Whether only to tell what would be retried; nothing is changed."
    )
    first: int | None = field(
        default=MAX_RETRIES, description=f"The newest so many, 1 to {MAX_RETRIES:,}."
    )
    after: str | None = field(default=None, description="Only what comes after this endCursor.")
    idempotency_key: str | None = field(
        default=None, description=f"{IDEMPOTENCY_KEY_DESCRIPTION} A dry run needs none."
    )


@strawberry.type(description="What was decided about one destination.")
class DestinationRetry:
    destination_id: UUID = field(description="The destination's UUID.")
    post_id: UUID = field(description="The post's UUID.")
    account_id: int = field(description="The account's number in this workspace.")
    platform: str = field(description="The account's platform.")
    retried: bool = field(
        description="Whether it is queued again; in a dry run, whether it would be."
    )
    refusal: RetryRefusal | None = field(description="Why it is not; null if it is.")
    fix: str | None = field(description="What to do about the refusal, as a sentence.")

    @classmethod
    def from_service(cls, decision: RetryDecision) -> "DestinationRetry":
        return cls(
            destination_id=decision.destination_id,
            post_id=decision.post_id,
            account_id=decision.account_id,
            platform=decision.platform,
            retried=decision.refusal is None,
            refusal=decision.refusal,
            fix=decision.refusal and decision.refusal.fix,
        )

    @strawberry.field(description="The destination as it stands now.")
    async def destination(self, info: Info) -> Destination | None:
        context = info.context
        key = DestinationId(self.destination_id)
        row = await context.loaders.destinations_by_id.load(key)
        return None if row is None else Destination.from_row(row, context.clock())


@strawberry.type(description="What was retried of a post.")
class RetryPostPayload:
    post: Post | None = field(
        description="The post as it stands now; null if it was deleted since."
    )
    retries: list[DestinationRetry] = field(
        description="One for each destination that was looked at, in the order of the post."
    )
    retried_count: int = field(description="How many of them are queued again.")


@strawberry.type(description="What was retried of all that matches.")
class RetryDestinationsPayload:
    retries: list[DestinationRetry] = field(
        description="One for each destination that matches, newest first."
    )
    retried_count: int = field(
        description="How many of them are queued again; in a dry run, how many would be."
    )
    refused_count: int = field(description="How many of them are not.")
    has_more: bool = field(description="Whether more match than this call looked at.")
    end_cursor: str | None = field(
        description="Pass it as `after` to go on; null where nothing matches."
    )


@strawberry.type
class RetryMutations:
    @strawberry.mutation(
        description="Retry a post where it failed: it is queued again at once, and what was published"
        " stays as it is. Attempts go on counting; their limits begin anew.",
        extensions=write_field(Scope.WRITE),
    )
    async def retry_post(
        self,
        info: Info,
        input: Annotated[RetryPostInput, argument(description="What to retry.")],  # noqa: A002
    ) -> RetryPostPayload | None:
        context = info.context
        accounts = input.account_ids
        decided = await retries.retry_one_post(
            context.database,
            context.write_context("retryPost"),
            PostId(input.post_id),
            account_ids=None
            if accounts is None
            else [check_account_id(each, "accountIds") for each in accounts],
            force=input.force,
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        row = await context.loaders.posts_by_id.load(PostId(input.post_id))
        return RetryPostPayload(
            post=None if row is None else Post.from_row(row, context.clock()),
            retries=_to_destination_retries(decided),
            retried_count=_count_retried(decided),
        )

    @strawberry.mutation(
        description=f"Retry what failed and matches a filter, at most {MAX_RETRIES:,} in a call, all of"
        " them or none. What may not be retried is refused by itself, with what to do about it; an"
        " unknown outcome always is, and only retryPost can force it. What somebody cancelled is passed"
        " over unless the filter names its code.",
        extensions=write_field(Scope.WRITE),
    )
    async def retry_destinations(
        self,
        info: Info,
        input: Annotated[RetryDestinationsInput, argument(description="Which ones.")],  # noqa: A002
    ) -> RetryDestinationsPayload | None:
        context = info.context
        cursors = context.cursor_codec("retryDestinations")
        after = None if input.after is None else cursors.decode(input.after, "after")
        page = PageRequest(size=_check_page_size(input.first), after=after)
        key = context.idempotency_key(input.idempotency_key)
        decided = await _retry_or_dry_run(context, input, page, key)
        end = decided.end_position
        return RetryDestinationsPayload(
            retries=_to_destination_retries(decided.retries),
            retried_count=_count_retried(decided.retries),
            refused_count=len(decided.retries) - _count_retried(decided.retries),
            has_more=decided.has_more,
            end_cursor=None if end is None else cursors.encode(end),
        )


async def _retry_or_dry_run(
    context: Context,
    retry_input: RetryDestinationsInput,
    page: PageRequest,
    key: IdempotencyKey | None,
) -> RetriedPage:
    matching = retry_input.filter.to_db_filter()
    errand = context.write_context("retryDestinations")
    # Refused now and not when the answer is made: by then it would have happened.
    context.list_limit.add(page.size)
    if retry_input.dry_run:
        return await retries.dry_run_retry_matching(context.database, errand, matching, page)
    return await retries.retry_matching(context.database, errand, matching, page, key)


def _check_page_size(first: int | None) -> int:
    if first is None:
        return MAX_RETRIES
    if not 1 <= first <= MAX_RETRIES:
        raise InvalidInput(
            f"first must be from 1 to {MAX_RETRIES:,}; it is {first:,}.", argument="first"
        )
    return first


def _to_destination_retries(decisions: Sequence[RetryDecision]) -> list[DestinationRetry]:
    return [DestinationRetry.from_service(each) for each in decisions]


def _count_retried(decisions: Sequence[RetryDecision]) -> int:
    return sum(each.refusal is None for each in decisions)
