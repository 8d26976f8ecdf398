"""Background checks of the media of posts: planned with changes of posts, leased, and settled."""

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import (
    Insert,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    null,
    select,
    update,
)

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import AllWorkspacesStatement, Statement
from app.db.core.types import UtcDateTime
from app.db.core.write_session import WriteSession
from app.db.core.writes import expected_values, insert_with_on_conflict, is_unchanged
from app.db.models import Destination, MediaCheck, MediaCheckUsage, Workspace
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId, WorkspaceKind

USAGE_PERIOD = timedelta(hours=1)
"""Time for which the loaded bytes of a workspace are counted."""

HAS_MEDIA_WARNING = and_(Destination.media_warning.is_not(None), Destination.settled_at.is_(None))
"""Condition of destinations without an outcome. Served by ix_destination_media_warning."""


@dataclass(frozen=True, slots=True)
class PendingMediaCheck:
    """Check of one post. `check_at` and `attempts` are an optimistic lock: each change sets them."""

    workspace_id: WorkspaceId
    post_id: PostId
    check_at: datetime
    """Time from which it can be leased; of a leased one, the end of the lease."""
    attempts: int
    """Times that it began, with the leased one."""


async def upsert_media_checks(session: WriteSession, checks: Mapping[PostId, datetime]) -> None:
    """Store the time of the next check of posts, in place of any check that is planned or leased."""
    rows = [{"post_id": post_id, "check_at": checks[post_id]} for post_id in sorted(checks)]
    if rows:
        await session.execute_many(_upsert(is_sqlite=session.is_sqlite), rows)


@cache
def _upsert(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(MediaCheck, is_sqlite=is_sqlite).values(attempts=0)
    return insert.on_conflict_do_update(
        index_elements=("workspace_id", "post_id"),
        set_={"check_at": insert.excluded.check_at, "attempts": 0, "checked_at": null()},
    )


async def delete_media_checks(session: WriteSession, post_ids: Collection[PostId]) -> None:
    """Delete the checks of posts, if they have any."""
    await session.rows(_DELETE, ids=[*post_ids])


_DELETE = delete(MediaCheck).where(any_of(MediaCheck.post_id, "ids"))


async def clear_media_warnings(session: WriteSession, post_ids: Collection[PostId]) -> None:
    """Clear the warnings of all destinations of posts that were locked before.

    Served by the unique key of post and account.
    """
    await session.rows(_CLEAR, ids=[*post_ids])


_NO_WARNING = {"media_warning": None, "media_warning_code": None}
_CLEAR = (
    update(Destination)
    .where(any_of(Destination.post_id, "ids"), Destination.media_warning.is_not(None))
    .values(_NO_WARNING)
)


async def clear_media_warnings_on_account(session: WriteSession, account_id: AccountId) -> None:
    """Clear the warnings of all destinations on an account. Served by ix_destination_media_warning."""
    await session.rows(_CLEAR_ON_ACCOUNT, account=account_id)


_CLEAR_ON_ACCOUNT = (
    update(Destination)
    .where(Destination.media_warning.is_not(None), Destination.account_id == bindparam("account"))
    .values(_NO_WARNING)
)


async def workspaces_with_due_media_checks(
    reader: AllWorkspacesReader,
    now: datetime,
    *,
    max_bytes: int,
    excluded: Collection[WorkspaceId],
    rotation_start: WorkspaceId,
    limit: int,
) -> list[WorkspaceId]:
    """Return workspaces with due checks, from `rotation_start` so that none is always last.

    Leaves out those that have loaded `max_bytes` in the last hour. Costs one lookup in ix_media_check_due for
    each workspace, however many checks are due in it.
    """
    found: list[WorkspaceId] = []
    for comparison in (operator.ge, operator.lt):
        if remaining := limit - len(found):
            rows = await reader.rows(
                _select_workspaces(comparison),
                bound=rotation_start,
                now=now,
                usage_after=now - USAGE_PERIOD,
                max_bytes=max_bytes,
                excluded=[*excluded],
                limit=remaining,
            )
            found += [WorkspaceId(row.id) for row in rows]
    return found


_Comparison: TypeAlias = Callable[[Any, Any], Any]
"""Function of the module `operator`."""


@cached_statement()
def _select_workspaces(comparison: _Comparison) -> AllWorkspacesStatement:
    """Select workspaces by the comparison of their id with `bound`."""
    earliest = (
        select(func.min(MediaCheck.check_at))
        .where(MediaCheck.workspace_id == Workspace.id, MediaCheck.check_at.is_not(None))
        .correlate(Workspace)
        .scalar_subquery()
    )
    has_loaded_too_much = exists().where(
        MediaCheckUsage.workspace_id == Workspace.id,
        MediaCheckUsage.started_at > bindparam("usage_after"),
        MediaCheckUsage.byte_count >= bindparam("max_bytes"),
    )
    return AllWorkspacesStatement(
        select(Workspace.id)
        .where(
            comparison(Workspace.id, bindparam("bound")),
            Workspace.kind == WorkspaceKind.LOCAL,
            earliest <= bindparam("now", type_=UtcDateTime()),
            ~has_loaded_too_much,
            ~any_of(Workspace.id, "excluded"),
        )
        .order_by(Workspace.id)
        .limit(bindparam("limit")),
        reason="a worker serves all workspaces",
    )


async def due_media_checks(
    reader: Reader, workspace_id: WorkspaceId, now: datetime, *, limit: int
) -> list[PendingMediaCheck]:
    """Return the longest due checks of a workspace. Served by ix_media_check_due."""
    rows = await reader.rows(_DUE, now=now, limit=limit)
    return [
        PendingMediaCheck(workspace_id, PostId(row.post_id), row.check_at, row.attempts)
        for row in rows
    ]


_DUE = Statement(
    select(MediaCheck.post_id, MediaCheck.check_at, MediaCheck.attempts)
    .where(MediaCheck.check_at <= bindparam("now"))
    .order_by(MediaCheck.check_at, MediaCheck.post_id)
    .limit(bindparam("limit"))
)


async def lease_media_check(
    session: WriteSession, due: PendingMediaCheck, expires_at: datetime
) -> PendingMediaCheck | None:
    """Lease a check; None if another worker has leased it, or the post has changed."""
    leased = replace(due, check_at=expires_at, attempts=due.attempts + 1)
    changed = {"new_check_at": leased.check_at, "new_attempts": leased.attempts}
    row = await session.first(_LEASE, **expected_values(due, _LOCK), **changed)
    return None if row is None else leased


_LOCK = ("post_id", "check_at", "attempts")
_IS_UNCHANGED = is_unchanged(MediaCheck, _LOCK)
_LEASE = (
    update(MediaCheck)
    .where(_IS_UNCHANGED)
    .values(
        check_at=bindparam("new_check_at", type_=UtcDateTime()), attempts=bindparam("new_attempts")
    )
    .returning(MediaCheck.post_id)
)


async def settle_media_check(
    session: WriteSession,
    leased: PendingMediaCheck,
    *,
    checked_at: datetime,
    check_at: datetime | None,
    attempts: int,
) -> bool:
    """Store the end of a leased check, and the next one; False if the lease is lost."""
    row = await session.first(
        _SETTLE,
        **expected_values(leased, _LOCK),
        new_checked_at=checked_at,
        new_check_at=check_at,
        new_attempts=attempts,
    )
    return row is not None


_SETTLE = (
    update(MediaCheck)
    .where(_IS_UNCHANGED)
    .values(
        check_at=bindparam("new_check_at", type_=UtcDateTime()),
        attempts=bindparam("new_attempts"),
        checked_at=bindparam("new_checked_at", type_=UtcDateTime()),
    )
    .returning(MediaCheck.post_id)
)


@dataclass(frozen=True, slots=True)
class MediaWarning:
    """Reason why a post will probably fail on a platform."""

    code: str
    """Error code that the destination would have."""
    message: str


async def store_media_warnings(
    session: WriteSession, warnings: Mapping[DestinationId, MediaWarning | None]
) -> None:
    """Store the warnings of destinations, or that there is none; their post was locked before.

    Changes neither `updated_at` nor the post.
    """
    rows = [
        {
            "destination": destination_id,
            "media_warning": None if warning is None else warning.message,
            "media_warning_code": None if warning is None else warning.code,
        }
        for destination_id, warning in sorted(warnings.items())
    ]
    if rows:
        await session.execute_many(_STORE_WARNING, rows)


_STORE_WARNING = (
    update(Destination).where(Destination.id == bindparam("destination")).returning(Destination.id)
)


async def add_media_bytes(session: WriteSession, byte_count: int, now: datetime) -> None:
    """Count bytes that a check has loaded; a new hour begins with the first bytes after the last one."""
    if byte_count:
        row = {
            "started_at": now,
            "byte_count": byte_count,
            "usage_after": now - USAGE_PERIOD,
        }
        await session.execute_many(_add_bytes(is_sqlite=session.is_sqlite), [row])


@cache
def _add_bytes(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(MediaCheckUsage, is_sqlite=is_sqlite)
    is_same_hour = MediaCheckUsage.started_at > bindparam("usage_after", type_=UtcDateTime())
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=("workspace_id",),
        set_={
            "started_at": case((is_same_hour, MediaCheckUsage.started_at), else_=new.started_at),
            "byte_count": case(
                (is_same_hour, MediaCheckUsage.byte_count + new.byte_count), else_=new.byte_count
            ),
        },
    )
