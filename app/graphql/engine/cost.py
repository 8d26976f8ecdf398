"""Cost of an operation once its variables are known: connection nodes and list sizes.

Limits that do not depend on variables are in `limits`. Resolvers reject a page size out of range.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
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
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value

from app.domain.errors import LimitExceeded
from app.graphql.ast.document_index import (
    ArgumentPath,
    DocumentIndex,
    IndexedDefinition,
    IndexedSelection,
    walk_values,
)
from app.graphql.ast.selections import Condition, NotCompilable, Variables, read_conditions
from app.graphql.engine.limits import COUNT_CEILING, format_count
from app.graphql.schema.connections import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from app.settings import GraphQLLimits


@dataclass(frozen=True, slots=True)
class QueryCost:
    """Cost of an operation as a function of its variables."""

    _cost_nodes: "Sequence[_CostNode]"
    _fragments: "Mapping[str, Sequence[_CostNode]]"
    """Fragments that the operation reaches, each after the fragments that it spreads."""
    _has_nodes: bool
    """True if the operation may return nodes with some variables."""
    _longest_literal_list: "_ArgumentSize"
    variable_paths: Mapping[str, ArgumentPath]
    """Path of the argument in which each variable is used first."""

    def count_nodes(self, variables: Variables) -> int:
        """Return an upper bound, at most COUNT_CEILING, of the nodes of connections and `nodes(ids:)`.

        A connection returns its page size for each of its parents. Any other list counts as one,
        since its length is only known at execution (see `ResponseLimit`). A field that is selected
        twice counts twice, though GraphQL may merge the two.
        """
        fragment_counts: dict[str, int] = {}
        for name, cost_nodes in self._fragments.items():
            fragment_counts[name] = _count_nodes(cost_nodes, variables, fragment_counts)
        return _count_nodes(self._cost_nodes, variables, fragment_counts)

    def check_argument_sizes(self, variables: Variables, max_argument_values: int) -> None:
        """Raise LimitExceeded for too many values in a list or an object.

        Takes the variables before coercion: coercing many invalid values takes long.
        """
        path, length = self._longest_literal_list
        if length > max_argument_values:
            raise _argument_size_error(path, length, max_argument_values)
        for name, argument in self.variable_paths.items():
            variable = variables.get(name)
            if isinstance(variable, (list, dict)):
                for path, value in walk_values(argument, variable):
                    if isinstance(value, (list, dict)) and len(value) > max_argument_values:
                        raise _argument_size_error(path, len(value), max_argument_values)

    def check_node_limit(self, variables: Variables, limits: GraphQLLimits) -> None:
        """Raise LimitExceeded if the operation may return too many nodes."""
        if not self._has_nodes:
            return
        nodes = self.count_nodes(variables)
        if nodes > limits.nodes:
            raise LimitExceeded(
                f"The document asks for {format_count(nodes)} nodes; at most {limits.nodes} are allowed."
            )


def _argument_size_error(
    path: ArgumentPath, length: int, max_argument_values: int
) -> LimitExceeded:
    argument = str(path)
    return LimitExceeded(
        f"{argument} has {length} values; at most {max_argument_values} are allowed.",
        argument=argument,
    )


def analyze_cost(
    schema: GraphQLSchema, index: DocumentIndex, operation: IndexedDefinition
) -> QueryCost:
    """Analyze an operation and the fragments it reaches; the document need not be valid."""
    reader = _CostReader(schema)
    cost_nodes = reader.read(operation)
    fragments: dict[str, list[_CostNode]] = {}
    for name in reader.spreads:  # grows while fragments are read
        if name not in fragments and name in index.fragments:
            fragments[name] = [
                cost_node
                for definition in index.fragments[name]
                for cost_node in reader.read(definition)
            ]
    ordered = {name: fragments[name] for name in index.fragment_order if name in fragments}
    return QueryCost(
        cost_nodes,
        ordered,
        reader.has_nodes,
        reader.longest_literal_list,
        reader.variable_paths,
    )


@dataclass(slots=True)
class _CostNode:
    """Part of the cost: a fragment spread, or children that count once per multiplied node.

    Without a multiplier the children count once, and the node itself does not count.
    """

    conditions: Sequence[Condition] = ()
    multiplier: Callable[[Variables], int] | None = None
    fragment_name: str | None = None
    children: "list[_CostNode]" = field(default_factory=list)


class _ArgumentValue(NamedTuple):
    """Argument given by a variable, or by a literal or default value."""

    variable: str | None
    default: object

    def resolve(self, variables: Variables) -> object:
        return self.default if self.variable is None else variables.get(self.variable, self.default)


class _ArgumentSize(NamedTuple):
    path: ArgumentPath
    length: int


class _Scope(NamedTuple):
    """Parent type of a selection set, and the list to which its cost nodes are added."""

    parent_type: GraphQLNamedType | None
    cost_nodes: list[_CostNode]


def _count_nodes(
    cost_nodes: Sequence[_CostNode], variables: Variables, fragment_counts: Mapping[str, int]
) -> int:
    total = 0
    for node in cost_nodes:
        if any(variables.get(name) is (not included) for name, included in node.conditions):
            continue
        if node.fragment_name is None:
            inner = _count_nodes(node.children, variables, fragment_counts)
        else:
            inner = fragment_counts.get(node.fragment_name, 0)
        total += inner if node.multiplier is None else node.multiplier(variables) * (1 + inner)
    return min(total, COUNT_CEILING)


class _CostReader:
    """Reader of the cost nodes of definitions, which collects lists, variables and spreads on the way.

    Selections that a literal @skip or @include excludes are ignored.
    """

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self.spreads: list[str] = []
        self.has_nodes = False
        self.longest_literal_list = _ArgumentSize(ArgumentPath(""), 0)
        self.variable_paths: dict[str, ArgumentPath] = {}

    def read(self, definition: IndexedDefinition) -> list[_CostNode]:
        root = _Scope(self._root_type(definition), [])
        scopes: list[_Scope | None] = []
        for selection in definition.selections:
            scope = root if selection.parent is None else scopes[selection.parent]
            scopes.append(None if scope is None else self._enter(selection, scope))
        return root.cost_nodes

    def _root_type(self, definition: IndexedDefinition) -> GraphQLNamedType | None:
        match definition.node:
            case OperationDefinitionNode(operation=operation):
                return self._schema.get_root_type(operation)
            case FragmentDefinitionNode(type_condition=condition):
                return self._schema.get_type(condition.name.value)
        return None

    def _enter(self, selection: IndexedSelection, scope: _Scope) -> _Scope | None:
        """Add the cost of one selection; return the scope of its children, None if it is excluded."""
        node = selection.node
        try:
            conditions = read_conditions(node.directives or ())
        except NotCompilable:  # validation will reject the document
            conditions = ()
        if conditions is None:
            return None
        if conditions:
            scope = _add_scope(scope, _CostNode(conditions))
        match node:
            case FragmentSpreadNode(name=name):
                self.spreads.append(name.value)
                scope.cost_nodes.append(_CostNode(fragment_name=name.value))
            case InlineFragmentNode(type_condition=condition) if condition is not None:
                return scope._replace(parent_type=self._schema.get_type(condition.name.value))
            case FieldNode():
                self._record_arguments(selection.argument_values)
                definition = _field_definition(scope.parent_type, node)
                if definition is None:
                    return scope._replace(parent_type=None)
                multiplier = self._multiplier(scope.parent_type, node, definition)
                if multiplier is not None:
                    self.has_nodes = True
                    scope = _add_scope(scope, _CostNode(multiplier=multiplier))
                return scope._replace(parent_type=get_named_type(definition.type))
        return scope

    def _multiplier(
        self, parent: GraphQLNamedType | None, node: FieldNode, definition: GraphQLField
    ) -> Callable[[Variables], int] | None:
        """Return the number of nodes of a connection or of the root field `nodes(ids:)`; else None."""
        if _is_connection(get_named_type(definition.type)):
            first, last = (_argument_value(node, definition, name) for name in ("first", "last"))
            return lambda variables: _page_size(first.resolve(variables), last.resolve(variables))
        if parent is self._schema.query_type and node.name.value == "nodes":
            ids = _argument_value(node, definition, "ids")
            return lambda variables: _id_count(ids.resolve(variables))
        return None

    def _record_arguments(self, values: Iterable[tuple[ArgumentPath, ValueNode]]) -> None:
        for path, value in values:
            match value:
                case VariableNode(name=name):
                    self.variable_paths.setdefault(name.value, path)
                case ListValueNode(values=items) | ObjectValueNode(fields=items):
                    if len(items) > self.longest_literal_list.length:
                        self.longest_literal_list = _ArgumentSize(path, len(items))


def _add_scope(scope: _Scope, node: _CostNode) -> _Scope:
    """Add a cost node; return the scope of its children."""
    scope.cost_nodes.append(node)
    return _Scope(scope.parent_type, node.children)


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
    """Return the argument of a field, or its default value."""
    argument = definition.args.get(name)
    default = None if argument is None else coerce_default_value(argument)
    if default is Undefined:
        default = None
    for node_argument in node.arguments or ():
        if node_argument.name.value == name:
            if isinstance(node_argument.value, VariableNode):
                return _ArgumentValue(node_argument.value.name.value, default)
            return _ArgumentValue(None, _literal_value(node_argument.value))
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
    """Return the larger of `first` and `last`; the resolver rejects both. A non-number is a full page."""
    sizes = [_clamp_page_size(size) for size in (first, last) if size is not None]
    return max(sizes, default=DEFAULT_PAGE_SIZE)


def _clamp_page_size(size: object) -> int:
    return min(max(size, 0), MAX_PAGE_SIZE) if isinstance(size, int) else MAX_PAGE_SIZE


def _id_count(ids: object) -> int:
    """Return the number of ids; GraphQL coerces a single value to a list of one."""
    if ids is None:
        return 0
    return len(ids) if isinstance(ids, (list, tuple)) else 1
