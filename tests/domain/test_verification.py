"""What somebody found who looked at an unknown outcome, a worker or a person: every state and finding."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.domain.attempts import Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.errors import LeaseLost
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from app.domain.settlement import Receipt, RetryDecider, Transition
from app.domain.verification import VerificationFinding, reconcile, report_verified
from tests.domain.attempt_histories import (
    DURING_LEASE,
    NOT_PUBLISHED,
    PUBLICATION,
    RETRY_CONTEXT,
    failed_state,
    make_history,
    make_lease,
    published_state,
    report_context,
    result_or_error,
    retrying_state,
)
from tests.domain.destination_states import ALL_STATES, PUBLISHED, SUBMITTED, UNKNOWN
from tests.domain.test_attempt_starts import LEASE_LOST, STARTED
from tests.domain.test_reports import expected_published, superseded_attempts
from tests.factories import being_verified

all_states = pytest.mark.parametrize("name", ALL_STATES)
VERIFIED = being_verified()


def report_finding(
    state: DestinationState,
    of: Lease,
    finding: VerificationFinding,
    *,
    rules: RetryDecider = RETRY_CONTEXT,
) -> Transition | tuple[str, str]:
    where = PUBLICATION if finding is VerificationFinding.PUBLISHED else None
    return result_or_error(
        lambda: report_verified(
            state, make_history(state), report_context(of), finding, where, rules
        )
    )


def verification_lease(state: DestinationState) -> Lease:
    return make_lease(state.fence, state.verification_token)


def test_who_looks_and_finds_it_settles_it() -> None:
    assert report_finding(
        VERIFIED, verification_lease(VERIFIED), VerificationFinding.PUBLISHED
    ) == expected_published(VERIFIED, VERIFIED.fence, [], before=VERIFIED)


def test_who_looks_and_does_not_find_it_lets_it_be_tried_again_at_once() -> None:
    assert report_finding(
        VERIFIED, verification_lease(VERIFIED), VerificationFinding.NOT_PUBLISHED
    ) == Transition(state=retrying_state(VERIFIED, NOT_PUBLISHED, DURING_LEASE))


def test_who_looks_and_cannot_tell_lets_others_look_in_five_minutes() -> None:
    assert report_finding(
        VERIFIED, verification_lease(VERIFIED), VerificationFinding.STILL_UNKNOWN
    ) == Transition(
        state=replace(
            VERIFIED, verification_token=None, verifiable_at=DURING_LEASE + timedelta(minutes=5)
        )
    )


SPENT_ATTEMPTS = {
    "after five attempts": (replace(VERIFIED, attempts=5, round_attempts=5), True),
    "after four": (replace(VERIFIED, attempts=5, round_attempts=4), False),
    "after a day": (
        replace(VERIFIED, round_started_at=DURING_LEASE - timedelta(hours=24, milliseconds=1)),
        True,
    ),
    "within a day": (replace(VERIFIED, round_started_at=DURING_LEASE - timedelta(hours=24)), False),
}


@pytest.mark.parametrize(("state", "is_final"), SPENT_ATTEMPTS.values(), ids=SPENT_ATTEMPTS)
def test_what_was_not_found_is_not_tried_beyond_the_limits(
    state: DestinationState, is_final: bool
) -> None:
    after = (
        failed_state(state, NOT_PUBLISHED, DURING_LEASE)
        if is_final
        else retrying_state(state, NOT_PUBLISHED, DURING_LEASE)
    )
    assert report_finding(
        state, verification_lease(state), VerificationFinding.NOT_PUBLISHED
    ) == Transition(state=after)


def test_the_limits_are_those_of_unclassified_failures_on_the_platform() -> None:
    once = {"x": {ErrorCategory.UNCLASSIFIED: RetryPolicy(max_attempts=1)}}
    rules = RetryDecider(RetryPolicies(DEFAULT_POLICIES.by_category, once), lambda: 0.5)
    assert report_finding(
        VERIFIED, verification_lease(VERIFIED), VerificationFinding.NOT_PUBLISHED, rules=rules
    ) == Transition(state=failed_state(VERIFIED, NOT_PUBLISHED, DURING_LEASE))


@all_states
@pytest.mark.parametrize("fence", [0, 1, 77])
def test_who_looks_no_more_finds_only_what_is_published(name: str, fence: int) -> None:
    """Which is kept, but for the claim of which it is known."""
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    stale = make_lease(fence, UUID(int=0x71))
    for finding in (VerificationFinding.NOT_PUBLISHED, VerificationFinding.STILL_UNKNOWN):
        assert report_finding(state, stale, finding) == LEASE_LOST

    found = report_finding(state, stale, VerificationFinding.PUBLISHED)

    if name == "draft":
        assert found == LEASE_LOST
    elif history.has_publication(fence):
        assert found == Transition(state=state, receipt=Receipt.REPEATED)
    else:
        log = superseded_attempts(history)
        assert found == expected_published(state, fence, log, before=state)
        assert len(log) == (name in STARTED)


def test_a_finding_that_is_reported_again_changes_nothing() -> None:
    once = report_finding(VERIFIED, verification_lease(VERIFIED), VerificationFinding.PUBLISHED)
    assert isinstance(once, Transition)
    assert once.evidence is not None
    history = replace(make_history(VERIFIED), evidence=[once.evidence])
    again = report_verified(
        once.state,
        history,
        report_context(verification_lease(VERIFIED)),
        VerificationFinding.PUBLISHED,
        PUBLICATION,
        RETRY_CONTEXT,
    )
    assert again == Transition(state=once.state, receipt=Receipt.REPEATED)

    for finding in (
        VerificationFinding.NOT_PUBLISHED,
        VerificationFinding.STILL_UNKNOWN,
    ):  # no log has these
        after = report_finding(VERIFIED, verification_lease(VERIFIED), finding)
        assert isinstance(after, Transition)
        assert report_finding(after.state, verification_lease(VERIFIED), finding) == LEASE_LOST


def test_a_look_that_took_too_long_says_nothing_but_where_the_post_is() -> None:
    assert VERIFIED.verifiable_at is not None
    late = report_context(verification_lease(VERIFIED), VERIFIED.verifiable_at)
    history = make_history(VERIFIED)
    for finding in (VerificationFinding.STILL_UNKNOWN, VerificationFinding.NOT_PUBLISHED):
        with pytest.raises(LeaseLost):
            report_verified(VERIFIED, history, late, finding, None, RETRY_CONTEXT)
    recorded = report_verified(
        VERIFIED, history, late, VerificationFinding.PUBLISHED, PUBLICATION, RETRY_CONTEXT
    )
    assert recorded.state == published_state(VERIFIED, PUBLICATION, late.now)


@pytest.mark.parametrize("finding", VerificationFinding)
def test_a_place_goes_with_what_is_published_and_with_nothing_else(
    finding: VerificationFinding,
) -> None:
    where: Publication | None = None if finding is VerificationFinding.PUBLISHED else PUBLICATION
    with pytest.raises(ValueError, match="a publication is required for, and only for, PUBLISHED"):
        report_verified(
            VERIFIED,
            make_history(VERIFIED),
            report_context(verification_lease(VERIFIED)),
            finding,
            where,
            RETRY_CONTEXT,
        )


@all_states
def test_a_person_settles_only_what_is_unknown(name: str) -> None:
    state = ALL_STATES[name]
    published = result_or_error(lambda: reconcile(state, PUBLICATION, DURING_LEASE))
    missing = result_or_error(lambda: reconcile(state, None, DURING_LEASE))

    if name in UNKNOWN:
        assert published == expected_published(state, state.fence, [], before=state)
        assert missing == Transition(state=failed_state(state, NOT_PUBLISHED, DURING_LEASE))
    else:
        assert (published, missing) == (
            (
                "conflict",
                "Only an unknown outcome can be reconciled;"
                f" this destination is {state.status.value}.",
            ),
        ) * 2


def test_unknown_are_exactly_the_states_in_that_group() -> None:
    unknown = [name for name, state in ALL_STATES.items() if state.outcome is Outcome.UNKNOWN]
    assert unknown == list(UNKNOWN)
    assert [name for name in SUBMITTED if ALL_STATES[name].published_at] == list(PUBLISHED)
