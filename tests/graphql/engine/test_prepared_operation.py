"""Analyses of an operation that do not depend on its variables."""

import pytest
from graphql import parse

from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.limits import collect_stats
from app.graphql.engine.prepared_operation import Document, PreparedOperation
from app.settings import GraphQLLimits

SCHEMA = create_schema(GraphQLLimits())


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("subscription ($a: String) { changes(after: $a) { type } }", {"a"}),
        ("subscription ($a: String) { events: changes(after: $a) { type } }", {"a"}),
        ("subscription { changes { type } }", set()),
        ('subscription { changes(after: "x") { type } }', set()),
        ("subscription ($p: UUID) { changes(postId: $p) { type } }", set()),
        (
            "subscription ($p: UUID!, $a: String) { postChanged(postId: $p, after: $a) { cursor } }",
            {"a"},
        ),
        # A variable that is used elsewhere too may change the responses.
        (
            "subscription ($a: String, $t: [ChangeType!]) {"
            " changes(after: $a, types: $t) { type @include(if: $a) } }",
            set(),
        ),
        (
            "subscription ($a: String) { changes(after: $a) { ...F } }"
            " fragment F on Change { post { content @skip(if: $a) } }",
            set(),
        ),
        # Not detected inside a fragment, which no client writes.
        (
            "subscription ($a: String) { ...F }"
            " fragment F on Subscription { changes(after: $a) { type } }",
            set(),
        ),
    ],
)
def test_cursor_variables_are_used_only_as_after(document: str, expected: set[str]) -> None:
    index = DocumentIndex(parse(document))
    operation = PreparedOperation(
        SCHEMA.graphql_schema,
        SCHEMA.schema_converter,
        Document(document, SCHEMA.limits),
        index,
        collect_stats(index),
        index.operations[0],
        use_fast_path=True,
    )
    assert operation.cursor_variables == expected
