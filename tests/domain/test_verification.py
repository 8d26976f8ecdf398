"""Verifications and reconciliation of unknown outcomes, for every state and finding."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from app.domain.settlement import History, Receipt, RetryDecider, Transition
from app.domain.verification import VerificationFinding, reconcile, report_verified
from tests.domain.attempt_histories import (
    DURING_LEASE,
    LEASE_LOST,
    NOT_PUBLISHED,
    PUBLICATION,
    RETRY_DECIDER,
    ended_as_superseded,
    failed_state,
    make_history,
    make_lease,
    published_state,
    published_transition,
    report_context,
    result_or_error,
    retrying_state,
)
from tests.domain.destination_states import ALL_STATES, STARTED, UNKNOWN
from tests.factories import being_verified

F = VerificationFinding
VERIFIED = being_verified()
ABSENT = (F.NOT_PUBLISHED, F.STILL_UNKNOWN)
all_states = pytest.mark.parametrize("name", ALL_STATES)


def verify(
    state: DestinationState,
    finding: VerificationFinding,
    *,
    lease: Lease | None = None,
    history: History | None = None,
    retry_decider: RetryDecider = RETRY_DECIDER,
    now: datetime = DURING_LEASE,
) -> Transition | tuple[str, str]:
    """Report a finding, by default with the state's own verification lease and history."""
    return result_or_error(
        lambda: report_verified(
            state,
            history or make_history(state),
            report_context(lease or make_lease(state.fence, state.verification_token), now),
            finding,
            PUBLICATION if finding is F.PUBLISHED else None,
            retry_decider,
        )
    )


def test_finding_decides_about_unknown_outcome() -> None:
    assert verify(VERIFIED, F.PUBLISHED) == published_transition(VERIFIED, VERIFIED.fence, [])
    assert verify(VERIFIED, F.NOT_PUBLISHED) == Transition(
        state=retrying_state(VERIFIED, NOT_PUBLISHED, DURING_LEASE)
    )


INCONCLUSIVE = {
    # seconds from the unknown outcome to the inconclusive verification, and to the next one
    0: 15,
    14.999: 15,
    15: 60,
    59: 60,
    60: 300,
    299: 300,
    300: 600,
    301.5: 601.5,
    3600: 3900,
}


@pytest.mark.parametrize(("seconds", "next_seconds"), INCONCLUSIVE.items())
def test_inconclusive_verification_is_repeated_after_15_s_1_min_and_then_every_5_min(
    seconds: float, next_seconds: float
) -> None:
    settled_at = VERIFIED.settled_at
    assert settled_at is not None
    now, next_at = (settled_at + timedelta(seconds=s) for s in (seconds, next_seconds))
    state = replace(VERIFIED, verifiable_at=now + timedelta(minutes=1))
    assert verify(state, F.STILL_UNKNOWN, now=now) == Transition(
        state=replace(state, verification_token=None, verifiable_at=next_at)
    )


DAY_AGO = DURING_LEASE - timedelta(hours=24)
LIMITS = {
    "after 5 counted attempts": (replace(VERIFIED, attempts=5, round_attempts=5), True),
    "after 4 counted attempts": (replace(VERIFIED, attempts=5, round_attempts=4), False),
    "after a day": (
        replace(VERIFIED, round_started_at=DAY_AGO - timedelta(milliseconds=1)),
        True,
    ),
    "within a day": (replace(VERIFIED, round_started_at=DAY_AGO), False),
}


@pytest.mark.parametrize(("state", "is_final"), LIMITS.values(), ids=LIMITS)
def test_unpublished_post_is_not_retried_beyond_limits(
    state: DestinationState, is_final: bool
) -> None:
    after = failed_state if is_final else retrying_state
    assert verify(state, F.NOT_PUBLISHED) == Transition(
        state=after(state, NOT_PUBLISHED, DURING_LEASE)
    )


def test_limits_are_those_of_unclassified_failures_on_the_platform() -> None:
    policies = RetryPolicies(
        DEFAULT_POLICIES.by_kind, {"x": {ErrorCategory.UNCLASSIFIED: RetryPolicy(max_attempts=1)}}
    )
    decider = RetryDecider(policies, lambda: 0.0)
    assert verify(VERIFIED, F.NOT_PUBLISHED, retry_decider=decider) == Transition(
        state=failed_state(VERIFIED, NOT_PUBLISHED, DURING_LEASE)
    )


@all_states
@pytest.mark.parametrize("fence", [0, 1, 77])
def test_lost_verification_lease_reports_only_publications(name: str, fence: int) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    lost = make_lease(fence, UUID(int=0x71))
    for finding in ABSENT:
        assert verify(state, finding, lease=lost) == LEASE_LOST

    result = verify(state, F.PUBLISHED, lease=lost)

    if name == "draft":
        assert result == LEASE_LOST
    elif (known := history.evidence_by_fence(fence)) is not None:
        assert isinstance(result, Transition)
        has_other_id = known.publication.platform_post_id is not None
        assert result.receipt is (Receipt.DUPLICATE if has_other_id else Receipt.REPEATED)
    else:
        ended = ended_as_superseded(history)
        assert result == published_transition(state, fence, ended)
        assert len(ended) == (name in STARTED)


def test_repeated_finding_changes_nothing() -> None:
    lease = make_lease(VERIFIED.fence, VERIFIED.verification_token)
    first = verify(VERIFIED, F.PUBLISHED)
    assert isinstance(first, Transition)
    assert first.evidence is not None
    history = replace(make_history(VERIFIED), evidence=[first.evidence])
    assert verify(first.state, F.PUBLISHED, lease=lease, history=history) == Transition(
        state=first.state, receipt=Receipt.REPEATED
    )
    for finding in ABSENT:  # not logged, so the lease is lost
        first = verify(VERIFIED, finding)
        assert isinstance(first, Transition)
        assert verify(first.state, finding, lease=lease) == LEASE_LOST


def test_expired_verification_reports_only_publications() -> None:
    expiry = VERIFIED.verifiable_at
    assert expiry is not None
    for finding in ABSENT:
        assert verify(VERIFIED, finding, now=expiry) == LEASE_LOST
    result = verify(VERIFIED, F.PUBLISHED, now=expiry)
    assert isinstance(result, Transition)
    assert result.state == published_state(VERIFIED, PUBLICATION, expiry)


@pytest.mark.parametrize("finding", VerificationFinding)
def test_publication_is_required_only_for_published(finding: VerificationFinding) -> None:
    with pytest.raises(ValueError, match="a publication is required for, and only for, PUBLISHED"):
        report_verified(
            VERIFIED,
            make_history(VERIFIED),
            report_context(make_lease(VERIFIED.fence, VERIFIED.verification_token)),
            finding,
            None if finding is F.PUBLISHED else PUBLICATION,
            RETRY_DECIDER,
        )


@all_states
def test_person_reconciles_only_unknown_outcomes(name: str) -> None:
    state = ALL_STATES[name]
    as_published = result_or_error(lambda: reconcile(state, PUBLICATION, DURING_LEASE))
    as_failed = result_or_error(lambda: reconcile(state, None, DURING_LEASE))

    if name in UNKNOWN:
        assert as_published == published_transition(state, state.fence, [])
        assert as_failed == Transition(state=failed_state(state, NOT_PUBLISHED, DURING_LEASE))
    else:
        message = f"Only an unknown outcome can be reconciled; this destination is {state.status}."
        assert as_published == as_failed == ("conflict", message)
