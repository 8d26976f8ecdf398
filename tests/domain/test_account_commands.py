"""Commands on accounts, for every state of their access, and rejected arguments."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, cast

import pytest

from app.domain.account_commands import (
    AccountUpdate,
    NewAccount,
    accept_access,
    check_new_account,
    connect,
    connect_existing,
    disconnect,
    mark_needs_reconnection,
    reconnect,
    update_account,
)
from app.domain.accounts import Account, AccountPublisher, readiness
from app.domain.validation.text import MAX_NAME_LENGTH, MAX_URL_LENGTH
from tests.domain.destination_states import make_account
from tests.domain.errors import NOT_A_PLATFORM, NOT_A_URL, NUL, SURROGATE, input_error
from tests.factories import NOW

EXTERNAL, SANDBOX = AccountPublisher.EXTERNAL, AccountPublisher.SANDBOX
EARLIER, LATER = NOW - timedelta(days=30), NOW + timedelta(days=60)
NEW_ACCOUNT = NewAccount(
    platform="linkedin",
    account_name="Acme Inc.",
    display_name="Acme",
    platform_user_id="urn:li:organization:7",
    platform_username="acme-inc",
    avatar_url="https://example.com/acme.png",
    token_expires_at=LATER,
    publisher=None,
    on_lost_access=None,
)
MINIMAL_ACCOUNT = NewAccount(
    platform="linkedin",
    account_name=None,
    display_name=None,
    platform_user_id=None,
    platform_username=None,
    avatar_url=None,
    token_expires_at=None,
    publisher=None,
    on_lost_access=None,
)
ACCOUNT = make_account(
    7,
    platform="linkedin",
    account_name="Acme Inc.",
    display_name="Acme",
    platform_user_id="urn:li:organization:7",
    platform_username="acme-inc",
    avatar_url="https://example.com/acme.png",
    token_expires_at=LATER,
    token_refreshed_at=EARLIER,
    connected_at=EARLIER,
    created_at=EARLIER,
    updated_at=EARLIER,
)
all_accounts = pytest.mark.parametrize(
    "account",
    [
        replace(
            ACCOUNT, is_active=is_active, needs_reconnection_since=since, token_expires_at=expiry
        )
        for is_active, since, expiry in product(
            (True, False), (None, EARLIER, NOW), (None, EARLIER, NOW, LATER)
        )
    ],
)


def test_new_account_is_active() -> None:
    assert connect(NEW_ACCOUNT, ACCOUNT.id, NOW) == replace(
        ACCOUNT, token_refreshed_at=NOW, connected_at=NOW, created_at=NOW, updated_at=NOW
    )


@pytest.mark.parametrize("expiry", [None, LATER])
@all_accounts
def test_reconnected_account_has_new_access(account: Account, expiry: datetime | None) -> None:
    changed = reconnect(account, expiry, NOW)
    assert changed == replace(
        account,
        is_active=True,
        needs_reconnection_since=None,
        token_expires_at=expiry,
        token_refreshed_at=NOW,
        connected_at=NOW,
        updated_at=NOW,
    )
    assert readiness(changed.access, NOW).can_post


@all_accounts
def test_connecting_existing_account_keeps_missing_names(account: Account) -> None:
    new_account = replace(MINIMAL_ACCOUNT, display_name="ACME")
    assert connect_existing(account, new_account, NOW) == replace(
        reconnect(account, None, NOW), display_name="ACME"
    )


def test_connecting_existing_account_replaces_given_names() -> None:
    new_account = replace(
        NEW_ACCOUNT,
        account_name="A",
        display_name="B",
        platform_username="C",
        avatar_url="http://example.com/",
        token_expires_at=EARLIER,
    )
    assert connect_existing(ACCOUNT, new_account, NOW) == replace(
        connect(new_account, ACCOUNT.id, NOW), created_at=EARLIER
    )


@pytest.mark.parametrize(
    ("platform", "publisher"),
    [("linkedin", EXTERNAL), ("sandbox", SANDBOX), ("sandbox2", EXTERNAL)],
)
def test_publisher_depends_on_the_platform_by_default(
    platform: str, publisher: AccountPublisher
) -> None:
    new_account = replace(MINIMAL_ACCOUNT, platform=platform)
    assert connect(new_account, ACCOUNT.id, NOW).publisher is publisher


def test_connected_account_has_the_requested_publisher_or_its_own() -> None:
    new_account = replace(MINIMAL_ACCOUNT, platform="sandbox", publisher=EXTERNAL)
    account = connect(new_account, ACCOUNT.id, NOW)
    assert account.publisher is EXTERNAL
    for requested, publisher in ((None, EXTERNAL), (SANDBOX, SANDBOX)):
        connected = connect_existing(account, replace(new_account, publisher=requested), LATER)
        assert connected.publisher is publisher


def test_adapter_publishes_on_its_platform_only() -> None:
    error = (
        "publisher",
        "publisher SANDBOX publishes on the platform sandbox only, not on linkedin. Choose EXTERNAL, and"
        " publish with a client of the API.",
    )
    new_account = replace(MINIMAL_ACCOUNT, publisher=SANDBOX)
    assert input_error(check_new_account, new_account) == error
    assert input_error(update_account, ACCOUNT, {"publisher": SANDBOX}, NOW) == error


@all_accounts
def test_disconnected_account_is_inactive(account: Account) -> None:
    changed = disconnect(account, NOW)
    if account.is_active:
        assert changed == replace(account, is_active=False, updated_at=NOW)
    else:
        assert changed is account
    assert not readiness(changed.access, NOW).can_post


@all_accounts
def test_rejected_account_needs_reconnection(account: Account) -> None:
    changed = mark_needs_reconnection(account, EARLIER, NOW)
    if account.needs_reconnection_since is None:
        assert changed == replace(account, needs_reconnection_since=NOW, updated_at=NOW)
    else:
        assert changed is account
    assert not readiness(changed.access, NOW).can_post


@all_accounts
def test_accepted_access_connects_an_active_account_that_needs_it(account: Account) -> None:
    changed = accept_access(account, NOW, NOW)
    if account.is_active and account.needs_reconnection_since is not None:
        expires_at = None if account.access.token_expired(NOW) else account.token_expires_at
        assert changed == reconnect(account, expires_at, NOW)
        assert readiness(changed.access, NOW).can_post
    else:
        assert changed is account


def test_access_that_was_accepted_before_its_rejection_stays_rejected() -> None:
    rejected = replace(ACCOUNT, needs_reconnection_since=NOW)

    assert accept_access(rejected, NOW - timedelta(milliseconds=1), LATER) is rejected
    assert accept_access(rejected, NOW, LATER).needs_reconnection_since is None


def test_rejection_of_replaced_access_is_ignored() -> None:
    renewed = reconnect(ACCOUNT, LATER, NOW)
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
def test_change_leaves_absent_fields_unchanged(changes: AccountUpdate) -> None:
    assert update_account(ACCOUNT, changes, NOW) == replace(ACCOUNT, **changes, updated_at=NOW)


@pytest.mark.parametrize(
    ("before", "after", "is_refreshed"),
    [
        (NOW, LATER, True),
        (EARLIER, NOW, True),
        (LATER, NOW, False),
        (None, LATER, False),
        (LATER, None, False),
        (LATER, LATER, False),
    ],
)
def test_later_expiry_is_a_token_refresh(
    before: datetime | None, after: datetime | None, is_refreshed: bool
) -> None:
    account = replace(ACCOUNT, token_expires_at=before)
    changed = update_account(account, {"token_expires_at": after}, NOW)
    assert changed.token_refreshed_at == (NOW if is_refreshed else EARLIER)


@all_accounts
def test_command_without_effect_returns_same_account(account: Account) -> None:
    same: AccountUpdate = {
        "account_name": account.account_name,
        "token_expires_at": account.token_expires_at,
    }
    assert update_account(account, {}, NOW) is account
    assert update_account(account, same, NOW) is account
    connected = reconnect(account, None, NOW)
    assert reconnect(connected, None, NOW) is connected
    assert connect_existing(connected, MINIMAL_ACCOUNT, NOW) is connected


FIELDS = {
    "accountName": "account_name",
    "displayName": "display_name",
    "platformUserId": "platform_user_id",
    "platformUsername": "platform_username",
    "avatarUrl": "avatar_url",
}
INVALID_NAMES = {
    "": "{} must not be empty; leave it out instead.",
    " \t": "{} must not be empty; leave it out instead.",
    "a\0b": f"{{}} {NUL}",
    "a\ud800": f"{{}} {SURROGATE}",
    "😀" * 501: "{} is 501 characters long; at most 500 are allowed.",
}
INVALID_URLS = {
    "": f"{{}} {NOT_A_URL}",
    "javascript:alert(1)": f"{{}} {NOT_A_URL}",
    "https://e.com/" + "a" * 1987: "{} is 2001 characters long; at most 2000 are allowed.",
}


@pytest.mark.parametrize("argument", FIELDS)
def test_invalid_text_is_rejected(argument: str) -> None:
    invalid = INVALID_URLS if argument == "avatarUrl" else INVALID_NAMES
    for text, message in invalid.items():
        fields: dict[str, Any] = {FIELDS[argument]: text}
        expected = (argument, message.format(argument))
        assert input_error(check_new_account, replace(NEW_ACCOUNT, **fields)) == expected
        if argument != "platformUserId":
            changes = cast("AccountUpdate", fields)
            assert input_error(update_account, ACCOUNT, changes, NOW) == expected


def test_invalid_platform_is_rejected() -> None:
    assert input_error(check_new_account, replace(NEW_ACCOUNT, platform="Instagram")) == (
        "platform",
        f"platform {NOT_A_PLATFORM}",
    )


@pytest.mark.parametrize(
    "new_account",
    [
        NEW_ACCOUNT,
        MINIMAL_ACCOUNT,
        replace(MINIMAL_ACCOUNT, account_name="😀" * MAX_NAME_LENGTH),
        replace(MINIMAL_ACCOUNT, avatar_url="HTTP://e.com/" + "a" * (MAX_URL_LENGTH - 13)),
        replace(MINIMAL_ACCOUNT, token_expires_at=NOW - timedelta(days=9999)),
    ],
)
def test_valid_account_is_accepted(new_account: NewAccount) -> None:
    check_new_account(new_account)
