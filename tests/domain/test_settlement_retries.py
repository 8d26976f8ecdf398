"""Whether and when a failure that is reported is tried again: categories, limits, Retry-After, chance."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.attempts import Failure
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.reports import ReportContext, report_failed, start_attempt
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from app.domain.settlement import History, RetryDecider
from app.domain.transitions import claimed, retried
from tests.domain.attempt_histories import (
    NEW_ATTEMPT_ID,
    SECOND,
    current_lease,
    make_attempt,
    make_history,
    report_context,
)
from tests.domain.destination_states import ALL_STATES
from tests.factories import NOW, queued

HOUR = timedelta(hours=1)
C = ErrorCategory


def make_failure(category: ErrorCategory, retry_after: timedelta | None = None) -> Failure:
    return Failure(
        category=category, code=category.name, message="It said no.", retry_after=retry_after
    )


def counts_and_waits(
    categories: Sequence[ErrorCategory],
    *,
    random: float = 0.5,
    policies: RetryPolicies = DEFAULT_POLICIES,
    retry_after: timedelta | None = None,
) -> list[tuple[int, timedelta | None]]:
    """For each failure of a row: the attempts that count by then, and the wait until the next one."""
    state, history = queued(), History("x", [], [])
    told: list[tuple[int, timedelta | None]] = []
    now = NOW
    for category in categories:
        state = claimed(state, NEW_ATTEMPT_ID, now + HOUR)
        begun, running = start_attempt(
            state,
            history,
            ReportContext(current_lease(state), lambda: NEW_ATTEMPT_ID, now),
            worker=None,
            blocking_reason=None,
        )
        history = replace(history, attempts=[*history.attempts, running])
        ended = report_failed(
            begun.state,
            history,
            report_context(current_lease(state), now),
            make_failure(category, retry_after),
            RetryDecider(policies, lambda: random),
        )
        state = ended.state
        history = replace(history, attempts=[*history.attempts[:-1], *ended.attempts])
        assert state.attempts == len(history.attempts)
        wait = None if state.next_retry_at is None else state.next_retry_at - now
        told.append((state.round_attempts, wait))
        now = state.next_retry_at or now
    return told


@pytest.mark.parametrize("category", [C.TRANSIENT, C.UNCLASSIFIED])
def test_what_may_pass_is_tried_five_times_with_longer_and_longer_waits(
    category: ErrorCategory,
) -> None:
    assert counts_and_waits([category] * 5) == [
        (1, 15 * SECOND),
        (2, 30 * SECOND),
        (3, 60 * SECOND),
        (4, 120 * SECOND),
        (5, None),
    ]


@pytest.mark.parametrize(("random", "wait"), [(0.0, 0 * SECOND), (0.999, 29.97 * SECOND)])
def test_a_wait_is_a_random_part_of_the_longest(random: float, wait: timedelta) -> None:
    assert counts_and_waits([C.TRANSIENT], random=random) == [(1, wait)]


@pytest.mark.parametrize("category", [C.AUTH, C.CONTENT_REJECTED, C.PERMANENT])
def test_what_does_not_pass_by_itself_is_final_at_once(category: ErrorCategory) -> None:
    assert counts_and_waits([category]) == [(1, None)]


def test_a_rate_limit_costs_no_attempt_but_makes_the_next_wait_longer() -> None:
    assert counts_and_waits([C.TRANSIENT, C.RATE_LIMITED, C.RATE_LIMITED, C.TRANSIENT]) == [
        (1, 15 * SECOND),
        (1, 30 * SECOND),
        (1, 60 * SECOND),
        (2, 120 * SECOND),
    ]
    assert [count for count, _ in counts_and_waits([C.RATE_LIMITED] * 9)] == [0] * 9


WAITS = [
    (None, 15 * SECOND),
    (timedelta(0), 15 * SECOND),
    (20 * SECOND, 20 * SECOND),
    (HOUR, HOUR),
    (timedelta(hours=24), timedelta(hours=24)),
    (timedelta(days=30), timedelta(hours=24)),
]


@pytest.mark.parametrize(("asked", "wait"), WAITS)
def test_a_platform_is_left_alone_as_long_as_it_asks_up_to_a_day(
    asked: timedelta | None, wait: timedelta
) -> None:
    assert counts_and_waits([C.RATE_LIMITED], retry_after=asked) == [(0, wait)]
    assert counts_and_waits([C.TRANSIENT], retry_after=asked) == [(1, 15 * SECOND)]


def test_a_rate_limit_waits_at_least_a_second() -> None:
    assert counts_and_waits([C.RATE_LIMITED], random=0) == [(0, SECOND)]


def test_rate_limits_end_after_three_days() -> None:
    waits = counts_and_waits([C.RATE_LIMITED] * 4, retry_after=timedelta(days=1))
    assert waits == [(0, timedelta(days=1))] * 3 + [(0, None)]


def test_a_retry_that_would_come_after_the_age_limit_is_not_made() -> None:
    started = ALL_STATES["started"]
    for age, waits in ((timedelta(hours=24) - 15 * SECOND, True), (timedelta(hours=24), False)):
        state = replace(started, round_started_at=NOW - age)
        told = report_failed(
            state,
            make_history(state),
            report_context(current_lease(state), NOW),
            make_failure(C.TRANSIENT),
            RetryDecider(DEFAULT_POLICIES, lambda: 0.5),
        )
        assert (told.state.status is DestinationStatus.QUEUED) == waits


def test_a_manual_retry_begins_the_limits_and_the_waits_anew() -> None:
    spent: DestinationState = ALL_STATES["failed after several attempts"]
    later = NOW + 2 * HOUR
    state = claimed(retried(spent, later), NEW_ATTEMPT_ID, later + HOUR)
    history = make_history(spent)
    _, running = start_attempt(
        state,
        history,
        report_context(current_lease(state), later),
        worker=None,
        blocking_reason=None,
    )
    begun, _ = start_attempt(
        state,
        history,
        report_context(current_lease(state), later),
        worker=None,
        blocking_reason=None,
    )
    told = report_failed(
        begun.state,
        replace(history, attempts=[*history.attempts, running]),
        report_context(current_lease(state), later),
        make_failure(C.TRANSIENT),
        RetryDecider(DEFAULT_POLICIES, lambda: 0.5),
    )
    assert (told.state.attempts, told.state.round_attempts) == (6, 1)
    assert told.state.next_retry_at == later + 15 * SECOND


def test_a_platform_may_have_policies_of_its_own() -> None:
    policies = RetryPolicies(
        DEFAULT_POLICIES.by_category,
        {
            "x": {C.PERMANENT: RetryPolicy(max_attempts=2)},
            "y": {C.TRANSIENT: RetryPolicy(max_attempts=1)},
        },
    )
    assert counts_and_waits([C.PERMANENT] * 2, policies=policies) == [(1, 15 * SECOND), (2, None)]
    assert counts_and_waits([C.TRANSIENT], policies=policies) == [(1, 15 * SECOND)]


def test_what_nobody_knows_the_end_of_is_no_failure_for_the_waits() -> None:
    lost = make_attempt(1, fence=1, outcome=Outcome.UNKNOWN, failure=make_failure(C.UNCLASSIFIED))
    refused = make_attempt(2, fence=2, outcome=Outcome.FAILED, failure=make_failure(C.TRANSIENT))
    assert History("x", [lost, refused], []).count_failures_since(NOW) == 1
