"""Effects of an account's access on its posts: blocked ones fail when due, reconnecting retries them."""

from collections.abc import Callable
from datetime import datetime

from app.domain.accounts import Account, blocking_message, blocking_reason
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import AccountNeedsReconnection
from app.domain.posts import Post
from app.domain.transitions import auth_failed, retried


def fail_due_on_blocked_account(post: Post, account: Account, now: datetime) -> Post:
    """Fail the post's due destination on the account as AUTH, unless the account can post."""
    reason = blocking_reason(account.access, now)
    if reason is None:
        return post
    message = blocking_message(reason)

    def fail(state: DestinationState) -> DestinationState:
        return auth_failed(state, message, now) if _is_due(state, now) else state

    return _update_destination_on_account(post, account, fail, now)


def require_access(account: Account, now: datetime) -> None:
    """Raise AccountNeedsReconnection unless the account can post."""
    reason = blocking_reason(account.access, now)
    if reason is not None:
        raise AccountNeedsReconnection(blocking_message(reason), argument="accountId")


def retry_auth_failures(post: Post, account: Account, now: datetime) -> Post:
    """Queue the post's destination on the account for a new round if it failed as AUTH.

    The account must be able to post. Deleted and imported posts stay unchanged.
    """
    if post.deleted_at is not None or post.imported_at is not None:
        return post

    def retry(state: DestinationState) -> DestinationState:
        return retried(state, now) if _failed_with_auth(state) else state

    after = _update_destination_on_account(post, account, retry, now)
    return post if after is post else after.with_next_version(now)


def _is_due(state: DestinationState, now: datetime) -> bool:
    is_claimable = state.claimable_at is not None and state.claimable_at <= now
    return is_claimable and state.status is DestinationStatus.QUEUED


def _failed_with_auth(state: DestinationState) -> bool:
    return state.outcome is Outcome.FAILED and state.error_category is ErrorCategory.AUTH


def _update_destination_on_account(
    post: Post,
    account: Account,
    transition: Callable[[DestinationState], DestinationState],
    now: datetime,
) -> Post:
    for destination in post.destinations:
        if destination.account_id == account.id:
            return post.with_state(destination.id, transition(destination.state), now)
    return post
