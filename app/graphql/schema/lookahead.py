"""What a document asks of the rows behind a field, before they are read. Nothing is read here."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, cast

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLResolveInfo,
    InlineFragmentNode,
    SelectionSetNode,
    get_named_type,
)

from app.db.core.projections import Projection
from app.graphql.ast.memo import memoize
from app.graphql.ast.selections import Condition, FieldCollector, Unsupported
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

CoreInfo: TypeAlias = GraphQLResolveInfo[Context]


def selected_projection(info: Info, *paths: tuple[str, ...]) -> Projection:
    """What is asked of the objects that lie at the paths below the field, or are its own value.

    Whatever a condition may leave out is asked for as well.
    """
    core: CoreInfo = info._raw_info
    fields = tuple(map(id, core.field_nodes))
    return memoize(core.operation, ("shape", fields), lambda: _analyze(core, paths))


def is_selected(info: Info, name: str) -> bool:
    """Whether a field of what the field returns is in the answer, whatever it is called there.

    Here conditions count, for it may be dear to be asked for nothing.
    """
    core: CoreInfo = info._raw_info
    fields = tuple(map(id, core.field_nodes))
    try:
        found = memoize(
            core.operation, ("asks", fields, name), lambda: _field_conditions(core, name)
        )
        given = info.variable_values
        return any(all(holds(given) for holds in conditions) for conditions in found)
    except Unsupported:
        return True


def is_only_root_field(info: Info) -> bool:
    """Whether the operation may have no other field, with which loaders would share a statement."""
    core: CoreInfo = info._raw_info
    root = core.operation.selection_set
    return memoize(
        core.operation,
        ("alone",),
        lambda: sum(1 for _ in _iter_fields(core, core.parent_type, [root])) == 1,
    )


def _field_conditions(core: CoreInfo, name: str) -> list[tuple[Condition, ...]]:
    """Of each place where the field is asked for, what has to hold for it."""
    selections = FieldCollector(core.schema, core.fragments)
    named = cast("GraphQLObjectType", get_named_type(core.return_type))
    return [
        conditions
        for own in core.field_nodes
        for node, conditions in selections.iter_fields(named, own.selection_set)
        if node.name.value == name
    ]


def _analyze(core: CoreInfo, paths: Sequence[tuple[str, ...]]) -> Projection:
    own = [node.selection_set for node in core.field_nodes]
    places = [
        _selection_sets_at(core, get_named_type(core.return_type), own, path)
        for path in paths or ((),)
    ]
    (named,) = {each for each, _ in places}
    return _build_projection(core, named, [each for _, found in places for each in found])


def _selection_sets_at(
    core: CoreInfo,
    named_type: Any,
    selection_sets: Sequence[SelectionSetNode | None],
    path: tuple[str, ...],
) -> tuple[Any, list[SelectionSetNode | None]]:
    found = list(selection_sets)
    for name in path:
        found = [
            node.selection_set
            for node in _iter_fields(core, named_type, found)
            if node.name.value == name
        ]
        named_type = get_named_type(named_type.fields[name].type)
    return named_type, found


def _build_projection(
    core: CoreInfo,
    object_type: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> Projection:
    columns: set[str] = set()
    along: dict[str, Projection] = {}
    for node in _iter_fields(core, object_type, selection_sets):
        field = object_type.fields.get(node.name.value)
        how = None if field is None else field_source(field.extensions[STRAWBERRY_DEFINITION])
        match how:
            case Column(name):
                columns.add(name)
            case FromResolver(reads) | Computed(reads):
                columns.update(reads)
            case Deferred(reads, many, of_many):
                columns.update(reads)
                if many is not None:
                    _merge_relation(along, many, Projection(frozenset(of_many)))
            case FromRelated(part, reads):
                _merge_relation(along, part, Projection(frozenset(reads)))
            case ToOne(name) | ToMany(name):
                if isinstance(how, ToMany):
                    columns.update(how.columns)
                inner = get_named_type(object_type.fields[node.name.value].type)
                _merge_relation(along, name, _build_projection(core, inner, [node.selection_set]))
    return Projection(frozenset(columns), along)


def _merge_relation(relations: dict[str, Projection], name: str, projection: Projection) -> None:
    known = relations.get(name)
    relations[name] = projection if known is None else known.union(projection)


def _iter_fields(
    core: CoreInfo,
    object_type: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> Iterator[FieldNode]:
    """All that may be asked for: conditions, and the types of fragments, are left out of account here."""
    for selection_set in selection_sets:
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, FragmentSpreadNode):
                fragment = core.fragments[selection.name.value]
                yield from _iter_fields(core, object_type, [fragment.selection_set])
            elif isinstance(selection, InlineFragmentNode):
                yield from _iter_fields(core, object_type, [selection.selection_set])
