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
from app.graphql.fragments import fragments_by_name, inner_first
from app.settings import GraphQLLimits

CEILING = 1_000_000_000
"""Where counting stops: fragments that multiply each other would make numbers of any length."""

MAX_INTROSPECTION_LISTS = 2
"""How deep the lists that lead from a type to further types may be nested in an introspection."""

_INTROSPECTION_FIELDS = ("__schema", "__type")
_LISTS_OF_A_TYPE = ("fields", "inputFields", "interfaces", "possibleTypes")


def parse_within(query: str, limits: GraphQLLimits) -> DocumentNode:
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
class Measure:
    """What a document asks for, fragments expanded; each number is that of its heaviest operation.

    Validation reads all of a document, so its other operations are measured too, and the fragments
    that nobody spreads. Counts stop at CEILING.
    """

    operations: int
    depth: int
    """Levels of nested fields; an introspection counts as the one level of its field."""
    introspection_depth: int
    """Levels of nested fields below `__schema` or `__type`."""
    introspection_lists: int
    """Levels of nested lists that lead from a type to further types, below the same."""
    fields: int
    aliases: int
    root_fields: int
    directives: int


def measure(document: DocumentNode) -> Measure:
    """Measure a document that need not be valid; takes time in proportion to its length."""
    outlines = {name: _outline(alike) for name, alike in fragments_by_name(document).items()}
    fragments: dict[str, _Total] = {}
    for name in inner_first({name: outline.names() for name, outline in outlines.items()}):
        fragments[name] = _expand(outlines[name], fragments)

    operations = [
        _expand(_outline([definition]), fragments)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    everything = [*operations, *fragments.values()]
    return Measure(
        operations=len(operations),
        depth=max((total.depth for total in operations), default=0),
        introspection_depth=max((total.introspection_depth for total in operations), default=0),
        introspection_lists=max((total.introspection_lists for total in operations), default=0),
        fields=max((total.fields for total in everything), default=0),
        aliases=max((total.aliases for total in everything), default=0),
        root_fields=max((total.root_fields for total in operations), default=0),
        directives=max((total.directives for total in everything), default=0),
    )


def refuse_excess(measured: Measure, limits: GraphQLLimits) -> None:
    """LimitExceeded, naming limit and value, for the first limit that the document exceeds."""
    depths = (
        ("document", measured.depth, limits.depth),
        ("introspection", measured.introspection_depth, limits.introspection_depth),
    )
    for subject, depth, allowed in depths:
        if depth > allowed:
            raise LimitExceeded(
                f"The {subject} is {depth} levels deep; at most {allowed} are allowed."
            )
    if measured.introspection_lists > MAX_INTROSPECTION_LISTS:
        raise LimitExceeded(
            f"The introspection nests {', '.join(_LISTS_OF_A_TYPE)} {measured.introspection_lists}"
            f" levels deep; at most {MAX_INTROSPECTION_LISTS} are allowed."
        )
    counts = (
        ("operations", measured.operations, limits.operations),
        ("fields", measured.fields, limits.fields),
        ("root fields", measured.root_fields, limits.root_fields),
        ("aliases", measured.aliases, limits.aliases),
        ("directives", measured.directives, limits.directives),
    )
    for noun, count, allowed in counts:
        if count > allowed:
            raise LimitExceeded(
                f"The document has {amount(count)} {noun}; at most {allowed} are allowed."
            )


def amount(count: int) -> str:
    """A count for a person, honest about where counting stopped."""
    return str(count) if count < CEILING else f"at least {CEILING}"


class _Place(NamedTuple):
    """Where a selection set stands: fields and lists above it, up to root or introspection."""

    introspecting: bool = False
    levels: int = 0
    lists: int = 0

    def below(self, name: str) -> "_Place":
        if name in _INTROSPECTION_FIELDS:
            return _Place(introspecting=True)
        return _Place(self.introspecting, self.levels + 1, self.lists + (name in _LISTS_OF_A_TYPE))


_ROOT = _Place()


@dataclass(slots=True)
class _Total:
    """What a definition asks for. `depth` and `lists` are those outside an introspection."""

    fields: int = 0
    aliases: int = 0
    root_fields: int = 0
    directives: int = 0
    depth: int = 0
    lists: int = 0
    introspection_depth: int = 0
    introspection_lists: int = 0

    def add_field(self, node: FieldNode, place: _Place) -> None:
        self.fields += 1
        self.aliases += node.alias is not None
        self.root_fields += place == _ROOT
        is_list = node.name.value in _LISTS_OF_A_TYPE
        self._reach(place, levels=1, lists=int(is_list))

    def add_fragment(self, fragment: "_Total", place: _Place) -> None:
        self.fields = min(self.fields + fragment.fields, CEILING)
        self.aliases = min(self.aliases + fragment.aliases, CEILING)
        self.directives = min(self.directives + fragment.directives, CEILING)
        if place == _ROOT:
            self.root_fields = min(self.root_fields + fragment.root_fields, CEILING)
        self._reach(place, levels=fragment.depth, lists=fragment.lists)
        self.introspection_depth = max(self.introspection_depth, fragment.introspection_depth)
        self.introspection_lists = max(self.introspection_lists, fragment.introspection_lists)

    def _reach(self, place: _Place, *, levels: int, lists: int) -> None:
        if place.introspecting:
            self.introspection_depth = max(self.introspection_depth, place.levels + levels)
            self.introspection_lists = max(self.introspection_lists, place.lists + lists)
        else:
            self.depth = max(self.depth, place.levels + levels)
            self.lists = max(self.lists, place.lists + lists)


@dataclass(slots=True)
class _Outline:
    """A definition as it is written: what it asks for itself, and where it spreads fragments."""

    own: _Total = field(default_factory=_Total)
    spreads: list[tuple[str, _Place]] = field(default_factory=list)

    def names(self) -> Iterable[str]:
        return (name for name, _ in self.spreads)


def _outline(definitions: Sequence[ExecutableDefinitionNode]) -> _Outline:
    """Read one definition, or all that wrongly share one name as if they were one."""
    outline = _Outline()
    own = outline.own
    pending: list[tuple[SelectionSetNode, _Place]] = []
    for definition in definitions:
        own.directives += len(definition.directives or ())
        for variable in definition.variable_definitions or ():
            own.directives += len(variable.directives or ())
        pending.append((definition.selection_set, _ROOT))
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
                    pending.append((selection.selection_set, place.below(selection.name.value)))
    return outline


def _expand(outline: _Outline, fragments: Mapping[str, _Total]) -> _Total:
    """Add the fragments that are known by now: neither unknown ones nor the end of a cycle."""
    for name, place in outline.spreads:
        if name in fragments:
            outline.own.add_fragment(fragments[name], place)
    return outline.own
