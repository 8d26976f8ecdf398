"""Invariants of destination states, lateness, overdue destinations and poll intervals."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import (
    IN_FLIGHT_POLL_INTERVAL,
    MAX_POLL_INTERVAL,
    PERMANENT_CATEGORIES,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    broken_invariants,
    due_day,
    is_overdue,
    lateness_ms,
    poll_after,
)

NOON = datetime(2026, 4, 15, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)
ZERO = timedelta(0)
TOKEN = UUID("00000000-0000-4000-8000-000000000001")

FAILURE: dict[str, Any] = {
    "error": "The platform had an outage.",
    "error_category": ErrorCategory.TRANSIENT,
    "error_code": "PLATFORM_UNAVAILABLE",
}
DRAFT = DestinationState(
    status=DestinationStatus.QUEUED, due_at=None, claimable_at=None, round_started_at=None
)
QUEUED = replace(DRAFT, due_at=NOON, claimable_at=NOON, round_started_at=NOON)
RETRYING = replace(
    QUEUED,
    attempts=1,
    round_attempts=1,
    fence=1,
    next_retry_at=NOON + SECOND,
    claimable_at=NOON + SECOND,
    **FAILURE,
)
CLAIMED = replace(
    QUEUED,
    status=DestinationStatus.PUBLISHING,
    fence=1,
    lease_token=TOKEN,
    lease_expires_at=NOON + SECOND,
    claimable_at=NOON + SECOND,
)
STARTED = replace(CLAIMED, started_at=NOON, claimable_at=None, attempts=1, round_attempts=1)
PUBLISHED = DestinationState(
    status=DestinationStatus.PUBLISHED,
    outcome=Outcome.PUBLISHED,
    due_at=NOON,
    claimable_at=None,
    round_started_at=NOON,
    attempts=1,
    round_attempts=1,
    fence=1,
    published_at=NOON + SECOND,
    platform_post_id="17",
    platform_post_url="https://example.com/17",
    settled_at=NOON + SECOND,
    due_day=date(2026, 4, 15),
    lateness_ms=1000,
)
FAILED = replace(
    QUEUED,
    status=DestinationStatus.FAILED,
    outcome=Outcome.FAILED,
    claimable_at=None,
    attempts=1,
    round_attempts=1,
    fence=1,
    settled_at=NOON + SECOND,
    due_day=date(2026, 4, 15),
    **FAILURE,
)
RETRIED = replace(QUEUED, round_started_at=NOON + timedelta(hours=30), attempts=1, fence=1)
"""Retried manually: the due time is unchanged, the round began long after."""
UNKNOWN = replace(FAILED, outcome=Outcome.UNKNOWN, verifiable_at=NOON + SECOND)


@pytest.mark.parametrize(
    ("state", "change"),
    [
        (DRAFT, {}),
        (QUEUED, {}),
        (QUEUED, {"claimable_at": None}),
        (QUEUED, {"attempts": 7, "fence": 9}),
        (QUEUED, FAILURE),
        (RETRYING, {}),
        (RETRYING, {"claimable_at": None}),
        (CLAIMED, {}),
        (CLAIMED, FAILURE),
        (STARTED, {}),
        (STARTED, {"lease_token": None, "lease_expires_at": None, "started_at": None}),
        (PUBLISHED, {}),
        (PUBLISHED, {"platform_post_id": None, "platform_post_url": None}),
        (PUBLISHED, {"lateness_ms": -5000}),
        (FAILED, {}),
        (UNKNOWN, {}),
        (UNKNOWN, {"verification_token": TOKEN}),
        (FAILED, {"attempts": 0, "round_attempts": 0, "fence": 0}),
    ],
)
def test_possible_state_breaks_no_invariant(
    state: DestinationState, change: dict[str, Any]
) -> None:
    assert list(broken_invariants(replace(state, **change))) == []


NO_OUTCOME = {"outcome": Outcome.NONE, "settled_at": None, "due_day": None}

VIOLATIONS: list[tuple[str, DestinationState, Mapping[str, Any]]] = [
    ("outcome_published", PUBLISHED, NO_OUTCOME),
    ("outcome_failed", FAILED, NO_OUTCOME),
    (
        "outcome_failed",
        QUEUED,
        {"outcome": Outcome.FAILED, "settled_at": NOON, "due_day": date(2026, 4, 15)},
    ),
    ("published_at", PUBLISHED, {"published_at": None}),
    ("published_at", QUEUED, {"published_at": NOON}),
    ("platform_post_id", FAILED, {"platform_post_id": "17"}),
    ("platform_post_url", FAILED, {"platform_post_url": "https://example.com/17"}),
    ("error_failed", FAILED, {"error": None, "error_category": None, "error_code": None}),
    ("error_published", PUBLISHED, FAILURE),
    ("error_category", FAILED, {"error_category": None}),
    ("error_category", QUEUED, {"error_category": ErrorCategory.AUTH}),
    ("error_code", FAILED, {"error_code": None}),
    ("error_code", QUEUED, {"error_code": "AUTH"}),
    ("next_retry_at", RETRYING, {"error": None, "error_category": None, "error_code": None}),
    ("next_retry_at", FAILED, {"next_retry_at": NOON}),
    ("next_retry_at", STARTED, {"next_retry_at": NOON, **FAILURE}),
    ("round_started_at", QUEUED, {"round_started_at": None}),
    ("round_started_at", DRAFT, {"round_started_at": NOON}),
    ("attempts", FAILED, {"round_attempts": 2}),
    ("attempts", FAILED, {"round_attempts": -1}),
    ("attempts", FAILED, {"attempts": -1, "round_attempts": -1}),
    ("fence", FAILED, {"fence": -1}),
    ("lease", STARTED, {"lease_expires_at": None}),
    ("lease", CLAIMED, {"lease_token": None, "claimable_at": None}),
    ("lease_publishing", QUEUED, {"lease_token": TOKEN, "lease_expires_at": NOON}),
    ("started_at", QUEUED, {"started_at": NOON}),
    ("claimable_at", DRAFT, {"claimable_at": NOON}),
    ("claimable_at", QUEUED, {"claimable_at": NOON + MS}),
    ("claimable_at", RETRYING, {"claimable_at": NOON}),
    ("claimable_at", CLAIMED, {"claimable_at": None}),
    ("claimable_at", CLAIMED, {"claimable_at": NOON}),
    ("claimable_at", STARTED, {"claimable_at": NOON + SECOND}),
    ("claimable_at", FAILED, {"claimable_at": NOON}),
    ("claimable_at", PUBLISHED, {"claimable_at": NOON}),
    ("settled_at", FAILED, {"settled_at": None}),
    ("settled_at", PUBLISHED, {"settled_at": None}),
    ("settled_at", QUEUED, {"settled_at": NOON}),
    ("verifiable_at", UNKNOWN, {"verifiable_at": None}),
    ("verifiable_at", UNKNOWN, {"verifiable_at": None, "verification_token": TOKEN}),
    ("verifiable_at", FAILED, {"verifiable_at": NOON}),
    ("verifiable_at", PUBLISHED, {"verifiable_at": NOON}),
    ("verification_token", FAILED, {"verification_token": TOKEN}),
    ("verification_token", STARTED, {"verification_token": TOKEN}),
    ("due_day", FAILED, {"due_day": None}),
    ("due_day", QUEUED, {"due_day": date(2026, 4, 15)}),
    ("lateness_ms", PUBLISHED, {"lateness_ms": None}),
    ("lateness_ms", FAILED, {"lateness_ms": 0}),
]


@pytest.mark.parametrize(("name", "state", "change"), VIOLATIONS)
def test_every_invariant_is_violated_separately(
    name: str, state: DestinationState, change: Mapping[str, Any]
) -> None:
    with pytest.raises(ValueError, match=rf"^impossible destination state: {name}$"):
        replace(state, **change)


def test_error_names_all_broken_invariants() -> None:
    with pytest.raises(ValueError, match=r"^impossible destination state: lease, claimable_at$"):
        replace(CLAIMED, lease_token=None)


class UncheckedState(DestinationState):
    """A state without checks."""

    def __post_init__(self) -> None:
        pass


ANY_STATE = st.builds(
    UncheckedState,
    status=st.sampled_from(DestinationStatus),
    outcome=st.sampled_from(Outcome),
    attempts=st.integers(-1, 2),
    round_attempts=st.integers(-1, 2),
    fence=st.integers(-1, 1),
    lateness_ms=st.none() | st.integers(-1, 1),
    due_day=st.none() | st.just(date(2026, 4, 15)),
    lease_token=st.none() | st.just(TOKEN),
    verification_token=st.none() | st.just(TOKEN),
    error=st.none() | st.just("error"),
    error_code=st.none() | st.just("CODE"),
    error_category=st.none() | st.sampled_from(ErrorCategory),
    platform_post_id=st.none() | st.just("17"),
    platform_post_url=st.none() | st.just("https://example.com/17"),
    **{
        name: st.none() | st.sampled_from((NOON, NOON + SECOND))
        for name in (
            "due_at",
            "claimable_at",
            "round_started_at",
            "next_retry_at",
            "lease_expires_at",
            "started_at",
            "published_at",
            "settled_at",
            "verifiable_at",
        )
    },
)


@given(ANY_STATE)
def test_only_states_without_broken_invariant_can_be_created(state: UncheckedState) -> None:
    broken = list(broken_invariants(state))
    assert set(broken) <= {name for name, _, _ in VIOLATIONS}
    values = {field.name: getattr(state, field.name) for field in fields(DestinationState)}
    if broken:
        with pytest.raises(
            ValueError, match=f"^impossible destination state: {', '.join(broken)}$"
        ):
            DestinationState(**values)
    else:
        assert list(broken_invariants(DestinationState(**values))) == []


def test_final_statuses_and_permanent_categories() -> None:
    assert [status.value for status in DestinationStatus if status.is_final] == [
        "published",
        "failed",
    ]
    assert PERMANENT_CATEGORIES == ("auth", "content_rejected", "permanent")


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (timedelta(0), 0),
        (MS, 1),
        (-MS, -1),
        (timedelta(microseconds=1999), 1),
        (timedelta(microseconds=-1), -1),
        (timedelta(days=365), 365 * 86_400_000),
    ],
)
def test_lateness_is_floored_to_milliseconds(late: timedelta, expected: int) -> None:
    assert lateness_ms(NOON, NOON + late) == expected


@pytest.mark.parametrize(
    ("due_at", "expected"),
    [
        (datetime(2026, 4, 15, tzinfo=UTC), date(2026, 4, 15)),
        (datetime(2026, 4, 15, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 4, 15)),
        (datetime(2026, 4, 15, 1, tzinfo=timezone(timedelta(hours=2))), date(2026, 4, 14)),
        (datetime(2026, 4, 15, 23, tzinfo=timezone(timedelta(hours=-2))), date(2026, 4, 16)),
    ],
)
def test_due_day_is_in_utc(due_at: datetime, expected: date) -> None:
    assert due_day(due_at) == expected


def is_state_overdue(state: DestinationState, now: datetime) -> bool:
    return is_overdue(
        claimable_at=state.claimable_at,
        round_started_at=state.round_started_at,
        started_at=state.started_at,
        lease_expires_at=state.lease_expires_at,
        now=now,
    )


@pytest.mark.parametrize(
    ("state", "since"),
    [
        (QUEUED, NOON),
        (RETRYING, NOON + SECOND),
        (CLAIMED, NOON + SECOND),
        (STARTED, NOON + SECOND),
        (RETRIED, RETRIED.round_started_at),
    ],
)
def test_destination_is_overdue_five_minutes_after_it_is_claimable(
    state: DestinationState, since: datetime
) -> None:
    overdue_at = since + timedelta(minutes=5)
    assert [is_state_overdue(state, overdue_at + delay) for delay in (-DAY, -MS, ZERO, DAY)] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("state", [DRAFT, PUBLISHED, FAILED])
def test_unclaimable_destination_is_never_overdue(state: DestinationState) -> None:
    assert not is_state_overdue(state, NOON + timedelta(days=365))


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        (QUEUED, NOON - timedelta(days=30), MAX_POLL_INTERVAL),
        (QUEUED, NOON - MAX_POLL_INTERVAL - MS, MAX_POLL_INTERVAL),
        (QUEUED, NOON - MAX_POLL_INTERVAL, MAX_POLL_INTERVAL),
        (QUEUED, NOON - MAX_POLL_INTERVAL + MS, MAX_POLL_INTERVAL - MS),
        (QUEUED, NOON - timedelta(minutes=3), timedelta(minutes=3)),
        (QUEUED, NOON - IN_FLIGHT_POLL_INTERVAL - MS, IN_FLIGHT_POLL_INTERVAL + MS),
        (QUEUED, NOON - IN_FLIGHT_POLL_INTERVAL, IN_FLIGHT_POLL_INTERVAL),
        (QUEUED, NOON - MS, IN_FLIGHT_POLL_INTERVAL),
        (QUEUED, NOON, IN_FLIGHT_POLL_INTERVAL),
        (QUEUED, NOON + timedelta(days=30), IN_FLIGHT_POLL_INTERVAL),
        (RETRYING, NOON - timedelta(minutes=3), timedelta(minutes=3) + SECOND),
        (CLAIMED, NOON, IN_FLIGHT_POLL_INTERVAL),
        (STARTED, NOON - timedelta(minutes=3), IN_FLIGHT_POLL_INTERVAL),
        (DRAFT, NOON, None),
        (PUBLISHED, NOON, None),
        (FAILED, NOON, None),
    ],
)
def test_poll_interval_ends_at_the_next_possible_change(
    state: DestinationState, now: datetime, expected: timedelta | None
) -> None:
    assert expected == poll_after(
        status=state.status, due_at=state.due_at, next_retry_at=state.next_retry_at, now=now
    )
