"""API keys: creation, format, digest, validity and scopes."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.api_keys import (
    DEFAULT_SCOPES,
    NewApiKey,
    Scope,
    is_usable,
    is_well_formed,
    key_digest,
    key_from_token,
    make_key,
)

NOW = datetime(2026, 4, 15, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)
DIGITS = "0123456789abcdef" * 2
TOKEN = f"pe_live_{DIGITS}"


def test_new_key_is_prefix_and_32_hex_digits() -> None:
    random_bytes = bytes.fromhex("0123456789abcdef" * 4)
    assert make_key("pe_live_", lambda count: random_bytes[:count]) == NewApiKey(
        token=TOKEN,
        digest=hashlib.sha256(TOKEN.encode()).digest(),
        display_prefix="pe_live_0123",
    )


@given(st.binary(min_size=16, max_size=16), st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True))
def test_every_new_key_is_well_formed(secret: bytes, prefix: str) -> None:
    key = make_key(prefix, lambda count: secret[:count])
    assert is_well_formed(key.token, prefix)
    assert key_from_token(key.token, prefix) == key
    assert key.digest == key_digest(key.token)
    assert key.token.startswith(key.display_prefix)
    assert len(key.display_prefix) == len(prefix) + 4


@pytest.mark.parametrize(
    "token",
    [
        *("", "pe_live_", DIGITS, f"pe_test_{DIGITS}", f"PE_LIVE_{DIGITS}"),
        *(f"pe_live_{DIGITS.upper()}", TOKEN.upper(), f"Bearer {TOKEN}"),
        *(f" {TOKEN}", f"{TOKEN} ", f"{TOKEN}\n", f"{TOKEN}0"),
        *(TOKEN[:-1] + end for end in ("", "g", "٣", "\ud800")),
    ],
)
def test_malformed_key_is_recognised(token: str) -> None:
    assert is_well_formed(TOKEN, "pe_live_")
    assert not is_well_formed(token, "pe_live_")


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "usable"),
    [
        (None, None, True),
        (NOW + MS, None, True),
        (NOW, None, False),
        (NOW - MS, None, False),
        (None, NOW - MS, False),
        (None, NOW, False),
        (None, NOW + MS, False),
        (NOW + MS, NOW, False),
    ],
)
def test_key_is_usable_until_revoked_or_expired(
    expires_at: datetime | None, revoked_at: datetime | None, usable: bool
) -> None:
    assert is_usable(expires_at=expires_at, revoked_at=revoked_at, now=NOW) is usable


def test_default_scopes_are_read_write_and_publish() -> None:
    assert [scope.value for scope in DEFAULT_SCOPES] == ["read", "write", "publish"]
    assert [scope.value for scope in Scope] == [
        *("read", "write", "publish", "publish:all", "admin", "raw", "credentials")
    ]
