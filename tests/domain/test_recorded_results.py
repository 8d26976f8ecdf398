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
from tests.domain.test_attempt_starts import LEASED_STATES, STARTED
from tests.domain.test_reports import REJECTED_MESSAGE, expected_evidence, superseded_attempts

all_states = pytest.mark.parametrize("name", ALL_STATES)
LEASED_ERROR = (
    "leased",
    "Another publisher holds this destination. Try again when its lease has ended.",
)
STARTED_AT = AFTER_LEASE - SECOND
DRAFT_ERROR = ("conflict", "The post is a draft. Schedule it before you publish it.")


def external_attempt(told: Publication | Failure, key: str = "job-1") -> ExternalAttempt:
    outcome = Outcome.FAILED if isinstance(told, Failure) else Outcome.PUBLISHED
    return ExternalAttempt(
        attempt_key=key, worker="cron", started_at=STARTED_AT, outcome=outcome, details=told
    )


def record_outcome(
    state: DestinationState, history: History, of: ExternalAttempt, now: datetime = AFTER_LEASE
) -> Transition | tuple[str, str]:
    return result_or_error(
        lambda: record_external_attempt(
            state, history, of, RETRY_CONTEXT, new_id=lambda: NEW_ATTEMPT_ID, now=now
        )
    )


def expected_attempt(
    state: DestinationState, outcome: Outcome, failure: Failure | None, *, number: int | None
) -> Attempt:
    return Attempt(
        id=NEW_ATTEMPT_ID,
        kind=AttemptKind.LATE if number is None else AttemptKind.REGULAR,
        number=number,
        fence=state.fence + 1,
        attempt_key="job-1",
        worker="cron",
        started_at=STARTED_AT,
        outcome=outcome,
        failure=failure,
        finished_at=AFTER_LEASE,
    )


def expected_counted(state: DestinationState) -> DestinationState:
    return replace(
        state,
        fence=state.fence + 1,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


def expected_ended(history: History) -> list[Attempt]:
    return [replace(each, finished_at=AFTER_LEASE) for each in superseded_attempts(history)]


@all_states
def test_a_publication_is_recorded_unless_somebody_holds_the_destination(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = record_outcome(state, history, external_attempt(PUBLICATION))

    if name == "draft":
        assert told == DRAFT_ERROR
    elif name in PUBLISHED:
        assert told == Transition(
            state=replace(state, fence=state.fence + 1),
            receipt=Receipt.DUPLICATE,
            attempts=(expected_attempt(state, Outcome.PUBLISHED, None, number=None),),
            evidence=replace(
                expected_evidence(state.fence + 1, counted=False), reported_at=AFTER_LEASE
            ),
        )
    else:
        own = expected_attempt(state, Outcome.PUBLISHED, None, number=state.attempts + 1)
        assert told == Transition(
            state=published_state(expected_counted(state), PUBLICATION, AFTER_LEASE),
            attempts=(*expected_ended(history), own),
            evidence=replace(
                expected_evidence(state.fence + 1, counted=True), reported_at=AFTER_LEASE
            ),
        )
    held = record_outcome(state, history, external_attempt(PUBLICATION), DURING_LEASE)
    assert (held == LEASED_ERROR) == (name in LEASED_STATES)


@all_states
@pytest.mark.parametrize("failure", [TIMEOUT, REJECTED_MESSAGE], ids=["for now", "for good"])
def test_a_failure_is_recorded_of_what_has_not_ended(name: str, failure: Failure) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    told = record_outcome(state, history, external_attempt(failure))

    if name == "draft":
        assert told == DRAFT_ERROR
    elif state.status.is_final:
        known_as = "of unknown outcome" if name in UNKNOWN else state.status.value
        assert told == (
            "conflict",
            f"The destination is {known_as}; a failure can no longer be recorded.",
        )
    else:
        before = expected_counted(state)
        is_spent = failure is REJECTED_MESSAGE or before.round_attempts >= 5
        since = state.round_started_at
        earlier = [each for each in history.attempts if each.outcome is Outcome.FAILED]
        failures = 1 + sum(since is not None and each.started_at >= since for each in earlier)
        until = AFTER_LEASE + 15 * 2 ** (failures - 1) * SECOND
        own = expected_attempt(state, Outcome.FAILED, failure, number=state.attempts + 1)
        assert told == Transition(
            state=failed_state(before, failure, AFTER_LEASE)
            if is_spent
            # Elsewhere it may have been tried before its time; here it is not.
            else retrying_state(before, failure, max(until, state.due_at or until)),
            attempts=(*expected_ended(history), own),
        )
        assert len(expected_ended(history)) == (name in STARTED)
    held = record_outcome(state, history, external_attempt(failure), DURING_LEASE)
    assert (held == LEASED_ERROR) == (name in LEASED_STATES)


@all_states
@pytest.mark.parametrize("told", [PUBLICATION, TIMEOUT], ids=["published", "failed"])
def test_an_attempt_that_is_known_is_not_recorded_again(
    name: str, told: Publication | Failure
) -> None:
    state = ALL_STATES[name]
    outcome = Outcome.PUBLISHED if told is PUBLICATION else Outcome.FAILED
    known = replace(expected_attempt(state, outcome, None, number=1), fence=1)
    history = replace(make_history(state), attempts=[known])
    other = TIMEOUT if told is PUBLICATION else PUBLICATION

    for now in (DURING_LEASE, AFTER_LEASE):
        assert record_outcome(state, history, external_attempt(told), now) == Transition(
            state=state, receipt=Receipt.REPEATED
        )
        assert record_outcome(state, history, external_attempt(other), now) == (
            "conflict",
            f"The attempt with this attemptKey is on record as {outcome.value} already.",
        )


def test_another_key_is_another_attempt() -> None:
    state = ALL_STATES["queued"]
    once = record_outcome(state, History("x", [], []), external_attempt(TIMEOUT, "a"))
    assert isinstance(once, Transition)
    twice = record_outcome(
        once.state, History("x", once.attempts, []), external_attempt(PUBLICATION, "b")
    )
    assert isinstance(twice, Transition)
    assert (twice.state.attempts, twice.state.fence) == (2, 2)
    assert [each.number for each in (*once.attempts, *twice.attempts)] == [1, 2]


def test_an_attempt_that_began_in_the_publishers_future_does_not_end_before() -> None:
    ahead = replace(external_attempt(PUBLICATION), started_at=AFTER_LEASE + timedelta(minutes=1))
    told = record_outcome(ALL_STATES["queued"], History("x", [], []), ahead)
    assert isinstance(told, Transition)
    assert [each.finished_at for each in told.attempts] == [AFTER_LEASE + timedelta(minutes=1)]


def test_a_recorded_result_has_the_id_that_was_made_for_it() -> None:
    told = record_outcome(ALL_STATES["queued"], History("x", [], []), external_attempt(PUBLICATION))
    assert isinstance(told, Transition)
    assert [each.id for each in told.attempts] == [UUID(int=0xABC)]


@pytest.mark.parametrize("name", ["waiting", "retried by hand", "waiting after several failures"])
def test_what_failed_before_another_attempt_began_is_only_logged(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    older = replace(
        external_attempt(REJECTED_MESSAGE), started_at=history.attempts[-1].started_at - SECOND
    )

    assert record_outcome(state, history, older) == Transition(
        state=replace(state, fence=state.fence + 1),
        receipt=Receipt.LATE,
        attempts=(
            replace(
                expected_attempt(state, Outcome.FAILED, REJECTED_MESSAGE, number=None),
                started_at=older.started_at,
            ),
        ),
    )


def test_a_result_that_its_publisher_does_not_know_is_looked_at_first() -> None:
    state = ALL_STATES["waiting"]
    guess = replace(external_attempt(TIMEOUT), outcome=Outcome.UNKNOWN)
    failure = replace(TIMEOUT, category=ErrorCategory.UNCLASSIFIED, code="OUTCOME_UNKNOWN")

    told = record_outcome(state, make_history(state), guess)

    assert told == Transition(
        state=unknown(expected_counted(state), failure, AFTER_LEASE),
        attempts=(expected_attempt(state, Outcome.UNKNOWN, failure, number=state.attempts + 1),),
    )


def test_a_publisher_may_find_later_where_its_attempt_has_published() -> None:
    state = ALL_STATES["waiting"]
    first = record_outcome(
        state, make_history(state), replace(external_attempt(TIMEOUT), outcome=Outcome.UNKNOWN)
    )
    assert isinstance(first, Transition)
    history = replace(
        make_history(state), attempts=[*make_history(state).attempts, *first.attempts]
    )

    found = record_outcome(first.state, history, external_attempt(PUBLICATION))

    seen = replace(expected_evidence(first.state.fence, counted=True), reported_at=AFTER_LEASE)
    assert found == Transition(
        state=published_state(first.state, PUBLICATION, AFTER_LEASE), evidence=seen
    )
    assert isinstance(found, Transition)
    known = replace(history, evidence=[seen])
    assert record_outcome(found.state, known, external_attempt(PUBLICATION)) == Transition(
        state=found.state, receipt=Receipt.REPEATED
    )
    assert record_outcome(first.state, history, external_attempt(REJECTED_MESSAGE)) == (
        "conflict",
        "The attempt with this attemptKey is on record as unknown already.",
    )
