"""Retry times of the documented default policies, and properties of every policy."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import ErrorCategory
from app.domain.retry_policy import (
    DEFAULT_POLICIES,
    PlannedWait,
    RetryPolicy,
    RetrySchedule,
    next_retry,
    preview_schedule,
)

NOON = datetime(2026, 4, 15, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)
ALMOST_ALL = 1 - 2**-53
"""The largest number that random() returns."""

TRANSIENT = DEFAULT_POLICIES.policy_for("x", ErrorCategory.TRANSIENT, not_sent=False)
RATE_LIMITED = DEFAULT_POLICIES.policy_for("x", ErrorCategory.RATE_LIMITED, not_sent=False)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def wait_before_retry(
    policy: RetryPolicy,
    *,
    failures: int = 1,
    counted: int | None = None,
    age: timedelta = timedelta(),
    retry_after: timedelta | None = None,
    random: float = 0,
) -> timedelta | None:
    """The wait after a failure in a round of the given age; None if the failure is final."""
    if counted is None:
        counted = failures if policy.counts_attempts else 0
    retry_at = next_retry(
        policy,
        failures=failures,
        counted_attempts=counted,
        round_started_at=NOON - age,
        retry_after=retry_after,
        random=lambda: random,
        now=NOON,
    )
    return None if retry_at is None else retry_at - NOON


@pytest.mark.parametrize("category", [ErrorCategory.TRANSIENT, ErrorCategory.UNCLASSIFIED])
def test_transient_failure_is_retried_four_times_with_growing_waits(
    category: ErrorCategory,
) -> None:
    policy = DEFAULT_POLICIES.policy_for("x", category, not_sent=False)
    waits = [wait_before_retry(policy, failures=count) for count in range(1, 7)]
    assert waits == [*map(seconds, (15, 30, 60, 120)), None, None]
    waits = [
        wait_before_retry(policy, failures=4, random=random) for random in (0, 0.25, ALMOST_ALL)
    ]
    assert waits == [*map(seconds, (120, 150, 240))]


def test_transient_failure_is_final_a_day_after_start_of_round() -> None:
    day = timedelta(days=1)
    assert wait_before_retry(TRANSIENT, age=day - seconds(15)) == seconds(15)
    assert wait_before_retry(TRANSIENT, age=day - seconds(15) + MILLISECOND) is None
    assert wait_before_retry(TRANSIENT, age=day) is None


def test_waits_grow_up_to_cap() -> None:
    policy = replace(TRANSIENT, max_attempts=100)
    waits = [wait_before_retry(policy, failures=count) for count in (7, 8, 9, 99)]
    assert waits == [*map(seconds, (960, 1800, 1800, 1800))]
    constant = replace(policy, factor=1)
    waits = [wait_before_retry(constant, failures=count) for count in (1, 2, 99)]
    assert waits == [seconds(15)] * 3


def test_transient_failure_ignores_retry_after() -> None:
    assert wait_before_retry(TRANSIENT, retry_after=HOUR) == seconds(15)


@pytest.mark.parametrize(
    ("retry_after", "random", "expected"),
    [
        (None, 0, seconds(15)),
        (None, 0.5, seconds(22.5)),
        (seconds(0), 0, seconds(15)),
        (seconds(-5), 0, seconds(15)),
        (seconds(10), 0, seconds(15)),
        (seconds(20), 0, seconds(20)),
        (seconds(20), 0.5, seconds(22.5)),
        (seconds(20.0004), 0, seconds(20.001)),
        (timedelta(hours=24), 0, timedelta(hours=24)),
        (timedelta(hours=25), 0, timedelta(hours=24)),
        (timedelta(days=999_999), 0, timedelta(hours=24)),
    ],
)
def test_rate_limit_waits_for_retry_after_within_bounds(
    retry_after: timedelta | None, random: float, expected: timedelta
) -> None:
    assert wait_before_retry(RATE_LIMITED, retry_after=retry_after, random=random) == expected


def test_rate_limit_waits_at_least_min_wait() -> None:
    policy = replace(RATE_LIMITED, min_wait=seconds(20))
    assert wait_before_retry(policy) == seconds(20)


def test_failure_that_sent_nothing_is_limited_by_age_alone() -> None:
    for category in (ErrorCategory.TRANSIENT, ErrorCategory.UNCLASSIFIED):
        policy = DEFAULT_POLICIES.policy_for("x", category, not_sent=True)
        waits = [wait_before_retry(policy, failures=count) for count in (1, 2, 7, 8, 99)]
        assert waits == [*map(seconds, (15, 30, 960, 1800, 1800))]
        age = timedelta(hours=24) - seconds(15)
        assert wait_before_retry(policy, age=age) == seconds(15)
        assert wait_before_retry(policy, age=age + MILLISECOND) is None
    rate_limited = DEFAULT_POLICIES.policy_for("x", ErrorCategory.RATE_LIMITED, not_sent=True)
    assert rate_limited == RATE_LIMITED


def test_rate_limit_is_not_counted_and_final_after_three_days() -> None:
    assert wait_before_retry(RATE_LIMITED, failures=500, counted=5) == seconds(1800)
    age = timedelta(hours=72)
    assert wait_before_retry(
        RATE_LIMITED, age=age - seconds(20), retry_after=seconds(20)
    ) == seconds(20)
    assert wait_before_retry(RATE_LIMITED, age=age - seconds(20), retry_after=seconds(21)) is None
    assert wait_before_retry(RATE_LIMITED, age=age) is None


@pytest.mark.parametrize(
    "category", [ErrorCategory.AUTH, ErrorCategory.CONTENT_REJECTED, ErrorCategory.PERMANENT]
)
def test_permanent_failure_is_final(category: ErrorCategory) -> None:
    policy = DEFAULT_POLICIES.policy_for("x", category, not_sent=False)
    assert wait_before_retry(policy, random=0) is None
    assert preview_schedule(policy, None) == RetrySchedule((), continues=False)


@pytest.mark.parametrize(
    "fields", [{"factor": 0.99}, {"cap": seconds(29)}, {"min_wait": timedelta(hours=25)}]
)
def test_impossible_policy_is_rejected(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="impossible retry policy"):
        RetryPolicy(**fields)  # type: ignore[arg-type]


def expected_schedule(*waits: tuple[float, float], continues: bool = False) -> RetrySchedule:
    return RetrySchedule(
        tuple(PlannedWait(seconds(earliest), seconds(latest)) for earliest, latest in waits),
        continues=continues,
    )


def test_schedule_has_every_wait() -> None:
    assert preview_schedule(TRANSIENT, HOUR) == expected_schedule(
        (15, 30), (30, 60), (60, 120), (120, 240)
    )


def test_schedule_without_limit_of_attempts_ends_when_waits_repeat() -> None:
    latest = (30, 60, 120, 240, 480, 960, 1920, 3600)
    assert preview_schedule(RATE_LIMITED, None) == expected_schedule(
        *((wait / 2, wait) for wait in latest), continues=True
    )
    assert preview_schedule(RATE_LIMITED, seconds(600)).waits[4:6] == (
        PlannedWait(seconds(600), seconds(600)),
        PlannedWait(seconds(600), seconds(960)),
    )
    constant = replace(RATE_LIMITED, factor=1)
    assert preview_schedule(constant, None) == expected_schedule((15, 30), continues=True)
    slow = preview_schedule(replace(RATE_LIMITED, factor=1.0001), None)
    assert (len(slow.waits), slow.continues) == (100, True)


def test_schedule_omits_waits_that_end_after_max_age() -> None:
    retry_after, day = timedelta(days=9), (86400, 86400)
    assert preview_schedule(RATE_LIMITED, retry_after) == expected_schedule(day, day, day)
    assert preview_schedule(replace(RATE_LIMITED, max_age=HOUR), retry_after) == expected_schedule()


DURATIONS = st.integers(1, 10**6).map(seconds)
FRACTIONS = st.floats(0, 1, exclude_max=True)
MILLISECONDS = st.timedeltas(timedelta(), timedelta(days=400)).map(
    lambda duration: duration // MILLISECOND * MILLISECOND
)


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    base, cap = sorted([draw(DURATIONS), draw(DURATIONS)])
    min_wait, max_wait = sorted([draw(DURATIONS), draw(DURATIONS)])
    return RetryPolicy(
        base=base,
        cap=cap,
        factor=draw(st.floats(1, 100)),
        max_attempts=draw(st.integers(1, 100)),
        counts_attempts=draw(st.booleans()),
        max_age=draw(DURATIONS),
        heeds_retry_after=draw(st.booleans()),
        min_wait=min_wait,
        max_wait=max_wait,
    )


@given(
    policies(),
    st.integers(1, 200),
    st.integers(0, 200),
    MILLISECONDS,
    st.none() | MILLISECONDS,
    FRACTIONS,
)
def test_wait_is_within_all_bounds(
    policy: RetryPolicy,
    failures: int,
    counted: int,
    age: timedelta,
    retry_after: timedelta | None,
    random: float,
) -> None:
    wait = wait_before_retry(
        policy,
        failures=failures,
        counted=counted,
        age=age,
        retry_after=retry_after,
        random=random,
    )
    if wait is None:
        unbounded_wait = wait_before_retry(
            replace(policy, max_age=timedelta(days=10**6), counts_attempts=False),
            failures=failures,
            age=age,
            retry_after=retry_after,
            random=random,
        )
        assert unbounded_wait is not None
        assert policy.is_exhausted(counted) or age + unbounded_wait > policy.max_age
        return
    assert not (policy.counts_attempts and counted >= policy.max_attempts)
    assert age + wait <= policy.max_age
    assert wait % MILLISECOND == timedelta()
    max_backoff = min(policy.cap, policy.max_backoff(failures))
    if not policy.heeds_retry_after:
        assert max_backoff / 2 - MILLISECOND <= wait <= max_backoff
        return
    assert policy.min_wait <= wait <= policy.max_wait
    assert wait <= max(max_backoff, retry_after or timedelta(), policy.min_wait)
    assert wait >= min(retry_after or timedelta(), policy.max_wait)


@given(policies(), st.integers(1, 200))
def test_backoffs_grow_from_base_to_cap(policy: RetryPolicy, failures: int) -> None:
    backoff, next_backoff = policy.max_backoff(failures), policy.max_backoff(failures + 1)
    assert policy.base <= backoff <= next_backoff <= policy.cap
    assert policy.max_backoff(1) == policy.base
    if next_backoff < policy.cap:
        assert abs(next_backoff - backoff * policy.factor) <= timedelta(microseconds=1)


@given(policies(), st.integers(0, 60), FRACTIONS, st.none() | MILLISECONDS)
def test_schedule_agrees_with_next_retry(
    policy: RetryPolicy, index: int, random: float, retry_after: timedelta | None
) -> None:
    schedule = preview_schedule(policy, retry_after)
    wait = wait_before_retry(
        replace(policy, max_age=timedelta(days=10**6)),
        failures=index + 1,
        retry_after=retry_after,
        random=random,
    )
    if index < len(schedule.waits):
        assert wait is not None
        assert schedule.waits[index].earliest <= wait <= schedule.waits[index].latest
    elif not schedule.continues:
        shortest_total = sum((wait.earliest for wait in schedule.waits), timedelta())
        assert wait is None or shortest_total + wait > policy.max_age
