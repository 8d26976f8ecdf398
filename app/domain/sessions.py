"""Sessions of the board: what a person or a proxy sends to sign in, scopes, and when sessions end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from app.domain.api_keys import Scope
from app.domain.errors import InsufficientScope, InvalidInput
from app.domain.ids import SessionId
from app.domain.validation.object_reader import ObjectReader
from app.domain.validation.text import validate_name

SESSION_IDLE_LIMIT = timedelta(hours=12)
SESSION_MAX_AGE = timedelta(days=7)
SESSION_ENDED = "The session has ended. Sign in again."
"""Message for every session that is not valid, which does not reveal why."""
MAX_SESSIONS_PER_KEY = 50
"""The next sign-in ends the oldest session of the key, because each session has a rate limit of its own."""
MAX_PERSON_LENGTH = 100
BOARD_SCOPES = (Scope.READ, Scope.WRITE, Scope.ADMIN, Scope.RAW)
"""Scopes that a session can have unless full access is requested."""

_TOKEN_BYTES = 32
_MAX_KEY_LENGTH = 200
_QUOTES = "\"'"
_READ_SCOPES = (Scope.READ, Scope.RAW)


class SessionToken(str):
    """Secret of a session, in hexadecimal digits, as its cookie has it; never accepted as an API key."""

    __slots__ = ()


def make_token(random_bytes: Callable[[int], bytes]) -> SessionToken:
    """Create a token from 256 random bits."""
    return SessionToken(random_bytes(_TOKEN_BYTES).hex())


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSession:
    """Sign-in of a person with a key. Ends with the key, or at `expires_at`, which each use postpones."""

    id: SessionId
    person: str | None
    scopes: tuple[Scope, ...]
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime

    def used(self, now: datetime, key_expires_at: datetime | None) -> "BoardSession":
        """Return the session after a use."""
        expires_at = session_expiry(self.created_at, now, key_expires_at)
        return replace(self, last_used_at=now, expires_at=expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySession:
    """Sign-in of a person by a proxy, which also ends it; nothing of it is stored."""

    id: SessionId
    """Id of the person in the workspace, by which rate limits count."""
    person: str
    expires_at: None = None


@dataclass(frozen=True, slots=True)
class ProxyIdentity:
    """Headers by which a trusted proxy names a person, not checked yet."""

    user_headers: tuple[bytes, ...]
    group_headers: tuple[bytes, ...]


Credential: TypeAlias = str | ProxyIdentity
"""API key, SessionToken, or the headers of a proxy."""


def session_expiry(
    created_at: datetime, last_used_at: datetime, key_expires_at: datetime | None
) -> datetime:
    """Return the end of a session of a key without further use."""
    end = min(last_used_at + SESSION_IDLE_LIMIT, created_at + SESSION_MAX_AGE)
    return end if key_expires_at is None else min(end, key_expires_at)


@dataclass(frozen=True, slots=True)
class SignIn:
    """Request to sign in."""

    key: str = field(repr=False)
    person: str | None
    read_only: bool
    full_access: bool

    def allowed_scopes(self, key_scopes: Sequence[Scope]) -> tuple[Scope, ...]:
        """Return the scopes of the session: those of the key, without publishing unless it is requested."""
        if self.read_only:
            return tuple(scope for scope in key_scopes if scope in _READ_SCOPES)
        if self.full_access:
            return tuple(key_scopes)
        return tuple(scope for scope in key_scopes if scope in BOARD_SCOPES)


def check_may_end_others(scopes: Sequence[Scope]) -> None:
    """Raise InsufficientScope if a session with these scopes may only read: it can end only itself."""
    if all(scope in _READ_SCOPES for scope in scopes):
        raise InsufficientScope(
            "This session may only read, so it can end only itself. Sign out without everywhere=true, or"
            " sign in with write access."
        )


def parse_sign_in(members: Mapping[str, object]) -> SignIn:
    """Read the members key, person, readOnly and fullAccess; raises InvalidInput, which never has the key.

    Spaces and quotes around the key are removed, because people copy them with it.
    """
    body = ObjectReader(members)
    key = body.required_text("key", max_length=_MAX_KEY_LENGTH).strip().strip(_QUOTES).strip()
    person = (body.string("person") or "").strip()
    read_only = body.boolean("readOnly") or False
    full_access = body.boolean("fullAccess") or False
    if not key:
        raise InvalidInput("key is empty. Enter an API key.", argument="key")
    if read_only and full_access:
        raise InvalidInput(
            "readOnly and fullAccess exclude each other: set one of them.", argument="fullAccess"
        )
    return SignIn(
        key=key,
        person=validate_name(person, "person", max_length=MAX_PERSON_LENGTH) if person else None,
        read_only=read_only,
        full_access=full_access,
    )
