"""What is wrong in a database, if anything: the engine's own check, values, links, the domain's rules.

Reads one snapshot and changes nothing. Each problem is one sentence for an operator.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields
from datetime import date, datetime
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

from sqlalchemy import (
    ColumnElement,
    ForeignKeyConstraint,
    Table,
    and_,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlalchemy.orm.util import AliasedClass

from app.db.engine import AnyRow, AnySelect, Database
from app.db.migrations import check_schema_version
from app.db.models import (
    Account,
    ApiKey,
    Attempt,
    Base,
    Destination,
    Event,
    Post,
    PublishEvidence,
    Webhook,
    Workspace,
)
from app.db.readable import Unreadable, as_stored, readable, reading_everything
from app.domain.attempts import AttemptKind
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    Outcome,
    due_day,
    lateness_ms,
)
from app.domain.posts import post_published_at, post_status, search_text
from app.domain.times import format_instant
from app.domain.workspaces import WorkspaceKind

MAX_PROBLEMS = 1000
"""A check stops here: a database that has so many needs its backup, not a longer list."""

Check: TypeAlias = Callable[[AsyncConnection], AsyncGenerator[str]]

_BATCH_ROWS = 500


async def find_problems(database: Database) -> list[str]:
    """Every problem found, up to MAX_PROBLEMS; an empty list means that all is well.

    SchemaMismatch unless the database is at this code's version.
    """
    try:
        await check_schema_version(database)
    except DBAPIError as error:
        return [f"The check could not begin: {_reason(error)}."]
    problems: list[str] = []
    async with database.snapshot() as connection, reading_everything(connection):
        for what, check in _checks(database):
            try:
                # A savepoint, because PostgreSQL answers nothing more after an error.
                async with connection.begin_nested(), aclosing(check(connection)) as found:
                    async for problem in found:
                        problems.append(problem)
                        if len(problems) == MAX_PROBLEMS:
                            return [*problems, f"The check stopped after {MAX_PROBLEMS} problems."]
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise
                problems.append(f"The check of {what} could not be finished: {_reason(error)}.")
    return problems


def _checks(database: Database) -> Iterator[tuple[str, Check]]:
    """Each with what it looks at; none needs what another one found."""
    if database.is_sqlite:
        yield "the file", _damage
    for table in Base.metadata.sorted_tables:
        yield f"the values in {table.name}", partial(_unreadable_values, table)
    for table in Base.metadata.sorted_tables:
        yield f"the links of {table.name}", partial(_broken_links, table)
    yield from _RULES.items()


_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "SQLITE_NOTADB": "the file is not an SQLite database",
        "SQLITE_CORRUPT": "the file is damaged",
    }
)


def _reason(error: DBAPIError) -> str:
    """In our words if we have any, else the first line of the driver's."""
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    for known, reason in _REASONS.items():
        if name.startswith(known):
            return reason
    cause = getattr(error.orig, "__cause__", None) or error.orig
    return str(cause).partition("\n")[0].rstrip(".")


async def _damage(connection: AsyncConnection) -> AsyncGenerator[str]:
    """PostgreSQL verifies its pages by checksum whenever it reads, so only SQLite is asked."""
    result = await connection.exec_driver_sql("PRAGMA integrity_check")
    for answer in result.scalars():
        for line in answer.splitlines():
            if line != "ok" and not line.startswith("***"):
                yield f"SQLite's integrity check: {line}."


async def _unreadable_values(table: Table, connection: AsyncConnection) -> AsyncGenerator[str]:
    names = [column.name for column in table.columns]
    key = [as_stored(column).label(f"key_{column.name}") for column in table.primary_key]
    statement = readable(select(*table.columns), connection.dialect).add_columns(*key)
    async for row in _batched(connection, statement):
        if _has_gaps(row):
            reasons = (
                f"{name} is not {value.expected}"
                for name, value in zip(names, row, strict=False)
                if isinstance(value, Unreadable)
            )
            yield f"{_named(table, row[len(names) :])} cannot be read: {', '.join(reasons)}."


async def _broken_links(table: Table, connection: AsyncConnection) -> AsyncGenerator[str]:
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


def _named(table: Table, key: Sequence[object]) -> str:
    """`Workspace 1b4e…: attempt 6fa4…`; the first column of a key is its workspace, if it has one."""
    first, *rest = map(_printable, key)
    if "workspace_id" not in table.c:
        return f"{table.name.capitalize()} {first}"
    return f"Workspace {first}: {' '.join([table.name, *rest])}"


def _printable(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else ascii(text)


async def _impossible_posts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Each destination against its invariants, each post against the fold of its destinations."""
    same_post = and_(Destination.workspace_id == Post.workspace_id, Destination.post_id == Post.id)
    same_account = and_(
        Account.workspace_id == Destination.workspace_id, Account.id == Destination.account_id
    )
    statement = (
        select(
            Workspace.kind,
            Post.workspace_id,
            Post.id,
            Post.is_draft,
            Post.submitted_now,
            Post.status.label("post_status"),
            Post.published_at.label("post_published_at"),
            Destination.id.label("destination_id"),
            Destination.account_id.label("account_id"),
            Destination.platform.label("platform"),
            Destination.position.label("position"),
            Account.platform.label("account_platform"),
            *(Destination.__table__.c[name].label(name) for name in _STATE_FIELDS),
        )
        .select_from(Post)
        .join(Workspace, Workspace.id == Post.workspace_id)
        .join(Destination, same_post, isouter=True)
        .join(Account, same_account, isouter=True)
        .order_by(Post.workspace_id, Post.id, Destination.position)
    )
    statement = readable(statement, connection.dialect)
    async for rows in _by_post(_batched(connection, statement)):
        if not any(map(_has_gaps, rows)):
            for problem in _problems_of_post(rows):
                yield problem


_STATE_FIELDS = tuple(field.name for field in fields(DestinationState))


async def _by_post(rows: AsyncIterator[AnyRow]) -> AsyncIterator[list[AnyRow]]:
    group: list[AnyRow] = []
    async for row in rows:
        if group and (group[0].workspace_id, group[0].id) != (row.workspace_id, row.id):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _problems_of_post(rows: list[AnyRow]) -> Iterator[str]:
    post = rows[0]
    name = f"Workspace {post.workspace_id}: post {post.id}"
    destinations = [row for row in rows if row.destination_id is not None]
    if post.kind is WorkspaceKind.LOCAL:
        yield from _misplaced(name, [row.position for row in destinations])

    states: list[DestinationState] = []
    for row in destinations:
        try:
            state = _state(row)
        except ValueError as error:
            yield f"{_destination(row)}: {error}."
        else:
            states.append(state)
            yield from _underived(row, state)
    if len(states) < len(destinations):
        return
    status = post_status(
        is_draft=post.is_draft, submitted_now=post.submitted_now, destinations=states
    )
    if post.post_status != status:
        yield f"{name} has status {post.post_status}; its destinations make it {status}."
    published_at = post_published_at(states)
    if post.post_published_at != published_at:
        yield (
            f"{name} has published_at {_shown(post.post_published_at)};"
            f" its destinations make it {_shown(published_at)}."
        )


def _misplaced(name: str, positions: list[int]) -> Iterator[str]:
    if positions != list(range(len(positions))):
        yield (
            f"{name} has its destinations at the positions {', '.join(map(str, positions))};"
            f" they must be 0 to {len(positions) - 1}, each once."
        )


def _underived(row: AnyRow, state: DestinationState) -> Iterator[str]:
    """What is stored beside what it follows from, and differs from that."""
    is_final = state.outcome is not Outcome.NONE
    day = due_day(state.due_at) if is_final and state.due_at else None
    if state.due_day != day:
        yield (
            f"{_destination(row)} has due_day {_shown(state.due_day)};"
            f" its due_at makes it {_shown(day)}."
        )
    late = (
        lateness_ms(state.due_at, state.published_at)
        if state.due_at and state.published_at
        else None
    )
    if state.lateness_ms != late:
        yield (
            f"{_destination(row)} has lateness_ms {_shown(state.lateness_ms)};"
            f" its due_at and published_at make it {_shown(late)}."
        )
    if row.kind is WorkspaceKind.LOCAL and row.account_platform not in (None, row.platform):
        yield (
            f"{_destination(row)} has platform {_printable(row.platform)};"
            f" its account {row.account_id} has {_printable(row.account_platform)}."
        )


def _destination(row: AnyRow) -> str:
    return f"Workspace {row.workspace_id}: destination {row.destination_id}"


def _shown(value: datetime | date | int | None) -> str:
    if value is None:
        return "none"
    return format_instant(value) if isinstance(value, datetime) else str(value)


def _state(row: AnyRow) -> DestinationState:
    """ValueError for a broken invariant."""
    return DestinationState(**{name: getattr(row, name) for name in _STATE_FIELDS})


async def _stale_search_texts(connection: AsyncConnection) -> AsyncGenerator[str]:
    statement = select(
        Post.workspace_id, Post.id, Post.content, Post.platform_content, Post.search_text
    )
    async for row in _rows(connection, statement):
        if row.search_text != search_text(row.content, row.platform_content):
            yield f"Workspace {row.workspace_id}: post {row.id} is not found by its own text."


async def _contradicting_attempts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Each destination against its log: how many attempts there are, and how the last one ended.

    A mirror's log may be shorter than the count, because nobody logged what happened elsewhere; so the
    last attempt of the log need not be the last one.
    """
    regular = and_(*_of_destination(Attempt), Attempt.kind != AttemptKind.LATE)
    other = aliased(Attempt)
    newest_fence = (
        select(func.max(other.fence))
        .where(*_of_destination(other), other.kind != AttemptKind.LATE)
        .correlate(Destination)
        .scalar_subquery()
    )
    logged = (
        select(func.count())
        .select_from(other)
        .where(*_of_destination(other), other.kind != AttemptKind.LATE)
    )
    statement = (
        select(
            Workspace.kind,
            Destination.workspace_id,
            Destination.id.label("destination_id"),
            Destination.attempts,
            Destination.outcome,
            Destination.started_at,
            logged.correlate(Destination).scalar_subquery().label("logged"),
            Attempt.id.label("last_id"),
            Attempt.outcome.label("last_outcome"),
        )
        .select_from(Destination)
        .join(Workspace, Workspace.id == Destination.workspace_id)
        .join(Attempt, and_(regular, Attempt.fence == newest_fence), isouter=True)
    )
    async for row in _rows(connection, statement):
        is_mirror = row.kind is WorkspaceKind.MIRROR
        if row.logged > row.attempts or (row.logged < row.attempts and not is_mirror):
            yield (
                f"{_destination(row)} counts {row.attempts} attempts, but {row.logged} are logged."
            )
        elif not is_mirror and row.last_id is not None and _contradicts(row):
            yield (
                f"{_destination(row)} has outcome {row.outcome} and started_at"
                f" {_shown(row.started_at)}, which cannot follow from its last attempt"
                f" {row.last_id}, of outcome {row.last_outcome}."
            )


def _of_destination(
    model: type[Attempt | PublishEvidence] | AliasedClass[Attempt],
) -> tuple[ColumnElement[bool], ...]:
    return (
        model.workspace_id == Destination.workspace_id,
        model.destination_id == Destination.id,
    )


def _contradicts(row: AnyRow) -> bool:
    """Whether no way leads from how the last attempt ended to where the destination is.

    A destination may be published after any attempt, as the late report of an older one tells. After
    one that failed or whose outcome is unknown, it may wait, be claimed, fail, or be cancelled. But who
    has published stays so; what is unknown is the last attempt's outcome; and a started attempt and
    the destination's started_at end together.
    """
    if row.outcome is Outcome.PUBLISHED:
        return False
    runs = row.last_outcome is Outcome.NONE
    return (
        row.last_outcome is Outcome.PUBLISHED
        or runs != (row.started_at is not None)
        or (row.outcome is Outcome.UNKNOWN and row.last_outcome is not Outcome.UNKNOWN)
    )


async def _backward_attempts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Of local workspaces: the clock of a mirrored service is not ours to judge."""
    statement = (
        select(Attempt.workspace_id, Attempt.id, Attempt.started_at, Attempt.finished_at)
        .select_from(Attempt)
        .join(Workspace, Workspace.id == Attempt.workspace_id)
        .where(Workspace.kind == WorkspaceKind.LOCAL, Attempt.finished_at < Attempt.started_at)
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: attempt {row.id} finished at {_shown(row.finished_at)},"
            f" before it started at {_shown(row.started_at)}."
        )


async def _missing_evidence(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Of several reports that a destination is published, the first counts; so if any is, one does.

    Published is what was reported so. Only after an unknown outcome may somebody have looked instead,
    and of that no evidence is promised.
    """
    evidence = exists().where(*_of_destination(PublishEvidence))
    tried = exists().where(*_of_destination(Attempt))
    statement = (
        select(Destination.workspace_id, Destination.id.label("destination_id"))
        .select_from(Destination)
        .join(Workspace, Workspace.id == Destination.workspace_id)
        .where(
            Workspace.kind == WorkspaceKind.LOCAL,
            ~evidence.where(PublishEvidence.counted),
            or_(
                evidence,
                and_(
                    Destination.status == DestinationStatus.PUBLISHED,
                    or_(
                        tried.where(Attempt.outcome == Outcome.PUBLISHED),
                        ~tried.where(Attempt.outcome == Outcome.UNKNOWN),
                    ),
                ),
            ),
        )
    )
    async for row in _rows(connection, statement):
        yield f"{_destination(row)} has no evidence of its publication that counts."


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
        .select_from(Workspace)
        .join(Event, Event.workspace_id == Workspace.id)
        .group_by(Workspace.id, Workspace.event_seq)
        .having((expected != func.count()) | (last != Workspace.event_seq))
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.id}: its events run from {row.first} to {row.last} and {row.missing}"
            f" of them are missing; they must run to {row.event_seq} without a gap."
        )


async def _events_of_unknown_keys(connection: AsyncConnection) -> AsyncGenerator[str]:
    """The key may live in another workspace, so that no foreign key guards this."""
    statement = select(Event.workspace_id, Event.seq, Event.actor_key_id).where(
        Event.actor_key_id.not_in(select(ApiKey.id))
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: event {row.seq} was caused by the API key"
            f" {row.actor_key_id}, which does not exist."
        )


async def _accounts_beyond_the_counter(connection: AsyncConnection) -> AsyncGenerator[str]:
    statement = (
        select(Account.workspace_id, Account.id, Workspace.next_account_id)
        .select_from(Account)
        .join(Workspace, Workspace.id == Account.workspace_id)
        .where(Account.id >= Workspace.next_account_id)
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: account {row.id} is not below next_account_id,"
            f" which is {row.next_account_id}."
        )


async def _webhooks_beyond_the_counter(connection: AsyncConnection) -> AsyncGenerator[str]:
    statement = (
        select(Webhook.workspace_id, Webhook.id, Webhook.fan_out_seq, Workspace.event_seq)
        .select_from(Webhook)
        .join(Workspace, Workspace.id == Webhook.workspace_id)
        .where(Webhook.fan_out_seq > Workspace.event_seq)
    )
    async for row in _rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: webhook {row.id} has fan_out_seq {row.fan_out_seq},"
            f" beyond the workspace's event_seq, which is {row.event_seq}."
        )


_RULES: Mapping[str, Check] = MappingProxyType(
    {
        "posts and destinations": _impossible_posts,
        "search texts": _stale_search_texts,
        "the logs of attempts": _contradicting_attempts,
        "the times of attempts": _backward_attempts,
        "publish evidence": _missing_evidence,
        "the numbers of events": _gaps_in_events,
        "the causes of events": _events_of_unknown_keys,
        "the numbers of accounts": _accounts_beyond_the_counter,
        "the fan-out of webhooks": _webhooks_beyond_the_counter,
    }
)


async def _rows(connection: AsyncConnection, statement: AnySelect) -> AsyncIterator[AnyRow]:
    """The rows that can be read; of the others, the check of the values tells."""
    async for row in _batched(connection, readable(statement, connection.dialect)):
        if not _has_gaps(row):
            yield row


def _has_gaps(row: AnyRow) -> bool:
    return any(isinstance(value, Unreadable) for value in row)


async def _batched(connection: AsyncConnection, statement: AnySelect) -> AsyncIterator[AnyRow]:
    """The rows as they come, a batch in memory at a time."""
    result = await connection.stream(statement, execution_options={"yield_per": _BATCH_ROWS})
    async for row in result:
        yield row
