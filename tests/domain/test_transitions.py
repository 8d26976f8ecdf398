"""What each command makes of a destination's state: every state, and the whole value of the new one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.transitions import (
    DRAFT,
    auth_failed,
    cancelled,
    published,
    queued,
    rescheduled,
    retried,
    unclaimable,
    verification_claimed,
    verification_inconclusive,
)
from tests import factories
from tests.domain.attempt_histories import PUBLICATION, UNUSED_LEASE_TOKEN
from tests.domain.destination_states import (
    ALL_STATES,
    FAILED,
    LATER,
    MUCH_LATER,
    NEVER_ATTEMPTED,
    RETRY_SCHEDULED,
    UNKNOWN,
)
from tests.factories import NOW

QUEUED = {**NEVER_ATTEMPTED, **RETRY_SCHEDULED}


def test_a_draft_and_a_submitted_one_are_those_of_the_factories() -> None:
    assert factories.draft() == DRAFT
    assert queued(LATER) == factories.queued(LATER)


@pytest.mark.parametrize("name", ["draft", *NEVER_ATTEMPTED, "cancelled"])
@pytest.mark.parametrize("due_at", [None, NOW, MUCH_LATER])
def test_one_that_was_never_attempted_is_planned_for_any_time_and_its_claims_go_on(
    name: str, due_at: datetime | None
) -> None:
    state = ALL_STATES[name]
    assert state.attempts == 0
    fresh = DRAFT if due_at is None else queued(due_at)
    assert rescheduled(state, due_at) == replace(fresh, fence=state.fence)


@pytest.mark.parametrize("name", ["draft", *QUEUED, *FAILED, *UNKNOWN, "published"])
def test_a_suspended_one_is_the_same_but_for_claims(name: str) -> None:
    state = ALL_STATES[name]
    assert unclaimable(state) == replace(state, claimable_at=None)
    assert unclaimable(unclaimable(state)) == unclaimable(state)


@pytest.mark.parametrize("state", QUEUED.values(), ids=QUEUED)
def test_a_queued_one_is_cancelled(state: DestinationState) -> None:
    assert state.due_at is not None
    assert cancelled(state, NOW) == replace(
        state,
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        claimable_at=None,
        next_retry_at=None,
        error="The post was cancelled before it was published.",
        error_category=ErrorCategory.PERMANENT,
        error_code="CANCELLED",
        settled_at=NOW,
        due_day=state.due_at.date(),
    )


@pytest.mark.parametrize("state", QUEUED.values(), ids=QUEUED)
def test_a_queued_one_whose_account_cannot_post_fails_with_auth(state: DestinationState) -> None:
    assert state.due_at is not None
    assert auth_failed(state, "Reconnect the account to post.", NOW) == replace(
        state,
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        claimable_at=None,
        next_retry_at=None,
        error="Reconnect the account to post.",
        error_category=ErrorCategory.AUTH,
        error_code="AUTH",
        settled_at=NOW,
        due_day=state.due_at.date(),
    )


RETRYABLE = {
    **FAILED,
    **UNKNOWN,
    **{f"{name}, cancelled": cancelled(state, NOW) for name, state in QUEUED.items()},
}


@pytest.mark.parametrize("state", RETRYABLE.values(), ids=RETRYABLE)
def test_a_failed_one_is_queued_again_in_a_new_round(state: DestinationState) -> None:
    assert retried(state, LATER) == DestinationState(
        status=DestinationStatus.QUEUED,
        due_at=state.due_at,
        claimable_at=state.due_at,
        attempts=state.attempts,
        round_attempts=0,
        round_started_at=LATER,
        fence=state.fence,
    )


@pytest.mark.parametrize("state", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_one_stays_so_until_somebody_can_tell(state: DestinationState) -> None:
    looked_at = verification_claimed(state, UNUSED_LEASE_TOKEN, LATER)
    assert looked_at == replace(state, verification_token=UNUSED_LEASE_TOKEN, verifiable_at=LATER)
    assert verification_inconclusive(looked_at, MUCH_LATER) == replace(
        state, verification_token=None, verifiable_at=MUCH_LATER
    )


def test_a_draft_cannot_be_published() -> None:
    with pytest.raises(ValueError, match="a draft cannot be published"):
        published(DRAFT, PUBLICATION, NOW)


FAILS: Mapping[str, Callable[[DestinationState], DestinationState]] = {
    "cancelled": lambda state: cancelled(state, NOW),
    "without access": lambda state: auth_failed(state, "Reconnect it.", NOW),
}


@pytest.mark.parametrize("command", FAILS.values(), ids=FAILS)
def test_a_draft_cannot_fail(command: Callable[[DestinationState], DestinationState]) -> None:
    with pytest.raises(ValueError, match="a draft cannot fail"):
        command(DRAFT)


@given(st.sampled_from(sorted(QUEUED)), st.sampled_from(sorted(FAILS)), st.integers(1, 3))
def test_whatever_fails_can_be_retried_and_fail_again(name: str, how: str, times: int) -> None:
    state = QUEUED[name]
    for _ in range(times):
        state = retried(FAILS[how](state), NOW)

    assert (state.status, state.attempts, state.fence) == (
        DestinationStatus.QUEUED,
        QUEUED[name].attempts,
        QUEUED[name].fence,
    )
