"""Query field `calendar`: numbers and first posts of each hour or day."""

from asyncio import gather, sleep
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import strawberry
from strawberry import field

from app.db.core.projections import ALL_COLUMNS
from app.db.repositories.calendar import CalendarCriteria, count_posts_by_span, first_posts
from app.domain.errors import InvalidInput
from app.domain.posts import PostStatus
from app.domain.time_buckets import BucketSize, TimeBucket, edges_of, parse_timezone, split_period
from app.graphql.schema.analytics import PostCounts, build_post_counts
from app.graphql.schema.context import Info
from app.graphql.schema.enums import CalendarInterval
from app.graphql.schema.inputs import (
    optional,
    to_record,
    validate_account_ids,
    validate_filter_texts,
)
from app.graphql.schema.posts import Post
from app.graphql.schema.prefetch import posts_from_rows
from app.runtime.computations import compute

MAX_POSTS_IN_BUCKET = 20

_CONCURRENT_BUCKETS = 2
"""Buckets whose posts are read together: each may have 20 posts with all that is selected of them."""

DEFAULT_POSTS_IN_BUCKET = 3


@strawberry.input(
    name="CalendarFilter",
    description="Filter for the posts of a calendar. An omitted field matches everything, a list matches any"
    " of its values, and an empty list matches nothing.",
)
class CalendarFilterInput:
    status: list[PostStatus] | None = optional("Status of the post.")
    platform: list[str] | None = optional("Platform of at least one destination.")
    account_id: list[int] | None = optional("Account number of at least one destination.")

    def to_criteria(self) -> CalendarCriteria:
        """Validate the values for the database; raises InvalidInput, naming the field, for an invalid one."""
        return to_record(
            self,
            CalendarCriteria,
            platform=validate_filter_texts("filter.platform", self.platform),
            account_id=validate_account_ids("filter.accountId", self.account_id),
        )


@strawberry.type(description="Posts of one hour or day of a calendar.")
class CalendarBucket:
    start: datetime = field(description="UTC start of the bucket, inclusive.")
    end: datetime = field(description="UTC end of the bucket, exclusive.")
    counts: PostCounts = field(description="Number of posts by status.")
    posts: list[Post] = field(description="First posts of the bucket, by their time.")


@strawberry.type(
    description="Posts of a period by their scheduled time; a post without one, such as one that was"
    " published immediately or a draft, is at the time of its creation."
)
class Calendar:
    start: datetime = field(description="UTC start of the period, inclusive.")
    end: datetime = field(description="UTC end of the period, exclusive.")
    timezone: str = field(description="IANA time zone whose clock limits the buckets.")
    buckets: list[CalendarBucket] = field(
        description="All buckets of the period in order, also empty ones."
    )


async def build_calendar(
    info: Info,
    start: datetime,
    end: datetime,
    timezone: str,
    interval: CalendarInterval,
    first: int,
    criteria: CalendarCriteria,
) -> Calendar:
    if not 0 <= first <= MAX_POSTS_IN_BUCKET:
        raise InvalidInput(
            f"first must be from 0 to {MAX_POSTS_IN_BUCKET}; it is {first:,}.", argument="first"
        )
    size = BucketSize(interval.value)
    buckets = await compute(
        partial(split_period, start, end, size, parse_timezone(timezone), argument="bucket")
    )
    context = info.context
    context.response_limit.add(len(buckets))
    counts = await count_posts_by_span(context.reader, criteria, edges_of(buckets))
    posts_in_bucket = first if "posts" in info.selection.names else 0
    context.response_limit.add(sum(min(sum(each.values()), posts_in_bucket) for each in counts))

    async def build_bucket(
        bucket: TimeBucket, by_status: Mapping[PostStatus, int]
    ) -> CalendarBucket:
        rows = (
            await first_posts(context.reader, criteria, bucket.start, bucket.end, posts_in_bucket)
            if posts_in_bucket and any(by_status.values())
            else []
        )
        return CalendarBucket(
            start=bucket.start,
            end=bucket.end,
            counts=build_post_counts(by_status),
            posts=await posts_from_rows(context, rows, ALL_COLUMNS),
        )

    return Calendar(
        start=start,
        end=end,
        timezone=timezone,
        buckets=await _build_in_parts(buckets, counts, build_bucket),
    )


async def _build_in_parts(
    buckets: Sequence[TimeBucket],
    counts: Sequence[Mapping[PostStatus, int]],
    build_bucket: Callable[[TimeBucket, Mapping[PostStatus, int]], Awaitable[CalendarBucket]],
) -> list[CalendarBucket]:
    """Build all buckets, a few at a time: thousands of tasks would block the event loop together."""
    built: list[CalendarBucket] = []
    for start in range(0, len(buckets), _CONCURRENT_BUCKETS):
        part = slice(start, start + _CONCURRENT_BUCKETS)
        built += await gather(*map(build_bucket, buckets[part], counts[part]))
        await sleep(0)  # reads on SQLite may not have suspended
    return built
