"""Domain rules that no constraint of the database enforces, checked over all rows.

Each rule yields a sentence for the operator for every contradiction. Rows of mirrors and imported posts
must satisfy only the rules that hold for any origin.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlalchemy.orm.util import AliasedClass

from app.db.core.statements import AnySelect, DecodedRow
from app.db.core.types import field_names, values_of
from app.db.models import (
    ACCOUNT_JOIN,
    POST_JOIN,
    Account,
    ApiKey,
    Attempt,
    Destination,
    Event,
    Post,
    PublishEvidence,
    Workspace,
)
from app.db.repositories.posts import state_columns
from app.domain.attempts import Publication
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    Outcome,
    due_day,
    lateness_ms,
)
from app.domain.ids import WorkspaceKind
from app.domain.posts import post_published_at, post_status, search_text
from app.domain.times import format_instant

_BATCH_ROWS = 500

Rule: TypeAlias = Callable[[AsyncConnection], AsyncGenerator[str]]


async def stream_rows(
    connection: AsyncConnection, statement: AnySelect
) -> AsyncIterator[DecodedRow]:
    """Yield the rows of a statement, with one batch in memory at a time."""
    result = await connection.stream(statement, execution_options={"yield_per": _BATCH_ROWS})
    async for row in result:
        yield row


def to_printable(value: object) -> str:
    """Return the text of a stored value on one line of a terminal."""
    text = str(value)
    return text if text.isprintable() else ascii(text)


async def _inconsistent_posts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Check derived values of destinations, and derived values of posts against their destinations."""
    statement = (
        select(
            Workspace.kind,
            Post.workspace_id,
            Post.id,
            Post.is_draft,
            Post.submitted_now,
            Post.status.label("post_status"),
            Post.published_at.label("post_published_at"),
            Post.deleted_at,
            Post.created_at.label("post_created"),
            Destination.id.label("destination_id"),
            Account.platform.label("account_platform"),
            *(getattr(Destination, name) for name in _DESTINATION_FIELDS),
        )
        .select_from(Post)
        .join(Workspace, Workspace.id == Post.workspace_id)
        .join(Destination, POST_JOIN, isouter=True)
        .join(Account, ACCOUNT_JOIN, isouter=True)
        .order_by(Post.workspace_id, Post.id, Destination.position)
    )
    async for rows in _group_by_post(stream_rows(connection, statement)):
        for problem in _post_problems(rows):
            yield problem


_STATE_FIELDS = field_names(DestinationState)
_DESTINATION_FIELDS = (
    *("account_id", "platform", "position", "created_at"),
    *("failed_at", "failure_group", "post_created_at", "is_mirrored"),
    *_STATE_FIELDS,
)


async def _group_by_post(rows: AsyncIterator[DecodedRow]) -> AsyncIterator[list[DecodedRow]]:
    group: list[DecodedRow] = []
    async for row in rows:
        if group and (group[0].workspace_id, group[0].id) != (row.workspace_id, row.id):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _post_problems(rows: list[DecodedRow]) -> Iterator[str]:
    post = rows[0]
    name = f"Workspace {post.workspace_id}: post {post.id}"
    destinations = [row for row in rows if row.destination_id is not None]
    if post.kind is WorkspaceKind.LOCAL:
        yield from _position_problems(name, [row.position for row in destinations])

    states = [DestinationState(**values_of(row, _STATE_FIELDS)) for row in destinations]
    for row, state in zip(destinations, states, strict=True):
        yield from _derived_value_problems(row, state)
    status = post_status(
        is_draft=post.is_draft, submitted_now=post.submitted_now, destinations=states
    )
    if post.post_status != status:
        yield f"{name} has status {post.post_status}; its destinations make it {status}."
    published_at = post_published_at(states)
    if post.post_published_at != published_at:
        yield (
            f"{name} has published_at {_format_value(post.post_published_at)};"
            f" its destinations make it {_format_value(published_at)}."
        )


def _position_problems(name: str, positions: list[int]) -> Iterator[str]:
    if positions != list(range(len(positions))):
        yield (
            f"{name} has its destinations at the positions {', '.join(map(str, positions))};"
            f" they must be 0 to {len(positions) - 1}, each once."
        )


def _derived_value_problems(row: DecodedRow, state: DestinationState) -> Iterator[str]:
    """Check stored values that follow from other columns."""
    label = _destination_label(row)
    day = due_day(state.due_at) if state.settled_at and state.due_at else None
    late = lateness_ms(state.due_at, state.published_at)
    columns = state_columns(row.platform, state)
    was_added_later = row.created_at != row.post_created
    for name, expected, source in (
        ("due_day", day, "due_at makes"),
        ("lateness_ms", late, "due_at and published_at make"),
        ("failed_at", columns["failed_at"], "status and settled_at make"),
        ("failure_group", columns["failure_group"], "platform and error make"),
        ("post_created_at", row.post_created if was_added_later else None, "post makes"),
        ("is_mirrored", row.kind is WorkspaceKind.MIRROR, "workspace makes"),
    ):
        if (stored := getattr(row, name)) != expected:
            yield f"{label} has {name} {_format_value(stored)}; its {source} it {_format_value(expected)}."
    if row.deleted_at is not None and state.claimable_at is not None:
        yield f"{label} is claimable, although its post is deleted."
    if row.kind is WorkspaceKind.LOCAL and row.account_platform not in (None, row.platform):
        yield (
            f"{label} has platform {to_printable(row.platform)};"
            f" its account {row.account_id} has {to_printable(row.account_platform)}."
        )


def _destination_label(row: DecodedRow) -> str:
    return f"Workspace {row.workspace_id}: destination {row.destination_id}"


def _format_value(value: object) -> str:
    if value is None:
        return "none"
    return format_instant(value) if isinstance(value, datetime) else to_printable(value)


async def _stale_search_texts(connection: AsyncConnection) -> AsyncGenerator[str]:
    statement = select(
        Post.workspace_id, Post.id, Post.content, Post.platform_content, Post.search_text
    )
    async for row in stream_rows(connection, statement):
        if row.search_text != search_text(row.content, row.platform_content):
            yield (
                f"Workspace {row.workspace_id}: post {row.id} has a search_text that does not match"
                " its content."
            )


async def _inconsistent_attempts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Check each destination against its log: the number of attempts, and the outcome of the last one.

    Posts of mirrors and imported posts may count attempts that were not logged. So their last logged
    attempt need not be the last one.
    """
    numbered = and_(*_destination_join(Attempt), Attempt.number.is_not(None))
    other = aliased(Attempt)
    newest_fence = (
        select(func.max(other.fence))
        .where(*_destination_join(other), other.number.is_not(None))
        .correlate(Destination)
        .scalar_subquery()
    )
    logged = (
        select(func.count())
        .select_from(other)
        .where(*_destination_join(other), other.number.is_not(None))
    )
    statement = (
        select(
            Workspace.kind,
            Post.imported_at,
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
        .join(Post, POST_JOIN)
        .join(Attempt, and_(numbered, Attempt.fence == newest_fence), isouter=True)
    )
    async for row in stream_rows(connection, statement):
        is_external = row.kind is WorkspaceKind.MIRROR or row.imported_at is not None
        if row.logged > row.attempts or (row.logged < row.attempts and not is_external):
            yield (
                f"{_destination_label(row)} counts {row.attempts} attempts, but {row.logged} are logged."
            )
        elif not is_external and row.last_id is not None and _contradicts_last_attempt(row):
            yield (
                f"{_destination_label(row)} has outcome {row.outcome} and started_at"
                f" {_format_value(row.started_at)}, which cannot follow from its last attempt"
                f" {row.last_id}, of outcome {row.last_outcome}."
            )


def _destination_join(
    model: type[Attempt | PublishEvidence] | AliasedClass[Attempt],
) -> tuple[ColumnElement[bool], ...]:
    return (
        model.workspace_id == Destination.workspace_id,
        model.destination_id == Destination.id,
    )


def _contradicts_last_attempt(row: DecodedRow) -> bool:
    """Return whether no sequence of transitions leads from the last attempt to the destination's state.

    A destination may be published after any attempt, by a late report of an older one. After a failed or
    unknown attempt it may wait, be claimed, fail, or be cancelled. A published destination stays
    published. An unknown outcome is that of the last attempt. The destination has started_at exactly
    while the last attempt runs.
    """
    if row.outcome is Outcome.PUBLISHED:
        return False
    is_running = row.last_outcome is Outcome.NONE
    return (
        row.last_outcome is Outcome.PUBLISHED
        or is_running != (row.started_at is not None)
        or (row.outcome is Outcome.UNKNOWN and row.last_outcome is not Outcome.UNKNOWN)
    )


async def _attempts_finished_before_start(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Check local workspaces only, because the clock of a mirrored service may be wrong."""
    statement = (
        select(Attempt.workspace_id, Attempt.id, Attempt.started_at, Attempt.finished_at)
        .select_from(Attempt)
        .join(Workspace, Workspace.id == Attempt.workspace_id)
        .where(Workspace.kind == WorkspaceKind.LOCAL, Attempt.finished_at < Attempt.started_at)
    )
    async for row in stream_rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: attempt {row.id} finished at {_format_value(row.finished_at)},"
            f" before it started at {_format_value(row.started_at)}."
        )


async def _misattributed_attempts(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Check that attempts have the account and platform of their destination, by which they are counted."""
    differs = or_(
        Attempt.account_id.is_distinct_from(Destination.account_id),
        Attempt.platform.is_distinct_from(Destination.platform),
    )
    statement = (
        select(
            Attempt.workspace_id,
            Attempt.id,
            Attempt.account_id,
            Attempt.platform,
            Destination.account_id.label("expected_account_id"),
            Destination.platform.label("expected_platform"),
        )
        .select_from(Attempt)
        .join(Destination, and_(*_destination_join(Attempt)))
        .where(differs)
    )
    async for row in stream_rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: attempt {row.id} has account {_format_value(row.account_id)} on"
            f" {_format_value(row.platform)}; its destination has account {row.expected_account_id} on"
            f" {to_printable(row.expected_platform)}."
        )


async def _inconsistent_evidence(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Check that exactly the destinations with counted evidence are published, as that evidence says.

    Also checks `is_duplicated`, and that no evidence belongs to a claim that was never made.
    """
    is_counted = and_(*_destination_join(PublishEvidence), PublishEvidence.counted)
    other = aliased(PublishEvidence)
    statement = (
        select(
            Destination.workspace_id,
            Destination.id.label("destination_id"),
            Destination.status,
            Destination.fence,
            *(getattr(Destination, name) for name in _PUBLICATION_FIELDS),
            PublishEvidence.fence.label("counted_fence"),
            *(
                getattr(PublishEvidence, name).label(f"counted_{name}")
                for name in _PUBLICATION_FIELDS
            ),
            select(func.max(other.fence))
            .where(*_destination_join(other))
            .correlate(Destination)
            .scalar_subquery()
            .label("last_fence"),
            Destination.is_duplicated,
            exists(other.fence)
            .where(*_destination_join(other), not_(other.counted))
            .correlate(Destination)
            .label("has_duplicate"),
        )
        .select_from(Destination)
        .join(Workspace, Workspace.id == Destination.workspace_id)
        .join(Post, POST_JOIN)
        .join(PublishEvidence, is_counted, isouter=True)
        .where(Workspace.kind == WorkspaceKind.LOCAL, Post.imported_at.is_(None))
    )
    async for row in stream_rows(connection, statement):
        for problem in _evidence_problems(row):
            yield f"{_destination_label(row)} {problem}"


_PUBLICATION_FIELDS = field_names(Publication)


def _evidence_problems(row: DecodedRow) -> Iterator[str]:
    is_published = row.status is DestinationStatus.PUBLISHED
    if row.counted_fence is None:
        if is_published or row.last_fence is not None:
            yield "has no counted evidence of its publication."
        return
    if not is_published:
        yield f"is {row.status.value}, though there is evidence of its publication."
    elif any(getattr(row, name) != getattr(row, f"counted_{name}") for name in _PUBLICATION_FIELDS):
        yield "differs in place or time of publication from the counted evidence."
    if row.is_duplicated != row.has_duplicate:
        yield f"has is_duplicated {row.is_duplicated}; its evidence makes it {row.has_duplicate}."
    if row.last_fence > row.fence:
        yield (
            f"has had {row.fence} claims, but there is evidence of a publication by claim"
            f" {row.last_fence}."
        )


async def _event_gaps(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Check that the stored events end at the workspace's counter, without a gap."""
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
    async for row in stream_rows(connection, statement):
        yield (
            f"Workspace {row.id}: its events run from {row.first} to {row.last} and {row.missing}"
            f" of them are missing; they must run to {row.event_seq} without a gap."
        )


async def _events_with_unknown_key(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Check the keys of events, which may belong to another workspace, so that no foreign key can."""
    statement = select(Event.workspace_id, Event.seq, Event.actor_key_id).where(
        Event.actor_key_id.is_not(None), Event.actor_key_id.not_in(select(ApiKey.id))
    )
    async for row in stream_rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: event {row.seq} was caused by the API key"
            f" {row.actor_key_id}, which does not exist."
        )


async def _accounts_beyond_counter(connection: AsyncConnection) -> AsyncGenerator[str]:
    statement = (
        select(Account.workspace_id, Account.id, Workspace.next_account_id)
        .select_from(Account)
        .join(Workspace, Workspace.id == Account.workspace_id)
        .where(Account.id >= Workspace.next_account_id)
    )
    async for row in stream_rows(connection, statement):
        yield (
            f"Workspace {row.workspace_id}: account {row.id} is not below next_account_id,"
            f" which is {row.next_account_id}."
        )


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "posts and destinations": _inconsistent_posts,
        "search texts": _stale_search_texts,
        "attempt logs": _inconsistent_attempts,
        "accounts of attempts": _misattributed_attempts,
        "attempt times": _attempts_finished_before_start,
        "publish evidence": _inconsistent_evidence,
        "event sequence numbers": _event_gaps,
        "actors of events": _events_with_unknown_key,
        "account ids": _accounts_beyond_counter,
    }
)
"""Rules by subject, as in "the check of search texts"."""
