"""Workers killed and stopped again and again while they publish: `python -m tests.worker_kills`.

Each is met wherever it is: after a claim, after a start, after the platform has accepted, before and
after the report. In the end the sandbox's ledger and the database must tell the same, each post once.
"""

import asyncio
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from tests import postgres
from tests.factories import add_account, add_post, add_workspace, queued
from tests.servers import LoggedProcess

LEASE = timedelta(seconds=3)
SANDBOX_ACCOUNTS = ("succeeds", "flaky", "times-out 0.2s", "rate-limited 1s")
MIN_DUE_POSTS = 60
"""Posts that wait while workers are killed; fewer, and there would be no work to kill them at."""

SETTLE_TIMEOUT = timedelta(minutes=3)
"""After the last kill; what then is not settled counts as stuck."""


@dataclass(frozen=True, slots=True)
class WorkerKillResults:
    """What a run came to; all but the first four must be 0."""

    published: int
    unknown: int
    """Attempts of which nobody told the end."""
    kills: int
    stops: int
    """Past the lease, and then let on."""
    duplicates: int
    """Published once more than they should be."""
    lost: int
    """Published, and the database does not say so; or the other way round."""
    stuck: int
    problems: int
    """Found by the check."""

    @property
    def is_clean(self) -> bool:
        return self.duplicates == self.lost == self.stuck == self.problems == 0


class WorkerGroup:
    """Processes on one database and one ledger; a killed one is started anew."""

    def __init__(self, folder: Path, settings: dict[str, str], count: int) -> None:
        self._folder = folder
        self._settings = settings
        self.count = count
        self._processes = [self._start() for _ in range(count)]
        self._resume_times: dict[int, float] = {}
        """When each that is stopped is let on."""

    def _start(self) -> LoggedProcess:
        return LoggedProcess(self._folder, self._settings, "worker")

    def kill(self, number: int) -> None:
        self._resume_times.pop(number, None)
        self._processes[number].kill()
        self._processes[number] = self._start()

    def stop(self, number: int, seconds: float) -> None:
        self._signal(number, signal.SIGSTOP)
        self._resume_times[number] = time.monotonic() + seconds

    def resume(self, *, all_stopped: bool = False) -> None:
        for number, until in list(self._resume_times.items()):
            if all_stopped or until <= time.monotonic():
                self._signal(number, signal.SIGCONT)
                del self._resume_times[number]

    def is_stopped(self, number: int) -> bool:
        return number in self._resume_times

    def kill_all(self) -> None:
        for each in self._processes:
            each.kill()

    def _signal(self, number: int, sig: int) -> None:
        os.kill(self._processes[number].process.pid, sig)


async def run_kills(
    url: str, folder: Path, *, kills: int, workers: int, randomness: random.Random
) -> WorkerKillResults:
    """Kill and stop so often, then let everything be settled, and count."""
    ledger = SandboxStore(folder / "ledger.jsonl")
    logs = folder / "logs"
    logs.mkdir()
    settings = {
        "DATABASE_URL": url,
        "SANDBOX_FILE": str(folder / "ledger.jsonl"),
        "WORKER_LEASE": str(LEASE.total_seconds()),
    }
    # On SQLite, who is stopped while it writes lets nobody else write until it is let on.
    async with Database(url, timeout=timedelta(minutes=1)) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        workspace = await add_workspace(database)
        accounts = [
            await add_account(database, workspace, platform="sandbox", account_name=name)
            for name in SANDBOX_ACCOUNTS
        ]
        running = WorkerGroup(logs, settings, workers)
        try:
            stops = await _kill_workers(database, workspace, accounts, running, kills, randomness)
            stuck = await _wait_until_settled(database)
        finally:
            running.kill_all()
        figures = await _count_results(database, ledger)
    return replace(figures, kills=kills - stops, stops=stops, stuck=stuck)


async def _kill_workers(
    database: Database,
    workspace: WorkspaceId,
    accounts: list[AccountId],
    running: WorkerGroup,
    kills: int,
    randomness: random.Random,
) -> int:
    """How many of them were stops past the lease."""
    stops = 0
    for _ in range(kills):
        await _add_due_posts(database, workspace, accounts)
        await asyncio.sleep(randomness.uniform(0.1, 0.9))
        running.resume()
        number = randomness.randrange(running.count)
        if randomness.random() < 0.2 and not running.is_stopped(number):
            running.stop(number, LEASE.total_seconds() + randomness.uniform(0.2, 2))
            stops += 1
        else:
            running.kill(number)
    running.resume(all_stopped=True)
    return stops


async def _add_due_posts(
    database: Database, workspace: WorkspaceId, accounts: list[AccountId]
) -> None:
    for _ in range(max(MIN_DUE_POSTS - await _count_open(database), 0)):
        now = datetime.now(UTC)
        states = dict.fromkeys(accounts, queued(now))
        await add_post(database, workspace, states, submitted_now=True, created_at=now)


async def _count_open(database: Database) -> int:
    """Destinations of which it will still be told what came of them."""
    is_open = Destination.outcome.in_([Outcome.NONE, Outcome.UNKNOWN])
    async with database.unscoped_connection() as connection:
        return await connection.scalar(select(func.count()).where(is_open)) or 0


async def _wait_until_settled(database: Database) -> int:
    """How many are open when the time is up."""
    ends_at = time.monotonic() + SETTLE_TIMEOUT.total_seconds()
    while left := await _count_open(database):
        if time.monotonic() > ends_at:
            break
        await asyncio.sleep(0.5)
    return left


async def _count_results(database: Database, ledger: SandboxStore) -> WorkerKillResults:
    is_published = Destination.status == DestinationStatus.PUBLISHED
    async with database.unscoped_connection() as connection:
        published = set(await connection.scalars(select(Destination.id).where(is_published)))
        unknown = await connection.scalar(
            select(func.count()).where(Attempt.outcome == Outcome.UNKNOWN)
        )
    told = {each.destination_id for each in ledger.posts()}
    return WorkerKillResults(
        published=len(published),
        unknown=unknown or 0,
        kills=0,
        stops=0,
        duplicates=ledger.count_duplicates(),
        lost=len(published ^ told),
        stuck=0,
        problems=len(await find_problems(database)),
    )


@contextmanager
def _temporary_databases() -> Iterator[Iterator[tuple[str, str, Path]]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(
            postgres.new_database(stack.enter_context(postgres.running_server()))
        )
        urls = {"SQLite": f"sqlite+aiosqlite:///{folder}/post-results.db", "PostgreSQL": url}
        for name in urls:
            (folder / name).mkdir()
        yield iter([(name, url, folder / name) for name, url in urls.items()])


@click.command()
@click.option("--kills", default=500, show_default=True, help="Of each engine; a fifth are stops.")
@click.option("--workers", default=4, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(kills: int, workers: int, seed: int) -> None:
    """Print what became of everything; exits with 1 if anything is twice, lost or stuck."""
    are_clean = []
    with _temporary_databases() as databases:
        for name, url, folder in databases:
            figures = asyncio.run(
                run_kills(url, folder, kills=kills, workers=workers, randomness=random.Random(seed))
            )
            are_clean.append(figures.is_clean)
            click.echo(
                f"{name}: {figures.published} published under {figures.kills} SIGKILLs and"
                f" {figures.stops} stops past the lease, {figures.unknown} attempts with an unknown end;"
                f" {figures.duplicates} twice, {figures.lost} lost, {figures.stuck} stuck,"
                f" {figures.problems} problems"
            )
    sys.exit(not all(are_clean))


if __name__ == "__main__":
    main()
