"""When a failure is tried again by itself: the contract's table, and what holds for every policy."""

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
"""The largest number that random() gives."""

TRANSIENT = DEFAULT_POLICIES.policy_for("x", ErrorCategory.TRANSIENT)
RATE_LIMITED = DEFAULT_POLICIES.policy_for("x", ErrorCategory.RATE_LIMITED)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def wait_before_retry(
    policy: RetryPolicy,
    *,
    failures: int = 1,
    counted: int | None = None,
    age: timedelta = timedelta(),
    retry_after: timedelta | None = None,
    random: float = 0.5,
) -> timedelta | None:
    """How long after a failure it is tried again, in a round that began so long before; None if final."""
    at = next_retry(
        policy,
        failures=failures,
        counted_attempts=(failures if policy.counts_attempts else 0)
        if counted is None
        else counted,
        round_started_at=NOON - age,
        retry_after=retry_after,
        random=lambda: random,
        now=NOON,
    )
    return None if at is None else at - NOON


@pytest.mark.parametrize("category", [ErrorCategory.TRANSIENT, ErrorCategory.UNCLASSIFIED])
def test_a_passing_fault_is_retried_four_times_with_growing_delays(category: ErrorCategory) -> None:
    policy = DEFAULT_POLICIES.policy_for("x", category)
    assert [wait_before_retry(policy, failures=each) for each in range(1, 7)] == [
        seconds(15),
        seconds(30),
        seconds(60),
        seconds(120),
        None,
        None,
    ]
    assert [
        wait_before_retry(policy, failures=4, random=each) for each in (0, 0.25, ALMOST_ALL)
    ] == [
        seconds(0),
        seconds(60),
        seconds(240),
    ]


def test_a_passing_fault_is_final_a_day_after_the_round_began() -> None:
    day = timedelta(days=1)
    assert wait_before_retry(TRANSIENT, age=day - seconds(15)) == seconds(15)
    assert wait_before_retry(TRANSIENT, age=day - seconds(15) + MILLISECOND) is None
    assert wait_before_retry(TRANSIENT, age=day, random=0) == seconds(0)
    assert wait_before_retry(TRANSIENT, age=day + MILLISECOND, random=0) is None


def test_the_cap_ends_the_growth() -> None:
    patient = replace(TRANSIENT, max_attempts=100)
    assert [wait_before_retry(patient, failures=each) for each in (7, 8, 9, 99)] == [
        seconds(960),
        seconds(1800),
        seconds(1800),
        seconds(1800),
    ]
    steady = replace(patient, factor=1)
    assert [wait_before_retry(steady, failures=each) for each in (1, 2, 99)] == [seconds(15)] * 3


def test_a_passing_fault_does_not_heed_what_the_platform_asks() -> None:
    assert wait_before_retry(TRANSIENT, retry_after=HOUR) == seconds(15)


@pytest.mark.parametrize(
    ("retry_after", "random", "expected"),
    [
        (None, 0.5, seconds(15)),
        (None, 0, seconds(1)),
        (seconds(0), 0, seconds(1)),
        (seconds(-5), 0, seconds(1)),
        (seconds(10), 0.5, seconds(15)),
        (seconds(20), 0.5, seconds(20)),
        (seconds(20.0004), 0.5, seconds(20.001)),
        (timedelta(hours=24), 0.5, timedelta(hours=24)),
        (timedelta(hours=25), 0.5, timedelta(hours=24)),
        (timedelta(days=999_999), 0.5, timedelta(hours=24)),
    ],
)
def test_a_rate_limit_is_waited_for_within_bounds(
    retry_after: timedelta | None, random: float, expected: timedelta
) -> None:
    assert wait_before_retry(RATE_LIMITED, retry_after=retry_after, random=random) == expected


def test_a_rate_limit_is_not_counted_and_final_after_three_days() -> None:
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
def test_what_somebody_has_to_change_first_is_final_at_once(category: ErrorCategory) -> None:
    policy = DEFAULT_POLICIES.policy_for("x", category)
    assert wait_before_retry(policy, random=0) is None
    assert preview_schedule(policy, None) == RetrySchedule((), continues=False)


@pytest.mark.parametrize(
    "impossible", [{"factor": 0.99}, {"cap": seconds(29)}, {"min_wait": timedelta(hours=25)}]
)
def test_an_impossible_policy_cannot_be_made(impossible: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="impossible retry policy"):
        RetryPolicy(**impossible)  # type: ignore[arg-type]


# Schedules.


def expected_schedule(*waits: tuple[float, float], continues: bool = False) -> RetrySchedule:
    return RetrySchedule(
        tuple(PlannedWait(seconds(earliest), seconds(latest)) for earliest, latest in waits),
        continues=continues,
    )


def test_a_schedule_has_every_wait() -> None:
    assert preview_schedule(TRANSIENT, HOUR) == expected_schedule(
        (0, 30), (0, 60), (0, 120), (0, 240)
    )


def test_a_schedule_without_a_limit_of_attempts_ends_where_waits_stay_alike() -> None:
    assert preview_schedule(RATE_LIMITED, None) == expected_schedule(
        (1, 30),
        (1, 60),
        (1, 120),
        (1, 240),
        (1, 480),
        (1, 960),
        (1, 1920),
        (1, 3600),
        continues=True,
    )
    assert preview_schedule(RATE_LIMITED, seconds(600)).waits[4:6] == (
        PlannedWait(seconds(600), seconds(600)),
        PlannedWait(seconds(600), seconds(960)),
    )
    steady = replace(RATE_LIMITED, factor=1)
    assert preview_schedule(steady, None) == expected_schedule((1, 30), continues=True)
    crawling = replace(RATE_LIMITED, factor=1.0001)
    assert (
        len(preview_schedule(crawling, None).waits),
        preview_schedule(crawling, None).continues,
    ) == (100, True)


def test_a_schedule_leaves_out_what_always_comes_too_late() -> None:
    assert preview_schedule(RATE_LIMITED, timedelta(days=9)) == expected_schedule(
        *[(86400, 86400)] * 3
    )
    assert (
        preview_schedule(replace(RATE_LIMITED, max_age=HOUR), timedelta(days=9))
        == expected_schedule()
    )


# What holds for every policy.

DURATIONS = st.integers(1, 10**6).map(seconds)
FRACTIONS = st.floats(0, 1, exclude_max=True)
PEDANTIC = st.timedeltas(timedelta(), timedelta(days=400)).map(
    lambda each: each // MILLISECOND * MILLISECOND
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
    policies(), st.integers(1, 200), st.integers(0, 200), PEDANTIC, st.none() | PEDANTIC, FRACTIONS
)
def test_a_retry_is_within_every_bound(
    policy: RetryPolicy,
    failures: int,
    counted: int,
    age: timedelta,
    retry_after: timedelta | None,
    random: float,
) -> None:
    found = wait_before_retry(
        policy,
        failures=failures,
        counted=counted,
        age=age,
        retry_after=retry_after,
        random=random,
    )
    if found is None:
        soonest = wait_before_retry(
            replace(policy, max_age=timedelta(days=10**6), counts_attempts=False),
            failures=failures,
            age=age,
            retry_after=retry_after,
            random=random,
        )
        assert soonest is not None
        assert policy.is_exhausted(counted) or age + soonest > policy.max_age
        return
    assert not (policy.counts_attempts and counted >= policy.max_attempts)
    assert age + found <= policy.max_age
    assert found % MILLISECOND == timedelta()
    longest = min(policy.cap, policy.max_backoff(failures))
    if not policy.heeds_retry_after:
        assert timedelta() <= found <= longest
        return
    assert policy.min_wait <= found <= policy.max_wait
    assert found <= max(longest, retry_after or timedelta(), policy.min_wait)
    assert found >= min(retry_after or timedelta(), policy.max_wait)


@given(policies(), st.integers(1, 200))
def test_backoffs_grow_from_the_base_to_the_cap(policy: RetryPolicy, failures: int) -> None:
    backoff, longer = policy.max_backoff(failures), policy.max_backoff(failures + 1)
    assert policy.base <= backoff <= longer <= policy.cap
    assert policy.max_backoff(1) == policy.base
    if longer < policy.cap:
        assert abs(longer - backoff * policy.factor) <= timedelta(microseconds=1)


@given(policies(), st.integers(0, 60), FRACTIONS, st.none() | PEDANTIC)
def test_a_schedule_tells_what_next_retry_does(
    policy: RetryPolicy, number: int, random: float, retry_after: timedelta | None
) -> None:
    told = preview_schedule(policy, retry_after)
    found = wait_before_retry(
        replace(policy, max_age=timedelta(days=10**6)),
        failures=number + 1,
        retry_after=retry_after,
        random=random,
    )
    if number < len(told.waits):
        assert found is not None
        assert told.waits[number].earliest <= found <= told.waits[number].latest
    elif not told.continues:
        soonest = sum((each.earliest for each in told.waits), timedelta())
        assert found is None or soonest + found > policy.max_age
