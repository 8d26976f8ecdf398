"""Measures how long writers of one SQLite file wait: `python -m tests.write_lock_waits`. Asserts nothing.

Several processes write as fast as they can, first without turns (SQLite's busy_timeout alone), then with.
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
from uuid import uuid4

import click

from app.db.core.database import Database
from app.db.core.write_lock import FileWriteLock, NoWriteLock, WriteLock
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
LOCKS: dict[str, Callable[[Path, timedelta], WriteLock]] = {
    "busy_timeout alone": lambda _file, _timeout: NoWriteLock(),
    "with turns": FileWriteLock,
}


def _measure_writes(
    url: str, workspace: WorkspaceId, lock_name: str, seconds: float
) -> list[float]:
    """What each write of one process took, in seconds."""

    async def run() -> list[float]:
        took = []
        async with Database(url, make_write_lock=LOCKS[lock_name]) as database:
            end = time.monotonic() + seconds
            while (start := time.monotonic()) < end:
                errand = WriteContext(
                    workspace_id=workspace, actor=None, operation="waits", now=datetime.now(UTC)
                )
                await create_post(database, errand, POST, None, check_quota=no_quota, new_id=uuid4)
                took.append(time.monotonic() - start)
        return took

    return asyncio.run(run())


async def _create_database(url: str) -> WorkspaceId:
    async with Database(url) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        return await add_workspace(database)


@click.command()
@click.option("--processes", default=8, show_default=True)
@click.option("--seconds", default=15.0, show_default=True)
def main(processes: int, seconds: float) -> None:
    """Print what writes of several processes on one SQLite file took, without and with turns."""
    click.echo(f"{processes} processes, {seconds:g} s each way")
    for way in LOCKS:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite+aiosqlite:///{folder}/post-results.db"
            workspace = asyncio.run(_create_database(url))
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                each = pool.starmap(_measure_writes, [(url, workspace, way, seconds)] * processes)
        took = sorted(chain.from_iterable(each))
        counts = sorted(map(len, each))
        click.echo(
            f"{way:>18}: {len(took)} writes ({counts[0]} to {counts[-1]} a process);"
            f" half took {_format_ms(took[len(took) // 2])}, 99 % {_format_ms(took[len(took) * 99 // 100])},"
            f" the longest {_format_ms(took[-1])}"
        )


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    main()
