"""Sessions of the board: sign-in with an API key, and sign-out."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.repositories import sessions as session_rows
from app.domain.api_keys import key_digest
from app.domain.ids import SessionId
from app.domain.sessions import (
    MAX_SESSIONS_PER_KEY,
    BoardSession,
    SessionToken,
    SignIn,
    check_may_end_others,
    make_token,
    session_expiry,
)
from app.domain.times import Clock, truncate_to_ms
from app.services.api_keys import RandomBytes, Viewer


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session with its token, of which only a hash is stored."""

    token: SessionToken = field(repr=False)
    session: BoardSession


class SessionService:
    """Service that starts and ends sessions. Authentication by a session is that of `ApiKeyAuthenticator`."""

    def __init__(self, database: Database, clock: Clock, random_bytes: RandomBytes) -> None:
        self._database = database
        self._clock = clock
        self._random_bytes = random_bytes

    async def sign_in(
        self, viewer: Viewer, sign_in: SignIn, previous: SessionToken | None
    ) -> NewSession:
        """Start a session of the viewer's key.

        It ends the previous one of the browser, and the oldest of too many of the key.
        """
        now = truncate_to_ms(self._clock())
        token = make_token(self._random_bytes)
        session = BoardSession(
            id=SessionId(UUID(bytes=self._random_bytes(16), version=4)),
            person=sign_in.person,
            scopes=sign_in.allowed_scopes(viewer.scopes),
            created_at=now,
            last_used_at=now,
            expires_at=session_expiry(now, now, viewer.expires_at),
        )

        async def work(write_session: AllWorkspacesWriteSession) -> None:
            if previous is not None:
                await session_rows.delete_session_by_digest(write_session, key_digest(previous))
            viewer_session = write_session.in_workspace(viewer.workspace_id)
            await session_rows.delete_oldest_sessions(
                viewer_session, viewer.key_id, keep=MAX_SESSIONS_PER_KEY - 1
            )
            await session_rows.insert_session(
                viewer_session, viewer.key_id, session, key_digest(token)
            )

        await self._database.write_all_workspaces(work)
        return NewSession(token, session)

    async def sign_out(self, viewer: Viewer) -> int:
        """End the viewer's session; return 0 if it has ended meanwhile, otherwise 1."""
        session = viewer.session
        assert session is not None  # noqa: S101 - authenticated by its token
        has_ended = await self._database.write(
            viewer.workspace_id,
            lambda write_session: session_rows.delete_session(write_session, session.id),
        )
        return int(has_ended)

    async def sign_out_everywhere(self, viewer: Viewer) -> int:
        """End all sessions of the viewer's key; return their number.

        Raises InsufficientScope if the viewer's session may only read.
        """
        check_may_end_others(viewer.scopes)
        return await self._database.write(
            viewer.workspace_id,
            lambda write_session: session_rows.delete_sessions_of_key(write_session, viewer.key_id),
        )


async def revoke_session(database: Database, session_id: SessionId) -> bool:
    """End a session; returns False if it does not exist."""
    return await database.write_all_workspaces(
        lambda write_session: session_rows.revoke_session(write_session, session_id)
    )


async def prune_sessions(database: Database, now: datetime) -> None:
    """Delete expired sessions; takes no lock if there are none."""
    if await session_rows.has_expired_sessions(database.all_workspaces, now):
        await database.write_all_workspaces(
            lambda write_session: session_rows.delete_expired_sessions(write_session, now)
        )
