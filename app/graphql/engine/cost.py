"""What one request asks for, given its variables: nodes of connections and values in lists.

What a document asks for whatever its variables is in `limits`. A page size out of range is refused
by its resolver, not here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    VariableNode,
    get_named_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value

from app.domain.errors import LimitExceeded
from app.graphql.ast.argument_paths import ArgumentPath, walk_values
from app.graphql.ast.fragments import fragments_by_name, topological_order
from app.graphql.engine.limits import MAX_COUNT, format_count
from app.graphql.schema.connections import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from app.settings import GraphQLLimits

Variables = Mapping[str, object]
"""The coerced values of an operation's variables by name, defaults included."""


@dataclass(frozen=True, slots=True)
class QueryCost:
    """What an operation asks for while its variables are open; may be kept with the document."""

    _cost_nodes: "Sequence[_CostNode]"
    _fragments: "Mapping[str, Sequence[_CostNode]]"
    """Those that the operation reaches, each after the fragments that it spreads."""
    _longest_literal_list: "_ListSize"
    variable_paths: Mapping[str, ArgumentPath]
    """Where each variable is used first."""

    def count_nodes(self, variables: Variables) -> int:
        """How many nodes connections and `nodes(ids:)` can return at most; stops at CEILING.

        A connection returns its page size for each of its parents; any other list counts as one,
        since only its rows can tell (see ListEntries in `loaders`).
        A field that is selected twice counts twice, though GraphQL may merge the two.
        """
        per_spread: dict[str, int] = {}
        for name, parts in self._fragments.items():
            per_spread[name] = _count_nodes(parts, variables, per_spread)
        return _count_nodes(self._cost_nodes, variables, per_spread)

    def check_list_sizes(self, variables: Variables, max_values: int) -> None:
        """LimitExceeded for too many values in a list or an object; nothing need be coerced yet.

        To coerce them takes long where much is wrong with them, so they must not be many by then.
        """
        for place, length in chain((self._longest_literal_list,), self._iter_list_sizes(variables)):
            if length > max_values:
                argument = str(place)
                raise LimitExceeded(
                    f"{argument} has {length} values; at most {max_values} are allowed.",
                    argument=argument,
                )

    def check_node_limit(self, variables: Variables, limits: GraphQLLimits) -> None:
        """LimitExceeded for too many nodes."""
        nodes = self.count_nodes(variables)
        if nodes > limits.nodes:
            raise LimitExceeded(
                f"The document asks for {format_count(nodes)} nodes; at most {limits.nodes} are allowed."
            )

    def _iter_list_sizes(self, variables: Variables) -> "Iterator[_ListSize]":
        for name, argument in self.variable_paths.items():
            given = variables.get(name)
            if isinstance(given, (list, dict)):
                for place, value in walk_values(argument, given):
                    if isinstance(value, (list, dict)):
                        yield _ListSize(place, len(value))


def analyze_cost(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> QueryCost:
    """Read an operation and the fragments it reaches, once each; nothing need be valid."""
    fragments = fragments_by_name(document)
    reading = _CostVisitor(schema)
    parts = reading.visit(operation.selection_set, schema.get_root_type(operation.operation))
    spreads: dict[str, list[str]] = {}
    by_name: dict[str, list[_CostNode]] = {}
    pending = reading.pop_spreads()
    for name in pending:  # grows on the way
        if name in by_name or name not in fragments:
            continue
        by_name[name] = [
            part
            for fragment in fragments[name]
            for part in reading.visit(
                fragment.selection_set, schema.get_type(fragment.type_condition.name.value)
            )
        ]
        spreads[name] = reading.pop_spreads()
        pending.extend(spreads[name])
    in_order = {name: by_name[name] for name in topological_order(spreads)}
    return QueryCost(parts, in_order, reading.longest_literal_list, reading.variable_paths)


@dataclass(slots=True)
class _CostNode:
    """A part of a selection set: a spread, or nodes by `size` (None: no node) and their parts."""

    conditions: "Sequence[_Condition]" = ()
    multiplier: Callable[[Variables], int] | None = None
    fragment_name: str | None = None
    children: "list[_CostNode]" = field(default_factory=list)


class _Condition(NamedTuple):
    """@skip or @include by a variable, with the value that leaves the selection out."""

    variable: str
    excluding_value: bool


class _ArgumentValue(NamedTuple):
    """An argument's value: of the variable, where it has one, else as written or by default."""

    variable: str | None
    default: object

    def resolve(self, variables: Variables) -> object:
        return self.default if self.variable is None else variables.get(self.variable, self.default)


class _ListSize(NamedTuple):
    path: ArgumentPath
    length: int

    def length_key(self) -> int:
        return self.length


def _count_nodes(
    cost_nodes: Sequence[_CostNode], variables: Variables, fragment_counts: Mapping[str, int]
) -> int:
    total = 0
    for part in cost_nodes:
        if any(variables.get(name) is leaves_out for name, leaves_out in part.conditions):
            continue
        if part.fragment_name is None:
            inside = _count_nodes(part.children, variables, fragment_counts)
        else:
            inside = fragment_counts.get(part.fragment_name, 0)
        total += inside if part.multiplier is None else part.multiplier(variables) * (1 + inside)
    return min(total, MAX_COUNT)


class _CostVisitor:
    """Turns selection sets into parts; notes the lists and variables in arguments on the way."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._spreads: list[str] = []
        self.longest_literal_list = _ListSize(ArgumentPath(""), 0)
        self.variable_paths: dict[str, ArgumentPath] = {}

    def pop_spreads(self) -> list[str]:
        """The fragments spread since this was last asked."""
        spreads, self._spreads = self._spreads, []
        return spreads

    def visit(self, root: SelectionSetNode, root_type: GraphQLNamedType | None) -> list[_CostNode]:
        found: list[_CostNode] = []
        pending = [(root, root_type, found)]
        while pending:
            selection_set, parent, outer = pending.pop()
            for selection in selection_set.selections:
                conditions = _conditions(selection.directives or ())
                if conditions is None:
                    continue
                parts = _append_node(outer, _CostNode(conditions)) if conditions else outer
                if isinstance(selection, FragmentSpreadNode):
                    self._spreads.append(selection.name.value)
                    parts.append(_CostNode(fragment_name=selection.name.value))
                elif isinstance(selection, InlineFragmentNode):
                    narrowed = selection.type_condition
                    type_ = self._schema.get_type(narrowed.name.value) if narrowed else parent
                    pending.append((selection.selection_set, type_, parts))
                elif isinstance(selection, FieldNode):
                    self._record_arguments(selection.arguments or ())
                    definition = _field_definition(parent, selection)
                    size = self._multiplier(parent, selection, definition) if definition else None
                    if size is not None:
                        parts = _append_node(parts, _CostNode(multiplier=size))
                    if selection.selection_set is not None:
                        type_ = get_named_type(definition.type) if definition else None
                        pending.append((selection.selection_set, type_, parts))
        return found

    def _multiplier(
        self, parent: GraphQLNamedType | None, node: FieldNode, definition: GraphQLField
    ) -> Callable[[Variables], int] | None:
        """What a field multiplies by, if it is a connection or the root's `nodes(ids:)`."""
        if _is_connection(get_named_type(definition.type)):
            first, last = (_argument_value(node, definition, name) for name in ("first", "last"))
            return lambda variables: _page_size(first.resolve(variables), last.resolve(variables))
        if parent is self._schema.query_type and node.name.value == "nodes":
            ids = _argument_value(node, definition, "ids")
            return lambda variables: _id_count(ids.resolve(variables))
        return None

    def _record_arguments(self, arguments: Iterable[ArgumentNode]) -> None:
        for argument in arguments:
            for place, value in walk_values(ArgumentPath(argument.name.value), argument.value):
                if isinstance(value, VariableNode):
                    self.variable_paths.setdefault(value.name.value, place)
                elif isinstance(value, (ListValueNode, ObjectValueNode)):
                    held = value.values if isinstance(value, ListValueNode) else value.fields
                    longer = _ListSize(place, len(held))
                    self.longest_literal_list = max(
                        self.longest_literal_list, longer, key=_ListSize.length_key
                    )


def _append_node(siblings: list[_CostNode], node: _CostNode) -> list[_CostNode]:
    siblings.append(node)
    return node.children


def _conditions(directives: Iterable[DirectiveNode]) -> list[_Condition] | None:
    """The conditions of a selection that variables decide; None if it is left out in any case."""
    conditions = []
    for directive in directives:
        if directive.name.value not in ("skip", "include"):
            continue
        leaves_out = directive.name.value == "skip"
        for argument in directive.arguments or ():
            if isinstance(argument.value, VariableNode):
                conditions.append(_Condition(argument.value.name.value, leaves_out))
            elif (
                isinstance(argument.value, BooleanValueNode) and argument.value.value is leaves_out
            ):
                return None
    return conditions


def _field_definition(parent: GraphQLNamedType | None, node: FieldNode) -> GraphQLField | None:
    if isinstance(parent, (GraphQLObjectType, GraphQLInterfaceType)):
        definition: GraphQLField | None = parent.fields.get(node.name.value)
        return definition
    return None


def _is_connection(type_: GraphQLNamedType) -> bool:
    return (
        isinstance(type_, GraphQLObjectType)
        and type_.name.endswith("Connection")
        and {"edges", "pageInfo"} <= type_.fields.keys()
    )


def _argument_value(node: FieldNode, definition: GraphQLField, name: str) -> _ArgumentValue:
    """An argument as it is given, or else its default."""
    argument = definition.args.get(name)
    default = None if argument is None else coerce_default_value(argument)
    if default is Undefined:
        default = None
    for given in node.arguments or ():
        if given.name.value == name:
            if isinstance(given.value, VariableNode):
                return _ArgumentValue(given.value.name.value, default)
            return _ArgumentValue(None, _literal_value(given.value))
    return _ArgumentValue(None, default)


def _literal_value(node: object) -> object:
    if isinstance(node, NullValueNode):
        return None
    if isinstance(node, ListValueNode):
        return node.values
    if isinstance(node, IntValueNode) and len(node.value) <= len("-2147483648"):
        return int(node.value)
    return node


def _page_size(first: object, last: object) -> int:
    """The larger of two, for both is the resolver's to refuse; what is no number is a full page."""
    sizes = [_clamp_page_size(size) for size in (first, last) if size is not None]
    return max(sizes, default=DEFAULT_PAGE_SIZE)


def _clamp_page_size(size: object) -> int:
    return min(max(size, 0), MAX_PAGE_SIZE) if isinstance(size, int) else MAX_PAGE_SIZE


def _id_count(ids: object) -> int:
    """GraphQL reads a single value where a list is expected as a list of one."""
    if ids is None:
        return 0
    return len(ids) if isinstance(ids, (list, tuple)) else 1
