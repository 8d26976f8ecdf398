"""Posts on accounts that lose or regain access, for every state of a destination."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.account_commands import (
    AccountUpdate,
    fail_due_on_blocked_account,
    reconnect,
    require_access,
    retry_auth_failures,
    update_account,
)
from app.domain.accounts import Account, LostAccessPolicy
from app.domain.attempts import Failure
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.errors import AccountNeedsReconnection
from app.domain.posts import Post
from app.domain.transitions import retried as retried_state
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
        queued(EARLIER),
        attempts=state.attempts,
        fence=state.fence,
        claimable_at=NOW,
        round_started_at=NOW,
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


WAITING = make_account(1, needs_reconnection_since=EARLIER, on_lost_access=LostAccessPolicy.WAIT)
HELD = make_account(1, on_lost_access=LostAccessPolicy.WAIT, held_until=EARLIER)
DAY_BEFORE = NOW - timedelta(hours=24)
RETRIED_BEFORE = replace(
    queued(NOW - timedelta(days=3)), round_started_at=DAY_BEFORE, claimable_at=DAY_BEFORE
)


@pytest.mark.parametrize("state", [*DUE, *NOT_DUE, queued(DAY_BEFORE + MS)])
def test_destination_waits_for_a_reconnection(state: DestinationState) -> None:
    post = make_post([state])
    assert fail_due_on_blocked_account(post, WAITING, NOW) is post


@pytest.mark.parametrize(
    ("account", "message"),
    [
        (WAITING, REJECTED),
        (
            HELD,
            "The post was more than an hour late when its account was reconnected, and no one retried it"
            " within 24 hours.",
        ),
        (replace(HELD, token_expires_at=NOW), EXPIRED),
    ],
)
@pytest.mark.parametrize(
    "state",
    [queued(DAY_BEFORE), waiting_for_retry(EARLIER, due_at=DAY_BEFORE), RETRIED_BEFORE],
)
def test_wait_ends_24_hours_after_the_start_of_the_round(
    state: DestinationState, account: Account, message: str
) -> None:
    (failed_destination,) = fail_due_on_blocked_account(
        make_post([state]), account, NOW
    ).destinations
    failure = Failure(category=ErrorCategory.AUTH, code="AUTH", message=message)
    assert failed_destination.state == failed_state(state, failure, NOW)


@pytest.mark.parametrize(
    "account",
    [
        replace(WAITING, is_active=False),
        replace(WAITING, needs_reconnection_since=None, token_expires_at=NOW),
    ],
)
def test_destination_does_not_wait_for_anything_else(account: Account) -> None:
    post = make_post([queued(NOW)])
    assert fail_due_on_blocked_account(post, account, NOW) != post


@pytest.mark.parametrize("state", DUE)
def test_only_a_held_destination_is_retried_without_a_failure(state: DestinationState) -> None:
    post = make_post([state])
    is_held = state.claimable_at is not None and state.claimable_at <= EARLIER
    changed = retry_auth_failures(post, HELD, NOW)
    assert retry_auth_failures(post, ACCOUNT, NOW) is post
    if is_held:
        assert changed == with_first_state(
            replace(post, version=post.version + 1), retried_state(state, NOW)
        )
    else:
        assert changed is post


@pytest.mark.parametrize("state", NOT_DUE)
def test_destination_that_is_not_held_is_not_retried(state: DestinationState) -> None:
    post = make_post([state])
    assert retry_auth_failures(post, replace(HELD, held_until=None), NOW) is post


@pytest.mark.parametrize(
    ("account", "held_until"),
    [
        (WAITING, NOW - timedelta(hours=1)),
        (replace(WAITING, is_active=False), NOW - timedelta(hours=1)),
        (replace(WAITING, held_until=NOW - MS), NOW - MS),
        (replace(WAITING, held_until=DAY_BEFORE), NOW - timedelta(hours=1)),
        (replace(WAITING, on_lost_access=LostAccessPolicy.FAIL), None),
        (HELD, EARLIER),
        (replace(HELD, needs_reconnection_since=None), EARLIER),
        (ACCOUNT, None),
    ],
)
def test_reconnection_holds_what_is_at_least_an_hour_late(
    account: Account, held_until: datetime | None
) -> None:
    assert reconnect(account, None, NOW).held_until == held_until


def test_change_of_the_policy_holds_what_waited() -> None:
    to_fail: AccountUpdate = {"on_lost_access": LostAccessPolicy.FAIL}
    changed = update_account(WAITING, to_fail, NOW)
    assert changed == replace(
        WAITING,
        on_lost_access=LostAccessPolicy.FAIL,
        held_until=NOW - timedelta(hours=1),
        updated_at=NOW,
    )
    same: AccountUpdate = {"on_lost_access": LostAccessPolicy.WAIT}
    assert update_account(WAITING, same, NOW) is WAITING
