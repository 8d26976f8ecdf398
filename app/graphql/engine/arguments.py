"""The arguments of one field: from the variables to what its resolver takes. Calls no resolver."""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLNonNull,
    Undefined,
    VariableNode,
    get_nullable_type,
    is_leaf_type,
)
from graphql.execution.values import VariableValues, get_argument_values
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import StrawberryArgument, convert_arguments
from strawberry.types.base import StrawberryMaybe
from strawberry.types.field import StrawberryField

from app.graphql.ast.selections import Unsupported, Variables

ArgumentGetter = Callable[[Variables], object]
"""From the variables to the value of an argument; Undefined where it is left out."""


class ArgumentBuilder:
    """Leaves are taken as they are; where others are given, graphql-core and Strawberry convert all."""

    def __init__(
        self,
        converter: GraphQLCoreConverter,
        core_field: GraphQLField,
        strawberry_field: StrawberryField,
        node: FieldNode,
    ) -> None:
        self._converter = converter
        self._core_field = core_field
        self._strawberry_field = strawberry_field
        self._node = node
        given = {each.name.value: each for each in node.arguments or ()}
        try:
            taken = [self._argument_getter(each, given) for each in strawberry_field.arguments]
        except Unsupported:
            self._fast_getters = None
        else:
            self._fast_getters = [each for each in taken if each is not None]

    def build(self, variables: VariableValues) -> dict[str, Any]:
        """By the names of the resolver's parameters; GraphQLError for what it does not take."""
        if self._fast_getters is not None:
            try:
                return {
                    name: value
                    for name, take in self._fast_getters
                    if (value := take(variables.coerced)) is not Undefined
                }
            except Unsupported:
                pass
        return convert_arguments(
            get_argument_values(self._core_field, self._node, variables),
            self._strawberry_field.arguments,
            scalar_registry=self._converter.scalar_registry,
            config=self._converter.config,
        )

    def _argument_getter(
        self, argument: StrawberryArgument, argument_nodes: Mapping[str, ArgumentNode]
    ) -> tuple[str, ArgumentGetter] | None:
        """How one is taken, by the name of its parameter; None for one that is left out."""
        name = self._converter.config.name_converter.from_argument(argument)
        core = self._core_field.args[name]
        node = argument_nodes.get(name)
        if node is None and _is_omittable(core):
            return None
        is_leaf = is_leaf_type(get_nullable_type(core.type))
        if node is None or not is_leaf or isinstance(argument.type, StrawberryMaybe):
            raise Unsupported
        return argument.python_name, _value_getter(core, node)


def _value_getter(core_argument: GraphQLArgument, node: ArgumentNode) -> ArgumentGetter:
    if isinstance(node.value, VariableNode):
        return _variable_getter(core_argument, node.value.name.value)
    value = coerce_input_literal(node.value, core_argument.type)
    if value is Undefined:
        raise Unsupported
    return lambda _given: value


def _variable_getter(core_argument: GraphQLArgument, name: str) -> ArgumentGetter:
    may_be_left_out = _is_omittable(core_argument)
    may_be_null = not isinstance(core_argument.type, GraphQLNonNull)

    def get_value(variables: Variables) -> object:
        value = variables.get(name, Undefined)
        if (value is Undefined and not may_be_left_out) or (value is None and not may_be_null):
            raise Unsupported
        return value

    return get_value


def _is_omittable(core_argument: GraphQLArgument) -> bool:
    """Whether nothing takes its place."""
    return coerce_default_value(core_argument) is Undefined and not isinstance(
        core_argument.type, GraphQLNonNull
    )
