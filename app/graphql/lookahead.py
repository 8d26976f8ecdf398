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

from app.db.shapes import Shape
from app.graphql.context import Context, Info
from app.graphql.execution.remembered import once
from app.graphql.execution.selections import Condition, Selections, Surprise
from app.graphql.rows import (
    DEFINITION,
    Column,
    Derived,
    FromPart,
    Loaded,
    Many,
    One,
    Told,
    shown_as,
)

Core: TypeAlias = GraphQLResolveInfo[Context]


def shape_of(info: Info, *paths: tuple[str, ...]) -> Shape:
    """What is asked of the objects that lie at the paths below the field, or are its own value.

    Whatever a condition may leave out is asked for as well.
    """
    core: Core = info._raw_info
    fields = tuple(map(id, core.field_nodes))
    return once(core.operation, ("shape", fields), lambda: _look(core, paths))


def asks_for(info: Info, name: str) -> bool:
    """Whether a field of what the field returns is in the answer, whatever it is called there.

    Here conditions count, for it may be dear to be asked for nothing.
    """
    core: Core = info._raw_info
    fields = tuple(map(id, core.field_nodes))
    try:
        found = once(core.operation, ("asks", fields, name), lambda: _conditions(core, name))
        given = info.variable_values
        return any(all(holds(given) for holds in conditions) for conditions in found)
    except Surprise:
        return True


def is_alone(info: Info) -> bool:
    """Whether the operation may have no other field, with which loaders would share a statement."""
    core: Core = info._raw_info
    root = core.operation.selection_set
    return once(
        core.operation,
        ("alone",),
        lambda: sum(1 for _ in _fields(core, core.parent_type, [root])) == 1,
    )


def _conditions(core: Core, name: str) -> list[tuple[Condition, ...]]:
    """Of each place where the field is asked for, what has to hold for it."""
    selections = Selections(core.schema, core.fragments)
    named = cast("GraphQLObjectType", get_named_type(core.return_type))
    return [
        conditions
        for own in core.field_nodes
        for node, conditions in selections.fields(named, own.selection_set)
        if node.name.value == name
    ]


def _look(core: Core, paths: Sequence[tuple[str, ...]]) -> Shape:
    own = [node.selection_set for node in core.field_nodes]
    places = [_below(core, get_named_type(core.return_type), own, path) for path in paths or ((),)]
    (named,) = {each for each, _ in places}
    return _shape(core, named, [each for _, found in places for each in found])


def _below(
    core: Core,
    named: Any,
    selection_sets: Sequence[SelectionSetNode | None],
    path: tuple[str, ...],
) -> tuple[Any, list[SelectionSetNode | None]]:
    found = list(selection_sets)
    for name in path:
        found = [
            node.selection_set for node in _fields(core, named, found) if node.name.value == name
        ]
        named = get_named_type(named.fields[name].type)
    return named, found


def _shape(
    core: Core,
    named: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> Shape:
    columns: set[str] = set()
    along: dict[str, Shape] = {}
    for node in _fields(core, named, selection_sets):
        field = named.fields.get(node.name.value)
        how = None if field is None else shown_as(field.extensions[DEFINITION])
        match how:
            case Column(name):
                columns.add(name)
            case Derived(reads) | Told(reads):
                columns.update(reads)
            case Loaded(reads, many, of_many):
                columns.update(reads)
                if many is not None:
                    _add(along, many, Shape(frozenset(of_many)))
            case FromPart(part, reads):
                _add(along, part, Shape(frozenset(reads)))
            case One(name) | Many(name):
                if isinstance(how, Many):
                    columns.update(how.reads)
                inner = get_named_type(named.fields[node.name.value].type)
                _add(along, name, _shape(core, inner, [node.selection_set]))
    return Shape(frozenset(columns), along)


def _add(along: dict[str, Shape], name: str, shape: Shape) -> None:
    known = along.get(name)
    along[name] = shape if known is None else known.with_all_of(shape)


def _fields(
    core: Core,
    named: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode | None],
) -> Iterator[FieldNode]:
    """All that may be asked for: conditions, and the types of fragments, are left out of account here."""
    for selection_set in selection_sets:
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, FragmentSpreadNode):
                fragment = core.fragments[selection.name.value]
                yield from _fields(core, named, [fragment.selection_set])
            elif isinstance(selection, InlineFragmentNode):
                yield from _fields(core, named, [selection.selection_set])
