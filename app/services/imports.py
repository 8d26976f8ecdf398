"""Importing what another service answered into a workspace, batch by batch. Reads no files."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from app.db.account_writes import load_accounts
from app.db.engine import Database, Reader
from app.db.post_writes import load_posts, posts_of_destinations
from app.db.workspaces import NamedWorkspace, lock_workspace, reserve_account_ids
from app.domain.errors import InvalidInput
from app.domain.imports.bringing_in import Effect, Known, bring_in
from app.domain.imports.merging import destination_id
from app.domain.imports.records import PostRecord, Refusal
from app.domain.times import cut_to_milliseconds
from app.domain.workspaces import WorkspaceKind
from app.services.writing import Errand, Writing, write

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
    errand = Errand(workspace_id=into.id, actor=None, operation="import", now=now)
    for batch in _batches(records):
        for effect in await write(database, errand, partial(_import_batch, into, batch)):
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
        reader = database.read(into.id)
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
    into: NamedWorkspace, batch: Sequence[PostRecord | Refusal], writing: Writing
) -> list[Effect | Refusal]:
    about = _About(batch)
    await writing.lock_posts(about.posts)
    await writing.lock_accounts(about.accounts)
    # Other imports wait here, so that two never bring in the same new post or account. The workspace
    # comes last, because every writer locks in this order.
    await lock_workspace(writing.session, into.id)
    accounts, posts = await writing.accounts(about.accounts), await writing.posts(about.posts)
    known = Known(
        kind=into.kind,
        accounts=dict(accounts),
        posts=dict(posts),
        owners=await posts_of_destinations(writing.reader, about.destinations),
    )
    effects = [_effect(record, known, writing.errand.now) for record in batch]
    if new := known.accounts.keys() - accounts:
        await reserve_account_ids(writing.session, into.id, up_to=max(new))
    await writing.save_accounts(known.accounts.values())
    await writing.save_posts(known.posts.values())
    return effects


class _About:
    """The ids of everything that some records are about."""

    def __init__(self, batch: Sequence[PostRecord | Refusal]) -> None:
        records = [each for each in batch if isinstance(each, PostRecord)]
        told = [(record.id, each) for record in records for each in record.destinations]
        self.posts = {record.id for record in records}
        self.accounts = {each.account_id for _, each in told}
        self.destinations = {destination_id(post_id, each) for post_id, each in told}


async def _known(
    reader: Reader, kind: WorkspaceKind, batch: Sequence[PostRecord | Refusal]
) -> Known:
    about = _About(batch)
    return Known(
        kind=kind,
        accounts=await load_accounts(reader, about.accounts),
        posts=await load_posts(reader, about.posts),
        owners=await posts_of_destinations(reader, about.destinations),
    )


def _effect(record: PostRecord | Refusal, known: Known, now: datetime) -> Effect | Refusal:
    if isinstance(record, Refusal):
        return record
    try:
        return bring_in(record, known, now=cut_to_milliseconds(now))
    except InvalidInput as error:
        return Refusal(f"post {record.id}", error.message)
