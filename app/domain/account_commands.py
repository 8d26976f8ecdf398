"""Commands on an account (connect, change, disconnect, reconnect), and their effects on its posts.

Each function returns the account or post after it, which is the same object if nothing changes, or
raises an error. Errors name arguments as in GraphQL.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TypedDict

from app.domain.accounts import (
    Account,
    AccountPublisher,
    LostAccessPolicy,
    blocking_message,
    blocking_reason,
    check_platform,
    check_publisher,
    default_publisher,
)
from app.domain.attempts import Failure
from app.domain.circuit_breakers import ServerOutage
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    has_waited_too_long,
    is_held_on,
)
from app.domain.diagnosis import PLATFORM_UNAVAILABLE
from app.domain.errors import AccountNeedsReconnection, Conflict, InvalidInput
from app.domain.ids import AccountId
from app.domain.posts import Post
from app.domain.transitions import auth_failed, failed, retried
from app.domain.validation.text import MAX_NAME_LENGTH, validate_text, validate_url

_TEXT_ARGUMENTS = {
    "account_name": "accountName",
    "display_name": "displayName",
    "platform_user_id": "platformUserId",
    "platform_username": "platformUsername",
}
"""GraphQL argument of each text field of an account."""


class AccountUpdate(TypedDict, total=False):
    """Requested changes to an account; absent keys leave fields unchanged."""

    account_name: str | None
    display_name: str | None
    platform_username: str | None
    avatar_url: str | None
    token_expires_at: datetime | None
    publisher: AccountPublisher
    on_lost_access: LostAccessPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """A platform account to which a user has granted access."""

    platform: str
    account_name: str | None
    display_name: str | None
    platform_user_id: str | None
    """The platform's own id of the account, by which connecting again finds the same account."""
    platform_username: str | None
    avatar_url: str | None
    token_expires_at: datetime | None
    """Time at which the access expires; None if never or unknown."""
    publisher: AccountPublisher | None
    """None for that of the existing account, or for the default of the platform."""
    on_lost_access: LostAccessPolicy | None
    """None for that of the existing account, or for FAIL."""


def check_new_account(new_account: NewAccount) -> None:
    """Raise InvalidInput for an account that is invalid independent of stored accounts and time."""
    check_platform(new_account.platform, "platform")
    if new_account.publisher is not None:
        check_publisher(new_account.publisher, new_account.platform, "publisher")
    _check_texts(asdict(new_account))


def connect(new_account: NewAccount, account_id: AccountId, now: datetime) -> Account:
    """Create an account that `check_new_account` has accepted."""
    publisher = new_account.publisher or default_publisher(new_account.platform)
    return Account(
        id=account_id,
        **asdict(new_account)
        | {
            "publisher": publisher,
            "on_lost_access": new_account.on_lost_access or LostAccessPolicy.FAIL,
        },
        is_active=True,
        token_refreshed_at=now,
        connected_at=now,
        created_at=now,
        updated_at=now,
    )


def connect_existing(account: Account, new_account: NewAccount, now: datetime) -> Account:
    """Renew the access of an existing account; change its names and publisher if they are given."""
    changes = {
        name: value
        for name, value in asdict(new_account).items()
        if value is not None
        and name in (*_TEXT_ARGUMENTS, "avatar_url", "publisher", "on_lost_access")
    }
    with_access = reconnect(account, new_account.token_expires_at, now)
    return _touch_if_changed(account, replace(with_access, **changes), now)


def reconnect(account: Account, token_expires_at: datetime | None, now: datetime) -> Account:
    """Replace the access of an account, including its expiry. What waited too long for it stays held."""
    connected = replace(
        account,
        is_active=True,
        needs_reconnection_since=None,
        token_expires_at=token_expires_at,
        token_refreshed_at=now,
        connected_at=now,
        held_until=account.reconnection.held_until_if_reconnected(now),
    )
    return _touch_if_changed(account, connected, now)


def update_account(account: Account, update: AccountUpdate, now: datetime) -> Account:
    """Change some fields of an account. A later expiry of its token counts as a refresh of it."""
    _check_texts(update)
    if "publisher" in update:
        check_publisher(update["publisher"], account.platform, "publisher")
    changed = replace(account, **update)
    before, after = account.token_expires_at, changed.token_expires_at
    if before is not None and after is not None and after > before:
        changed = replace(changed, token_refreshed_at=now)
    if changed.on_lost_access is not account.on_lost_access:
        # Otherwise a reconnection could publish late posts before they fail by the new policy.
        held_until = account.reconnection.held_until_if_reconnected(now)
        changed = replace(changed, held_until=held_until)
    return _touch_if_changed(account, changed, now)


def disconnect(account: Account, now: datetime) -> Account:
    """Stop publishing on the account until it is connected again."""
    return _touch_if_changed(account, replace(account, is_active=False), now)


def mark_needs_reconnection(
    account: Account, attempt_started_at: datetime, now: datetime
) -> Account:
    """Stop publishing on an account that the platform rejected, until it is reconnected.

    An account connected after the attempt started stays unchanged: the old access was rejected.
    """
    if account.needs_reconnection_since is not None or account.connected_at > attempt_started_at:
        return account
    return replace(account, needs_reconnection_since=now, updated_at=now)


def accept_access(account: Account, verified_at: datetime, now: datetime) -> Account:
    """Connect an account again that needed it before its platform accepted its credentials.

    An inactive account stays unchanged, and so does one whose access was rejected since.
    """
    rejected_at = account.needs_reconnection_since
    if not account.is_active or rejected_at is None or rejected_at > verified_at:
        return account
    expires_at = None if account.access.token_expired(now) else account.token_expires_at
    return reconnect(account, expires_at, now)


def fail_due_on_blocked_account(post: Post, account: Account, now: datetime) -> Post:
    """Fail the post's due destination on the account as AUTH, unless the account can post.

    A destination that waits for a reconnection, or after it for a manual retry, fails when its wait ends.
    """
    destination = post.destination_on(account.id)
    if destination is None or not _is_due(destination.state, now):
        return post
    message = _reason_to_fail(destination.state, account, now)
    if message is None:
        return post
    return post.with_state(destination.id, auth_failed(destination.state, message, now), now)


def fail_after_outage(
    post: Post, account_id: AccountId, outage: ServerOutage, max_wait: timedelta, now: datetime
) -> Post:
    """Fail the post's due destination on an account that has waited too long for its server.

    The time counts from the start of its round of attempts, or of the outage if that began later.
    """
    destination = post.destination_on(account_id)
    if destination is None or not _is_due(destination.state, now):
        return post
    if not outage.has_lasted(max_wait, now):
        return post
    round_started_at = destination.state.round_started_at
    if round_started_at is None or round_started_at + max_wait > now:
        return post
    hours = max_wait / timedelta(hours=1)
    failure = Failure(
        category=ErrorCategory.TRANSIENT,
        code=PLATFORM_UNAVAILABLE,
        message=f"{outage.sentence} The post was not sent within {hours:g} hours.",
        not_sent=True,
    )
    return post.with_state(destination.id, failed(destination.state, failure, now), now)


def _reason_to_fail(state: DestinationState, account: Account, now: datetime) -> str | None:
    """Return why a due destination on the account fails; None if it is published, or waits."""
    reason = blocking_reason(account.access, now)
    if reason is not None:
        waits = account.reconnection.is_awaited and not has_waited_too_long(state, now)
        return None if waits else blocking_message(reason)
    is_held = is_held_on(state, account.reconnection)
    return _HELD_TOO_LONG if is_held and has_waited_too_long(state, now) else None


_HELD_TOO_LONG = (
    "The post was more than an hour late when its account was reconnected, and no one retried it within 24"
    " hours."
)


def require_no_undecided_posts(undecided_posts: int) -> None:
    """Raise Conflict if the current publisher is publishing a post, or an outcome is unknown.

    Only the publisher that called the platform can find out whether its call succeeded.
    """
    if undecided_posts:
        raise Conflict(
            "The publisher of an account cannot be changed while a post is being published on it or has an"
            " unknown outcome. Try again when their results are known. Number of these posts:"
            f" {undecided_posts}.",
            argument="publisher",
        )


def require_access(account: Account, now: datetime) -> None:
    """Raise AccountNeedsReconnection unless the account can post."""
    reason = blocking_reason(account.access, now)
    if reason is not None:
        raise AccountNeedsReconnection(blocking_message(reason), argument="accountId")


def retry_auth_failures(post: Post, account: Account, now: datetime) -> Post:
    """Queue the post's destination on the account for a new round if it failed as AUTH, or is held.

    The account must be able to post. Deleted and imported posts stay unchanged.
    """
    destination = post.destination_on(account.id)
    if destination is None or post.deleted_at is not None or post.imported_at is not None:
        return post
    state = destination.state
    has_failed = state.outcome is Outcome.FAILED and state.error_category is ErrorCategory.AUTH
    if not has_failed and not is_held_on(state, account.reconnection):
        return post
    return post.with_state(destination.id, retried(state, now), now).with_next_version(now)


def _check_texts(texts: Mapping[str, object]) -> None:
    for name, argument in _TEXT_ARGUMENTS.items():
        text = texts.get(name)
        if isinstance(text, str):
            validate_text(text, argument, max_length=MAX_NAME_LENGTH)
            if not text.strip():
                raise InvalidInput(
                    f"{argument} must not be empty; leave it out instead.", argument=argument
                )
    avatar_url = texts.get("avatar_url")
    if isinstance(avatar_url, str):
        validate_url(avatar_url, "avatarUrl")


def _touch_if_changed(before: Account, after: Account, now: datetime) -> Account:
    return before if after == before else replace(after, updated_at=now)


def _is_due(state: DestinationState, now: datetime) -> bool:
    return (
        state.status is DestinationStatus.QUEUED
        and state.claimable_at is not None
        and state.claimable_at <= now
    )
