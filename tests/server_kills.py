"""Kills the server repeatedly under writers that repeat unanswered requests: `python -m tests.server_kills`.

Each write goes out with a key, or the version that it is meant for, until it is answered. In the end
every write that was answered must be there, and none twice.
"""

import asyncio
import multiprocessing
import os
import random
import secrets
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import httpx
from sqlalchemy import select

from app.db import models
from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.tools.integrity import find_problems
from tests import postgres
from tests.factories import add_account, add_api_key, add_post, add_workspace, failed
from tests.servers import TIMEOUT_SECONDS, ServerProcess

IN_PROGRESS = {"IDEMPOTENCY_IN_PROGRESS", "SERVICE_UNAVAILABLE", "INTERNAL_ERROR"}
CREATE = (
    "mutation($input: CreatePostInput!) { made: createPost(input: $input) { post { postId } } }"
)
CREATE_SEVERAL = (
    "mutation($input: CreatePostsInput!)"
    " { made: createPosts(input: $input) { results { post { postId } } } }"
)
RETRY = "mutation($input: RetryPostInput!) { made: retryPost(input: $input) { retriedCount } }"
UPDATE = (
    "mutation($input: UpdatePostInput!) { made: updatePost(input: $input) { post { postId } } }"
)


@dataclass(frozen=True, slots=True)
class KillResults:
    """What a run came to; all but the first three must be 0."""

    acknowledged: int
    repeated: int
    """Requests that were sent again, as their answer did not come."""
    kills: int
    lost: int
    """Acknowledged, and not there."""
    duplicates: int
    """There more than once."""
    problems: int
    """Found by the check."""

    @property
    def is_clean(self) -> bool:
        return self.lost == self.duplicates == self.problems == 0


@dataclass(frozen=True, slots=True)
class WriterLog:
    """What one writer was told: of each post by its reference, its id and its text."""

    created_posts: Mapping[str, tuple[str, str]]
    retried_posts: Sequence[str]
    """The ids of the posts that were."""
    acknowledged: int
    repeated: int


class Writer:
    """Creates posts, alone and several, changes and retries them, one request after the other."""

    def __init__(
        self, name: str, url: str, token: str, account: int, failed_post_ids: Sequence[str]
    ) -> None:
        self._name, self._url, self._account = name, url, account
        self._failed_post_ids = list(failed_post_ids)
        self._retried: list[str] = []
        self._headers = {"Authorization": f"Bearer {token}"}
        self._posts: dict[str, tuple[str, str]] = {}
        self._acknowledged = self._repeated = 0

    def write_until(self, stop: Event) -> WriterLog:
        with httpx.Client(headers=self._headers, timeout=TIMEOUT_SECONDS) as http:
            for number in count():
                if stop.is_set():
                    break
                self._create(http, f"{self._name}-{number}")
                self._create_several(http, f"{self._name}-{number}-several")
                if self._failed_post_ids:
                    self._retry(http, self._failed_post_ids.pop())
        return WriterLog(self._posts, self._retried, self._acknowledged, self._repeated)

    def _create(self, http: httpx.Client, reference: str) -> None:
        made = self._send_until_answered(
            http, CREATE, **self._post_input(reference), idempotencyKey=reference
        )
        post_id = made["post"]["postId"]
        text = f"{reference}, changed"
        # Without a key: the version sees to it that it happens once, and nobody else changes the post.
        self._send_until_answered(http, UPDATE, postId=post_id, expectedVersion=1, content=text)
        self._posts[reference] = (post_id, text)

    def _create_several(self, http: httpx.Client, reference: str) -> None:
        posts = [self._post_input(f"{reference}-{each}") for each in range(3)]
        made = self._send_until_answered(
            http, CREATE_SEVERAL, posts=posts, idempotencyKey=reference
        )
        for post, result in zip(posts, made["results"], strict=True):
            self._posts[post["reference"]] = (result["post"]["postId"], post["content"])

    def _retry(self, http: httpx.Client, post_id: str) -> None:
        made = self._send_until_answered(http, RETRY, postId=post_id, idempotencyKey=post_id)
        assert made == {"retriedCount": 1}  # also when told again: a second effect would find none
        self._retried.append(post_id)

    def _post_input(self, reference: str) -> dict[str, Any]:
        return {
            "content": reference,
            "reference": reference,
            "accountIds": [self._account],
            "scheduledFor": "2100-01-01T00:00:00Z",
        }

    def _send_until_answered(
        self, http: httpx.Client, document: str, **input_fields: Any
    ) -> dict[str, Any]:
        """The answer, for which the same is sent as often as it takes."""
        body = {"query": document, "variables": {"input": input_fields}}
        for tries in count():
            try:
                answer = http.post(f"{self._url}/graphql", json=body).json()
            except (httpx.TransportError, ValueError):
                time.sleep(0.02)
                continue
            codes = {each["extensions"]["code"] for each in answer.get("errors", [])}
            if codes & IN_PROGRESS:
                time.sleep(0.02)
                continue
            # A version that is stale at a repetition is the one that the lost answer would have told of.
            assert not codes or (codes == {"STALE_VERSION"} and tries), answer
            self._acknowledged += 1
            self._repeated += tries > 0
            return dict(answer["data"]["made"] or {})
        raise AssertionError("unreachable")


def _run_writer(
    name: str,
    url: str,
    token: str,
    account: int,
    failed_post_ids: Sequence[str],
    stop: Event,
    results: Any,
) -> None:
    results.put(Writer(name, url, token, account, failed_post_ids).write_until(stop))


def run_kills(
    database_url: str,
    folder: Path,
    *,
    kills: int,
    writers: int,
    retries: int,
    randomness: random.Random,
) -> KillResults:
    """Kill a server on an empty database so often; the folder keeps its logs.

    Each writer has so many failed posts to retry, each once.
    """
    token, account, to_retry = asyncio.run(_seed_database(database_url, writers, retries))
    environment = {"DATABASE_URL": database_url, "RATE_LIMIT": "off", "PORT": str(_reserve_port())}
    context = multiprocessing.get_context("forkserver")
    stop, told = context.Event(), context.Queue()
    server = ServerProcess(folder, environment)
    try:
        server.wait_until_ready()
        processes = [
            context.Process(
                target=_run_writer,
                args=(f"writer-{number}", server.url, token, account, mine, stop, told),
            )
            for number, mine in enumerate(to_retry)
        ]
        for each in processes:
            each.start()
        for _ in range(kills):
            time.sleep(randomness.uniform(0.2, 1.2))
            server.kill()
            server = ServerProcess(folder, environment)
            server.wait_until_ready()
        stop.set()
        answers: list[WriterLog] = [told.get(timeout=TIMEOUT_SECONDS) for _ in processes]
        for each in processes:
            each.join()
        server.stop()
    finally:
        stop.set()
        server.kill()
    return asyncio.run(_collect_results(database_url, answers, kills))


async def _seed_database(url: str, writers: int, retries: int) -> tuple[str, int, list[list[str]]]:
    """A key, an account, and the ids of each writer's failed posts."""
    async with Database(url) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        workspace = await add_workspace(database)
        account = await add_account(database, workspace)
        state = failed(attempts=0)  # as cancelled ones are, so that there is no log of attempts
        posts = [
            [
                str((await add_post(database, workspace, {account: state})).id)
                for _ in range(retries)
            ]
            for _ in range(writers)
        ]
        return (await add_api_key(database, workspace)).token, account, posts


async def _collect_results(url: str, writer_logs: Sequence[WriterLog], kills: int) -> KillResults:
    told = dict(chain.from_iterable(each.created_posts.items() for each in writer_logs))
    async with Database(url) as database:
        async with database.snapshot() as connection:
            posts = (
                await connection.execute(
                    select(models.Post.reference, models.Post.id, models.Post.content).where(
                        models.Post.reference.is_not(None)
                    )
                )
            ).all()
            created = await connection.scalars(
                select(models.Event.post_id).where(models.Event.kind == "post.created")
            )
            times_created = Counter(created)
            times_retried = Counter(
                await connection.scalars(
                    select(models.Event.post_id).where(models.Event.kind == "destination.changed")
                )
            )
        problems = await find_problems(database)
    for problem in problems:
        click.echo(problem, err=True)
    found = {(row.reference, row.id, row.content) for row in posts}
    lost = sum((name, UUID(key), text) not in found for name, (key, text) in told.items())
    lost += sum(
        UUID(key) not in times_retried for each in writer_logs for key in each.retried_posts
    )
    again = sum(times - 1 for times in Counter(row.reference for row in posts).values())
    return KillResults(
        acknowledged=sum(each.acknowledged for each in writer_logs),
        repeated=sum(each.repeated for each in writer_logs),
        kills=kills,
        lost=lost,
        duplicates=again
        + sum(times - 1 for times in (*times_created.values(), *times_retried.values())),
        problems=len(problems),
    )


def _reserve_port() -> int:
    """The same for every start, so that writers find the server again."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def _temporary_database(engine: str, folder: Path) -> Iterator[str]:
    with ExitStack() as stack:
        if engine == "sqlite":
            yield f"sqlite+aiosqlite:///{folder / 'post-results.db'}"
        else:
            server_url = stack.enter_context(postgres.running_server())
            yield stack.enter_context(postgres.new_database(server_url))


@click.command()
@click.option("--kills", default=50, show_default=True)
@click.option("--writers", default=8, show_default=True)
@click.option("--seed", type=int, help="Of the moments; without it, another one each time.")
def main(kills: int, writers: int, seed: int | None) -> None:
    """Kill the server under writers, on both engines; exit status 1 unless all is there, once."""
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    is_clean = True
    for engine in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, _temporary_database(engine, Path(name)) as url:
            logs = Path(name) / "logs"
            logs.mkdir()
            figures = run_kills(
                url,
                logs,
                kills=kills,
                writers=writers,
                retries=4 * kills,
                randomness=random.Random(seed),
            )
        click.echo(
            f"{engine}, seed {seed}: {figures.acknowledged} writes acknowledged,"
            f" {figures.repeated} of them after repetitions; {figures.kills} kills;"
            f" {figures.lost} lost, {figures.duplicates} duplicates, {figures.problems} problems"
        )
        is_clean = is_clean and figures.is_clean
    if not is_clean:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
