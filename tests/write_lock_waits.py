"""Measures how long writers of one SQLite file wait: `python -m tests.write_lock_waits`.

Several processes write as fast as they can, first with SQLite's busy_timeout alone, then with the fair lock.
"""

import asyncio
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Self
from uuid import uuid4

import click

from app.db.core.database import Database
from app.db.core.write_lock import FileWriteLock, WriteLock
from app.db.migrations import migrate
from app.domain.ids import WorkspaceId
from app.domain.post_commands import NewPost
from app.services.posts import create_post
from app.services.unit_of_work import WriteContext
from tests.factories import add_workspace, no_quota

POST = NewPost(
    content="Spring sale starts today",
    account_ids=[],
    scheduled_for=None,
    is_draft=True,
    timezone=None,
    media_ids=[],
    media=[],
    platform_content={},
    reference=None,
)


class NoWriteLock:
    """Write lock that is always free; writers wait for SQLite's own lock."""

    def acquire(self) -> Self:
        return self

    def release(self) -> None:
        pass


LOCKS: dict[str, Callable[[Path, timedelta], WriteLock]] = {
    "busy_timeout alone": lambda _file, _timeout: NoWriteLock(),
    "fair lock": FileWriteLock,
}


def _measure_writes(url: str, workspace: WorkspaceId, lock: str, seconds: float) -> list[float]:
    """Durations in seconds of the writes of one process."""

    async def run() -> list[float]:
        durations = []
        async with Database(url, make_write_lock=LOCKS[lock]) as database:
            end = time.monotonic() + seconds
            while (start := time.monotonic()) < end:
                context = WriteContext.without_actor(workspace, "waits", datetime.now(UTC))
                await create_post(
                    database, context, POST, None, charge_quota=no_quota, new_id=uuid4
                )
                durations.append(time.monotonic() - start)
        return durations

    return asyncio.run(run())


async def _create_database(url: str) -> WorkspaceId:
    async with Database(url) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        return await add_workspace(database)


@click.command()
@click.option("--processes", default=8, show_default=True)
@click.option("--seconds", default=15.0, show_default=True)
def main(processes: int, seconds: float) -> None:
    """Print how long writes of several processes to one SQLite file take, without and with the fair lock."""
    click.echo(f"{processes} processes, {seconds:g} s for each lock")
    for lock in LOCKS:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite+aiosqlite:///{folder}/post-results.db"
            workspace = asyncio.run(_create_database(url))
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                arguments = [(url, workspace, lock, seconds)] * processes
                by_process = pool.starmap(_measure_writes, arguments)
        durations = sorted(chain.from_iterable(by_process))
        counts = sorted(map(len, by_process))
        click.echo(
            f"{lock:>18}: {len(durations)} writes ({counts[0]} to {counts[-1]} per process);"
            f" p50 {_format_ms(durations[len(durations) // 2])},"
            f" p99 {_format_ms(durations[len(durations) * 99 // 100])},"
            f" maximum {_format_ms(durations[-1])}"
        )


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    main()
