"""What is known of an operation whatever its variables are: which of them only say where to go on."""

import pytest
from graphql import parse

from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.prepared import PreparedOperation
from app.settings import GraphQLLimits
from tests.graphql.random_documents import get_operation

SCHEMA = create_schema(GraphQLLimits())


@pytest.mark.parametrize(
    ("document", "resuming"),
    [
        ("subscription ($a: String) { changes(after: $a) { type } }", {"a"}),
        ("subscription ($a: String) { told: changes(after: $a) { type } }", {"a"}),
        ("subscription { changes { type } }", set()),
        ('subscription { changes(after: "x") { type } }', set()),
        ("subscription ($p: UUID) { changes(postId: $p) { type } }", set()),
        (
            "subscription ($p: UUID!, $a: String) { postChanged(postId: $p, after: $a) { cursor } }",
            {"a"},
        ),
        # Wherever else a variable stands, it may make a difference to what is answered.
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
        # Through a fragment it could be seen too, but nobody writes it so.
        (
            "subscription ($a: String) { ...F }"
            " fragment F on Subscription { changes(after: $a) { type } }",
            set(),
        ),
    ],
)
def test_a_variable_that_only_says_where_to_go_on_is_known(
    document: str, resuming: set[str]
) -> None:
    parsed = parse(document)
    operation = PreparedOperation(
        SCHEMA, document, parsed, get_operation(parsed), use_fast_path=True
    )
    assert operation.cursor_variables == resuming
