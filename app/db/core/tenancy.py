"""The wall between workspaces: what a statement reads is confined to one of them. Nothing is run here."""

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
"""One that is known, or the parameter that will tell it."""

WorkspaceFilter = Callable[[AnySelect, WorkspaceIdOrParam], AnySelect]


def restrict_to_workspace(statement: AnySelect, workspace_id: WorkspaceIdOrParam) -> AnySelect:
    """Confine every table that a statement reads from, at any depth, to one workspace.

    TypeError for what no WHERE can confine: a source that is not a table with a workspace, raw SQL,
    and an outer join, which the WHERE would make an inner one.
    """
    tables: dict[Table, None] = {}
    nested = False
    for part in _walk_elements(statement):
        if isinstance(part, Select):
            nested = True
        elif isinstance(part, Table) and "workspace_id" in part.c:
            tables[part] = None
        elif not _has_no_other_source(part):
            raise TypeError(f"{part} cannot be read inside a workspace")
    # A join by .join() is no part yet; its Join is built when the statement is compiled.
    if any(flags["isouter"] or flags["full"] for *_join, flags in statement._setup_joins):
        raise TypeError("an outer join cannot be read inside a workspace")

    if nested:
        statement = _restrict_subqueries(
            statement, lambda inner: restrict_to_workspace(inner, workspace_id)
        )
    return statement.where(*(table.c.workspace_id == workspace_id for table in tables))


def _walk_elements(statement: AnySelect) -> Iterator[ExternallyTraversible]:
    """Whatever a statement is made of; a SELECT in it is one part."""
    waiting: deque[ExternallyTraversible] = deque([statement])
    while waiting:
        for part in waiting.popleft().get_children():
            yield part
            if not isinstance(part, Select):
                waiting.append(part)


def _has_no_other_source(element: ExternallyTraversible) -> bool:
    """Whether a part reads from no other source than its own parts do."""
    if isinstance(element, Join):
        return not element.isouter and not element.full
    if isinstance(element, ColumnClause):
        return not element.is_literal or element.name == "*"  # as in count(*)
    return isinstance(element, FunctionElement) or not isinstance(element, FromClause | TextClause)


def _restrict_subqueries(
    statement: AnySelect, restrict: Callable[[AnySelect], AnySelect]
) -> AnySelect:
    def replace_subquery(element: ExternallyTraversible, **_: Any) -> ExternallyTraversible | None:
        is_nested = isinstance(element, Select) and element is not statement
        return restrict(cast("AnySelect", element)) if is_nested else None

    return cast("AnySelect", replacement_traverse(statement, {}, replace_subquery))
