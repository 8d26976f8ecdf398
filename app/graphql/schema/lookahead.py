"""Derives the columns and relations to read for a field from the document's selections."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

from graphql import GraphQLObjectType, GraphQLResolveInfo, SelectionSetNode, get_named_type

from app.db.core.projections import Projection
from app.graphql.ast.selections import Condition, FieldCollector, Unsupported, memoize
from app.graphql.loading.field_sources import (
    STRAWBERRY_DEFINITION,
    Column,
    Computed,
    Deferred,
    FromRelated,
    FromResolver,
    ToMany,
    ToOne,
    field_source,
)
from app.graphql.schema.context import Context, Info

ResolveInfo: TypeAlias = GraphQLResolveInfo[Context]


def selected_projection(info: Info, *paths: tuple[str, ...]) -> Projection:
    """Return what the document selects of the objects at the paths below the field.

    Without paths, these are the objects that the field itself returns. A field that depends on a variable
    by `@skip` or `@include` counts as selected.
    """
    resolve_info: ResolveInfo = info._raw_info
    fields = tuple(map(id, resolve_info.field_nodes))
    return memoize(
        resolve_info.operation, ("projection", fields), lambda: _analyze(resolve_info, paths)
    )


def is_selected(info: Info, name: str) -> bool:
    """Check whether the document selects a field of the returned object, under any alias.

    `@skip` and `@include` are evaluated, because the field may be expensive to resolve.
    """
    resolve_info: ResolveInfo = info._raw_info
    fields = tuple(map(id, resolve_info.field_nodes))
    try:
        occurrences = memoize(
            resolve_info.operation,
            ("conditions", fields, name),
            lambda: _field_conditions(resolve_info, name),
        )
        variables = info.variable_values
        return any(
            all(condition.is_satisfied(variables) for condition in conditions)
            for conditions in occurrences
        )
    except Unsupported:
        return True


def is_only_root_field(info: Info) -> bool:
    """Check that the operation has no other root field whose loaders could share a statement."""
    resolve_info: ResolveInfo = info._raw_info
    root = resolve_info.operation.selection_set
    return memoize(
        resolve_info.operation,
        ("only_root_field",),
        lambda: (
            sum(1 for _ in _collector(resolve_info).iter_fields(resolve_info.parent_type, [root]))
            == 1
        ),
    )


def _field_conditions(resolve_info: ResolveInfo, name: str) -> list[tuple[Condition, ...]]:
    """Return the `@skip` and `@include` conditions of each occurrence of the field."""
    return_type = cast("GraphQLObjectType", get_named_type(resolve_info.return_type))
    selection_sets = [node.selection_set for node in resolve_info.field_nodes]
    return [
        conditions
        for node, conditions in _collector(resolve_info).iter_fields(return_type, selection_sets)
        if node.name.value == name
    ]


def _collector(resolve_info: ResolveInfo) -> FieldCollector:
    return FieldCollector(resolve_info.schema, resolve_info.fragments)


def _analyze(resolve_info: ResolveInfo, paths: Sequence[tuple[str, ...]]) -> Projection:
    collector = _collector(resolve_info)
    own_sets = [node.selection_set for node in resolve_info.field_nodes]
    object_type: Any = None
    selection_sets: list[SelectionSetNode | None] = []
    for path in paths or ((),):
        object_type, sets_at_path = get_named_type(resolve_info.return_type), own_sets
        for name in path:
            sets_at_path = [
                node.selection_set
                for node, _ in collector.iter_fields(object_type, sets_at_path)
                if node.name.value == name
            ]
            object_type = get_named_type(object_type.fields[name].type)
        selection_sets.extend(sets_at_path)
    return _build_projection(collector, object_type, selection_sets)


def _build_projection(
    collector: FieldCollector,
    object_type: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> Projection:
    columns: set[str] = set()
    relations: dict[str, Projection] = {}
    for node, _ in collector.iter_fields(object_type, selection_sets):
        field = object_type.fields.get(node.name.value)
        source = None if field is None else field_source(field.extensions[STRAWBERRY_DEFINITION])
        match source:
            case Column(name):
                columns.add(name)
            case FromResolver(needed) | Computed(needed):
                columns.update(needed)
            case Deferred(needed, relation, relation_columns):
                columns.update(needed)
                if relation is not None:
                    _merge_relation(relations, relation, Projection(frozenset(relation_columns)))
            case FromRelated(relation, needed):
                _merge_relation(relations, relation, Projection(frozenset(needed)))
            case ToOne(name) | ToMany(name):
                if isinstance(source, ToMany):
                    columns.update(source.columns)
                inner = get_named_type(object_type.fields[node.name.value].type)
                projection = _build_projection(collector, inner, [node.selection_set])
                _merge_relation(relations, name, projection)
    return Projection(frozenset(columns), relations)


def _merge_relation(relations: dict[str, Projection], name: str, projection: Projection) -> None:
    other = relations.get(name)
    relations[name] = projection if other is None else other.union(projection)
