"""Fast coercion of an operation's variables and of a field's arguments.

Common cases are prepared once per operation. graphql-core and Strawberry handle all others and produce
every error message.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLSchema,
    Undefined,
    VariableDefinitionNode,
    VariableNode,
    get_nullable_type,
    is_leaf_type,
)
from graphql.execution.get_variable_signature import (
    GraphQLVariableSignature,
    get_variable_signature,
)
from graphql.execution.values import (
    VariableValues,
    VariableValueSource,
    get_argument_values,
    get_variable_values,
)
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import StrawberryArgument, convert_arguments
from strawberry.types.base import StrawberryMaybe
from strawberry.types.field import StrawberryField

from app.graphql.ast.selections import Unsupported, Variables

_MAX_ERRORS = 20


class VariableCoercer:
    """Coercer of the variables of one operation.

    The fast path needs variables of leaf types without defaults, which are nearly all in practice.
    """

    def __init__(
        self, schema: GraphQLSchema, definitions: tuple[VariableDefinitionNode, ...]
    ) -> None:
        self._schema = schema
        self._definitions = definitions
        candidates = [_leaf_variable(schema, definition) for definition in definitions]
        self._leaf_variables = [variable for variable in candidates if variable is not None]
        self._has_only_leaves = len(self._leaf_variables) == len(candidates)

    def coerce(self, raw_variables: Mapping[str, object]) -> VariableValues | list[GraphQLError]:
        """Return the coerced values, or the errors of invalid ones."""
        values = self._coerce_leaves(raw_variables) if self._has_only_leaves else None
        if values is not None:
            return values
        return get_variable_values(
            self._schema, self._definitions, dict(raw_variables), max_errors=_MAX_ERRORS
        )

    def _coerce_leaves(self, raw_variables: Mapping[str, object]) -> VariableValues | None:
        """Return the coerced values, or None if any is invalid."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for signature, is_required, coerce in self._leaf_variables:
            name = signature.name
            value = raw_variables.get(name, Undefined)
            sources[name] = VariableValueSource(signature, value)
            if value is None or value is Undefined:
                if is_required:
                    return None
                if value is None:
                    coerced[name] = None
                continue
            try:
                coerced[name] = coerce(value)
            except Exception:  # noqa: BLE001 - a scalar may raise anything
                return None
            if coerced[name] is Undefined:
                return None
        return VariableValues(sources, coerced)


class _LeafVariable(NamedTuple):
    """Variable of a leaf type without a default."""

    signature: GraphQLVariableSignature
    is_required: bool
    coerce: Callable[[Any], object]


def _leaf_variable(
    schema: GraphQLSchema, definition: VariableDefinitionNode
) -> _LeafVariable | None:
    signature = get_variable_signature(schema, definition)
    if isinstance(signature, GraphQLError) or definition.default_value is not None:
        return None
    nullable = get_nullable_type(signature.type)
    if not is_leaf_type(nullable):
        return None
    is_required = isinstance(signature.type, GraphQLNonNull)
    return _LeafVariable(signature, is_required, nullable.coerce_input_value)


ArgumentGetter = Callable[[Variables], object]
"""Getter of an argument's value from the variables; returns Undefined if it is omitted."""


class ArgumentBuilder:
    """Builder of the keyword arguments of a field's resolver.

    The fast path needs arguments of leaf types, or omitted ones without a default.
    """

    def __init__(
        self,
        converter: GraphQLCoreConverter,
        graphql_field: GraphQLField,
        strawberry_field: StrawberryField,
        node: FieldNode,
    ) -> None:
        self._converter = converter
        self._graphql_field = graphql_field
        self._strawberry_field = strawberry_field
        self._node = node
        argument_nodes = {argument.name.value: argument for argument in node.arguments or ()}
        try:
            getters = [
                self._argument_getter(argument, argument_nodes)
                for argument in strawberry_field.arguments
            ]
        except Unsupported:
            self._argument_getters = None
        else:
            self._argument_getters = [getter for getter in getters if getter is not None]

    def build(self, variables: VariableValues) -> dict[str, Any]:
        """Return the arguments by parameter name; raises GraphQLError for an invalid one."""
        if self._argument_getters is not None:
            try:
                return {
                    name: value
                    for name, get_value in self._argument_getters
                    if (value := get_value(variables.coerced)) is not Undefined
                }
            except Unsupported:
                pass
        return convert_arguments(
            get_argument_values(self._graphql_field, self._node, variables),
            self._strawberry_field.arguments,
            scalar_registry=self._converter.scalar_registry,
            config=self._converter.config,
        )

    def _argument_getter(
        self, argument: StrawberryArgument, argument_nodes: Mapping[str, ArgumentNode]
    ) -> tuple[str, ArgumentGetter] | None:
        """Return parameter name and getter of an argument; None for an omitted argument."""
        name = self._converter.config.name_converter.from_argument(argument)
        graphql_argument = self._graphql_field.args[name]
        node = argument_nodes.get(name)
        if node is None and _is_omittable(graphql_argument):
            return None
        is_leaf = is_leaf_type(get_nullable_type(graphql_argument.type))
        if node is None or not is_leaf or isinstance(argument.type, StrawberryMaybe):
            raise Unsupported
        return argument.python_name, _value_getter(graphql_argument, node)


def _value_getter(graphql_argument: GraphQLArgument, node: ArgumentNode) -> ArgumentGetter:
    if isinstance(node.value, VariableNode):
        return _variable_getter(graphql_argument, node.value.name.value)
    value = coerce_input_literal(node.value, graphql_argument.type)
    if value is Undefined:
        raise Unsupported
    return lambda _variables: value


def _variable_getter(graphql_argument: GraphQLArgument, name: str) -> ArgumentGetter:
    is_omittable = _is_omittable(graphql_argument)
    is_nullable = not isinstance(graphql_argument.type, GraphQLNonNull)

    def get_value(variables: Variables) -> object:
        value = variables.get(name, Undefined)
        if (value is Undefined and not is_omittable) or (value is None and not is_nullable):
            raise Unsupported
        return value

    return get_value


def _is_omittable(graphql_argument: GraphQLArgument) -> bool:
    """Return True if the argument is nullable and has no default."""
    return coerce_default_value(graphql_argument) is Undefined and not isinstance(
        graphql_argument.type, GraphQLNonNull
    )
