"""Numbers that the probes of a process share: read once, while no read delays readiness."""

import asyncio
import json
from datetime import timedelta

import structlog

from app.db.core.database import Database
from app.health import CachedRead, probe_routes
from app.http.paths import READINESS_PATH
from app.observability.metrics import Metrics
from app.services.secret_cipher import SecretCipher
from tests.credential_rows import CIPHER
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import NOW, add_workspace
from tests.http import asgi
from tests.webhook_rows import add_webhook

SECOND = timedelta(seconds=1)
NO_WAIT = timedelta()


class Source:
    """Reads that return their number once `may_end` is set; those in `failing` raise an exception."""

    def __init__(self, *, failing: range = range(0)) -> None:
        self.seconds = 0.0
        self.reads = 0
        self.may_end = asyncio.Event()
        self.cached = CachedRead(self.read, "not read", lambda: self.seconds)
        self.failing = failing

    async def read(self) -> int:
        self.reads += 1
        number = self.reads
        await self.may_end.wait()
        if number in self.failing:
            raise ConnectionError
        return number


async def test_concurrent_probes_share_one_read() -> None:
    source = Source()
    probes = [asyncio.create_task(source.cached.get(SECOND)) for _ in range(20)]
    await asyncio.sleep(0)
    probes[0].cancel()
    source.may_end.set()

    assert await asyncio.gather(*probes[1:]) == [1] * 19
    assert source.reads == 1


async def test_value_is_read_again_after_ten_seconds() -> None:
    source = Source()
    source.may_end.set()

    values = []
    for source.seconds in (0, 9.9, 10, 19.9, 20):
        values.append(await source.cached.get(SECOND))

    assert values == [1, 1, 2, 2, 3]


async def test_slow_read_does_not_delay_the_last_value() -> None:
    source = Source()
    assert await source.cached.get(NO_WAIT) is None
    source.may_end.set()
    assert await source.cached.get(SECOND) == 1

    source.may_end.clear()
    source.seconds = 10
    assert [await source.cached.get(NO_WAIT) for _ in range(2)] == [1, 1]

    source.may_end.set()
    assert await source.cached.get(SECOND) == 2
    assert source.reads == 2


async def test_failed_read_has_no_value_and_is_not_repeated_for_ten_seconds() -> None:
    source = Source(failing=range(2, 3))
    source.may_end.set()
    values = []
    with structlog.testing.capture_logs() as logs:
        for source.seconds in (0, 10, 19.9, 20):
            values.append(await source.cached.get(SECOND))

    assert values == [1, None, None, 3]
    assert [log["event"] for log in logs] == ["not read"]


async def test_slow_count_of_secrets_does_not_delay_readiness(database_url: str) -> None:
    driver, may_count = InterceptingDriver(), asyncio.Event()
    async with Database(database_url, wrap_driver=driver) as database:
        await add_webhook(database, await add_workspace(database), cipher=CIPHER)
        routes = probe_routes(
            database,
            Metrics(),
            lambda: None,
            SecretCipher([]),
            lambda: NOW,
            monotonic=lambda: 0,
            is_draining=lambda: False,
        )
        (show,) = [route.handlers["GET"] for route in routes if route.path == READINESS_PATH]

        async def wait_until_set() -> None:
            await may_count.wait()

        driver.before_nth(1, wait_until_set)  # after the ping
        async with asyncio.timeout(1):
            first = await show(asgi.make_request())
        may_count.set()
        second = await show(asgi.make_request())

    problem = (
        "SECRETS_KEY is not set: this process cannot decrypt the secrets of 1 webhook. Set it to their key,"
        " and restart."
    )
    assert json.loads(bytes(first.body)) == {"status": "ready"}
    assert json.loads(bytes(second.body)) == {"status": "ready", "warnings": [problem]}
