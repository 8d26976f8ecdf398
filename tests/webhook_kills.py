"""Kills servers and workers repeatedly while they deliver webhooks: `python -m tests.webhook_kills`.

Half of the endpoints answer half of the requests with 500. At the end, every endpoint must have received
every committed event.
"""

import asyncio
import os
import random
import secrets
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import uuid4

import click
from sqlalchemy import func, select

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.models import Event, WebhookDelivery
from app.domain.webhooks.event_types import WebhookEventType
from tests.command_processes import fork
from tests.factories import add_account, add_api_key, add_workspace
from tests.retrying_client import RetryingClient
from tests.server_kills import temporary_database
from tests.servers import LoggedProcess, ServerGroup
from tests.webhook_endpoints import WebhookEndpoints
from tests.webhook_receiver import LOOPBACK_SETTINGS
from tests.webhook_rows import SECRETS_KEY

PATHS = ("/reliable-1", "/reliable-2", "/failing-1", "/failing-2")
WRITERS = 8
DELIVERY_TIMEOUT_SECONDS = 300
"""Time after the last kill; an event that is not delivered by then is lost."""

RETRY_SCHEDULE = " ".join(["0.1", "0.2", "0.5", "1", *["2"] * 30])


@dataclass(frozen=True, slots=True)
class WebhookKillResults:
    """Result of a run; the last three numbers must be 0."""

    events: int
    repeated: int
    """Accepted deliveries besides the first of each event."""
    kills: int
    lost: int
    """Events that an endpoint has not received."""
    invalid: int
    """Requests with a wrong signature."""
    given_up: int

    @property
    def is_clean(self) -> bool:
        return self.lost == self.invalid == self.given_up == 0


async def kill_deliverers(
    database_url: str, folder: Path, *, events: int, kills: int, randomness: random.Random
) -> WebhookKillResults:
    """Kill a server and a worker, each `kills` times, while `events` posts are created and reported."""
    endpoints = WebhookEndpoints(
        lambda path: path.startswith("/failing") and randomness.random() < 0.5
    )
    environment = {
        "SECRETS_KEY": SECRETS_KEY,
        **LOOPBACK_SETTINGS,
        "WEBHOOK_RETRY_SCHEDULE": RETRY_SCHEDULE,
    }
    async with Database(database_url) as database, endpoints.receiver.running():
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        workspace = await add_workspace(database)
        account = await add_account(database, workspace)
        token = (await add_api_key(database, workspace)).token
        await endpoints.add(database, workspace, PATHS, [WebhookEventType.POST_SCHEDULED])
        servers = ServerGroup(folder, database_url, 1, start=fork, **environment)
        worker_environment = {"DATABASE_URL": database_url, **environment}

        def start_worker() -> LoggedProcess:
            return LoggedProcess(folder, worker_environment, "worker", "--only", "webhooks")

        await asyncio.to_thread(servers.start)
        worker = start_worker()
        try:
            async with RetryingClient(servers.urls, token) as client, asyncio.TaskGroup() as tasks:
                numbers = count()
                for _ in range(WRITERS):
                    tasks.create_task(_create_posts(client, account, numbers, events))
                for _ in range(kills):
                    await asyncio.sleep(randomness.uniform(0.5, 2))
                    await asyncio.to_thread(servers.kill_and_restart, 0)
                    await asyncio.sleep(randomness.uniform(0.5, 2))
                    await asyncio.to_thread(worker.kill)
                    worker = start_worker()
            expected = await _wait_for_deliveries(database, endpoints)
            await asyncio.to_thread(servers.stop)
        finally:
            servers.kill()
            worker.kill()
        return await _collect_results(database, endpoints, expected, 2 * kills)


async def _create_posts(
    client: RetryingClient, account: int, numbers: "count[int]", limit: int
) -> None:
    while (number := next(numbers)) < limit:
        await client.create_post(
            content=f"Post {number}",
            accountIds=[account],
            scheduledFor="2100-01-01T00:00:00Z",
            idempotencyKey=str(uuid4()),
        )


async def _wait_for_deliveries(database: Database, endpoints: WebhookEndpoints) -> int:
    """Wait until each endpoint has received all events, or for the timeout; return their number."""
    ends_at = time.monotonic() + DELIVERY_TIMEOUT_SECONDS
    async with database.read_connection() as connection:
        (expected,) = await connection.scalars(
            select(func.count()).where(Event.kind == "post.created")
        )
    while any(len(endpoints.accepted[path]) < expected for path in PATHS):
        if time.monotonic() > ends_at:
            break
        await asyncio.sleep(0.5)
    return int(expected)


async def _collect_results(
    database: Database, endpoints: WebhookEndpoints, expected: int, kills: int
) -> WebhookKillResults:
    async with database.read_connection() as connection:
        stored = set(
            map(
                str,
                await connection.scalars(select(Event.post_id).where(Event.kind == "post.created")),
            )
        )
        (given_up,) = await connection.scalars(
            select(func.count()).where(WebhookDelivery.given_up_at.is_not(None))
        )
    lost = 0
    for path in PATHS:
        received = {
            endpoints.payloads[event_id]["data"]["post_id"] for event_id in endpoints.accepted[path]
        }
        lost += len(stored - received)
    accepted = sum(counts.total() for counts in endpoints.accepted.values())
    return WebhookKillResults(
        events=expected,
        repeated=accepted - sum(len(counts) for counts in endpoints.accepted.values()),
        kills=kills,
        lost=lost,
        invalid=endpoints.invalid,
        given_up=given_up,
    )


@click.command()
@click.option("--events", default=5_000, show_default=True)
@click.option("--kills", default=20, show_default=True, help="Of the server, and of the worker.")
@click.option("--seed", type=int, help="Seed of the times of the kills; random by default.")
def main(events: int, kills: int, seed: int | None) -> None:
    """Kill processes that deliver webhooks on both engines; exit with 1 if an event is lost."""
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    is_clean = True
    for engine in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, temporary_database(engine, Path(name)) as url:
            logs = Path(name) / "logs"
            logs.mkdir()
            results = asyncio.run(
                kill_deliverers(
                    url, logs, events=events, kills=kills, randomness=random.Random(seed)
                )
            )
        click.echo(
            f"{engine}, seed {seed}: {results.events} events to {len(PATHS)} endpoints; {results.kills}"
            f" kills; {results.lost} lost, {results.invalid} with a wrong signature, {results.given_up}"
            f" given up, {results.repeated} delivered again"
        )
        is_clean = is_clean and results.is_clean
    if not is_clean:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
