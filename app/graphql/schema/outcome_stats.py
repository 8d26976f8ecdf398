"""Query field `outcomeStats`: outcomes, attempts and lateness by time and group."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import strawberry
from strawberry import field

from app.db.repositories import outcomes
from app.db.repositories.outcomes import OutcomeQuery
from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.outcome_statistics import (
    OutcomeGrouping,
    OutcomeGroupKey,
    OutcomeTable,
    OutcomeTally,
    percentile,
)
from app.domain.time_buckets import (
    BucketSize,
    TimeBucket,
    TimeSpan,
    edges_of,
    parse_timezone,
    split_into_hours_of_week,
    split_period,
)
from app.graphql.schema.context import Info
from app.graphql.schema.inputs import optional, validate_account_ids, validate_filter_texts
from app.runtime.computations import compute

MAX_GROUPINGS = 2

_INLINE_GROUPS = 100
"""Groups in all buckets that are built in the event loop, in about 1 ms."""

_MS_PER_SECOND = 1000


@strawberry.input(
    name="OutcomeStatsFilter",
    description="Filter for statistics of outcomes. An omitted field matches everything, a list matches any"
    " of its values, and an empty list matches nothing.",
)
class OutcomeStatsFilterInput:
    platform: list[str] | None = optional("Platform of the account.")
    account_id: list[int] | None = optional("Number of the account.")
    error_category: list[ErrorCategory] | None = optional(
        "Category of the error: only failures and failed attempts match, no publication does."
    )


@strawberry.type(
    description="Time from the scheduled time of published destinations to their publication, in seconds;"
    " negative for an early publication of a mirror. A percentile is the smallest lateness that at least so"
    " many percent of the destinations do not exceed (nearest rank)."
)
class PublishingLateness:
    p50_seconds: float = field(description="Median of the lateness.")
    p95_seconds: float = field(description="95th percentile of the lateness.")
    p99_seconds: float = field(description="99th percentile of the lateness.")
    max_seconds: float = field(description="Highest lateness.")
    max_error_percent: float = field(
        description="Largest possible error of the percentiles, in percent; 0, as they are exact."
    )


@strawberry.type(
    description="Numbers of destinations by their present outcome. A destination counts once, at the time of"
    " its last settlement."
)
class OutcomeCounts:
    published: int = field(description="Number of published destinations.")
    failed: int = field(description="Number of failed destinations, without unknown outcomes.")
    unknown: int = field(description="Number of destinations with an unknown outcome.")
    user_caused: int = field(
        description="Number of failed destinations with the category AUTH or CONTENT_REJECTED. A cancelled"
        " destination failed, too, but is not counted here."
    )
    first_try: int = field(description="Number of destinations published by their only attempt.")
    saved_by_retry: int = field(
        description="Number of destinations published after more than one attempt."
    )
    attempts: int = field(
        description="Number of attempts by the time of their start, also of destinations without an outcome."
    )
    success_rate: float | None = field(
        description="Share of published destinations, from 0 to 1; null if none was settled. An unknown"
        " outcome is not a success."
    )
    lateness: PublishingLateness | None = field(
        description="Lateness of the published destinations; null if none was published."
    )


@strawberry.type(description="Outcomes of one group in one bucket.")
class OutcomeGroup:
    platform: str | None = field(description="Platform; null if not grouped by PLATFORM.")
    account_id: int | None = field(description="Account number; null if not grouped by ACCOUNT.")
    category: ErrorCategory | None = field(
        description="Category of the error, for attempts that of the attempt; null without an error, and if"
        " not grouped by CATEGORY."
    )
    hour_of_week: int | None = field(
        description="Hours since Monday 00:00 on the clock of the time zone, 0 to 167; null if not grouped by"
        " HOUR_OF_WEEK."
    )
    counts: OutcomeCounts = field(description="Numbers of the group.")


@strawberry.type(description="Outcomes of one hour, day or week, or of the whole period.")
class OutcomeBucket:
    start: datetime = field(description="UTC start of the bucket, inclusive.")
    end: datetime = field(description="UTC end of the bucket, exclusive.")
    counts: OutcomeCounts = field(description="Numbers of all groups together.")
    groups: list[OutcomeGroup] = field(
        description="Groups with at least one destination or attempt, sorted; empty without `groupBy`."
    )


@strawberry.type(description="Outcomes of the destinations that were settled in a period.")
class OutcomeStats:
    start: datetime = field(description="UTC start of the period, inclusive.")
    end: datetime = field(description="UTC end of the period, exclusive.")
    timezone: str = field(description="IANA time zone whose clock limits the buckets.")
    interval: BucketSize | None = field(description="Length of a bucket; null for one bucket.")
    buckets: list[OutcomeBucket] = field(
        description="All buckets of the period in order, also empty ones."
    )


async def build_outcome_stats(
    info: Info,
    start: datetime,
    end: datetime,
    interval: BucketSize | None,
    timezone: str,
    group_by: Sequence[OutcomeGrouping],
    filters: OutcomeStatsFilterInput,
) -> OutcomeStats:
    if len(group_by) > MAX_GROUPINGS:
        raise InvalidInput(
            f"groupBy has {len(group_by)} values; from 0 to {MAX_GROUPINGS} are allowed.",
            argument="groupBy",
        )
    zone = parse_timezone(timezone)
    buckets = await compute(split_period, start, end, interval, zone)
    if OutcomeGrouping.HOUR_OF_WEEK in group_by:
        spans = await compute(split_into_hours_of_week, buckets, zone)
    else:
        spans = [
            TimeSpan(each.start, each.end, number, None) for number, each in enumerate(buckets)
        ]
    _check_groups(info, buckets, 1)
    info.context.response_limit.add(len(buckets))
    table = OutcomeTable(spans, group_by, filters.error_category)

    def check_groups() -> None:
        _check_groups(info, buckets, table.min_group_count())

    await _count_outcomes(info, table, spans, group_by, filters, check_groups)
    build = partial(_build_buckets, info, table, buckets, is_grouped=bool(group_by))
    is_small = len(buckets) * table.min_group_count() <= _INLINE_GROUPS and not _has_lateness(info)
    built = build() if is_small else await compute(build)
    for bucket in built:
        info.context.response_limit.add(len(bucket.groups))
    return OutcomeStats(start=start, end=end, timezone=timezone, interval=interval, buckets=built)


async def _count_outcomes(
    info: Info,
    table: OutcomeTable,
    spans: Sequence[TimeSpan],
    group_by: Sequence[OutcomeGrouping],
    filters: OutcomeStatsFilterInput,
    check: Callable[[], None],
) -> None:
    """Read what the document selects, and count it."""
    reader, selected = info.context.reader, info.selection.names
    query = OutcomeQuery(
        edges=edges_of(spans),
        platforms=validate_filter_texts("filter.platform", filters.platform),
        account_ids=validate_account_ids("filter.accountId", filters.account_id),
        has_platforms=OutcomeGrouping.PLATFORM in group_by,
        has_lateness=_has_lateness(info),
        has_accounts=OutcomeGrouping.ACCOUNT in group_by,
        has_categories=OutcomeGrouping.CATEGORY in group_by or filters.error_category is not None,
    )
    await outcomes.fill_outcome_table(
        reader, query, table, has_attempts="attempts" in selected, check=check
    )


def _has_lateness(info: Info) -> bool:
    return "lateness" in info.selection.names


def _check_groups(info: Info, buckets: Sequence[TimeBucket], groups: int) -> None:
    """Raise ResponseTooLarge for too many groups, or if the response is refused for another field."""
    limit = info.context.response_limit
    limit.raise_if_refused()
    limit.check_product({"buckets": len(buckets), "groups": max(groups, 1)})


def _build_buckets(
    info: Info, table: OutcomeTable, buckets: Sequence[TimeBucket], *, is_grouped: bool
) -> list[OutcomeBucket]:
    tallies_by_bucket = [table.groups_in(number) for number in range(len(buckets))]
    groups = {key for tallies in tallies_by_bucket for key in tallies}
    _check_groups(info, buckets, len(groups))
    built = []
    for bucket, tallies in zip(buckets, tallies_by_bucket, strict=True):
        total = OutcomeTally()
        for tally in tallies.values():
            total.merge(tally)
        bucket_groups = (
            [_build_group(key, tallies[key]) for key in sorted(tallies, key=_sort_key)]
            if is_grouped
            else []
        )
        built.append(
            OutcomeBucket(
                start=bucket.start,
                end=bucket.end,
                counts=build_counts(total),
                groups=bucket_groups,
            )
        )
    return built


def _sort_key(key: OutcomeGroupKey) -> tuple[object, ...]:
    """Order groups by their properties, those without a category first."""
    return tuple((value is not None, value) for value in key)


def _build_group(key: OutcomeGroupKey, tally: OutcomeTally) -> OutcomeGroup:
    return OutcomeGroup(**key._asdict(), counts=build_counts(tally))


def build_counts(tally: OutcomeTally) -> OutcomeCounts:
    return OutcomeCounts(
        published=tally.published,
        failed=tally.failed,
        unknown=tally.unknown,
        user_caused=tally.user_caused,
        first_try=tally.first_try,
        saved_by_retry=tally.saved_by_retry,
        attempts=tally.attempts,
        success_rate=tally.success_rate,
        lateness=_build_lateness(tally.sorted_lateness_ms()),
    )


def _build_lateness(values: Sequence[int]) -> PublishingLateness | None:
    if not values:
        return None
    return PublishingLateness(
        p50_seconds=percentile(values, 50) / _MS_PER_SECOND,
        p95_seconds=percentile(values, 95) / _MS_PER_SECOND,
        p99_seconds=percentile(values, 99) / _MS_PER_SECOND,
        max_seconds=values[-1] / _MS_PER_SECOND,
        max_error_percent=0.0,
    )
