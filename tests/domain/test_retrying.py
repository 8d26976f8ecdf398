"""Manual retries: which destinations may be retried by hand, and what becomes of a post."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.domain.accounts import Account
from app.domain.destinations import Destination, DestinationState, DestinationStatus, Outcome
from app.domain.errors import Conflict, InvalidInput
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import Post
from app.domain.retrying import (
    RetryRefusal,
    retry_destinations,
    retry_post,
    retry_refusal,
)
from tests.factories import (
    NOW,
    being_verified,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

LATER = NOW + timedelta(hours=30)

STATES: dict[str, tuple[DestinationState, RetryRefusal | None, RetryRefusal | None]] = {
    "draft": (draft(), RetryRefusal.NOT_FAILED, RetryRefusal.NOT_FAILED),
    "queued": (queued(), RetryRefusal.NOT_FAILED, RetryRefusal.NOT_FAILED),
    "waiting": (waiting_for_retry(), RetryRefusal.NOT_FAILED, RetryRefusal.NOT_FAILED),
    "claimed": (claimed(), RetryRefusal.IN_FLIGHT, RetryRefusal.IN_FLIGHT),
    "started": (started(), RetryRefusal.IN_FLIGHT, RetryRefusal.IN_FLIGHT),
    "published": (published(), RetryRefusal.ALREADY_PUBLISHED, RetryRefusal.ALREADY_PUBLISHED),
    "failed": (failed(), None, None),
    "unknown": (unknown(), RetryRefusal.OUTCOME_UNKNOWN, None),
    "being verified": (being_verified(), RetryRefusal.OUTCOME_UNKNOWN, None),
}
"""Each with the refusal of a retry, and of a forced one."""


def account(number: int) -> Account:
    return Account(
        id=AccountId(number),
        platform="x",
        account_name=None,
        display_name=None,
        platform_user_id=None,
        platform_username=None,
        avatar_url=None,
        is_active=True,
        needs_reconnection_since=None,
        token_expires_at=None,
        token_refreshed_at=None,
        connected_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )


ACCOUNTS = {AccountId(number): account(number) for number in range(1, 4)}


def post_in(*states: DestinationState) -> Post:
    destinations = tuple(
        Destination(
            id=DestinationId(UUID(int=number)),
            account_id=AccountId(number),
            platform="x",
            position=number - 1,
            state=state,
            created_at=NOW,
            updated_at=NOW,
        )
        for number, state in enumerate(states, start=1)
    )
    return Post(
        id=PostId(UUID(int=99)),
        content="Sale",
        is_draft=False,
        submitted_now=False,
        scheduled_for=NOW,
        timezone=None,
        media_ids=[],
        media=[],
        platform_content={},
        reference=None,
        version=1,
        deleted_at=None,
        imported_at=None,
        created_at=NOW,
        updated_at=NOW,
        destinations=destinations,
    )


@pytest.mark.parametrize("name", STATES)
def test_each_state_is_retried_or_refused(name: str) -> None:
    state, refused, refused_by_force = STATES[name]
    found = [
        retry_refusal(state, ACCOUNTS[AccountId(1)], force=force, now=NOW)
        for force in (False, True)
    ]
    assert found == [refused, refused_by_force]


@pytest.mark.parametrize(
    "broken",
    [
        lambda each: replace(each, is_active=False),
        lambda each: replace(each, needs_reconnection_since=NOW),
        lambda each: replace(each, token_expires_at=NOW),
    ],
)
def test_what_could_be_retried_waits_for_its_account(broken: Callable[[Account], Account]) -> None:
    without_access = broken(account(1))
    for state, _, refused in STATES.values():
        expected = refused or RetryRefusal.ACCOUNT_NEEDS_RECONNECTION
        assert retry_refusal(state, without_access, force=True, now=NOW) is expected
    expires_later = replace(account(1), token_expires_at=NOW + timedelta(milliseconds=1))
    assert retry_refusal(failed(), expires_later, force=False, now=NOW) is None


def test_every_refusal_has_a_fix() -> None:
    assert all(each.fix.endswith(".") for each in RetryRefusal)


def test_a_retry_begins_a_round_and_keeps_the_due_time_and_the_attempts() -> None:
    state = failed(attempts=5)
    post, (decision,) = retry_post(post_in(state), ACCOUNTS, only=None, force=False, now=LATER)
    assert decision.refusal is None
    assert post.destinations == (decision.destination,)
    assert decision.destination.state == DestinationState(
        status=DestinationStatus.QUEUED,
        outcome=Outcome.NONE,
        due_at=NOW,
        claimable_at=NOW,
        attempts=5,
        round_attempts=0,
        round_started_at=LATER,
        fence=5,
    )
    assert (post.updated_at, decision.destination.updated_at, post.version) == (LATER, LATER, 1)


def test_only_the_chosen_are_decided_and_changed() -> None:
    post = post_in(failed(), failed(), published())
    chosen = {post.destinations[1].id, post.destinations[2].id, DestinationId(UUID(int=77))}
    found, decisions = retry_destinations(
        post, {each.id: each for each in (account(2), account(3))}, chosen, force=False, now=LATER
    )
    assert [(each.destination.account_id, each.refusal) for each in decisions] == [
        (2, None),
        (3, RetryRefusal.ALREADY_PUBLISHED),
    ]
    assert (found.destinations[0], found.destinations[2]) == (
        post.destinations[0],
        post.destinations[2],
    )


def test_a_post_of_which_nothing_is_retried_stays_as_it_is() -> None:
    post = post_in(published(), started(), unknown())
    found, decisions = retry_post(post, ACCOUNTS, only=None, force=False, now=LATER)
    assert found is post
    assert [each.refusal for each in decisions] == [
        RetryRefusal.ALREADY_PUBLISHED,
        RetryRefusal.IN_FLIGHT,
        RetryRefusal.OUTCOME_UNKNOWN,
    ]


def test_an_account_that_the_post_does_not_go_to_is_refused() -> None:
    with pytest.raises(InvalidInput, match="The post does not go to account 7") as caught:
        retry_post(
            post_in(failed()),
            ACCOUNTS,
            only=[AccountId(9), AccountId(7), AccountId(1)],
            force=False,
            now=NOW,
        )
    assert caught.value.argument == "accountIds"


def test_an_imported_post_is_not_retried_here() -> None:
    imported = replace(post_in(failed()), imported_at=NOW)
    with pytest.raises(Conflict, match="imported"):
        retry_post(imported, ACCOUNTS, only=None, force=True, now=NOW)
