"""API keys: creation, format, digest, validity and scopes."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_SECRET_BYTES = 16
_SECRET = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DISPLAYED_SECRET_LENGTH = 4


class Scope(StrEnum):
    """Permission of a key. `publish:all` covers all workspaces; only the server's command creates it."""

    READ = "read"
    WRITE = "write"
    PUBLISH = "publish"
    PUBLISH_ALL = "publish:all"
    ADMIN = "admin"
    RAW = "raw"
    CREDENTIALS = "credentials"


DEFAULT_SCOPES = (Scope.READ, Scope.WRITE, Scope.PUBLISH)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key as displayed to a person, only once. Only `digest` and `display_prefix` are stored."""

    token: str
    digest: bytes
    display_prefix: str


def make_key(prefix: str, random_bytes: Callable[[int], bytes]) -> NewApiKey:
    """Create a key: the prefix and 32 lower-case hex digits from 16 random bytes."""
    return key_from_token(prefix + random_bytes(_SECRET_BYTES).hex(), prefix)


def key_from_token(token: str, prefix: str) -> NewApiKey:
    """Return a well-formed token with its digest and display prefix."""
    display_prefix = token[: len(prefix) + _DISPLAYED_SECRET_LENGTH]
    return NewApiKey(token=token, digest=key_digest(token), display_prefix=display_prefix)


def is_well_formed(token: str, prefix: str) -> bool:
    """Return whether a text has the format of a key; cheaper than a database lookup."""
    return token.startswith(prefix) and bool(_SECRET.fullmatch(token, len(prefix)))


def key_digest(token: str) -> bytes:
    """Return the SHA-256 digest: sufficient for 128 random bits, and fast enough per request."""
    return hashlib.sha256(token.encode()).digest()


def is_usable(*, expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> bool:
    """Return whether a key is not revoked and `now` is before its expiry."""
    return revoked_at is None and (expires_at is None or now < expires_at)
