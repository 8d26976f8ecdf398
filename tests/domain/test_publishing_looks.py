"""What somebody found who looked at an unknown outcome, a worker or a person: every state and finding."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.domain.attempts import Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.endings import Receipt, Recorded, RetryRules
from app.domain.errors import LeaseLost
from app.domain.findings import Finding, reconcile, report_verified
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from tests.domain.histories import (
    DURING,
    HALFWAY,
    HERE,
    NOT_THERE,
    as_failed,
    as_published,
    as_waiting,
    history_of,
    lease,
    outcome_of,
    report,
)
from tests.domain.states import EVERY, PUBLISHED, SUBMITTED, UNKNOWN
from tests.domain.test_publishing_claims import LEASE_LOST, STARTED
from tests.domain.test_publishing_reports import overtaken, settled
from tests.factories import being_verified

every_state = pytest.mark.parametrize("name", EVERY)
VERIFIED = being_verified()


def told(
    state: DestinationState, of: Lease, finding: Finding, *, rules: RetryRules = HALFWAY
) -> Recorded | tuple[str, str]:
    where = HERE if finding is Finding.PUBLISHED else None
    return outcome_of(
        lambda: report_verified(state, history_of(state), report(of), finding, where, rules)
    )


def looking(state: DestinationState) -> Lease:
    return lease(state.fence, state.verification_token)


def test_who_looks_and_finds_it_settles_it() -> None:
    assert told(VERIFIED, looking(VERIFIED), Finding.PUBLISHED) == settled(
        VERIFIED, VERIFIED.fence, [], before=VERIFIED
    )


def test_who_looks_and_does_not_find_it_lets_it_be_tried_again_at_once() -> None:
    assert told(VERIFIED, looking(VERIFIED), Finding.NOT_PUBLISHED) == Recorded(
        state=as_waiting(VERIFIED, NOT_THERE, DURING)
    )


def test_who_looks_and_cannot_tell_lets_others_look_in_five_minutes() -> None:
    assert told(VERIFIED, looking(VERIFIED), Finding.STILL_UNKNOWN) == Recorded(
        state=replace(
            VERIFIED, verification_token=None, verifiable_at=DURING + timedelta(minutes=5)
        )
    )


SPENT = {
    "after five attempts": (replace(VERIFIED, attempts=5, round_attempts=5), True),
    "after four": (replace(VERIFIED, attempts=5, round_attempts=4), False),
    "after a day": (
        replace(VERIFIED, round_started_at=DURING - timedelta(hours=24, milliseconds=1)),
        True,
    ),
    "within a day": (replace(VERIFIED, round_started_at=DURING - timedelta(hours=24)), False),
}


@pytest.mark.parametrize(("state", "is_final"), SPENT.values(), ids=SPENT)
def test_what_was_not_found_is_not_tried_beyond_the_limits(
    state: DestinationState, is_final: bool
) -> None:
    after = (
        as_failed(state, NOT_THERE, DURING) if is_final else as_waiting(state, NOT_THERE, DURING)
    )
    assert told(state, looking(state), Finding.NOT_PUBLISHED) == Recorded(state=after)


def test_the_limits_are_those_of_unclassified_failures_on_the_platform() -> None:
    once = {"x": {ErrorCategory.UNCLASSIFIED: RetryPolicy(max_attempts=1)}}
    rules = RetryRules(RetryPolicies(DEFAULT_POLICIES.of_categories, once), lambda: 0.5)
    assert told(VERIFIED, looking(VERIFIED), Finding.NOT_PUBLISHED, rules=rules) == Recorded(
        state=as_failed(VERIFIED, NOT_THERE, DURING)
    )


@every_state
@pytest.mark.parametrize("fence", [0, 1, 77])
def test_who_looks_no_more_finds_only_what_is_published(name: str, fence: int) -> None:
    """Which is kept, but for the claim of which it is known."""
    state, history = EVERY[name], history_of(EVERY[name])
    stale = lease(fence, UUID(int=0x71))
    for finding in (Finding.NOT_PUBLISHED, Finding.STILL_UNKNOWN):
        assert told(state, stale, finding) == LEASE_LOST

    found = told(state, stale, Finding.PUBLISHED)

    if name == "draft":
        assert found == LEASE_LOST
    elif history.is_evident(fence):
        assert found == Recorded(state=state, receipt=Receipt.REPEATED)
    else:
        log = overtaken(history)
        assert found == settled(state, fence, log, before=state)
        assert len(log) == (name in STARTED)


def test_a_finding_that_is_reported_again_changes_nothing() -> None:
    once = told(VERIFIED, looking(VERIFIED), Finding.PUBLISHED)
    assert isinstance(once, Recorded)
    assert once.evidence is not None
    history = replace(history_of(VERIFIED), evidence=[once.evidence])
    again = report_verified(
        once.state, history, report(looking(VERIFIED)), Finding.PUBLISHED, HERE, HALFWAY
    )
    assert again == Recorded(state=once.state, receipt=Receipt.REPEATED)

    for finding in (Finding.NOT_PUBLISHED, Finding.STILL_UNKNOWN):  # no log has these
        after = told(VERIFIED, looking(VERIFIED), finding)
        assert isinstance(after, Recorded)
        assert told(after.state, looking(VERIFIED), finding) == LEASE_LOST


def test_a_look_that_took_too_long_says_nothing_but_where_the_post_is() -> None:
    assert VERIFIED.verifiable_at is not None
    late = report(looking(VERIFIED), VERIFIED.verifiable_at)
    history = history_of(VERIFIED)
    for finding in (Finding.STILL_UNKNOWN, Finding.NOT_PUBLISHED):
        with pytest.raises(LeaseLost):
            report_verified(VERIFIED, history, late, finding, None, HALFWAY)
    recorded = report_verified(VERIFIED, history, late, Finding.PUBLISHED, HERE, HALFWAY)
    assert recorded.state == as_published(VERIFIED, HERE, late.now)


@pytest.mark.parametrize("finding", Finding)
def test_a_place_goes_with_what_is_published_and_with_nothing_else(finding: Finding) -> None:
    where: Publication | None = None if finding is Finding.PUBLISHED else HERE
    with pytest.raises(ValueError, match="a place goes with what is published"):
        report_verified(
            VERIFIED, history_of(VERIFIED), report(looking(VERIFIED)), finding, where, HALFWAY
        )


@every_state
def test_a_person_settles_only_what_is_unknown(name: str) -> None:
    state = EVERY[name]
    published = outcome_of(lambda: reconcile(state, HERE, DURING))
    missing = outcome_of(lambda: reconcile(state, None, DURING))

    if name in UNKNOWN:
        assert published == settled(state, state.fence, [], before=state)
        assert missing == Recorded(state=as_failed(state, NOT_THERE, DURING))
    else:
        assert (published, missing) == (
            (
                "conflict",
                "Only an unknown outcome can be reconciled;"
                f" this destination is {state.status.value}.",
            ),
        ) * 2


def test_unknown_are_exactly_the_states_in_that_group() -> None:
    unknown = [name for name, state in EVERY.items() if state.outcome is Outcome.UNKNOWN]
    assert unknown == list(UNKNOWN)
    assert [name for name in SUBMITTED if EVERY[name].published_at] == list(PUBLISHED)
