"""The analytics summary: counts over a period. The periods are the domain's, the counting is in app.db."""

from collections import Counter
from datetime import datetime

import strawberry
from strawberry import field

from app.db.repositories import analytics
from app.domain.destinations import DestinationStatus
from app.domain.posts import PostStatus
from app.domain.times import Period, time_range
from app.graphql.schema.context import Info


@strawberry.type(description="Posts by status; the counts add up to the total.")
class PostCounts:
    total: int = field(description="All posts created in the period.")
    draft: int = field(description="Those with status DRAFT.")
    scheduled: int = field(description="Those with status SCHEDULED.")
    publishing: int = field(description="Those with status PUBLISHING.")
    published: int = field(description="Those with status PUBLISHED.")
    partially_failed: int = field(description="Those with status PARTIALLY_FAILED.")
    failed: int = field(description="Those with status FAILED.")


@strawberry.type(description="Destinations of one platform; the counts add up to the total.")
class PlatformCounts:
    platform: str = field(description="Such as `instagram`.")
    total: int = field(description="All destinations of the period's posts, without drafts.")
    scheduled: int = field(description="Those that are queued or being published.")
    published: int = field(description="Those that are published.")
    failed: int = field(description="Those that failed or whose outcome is unknown.")


@strawberry.type(description="Counts over a period, by when posts were created.")
class AnalyticsSummary:
    period: Period = field(description="The period asked for.")
    start: datetime | None = field(description="Its start, included; null from the beginning.")
    end: datetime = field(description="Its end, included.")
    posts: PostCounts = field(description="Posts by status.")
    by_platform: list[PlatformCounts] = field(description="By platform, in alphabetical order.")


async def build_summary(
    info: Info, period: Period, start: datetime | None, end: datetime | None
) -> AnalyticsSummary:
    within = time_range(period, start=start, end=end, now=info.context.clock())
    reader = info.context.read()
    posts = await analytics.posts_by_status(reader, within)
    destinations = await analytics.destinations_by_platform(reader, within)

    by_status = Counter({row.status: row.posts for row in posts})
    by_platform: dict[str, Counter[DestinationStatus]] = {}
    for row in destinations:
        by_platform.setdefault(row.platform, Counter())[row.status] = row.destinations
    return AnalyticsSummary(
        period=period,
        start=within.start,
        end=within.end,
        posts=PostCounts(
            total=by_status.total(), **{status.value: by_status[status] for status in PostStatus}
        ),
        by_platform=[
            _platform_counts(name, counts) for name, counts in sorted(by_platform.items())
        ],
    )


def _platform_counts(platform: str, counts: Counter[DestinationStatus]) -> PlatformCounts:
    return PlatformCounts(
        platform=platform,
        total=counts.total(),
        scheduled=counts[DestinationStatus.QUEUED] + counts[DestinationStatus.PUBLISHING],
        published=counts[DestinationStatus.PUBLISHED],
        failed=counts[DestinationStatus.FAILED],
    )
