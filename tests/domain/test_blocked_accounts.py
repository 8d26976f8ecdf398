"""Posts on accounts that lose or regain access, for every state of a destination."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.account_commands import (
    fail_due_on_blocked_account,
    require_access,
    retry_auth_failures,
)
from app.domain.accounts import Account
from app.domain.attempts import Failure
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.errors import AccountNeedsReconnection
from app.domain.posts import Post
from tests.domain.attempt_histories import failed_state
from tests.domain.destination_states import make_account, make_post
from tests.domain.errors import EXPIRED, INACTIVE, REJECTED, expect_error
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
EARLIER = NOW - timedelta(hours=1)

ACCOUNT = make_account(1)
BLOCKED = [
    (make_account(1, is_active=False), INACTIVE),
    (make_account(1, needs_reconnection_since=EARLIER), REJECTED),
    (make_account(1, token_expires_at=NOW), EXPIRED),
    (make_account(1, is_active=False, needs_reconnection_since=EARLIER), INACTIVE),
]
blocked = pytest.mark.parametrize(("account", "message"), BLOCKED)

DUE = [
    queued(NOW),
    queued(EARLIER),
    waiting_for_retry(NOW, due_at=EARLIER),
    waiting_for_retry(NOW, due_at=EARLIER, category=ErrorCategory.RATE_LIMITED, attempts=3),
]
NOT_DUE = [
    draft(),
    queued(NOW + MS),
    replace(queued(EARLIER), claimable_at=None),
    waiting_for_retry(NOW + MS, due_at=EARLIER),
    claimed(EARLIER),
    claimed(EARLIER, lease_expires_at=NOW),
    started(EARLIER),
    published(NOW),
    unknown(due_at=EARLIER),
    replace(unknown(due_at=EARLIER), error_category=ErrorCategory.AUTH),
    being_verified(),
    *(
        failed(due_at=EARLIER, category=category)
        for category in ErrorCategory
        if category is not ErrorCategory.AUTH
    ),
]
AUTH_FAILED = [
    failed(due_at=EARLIER, category=ErrorCategory.AUTH, code="AUTH", attempts=0),
    failed(due_at=EARLIER, category=ErrorCategory.AUTH, code="TOKEN_EXPIRED", attempts=4),
]


def with_first_state(post: Post, state: DestinationState) -> Post:
    """The post with its destination on account 1 changed now."""
    first, *others = post.destinations
    changed = replace(first, state=state, updated_at=NOW)
    return replace(post, destinations=(changed, *others), updated_at=NOW)


@pytest.mark.parametrize("state", DUE)
@blocked
def test_due_destination_fails_on_blocked_account(
    account: Account, message: str, state: DestinationState
) -> None:
    post = make_post([state, state])
    failure = Failure(category=ErrorCategory.AUTH, code="AUTH", message=message)
    assert fail_due_on_blocked_account(post, account, NOW) == with_first_state(
        post, failed_state(state, failure, NOW)
    )


@pytest.mark.parametrize("state", [*NOT_DUE, *AUTH_FAILED])
@blocked
def test_other_destination_on_blocked_account_is_unchanged(
    account: Account, message: str, state: DestinationState
) -> None:
    post = make_post([state, queued(EARLIER)])
    assert fail_due_on_blocked_account(post, account, NOW) is post


@pytest.mark.parametrize("state", DUE)
@pytest.mark.parametrize("account", [ACCOUNT, make_account(1, token_expires_at=NOW + MS)])
def test_due_destination_on_usable_account_is_unchanged(
    account: Account, state: DestinationState
) -> None:
    post = make_post([state])
    assert fail_due_on_blocked_account(post, account, NOW) is post
    require_access(account, NOW)


@blocked
def test_blocked_account_is_rejected_with_its_fix(account: Account, message: str) -> None:
    error = expect_error(AccountNeedsReconnection, require_access, account, NOW)
    assert (error.message, error.argument) == (message, "accountId")


@pytest.mark.parametrize("state", AUTH_FAILED)
def test_auth_failure_is_retried_in_a_new_round_after_reconnect(state: DestinationState) -> None:
    post = make_post([state, state])
    retried = replace(
        queued(EARLIER), attempts=state.attempts, fence=state.fence, round_started_at=NOW
    )
    assert retry_auth_failures(post, ACCOUNT, NOW) == with_first_state(
        replace(post, version=post.version + 1), retried
    )


@pytest.mark.parametrize("state", [*DUE, *NOT_DUE])
def test_other_destination_is_not_retried_after_reconnect(state: DestinationState) -> None:
    post = make_post([state, AUTH_FAILED[0]])
    assert retry_auth_failures(post, ACCOUNT, NOW) is post


@pytest.mark.parametrize("reason", ["deleted_at", "imported_at"])
@pytest.mark.parametrize("state", AUTH_FAILED)
def test_deleted_or_imported_post_is_not_retried(state: DestinationState, reason: str) -> None:
    post = make_post([state], **{reason: EARLIER})
    assert retry_auth_failures(post, ACCOUNT, NOW) is post
