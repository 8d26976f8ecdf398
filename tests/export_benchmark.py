"""Measures exports on both engines: `python -m tests.export_benchmark`.

Prints the rows per second, also per second of the server's CPU time, and the memory of the server before and
during the export. Exits with 1 if an export needs more CPU time or memory than allowed.
"""

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import click
import httpx
from sqlalchemy import text

from app.db.core.database import Database
from app.db.migrations import migrate
from tests import postgres
from tests.bench.linux_processes import cpu_seconds, memory
from tests.claim_benchmark import copy_post
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
    published,
)
from tests.raw_statements import run_raw
from tests.servers import ServerProcess, run_server

MIN_ROWS_PER_CPU_SECOND = 50_000
"""Without compression, which costs as much as the rest."""
MAX_MEMORY_GROWTH = 16.0
"""MiB: buffers of the batch and of the connection, and pages that SQLite caches."""
TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ExportMeasurement:
    """One export of all rows."""

    rows: int
    is_compressed: bool
    seconds: float
    cpu_seconds: float
    """CPU time of the server, without that of PostgreSQL."""
    memory_before: float
    """Private memory of the server in MiB."""
    memory_peak: float

    @property
    def is_good(self) -> bool:
        growth = self.memory_peak - self.memory_before
        is_slow = self.rows / self.cpu_seconds < MIN_ROWS_PER_CPU_SECOND
        return (self.is_compressed or not is_slow) and growth <= MAX_MEMORY_GROWTH

    def __str__(self) -> str:
        return (
            f"{self.rows / self.seconds:,.0f} rows/s, {self.rows / self.cpu_seconds:,.0f} per second of"
            f" CPU time; memory {self.memory_before:.0f} MB before, at most {self.memory_peak:.0f} MB"
        )


async def add_destinations(url: str, count: int) -> str:
    """Add a workspace with destinations, a tenth of them failed; return an API key."""
    async with Database(url, timeout=TIMEOUT) as database:
        await migrate(database, now=NOW, random_bytes=bytes)
        workspace = await add_workspace(database)
        account = await add_account(database, workspace)
        for state, copies in ((published(), count - count // 10), (failed(), count // 10)):
            post = await add_post(database, workspace, {account: state}, reference="spring-sale")
            await database.write_all_workspaces(partial(copy_post, post=post.id, count=copies - 1))
        if not database.is_sqlite:
            await database.write_all_workspaces(lambda session: run_raw(session, text("ANALYZE")))
        return (await add_api_key(database, workspace)).token


def measure_export(
    server: ServerProcess, token: str, export_format: str, *, use_gzip: bool
) -> ExportMeasurement:
    pid = server.process.pid
    before, started, cpu_before = memory(pid).private, time.perf_counter(), cpu_seconds(pid)
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept-Encoding": "gzip" if use_gzip else "identity",
    }
    lines = 0
    with (
        sampled_memory(pid) as samples,
        httpx.stream(
            "GET", f"{server.url}/v1/destinations.{export_format}", headers=headers, timeout=60
        ) as response,
    ):
        response.raise_for_status()
        for data in response.iter_bytes(1 << 20):
            lines += data.count(b"\n")
    seconds, cpu = time.perf_counter() - started, cpu_seconds(pid) - cpu_before
    rows = lines - 1 if export_format == "csv" else lines
    return ExportMeasurement(rows, use_gzip, seconds, cpu, before, max(before, *samples))


@contextmanager
def sampled_memory(pid: int) -> Iterator[list[float]]:
    """Measure the private memory of a process all the time."""
    samples, ended = [0.0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.05):
            samples.append(memory(pid).private)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def measure_engine(url: str, folder: Path, rows: int, rounds: int) -> bool:
    """Print the best round of each format; return whether all are good."""
    token = asyncio.run(add_destinations(url, rows))
    passed = True
    with run_server(folder, {"DATABASE_URL": url, "RATE_LIMIT": "off"}) as server:
        for export_format in ("csv", "ndjson"):
            for use_gzip in (False, True):
                measured = [
                    measure_export(server, token, export_format, use_gzip=use_gzip)
                    for _ in range(rounds)
                ]
                best = min(measured, key=lambda each: each.cpu_seconds)
                passed = passed and best.is_good
                click.echo(f"  {export_format}{', gzip' if use_gzip else ''}: {best}")
    return passed


@click.command()
@click.option("--rows", default=300_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(rows: int, rounds: int) -> None:
    """Print the measurements; exit with 1 if a limit is exceeded."""
    with tempfile.TemporaryDirectory() as name, postgres.running_server() as server:
        folder = Path(name)
        click.echo("SQLite")
        passed = measure_engine(f"sqlite+aiosqlite:///{folder}/export.db", folder, rows, rounds)
        with postgres.new_database(server) as url:
            click.echo("PostgreSQL")
            passed = measure_engine(url, folder, rows, rounds) and passed
    sys.exit(not passed)


if __name__ == "__main__":
    main()
