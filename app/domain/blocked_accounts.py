"""Effects of an account's access on its posts: blocked ones fail when due, reconnecting retries them."""

from datetime import datetime

from app.domain.accounts import Account, blocking_message, blocking_reason
from app.domain.destinations import Destination, DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import AccountNeedsReconnection
from app.domain.posts import Post
from app.domain.transitions import auth_failed, retried


def fail_due_on_blocked_account(post: Post, account: Account, now: datetime) -> Post:
    """Fail the post's due destination on the account as AUTH, unless the account can post."""
    reason = blocking_reason(account.access, now)
    destination = _find_destination(post, account)
    if reason is None or destination is None:
        return post
    state = destination.state
    is_claimable = state.claimable_at is not None and state.claimable_at <= now
    if not is_claimable or state.status is not DestinationStatus.QUEUED:
        return post
    return post.with_state(destination.id, auth_failed(state, blocking_message(reason), now), now)


def require_access(account: Account, now: datetime) -> None:
    """Raise AccountNeedsReconnection unless the account can post."""
    reason = blocking_reason(account.access, now)
    if reason is not None:
        raise AccountNeedsReconnection(blocking_message(reason), argument="accountId")


def retry_auth_failures(post: Post, account: Account, now: datetime) -> Post:
    """Queue the post's destination on the account for a new round if it failed as AUTH.

    The account must be able to post. Deleted and imported posts stay unchanged.
    """
    destination = _find_destination(post, account)
    if destination is None or post.deleted_at is not None or post.imported_at is not None:
        return post
    state = destination.state
    if state.outcome is not Outcome.FAILED or state.error_category is not ErrorCategory.AUTH:
        return post
    return post.with_state(destination.id, retried(state, now), now).with_next_version(now)


def _find_destination(post: Post, account: Account) -> Destination | None:
    on_account = (d for d in post.destinations if d.account_id == account.id)
    return next(on_account, None)
