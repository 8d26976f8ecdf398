"""Tests of API key authentication: caching, expiry and revocation."""

import asyncio
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.domain.errors import InvalidApiKey, ServiceUnavailable
from app.domain.ids import ApiKeyId
from app.runtime.fair_slots import current_caller
from app.services.api_keys import CACHE_TTL, ApiKeyAuthenticator, LastUsedRecorder, revoke_key
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import KEY_PREFIX, NOW, add_api_key, add_workspace
from tests.worker.worker_bench import FakeClock

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("cache_ttl", [CACHE_TTL, timedelta(0)], ids=["cached", "not cached"])
async def test_revoked_key_is_valid_only_until_its_cache_entry_expires(
    database: Database, cache_ttl: timedelta
) -> None:
    key, clock = await add_api_key(database, await add_workspace(database)), FakeClock()
    keys = ApiKeyAuthenticator(
        database, prefix=KEY_PREFIX, monotonic=clock.monotonic, cache_ttl=cache_ttl
    )
    viewer = await keys.authenticate(key.token, NOW)
    await revoke_key(database, ApiKeyId(viewer.key_id), now=NOW)

    if cache_ttl:
        clock.seconds = cache_ttl.total_seconds() - 0.001
        assert await keys.authenticate(key.token, NOW) is viewer
        clock.seconds += 0.001
    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW)


async def test_writes_of_task_have_the_authenticated_key_as_caller(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    authenticator = ApiKeyAuthenticator(database, prefix=KEY_PREFIX, monotonic=lambda: 0)
    callers = []
    for _ in range(2):  # read from the database, then from the cache
        current_caller.set(None)
        await authenticator.authenticate(key.token, NOW)
        callers.append(current_caller.get())

    assert callers == [key.id, key.id]


async def test_expired_key_is_rejected_even_if_cached(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, expires_at=NOW + SECOND)
    keys = ApiKeyAuthenticator(database, prefix=KEY_PREFIX, monotonic=FakeClock().monotonic)
    await keys.authenticate(key.token, NOW)

    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW + SECOND)


async def test_wait_until_revoked_ends_by_revocation_and_not_by_a_failed_check(
    database_url: str,
) -> None:
    interceptor = InterceptingDriver()
    async with Database(database_url, wrap_driver=interceptor) as database:
        workspace = await add_workspace(database)
        key = await add_api_key(database, workspace)
        keys = ApiKeyAuthenticator(
            database, prefix=KEY_PREFIX, monotonic=lambda: 0.0, cache_ttl=timedelta(0)
        )
        failures = [ServiceUnavailable("away"), ValueError("broken")]

        async def fail_then_revoke() -> None:
            if failures:
                raise failures.pop()
            await revoke_key(database, key.id, now=NOW)

        interceptor.before_statement = fail_then_revoke
        async with asyncio.timeout(10):
            await keys.wait_until_revoked(
                key.token, lambda: NOW, timedelta(milliseconds=1), LastUsedRecorder()
            )
        assert failures == []
