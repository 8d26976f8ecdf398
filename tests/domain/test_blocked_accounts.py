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
FAILED_AT = NOW - timedelta(hours=1)
OWN_ACCOUNT, OTHER_ACCOUNT = AccountId(1), AccountId(2)

USABLE_ACCOUNT = Account(
    id=OWN_ACCOUNT,
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
    connected_at=FAILED_AT,
    created_at=FAILED_AT,
    updated_at=FAILED_AT,
)
DISABLED_ACCOUNT = "The account is switched off or disconnected. Connect it again to post."
REJECTED_ACCOUNT = "The platform refused the account's access. Reconnect the account to post."
EXPIRED_ACCOUNT = "The account's access has expired. Reconnect the account to post."
BLOCKED = [
    (replace(USABLE_ACCOUNT, is_active=False), DISABLED_ACCOUNT),
    (replace(USABLE_ACCOUNT, needs_reconnection_since=FAILED_AT), REJECTED_ACCOUNT),
    (replace(USABLE_ACCOUNT, token_expires_at=NOW), EXPIRED_ACCOUNT),
    (
        replace(USABLE_ACCOUNT, is_active=False, needs_reconnection_since=FAILED_AT),
        DISABLED_ACCOUNT,
    ),
]
blocked = pytest.mark.parametrize(("account", "message"), BLOCKED)

DUE = [
    queued(NOW),
    queued(FAILED_AT),
    waiting_for_retry(NOW, due_at=FAILED_AT),
    waiting_for_retry(NOW, due_at=FAILED_AT, category=ErrorCategory.RATE_LIMITED, attempts=3),
]
NOT_SETTLED = [
    draft(),
    queued(NOW + MS),
    replace(queued(FAILED_AT), claimable_at=None),
    waiting_for_retry(NOW + MS, due_at=FAILED_AT),
    claimed(FAILED_AT),
    claimed(FAILED_AT, lease_expires_at=NOW),
    started(FAILED_AT),
]
AUTH_FAILED_STATES = [
    failed(due_at=FAILED_AT, category=ErrorCategory.AUTH, code="AUTH", attempts=0),
    failed(due_at=FAILED_AT, category=ErrorCategory.AUTH, code="TOKEN_EXPIRED", attempts=4),
]
FAILED_OTHERWISE = [
    *(
        failed(due_at=FAILED_AT, category=category)
        for category in ErrorCategory
        if category is not ErrorCategory.AUTH
    ),
    unknown(due_at=FAILED_AT),
    replace(unknown(due_at=FAILED_AT), error_category=ErrorCategory.AUTH),
    being_verified(),
]


def make_post_on_account(*states: DestinationState) -> Post:
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
        created_at=FAILED_AT,
        updated_at=FAILED_AT,
        destinations=tuple(
            Destination(
                id=DestinationId(UUID(int=10 + position)),
                account_id=account_id,
                platform="x",
                position=position,
                state=state,
                created_at=FAILED_AT,
                updated_at=FAILED_AT,
            )
            for position, (account_id, state) in enumerate(
                zip((OWN_ACCOUNT, OTHER_ACCOUNT), states, strict=False)
            )
        ),
    )


def with_first_state(post: Post, state: DestinationState) -> Post:
    """The post with the destination on our account in this state since now."""
    first, *others = post.destinations
    changed = replace(first, state=state, updated_at=NOW)
    return replace(post, destinations=(changed, *others), updated_at=NOW)


@pytest.mark.parametrize("state", DUE)
@blocked
def test_what_is_due_fails_with_what_to_do_about_the_account(
    account: Account, message: str, state: DestinationState
) -> None:
    post = make_post_on_account(state, state)
    assert fail_due_on_blocked_account(post, account, NOW) == with_first_state(
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
            due_day=FAILED_AT.date(),
        ),
    )


@pytest.mark.parametrize(
    "state", [*NOT_SETTLED, published(NOW), *AUTH_FAILED_STATES, *FAILED_OTHERWISE]
)
@blocked
def test_what_is_not_due_is_left_alone(
    account: Account, message: str, state: DestinationState
) -> None:
    post = make_post_on_account(state, queued(FAILED_AT))
    assert fail_due_on_blocked_account(post, account, NOW) is post


@pytest.mark.parametrize("state", DUE)
@pytest.mark.parametrize(
    "account", [USABLE_ACCOUNT, replace(USABLE_ACCOUNT, token_expires_at=NOW + MS)]
)
def test_nothing_fails_on_an_account_that_can_post(
    account: Account, state: DestinationState
) -> None:
    post = make_post_on_account(state)
    assert fail_due_on_blocked_account(post, account, NOW) is post
    require_access(account, NOW)


@blocked
def test_an_account_without_access_is_refused_with_what_to_do(
    account: Account, message: str
) -> None:
    with pytest.raises(AccountNeedsReconnection) as refused:
        require_access(account, NOW)
    assert (refused.value.message, refused.value.argument) == (message, "accountId")


@pytest.mark.parametrize("state", AUTH_FAILED_STATES)
def test_what_failed_for_want_of_access_begins_a_new_round(state: DestinationState) -> None:
    post = make_post_on_account(state, state)
    assert retry_after_reconnect(post, USABLE_ACCOUNT, NOW) == with_first_state(
        replace(post, version=post.version + 1),
        replace(
            queued(FAILED_AT),
            attempts=state.attempts,
            fence=state.fence,
            round_started_at=NOW,
        ),
    )


@pytest.mark.parametrize("state", [*DUE, *NOT_SETTLED, published(NOW), *FAILED_OTHERWISE])
def test_what_did_not_fail_for_want_of_access_is_not_retried(state: DestinationState) -> None:
    post = make_post_on_account(state, AUTH_FAILED_STATES[0])
    assert retry_after_reconnect(post, USABLE_ACCOUNT, NOW) is post


@pytest.mark.parametrize("state", AUTH_FAILED_STATES)
def test_what_does_not_go_out_from_here_is_not_retried(state: DestinationState) -> None:
    deleted = replace(make_post_on_account(state), deleted_at=FAILED_AT)
    imported = replace(make_post_on_account(state), imported_at=FAILED_AT)
    assert retry_after_reconnect(deleted, USABLE_ACCOUNT, NOW) is deleted
    assert retry_after_reconnect(imported, USABLE_ACCOUNT, NOW) is imported
