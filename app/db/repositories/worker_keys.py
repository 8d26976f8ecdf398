"""Keys that running workers have, and credentials that none of them can decrypt."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache

from sqlalchemy import and_, bindparam, exists, func, select

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import AllWorkspacesStatement
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import AccountCredentials, WorkerKey


async def record_worker_keys(
    session: AllWorkspacesWriteSession, key_ids: Collection[str], now: datetime
) -> None:
    """Store that a worker runs with these keys."""
    for key_id in sorted(key_ids):  # the same order in each worker, so that none waits for another
        await session.rows(
            _record_statement(is_sqlite=session.is_sqlite), key_id=key_id, seen_at=now
        )


@cache
def _record_statement(*, is_sqlite: bool) -> AllWorkspacesStatement:
    insert = insert_with_on_conflict(WorkerKey, is_sqlite=is_sqlite)
    upsert = insert.on_conflict_do_update(
        index_elements=["key_id"], set_={"seen_at": insert.excluded["seen_at"]}
    )
    return AllWorkspacesStatement(upsert, reason="keys belong to the installation")


async def worker_key_times(reader: AllWorkspacesReader) -> Mapping[str, datetime]:
    """Return the time at which a worker last reported to have a key, by id of the key."""
    return {row.key_id: row.seen_at for row in await reader.rows(_TIMES)}


_TIMES = AllWorkspacesStatement(
    select(WorkerKey.key_id, WorkerKey.seen_at), reason="keys belong to the installation"
)


async def count_accounts_without_worker(reader: AllWorkspacesReader, before: datetime) -> int:
    """Count the accounts whose credentials were set before a time, and whose key no worker had since.

    With a time KEY_GRACE ago, this is the rule of `is_unreadable_by_workers` in SQL.
    """
    return await reader.count(_WITHOUT_WORKER, before=before)


_WITHOUT_WORKER = AllWorkspacesStatement(
    select(func.count())
    .select_from(AccountCredentials)
    .where(
        AccountCredentials.set_at <= bindparam("before"),
        ~exists().where(
            and_(
                WorkerKey.key_id == AccountCredentials.key_id,
                WorkerKey.seen_at > bindparam("before"),
            )
        ),
    ),
    reason="metrics of the installation",
)
