"""Kills servers and restarts PostgreSQL during subscriptions: `python -m tests.subscriptions.kills`.

At the end, each subscriber must have received every change once, in the order of the feed. The feed must
contain every acknowledged write once.
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
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import click

from tests.retrying_client import RetryingClient
from tests.servers import TIMEOUT_SECONDS, ServerGroup, log_errors
from tests.subscriptions.latency import ENGINES, seed_database
from tests.subscriptions.outages import Outage, RestartedDatabase, restarted_postgresql
from tests.subscriptions.reconnecting_subscribers import (
    ChangeData,
    Subscriber,
    SubscribeTransport,
    SubscriptionSpec,
    account_changes_spec,
    all_changes_spec,
    poll_changes,
    post_changes_spec,
    subscribe_sse,
    subscribe_websocket,
)

SERVERS = 2
"""Servers on one database; kills and requests alternate between them."""
KILL_INTERVAL = (0.2, 1.2)
"""Shortest and longest time in seconds between two kills or restarts."""
TRANSPORTS: Mapping[str, SubscribeTransport] = {
    "WebSocket": subscribe_websocket,
    "SSE": subscribe_sse,
}
RECORD = "mutation($input: RecordResultInput!) { recordResult(input: $input) { receipt } }"
_WRITE_INTERVAL = 0.03
"""Seconds between two writes of a writer, so that the other tasks get CPU time."""
_GRACE = 1
"""Seconds in which duplicates would still arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberResult:
    """What one subscriber received; the last three numbers must be 0, and there must be no faults."""

    name: str
    reconnects: int
    received: int
    missed: int
    duplicates: int
    """Changes that arrived more than once, or that the subscription does not match."""
    out_of_order: int
    """Changes that arrived after a later one."""
    faults: Sequence[str]
    """Responses that no client should receive."""

    @property
    def is_clean(self) -> bool:
        return self.missed == self.duplicates == self.out_of_order == 0 and not self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionKillResults:
    """Result of a run; `mismatched_writes` must be 0, and there must be no log errors."""

    acknowledged: int
    """Requests that were answered."""
    repeated: int
    """Answered requests that were sent again because there was no response."""
    kills: int
    restarts: int
    changes: int
    mismatched_writes: int
    """Difference between the acknowledged writes and the changes in the feed."""
    subscribers: Sequence[SubscriberResult]
    log_errors: Sequence[str]
    """Unexpected errors in the logs of the servers."""

    @property
    def is_clean(self) -> bool:
        subscribers_are_clean = all(subscriber.is_clean for subscriber in self.subscribers)
        return subscribers_are_clean and self.mismatched_writes == 0 and not self.log_errors

    def lines(self) -> Iterator[str]:
        yield (
            f"{self.kills} kills of servers, {self.restarts} restarts of the database;"
            f" {self.acknowledged:,} requests acknowledged, {self.repeated} of them after repetitions;"
            f" {self.changes:,} changes, {self.mismatched_writes} mismatched writes"
        )
        columns = ("reconnects", "received", "missed", "duplicates", "out of order", "faults")
        width = max(len(subscriber.name) for subscriber in self.subscribers)
        yield "  ".join([" " * width, *columns])
        for subscriber in self.subscribers:
            values = (
                subscriber.reconnects,
                subscriber.received,
                subscriber.missed,
                subscriber.duplicates,
                subscriber.out_of_order,
                len(subscriber.faults),
            )
            cells = (
                f"{value:>{len(column)},}" for column, value in zip(columns, values, strict=True)
            )
            yield "  ".join([f"{subscriber.name:<{width}}", *cells])
        faults = Counter(fault for subscriber in self.subscribers for fault in subscriber.faults)
        yield from (f"{times} times: {fault}" for fault, times in faults.items())
        yield from self.log_errors


class Writer(ABC):
    """Writes one request after the other, each until it is answered."""

    def __init__(self, client: RetryingClient, name: str) -> None:
        self.client, self.name = client, name
        self.confirmed: Counter[tuple[str, str]] = Counter()
        """Number of acknowledged writes by type of change and post id."""

    @abstractmethod
    async def write(self, number: int) -> None:
        """Write number `number`, from 1 on."""

    async def write_until(self, stop: asyncio.Event) -> None:
        for number in count(1):
            if stop.is_set():
                return
            await self.write(number)
            await asyncio.sleep(_WRITE_INTERVAL)


class PublishingWriter(Writer):
    """Creates posts and records a result for each on one of its accounts."""

    def __init__(self, client: RetryingClient, name: str, accounts: Sequence[int]) -> None:
        super().__init__(client, name)
        self._accounts = accounts

    async def create(self, idempotency_key: str) -> str:
        post_id = await self.client.create_post(
            content="Spring sale starts today",
            accountIds=self._accounts,
            idempotencyKey=f"{self.name}, {idempotency_key}",
        )
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
    """Changes the content of one post that no other writer changes."""

    def __init__(self, client: RetryingClient, post_id: str) -> None:
        super().__init__(client, "editor")
        self._post_id = post_id

    async def write(self, number: int) -> None:
        await self.client.update_post(self._post_id, number, f"Text {number}")
        self.confirmed["POST_CHANGED", self._post_id] += 1


async def run_kills(
    database: RestartedDatabase,
    folder: Path,
    *,
    kills: int,
    writers: int,
    subscribers_each: int,
    randomness: random.Random,
) -> SubscriptionKillResults:
    """Kill servers and restart an empty database; `folder` stores the logs of the servers.

    `subscribers_each` is the number of subscribers per variant of subscription and transport.
    """
    token, accounts = await seed_database(database.url, accounts=2)
    servers = ServerGroup(folder, database.url, SERVERS)
    try:
        await asyncio.to_thread(servers.start)
        async with RetryingClient(servers.urls, token) as client:
            start = await client.latest_cursor()
            publishers = [PublishingWriter(client, f"writer {n}", accounts) for n in range(writers)]
            post_id = await publishers[0].create("edited post")
            all_writers = [*publishers, EditingWriter(client, post_id)]
            specs = (
                all_changes_spec(),
                post_changes_spec(post_id),
                account_changes_spec(accounts[1]),
            )
            subscribers = [
                Subscriber(name, transport, spec, servers.urls, token, start)
                for name, transport, spec in _subscriber_variants(specs)
                for _ in range(subscribers_each)
            ]
            async with _run_subscribers(subscribers, randomness):
                async with _run_writers(all_writers):
                    await _kill_and_restart(servers, kills, database.restarts, randomness)
                changes = await client.changes_after(start)
                await _wait_until_caught_up(subscribers, changes)
        await asyncio.to_thread(servers.stop)
    finally:
        servers.kill()
    return SubscriptionKillResults(
        acknowledged=client.answered,
        repeated=client.repeated,
        kills=kills,
        restarts=len(database.restarts),
        changes=len(changes),
        mismatched_writes=_count_mismatched_writes(all_writers, changes),
        subscribers=[_subscriber_result(subscriber, changes) for subscriber in subscribers],
        log_errors=[str(error) for error in log_errors(folder) if error.is_unexpected],
    )


def _subscriber_variants(
    specs: Sequence[SubscriptionSpec],
) -> Iterator[tuple[str, SubscribeTransport, SubscriptionSpec]]:
    for spec in specs:
        for name, transport in TRANSPORTS.items():
            yield f"{spec.field}, {name}", transport, spec
    yield "GET /v1/changes", poll_changes, specs[0]


async def _kill_and_restart(
    servers: ServerGroup, kills: int, restarts: Sequence[Outage], randomness: random.Random
) -> None:
    """Kill servers and restart the database in random order."""
    outages = list(restarts)
    outages += [
        partial(servers.kill_and_restart, randomness.randrange(SERVERS)) for _ in range(kills)
    ]
    randomness.shuffle(outages)
    for outage in outages:
        await asyncio.sleep(randomness.uniform(*KILL_INTERVAL))
        await asyncio.to_thread(outage)


@asynccontextmanager
async def _run_subscribers(
    subscribers: Sequence[Subscriber], randomness: random.Random
) -> AsyncIterator[None]:
    """Run the subscribers during the block; none may end on its own."""
    tasks = [asyncio.create_task(subscriber.run(randomness)) for subscriber in subscribers]
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
    """Run the writers during the block, and then wait for their last responses."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.write_until(stop))
        try:
            yield
        finally:
            stop.set()


async def _wait_until_caught_up(
    subscribers: Sequence[Subscriber], changes: Sequence[ChangeData]
) -> None:
    """Wait until each subscriber has its last change or the timeout is over, and then for duplicates."""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while not all(subscriber.has_received_all(changes) for subscriber in subscribers):
        if time.monotonic() > ends_at:
            break
        await asyncio.sleep(_WRITE_INTERVAL)
    await asyncio.sleep(_GRACE)


def _count_mismatched_writes(writers: Sequence[Writer], changes: Sequence[ChangeData]) -> int:
    """Sum of the differences between acknowledged writes and changes in the feed."""
    in_feed = Counter((change["type"], change["postId"]) for change in changes)
    return sum(
        abs(times - in_feed[write])
        for writer in writers
        for write, times in writer.confirmed.items()
    )


def _subscriber_result(subscriber: Subscriber, changes: Sequence[ChangeData]) -> SubscriberResult:
    """Compare the received changes with all changes of the feed, in their order."""
    index = {change["cursor"]: number for number, change in enumerate(changes)}
    expected = {change["cursor"] for change in changes if subscriber.spec.matches(change)}
    received = subscriber.received
    unique = expected.intersection(received)
    order = [index[cursor] for cursor in received if cursor in index]
    return SubscriberResult(
        name=subscriber.name,
        reconnects=subscriber.reconnects,
        received=len(received),
        missed=len(expected) - len(unique),
        duplicates=len(received) - len(unique),
        out_of_order=sum(later < earlier for earlier, later in pairwise(order)),
        faults=subscriber.faults,
    )


@contextmanager
def restartable_database(
    engine: str, folder: Path, restarts: int, randomness: random.Random
) -> Iterator[RestartedDatabase]:
    """An empty database; SQLite has no restarts, because it runs inside the servers."""
    if engine == "sqlite":
        yield RestartedDatabase(f"sqlite+aiosqlite:///{folder / 'post-results.db'}", [])
    else:
        with restarted_postgresql(restarts, randomness) as database:
            yield database


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Run on one engine only.")
@click.option("--kills", default=20, show_default=True)
@click.option("--restarts", default=3, show_default=True, help="Restarts of PostgreSQL.")
@click.option("--writers", default=4, show_default=True)
@click.option("--each", default=2, show_default=True, help="Subscribers per variant.")
@click.option("--seed", type=int, help="Seed of the times of the kills; random by default.")
def main(
    engine: str | None, kills: int, restarts: int, writers: int, each: int, seed: int | None
) -> None:
    """Kill servers during subscriptions; exit with 1 if a change is missed, doubled or out of order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    is_clean = True
    for name in ENGINES if engine is None else (engine,):
        randomness = random.Random(seed)
        with (
            tempfile.TemporaryDirectory() as folder,
            restartable_database(name, Path(folder), restarts, randomness) as database,
        ):
            logs = Path(folder) / "logs"
            logs.mkdir()
            results = asyncio.run(
                run_kills(
                    database,
                    logs,
                    kills=kills,
                    writers=writers,
                    subscribers_each=each,
                    randomness=randomness,
                )
            )
        click.echo("\n  ".join([f"{name}, seed {seed}", *results.lines()]))
        is_clean = is_clean and results.is_clean
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
