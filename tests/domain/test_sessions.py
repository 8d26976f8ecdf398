"""Sessions of the board: their end, and the parsing of a sign-in."""

from datetime import timedelta
from uuid import UUID

import pytest

from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.ids import SessionId
from app.domain.sessions import BoardSession, SignIn, make_token, parse_sign_in, session_expiry
from tests.factories import NOW

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("used_after", "key_ends_after", "ends_after"),
    [
        (timedelta(0), None, 12 * HOUR),
        (5 * HOUR, None, 17 * HOUR),
        (7 * DAY - 12 * HOUR, None, 7 * DAY),
        (7 * DAY - HOUR, None, 7 * DAY),
        (5 * HOUR, 17 * HOUR, 17 * HOUR),
        (5 * HOUR, 6 * HOUR, 6 * HOUR),
        (5 * HOUR, 30 * DAY, 17 * HOUR),
    ],
)
def test_session_ends_when_unused_or_old_or_with_its_key(
    used_after: timedelta, key_ends_after: timedelta | None, ends_after: timedelta
) -> None:
    key_expires_at = None if key_ends_after is None else NOW + key_ends_after
    session = BoardSession(
        id=SessionId(UUID(int=1)),
        person=None,
        scopes=DEFAULT_SCOPES,
        created_at=NOW,
        last_used_at=NOW,
        expires_at=session_expiry(NOW, NOW, key_expires_at),
    )
    used = session.used(NOW + used_after, key_expires_at)
    assert (used.last_used_at, used.expires_at) == (NOW + used_after, NOW + ends_after)


@pytest.mark.parametrize("key", ["k", " k\n", '"k"', "'k'", ' " k " ', "\tk"])
def test_spaces_and_quotes_around_the_key_are_removed(key: str) -> None:
    assert parse_sign_in({"key": key}) == SignIn("k", None, read_only=False, full_access=False)


@pytest.mark.parametrize("person", [None, "", " ", "\n"])
def test_person_is_optional(person: str | None) -> None:
    assert parse_sign_in({"key": "k", "person": person}).person is None


def test_flags_and_name_are_read() -> None:
    members = {"key": "k", "person": " Zoë 😀 ", "readOnly": True, "fullAccess": False}
    assert parse_sign_in(members) == SignIn("k", "Zoë 😀", read_only=True, full_access=False)


def test_representation_has_no_key() -> None:
    assert "pe_live_" not in repr(parse_sign_in({"key": "pe_live_0"}))


@pytest.mark.parametrize(
    ("read_only", "full_access", "expected"),
    [
        (False, False, (Scope.READ, Scope.WRITE)),
        (True, False, (Scope.READ,)),
        (False, True, DEFAULT_SCOPES),
    ],
)
def test_scopes_are_those_of_the_key_or_fewer(
    read_only: bool, full_access: bool, expected: tuple[Scope, ...]
) -> None:
    sign_in = SignIn("k", None, read_only=read_only, full_access=full_access)
    assert sign_in.allowed_scopes(DEFAULT_SCOPES) == expected
    assert sign_in.allowed_scopes(()) == ()


def test_token_has_256_random_bits() -> None:
    lengths = []

    def random_bytes(length: int) -> bytes:
        lengths.append(length)
        return b"\xab" * length

    assert make_token(random_bytes) == "ab" * 32
    assert lengths == [32]
