"""Importing what another service answered into a workspace, batch by batch. Reads no files."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from app.db.core.database import Database, Reader
from app.db.repositories.accounts import load_accounts
from app.db.repositories.posts import load_posts, post_ids_by_destination_id
from app.db.repositories.workspaces import WorkspaceRef, lock_workspace, reserve_account_ids
from app.domain.errors import InvalidInput
from app.domain.importing.importer import ImportResult, ImportState, import_record
from app.domain.importing.merging import destination_id
from app.domain.importing.records import PostRecord, RejectedRecord
from app.domain.times import truncate_to_ms
from app.domain.workspaces import WorkspaceKind
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

_MAX_BATCH_ROWS = 400
"""Posts and destinations of one transaction: so few that nobody else waits for long."""


async def import_records(
    database: Database,
    workspace: WorkspaceRef,
    records: Iterable[PostRecord | RejectedRecord],
    *,
    now: datetime,
) -> AsyncIterator[ImportResult | RejectedRecord]:
    """What became of each record, in order, once its batch is committed.

    Broken off, an import can be run again: what it brought in is unchanged then. Several may run at once.
    """
    errand = WriteContext(workspace_id=workspace.id, actor=None, operation="import", now=now)
    for batch in _batches(records):
        for effect in await run_in_transaction(
            database, errand, partial(_import_batch, workspace, batch)
        ):
            yield effect


async def dry_run_import(
    database: Database,
    workspace: WorkspaceRef,
    records: Iterable[PostRecord | RejectedRecord],
    *,
    now: datetime,
) -> AsyncIterator[ImportResult | RejectedRecord]:
    """What would become of each record; nothing is written, so every post stays in memory."""
    known = ImportState(kind=workspace.kind, accounts={}, posts={}, post_ids_by_destination={})
    for batch in _batches(records):
        reader = database.read(workspace.id)
        known.merge(await _load_import_state(reader, workspace.kind, batch))
        for record in batch:
            yield _import_or_reject(record, known, now)


def _batches(
    records: Iterable[PostRecord | RejectedRecord],
) -> Iterator[list[PostRecord | RejectedRecord]]:
    batch: list[PostRecord | RejectedRecord] = []
    rows = 0
    for record in records:
        batch.append(record)
        rows += 1 + (len(record.destinations) if isinstance(record, PostRecord) else 0)
        if rows >= _MAX_BATCH_ROWS:
            yield batch
            batch, rows = [], 0
    yield batch


async def _import_batch(
    workspace: WorkspaceRef, batch: Sequence[PostRecord | RejectedRecord], uow: UnitOfWork
) -> list[ImportResult | RejectedRecord]:
    about = _ReferencedIds(batch)
    await uow.lock_posts(about.post_ids)
    await uow.lock_accounts(about.account_ids)
    # Other imports wait here, so that two never bring in the same new post or account. The workspace
    # comes last, because every writer locks in this order.
    await lock_workspace(uow.session, workspace.id)
    accounts, posts = (
        await uow.load_accounts(about.account_ids),
        await uow.load_posts(about.post_ids),
    )
    known = ImportState(
        kind=workspace.kind,
        accounts=dict(accounts),
        posts=dict(posts),
        post_ids_by_destination=await post_ids_by_destination_id(uow.reader, about.destination_ids),
    )
    effects = [_import_or_reject(record, known, uow.errand.now) for record in batch]
    if new := known.accounts.keys() - accounts:
        await reserve_account_ids(uow.session, workspace.id, highest_id=max(new))
    await uow.save_accounts(known.accounts.values())
    await uow.save_posts(known.posts.values())
    return effects


class _ReferencedIds:
    """The ids of everything that some records are about."""

    def __init__(self, batch: Sequence[PostRecord | RejectedRecord]) -> None:
        records = [each for each in batch if isinstance(each, PostRecord)]
        told = [(record.id, each) for record in records for each in record.destinations]
        self.post_ids = {record.id for record in records}
        self.account_ids = {each.account_id for _, each in told}
        self.destination_ids = {destination_id(post_id, each) for post_id, each in told}


async def _load_import_state(
    reader: Reader, kind: WorkspaceKind, batch: Sequence[PostRecord | RejectedRecord]
) -> ImportState:
    about = _ReferencedIds(batch)
    return ImportState(
        kind=kind,
        accounts=await load_accounts(reader, about.account_ids),
        posts=await load_posts(reader, about.post_ids),
        post_ids_by_destination=await post_ids_by_destination_id(reader, about.destination_ids),
    )


def _import_or_reject(
    record: PostRecord | RejectedRecord, state: ImportState, now: datetime
) -> ImportResult | RejectedRecord:
    if isinstance(record, RejectedRecord):
        return record
    try:
        return import_record(record, state, now=truncate_to_ms(now))
    except InvalidInput as error:
        return RejectedRecord(f"post {record.id}", error.message)
