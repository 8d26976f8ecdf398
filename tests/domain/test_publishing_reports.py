"""What publishers report of a lease that is held, has ended, or was lost: every state, all that is stored."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.endings import History, Receipt, Recorded
from app.domain.leases import Lease
from app.domain.publishing import report_failed, report_published, report_unknown
from tests.domain.histories import (
    AFTER,
    DURING,
    GONE,
    HALFWAY,
    HERE,
    LOST,
    NEW,
    NO_ANSWER,
    OVERTAKEN,
    SECOND,
    TIMEOUT,
    as_failed,
    as_published,
    as_waiting,
    held,
    history_of,
    lease,
    outcome_of,
    report,
    with_stale,
)
from tests.domain.states import EVERY, PUBLISHED, SUBMITTED
from tests.domain.test_publishing_claims import CLAIMED, LEASE_LOST, LEASED, STARTED, new_attempt
from tests.factories import NOW

REFUSED = Failure(
    category=ErrorCategory.PERMANENT, code="GONE", message="The page is gone.", http_status=410
)
STANDS = ("conflict", "This lease has reported that the post is published; that stands.")
every_state = pytest.mark.parametrize("name", EVERY)
every_submitted = pytest.mark.parametrize("name", SUBMITTED)


def evidence(fence: int, *, counted: bool) -> Evidence:
    return Evidence(fence=fence, counted=counted, publication=HERE, reported_at=DURING)


def late(fence: int, outcome: Outcome, failure: Failure | None, known: Attempt | None) -> Attempt:
    return Attempt(
        id=NEW,
        kind=AttemptKind.LATE,
        number=None,
        fence=fence,
        attempt_key=None,
        worker=known.worker if known else None,
        started_at=known.started_at if known else DURING,
        outcome=outcome,
        failure=failure,
        finished_at=DURING,
    )


def overtaken(history: History) -> list[Attempt]:
    """What runs under another lease, ended."""
    return [
        each.ended(Outcome.UNKNOWN, OVERTAKEN, DURING)
        for each in history.attempts
        if each.outcome is Outcome.NONE
    ]


def settled(
    state: DestinationState, fence: int, log: list[Attempt], *, before: DestinationState
) -> Recorded:
    """What a report of a publication makes of a state: the first one counts."""
    is_first = before.outcome is not Outcome.PUBLISHED
    return Recorded(
        state=as_published(state, HERE, DURING) if is_first else before,
        receipt=Receipt.RECORDED if is_first else Receipt.DUPLICATE,
        attempts=tuple(log),
        evidence=evidence(fence, counted=is_first),
    )


# The holder reports.


@pytest.mark.parametrize("name", LEASED)
@pytest.mark.parametrize("now", [DURING, AFTER + SECOND])
def test_the_holder_reports_a_publication_also_when_its_lease_has_ended(
    name: str, now: datetime
) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    told = report_published(state, history, report(held(state), now), HERE)

    before = started(state, now) if name in CLAIMED else state
    running = new_attempt(state, None, now) if name in CLAIMED else history.attempts[-1]
    assert told == Recorded(
        state=as_published(before, HERE, now),
        attempts=(running.ended(Outcome.PUBLISHED, None, now),),
        evidence=Evidence(
            fence=state.fence,
            counted=True,
            publication=HERE,
            reported_at=now,
        ),
    )


def started(state: DestinationState, now: datetime) -> DestinationState:
    return replace(
        state,
        claimable_at=None,
        started_at=now,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


@pytest.mark.parametrize("name", LEASED)
@pytest.mark.parametrize("failure", [TIMEOUT, REFUSED], ids=["for now", "for good"])
def test_the_holder_reports_a_failure_which_waits_or_is_final(name: str, failure: Failure) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    told = report_failed(state, history, report(held(state)), failure, HALFWAY)

    before = started(state, DURING) if name in CLAIMED else state
    running = new_attempt(state, None, DURING) if name in CLAIMED else history.attempts[-1]
    is_spent = before.round_attempts >= 5 or failure is REFUSED
    halfway = {1: 15, 2: 30}.get(before.round_attempts, 0) * SECOND
    assert told == Recorded(
        state=as_failed(before, failure, DURING)
        if is_spent
        else as_waiting(before, failure, DURING + halfway),
        attempts=(running.ended(Outcome.FAILED, failure, DURING),),
    )


@pytest.mark.parametrize("name", LEASED)
def test_the_holder_of_a_started_attempt_may_not_know_how_it_ended(name: str) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    told = outcome_of(lambda: report_unknown(state, history, report(held(state)), TIMEOUT))

    if name in CLAIMED:
        assert told == (
            "conflict",
            "The attempt was not started, so its outcome is known. Release the claim.",
        )
    else:
        failure = replace(NO_ANSWER, message=TIMEOUT.message)
        assert told == Recorded(
            state=as_failed(state, failure, DURING, outcome=Outcome.UNKNOWN, verifiable_at=DURING),
            attempts=(history.attempts[-1].ended(Outcome.UNKNOWN, failure, DURING),),
        )


def test_what_a_publisher_says_of_an_unknown_outcome_is_kept_but_for_its_category() -> None:
    state = EVERY["started"]
    failure = replace(REFUSED, raw="<html>", retry_after=SECOND)
    told = report_unknown(state, history_of(state), report(held(state)), failure)
    assert told.attempts[0].failure == replace(
        failure, category=ErrorCategory.UNCLASSIFIED, code="OUTCOME_UNKNOWN"
    )


@pytest.mark.parametrize("category", ErrorCategory)
def test_only_a_refused_access_concerns_the_account(category: ErrorCategory) -> None:
    state = EVERY["started"]
    failure = replace(TIMEOUT, category=category, code=category.name)
    told = report_failed(state, history_of(state), report(held(state)), failure, HALFWAY)
    assert told.lost_access == (NOW if category is ErrorCategory.AUTH else None)


# Somebody reports who has lost the lease.


@every_submitted
def test_a_late_publication_settles_every_state_but_a_published_one(name: str) -> None:
    state, history, stale = with_stale(EVERY[name])
    told = report_published(state, history, report(stale), HERE)

    one_too_late = late(1, Outcome.PUBLISHED, None, history.attempts[0])
    log = [one_too_late, *overtaken(history)]
    assert told == settled(state, 1, log, before=state)
    assert (told.receipt is Receipt.DUPLICATE) == (name in PUBLISHED)
    assert len(log) == (2 if name in STARTED else 1)


@every_state
def test_a_late_publication_of_a_claim_that_was_never_started_is_kept_too(name: str) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    told = outcome_of(lambda: report_published(state, history, report(lease(77)), HERE))

    if name == "draft":
        assert told == LEASE_LOST
    else:
        log = [late(77, Outcome.PUBLISHED, None, None), *overtaken(history)]
        assert told == settled(state, 77, log, before=state)


LATE: dict[str, tuple[Outcome, Callable[[DestinationState, History, Lease], Recorded]]] = {
    "failed": (
        Outcome.FAILED,
        lambda state, history, of: report_failed(state, history, report(of), REFUSED, HALFWAY),
    ),
    "unknown": (
        Outcome.UNKNOWN,
        lambda state, history, of: report_unknown(state, history, report(of), REFUSED),
    ),
}
late_reports = pytest.mark.parametrize(("outcome", "tell"), LATE.values(), ids=LATE)


@every_submitted
@late_reports
def test_a_late_failure_is_only_logged_and_once(
    name: str, outcome: Outcome, tell: Callable[..., Recorded]
) -> None:
    state, history, stale = with_stale(EVERY[name])
    told = tell(state, history, stale)

    if outcome is Outcome.UNKNOWN:  # as its end was logged already
        assert told == Recorded(state=state, receipt=Receipt.REPEATED)
        return
    logged = late(1, outcome, REFUSED, history.attempts[0])
    assert told == Recorded(state=state, receipt=Receipt.LATE, attempts=(logged,))
    again = replace(history, attempts=[*history.attempts, *told.attempts])
    assert tell(state, again, stale) == Recorded(state=state, receipt=Receipt.REPEATED)


@every_state
@late_reports
def test_a_late_failure_of_a_claim_that_was_never_started_is_refused(
    name: str, outcome: Outcome, tell: Callable[..., Recorded]
) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    assert outcome_of(lambda: tell(state, history, lease(77))) == ("lease_lost", LOST)


@pytest.mark.parametrize("name", PUBLISHED)
@late_reports
def test_who_has_published_cannot_have_failed(
    name: str, outcome: Outcome, tell: Callable[..., Recorded]
) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    assert outcome_of(lambda: tell(state, history, held(state))) == STANDS


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_publication_that_is_reported_again_is_the_same(name: str) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    told = report_published(
        state, history, report(held(state), AFTER), replace(HERE, platform_post_id="2")
    )
    assert told == Recorded(state=state, receipt=Receipt.REPEATED)


def test_a_failure_that_turns_out_to_be_a_publication_is_one() -> None:
    failed = EVERY["failed after several attempts"]
    history = history_of(failed)
    told = report_published(failed, history, report(held(failed)), HERE)
    logged = late(5, Outcome.PUBLISHED, None, history.attempts[-1])
    assert told == settled(failed, 5, [logged], before=failed)


def test_an_attempt_does_not_end_before_it_started() -> None:
    state = EVERY["started"]
    told = report_published(state, history_of(state), report(held(state), NOW - SECOND), HERE)
    assert [each.finished_at for each in told.attempts] == [NOW]


def test_a_lease_that_was_reported_unknown_may_be_told_to_have_failed() -> None:
    state = EVERY["unknown"]
    history = replace(history_of(state), attempts=[history_of(state).attempts[0]])
    told = report_failed(state, history, report(lease(1, UUID(int=1))), REFUSED, HALFWAY)
    assert told.state is state
    assert told.receipt is Receipt.LATE
    assert history.attempts[0].failure == GONE
