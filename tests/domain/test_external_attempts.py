"""Attempts of publishers with their own queue: recorded once, rejected, or duplicates, for every state."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.attempts import Attempt, AttemptKind, Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.external_attempts import ExternalAttempt, record_external_attempt
from app.domain.settlement import History, Receipt, Transition
from app.domain.transitions import unknown
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    GONE,
    NEW_ATTEMPT_ID,
    PUBLICATION,
    RETRY_DECIDER,
    SECOND,
    TIMEOUT,
    ended_as_superseded,
    failed_state,
    make_history,
    new_evidence,
    published_state,
    result_or_error,
    retrying_state,
)
from tests.domain.destination_states import ALL_STATES, LEASED, PUBLISHED, STARTED, UNKNOWN

STARTED_AT = AFTER_LEASE - SECOND
NO_HISTORY = History("x", [], [])
LEASED_ERROR = (
    "leased",
    "Another publisher holds this destination. Try again when its lease has ended.",
)
DRAFT_ERROR = ("conflict", "The post is a draft. Schedule it before you publish it.")
all_states = pytest.mark.parametrize("name", ALL_STATES)


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
        failures = 1 + history.count_failures_of_round(state.round_started_at)
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
    evidence = [new_evidence(1, counted=True)] if details is PUBLICATION else []
    history = replace(make_history(state), attempts=[stored], evidence=evidence)
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
