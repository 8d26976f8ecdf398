"""Pagination cursors: opaque, versioned, and bound to the list and workspace they were made for. No SQL."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from app.domain.errors import BadCursor
from app.domain.ids import WorkspaceId
from app.domain.signing import Signer
from app.domain.times import format_instant, parse_instant

_VERSION = 1

SortValue = datetime | None


@dataclass(frozen=True, slots=True)
class KeysetPosition:
    """A place in an order: the value sorted by, and the id that breaks ties."""

    value: SortValue
    key: str


class CursorCodec:
    """Writes and reads the cursors of one list, in one order, in one workspace.

    The signature makes every other cursor foreign: another list's, order's or workspace's, and one
    made by hand. What is read back is therefore always what was written.
    """

    def __init__(self, secret: bytes, workspace_id: WorkspaceId, list_name: str) -> None:
        self._signer = Signer(secret, f"{_VERSION}:{workspace_id}:{list_name}:")

    def encode(self, position: KeysetPosition) -> str:
        value = None if position.value is None else format_instant(position.value)
        return self._signer.sign(json.dumps([value, position.key], separators=(",", ":")).encode())

    def decode(self, cursor: str, argument: str) -> KeysetPosition:
        """BadCursor, naming the argument, for whatever this codec did not write."""
        payload = self._signer.unsign(cursor)
        if payload is None:
            raise _bad_cursor(argument)
        value, key = cast("tuple[str | None, str]", json.loads(payload))
        return KeysetPosition(None if value is None else parse_instant(value), key)


def _bad_cursor(argument: str) -> BadCursor:
    return BadCursor(
        f"{argument} is not a cursor of this list in this order."
        " Pass one that an earlier page returned, unchanged, or leave it out.",
        argument=argument,
    )
