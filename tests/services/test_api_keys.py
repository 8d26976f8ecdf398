"""Keys are recognised, and believed for a moment: no longer than that, and not past their own end."""

from datetime import timedelta

import pytest

from app.db.engine import Database
from app.domain.errors import InvalidApiKey
from app.domain.ids import ApiKeyId
from app.services.api_keys import BELIEVED_FOR, Keys, revoke_key
from tests.factories import KEY_PREFIX, NOW, add_api_key, add_workspace

SECOND = timedelta(seconds=1)


class Clock:
    """Seconds that run as the test says."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_revoked_key_is_believed_for_a_second_and_no_longer(database: Database) -> None:
    key, clock = await add_api_key(database, await add_workspace(database)), Clock()
    keys = Keys(database, prefix=KEY_PREFIX, monotonic=clock)
    seen = await keys.authenticate(key.token, NOW)
    await revoke_key(database, ApiKeyId(seen.key_id), now=NOW)

    clock.seconds = BELIEVED_FOR.total_seconds() - 0.001
    assert await keys.authenticate(key.token, NOW) is seen
    clock.seconds += 0.001
    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW)


async def test_a_key_that_has_ended_is_not_believed(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, expires_at=NOW + SECOND)
    keys = Keys(database, prefix=KEY_PREFIX, monotonic=Clock())
    await keys.authenticate(key.token, NOW)

    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW + SECOND)


async def test_who_believes_nothing_looks_each_time(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    keys = Keys(database, prefix=KEY_PREFIX, monotonic=Clock(), believed_for=timedelta(0))
    seen = await keys.authenticate(key.token, NOW)
    await revoke_key(database, ApiKeyId(seen.key_id), now=NOW)

    with pytest.raises(InvalidApiKey):
        await keys.authenticate(key.token, NOW)
