"""Typed ids, their one accepted text form, opaque Relay node ids, and the kinds of workspaces."""

import base64
import binascii
import re
from collections.abc import Callable
from enum import StrEnum
from typing import NewType, TypeAlias
from uuid import UUID

from app.domain.errors import InvalidId, InvalidInput

WorkspaceId = NewType("WorkspaceId", UUID)
ApiKeyId = NewType("ApiKeyId", UUID)
SessionId = NewType("SessionId", UUID)
PostId = NewType("PostId", UUID)
DestinationId = NewType("DestinationId", UUID)
WebhookId = NewType("WebhookId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
AccountId = NewType("AccountId", int)
"""Account number, counted from 1; unique only within a workspace."""

IdFactory = Callable[[], UUID]
"""Returns a new unique id."""

FailureGroupKey = NewType("FailureGroupKey", str)
"""Key of a failure group: version of the normalizer, and a hash."""

MAX_ACCOUNT_ID = 2**31 - 1

DEMO_WORKSPACE_ID = WorkspaceId(UUID("de300000-0000-4000-8000-000000000de3"))
"""Workspace of `serve --demo`; it does not count as the first workspace of an installation."""


class WorkspaceKind(StrEnum):
    """Kind of a workspace: LOCAL publishes through this service, MIRROR records the results of another."""

    LOCAL = "local"
    MIRROR = "mirror"


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_ACCOUNT_ID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_FAILURE_GROUP_KEY = re.compile(r"[0-9]{1,4}-[0-9a-f]{32}", re.ASCII)


def parse_uuid(text: str, argument: str | None = None) -> UUID:
    """Parse a UUID in its 36-character form, in either case; raises InvalidId for any other form."""
    if not _UUID.fullmatch(text):
        raise InvalidId(
            "The id must be a UUID in its 36-character form,"
            " such as f47ac10b-58cc-4372-a567-0e02b2c3d479.",
            argument=argument,
        )
    return UUID(text)


def parse_account_id(text: str, argument: str | None = None) -> AccountId:
    """Parse an account id in decimal digits, 1 to 2,147,483,647; raises InvalidId otherwise."""
    if not _ACCOUNT_ID.fullmatch(text):
        raise invalid_account_id_error(argument)
    return validate_account_id(int(text), argument)


def validate_account_id(number: int, argument: str | None = None) -> AccountId:
    """Return the number as an account id; raises InvalidId if it is out of range."""
    if not 1 <= number <= MAX_ACCOUNT_ID:
        raise invalid_account_id_error(argument)
    return AccountId(number)


def invalid_account_id_error(argument: str | None) -> InvalidId:
    return InvalidId(
        f"An account id is a whole number from 1 to {MAX_ACCOUNT_ID}.", argument=argument
    )


def parse_failure_group_key(text: str, argument: str = "key") -> FailureGroupKey:
    """Return the text as the key of a failure group; raises InvalidInput if it has another format."""
    if not _FAILURE_GROUP_KEY.fullmatch(text):
        raise InvalidInput(
            f"{argument} must be the key of a failure group, as `FailureGroup.key` and"
            " `Destination.failureGroup` return it.",
            argument=argument,
        )
    return FailureGroupKey(text)


class NodeKind(StrEnum):
    """Types that `node(id:)` can return. The value is part of the opaque id."""

    POST = "Post"
    DESTINATION = "Destination"
    ACCOUNT = "Account"
    FAILURE_GROUP = "FailureGroup"
    WEBHOOK = "Webhook"
    WEBHOOK_DELIVERY = "WebhookDelivery"


NodeKey: TypeAlias = UUID | AccountId | FailureGroupKey


def encode_node_id(kind: NodeKind, key: UUID | int | str) -> str:
    """Return the opaque Relay id of an object, unique across types but not across workspaces."""
    return base64.b64encode(f"{kind}:{key}".encode()).decode()


def decode_node_id(text: str, argument: str) -> tuple[NodeKind, NodeKey]:
    """Decode an opaque id; raises InvalidId unless `encode_node_id` can return it."""
    try:
        kind_name, _, key = base64.b64decode(text, validate=True).decode("ascii").partition(":")
        kind = NodeKind(kind_name)
        decoded = _KEY_PARSERS.get(kind, parse_uuid)(key)
        if encode_node_id(kind, decoded) != text:
            raise ValueError("not in canonical form")
    except (ValueError, binascii.Error, InvalidInput):
        raise InvalidId(
            "The id is not one that this API returned in a field named `id`.", argument=argument
        ) from None
    return kind, decoded


_KEY_PARSERS: dict[NodeKind, Callable[[str], NodeKey]] = {
    NodeKind.ACCOUNT: parse_account_id,
    NodeKind.FAILURE_GROUP: parse_failure_group_key,
}
"""Functions that parse the keys which are not UUIDs."""
