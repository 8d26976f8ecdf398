"""Failures of servers, and what shows their cause: accounts, other servers, and live workers."""

from datetime import datetime
from functools import cache

from sqlalchemy import and_, bindparam, delete, distinct, func, select, union

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import AllWorkspacesStatement
from app.db.core.types import UtcDateTime
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import AccountBreaker, LiveWorker
from app.db.repositories.circuit_breakers import ON_SERVER, server_parameters
from app.db.repositories.outages import SERVER_IS_OPEN
from app.domain.circuit_breakers import FailingAccount, ServerKey
from app.domain.ids import AccountId, WorkspaceId


async def failing_accounts(
    reader: AllWorkspacesReader, server: ServerKey, since: datetime
) -> list[FailingAccount]:
    """Return the accounts of all workspaces whose last call of a server failed since a time.

    Served by ix_account_breaker_origin.
    """
    rows = await reader.rows(_FAILING, **server_parameters(server), since=since)
    return [
        FailingAccount(
            WorkspaceId(row.workspace_id),
            AccountId(row.account_id),
            row.failure,
            row.failures,
            row.failing_since,
            row.worker,
            row.is_of_several_workers,
        )
        for row in rows
    ]


_SINCE = bindparam("since", type_=UtcDateTime())
_FAILING = AllWorkspacesStatement(
    select(
        AccountBreaker.workspace_id,
        AccountBreaker.account_id,
        AccountBreaker.failure,
        AccountBreaker.failures,
        AccountBreaker.failing_since,
        AccountBreaker.worker,
        AccountBreaker.is_of_several_workers,
    ).where(
        ON_SERVER,
        AccountBreaker.failures > 0,
        AccountBreaker.last_failed_at >= _SINCE,
    ),
    reason="servers belong to no workspace",
)


async def count_workspaces_on_server(reader: AllWorkspacesReader, server: ServerKey) -> int:
    """Count the workspaces with an account that calls a server, also only to renew its access.

    Served by ix_account_breaker_origin and ix_account_breaker_login_origin.
    """
    return await reader.count(_WORKSPACES, **server_parameters(server))


_LOGS_IN_ON_SERVER = and_(
    AccountBreaker.publisher == bindparam("key_publisher"),
    AccountBreaker.login_origin == bindparam("key_origin"),
)
_ON_SERVER_IN_ANY_WAY = union(
    select(AccountBreaker.workspace_id).where(ON_SERVER),
    select(AccountBreaker.workspace_id).where(_LOGS_IN_ON_SERVER),
).subquery()
_WORKSPACES = AllWorkspacesStatement(
    select(func.count()).select_from(_ON_SERVER_IN_ANY_WAY),
    reason="servers belong to no workspace",
)


async def other_origins(reader: AllWorkspacesReader, origin: str, *, limit: int) -> list[str]:
    """Return some servers besides one, without those whose breaker is open.

    Those of most workspaces first, then the first server of each workspace: one workspace with many servers
    must not be the only one that decides. Reads all accounts on which a worker has published.
    """
    rows = await reader.rows(_OTHER_ORIGINS, origin=origin, limit=limit)
    return [row.origin for row in rows]


_WORKING = (
    select(
        AccountBreaker.workspace_id,
        AccountBreaker.origin,
        func.dense_rank()
        .over(partition_by=AccountBreaker.workspace_id, order_by=AccountBreaker.origin)
        .label("number"),
    )
    .where(
        AccountBreaker.origin.is_not(None),
        AccountBreaker.origin != bindparam("origin"),
        AccountBreaker.failures == 0,
        ~SERVER_IS_OPEN,
    )
    .subquery()
)
_OTHER_ORIGINS = AllWorkspacesStatement(
    select(_WORKING.c.origin)
    .group_by(_WORKING.c.origin)
    .order_by(
        func.count(distinct(_WORKING.c.workspace_id)).desc(),
        func.min(_WORKING.c.number),
        _WORKING.c.origin,
    )
    .limit(bindparam("limit")),
    reason="servers belong to no workspace",
)


async def record_live_worker(
    session: AllWorkspacesWriteSession, name: str, now: datetime, *, stopped_before: datetime
) -> None:
    """Store that a worker runs, and delete those that have not reported since a time."""
    await session.rows(_DELETE_STOPPED, before=stopped_before)
    await session.rows(_record_statement(is_sqlite=session.is_sqlite), name=name, seen_at=now)


_DELETE_STOPPED = AllWorkspacesStatement(
    delete(LiveWorker).where(LiveWorker.seen_at < bindparam("before", type_=UtcDateTime())),
    reason="workers belong to the installation",
)


@cache
def _record_statement(*, is_sqlite: bool) -> AllWorkspacesStatement:
    insert = insert_with_on_conflict(LiveWorker, is_sqlite=is_sqlite)
    upsert = insert.on_conflict_do_update(
        index_elements=["name"], set_={"seen_at": insert.excluded["seen_at"]}
    )
    return AllWorkspacesStatement(upsert, reason="workers belong to the installation")


async def count_live_workers(reader: AllWorkspacesReader, since: datetime) -> int:
    """Count the workers that have reported since a time."""
    return await reader.count(_LIVE_WORKERS, since=since)


_LIVE_WORKERS = AllWorkspacesStatement(
    select(func.count()).select_from(LiveWorker).where(LiveWorker.seen_at >= _SINCE),
    reason="workers belong to the installation",
)
