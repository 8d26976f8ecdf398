"""The wall between workspaces: what a statement reads is confined to one of them. Nothing is run here."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

from sqlalchemy import BindParameter, Join, Select, Table, TextClause
from sqlalchemy.sql import FromClause
from sqlalchemy.sql.expression import ColumnClause, FunctionElement
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

from app.db.queries import AnySelect
from app.domain.ids import WorkspaceId

Workspace: TypeAlias = WorkspaceId | BindParameter[Any]
"""One that is known, or the parameter that will tell it."""

WorkspaceFilter = Callable[[AnySelect, Workspace], AnySelect]


def within_workspace(statement: AnySelect, workspace_id: Workspace) -> AnySelect:
    """Confine every table that a statement reads from, at any depth, to one workspace.

    TypeError for what no WHERE can confine: a source that is not a table with a workspace, raw SQL,
    and an outer join, which the WHERE would make an inner one.
    """
    tables: dict[Table, None] = {}
    nested = False
    for part in _parts(statement):
        if isinstance(part, Select):
            nested = True
        elif isinstance(part, Table) and "workspace_id" in part.c:
            tables[part] = None
        elif not _reads_nothing_more(part):
            raise TypeError(f"{part} cannot be read inside a workspace")
    # A join by .join() is no part yet; its Join is built when the statement is compiled.
    if any(flags["isouter"] or flags["full"] for *_join, flags in statement._setup_joins):
        raise TypeError("an outer join cannot be read inside a workspace")

    if nested:
        statement = _with_nested(statement, lambda inner: within_workspace(inner, workspace_id))
    return statement.where(*(table.c.workspace_id == workspace_id for table in tables))


def _parts(statement: AnySelect) -> Iterator[ExternallyTraversible]:
    """Whatever a statement is made of; a SELECT in it is one part."""
    waiting: deque[ExternallyTraversible] = deque([statement])
    while waiting:
        for part in waiting.popleft().get_children():
            yield part
            if not isinstance(part, Select):
                waiting.append(part)


def _reads_nothing_more(part: ExternallyTraversible) -> bool:
    """Whether a part reads from no other source than its own parts do."""
    if isinstance(part, Join):
        return not part.isouter and not part.full
    if isinstance(part, ColumnClause):
        return not part.is_literal or part.name == "*"  # as in count(*)
    return isinstance(part, FunctionElement) or not isinstance(part, FromClause | TextClause)


def _with_nested(statement: AnySelect, confine: Callable[[AnySelect], AnySelect]) -> AnySelect:
    def confined(element: ExternallyTraversible, **_: Any) -> ExternallyTraversible | None:
        is_nested = isinstance(element, Select) and element is not statement
        return confine(cast("AnySelect", element)) if is_nested else None

    return cast("AnySelect", replacement_traverse(statement, {}, confined))
