"""What is wrong in a database, if anything: the engine's own check, links, and the domain's rules.

Reads one snapshot and changes nothing. Each problem is one sentence for an operator.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    ForeignKeyConstraint,
    String,
    Table,
    and_,
    exists,
    func,
    select,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import AnyRow, AnySelect, Database
from app.db.models import Account, Attempt, Base, Destination, Event, Post, Workspace
from app.db.types import Word
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.posts import post_published_at, post_status, search_text
from app.domain.times import format_instant

MAX_PROBLEMS = 1000
"""A check stops here: a database that has so many needs its backup, not a longer list."""

Check: TypeAlias = Callable[[AsyncConnection], AsyncGenerator[str]]

_BATCH_ROWS = 500


async def find_problems(database: Database) -> list[str]:
    """Every problem found, up to MAX_PROBLEMS; an empty list means that all is well."""
    problems: list[str] = []
    async with database.snapshot() as connection:
        for check in (_damage, *_CHECKS) if database.is_sqlite else _CHECKS:
            try:
                async with aclosing(check(connection)) as found:
                    async for problem in found:
                        problems.append(problem)
                        if len(problems) == MAX_PROBLEMS:
                            return [*problems, f"The check stopped after {MAX_PROBLEMS} problems."]
            except (ValueError, DBAPIError) as error:
                problems.append(f"What is stored could not be read: {error}")
    return problems


async def _damage(connection: AsyncConnection) -> AsyncGenerator[str]:
    """PostgreSQL verifies its pages by checksum whenever it reads, so only SQLite is asked."""
    result = await connection.exec_driver_sql("PRAGMA integrity_check")
    for answer in result.scalars():
        if answer != "ok":
            yield f"SQLite's integrity check: {answer}."


async def _broken_links(connection: AsyncConnection) -> AsyncGenerator[str]:
    for table in Base.metadata.sorted_tables:
        for link in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
            async for row in _rows(connection, _without_target(table, link)):
                yield (
                    f"{_named(table, row)} refers by {', '.join(link.column_keys)}"
                    f" to a row of {link.referred_table.name} that does not exist."
                )


def _without_target(table: Table, link: ForeignKeyConstraint) -> AnySelect:
    """The keys of the rows whose link has no NULL in it and leads nowhere."""
    target = link.referred_table.alias("target")
    pairs = [(each.parent, target.c[each.column.name]) for each in link.elements]
    return select(*table.primary_key).where(
        *(column.is_not(None) for column, _ in pairs),
        ~exists().where(*(column == other for column, other in pairs)),
    )


def _named(table: Table, key: AnyRow) -> str:
    """`Workspace 1b4e…: attempt 6fa4…`; the first column of a key is its workspace."""
    workspace_id, *rest = key
    return f"Workspace {workspace_id}: {' '.join([table.name, *map(str, rest)])}"


async def _impossible_posts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Each destination against its invariants, each post against the fold of its destinations."""
    same_post = and_(Destination.workspace_id == Post.workspace_id, Destination.post_id == Post.id)
    statement = (
        select(
            Post.workspace_id.label("workspace_id"),
            Post.id.label("post_id"),
            Post.is_draft,
            Post.submitted_now,
            type_coerce(Post.status, String).label("post_status"),
            Post.published_at.label("post_published_at"),
            Destination.id.label("destination_id"),
            *(_plain(Destination.__table__.c[name]) for name in _STATE_FIELDS),
        )
        .join(Destination, same_post, isouter=True)
        .order_by(Post.workspace_id, Post.id, Destination.position)
    )
    async for rows in _by_post(_rows(connection, statement)):
        for problem in _problems_of_post(rows):
            yield problem


_STATE_FIELDS = tuple(field.name for field in fields(DestinationState))


def _plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A word as its text, so that one which is in no vocabulary can be read and reported."""
    if isinstance(column.type, Word):
        return type_coerce(column, String).label(column.key)
    return column


async def _by_post(rows: AsyncIterator[AnyRow]) -> AsyncIterator[list[AnyRow]]:
    group: list[AnyRow] = []
    async for row in rows:
        if group and (group[0].workspace_id, group[0].post_id) != (row.workspace_id, row.post_id):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _problems_of_post(rows: list[AnyRow]) -> Iterator[str]:
    post = rows[0]
    destinations = [row for row in rows if row.destination_id is not None]
    states: list[DestinationState] = []
    for row in destinations:
        try:
            states.append(_state(row))
        except ValueError as error:
            yield f"Workspace {row.workspace_id}: destination {row.destination_id}: {error}."
    if len(states) < len(destinations):
        return
    status = post_status(
        is_draft=post.is_draft, submitted_now=post.submitted_now, destinations=states
    )
    name = f"Workspace {post.workspace_id}: post {post.post_id}"
    if post.post_status != status:
        yield f"{name} has status {post.post_status}; its destinations make it {status}."
    published_at = post_published_at(states)
    if post.post_published_at != published_at:
        yield (
            f"{name} has published_at {_shown(post.post_published_at)};"
            f" its destinations make it {_shown(published_at)}."
        )


def _shown(instant: datetime | None) -> str:
    return "none" if instant is None else format_instant(instant)


def _state(row: AnyRow) -> DestinationState:
    """ValueError for a word out of its vocabulary and for a broken invariant."""
    values = {name: getattr(row, name) for name in _STATE_FIELDS}
    values["status"] = DestinationStatus(row.status)
    values["outcome"] = Outcome(row.outcome)
    if row.error_category is not None:
        values["error_category"] = ErrorCategory(row.error_category)
    return DestinationState(**values)


async def _stale_search_texts(connection: AsyncConnection) -> AsyncGenerator[str]:
    statement = select(
        Post.workspace_id, Post.id, Post.content, Post.platform_content, Post.search_text
    )
    async for row in _rows(connection, statement):
        if row.search_text != search_text(row.content, row.platform_content):
            yield f"Workspace {row.workspace_id}: post {row.id} is not found by its own text."


async def _surplus_attempts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """The log may be shorter than the count: a mirror learns of attempts that nobody logged."""
    logged = func.count().label("logged")
    same_destination = and_(
        Attempt.workspace_id == Destination.workspace_id, Attempt.destination_id == Destination.id
    )
    statement = (
        select(Destination.workspace_id, Destination.id, Destination.attempts, logged)
        .join(Attempt, same_destination)
        .where(Attempt.kind == AttemptKind.REGULAR)
        .group_by(Destination.workspace_id, Destination.id, Destination.attempts)
        .having(logged > Destination.attempts)
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: destination {row.id} counts {row.attempts} attempts,"
            f" but {row.logged} are logged."
        )


async def _gaps_in_events(connection: AsyncConnection) -> AsyncGenerator[str]:
    """From the first event that is kept up to the workspace's counter, every number is there."""
    last = func.max(Event.seq)
    expected = last - func.min(Event.seq) + 1
    statement = (
        select(
            Workspace.id,
            Workspace.event_seq,
            func.min(Event.seq).label("first"),
            last.label("last"),
            (expected - func.count()).label("missing"),
        )
        .join(Event, Event.workspace_id == Workspace.id)
        .group_by(Workspace.id, Workspace.event_seq)
        .having((expected != func.count()) | (last != Workspace.event_seq))
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.id}: its events run from {row.first} to {row.last} and {row.missing}"
            f" of them are missing; they must run to {row.event_seq} without a gap."
        )


async def _accounts_beyond_the_counter(connection: AsyncConnection) -> AsyncGenerator[str]:
    statement = (
        select(Account.workspace_id, Account.id, Workspace.next_account_id)
        .join(Workspace, Workspace.id == Account.workspace_id)
        .where(Account.id >= Workspace.next_account_id)
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: account {row.id} is not below next_account_id,"
            f" which is {row.next_account_id}."
        )


_CHECKS: tuple[Check, ...] = (
    _broken_links,
    _impossible_posts,
    _stale_search_texts,
    _surplus_attempts,
    _gaps_in_events,
    _accounts_beyond_the_counter,
)


async def _rows(connection: AsyncConnection, statement: AnySelect) -> AsyncIterator[AnyRow]:
    """The rows as they come, a batch in memory at a time."""
    result = await connection.stream(statement, execution_options={"yield_per": _BATCH_ROWS})
    async for row in result:
        yield row
