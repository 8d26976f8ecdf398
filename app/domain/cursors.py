"""Pagination cursors: opaque, versioned, and bound to the list and workspace they were made for. No SQL."""

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

_VERSION = 1
_SIGNATURE_BYTES = 12

SortValue = datetime | None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an order: the value sorted by, and the id that breaks ties."""

    value: SortValue
    key: str


class CursorCodec:
    """Writes and reads the cursors of one list, in one order, in one workspace.

    The signature makes every other cursor foreign: another list's, order's or workspace's, and one
    made by hand. What is read back is therefore always what was written.
    """

    def __init__(self, secret: bytes, workspace_id: WorkspaceId, list_name: str) -> None:
        self._secret = secret
        self._purpose = f"{_VERSION}:{workspace_id}:{list_name}:".encode()

    def encode(self, position: Position) -> str:
        value = None if position.value is None else format_instant(position.value)
        payload = json.dumps([value, position.key], separators=(",", ":")).encode()
        return _spell(self._sign(payload) + payload)

    def decode(self, cursor: str, argument: str) -> Position:
        """BadCursor, naming the argument, for whatever this codec did not write."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise _bad_cursor(argument) from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        is_ours = hmac.compare_digest(signature, self._sign(payload))
        if not is_ours or _spell(raw) != cursor:  # base64 has several spellings of the same bytes
            raise _bad_cursor(argument)
        value, key = cast("tuple[str | None, str]", json.loads(payload))
        return Position(None if value is None else parse_instant(value), key)

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, self._purpose + payload, hashlib.sha256)[:_SIGNATURE_BYTES]


def _spell(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bad_cursor(argument: str) -> BadCursor:
    return BadCursor(
        f"{argument} is not a cursor of this list in this order."
        " Pass one that an earlier page returned, unchanged, or leave it out.",
        argument=argument,
    )
