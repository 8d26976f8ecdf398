"""Lookahead: columns and relations that a document selects."""

from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    parse,
)

from app.db.core.projections import Projection
from app.graphql.ast.selections import OperationMemo
from app.graphql.engine.executable_schema import create_schema
from app.graphql.schema.lookahead import selection_of
from app.settings import GraphQLLimits

SCHEMA = create_schema(GraphQLLimits()).graphql_schema


def resolve_info(document: str) -> GraphQLResolveInfo[Any]:
    """Build the info that graphql-core gives the resolver of the first field."""
    parsed = parse(document)
    (operation,) = (
        definition
        for definition in parsed.definitions
        if isinstance(definition, OperationDefinitionNode)
    )
    fragments = {
        definition.name.value: definition
        for definition in parsed.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    nodes = [node for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    query = cast("GraphQLObjectType", SCHEMA.query_type)
    name = nodes[0].name.value
    info = SimpleNamespace(
        schema=SCHEMA,
        parent_type=query,
        field_nodes=[node for node in nodes if node.name.value == name],
        return_type=query.fields[name].type,
        fragments=fragments,
        operation=operation,
    )
    return cast("GraphQLResolveInfo[Any]", info)


def make_projection(*columns: str, **relations: Projection) -> Projection:
    return Projection(frozenset(columns), relations)


NAME = ("id", "platform", "account_name", "display_name", "platform_username")
CONNECTION = ("is_active", "needs_reconnection_since", "token_expires_at")
POSTS: Mapping[str, tuple[str, Projection]] = {
    "columns": ("{ post { postId scheduledFor } }", make_projection("id", "scheduled_for")),
    "only the type": ("{ post { __typename } }", make_projection()),
    "an id": ("{ post { id } }", make_projection("id")),
    "a column twice": ("{ post { a: content b: content } }", make_projection("content")),
    "two nodes of one field": (
        "{ post { content destinations { status } } post { version destinations { error } } }",
        make_projection(
            "content", "version", "id", destinations=make_projection("status", "error")
        ),
    ),
    "a fragment": (
        "{ post { ...F } } fragment F on Post { content ...G } fragment G on Post { version }",
        make_projection("content", "version"),
    ),
    "an interface": (
        "{ post { ... on Node { id } ... { content } } }",
        make_projection("id", "content"),
    ),
    "conditions": (
        "{ post { content @include(if: false) ...F @skip(if: true) destinations @skip(if: $v)"
        " { status @include(if: $v) } } } fragment F on Post { version }",
        make_projection("id", destinations=make_projection("status")),
    ),
    "destinations": (
        "{ post { destinations { destinationId status accountId } } }",
        make_projection("id", destinations=make_projection("id", "status", "account_id")),
    ),
    "destinations twice": (
        "{ post { a: destinations { status } b: destinations { account { accountId } } } }",
        make_projection(
            "id", destinations=make_projection("status", account=make_projection("id"))
        ),
    ),
    "account ids": (
        "{ post { accountIds } }",
        make_projection("id", destinations=make_projection("account_id")),
    ),
    "account ids with destinations": (
        "{ post { accountIds destinations { status } } }",
        make_projection("id", destinations=make_projection("account_id", "status")),
    ),
    "a resolver of the row": (
        "{ post { destinations { latenessSeconds pollAfterSeconds diagnosis { fix } } } }",
        make_projection(
            "id",
            destinations=make_projection(
                *("lateness_ms", "claimable_at", "lease_expires_at"),
                *("status", "due_at", "next_retry_at"),
                *("error_category", "error_code", "outcome", "settled_at", "is_mirrored"),
            ),
        ),
    ),
    "accounts": (
        "{ post { destinations { accountName account { platform readiness { canPost } } } } }",
        make_projection(
            "id", destinations=make_projection(account=make_projection(*NAME, *CONNECTION))
        ),
    ),
    "deferred relations": (
        "{ post { destinations { attemptLog { number } post { content } } } }",
        make_projection("id", destinations=make_projection("id", "post_id")),
    ),
    "a page": ("{ posts { nodes { content } totalCount } }", make_projection("content")),
    "nodes and edges": (
        "{ posts { nodes { content } edges { cursor node { version destinations { error } } } } }",
        make_projection("content", "version", "id", destinations=make_projection("error")),
    ),
    "a page by fragments": (
        "{ posts { ...P } } fragment P on PostConnection { nodes { ...N } }"
        " fragment N on Post { content }",
        make_projection("content"),
    ),
    "a page without its posts": (
        "{ posts { totalCount pageInfo { endCursor } } }",
        make_projection(),
    ),
}


@pytest.mark.parametrize(("document", "expected"), POSTS.values(), ids=POSTS)
def test_projection_contains_exactly_selected_columns_and_relations(
    document: str, expected: Projection
) -> None:
    assert selection_of(resolve_info(document)).projection == expected


def test_selection_is_memoized_per_operation() -> None:
    info = resolve_info("{ post { content } }")
    memo = OperationMemo(info.operation, max_entries=2)
    selection = selection_of(info)

    assert selection_of(info) is selection
    assert selection.projection is selection.projection
    del memo
    assert selection_of(info) is not selection
    assert selection_of(info).projection == selection.projection


def test_operation_memo_is_bounded() -> None:
    """Conditional selections could otherwise add entries without end."""
    memo = OperationMemo(resolve_info("{ post { content } }").operation, max_entries=3)
    computed: list[int] = []

    def compute(key: int) -> int:
        computed.append(key)
        return key

    for key in (1, 2, 3, 1, 2, 3, 4, 4, 3):
        assert memo.get_or_compute(key, partial(compute, key)) == key

    assert computed == [1, 2, 3, 4, 3]


def test_equal_projections_are_one_cache_key() -> None:
    document = "{ post { content destinations { account { platform } } } }"
    cache: dict[Any, int] = {selection_of(resolve_info(document)).projection: 1}

    assert cache[selection_of(resolve_info(document)).projection] == 1
    other = "{ post { content destinations { account { id } } } }"
    assert selection_of(resolve_info(other)).projection not in cache
