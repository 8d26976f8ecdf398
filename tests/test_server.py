"""The server as real processes: how it starts, what it prints, what it refuses, and how it stops."""

import asyncio
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from app import __version__
from app.asgi import now_utc
from app.db.core.database import Database
from app.db.migrations import migrate
from app.domain.times import format_instant
from tests.command_processes import StartProcess, fork, spawn
from tests.factories import add_workspace
from tests.servers import DEMO_KEY, DEMO_POST, TIMEOUT_SECONDS, ServerProcess


class Starter:
    """Starts servers on one database; whatever still runs at the end of the test is killed."""

    def __init__(self, folder: Path, database_url: str, stack: ExitStack) -> None:
        self.folder = folder
        self._database_url = database_url
        self._stack = stack

    def __call__(
        self, *arguments: str, start: StartProcess = fork, **environment: str
    ) -> ServerProcess:
        settings = {"DATABASE_URL": self._database_url, **environment}
        server = ServerProcess(self.folder, settings, *arguments, start=start)
        self._stack.callback(server.kill)
        return server


@pytest.fixture
def start(empty_database_url: str, tmp_path: Path) -> Iterator[Starter]:
    folder = tmp_path / "servers"
    folder.mkdir()
    with ExitStack() as stack:
        yield Starter(folder, empty_database_url, stack)


def total(server: ServerProcess, token: str) -> int:
    """How many posts the workspace of a key has."""
    answer = server.get("/v1/posts?limit=1", token)
    assert answer.status_code == 200
    number: int = answer.json()["data"]["total"]
    return number


# Starting.


def test_the_first_start_prints_a_key_once(start: Starter) -> None:
    first = start(start=spawn)
    lines = first.wait_until_ready()
    first.stop()

    assert lines[:5] == [
        f"post-results {__version__}",
        f"  GraphQL  {first.url}/graphql",
        f"  REST     {first.url}/v1",
        f"  explore  {first.url}/graphiql",
        f"  ready?   {first.url}/readyz",
    ]
    key = re.fullmatch("  key      (pe_live_[0-9a-f]{32})", lines[5])
    assert key
    assert lines[6:] == [
        "           This is the key of the new workspace; it is shown this once. Keep it."
    ]

    second = start()
    assert len(second.wait_until_ready()) == 5
    assert total(second, key[1]) == 0
    second.stop()
    assert key[1] not in json.dumps(first.request_log() + second.request_log())


def test_the_demo_is_loaded_once_and_its_key_is_always_printed(start: Starter) -> None:
    totals = []
    for _ in range(2):
        server = start("--demo")
        lines = server.wait_until_ready()
        totals.append(total(server, DEMO_KEY))
        example = server.get(f"/v1/posts/{DEMO_POST}/results", DEMO_KEY).json()["data"]
        assert [each["status"] for each in example["results"]] == [
            "published",
            "published",
            "failed",
        ]
        url = f"{server.url}/v1/posts/{DEMO_POST}/results"
        server.stop()
        assert lines[5:] == [
            f"  key      {DEMO_KEY}",
            "Try it:",
            f"  curl -H 'Authorization: Bearer {DEMO_KEY}' {url}",
        ]

    assert totals[0] == totals[1] > 200


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("require_built_page")
@pytest.mark.parametrize(("workers", "how"), [("1", fork), ("2", spawn)])
def test_a_demo_shows_its_key_to_whoever_opens_the_page(
    start: Starter, workers: str, how: StartProcess
) -> None:
    by_option = start("--demo", start=how, WORKERS=workers)
    by_option.wait_until_ready()
    page = by_option.get("/graphiql").text
    by_option.stop()
    by_setting = start(start=how, DEMO="yes", WORKERS=workers)
    by_setting.wait_until_ready()
    same_page = by_setting.get("/graphiql").text
    by_setting.stop()
    neither = start(start=how, WORKERS=workers)
    neither.wait_until_ready()
    without_key = neither.get("/graphiql").text
    neither.stop()

    assert f'data-demo-key="{DEMO_KEY}"' in page
    assert same_page == page
    assert without_key == page.replace(DEMO_KEY, "")


def test_the_demo_key_can_be_ones_own_and_be_changed(start: Starter) -> None:
    for digit in "ab":
        key = "pe_live_" + digit * 32
        server = start("--demo", DEMO_API_KEY=key)
        server.wait_until_ready()
        assert total(server, key) > 200
        assert server.get("/v1/me", DEMO_KEY).status_code == 401
        server.stop()


def test_two_starts_at_once_make_one_workspace_and_print_one_key(start: Starter) -> None:
    servers = [start(), start()]
    with ThreadPoolExecutor() as executor:
        printed = list(executor.map(ServerProcess.wait_until_ready, servers))
    for server in servers:
        server.stop()

    assert sorted(len(lines) for lines in printed) == [5, 7]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    start: Starter, empty_database_url: str
) -> None:
    first = start()
    first.wait_until_ready()
    first.stop()
    _set_version(empty_database_url, "9999")

    assert start().startup_error() == (
        "post-results: This database was written by a newer version of post-results; update the"
        " server.\n"
    )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_workspace_that_took_the_demos_name_stops_the_start(
    start: Starter, empty_database_url: str
) -> None:
    async def make() -> None:
        async with Database(empty_database_url) as database:
            await migrate(database, now=now_utc(), random_bytes=bytes)
            await add_workspace(database, name="Demo")

    asyncio.run(make())

    assert start("--demo").startup_error() == (
        "post-results: The demo data needs a workspace named 'Demo', and there is another one of"
        " that name. Start without --demo, or on another DATABASE_URL.\n"
    )


def _set_version(database_url: str, version: str) -> None:
    async def run() -> None:
        async with Database(database_url) as database, database.schema_transaction() as connection:
            await connection.execute(
                text("UPDATE alembic_version SET version_num = :version"), {"version": version}
            )

    asyncio.run(run())


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_port_in_use_is_refused_before_anything_is_made(start: Starter, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refusal = start(PORT=str(port)).startup_error()

    assert refusal == (
        f"post-results: HOST 127.0.0.1 and PORT {port} cannot be used: Address already in use.\n"
    )
    assert (tmp_path / "empty.db").read_bytes() == b""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_trusted_document_that_cannot_run_is_told_once_before_anything_is_made(
    start: Starter, tmp_path: Path
) -> None:
    file = tmp_path / "documents.json"
    file.write_text('{"x": "query Mine { nope }"}')
    refusal = start(TRUSTED_DOCUMENTS=str(file), WORKERS="2").startup_error()

    assert refusal == (
        f"post-results: TRUSTED_DOCUMENTS: {file} has the operation Mine, with the id x, that cannot"
        " be executed (line 1, column 14): Cannot query field 'nope' on type 'Query'. Did you mean 'node' or"
        " 'nodes'?\n"
    )
    assert (tmp_path / "empty.db").read_bytes() == b""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_retry_policy_that_cannot_be_taken_is_told_once_before_anything_is_made(
    start: Starter, tmp_path: Path
) -> None:
    file = tmp_path / "retries.toml"
    file.write_text("[platforms.x.transient]\nmax_attempts = -1\n")
    refusal = start(RETRY_POLICY_FILE=str(file), WORKERS="2").startup_error()

    assert refusal == (
        f"post-results: RETRY_POLICY_FILE: {file} cannot be taken: platforms.x.transient.max_attempts"
        " must be a whole number from 1 to 100.\n"
    )
    assert (tmp_path / "empty.db").read_bytes() == b""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_worker_whose_sandbox_cannot_be_used_is_told_before_anything_is_made(
    start: Starter, tmp_path: Path
) -> None:
    file = tmp_path / "no" / "ledger.jsonl"
    refusal = start("--with-worker", SANDBOX_FILE=str(file), WORKERS="2").startup_error()
    without_worker = start(SANDBOX_FILE=str(file))
    without_worker.wait_until_ready()
    without_worker.stop()

    assert refusal == (
        f"post-results: SANDBOX_FILE: {file} cannot be read and written: No such file or directory.\n"
    )


# Answering.


def test_several_processes_answer_and_count_together(start: Starter) -> None:
    server = start("--demo", start=spawn, WORKERS="2", RATE_LIMIT="off")
    server.wait_until_ready()
    with ThreadPoolExecutor(8) as executor:
        answers = list(
            executor.map(
                # A connection of its own each time, so that both processes get some.
                lambda _: (
                    httpx.get(
                        f"{server.url}/v1/me",
                        headers={"Authorization": f"Bearer {DEMO_KEY}"},
                        timeout=TIMEOUT_SECONDS,
                    ).status_code
                ),
                range(40),
            )
        )
    labels = 'door="rest",method="GET",route="/v1/me",status="2xx"'
    counted = f"post_results_http_requests_total{{{labels}}} 40.0\n"
    # A request is counted once it is answered, so perhaps a little later than that is seen.
    wait_until(lambda: counted in server.get("/metrics").text)
    page = server.get("/metrics").text
    server.stop()

    assert answers == [200] * 40
    assert page.count("\npost_results_destinations_overdue ") == 1
    assert len(server.request_log()) >= 41


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_several_processes_read_the_trusted_documents_anew_at_a_hangup(
    start: Starter, tmp_path: Path
) -> None:
    file = tmp_path / "documents.json"
    file.write_text('{"x": "{ __typename }"}')
    server = start(
        "--demo", start=spawn, WORKERS="2", RATE_LIMIT="off", TRUSTED_DOCUMENTS=str(file)
    )
    assert not any("/graphiql" in line for line in server.wait_until_ready())

    def status(document_id: str) -> int:
        accept = "application/graphql-response+json"
        return server.get(f"/graphql?documentId={document_id}", DEMO_KEY, Accept=accept).status_code

    wait_until(lambda: logged(server, "Application startup complete") == 2)
    assert (status("x"), status("y")) == (200, 403)

    file.write_text('{"y": "{ nope }"}')
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: logged(server, "aborting the restart") == 1)
    assert [each["event"] for each in server.log_events() if each["logger"] == "app.asgi"] == [
        f"TRUSTED_DOCUMENTS: {file} has a document, with the id y, that cannot be executed (line 1,"
        " column 3): Cannot query field 'nope' on type 'Query'. Did you mean 'node' or 'nodes'?"
    ]
    assert (status("x"), status("y")) == (200, 403)

    file.write_text('{"y": "{ __typename }"}')
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: status("y") == 200)
    server.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def logged(server: ServerProcess, text: str) -> int:
    """How many times it logged an event with the text."""
    return sum(text in each["event"] for each in server.log_events())


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("trusted", "client"),
    [("", "127.0.0.1"), ("127.0.0.1", "203.0.113.9"), ("10.0.0.0/8", "127.0.0.1")],
)
def test_a_forwarded_address_is_believed_of_a_trusted_proxy_only(
    start: Starter, trusted: str, client: str
) -> None:
    server = start(TRUSTED_PROXIES=trusted)
    server.wait_until_ready()
    server.get("/livez", **{"X-Forwarded-For": "203.0.113.9"})
    server.stop()

    (request,) = [each for each in server.request_log() if each["path"] == "/livez"]
    assert request["client"] == client


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_under_a_root_path_both_ways_of_a_proxy_work(start: Starter) -> None:
    server = start("--demo", ROOT_PATH="/social/results")
    server.wait_until_ready()
    assert server.url.endswith("/social/results")
    origin = server.url.removesuffix("/social/results")
    headers = {"Authorization": f"Bearer {DEMO_KEY}"}
    kept, stripped = (
        httpx.get(f"{base}/v1/accounts", headers=headers).json()["data"]
        for base in (server.url, origin)
    )
    server.stop()

    assert kept == stripped


# Stopping.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_a_running_request_end(start: Starter, number: signal.Signals) -> None:
    server = start("--demo")
    server.wait_until_ready()
    address = httpx.URL(server.url)
    body = json.dumps({"query": "{ __typename }"}).encode()
    with socket.create_connection(
        (address.host, address.port or 80), timeout=TIMEOUT_SECONDS
    ) as client:
        client.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {DEMO_KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body[:5]
        )
        assert server.get("/livez").status_code == 200  # what was sent before has been received
        server.process.send_signal(number)
        _until_nothing_listens(address)
        client.sendall(body[5:])
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    status = server.process.wait(TIMEOUT_SECONDS)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"data":{"__typename":"Query"}}')
    assert status == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_ends_the_waits_for_something_to_publish(start: Starter, workers: str) -> None:
    server = start("--demo", start=fork if workers == "1" else spawn, WORKERS=workers)
    server.wait_until_ready()
    wait = """mutation {
      claimDestinations(input: {waitSeconds: 20, platforms: ["nowhere"]}) { claims { postId } }
    }"""

    def claim() -> httpx.Response:
        return httpx.post(
            f"{server.url}/graphql",
            json={"query": wait},
            headers={"Authorization": f"Bearer {DEMO_KEY}"},
            timeout=TIMEOUT_SECONDS,
        )

    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(claim) for _ in range(8)]
        time.sleep(1)
        assert not any(each.done() for each in waits)
        began = time.monotonic()
        server.stop()
        took = time.monotonic() - began

    answers = [each.result() for each in waits]
    assert [each.json() for each in answers] == 8 * [
        {"data": {"claimDestinations": {"claims": []}}}
    ]
    assert took < 9  # the time that it would give to what does not end
    assert [event for event in server.log_events() if event["level"] == "error"] == []


def _until_nothing_listens(address: httpx.URL) -> None:
    while True:
        try:
            socket.create_connection(
                (address.host, address.port or 80), timeout=TIMEOUT_SECONDS
            ).close()
        except OSError:
            return


def test_a_request_that_outlasts_a_stop_is_cut_off(start: Starter) -> None:
    server = start("--demo", SHUTDOWN_TIMEOUT="1")
    server.wait_until_ready()
    address = httpx.URL(server.url)
    with socket.create_connection(
        (address.host, address.port or 80), timeout=TIMEOUT_SECONDS
    ) as client:
        client.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {DEMO_KEY}\r\nContent-Length: 100\r\n\r\n".encode()
        )
        assert server.get("/livez").status_code == 200
        server.stop()


def test_when_a_key_was_used_is_written_before_the_end(start: Starter) -> None:
    first = start()
    key = first.wait_until_ready()[5].split()[-1]
    assert total(first, key) == 0
    first.stop()

    stopped_at = format_instant(now_utc())
    second = start()
    second.wait_until_ready()
    last_used_at = second.get("/v1/me", key).json()["data"]["api_key"]["last_used_at"]
    second.stop()
    assert last_used_at < stopped_at
