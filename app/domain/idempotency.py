"""When a request is a repetition of an earlier one. What it is answered then is the services' matter."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from app.domain.validation.text import check_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CLIENT_KEY_LIFETIME = timedelta(hours=24)
BODY_KEY_LIFETIME = timedelta(seconds=10)
MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """By what the repetitions of a request are known, in a workspace and for one operation."""

    text: str
    lifetime: timedelta
    """How long the answer is kept."""
    waits_for_first: bool
    """Whether a repetition waits for the first request, or is refused while that runs."""


def parse_client_key(text: str, argument: str) -> IdempotencyKey:
    """A client's own key; InvalidInput for one that is empty, too long or not printable."""
    check_name(text, argument, max_length=MAX_KEY_LENGTH)
    return IdempotencyKey(f"given:{text}", CLIENT_KEY_LIFETIME, waits_for_first=False)


def body_key(caller_id: str, body: bytes) -> IdempotencyKey:
    """For clients that send no key: a body that comes again, byte for byte, from the same caller."""
    digest = hashlib.sha256(body).hexdigest()
    return IdempotencyKey(f"body:{caller_id}:{digest}", BODY_KEY_LIFETIME, waits_for_first=True)


def canonicalize(request: "DataclassInstance") -> dict[str, object]:
    """What was asked for, without what was not: a field that a later version knows changes nothing."""
    return asdict(
        request,
        dict_factory=lambda members: {name: value for name, value in members if value is not None},
    )


def fingerprint(request: object) -> bytes:
    """The same for two inputs that ask for the same, in whatever order their members are."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).digest()
