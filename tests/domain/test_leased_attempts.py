"""Claims: start, extension, release and expiry of the lease, for every state."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from app.domain.accounts import HealthReason
from app.domain.attempts import Attempt
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.errors import LeaseLost
from app.domain.leases import Lease
from app.domain.reports import expire_lease, release_claim, require_lease, start_attempt
from app.domain.settlement import Receipt, Transition
from app.domain.transitions import claimed, extended, verification_claimed
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    LEASE_EXPIRED,
    LEASE_LOST,
    SECOND,
    current_lease,
    make_history,
    make_lease,
    new_attempt,
    released_state,
    report_context,
    result_or_error,
    started_state,
    unknown_state,
    with_lost_attempt,
)
from tests.domain.destination_states import (
    ALL_STATES,
    CLAIMED,
    LEASED,
    PUBLISHED,
    QUEUED,
    STARTED,
    SUBMITTED,
    UNKNOWN,
)
from tests.domain.errors import expect_error
from tests.factories import NOW

all_states = pytest.mark.parametrize("name", ALL_STATES)


def start(
    state: DestinationState,
    lease: Lease,
    now: datetime = DURING_LEASE,
    blocking_reason: HealthReason | None = None,
) -> tuple[Transition | tuple[str, str], Attempt | None]:
    """Start an attempt; return the transition or error, and the attempt."""
    attempts: list[Attempt] = []

    def run() -> Transition:
        transition, attempt = start_attempt(
            state,
            make_history(state),
            report_context(lease, now),
            worker="w",
            blocking_reason=blocking_reason,
        )
        attempts.append(attempt)
        return transition

    return result_or_error(run), attempts[0] if attempts else None


def release(
    state: DestinationState, lease: Lease, now: datetime = DURING_LEASE
) -> Transition | tuple[str, str]:
    return result_or_error(lambda: Transition(state=release_claim(state, lease, now)))


@all_states
def test_only_lease_holder_starts_claim_once(name: str) -> None:
    state = ALL_STATES[name]
    result, attempt = start(state, current_lease(state))

    if name in CLAIMED:
        assert attempt == new_attempt(state, "w", DURING_LEASE)
        assert result == Transition(state=started_state(state, DURING_LEASE), attempts=(attempt,))
    elif name in STARTED:
        assert attempt == make_history(state).attempts[-1]
        assert result == Transition(state=state, receipt=Receipt.REPEATED)
    else:
        assert (result, attempt) == (LEASE_LOST, None)


@all_states
def test_expired_lease_does_not_start_attempt(name: str) -> None:
    state = ALL_STATES[name]
    assert start(state, current_lease(state), AFTER_LEASE) == (LEASE_LOST, None)
    result, _ = start(state, current_lease(state), AFTER_LEASE - SECOND)
    assert (result == LEASE_LOST) == (name not in LEASED)


@pytest.mark.parametrize("name", CLAIMED)
def test_attempt_on_blocked_account_does_not_start(name: str) -> None:
    state = CLAIMED[name]
    assert start(state, current_lease(state), blocking_reason=HealthReason.NEEDS_RECONNECTION) == (
        (
            "lease_lost",
            "This account cannot publish now. The platform refused the account's access."
            " Reconnect the account to post.",
        ),
        None,
    )


@all_states
@pytest.mark.parametrize("fence", [0, 1, 2, 9])
def test_lease_of_another_claim_is_lost(name: str, fence: int) -> None:
    state, other = ALL_STATES[name], make_lease(fence)
    assert start(state, other)[0] == release(state, other) == LEASE_LOST
    expect_error(LeaseLost, require_lease, state, other, DURING_LEASE)


@all_states
def test_lease_is_required_until_its_expiry(name: str) -> None:
    state = ALL_STATES[name]
    if name in LEASED:
        require_lease(state, current_lease(state), DURING_LEASE)
    else:
        expect_error(LeaseLost, require_lease, state, current_lease(state), DURING_LEASE)
    expect_error(LeaseLost, require_lease, state, current_lease(state), AFTER_LEASE)


@pytest.mark.parametrize("name", LEASED)
@pytest.mark.parametrize("until", [DURING_LEASE + SECOND, AFTER_LEASE + SECOND])
def test_extension_changes_expiry_of_lease(name: str, until: datetime) -> None:
    claimable_at = until if name in CLAIMED else None
    assert extended(LEASED[name], until) == replace(
        LEASED[name], lease_expires_at=until, claimable_at=claimable_at
    )


@all_states
def test_only_lease_holder_releases_claim_until_it_is_started(name: str) -> None:
    state = ALL_STATES[name]
    result = release(state, current_lease(state))

    if name in CLAIMED:
        assert result == Transition(state=released_state(state, DURING_LEASE))
    elif name in STARTED:
        message = "The attempt was started, so it cannot be released. Report its outcome."
        assert result == ("conflict", message)
    else:
        assert result == LEASE_LOST
    assert release(state, current_lease(state), AFTER_LEASE) == LEASE_LOST


@all_states
def test_expired_lease_is_released_or_its_outcome_is_unknown(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    assert expire_lease(state, history, AFTER_LEASE - SECOND) is None
    transition = expire_lease(state, history, AFTER_LEASE)

    if name in CLAIMED:
        assert transition == Transition(state=released_state(state, AFTER_LEASE))
    elif name in STARTED:
        after = unknown_state(state, LEASE_EXPIRED, AFTER_LEASE)
        ended = history.attempts[-1].ended(Outcome.UNKNOWN, LEASE_EXPIRED, AFTER_LEASE)
        assert transition == Transition(state=after, attempts=(ended,))
        without_log = expire_lease(state, replace(history, attempts=[]), AFTER_LEASE)
        assert without_log == Transition(state=after)
    else:
        assert transition is None


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


@pytest.mark.parametrize("name", SUBMITTED)
def test_history_finds_attempts_by_fence_and_key(name: str) -> None:
    _, history, lost = with_lost_attempt(SUBMITTED[name])

    assert history.attempt_by_fence(lost.fence) is history.attempts[0]
    assert history.attempt_by_fence(99) is None
    assert history.attempt_by_key("k") is None
    assert history.has_report(lost.fence, Outcome.UNKNOWN)
    assert not history.has_report(lost.fence, Outcome.PUBLISHED)
    assert not history.has_publication(lost.fence)
    assert any(map(history.has_publication, range(9))) == (name in PUBLISHED)
    assert history.count_failures_of_round(NOW + SECOND) == 0
    assert history.count_failures_of_round(None) == history.count_failures_of_round(NOW)
