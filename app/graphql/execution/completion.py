"""Functions made for one selection, which turn objects and rows into what is answered. Nothing is loaded.

A selection that needs no resolver but those that look at nothing else than their object is compiled into
one Python function. Columns go from the driver's value to the answer's text in one step. Whatever such a
function did not expect makes it fail, and then graphql-core completes the same value: it says what is wrong.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, cast

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    get_nullable_type,
)
from strawberry.types.field import StrawberryField

from app.db.queries import Part, Record
from app.graphql.execution.selections import Given, Selected, Selections, Surprise
from app.graphql.execution.source import Source, dictionary, guarded
from app.graphql.rows import (
    DEFINITION,
    NOTHING,
    Column,
    Derived,
    FromPart,
    Many,
    OfRow,
    One,
    Told,
    shown_as,
)

Complete: TypeAlias = Callable[[Any, Given], object]
"""From an object and the variables to what is answered."""

CompleteRoot: TypeAlias = Callable[[Mapping[str, object], Given], dict[str, Any]]
"""From what the root fields' resolvers told, by response key, to the data of an answer."""

CompleteRow: TypeAlias = Callable[[Any, datetime, Given, Mapping[str, Sequence[Any]]], object]
"""The same from a row, when it was read, and the rows that were read with it."""

_MOST_ROW_CLASSES = 8
"""For each selection; there is one for all statements that read the same columns."""


def completion(
    selections: Selections, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> Complete:
    """Completes objects of the type for what these fields select; Surprise if it needs resolvers."""
    if DEFINITION not in parent.extensions:  # as those that tell of the schema
        raise Surprise
    origin = parent.extensions[DEFINITION].origin
    if issubclass(origin, OfRow):
        return _RowCompletion(selections, parent, nodes).of_object
    return _object_completion(selections, parent, nodes)


def root_completion(
    selections: Selections, root: GraphQLObjectType, selected: Mapping[str, Selected]
) -> CompleteRoot:
    """Completes what resolvers have told of these fields; Surprise where it leads to further resolvers."""
    source = _source(selections)
    for key, each in selected.items():
        if each.name == "__typename":
            source.entry(key, each, repr(root.name))
        else:
            core = _core_field(root, each)
            source.entry(key, each, source.value(core.type, each, f"told[{key!r}]"))
    return cast("CompleteRoot", source.function("told, given"))


def _object_completion(
    selections: Selections, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> Complete:
    """Of objects with attributes."""
    source = _source(selections)
    for key, selected in _selected(selections, parent, nodes).items():
        if selected.name == "__typename":
            source.entry(key, selected, repr(parent.name))
            continue
        core, field_ = _field(parent, selected)
        value = f"each.{field_.python_name}"
        if not field_.is_basic_field:
            value = f"{source.constant(_own_resolver(field_))}(each)"
        source.entry(key, selected, source.value(core.type, selected, value))
    return cast("Complete", source.function("each, given"))


class _RowCompletion:
    """Of objects with a row: a function for each class of rows, for each has its columns elsewhere."""

    def __init__(
        self, selections: Selections, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
    ) -> None:
        self._selections = selections
        self._parent = parent
        self._origin: type[OfRow] = parent.extensions[DEFINITION].origin
        self._selected = _selected(selections, parent, nodes)
        self._functions: dict[type, CompleteRow] = {}
        self._inner: dict[str, _RowCompletion] = {}
        self._is_plain = True
        """Whether it is a dictionary that needs nothing but the row."""
        # To know at once whether it can be done at all.
        for key, selected in self._selected.items():
            self._is_plain &= selected.is_sure
            if selected.name != "__typename":
                core, _, how = self._shown(selected)
                self._is_plain &= not isinstance(how, Many)
                if isinstance(how, One | Many):
                    inner = _row_type(core.type)
                    self._inner[key] = _RowCompletion(selections, inner, selected.nodes)

    def of_object(self, value: OfRow, given: Given) -> object:
        if value.__class__ is not self._origin:
            raise Surprise
        return self.of(value.row.__class__)(value.row, value.now, given, value.known)

    def of(self, row_class: type) -> CompleteRow:
        """For rows of this class."""
        function = self._functions.get(row_class)
        if function is None:
            if len(self._functions) == _MOST_ROW_CLASSES:
                self._functions.clear()
            function = self._functions[row_class] = self._compile(row_class)
        return function

    def of_rows(self, rows: Sequence[Any], now: datetime, given: Given) -> list[object]:
        """Rows of one statement, which are all of one class."""
        if not rows:
            return []
        complete = self.of(rows[0].__class__)
        return [complete(row, now, given, NOTHING) for row in rows]

    def _compile(self, row_class: type) -> CompleteRow:
        source = _source(self._selections)
        if issubclass(row_class, Record):
            parts = row_class.parts.values()
            count = len(row_class.places) + sum(len(part.places) for part in parts)
            source.line(f"{_column_list(range(count))} = row")
        elif issubclass(row_class, Part):
            source.line(f"{_column_list(row_class.places.values())} = row")
        else:
            raise Surprise
        for key, selected, expression in self._entries(source, row_class, "row"):
            source.entry(key, selected, expression)
        return cast("CompleteRow", source.function("row, now, given, known"))

    def _entries(
        self, source: Source, row_class: type[Record] | type[Part], row: str
    ) -> Iterator[tuple[str, Selected, str]]:
        """Of each response key the expression; `row` is that of the row itself."""
        for key, selected in self._selected.items():
            if selected.name == "__typename":
                yield key, selected, repr(self._parent.name)
            else:
                yield key, selected, self._expression(source, row_class, row, key, selected)

    def _shown(self, selected: Selected) -> tuple[GraphQLField, StrawberryField, object]:
        core, field_ = _field(self._parent, selected)
        how = shown_as(field_)
        if not isinstance(how, Column | Derived | Told | FromPart | One | Many):
            raise Surprise
        return core, field_, how

    def _expression(
        self,
        source: Source,
        row_class: type[Record] | type[Part],
        row: str,
        key: str,
        selected: Selected,
    ) -> str:
        core, field_, how = self._shown(selected)
        match how:
            case Column(name):
                return _column(source, row_class, core.type, selected, name)
            case Derived():
                made = source.constant(self._origin.from_row)
                resolve = source.constant(_own_resolver(field_))
                return source.value(core.type, selected, f"{resolve}({made}({row}, now))")
            case Told(reads, value, by_time):
                given = ["now"] if by_time else []
                told = _told(source, row_class, reads, value, *given)
                return source.value(core.type, selected, told)
            case FromPart(part, reads, value):
                told = _told(source, _part(row_class, part), reads, value)
                return source.value(core.type, selected, told)
            case One(part):
                return self._inner[key]._of_part(source, _part(row_class, part), row)
            case Many(name):
                complete = source.constant(self._inner[key].of_rows)
                return f"{complete}(known[{name!r}], now, given)"
        raise Surprise

    def _of_part(self, source: Source, part: type[Part], row: str) -> str:
        """Of a row that came along; in the same function, where that can be."""
        made = f"{source.constant(part)}({row})"
        if self._is_plain:
            return dictionary(self._entries(source, part, made))
        complete, nothing = source.constant(self.of(part)), source.constant(NOTHING)
        return f"{complete}({made}, now, given, {nothing})"


def _column_list(places: Iterable[int]) -> str:
    """Names for the columns of a row, as the driver gives them."""
    return f"({''.join(f'{_column_name(place)}, ' for place in places)})"


def _column_name(place: int) -> str:
    return f"r{place}"


def _column(
    source: Source,
    row_class: type[Record] | type[Part],
    declared: GraphQLOutputType,
    selected: Selected,
    name: str,
) -> str:
    """From the driver's value where that is as good as the decoded one."""
    named = get_nullable_type(declared)
    spell = row_class.spellings.get(name)
    if spell is not None and isinstance(named, GraphQLScalarType):
        raw = _column_name(row_class.places[name])
        return guarded(declared, raw, f"{source.constant(spell)}({raw})")
    if named in (GraphQLString, GraphQLInt) or isinstance(named, GraphQLEnumType):
        return source.completed(declared, selected, _column_name(row_class.places[name]))
    return source.value(declared, selected, _decoded(source, row_class, name))


def _told(
    source: Source,
    row_class: type[Record] | type[Part],
    reads: Iterable[str],
    value: Callable[..., object],
    *given: str,
) -> str:
    columns = (_decoded(source, row_class, each) for each in reads)
    return f"{source.constant(value)}({', '.join((*columns, *given))})"


def _decoded(source: Source, row_class: type[Record] | type[Part], name: str) -> str:
    raw, decode = _column_name(row_class.places[name]), row_class.decoders.get(name)
    return raw if decode is None else f"{source.constant(decode)}({raw})"


def _source(selections: Selections) -> Source:
    return Source(partial(completion, selections))


def _selected(
    selections: Selections, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> dict[str, Selected]:
    return selections.of(parent, [node.selection_set for node in nodes])


def _field(parent: GraphQLObjectType, selected: Selected) -> tuple[GraphQLField, StrawberryField]:
    """A field without arguments, permissions and whatever else runs before its value is there."""
    core = _core_field(parent, selected)
    if core.args:
        raise Surprise
    field_: StrawberryField = core.extensions[DEFINITION]
    if field_.extensions:
        raise Surprise
    return core, field_


def _core_field(parent: GraphQLObjectType, selected: Selected) -> GraphQLField:
    if selected.name not in parent.fields:  # as what tells of the schema
        raise Surprise
    core: GraphQLField = parent.fields[selected.name]
    return core


def _own_resolver(field_: StrawberryField) -> Callable[[Any], object]:
    """A resolver that looks at nothing else than its object."""
    resolver = field_.base_resolver
    if resolver is None or resolver.is_async or len(resolver.signature.parameters) != 1:
        raise Surprise
    return cast("Callable[[Any], object]", resolver.wrapped_func)


def _part(row_class: type[Record] | type[Part], name: str) -> type[Part]:
    part = row_class.parts.get(name)
    if part is None:
        raise Surprise
    return part


def _row_type(declared: GraphQLOutputType) -> GraphQLObjectType:
    """Of objects with a row, or of a list of them."""
    named = get_nullable_type(declared)
    if isinstance(named, GraphQLList):
        named = get_nullable_type(named.of_type)
    if not isinstance(named, GraphQLObjectType):
        raise Surprise
    return named
