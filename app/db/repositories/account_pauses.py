"""Pauses of accounts by rate limits."""

from datetime import datetime
from functools import cache

from sqlalchemy import Insert, bindparam, delete, exists, func, select

from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, Statement
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import AccountPause, Destination
from app.db.repositories.destination_filters import AWAITS_OUTCOME
from app.domain.destinations import DestinationStatus
from app.domain.ids import AccountId


async def extend_pause(session: WriteSession, account_id: AccountId, until: datetime) -> None:
    """Pause an account until a time, unless it is paused for longer."""
    await session.rows(
        _extend_statement(is_sqlite=session.is_sqlite),
        account_id=account_id,
        paused_until=until,
    )


@cache
def _extend_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(AccountPause, is_sqlite=is_sqlite)
    until = insert.excluded["paused_until"]
    return insert.on_conflict_do_update(
        index_elements=["workspace_id", "account_id"],
        set_={"paused_until": until},
        where=AccountPause.paused_until < until,
    )


async def count_in_flight(reader: Reader, account_id: AccountId) -> int:
    """Count the destinations of an account that a publisher holds now.

    Served by ix_destination_account_unsettled.
    """
    return await reader.count(_IN_FLIGHT, account_id=account_id)


_IN_FLIGHT = Statement(
    select(func.count())
    .select_from(Destination)
    .where(
        Destination.account_id == bindparam("account_id"),
        Destination.status == DestinationStatus.PUBLISHING,
        AWAITS_OUTCOME,
    )
)


async def delete_pause(session: WriteSession, account_id: AccountId) -> None:
    """End the pause of an account, if it is paused."""
    await session.rows(_DELETE, account=account_id)


_DELETE = delete(AccountPause).where(AccountPause.account_id == bindparam("account"))


async def has_ended_pauses(reader: AllWorkspacesReader, before: datetime) -> bool:
    """Return whether a pause of any workspace ended before a time.

    Served by ix_account_pause_paused_until.
    """
    ((has_ended,),) = await reader.rows(_HAS_ENDED, before=before)
    return bool(has_ended)


_IS_OVER = AccountPause.paused_until <= bindparam("before")
_HAS_ENDED = AllWorkspacesStatement(
    select(exists().where(_IS_OVER)), reason="maintenance of all workspaces"
)


async def delete_ended_pauses(session: AllWorkspacesWriteSession, before: datetime) -> None:
    """Delete the pauses of all workspaces that ended before a time."""
    await session.rows(_DELETE_ENDED, before=before)


_DELETE_ENDED = AllWorkspacesStatement(
    delete(AccountPause).where(_IS_OVER), reason="maintenance of all workspaces"
)
