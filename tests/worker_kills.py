"""Kills and suspends workers repeatedly while they publish: `python -m tests.worker_kills`.

Workers are interrupted in every phase: after a claim, after a start, after the platform accepted the post,
before and after the report. At the end, the sandbox and the database must agree on every publication.
"""

import asyncio
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from sqlalchemy import func, select

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.models import Attempt, Destination
from app.db.tools.integrity import find_problems
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.ids import AccountId, WorkspaceId
from app.platforms.sandbox_store import SandboxStore
from tests.factories import add_account, add_post, add_workspace, queued
from tests.server_kills import temporary_database
from tests.servers import LoggedProcess
from tests.worker.worker_bench import count_duplicates

LEASE = timedelta(seconds=3)
SANDBOX_ACCOUNTS = ("succeeds", "flaky", "times-out 0.2s", "rate-limited 1s")
MIN_DUE_POSTS = 60
"""Posts that are due while workers are killed, so that every worker is busy."""

SETTLE_TIMEOUT = timedelta(minutes=3)
"""Time after the last kill; destinations that are not settled by then count as stuck."""


@dataclass(frozen=True, slots=True)
class WorkerKillResults:
    """Result of a run; all numbers except the first four must be 0."""

    published: int
    unknown: int
    """Attempts with an unknown outcome."""
    kills: int
    suspensions: int
    """Suspensions that lasted longer than the lease."""
    duplicates: int
    """Publications that the sandbox has more than once."""
    lost: int
    """Destinations that are published only in the sandbox or only in the database."""
    stuck: int
    problems: int
    """Findings of the integrity check."""

    @property
    def is_clean(self) -> bool:
        return self.duplicates == self.lost == self.stuck == self.problems == 0


class WorkerGroup:
    """Worker processes on one database and one sandbox; a killed worker is restarted."""

    def __init__(self, folder: Path, environment: dict[str, str], count: int) -> None:
        self._folder = folder
        self._environment = environment
        self.count = count
        self._processes = [self._start() for _ in range(count)]
        self._resume_times: dict[int, float] = {}
        """Monotonic time at which each suspended worker resumes."""

    def _start(self) -> LoggedProcess:
        return LoggedProcess(self._folder, self._environment, "worker")

    def kill(self, index: int) -> None:
        self._resume_times.pop(index, None)
        self._processes[index].kill()
        self._processes[index] = self._start()

    def suspend(self, index: int, seconds: float) -> None:
        self._signal(index, signal.SIGSTOP)
        self._resume_times[index] = time.monotonic() + seconds

    def resume_due(self, now: float) -> None:
        """Resume the workers whose resume time is past."""
        for index, resume_at in list(self._resume_times.items()):
            if resume_at <= now:
                self._signal(index, signal.SIGCONT)
                del self._resume_times[index]

    def is_suspended(self, index: int) -> bool:
        return index in self._resume_times

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()

    def _signal(self, index: int, sig: int) -> None:
        os.kill(self._processes[index].process.pid, sig)


async def kill_workers(
    url: str, folder: Path, *, kills: int, workers: int, randomness: random.Random
) -> WorkerKillResults:
    """Kill and suspend workers, wait until every destination is settled, and count the results."""
    sandbox_file = folder / "ledger.jsonl"
    logs = folder / "logs"
    logs.mkdir()
    environment = {
        "DATABASE_URL": url,
        "SANDBOX_FILE": str(sandbox_file),
        "WORKER_LEASE": str(LEASE.total_seconds()),
    }
    # On SQLite, a worker that is suspended during a write blocks all other writers until it resumes.
    async with Database(url, timeout=timedelta(minutes=1)) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        workspace = await add_workspace(database)
        accounts = [
            await add_account(database, workspace, platform="sandbox", account_name=name)
            for name in SANDBOX_ACCOUNTS
        ]
        group = WorkerGroup(logs, environment, workers)
        try:
            suspensions = await _interrupt_workers(
                database, workspace, accounts, group, kills, randomness
            )
            stuck = await wait_until_settled(database, SETTLE_TIMEOUT)
        finally:
            group.kill_all()
        results = await _count_results(database, SandboxStore(sandbox_file))
    return replace(results, kills=kills - suspensions, suspensions=suspensions, stuck=stuck)


async def _interrupt_workers(
    database: Database,
    workspace: WorkspaceId,
    accounts: list[AccountId],
    group: WorkerGroup,
    kills: int,
    randomness: random.Random,
) -> int:
    """Kill or suspend random workers, and return the number of suspensions."""
    suspensions = 0
    # Beside the writes of this process: on SQLite, they wait for a worker that is suspended during a write.
    resuming = asyncio.create_task(_resume_workers(group))
    for _ in range(kills):
        await _add_due_posts(database, workspace, accounts)
        await asyncio.sleep(randomness.uniform(0.1, 0.9))
        index = randomness.randrange(group.count)
        if randomness.random() < 0.2 and not group.is_suspended(index):
            group.suspend(index, LEASE.total_seconds() + randomness.uniform(0.2, 2))
            suspensions += 1
        else:
            group.kill(index)
    resuming.cancel()
    group.resume_due(float("inf"))
    return suspensions


async def _resume_workers(group: WorkerGroup) -> None:
    while True:
        group.resume_due(time.monotonic())
        await asyncio.sleep(0.1)


async def _add_due_posts(
    database: Database, workspace: WorkspaceId, accounts: list[AccountId]
) -> None:
    for _ in range(max(MIN_DUE_POSTS - await _count_open(database), 0)):
        now = datetime.now(UTC)
        states = dict.fromkeys(accounts, queued(now))
        await add_post(database, workspace, states, submitted_now=True, created_at=now)


async def _count_open(database: Database) -> int:
    """Number of destinations without a final outcome."""
    is_open = Destination.outcome.in_([Outcome.NONE, Outcome.UNKNOWN])
    async with database.read_connection() as connection:
        return await connection.scalar(select(func.count()).where(is_open)) or 0


async def wait_until_settled(database: Database, limit: timedelta) -> int:
    """Wait for all outcomes, and return the number that is missing after the limit."""
    ends_at = time.monotonic() + limit.total_seconds()
    while remaining := await _count_open(database):
        if time.monotonic() > ends_at:
            break
        await asyncio.sleep(0.5)
    return remaining


async def _count_results(database: Database, sandbox: SandboxStore) -> WorkerKillResults:
    is_published = Destination.status == DestinationStatus.PUBLISHED
    async with database.read_connection() as connection:
        published = set(await connection.scalars(select(Destination.id).where(is_published)))
        unknown = await connection.scalar(
            select(func.count()).where(Attempt.outcome == Outcome.UNKNOWN)
        )
    on_sandbox = {post.destination_id for post in sandbox.posts()}
    return WorkerKillResults(
        published=len(published),
        unknown=unknown or 0,
        kills=0,
        suspensions=0,
        duplicates=count_duplicates(sandbox),
        lost=len(published ^ on_sandbox),
        stuck=0,
        problems=len(await find_problems(database)),
    )


@click.command()
@click.option(
    "--kills", default=500, show_default=True, help="Per engine; a fifth suspend instead."
)
@click.option("--workers", default=4, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(kills: int, workers: int, seed: int) -> None:
    """Print the results; exit with 1 if a publication is double, lost or stuck."""
    is_clean = True
    for engine in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, temporary_database(engine, Path(name)) as url:
            results = asyncio.run(
                kill_workers(
                    url, Path(name), kills=kills, workers=workers, randomness=random.Random(seed)
                )
            )
        click.echo(
            f"{engine}: {results.published} published, {results.kills} kills,"
            f" {results.suspensions} suspensions past the lease,"
            f" {results.unknown} attempts with an unknown outcome;"
            f" {results.duplicates} duplicates, {results.lost} lost, {results.stuck} stuck,"
            f" {results.problems} problems"
        )
        is_clean = is_clean and results.is_clean
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
