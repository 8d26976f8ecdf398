"""Verification, reconciliation and attempts of publishers with their own queue, for every state."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.domain.attempts import Attempt, AttemptKind, Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from app.domain.settlement import History, Receipt, RetryDecider, Transition
from app.domain.transitions import unknown
from app.domain.verification import (
    ExternalAttempt,
    VerificationFinding,
    reconcile,
    record_external_attempt,
    report_verified,
)
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    GONE,
    LEASE_LOST,
    NEW_ATTEMPT_ID,
    NOT_PUBLISHED,
    PUBLICATION,
    RETRY_DECIDER,
    SECOND,
    TIMEOUT,
    ended_as_superseded,
    failed_state,
    make_history,
    make_lease,
    new_evidence,
    published_state,
    published_transition,
    report_context,
    result_or_error,
    retrying_state,
)
from tests.domain.destination_states import ALL_STATES, LEASED, PUBLISHED, STARTED, UNKNOWN
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
    assert verify(VERIFIED, F.STILL_UNKNOWN) == Transition(
        state=replace(
            VERIFIED, verification_token=None, verifiable_at=DURING_LEASE + timedelta(minutes=5)
        )
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
    exceptions = {"x": {ErrorCategory.UNCLASSIFIED: RetryPolicy(max_attempts=1)}}
    decider = RetryDecider(RetryPolicies(DEFAULT_POLICIES.by_category, exceptions), lambda: 0.5)
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
    elif history.has_publication(fence):
        assert result == Transition(state=state, receipt=Receipt.REPEATED)
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


# Attempts of publishers with their own queue.


STARTED_AT = AFTER_LEASE - SECOND
NO_HISTORY = History("x", [], [])
LEASED_ERROR = (
    "leased",
    "Another publisher holds this destination. Try again when its lease has ended.",
)
DRAFT_ERROR = ("conflict", "The post is a draft. Schedule it before you publish it.")


def external_attempt(details: Publication | Failure, key: str = "job-1") -> ExternalAttempt:
    outcome = Outcome.FAILED if isinstance(details, Failure) else Outcome.PUBLISHED
    return ExternalAttempt(
        attempt_key=key, worker="cron", started_at=STARTED_AT, outcome=outcome, details=details
    )


def record(
    state: DestinationState,
    history: History,
    attempt: ExternalAttempt,
    now: datetime = AFTER_LEASE,
) -> Transition | tuple[str, str]:
    return result_or_error(
        lambda: record_external_attempt(
            state, history, attempt, RETRY_DECIDER, new_id=lambda: NEW_ATTEMPT_ID, now=now
        )
    )


def record_transition(
    state: DestinationState, history: History, attempt: ExternalAttempt
) -> Transition:
    transition = record(state, history, attempt)
    assert isinstance(transition, Transition)
    return transition


def stored_attempt(
    state: DestinationState, outcome: Outcome, failure: Failure | None, *, is_late: bool = False
) -> Attempt:
    return Attempt(
        id=NEW_ATTEMPT_ID,
        kind=AttemptKind.LATE if is_late else AttemptKind.REGULAR,
        number=None if is_late else state.attempts + 1,
        fence=state.fence + 1,
        attempt_key="job-1",
        worker="cron",
        started_at=STARTED_AT,
        outcome=outcome,
        failure=failure,
        finished_at=AFTER_LEASE,
    )


def count_attempt(state: DestinationState) -> DestinationState:
    return replace(
        state,
        fence=state.fence + 1,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


@all_states
def test_publication_is_recorded_unless_destination_is_leased(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    result = record(state, history, external_attempt(PUBLICATION))

    if name == "draft":
        assert result == DRAFT_ERROR
    else:
        is_first = name not in PUBLISHED
        own = stored_attempt(state, Outcome.PUBLISHED, None, is_late=not is_first)
        assert result == Transition(
            state=published_state(count_attempt(state), PUBLICATION, AFTER_LEASE)
            if is_first
            else replace(state, fence=state.fence + 1),
            receipt=Receipt.RECORDED if is_first else Receipt.DUPLICATE,
            attempts=(*ended_as_superseded(history, AFTER_LEASE), own),
            evidence=new_evidence(state.fence + 1, counted=is_first, reported_at=AFTER_LEASE),
        )
    held = record(state, history, external_attempt(PUBLICATION), DURING_LEASE)
    assert (held == LEASED_ERROR) == (name in LEASED)


@all_states
@pytest.mark.parametrize("failure", [TIMEOUT, GONE], ids=["transient", "permanent"])
def test_failure_is_recorded_unless_destination_is_final_or_leased(
    name: str, failure: Failure
) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    result = record(state, history, external_attempt(failure))

    if name == "draft":
        assert result == DRAFT_ERROR
    elif state.status.is_final:
        status = "of unknown outcome" if name in UNKNOWN else state.status.value
        message = f"The destination is {status}; a failure can no longer be recorded."
        assert result == ("conflict", message)
    else:
        before = count_attempt(state)
        failures = 1 + history.count_failures_since(state.round_started_at)
        retry_at = AFTER_LEASE + 15 * 2 ** (failures - 1) * SECOND
        ended = ended_as_superseded(history, AFTER_LEASE)
        assert result == Transition(
            state=failed_state(before, failure, AFTER_LEASE)
            if failure is GONE or before.round_attempts >= 5
            # A publisher's own queue may try before the due time; the retry here does not.
            else retrying_state(before, failure, max(retry_at, state.due_at or retry_at)),
            attempts=(*ended, stored_attempt(state, Outcome.FAILED, failure)),
        )
        assert len(ended) == (name in STARTED)
    held = record(state, history, external_attempt(failure), DURING_LEASE)
    assert (held == LEASED_ERROR) == (name in LEASED)


@all_states
@pytest.mark.parametrize("details", [PUBLICATION, TIMEOUT], ids=["published", "failed"])
def test_attempt_key_is_recorded_once(name: str, details: Publication | Failure) -> None:
    state = ALL_STATES[name]
    outcome = Outcome.PUBLISHED if details is PUBLICATION else Outcome.FAILED
    stored = replace(stored_attempt(state, outcome, None), number=1, fence=1)
    history = replace(make_history(state), attempts=[stored])
    other = TIMEOUT if details is PUBLICATION else PUBLICATION

    for now in (DURING_LEASE, AFTER_LEASE):
        assert record(state, history, external_attempt(details), now) == Transition(
            state=state, receipt=Receipt.REPEATED
        )
        assert record(state, history, external_attempt(other), now) == (
            "conflict",
            f"The attempt with this attemptKey is on record as {outcome} already.",
        )


def test_another_attempt_key_is_another_attempt() -> None:
    first = record_transition(ALL_STATES["queued"], NO_HISTORY, external_attempt(TIMEOUT, "a"))
    history = History("x", first.attempts, [])
    second = record_transition(first.state, history, external_attempt(PUBLICATION, "b"))
    assert (second.state.attempts, second.state.fence) == (2, 2)
    assert [attempt.number for attempt in (*first.attempts, *second.attempts)] == [1, 2]


def test_attempt_never_ends_before_its_start() -> None:
    start = AFTER_LEASE + timedelta(minutes=1)
    ahead = replace(external_attempt(PUBLICATION), started_at=start)
    transition = record_transition(ALL_STATES["queued"], NO_HISTORY, ahead)
    assert [attempt.finished_at for attempt in transition.attempts] == [start]


@pytest.mark.parametrize(
    "name",
    ["retry scheduled", "retried manually", "retry scheduled after several failures"],
)
def test_failure_older_than_another_attempt_is_only_logged(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    start = history.attempts[-1].started_at - SECOND
    late = stored_attempt(state, Outcome.FAILED, GONE, is_late=True)

    assert record(state, history, replace(external_attempt(GONE), started_at=start)) == Transition(
        state=replace(state, fence=state.fence + 1),
        receipt=Receipt.LATE,
        attempts=(replace(late, started_at=start),),
    )


def test_unknown_outcome_is_verified_before_retry() -> None:
    state = ALL_STATES["retry scheduled"]
    failure = replace(TIMEOUT, category=ErrorCategory.UNCLASSIFIED, code="OUTCOME_UNKNOWN")
    attempt = replace(external_attempt(TIMEOUT), outcome=Outcome.UNKNOWN)
    assert record(state, make_history(state), attempt) == Transition(
        state=unknown(count_attempt(state), failure, AFTER_LEASE),
        attempts=(stored_attempt(state, Outcome.UNKNOWN, failure),),
    )


def test_publication_resolves_unknown_outcome_of_same_attempt_key() -> None:
    state, history = ALL_STATES["retry scheduled"], make_history(ALL_STATES["retry scheduled"])
    attempt = replace(external_attempt(TIMEOUT), outcome=Outcome.UNKNOWN)
    first = record_transition(state, history, attempt)
    history = replace(history, attempts=[*history.attempts, *first.attempts])
    evidence = new_evidence(first.state.fence, counted=True, reported_at=AFTER_LEASE)

    second = record_transition(first.state, history, external_attempt(PUBLICATION))

    assert second == Transition(
        state=published_state(first.state, PUBLICATION, AFTER_LEASE), evidence=evidence
    )
    with_evidence = replace(history, evidence=[evidence])
    assert record(second.state, with_evidence, external_attempt(PUBLICATION)) == Transition(
        state=second.state, receipt=Receipt.REPEATED
    )
    assert record(first.state, history, external_attempt(GONE)) == (
        "conflict",
        "The attempt with this attemptKey is on record as unknown already.",
    )
