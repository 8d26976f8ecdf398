"""A running service with a worker and a client, below which a fault happens."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

from sqlalchemy import func, or_, select

from app.db.core.database import Database
from app.db.models import Destination, Post
from app.db.tools.integrity import find_problems
from app.domain.destinations import DestinationStatus
from app.platforms.sandbox_store import SandboxStore
from tests import postgres
from tests.claim_benchmark import open_migrated_database
from tests.command_processes import StartProcess, fork
from tests.factories import add_account, add_api_key, add_post, add_workspace
from tests.faults.client import FaultClient
from tests.flood import SeededData
from tests.retrying_client import RetryingClient
from tests.servers import LoggedProcess, ServerGroup
from tests.worker.worker_bench import count_duplicates
from tests.worker_kills import wait_until_settled

RECOVERY_LIMIT = 15
"""Seconds until everything must work again after the end of a fault."""
ANSWER_LIMIT = 30
"""Seconds: REQUEST_TIMEOUT."""
_PATIENCE = 60
"""Seconds to wait for a recovery."""
_SETTLE_LIMIT = timedelta(seconds=90)
"""Time for the outcomes of all posts; includes the leases of claims whose responses were lost."""
_OPERATION_LIMIT = 300
"""Seconds for which the client repeats an operation."""

T = TypeVar("T")

Urls: TypeAlias = Callable[[ServerGroup], Iterable[str]]


class NotRun(Exception):
    """Reason why a fault cannot be caused on this engine or machine."""


@dataclass(slots=True)
class FaultResult:
    """Measurements of the client, from the start of the service until all posts were published."""

    recovery: float = float("inf")
    """Seconds from the end of the fault until all kinds of operations have succeeded."""
    last: str = ""
    """Kind of operation that succeeded last."""
    longest: float = 0
    """Seconds until the latest response."""
    failed: int = 0
    """Requests with an error or without a response; the client repeated each."""
    lost: int = 0
    """Answered creations, reports and publications that are not stored."""
    doubled: int = 0
    """Posts stored twice, and publications on the platforms that happened twice."""
    requires_success: bool = False
    """True if no request may fail."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return (
            not (self.lost or self.doubled or self.problems)
            and self.recovery <= RECOVERY_LIMIT
            and self.longest <= ANSWER_LIMIT
            and not (self.requires_success and self.failed)
        )


class Service:
    """Servers, a worker and a client. `result` is complete after the end of the context."""

    def __init__(
        self,
        servers: ServerGroup,
        client: FaultClient,
        data: SeededData,
        start_worker: Callable[[StartProcess, dict[str, str]], LoggedProcess],
        result: FaultResult,
    ) -> None:
        self.servers, self.client, self.data = servers, client, data
        self.result = result
        self.start_worker = start_worker
        self.must_fail = False
        self.fault_ended_at = 0.0

    @contextmanager
    def fault(self, *, must_fail: bool = False) -> Iterator[None]:
        """The time of the fault; `must_fail` if some requests must fail during it or soon after."""
        self.must_fail = must_fail
        yield
        self.fault_ended_at = time.monotonic()

    async def until_a_failure(self) -> None:
        """Wait until a request fails."""
        failed = self.client.requests.failures
        async with asyncio.timeout(_PATIENCE):
            while self.client.requests.failures == failed:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class FaultBench:
    """Starts services on one engine; `folder` stores everything."""

    engine: str
    folder: Path
    is_quick: bool = False
    """Use shorter faults."""
    result: FaultResult = field(default_factory=FaultResult)

    @property
    def is_sqlite(self) -> bool:
        return self.engine == "sqlite"

    def seconds(self, full: float) -> float:
        return min(full, 5) if self.is_quick else full

    def count(self, full: int) -> int:
        return full // 10 if self.is_quick else full

    @asynccontextmanager
    async def database(self, folder: Path | None = None) -> AsyncIterator[str]:
        """URL of an empty database with durable commits; `folder` stores its files."""
        if self.is_sqlite:
            yield f"sqlite+aiosqlite:///{(folder or self.folder) / 'post-results.db'}"
        else:
            async with self.postgresql(folder) as (_, url):
                yield url

    @asynccontextmanager
    async def postgresql(
        self, folder: Path | None = None
    ) -> AsyncIterator[tuple[postgres.LocalServer, str]]:
        """A server, and the URL of an empty database on it."""
        async with (
            in_thread(postgres.local_server(folder)) as server,
            in_thread(postgres.new_database(server.url)) as url,
        ):
            yield server, url

    @asynccontextmanager
    async def service(
        self,
        url: str,
        *,
        network_url: str | None = None,
        servers: int = 1,
        readers: int = 0,
        sandbox_name: str = "succeeds",
        urls: Urls = lambda servers: servers.urls,
        start: StartProcess = fork,
        **settings: str,
    ) -> AsyncIterator[Service]:
        """Run a service, at the end wait until it has recovered, and measure.

        The service reaches the database by `network_url`, if that is set. The name of the sandbox account
        decides how long a publication takes.
        """
        logs = Path(tempfile.mkdtemp(dir=self.folder))
        sandbox_file = self.folder / "ledger.jsonl"
        worker_settings = {
            **settings,
            "DATABASE_URL": network_url or url,
            "SANDBOX_FILE": str(sandbox_file),
            "WORKER_LEASE": "10",
        }
        data, sandbox_account = await _seed(url, sandbox_name)
        with ExitStack() as stack:

            def start_worker(start: StartProcess, variables: dict[str, str]) -> LoggedProcess:
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                worker = LoggedProcess(folder, worker_settings | variables, "worker", start=start)
                stack.callback(worker.kill)
                return worker

            group = ServerGroup(logs, network_url or url, servers, start=start, **settings)
            stack.callback(group.kill)
            await asyncio.to_thread(group.start)
            start_worker(fork, {})
            async with RetryingClient(
                urls(group), data.token, seconds=_OPERATION_LIMIT
            ) as requests:
                client = FaultClient(requests, data, sandbox_account, group.urls[0], readers)
                async with client.running():
                    service = Service(group, client, data, start_worker, self.result)
                    yield service
                    await _measure(service, url, SandboxStore(sandbox_file))


async def _measure(service: Service, url: str, sandbox: SandboxStore) -> None:
    result, client = service.result, service.client
    result.recovery, result.last = await client.recovery(service.fault_ended_at, _PATIENCE)
    if service.must_fail and not client.requests.failures:
        result.problems.append("no request failed: the fault did not happen")
    client.stop_creating()
    async with Database(url) as database:
        unsettled = await wait_until_settled(database, _SETTLE_LIMIT)
        if later := await _count_due_later(database):
            result.notes.append(f"{later} destinations can be published only later")
        if unsettled > later:
            result.problems.append(f"{unsettled - later} destinations without an outcome")
        await asyncio.sleep(1)  # reports of the client are answered
        result.longest, result.failed = client.requests.longest, client.requests.failures
        await _count_lost_and_doubled(database, client, sandbox, result)
        result.problems += map(str, await find_problems(database))


async def _count_lost_and_doubled(
    database: Database, client: FaultClient, sandbox: SandboxStore, result: FaultResult
) -> None:
    async with database.read_connection() as connection:
        posts = (await connection.execute(select(Post.reference, Post.id))).all()
        is_published = Destination.status == DestinationStatus.PUBLISHED
        published = set(await connection.scalars(select(Destination.id).where(is_published)))
    stored = {(post.reference, str(post.id)) for post in posts}
    on_platforms = {*client.published, *(post.destination_id for post in sandbox.posts())}
    unreported = (published ^ on_platforms) | (client.reported - published)
    result.lost = len(client.created.items() - stored) + len(unreported)
    references = Counter(post.reference for post in posts if post.reference)
    result.doubled = (
        sum(references.values())
        - len(references)
        + len(client.published)
        - len(set(client.published))
        + count_duplicates(sandbox)
    )


async def _count_due_later(database: Database) -> int:
    """Number of destinations that a server whose clock is ahead has scheduled, or leased until later."""
    now = datetime.now(UTC)
    is_later = or_(
        Destination.claimable_at > now,
        Destination.lease_expires_at > now,
        Destination.verifiable_at > now,
    )
    async with database.read_connection() as connection:
        return await connection.scalar(select(func.count()).where(is_later)) or 0


async def _seed(url: str, sandbox_name: str) -> tuple[SeededData, int]:
    """A workspace with an account for the client and one of the sandbox, and another one for floods."""
    async with open_migrated_database(url) as database:
        workspace = await add_workspace(database)
        account = await add_account(database, workspace)
        sandbox = await add_account(
            database, workspace, platform="sandbox", account_name=sandbox_name
        )
        other = await add_workspace(database)
        post = await add_post(database, other, is_draft=True)
        token, flood_token = [
            (await add_api_key(database, each)).token for each in (workspace, other)
        ]
    return SeededData(token, int(account), flood_token, post.id), int(sandbox)


@asynccontextmanager
async def in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and exit a context in a thread, because it blocks or runs an event loop."""
    value = await asyncio.to_thread(context.__enter__)
    try:
        yield value
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def require_root(command: str) -> None:
    """Raise NotRun unless root runs this process and the command is installed."""
    if os.geteuid() != 0 or shutil.which(command) is None:
        raise NotRun(f"needs root and {command}")


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system in memory inside `folder`."""
    require_root("mount")
    disk = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Fill a disk with a file during the block."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):  # there is no space for more
                while file.write(bytes(size)) == size:
                    pass
    try:
        yield
    finally:
        filler.unlink()
