"""Lookahead: what a document selects of the objects that a field returns."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeAlias, TypeVar, cast

from graphql import FieldNode, GraphQLObjectType, GraphQLResolveInfo, get_named_type
from graphql.language import SelectionSetNode

from app.db.core.projections import Projection
from app.graphql.ast.selections import Condition, FieldCollector, NotCompilable, Variables, memoize
from app.graphql.loading.field_sources import (
    STRAWBERRY_DEFINITION,
    Column,
    Computed,
    Deferred,
    FromPrefetched,
    FromRelated,
    FromResolver,
    ToMany,
    ToOne,
    field_source,
)

T = TypeVar("T")

_NODE_PATHS = (("nodes",), ("edges", "node"))
"""Paths from a connection to its objects."""

SelectionSets: TypeAlias = Sequence[SelectionSetNode | None]


def selection_of(info: GraphQLResolveInfo[Any]) -> "Selection":
    """Return the selection of the field being resolved, analyzed once per operation."""
    return memoize(
        info.operation,
        ("selection", *map(id, info.field_nodes)),
        lambda: Selection(
            FieldCollector(info.schema, info.fragments),
            info.parent_type,
            [info.operation.selection_set],
            cast("GraphQLObjectType", get_named_type(info.return_type)),
            info.field_nodes,
        ),
    )


class Selection:
    """Selection of one field, the same for all executions of its operation."""

    def __init__(
        self,
        collector: FieldCollector,
        parent_type: GraphQLObjectType,
        parent_selection_sets: SelectionSets,
        object_type: GraphQLObjectType,
        nodes: Sequence[FieldNode],
    ) -> None:
        """Create the selection of the field's nodes; `object_type` is the named type that it returns."""
        self._collector = collector
        self._parent_type = parent_type
        self._parent_selection_sets = parent_selection_sets
        self._object_type = object_type
        self._selection_sets: SelectionSets = [node.selection_set for node in nodes]
        self._conditions: dict[str, list[tuple[Condition, ...]] | None] = {}
        self._derived: dict[Callable[[Selection], object], Any] = {}

    def derive(self, build: "Callable[[Selection], T]") -> T:
        """Return what the function builds from the selection, built once for all executions."""
        if build not in self._derived:
            self._derived[build] = build(self)
        derived: T = self._derived[build]
        return derived

    @cached_property
    def projection(self) -> Projection:
        """Columns and relations of the returned objects, or of the nodes of a returned connection.

        A field that depends on a variable by `@skip` or `@include` counts as selected.
        """
        if "edges" not in self._object_type.fields:
            return self._build_projection(self._object_type, self._selection_sets)
        object_type: Any = None
        selection_sets: list[SelectionSetNode | None] = []
        for path in _NODE_PATHS:
            object_type, sets_at_path = self._object_type, self._selection_sets
            for name in path:
                sets_at_path = [
                    node.selection_set
                    for node, _ in self._collector.iter_fields(object_type, sets_at_path)
                    if node.name.value == name
                ]
                object_type = get_named_type(object_type.fields[name].type)
            selection_sets.extend(sets_at_path)
        return self._build_projection(object_type, selection_sets)

    @cached_property
    def is_only_root_field(self) -> bool:
        """True if the operation has no other root field whose loaders could share a statement."""
        fields = self._collector.iter_fields(self._parent_type, self._parent_selection_sets)
        return sum(1 for _ in fields) == 1

    def includes(self, name: str, variables: Variables) -> bool:
        """Check whether the document selects a field of the returned object, under any alias.

        `@skip` and `@include` are evaluated, because the field may be expensive to resolve.
        """
        if name not in self._conditions:
            self._conditions[name] = self._find_conditions(name)
        occurrences = self._conditions[name]
        try:
            return occurrences is None or any(
                all(condition.is_satisfied(variables) for condition in conditions)
                for conditions in occurrences
            )
        except NotCompilable:
            return True

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the fields selected in the returned object and at any depth below it."""
        names: set[str] = set()
        pending = [(self._object_type, self._selection_sets)]
        while pending:
            object_type, selection_sets = pending.pop()
            for node, _ in self._collector.iter_fields(object_type, selection_sets):
                names.add(node.name.value)
                if node.selection_set is not None and node.name.value in object_type.fields:
                    inner = get_named_type(object_type.fields[node.name.value].type)
                    pending.append((cast("GraphQLObjectType", inner), [node.selection_set]))
        return frozenset(names)

    def _find_conditions(self, name: str) -> list[tuple[Condition, ...]] | None:
        """Return the conditions of each occurrence of a field; None if they cannot be evaluated."""
        try:
            return [
                conditions
                for node, conditions in self._collector.iter_fields(
                    self._object_type, self._selection_sets
                )
                if node.name.value == name
            ]
        except NotCompilable:
            return None

    def _build_projection(
        self, object_type: GraphQLObjectType, selection_sets: Iterable[SelectionSetNode | None]
    ) -> Projection:
        columns: set[str] = set()
        relations: dict[str, Projection] = {}
        for node, _ in self._collector.iter_fields(object_type, selection_sets):
            field = object_type.fields.get(node.name.value)
            source = (
                None if field is None else field_source(field.extensions[STRAWBERRY_DEFINITION])
            )
            match source:
                case Column(name):
                    columns.add(name)
                case FromResolver(needed) | Computed(needed) | Deferred(needed):
                    columns.update(needed)
                case FromRelated(relation, needed):
                    _merge_relation(relations, relation, Projection(frozenset(needed)))
                case FromPrefetched(relation, key, needed):
                    columns.update(key)
                    _merge_relation(relations, relation, Projection(frozenset(needed)))
                case ToOne(name) | ToMany(name):
                    if isinstance(source, ToMany):
                        columns.update(source.key)
                    inner = get_named_type(object_type.fields[node.name.value].type)
                    projection = self._build_projection(inner, [node.selection_set])
                    _merge_relation(relations, name, projection)
        return Projection(frozenset(columns), relations)


def _merge_relation(relations: dict[str, Projection], name: str, projection: Projection) -> None:
    other = relations.get(name)
    relations[name] = projection if other is None else other.union(projection)
