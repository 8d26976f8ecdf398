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

from app.graphql.ast.selections import NotCompilable

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
        if self._has_only_leaves:
            try:
                return self._coerce_leaves(raw_variables)
            except Exception:  # noqa: BLE001, S110 - graphql-core raises and formats the same error
                pass
        return get_variable_values(
            self._schema, self._definitions, dict(raw_variables), max_errors=_MAX_ERRORS
        )

    def _coerce_leaves(self, raw_variables: Mapping[str, object]) -> VariableValues:
        """Return the coerced values; raises any exception if one is invalid."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for signature, is_required, coerce in self._leaf_variables:
            name = signature.name
            value = raw_variables.get(name, Undefined)
            sources[name] = VariableValueSource(signature, value)
            if value is not None and value is not Undefined:
                coerced[name] = coerce(value)
                if coerced[name] is Undefined:
                    raise NotCompilable
            elif is_required:
                raise NotCompilable
            elif value is None:
                coerced[name] = None
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


class _LeafArgument(NamedTuple):
    """Argument of a leaf type: a constant, or a variable."""

    name: str
    """Name of the parameter of the resolver."""
    value: object
    variable: str | None
    is_omittable: bool
    is_nullable: bool


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
            arguments = [
                self._leaf_argument(argument, argument_nodes)
                for argument in strawberry_field.arguments
            ]
        except NotCompilable:
            self._leaf_arguments = None
        else:
            self._leaf_arguments = [argument for argument in arguments if argument is not None]

    def build(self, variables: VariableValues) -> dict[str, Any]:
        """Return the arguments by parameter name; raises GraphQLError for an invalid one."""
        if self._leaf_arguments is not None:
            arguments: dict[str, Any] = {}
            for name, value, variable, is_omittable, is_nullable in self._leaf_arguments:
                if variable is not None:
                    value = variables.coerced.get(variable, Undefined)  # noqa: PLW2901
                    if value is Undefined and is_omittable:
                        continue
                    if value is Undefined or (value is None and not is_nullable):
                        break
                arguments[name] = value
            else:
                return arguments
        return convert_arguments(
            get_argument_values(self._graphql_field, self._node, variables),
            self._strawberry_field.arguments,
            scalar_registry=self._converter.scalar_registry,
            config=self._converter.config,
        )

    def _leaf_argument(
        self, argument: StrawberryArgument, argument_nodes: Mapping[str, ArgumentNode]
    ) -> _LeafArgument | None:
        """Prepare an argument, None for an omitted one; raises NotCompilable if it is not of a leaf type."""
        name = self._converter.config.name_converter.from_argument(argument)
        graphql_argument = self._graphql_field.args[name]
        node = argument_nodes.get(name)
        is_omittable = _is_omittable(graphql_argument)
        if node is None and is_omittable:
            return None
        is_leaf = is_leaf_type(get_nullable_type(graphql_argument.type))
        if node is None or not is_leaf or isinstance(argument.type, StrawberryMaybe):
            raise NotCompilable
        is_nullable = not isinstance(graphql_argument.type, GraphQLNonNull)
        if isinstance(node.value, VariableNode):
            variable = node.value.name.value
            return _LeafArgument(argument.python_name, None, variable, is_omittable, is_nullable)
        value = coerce_input_literal(node.value, graphql_argument.type)
        if value is Undefined:
            raise NotCompilable
        return _LeafArgument(argument.python_name, value, None, is_omittable, is_nullable)


def _is_omittable(graphql_argument: GraphQLArgument) -> bool:
    """Return True if the argument is nullable and has no default."""
    return coerce_default_value(graphql_argument) is Undefined and not isinstance(
        graphql_argument.type, GraphQLNonNull
    )
