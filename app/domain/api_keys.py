"""API keys: how one is made, recognised, hashed and judged, and what its scopes allow. No storage."""

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
    """What a key may do. `publish:all` reaches over all workspaces and is made on the server only."""

    READ = "read"
    WRITE = "write"
    PUBLISH = "publish"
    PUBLISH_ALL = "publish:all"
    ADMIN = "admin"


DEFAULT_SCOPES = (Scope.READ, Scope.WRITE, Scope.PUBLISH)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key as it is shown to a person, once; only `digest` and `shown_prefix` are stored."""

    token: str
    digest: bytes
    shown_prefix: str


def make_key(prefix: str, random_bytes: Callable[[int], bytes]) -> NewApiKey:
    """A new key: the prefix and 32 lower-case hex digits out of 16 random bytes."""
    return key_from_token(prefix + random_bytes(_SECRET_BYTES).hex(), prefix)


def key_from_token(token: str, prefix: str) -> NewApiKey:
    """The storable form of a well-formed token."""
    shown = token[: len(prefix) + _DISPLAYED_SECRET_LENGTH]
    return NewApiKey(token=token, digest=key_digest(token), shown_prefix=shown)


def is_well_formed(token: str, prefix: str) -> bool:
    """Whether a text can be a key at all, before anything is looked up."""
    return token.startswith(prefix) and bool(_SECRET.fullmatch(token, len(prefix)))


def key_digest(token: str) -> bytes:
    """SHA-256: enough for 128 random bits, and fast enough to take on every request."""
    return hashlib.sha256(token.encode()).digest()


def is_usable(*, expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> bool:
    """A key works until it is revoked and up to, not including, its expiry."""
    return revoked_at is None and (expires_at is None or now < expires_at)
