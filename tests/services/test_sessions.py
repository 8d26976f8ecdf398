"""Sessions of the board: authentication, use, expiry, revocation and pruning."""

import asyncio
from datetime import datetime, timedelta
from secrets import token_bytes
from typing import Any
from uuid import uuid4

import pytest

from app.db.core.database import Database
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.errors import InvalidApiKey, ServiceUnavailable
from app.domain.ids import SessionId
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.sessions import BoardSession, SessionToken, SignIn
from app.maintenance import run_maintenance
from app.runtime.fair_slots import current_caller
from app.services.api_keys import ApiKeyAuthenticator, LastUsedRecorder, Viewer, revoke_key
from app.services.sessions import NewSession, SessionService, prune_sessions, revoke_session
from tests.db.all_tables import all_rows
from tests.factories import KEY_PREFIX, NOW, add_api_key, add_workspace
from tests.recording_driver import record_writes

MINUTE = timedelta(minutes=1)
MS = timedelta(milliseconds=1)
IDLE_LIMIT = timedelta(hours=12)
MAX_AGE = timedelta(days=7)


class Signing:
    """A key in a workspace of its own, and the services that sign in with it."""

    def __init__(self, database: Database, token: str) -> None:
        self.database = database
        self.authenticator = ApiKeyAuthenticator(
            database, prefix=KEY_PREFIX, monotonic=lambda: 0.0, cache_ttl=timedelta(0)
        )
        self.key = token

    async def sign_in(self, now: datetime = NOW) -> NewSession:
        viewer = await self.authenticator.authenticate(self.key, now)
        service = SessionService(self.database, lambda: now, token_bytes)
        sign_in = SignIn(self.key, "Ann", read_only=False, full_access=False)
        return await service.sign_in(viewer, sign_in, None)

    async def authenticate(self, token: SessionToken, now: datetime = NOW) -> Viewer:
        return await self.authenticator.authenticate(token, now)

    async def is_valid(self, token: SessionToken, now: datetime = NOW) -> bool:
        try:
            await self.authenticate(token, now)
        except InvalidApiKey:
            return False
        return True

    async def use(self, token: SessionToken, now: datetime) -> None:
        """Use the session, and store the use."""
        usage = LastUsedRecorder()
        usage.record(await self.authenticate(token, now), now)
        await usage.flush(self.database)

    async def row(self) -> dict[str, Any]:
        ((*_, created_at, last_used_at, expires_at),) = (await all_rows(self.database))["session"]
        return {"created": created_at, "used": last_used_at, "expires": expires_at}


@pytest.fixture
async def signing(database: Database) -> Signing:
    return Signing(database, (await add_api_key(database, await add_workspace(database))).token)


async def test_session_has_the_viewer_of_its_key(signing: Signing) -> None:
    created = await signing.sign_in()
    by_key = await signing.authenticator.authenticate(signing.key, NOW)
    current_caller.set(None)
    viewer = await signing.authenticate(created.token)
    assert current_caller.get() == viewer.key_id
    assert (
        viewer.session
        == created.session
        == BoardSession(
            id=created.session.id,
            person="Ann",
            scopes=(Scope.READ, Scope.WRITE),
            created_at=NOW,
            last_used_at=NOW,
            expires_at=NOW + IDLE_LIMIT,
        )
    )
    assert (by_key.scopes, viewer.scopes) == (DEFAULT_SCOPES, (Scope.READ, Scope.WRITE))
    assert (viewer.key_id, viewer.workspace_id) == (by_key.key_id, by_key.workspace_id)


async def test_only_a_hash_of_the_token_is_stored(signing: Signing) -> None:
    created = await signing.sign_in()
    assert len(created.token) == 64
    stored = str(await all_rows(signing.database))
    assert created.token not in stored
    assert repr(bytes.fromhex(created.token)) not in stored


async def test_used_session_ends_after_7_days(signing: Signing) -> None:
    token, now = (await signing.sign_in()).token, NOW
    while now + IDLE_LIMIT - MS < NOW + MAX_AGE:
        now += IDLE_LIMIT - MS
        await signing.use(token, now)
    assert (await signing.row())["expires"] == NOW + MAX_AGE
    assert await signing.is_valid(token, NOW + MAX_AGE - MS)
    assert not await signing.is_valid(token, NOW + MAX_AGE)


async def test_use_is_stored_at_most_once_a_minute(signing: Signing) -> None:
    token = (await signing.sign_in()).token
    await signing.use(token, NOW + MINUTE - MS)
    assert await signing.row() == {"created": NOW, "used": NOW, "expires": NOW + IDLE_LIMIT}
    await signing.use(token, NOW + MINUTE)
    used = {"created": NOW, "used": NOW + MINUTE, "expires": NOW + MINUTE + IDLE_LIMIT}
    assert await signing.row() == used
    await signing.use(token, NOW + 2 * MINUTE - MS)
    assert await signing.row() == used


async def test_older_use_never_replaces_a_newer_one(signing: Signing) -> None:
    token = (await signing.sign_in()).token
    old = LastUsedRecorder()
    old.record(await signing.authenticate(token), NOW + MINUTE)
    await signing.use(token, NOW + 3 * MINUTE)
    await old.flush(signing.database)
    assert (await signing.row())["used"] == NOW + 3 * MINUTE


async def test_failed_flush_stores_the_use_later(signing: Signing) -> None:
    token = (await signing.sign_in()).token
    usage = LastUsedRecorder()
    usage.record_session(await signing.authenticate(token), NOW + MINUTE)
    async with Database("sqlite+aiosqlite:////no/such/folder/post-results.db") as missing:
        with pytest.raises(ServiceUnavailable):
            await usage.flush(missing)
    await usage.flush(signing.database)
    assert (await signing.row())["used"] == NOW + MINUTE
    with record_writes(signing.database) as statements:
        await usage.flush(signing.database)
    assert statements == []


async def test_open_connection_uses_its_session_until_it_is_revoked(signing: Signing) -> None:
    created = await signing.sign_in()
    usage = LastUsedRecorder()
    waiting = asyncio.create_task(
        signing.authenticator.wait_until_revoked(
            created.token, lambda: NOW + MINUTE, timedelta(days=1), usage
        )
    )
    async with asyncio.timeout(10):
        while (await signing.row())["used"] == NOW:
            await usage.flush(signing.database)
            await asyncio.sleep(0.01)
        assert not waiting.done()
        assert await revoke_session(signing.database, created.session.id)
        async with asyncio.timeout(1):
            await waiting


async def test_revoked_session_ends_and_others_stay(signing: Signing) -> None:
    first, second = await signing.sign_in(), await signing.sign_in()
    assert await revoke_session(signing.database, first.session.id)
    assert not await revoke_session(signing.database, first.session.id)
    assert not await revoke_session(signing.database, SessionId(uuid4()))
    assert [await signing.is_valid(each.token) for each in (first, second)] == [False, True]


async def test_session_of_a_revoked_key_is_not_valid(signing: Signing) -> None:
    created = await signing.sign_in()
    viewer = await signing.authenticate(created.token)
    await revoke_key(signing.database, viewer.key_id, now=NOW)
    assert not await signing.is_valid(created.token)


async def test_expired_sessions_are_pruned_without_a_needless_write(signing: Signing) -> None:
    old, new = await signing.sign_in(), await signing.sign_in(NOW + MINUTE)
    with record_writes(signing.database) as statements:
        await prune_sessions(signing.database, NOW + IDLE_LIMIT - MS)
    assert statements == []
    await prune_sessions(signing.database, NOW + IDLE_LIMIT)
    rows = (await all_rows(signing.database))["session"]
    assert [row[1] for row in rows] == [new.session.id] != [old.session.id]


async def test_maintenance_prunes_sessions(signing: Signing) -> None:
    await signing.sign_in()
    async with run_maintenance(
        signing.database,
        lambda: NOW + IDLE_LIMIT,
        key_usage=LastUsedRecorder(),
        event_retention=timedelta(days=30),
        delivery_retention=timedelta(days=30),
        expiration_interval=None,
        retry_policies=DEFAULT_POLICIES,
    ):
        async with asyncio.timeout(10):
            while (await all_rows(signing.database))["session"]:
                pass
