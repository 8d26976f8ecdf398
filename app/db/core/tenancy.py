"""Tenant isolation: restricts every table that a statement reads to the workspace of its request."""

import operator
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeAlias, cast

from sqlalchemy import (
    ARRAY,
    BinaryExpression,
    BindParameter,
    Column,
    Join,
    Label,
    Select,
    Table,
    TableValuedAlias,
    TextClause,
    bindparam,
    column,
    func,
)
from sqlalchemy.sql import FromClause, Subquery
from sqlalchemy.sql.elements import (
    BooleanClauseList,
    ClauseElement,
    ClauseList,
    Grouping,
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

WorkspaceFilter = Callable[[AnySelect, WorkspaceIdOrParam], AnySelect]


def restrict_to_workspace(statement: AnySelect, workspace_id: WorkspaceIdOrParam) -> AnySelect:
    """Add the workspace condition to the statement and to all its subqueries.

    A LEFT JOIN is restricted by its ON clause, which must equate the workspaces of both tables, because a
    WHERE would turn it into an inner join. Raises TypeError for what cannot be restricted: other outer
    joins, a source that is not a table with a workspace, and raw SQL.
    """
    tables: dict[Table, None] = {}
    has_subquery = False
    for element in _walk_elements(statement):
        if isinstance(element, Select):
            has_subquery = True
        elif isinstance(element, Table) and "workspace_id" in element.c:
            tables[element] = None
        elif _reads_other_source(element):
            raise TypeError(f"{element} cannot be read inside a workspace")
    # `.join()` adds no element before compilation; SQLAlchemy builds the Join only then.
    joins = statement._setup_joins
    left_joined = {table for table, *_, flags in joins if flags["isouter"]}
    filtered = [table for table in tables if table not in left_joined]
    restricted = set(filtered)
    for table, on_clause, _left, flags in joins:
        if flags["full"] or (
            flags["isouter"] and not _equates_workspaces(on_clause, table, restricted)
        ):
            raise TypeError("this outer join cannot be read inside a workspace")
        restricted.add(cast("Table", table))

    if has_subquery:
        statement = _restrict_subqueries(
            statement, lambda inner: restrict_to_workspace(inner, workspace_id)
        )
    return statement.where(*(table.c.workspace_id == workspace_id for table in filtered))


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


def _walk_elements(statement: AnySelect) -> Iterator[ExternallyTraversible]:
    """Yield the elements of a statement at any depth; a nested SELECT is one element."""
    queue: deque[ExternallyTraversible] = deque([statement])
    while queue:
        for element in queue.popleft().get_children():
            yield element
            if not isinstance(element, Select):
                queue.append(element)


def _reads_other_source(element: ExternallyTraversible) -> bool:
    """Return whether the element reads from a source besides its child elements."""
    if isinstance(element, Join):
        return element.isouter or element.full
    if isinstance(element, Subquery):
        return False  # its SELECT is restricted
    if isinstance(element, ColumnClause):
        return element.is_literal and element.name != "*"  # as in count(*)
    # A function reads nothing but its arguments, which are elements of their own.
    return isinstance(element, FromClause | TextClause) and not isinstance(
        element, FunctionElement | TableValuedAlias
    )


def _restrict_subqueries(
    statement: AnySelect, restrict: Callable[[AnySelect], AnySelect]
) -> AnySelect:
    def replace_subquery(element: ExternallyTraversible, **_: Any) -> ExternallyTraversible | None:
        is_nested = isinstance(element, Select) and element is not statement
        return restrict(cast("AnySelect", element)) if is_nested else None

    return cast("AnySelect", replacement_traverse(statement, {}, replace_subquery))


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

    def replace_parameter(element: ExternallyTraversible, **_: Any) -> ExternallyTraversible | None:
        match element:
            case any_of(column=matched, parameter=name) if name == key:
                return cast("ExternallyTraversible", matched == request.c.key)
            case BindParameter(key=name) if name in values:
                return request.c.key if name == key else request.c.workspace
        return None

    batched = cast("AnySelect", replacement_traverse(statement, {}, replace_parameter))
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
