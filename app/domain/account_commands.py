"""What people do with an account: connect, change, disconnect and reconnect it. Not what its posts do.

Each is an account in, an account out, or a refusal after which nothing has changed. Where nothing is new,
the account that comes out is the one that went in. Arguments are named as in GraphQL.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TypedDict

from app.domain.accounts import Account
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId
from app.domain.posts import MAX_NAME_LENGTH
from app.domain.validation.text import check_text, check_url

MAX_PLATFORM_LENGTH = 50

_PLATFORM = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TEXT_ARGUMENTS = {
    "account_name": "accountName",
    "display_name": "displayName",
    "platform_user_id": "platformUserId",
    "platform_username": "platformUsername",
}
"""The texts of an account, and what callers call them."""


class AccountChanges(TypedDict, total=False):
    """What somebody wants changed of an account; what has no key stays."""

    account_name: str | None
    display_name: str | None
    platform_username: str | None
    avatar_url: str | None
    token_expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConnection:
    """An account of a platform to which somebody has been given access."""

    platform: str
    account_name: str | None
    display_name: str | None
    platform_user_id: str | None
    """The platform's own id of the account; with it, the account is known again."""
    platform_username: str | None
    avatar_url: str | None
    token_expires_at: datetime | None
    """When the access ends; None if never, or if nobody knows."""


def check_platform(name: str, argument: str) -> None:
    """InvalidInput for a name that no account's platform can have."""
    check_text(name, argument, max_length=MAX_PLATFORM_LENGTH)
    if not _PLATFORM.fullmatch(name):
        raise InvalidInput(
            f"{argument} must be a word of lower-case letters, digits, _ and -, such as instagram.",
            argument=argument,
        )


def check_connection(new_connection: NewConnection) -> None:
    """Refuse what cannot be right, whatever accounts there are and whatever the time."""
    check_platform(new_connection.platform, "platform")
    _check_texts(
        {field.name: getattr(new_connection, field.name) for field in fields(new_connection)}
    )


def connect(new_connection: NewConnection, account_id: AccountId, now: datetime) -> Account:
    """A new account, checked before."""
    return Account(
        id=account_id,
        **{field.name: getattr(new_connection, field.name) for field in fields(new_connection)},
        is_active=True,
        needs_reconnection_since=None,
        token_refreshed_at=now,
        connected_at=now,
        created_at=now,
        updated_at=now,
    )


def connect_existing(account: Account, new_connection: NewConnection, now: datetime) -> Account:
    """The account that was known, with its new access and names; a name that is not told stays."""
    told = {
        name: getattr(new_connection, name)
        for name in (*_TEXT_ARGUMENTS, "avatar_url")
        if getattr(new_connection, name) is not None
    }
    access = reconnected(account, new_connection.token_expires_at, now)
    return _touch_if_changed(account, replace(access, **told), now)


def reconnected(account: Account, token_expires_at: datetime | None, now: datetime) -> Account:
    """The account with a new access; the end of the old one says nothing about this one's."""
    connected = replace(
        account,
        is_active=True,
        needs_reconnection_since=None,
        token_expires_at=token_expires_at,
        token_refreshed_at=now,
        connected_at=now,
    )
    return _touch_if_changed(account, connected, now)


def change_account(account: Account, changes: AccountChanges, now: datetime) -> Account:
    """The account with some of it changed; an access that ends later than before was renewed."""
    _check_texts(changes)
    changed = replace(account, **changes)
    before, after = account.token_expires_at, changed.token_expires_at
    if before is not None and after is not None and after > before:
        changed = replace(changed, token_refreshed_at=now)
    return _touch_if_changed(account, changed, now)


def disconnect(account: Account, now: datetime) -> Account:
    """The account as one that nothing goes out on, until somebody connects it again."""
    return _touch_if_changed(account, replace(account, is_active=False), now)


def mark_needs_reconnection(
    account: Account, attempt_started_at: datetime, now: datetime
) -> Account:
    """The platform refused it: until somebody reconnects it, nothing is posted on it.

    The same account if somebody has since the attempt began: what was refused was the old access.
    """
    if account.needs_reconnection_since is not None or account.connected_at > attempt_started_at:
        return account
    return replace(account, needs_reconnection_since=now, updated_at=now)


def _check_texts(texts: Mapping[str, object]) -> None:
    for name, argument in _TEXT_ARGUMENTS.items():
        text = texts.get(name)
        if isinstance(text, str):
            check_text(text, argument, max_length=MAX_NAME_LENGTH)
            if not text.strip():
                raise InvalidInput(
                    f"{argument} must not be empty; leave it out instead.", argument=argument
                )
    avatar_url = texts.get("avatar_url")
    if isinstance(avatar_url, str):
        check_url(avatar_url, "avatarUrl")


def _touch_if_changed(before: Account, after: Account, now: datetime) -> Account:
    return before if after == before else replace(after, updated_at=now)
