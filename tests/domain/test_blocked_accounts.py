"""What an account's access means for its posts, over every state of a destination and of an account."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.domain.accounts import Account
from app.domain.blocked_accounts import (
    fail_due_on_blocked_account,
    require_access,
    retry_after_reconnect,
)
from app.domain.destinations import (
    Destination,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.errors import AccountNeedsReconnection
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import Post
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

MS = timedelta(milliseconds=1)
BEFORE = NOW - timedelta(hours=1)
OURS, OTHER = AccountId(1), AccountId(2)

READY = Account(
    id=OURS,
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
    connected_at=BEFORE,
    created_at=BEFORE,
    updated_at=BEFORE,
)
SWITCHED_OFF = "The account is switched off or disconnected. Connect it again to post."
REFUSED = "The platform refused the account's access. Reconnect the account to post."
EXPIRED = "The account's access has expired. Reconnect the account to post."
BLOCKED = [
    (replace(READY, is_active=False), SWITCHED_OFF),
    (replace(READY, needs_reconnection_since=BEFORE), REFUSED),
    (replace(READY, token_expires_at=NOW), EXPIRED),
    (replace(READY, is_active=False, needs_reconnection_since=BEFORE), SWITCHED_OFF),
]
blocked = pytest.mark.parametrize(("account", "message"), BLOCKED)

DUE = [
    queued(NOW),
    queued(BEFORE),
    waiting_for_retry(NOW, due_at=BEFORE),
    waiting_for_retry(NOW, due_at=BEFORE, category=ErrorCategory.RATE_LIMITED, attempts=3),
]
NOT_SETTLED = [
    draft(),
    queued(NOW + MS),
    replace(queued(BEFORE), claimable_at=None),
    waiting_for_retry(NOW + MS, due_at=BEFORE),
    claimed(BEFORE),
    claimed(BEFORE, lease_expires_at=NOW),
    started(BEFORE),
]
LACKED_ACCESS = [
    failed(due_at=BEFORE, category=ErrorCategory.AUTH, code="AUTH", attempts=0),
    failed(due_at=BEFORE, category=ErrorCategory.AUTH, code="TOKEN_EXPIRED", attempts=4),
]
FAILED_OTHERWISE = [
    *(
        failed(due_at=BEFORE, category=category)
        for category in ErrorCategory
        if category is not ErrorCategory.AUTH
    ),
    unknown(due_at=BEFORE),
    replace(unknown(due_at=BEFORE), error_category=ErrorCategory.AUTH),
    being_verified(),
]


def post_on(*states: DestinationState) -> Post:
    """A post on our account, and on another one if there are two states."""
    return Post(
        id=PostId(UUID(int=1)),
        content="Sale",
        is_draft=False,
        submitted_now=False,
        scheduled_for=None,
        timezone=None,
        media_ids=[],
        media=[],
        platform_content={},
        reference=None,
        version=3,
        deleted_at=None,
        imported_at=None,
        created_at=BEFORE,
        updated_at=BEFORE,
        destinations=tuple(
            Destination(
                id=DestinationId(UUID(int=10 + position)),
                account_id=account_id,
                platform="x",
                position=position,
                state=state,
                created_at=BEFORE,
                updated_at=BEFORE,
            )
            for position, (account_id, state) in enumerate(zip((OURS, OTHER), states, strict=False))
        ),
    )


def with_first(post: Post, state: DestinationState) -> Post:
    """The post with the destination on our account in this state since now."""
    first, *others = post.destinations
    changed = replace(first, state=state, updated_at=NOW)
    return replace(post, destinations=(changed, *others), updated_at=NOW)


@pytest.mark.parametrize("state", DUE)
@blocked
def test_what_is_due_fails_with_what_to_do_about_the_account(
    account: Account, message: str, state: DestinationState
) -> None:
    post = post_on(state, state)
    assert fail_due_on_blocked_account(post, account, NOW) == with_first(
        post,
        replace(
            state,
            status=DestinationStatus.FAILED,
            outcome=Outcome.FAILED,
            claimable_at=None,
            next_retry_at=None,
            error=message,
            error_category=ErrorCategory.AUTH,
            error_code="AUTH",
            settled_at=NOW,
            due_day=BEFORE.date(),
        ),
    )


@pytest.mark.parametrize("state", [*NOT_SETTLED, published(NOW), *LACKED_ACCESS, *FAILED_OTHERWISE])
@blocked
def test_what_is_not_due_is_left_alone(
    account: Account, message: str, state: DestinationState
) -> None:
    post = post_on(state, queued(BEFORE))
    assert fail_due_on_blocked_account(post, account, NOW) is post


@pytest.mark.parametrize("state", DUE)
@pytest.mark.parametrize("account", [READY, replace(READY, token_expires_at=NOW + MS)])
def test_nothing_fails_on_an_account_that_can_post(
    account: Account, state: DestinationState
) -> None:
    post = post_on(state)
    assert fail_due_on_blocked_account(post, account, NOW) is post
    require_access(account, NOW)


@blocked
def test_an_account_without_access_is_refused_with_what_to_do(
    account: Account, message: str
) -> None:
    with pytest.raises(AccountNeedsReconnection) as refused:
        require_access(account, NOW)
    assert (refused.value.message, refused.value.argument) == (message, "accountId")


@pytest.mark.parametrize("state", LACKED_ACCESS)
def test_what_failed_for_want_of_access_begins_a_new_round(state: DestinationState) -> None:
    post = post_on(state, state)
    assert retry_after_reconnect(post, READY, NOW) == with_first(
        replace(post, version=post.version + 1),
        replace(
            queued(BEFORE),
            attempts=state.attempts,
            fence=state.fence,
            round_started_at=NOW,
        ),
    )


@pytest.mark.parametrize("state", [*DUE, *NOT_SETTLED, published(NOW), *FAILED_OTHERWISE])
def test_what_did_not_fail_for_want_of_access_is_not_retried(state: DestinationState) -> None:
    post = post_on(state, LACKED_ACCESS[0])
    assert retry_after_reconnect(post, READY, NOW) is post


@pytest.mark.parametrize("state", LACKED_ACCESS)
def test_what_does_not_go_out_from_here_is_not_retried(state: DestinationState) -> None:
    deleted = replace(post_on(state), deleted_at=BEFORE)
    imported = replace(post_on(state), imported_at=BEFORE)
    assert retry_after_reconnect(deleted, READY, NOW) is deleted
    assert retry_after_reconnect(imported, READY, NOW) is imported
