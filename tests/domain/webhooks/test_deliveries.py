"""Deliveries: transitions, invariants, waits between attempts, and Retry-After."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.webhooks.deliveries import (
    DEFAULT_RETRY_SCHEDULE,
    MAX_RETRY_AFTER,
    DeliveryAttempt,
    DeliveryState,
    DeliveryStatus,
    retry_wait,
)
from tests.factories import NOW

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
LATER = NOW + HOUR
TOKEN = UUID(int=7)
SCHEDULE = (5 * SECOND, 300 * SECOND)

SUCCESS = DeliveryAttempt(started_at=NOW, duration=SECOND, status_code=204)
FAILURE = DeliveryAttempt(started_at=NOW, duration=SECOND, status_code=500, error="Down.")

PENDING = DeliveryState(next_attempt_at=NOW)
LEASED = DeliveryState(next_attempt_at=LATER, lease_token=TOKEN)
RETRYING = DeliveryState(next_attempt_at=LATER, attempts=1, round_attempts=1)
LEASED_AGAIN = replace(RETRYING, lease_token=TOKEN)
LEASED_LAST = replace(LEASED_AGAIN, attempts=2, round_attempts=2)
DELIVERED = DeliveryState(next_attempt_at=None, attempts=1, round_attempts=1, delivered_at=NOW)
GIVEN_UP = DeliveryState(next_attempt_at=None, attempts=3, round_attempts=3, given_up_at=NOW)
REDELIVERED = DeliveryState(next_attempt_at=NOW, attempts=3)
ALL_STATES: Mapping[str, DeliveryState] = {
    "pending": PENDING,
    "leased": LEASED,
    "retrying": RETRYING,
    "leased again": LEASED_AGAIN,
    "leased for the last attempt": LEASED_LAST,
    "delivered": DELIVERED,
    "given up": GIVEN_UP,
    "redelivered": REDELIVERED,
}
"""Every kind of state; the schedule has two retries."""


def never_random() -> float:
    return 0.0


def after_attempt(state: DeliveryState, attempt: DeliveryAttempt) -> DeliveryState:
    return state.attempted(attempt, SCHEDULE, NOW, never_random)


# Transitions.


def test_status_of_each_state() -> None:
    assert {name: state.status for name, state in ALL_STATES.items()} == {
        "pending": DeliveryStatus.PENDING,
        "leased": DeliveryStatus.PENDING,
        "retrying": DeliveryStatus.RETRYING,
        "leased again": DeliveryStatus.RETRYING,
        "leased for the last attempt": DeliveryStatus.RETRYING,
        "delivered": DeliveryStatus.DELIVERED,
        "given up": DeliveryStatus.GIVEN_UP,
        "redelivered": DeliveryStatus.PENDING,
    }


def test_lease_ends_at_its_expiry_and_keeps_the_attempts() -> None:
    assert PENDING.leased(TOKEN, LATER) == LEASED
    assert replace(RETRYING, next_attempt_at=NOW).leased(TOKEN, LATER) == LEASED_AGAIN
    assert LEASED.leased(UUID(int=8), LATER) == replace(LEASED, lease_token=UUID(int=8))


def test_released_delivery_can_be_leased_immediately() -> None:
    assert LEASED.released(NOW) == PENDING
    assert LEASED_AGAIN.released(NOW) == replace(RETRYING, next_attempt_at=NOW)


@pytest.mark.parametrize(
    ("state", "attempts"), [(LEASED, 1), (LEASED_AGAIN, 2), (LEASED_LAST, 3)], ids=str
)
def test_success_ends_a_delivery(state: DeliveryState, attempts: int) -> None:
    assert after_attempt(state, SUCCESS) == replace(
        DELIVERED, attempts=attempts, round_attempts=attempts
    )


def test_failures_follow_the_schedule_until_the_delivery_is_given_up() -> None:
    first = after_attempt(LEASED, FAILURE)
    second = after_attempt(first.leased(TOKEN, LATER), FAILURE)
    third = after_attempt(second.leased(TOKEN, LATER), FAILURE)
    assert [first, second, third] == [
        DeliveryState(next_attempt_at=NOW + 5 * SECOND, attempts=1, round_attempts=1),
        DeliveryState(next_attempt_at=NOW + 300 * SECOND, attempts=2, round_attempts=2),
        GIVEN_UP,
    ]


def test_delivery_without_schedule_is_given_up_after_the_first_failure() -> None:
    assert LEASED.attempted(FAILURE, (), NOW, never_random) == replace(
        GIVEN_UP, attempts=1, round_attempts=1
    )


@pytest.mark.parametrize("state", [DELIVERED, GIVEN_UP, RETRYING], ids=str)
def test_redelivery_starts_the_schedule_again(state: DeliveryState) -> None:
    redelivered = state.redelivered(NOW)
    assert redelivered == DeliveryState(next_attempt_at=NOW, attempts=state.attempts)
    failed = after_attempt(redelivered.leased(TOKEN, LATER), FAILURE)
    assert failed == DeliveryState(
        next_attempt_at=NOW + 5 * SECOND, attempts=state.attempts + 1, round_attempts=1
    )


def test_time_of_the_next_attempt_has_milliseconds() -> None:
    state = LEASED.attempted(FAILURE, [timedelta(microseconds=50_999)], NOW, never_random)
    assert state.next_attempt_at == NOW + timedelta(milliseconds=50)


# Invariants.

VIOLATIONS: Sequence[tuple[DeliveryState, Mapping[str, object], str]] = [
    (PENDING, {"next_attempt_at": None}, "either delivered, given up or waits"),
    (PENDING, {"delivered_at": NOW}, "either delivered, given up or waits"),
    (RETRYING, {"given_up_at": NOW}, "either delivered, given up or waits"),
    (DELIVERED, {"given_up_at": NOW}, "either delivered, given up or waits"),
    (DELIVERED, {"next_attempt_at": NOW}, "either delivered, given up or waits"),
    (DELIVERED, {"lease_token": TOKEN}, "has no lease"),
    (GIVEN_UP, {"lease_token": TOKEN}, "has no lease"),
    (PENDING, {"round_attempts": 1}, "at most all attempts"),
    (RETRYING, {"round_attempts": -1}, "at most all attempts"),
    (PENDING, {"attempts": -1, "round_attempts": -1}, "at most all attempts"),
]
"""State, changed fields, and a part of the message. `test_models` has the same for the table."""


@pytest.mark.parametrize(("state", "changes", "message"), VIOLATIONS)
def test_impossible_state_is_refused(
    state: DeliveryState, changes: Mapping[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DeliveryState(**{**asdict(state), **changes})


# Waits.


def test_default_schedule_is_that_of_standard_webhooks() -> None:
    assert [wait / SECOND for wait in DEFAULT_RETRY_SCHEDULE] == [
        *(5, 5 * 60, 30 * 60),
        *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)),
    ]


@given(st.integers(1, len(DEFAULT_RETRY_SCHEDULE)), st.floats(0, 1, exclude_max=True))
def test_jitter_prolongs_a_wait_by_at_most_a_tenth(failures: int, number: float) -> None:
    wait = retry_wait(failures, None, DEFAULT_RETRY_SCHEDULE, lambda: number)
    planned = DEFAULT_RETRY_SCHEDULE[failures - 1]
    assert wait is not None
    assert planned <= wait <= planned * 1.1


@pytest.mark.parametrize(
    ("failures", "retry_after", "random", "wait"),
    [
        (1, None, 0.0, 5 * SECOND),
        (1, None, 0.5, 5.25 * SECOND),
        (2, None, 0.0, 300 * SECOND),
        (3, None, 0.0, None),
        (1, 4 * SECOND, 0.0, 5 * SECOND),
        (1, 6 * SECOND, 0.0, 6 * SECOND),
        (1, 6 * SECOND, 1.0, 6 * SECOND),
        (1, MAX_RETRY_AFTER, 0.0, 24 * HOUR),
        (1, 365 * MAX_RETRY_AFTER, 0.0, 24 * HOUR),
        (1, timedelta(0), 0.0, 5 * SECOND),
        (3, 6 * SECOND, 0.0, None),
    ],
)
def test_retry_after_prolongs_a_wait_up_to_a_day(
    failures: int, retry_after: timedelta | None, random: float, wait: timedelta | None
) -> None:
    assert retry_wait(failures, retry_after, SCHEDULE, lambda: random) == wait
