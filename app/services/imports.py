"""Imports records of another server's responses into a workspace, batch by batch."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.db.repositories.posts import load_posts, post_ids_by_destination_id
from app.db.repositories.workspaces import WorkspaceRef, lock_workspace, reserve_account_ids
from app.domain.errors import InvalidInput
from app.domain.importing.merging import (
    ImportResult,
    ImportState,
    destination_id,
    import_record,
)
from app.domain.importing.records import PostRecord, RejectedRecord
from app.domain.operations import IMPORT
from app.domain.times import truncate_to_ms
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

_MAX_BATCH_ROWS = 400
"""Posts and destinations of one transaction; the limit keeps the waits of other writers short."""


async def import_records(
    database: Database,
    workspace: WorkspaceRef,
    records: Iterable[PostRecord | RejectedRecord],
    *,
    now: datetime,
) -> AsyncIterator[ImportResult | RejectedRecord]:
    """Import the records and yield the result of each, in order, once its batch is committed.

    An interrupted import can be repeated: records that it imported are then unchanged. Several imports
    may run concurrently.
    """
    write_context = WriteContext.without_actor(workspace.id, IMPORT, now)
    for batch in _batches(records):
        for result in await run_in_transaction(
            database, write_context, partial(_import_batch, workspace, batch, now)
        ):
            yield result


async def dry_run_import(
    database: Database,
    workspace: WorkspaceRef,
    records: Iterable[PostRecord | RejectedRecord],
    *,
    now: datetime,
) -> AsyncIterator[ImportResult | RejectedRecord]:
    """Yield the result that importing each record would have.

    Nothing is written, so all posts of the records stay in memory.
    """
    state = ImportState(kind=workspace.kind, accounts={}, posts={}, post_ids_by_destination={})
    for batch in _batches(records):
        ids = _ReferencedIds(batch)
        reader = database.reader(workspace.id)
        state.merge(
            ImportState(
                kind=workspace.kind,
                accounts=await load_accounts(reader, ids.account_ids),
                posts=await load_posts(reader, ids.post_ids),
                post_ids_by_destination=await post_ids_by_destination_id(
                    reader, ids.destination_ids
                ),
            )
        )
        for record in batch:
            yield _import_or_reject(record, state, now)


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
    workspace: WorkspaceRef,
    batch: Sequence[PostRecord | RejectedRecord],
    now: datetime,
    uow: UnitOfWork,
) -> list[ImportResult | RejectedRecord]:
    ids = _ReferencedIds(batch)
    await uow.load_posts_for_update(ids.post_ids)
    await uow.lock_accounts(ids.account_ids)
    # Concurrent imports wait here, so that two never insert the same post or account. The workspace is
    # the last, because every writer locks in this order. Posts that another import has inserted are
    # visible only after the wait.
    await lock_workspace(uow.session)
    accounts = await uow.load_accounts(ids.account_ids)
    posts = await uow.load_posts(ids.post_ids)
    state = ImportState(
        kind=workspace.kind,
        accounts=dict(accounts),
        posts=dict(posts),
        post_ids_by_destination=await post_ids_by_destination_id(uow.reader, ids.destination_ids),
    )
    results = [_import_or_reject(record, state, now) for record in batch]
    if new_account_ids := state.accounts.keys() - accounts:
        await reserve_account_ids(uow.session, highest_id=max(new_account_ids))
    await uow.save_accounts(state.accounts.values())
    await uow.save_posts(state.posts.values())
    return results


class _ReferencedIds:
    """Ids of the posts, accounts and destinations that a batch of records refers to."""

    def __init__(self, batch: Sequence[PostRecord | RejectedRecord]) -> None:
        records = [record for record in batch if isinstance(record, PostRecord)]
        destinations = [
            (record.id, destination) for record in records for destination in record.destinations
        ]
        self.post_ids = {record.id for record in records}
        self.account_ids = {destination.account_id for _, destination in destinations}
        self.destination_ids = {
            destination_id(post_id, destination) for post_id, destination in destinations
        }


def _import_or_reject(
    record: PostRecord | RejectedRecord, state: ImportState, now: datetime
) -> ImportResult | RejectedRecord:
    if isinstance(record, RejectedRecord):
        return record
    try:
        return import_record(record, state, now=truncate_to_ms(now))
    except InvalidInput as error:
        return RejectedRecord(f"post {record.id}", error.message)
