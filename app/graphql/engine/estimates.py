"""Estimates from a selection how long its objects take to complete, and how many bytes they have."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
)

from app.graphql.ast.selections import FieldCollector
from app.graphql.loading.field_sources import (
    STRAWBERRY_DEFINITION,
    Column,
    ToMany,
    ToOne,
    field_source,
)

_TIME_PER_COLUMN, _TIME_PER_CALL = timedelta(microseconds=1), timedelta(microseconds=8)
"""Measured time to complete a column or an attribute, and a field whose value a function returns."""


def estimate_operation_time(
    collector: FieldCollector, operation: OperationDefinitionNode
) -> timedelta:
    """Return the time to complete all fields of the operation once, those of nested lists too."""
    root = collector.schema.get_root_type(operation.operation)
    assert root is not None  # noqa: S101 - the operation is valid
    return estimate_time(collector, root, [operation.selection_set])


def estimate_time(
    collector: FieldCollector,
    parent: GraphQLNamedType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> timedelta:
    """Return the time to complete all fields below an object once, those of nested lists too."""
    total = timedelta(0)
    for field, node in _iter_fields(collector, parent, selection_sets):
        total += _TIME_PER_COLUMN if field is None or _is_stored(field) else _TIME_PER_CALL
        if field is not None and node.selection_set is not None:
            total += estimate_time(collector, get_named_type(field.type), [node.selection_set])
    return total


def estimate_bytes(
    collector: FieldCollector,
    parent: GraphQLNamedType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> int:
    """Return the bytes of an encoded object without the items of its lists, and with short values."""
    values: dict[str, int] = {}
    objects: dict[str, tuple[GraphQLNamedType, list[SelectionSetNode | None]]] = {}
    for field, node in _iter_fields(collector, parent, selection_sets):
        key = (node.alias or node.name).value
        values[key] = _BYTES_PER_VALUE
        if field is not None and not isinstance(get_nullable_type(field.type), GraphQLList):
            objects.setdefault(key, (get_named_type(field.type), []))[1].append(node.selection_set)
    return sum(_BYTES_PER_KEY + len(key) + value for key, value in values.items()) + sum(
        estimate_bytes(collector, *nested) for nested in objects.values()
    )


_BYTES_PER_KEY, _BYTES_PER_VALUE = 4, 10
"""Bytes of the quotes, colon and comma of a response key, and typical bytes of a value."""


def _is_stored(field: GraphQLField) -> bool:
    """Return True if the value is a column, an attribute or a row, so that no function computes it."""
    definition = field.extensions.get(STRAWBERRY_DEFINITION)
    if definition is None:  # a field of the introspection
        return True
    source = field_source(definition)
    if source is None:
        return bool(definition.is_basic_field)
    return isinstance(source, Column | ToOne | ToMany)


def _iter_fields(
    collector: FieldCollector,
    parent: GraphQLNamedType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> Iterator[tuple[GraphQLField | None, FieldNode]]:
    """Yield the selected fields under any condition, with None for `__typename` and `__schema`."""
    for selection in (
        each for selected in selection_sets if selected for each in selected.selections
    ):
        match selection:
            case FieldNode():
                field = None
                if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
                    field = parent.fields.get(selection.name.value)
                yield field, selection
            case FragmentSpreadNode():
                fragment = collector.fragments[selection.name.value]
                fragment_type = collector.schema.type_map[fragment.type_condition.name.value]
                yield from _iter_fields(collector, fragment_type, [fragment.selection_set])
            case InlineFragmentNode():
                condition = selection.type_condition
                inner = collector.schema.type_map[condition.name.value] if condition else parent
                yield from _iter_fields(collector, inner, [selection.selection_set])
