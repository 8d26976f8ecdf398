"""Manual retries: every state, account and `force` is retried or refused for a reason."""

from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounts import Account
from app.domain.errors import Conflict
from app.domain.ids import AccountId, DestinationId
from app.domain.manual_retries import RetryRefusal, retry_destinations, retry_post, retry_refusal
from app.domain.posts import Post
from app.domain.transitions import retried
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
from tests.domain.errors import expect_error, input_error
from tests.factories import NOW

ACCOUNT_STATES = {
    "usable": (make_account(1), True),
    "token expires soon": (make_account(1, token_expires_at=NOW.replace(hour=16)), True),
    "inactive": (make_account(1, is_active=False), False),
    "needs reconnection": (make_account(1, needs_reconnection_since=NOW), False),
    "token expired": (make_account(1, token_expires_at=NOW), False),
}
FAILED_STATE = FAILED["failed as transient"]


def expected_refusal(name: str, *, can_post: bool = True, force: bool = False) -> str | None:
    if name in PUBLISHED:
        return "already_published"
    if name in PUBLISHING:
        return "in_flight"
    if name in UNKNOWN and not force:
        return "outcome_unknown"
    if name in FAILED or name in UNKNOWN:
        return None if can_post else "account_needs_reconnection"
    return "not_failed"


@pytest.mark.parametrize(("account", "can_post"), ACCOUNT_STATES.values(), ids=ACCOUNT_STATES)
@pytest.mark.parametrize("force", [False, True])
def test_every_state_is_retried_or_refused(account: Account, can_post: bool, force: bool) -> None:
    for name, state in ALL_STATES.items():
        decisive = (state.status, state.outcome, account.access)
        refusal = retry_refusal(*decisive, is_imported=False, force=force, now=NOW)
        assert refusal == expected_refusal(name, can_post=can_post, force=force), name
        refusal = retry_refusal(*decisive, is_imported=True, force=force, now=NOW)
        assert refusal is RetryRefusal.IMPORTED


def test_every_refusal_has_a_fix() -> None:
    assert all(refusal.fix.endswith(".") for refusal in RetryRefusal)


def test_retry_queues_all_retryable_destinations_of_any_two() -> None:
    for names in product(SUBMITTED, repeat=2):
        before = make_post([SUBMITTED[name] for name in names])

        after, decisions = retry_post(before, ACCOUNTS, account_ids=None, force=False, now=NOW)

        refusals = [expected_refusal(name) for name in names]
        assert [decision.refusal for decision in decisions] == refusals
        assert tuple(decision.destination for decision in decisions) == after.destinations
        if all(refusals):
            assert after is before
            continue
        destinations = tuple(
            d if refusal else replace(d, state=retried(d.state, NOW), updated_at=NOW)
            for d, refusal in zip(before.destinations, refusals, strict=True)
        )
        assert after == replace(
            before, version=before.version + 1, updated_at=NOW, destinations=destinations
        ), names


def test_only_destinations_on_given_accounts_are_retried() -> None:
    before = make_post([FAILED_STATE] * 3)
    after, decisions = retry_post(
        before, ACCOUNTS, account_ids=[AccountId(2)], force=False, now=NOW
    )
    assert [decision.destination.account_id for decision in decisions] == [2]
    assert [d.state.status for d in after.destinations] == ["failed", "queued", "failed"]
    assert retry_post(before, ACCOUNTS, account_ids=[], force=False, now=NOW) == (before, [])


def test_only_chosen_destinations_are_retried() -> None:
    before = make_post([FAILED_STATE] * 3)
    chosen = {before.destinations[1].id, DestinationId(UUID(int=77))}
    accounts = {AccountId(2): ACCOUNTS[AccountId(2)]}

    after, decisions = retry_destinations(before, accounts, chosen, force=False, now=NOW)

    assert [decision.destination.account_id for decision in decisions] == [2]
    assert [d.state.status for d in after.destinations] == ["failed", "queued", "failed"]


def test_imported_post_is_not_retried() -> None:
    imported = make_post([FAILED_STATE], imported_at=NOW)
    error = expect_error(
        Conflict, retry_post, imported, ACCOUNTS, account_ids=None, force=True, now=NOW
    )
    assert error.message == "The post was imported: retry it in the service that publishes it."


def test_account_without_destination_is_rejected() -> None:
    account_ids = [AccountId(9), AccountId(7)]
    assert input_error(
        retry_post,
        make_post([FAILED_STATE]),
        ACCOUNTS,
        account_ids=account_ids,
        force=True,
        now=NOW,
    ) == ("accountIds", "The post does not go to account 7.")


@given(post_strategy(), st.booleans())
def test_repeated_retry_changes_nothing(before: Post, force: bool) -> None:
    once, _ = retry_post(before, ACCOUNTS, account_ids=None, force=force, now=NOW)
    twice, decisions = retry_post(once, ACCOUNTS, account_ids=None, force=force, now=NOW)

    assert twice is once
    assert None not in [decision.refusal for decision in decisions]
    assert once.version == before.version + (once is not before)
