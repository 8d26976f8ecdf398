"""Kills the server repeatedly during writes that are repeated until answered: `python -m tests.server_kills`.

Each write has an idempotency key or an expected version. At the end, every answered write must be stored
exactly once.
"""

import asyncio
import os
import random
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import UUID

import click
from sqlalchemy import select

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.models import Event, Post
from app.db.tools.integrity import find_problems
from tests import postgres
from tests.factories import add_account, add_api_key, add_post, add_workspace, failed
from tests.retrying_client import RetryingClient
from tests.servers import ServerGroup

CREATE_SEVERAL = (
    "mutation($input: CreatePostsInput!)"
    " { createPosts(input: $input) { results { post { postId } } } }"
)
RETRY = "mutation($input: RetryPostInput!) { retryPost(input: $input) { retriedCount } }"


@dataclass(frozen=True, slots=True)
class ServerKillResults:
    """Result of a run; all numbers except the first three must be 0."""

    acknowledged: int
    repeated: int
    """Requests that were sent again because there was no response."""
    kills: int
    lost: int
    """Acknowledged writes that are not stored."""
    duplicates: int
    """Writes that are stored more than once."""
    problems: int
    """Findings of the integrity check."""

    @property
    def is_clean(self) -> bool:
        return self.lost == self.duplicates == self.problems == 0


class PostWriter:
    """Creates posts singly and in batches, changes them, and retries failed posts, one request at a time."""

    def __init__(
        self, client: RetryingClient, name: str, account: int, failed_post_ids: Iterable[str]
    ) -> None:
        self._client, self._name, self._account = client, name, account
        self._failed_post_ids = list(failed_post_ids)
        self.posts: set[tuple[str, UUID, str]] = set()
        """Reference, id and content of the created posts."""
        self.retried_post_ids: list[UUID] = []

    async def write_until(self, stop: asyncio.Event) -> None:
        for number in count():
            if stop.is_set():
                return
            await self._create(f"{self._name}-{number}")
            await self._create_several(f"{self._name}-{number}-several")
            if self._failed_post_ids:
                await self._retry(self._failed_post_ids.pop())

    async def _create(self, reference: str) -> None:
        post_id = await self._client.create_post(
            content=reference,
            reference=reference,
            accountIds=[self._account],
            idempotencyKey=reference,
        )
        content = f"{reference}, changed"
        await self._client.update_post(post_id, 1, content)
        self.posts.add((reference, UUID(post_id), content))

    async def _create_several(self, key: str) -> None:
        references = [f"{key}-{number}" for number in range(3)]
        posts = [
            {
                "content": reference,
                "reference": reference,
                "accountIds": [self._account],
                "scheduledFor": "2100-01-01T00:00:00Z",
            }
            for reference in references
        ]
        data = await self._client.execute(
            CREATE_SEVERAL, input={"posts": posts, "idempotencyKey": key}
        )
        for reference, result in zip(references, data["createPosts"]["results"], strict=True):
            self.posts.add((reference, UUID(result["post"]["postId"]), reference))

    async def _retry(self, post_id: str) -> None:
        data = await self._client.execute(
            RETRY, input={"postId": post_id, "idempotencyKey": post_id}
        )
        # A second effect would find no failed destination to retry.
        assert data == {"retryPost": {"retriedCount": 1}}
        self.retried_post_ids.append(UUID(post_id))


async def kill_server(
    database_url: str,
    folder: Path,
    *,
    kills: int,
    writers: int,
    retries: int,
    randomness: random.Random,
) -> ServerKillResults:
    """Kill a server on an empty database; `folder` stores its logs.

    Each writer retries at most `retries` failed posts.
    """
    async with Database(database_url) as database:
        token, account, failed_posts = await _seed_database(database, writers, retries)
        servers = ServerGroup(folder, database_url, 1)
        stop = asyncio.Event()
        try:
            await asyncio.to_thread(servers.start)
            async with RetryingClient(servers.urls, token) as client, asyncio.TaskGroup() as tasks:
                all_writers = [
                    PostWriter(client, f"writer-{number}", account, post_ids)
                    for number, post_ids in enumerate(failed_posts)
                ]
                for writer in all_writers:
                    tasks.create_task(writer.write_until(stop))
                for _ in range(kills):
                    await asyncio.sleep(randomness.uniform(0.2, 1.2))
                    await asyncio.to_thread(servers.kill_and_restart, 0)
                stop.set()
            await asyncio.to_thread(servers.stop)
        finally:
            servers.kill()
        return await _collect_results(database, client, all_writers, kills)


async def _seed_database(
    database: Database, writers: int, retries: int
) -> tuple[str, int, list[list[str]]]:
    """An API key, an account, and the ids of the failed posts of each writer."""
    await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    states = {account: failed(attempts=0)}  # without attempts, as after a cancellation
    posts = [
        [str((await add_post(database, workspace, states)).id) for _ in range(retries)]
        for _ in range(writers)
    ]
    return (await add_api_key(database, workspace)).token, account, posts


async def _collect_results(
    database: Database, client: RetryingClient, writers: Sequence[PostWriter], kills: int
) -> ServerKillResults:
    async with database.snapshot() as connection:
        with_reference = select(Post.reference, Post.id, Post.content).where(
            Post.reference.is_not(None)
        )
        stored = (await connection.execute(with_reference)).all()
        created, retried = [
            Counter(await connection.scalars(select(Event.post_id).where(Event.kind == kind)))
            for kind in ("post.created", "destination.changed")
        ]
    problems = await find_problems(database)
    for problem in problems:
        click.echo(problem, err=True)
    references = Counter(row.reference for row in stored)
    written = set().union(*(writer.posts for writer in writers))
    retried_post_ids = [post_id for writer in writers for post_id in writer.retried_post_ids]
    return ServerKillResults(
        acknowledged=client.answered,
        repeated=client.repeated,
        kills=kills,
        lost=len(written - {tuple(row) for row in stored})
        + sum(post_id not in retried for post_id in retried_post_ids),
        duplicates=sum(
            times - 1 for counts in (references, created, retried) for times in counts.values()
        ),
        problems=len(problems),
    )


@contextmanager
def temporary_database(engine: str, folder: Path) -> Iterator[str]:
    """URL of an empty database in the folder, or on a PostgreSQL test server."""
    if engine == "sqlite":
        yield f"sqlite+aiosqlite:///{folder / 'post-results.db'}"
    else:
        with postgres.running_server() as server_url, postgres.new_database(server_url) as url:
            yield url


@click.command()
@click.option("--kills", default=50, show_default=True)
@click.option("--writers", default=8, show_default=True)
@click.option("--seed", type=int, help="Seed of the times of the kills; random by default.")
def main(kills: int, writers: int, seed: int | None) -> None:
    """Kill the server during writes on both engines; exit with 1 if a write is lost or doubled."""
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    is_clean = True
    for engine in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, temporary_database(engine, Path(name)) as url:
            logs = Path(name) / "logs"
            logs.mkdir()
            results = asyncio.run(
                kill_server(
                    url,
                    logs,
                    kills=kills,
                    writers=writers,
                    retries=4 * kills,
                    randomness=random.Random(seed),
                )
            )
        click.echo(
            f"{engine}, seed {seed}: {results.acknowledged} writes acknowledged,"
            f" {results.repeated} of them after repetitions; {results.kills} kills;"
            f" {results.lost} lost, {results.duplicates} duplicates, {results.problems} problems"
        )
        is_clean = is_clean and results.is_clean
    if not is_clean:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
