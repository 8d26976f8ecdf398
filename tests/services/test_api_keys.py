"""Keys are recognised, and believed for a moment: no longer than that, and not past their own end."""

import asyncio
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.domain.errors import InvalidApiKey, ServiceUnavailable
from app.domain.ids import ApiKeyId
from app.services.api_keys import CACHE_TTL, ApiKeyAuthenticator, revoke_key
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import KEY_PREFIX, NOW, add_api_key, add_workspace

SECOND = timedelta(seconds=1)


class ManualClock:
    """Seconds that run as the test says."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_revoked_key_is_believed_for_a_second_and_no_longer(database: Database) -> None:
    key, clock = await add_api_key(database, await add_workspace(database)), ManualClock()
    keys = ApiKeyAuthenticator(database, prefix=KEY_PREFIX, monotonic=clock)
    seen = await keys.authenticate(key.token, NOW)
    await revoke_key(database, ApiKeyId(seen.key_id), now=NOW)

    clock.seconds = CACHE_TTL.total_seconds() - 0.001
    assert await keys.authenticate(key.token, NOW) is seen
    clock.seconds += 0.001
    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW)


async def test_a_key_that_has_ended_is_not_believed(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, expires_at=NOW + SECOND)
    keys = ApiKeyAuthenticator(database, prefix=KEY_PREFIX, monotonic=ManualClock())
    await keys.authenticate(key.token, NOW)

    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW + SECOND)


async def test_who_believes_nothing_looks_each_time(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    keys = ApiKeyAuthenticator(
        database, prefix=KEY_PREFIX, monotonic=ManualClock(), cache_ttl=timedelta(0)
    )
    seen = await keys.authenticate(key.token, NOW)
    await revoke_key(database, ApiKeyId(seen.key_id), now=NOW)

    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW)


async def test_whoever_stays_has_to_go_when_the_key_is_revoked_and_not_when_it_cannot_be_told(
    database_url: str,
) -> None:
    between = InterceptingDriver()
    async with Database(database_url, wrap_driver=between) as database:
        workspace = await add_workspace(database)
        key = await add_api_key(database, workspace)
        keys = ApiKeyAuthenticator(
            database, prefix=KEY_PREFIX, monotonic=lambda: 0.0, cache_ttl=timedelta(0)
        )
        failures = [ServiceUnavailable("away"), ValueError("broken")]

        async def fail() -> None:
            if failures:
                raise failures.pop()
            await revoke_key(database, key.id, now=NOW)

        between.before_statement = fail
        async with asyncio.timeout(10):
            await keys.wait_until_revoked(key.token, lambda: NOW, timedelta(milliseconds=1))
        assert failures == []
