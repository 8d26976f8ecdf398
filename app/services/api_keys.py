"""API keys: create, revoke and authenticate. Scopes are enforced in graphql/schema/permissions.py."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.db.core.database import Database
from app.db.core.write_slots import write_caller
from app.db.repositories import api_keys
from app.domain.api_keys import NewApiKey, Scope, is_usable, is_well_formed, key_digest, make_key
from app.domain.errors import InvalidApiKey
from app.domain.ids import ApiKeyId, WorkspaceId, WorkspaceKind
from app.domain.times import Clock

CACHE_TTL = timedelta(seconds=1)
_MAX_CACHED_KEYS = 1000

logger = structlog.stdlib.get_logger(__name__)

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The authenticated API key and its workspace."""

    key_id: ApiKeyId
    key_name: str
    display_prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    workspace_id: WorkspaceId
    workspace_name: str
    workspace_kind: WorkspaceKind


_NOT_CACHED: tuple[float, Viewer | None] = (-math.inf, None)


class ApiKeyAuthenticator:
    """Authenticator of API keys. Caches them briefly, so that most requests need no query."""

    def __init__(
        self,
        database: Database,
        *,
        prefix: str,
        monotonic: Callable[[], float],
        cache_ttl: timedelta = CACHE_TTL,
    ) -> None:
        """Create an authenticator; a revoked key stays valid for up to `cache_ttl`."""
        self._database = database
        self._prefix = prefix
        self._monotonic = monotonic
        self._cache_ttl = cache_ttl.total_seconds()
        self._cache: OrderedDict[bytes, tuple[float, Viewer]] = OrderedDict()
        """Expiry time and viewer by key digest, least recently stored first."""

    async def authenticate(self, token: str | None, now: datetime) -> Viewer:
        """Return the viewer of a key, and set it as the caller of later writes in this task.

        Raises InvalidApiKey, which does not reveal why a key is invalid.
        """
        if token is None:
            raise InvalidApiKey(
                "This request needs an API key: send 'Authorization: Bearer <key>'."
            )
        digest = key_digest(token)
        cached_until, viewer = self._cache.get(digest, _NOT_CACHED)
        if (
            viewer is not None
            and self._monotonic() < cached_until
            and is_usable(expires_at=viewer.expires_at, revoked_at=None, now=now)
        ):
            write_caller.set(viewer.key_id)
            return viewer
        if not is_well_formed(token, self._prefix):
            raise InvalidApiKey(
                f"The API key is malformed: it is {self._prefix} followed by 32 lower-case hex digits."
            )
        viewer = await self._look_up(digest, now)
        self._cache_viewer(digest, viewer)
        write_caller.set(viewer.key_id)
        return viewer

    def cached_key_id(self, token: str) -> ApiKeyId | None:
        """Return the id of a key in the cache, also if its entry has expired; None if it is not cached."""
        cached = self._cache.get(key_digest(token))
        return cached and cached[1].key_id

    async def wait_until_revoked(self, token: str, clock: Clock, check_interval: timedelta) -> None:
        """Return once a valid key is revoked or expired; checked every `check_interval`."""
        while True:
            await asyncio.sleep(check_interval.total_seconds())
            try:
                await self.authenticate(token, clock())
            except InvalidApiKey:
                return
            except Exception:  # an outage must not end connections; the next check decides
                logger.warning("API key check failed", exc_info=True)

    async def _look_up(self, digest: bytes, now: datetime) -> Viewer:
        row = await api_keys.find_key(self._database.key_reader, digest)
        if row is None or not is_usable(
            expires_at=row.expires_at, revoked_at=row.revoked_at, now=now
        ):
            raise InvalidApiKey("The API key is unknown, revoked or expired. Use another key.")
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

    def _cache_viewer(self, digest: bytes, viewer: Viewer) -> None:
        if self._cache_ttl:
            self._cache[digest] = (self._monotonic() + self._cache_ttl, viewer)
            self._cache.move_to_end(digest)
            if len(self._cache) > _MAX_CACHED_KEYS:
                self._cache.popitem(last=False)


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
        lambda session: api_keys.upsert_key(
            session,
            workspace_id,
            key_id,
            key,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            now=now,
        )
    )
    return key


async def revoke_key(database: Database, key_id: ApiKeyId, *, now: datetime) -> bool:
    """Revoke a key; returns False if it does not exist."""
    return await database.write(lambda session: api_keys.revoke_key(session, key_id, now))


class LastUsedRecorder:
    """Collector of the times of last use of keys, so that a read request needs no write."""

    def __init__(self) -> None:
        self._uses: dict[int, tuple[Viewer, datetime]] = {}
        """Last use of each key, by its id as a number, whose hash is quicker than that of a UUID."""

    def record(self, viewer: Viewer, now: datetime) -> None:
        self._uses[viewer.key_id.int] = (viewer, now)

    async def flush(self, database: Database) -> None:
        """Store the uses since the last flush; if that fails, the next flush stores them."""
        if not self._uses:
            return
        uses, self._uses = self._uses, {}
        used_at = {(viewer.workspace_id, viewer.key_id): now for viewer, now in uses.values()}
        try:
            await database.write(lambda session: api_keys.update_last_used(session, used_at))
        except BaseException:
            self._uses = uses | self._uses
            raise
