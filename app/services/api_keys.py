"""API keys: create, revoke and authenticate, also by sessions. Scopes: graphql/schema/permissions.py."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.db.core.database import Database
from app.db.core.statements import AnyRow
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.repositories import api_keys
from app.db.repositories import sessions as session_rows
from app.domain.api_keys import NewApiKey, Scope, is_usable, is_well_formed, key_digest, make_key
from app.domain.errors import InvalidApiKey
from app.domain.ids import ApiKeyId, SessionId, WorkspaceId, WorkspaceKind
from app.domain.sessions import (
    SESSION_ENDED,
    BoardSession,
    Credential,
    ProxyIdentity,
    ProxySession,
    SessionToken,
)
from app.domain.times import Clock, truncate_to_ms
from app.runtime.fair_slots import current_caller
from app.services.proxy_users import ProxyUsers

CACHE_TTL = timedelta(seconds=1)
SESSION_CHECK_INTERVAL = timedelta(seconds=0.75)
"""Interval at which the session of an open connection is checked.

The end of the session closes the connection within a second.
"""
_SESSION_USE_INTERVAL = timedelta(minutes=1)
"""Minimum time between two stored uses of a session."""
_MAX_CACHED_KEYS = 1000

logger = structlog.stdlib.get_logger(__name__)

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The authenticated API key and its workspace, and the session that uses the key, if any."""

    key_id: ApiKeyId
    key_name: str
    display_prefix: str
    scopes: tuple[Scope, ...]
    """Permissions of the key, or of its session."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    workspace_id: WorkspaceId
    workspace_name: str
    workspace_kind: WorkspaceKind
    session: BoardSession | ProxySession | None = None


_NOT_CACHED: tuple[float, Viewer | None] = (-math.inf, None)


class ApiKeyAuthenticator:
    """Authenticator of API keys and sessions.

    Caches keys briefly, so that most requests need no query. Sessions are not cached, so that they end in
    all processes immediately.
    """

    def __init__(
        self,
        database: Database,
        *,
        prefix: str,
        monotonic: Callable[[], float],
        cache_ttl: timedelta = CACHE_TTL,
        proxy_users: ProxyUsers | None = None,
    ) -> None:
        """Create an authenticator; a revoked key stays valid for up to `cache_ttl`."""
        self._database = database
        self._prefix = prefix
        self._monotonic = monotonic
        self._cache_ttl = cache_ttl.total_seconds()
        self._proxy_users = proxy_users
        self._cache: OrderedDict[bytes, tuple[float, Viewer]] = OrderedDict()
        """Expiry time and viewer by key digest, least recently stored first."""

    async def authenticate(self, token: Credential | None, now: datetime) -> Viewer:
        """Return the viewer of a credential, and set the key as the caller of later work in this task.

        Raises InvalidApiKey, which does not reveal why a key or session is invalid, and UserNotAllowed for
        a person to whom the operator has granted nothing.
        """
        if token is None:
            raise InvalidApiKey(
                "This request needs an API key: send 'Authorization: Bearer <key>'."
            )
        if isinstance(token, SessionToken):
            return await self._authenticate_session(token, now)
        if isinstance(token, ProxyIdentity):
            return await self._authenticate_proxy_user(token, now)
        digest = key_digest(token)
        cached_until, viewer = self._cache.get(digest, _NOT_CACHED)
        if (
            viewer is not None
            and self._monotonic() < cached_until
            and is_usable(expires_at=viewer.expires_at, revoked_at=None, now=now)
        ):
            current_caller.set(viewer.key_id)
            return viewer
        if not is_well_formed(token, self._prefix):
            raise InvalidApiKey(
                f"The API key is malformed: it is {self._prefix} followed by 32 lower-case hex digits."
            )
        viewer = await self._look_up(digest, now)
        self._cache_viewer(digest, viewer)
        current_caller.set(viewer.key_id)
        return viewer

    def cached_key_id(self, token: str) -> ApiKeyId | None:
        """Return the id of a key in the cache, also if its entry has expired; None if it is not cached."""
        cached = self._cache.get(key_digest(token))
        return cached and cached[1].key_id

    async def wait_until_revoked(
        self, token: Credential, clock: Clock, check_interval: timedelta, usage: "LastUsedRecorder"
    ) -> None:
        """Return once a valid key or session has ended; checked every `check_interval`, a session more often.

        Each check is a use of the session.
        """
        if isinstance(token, SessionToken):
            check_interval = min(check_interval, SESSION_CHECK_INTERVAL)
        while True:
            await asyncio.sleep(check_interval.total_seconds())
            now = clock()
            try:
                usage.record_session(await self.authenticate(token, now), now)
            except InvalidApiKey:
                return
            except Exception:  # an outage must not end connections; the next check decides
                logger.warning("API key check failed", exc_info=True)

    async def _authenticate_proxy_user(self, identity: ProxyIdentity, now: datetime) -> Viewer:
        assert self._proxy_users is not None  # noqa: S101 - without users, no headers are read
        sign_in = self._proxy_users.sign_in(identity)
        viewer = await self._look_up(sign_in.key_digest, now)
        current_caller.set(viewer.key_id)
        return replace(viewer, scopes=sign_in.scopes, session=sign_in.session)

    async def _look_up(self, digest: bytes, now: datetime) -> Viewer:
        row = await api_keys.find_key(self._database.authentication_reader, digest)
        if row is None or not is_usable(
            expires_at=row.expires_at, revoked_at=row.revoked_at, now=now
        ):
            raise InvalidApiKey("The API key is unknown, revoked or expired. Use another key.")
        return _viewer_from_row(row)

    async def _authenticate_session(self, token: SessionToken, now: datetime) -> Viewer:
        row = await session_rows.find_session(
            self._database.authentication_reader, key_digest(token)
        )
        if (
            row is None
            or now >= row.session_expires_at
            or not is_usable(expires_at=row.expires_at, revoked_at=row.revoked_at, now=now)
        ):
            raise InvalidApiKey(SESSION_ENDED)
        viewer = _viewer_from_row(row)
        session = BoardSession(
            id=SessionId(row.session_id),
            person=row.person,
            scopes=tuple(scope for scope in viewer.scopes if scope in row.session_scopes),
            created_at=row.session_created_at,
            last_used_at=row.session_last_used_at,
            expires_at=row.session_expires_at,
        )
        current_caller.set(viewer.key_id)
        return replace(viewer, scopes=session.scopes, session=session)

    def _cache_viewer(self, digest: bytes, viewer: Viewer) -> None:
        if self._cache_ttl:
            self._cache[digest] = (self._monotonic() + self._cache_ttl, viewer)
            self._cache.move_to_end(digest)
            if len(self._cache) > _MAX_CACHED_KEYS:
                self._cache.popitem(last=False)


def _viewer_from_row(row: AnyRow) -> Viewer:
    return Viewer(
        key_id=row.id,
        key_name=row.name,
        display_prefix=row.display_prefix,
        scopes=tuple(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        workspace_id=row.workspace_id,
        workspace_name=row.workspace_name,
        workspace_kind=row.workspace_kind,
    )


async def create_key(
    database: Database,
    workspace_id: WorkspaceId,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    api_key_prefix: str,
    now: datetime,
    random_bytes: RandomBytes,
) -> NewApiKey:
    """Create a key. Its token is only in the returned value; the database stores a hash."""
    key = make_key(api_key_prefix, random_bytes)
    key_id = ApiKeyId(UUID(bytes=random_bytes(16), version=4))
    await database.write(
        workspace_id,
        lambda session: api_keys.upsert_key(
            session,
            key_id,
            key,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            now=now,
        ),
    )
    return key


async def revoke_key(database: Database, key_id: ApiKeyId, *, now: datetime) -> bool:
    """Revoke a key, and delete its sessions; returns False if it does not exist."""

    async def work(session: AllWorkspacesWriteSession) -> bool:
        workspace_id = await api_keys.revoke_key(session, key_id, now)
        if workspace_id is None:
            return False
        await session_rows.delete_sessions_of_key(session.in_workspace(workspace_id), key_id)
        return True

    return await database.write_all_workspaces(work)


class LastUsedRecorder:
    """Collector of the times of last use of keys and sessions, so that a read request needs no write."""

    def __init__(self) -> None:
        self._uses: dict[int, tuple[Viewer, datetime]] = {}
        """Last use of each key, by its id as a number, whose hash is quicker than that of a UUID."""
        self._used_sessions: dict[SessionId, tuple[WorkspaceId, BoardSession]] = {}

    def record(self, viewer: Viewer, now: datetime) -> None:
        self._uses[viewer.key_id.int] = (viewer, now)
        if viewer.session is not None:
            self.record_session(viewer, now)

    def record_session(self, viewer: Viewer, now: datetime) -> None:
        """Record a use of the viewer's stored session, if there is one and its last use is a minute old."""
        session = viewer.session
        if (
            isinstance(session, BoardSession)
            and now >= session.last_used_at + _SESSION_USE_INTERVAL
        ):
            used = session.used(truncate_to_ms(now), viewer.expires_at)
            self._used_sessions[session.id] = (viewer.workspace_id, used)

    async def flush(self, database: Database) -> None:
        """Store the uses since the last flush; if that fails, the next flush stores them."""
        if not self._uses and not self._used_sessions:
            return
        uses, self._uses = self._uses, {}
        used_sessions, self._used_sessions = self._used_sessions, {}
        used_at = {(viewer.workspace_id, viewer.key_id): now for viewer, now in uses.values()}

        async def work(session: AllWorkspacesWriteSession) -> None:
            if used_at:
                await api_keys.update_last_used(session, used_at)
            if used_sessions:
                await session_rows.update_used_sessions(session, used_sessions.values())

        try:
            await database.write_all_workspaces(work)
        except BaseException:
            self._uses = uses | self._uses
            self._used_sessions = used_sessions | self._used_sessions
            raise
