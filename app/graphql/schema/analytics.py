"""Query field `analyticsSummary`: counts of posts and destinations over a period."""

from asyncio import gather
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import strawberry
from strawberry import field

from app.db.repositories import analytics
from app.domain.posts import PostStatus
from app.domain.times import Period, time_range
from app.graphql.schema.context import Info


@strawberry.type(description="Number of posts by status; the counts add up to the total.")
class PostCounts:
    total: int = field(description="Number of all posts.")
    draft: int = field(description="Number of posts with the status DRAFT.")
    scheduled: int = field(description="Number of posts with the status SCHEDULED.")
    publishing: int = field(description="Number of posts with the status PUBLISHING.")
    published: int = field(description="Number of posts with the status PUBLISHED.")
    partially_failed: int = field(description="Number of posts with the status PARTIALLY_FAILED.")
    failed: int = field(description="Number of posts with the status FAILED.")


@strawberry.type(
    description="Number of destinations on one platform; the counts add up to the total."
)
class PlatformCounts:
    platform: str = field(description="Platform, such as `instagram`.")
    total: int = field(description="Number of destinations, without those of drafts.")
    scheduled: int = field(description="Number of queued or publishing destinations.")
    published: int = field(description="Number of published destinations.")
    failed: int = field(description="Number of failed destinations, including unknown outcomes.")


@strawberry.type(description="Counts of the posts created in a period, and of their destinations.")
class AnalyticsSummary:
    period: Period = field(description="Requested period.")
    start: datetime | None = field(description="UTC start, inclusive; null for the whole history.")
    end: datetime = field(description="UTC end of the period, inclusive.")
    posts: PostCounts = field(description="Number of posts by status.")
    by_platform: list[PlatformCounts] = field(
        description="Number of destinations by platform, sorted by platform name."
    )


async def build_summary(
    info: Info, period: Period, start: datetime | None, end: datetime | None
) -> AnalyticsSummary:
    times = time_range(period, start=start, end=end, now=info.context.clock())
    reader = info.context.reader
    by_status, by_platform = await gather(
        analytics.count_posts_by_status(reader, times),
        analytics.count_destinations_by_platform(reader, times),
    )
    return AnalyticsSummary(
        period=period,
        start=times.start,
        end=times.end,
        posts=build_post_counts(by_status),
        by_platform=[
            _platform_counts(name, counts) for name, counts in sorted(by_platform.items())
        ],
    )


def build_post_counts(by_status: Mapping[PostStatus, int]) -> PostCounts:
    return PostCounts(
        total=sum(by_status.values()),
        **{status.value: by_status.get(status, 0) for status in PostStatus},
    )


def _platform_counts(platform: str, counts: Counter[str]) -> PlatformCounts:
    scheduled = counts["total"] - counts["published"] - counts["failed"]
    return PlatformCounts(platform=platform, scheduled=scheduled, **counts)
