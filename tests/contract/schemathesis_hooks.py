"""What Schemathesis must know of this API: its ids, how pages are asked for, and announced refusals."""

from typing import Any

import schemathesis
from graphql import parse, print_ast
from hypothesis import strategies as st
from schemathesis.graphql import nodes, scalar
from schemathesis.graphql.checks import GraphQLClientError, GraphQLServerError

DEMO_POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

EXCLUDED_WITH_FIRST = {"last", "before", "after", "offset"}
"""What cannot stand beside `first`, or would have to be a cursor of an earlier answer."""

EXPECTED_ERROR_CODES = {"BAD_CURSOR", "INVALID_ID", "LIMIT_EXCEEDED", "VALIDATION_ERROR"}
"""Codes for values that fit their type and are wrong all the same, such as a page of 101 posts."""


def map_case(_context: Any, case: Any) -> Any:
    """Let a document that fits the schema and asks for the first so many say nothing else of pages."""
    if not case.meta.generation.mode.is_positive:
        return case
    document: Any = parse(case.body)
    for field in document.definitions[0].selection_set.selections:
        given = {each.name.value for each in field.arguments if each.value.kind != "null_value"}
        if "first" in given:
            field.arguments = tuple(
                each for each in field.arguments if each.name.value not in EXCLUDED_WITH_FIRST
            )
    case.body = print_ast(document)
    return case


def filter_failure(_context: Any, failure: Any, _case: Any, response: Any) -> bool:
    """Keep a failure, unless it only says that each error of an answer is such a refusal."""
    if not isinstance(failure, GraphQLClientError | GraphQLServerError):
        return True
    codes = {error["extensions"]["code"] for error in response.json()["errors"]}
    return not codes <= EXPECTED_ERROR_CODES


scalar("UUID", (st.just(DEMO_POST) | st.uuids().map(str)).map(nodes.String))
for hook in (map_case, filter_failure):
    schemathesis.hook(hook)
