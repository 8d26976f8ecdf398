"""What one document may ask for, whatever its variables: measured before validation, in one pass.

What depends on the variables is in `demand`. The limits themselves are settings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)

from app.domain.errors import LimitExceeded, ParseFailed
from app.graphql.ast.fragments import fragments_by_name, topological_order
from app.settings import GraphQLLimits

MAX_COUNT = 1_000_000_000
"""Where counting stops: fragments that multiply each other would make numbers of any length."""

MAX_INTROSPECTION_LIST_DEPTH = 2
"""How deep the lists that lead from a type to further types may be nested in an introspection."""

_INTROSPECTION_FIELDS = ("__schema", "__type")
_TYPE_LIST_FIELDS = ("fields", "inputFields", "interfaces", "possibleTypes")


def parse_document(query: str, limits: GraphQLLimits) -> DocumentNode:
    """Parse a document; LimitExceeded if it has too many tokens or is nested too deeply to parse.

    Any other fault in the syntax is a GraphQLError with its location, made from a ParseFailed.
    """
    try:
        return parse(query, max_tokens=limits.tokens)
    except GraphQLSyntaxError as error:
        # The parser tells these two apart from plain faults by nothing but its sentence.
        if (
            error.description
            == f"Document contains more than {limits.tokens} tokens. Parsing aborted."
        ):
            problem = f"The document has more than {limits.tokens} tokens, which is the limit."
            raise LimitExceeded(problem) from None
        if error.description == "Document is nested too deeply. Parsing aborted.":
            raise LimitExceeded(
                f"The document is nested too deeply to be read; at most {limits.depth} levels of"
                " fields are allowed."
            ) from None
        raise GraphQLError(
            error.message,
            source=error.source,
            positions=error.positions,
            original_error=ParseFailed(error.message),
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStats:
    """What a document asks for, fragments expanded; each number is that of its heaviest operation.

    Validation reads all of a document, so its other operations are measured too, and the fragments
    that nobody spreads. Counts stop at CEILING.
    """

    operations: int
    depth: int
    """Levels of nested fields; an introspection counts as the one level of its field."""
    introspection_depth: int
    """Levels of nested fields below `__schema` or `__type`."""
    introspection_list_depth: int
    """Levels of nested lists that lead from a type to further types, below the same."""
    fields: int
    aliases: int
    root_fields: int
    directives: int


def collect_stats(document: DocumentNode) -> DocumentStats:
    """Measure a document that need not be valid; takes time in proportion to its length."""
    outlines = {
        name: _collect_definition(alike) for name, alike in fragments_by_name(document).items()
    }
    fragments: dict[str, _DefinitionStats] = {}
    for name in topological_order(
        {name: outline.spread_names() for name, outline in outlines.items()}
    ):
        fragments[name] = _expand(outlines[name], fragments)

    operations = [
        _expand(_collect_definition([definition]), fragments)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    everything = [*operations, *fragments.values()]
    return DocumentStats(
        operations=len(operations),
        depth=max((total.depth for total in operations), default=0),
        introspection_depth=max((total.introspection_depth for total in operations), default=0),
        introspection_list_depth=max(
            (total.introspection_list_depth for total in operations), default=0
        ),
        fields=max((total.fields for total in everything), default=0),
        aliases=max((total.aliases for total in everything), default=0),
        root_fields=max((total.root_fields for total in operations), default=0),
        directives=max((total.directives for total in everything), default=0),
    )


def enforce_limits(stats: DocumentStats, limits: GraphQLLimits) -> None:
    """LimitExceeded, naming limit and value, for the first limit that the document exceeds."""
    depths = (
        ("document", stats.depth, limits.depth),
        ("introspection", stats.introspection_depth, limits.introspection_depth),
    )
    for subject, depth, allowed in depths:
        if depth > allowed:
            raise LimitExceeded(
                f"The {subject} is {depth} levels deep; at most {allowed} are allowed."
            )
    if stats.introspection_list_depth > MAX_INTROSPECTION_LIST_DEPTH:
        raise LimitExceeded(
            f"The introspection nests {', '.join(_TYPE_LIST_FIELDS)} {stats.introspection_list_depth}"
            f" levels deep; at most {MAX_INTROSPECTION_LIST_DEPTH} are allowed."
        )
    counts = (
        ("operations", stats.operations, limits.operations),
        ("fields", stats.fields, limits.fields),
        ("root fields", stats.root_fields, limits.root_fields),
        ("aliases", stats.aliases, limits.aliases),
        ("directives", stats.directives, limits.directives),
    )
    for noun, count, allowed in counts:
        if count > allowed:
            raise LimitExceeded(
                f"The document has {format_count(count)} {noun}; at most {allowed} are allowed."
            )


def format_count(count: int) -> str:
    """A count for a person, honest about where counting stopped."""
    return str(count) if count < MAX_COUNT else f"at least {MAX_COUNT}"


class _SelectionPosition(NamedTuple):
    """Where a selection set stands: fields and lists above it, up to root or introspection."""

    in_introspection: bool = False
    field_depth: int = 0
    list_depth: int = 0

    def descend(self, name: str) -> "_SelectionPosition":
        if name in _INTROSPECTION_FIELDS:
            return _SelectionPosition(in_introspection=True)
        return _SelectionPosition(
            self.in_introspection,
            self.field_depth + 1,
            self.list_depth + (name in _TYPE_LIST_FIELDS),
        )


_ROOT_POSITION = _SelectionPosition()


@dataclass(slots=True)
class _DefinitionStats:
    """What a definition asks for. `depth` and `lists` are those outside an introspection."""

    fields: int = 0
    aliases: int = 0
    root_fields: int = 0
    directives: int = 0
    depth: int = 0
    list_depth: int = 0
    introspection_depth: int = 0
    introspection_list_depth: int = 0

    def add_field(self, node: FieldNode, position: _SelectionPosition) -> None:
        self.fields += 1
        self.aliases += node.alias is not None
        self.root_fields += position == _ROOT_POSITION
        is_list = node.name.value in _TYPE_LIST_FIELDS
        self._raise_depths(position, field_depth=1, list_depth=int(is_list))

    def add_fragment(self, fragment: "_DefinitionStats", position: _SelectionPosition) -> None:
        self.fields = min(self.fields + fragment.fields, MAX_COUNT)
        self.aliases = min(self.aliases + fragment.aliases, MAX_COUNT)
        self.directives = min(self.directives + fragment.directives, MAX_COUNT)
        if position == _ROOT_POSITION:
            self.root_fields = min(self.root_fields + fragment.root_fields, MAX_COUNT)
        self._raise_depths(position, field_depth=fragment.depth, list_depth=fragment.list_depth)
        self.introspection_depth = max(self.introspection_depth, fragment.introspection_depth)
        self.introspection_list_depth = max(
            self.introspection_list_depth, fragment.introspection_list_depth
        )

    def _raise_depths(
        self, position: _SelectionPosition, *, field_depth: int, list_depth: int
    ) -> None:
        if position.in_introspection:
            self.introspection_depth = max(
                self.introspection_depth, position.field_depth + field_depth
            )
            self.introspection_list_depth = max(
                self.introspection_list_depth, position.list_depth + list_depth
            )
        else:
            self.depth = max(self.depth, position.field_depth + field_depth)
            self.list_depth = max(self.list_depth, position.list_depth + list_depth)


@dataclass(slots=True)
class _UnexpandedDefinition:
    """A definition as it is written: what it asks for itself, and where it spreads fragments."""

    own_stats: _DefinitionStats = field(default_factory=_DefinitionStats)
    spreads: list[tuple[str, _SelectionPosition]] = field(default_factory=list)

    def spread_names(self) -> Iterable[str]:
        return (name for name, _ in self.spreads)


def _collect_definition(definitions: Sequence[ExecutableDefinitionNode]) -> _UnexpandedDefinition:
    """Read one definition, or all that wrongly share one name as if they were one."""
    outline = _UnexpandedDefinition()
    own = outline.own_stats
    pending: list[tuple[SelectionSetNode, _SelectionPosition]] = []
    for definition in definitions:
        own.directives += len(definition.directives or ())
        for variable in definition.variable_definitions or ():
            own.directives += len(variable.directives or ())
        pending.append((definition.selection_set, _ROOT_POSITION))
    while pending:
        selection_set, place = pending.pop()
        for selection in selection_set.selections:
            own.directives += len(selection.directives or ())
            if isinstance(selection, FragmentSpreadNode):
                outline.spreads.append((selection.name.value, place))
            elif isinstance(selection, InlineFragmentNode):
                pending.append((selection.selection_set, place))
            elif isinstance(selection, FieldNode):
                own.add_field(selection, place)
                if selection.selection_set is not None:
                    pending.append((selection.selection_set, place.descend(selection.name.value)))
    return outline


def _expand(
    definition: _UnexpandedDefinition, fragments: Mapping[str, _DefinitionStats]
) -> _DefinitionStats:
    """Add the fragments that are known by now: neither unknown ones nor the end of a cycle."""
    for name, place in definition.spreads:
        if name in fragments:
            definition.own_stats.add_fragment(fragments[name], place)
    return definition.own_stats
