"""Compiles a selection set into a Python function that completes objects and rows.

Only resolvers that need nothing but their parent object are supported. Columns are converted from the
driver's value to the response value in one step. A function fails on any unexpected value; graphql-core
then completes the same value, and raises and formats the error.

For `{ status wait: pollAfterSeconds }` of a row with four columns of a destination, the source is:

    def complete(row, now, variables, prefetched, limit):
        (r0, r1, r2, r3, ) = row
        v6 = c2(c3(r1), c4(r2), c5(r3), now)
        return {'status': (c1[r1] if r1 is not None else fail()),
                'wait': (None if v6 is None else
                    (v6 if type(v6) is int and -(1 << 31) <= v6 < 1 << 31 else fail()))}

`r…` are columns as returned by the driver, and `v…` values that are used more than once. `c…` are
constants: here the enum's names (c1), the function of the field (c2) and decoders of columns (c3 to c5).
`x` is an item of a list, and `limit` counts bytes. `fail` raises NotCompilable.
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
from app.graphql.ast.selections import FieldCollector, NotCompilable, SelectedField, Variables
from app.graphql.engine.codegen import FunctionBuilder, add_null_check, dict_literal, is_json
from app.graphql.engine.estimates import estimate_bytes
from app.graphql.loading.field_sources import (
    NO_RELATIONS,
    STRAWBERRY_DEFINITION,
    Column,
    Computed,
    Deferred,
    FieldSource,
    FromPrefetched,
    FromRelated,
    FromResolver,
    RowBacked,
    ToMany,
    ToOne,
    field_source,
)
from app.graphql.loading.response_limit import ResponseLimit

Completer: TypeAlias = Callable[[Any, Variables, ResponseLimit], object]
"""Function that completes an object, given the variables, and counts bytes."""

RootCompleter: TypeAlias = Callable[
    [Mapping[str, object], Variables, ResponseLimit], dict[str, Any]
]
"""Function that completes the root fields' results, by response key, to the data of a response."""

RowCompleter: TypeAlias = Callable[
    [Any, datetime, Variables, Mapping[str, Sequence[Any]], ResponseLimit], object
]
"""Function that completes a row, given its read time, the variables and the prefetched rows."""

_MAX_ROW_CLASSES = 8
"""Limit of compiled row classes per selection; statements with the same columns share a class."""


def compile_completer(
    field_collector: FieldCollector, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> Completer:
    """Compile a completer of the type's objects for the selections of these fields.

    Raises NotCompilable if it needs other resolvers.
    """
    if STRAWBERRY_DEFINITION not in parent.extensions:  # introspection types
        raise NotCompilable
    origin = parent.extensions[STRAWBERRY_DEFINITION].origin
    if issubclass(origin, RowBacked):
        return _RowCompiler(field_collector, parent, nodes).complete_object
    return _compile_object_completer(field_collector, parent, nodes)


def compile_root_completer(
    field_collector: FieldCollector,
    root: GraphQLObjectType,
    selected_fields: Mapping[str, SelectedField],
) -> RootCompleter:
    """Compile a completer of the root fields' results; raises NotCompilable if it needs other resolvers."""
    builder = _function_builder(field_collector)
    for key, selected in selected_fields.items():
        if selected.name == "__typename":
            expression = repr(root.name)
        else:
            graphql_field = _graphql_field(root, selected)
            expression = builder.complete_expression(
                graphql_field.type, selected, f"results[{key!r}]"
            )
        builder.add_field(key, selected, expression)
    return cast("RootCompleter", builder.build("results, variables, limit"))


def _compile_object_completer(
    field_collector: FieldCollector, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
) -> Completer:
    """Compile a completer of objects with attributes."""
    builder = _function_builder(field_collector)
    selected_fields = field_collector.collect_fields(parent, [node.selection_set for node in nodes])
    for key, selected in selected_fields.items():
        if selected.name == "__typename":
            builder.add_field(key, selected, repr(parent.name))
            continue
        graphql_field, field_ = _simple_field(parent, selected)
        value = f"source.{field_.python_name}"
        if not field_.is_basic_field:
            value = f"{builder.add_constant(_parent_only_resolver(field_))}(source)"
        builder.add_field(
            key, selected, builder.complete_expression(graphql_field.type, selected, value)
        )
    return cast("Completer", builder.build("source, variables, limit"))


class _RowCompiler:
    """Compiler of row-backed objects, with one completer per row class: column positions differ."""

    def __init__(
        self, field_collector: FieldCollector, parent: GraphQLObjectType, nodes: Sequence[FieldNode]
    ) -> None:
        self._field_collector = field_collector
        self._parent = parent
        self._origin: type[RowBacked] = parent.extensions[STRAWBERRY_DEFINITION].origin
        selection_sets = [node.selection_set for node in nodes]
        self._selected_fields = field_collector.collect_fields(parent, selection_sets)
        self._bytes_per_row = estimate_bytes(field_collector, parent, selection_sets)
        self._completers: dict[type, RowCompleter] = {}
        self._relation_compilers: dict[str, _RowCompiler] = {}
        self._needs_only_row = True
        """True if the completed object is a dictionary built from the row alone."""
        # Raises NotCompilable here rather than at the first row.
        for key, selected in self._selected_fields.items():
            self._needs_only_row &= selected.is_unconditional
            if selected.name != "__typename":
                graphql_field, _, source = self._field_source(selected)
                self._needs_only_row &= not isinstance(source, FromPrefetched | ToMany)
                if isinstance(source, ToOne | ToMany):
                    self._relation_compilers[key] = _RowCompiler(
                        field_collector, _row_object_type(graphql_field.type), selected.nodes
                    )

    def complete_object(
        self, value: RowBacked, variables: Variables, limit: ResponseLimit
    ) -> object:
        if value.__class__ is not self._origin:
            raise NotCompilable
        row = value.row
        complete = self._completers.get(row.__class__) or self.get_completer(row.__class__)
        return complete(row, value.now, variables, value.prefetched, limit)

    def get_completer(self, row_class: type) -> RowCompleter:
        """Return the completer of rows of this class, compiled on first use."""
        completer = self._completers.get(row_class)
        if completer is None:
            if len(self._completers) == _MAX_ROW_CLASSES:
                self._completers.clear()
            completer = self._completers[row_class] = self._compile(row_class)
        return completer

    def complete_rows(
        self, rows: Sequence[Any], now: datetime, variables: Variables, limit: ResponseLimit
    ) -> list[object]:
        """Complete the rows of one statement, which are all of one class."""
        if not rows:
            return []
        row_class = rows[0].__class__
        complete = self._completers.get(row_class) or self.get_completer(row_class)
        limit.count_items(rows, self._bytes_per_row)
        return [complete(row, now, variables, NO_RELATIONS, limit) for row in rows]

    def _compile(self, row_class: type) -> RowCompleter:
        builder = _function_builder(self._field_collector)
        if issubclass(row_class, Record):
            related_classes = row_class.related_classes.values()
            count = len(row_class.indexes) + sum(
                len(related.indexes) for related in related_classes
            )
            builder.add_line(f"{_column_names(range(count))} = row")
        elif issubclass(row_class, RelatedRecord):
            indexes = row_class.indexes.values()
            builder.add_line("record = row.record")
            values = "".join(f"record[{index}], " for index in indexes)
            builder.add_line(f"{_column_names(indexes)} = ({values})")
        else:
            raise NotCompilable
        for key, selected, expression in self._field_expressions(builder, row_class, "row"):
            builder.add_field(key, selected, expression)
        return cast("RowCompleter", builder.build("row, now, variables, prefetched, limit"))

    def _field_expressions(
        self, builder: FunctionBuilder, row_class: type[Record] | type[RelatedRecord], row: str
    ) -> Iterator[tuple[str, SelectedField, str]]:
        """Yield each response key with its field and expression; `row` is the row's expression."""
        for key, selected in self._selected_fields.items():
            if selected.name == "__typename":
                yield key, selected, repr(self._parent.name)
            else:
                yield key, selected, self._field_expression(builder, row_class, row, key, selected)

    def _field_source(
        self, selected_field: SelectedField
    ) -> tuple[GraphQLField, StrawberryField, FieldSource]:
        graphql_field, field_ = _simple_field(self._parent, selected_field)
        source = field_source(field_)
        if source is None or isinstance(source, Deferred):
            raise NotCompilable
        return graphql_field, field_, source

    def _field_expression(
        self,
        builder: FunctionBuilder,
        row_class: type[Record] | type[RelatedRecord],
        row: str,
        key: str,
        selected_field: SelectedField,
    ) -> str:
        graphql_field, field_, source = self._field_source(selected_field)
        match source:
            case Column(name):
                return _column_expression(
                    builder, row_class, graphql_field.type, selected_field, name
                )
            case ToOne(relation):
                return self._relation_compilers[key]._related_row_expression(
                    builder, _related_row_class(row_class, relation), row
                )
            case ToMany(relation):
                complete = builder.add_constant(self._relation_compilers[key].complete_rows)
                return f"{complete}(prefetched[{relation!r}], now, variables, limit)"
            case FromResolver():
                from_row = builder.add_constant(self._origin.from_row)
                resolve = builder.add_constant(_parent_only_resolver(field_))
                value = f"{resolve}({from_row}({row}, now))"
            case Computed(columns, compute, uses_now, null_for):
                now = ["now"] if uses_now else []
                value = _call_expression(builder, row_class, columns, compute, *now)
                if null_for:
                    first = _column_name(row_class.indexes[columns[0]])
                    value = f"(None if {first} in {builder.add_constant(null_for)} else {value})"
            case FromRelated(relation, columns, compute):
                related_class = _related_row_class(row_class, relation)
                value = _call_expression(builder, related_class, columns, compute)
            case FromPrefetched(relation, compute=compute_rows):
                value = f"{builder.add_constant(compute_rows)}(prefetched[{relation!r}])"
            case Deferred():
                raise NotCompilable
        return builder.complete_expression(graphql_field.type, selected_field, value)

    def _related_row_expression(
        self, builder: FunctionBuilder, related_class: type[RelatedRecord], row: str
    ) -> str:
        """Return an expression that completes a joined row, in the same function if possible."""
        related_row = f"{builder.add_constant(related_class)}({row})"
        if self._needs_only_row:
            return dict_literal(self._field_expressions(builder, related_class, related_row))
        complete = builder.add_constant(self.get_completer(related_class))
        no_relations = builder.add_constant(NO_RELATIONS)
        return f"{complete}({related_row}, now, variables, {no_relations}, limit)"


def _function_builder(field_collector: FieldCollector) -> FunctionBuilder:
    return FunctionBuilder(
        partial(compile_completer, field_collector), partial(estimate_bytes, field_collector)
    )


def _column_names(indexes: Iterable[int]) -> str:
    """Return the assignment target for the columns of a row."""
    return f"({''.join(f'{_column_name(index)}, ' for index in indexes)})"


def _column_name(index: int) -> str:
    return f"r{index}"


def _column_expression(
    builder: FunctionBuilder,
    row_class: type[Record] | type[RelatedRecord],
    declared_type: GraphQLOutputType,
    selected_field: SelectedField,
    name: str,
) -> str:
    """Return an expression that completes a column, from the driver's value if decoding changes nothing."""
    nullable = get_nullable_type(declared_type)
    serialize = row_class.serializers.get(name)
    raw = _column_name(row_class.indexes[name])
    if serialize is not None and isinstance(nullable, GraphQLScalarType):
        return add_null_check(declared_type, raw, f"{builder.add_constant(serialize)}({raw})")
    if name in row_class.long_columns and not is_json(nullable):
        raw = builder.add_variable(f"limit.count_text({raw})")
    if nullable in (GraphQLString, GraphQLInt) or isinstance(nullable, GraphQLEnumType):
        return builder.complete_variable(declared_type, selected_field, raw)
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
    columns = (_decode_expression(builder, row_class, name) for name in column_names)
    return f"{builder.add_constant(compute)}({', '.join((*columns, *extra_arguments))})"


def _decode_expression(
    builder: FunctionBuilder, row_class: type[Record] | type[RelatedRecord], name: str
) -> str:
    raw, decode = _column_name(row_class.indexes[name]), row_class.decoders.get(name)
    return raw if decode is None else f"{builder.add_constant(decode)}({raw})"


def _simple_field(
    parent: GraphQLObjectType, selected_field: SelectedField
) -> tuple[GraphQLField, StrawberryField]:
    """Look up a field; raises NotCompilable if it has arguments, permissions or other extensions."""
    graphql_field = _graphql_field(parent, selected_field)
    if graphql_field.args:
        raise NotCompilable
    field_: StrawberryField = graphql_field.extensions[STRAWBERRY_DEFINITION]
    if field_.extensions:
        raise NotCompilable
    return graphql_field, field_


def _graphql_field(parent: GraphQLObjectType, selected_field: SelectedField) -> GraphQLField:
    if selected_field.name not in parent.fields:  # introspection fields
        raise NotCompilable
    graphql_field: GraphQLField = parent.fields[selected_field.name]
    return graphql_field


def _parent_only_resolver(strawberry_field: StrawberryField) -> Callable[[Any], object]:
    """Return the field's resolver; raises NotCompilable if it needs more than its parent object."""
    resolver = strawberry_field.base_resolver
    if resolver is None or resolver.is_async or len(resolver.signature.parameters) != 1:
        raise NotCompilable
    return cast("Callable[[Any], object]", resolver.wrapped_func)


def _related_row_class(
    row_class: type[Record] | type[RelatedRecord], relation: str
) -> type[RelatedRecord]:
    related_class = row_class.related_classes.get(relation)
    if related_class is None:
        raise NotCompilable
    return related_class


def _row_object_type(declared_type: GraphQLOutputType) -> GraphQLObjectType:
    """Return the object type of a relation to one or to many rows."""
    object_type = get_nullable_type(declared_type)
    if isinstance(object_type, GraphQLList):
        object_type = get_nullable_type(object_type.of_type)
    if not isinstance(object_type, GraphQLObjectType):
        raise NotCompilable
    return object_type
