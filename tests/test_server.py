"""The server as real processes: start, output, refused settings, and shutdown."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app import __version__
from app.asgi import now_utc
from app.db.core.database import Database
from app.db.migrations import migrate
from app.demo import ensure_secrets_key_file
from app.settings import read_settings
from tests.clients import run_with_database
from tests.command_processes import CommandProcess, fork, spawn
from tests.factories import add_workspace
from tests.servers import DEMO_KEY, DEMO_POST, TIMEOUT_SECONDS, ServerProcess, ServerStarter
from tests.webhook_rows import add_webhook

pytestmark = pytest.mark.slow


def count_posts(server: ServerProcess, token: str) -> int:
    """Number of posts in the workspace of a key."""
    response = server.get("/v1/posts?limit=1", token)
    assert response.status_code == 200
    number: int = response.json()["data"]["total"]
    return number


def test_first_start_prints_key_once(start_server: ServerStarter) -> None:
    first = start_server(start=spawn)
    lines = first.wait_until_ready()
    first.stop()

    assert lines[:6] == [
        f"post-results {__version__}",
        f"  board    {first.url}/board",
        f"  GraphQL  {first.url}/graphql",
        f"  REST     {first.url}/v1",
        f"  explore  {first.url}/graphiql",
        f"  ready?   {first.url}/readyz",
    ]
    assert re.fullmatch("  limit    [0-9]+ connections", lines[6])
    key = re.fullmatch("  key      (pe_live_[0-9a-f]{32})", lines[7])
    assert key
    assert lines[8:] == [
        "           This is the API key of the new workspace. Store it: it is shown only once."
    ]

    second = start_server()
    assert len(second.wait_until_ready()) == 7
    assert count_posts(second, key[1]) == 0
    second.stop()
    assert key[1] not in json.dumps(first.request_log() + second.request_log())


def test_start_names_a_missing_key_and_the_server_is_ready(
    start_server: ServerStarter, empty_database_url: str
) -> None:
    first = start_server()
    first.wait_until_ready()
    first.stop()
    run_with_database(empty_database_url, _add_webhook)
    problem = (
        "SECRETS_KEY is not set: this process cannot decrypt the secrets of 1 webhook. Set it to their key,"
        " and restart."
    )

    server = start_server()
    lines = server.wait_until_ready()
    readiness = server.get("/readyz")

    assert lines[-1] == f"  warning  {problem}"
    assert (readiness.status_code, readiness.json()) == (
        200,
        {"status": "ready", "warnings": [problem]},
    )


async def _add_webhook(database: Database) -> None:
    await add_webhook(database, await add_workspace(database))


def test_demo_is_loaded_once_and_keys_always_printed(
    start_server: ServerStarter, empty_database_url: str
) -> None:
    settings = read_settings({"DATABASE_URL": empty_database_url})
    totals = []
    for _ in range(2):
        server = start_server("--demo")
        lines = server.wait_until_ready()
        totals.append(count_posts(server, DEMO_KEY))
        example = server.get(f"/v1/posts/{DEMO_POST}/results", DEMO_KEY).json()["data"]
        assert [result["status"] for result in example["results"]] == [
            "published",
            "published",
            "failed",
        ]
        url = f"{server.url}/v1/posts/{DEMO_POST}/results"
        server.stop()
        assert lines[7:] == [
            f"  key      {DEMO_KEY}",
            f"  secrets  are encrypted with the key in {ensure_secrets_key_file(settings)}",
            "Try it:",
            f"  curl -H 'Authorization: Bearer {DEMO_KEY}' {url}",
        ]

    assert totals[0] == totals[1] > 200


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_disconnected_clients_leave_no_warning_of_python_in_the_log(
    start_server: ServerStarter,
) -> None:
    server = start_server.ready("--demo", RATE_LIMIT="off")
    address = urlsplit(server.url)
    fields = "account { accountName } post { content } retryRefusal outlook { sentence }"
    query = f"{{ destinations(first: 100) {{ nodes {{ {fields} }} }} }}"
    body = json.dumps({"query": query})
    for number in range(60):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(
                f"POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {DEMO_KEY}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            time.sleep(number / 2000)  # the warning depends on the moment of the disconnect
    server.stop()
    assert {event["level"] for event in server.log_events()} == {"info"}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("require_built_page")
def test_demo_key_is_embedded_in_page(start_server: ServerStarter) -> None:
    def page(*arguments: str, **environment: str) -> str:
        server = start_server.ready(*arguments, start=fork, **environment)
        text = server.get("/graphiql").text
        server.stop()
        return text

    with_option = page("--demo")
    assert f'data-demo-key="{DEMO_KEY}"' in with_option
    assert page("--demo", WORKERS="2") == with_option
    assert page(DEMO="yes") == with_option
    assert page() == with_option.replace(DEMO_KEY, "")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_connection_above_limit_gets_error_of_its_api(start_server: ServerStarter) -> None:
    server = start_server.ready("--demo", MAX_CONNECTIONS="2")
    url = httpx.URL(server.url)
    assert url.port
    with ExitStack() as stack:
        # Long polls, because connections without a running request would be closed for others.
        poll = (
            f"GET /v1/posts/{DEMO_POST}/results?wait=20 HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {DEMO_KEY}\r\n\r\n"
        )
        while (rest := server.get("/v1/me", server.key)).status_code != 503:
            connection = stack.enter_context(socket.create_connection((url.host, url.port)))
            connection.sendall(poll.encode())
        graphql = server.get("/graphql?query={__typename}", server.key)
        assert server.get("/livez").status_code == 200

    message = "Too many connections to this server are open. Try again in 5 s."
    error = rest.json()["error"]
    assert (error["code"], error["message"]) == ("service_unavailable", message)
    (error,) = graphql.json()["errors"]
    assert (error["extensions"]["code"], error["message"]) == ("SERVICE_UNAVAILABLE", message)
    assert graphql.status_code == 503
    for response in (rest, graphql):
        assert response.headers["Retry-After"] == "5"
        assert response.headers["Connection"] == "close"
    server.stop()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_connections_that_send_headers_slowly_keep_no_client_out(
    start_server: ServerStarter,
) -> None:
    server = start_server.ready(MAX_CONNECTIONS="5", HEADERS_TIMEOUT="1")
    url = httpx.URL(server.url)
    assert url.port
    slow = []
    with ExitStack() as stack:
        for _ in range(20):
            slow.append(stack.enter_context(socket.create_connection((url.host, url.port))))
            slow[-1].sendall(b"GET /v1/me HTTP/1.1\r\n")
        statuses = [server.get("/v1/me", server.key).status_code for _ in range(20)]
        for connection in slow:
            connection.settimeout(TIMEOUT_SECONDS)
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""  # closed without a response
    assert statuses == 20 * [200]
    server.stop()
    assert [each["path"] for each in server.request_log()] == ["/readyz", *20 * ["/v1/me"]]


def spawn_with_600_files(
    arguments: Sequence[str], environment: Mapping[str, str], out: Path, log: Path
) -> CommandProcess:
    """Start a process that may open only 600 files."""
    command = ["sh", "-c", 'ulimit -n 600; exec "$@"', "sh", sys.executable, "-m", "app"]
    with out.open("w") as to_out, log.open("w") as to_log:
        return subprocess.Popen(
            [*command, *arguments],
            env=environment,
            stdout=to_out,
            stderr=to_log,
            start_new_session=True,
        )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("wanted", "warnings"), [("101", 1), ("100", 0)])
def test_limit_of_open_files_lowers_limit_of_connections(
    start_server: ServerStarter, wanted: str, warnings: int
) -> None:
    server = start_server(start=spawn_with_600_files, MAX_CONNECTIONS=wanted)
    assert "  limit    100 connections" in server.wait_until_ready()
    server.stop()

    reasons = [e["reason"] for e in server.log_events() if e["event"] == "connection limit lowered"]
    assert reasons == warnings * [
        "MAX_CONNECTIONS is 101, but the process may only open 600 files. 100 connections are accepted."
        " Raise the limit of open files (ulimit -n)."
    ]


def test_demo_key_can_be_set_and_changed(start_server: ServerStarter) -> None:
    for digit in "ab":
        key = "pe_live_" + digit * 32
        server = start_server.ready("--demo", DEMO_API_KEY=key)
        assert count_posts(server, key) > 200
        assert server.get("/v1/me", DEMO_KEY).status_code == 401
        server.stop()


def test_concurrent_starts_create_one_workspace(start_server: ServerStarter) -> None:
    servers = [start_server(), start_server()]
    with ThreadPoolExecutor() as executor:
        outputs = list(executor.map(ServerProcess.wait_until_ready, servers))
    for server in servers:
        server.stop()

    assert sorted(len(lines) for lines in outputs) == [7, 9]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_other_workspace_named_demo_prevents_start(
    start_server: ServerStarter, empty_database_url: str
) -> None:
    async def add_demo_workspace(database: Database) -> None:
        await migrate(database, now=now_utc(), random_bytes=bytes)
        await add_workspace(database, name="Demo")

    run_with_database(empty_database_url, add_demo_workspace)

    assert start_server("--demo").startup_error() == (
        "post-results: The demo data needs a workspace named 'Demo', but another workspace has that"
        " name. Start without --demo, or use another DATABASE_URL.\n"
    )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_port_in_use_is_refused_before_migration(
    start_server: ServerStarter, tmp_path: Path
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        error = start_server(PORT=str(port)).startup_error()

    assert error == (
        f"post-results: HOST 127.0.0.1 and PORT {port} cannot be used: Address already in use.\n"
    )
    assert (tmp_path / "empty.db").read_bytes() == b""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("variable", "content", "problem"),
    [
        (
            "TRUSTED_DOCUMENTS",
            '{"x": "query Mine { nope }"}',
            "has the operation Mine, with the id x, that cannot be executed (line 1, column 14):"
            " Cannot query field 'nope' on type 'Query'. Did you mean 'node' or 'nodes'?",
        ),
        (
            "RETRY_POLICY_FILE",
            "[platforms.x.transient]\nmax_attempts = -1\n",
            "is invalid: platforms.x.transient.max_attempts must be a whole number from 1 to 100.",
        ),
    ],
)
def test_invalid_file_is_refused_before_migration(
    start_server: ServerStarter, tmp_path: Path, variable: str, content: str, problem: str
) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    error = start_server(start=fork, WORKERS="2", **{variable: str(file)}).startup_error()

    assert error == f"post-results: {variable}: {file} {problem}\n"
    assert (tmp_path / "empty.db").read_bytes() == b""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_unusable_sandbox_file_is_refused_with_worker_only(
    start_server: ServerStarter, tmp_path: Path
) -> None:
    file = tmp_path / "no" / "ledger.jsonl"
    error = start_server("--with-worker", SANDBOX_FILE=str(file), WORKERS="2").startup_error()
    without_worker = start_server.ready(SANDBOX_FILE=str(file))
    without_worker.stop()

    assert error == (
        f"post-results: SANDBOX_FILE: {file} cannot be read and written: No such file or directory.\n"
    )


def test_several_processes_share_metrics(start_server: ServerStarter) -> None:
    server = start_server.ready("--demo", WORKERS="2", RATE_LIMIT="off")

    def execute(document: str, **variables: object) -> dict[str, Any]:
        # A new connection each time, so that both processes get requests.
        response = httpx.post(
            f"{server.url}/graphql",
            json={"query": document, "variables": {"input": variables}},
            headers={"Authorization": f"Bearer {DEMO_KEY}"},
            timeout=TIMEOUT_SECONDS,
        )
        assert "errors" not in response.json(), response.text
        data: dict[str, Any] = response.json()["data"]
        return data

    accounts = server.get("/v1/accounts", DEMO_KEY).json()["data"]["accounts"]
    account = next(item for item in accounts if item["platform"] == "instagram")["id"]

    def publish_twice(number: int) -> list[str]:
        create = (
            "mutation ($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }"
        )
        created = execute(create, content="Sale", accountIds=[account])
        record = "mutation ($input: RecordResultInput!) { recordResult(input: $input) { receipt } }"
        result = {
            "postId": created["createPost"]["post"]["postId"],
            "accountId": account,
            "attemptKey": f"job-{number}",
            "outcome": "PUBLISHED",
            "platformPostId": "1",
        }
        return [execute(record, **result)["recordResult"]["receipt"] for _ in range(2)]

    with ThreadPoolExecutor(8) as executor:
        receipts = list(executor.map(publish_twice, range(20)))
        reads = [executor.submit(server.get, "/v1/me", DEMO_KEY) for _ in range(40)]
    labels = 'api="rest",method="GET",route="/v1/me",status="2xx"'
    sample = f"post_results_http_requests_total{{{labels}}} 40.0\n"
    # A request is counted after its response, so perhaps a little later than the client receives it.
    poll_until(lambda: sample in server.get("/metrics").text)
    page = server.get("/metrics").text
    server.stop()

    assert [read.result().status_code for read in reads] == [200] * 40
    assert page.count("\npost_results_destinations_overdue ") == 1
    assert len(server.request_log()) >= 41
    assert receipts == [["RECORDED", "REPEATED"]] * 20
    for counted in (
        'attempts_total{outcome="published",platform="instagram"}',
        'publication_lateness_seconds_count{platform="instagram"}',
    ):
        assert f"\npost_results_{counted} 20.0\n" in page


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_sighup_reloads_trusted_documents(start_server: ServerStarter, tmp_path: Path) -> None:
    file = tmp_path / "documents.json"
    file.write_text('{"x": "{ __typename }"}')
    server = start_server(WORKERS="2", RATE_LIMIT="off", TRUSTED_DOCUMENTS=str(file))
    assert not any("/graphiql" in line for line in server.wait_until_ready())

    def status(document_id: str) -> int:
        accept = "application/graphql-response+json"
        return server.get(
            f"/graphql?documentId={document_id}", server.key, Accept=accept
        ).status_code

    poll_until(lambda: count_log_events(server, "Application startup complete") == 2)
    assert (status("x"), status("y")) == (200, 403)

    file.write_text('{"y": "{ nope }"}')
    server.process.send_signal(signal.SIGHUP)
    poll_until(lambda: count_log_events(server, "restart aborted") == 1)
    assert [event["event"] for event in server.log_events() if event["logger"] == "app.asgi"] == [
        f"TRUSTED_DOCUMENTS: {file} has a document, with the id y, that cannot be executed (line 1,"
        " column 3): Cannot query field 'nope' on type 'Query'. Did you mean 'node' or 'nodes'?"
    ]
    assert (status("x"), status("y")) == (200, 403)

    file.write_text('{"y": "{ __typename }"}')
    server.process.send_signal(signal.SIGHUP)
    poll_until(lambda: status("y") == 200)
    server.stop()


def poll_until(predicate: Callable[[], bool]) -> None:
    """Wait until a predicate is true that has no event to wait for."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def count_log_events(server: ServerProcess, text: str) -> int:
    """Number of logged events that contain the text."""
    return sum(text in event["event"] for event in server.log_events())


@contextmanager
def started_request(server: ServerProcess, body: bytes) -> Iterator[socket.socket]:
    """A GraphQL request of which the server has received only the head and five bytes of the body."""
    address = httpx.URL(server.url)
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {server.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.host, address.port or 80), TIMEOUT_SECONDS) as client:
        client.sendall(head.encode() + body[:5])
        assert server.get("/livez").status_code == 200  # the bytes sent before have been received
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_request_completes_at_shutdown(
    start_server: ServerStarter, number: signal.Signals
) -> None:
    server = start_server.ready()
    body = json.dumps({"query": "{ __typename }"}).encode()
    with started_request(server, body) as client:
        server.process.send_signal(number)
        _wait_until_port_closed(httpx.URL(server.url))
        client.sendall(body[5:])
        response = b"".join(iter(lambda: client.recv(65536), b""))
    status = server.process.wait(TIMEOUT_SECONDS)

    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert response.endswith(b'{"data":{"__typename":"Query"}}')
    assert status == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_shutdown_ends_waiting_claims(start_server: ServerStarter, workers: str) -> None:
    server = start_server.ready(WORKERS=workers)
    document = """mutation {
      claimDestinations(input: {waitSeconds: 20, platforms: ["nowhere"]}) { claims { postId } }
    }"""

    def claim_with_wait() -> httpx.Response:
        return httpx.post(
            f"{server.url}/graphql",
            json={"query": document},
            headers={"Authorization": f"Bearer {server.key}"},
            timeout=TIMEOUT_SECONDS,
        )

    with ThreadPoolExecutor(8) as pool:
        claims = [pool.submit(claim_with_wait) for _ in range(8)]
        time.sleep(1)
        assert not any(claim.done() for claim in claims)
        started_at = time.monotonic()
        server.stop()
        duration = time.monotonic() - started_at

    assert [claim.result().json() for claim in claims] == 8 * [
        {"data": {"claimDestinations": {"claims": []}}}
    ]
    assert duration < 9  # less than the shutdown timeout
    assert [event for event in server.log_events() if event["level"] == "error"] == []


def _wait_until_port_closed(address: httpx.URL) -> None:
    while True:
        try:
            socket.create_connection(
                (address.host, address.port or 80), timeout=TIMEOUT_SECONDS
            ).close()
        except OSError:
            return


def test_request_is_aborted_after_shutdown_timeout(start_server: ServerStarter) -> None:
    server = start_server.ready(SHUTDOWN_TIMEOUT="1")
    with started_request(server, bytes(100)):
        server.stop()

    (aborted,) = [entry for entry in server.request_log() if entry["path"] == "/graphql"]
    assert (aborted["level"], aborted["status"]) == ("error", 500)
