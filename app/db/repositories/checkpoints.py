"""Encrypted checkpoints of destinations: loaded and saved by attempts, and pruned."""

from collections.abc import Collection, Sequence, Set
from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import ColumnElement, Insert, and_, bindparam, delete, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, Statement
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import Destination, DestinationCheckpoint, DuplicateCheck
from app.domain.credentials import EncryptedData
from app.domain.destinations import Outcome
from app.domain.ids import AccountId, DestinationId

_DESTINATION_JOIN = and_(
    Destination.workspace_id == DestinationCheckpoint.workspace_id,
    Destination.id == DestinationCheckpoint.destination_id,
)


async def find_checkpoint(reader: Reader, destination_id: DestinationId) -> EncryptedData | None:
    """Return the checkpoint of a destination; None if it has none."""
    row = await reader.first(_BY_DESTINATION, destination_id=destination_id)
    return None if row is None else EncryptedData(row.key_id, row.ciphertext)


_BY_DESTINATION = Statement(
    select(DestinationCheckpoint.key_id, DestinationCheckpoint.ciphertext).where(
        DestinationCheckpoint.destination_id == bindparam("destination_id")
    )
)


def has_unreadable_checkpoint(
    workspace_id: InstrumentedAttribute[UUID], destination_id: InstrumentedAttribute[UUID]
) -> ColumnElement[bool]:
    """Return the condition that a destination has a checkpoint which none of the keys `key_ids` decrypts.

    Served by the primary key of the checkpoints.
    """
    return exists().where(
        DestinationCheckpoint.workspace_id == workspace_id,
        DestinationCheckpoint.destination_id == destination_id,
        ~any_of(DestinationCheckpoint.key_id, "key_ids"),
    )


async def checkpoint_key_ids(reader: AllWorkspacesReader) -> list[str]:
    """Return the ids of the keys of all checkpoints. Costs one lookup in ix_checkpoint_key_id for each."""
    return [row.key_id for row in await reader.rows(_KEY_IDS)]


_FIRST_KEY_ID = select(func.min(DestinationCheckpoint.key_id).label("key_id")).cte(
    "checkpoint_key", recursive=True
)
_KEY_ID = _FIRST_KEY_ID.union_all(
    select(
        select(func.min(DestinationCheckpoint.key_id))
        .where(DestinationCheckpoint.key_id > _FIRST_KEY_ID.c.key_id)
        .correlate(_FIRST_KEY_ID)
        .scalar_subquery()
    ).where(_FIRST_KEY_ID.c.key_id.is_not(None))
)
_KEY_IDS = AllWorkspacesStatement(
    select(_KEY_ID.c.key_id).where(_KEY_ID.c.key_id.is_not(None)),
    reason="keys belong to the installation",
)


async def count_waiting_with_keys(
    reader: AllWorkspacesReader, key_ids: Collection[str], before: datetime
) -> int:
    """Count destinations to claim or verify whose checkpoint has one of the keys since a time."""
    return await reader.count(_WAITING_COUNT, key_ids=[*key_ids], before=before)


async def accounts_waiting_with_keys(
    reader: Reader, ids: Sequence[AccountId], key_ids: Collection[str], before: datetime
) -> Set[AccountId]:
    """Return those of the accounts that have such destinations."""
    rows = await reader.rows(_WAITING_ACCOUNTS, ids=[*ids], key_ids=[*key_ids], before=before)
    return {AccountId(row.account_id) for row in rows}


# Served by ix_checkpoint_key_id, and the primary key of destinations.
_WAITS_WITH_KEY = and_(
    any_of(DestinationCheckpoint.key_id, "key_ids"),
    DestinationCheckpoint.updated_at <= bindparam("before"),
    or_(Destination.claimable_at.is_not(None), Destination.verifiable_at.is_not(None)),
)
_WAITING_COUNT = AllWorkspacesStatement(
    select(func.count())
    .select_from(DestinationCheckpoint)
    .join(Destination, _DESTINATION_JOIN)
    .where(_WAITS_WITH_KEY),
    reason="metrics of the installation",
)
_WAITING_ACCOUNTS = Statement(
    select(Destination.account_id)
    .select_from(DestinationCheckpoint)
    .join(Destination, _DESTINATION_JOIN)
    .where(_WAITS_WITH_KEY, any_of(Destination.account_id, "ids"))
    .distinct()
)


async def save_checkpoint(
    session: WriteSession,
    destination_id: DestinationId,
    data: EncryptedData,
    now: datetime,
) -> None:
    """Store the checkpoint of a destination, replacing an earlier one."""
    await session.rows(
        _save_statement(is_sqlite=session.is_sqlite),
        destination_id=destination_id,
        key_id=data.key_id,
        ciphertext=data.ciphertext,
        updated_at=now,
    )


@cache
def _save_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(DestinationCheckpoint, is_sqlite=is_sqlite)
    return insert.on_conflict_do_update(
        index_elements=["workspace_id", "destination_id"],
        set_={name: insert.excluded[name] for name in ("key_id", "ciphertext", "updated_at")},
    )


async def delete_checkpoints(
    session: WriteSession, destination_ids: Collection[DestinationId]
) -> None:
    """Delete the checkpoints of destinations that are published once more from the beginning."""
    await session.rows(_DELETE, destination_ids=[*destination_ids])


_DELETE = delete(DestinationCheckpoint).where(
    any_of(DestinationCheckpoint.destination_id, "destination_ids")
)


async def has_old_checkpoints(
    reader: AllWorkspacesReader, before: datetime, *, published_before: datetime
) -> bool:
    """Return whether `delete_old_checkpoints` would delete any. Served by ix_checkpoint_updated_at."""
    ((has_old,),) = await reader.rows(_HAS_OLD, before=before, published_before=published_before)
    return bool(has_old)


async def delete_old_checkpoints(
    session: AllWorkspacesWriteSession, before: datetime, *, published_before: datetime
) -> None:
    """Delete checkpoints of all workspaces that were saved before a time.

    Also deletes those of destinations that were published before a later time, `published_before`. Those of
    unknown outcomes and of planned checks for duplicates stay.
    """
    await session.rows(_DELETE_OLD, before=before, published_before=published_before)


_IS_OLD = and_(
    # That of a published destination was saved before; this lets the index serve both.
    DestinationCheckpoint.updated_at < bindparam("published_before"),
    exists()
    .where(
        _DESTINATION_JOIN,
        Destination.outcome != Outcome.UNKNOWN,
        or_(
            DestinationCheckpoint.updated_at < bindparam("before"),
            and_(
                Destination.outcome == Outcome.PUBLISHED,
                Destination.settled_at < bindparam("published_before"),
            ),
        ),
    )
    .correlate(DestinationCheckpoint),
    ~exists().where(
        DuplicateCheck.workspace_id == DestinationCheckpoint.workspace_id,
        DuplicateCheck.destination_id == DestinationCheckpoint.destination_id,
    ),
)
_HAS_OLD = AllWorkspacesStatement(
    select(exists().where(_IS_OLD)), reason="maintenance of all workspaces"
)
_DELETE_OLD = AllWorkspacesStatement(
    delete(DestinationCheckpoint).where(_IS_OLD), reason="maintenance of all workspaces"
)
