"""Signed opaque texts, which only this installation can create, and pagination cursors made of them."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from app.domain.errors import BadCursor
from app.domain.ids import WorkspaceId
from app.domain.times import format_instant, parse_instant

_SIGNATURE_BYTES = 12
_CURSOR_VERSION = 1


class Signer:
    """Signer and verifier of texts of one purpose, by HMAC. Texts of other purposes are invalid."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._secret = secret
        self._purpose = purpose.encode()

    def sign(self, payload: bytes) -> str:
        return _encode_base64url(self._signature(payload) + payload)

    def unsign(self, text: str) -> bytes | None:
        """Return the payload; None for a text that this signer did not create."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        is_authentic = hmac.compare_digest(signature, self._signature(payload))
        is_canonical = _encode_base64url(raw) == text  # base64 has several forms of the same bytes
        return payload if is_authentic and is_canonical else None

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, self._purpose + payload, hashlib.sha256)[:_SIGNATURE_BYTES]


@dataclass(frozen=True, slots=True)
class KeysetPosition:
    """Position in a sorted list: the sort value, a time or a number, and the id that breaks ties."""

    value: datetime | int | None
    key: str


class CursorCodec:
    """Codec for the cursors of one list, in one order, in one workspace.

    The signature invalidates every other cursor: of another list, order or workspace, or hand-made.
    Decoding therefore always returns a position that was encoded.
    """

    def __init__(self, secret: bytes, workspace_id: WorkspaceId, list_name: str) -> None:
        self._signer = Signer(secret, f"{_CURSOR_VERSION}:{workspace_id}:{list_name}:")

    def encode(self, position: KeysetPosition) -> str:
        value: str | int | None = (
            format_instant(position.value)
            if isinstance(position.value, datetime)
            else position.value
        )
        return self._signer.sign(json.dumps([value, position.key], separators=(",", ":")).encode())

    def decode(self, cursor: str, argument: str) -> KeysetPosition:
        """Return the position of a cursor; raises BadCursor if this codec did not encode it."""
        payload = self._signer.unsign(cursor)
        if payload is None:
            raise BadCursor(
                f"{argument} is not a cursor of this list in this order."
                " Pass one that an earlier page returned, unchanged, or leave it out.",
                argument=argument,
            )
        value, key = cast("tuple[str | int | None, str]", json.loads(payload))
        return KeysetPosition(parse_instant(value) if isinstance(value, str) else value, key)


def _encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
