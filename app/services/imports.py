"""Importing what another service answered into a workspace, batch by batch. Reads no files."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from app.db.engine import Database, Reader, WriteSession
from app.db.imports import (
    lock_posts,
    posts_of_destinations,
    stored_accounts,
    stored_posts,
    write_accounts,
    write_posts,
)
from app.db.workspaces import NamedWorkspace, lock_workspace
from app.domain.errors import InvalidInput
from app.domain.imports.bringing_in import Effect, Known, bring_in
from app.domain.imports.merging import destination_id
from app.domain.imports.records import PostRecord, Refusal
from app.domain.times import cut_to_milliseconds
from app.domain.workspaces import WorkspaceKind

_BATCH_ROWS = 400
"""Posts and destinations of one transaction: so few that nobody else waits for long."""


async def import_records(
    database: Database,
    into: NamedWorkspace,
    records: Iterable[PostRecord | Refusal],
    *,
    now: datetime,
) -> AsyncIterator[Effect | Refusal]:
    """What became of each record, in order, once its batch is committed.

    Broken off, an import can be run again: what it brought in is unchanged then. Several may run at once.
    """
    for batch in _batches(records):
        work = partial(_import_batch, database, into, batch, now)
        for effect in await database.write(work):
            yield effect


async def rehearse_import(
    database: Database,
    into: NamedWorkspace,
    records: Iterable[PostRecord | Refusal],
    *,
    now: datetime,
) -> AsyncIterator[Effect | Refusal]:
    """What would become of each record; nothing is written, so every post stays in memory."""
    known = Known(kind=into.kind, accounts={}, posts={}, owners={})
    for batch in _batches(records):
        async with database.read(into.id) as reader:
            known.learn(await _known(reader, into.kind, batch))
        for record in batch:
            yield _effect(record, known, now)


def _batches(records: Iterable[PostRecord | Refusal]) -> Iterator[list[PostRecord | Refusal]]:
    batch: list[PostRecord | Refusal] = []
    rows = 0
    for record in records:
        batch.append(record)
        rows += 1 + (len(record.destinations) if isinstance(record, PostRecord) else 0)
        if rows >= _BATCH_ROWS:
            yield batch
            batch, rows = [], 0
    yield batch


async def _import_batch(
    database: Database,
    into: NamedWorkspace,
    batch: Sequence[PostRecord | Refusal],
    now: datetime,
    session: WriteSession,
) -> list[Effect | Refusal]:
    reader = await database.reading_within(session, into.id)
    await lock_posts(reader, [each.id for each in batch if isinstance(each, PostRecord)])
    # Other imports wait here, so that two never bring in the same new post or account. The posts come
    # first, because every writer locks in this order.
    await lock_workspace(session, into.id)
    known = await _known(reader, into.kind, batch)
    accounts, posts = dict(known.accounts), dict(known.posts)
    effects = [_effect(record, known, now) for record in batch]
    await write_accounts(
        session,
        into.id,
        new=[each for key, each in known.accounts.items() if key not in accounts],
        named=[each for key, each in known.accounts.items() if accounts.get(key, each) != each],
    )
    await write_posts(
        session,
        into.id,
        [each for key, each in known.posts.items() if posts.get(key) != each],
        before=posts,
    )
    return effects


async def _known(
    reader: Reader, kind: WorkspaceKind, batch: Sequence[PostRecord | Refusal]
) -> Known:
    records = [each for each in batch if isinstance(each, PostRecord)]
    told = [(record.id, each) for record in records for each in record.destinations]
    return Known(
        kind=kind,
        accounts=await stored_accounts(reader, {each.account_id for _, each in told}),
        posts=await stored_posts(reader, {record.id for record in records}),
        owners=await posts_of_destinations(
            reader, {destination_id(post_id, each) for post_id, each in told}
        ),
    )


def _effect(record: PostRecord | Refusal, known: Known, now: datetime) -> Effect | Refusal:
    if isinstance(record, Refusal):
        return record
    try:
        return bring_in(record, known, now=cut_to_milliseconds(now))
    except InvalidInput as error:
        return Refusal(f"post {record.id}", error.message)
