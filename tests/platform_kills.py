"""Kills workers repeatedly while they publish on real servers: `python -m tests.platform_kills`.

A proxy before each server loses, cuts and delays most requests that publish. At the end, each post must be
on each platform once, and reported with its URL. A server that ignores idempotency keys, snac2, may have a
few posts twice, which must be reported as duplicates.
"""

import asyncio
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
from sqlalchemy import bindparam, func, select, update

from app.db.core.database import Database
from app.db.core.types import UtcDateTime
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.migrations import migrate
from app.db.models import Attempt, Destination, DuplicateCheck
from app.db.tools.integrity import find_problems
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.destinations import Outcome
from app.services.secret_cipher import new_secrets_key
from tests.command_processes import fork
from tests.factories import add_api_key, add_workspace
from tests.platform_servers.fault_proxy import FaultPlan, FaultProxy, fault_proxy
from tests.platforms.proxied_platforms import (
    PROXIED_PLATFORMS,
    PlatformPost,
    ProxiedAccount,
    ProxiedPlatform,
)
from tests.raw_statements import run_raw
from tests.retrying_client import RetryingClient
from tests.server_kills import temporary_database
from tests.servers import ServerGroup
from tests.worker_kills import WorkerGroup, wait_until_settled

POSTS_PER_ACCOUNT = 20
"""A lookup by the API of Mastodon reads all recent posts of an account."""

WORKERS = 2
CONCURRENCY = 32
"""Posts that a worker publishes concurrently: a request that is delivered late takes 30 s."""

LEASE = timedelta(seconds=40)
"""Longer than a lookup, for which workers do not renew a lease."""

FAULT_RATE = 0.75
MAX_EXCHANGES = 10
"""Requests that a server has to answer at a time: mastodon-mock hangs with more than 15."""

MAX_DELAY = timedelta(seconds=5)
"""Longest delay of a request by a proxy, also after its client has given up."""

REPEATED_LOOKUP_AGE = timedelta(minutes=2, seconds=5)
"""Age of an unknown outcome at which it is looked up again. The adapter for Mastodon needs two minutes."""

TIME_LIMIT = timedelta(minutes=40)
"""Longest time from the start of the workers until every outcome is known."""

CHECK_TIME_LIMIT = timedelta(minutes=10)
"""Longest time from the last delivery until every check for a duplicate has run."""

MIN_UNKNOWN_SHARE = 0.5
"""Unknown outcomes per post, below which a run shows too little."""

MAX_DOUBLE_SHARES = {"bluesky": 0.0, "mastodon-mock": 0.0, "snac2": 0.01}
"""Posts that a platform may have twice, as a share of all posts."""

NETWORKS = "127.0.0.0/8,::1/128"
RETRY_POLICY = "\n".join(
    f"[categories.{category}]\nbase_seconds = 1\ncap_seconds = 5\nmax_attempts = 50"
    for category in ("transient", "unclassified")
)

CONNECT = (
    "mutation($input: ConnectAccountInput!)"
    " { connectAccount(input: $input) { account { accountId } } }"
)
CREATE = (
    "mutation($input: CreatePostsInput!)"
    " { createPosts(input: $input) { results { error { code } } } }"
)
RESULTS = (
    "query($after: String) { destinations(first: 100, after: $after) { nodes { accountId status"
    " platformPostUrl isDuplicated post { content } } pageInfo { endCursor hasNextPage } } }"
)
BATCH_SIZE = 50
ENGINES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformResults:
    """Result of a run on one platform."""

    name: str
    posts: int
    """Posts that were sent to the platform."""
    on_platform: int
    distinct: int
    reported: int
    """Posts that are reported PUBLISHED, with the URL of a post on the platform that has their text."""
    unknown: int
    """Attempts with an unknown outcome."""
    duplicated: int
    """Posts that are twice on the platform and reported as duplicates."""

    @property
    def double(self) -> int:
        return self.on_platform - self.distinct

    @property
    def lost(self) -> int:
        return self.posts - self.distinct

    @property
    def failures(self) -> list[str]:
        """What must not be in a run, and is in this one."""
        failures = {
            "lost posts": self.lost != 0,
            "double posts": self.double > MAX_DOUBLE_SHARES[self.name] * self.posts,
            "double posts that are not reported": self.duplicated != self.double,
            "posts without a correct report": self.reported != self.posts,
            "too few unknown outcomes": self.unknown < MIN_UNKNOWN_SHARE * self.posts,
        }
        return [name for name, is_present in failures.items() if is_present]

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.posts} posts, {self.on_platform} on the platform,"
            f" {self.distinct} distinct, {self.double} double ({self.double / self.posts:.1%}),"
            f" {self.duplicated} of them reported as duplicates, {self.lost} lost,"
            f" {self.reported} reported PUBLISHED with the right URL; {self.unknown} unknown outcomes"
        )


@dataclass(frozen=True, slots=True)
class ConnectedAccount:
    """An account of a platform, with its number in the workspace."""

    platform: str
    id: int
    account: ProxiedAccount


async def publish_while_killing_workers(
    database_url: str,
    folder: Path,
    platforms: Mapping[str, ProxiedPlatform],
    *,
    posts: int,
    kills: int,
    randomness: random.Random,
) -> tuple[list[PlatformResults], list[str]]:
    """Publish posts on each platform while workers are killed; return results, and integrity problems."""
    logs = folder / "logs"
    logs.mkdir()
    policy_file = folder / "retries.toml"
    policy_file.write_text(RETRY_POLICY)
    settings = {
        "SECRETS_KEY": new_secrets_key(),
        "OUTBOUND_ALLOW_HTTP": "yes",
        "OUTBOUND_ALLOWED_NETWORKS": NETWORKS,
        "RETRY_POLICY_FILE": str(policy_file),
        "WORKER_CONCURRENCY": str(CONCURRENCY),
        "WORKER_LEASE": str(LEASE.total_seconds()),
    }
    async with Database(database_url, timeout=timedelta(minutes=1)) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        scopes = (*DEFAULT_SCOPES, Scope.CREDENTIALS)
        token = (await add_api_key(database, await add_workspace(database), scopes=scopes)).token
        servers = ServerGroup(logs, database_url, 1, start=fork, **settings)
        try:
            await asyncio.to_thread(servers.start)
            async with RetryingClient(servers.urls, token) as client:
                accounts = await _connect_accounts(client, platforms, posts)
                await _create_posts(client, accounts, posts)
                async with _running_proxies(platforms, randomness) as proxies:
                    workers = WorkerGroup(logs, {"DATABASE_URL": database_url, **settings}, WORKERS)
                    try:
                        await _publish_and_kill(database, workers, kills, randomness)
                        await asyncio.gather(*(each.wait_for_deliveries() for each in proxies))
                        await _run_duplicate_checks(database)
                    finally:
                        workers.kill_all()
                results = await _collect_results(database, client, accounts, posts)
            await asyncio.to_thread(servers.stop)
        finally:
            servers.kill()
        return results, await find_problems(database)


async def _connect_accounts(
    client: RetryingClient, platforms: Mapping[str, ProxiedPlatform], posts: int
) -> list[ConnectedAccount]:
    """Connect enough accounts of each platform by the API, with their credentials."""
    accounts = []
    for name, platform in platforms.items():
        for _ in range(0, posts, POSTS_PER_ACCOUNT):
            account = await platform.create_account()
            connection = {
                "platform": platform.publisher.value,
                "publisher": platform.publisher.name,
                "credentials": account.credentials,
            }
            data = await client.execute(CONNECT, input=connection)
            accounts.append(
                ConnectedAccount(name, data["connectAccount"]["account"]["accountId"], account)
            )
    return accounts


async def _create_posts(
    client: RetryingClient, accounts: Sequence[ConnectedAccount], posts: int
) -> None:
    """Create posts that are due immediately, each on one account of each platform."""
    ids: dict[str, list[int]] = defaultdict(list)
    for account in accounts:
        ids[account.platform].append(account.id)
    inputs = [
        {
            "content": _content(number),
            "accountIds": [each[number // POSTS_PER_ACCOUNT] for each in ids.values()],
        }
        for number in range(posts)
    ]
    for batch in range(0, posts, BATCH_SIZE):
        batch_input = {"posts": inputs[batch : batch + BATCH_SIZE], "idempotencyKey": str(batch)}
        data = await client.execute(CREATE, input=batch_input)
        assert all(result["error"] is None for result in data["createPosts"]["results"])


def _content(number: int) -> str:
    return f"Post {number}"


@asynccontextmanager
async def _running_proxies(
    platforms: Mapping[str, ProxiedPlatform], randomness: random.Random
) -> AsyncIterator[list[FaultProxy]]:
    """Run the proxies of the platforms, until each late request is delivered."""
    proxies = []
    async with AsyncExitStack() as stack:
        for platform in platforms.values():
            plan = FaultPlan(
                seed=randomness.randrange(1000),
                may_fail=platform.is_publication,
                rate=FAULT_RATE,
                max_delay=MAX_DELAY,
                max_exchanges=MAX_EXCHANGES,
            )
            proxy = fault_proxy(platform.server_port, plan, port=platform.proxy_port)
            proxies.append(await stack.enter_async_context(proxy))
        yield proxies


async def _publish_and_kill(
    database: Database, workers: WorkerGroup, kills: int, randomness: random.Random
) -> None:
    """Kill a random worker after each part of the first attempts, and wait for all outcomes."""
    repeated_lookups = asyncio.create_task(_repeat_lookups(database))
    try:
        async with asyncio.timeout(TIME_LIMIT.total_seconds()):
            for number in range(kills):
                await _wait_for_attempts(database, (number + 1) / (kills + 1))
                await asyncio.to_thread(workers.kill, randomness.randrange(workers.count))
            await wait_until_settled(database, TIME_LIMIT)
    except TimeoutError:
        click.echo(f"stopped after {TIME_LIMIT}", err=True)
    finally:
        repeated_lookups.cancel()


async def _wait_for_attempts(database: Database, share: float) -> None:
    """Wait until this share of the destinations has been attempted."""
    total, attempted = func.count(), func.count().filter(Destination.attempts > 0)
    while True:
        async with database.read_connection() as connection:
            row = (await connection.execute(select(total, attempted))).one()
        if row[1] >= share * row[0]:
            return
        await asyncio.sleep(0.1)


async def _repeat_lookups(database: Database) -> None:
    """Let workers repeat lookups before the intervals of the service have passed."""
    while True:
        await database.write_all_workspaces(partial(_make_verifiable, now=datetime.now(UTC)))
        await asyncio.sleep(1)


async def _make_verifiable(session: AllWorkspacesWriteSession, now: datetime) -> None:
    await run_raw(session, _REPEAT_LOOKUPS, now=now, settled_before=now - REPEATED_LOOKUP_AGE)


_REPEAT_LOOKUPS = (
    update(Destination)
    .where(
        Destination.verification_token.is_(None),
        Destination.verifiable_at > bindparam("now"),
        Destination.settled_at < bindparam("settled_before"),
    )
    .values(verifiable_at=bindparam("now"))
)


async def _run_duplicate_checks(database: Database) -> None:
    """Let workers run the checks for duplicates before their time, and wait until each has a result."""
    await database.write_all_workspaces(partial(_make_checks_due, now=datetime.now(UTC)))
    try:
        async with asyncio.timeout(CHECK_TIME_LIMIT.total_seconds()):
            while await _count_checks(database):  # noqa: ASYNC110 - in other processes
                await asyncio.sleep(1)
    except TimeoutError:
        click.echo(f"{await _count_checks(database)} duplicate checks have no result", err=True)


async def _make_checks_due(session: AllWorkspacesWriteSession, now: datetime) -> None:
    await run_raw(session, _CHECK_NOW, now=now)


_CHECK_NOW = (
    update(DuplicateCheck)
    .where(DuplicateCheck.attempts == 0)
    .values(check_at=bindparam("now", type_=UtcDateTime()))
)


async def _count_checks(database: Database) -> int:
    async with database.read_connection() as connection:
        return await connection.scalar(select(func.count()).select_from(DuplicateCheck)) or 0


async def _collect_results(
    database: Database, client: RetryingClient, accounts: Sequence[ConnectedAccount], posts: int
) -> list[PlatformResults]:
    """Compare what each platform has with what the API reports."""
    destinations = await _read_destinations(client)
    unknown = await _count_unknown(database)
    results = []
    for name in dict.fromkeys(each.platform for each in accounts):
        of_platform = {each.id: each.account for each in accounts if each.platform == name}
        lists = [await account.list_posts() for account in of_platform.values()]
        results.append(
            compare(
                name,
                posts,
                [post for posts_of_account in lists for post in posts_of_account],
                [each for each in destinations if each["accountId"] in of_platform],
                sum(unknown[account_id] for account_id in of_platform),
            )
        )
    return results


async def _read_destinations(client: RetryingClient) -> list[dict[str, Any]]:
    destinations: list[dict[str, Any]] = []
    page = {"endCursor": None, "hasNextPage": True}
    while page["hasNextPage"]:
        connection = (await client.execute(RESULTS, after=page["endCursor"]))["destinations"]
        destinations += connection["nodes"]
        page = connection["pageInfo"]
    return destinations


async def _count_unknown(database: Database) -> Counter[int]:
    """Number of attempts with an unknown outcome, by account."""
    ids = select(Attempt.account_id).where(Attempt.outcome == Outcome.UNKNOWN)
    async with database.read_connection() as connection:
        return Counter(await connection.scalars(ids))


def compare(
    name: str,
    posts: int,
    on_platform: Sequence[PlatformPost],
    destinations: Sequence[Mapping[str, Any]],
    unknown: int,
) -> PlatformResults:
    """Compare the posts on a platform with the destinations that the API reports for it."""
    copies = Counter(post.text for post in on_platform)
    publications = {("PUBLISHED", post.url, post.text) for post in on_platform}
    return PlatformResults(
        name=name,
        posts=posts,
        on_platform=len(on_platform),
        distinct=len(copies),
        reported=sum(
            (each["status"], each["platformPostUrl"], each["post"]["content"]) in publications
            for each in destinations
        ),
        unknown=unknown,
        duplicated=sum(
            copies[each["post"]["content"]] - 1 for each in destinations if each["isDuplicated"]
        ),
    )


@click.command()
@click.option("--posts", default=1000, show_default=True, help="On each platform.")
@click.option("--kills", default=20, show_default=True, help="Of workers, for all platforms.")
@click.option(
    "--platform",
    "names",
    type=click.Choice([*PROXIED_PLATFORMS]),
    multiple=True,
    default=[*PROXIED_PLATFORMS],
    help="Only this platform; can be repeated.",
)
@click.option("--engine", type=click.Choice(ENGINES), default="sqlite", show_default=True)
@click.option("--seed", type=int, help="Seed of the faults and kills; random by default.")
def main(posts: int, kills: int, names: Sequence[str], engine: str, seed: int | None) -> None:
    """Publish on each platform; exit with 1 if a post is lost, double or not reported as it should be."""
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(temporary_database(engine, folder))
        platforms = {}
        for name in names:
            (folder / name).mkdir()
            platforms[name] = stack.enter_context(PROXIED_PLATFORMS[name](folder / name))
        started_at = time.monotonic()
        results, problems = asyncio.run(
            publish_while_killing_workers(
                url,
                folder,
                platforms,
                posts=posts,
                kills=kills,
                randomness=random.Random(seed),
            )
        )
    seconds = time.monotonic() - started_at
    click.echo(f"{engine}, seed {seed}: {kills} kills of workers, {seconds:.0f} s")
    for result in results:
        click.echo(str(result))
        for failure in result.failures:
            click.echo(f"  FAILED: {failure}")
    for problem in problems:
        click.echo(f"  FAILED: {problem}")
    sys.exit(any([problems, *(result.failures for result in results)]))


if __name__ == "__main__":
    main()
