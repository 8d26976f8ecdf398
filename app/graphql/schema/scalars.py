"""Scalars DateTime, UUID, JSON and Credentials; modules of `app.domain` define the formats."""

from datetime import datetime
from typing import Any, NewType
from uuid import UUID

import strawberry
from graphql import Undefined, ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from app.domain.credentials import MAX_CREDENTIALS_BYTES, NewCredentials, parse_credentials
from app.domain.errors import InvalidId, InvalidInput
from app.domain.ids import parse_uuid
from app.domain.times import FIRST_YEAR, LAST_YEAR, format_instant, parse_instant

Json = NewType("Json", object)

CREDENTIALS_SCALAR = "Credentials"


def _parse_instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise InvalidInput("A DateTime must be a string, such as 2026-04-15T14:30:05.000Z.")
    return parse_instant(value)


def _parse_uuid(value: object) -> UUID:
    if isinstance(value, UUID):  # from REST, which has parsed it
        return value
    if not isinstance(value, str):
        raise InvalidId("A UUID must be a string of 36 characters.")
    return parse_uuid(value)


def _parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> object:
    """Parse a literal of a document; object fields with an omitted variable are left out."""
    return _without_undefined(value_from_ast_untyped(node, variables))


def _without_undefined(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: _without_undefined(item) for key, item in value.items() if item is not Undefined
        }
    if isinstance(value, list):
        return [None if item is Undefined else _without_undefined(item) for item in value]
    return value


def _refuse_literal(_node: ValueNode, _variables: dict[str, Any] | None = None) -> object:
    raise InvalidInput(
        "Credentials must be passed as a variable: a document may be logged or cached. Replace them, since"
        " they were sent in a document."
    )


def _refuse_output(_value: object) -> object:
    raise TypeError("credentials are never returned")


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="UTC time with milliseconds, such as `2026-04-15T14:30:05.000Z`. Input may have any"
        " offset and is UTC without one. It is truncated to milliseconds and must be in the years"
        f" {FIRST_YEAR} to {LAST_YEAR}.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time",
        serialize=format_instant,
        parse_value=_parse_instant,
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="UUID in its 36-character form; input may be in upper or lower case.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
        parse_value=_parse_uuid,
    ),
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value, returned unchanged.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
        parse_literal=_parse_literal,
    ),
    NewCredentials: strawberry.scalar(
        name=CREDENTIALS_SCALAR,
        description="Credentials of an account as a JSON object, of up to"
        f" {MAX_CREDENTIALS_BYTES // 1024} KiB: those that its publisher documents, or the name of a file of"
        ' the operator, as in `{"ref": "file:name.json"}`. They are accepted as a variable only, and never'
        " returned.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=_refuse_output,
        parse_value=parse_credentials,
        parse_literal=_refuse_literal,
    ),
}
