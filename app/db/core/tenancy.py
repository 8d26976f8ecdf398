"""Tenant isolation: restricts every table that a statement reads to one workspace."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

from sqlalchemy import BindParameter, Join, Select, Table, TextClause
from sqlalchemy.sql import FromClause
from sqlalchemy.sql.expression import ColumnClause, FunctionElement
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

from app.db.core.statements import AnySelect
from app.domain.ids import WorkspaceId

WorkspaceIdOrParam: TypeAlias = WorkspaceId | BindParameter[Any]
"""Id of the workspace, or the bind parameter that will hold it."""

WorkspaceFilter = Callable[[AnySelect, WorkspaceIdOrParam], AnySelect]


def restrict_to_workspace(statement: AnySelect, workspace_id: WorkspaceIdOrParam) -> AnySelect:
    """Add the workspace condition to the statement and to all its subqueries.

    Raises TypeError for what no WHERE can restrict: a source that is not a table with a workspace, raw
    SQL, and an outer join, which the WHERE would turn into an inner one.
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
    if any(flags["isouter"] or flags["full"] for *_join, flags in statement._setup_joins):
        raise TypeError("an outer join cannot be read inside a workspace")

    if has_subquery:
        statement = _restrict_subqueries(
            statement, lambda inner: restrict_to_workspace(inner, workspace_id)
        )
    return statement.where(*(table.c.workspace_id == workspace_id for table in tables))


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
