"""Pagination cursors: opaque, versioned and bound to one list in one workspace."""

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
    """Position in a sorted list: the sort value, and the id that breaks ties."""

    value: SortValue
    key: str


class CursorCodec:
    """Codec for the cursors of one list, in one order, in one workspace.

    The signature invalidates every other cursor: of another list, order or workspace, or hand-made.
    Decoding therefore always returns a position that was encoded.
    """

    def __init__(self, secret: bytes, workspace_id: WorkspaceId, list_name: str) -> None:
        self._signer = Signer(secret, f"{_VERSION}:{workspace_id}:{list_name}:")

    def encode(self, position: KeysetPosition) -> str:
        value = None if position.value is None else format_instant(position.value)
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
        value, key = cast("tuple[str | None, str]", json.loads(payload))
        return KeysetPosition(None if value is None else parse_instant(value), key)
