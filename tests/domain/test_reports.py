"""Start, release, reports and expiry of leases, held or lost, for every state."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from app.domain.accounts import HealthReason
from app.domain.attempts import Attempt, AttemptKind, Failure
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.errors import LeaseLost
from app.domain.leases import Lease
from app.domain.reports import (
    expire_lease,
    release_claim,
    report_failed,
    report_published,
    report_unknown,
    require_lease,
    start_attempt,
)
from app.domain.settlement import History, Receipt, Transition
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    GONE,
    LEASE_EXPIRED,
    LEASE_LOST,
    PUBLICATION,
    RETRY_DECIDER,
    SECOND,
    TIMEOUT,
    UNKNOWN_OUTCOME,
    current_lease,
    ended_as_superseded,
    failed_state,
    late_attempt,
    make_failure,
    make_history,
    make_lease,
    new_attempt,
    new_evidence,
    published_state,
    published_transition,
    released_state,
    report_context,
    result_or_error,
    retrying_state,
    started_state,
    unknown_state,
    with_lost_attempt,
)
from tests.domain.destination_states import (
    ALL_STATES,
    CLAIMED,
    LEASED,
    PUBLISHED,
    STARTED,
    SUBMITTED,
)
from tests.domain.errors import expect_error
from tests.factories import NOW

all_states = pytest.mark.parametrize("name", ALL_STATES)
leased_states = pytest.mark.parametrize("name", LEASED)
published_states = pytest.mark.parametrize("name", PUBLISHED)
submitted_states = pytest.mark.parametrize("name", SUBMITTED)


# Reports by the lease holder.


def unstarted_attempt(state: DestinationState, now: datetime) -> Attempt:
    return replace(new_attempt(state, None, now), kind=AttemptKind.UNSTARTED)


@leased_states
@pytest.mark.parametrize("now", [DURING_LEASE, AFTER_LEASE + SECOND])
def test_lease_holder_reports_publication_even_after_expiry(name: str, now: datetime) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    started = started_state(state, now) if name in CLAIMED else state
    running = history.attempts[-1] if name not in CLAIMED else unstarted_attempt(state, now)

    assert report_published(
        state, history, report_context(current_lease(state), now), PUBLICATION
    ) == Transition(
        state=published_state(started, PUBLICATION, now),
        attempts=(running.ended(Outcome.PUBLISHED, None, now),),
        evidence=new_evidence(state.fence, counted=True, reported_at=now),
    )


@leased_states
@pytest.mark.parametrize("failure", [TIMEOUT, GONE], ids=["transient", "permanent"])
def test_lease_holder_reports_failure_that_is_retried_or_final(name: str, failure: Failure) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    started = started_state(state, DURING_LEASE) if name in CLAIMED else state
    running = new_attempt(state, None, DURING_LEASE) if name in CLAIMED else history.attempts[-1]
    is_final = started.round_attempts >= 5 or failure is GONE
    wait = {1: 15, 2: 30}.get(started.round_attempts, 0) * SECOND

    assert report_failed(
        state, history, report_context(current_lease(state)), failure, RETRY_DECIDER
    ) == Transition(
        state=failed_state(started, failure, DURING_LEASE)
        if is_final
        else retrying_state(started, failure, DURING_LEASE + wait),
        attempts=(running.ended(Outcome.FAILED, failure, DURING_LEASE),),
    )


@leased_states
def test_lease_holder_reports_unknown_outcome_of_started_attempt(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    result = result_or_error(
        lambda: report_unknown(state, history, report_context(current_lease(state)), TIMEOUT)
    )

    if name in CLAIMED:
        message = "The attempt was not started, so its outcome is known. Release the claim."
        assert result == ("conflict", message)
    else:
        failure = replace(UNKNOWN_OUTCOME, message=TIMEOUT.message)
        assert result == Transition(
            state=unknown_state(state, failure, DURING_LEASE),
            attempts=(history.attempts[-1].ended(Outcome.UNKNOWN, failure, DURING_LEASE),),
        )


def test_unknown_outcome_keeps_reported_details_except_category_and_code() -> None:
    state = ALL_STATES["started"]
    failure = replace(GONE, raw="<html>", retry_after=SECOND)
    transition = report_unknown(
        state, make_history(state), report_context(current_lease(state)), failure
    )
    assert transition.attempts[0].failure == replace(
        failure, category=ErrorCategory.UNCLASSIFIED, code="OUTCOME_UNKNOWN"
    )


@pytest.mark.parametrize("category", ErrorCategory)
def test_only_auth_failure_affects_account(category: ErrorCategory) -> None:
    state = ALL_STATES["started"]
    transition = report_failed(
        state,
        make_history(state),
        report_context(current_lease(state)),
        make_failure(category),
        RETRY_DECIDER,
    )
    expected = NOW if category is ErrorCategory.AUTH else None
    assert transition.auth_failed_attempt_started_at == expected


# Reports after the lease was lost.


@submitted_states
def test_late_publication_settles_every_state_except_published(name: str) -> None:
    state, history, lost = with_lost_attempt(ALL_STATES[name])
    transition = report_published(state, history, report_context(lost), PUBLICATION)

    late = late_attempt(1, Outcome.PUBLISHED, None, history.attempts[0])
    ended = [late, *ended_as_superseded(history)]
    assert transition == published_transition(state, 1, ended)
    assert (transition.receipt is Receipt.DUPLICATE) == (name in PUBLISHED)
    assert len(ended) == (2 if name in STARTED else 1)


@all_states
def test_publication_of_claim_that_was_not_started_is_stored(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    result = result_or_error(
        lambda: report_published(state, history, report_context(make_lease(77)), PUBLICATION)
    )

    if name == "draft":
        assert result == LEASE_LOST
    else:
        late = late_attempt(77, Outcome.PUBLISHED, None, None)
        assert result == published_transition(state, 77, [late, *ended_as_superseded(history)])


Report = Callable[[DestinationState, History, Lease], Transition]


def _report_failed(state: DestinationState, history: History, lease: Lease) -> Transition:
    return report_failed(state, history, report_context(lease), GONE, RETRY_DECIDER)


def _report_unknown(state: DestinationState, history: History, lease: Lease) -> Transition:
    return report_unknown(state, history, report_context(lease), GONE)


failure_reports = pytest.mark.parametrize("report", [_report_failed, _report_unknown])


@submitted_states
def test_late_failure_is_only_logged_once(name: str) -> None:
    state, history, lost = with_lost_attempt(ALL_STATES[name])
    late = late_attempt(1, Outcome.FAILED, GONE, history.attempts[0])

    assert _report_failed(state, history, lost) == Transition(
        state=state, receipt=Receipt.LATE, attempts=(late,)
    )
    with_late = replace(history, attempts=[*history.attempts, late])
    repeated = Transition(state=state, receipt=Receipt.REPEATED)
    assert _report_failed(state, with_late, lost) == repeated
    assert _report_unknown(state, history, lost) == repeated  # its unknown outcome is logged


@all_states
@failure_reports
def test_late_failure_of_unstarted_claim_is_rejected(name: str, report: Report) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    assert result_or_error(lambda: report(state, history, make_lease(77))) == LEASE_LOST


@published_states
@failure_reports
def test_publication_cannot_be_followed_by_failure_of_same_lease(name: str, report: Report) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    assert result_or_error(lambda: report(state, history, current_lease(state))) == (
        "conflict",
        "This lease has already reported the post as published, which is final.",
    )


@published_states
def test_repeated_publication_changes_nothing(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    assert report_published(
        state,
        history,
        report_context(current_lease(state), AFTER_LEASE),
        history.evidence[0].publication,
    ) == Transition(state=state, receipt=Receipt.REPEATED)


def test_publication_after_failure_of_same_lease_settles_it() -> None:
    state = ALL_STATES["failed after several attempts"]
    history = make_history(state)
    late = late_attempt(5, Outcome.PUBLISHED, None, history.attempts[-1])
    assert report_published(
        state, history, report_context(current_lease(state)), PUBLICATION
    ) == published_transition(state, 5, [late])


def test_attempt_never_ends_before_its_start() -> None:
    state = ALL_STATES["started"]
    transition = report_published(
        state, make_history(state), report_context(current_lease(state), NOW - SECOND), PUBLICATION
    )
    assert [attempt.finished_at for attempt in transition.attempts] == [NOW]


def test_failure_after_unknown_outcome_of_same_lease_is_logged() -> None:
    state = ALL_STATES["unknown"]
    history = replace(make_history(state), attempts=[make_history(state).attempts[0]])
    transition = _report_failed(state, history, make_lease(1, UUID(int=1)))
    assert (transition.state, transition.receipt) == (state, Receipt.LATE)
    assert history.attempts[0].failure == LEASE_EXPIRED


# Start, release and expiry.


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
    return result_or_error(
        lambda: release_claim(state, make_history(state), report_context(lease, now))
    )


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
            "This account cannot publish now. The account has no valid access to its platform."
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
