"""What a publisher with its own queue says of each state: recorded once, refused, or one too many."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.domain.attempts import Attempt, AttemptKind, Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.settlement import History, Receipt, Transition
from app.domain.transitions import unknown
from app.domain.verification import ExternalAttempt, record_external_attempt
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    NEW_ATTEMPT_ID,
    PUBLICATION,
    RETRY_CONTEXT,
    SECOND,
    TIMEOUT,
    failed_state,
    make_history,
    published_state,
    result_or_error,
    retrying_state,
)
from tests.domain.destination_states import ALL_STATES, PUBLISHED, UNKNOWN
from tests.domain.test_attempt_starts import LEASED, STARTED
from tests.domain.test_reports import REFUSED, evidence, overtaken

every_state = pytest.mark.parametrize("name", ALL_STATES)
LEASED_ERROR = (
    "leased",
    "Another publisher holds this destination. Try again when its lease has ended.",
)
BEGAN = AFTER_LEASE - SECOND
DRAFT_ERROR = ("conflict", "The post is a draft. Schedule it before you publish it.")


def result(told: Publication | Failure, key: str = "job-1") -> ExternalAttempt:
    outcome = Outcome.FAILED if isinstance(told, Failure) else Outcome.PUBLISHED
    return ExternalAttempt(
        attempt_key=key, worker="cron", started_at=BEGAN, outcome=outcome, details=told
    )


def recorded(
    state: DestinationState, history: History, of: ExternalAttempt, now: datetime = AFTER_LEASE
) -> Transition | tuple[str, str]:
    return result_or_error(
        lambda: record_external_attempt(
            state, history, of, RETRY_CONTEXT, new_id=lambda: NEW_ATTEMPT_ID, now=now
        )
    )


def logged(
    state: DestinationState, outcome: Outcome, failure: Failure | None, *, number: int | None
) -> Attempt:
    return Attempt(
        id=NEW_ATTEMPT_ID,
        kind=AttemptKind.LATE if number is None else AttemptKind.REGULAR,
        number=number,
        fence=state.fence + 1,
        attempt_key="job-1",
        worker="cron",
        started_at=BEGAN,
        outcome=outcome,
        failure=failure,
        finished_at=AFTER_LEASE,
    )


def counted(state: DestinationState) -> DestinationState:
    return replace(
        state,
        fence=state.fence + 1,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


def ended(history: History) -> list[Attempt]:
    return [replace(each, finished_at=AFTER_LEASE) for each in overtaken(history)]


@every_state
def test_a_publication_is_recorded_unless_somebody_holds_the_destination(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = recorded(state, history, result(PUBLICATION))

    if name == "draft":
        assert told == DRAFT_ERROR
    elif name in PUBLISHED:
        assert told == Transition(
            state=replace(state, fence=state.fence + 1),
            receipt=Receipt.DUPLICATE,
            attempts=(logged(state, Outcome.PUBLISHED, None, number=None),),
            evidence=replace(evidence(state.fence + 1, counted=False), reported_at=AFTER_LEASE),
        )
    else:
        own = logged(state, Outcome.PUBLISHED, None, number=state.attempts + 1)
        assert told == Transition(
            state=published_state(counted(state), PUBLICATION, AFTER_LEASE),
            attempts=(*ended(history), own),
            evidence=replace(evidence(state.fence + 1, counted=True), reported_at=AFTER_LEASE),
        )
    held = recorded(state, history, result(PUBLICATION), DURING_LEASE)
    assert (held == LEASED_ERROR) == (name in LEASED)


@every_state
@pytest.mark.parametrize("failure", [TIMEOUT, REFUSED], ids=["for now", "for good"])
def test_a_failure_is_recorded_of_what_has_not_ended(name: str, failure: Failure) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = recorded(state, history, result(failure))

    if name == "draft":
        assert told == DRAFT_ERROR
    elif state.status.is_final:
        known_as = "of unknown outcome" if name in UNKNOWN else state.status.value
        assert told == (
            "conflict",
            f"The destination is {known_as}; a failure cannot be recorded any more.",
        )
    else:
        before = counted(state)
        is_spent = failure is REFUSED or before.round_attempts >= 5
        since = state.round_started_at
        earlier = [each for each in history.attempts if each.outcome is Outcome.FAILED]
        failures = 1 + sum(since is not None and each.started_at >= since for each in earlier)
        until = AFTER_LEASE + 15 * 2 ** (failures - 1) * SECOND
        own = logged(state, Outcome.FAILED, failure, number=state.attempts + 1)
        assert told == Transition(
            state=failed_state(before, failure, AFTER_LEASE)
            if is_spent
            # Elsewhere it may have been tried before its time; here it is not.
            else retrying_state(before, failure, max(until, state.due_at or until)),
            attempts=(*ended(history), own),
        )
        assert len(ended(history)) == (name in STARTED)
    held = recorded(state, history, result(failure), DURING_LEASE)
    assert (held == LEASED_ERROR) == (name in LEASED)


@every_state
@pytest.mark.parametrize("told", [PUBLICATION, TIMEOUT], ids=["published", "failed"])
def test_an_attempt_that_is_known_is_not_recorded_again(
    name: str, told: Publication | Failure
) -> None:
    state = ALL_STATES[name]
    outcome = Outcome.PUBLISHED if told is PUBLICATION else Outcome.FAILED
    known = replace(logged(state, outcome, None, number=1), fence=1)
    history = replace(make_history(state), attempts=[known])
    other = TIMEOUT if told is PUBLICATION else PUBLICATION

    for now in (DURING_LEASE, AFTER_LEASE):
        assert recorded(state, history, result(told), now) == Transition(
            state=state, receipt=Receipt.REPEATED
        )
        assert recorded(state, history, result(other), now) == (
            "conflict",
            f"The attempt with this attemptKey is on record as {outcome.value} already.",
        )


def test_another_key_is_another_attempt() -> None:
    state = ALL_STATES["queued"]
    once = recorded(state, History("x", [], []), result(TIMEOUT, "a"))
    assert isinstance(once, Transition)
    twice = recorded(once.state, History("x", once.attempts, []), result(PUBLICATION, "b"))
    assert isinstance(twice, Transition)
    assert (twice.state.attempts, twice.state.fence) == (2, 2)
    assert [each.number for each in (*once.attempts, *twice.attempts)] == [1, 2]


def test_an_attempt_that_began_in_the_publishers_future_does_not_end_before() -> None:
    ahead = replace(result(PUBLICATION), started_at=AFTER_LEASE + timedelta(minutes=1))
    told = recorded(ALL_STATES["queued"], History("x", [], []), ahead)
    assert isinstance(told, Transition)
    assert [each.finished_at for each in told.attempts] == [AFTER_LEASE + timedelta(minutes=1)]


def test_a_recorded_result_has_the_id_that_was_made_for_it() -> None:
    told = recorded(ALL_STATES["queued"], History("x", [], []), result(PUBLICATION))
    assert isinstance(told, Transition)
    assert [each.id for each in told.attempts] == [UUID(int=0xABC)]


@pytest.mark.parametrize("name", ["waiting", "retried by hand", "waiting after several failures"])
def test_what_failed_before_another_attempt_began_is_only_logged(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    older = replace(result(REFUSED), started_at=history.attempts[-1].started_at - SECOND)

    assert recorded(state, history, older) == Transition(
        state=replace(state, fence=state.fence + 1),
        receipt=Receipt.LATE,
        attempts=(
            replace(
                logged(state, Outcome.FAILED, REFUSED, number=None), started_at=older.started_at
            ),
        ),
    )


def test_a_result_that_its_publisher_does_not_know_is_looked_at_first() -> None:
    state = ALL_STATES["waiting"]
    guess = replace(result(TIMEOUT), outcome=Outcome.UNKNOWN)
    failure = replace(TIMEOUT, category=ErrorCategory.UNCLASSIFIED, code="OUTCOME_UNKNOWN")

    told = recorded(state, make_history(state), guess)

    assert told == Transition(
        state=unknown(counted(state), failure, AFTER_LEASE),
        attempts=(logged(state, Outcome.UNKNOWN, failure, number=state.attempts + 1),),
    )


def test_a_publisher_may_find_later_where_its_attempt_has_published() -> None:
    state = ALL_STATES["waiting"]
    first = recorded(state, make_history(state), replace(result(TIMEOUT), outcome=Outcome.UNKNOWN))
    assert isinstance(first, Transition)
    history = replace(
        make_history(state), attempts=[*make_history(state).attempts, *first.attempts]
    )

    found = recorded(first.state, history, result(PUBLICATION))

    seen = replace(evidence(first.state.fence, counted=True), reported_at=AFTER_LEASE)
    assert found == Transition(
        state=published_state(first.state, PUBLICATION, AFTER_LEASE), evidence=seen
    )
    assert isinstance(found, Transition)
    known = replace(history, evidence=[seen])
    assert recorded(found.state, known, result(PUBLICATION)) == Transition(
        state=found.state, receipt=Receipt.REPEATED
    )
    assert recorded(first.state, history, result(REFUSED)) == (
        "conflict",
        "The attempt with this attemptKey is on record as unknown already.",
    )
