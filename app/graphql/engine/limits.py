"""Limits of a document that do not depend on its variables, checked before validation.

Limits that depend on variables are in `cost`. The limits themselves are settings.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSyntaxError,
    parse,
)

from app.domain.errors import LimitExceeded, ParseFailed
from app.graphql.ast.document_index import DocumentIndex, IndexedDefinition
from app.settings import GraphQLLimits

COUNT_CEILING = 1_000_000_000
"""Ceiling of all counts: fragments that multiply each other would make numbers of any length."""

_MAX_INTROSPECTION_LIST_DEPTH = 2
"""Allowed nesting of lists that lead from a type to further types, in an introspection."""

_INTROSPECTION_FIELDS = ("__schema", "__type")
_TYPE_LIST_FIELDS = ("fields", "inputFields", "interfaces", "possibleTypes")


def parse_document(query: str, limits: GraphQLLimits) -> DocumentNode:
    """Parse a document; raises LimitExceeded if it has too many tokens or is nested too deeply.

    Any other syntax error is a GraphQLError with its location, caused by a ParseFailed.
    """
    try:
        return parse(query, max_tokens=limits.tokens)
    except GraphQLSyntaxError as error:
        # Only its message distinguishes an exceeded limit of the parser from a syntax error.
        if (
            error.description
            == f"Document contains more than {limits.tokens} tokens. Parsing aborted."
        ):
            problem = f"The document has more than {limits.tokens} tokens, which is the limit."
            raise LimitExceeded(problem) from None
        if error.description == "Document is nested too deeply. Parsing aborted.":
            raise LimitExceeded(
                f"The document is nested too deeply to be parsed; at most {limits.depth} levels of"
                " fields are allowed."
            ) from None
        message = _STRING_TOKEN.sub(r"\1", error.message)
        raise GraphQLError(
            message,
            source=error.source,
            positions=error.positions,
            original_error=ParseFailed(message),
        ) from None


_STRING_TOKEN = re.compile(r"\b((?:Block)?String) ['\"].*['\"]", re.DOTALL)
"""String in a syntax error, which may be part of credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStats:
    """Size of a document with fragments expanded; each number is that of its heaviest operation.

    Validation reads the whole document, so operations that do not run and unused fragments are
    measured too. Counts stop at COUNT_CEILING.
    """

    operations: int
    depth: int
    """Levels of nested fields; an introspection counts as the one level of its field."""
    introspection_depth: int
    """Levels of nested fields below `__schema` or `__type`."""
    introspection_list_depth: int
    """Levels of nested lists that lead from a type to further types, below `__schema` or `__type`."""
    fields: int
    aliases: int
    root_fields: int
    directives: int


def collect_stats(index: DocumentIndex) -> DocumentStats:
    """Measure a document, which need not be valid, in linear time."""
    fragments: dict[str, _DefinitionStats] = {}
    for name in index.fragment_order:
        fragments[name] = _collect_definition(index.fragments[name], fragments)
    operations = [_collect_definition([operation], fragments) for operation in index.operations]
    definitions = [*operations, *fragments.values()]
    return DocumentStats(
        operations=len(operations),
        depth=max((stats.depth for stats in operations), default=0),
        introspection_depth=max((stats.introspection_depth for stats in operations), default=0),
        introspection_list_depth=max(
            (stats.introspection_list_depth for stats in operations), default=0
        ),
        fields=max((stats.fields for stats in definitions), default=0),
        aliases=max((stats.aliases for stats in definitions), default=0),
        root_fields=max((stats.root_fields for stats in operations), default=0),
        directives=max((stats.directives for stats in definitions), default=0),
    )


def enforce_limits(stats: DocumentStats, limits: GraphQLLimits) -> None:
    """Raise LimitExceeded, naming limit and value, for the first limit that is exceeded."""
    depths = (
        ("document", stats.depth, limits.depth),
        ("introspection", stats.introspection_depth, limits.introspection_depth),
    )
    for subject, depth, allowed in depths:
        if depth > allowed:
            raise LimitExceeded(
                f"The {subject} is {depth} levels deep; at most {allowed} are allowed."
            )
    if stats.introspection_list_depth > _MAX_INTROSPECTION_LIST_DEPTH:
        raise LimitExceeded(
            f"The introspection nests {', '.join(_TYPE_LIST_FIELDS)} {stats.introspection_list_depth}"
            f" levels deep; at most {_MAX_INTROSPECTION_LIST_DEPTH} are allowed."
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
    """Format a count for a message; a count at the ceiling reads "at least"."""
    return str(count) if count < COUNT_CEILING else f"at least {COUNT_CEILING}"


class _Position(NamedTuple):
    """Fields and lists above a selection, up to the root or to an introspection field."""

    in_introspection: bool = False
    field_depth: int = 0
    list_depth: int = 0

    def descend(self, name: str) -> "_Position":
        if name in _INTROSPECTION_FIELDS:
            return _Position(in_introspection=True)
        return _Position(
            self.in_introspection,
            self.field_depth + 1,
            self.list_depth + (name in _TYPE_LIST_FIELDS),
        )


_ROOT = _Position()


@dataclass(slots=True)
class _DefinitionStats:
    """Size of one definition. `depth` and `list_depth` do not count what is inside an introspection."""

    fields: int = 0
    aliases: int = 0
    root_fields: int = 0
    directives: int = 0
    depth: int = 0
    list_depth: int = 0
    introspection_depth: int = 0
    introspection_list_depth: int = 0

    def add_field(self, node: FieldNode, position: _Position) -> None:
        self.fields += 1
        self.aliases += node.alias is not None
        self.root_fields += position == _ROOT
        is_list = node.name.value in _TYPE_LIST_FIELDS
        self._raise_depths(position, field_depth=1, list_depth=int(is_list))

    def add_fragment(self, fragment: "_DefinitionStats", position: _Position) -> None:
        self.fields = min(self.fields + fragment.fields, COUNT_CEILING)
        self.aliases = min(self.aliases + fragment.aliases, COUNT_CEILING)
        self.directives = min(self.directives + fragment.directives, COUNT_CEILING)
        if position == _ROOT:
            self.root_fields = min(self.root_fields + fragment.root_fields, COUNT_CEILING)
        self._raise_depths(position, field_depth=fragment.depth, list_depth=fragment.list_depth)
        self.introspection_depth = max(self.introspection_depth, fragment.introspection_depth)
        self.introspection_list_depth = max(
            self.introspection_list_depth, fragment.introspection_list_depth
        )

    def _raise_depths(self, position: _Position, *, field_depth: int, list_depth: int) -> None:
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


def _collect_definition(
    definitions: Sequence[IndexedDefinition], fragments: Mapping[str, _DefinitionStats]
) -> _DefinitionStats:
    """Measure one definition, or all that share one name as if they were one.

    `fragments` holds those measured before; unknown ones and the end of a cycle count nothing.
    """
    stats = _DefinitionStats()
    spreads: list[tuple[str, _Position]] = []
    for definition in definitions:
        stats.directives += definition.directive_count
        inner_positions: list[_Position] = []
        for selection in definition.selections:
            position = _ROOT if selection.parent is None else inner_positions[selection.parent]
            node = selection.node
            stats.directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                stats.add_field(node, position)
                position = position.descend(node.name.value)
            elif isinstance(node, FragmentSpreadNode):
                spreads.append((node.name.value, position))
            inner_positions.append(position)
    for name, position in spreads:
        if name in fragments:
            stats.add_fragment(fragments[name], position)
    return stats
