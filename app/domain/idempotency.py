"""Idempotency keys and request fingerprints, which identify repeated requests."""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from app.domain.validation.text import validate_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_CLIENT_KEY_LIFETIME = timedelta(hours=24)
_BODY_KEY_LIFETIME = timedelta(seconds=10)
_MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Key by which repetitions of a request are recognised, in one workspace and for one operation."""

    text: str
    lifetime: timedelta
    """Time during which repetitions get the stored result."""
    is_client_chosen: bool
    """True for a client's own key: while the first request runs, a repetition is rejected.

    False for the key of a body: a repetition waits for the first request, and runs if the stored outcome is
    no longer valid.
    """


def parse_client_key(text: str, argument: str) -> IdempotencyKey:
    """Return the client's own key; raises InvalidInput if it is empty, too long or not printable."""
    validate_name(text, argument, max_length=_MAX_KEY_LENGTH)
    return IdempotencyKey(f"given:{text}", _CLIENT_KEY_LIFETIME, is_client_chosen=True)


def body_key(caller_id: str, body: bytes) -> IdempotencyKey:
    """Return the implicit key of a request without one: its caller and the bytes of its body."""
    digest = hashlib.sha256(body).hexdigest()
    return IdempotencyKey(f"body:{caller_id}:{digest}", _BODY_KEY_LIFETIME, is_client_chosen=False)


def canonicalize(request: "DataclassInstance") -> dict[str, object]:
    """Return the request without its null fields, so that a field added later changes nothing.

    JSON values are not copied: some have hundreds of thousands of members.
    """
    members: dict[str, Any] = {
        field.name: getattr(request, field.name) for field in fields(request)
    }
    return {
        name: canonicalize(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in members.items()
        if value is not None
    }


def fingerprint(request: object) -> bytes:
    """Return a digest of the request that does not depend on the order of members."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).digest()
