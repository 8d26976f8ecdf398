"""Sessions of the board: looked up by digest in all workspaces, stored, listed and deleted."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, exists, select, update

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import AllWorkspacesStatement, AnyRow
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_rows
from app.db.models import ApiKey, Session
from app.db.repositories.api_keys import SELECT_KEYS
from app.domain.ids import ApiKeyId, SessionId, WorkspaceId
from app.domain.sessions import BoardSession

_SELECT_SESSIONS = SELECT_KEYS.add_columns(
    Session.id.label("session_id"),
    Session.person,
    Session.scopes.label("session_scopes"),
    Session.created_at.label("session_created_at"),
    Session.last_used_at.label("session_last_used_at"),
    Session.expires_at.label("session_expires_at"),
).join(
    Session,
    and_(Session.workspace_id == ApiKey.workspace_id, Session.api_key_id == ApiKey.id),
)
"""Sessions with their key and workspace, as the rows of `api_keys.find_key`."""


async def find_session(reader: AllWorkspacesReader, digest: bytes) -> AnyRow | None:
    """Return a session with its key, even if either has ended, or None. Served by uq_session_digest."""
    return await reader.first(_BY_DIGEST, digest=digest)


_BY_DIGEST = AllWorkspacesStatement(
    _SELECT_SESSIONS.where(Session.digest == bindparam("digest")),
    reason="the workspace of a session is not known before",
)


async def list_sessions(reader: AllWorkspacesReader, now: datetime) -> Sequence[AnyRow]:
    """Return the sessions of all workspaces that have not expired, oldest first, also of revoked keys."""
    return await reader.rows(_NOT_EXPIRED, now=now)


_NOT_EXPIRED = AllWorkspacesStatement(
    _SELECT_SESSIONS.where(Session.expires_at > bindparam("now")).order_by(
        Session.created_at, Session.id
    ),
    reason="the operator lists the sessions of all workspaces",
)


async def insert_session(
    session: WriteSession,
    key_id: ApiKeyId,
    board_session: BoardSession,
    digest: bytes,
) -> None:
    """Store a new session of a key."""
    values = {
        "id": board_session.id,
        "digest": digest,
        "api_key_id": key_id,
        "person": board_session.person,
        "scopes": [scope.value for scope in board_session.scopes],
        "created_at": board_session.created_at,
        "last_used_at": board_session.last_used_at,
        "expires_at": board_session.expires_at,
    }
    await insert_rows(session, Session, [values])


async def update_used_sessions(
    session: AllWorkspacesWriteSession, used: Iterable[tuple[WorkspaceId, BoardSession]]
) -> None:
    """Store the last use of sessions, at least one; a later use that another process has stored stays."""
    await session.execute_many(
        _UPDATE_USED,
        [
            (
                workspace_id,
                {
                    "used_id": each.id,
                    "used_at": each.last_used_at,
                    "used_until": each.expires_at,
                },
            )
            for workspace_id, each in sorted(used, key=lambda item: item[1].id)
        ],
    )


_UPDATE_USED = (
    update(Session)
    .where(Session.id == bindparam("used_id"), Session.last_used_at < bindparam("used_at"))
    .values(last_used_at=bindparam("used_at"), expires_at=bindparam("used_until"))
)


async def delete_session(session: WriteSession, session_id: SessionId) -> bool:
    """Delete a session; return whether it existed."""
    return await session.first(_DELETE_ONE, session_id=session_id) is not None


async def revoke_session(session: AllWorkspacesWriteSession, session_id: SessionId) -> bool:
    """Delete a session of any workspace; return whether it existed."""
    return await session.first(_REVOKE, session_id=session_id) is not None


_DELETE_ONE = delete(Session).where(Session.id == bindparam("session_id")).returning(Session.id)
_REVOKE = AllWorkspacesStatement(_DELETE_ONE, reason="the operator names a session by its id alone")


async def delete_session_by_digest(session: AllWorkspacesWriteSession, digest: bytes) -> None:
    """Delete the session with this digest, if it exists. Served by uq_session_digest."""
    await session.rows(_DELETE_BY_DIGEST, digest=digest)


_DELETE_BY_DIGEST = AllWorkspacesStatement(
    delete(Session).where(Session.digest == bindparam("digest")),
    reason="a browser may have signed in to another workspace before",
)


async def delete_sessions_of_key(session: WriteSession, key_id: ApiKeyId) -> int:
    """Delete all sessions of a key; return their number."""
    return len(await session.rows(_DELETE_OF_KEY, key_id=key_id))


_OF_KEY = Session.api_key_id == bindparam("key_id")
_DELETE_OF_KEY = delete(Session).where(_OF_KEY).returning(Session.id)


async def delete_oldest_sessions(session: WriteSession, key_id: ApiKeyId, *, keep: int) -> None:
    """Delete the sessions of a key but for the newest ones."""
    await session.rows(_DELETE_OLDEST, key_id=key_id, kept=keep)


_OLDEST = (
    select(Session.id)
    .where(_OF_KEY)
    .order_by(Session.created_at.desc(), Session.id)
    .offset(bindparam("kept"))
)
_DELETE_OLDEST = delete(Session).where(_OF_KEY, Session.id.in_(_OLDEST))


async def has_expired_sessions(reader: AllWorkspacesReader, now: datetime) -> bool:
    """Return whether a session of any workspace has expired. Served by ix_session_expires_at."""
    ((has_expired,),) = await reader.rows(_HAS_EXPIRED, now=now)
    return bool(has_expired)


_IS_EXPIRED = Session.expires_at <= bindparam("now")
_HAS_EXPIRED = AllWorkspacesStatement(
    select(exists().where(_IS_EXPIRED)), reason="maintenance of all workspaces"
)


async def delete_expired_sessions(session: AllWorkspacesWriteSession, now: datetime) -> None:
    """Delete the sessions of all workspaces that have expired."""
    await session.rows(_DELETE_EXPIRED, now=now)


_DELETE_EXPIRED = AllWorkspacesStatement(
    delete(Session).where(_IS_EXPIRED), reason="maintenance of all workspaces"
)
