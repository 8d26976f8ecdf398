"""What publishers report of a lease that is held, has ended, or was lost: every state, all that is stored."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.leases import Lease
from app.domain.reports import report_failed, report_published, report_unknown
from app.domain.settlement import History, Receipt, Transition
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    LEASE_EXPIRED,
    LEASE_LOST_MESSAGE,
    NEW_ATTEMPT_ID,
    PUBLICATION,
    RETRY_CONTEXT,
    SECOND,
    SUPERSEDED,
    TIMEOUT,
    UNKNOWN_OUTCOME,
    current_lease,
    failed_state,
    make_history,
    make_lease,
    published_state,
    report_context,
    result_or_error,
    retrying_state,
    with_lost_attempt,
)
from tests.domain.destination_states import ALL_STATES, PUBLISHED, SUBMITTED
from tests.domain.test_attempt_starts import (
    CLAIMED,
    LEASE_LOST,
    LEASED_STATES,
    STARTED,
    expected_attempt,
)
from tests.factories import NOW

REJECTED_MESSAGE = Failure(
    category=ErrorCategory.PERMANENT, code="GONE", message="The page is gone.", http_status=410
)
CONFLICT_MESSAGE = (
    "conflict",
    "This lease has already reported the post as published, which is final.",
)
all_states = pytest.mark.parametrize("name", ALL_STATES)
submitted_states = pytest.mark.parametrize("name", SUBMITTED)


def expected_evidence(fence: int, *, counted: bool) -> Evidence:
    return Evidence(fence=fence, counted=counted, publication=PUBLICATION, reported_at=DURING_LEASE)


def late_attempt(
    fence: int, outcome: Outcome, failure: Failure | None, known: Attempt | None
) -> Attempt:
    return Attempt(
        id=NEW_ATTEMPT_ID,
        kind=AttemptKind.LATE,
        number=None,
        fence=fence,
        attempt_key=None,
        worker=known.worker if known else None,
        started_at=known.started_at if known else DURING_LEASE,
        outcome=outcome,
        failure=failure,
        finished_at=DURING_LEASE,
    )


def superseded_attempts(history: History) -> list[Attempt]:
    """What runs under another lease, ended."""
    return [
        each.ended(Outcome.UNKNOWN, SUPERSEDED, DURING_LEASE)
        for each in history.attempts
        if each.outcome is Outcome.NONE
    ]


def expected_published(
    state: DestinationState, fence: int, log: list[Attempt], *, before: DestinationState
) -> Transition:
    """What a report of a publication makes of a state: the first one counts."""
    is_first = before.outcome is not Outcome.PUBLISHED
    return Transition(
        state=published_state(state, PUBLICATION, DURING_LEASE) if is_first else before,
        receipt=Receipt.RECORDED if is_first else Receipt.DUPLICATE,
        attempts=tuple(log),
        evidence=expected_evidence(fence, counted=is_first),
    )


# The holder reports.


@pytest.mark.parametrize("name", LEASED_STATES)
@pytest.mark.parametrize("now", [DURING_LEASE, AFTER_LEASE + SECOND])
def test_the_holder_reports_a_publication_also_when_its_lease_has_ended(
    name: str, now: datetime
) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = report_published(state, history, report_context(current_lease(state), now), PUBLICATION)

    before = expected_started(state, now) if name in CLAIMED else state
    running = expected_attempt(state, None, now) if name in CLAIMED else history.attempts[-1]
    assert told == Transition(
        state=published_state(before, PUBLICATION, now),
        attempts=(running.ended(Outcome.PUBLISHED, None, now),),
        evidence=Evidence(
            fence=state.fence,
            counted=True,
            publication=PUBLICATION,
            reported_at=now,
        ),
    )


def expected_started(state: DestinationState, now: datetime) -> DestinationState:
    return replace(
        state,
        claimable_at=None,
        started_at=now,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


@pytest.mark.parametrize("name", LEASED_STATES)
@pytest.mark.parametrize("failure", [TIMEOUT, REJECTED_MESSAGE], ids=["for now", "for good"])
def test_the_holder_reports_a_failure_which_waits_or_is_final(name: str, failure: Failure) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = report_failed(
        state, history, report_context(current_lease(state)), failure, RETRY_CONTEXT
    )

    before = expected_started(state, DURING_LEASE) if name in CLAIMED else state
    running = (
        expected_attempt(state, None, DURING_LEASE) if name in CLAIMED else history.attempts[-1]
    )
    is_spent = before.round_attempts >= 5 or failure is REJECTED_MESSAGE
    halfway = {1: 15, 2: 30}.get(before.round_attempts, 0) * SECOND
    assert told == Transition(
        state=failed_state(before, failure, DURING_LEASE)
        if is_spent
        else retrying_state(before, failure, DURING_LEASE + halfway),
        attempts=(running.ended(Outcome.FAILED, failure, DURING_LEASE),),
    )


@pytest.mark.parametrize("name", LEASED_STATES)
def test_the_holder_of_a_started_attempt_may_not_know_how_it_ended(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = result_or_error(
        lambda: report_unknown(state, history, report_context(current_lease(state)), TIMEOUT)
    )

    if name in CLAIMED:
        assert told == (
            "conflict",
            "The attempt was not started, so its outcome is known. Release the claim.",
        )
    else:
        failure = replace(UNKNOWN_OUTCOME, message=TIMEOUT.message)
        assert told == Transition(
            state=failed_state(
                state, failure, DURING_LEASE, outcome=Outcome.UNKNOWN, verifiable_at=DURING_LEASE
            ),
            attempts=(history.attempts[-1].ended(Outcome.UNKNOWN, failure, DURING_LEASE),),
        )


def test_what_a_publisher_says_of_an_unknown_outcome_is_kept_but_for_its_category() -> None:
    state = ALL_STATES["started"]
    failure = replace(REJECTED_MESSAGE, raw="<html>", retry_after=SECOND)
    told = report_unknown(state, make_history(state), report_context(current_lease(state)), failure)
    assert told.attempts[0].failure == replace(
        failure, category=ErrorCategory.UNCLASSIFIED, code="OUTCOME_UNKNOWN"
    )


@pytest.mark.parametrize("category", ErrorCategory)
def test_only_a_refused_access_concerns_the_account(category: ErrorCategory) -> None:
    state = ALL_STATES["started"]
    failure = replace(TIMEOUT, category=category, code=category.name)
    told = report_failed(
        state, make_history(state), report_context(current_lease(state)), failure, RETRY_CONTEXT
    )
    assert told.auth_failed_attempt_started_at == (NOW if category is ErrorCategory.AUTH else None)


# Somebody reports who has lost the lease.


@submitted_states
def test_a_late_publication_settles_every_state_but_a_published_one(name: str) -> None:
    state, history, stale = with_lost_attempt(ALL_STATES[name])
    told = report_published(state, history, report_context(stale), PUBLICATION)

    one_too_late = late_attempt(1, Outcome.PUBLISHED, None, history.attempts[0])
    log = [one_too_late, *superseded_attempts(history)]
    assert told == expected_published(state, 1, log, before=state)
    assert (told.receipt is Receipt.DUPLICATE) == (name in PUBLISHED)
    assert len(log) == (2 if name in STARTED else 1)


@all_states
def test_a_late_publication_of_a_claim_that_was_never_started_is_kept_too(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = result_or_error(
        lambda: report_published(state, history, report_context(make_lease(77)), PUBLICATION)
    )

    if name == "draft":
        assert told == LEASE_LOST
    else:
        log = [late_attempt(77, Outcome.PUBLISHED, None, None), *superseded_attempts(history)]
        assert told == expected_published(state, 77, log, before=state)


LATE: dict[str, tuple[Outcome, Callable[[DestinationState, History, Lease], Transition]]] = {
    "failed": (
        Outcome.FAILED,
        lambda state, history, of: report_failed(
            state, history, report_context(of), REJECTED_MESSAGE, RETRY_CONTEXT
        ),
    ),
    "unknown": (
        Outcome.UNKNOWN,
        lambda state, history, of: report_unknown(
            state, history, report_context(of), REJECTED_MESSAGE
        ),
    ),
}
late_reports = pytest.mark.parametrize(("outcome", "tell"), LATE.values(), ids=LATE)


@submitted_states
@late_reports
def test_a_late_failure_is_only_logged_and_once(
    name: str, outcome: Outcome, tell: Callable[..., Transition]
) -> None:
    state, history, stale = with_lost_attempt(ALL_STATES[name])
    told = tell(state, history, stale)

    if outcome is Outcome.UNKNOWN:  # as its end was logged already
        assert told == Transition(state=state, receipt=Receipt.REPEATED)
        return
    logged = late_attempt(1, outcome, REJECTED_MESSAGE, history.attempts[0])
    assert told == Transition(state=state, receipt=Receipt.LATE, attempts=(logged,))
    again = replace(history, attempts=[*history.attempts, *told.attempts])
    assert tell(state, again, stale) == Transition(state=state, receipt=Receipt.REPEATED)


@all_states
@late_reports
def test_a_late_failure_of_a_claim_that_was_never_started_is_refused(
    name: str, outcome: Outcome, tell: Callable[..., Transition]
) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    assert result_or_error(lambda: tell(state, history, make_lease(77))) == (
        "lease_lost",
        LEASE_LOST_MESSAGE,
    )


@pytest.mark.parametrize("name", PUBLISHED)
@late_reports
def test_who_has_published_cannot_have_failed(
    name: str, outcome: Outcome, tell: Callable[..., Transition]
) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    assert result_or_error(lambda: tell(state, history, current_lease(state))) == CONFLICT_MESSAGE


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_publication_that_is_reported_again_is_the_same(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = report_published(
        state,
        history,
        report_context(current_lease(state), AFTER_LEASE),
        replace(PUBLICATION, platform_post_id="2"),
    )
    assert told == Transition(state=state, receipt=Receipt.REPEATED)


def test_a_failure_that_turns_out_to_be_a_publication_is_one() -> None:
    failed = ALL_STATES["failed after several attempts"]
    history = make_history(failed)
    told = report_published(failed, history, report_context(current_lease(failed)), PUBLICATION)
    logged = late_attempt(5, Outcome.PUBLISHED, None, history.attempts[-1])
    assert told == expected_published(failed, 5, [logged], before=failed)


def test_an_attempt_does_not_end_before_it_started() -> None:
    state = ALL_STATES["started"]
    told = report_published(
        state, make_history(state), report_context(current_lease(state), NOW - SECOND), PUBLICATION
    )
    assert [each.finished_at for each in told.attempts] == [NOW]


def test_a_lease_that_was_reported_unknown_may_be_told_to_have_failed() -> None:
    state = ALL_STATES["unknown"]
    history = replace(make_history(state), attempts=[make_history(state).attempts[0]])
    told = report_failed(
        state, history, report_context(make_lease(1, UUID(int=1))), REJECTED_MESSAGE, RETRY_CONTEXT
    )
    assert told.state is state
    assert told.receipt is Receipt.LATE
    assert history.attempts[0].failure == LEASE_EXPIRED
