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

from app.graphql.execution.selections import Given, Surprise

Take = Callable[[Given], object]
"""From the variables to the value of an argument; Undefined where it is left out."""


class Arguments:
    """Leaves are taken as they are; where others are given, graphql-core and Strawberry convert all."""

    def __init__(
        self,
        converter: GraphQLCoreConverter,
        core: GraphQLField,
        field: StrawberryField,
        node: FieldNode,
    ) -> None:
        self._converter = converter
        self._core = core
        self._field = field
        self._node = node
        given = {each.name.value: each for each in node.arguments or ()}
        try:
            taken = [self._taken(each, given) for each in field.arguments]
        except Surprise:
            self._taken_as_they_are = None
        else:
            self._taken_as_they_are = [each for each in taken if each is not None]

    def of(self, variables: VariableValues) -> dict[str, Any]:
        """By the names of the resolver's parameters; GraphQLError for what it does not take."""
        if self._taken_as_they_are is not None:
            try:
                return {
                    name: value
                    for name, take in self._taken_as_they_are
                    if (value := take(variables.coerced)) is not Undefined
                }
            except Surprise:
                pass
        return convert_arguments(
            get_argument_values(self._core, self._node, variables),
            self._field.arguments,
            scalar_registry=self._converter.scalar_registry,
            config=self._converter.config,
        )

    def _taken(
        self, argument: StrawberryArgument, given: Mapping[str, ArgumentNode]
    ) -> tuple[str, Take] | None:
        """How one is taken, by the name of its parameter; None for one that is left out."""
        name = self._converter.config.name_converter.from_argument(argument)
        core = self._core.args[name]
        node = given.get(name)
        if node is None and _may_be_left_out(core):
            return None
        is_leaf = is_leaf_type(get_nullable_type(core.type))
        if node is None or not is_leaf or isinstance(argument.type, StrawberryMaybe):
            raise Surprise
        return argument.python_name, _take(core, node)


def _take(core: GraphQLArgument, node: ArgumentNode) -> Take:
    if isinstance(node.value, VariableNode):
        return _of_variable(core, node.value.name.value)
    value = coerce_input_literal(node.value, core.type)
    if value is Undefined:
        raise Surprise
    return lambda _given: value


def _of_variable(core: GraphQLArgument, name: str) -> Take:
    may_be_left_out = _may_be_left_out(core)
    may_be_null = not isinstance(core.type, GraphQLNonNull)

    def take(given: Given) -> object:
        value = given.get(name, Undefined)
        if (value is Undefined and not may_be_left_out) or (value is None and not may_be_null):
            raise Surprise
        return value

    return take


def _may_be_left_out(core: GraphQLArgument) -> bool:
    """Whether nothing takes its place."""
    return coerce_default_value(core) is Undefined and not isinstance(core.type, GraphQLNonNull)
