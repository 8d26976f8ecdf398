"""Tenant isolation: restricts every table that a statement reads or changes to one workspace."""

import operator
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    BinaryExpression,
    BindParameter,
    Column,
    ColumnElement,
    Delete,
    Insert,
    Join,
    Label,
    Lateral,
    Select,
    Table,
    TableValuedAlias,
    TextClause,
    Update,
    UpdateBase,
    and_,
    bindparam,
    column,
    func,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import dml as postgresql_dml
from sqlalchemy.dialects.sqlite import dml as sqlite_dml
from sqlalchemy.sql import FromClause, Subquery
from sqlalchemy.sql.elements import (
    BooleanClauseList,
    ClauseElement,
    ClauseList,
    Grouping,
    KeyedColumnElement,
    Null,
    UnaryExpression,
)
from sqlalchemy.sql.expression import ColumnClause, FunctionElement
from sqlalchemy.sql.visitors import ExternallyTraversible, iterate, replacement_traverse

from app.db.core.conditions import any_of
from app.db.core.statements import AnySelect
from app.db.core.types import PortableUuid
from app.domain.ids import WorkspaceId

WorkspaceIdOrParam: TypeAlias = WorkspaceId | BindParameter[Any]
"""Id of the workspace, or the bind parameter that will hold it."""

S = TypeVar("S", bound=AnySelect | UpdateBase)

WORKSPACE_TABLE = "workspace"
"""Table of the workspaces: its primary key is the workspace of a row."""

SHARED_TABLES = frozenset({"server_breaker"})
"""Tables without data of any workspace, which a SELECT inside a workspace may read without restriction."""


class WorkspaceFilter(Protocol):
    """Function like `restrict_to_workspace`."""

    def __call__(self, statement: S, workspace_id: WorkspaceIdOrParam, /) -> S: ...


def restrict_to_workspace(statement: S, workspace_id: WorkspaceIdOrParam) -> S:
    """Add the workspace condition to a SELECT, UPDATE, DELETE or upsert, and to all its subqueries.

    Every table is restricted, also those that an UPDATE or DELETE reads only by a column, and that of an
    INSERT … SELECT. An upsert is restricted by the WHERE of its DO UPDATE, unless the workspace is part of
    the conflict. The new rows of an INSERT get their workspace from `set_workspace`.

    A SELECT reads SHARED_TABLES as they are.

    A LEFT JOIN is restricted by its ON clause, which must equate the workspaces of both tables, because a
    WHERE would turn it into an inner join. Raises TypeError for what cannot be restricted: other outer
    joins, a source that is not a table with a workspace, raw SQL, and a new workspace of a stored row.
    """
    columns: dict[Table, ColumnElement[Any]] = {}
    has_subquery = False
    for element in _walk_elements(statement):
        if isinstance(element, Select):
            has_subquery = True
        elif isinstance(element, Table) and (column := _workspace_column(element)) is not None:
            columns[element] = column
        elif isinstance(statement, Select) and _is_shared(element):
            continue
        elif _reads_other_source(element):
            raise TypeError(f"{element} cannot be read inside a workspace")
    left_joined = (
        _left_joined_tables(statement, columns) if isinstance(statement, Select) else set()
    )
    conditions = [
        column == workspace_id for table, column in columns.items() if table not in left_joined
    ]

    if has_subquery:
        statement = _restrict_subqueries(
            statement, lambda inner: restrict_to_workspace(inner, workspace_id)
        )
    match statement:
        case Select() | Delete():
            return cast("S", statement.where(*conditions))
        case Update():
            check_workspace_unchanged(statement.table, statement._values or ())
            return cast("S", statement.where(*conditions))
        case Insert():
            return cast("S", _restrict_upsert(statement, workspace_id))
    raise TypeError(f"{statement} cannot run inside a workspace")


def set_workspace(statement: Insert, workspace_id: WorkspaceIdOrParam) -> Insert:
    """Return the INSERT with the workspace of its rows.

    Raises TypeError if the statement sets it already, if its table has none, and for several rows of values
    or a SELECT that cannot get a column.
    """
    column = _workspace_column(statement.table)
    names = [*(statement._select_names or ()), *map(_key, statement._values or ())]
    if column is None or column.key in names or statement._multi_values:
        raise TypeError("this INSERT cannot run inside a workspace")
    if statement.select is None:
        return statement.values({column.key: workspace_id})
    if not isinstance(statement.select, Select):
        raise TypeError("this INSERT … SELECT cannot run inside a workspace")
    workspace = type_coerce(workspace_id, column.type)
    return statement.from_select([*names, column.key], statement.select.add_columns(workspace))


def check_workspace_unchanged(table: FromClause, changed: Iterable[object]) -> None:
    """Raise TypeError if a changed column is that of the workspace."""
    column = _workspace_column(table)
    if column is not None and column.key in map(_key, changed):
        raise TypeError(f"a row of {table} cannot get another workspace")


def value_columns(statement: Insert) -> list[str]:
    """Return the columns of a row of the INSERT, without that of the workspace."""
    workspace_column = _workspace_column(statement.table)
    return [column.key for column in statement.table.c if column is not workspace_column]


def _restrict_upsert(statement: Insert, workspace_id: WorkspaceIdOrParam) -> Insert:
    clause = statement._post_values_clause
    column = _workspace_column(statement.table)
    if clause is None or isinstance(clause, _DO_NOTHING) or column is None:
        return statement
    if not isinstance(clause, _DO_UPDATE) or not clause.inferred_target_elements:
        raise TypeError("this ON CONFLICT cannot run inside a workspace")
    check_workspace_unchanged(statement.table, clause.update_values_to_set)
    if column.key in map(_key, clause.inferred_target_elements):
        return statement  # the stored row has the workspace of the new one
    is_restricted = column == workspace_id
    where = clause.update_whereclause
    restricted = type(clause)(
        index_elements=clause.inferred_target_elements,
        index_where=clause.inferred_target_whereclause,
        set_=clause.update_values_to_set,
        where=is_restricted if where is None else and_(where, is_restricted),
    )
    return _replace_elements(statement, lambda element: restricted if element is clause else None)


_DO_NOTHING = (sqlite_dml.OnConflictDoNothing, postgresql_dml.OnConflictDoNothing)
_DO_UPDATE = (sqlite_dml.OnConflictDoUpdate, postgresql_dml.OnConflictDoUpdate)


def _workspace_column(table: FromClause) -> KeyedColumnElement[Any] | None:
    """Return the column with the workspace of a row; None if the table has none."""
    is_workspace = isinstance(table, Table) and table.name == WORKSPACE_TABLE
    return table.c.id if is_workspace else table.c.get("workspace_id")


def _key(column: Any) -> str:
    """Return the name of a column, which may be a name already."""
    key: str = getattr(column, "key", column)
    return key


def _left_joined_tables(statement: AnySelect, tables: Iterable[Table]) -> set[object]:
    """Return the tables of LEFT JOINs; raises TypeError for a join that cannot be restricted."""
    # `.join()` adds no element before compilation; SQLAlchemy builds the Join only then.
    joins = statement._setup_joins
    left_joined: set[object] = {table for table, *_, flags in joins if flags["isouter"]}
    restricted: set[object] = {table for table in tables if table not in left_joined}
    for table, on_clause, _left, flags in joins:
        if flags["full"] or (
            flags["isouter"] and not _equates_workspaces(on_clause, table, restricted)
        ):
            raise TypeError("this outer join cannot be read inside a workspace")
        restricted.add(table)
    return left_joined


def _equates_workspaces(on_clause: Any, joined: object, restricted: Collection[object]) -> bool:
    """Return whether an ON clause equates the workspace of a joined table with that of a restricted one."""
    is_and = isinstance(on_clause, BooleanClauseList) and on_clause.operator is operator.and_
    for condition in on_clause.clauses if is_and else [on_clause]:
        match condition:
            case BinaryExpression(
                operator=operator.eq,
                left=ColumnClause(name="workspace_id", table=left),
                right=ColumnClause(name="workspace_id", table=right),
            ) if (left == joined and right in restricted) or (
                right == joined and left in restricted
            ):
                return True
    return False


def _walk_elements(statement: AnySelect | UpdateBase) -> Iterator[ExternallyTraversible]:
    """Yield the elements of a statement at any depth; a nested SELECT is one element.

    A SELECT has the tables of its columns as elements. An UPDATE or DELETE has not, but reads them.
    """
    has_tables = not isinstance(statement, Update | Delete)
    queue: deque[ExternallyTraversible] = deque([statement])
    while queue:
        for element in queue.popleft().get_children():
            yield element
            if not isinstance(element, Select):
                queue.append(element)
            if not has_tables and isinstance(element, ColumnClause) and element.table is not None:
                if not isinstance(element.table, Table):
                    raise TypeError(f"{element} cannot be read inside a workspace")
                yield element.table


def _is_shared(element: ExternallyTraversible) -> bool:
    return isinstance(element, Table) and element.name in SHARED_TABLES


def _reads_other_source(element: ExternallyTraversible) -> bool:
    """Return whether the element reads from a source besides its child elements."""
    if isinstance(element, Join):
        return element.isouter or element.full
    if isinstance(element, Subquery | Lateral):
        return False  # its SELECT is restricted
    if isinstance(element, ColumnClause):
        return element.is_literal and element.name != "*"  # as in count(*)
    # A function reads nothing but its arguments, which are elements of their own.
    return isinstance(element, FromClause | TextClause) and not isinstance(
        element, FunctionElement | TableValuedAlias
    )


def _restrict_subqueries(statement: S, restrict: Callable[[AnySelect], AnySelect]) -> S:
    def replace_subquery(element: ExternallyTraversible) -> ExternallyTraversible | None:
        is_nested = isinstance(element, Select) and element is not statement
        return restrict(cast("AnySelect", element)) if is_nested else None

    return _replace_elements(statement, replace_subquery)


def _replace_elements(
    statement: S, replace: Callable[[ExternallyTraversible], ExternallyTraversible | None]
) -> S:
    """Return a copy in which `replace` has replaced the elements for which it does not return None."""
    return cast("S", replacement_traverse(statement, {}, lambda element, **_: replace(element)))


def batch_point_read(statement: AnySelect, workspace: str, key: str) -> AnySelect:
    """Return the point read of a workspace and a key for many requests, each with its own workspace and key.

    `statement` is restricted to a workspace; `workspace` and `key` name its parameters. The columns of a
    request replace them, so the tables of each row are restricted to the workspace of the row's request, by
    the same conditions as before. The last column of a row is the number of its request, counted from 1.
    The parameters of the result are the lists `workspaces` and `keys`.

    Raises TypeError unless each row depends only on the tables and the two values: a limit, a group, a
    function, a subquery or a lock would mix requests, and another parameter differs between them.
    """
    values = {
        element.key: element
        for element in _batchable_elements(statement)
        if isinstance(element, BindParameter) and element.required
    }
    if values.keys() != {workspace, key}:
        raise TypeError(f"a batch needs the parameters {workspace} and {key}, not {[*values]}")
    key_type = values[key].type
    key_type = getattr(key_type, "item", key_type)  # of the list of `any_of`
    request = (
        func.unnest(
            bindparam("workspaces", type_=ARRAY(PortableUuid())),
            bindparam("keys", type_=ARRAY(key_type)),
        )
        .table_valued(
            column("workspace", PortableUuid()),
            column("key", key_type),
            with_ordinality="number",
        )
        .render_derived("request")
    )

    def replace_parameter(element: ExternallyTraversible) -> ExternallyTraversible | None:
        match element:
            case any_of(column=matched, parameter=name) if name == key:
                return cast("ExternallyTraversible", matched == request.c.key)
            case BindParameter(key=name) if name in values:
                return request.c.key if name == key else request.c.workspace
        return None

    batched = _replace_elements(statement, replace_parameter)
    return batched.add_columns(request.c.number.label("request_number"))


_BATCHABLE_CLAUSES = {
    *("_raw_columns", "_from_obj", "_setup_joins", "_where_criteria", "_order_by_clauses"),
    *("_label_style", "_propagate_attrs"),
}
"""Parts of a SELECT that consist of elements, and two that do not change its rows."""

_BATCHABLE_ELEMENTS = (
    *(Table, Column, Label, BindParameter, Null, any_of),
    *(BinaryExpression, UnaryExpression, BooleanClauseList, ClauseList, Grouping),
)


def _batchable_elements(statement: AnySelect) -> Iterator[ExternallyTraversible]:
    """Yield the elements of a statement; raises TypeError if its rows depend on anything else."""
    for name, _ in Select._traverse_internals:
        clause = getattr(statement, name)
        is_set = isinstance(clause, ClauseElement) or bool(clause)
        if is_set and name not in _BATCHABLE_CLAUSES:
            raise TypeError(f"a statement with {name.strip('_')} cannot run in a batch")
    for _table, on_clause, _left, flags in statement._setup_joins:
        # In FROM, only the columns of the joined tables are visible, not those of the request.
        parameters = [
            each for each in iterate(cast("Any", on_clause)) if isinstance(each, BindParameter)
        ]
        if flags["isouter"] or flags["full"] or any(each.required for each in parameters):
            raise TypeError("this join cannot run in a batch")
    for element in _walk_elements(statement):
        if not isinstance(element, _BATCHABLE_ELEMENTS):
            raise TypeError(f"{element} cannot run in a batch")
        yield element
