"""Tenant isolation: restricts every table that a statement reads to one workspace."""

import operator
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeAlias, cast

from sqlalchemy import BinaryExpression, BindParameter, Join, Select, Table, TextClause
from sqlalchemy.sql import FromClause
from sqlalchemy.sql.elements import BooleanClauseList
from sqlalchemy.sql.expression import ColumnClause, FunctionElement
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

from app.db.core.statements import AnySelect
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
    restricted = [table for table in tables if table not in left_joined]
    confined = set(restricted)
    for table, on_clause, _left, flags in joins:
        if flags["full"] or (
            flags["isouter"] and not _equates_workspaces(on_clause, table, confined)
        ):
            raise TypeError("this outer join cannot be read inside a workspace")
        confined.add(cast("Table", table))

    if has_subquery:
        statement = _restrict_subqueries(
            statement, lambda inner: restrict_to_workspace(inner, workspace_id)
        )
    return statement.where(*(table.c.workspace_id == workspace_id for table in restricted))


def _equates_workspaces(on_clause: Any, joined: object, confined: Collection[object]) -> bool:
    """Return whether an ON clause equates the workspace of a joined table with that of a confined one."""
    is_and = isinstance(on_clause, BooleanClauseList) and on_clause.operator is operator.and_
    for condition in on_clause.clauses if is_and else [on_clause]:
        match condition:
            case BinaryExpression(
                operator=operator.eq,
                left=ColumnClause(name="workspace_id", table=left),
                right=ColumnClause(name="workspace_id", table=right),
            ) if (left == joined and right in confined) or (right == joined and left in confined):
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
    if isinstance(element, ColumnClause):
        return element.is_literal and element.name != "*"  # as in count(*)
    return isinstance(element, FromClause | TextClause) and not isinstance(element, FunctionElement)


def _restrict_subqueries(
    statement: AnySelect, restrict: Callable[[AnySelect], AnySelect]
) -> AnySelect:
    def replace_subquery(element: ExternallyTraversible, **_: Any) -> ExternallyTraversible | None:
        is_nested = isinstance(element, Select) and element is not statement
        return restrict(cast("AnySelect", element)) if is_nested else None

    return cast("AnySelect", replacement_traverse(statement, {}, replace_subquery))
