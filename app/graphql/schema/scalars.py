"""DateTime, UUID and JSON as this API spells them. The rules are the domain's."""

from datetime import datetime
from typing import Any, NewType
from uuid import UUID

import strawberry
from graphql import Undefined, ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from app.domain.errors import InvalidId, InvalidInput
from app.domain.ids import parse_uuid
from app.domain.times import FIRST_YEAR, LAST_YEAR, format_instant, parse_instant

Json = NewType("Json", object)


def _parse_instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise InvalidInput("A DateTime is a string, such as 2026-04-15T14:30:05.000Z.")
    return parse_instant(value)


def _parse_uuid(value: object) -> UUID:
    if not isinstance(value, str):
        raise InvalidId("A UUID is a string of 36 characters.")
    return parse_uuid(value)


def _parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> object:
    """A value that stands in a document; what a variable leaves out of it is not there."""
    return _without_undefined(value_from_ast_untyped(node, variables))


def _without_undefined(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: _without_undefined(each) for key, each in value.items() if each is not Undefined
        }
    if isinstance(value, list):
        return [None if each is Undefined else _without_undefined(each) for each in value]
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="An instant in UTC with milliseconds: `2026-04-15T14:30:05.000Z`. Input may"
        " have any offset; without one it is read as UTC. What is finer than a millisecond is cut."
        f" It must be in the years {FIRST_YEAR} to {LAST_YEAR}.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time",
        serialize=format_instant,
        parse_value=_parse_instant,
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="A UUID in its 36-character form; letters in either case on input.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
        parse_value=_parse_uuid,
    ),
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value, returned exactly as it was given.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
        parse_literal=_parse_literal,
    ),
}
