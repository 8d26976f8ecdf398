"""Limits of a document that do not depend on its variables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    SourceLocation,
    get_introspection_query,
    parse,
)
from hypothesis import given

from app.domain.errors import LimitExceeded, ParseFailed
from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.limits import (
    COUNT_CEILING,
    DocumentStats,
    collect_stats,
    enforce_limits,
    parse_document,
)
from app.settings import GraphQLLimits
from tests.graphql.random_documents import FRAGMENTS, document_strategy

LIMITS = GraphQLLimits()
FULL_INTROSPECTION = get_introspection_query(
    descriptions=True,
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
    experimental_directive_deprecation=True,
    one_of=True,
)


def stats(operations: int = 1, **numbers: int) -> DocumentStats:
    """Stats of one operation with these numbers, all others 0."""
    zeros = dict.fromkeys(DocumentStats.__dataclass_fields__, 0)
    return DocumentStats(**(zeros | {"operations": operations} | numbers))


def measure(query: str) -> DocumentStats:
    return collect_stats(DocumentIndex(parse(query)))


def limit_error(query: str, limits: GraphQLLimits = LIMITS) -> str | None:
    try:
        enforce_limits(collect_stats(DocumentIndex(parse_document(query, limits))), limits)
    except LimitExceeded as error:
        return error.message
    return None


def nested_query(levels: int) -> str:
    return "{ a" * levels + " }" * levels


def fragment_ladder(rungs: int) -> str:
    fragments = "".join(
        f"fragment F{i} on Query {{ x: a @d {{ ...F{i + 1} ...F{i + 1} }} }}" for i in range(rungs)
    )
    return "{ ...F0 }" + fragments


# Parsing


def test_a_document_with_exactly_the_allowed_tokens_is_parsed() -> None:
    query = "{" + " a" * 1998 + "}"
    document = parse_document(query, LIMITS)
    assert document == parse(query)
    assert document.token_count == 2000


@pytest.mark.parametrize(
    "query",
    ["{" + " a" * 1999 + "}", "{ a }" + "\n#" * 1998, "{ a(list: [" + "1 " * 3000],
    ids=["fields", "comments", "values"],
)
def test_more_tokens_than_allowed_are_rejected(query: str) -> None:
    with pytest.raises(LimitExceeded) as error:
        parse_document(query, LIMITS)
    assert error.value.message == "The document has more than 2000 tokens, which is the limit."


@pytest.mark.parametrize(
    "query",
    [
        nested_query(201),
        nested_query(660),
        "{ a(x: " + "[" * 300 + "]" * 300 + ") }",
        "{ a(x: " + "{x: " * 300 + "1" + "}" * 300 + ") }",
        "query($x: " + "[" * 300 + "Int" + "]" * 300 + ") { a }",
        "{" + "...{" * 300 + "a" + "}" * 301,
    ],
    ids=["fields", "as many tokens as allowed", "lists", "objects", "types", "inline fragments"],
)
def test_a_document_too_deep_for_the_parser_is_rejected_as_too_deep(query: str) -> None:
    with pytest.raises(LimitExceeded) as error:
        parse_document(query, LIMITS)
    assert error.value.message == (
        "The document is nested too deeply to be parsed; at most 15 levels of fields are allowed."
    )


def test_a_document_as_deep_as_the_parser_allows_is_measured() -> None:
    message = "The document is 200 levels deep; at most 15 are allowed."
    assert limit_error(nested_query(200)) == message


@pytest.mark.parametrize(
    ("query", "message", "location"),
    [
        ("", "Syntax Error: Unexpected <EOF>.", SourceLocation(1, 1)),
        ("{ a", "Syntax Error: Expected Name, found <EOF>.", SourceLocation(1, 4)),
        ("{\n  a(x: $)\n}", "Syntax Error: Expected Name, found ')'.", SourceLocation(2, 9)),
        ('{ a(x: "\ud800") }', "Syntax Error: Invalid character within String: U+D800.", None),
        ("{ a }\0", "Syntax Error: Unexpected character: U+0000.", SourceLocation(1, 6)),
    ],
)
def test_a_syntax_error_keeps_its_location(
    query: str, message: str, location: SourceLocation | None
) -> None:
    with pytest.raises(GraphQLError) as error:
        parse_document(query, LIMITS)
    assert error.value.message == message
    assert isinstance(error.value.original_error, ParseFailed)
    assert error.value.original_error.message == message
    assert error.value.locations is not None
    if location is not None:
        assert error.value.locations == [location]


# Stats


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ a }", stats(depth=1, fields=1, root_fields=1)),
        ("{ }", stats()),
        ("{ a { b { c } d } e }", stats(depth=3, fields=5, root_fields=2)),
        ("{ x: a y: a { z: b } }", stats(depth=2, fields=3, root_fields=2, aliases=3)),
        ("{ ...{ a ... on Q { b } } }", stats(depth=1, fields=2, root_fields=2)),
        (
            "query($v: Int @d) @d { a @d ...F @d ...{ b } } fragment F on Q @d { c @d @d }",
            stats(depth=1, fields=3, root_fields=3, directives=7),
        ),
        (
            "{ ...F a { ...F } } fragment F on Q { x: b { c } }",
            stats(depth=3, fields=5, root_fields=2, aliases=2),
        ),
        (
            "{ a { __schema { types { name } } } }",
            stats(depth=2, introspection_depth=2, fields=4, root_fields=1),
        ),
        (
            "{ __type { ...T } } fragment T on __Type { fields { type { ofType { fields } } } }",
            stats(
                depth=1, introspection_depth=4, introspection_list_depth=2, fields=5, root_fields=1
            ),
        ),
        (
            "{ ...F } fragment F on Query { a __schema { types { fields { name } } } }",
            stats(
                depth=1, introspection_depth=3, introspection_list_depth=1, fields=5, root_fields=2
            ),
        ),
        (
            "{ fields { interfaces { possibleTypes { inputFields } } } }",
            stats(depth=4, fields=4, root_fields=1),
        ),
        pytest.param(
            "query A { a { b { c } } } query B { x: a b c d } query C @d { a } subscription D { a }",
            stats(operations=4, depth=3, fields=4, aliases=1, root_fields=4, directives=1),
            id="maximum of several operations",
        ),
        pytest.param(
            "{ a } fragment Unused on Query { x: b @d c { d { e } } f }",
            stats(depth=1, fields=5, aliases=1, root_fields=1, directives=1),
            id="unused fragments count, because they are validated",
        ),
        pytest.param(
            "type A { b: Int } fragment F on A { b }",
            stats(operations=0, fields=1),
            id="no operation",
        ),
        pytest.param(
            "{ ...F } fragment F on Query { a } fragment F on Query { b { c } }",
            stats(depth=2, fields=3, root_fields=2),
            id="fragments that share a name count together",
        ),
        pytest.param(
            "{ a { ...Unknown } ...Unknown }",
            stats(depth=1, fields=1, root_fields=1),
            id="unknown fragments count nothing",
        ),
        # A fragment cycle is traversed once.
        (
            "{ ...F } fragment F on Query { a ...F }",
            stats(depth=1, fields=1, root_fields=1),
        ),
        (
            "{ ...F } fragment F on Query { a ...G } fragment G on Query { b ...F }",
            stats(depth=1, fields=2, root_fields=2),
        ),
        (
            "fragment F on Query { a { ...F ...F } } { ...F b }",
            stats(depth=1, fields=2, root_fields=2),
        ),
        pytest.param(
            "{ ...F0 }"
            + "".join(f"fragment F{i} on Query {{ a {{ ...F{i + 1} }} }}" for i in range(10_000)),
            stats(depth=10_000, fields=10_000, root_fields=1),
            id="a chain of fragments as long as the document",
        ),
        pytest.param(
            fragment_ladder(20),
            stats(
                depth=20, fields=2**20 - 1, aliases=2**20 - 1, root_fields=1, directives=2**20 - 1
            ),
            id="multiplying fragments, without expansion",
        ),
    ],
)
def test_a_document_is_measured(query: str, expected: DocumentStats) -> None:
    assert measure(query) == expected


def test_counting_stops_at_the_ceiling() -> None:
    measured = measure(fragment_ladder(2000))
    assert (measured.fields, measured.aliases, measured.directives) == (COUNT_CEILING,) * 3
    unlimited_depth = replace(LIMITS, depth=3000)
    with pytest.raises(LimitExceeded) as error:
        enforce_limits(measured, unlimited_depth)
    assert error.value.message == (
        "The document has at least 1000000000 fields; at most 500 are allowed."
    )


def test_root_fields_that_multiply_stop_at_the_ceiling() -> None:
    fragments = "".join(f"fragment F{i} on Q {{ a ...F{i + 1} ...F{i + 1} }}" for i in range(99))
    assert measure("{ ...F0 }" + fragments).root_fields == COUNT_CEILING


# The limits


@pytest.mark.parametrize(
    ("build", "limit", "size"),
    [
        (nested_query, 15, "document is {} levels deep"),
        (lambda n: "{ __schema " + nested_query(n) + "}", 20, "introspection is {} levels deep"),
        (lambda n: "{ a {" + " b" * (n - 1) + " } }", 500, "document has {} fields"),
        (lambda n: "{ a {" + " x: b" * n + " } }", 30, "document has {} aliases"),
        (lambda n: "{" + " a" * n + "}", 20, "document has {} root fields"),
        (lambda n: "{ a" + " @d" * n + "}", 50, "document has {} directives"),
        (lambda n: "query Q { a } " * n, 5, "document has {} operations"),
    ],
    ids=["depth", "introspection", "fields", "aliases", "roots", "directives", "operations"],
)
def test_each_limit_is_exact_and_its_error_names_limit_and_value(
    build: Callable[[int], str], limit: int, size: str
) -> None:
    message = f"The {size.format(limit + 1)}; at most {limit} are allowed."
    assert limit_error(build(limit)) is None
    assert limit_error(build(limit + 1)) == message


@pytest.mark.parametrize("root_field", ["__schema", "__type"])
@pytest.mark.parametrize("name", ["fields", "inputFields", "interfaces", "possibleTypes"])
def test_three_nested_type_lists_are_rejected_below_every_introspection_field(
    root_field: str, name: str
) -> None:
    document = (
        f"{{ {root_field} {{ ...T }} }} fragment T on __Type {{ {name} {{ type {{ ...U }} }} }}"
    )
    two = document + f" fragment U on __Type {{ {name} {{ name }} }}"
    three = document + f" fragment U on __Type {{ {name} {{ type {{ {name} {{ name }} }} }} }}"
    assert limit_error(two) is None
    assert limit_error(three) == (
        "The introspection nests fields, inputFields, interfaces, possibleTypes 3 levels deep;"
        " at most 2 are allowed."
    )


def test_introspection_queries_of_tools_are_well_below_the_limits() -> None:
    assert limit_error(get_introspection_query()) is None
    assert limit_error(FULL_INTROSPECTION) is None
    measured = measure(FULL_INTROSPECTION)
    assert replace(measured, fields=0) == stats(
        depth=1, introspection_depth=14, introspection_list_depth=1, root_fields=1
    )
    assert measured.fields <= LIMITS.fields / 2


# Compared with a reference implementation that expands every fragment


@dataclass(frozen=True)
class Expansion:
    """The path of every field, and the number of aliases and directives."""

    fields: Sequence[tuple[str, ...]]
    aliases: int
    directives: int


def expand_operation(document: DocumentNode, definition: ExecutableDefinitionNode) -> Expansion:
    fields: list[tuple[str, ...]] = []
    aliases = directives = 0
    variables = definition.variable_definitions or ()
    directives += sum(len(variable.directives or ()) for variable in variables)

    def visit(selection_set: SelectionSetNode, ancestors: tuple[str, ...]) -> None:
        nonlocal aliases, directives
        for selection in selection_set.selections:
            directives += len(selection.directives or ())
            if isinstance(selection, FieldNode):
                aliases += selection.alias is not None
                fields.append((*ancestors, selection.name.value))
                if selection.selection_set:
                    visit(selection.selection_set, fields[-1])
            elif isinstance(selection, InlineFragmentNode):
                visit(selection.selection_set, ancestors)
            elif isinstance(selection, FragmentSpreadNode):
                for fragment in fragments_named(document, selection.name.value):
                    directives += len(fragment.directives or ())
                    visit(fragment.selection_set, ancestors)

    directives += len(definition.directives or ())
    visit(definition.selection_set, ())
    return Expansion(fields, aliases, directives)


def fragments_named(document: DocumentNode, name: str) -> Iterator[FragmentDefinitionNode]:
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode) and definition.name.value == name:
            yield definition


def path_segments(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Split a path after each introspection field."""
    segments: list[tuple[str, ...]] = [()]
    for name in path:
        segments[-1] += (name,)
        if name in ("__schema", "__type"):
            segments.append(())
    return segments


def stats_by_expanding(document: DocumentNode) -> DocumentStats:
    operations = [
        expand_operation(document, definition)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    fragments = [
        expand_operation(document, fragment)
        for name in FRAGMENTS
        for fragment in fragments_named(document, name)
    ]
    paths = [path_segments(path) for operation in operations for path in operation.fields]
    introspections = [segment for _, *below in paths for segment in below]
    lists = ("fields", "inputFields", "interfaces", "possibleTypes")
    return DocumentStats(
        operations=len(operations),
        depth=max((len(path[0]) for path in paths), default=0),
        introspection_depth=max(map(len, introspections), default=0),
        introspection_list_depth=max(
            (sum(name in lists for name in names) for names in introspections), default=0
        ),
        fields=max(len(definition.fields) for definition in (*operations, *fragments)),
        aliases=max(definition.aliases for definition in (*operations, *fragments)),
        root_fields=max(
            sum(len(path) == 1 for path in operation.fields) for operation in operations
        ),
        directives=max(definition.directives for definition in (*operations, *fragments)),
    )


@given(document_strategy(with_cycles=False))
def test_stats_equal_those_of_the_expanded_document(query: str) -> None:
    assert measure(query) == stats_by_expanding(parse(query))


@given(document_strategy(with_cycles=True))
def test_every_document_that_parses_can_be_measured(query: str) -> None:
    measured = measure(query)
    assert measured.operations == 1
    assert 0 <= measured.root_fields <= measured.fields <= COUNT_CEILING
