"""Hooks of Schemathesis: ids of the demo data, valid pagination arguments, and expected errors."""

from typing import Any

import schemathesis
from graphql import parse, print_ast
from hypothesis import strategies as st
from schemathesis.graphql import nodes, scalar
from schemathesis.graphql.checks import GraphQLClientError, GraphQLServerError

DEMO_POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

EXCLUDED_WITH_FIRST = {"last", "before", "after", "offset"}
"""Arguments that are invalid beside `first`, or that need a cursor of an earlier response."""

EXPECTED_ERROR_CODES = {
    *("BAD_CURSOR", "INVALID_ID", "LIMIT_EXCEEDED", "VALIDATION_ERROR"),
    "INSUFFICIENT_SCOPE",
}
"""Codes of values that have the right type and are invalid, such as a page of 101 posts, and of the field
`raw`, for which the key has no scope."""


FIELDS_OF_PERIODS = {"calendar", "outcomeStats"}
PERIOD = {"from": "2026-04-01T00:00:00Z", "to": "2026-04-20T00:00:00Z"}
"""Arguments that generated times would rarely satisfy."""


def map_case(_context: Any, case: Any) -> Any:
    """Correct arguments of a valid document: of pages with `first`, and of periods."""
    if not case.meta.generation.mode.is_positive:
        return case
    document: Any = parse(case.body)
    for field in document.definitions[0].selection_set.selections:
        names = {arg.name.value for arg in field.arguments if arg.value.kind != "null_value"}
        if "first" in names:
            field.arguments = tuple(
                arg for arg in field.arguments if arg.name.value not in EXCLUDED_WITH_FIRST
            )
        if field.name.value in FIELDS_OF_PERIODS:
            for arg in field.arguments:
                if arg.name.value in PERIOD:
                    arg.value = nodes.String(PERIOD[arg.name.value])
    case.body = print_ast(document)
    return case


def filter_failure(_context: Any, failure: Any, _case: Any, response: Any) -> bool:
    """Ignore a failure if all errors of the response have an expected code."""
    if not isinstance(failure, GraphQLClientError | GraphQLServerError):
        return True
    codes = {error["extensions"]["code"] for error in response.json()["errors"]}
    return not codes <= EXPECTED_ERROR_CODES


scalar("UUID", (st.just(DEMO_POST) | st.uuids().map(str)).map(nodes.String))
for hook in (map_case, filter_failure):
    schemathesis.hook(hook)
