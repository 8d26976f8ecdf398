"""What one document may ask for, whatever its variables."""

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
from app.graphql.engine.limits import (
    MAX_COUNT,
    DocumentStats,
    collect_stats,
    enforce_limits,
    parse_document,
)
from app.settings import GraphQLLimits
from tests.graphql.random_documents import FRAGMENTS, document_strategy

LIMITS = GraphQLLimits()
EMPTY_STATS = DocumentStats(
    operations=0,
    depth=0,
    introspection_depth=0,
    introspection_list_depth=0,
    fields=0,
    aliases=0,
    root_fields=0,
    directives=0,
)
FULL_INTROSPECTION = get_introspection_query(
    descriptions=True,
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
    experimental_directive_deprecation=True,
    one_of=True,
)


def limit_error(query: str, limits: GraphQLLimits = LIMITS) -> str | None:
    try:
        enforce_limits(collect_stats(parse_document(query, limits)), limits)
    except LimitExceeded as error:
        return error.message
    return None


def nested_query(levels: int, name: str = "a") -> str:
    return ("{ " + name) * levels + " }" * levels


# Parsing


def test_a_document_is_parsed() -> None:
    assert parse_document("{ version }", LIMITS) == parse("{ version }")


def test_a_document_of_exactly_the_allowed_tokens_is_parsed() -> None:
    document = parse_document("{" + " a" * 1998 + "}", LIMITS)
    assert document.token_count == 2000


@pytest.mark.parametrize(
    "query",
    ["{" + " a" * 1999 + "}", "{ a }" + "\n#" * 1998, "{ a(list: [" + "1 " * 3000],
    ids=["fields", "comments", "values"],
)
def test_a_token_more_than_allowed_is_refused(query: str) -> None:
    with pytest.raises(LimitExceeded) as refused:
        parse_document(query, LIMITS)
    assert refused.value.message == "The document has more than 2000 tokens, which is the limit."


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
def test_a_document_too_deep_for_the_parser_is_refused_as_too_deep(query: str) -> None:
    with pytest.raises(LimitExceeded) as refused:
        parse_document(query, LIMITS)
    assert refused.value.message == (
        "The document is nested too deeply to be read; at most 15 levels of fields are allowed."
    )


def test_a_document_as_deep_as_the_parser_allows_is_measured() -> None:
    assert limit_error(nested_query(200)) == "The document is 200 levels deep; at most 15 are allowed."


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
def test_a_fault_in_the_syntax_keeps_its_location(
    query: str, message: str, location: SourceLocation | None
) -> None:
    with pytest.raises(GraphQLError) as refused:
        parse_document(query, LIMITS)
    error = refused.value
    assert error.message == message
    assert isinstance(error.original_error, ParseFailed)
    assert error.original_error.message == message
    assert error.locations is not None
    if location is not None:
        assert error.locations == [location]


# Measuring


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ a }", replace(EMPTY_STATS, depth=1, fields=1, root_fields=1)),
        ("{ }", EMPTY_STATS),
        ("{ a { b { c } d } e }", replace(EMPTY_STATS, depth=3, fields=5, root_fields=2)),
        ("{ x: a y: a { z: b } }", replace(EMPTY_STATS, depth=2, fields=3, root_fields=2, aliases=3)),
        ("{ ...{ a ... on Q { b } } }", replace(EMPTY_STATS, depth=1, fields=2, root_fields=2)),
        (
            "query($v: Int @d) @d { a @d ...F @d ...{ b } } fragment F on Q @d { c @d @d }",
            replace(EMPTY_STATS, depth=1, fields=3, root_fields=3, directives=7),
        ),
        (
            "{ ...F a { ...F } } fragment F on Q { x: b { c } }",
            replace(EMPTY_STATS, depth=3, fields=5, root_fields=2, aliases=2),
        ),
        (
            "{ a { __schema { types { name } } } }",
            replace(EMPTY_STATS, depth=2, introspection_depth=2, fields=4, root_fields=1),
        ),
        (
            "{ __type { ...T } } fragment T on __Type { fields { type { ofType { fields } } } }",
            replace(
                EMPTY_STATS,
                depth=1,
                introspection_depth=4,
                introspection_list_depth=2,
                fields=5,
                root_fields=1,
            ),
        ),
        (
            "{ ...F } fragment F on Query { a __schema { types { fields { name } } } }",
            replace(
                EMPTY_STATS,
                depth=1,
                introspection_depth=3,
                introspection_list_depth=1,
                fields=5,
                root_fields=2,
            ),
        ),
        (
            "{ fields { interfaces { possibleTypes { inputFields } } } }",
            replace(EMPTY_STATS, depth=4, fields=4, root_fields=1),
        ),
    ],
)
def test_one_operation_is_measured(query: str, expected: DocumentStats) -> None:
    assert collect_stats(parse(query)) == replace(expected, operations=1)


def test_of_several_operations_the_heaviest_counts_for_each_number() -> None:
    document = parse(
        "query A { a { b { c } } } query B { x: a b c d } query C @d { a } subscription D { a }"
    )
    assert collect_stats(document) == replace(
        EMPTY_STATS, operations=4, depth=3, fields=4, aliases=1, root_fields=4, directives=1
    )


def test_a_fragment_that_nobody_spreads_counts_because_it_is_validated() -> None:
    document = parse("{ a } fragment Idle on Query { x: b @d c { d { e } } f }")
    assert collect_stats(document) == replace(
        EMPTY_STATS, operations=1, depth=1, fields=5, aliases=1, root_fields=1, directives=1
    )


def test_a_document_without_operations_is_measured() -> None:
    assert collect_stats(parse("type A { b: Int } fragment F on A { b }")) == replace(
        EMPTY_STATS, fields=1
    )


def test_fragments_that_share_a_name_count_together() -> None:
    document = parse("{ ...F } fragment F on Query { a } fragment F on Query { b { c } }")
    assert collect_stats(document) == replace(
        EMPTY_STATS, operations=1, depth=2, fields=3, root_fields=2
    )


def test_unknown_fragments_count_nothing() -> None:
    assert collect_stats(parse("{ a { ...Nowhere } ...Nowhere }")) == replace(
        EMPTY_STATS, operations=1, depth=1, fields=1, root_fields=1
    )


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("{ ...F } fragment F on Query { a ...F }", 1),
        ("{ ...F } fragment F on Query { a ...G } fragment G on Query { b ...F }", 2),
        ("fragment F on Query { a { ...F ...F } } { ...F b }", 2),
    ],
)
def test_a_cycle_of_fragments_is_gone_through_once(query: str, fields: int) -> None:
    assert collect_stats(parse(query)).fields == fields


def test_a_chain_of_fragments_as_long_as_the_document_is_measured() -> None:
    chain = "".join(f"fragment F{i} on Query {{ a {{ ...F{i + 1} }} }}" for i in range(10_000))
    assert collect_stats(parse("{ ...F0 }" + chain)) == replace(
        EMPTY_STATS, operations=1, depth=10_000, fields=10_000, root_fields=1
    )


def fragment_ladder(rungs: int) -> str:
    fragments = "".join(
        f"fragment F{i} on Query {{ x: a @d {{ ...F{i + 1} ...F{i + 1} }} }}" for i in range(rungs)
    )
    return "{ ...F0 }" + fragments


def test_fragments_that_multiply_are_counted_without_being_expanded() -> None:
    assert collect_stats(parse(fragment_ladder(20))) == replace(
        EMPTY_STATS,
        operations=1,
        depth=20,
        fields=2**20 - 1,
        aliases=2**20 - 1,
        root_fields=1,
        directives=2**20 - 1,
    )


def test_counting_stops_at_the_ceiling() -> None:
    measured = collect_stats(parse(fragment_ladder(2000)))
    assert (measured.fields, measured.aliases, measured.directives) == (MAX_COUNT,) * 3
    unlimited_depth = replace(LIMITS, depth=3000)
    with pytest.raises(LimitExceeded) as refused:
        enforce_limits(measured, unlimited_depth)
    assert refused.value.message == (
        "The document has at least 1000000000 fields; at most 500 are allowed."
    )


def test_root_fields_that_multiply_stop_at_the_ceiling() -> None:
    fragments = "".join(f"fragment F{i} on Q {{ a ...F{i + 1} ...F{i + 1} }}" for i in range(99))
    assert collect_stats(parse("{ ...F0 }" + fragments)).root_fields == MAX_COUNT


# The limits


@pytest.mark.parametrize(
    ("build", "limit", "message"),
    [
        (nested_query, 15, "The document is 16 levels deep; at most 15 are allowed."),
        (
            lambda n: "{ __schema " + nested_query(n) + "}",
            20,
            "The introspection is 21 levels deep; at most 20 are allowed.",
        ),
        (
            lambda n: "{ __type " + nested_query(n, "possibleTypes") + "}",
            2,
            "The introspection nests fields, inputFields, interfaces, possibleTypes 3 levels deep;"
            " at most 2 are allowed.",
        ),
        (
            lambda n: "{ a {" + " b" * (n - 1) + " } }",
            500,
            "The document has 501 fields; at most 500 are allowed.",
        ),
        (
            lambda n: "{ a {" + " x: b" * n + " } }",
            30,
            "The document has 31 aliases; at most 30 are allowed.",
        ),
        (
            lambda n: "{" + " a" * n + "}",
            20,
            "The document has 21 root fields; at most 20 are allowed.",
        ),
        (
            lambda n: "{ a" + " @d" * n + "}",
            50,
            "The document has 51 directives; at most 50 are allowed.",
        ),
        (
            lambda n: "".join(f"query Q{i} {{ a }} " for i in range(n)),
            5,
            "The document has 6 operations; at most 5 are allowed.",
        ),
    ],
    ids=[
        "depth",
        "introspection",
        "lists",
        "fields",
        "aliases",
        "roots",
        "directives",
        "operations",
    ],
)
def test_a_limit_is_kept_exactly_and_named_with_the_value(
    build: Callable[[int], str], limit: int, message: str
) -> None:
    assert limit_error(build(limit)) is None
    assert limit_error(build(limit + 1)) == message


@pytest.mark.parametrize("entrance", ["__schema", "__type"])
@pytest.mark.parametrize("name", ["fields", "inputFields", "interfaces", "possibleTypes"])
def test_three_lists_of_types_in_each_other_are_refused_below_every_entrance(
    entrance: str, name: str
) -> None:
    document = (
        f"{{ {entrance} {{ ...T }} }} fragment T on __Type {{ {name} {{ type {{ ...U }} }} }}"
    )
    two = document + f" fragment U on __Type {{ {name} {{ name }} }}"
    three = document + f" fragment U on __Type {{ {name} {{ type {{ {name} {{ name }} }} }} }}"
    assert limit_error(two) is None
    assert limit_error(three) == (
        "The introspection nests fields, inputFields, interfaces, possibleTypes 3 levels deep;"
        " at most 2 are allowed."
    )


def test_a_short_document_that_multiplies_is_refused() -> None:
    pairs = zip("abcdefghi", "bcdefghij", strict=True)
    rungs = "".join(f"fragment {i} on Q{{...{j}...{j}}}" for i, j in pairs)
    assert limit_error("{...a}" + rungs + "fragment j on Q{a}") == (
        "The document has 512 fields; at most 500 are allowed."
    )


@pytest.mark.parametrize("query", [FULL_INTROSPECTION, get_introspection_query()])
def test_the_introspection_of_every_tool_is_allowed(query: str) -> None:
    assert limit_error(query) is None


def test_the_full_introspection_leaves_room_below_the_limits() -> None:
    measured = collect_stats(parse_document(FULL_INTROSPECTION, LIMITS))
    assert replace(measured, fields=0) == replace(
        EMPTY_STATS,
        operations=1,
        depth=1,
        introspection_depth=14,
        introspection_list_depth=1,
        root_fields=1,
    )
    assert measured.fields <= LIMITS.fields / 2


# Against an implementation that expands every fragment


@dataclass(frozen=True)
class Expansion:
    """Every field with the names that lead to it, and the number of directives on the way."""

    fields: Sequence[tuple[str, ...]]
    aliases: int
    directives: int


def expand_operation(document: DocumentNode, definition: ExecutableDefinitionNode) -> Expansion:
    fields: list[tuple[str, ...]] = []
    aliases = directives = 0
    variables = definition.variable_definitions or ()
    directives += sum(len(variable.directives or ()) for variable in variables)

    def visit(selection_set: SelectionSetNode, above: tuple[str, ...]) -> None:
        nonlocal aliases, directives
        for selection in selection_set.selections:
            directives += len(selection.directives or ())
            if isinstance(selection, FieldNode):
                aliases += selection.alias is not None
                fields.append((*above, selection.name.value))
                if selection.selection_set:
                    visit(selection.selection_set, fields[-1])
            elif isinstance(selection, InlineFragmentNode):
                visit(selection.selection_set, above)
            elif isinstance(selection, FragmentSpreadNode):
                for fragment in fragments_named(document, selection.name.value):
                    directives += len(fragment.directives or ())
                    visit(fragment.selection_set, above)

    directives += len(definition.directives or ())
    visit(definition.selection_set, ())
    return Expansion(fields, aliases, directives)


def fragments_named(document: DocumentNode, name: str) -> Iterator[FragmentDefinitionNode]:
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode) and definition.name.value == name:
            yield definition


def path_segments(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The names up to and with the first entrance to an introspection, then those below each."""
    found: list[tuple[str, ...]] = [()]
    for name in path:
        found[-1] += (name,)
        if name in ("__schema", "__type"):
            found.append(())
    return found


def stats_by_expanding(document: DocumentNode) -> DocumentStats:
    operations = [
        expand_operation(document, definition)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    fragments = [
        expand_operation(document, one) for name in FRAGMENTS for one in fragments_named(document, name)
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
        fields=max(len(one.fields) for one in (*operations, *fragments)),
        aliases=max(one.aliases for one in (*operations, *fragments)),
        root_fields=max(sum(len(path) == 1 for path in one.fields) for one in operations),
        directives=max(one.directives for one in (*operations, *fragments)),
    )


@given(document_strategy(with_cycles=False))
def test_the_measure_is_that_of_the_expanded_document(query: str) -> None:
    document = parse(query)
    assert collect_stats(document) == stats_by_expanding(document)


@given(document_strategy(with_cycles=True))
def test_every_document_that_parses_can_be_measured(query: str) -> None:
    measured = collect_stats(parse(query))
    assert measured.operations == 1
    assert 0 <= measured.root_fields <= measured.fields <= MAX_COUNT
