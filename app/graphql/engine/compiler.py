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

from app.db.core.statements import Record, RelatedRecord
from app.graphql.ast.selections import FieldCollector, SelectedField, Unsupported, Variables
from app.graphql.engine.codegen import FunctionBuilder, add_null_check, dict_literal
from app.graphql.loading.field_sources import (
    NO_RELATIONS,
    STRAWBERRY_DEFINITION,
    Column,
    Computed,
    FromRelated,
    FromResolver,
    RowBacked,
    ToMany,
    ToOne,
    field_source,
)

Completer: TypeAlias = Callable[[Any, Variables], object]
"""From an object and the variables to what is answered."""

RootCompleter: TypeAlias = Callable[[Mapping[str, object], Variables], dict[str, Any]]
"""From what the root fields' resolvers told, by response key, to the data of an answer."""

RowCompleter: TypeAlias = Callable[[Any, datetime, Variables, Mapping[str, Sequence[Any]]], object]
"""The same from a row, when it was read, and the rows that were read with it."""

_MAX_ROW_CLASSES = 8
"""For each selection; there is one for all statements that read the same columns."""


def compile_completer(
    field_collector: FieldCollector, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> Completer:
    """Completes objects of the type for what these fields select; Surprise if it needs resolvers."""
    if STRAWBERRY_DEFINITION not in parent.extensions:  # as those that tell of the schema
        raise Unsupported
    origin = parent.extensions[STRAWBERRY_DEFINITION].origin
    if issubclass(origin, RowBacked):
        return _RowCompiler(field_collector, parent, nodes).complete_object
    return _compile_object_completer(field_collector, parent, nodes)


def compile_root_completer(
    field_collector: FieldCollector,
    root: GraphQLObjectType,
    selected_fields: Mapping[str, SelectedField],
) -> RootCompleter:
    """Completes what resolvers have told of these fields; Surprise where it leads to further resolvers."""
    source = _new_builder(field_collector)
    for key, each in selected_fields.items():
        if each.name == "__typename":
            source.add_field(key, each, repr(root.name))
        else:
            core = _core_field(root, each)
            source.add_field(
                key, each, source.complete_expression(core.type, each, f"told[{key!r}]")
            )
    return cast("RootCompleter", source.build("told, given"))


def _compile_object_completer(
    field_collector: FieldCollector, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> Completer:
    """Of objects with attributes."""
    source = _new_builder(field_collector)
    for key, selected in _collect_fields(field_collector, parent, nodes).items():
        if selected.name == "__typename":
            source.add_field(key, selected, repr(parent.name))
            continue
        core, field_ = _simple_field(parent, selected)
        value = f"each.{field_.python_name}"
        if not field_.is_basic_field:
            value = f"{source.add_constant(_parent_only_resolver(field_))}(each)"
        source.add_field(key, selected, source.complete_expression(core.type, selected, value))
    return cast("Completer", source.build("each, given"))


class _RowCompiler:
    """Of objects with a row: a function for each class of rows, for each has its columns elsewhere."""

    def __init__(
        self, field_collector: FieldCollector, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
    ) -> None:
        self._field_collector = field_collector
        self._parent = parent
        self._origin: type[RowBacked] = parent.extensions[STRAWBERRY_DEFINITION].origin
        self._selected_fields = _collect_fields(field_collector, parent, nodes)
        self._completers: dict[type, RowCompleter] = {}
        self._relation_compilers: dict[str, _RowCompiler] = {}
        self._needs_only_row = True
        """Whether it is a dictionary that needs nothing but the row."""
        # To know at once whether it can be done at all.
        for key, selected in self._selected_fields.items():
            self._needs_only_row &= selected.is_unconditional
            if selected.name != "__typename":
                core, _, how = self._field_source(selected)
                self._needs_only_row &= not isinstance(how, ToMany)
                if isinstance(how, ToOne | ToMany):
                    inner = _row_object_type(core.type)
                    self._relation_compilers[key] = _RowCompiler(
                        field_collector, inner, selected.nodes
                    )

    def complete_object(self, value: RowBacked, variables: Variables) -> object:
        if value.__class__ is not self._origin:
            raise Unsupported
        return self.get_completer(value.row.__class__)(
            value.row, value.now, variables, value.prefetched
        )

    def get_completer(self, row_class: type) -> RowCompleter:
        """For rows of this class."""
        function = self._completers.get(row_class)
        if function is None:
            if len(self._completers) == _MAX_ROW_CLASSES:
                self._completers.clear()
            function = self._completers[row_class] = self._compile(row_class)
        return function

    def complete_rows(
        self, rows: Sequence[Any], now: datetime, variables: Variables
    ) -> list[object]:
        """Rows of one statement, which are all of one class."""
        if not rows:
            return []
        complete = self.get_completer(rows[0].__class__)
        return [complete(row, now, variables, NO_RELATIONS) for row in rows]

    def _compile(self, row_class: type) -> RowCompleter:
        source = _new_builder(self._field_collector)
        if issubclass(row_class, Record):
            parts = row_class.related_classes.values()
            count = len(row_class.indexes) + sum(len(part.indexes) for part in parts)
            source.add_line(f"{_column_names(range(count))} = row")
        elif issubclass(row_class, RelatedRecord):
            source.add_line(f"{_column_names(row_class.indexes.values())} = row")
        else:
            raise Unsupported
        for key, selected, expression in self._field_expressions(source, row_class, "row"):
            source.add_field(key, selected, expression)
        return cast("RowCompleter", source.build("row, now, given, known"))

    def _field_expressions(
        self, builder: FunctionBuilder, row_class: type[Record] | type[RelatedRecord], row: str
    ) -> Iterator[tuple[str, SelectedField, str]]:
        """Of each response key the expression; `row` is that of the row itself."""
        for key, selected in self._selected_fields.items():
            if selected.name == "__typename":
                yield key, selected, repr(self._parent.name)
            else:
                yield key, selected, self._field_expression(builder, row_class, row, key, selected)

    def _field_source(
        self, selected_field: SelectedField
    ) -> tuple[GraphQLField, StrawberryField, object]:
        core, field_ = _simple_field(self._parent, selected_field)
        how = field_source(field_)
        if not isinstance(how, Column | FromResolver | Computed | FromRelated | ToOne | ToMany):
            raise Unsupported
        return core, field_, how

    def _field_expression(
        self,
        builder: FunctionBuilder,
        row_class: type[Record] | type[RelatedRecord],
        row: str,
        key: str,
        selected_field: SelectedField,
    ) -> str:
        core, field_, how = self._field_source(selected_field)
        match how:
            case Column(name):
                return _column_expression(builder, row_class, core.type, selected_field, name)
            case FromResolver():
                made = builder.add_constant(self._origin.from_row)
                resolve = builder.add_constant(_parent_only_resolver(field_))
                return builder.complete_expression(
                    core.type, selected_field, f"{resolve}({made}({row}, now))"
                )
            case Computed(reads, value, by_time):
                given = ["now"] if by_time else []
                told = _call_expression(builder, row_class, reads, value, *given)
                return builder.complete_expression(core.type, selected_field, told)
            case FromRelated(part, reads, value):
                told = _call_expression(builder, _related_row_class(row_class, part), reads, value)
                return builder.complete_expression(core.type, selected_field, told)
            case ToOne(part):
                return self._relation_compilers[key]._related_row_expression(
                    builder, _related_row_class(row_class, part), row
                )
            case ToMany(name):
                complete = builder.add_constant(self._relation_compilers[key].complete_rows)
                return f"{complete}(known[{name!r}], now, given)"
        raise Unsupported

    def _related_row_expression(
        self, builder: FunctionBuilder, related_class: type[RelatedRecord], row: str
    ) -> str:
        """Of a row that came along; in the same function, where that can be."""
        made = f"{builder.add_constant(related_class)}({row})"
        if self._needs_only_row:
            return dict_literal(self._field_expressions(builder, related_class, made))
        complete, nothing = (
            builder.add_constant(self.get_completer(related_class)),
            builder.add_constant(NO_RELATIONS),
        )
        return f"{complete}({made}, now, given, {nothing})"


def _column_names(indexes: Iterable[int]) -> str:
    """Names for the columns of a row, as the driver gives them."""
    return f"({''.join(f'{_column_name(place)}, ' for place in indexes)})"


def _column_name(index: int) -> str:
    return f"r{index}"


def _column_expression(
    builder: FunctionBuilder,
    row_class: type[Record] | type[RelatedRecord],
    declared_type: GraphQLOutputType,
    selected_field: SelectedField,
    name: str,
) -> str:
    """From the driver's value where that is as good as the decoded one."""
    named = get_nullable_type(declared_type)
    spell = row_class.serializers.get(name)
    if spell is not None and isinstance(named, GraphQLScalarType):
        raw = _column_name(row_class.indexes[name])
        return add_null_check(declared_type, raw, f"{builder.add_constant(spell)}({raw})")
    if named in (GraphQLString, GraphQLInt) or isinstance(named, GraphQLEnumType):
        return builder.complete_variable(
            declared_type, selected_field, _column_name(row_class.indexes[name])
        )
    return builder.complete_expression(
        declared_type, selected_field, _decode_expression(builder, row_class, name)
    )


def _call_expression(
    builder: FunctionBuilder,
    row_class: type[Record] | type[RelatedRecord],
    column_names: Iterable[str],
    compute: Callable[..., object],
    *extra_arguments: str,
) -> str:
    columns = (_decode_expression(builder, row_class, each) for each in column_names)
    return f"{builder.add_constant(compute)}({', '.join((*columns, *extra_arguments))})"


def _decode_expression(
    builder: FunctionBuilder, row_class: type[Record] | type[RelatedRecord], name: str
) -> str:
    raw, decode = _column_name(row_class.indexes[name]), row_class.decoders.get(name)
    return raw if decode is None else f"{builder.add_constant(decode)}({raw})"


def _new_builder(field_collector: FieldCollector) -> FunctionBuilder:
    return FunctionBuilder(partial(compile_completer, field_collector))


def _collect_fields(
    field_collector: FieldCollector, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> dict[str, SelectedField]:
    return field_collector.collect_fields(parent, [node.selection_set for node in nodes])


def _simple_field(
    parent: GraphQLObjectType, selected_field: SelectedField
) -> tuple[GraphQLField, StrawberryField]:
    """A field without arguments, permissions and whatever else runs before its value is there."""
    core = _core_field(parent, selected_field)
    if core.args:
        raise Unsupported
    field_: StrawberryField = core.extensions[STRAWBERRY_DEFINITION]
    if field_.extensions:
        raise Unsupported
    return core, field_


def _core_field(parent: GraphQLObjectType, selected_field: SelectedField) -> GraphQLField:
    if selected_field.name not in parent.fields:  # as what tells of the schema
        raise Unsupported
    core: GraphQLField = parent.fields[selected_field.name]
    return core


def _parent_only_resolver(strawberry_field: StrawberryField) -> Callable[[Any], object]:
    """A resolver that looks at nothing else than its object."""
    resolver = strawberry_field.base_resolver
    if resolver is None or resolver.is_async or len(resolver.signature.parameters) != 1:
        raise Unsupported
    return cast("Callable[[Any], object]", resolver.wrapped_func)


def _related_row_class(
    row_class: type[Record] | type[RelatedRecord], relation: str
) -> type[RelatedRecord]:
    part = row_class.related_classes.get(relation)
    if part is None:
        raise Unsupported
    return part


def _row_object_type(declared_type: GraphQLOutputType) -> GraphQLObjectType:
    """Of objects with a row, or of a list of them."""
    named = get_nullable_type(declared_type)
    if isinstance(named, GraphQLList):
        named = get_nullable_type(named.of_type)
    if not isinstance(named, GraphQLObjectType):
        raise Unsupported
    return named
