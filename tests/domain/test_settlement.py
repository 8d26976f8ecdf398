"""Settlement of reported failures: counted attempts, retry times and the policies of a platform."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.attempts import Attempt, AttemptKind, Evidence, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.reports import report_failed, start_attempt
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from app.domain.settlement import (
    History,
    Receipt,
    RetryDecider,
    Transition,
    first_attempt_to_check,
    settle_duplicates,
    settle_repeated_publication,
)
from app.domain.transitions import claimed, retried
from tests.domain.attempt_histories import (
    LEASE_EXPIRED,
    NEW_ATTEMPT_ID,
    PUBLICATION,
    SECOND,
    TIMEOUT,
    current_lease,
    make_attempt,
    make_failure,
    make_history,
    new_evidence,
    published_transition,
    report_context,
    with_lost_attempt,
)
from tests.domain.destination_states import ALL_STATES, PUBLISHED, SUBMITTED
from tests.factories import NOW, published, queued

HOUR = timedelta(hours=1)
C = ErrorCategory


def counts_and_waits(
    categories: Sequence[ErrorCategory],
    *,
    state: DestinationState | None = None,
    history: History | None = None,
    random: float = 0.0,
    policies: RetryPolicies = DEFAULT_POLICIES,
    retry_after: timedelta | None = None,
) -> list[tuple[int, timedelta | None]]:
    """Fail attempts one after another; return the counted attempts and the wait after each."""
    state, history, now = state or queued(), history or History("x", [], []), NOW
    results: list[tuple[int, timedelta | None]] = []
    for category in categories:
        state = claimed(state, NEW_ATTEMPT_ID, now + HOUR)
        context = report_context(current_lease(state), now)
        start, running = start_attempt(state, history, context, worker=None, blocking_reason=None)
        transition = report_failed(
            start.state,
            replace(history, attempts=[*history.attempts, running]),
            context,
            make_failure(category, retry_after),
            RetryDecider(policies, lambda: random),
        )
        state = transition.state
        history = replace(history, attempts=[*history.attempts, *transition.attempts])
        assert state.attempts == len(history.attempts)
        wait = None if state.next_retry_at is None else state.next_retry_at - now
        results.append((state.round_attempts, wait))
        now = state.next_retry_at or now
    return results


TRANSIENT_WAITS = [(1, 15), (2, 30), (3, 60), (4, 120), (5, None)]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        *(([category] * 5, TRANSIENT_WAITS) for category in (C.TRANSIENT, C.UNCLASSIFIED)),
        *(([category], [(1, None)]) for category in (C.AUTH, C.CONTENT_REJECTED, C.PERMANENT)),
        # A rate limit is not counted, but lengthens the next wait.
        (
            [C.TRANSIENT, C.RATE_LIMITED, C.RATE_LIMITED, C.TRANSIENT],
            [(1, 15), (1, 30), (1, 60), (2, 120)],
        ),
        ([C.RATE_LIMITED] * 3, [(0, 15), (0, 30), (0, 60)]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_category_decides_count_and_wait_of_each_attempt(
    categories: Sequence[ErrorCategory], expected: list[tuple[int, int | None]]
) -> None:
    assert counts_and_waits(categories) == [
        (count, None if seconds is None else seconds * SECOND) for count, seconds in expected
    ]


def test_retry_after_is_heeded_for_rate_limits_up_to_max_age() -> None:
    day = timedelta(days=1)
    waits = counts_and_waits([C.RATE_LIMITED] * 4, retry_after=day)
    assert waits == [(0, day)] * 3 + [(0, None)]
    assert counts_and_waits([C.TRANSIENT], retry_after=HOUR, random=0.999) == [(1, 29.985 * SECOND)]


def test_manual_retry_restarts_limits_and_waits() -> None:
    failed = ALL_STATES["failed after several attempts"]
    history = make_history(failed)
    earlier = [replace(a, started_at=a.started_at - HOUR) for a in history.attempts]
    assert counts_and_waits(
        [C.TRANSIENT], state=retried(failed, NOW), history=replace(history, attempts=earlier)
    ) == [(1, 15 * SECOND)]


def test_platform_policies_override_defaults() -> None:
    policies = RetryPolicies(
        DEFAULT_POLICIES.by_kind,
        {
            "x": {C.PERMANENT: RetryPolicy(max_attempts=2)},
            "y": {C.TRANSIENT: RetryPolicy(max_attempts=1)},
        },
    )
    assert counts_and_waits([C.PERMANENT] * 2, policies=policies) == [(1, 15 * SECOND), (2, None)]
    assert counts_and_waits([C.TRANSIENT], policies=policies) == [(1, 15 * SECOND)]


def test_unknown_outcome_does_not_lengthen_waits() -> None:
    unknown = make_attempt(1, fence=1, outcome=Outcome.UNKNOWN, failure=None)
    failed = make_attempt(2, fence=2, outcome=Outcome.FAILED, failure=make_failure(C.TRANSIENT))
    assert History("x", [unknown, failed], []).count_failures_of_round(NOW) == 1


@pytest.mark.parametrize("name", SUBMITTED)
def test_history_finds_attempts_by_fence_and_key(name: str) -> None:
    _, history, lost = with_lost_attempt(SUBMITTED[name])

    assert history.attempt_by_fence(lost.fence) is history.attempts[0]
    assert history.attempt_by_fence(99) is None
    assert history.attempt_by_key("k") is None
    assert history.has_report(lost.fence, Outcome.UNKNOWN)
    assert not history.has_report(lost.fence, Outcome.PUBLISHED)
    assert history.evidence_by_fence(lost.fence) is None
    assert any(map(history.evidence_by_fence, range(9))) == (name in PUBLISHED)
    assert history.count_failures_of_round(NOW + SECOND) == 0
    assert history.count_failures_of_round(None) == history.count_failures_of_round(NOW)


def lost(fence: int) -> Attempt:
    return make_attempt(fence, fence=fence, outcome=Outcome.UNKNOWN, failure=LEASE_EXPIRED)


def failed_at(fence: int) -> Attempt:
    return make_attempt(fence, fence=fence, outcome=Outcome.FAILED, failure=TIMEOUT)


@pytest.mark.parametrize(
    ("attempts", "fence", "expected"),
    [
        ([], 1, None),
        ([lost(1)], 1, None),
        ([failed_at(1)], 2, None),
        ([lost(1)], 2, NOW),
        ([lost(1), failed_at(2)], 3, NOW),
        ([lost(1), lost(2)], 2, NOW),
        ([replace(lost(1), started_at=NOW + SECOND), failed_at(2)], 3, NOW),
    ],
)
def test_publication_is_checked_for_duplicates_if_another_attempt_may_have_published(
    attempts: Sequence[Attempt], fence: int, expected: datetime | None
) -> None:
    history = History("x", attempts, [])
    transition = published_transition(claimed(queued(), NEW_ATTEMPT_ID, NOW), fence, [])

    assert first_attempt_to_check(history, transition, may_be_repeated=False) == expected
    started = NOW if attempts else None
    assert first_attempt_to_check(history, transition, may_be_repeated=True) == started


def test_publication_of_a_lost_attempt_is_checked_for_that_of_the_running_one() -> None:
    running = make_attempt(2, fence=2, outcome=Outcome.NONE, failure=None)
    history = History("x", [lost(1), running], [])
    ended = running.ended(Outcome.UNKNOWN, LEASE_EXPIRED, NOW)
    state = claimed(queued(), NEW_ATTEMPT_ID, NOW)

    transition = published_transition(state, 1, [ended])
    assert first_attempt_to_check(history, transition, may_be_repeated=False) == NOW


def test_duplicates_and_publications_without_id_are_not_checked() -> None:
    history = History("x", [lost(1)], [])
    duplicate = published_transition(published(), 2, [])
    first = published_transition(claimed(queued(), NEW_ATTEMPT_ID, NOW), 2, [])
    assert first.evidence is not None
    by_url = replace(PUBLICATION, platform_post_id=None)

    without_id = replace(first, evidence=replace(first.evidence, publication=by_url))
    for transition in (duplicate, without_id, Transition(state=published())):
        for may_be_repeated in (True, False):
            planned = first_attempt_to_check(history, transition, may_be_repeated=may_be_repeated)
            assert planned is None


@pytest.mark.parametrize(
    ("reported", "ids"),
    [
        (["1"], ["2", "3", "4"]),
        ([], ["1", "2", "3", "4"]),
        (["1", "2"], ["3", "4"]),
        (["1", "https://a.test/3"], ["2", "4"]),
        (["1", "2", "3"], ["4"]),
        (["1", "2", "3", "4"], []),
    ],
)
def test_unreported_publications_are_duplicates_first_of_unconfirmed_attempts(
    reported: Sequence[str], ids: Sequence[str]
) -> None:
    found = {
        id_: Publication(
            platform_post_id=id_,
            platform_post_url=f"https://a.test/{id_}",
            published_at=NOW + int(id_) * SECOND,
        )
        for id_ in ("4", "1", "3", "2")
    }
    published_by = replace(failed_at(4), started_at=NOW + SECOND, failure=None)
    attempts = [lost(1), failed_at(2), lost(3), published_by]
    history = History("x", attempts, [new_evidence(4, counted=True)])
    state = published()

    transitions = settle_duplicates(
        state,
        history,
        [*found.values()],
        reported=set(reported),
        new_id=lambda: NEW_ATTEMPT_ID,
        now=NOW,
    )

    of_unknown_attempts = [
        Transition(
            state=state,
            receipt=Receipt.DUPLICATE,
            evidence=Evidence(fence=fence, counted=False, publication=found[id_], reported_at=NOW),
        )
        for fence, id_ in zip((1, 3), ids, strict=False)
    ]
    repeated = [
        Transition(
            state=replace(state, fence=fence),
            receipt=Receipt.DUPLICATE,
            attempts=(
                Attempt(
                    id=NEW_ATTEMPT_ID,
                    kind=AttemptKind.LATE,
                    fence=fence,
                    worker=published_by.worker,
                    started_at=published_by.started_at,
                    outcome=Outcome.PUBLISHED,
                    finished_at=NOW + SECOND,
                ),
            ),
            evidence=Evidence(fence=fence, counted=False, publication=found[id_], reported_at=NOW),
        )
        for fence, id_ in enumerate(ids[2:], start=state.fence + 1)
    ]
    assert transitions == of_unknown_attempts + repeated


def place(id_: str | None, url: str | None, seconds: int = 0) -> Publication:
    return Publication(
        platform_post_id=id_, platform_post_url=url, published_at=NOW + seconds * SECOND
    )


A, B = "https://x.com/a", "https://x.com/b"
FURTHER_REPORTS: list[tuple[Publication, Publication, Publication | None]] = [
    # first report, further report, first report afterwards or None for a duplicate
    (place("1", A), place("1", A), place("1", A)),
    (place("1", A), place("1", B), place("1", A)),
    (place("1", A), place("2", A), None),
    (place("1", None), place("2", None), None),
    (place("1", A), place("1", None), place("1", A)),
    (place("1", None), place("1", B), place("1", B)),
    (place("1", A), place(None, A), place("1", A)),
    (place("1", A), place(None, B), place("1", A)),
    (place("1", None), place(None, B), place("1", B)),
    (place(None, A), place("1", A), place("1", A)),
    (place(None, A), place("1", B), place("1", A)),
    (place(None, A), place("1", None), place("1", A)),
    (place(None, A), place(None, A), place(None, A)),
    (place(None, A), place(None, B), None),
    (place(None, A), place(None, "HTTPS://X.com:443/./%61"), place(None, A)),
    (place(None, A), place(None, f"{A}/"), None),
    (place(None, A), place(None, f"{A}#comment"), None),
]


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(("first", "further", "expected"), FURTHER_REPORTS)
def test_further_report_completes_the_first_one_or_is_a_duplicate(
    first: Publication, further: Publication, expected: Publication | None, counted: bool
) -> None:
    other = place("9", "https://x.com/9")
    state = published(NOW, platform_post_id="9", platform_post_url="https://x.com/9", attempts=2)
    if counted:
        state = replace(
            state,
            platform_post_id=first.platform_post_id,
            platform_post_url=first.platform_post_url,
        )
    known = Evidence(fence=1, counted=counted, publication=first, reported_at=NOW)
    evidence = [known] if counted else [replace(known, fence=2, counted=True, publication=other)]
    attempt = make_attempt(1, fence=1, outcome=Outcome.PUBLISHED, failure=None)
    history = History("x", [attempt], [known, *evidence])
    later = NOW + HOUR

    result = settle_repeated_publication(
        state,
        history,
        known,
        replace(further, published_at=later),
        new_id=lambda: NEW_ATTEMPT_ID,
        now=later,
    )

    if expected is None:
        late = Attempt(
            id=NEW_ATTEMPT_ID,
            kind=AttemptKind.LATE,
            fence=3,
            worker="worker-1",
            started_at=NOW,
            outcome=Outcome.PUBLISHED,
            finished_at=later,
        )
        duplicate = Evidence(
            fence=3,
            counted=False,
            publication=replace(further, published_at=later),
            reported_at=later,
        )
        assert result == Transition(
            state=replace(state, fence=3),
            receipt=Receipt.DUPLICATE,
            attempts=(late,),
            evidence=duplicate,
        )
        repeated = settle_repeated_publication(
            result.state,
            history.after(result),
            known,
            further,
            new_id=lambda: NEW_ATTEMPT_ID,
            now=later,
        )
        assert repeated == Transition(state=result.state, receipt=Receipt.REPEATED)
        return
    is_completed = expected != first
    assert result == Transition(
        state=replace(
            state,
            platform_post_id=expected.platform_post_id,
            platform_post_url=expected.platform_post_url,
        )
        if counted
        else state,
        receipt=Receipt.REPEATED,
        completed_evidence=replace(known, publication=expected) if is_completed else None,
    )
    assert history.after(result).evidence_by_fence(1) == replace(known, publication=expected)


REPORTS_AFTER_A_DUPLICATE: list[tuple[Sequence[Publication], Sequence[Publication]]] = [
    # reports of one claim, the second of which is a duplicate; stored reports, the first one is counted
    ([place(None, A), place(None, B), place("2", B)], [place(None, A), place("2", B)]),
    (
        [place(None, A), place(None, B), place("1", A), place("2", B)],
        [place("1", A), place("2", B)],
    ),
    ([place("1", None), place("2", B), place(None, B)], [place("1", None), place("2", B)]),
    ([place("1", None), place("2", None), place("2", B)], [place("1", None), place("2", B)]),
    ([place("1", A), place("2", A), place("2", A)], [place("1", A), place("2", A)]),
    ([place("1", A), place("2", A), place(None, A)], [place("1", A), place("2", A)]),
    ([place("1", None), place("2", None), place(None, B)], [place("1", B), place("2", None)]),
    ([place(None, A), place(None, B), place("3", None)], [place("3", A), place(None, B)]),
]


@pytest.mark.parametrize(("reports", "stored"), REPORTS_AFTER_A_DUPLICATE)
def test_report_after_a_duplicate_completes_the_report_of_the_same_publication(
    reports: Sequence[Publication], stored: Sequence[Publication]
) -> None:
    first, *further = reports
    state = published(
        NOW, platform_post_id=first.platform_post_id, platform_post_url=first.platform_post_url
    )
    known = Evidence(fence=1, counted=True, publication=first, reported_at=NOW)
    history = History("x", [], [known])
    receipts = []
    for publication in further:
        first_report = history.evidence_by_fence(known.fence)
        assert first_report is not None
        transition = settle_repeated_publication(
            state, history, first_report, publication, new_id=lambda: NEW_ATTEMPT_ID, now=NOW
        )
        state, history = transition.state, history.after(transition)
        receipts.append(transition.receipt)

    assert receipts == [Receipt.DUPLICATE, *[Receipt.REPEATED] * (len(further) - 1)]
    assert [each.publication for each in history.evidence] == stored
    assert (state.platform_post_id, state.platform_post_url) == (
        stored[0].platform_post_id,
        stored[0].platform_post_url,
    )


def test_check_for_duplicates_is_planned_once_the_id_is_known() -> None:
    unknown = make_attempt(1, fence=1, outcome=Outcome.UNKNOWN, failure=LEASE_EXPIRED)
    attempt = make_attempt(2, fence=2, outcome=Outcome.PUBLISHED, failure=None)
    state = published(NOW, platform_post_id=None, platform_post_url=A, attempts=2)
    known = Evidence(fence=2, counted=True, publication=place(None, A), reported_at=NOW)
    history = History("x", [unknown, attempt], [known])

    def report(publication: Publication) -> datetime | None:
        nonlocal state, history
        (first,) = history.evidence
        transition = settle_repeated_publication(
            state, history, first, publication, new_id=lambda: NEW_ATTEMPT_ID, now=NOW
        )
        planned = first_attempt_to_check(history, transition, may_be_repeated=False)
        state, history = transition.state, history.after(transition)
        return planned

    assert [report(place(None, A)), report(place("1", A)), report(place("1", A))] == [
        None,
        unknown.started_at,
        None,
    ]


def test_url_of_a_publication_with_an_id_plans_no_second_check() -> None:
    unknown = make_attempt(1, fence=1, outcome=Outcome.UNKNOWN, failure=LEASE_EXPIRED)
    state = published(NOW, platform_post_id="1", platform_post_url=None, attempts=2)
    known = Evidence(fence=2, counted=True, publication=place("1", None), reported_at=NOW)
    history = History("x", [unknown], [known])

    transition = settle_repeated_publication(
        state, history, known, place("1", A), new_id=lambda: NEW_ATTEMPT_ID, now=NOW
    )

    assert transition.completed_evidence == replace(known, publication=place("1", A))
    assert first_attempt_to_check(history, transition, may_be_repeated=True) is None
