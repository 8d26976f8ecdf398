"""Search of posts by a part of their text: conditions of a search, and its index on SQLite.

On PostgreSQL a trigram index serves the LIKE itself. On SQLite the index finds the posts that contain all
trigrams of the text, and the LIKE decides which of them match. The database keeps that index up to date by
triggers, see `app.db.migrations.search_index`.
"""

from typing import Any, Self

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    func,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.db.core.conditions import LIKE_ESCAPE, any_of, escape_like, unindexed
from app.db.core.database import Reader
from app.db.core.statements import AnySelect, Statement
from app.db.core.types import ColumnValues, PortableUuid
from app.db.models import Post
from app.domain.times import FIRST_INSTANT
from app.domain.validation.text import fold_for_search

SHORT_SEARCH_POSTS = 100_000
"""Number of the newest posts in which a text without a trigram is searched, because no index serves it."""

_TRIGRAM = 3
"""Characters of the shortest text that the index finds."""

MAX_CANDIDATE_POSTS = 5_000
"""Posts found by the index that a page sorts. With more, some are soon found in the order of the page."""

POST_SEARCH_KEY = Table(
    "post_search_key",
    MetaData(),  # exists on SQLite only
    Column("number", Integer, primary_key=True),
    Column("workspace_id", PortableUuid),
    Column("post_id", PortableUuid),
)
"""Number of each post in the index, which knows no workspaces."""


class _in_search_index(FunctionElement[bool]):  # noqa: N801 - reads like SQL
    """Condition that the number of a post is one of those that match a query of the index."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, number: Column[int], parameter: str) -> None:
        super().__init__(number, bindparam(parameter, type_=String()))

    def self_group(self, against: object = None) -> Self:  # noqa: ARG002
        """Omit the `= 1` that SQLAlchemy appends to a boolean on SQLite."""
        return self


@compiles(_in_search_index, "sqlite")
def _compile_match(element: "_in_search_index", compiler: SQLCompiler, **options: Any) -> str:
    number, query = (compiler.process(clause, **options) for clause in element.clauses)
    return (
        f"{number} IN"  # noqa: S608 - compiled parts
        f" (SELECT rowid FROM post_search_index WHERE post_search_index MATCH {query})"
    )


_NEWEST_CREATED_AT = (
    select(Post.created_at)
    .where(Post.deleted_at.is_(None))
    .order_by(Post.created_at.desc(), Post.id.desc())
    .offset(bindparam("newest"))
    .limit(1)
    .correlate(None)
    .scalar_subquery()
)

SEARCH_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "search": Post.search_text.like(bindparam("search"), escape=LIKE_ESCAPE),
    # Not the column alone: PostgreSQL would read the whole index for a text without a trigram.
    "short_search": Post.search_text.concat("").like(bindparam("short_search"), escape=LIKE_ESCAPE),
    "newest": Post.created_at >= func.coalesce(_NEWEST_CREATED_AT, FIRST_INSTANT),
    "candidate_ids": any_of(Post.id, "candidate_ids"),
    "index_query": _in_search_index(POST_SEARCH_KEY.c.number, "index_query"),
}
"""Condition of each parameter of a search. `index_query` needs the join of `join_search_index`."""


def join_search_index(statement: AnySelect) -> AnySelect:
    """Join posts with their numbers in the index, which SQLite reads first."""
    key = POST_SEARCH_KEY.c
    return statement.join(
        POST_SEARCH_KEY,
        and_(key.workspace_id == Post.workspace_id, Post.id == unindexed(key.post_id)),
    )


def search_values(reader: Reader, text: str) -> ColumnValues:
    """Return the parameters that count the posts whose text contains `text`."""
    folded = fold_for_search(text)
    pattern = f"%{escape_like(folded)}%"
    if len(folded) < _TRIGRAM:
        return {"short_search": pattern, "newest": SHORT_SEARCH_POSTS - 1}
    if reader.is_sqlite:
        return {"search": pattern, "index_query": _index_query(folded)}
    return {"search": pattern}


async def page_search_values(reader: Reader, text: str) -> ColumnValues:
    """Return the parameters that find a page of the same posts: their ids, if the index finds few."""
    values = search_values(reader, text)
    if (query := values.pop("index_query", None)) is not None:
        rows = await reader.rows(_FIND_POSTS, index_query=query, limit=MAX_CANDIDATE_POSTS + 1)
        if len(rows) <= MAX_CANDIDATE_POSTS:
            values["candidate_ids"] = [row.post_id for row in rows]
    return values


_FIND_POSTS = Statement(
    select(POST_SEARCH_KEY.c.post_id)
    .where(SEARCH_CONDITIONS["index_query"])
    .limit(bindparam("limit"))
)


def _index_query(folded: str) -> str:
    """Return the FTS5 query for texts with trigrams that cover all of `folded`."""
    last = len(folded) - _TRIGRAM
    starts = [*range(0, last, _TRIGRAM), last]
    trigrams = (folded[start : start + _TRIGRAM] for start in starts)
    return " AND ".join(_quote(trigram) for trigram in trigrams)


def _quote(trigram: str) -> str:
    return '"' + trigram.replace('"', '""') + '"'
