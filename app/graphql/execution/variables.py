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


class _Plain(NamedTuple):
    """A variable of a leaf type and without a default, as nearly all are that clients send often."""

    signature: GraphQLVariableSignature
    is_required: bool
    coerce: Callable[[Any], object]


class Variables:
    """Declared once, given often. Where not all are plain, graphql-core does it; it says what is wrong."""

    def __init__(self, schema: GraphQLSchema, declared: tuple[VariableDefinitionNode, ...]) -> None:
        self._schema = schema
        self._declared = declared
        plain = [_plain(schema, each) for each in declared]
        self._plain = [each for each in plain if each is not None]
        self._are_plain = len(self._plain) == len(plain)

    def coerced(self, given: Mapping[str, object]) -> VariableValues | list[GraphQLError]:
        """The values, or what is wrong with them."""
        values = self._coerced_plain(given) if self._are_plain else None
        if values is not None:
            return values
        return get_variable_values(
            self._schema, self._declared, dict(given), max_errors=_MAX_ERRORS
        )

    def _coerced_plain(self, given: Mapping[str, object]) -> VariableValues | None:
        """None where something is wrong."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for signature, is_required, coerce in self._plain:
            name = signature.name
            value = given.get(name, Undefined)
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


def _plain(schema: GraphQLSchema, declared: VariableDefinitionNode) -> _Plain | None:
    signature = get_variable_signature(schema, declared)
    if isinstance(signature, GraphQLError) or declared.default_value is not None:
        return None
    named = get_nullable_type(signature.type)
    if not is_leaf_type(named):
        return None
    is_required = isinstance(signature.type, GraphQLNonNull)
    return _Plain(signature, is_required, named.coerce_input_value)
