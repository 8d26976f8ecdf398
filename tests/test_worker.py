"""Worker processes: start, shutdown, kill, suspension, and output."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.asgi import now_utc
from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.db.repositories.worker_keys import worker_key_times
from app.db.tools.integrity import find_problems
from app.domain.accounts import AccountPublisher
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState, Outcome
from app.domain.times import truncate_to_ms
from app.platforms.sandbox import Behaviour
from app.platforms.sandbox_store import SandboxStore
from tests.command_processes import CommandProcess
from tests.credential_rows import (
    CIPHER,
    KEY,
    OTHER_CIPHER,
    OTHER_KEY,
    add_credentials,
)
from tests.factories import add_account, add_workspace
from tests.hpke_credential_rows import HPKE_KEY, add_hpke_credentials
from tests.servers import DEMO_KEY, TIMEOUT_SECONDS, LoggedProcess, ServerProcess, run_server
from tests.worker.worker_bench import (
    SentPost,
    add_sent_post,
    count_duplicates,
    is_published,
    wait_until,
)

LEASE = "2"
"""Seconds; the shortest lease that a worker can renew on a busy machine."""

StartWorker = Callable[..., LoggedProcess]

pytestmark = pytest.mark.slow


@pytest.fixture
def sandbox(tmp_path: Path) -> SandboxStore:
    return SandboxStore(tmp_path / "ledger.jsonl")


@pytest.fixture
def start_worker(database_url: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Function that starts a worker on the database of the test; workers are killed at the end."""
    folder = tmp_path / "workers"
    folder.mkdir()
    settings = {"DATABASE_URL": database_url, "SANDBOX_FILE": str(tmp_path / "ledger.jsonl")}
    with ExitStack() as stack:

        def start_process(*options: str, **environment: str) -> LoggedProcess:
            worker = LoggedProcess(folder, {**settings, **environment}, "worker", *options)
            stack.callback(worker.kill)
            return worker

        yield start_process


async def publish_now(database: Database, account_name: str) -> SentPost:
    return await add_sent_post(database, account_name, due_at=now_utc())


def is_started(state: DestinationState) -> bool:
    return state.started_at is not None


async def exit_code(process: CommandProcess) -> int:
    return await asyncio.to_thread(process.wait, TIMEOUT_SECONDS)


async def test_shutdown_finishes_started_attempts(
    start_worker: StartWorker, database: Database, sandbox: SandboxStore
) -> None:
    sent = await publish_now(database, "succeeds")
    worker = start_worker()
    await sent.wait_until(is_started)
    worker.process.send_signal(signal.SIGTERM)
    code = await exit_code(worker.process)

    assert code == 0
    assert is_published(await sent.state())
    assert len(sandbox.posts()) == 1
    assert worker.wait_for_output("(?s).*")[0] == (
        f"post-results {__version__}\n  worker   publishes 8 posts at a time\n"
    )
    (line,) = worker.log_events()
    assert (line["event"], line["result"], line["attempt"]) == ("attempt ended", "published", 1)


async def test_worker_verifies_credentials_and_ends_the_need_for_a_reconnection(
    start_worker: StartWorker, database: Database
) -> None:
    workspace = await add_workspace(database)
    now = truncate_to_ms(now_utc())
    account_id = await add_account(
        database,
        workspace,
        platform="sandbox",
        publisher=AccountPublisher.SANDBOX,
        needs_reconnection_since=now,
    )
    await add_credentials(
        database, workspace, account_id, platform="sandbox", set_at=now, is_verified=False
    )
    start_worker(SECRETS_KEY=KEY)

    async def needs_reconnection() -> bool:
        accounts = await load_accounts(database.reader(workspace), [account_id])
        return accounts[account_id].needs_reconnection_since is not None

    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await needs_reconnection():  # noqa: ASYNC110 - another process ends it
            await asyncio.sleep(0.01)


ACCOUNT_UNREADABLE = "this process cannot decrypt the credentials of 1 account."
WITHOUT_KEY = f"SECRETS_KEY is not set: {ACCOUNT_UNREADABLE} Set it to their key, and restart."
WITH_OTHER_KEY = (
    f"SECRETS_KEY lacks a key: {ACCOUNT_UNREADABLE} Add their key, and restart; `post-results secrets check`"
    " lists what is affected."
)


@pytest.mark.parametrize(
    ("environment", "problem"),
    [({}, WITHOUT_KEY), ({"SECRETS_KEY": OTHER_KEY}, WITH_OTHER_KEY)],
)
async def test_worker_that_can_read_no_credentials_does_not_start(
    start_worker: StartWorker, database: Database, environment: dict[str, str], problem: str
) -> None:
    sent = await publish_now(database, "succeeds")
    await add_credentials(database, sent.workspace, sent.account)
    worker = start_worker(**environment)

    assert await asyncio.to_thread(worker.startup_error) == f"post-results: {problem}\n"


async def test_worker_with_another_account_starts_with_a_warning(
    start_worker: StartWorker, database: Database
) -> None:
    unreadable = await publish_now(database, "succeeds")
    await add_credentials(database, unreadable.workspace, unreadable.account)
    before = await unreadable.state()
    sent = await publish_now(database, "succeeds")
    worker = start_worker()

    await sent.wait_until(is_published)

    await asyncio.to_thread(worker.stop)
    assert await unreadable.state() == before
    assert worker.wait_for_output("(?s).*")[0] == (
        f"post-results {__version__}\n  worker   publishes 8 posts at a time\n"
        f"  warning  {WITHOUT_KEY}\n"
    )


async def test_worker_reads_credentials_in_the_hpke_format(
    start_worker: StartWorker, database: Database
) -> None:
    sent = await publish_now(database, "succeeds")
    await add_hpke_credentials(database, sent.workspace, sent.account)
    without_hpke_key = start_worker(SECRETS_KEY=KEY)
    left = (
        "CREDENTIALS_KEY, which the next version does not read, encrypts the credentials of 1 account: run"
        " `post-results secrets rotate` with CREDENTIALS_KEY and SECRETS_KEY."
    )
    assert await asyncio.to_thread(without_hpke_key.startup_error) == (
        "post-results: CREDENTIALS_KEY is not set: this process cannot decrypt the credentials of 1 account."
        " Set it to their key, beside SECRETS_KEY, and restart.\n"
    )
    worker = start_worker(SECRETS_KEY=KEY, CREDENTIALS_KEY=HPKE_KEY)

    await sent.wait_until(is_published)

    await asyncio.to_thread(worker.stop)
    assert worker.wait_for_output("(?s).*")[0].endswith(f"\n  warning  {left}\n")


async def test_worker_with_the_key_of_stored_credentials_starts(
    start_worker: StartWorker, database: Database
) -> None:
    sent = await publish_now(database, "succeeds")
    await add_credentials(database, sent.workspace, sent.account)
    started_at = truncate_to_ms(now_utc())
    worker = start_worker(SECRETS_KEY=f"{OTHER_KEY},{KEY}")

    await sent.wait_until(is_published)

    await asyncio.to_thread(worker.stop)
    times = await worker_key_times(database.all_workspaces)
    assert times.keys() == {CIPHER.key_id, OTHER_CIPHER.key_id}
    assert all(started_at <= each <= now_utc() for each in times.values())


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_worker_that_only_delivers_webhooks_needs_them_but_no_credentials(
    start_worker: StartWorker, database: Database
) -> None:
    sent = await publish_now(database, "succeeds")
    await add_credentials(database, sent.workspace, sent.account)
    worker = start_worker("--only", "webhooks", SECRETS_KEY=OTHER_KEY)
    await asyncio.to_thread(worker.wait_for_output, "delivers webhooks, and publishes nothing\n")
    await asyncio.to_thread(worker.stop)
    without_key = start_worker("--only", "webhooks")
    assert await asyncio.to_thread(without_key.startup_error) == (
        "post-results: SECRETS_KEY is not set, so a worker that only delivers webhooks has nothing to do.\n"
    )
    without_webhooks = start_worker("--only", "webhooks", WEBHOOKS="no")

    assert await asyncio.to_thread(without_webhooks.startup_error) == (
        "post-results: WEBHOOKS=no leaves nothing to do for a worker that only delivers webhooks.\n"
    )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_second_signal_ends_the_worker_immediately(
    start_worker: StartWorker, database: Database
) -> None:
    sent = await publish_now(database, "slow 60s")
    worker = start_worker()
    await sent.wait_until(is_started)
    worker.process.send_signal(signal.SIGINT)
    await asyncio.sleep(0.5)
    assert worker.process.poll() is None
    worker.process.send_signal(signal.SIGINT)

    assert await exit_code(worker.process) == -signal.SIGINT


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_worker_creates_the_schema_and_fails_if_the_database_is_unavailable(
    start_worker: StartWorker, empty_database_url: str
) -> None:
    worker = start_worker(DATABASE_URL=empty_database_url)
    await asyncio.to_thread(worker.wait_for_output, "publishes 8 posts")
    await asyncio.to_thread(worker.stop)
    async with Database(empty_database_url) as database:
        assert await find_problems(database) == []

    failing = start_worker(DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert await asyncio.to_thread(failing.startup_error) == (
        "post-results: The database of DATABASE_URL cannot be used: [Errno 111] Connect call failed"
        " ('127.0.0.1', 1)\n"
    )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_unusable_sandbox_file_fails_the_start(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker(SANDBOX_FILE=str(tmp_path))
    assert await asyncio.to_thread(worker.startup_error) == (
        f"post-results: SANDBOX_FILE: {tmp_path} cannot be read and written: Is a directory.\n"
    )


async def test_started_attempts_of_a_killed_worker_are_verified_and_published_once(
    start_worker: StartWorker, database: Database, sandbox: SandboxStore
) -> None:
    accepted = await publish_now(database, "times-out 60s")
    not_sent = await publish_now(database, "slow 4s")
    killed = start_worker(WORKER_LEASE=LEASE)
    await not_sent.wait_until(is_started)
    await wait_until(lambda: len(sandbox.posts()) == 1)
    killed.kill()
    start_worker(WORKER_LEASE=LEASE)
    for post in (accepted, not_sent):
        await post.wait_until(is_published)

    unknown = (1, AttemptKind.REGULAR, "unknown", "OUTCOME_UNKNOWN")
    assert await accepted.attempt_summaries() == [unknown]
    assert await not_sent.attempt_summaries() == [
        unknown,
        (2, AttemptKind.REGULAR, "published", None),
    ]
    assert [post.destination_id for post in sandbox.posts()] == [accepted.id, not_sent.id]
    assert await find_problems(database) == []


async def test_worker_suspended_past_its_lease_does_not_publish_after_it_resumes(
    start_worker: StartWorker, database: Database, sandbox: SandboxStore
) -> None:
    sent = await publish_now(database, "slow 2s")
    suspended = start_worker(WORKER_LEASE=LEASE)
    await sent.wait_until(is_started)
    suspended.process.send_signal(signal.SIGSTOP)
    start_worker(WORKER_LEASE=LEASE)
    await sent.wait_until(lambda state: state.outcome is Outcome.UNKNOWN)
    suspended.process.send_signal(signal.SIGCONT)
    await sent.wait_until(is_published)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            log = await sent.attempt_summaries()
            if len(log) == 3:
                break
            await asyncio.sleep(0.05)

    assert log == [
        (1, AttemptKind.REGULAR, "unknown", "OUTCOME_UNKNOWN"),
        (2, AttemptKind.REGULAR, "published", None),
        (None, AttemptKind.LATE, "failed", "NOT_CALLED"),
    ]
    assert [post.attempt for post in sandbox.posts()] == [2]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_worker_on_a_terminal_updates_one_status_line(
    database: Database, database_url: str
) -> None:
    sent = await publish_now(database, "succeeds")
    terminal, worker_terminal = pty.openpty()
    process = _start_worker_on_terminal(worker_terminal, database_url)
    os.close(worker_terminal)
    try:
        await sent.wait_until(is_published)
        output = await asyncio.to_thread(_read_until, terminal, "published 1 · failed 0")
        process.terminate()
        assert await exit_code(process) == 0
        output += await asyncio.to_thread(_read_until, terminal, "\n")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)

    lines = output.split("\r\n")
    assert lines[:2] == [
        f"post-results {__version__}",
        "  worker   publishes 8 posts at a time",
    ]
    (status_line, end) = lines[2:]
    updates = status_line.split("\r\x1b[K")
    assert updates[0] == end == ""
    assert updates[1] == "published 0 · failed 0 · waiting 0 · unknown 0 · in flight 1"
    assert updates[-1] == "published 1 · failed 0 · waiting 0 · unknown 0 · in flight 0"


def _start_worker_on_terminal(terminal: int, database_url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "app", "worker"],
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )


def _read_until(terminal: int, text: str) -> str:
    output = ""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while text not in output and time.monotonic() < ends_at:
        output += os.read(terminal, 4096).decode()
    return output


@pytest.mark.parametrize(
    ("engine", "workers"), [("sqlite", "1"), ("postgresql", "2")], indirect=["engine"]
)
def test_demo_with_a_worker_publishes_new_posts_at_each_start(
    empty_database_url: str, tmp_path: Path, workers: str
) -> None:
    file = tmp_path / "ledger.jsonl"
    settings = {"DATABASE_URL": empty_database_url, "SANDBOX_FILE": str(file), "WORKERS": workers}
    for starts in (1, 2):
        environment = {**settings, "RATE_LIMIT": "off"}
        options = ("--demo", "--with-worker")
        with run_server(tmp_path, environment, *options) as server:
            lines = server.wait_until_ready()
            _wait_until_published(server, starts)
            _wait_until_counted(server)
            accounts = _get_data(server, "/v1/accounts")["accounts"]
        assert lines[7] == "  worker   publishes 8 posts at a time"
        names = [
            account["account_name"] for account in accounts if account["platform"] == "sandbox"
        ]
        assert sorted(names) == sorted(Behaviour)
    assert count_duplicates(SandboxStore(file)) == 0


def _wait_until_published(server: ServerProcess, count: int) -> None:
    """Wait until this number of posts is published on the sandbox."""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while _get_data(server, "/v1/posts?platform=sandbox&status=published")["total"] < count:
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def _wait_until_counted(server: ServerProcess) -> None:
    """Wait until the metrics count an attempt of the worker that has published."""
    counted = re.compile(
        r'^post_results_attempts_total\{outcome="published",platform="sandbox"\} [1-9]',
        re.MULTILINE,
    )
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while not counted.search(server.get("/metrics").text):
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def _get_data(server: ServerProcess, path: str) -> dict[str, Any]:
    data: dict[str, Any] = server.get(path, DEMO_KEY).json()["data"]
    return data
