"""What a notification says: in which workspaces there may be something new. How it is sent is elsewhere."""

from collections.abc import Collection, Sequence

from app.domain.errors import InvalidId
from app.domain.ids import WorkspaceId, parse_uuid

CHANNEL = "post_results"

MAX_WORKSPACES_PER_PAYLOAD = 200
"""A payload must be shorter than 8,000 bytes: with more workspaces, it says that it may be any."""

_ANY_WORKSPACE = ""
"""As `NOTIFY post_results` has it, typed by hand."""


def encode_payload(workspaces: Collection[WorkspaceId]) -> str:
    if len(workspaces) > MAX_WORKSPACES_PER_PAYLOAD:
        return _ANY_WORKSPACE
    return ",".join(sorted(map(str, workspaces)))


def decode_payload(payload: str) -> Sequence[WorkspaceId | None]:
    """None is any workspace: also whatever is not understood, for a wake-up too many does no harm."""
    try:
        return [WorkspaceId(parse_uuid(each)) for each in payload.split(",")]
    except InvalidId:
        return [None]
