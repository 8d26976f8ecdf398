"""The variables of one operation: how what is given becomes their values. Limits nothing."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import (
    GraphQLError,
    GraphQLNonNull,
    GraphQLSchema,
    Undefined,
    VariableDefinitionNode,
    get_nullable_type,
    is_leaf_type,
)
from graphql.execution.get_variable_signature import (
    GraphQLVariableSignature,
    get_variable_signature,
)
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values

_MAX_ERRORS = 20


class _LeafVariable(NamedTuple):
    """A variable of a leaf type and without a default, as nearly all are that clients send often."""

    signature: GraphQLVariableSignature
    is_required: bool
    coerce: Callable[[Any], object]


class VariableCoercer:
    """Declared once, given often. Where not all are plain, graphql-core does it; it says what is wrong."""

    def __init__(
        self, schema: GraphQLSchema, definitions: tuple[VariableDefinitionNode, ...]
    ) -> None:
        self._schema = schema
        self._definitions = definitions
        plain = [_leaf_variable(schema, each) for each in definitions]
        self._leaf_variables = [each for each in plain if each is not None]
        self._has_only_leaves = len(self._leaf_variables) == len(plain)

    def coerce(self, raw_variables: Mapping[str, object]) -> VariableValues | list[GraphQLError]:
        """The values, or what is wrong with them."""
        values = self._coerce_leaves(raw_variables) if self._has_only_leaves else None
        if values is not None:
            return values
        return get_variable_values(
            self._schema, self._definitions, dict(raw_variables), max_errors=_MAX_ERRORS
        )

    def _coerce_leaves(self, raw_variables: Mapping[str, object]) -> VariableValues | None:
        """None where something is wrong."""
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


def _leaf_variable(
    schema: GraphQLSchema, definition: VariableDefinitionNode
) -> _LeafVariable | None:
    signature = get_variable_signature(schema, definition)
    if isinstance(signature, GraphQLError) or definition.default_value is not None:
        return None
    named = get_nullable_type(signature.type)
    if not is_leaf_type(named):
        return None
    is_required = isinstance(signature.type, GraphQLNonNull)
    return _LeafVariable(signature, is_required, named.coerce_input_value)
