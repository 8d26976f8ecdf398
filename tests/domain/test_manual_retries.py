"""Which destinations are retried by hand, and why the others not: every state, account and force."""

from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounts import Account
from app.domain.destinations import DestinationState
from app.domain.errors import Conflict, ErrorCode, InvalidInput
from app.domain.ids import AccountId, DestinationId
from app.domain.manual_retries import RetryRefusal, retry_destinations, retry_post, retry_refusal
from app.domain.posts import Post
from tests.domain.destination_states import (
    ACCOUNTS,
    ALL_STATES,
    FAILED,
    PUBLISHED,
    PUBLISHING,
    SUBMITTED,
    UNKNOWN,
    make_account,
    make_post,
    post_strategy,
)
from tests.factories import NOW

ACCOUNT_STATES = {
    "can post": (make_account(1), True),
    "has a token that expires soon": (make_account(1, token_expires_at=NOW.replace(hour=16)), True),
    "is switched off": (make_account(1, is_active=False), False),
    "needs reconnection": (make_account(1, needs_reconnection_since=NOW), False),
    "has an expired token": (make_account(1, token_expires_at=NOW), False),
}


def expected_refusal(name: str, can_post: bool, force: bool) -> str | None:
    if name in PUBLISHED:
        return "already_published"
    if name in PUBLISHING:
        return "in_flight"
    if name in UNKNOWN and not force:
        return "outcome_unknown"
    if name in FAILED or name in UNKNOWN:
        return None if can_post else "account_needs_reconnection"
    return "not_failed"


@pytest.mark.parametrize(("of", "can_post"), ACCOUNT_STATES.values(), ids=ACCOUNT_STATES)
@pytest.mark.parametrize("name", ALL_STATES)
def test_every_state_is_retried_or_refused_with_its_reason(
    name: str, of: Account, can_post: bool
) -> None:
    for force in (False, True):
        refusal = retry_refusal(ALL_STATES[name], of, force=force, now=NOW)
        assert refusal == expected_refusal(name, can_post, force)


@pytest.mark.parametrize("refusal", RetryRefusal)
def test_every_refusal_says_what_to_do(refusal: RetryRefusal) -> None:
    assert refusal.fix.endswith(".")


def expected_retried(state: DestinationState) -> DestinationState:
    """As it must be after a retry."""
    return DestinationState(
        status=state.status.QUEUED,
        due_at=state.due_at,
        claimable_at=state.due_at,
        attempts=state.attempts,
        round_started_at=NOW,
        fence=state.fence,
    )


def test_of_any_two_whatever_may_be_is_queued_again_and_the_rest_stays() -> None:
    for names in product(SUBMITTED, repeat=2):
        before = make_post([SUBMITTED[name] for name in names])

        after, decisions = retry_post(before, ACCOUNTS, account_ids=None, force=False, now=NOW)

        expected = [expected_refusal(name, can_post=True, force=False) for name in names]
        assert [each.refusal for each in decisions] == expected
        assert tuple(each.destination for each in decisions) == after.destinations
        if all(expected):
            assert after is before
            continue
        assert after == replace(
            before,
            version=before.version + 1,
            updated_at=NOW,
            destinations=tuple(
                each
                if refusal
                else replace(each, state=expected_retried(each.state), updated_at=NOW)
                for each, refusal in zip(before.destinations, expected, strict=True)
            ),
        ), names


def test_some_accounts_alone_are_looked_at() -> None:
    before = make_post([FAILED["failed as transient"]] * 3)

    after, decisions = retry_post(
        before, ACCOUNTS, account_ids=[AccountId(2)], force=False, now=NOW
    )

    assert [each.destination.account_id for each in decisions] == [2]
    assert [each.state.status for each in after.destinations] == ["failed", "queued", "failed"]
    assert retry_post(before, ACCOUNTS, account_ids=[], force=False, now=NOW) == (before, [])


def test_only_the_chosen_are_decided_and_changed() -> None:
    before = make_post([FAILED["failed as transient"]] * 3)
    chosen = {before.destinations[1].id, DestinationId(UUID(int=77))}
    known = {AccountId(2): ACCOUNTS[AccountId(2)]}

    after, decisions = retry_destinations(before, known, chosen, force=False, now=NOW)

    assert [each.destination.account_id for each in decisions] == [2]
    assert [each.state.status for each in after.destinations] == ["failed", "queued", "failed"]


def test_an_imported_post_is_not_retried_here() -> None:
    imported = replace(make_post([FAILED["failed as transient"]]), imported_at=NOW)
    with pytest.raises(Conflict) as refused:
        retry_post(imported, ACCOUNTS, account_ids=None, force=True, now=NOW)
    assert refused.value.message == (
        "The post was imported: retry it in the service that publishes it."
    )


def test_an_account_that_the_post_does_not_go_to_is_refused() -> None:
    before = make_post([FAILED["failed as transient"]])

    with pytest.raises(InvalidInput) as refused:
        retry_post(before, ACCOUNTS, account_ids=[AccountId(9), AccountId(7)], force=True, now=NOW)

    error = refused.value
    assert (error.code, error.argument) == (ErrorCode.VALIDATION_ERROR, "accountIds")
    assert error.message == "The post does not go to account 7."


@given(post_strategy().filter(lambda post: post.imported_at is None), st.booleans())
def test_a_retry_never_makes_an_impossible_state_and_the_second_has_nothing_to_do(
    before: Post, force: bool
) -> None:
    once, _ = retry_post(before, ACCOUNTS, account_ids=None, force=force, now=NOW)
    twice, decisions = retry_post(once, ACCOUNTS, account_ids=None, force=force, now=NOW)

    assert twice is once
    assert None not in [each.refusal for each in decisions]
    assert once.version == before.version + (once is not before)
