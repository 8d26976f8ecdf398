"""State transitions of destinations: every state that allows one, and the whole next state."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from app.domain.attempts import Failure
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory
from app.domain.transitions import (
    DRAFT,
    auth_failed,
    cancelled,
    claimed,
    extended,
    published,
    queued,
    rescheduled,
    retried,
    unclaimable,
    verification_claimed,
    verification_inconclusive,
)
from tests import factories
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    PUBLICATION,
    SECOND,
    UNUSED_LEASE_TOKEN,
    failed_state,
)
from tests.domain.destination_states import (
    ALL_STATES,
    CLAIMED,
    FAILED,
    LATER,
    LEASED,
    MUCH_LATER,
    NEVER_ATTEMPTED,
    QUEUED,
    UNKNOWN,
)
from tests.factories import NOW


def test_draft_and_queued_states_equal_those_of_the_factories() -> None:
    assert factories.draft() == DRAFT
    assert queued(LATER) == factories.queued(LATER)


@pytest.mark.parametrize("name", ["draft", *NEVER_ATTEMPTED, "cancelled"])
@pytest.mark.parametrize("due_at", [None, NOW, MUCH_LATER])
def test_rescheduled_destination_keeps_fence(name: str, due_at: datetime | None) -> None:
    state = ALL_STATES[name]
    assert state.attempts == 0
    expected = DRAFT if due_at is None else queued(due_at)
    assert rescheduled(state, due_at) == replace(expected, fence=state.fence)


@pytest.mark.parametrize("name", ["draft", *QUEUED, *FAILED, *UNKNOWN, "published"])
def test_unclaimable_destination_is_otherwise_unchanged(name: str) -> None:
    state = ALL_STATES[name]
    assert unclaimable(state) == replace(state, claimable_at=None)
    assert unclaimable(unclaimable(state)) == unclaimable(state)


CANCELLED = Failure(
    category=ErrorCategory.PERMANENT,
    code="CANCELLED",
    message="The post was cancelled before it was published.",
)
AUTH = Failure(category=ErrorCategory.AUTH, code="AUTH", message="Reconnect the account to post.")
FAILURES: Mapping[str, tuple[Callable[[DestinationState], DestinationState], Failure]] = {
    "cancelled": (lambda state: cancelled(state, NOW), CANCELLED),
    "blocked": (lambda state: auth_failed(state, AUTH.message, NOW), AUTH),
}
failures = pytest.mark.parametrize(("transition", "failure"), FAILURES.values(), ids=FAILURES)


@failures
@pytest.mark.parametrize("state", QUEUED.values(), ids=QUEUED)
def test_queued_destination_fails_by_cancellation_or_blocked_account(
    state: DestinationState,
    transition: Callable[[DestinationState], DestinationState],
    failure: Failure,
) -> None:
    after = transition(state)
    assert after == failed_state(state, failure, NOW)
    again = retried(after, NOW)
    assert (again.status, again.attempts, again.fence) == (
        DestinationStatus.QUEUED,
        state.attempts,
        state.fence,
    )


@failures
def test_draft_cannot_fail(
    transition: Callable[[DestinationState], DestinationState], failure: Failure
) -> None:
    with pytest.raises(ValueError, match="a draft cannot fail"):
        transition(DRAFT)


def test_draft_cannot_be_published() -> None:
    with pytest.raises(ValueError, match="a draft cannot be published"):
        published(DRAFT, PUBLICATION, NOW)


RETRYABLE = {
    **FAILED,
    **UNKNOWN,
    **{f"{name}, cancelled": cancelled(state, NOW) for name, state in QUEUED.items()},
}


@pytest.mark.parametrize("state", RETRYABLE.values(), ids=RETRYABLE)
def test_retried_destination_is_queued_in_a_new_round(state: DestinationState) -> None:
    """Only a forced retry of an unknown outcome may publish once more."""
    is_forced = state in UNKNOWN.values()
    assert retried(state, LATER) == DestinationState(
        status=DestinationStatus.QUEUED,
        due_at=state.due_at,
        claimable_at=LATER,
        attempts=state.attempts,
        round_attempts=0,
        round_started_at=LATER,
        forced_rounds=state.forced_rounds + is_forced,
        fence=state.fence,
    )


@pytest.mark.parametrize("state", UNKNOWN.values(), ids=UNKNOWN)
def test_inconclusive_verification_can_be_repeated(state: DestinationState) -> None:
    verified = verification_claimed(state, UNUSED_LEASE_TOKEN, LATER)
    assert verified == replace(state, verification_token=UNUSED_LEASE_TOKEN, verifiable_at=LATER)
    assert verification_inconclusive(verified, MUCH_LATER) == replace(
        state, verification_token=None, verifiable_at=MUCH_LATER
    )


@pytest.mark.parametrize("name", QUEUED)
def test_claim_increments_fence_and_is_claimable_after_lease_expires(name: str) -> None:
    state = ALL_STATES[name]
    assert claimed(state, UUID(int=5), AFTER_LEASE) == replace(
        state,
        status=DestinationStatus.PUBLISHING,
        claimable_at=AFTER_LEASE,
        next_retry_at=None,
        fence=state.fence + 1,
        lease_token=UUID(int=5),
        lease_expires_at=AFTER_LEASE,
    )


@pytest.mark.parametrize("name", UNKNOWN)
def test_verification_claim_keeps_fence(name: str) -> None:
    state = ALL_STATES[name]
    assert verification_claimed(state, UUID(int=5), AFTER_LEASE) == replace(
        state, verifiable_at=AFTER_LEASE, verification_token=UUID(int=5)
    )


@pytest.mark.parametrize("name", LEASED)
@pytest.mark.parametrize("until", [DURING_LEASE + SECOND, AFTER_LEASE + SECOND])
def test_extension_changes_expiry_of_lease(name: str, until: datetime) -> None:
    claimable_at = until if name in CLAIMED else None
    assert extended(LEASED[name], until) == replace(
        LEASED[name], lease_expires_at=until, claimable_at=claimable_at
    )
