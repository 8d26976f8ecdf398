"""What becomes of an account by each command, over every state of its access, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, cast

import pytest

from app.domain.account_commands import (
    AccountChanges,
    NewConnection,
    change_account,
    check_connection,
    connect,
    connect_existing,
    disconnect,
    mark_needs_reconnection,
    reconnected,
)
from app.domain.accounts import MAX_PLATFORM_LENGTH, Account, readiness
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId
from app.domain.validation.text import MAX_NAME_LENGTH, MAX_URL_LENGTH

NOW = datetime(2026, 4, 15, 15, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=30), NOW + timedelta(days=60)
AVATAR = "https://example.com/acme.png"

CONNECT_REQUEST = NewConnection(
    platform="linkedin",
    account_name="Acme Inc.",
    display_name="Acme",
    platform_user_id="urn:li:organization:7",
    platform_username="acme-inc",
    avatar_url=AVATAR,
    token_expires_at=LATER,
)
MINIMAL_ACCOUNT = NewConnection(
    platform="linkedin",
    account_name=None,
    display_name=None,
    platform_user_id=None,
    platform_username=None,
    avatar_url=None,
    token_expires_at=None,
)
ACCOUNT = Account(
    id=AccountId(7),
    platform="linkedin",
    account_name="Acme Inc.",
    display_name="Acme",
    platform_user_id="urn:li:organization:7",
    platform_username="acme-inc",
    avatar_url=AVATAR,
    is_active=True,
    needs_reconnection_since=None,
    token_expires_at=LATER,
    token_refreshed_at=EARLIER,
    connected_at=EARLIER,
    created_at=EARLIER,
    updated_at=EARLIER,
)
ALL_ACCOUNTS = [
    replace(
        ACCOUNT, is_active=is_active, needs_reconnection_since=since, token_expires_at=expires_at
    )
    for is_active, since, expires_at in product(
        (True, False), (None, EARLIER, NOW), (None, EARLIER, NOW, LATER)
    )
]
all_accounts = pytest.mark.parametrize("account", ALL_ACCOUNTS)


def test_a_new_account_can_post_at_once() -> None:
    assert connect(CONNECT_REQUEST, AccountId(7), NOW) == replace(
        ACCOUNT, token_refreshed_at=NOW, connected_at=NOW, created_at=NOW, updated_at=NOW
    )


@all_accounts
def test_an_account_that_is_connected_again_keeps_what_is_not_told(account: Account) -> None:
    assert connect_existing(account, replace(MINIMAL_ACCOUNT, display_name="ACME"), NOW) == replace(
        account,
        display_name="ACME",
        is_active=True,
        needs_reconnection_since=None,
        token_expires_at=None,
        token_refreshed_at=NOW,
        connected_at=NOW,
        updated_at=NOW,
    )


def test_everything_that_is_told_replaces_what_was_known() -> None:
    told = replace(
        CONNECT_REQUEST,
        account_name="A",
        display_name="B",
        platform_username="C",
        avatar_url="http://example.com/",
        token_expires_at=EARLIER,
    )
    assert connect_existing(ACCOUNT, told, NOW) == replace(
        connect(told, ACCOUNT.id, NOW), created_at=EARLIER
    )


@pytest.mark.parametrize("expires_at", [None, LATER])
@all_accounts
def test_a_reconnected_account_has_the_new_access_alone(
    account: Account, expires_at: datetime | None
) -> None:
    changed = reconnected(account, expires_at, NOW)
    assert changed == replace(
        account,
        is_active=True,
        needs_reconnection_since=None,
        token_expires_at=expires_at,
        token_refreshed_at=NOW,
        connected_at=NOW,
        updated_at=NOW,
    )
    assert readiness(changed.connection, NOW).can_post


@all_accounts
def test_a_disconnected_account_is_inactive_and_nothing_else_of_it_changes(
    account: Account,
) -> None:
    changed = disconnect(account, NOW)
    assert changed == (
        replace(account, is_active=False, updated_at=NOW) if account.is_active else account
    )
    assert not readiness(changed.connection, NOW).can_post
    assert disconnect(changed, LATER) is changed


@all_accounts
def test_an_account_that_the_platform_refused_needs_reconnection_from_then_on(
    account: Account,
) -> None:
    changed = mark_needs_reconnection(account, EARLIER, NOW)
    if account.needs_reconnection_since is not None:
        assert changed is account
    else:
        assert changed == replace(account, needs_reconnection_since=NOW, updated_at=NOW)
    assert not readiness(changed.connection, NOW).can_post


def test_the_refusal_of_an_access_that_was_renewed_since_says_nothing_of_the_new_one() -> None:
    renewed = reconnected(ACCOUNT, LATER, NOW)
    assert mark_needs_reconnection(renewed, NOW - timedelta(milliseconds=1), LATER) is renewed
    assert mark_needs_reconnection(renewed, NOW, LATER).needs_reconnection_since == LATER


@pytest.mark.parametrize(
    "changes",
    [
        {"account_name": "A"},
        {"display_name": None},
        {"platform_username": "C", "avatar_url": None},
        {"avatar_url": "http://example.com"},
        {"token_expires_at": None},
        {"token_expires_at": NOW - timedelta(days=9999)},
    ],
)
def test_what_is_passed_changes_and_the_rest_stays(changes: AccountChanges) -> None:
    assert change_account(ACCOUNT, changes, NOW) == replace(ACCOUNT, **changes, updated_at=NOW)


@pytest.mark.parametrize(
    ("before", "after", "is_renewed"),
    [
        (NOW, LATER, True),
        (EARLIER, NOW, True),
        (LATER, NOW, False),
        (None, LATER, False),
        (LATER, None, False),
        (LATER, LATER, False),
    ],
)
def test_an_access_that_ends_later_was_renewed(
    before: datetime | None, after: datetime | None, is_renewed: bool
) -> None:
    account = replace(ACCOUNT, token_expires_at=before)
    changed = change_account(account, {"token_expires_at": after}, NOW)
    assert changed.token_refreshed_at == (NOW if is_renewed else EARLIER)


@all_accounts
def test_where_nothing_is_new_the_same_account_comes_out(account: Account) -> None:
    same: AccountChanges = {
        "account_name": account.account_name,
        "token_expires_at": account.token_expires_at,
    }
    assert change_account(account, {}, NOW) is account
    assert change_account(account, same, NOW) is account
    connected = reconnected(account, None, NOW)
    assert reconnected(connected, None, NOW) is connected
    assert connect_existing(connected, MINIMAL_ACCOUNT, NOW) is connected


TEXTS = ["accountName", "displayName", "platformUserId", "platformUsername"]
FIELDS = {
    "accountName": "account_name",
    "displayName": "display_name",
    "platformUserId": "platform_user_id",
    "platformUsername": "platform_username",
    "avatarUrl": "avatar_url",
}
BAD_TEXTS = [
    ("", "{} must not be empty; leave it out instead."),
    (" \t", "{} must not be empty; leave it out instead."),
    ("a\0b", "{} must not contain a NUL character."),
    ("a\ud800", "{} must not contain a lone surrogate."),
    ("😀" * 501, "{} is 501 characters long; at most 500 are allowed."),
]
BAD_URL = "{} must be a URL that starts with http:// or https://."
BAD_URLS = [
    ("", BAD_URL),
    ("example.com/a.png", BAD_URL),
    ("ftp://example.com/a.png", BAD_URL),
    ("javascript:alert(1)", BAD_URL),
    ("https://", BAD_URL),
    ("https://example.com/a b", BAD_URL),
    ("https://example.com/\0", "{} must not contain a NUL character."),
    ("https://e.com/" + "a" * 1987, "{} is 2001 characters long; at most 2000 are allowed."),
]
REJECTED_ACCOUNT = [(argument, *bad) for argument in TEXTS for bad in BAD_TEXTS] + [
    ("avatarUrl", *bad) for bad in BAD_URLS
]


@pytest.mark.parametrize(("argument", "text", "message"), REJECTED_ACCOUNT)
def test_a_text_that_cannot_be_right_is_refused(argument: str, text: str, message: str) -> None:
    told: dict[str, Any] = {FIELDS[argument]: text}
    with pytest.raises(InvalidInput) as refused:
        check_connection(replace(CONNECT_REQUEST, **told))
    assert (refused.value.argument, refused.value.message) == (argument, message.format(argument))

    if argument != "platformUserId":
        with pytest.raises(InvalidInput) as refused:
            change_account(ACCOUNT, cast("AccountChanges", told), NOW)
        assert refused.value.message == message.format(argument)


INVALID_PLATFORM_MESSAGE = (
    "platform must be a word of lower-case letters, digits, _ and -, such as instagram."
)


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("", INVALID_PLATFORM_MESSAGE),
        ("Instagram", INVALID_PLATFORM_MESSAGE),
        ("insta gram", INVALID_PLATFORM_MESSAGE),
        ("instagram\n", INVALID_PLATFORM_MESSAGE),
        ("_x", INVALID_PLATFORM_MESSAGE),
        ("ｘ", INVALID_PLATFORM_MESSAGE),
        ("٣", INVALID_PLATFORM_MESSAGE),
        ("x" * 51, "platform is 51 characters long; at most 50 are allowed."),
        ("x\0", "platform must not contain a NUL character."),
        ("\udfff", "platform must not contain a lone surrogate."),
    ],
)
def test_a_platform_is_a_short_word_in_lower_case(platform: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_connection(replace(CONNECT_REQUEST, platform=platform))
    assert (refused.value.argument, refused.value.message) == ("platform", message)


@pytest.mark.parametrize(
    "wanted",
    [
        CONNECT_REQUEST,
        MINIMAL_ACCOUNT,
        replace(MINIMAL_ACCOUNT, platform="x"),
        replace(MINIMAL_ACCOUNT, platform="google_business-2" + "x" * (MAX_PLATFORM_LENGTH - 17)),
        replace(MINIMAL_ACCOUNT, account_name="😀" * MAX_NAME_LENGTH),
        replace(MINIMAL_ACCOUNT, avatar_url="HTTP://e.com/" + "a" * (MAX_URL_LENGTH - 13)),
        replace(MINIMAL_ACCOUNT, token_expires_at=datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_whatever_else_is_told_may_be_connected(wanted: NewConnection) -> None:
    check_connection(wanted)
