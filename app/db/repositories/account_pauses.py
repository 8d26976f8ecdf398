"""Pauses of accounts by rate limits, and the posts that wait for their end."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Insert, and_, bindparam, delete, exists, func, or_, select

from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AnyRow, Statement
from app.db.core.write_session import WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import AccountPause, Destination
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.ids import AccountId, PostId, WorkspaceId


async def extend_pause(
    session: WriteSession, workspace_id: WorkspaceId, account_id: AccountId, until: datetime
) -> None:
    """Pause an account until a time, unless it is paused for longer."""
    await session.rows(
        _extend_statement(is_sqlite=session.is_sqlite),
        workspace_id=workspace_id,
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
        Destination.settled_at.is_(None),
        Destination.status == DestinationStatus.PUBLISHING,
    )
)


async def paused_accounts_with_claimable(
    reader: AllWorkspacesReader, now: datetime
) -> Sequence[AnyRow]:
    """Return the pauses of all workspaces during which destinations may be claimed now.

    Each paused account costs one lookup in ix_destination_account_unsettled, and one in
    ix_destination_verifiable, however many destinations it has.
    """
    return await reader.rows(_WITH_CLAIMABLE, now=now)


_IS_DUE = and_(
    Destination.settled_at.is_(None),
    Destination.status == DestinationStatus.QUEUED,
    Destination.claimable_at <= bindparam("now"),
)
_IS_VERIFIABLE = and_(
    Destination.outcome == Outcome.UNKNOWN, Destination.verifiable_at <= bindparam("now")
)
_OF_PAUSED_ACCOUNT = and_(
    Destination.workspace_id == AccountPause.workspace_id,
    Destination.account_id == AccountPause.account_id,
)
_WITH_CLAIMABLE = Statement(
    select(AccountPause.workspace_id, AccountPause.account_id, AccountPause.paused_until).where(
        AccountPause.paused_until > bindparam("now"),
        or_(
            *(
                exists().where(_OF_PAUSED_ACCOUNT, condition).correlate(AccountPause)
                for condition in (_IS_DUE, _IS_VERIFIABLE)
            )
        ),
    )
)


async def verifiable_post_ids(
    reader: Reader, account_id: AccountId, now: datetime, *, limit: int
) -> list[PostId]:
    """Return posts with an unknown outcome on the account that may be verified, the earliest first."""
    rows = await reader.rows(_VERIFIABLE_POST_IDS, account_id=account_id, now=now, limit=limit)
    return [PostId(row.post_id) for row in rows]


_VERIFIABLE_POST_IDS = Statement(
    select(Destination.post_id)
    .where(Destination.account_id == bindparam("account_id"), _IS_VERIFIABLE)
    .order_by(Destination.verifiable_at)
    .limit(bindparam("limit"))
)


async def has_ended_pauses(reader: AllWorkspacesReader, now: datetime) -> bool:
    """Return whether a pause of any workspace is over. Served by ix_account_pause_paused_until."""
    ((has_ended,),) = await reader.rows(_HAS_ENDED, now=now)
    return bool(has_ended)


_IS_OVER = AccountPause.paused_until <= bindparam("now")
_HAS_ENDED = Statement(select(exists().where(_IS_OVER)))


async def delete_ended_pauses(session: WriteSession, now: datetime) -> None:
    """Delete the pauses of all workspaces that are over."""
    await session.rows(_DELETE_ENDED, now=now)


_DELETE_ENDED = delete(AccountPause).where(_IS_OVER)
