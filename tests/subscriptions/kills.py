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
from tests.subscriptions.kill_results import Figures, followed_by
from tests.subscriptions.latency import CREATE, ENGINES, prepare
from tests.subscriptions.log_errors import complaints
from tests.subscriptions.outages import Outage, RestartedDatabase, Servers, restarted_postgresql
from tests.subscriptions.reconnecting_subscribers import (
    Change,
    Subscriber,
    Way,
    Wish,
    all_changes,
    by_events,
    by_polling,
    by_socket,
    changes_of_post,
    changes_on_account,
)
from tests.subscriptions.retrying_client import Patient

SERVERS = 2
"""On one database; who is killed, and who is asked, is another one each time."""
BETWEEN = (0.2, 1.2)
"""Seconds from one kill or restart to the next."""
WAYS: Mapping[str, Way] = {"socket": by_socket, "events": by_events}
UPDATE = (
    "mutation($input: UpdatePostInput!) { made: updatePost(input: $input) { post { postId } } }"
)
RECORD = "mutation($input: RecordResultInput!) { made: recordResult(input: $input) { receipt } }"
_PAUSE = 0.03
"""Seconds between two writes of a writer; without it, they would keep all others from the processor."""
_GRACE = 1
"""Seconds in which whatever comes twice would come."""


class Writer(ABC):
    """Writes one after the other, each until it is answered."""

    def __init__(self, client: Patient, name: str) -> None:
        self.client, self.name = client, name
        self.done: Counter[tuple[str, str]] = Counter()
        """By the type of the change that tells of it, and the post."""

    @abstractmethod
    async def write(self, number: int) -> None:
        """The one with this number, from 1 on."""

    async def write_until(self, is_over: asyncio.Event) -> None:
        for number in count(1):
            if is_over.is_set():
                return
            await self.write(number)
            await asyncio.sleep(_PAUSE)


class Publisher(Writer):
    """Creates posts, and records the result of each on one of their accounts."""

    def __init__(self, client: Patient, name: str, accounts: Sequence[int]) -> None:
        super().__init__(client, name)
        self._accounts = accounts

    async def create(self, key: str) -> str:
        given = {
            "content": "Spring sale starts today",
            "accountIds": self._accounts,
            "scheduledFor": "2100-01-01T00:00:00Z",
            "idempotencyKey": f"{self.name}, {key}",
        }
        post_id = str((await self.client.ask(CREATE, input=given))["made"]["post"]["postId"])
        self.done["POST_CREATED", post_id] += 1
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
        await self.client.ask(RECORD, input=result)
        self.done["DESTINATION_CHANGED", post_id] += 1


class Editor(Writer):
    """Changes one post again and again, by its version, as nobody else does."""

    def __init__(self, client: Patient, post_id: str) -> None:
        super().__init__(client, "editor")
        self._post_id = post_id

    async def write(self, number: int) -> None:
        given = {"postId": self._post_id, "expectedVersion": number, "content": f"Take {number}"}
        await self.client.ask(UPDATE, input=given)
        self.done["POST_CHANGED", self._post_id] += 1


async def run(
    database: RestartedDatabase,
    folder: Path,
    *,
    kills: int,
    writers: int,
    each: int,
    randomness: random.Random,
) -> Figures:
    """Kill so often, and restart an empty database as it may be; the folder keeps the servers' logs.

    So many follow in each way.
    """
    token, accounts = await prepare(database.url, accounts=2)
    servers = Servers(folder, database.url, SERVERS)
    try:
        await asyncio.to_thread(servers.start)
        async with Patient(servers.urls, token) as client:
            start = await client.latest_cursor()
            publishers = [Publisher(client, f"publisher {n}", accounts) for n in range(writers)]
            post_id = await publishers[0].create("the one that is changed")
            everybody = [*publishers, Editor(client, post_id)]
            wishes = all_changes(), changes_of_post(post_id), changes_on_account(accounts[1])
            subscribers = [
                Subscriber(name, way, wish, servers.urls, token, start)
                for name, way, wish in _ways(wishes)
                for _ in range(each)
            ]
            async with _following(subscribers, randomness):
                async with _writing(everybody):
                    await _disturb(servers, kills, database.restarts, randomness)
                changes = await client.changes(start)
                await _caught_up(subscribers, changes)
        await asyncio.to_thread(servers.stop)
    finally:
        servers.end()
    return Figures(
        acknowledged=client.answered,
        repeated=client.repeated,
        kills=kills,
        restarts=len(database.restarts),
        changes=len(changes),
        wrong=_wrong(everybody, changes),
        followed=[followed_by(subscriber, changes) for subscriber in subscribers],
        mistakes=[str(each) for each in complaints(folder) if each.is_mistake],
    )


def _ways(wishes: Sequence[Wish]) -> Iterator[tuple[str, Way, Wish]]:
    for wish in wishes:
        for name, way in WAYS.items():
            yield f"{wish.field}, {name}", way, wish
    yield "GET /v1/changes", by_polling, wishes[0]


async def _disturb(
    servers: Servers, kills: int, restarts: Sequence[Outage], randomness: random.Random
) -> None:
    """All of it, in any order."""
    outages = list(restarts)
    outages += [
        partial(servers.kill_and_start, randomness.randrange(SERVERS)) for _ in range(kills)
    ]
    randomness.shuffle(outages)
    for outage in outages:
        await asyncio.sleep(randomness.uniform(*BETWEEN))
        await asyncio.to_thread(outage)


@asynccontextmanager
async def _following(
    subscribers: Sequence[Subscriber], randomness: random.Random
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.follow(randomness)) for each in subscribers]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def _writing(writers: Sequence[Writer]) -> AsyncIterator[None]:
    """Within it all write; it is left when each is answered."""
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in writers:
            tasks.create_task(each.write_until(is_over))
        try:
            yield
        finally:
            is_over.set()


async def _caught_up(subscribers: Sequence[Subscriber], changes: Sequence[Change]) -> None:
    """Wait until everybody has seen their last change, or long enough; and a bit for what comes after it."""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while not all(each.has_seen_all(changes) for each in subscribers):
        if time.monotonic() > ends_at:
            break
        await asyncio.sleep(_PAUSE)
    await asyncio.sleep(_GRACE)


def _wrong(writers: Sequence[Writer], changes: Sequence[Change]) -> int:
    """How many times the feed has a write too little or too much."""
    told = Counter((change["type"], change["postId"]) for change in changes)
    return sum(abs(n - told[what]) for each in writers for what, n in each.done.items())


@contextmanager
def new_database(
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
            new_database(name, Path(folder), restarts, randomness) as database,
        ):
            logs = Path(folder) / "logs"
            logs.mkdir()
            figures = asyncio.run(
                run(
                    database,
                    logs,
                    kills=kills,
                    writers=writers,
                    each=each,
                    randomness=randomness,
                )
            )
        click.echo("\n  ".join([f"{name}, seed {seed}", *figures.lines()]))
        is_clean = is_clean and figures.is_clean
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
