"""Kills servers and restarts PostgreSQL under subscribers: `python -m tests.subscriptions.kills`.

In the end each must have been told of every change once, in the order of the feed; and the feed must have
whatever was acknowledged, once.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import click

from tests.servers import TIMEOUT_SECONDS
from tests.subscriptions.kill_results import KillResults, subscriber_result
from tests.subscriptions.latency import CREATE, ENGINES, seed_database
from tests.subscriptions.log_errors import log_errors
from tests.subscriptions.outages import Outage, RestartedDatabase, ServerGroup, restarted_postgresql
from tests.subscriptions.reconnecting_subscribers import (
    ChangeData,
    Subscriber,
    SubscribeTransport,
    SubscriptionSpec,
    all_changes_spec,
    subscribe_sse,
    poll_changes,
    subscribe_websocket,
    post_changes_spec,
    account_changes_spec,
)
from tests.subscriptions.retrying_client import RetryingClient

SERVERS = 2
"""On one database; who is killed, and who is asked, is another one each time."""
KILL_INTERVAL = (0.2, 1.2)
"""Seconds from one kill or restart to the next."""
TRANSPORTS: Mapping[str, SubscribeTransport] = {"socket": subscribe_websocket, "events": subscribe_sse}
UPDATE = (
    "mutation($input: UpdatePostInput!) { made: updatePost(input: $input) { post { postId } } }"
)
RECORD = "mutation($input: RecordResultInput!) { made: recordResult(input: $input) { receipt } }"
_WRITE_INTERVAL = 0.03
"""Seconds between two writes of a writer; without it, they would keep all others from the processor."""
_GRACE = 1
"""Seconds in which whatever comes twice would come."""


class Writer(ABC):
    """Writes one after the other, each until it is answered."""

    def __init__(self, client: RetryingClient, name: str) -> None:
        self.client, self.name = client, name
        self.confirmed: Counter[tuple[str, str]] = Counter()
        """By the type of the change that tells of it, and the post."""

    @abstractmethod
    async def write(self, number: int) -> None:
        """The one with this number, from 1 on."""

    async def write_until(self, is_over: asyncio.Event) -> None:
        for number in count(1):
            if is_over.is_set():
                return
            await self.write(number)
            await asyncio.sleep(_WRITE_INTERVAL)


class PublishingWriter(Writer):
    """Creates posts, and records the result of each on one of their accounts."""

    def __init__(self, client: RetryingClient, name: str, accounts: Sequence[int]) -> None:
        super().__init__(client, name)
        self._accounts = accounts

    async def create(self, idempotency_key: str) -> str:
        given = {
            "content": "Spring sale starts today",
            "accountIds": self._accounts,
            "scheduledFor": "2100-01-01T00:00:00Z",
            "idempotencyKey": f"{self.name}, {idempotency_key}",
        }
        post_id = str((await self.client.execute(CREATE, input=given))["made"]["post"]["postId"])
        self.confirmed["POST_CREATED", post_id] += 1
        return post_id

    async def write(self, number: int) -> None:
        post_id = await self.create(str(number))
        result = {
            "postId": post_id,
            "accountId": self._accounts[number % len(self._accounts)],
            "attemptKey": self.name,
            "outcome": "PUBLISHED",
            "platformPostId": str(number),
        }
        await self.client.execute(RECORD, input=result)
        self.confirmed["DESTINATION_CHANGED", post_id] += 1


class EditingWriter(Writer):
    """Changes one post again and again, by its version, as nobody else does."""

    def __init__(self, client: RetryingClient, post_id: str) -> None:
        super().__init__(client, "editor")
        self._post_id = post_id

    async def write(self, number: int) -> None:
        given = {"postId": self._post_id, "expectedVersion": number, "content": f"Take {number}"}
        await self.client.execute(UPDATE, input=given)
        self.confirmed["POST_CHANGED", self._post_id] += 1


async def run_kills(
    database: RestartedDatabase,
    folder: Path,
    *,
    kills: int,
    writers: int,
    subscribers_each: int,
    randomness: random.Random,
) -> KillResults:
    """Kill so often, and restart an empty database as it may be; the folder keeps the servers' logs.

    So many follow in each way.
    """
    token, accounts = await seed_database(database.url, accounts=2)
    servers = ServerGroup(folder, database.url, SERVERS)
    try:
        await asyncio.to_thread(servers.start)
        async with RetryingClient(servers.urls, token) as client:
            start = await client.latest_cursor()
            publishers = [PublishingWriter(client, f"publisher {n}", accounts) for n in range(writers)]
            post_id = await publishers[0].create("the one that is changed")
            everybody = [*publishers, EditingWriter(client, post_id)]
            wishes = all_changes_spec(), post_changes_spec(post_id), account_changes_spec(accounts[1])
            subscribers = [
                Subscriber(name, way, wish, servers.urls, token, start)
                for name, way, wish in _subscriber_variants(wishes)
                for _ in range(subscribers_each)
            ]
            async with _run_subscribers(subscribers, randomness):
                async with _run_writers(everybody):
                    await _kill_and_restart(servers, kills, database.restarts, randomness)
                changes = await client.changes_after(start)
                await _wait_until_caught_up(subscribers, changes)
        await asyncio.to_thread(servers.stop)
    finally:
        servers.end()
    return KillResults(
        acknowledged=client.answered,
        repeated=client.repeated,
        kills=kills,
        restarts=len(database.restarts),
        changes=len(changes),
        mismatched_writes=_count_mismatched_writes(everybody, changes),
        subscribers=[subscriber_result(subscriber, changes) for subscriber in subscribers],
        log_errors=[str(each) for each in log_errors(folder) if each.is_unexpected],
    )


def _subscriber_variants(specs: Sequence[SubscriptionSpec]) -> Iterator[tuple[str, SubscribeTransport, SubscriptionSpec]]:
    for wish in specs:
        for name, way in TRANSPORTS.items():
            yield f"{wish.field}, {name}", way, wish
    yield "GET /v1/changes", poll_changes, specs[0]


async def _kill_and_restart(
    servers: ServerGroup, kills: int, restarts: Sequence[Outage], randomness: random.Random
) -> None:
    """All of it, in any order."""
    outages = list(restarts)
    outages += [
        partial(servers.restart_killed, randomness.randrange(SERVERS)) for _ in range(kills)
    ]
    randomness.shuffle(outages)
    for outage in outages:
        await asyncio.sleep(randomness.uniform(*KILL_INTERVAL))
        await asyncio.to_thread(outage)


@asynccontextmanager
async def _run_subscribers(
    subscribers: Sequence[Subscriber], randomness: random.Random
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run(randomness)) for each in subscribers]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def _run_writers(writers: Sequence[Writer]) -> AsyncIterator[None]:
    """Within it all write; it is left when each is answered."""
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in writers:
            tasks.create_task(each.write_until(is_over))
        try:
            yield
        finally:
            is_over.set()


async def _wait_until_caught_up(subscribers: Sequence[Subscriber], changes: Sequence[ChangeData]) -> None:
    """Wait until everybody has seen their last change, or long enough; and a bit for what comes after it."""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while not all(each.has_received_all(changes) for each in subscribers):
        if time.monotonic() > ends_at:
            break
        await asyncio.sleep(_WRITE_INTERVAL)
    await asyncio.sleep(_GRACE)


def _count_mismatched_writes(writers: Sequence[Writer], changes: Sequence[ChangeData]) -> int:
    """How many times the feed has a write too little or too much."""
    told = Counter((change["type"], change["postId"]) for change in changes)
    return sum(abs(n - told[what]) for each in writers for what, n in each.confirmed.items())


@contextmanager
def temporary_database(
    engine: str, folder: Path, restarts: int, randomness: random.Random
) -> Iterator[RestartedDatabase]:
    """SQLite is part of the servers, and dies with them."""
    if engine == "sqlite":
        yield RestartedDatabase(f"sqlite+aiosqlite:///{folder / 'post-results.db'}", [])
    else:
        with restarted_postgresql(restarts, randomness) as database:
            yield database


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Only this one.")
@click.option("--kills", default=20, show_default=True)
@click.option("--restarts", default=3, show_default=True, help="Of PostgreSQL.")
@click.option("--writers", default=4, show_default=True)
@click.option("--each", default=2, show_default=True, help="Who follow in each way.")
@click.option("--seed", type=int, help="Of the moments; without it, another one each time.")
def main(
    engine: str | None, kills: int, restarts: int, writers: int, each: int, seed: int | None
) -> None:
    """Kill servers under those who follow; exits with 1 unless each was told of all, once, in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    is_clean = True
    for name in ENGINES if engine is None else (engine,):
        randomness = random.Random(seed)
        with (
            tempfile.TemporaryDirectory() as folder,
            temporary_database(name, Path(folder), restarts, randomness) as database,
        ):
            logs = Path(folder) / "logs"
            logs.mkdir()
            figures = asyncio.run(
                run_kills(
                    database,
                    logs,
                    kills=kills,
                    writers=writers,
                    subscribers_each=each,
                    randomness=randomness,
                )
            )
        click.echo("\n  ".join([f"{name}, seed {seed}", *figures.lines()]))
        is_clean = is_clean and figures.is_clean
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
