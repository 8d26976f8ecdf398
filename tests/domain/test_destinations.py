"""Invariants of destination states, lateness, overdue destinations and poll intervals."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from app.domain.accounts import LostAccessPolicy, ReconnectionState
from app.domain.destinations import (
    IN_FLIGHT_POLL_INTERVAL,
    MAX_POLL_INTERVAL,
    PERMANENT_CATEGORIES,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    awaits_outcome,
    broken_invariants,
    due_day,
    is_overdue,
    lateness_ms,
    lateness_seconds,
    poll_after,
)
from app.domain.transitions import unclaimable
from tests.domain.destination_states import ALL_STATES, make_account
from tests.factories import (
    NOW,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

SECOND = timedelta(seconds=1)
MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)
ZERO = timedelta(0)
TODAY = date(2026, 4, 15)
TOKEN = UUID("00000000-0000-4000-8000-000000000001")

FAILURE: dict[str, Any] = {
    "error": "The platform had an outage.",
    "error_category": ErrorCategory.TRANSIENT,
    "error_code": "PLATFORM_UNAVAILABLE",
}
NO_FAILURE: dict[str, Any] = dict.fromkeys(FAILURE)
DRAFT, QUEUED, RETRYING = draft(), queued(), waiting_for_retry()
CLAIMED, STARTED, PUBLISHED = claimed(), started(), published()
FAILED, UNKNOWN = failed(), unknown()
RETRIED = replace(QUEUED, round_started_at=NOW + timedelta(hours=30), attempts=1, fence=1)
"""Retried manually: the due time is unchanged, the round began long after."""
IMPORTED = (
    unclaimable(QUEUED),
    unclaimable(RETRYING),
    replace(unclaimable(QUEUED), status=DestinationStatus.PUBLISHING),
)
"""States that an import stores: no one here may claim them."""


def does_await(state: DestinationState, *, is_mirrored: bool = False) -> bool:
    return awaits_outcome(
        settled_at=state.settled_at,
        due_at=state.due_at,
        claimable_at=state.claimable_at,
        lease_expires_at=state.lease_expires_at,
        is_mirrored=is_mirrored,
    )


@pytest.mark.parametrize(
    "state",
    [
        *ALL_STATES.values(),
        replace(QUEUED, **FAILURE),
        replace(RETRYING, claimable_at=None),
        replace(STARTED, lease_token=None, lease_expires_at=None, started_at=None),
        replace(PUBLISHED, platform_post_id=None, platform_post_url=None),
    ],
)
def test_possible_state_breaks_no_invariant(state: DestinationState) -> None:
    assert list(broken_invariants(state)) == []


NO_OUTCOME = {"outcome": Outcome.NONE, "settled_at": None, "due_day": None}

VIOLATIONS: list[tuple[str, DestinationState, Mapping[str, Any]]] = [
    ("outcome_published", PUBLISHED, NO_OUTCOME),
    ("outcome_failed", FAILED, NO_OUTCOME),
    ("outcome_failed", QUEUED, {"outcome": Outcome.FAILED, "settled_at": NOW, "due_day": TODAY}),
    ("published_at", PUBLISHED, {"published_at": None}),
    ("published_at", QUEUED, {"published_at": NOW}),
    ("platform_post_id", FAILED, {"platform_post_id": "17"}),
    ("platform_post_url", FAILED, {"platform_post_url": "https://example.com/17"}),
    ("error_failed", FAILED, NO_FAILURE),
    ("error_published", PUBLISHED, FAILURE),
    ("error_category", FAILED, {"error_category": None}),
    ("error_category", QUEUED, {"error_category": ErrorCategory.AUTH}),
    ("error_code", FAILED, {"error_code": None}),
    ("error_code", QUEUED, {"error_code": "AUTH"}),
    ("not_sent", QUEUED, {"not_sent": True}),
    ("not_sent", FAILED, {"not_sent": True, "error_category": ErrorCategory.AUTH}),
    ("next_retry_at", RETRYING, NO_FAILURE),
    ("next_retry_at", QUEUED, {"next_retry_at": NOW + DAY, "claimable_at": NOW + DAY}),
    ("next_retry_at", FAILED, {"next_retry_at": NOW}),
    ("next_retry_at", STARTED, {"next_retry_at": NOW, **FAILURE}),
    ("round_started_at", QUEUED, {"round_started_at": None}),
    ("round_started_at", DRAFT, {"round_started_at": NOW}),
    ("attempts", QUEUED, {"round_attempts": 1}),
    ("attempts", FAILED, {"round_attempts": 2}),
    ("attempts", FAILED, {"round_attempts": -1}),
    ("forced_rounds", FAILED, {"forced_rounds": 2}),
    ("forced_rounds", QUEUED, {"forced_rounds": -1}),
    ("fence", FAILED, {"fence": -1}),
    ("lease", QUEUED, {"lease_expires_at": NOW}),
    ("lease", STARTED, {"lease_expires_at": None}),
    ("lease", CLAIMED, {"lease_token": None, "claimable_at": None}),
    ("lease_publishing", QUEUED, {"lease_token": TOKEN, "lease_expires_at": NOW}),
    ("started_at", QUEUED, {"started_at": NOW}),
    ("claimable_at", DRAFT, {"claimable_at": NOW}),
    ("claimable_at", QUEUED, {"claimable_at": NOW - MS}),
    ("claimable_at", RETRYING, {"claimable_at": NOW}),
    ("claimable_at", RETRYING, {"claimable_at": NOW + DAY}),
    ("claimable_at", CLAIMED, {"claimable_at": None}),
    ("claimable_at", CLAIMED, {"claimable_at": NOW}),
    ("claimable_at", STARTED, {"claimable_at": STARTED.lease_expires_at}),
    ("claimable_at", FAILED, {"claimable_at": NOW}),
    ("claimable_at", PUBLISHED, {"claimable_at": NOW}),
    ("settled_at", FAILED, {"settled_at": None}),
    ("settled_at", UNKNOWN, {"settled_at": None}),
    ("settled_at", PUBLISHED, {"settled_at": None}),
    ("settled_at", QUEUED, {"settled_at": NOW}),
    ("verifiable_at", UNKNOWN, {"verifiable_at": None}),
    ("verifiable_at", UNKNOWN, {"verifiable_at": None, "verification_token": TOKEN}),
    ("verifiable_at", FAILED, {"verifiable_at": NOW}),
    ("verifiable_at", PUBLISHED, {"verifiable_at": NOW}),
    ("verification_token", FAILED, {"verification_token": TOKEN}),
    ("verification_token", STARTED, {"verification_token": TOKEN}),
    ("due_day", FAILED, {"due_day": None}),
    ("due_day", UNKNOWN, {"due_day": None}),
    ("due_day", QUEUED, {"due_day": TODAY}),
    ("lateness_ms", PUBLISHED, {"lateness_ms": None}),
    ("lateness_ms", FAILED, {"lateness_ms": 0}),
    ("content_error", CLAIMED, {"content_error": "It does not fit."}),
    ("content_error", DRAFT, {"content_error": "It does not fit."}),
]
"""Name of an invariant, a valid state, and a change that breaks only this invariant."""


@pytest.mark.parametrize(("name", "state", "change"), VIOLATIONS)
def test_every_invariant_is_violated_separately(
    name: str, state: DestinationState, change: Mapping[str, Any]
) -> None:
    with pytest.raises(ValueError, match=rf"^impossible destination state: {name}$"):
        replace(state, **change)


def test_error_names_all_broken_invariants() -> None:
    with pytest.raises(ValueError, match=r"^impossible destination state: lease, claimable_at$"):
        replace(CLAIMED, lease_token=None)


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
    assert lateness_ms(NOW, NOW + late) == expected


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


def is_state_overdue(
    state: DestinationState,
    now: datetime,
    waited_until: datetime | None = None,
    account: ReconnectionState | None = None,
) -> bool:
    return is_overdue(
        claimable_at=state.claimable_at,
        round_started_at=state.round_started_at,
        started_at=state.started_at,
        lease_expires_at=state.lease_expires_at,
        waited_until=waited_until,
        account=account,
        now=now,
    )


@pytest.mark.parametrize(
    ("state", "since"),
    [
        (QUEUED, NOW),
        (RETRYING, RETRYING.next_retry_at),
        (CLAIMED, CLAIMED.lease_expires_at),
        (STARTED, STARTED.lease_expires_at),
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


WAITING = make_account(
    1,
    needs_reconnection_since=NOW - DAY,
    on_lost_access=LostAccessPolicy.WAIT,
    connected_at=NOW - DAY,
)


@pytest.mark.parametrize("state", [QUEUED, RETRIED])
def test_destination_that_waits_for_a_reconnection_is_not_overdue(state: DestinationState) -> None:
    later = NOW + 2 * DAY
    connected = replace(WAITING, needs_reconnection_since=None, connected_at=later)
    for account, time, expected in (
        (WAITING, later, False),
        (replace(WAITING, on_lost_access=LostAccessPolicy.FAIL), later, True),
        (connected, later + timedelta(minutes=5) - MS, False),
        (connected, later + timedelta(minutes=5), True),
        (replace(connected, held_until=state.claimable_at), later + DAY, False),
        (replace(connected, held_until=NOW - MS), later + DAY, True),
    ):
        assert is_state_overdue(state, time, account=account.reconnection) is expected


def test_running_attempt_on_a_waiting_account_is_overdue_after_its_lease() -> None:
    assert STARTED.lease_expires_at is not None
    later = STARTED.lease_expires_at + timedelta(minutes=5)
    assert is_state_overdue(STARTED, later, account=WAITING.reconnection)


@pytest.mark.parametrize(
    ("state", "waited_until", "since"),
    [
        (QUEUED, NOW + DAY, NOW + DAY),
        (QUEUED, NOW - DAY, NOW),
        (STARTED, NOW + DAY, STARTED.lease_expires_at),
    ],
)
def test_destination_on_a_paused_account_is_overdue_five_minutes_after_the_pause(
    state: DestinationState, waited_until: datetime, since: datetime
) -> None:
    overdue_at = since + timedelta(minutes=5)
    assert not is_state_overdue(state, overdue_at - MS, waited_until)
    assert is_state_overdue(state, overdue_at, waited_until)


@pytest.mark.parametrize("state", [DRAFT, PUBLISHED, FAILED])
def test_unclaimable_destination_is_never_overdue(state: DestinationState) -> None:
    assert not is_state_overdue(state, NOW + timedelta(days=365))


@pytest.mark.parametrize("state", [QUEUED, RETRYING, RETRIED, CLAIMED, STARTED])
def test_outcome_is_awaited_while_a_publisher_may_claim_or_holds_the_destination(
    state: DestinationState,
) -> None:
    assert does_await(state)


@pytest.mark.parametrize("state", [DRAFT, PUBLISHED, FAILED, UNKNOWN])
def test_outcome_of_a_draft_or_a_settled_destination_is_not_awaited(
    state: DestinationState,
) -> None:
    assert not does_await(state)
    assert not does_await(state, is_mirrored=True)


@pytest.mark.parametrize("state", IMPORTED)
def test_outcome_of_an_imported_destination_is_awaited_in_a_mirror_only(
    state: DestinationState,
) -> None:
    assert not does_await(state)
    assert does_await(state, is_mirrored=True)


@pytest.mark.parametrize(
    ("awaits_outcome", "due_at", "expected"),
    [
        (True, NOW, 0.0),
        (True, NOW - MS, 0.001),
        (True, NOW + MS, None),
        (True, None, None),
        (False, NOW - DAY, None),
    ],
)
def test_lateness_grows_from_the_due_time_while_the_outcome_is_awaited(
    awaits_outcome: bool, due_at: datetime | None, expected: float | None
) -> None:
    assert expected == lateness_seconds(
        lateness_ms=None, awaits_outcome=awaits_outcome, due_at=due_at, now=NOW
    )
    assert lateness_seconds(lateness_ms=-5, awaits_outcome=False, due_at=due_at, now=NOW) == -0.005


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        (QUEUED, NOW - timedelta(days=30), MAX_POLL_INTERVAL),
        (QUEUED, NOW - MAX_POLL_INTERVAL - MS, MAX_POLL_INTERVAL),
        (QUEUED, NOW - MAX_POLL_INTERVAL, MAX_POLL_INTERVAL),
        (QUEUED, NOW - MAX_POLL_INTERVAL + MS, MAX_POLL_INTERVAL - MS),
        (QUEUED, NOW - timedelta(minutes=3), timedelta(minutes=3)),
        (QUEUED, NOW - IN_FLIGHT_POLL_INTERVAL - MS, IN_FLIGHT_POLL_INTERVAL + MS),
        (QUEUED, NOW - IN_FLIGHT_POLL_INTERVAL, IN_FLIGHT_POLL_INTERVAL),
        (QUEUED, NOW - MS, IN_FLIGHT_POLL_INTERVAL),
        (QUEUED, NOW, IN_FLIGHT_POLL_INTERVAL),
        (QUEUED, NOW + timedelta(days=30), IN_FLIGHT_POLL_INTERVAL),
        (RETRYING, NOW - timedelta(minutes=3), timedelta(minutes=4)),
        (CLAIMED, NOW, IN_FLIGHT_POLL_INTERVAL),
        (STARTED, NOW - timedelta(minutes=3), IN_FLIGHT_POLL_INTERVAL),
        (DRAFT, NOW, None),
        (PUBLISHED, NOW, None),
        (FAILED, NOW, None),
        *((state, NOW, None) for state in IMPORTED),
    ],
)
def test_poll_interval_ends_at_the_next_possible_change(
    state: DestinationState, now: datetime, expected: timedelta | None
) -> None:
    assert expected == poll_after(
        status=state.status,
        awaits_outcome=does_await(state),
        due_at=state.due_at,
        next_retry_at=state.next_retry_at,
        now=now,
    )
