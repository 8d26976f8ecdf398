"""Measures how much a key of one workspace delays another workspace: `python -m tests.isolation`.

Two workspaces share a server with default settings, but without rate limits, which the attack would exceed.
A client of one workspace reads, claims, receives live updates, exports and probes `/livez`: first alone, then
while a key of the other one attacks. The attack sends expensive reads, opens subscriptions and exports that
it reads slowly or not, and leaves requests incomplete, all at the same time. Exits with 1 if anything of the
client fails.
"""

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click

from app.db.core.database import Database
from app.domain.ids import PostId
from tests.claim_benchmark import copy_post, insert_due_posts, open_migrated_database
from tests.command_processes import spawn
from tests.factories import (
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
    published,
)
from tests.isolation.client import INTERVALS, MeasuredClient
from tests.servers import run_server
from tests.subscriptions.latency import ENGINES, durable_database
from tests.subscriptions.latency_results import LatencyPercentiles

ATTACKS = ("reads", "subscriptions", "exports", "incomplete-requests")
MAX_RATIO = 3
"""Goal: the 99th percentile of each operation beside the attack, relative to that of the client alone."""
_DAYS = range(0, 60, 5)
"""Ages of the destinations, in days."""
_WARM_UP_SECONDS = 5
_END_SECONDS = 120
"""Time in which the last operations of the client end, each after its own timeout."""
_FAILURES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Tenant:
    token: str
    account: int
    post: PostId


async def seed(url: str, destinations: int) -> tuple[Tenant, Tenant]:
    """Add a workspace with a quarter of the destinations for the client, and one for the attack."""
    async with open_migrated_database(url) as database:
        return (
            await _add_tenant(database, destinations // 4),
            await _add_tenant(database, destinations),
        )


async def _add_tenant(database: Database, destinations: int) -> Tenant:
    """Add destinations of several days and accounts, a quarter of them failed, and due ones for claims."""
    workspace = await add_workspace(database)
    now = datetime.now(UTC).replace(microsecond=0)
    accounts = [await add_account(database, workspace) for _ in _DAYS]
    for day, account in zip(_DAYS, accounts, strict=True):
        due_at = now - timedelta(days=day)
        state = (
            published(due_at + timedelta(seconds=90), due_at=due_at)
            if day % 4
            else failed(due_at=due_at)
        )
        post = await add_post(database, workspace, {account: state}, created_at=due_at)
        copies = destinations // len(_DAYS) - 1
        await database.write_all_workspaces(partial(copy_post, post=post.id, count=copies))
    await insert_due_posts(database, workspace, accounts[0], 2000)
    key = await add_api_key(database, workspace)
    return Tenant(key.token, int(accounts[0]), post.id)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Operations of the client in one period."""

    durations: Mapping[str, list[float]]
    """Seconds of each completed operation by kind."""
    failures: list[str]


async def measure(url: str, tenant: Tenant, seconds: float) -> Measurement:
    client = MeasuredClient(url, tenant.token, tenant.account, tenant.post)
    async with asyncio.timeout(seconds + _END_SECONDS):
        await client.run(seconds)
    return Measurement(client.durations, client.failures)


@asynccontextmanager
async def running_attack(url: str, tenant: Tenant, kinds: str) -> AsyncIterator[list[str]]:
    """Run the attack in another process; yields a list that has its outcomes after the end of the context."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tests.isolation.attack",
            url,
            tenant.token,
            str(tenant.account),
            kinds,
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    outcomes: list[str] = []
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(_WARM_UP_SECONDS)
        yield outcomes
        process.send_signal(signal.SIGINT)
        output, _ = await process.communicate()
        outcomes += [f"{name} {count}" for name, count in sorted(json.loads(output).items())]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run_isolation(
    url: str, tenants: tuple[Tenant, Tenant], seconds: float, kinds: str
) -> bool:
    """Print the results on one engine; return whether nothing failed."""
    client, attacker = tenants
    await measure(url, client, _WARM_UP_SECONDS)
    alone = await measure(url, client, seconds)
    async with running_attack(url, attacker, kinds) as outcomes:
        attacked = await measure(url, client, seconds)
    click.echo("  " + ", ".join(outcomes))
    for name in INTERVALS:
        before, beside = (
            LatencyPercentiles.from_seconds(each.durations[name]) for each in (alone, attacked)
        )
        ratio = beside.p99 / before.p99
        click.echo(
            f"  {name:7} alone p50 {before.p50:6,.0f} ms, p99 {before.p99:6,.0f} ms;"
            f" attacked p50 {beside.p50:6,.0f} ms, p99 {beside.p99:6,.0f} ms, {ratio:5.1f} times"
            f"{'' if ratio <= MAX_RATIO else f'  above {MAX_RATIO}'}"
        )
    for period, measurement in (("alone", alone), ("attacked", attacked)):
        click.echo(f"  {len(measurement.failures)} failures {period}")
        for failure in measurement.failures[:_FAILURES_SHOWN]:
            click.echo(f"    {failure}")
    return not alone.failures and not attacked.failures


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Run on one engine only.")
@click.option(
    "--destinations", default=200_000, show_default=True, help="Of the attacking workspace."
)
@click.option("--seconds", default=30.0, show_default=True, help="Duration of each measurement.")
@click.option("--attacks", default=",".join(ATTACKS), show_default=True, help="Kinds of attacks.")
def main(engine: str | None, destinations: int, seconds: float, attacks: str) -> None:
    """Print the response times of a workspace, alone and beside an attack; exit with 1 after a failure."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    passed = []
    for name in ENGINES if engine is None else (engine,):
        with tempfile.TemporaryDirectory() as folder, durable_database(name, Path(folder)) as url:
            tenants = asyncio.run(seed(url, destinations))
            settings = {"DATABASE_URL": url, "RATE_LIMIT": "off"}
            with run_server(Path(folder), settings, start=spawn) as server:
                click.echo(f"{name}: {destinations:,} destinations, attacks: {attacks}")
                passed.append(asyncio.run(run_isolation(server.url, tenants, seconds, attacks)))
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
