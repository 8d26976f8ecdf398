"""The log and the metrics of requests of the whole service, in this process and as server processes."""

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.db.core.database import Database
from app.observability.logs import configure_logging
from app.settings import read_settings
from tests.clients import app_client
from tests.command_processes import spawn
from tests.factories import add_api_key, add_workspace
from tests.observability.conftest import log_lines
from tests.servers import DEMO_KEY, TIMEOUT_SECONDS, ServerProcess, ServerStarter

ANSWER_SECONDS = 10
"""Longest time for an answer of a server that is not blocked."""

PIPE_BYTES = 65_536
"""Capacity of a pipe on Linux."""

REQUEST_COUNT = re.compile(r"^post_results_http_requests_total\{(.*)\} (\S+)$", re.MULTILINE)


@pytest.mark.parametrize("root_path", ["", "/post-results"])
async def test_graphql_path_is_logged_and_counted_as_route(
    database: Database, root_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    settings = read_settings({"RATE_LIMIT": "off", "ROOT_PATH": root_path})
    key = await add_api_key(database, await add_workspace(database))
    async with app_client(database, token=key.token, settings=settings) as client:
        for method in ("GET", "POST", "DELETE"):
            await client.request(method, f"{root_path}/graphql?query={{__typename}}")
        await client.get(f"{root_path}/graphql/x")
        metrics = (await client.get(f"{root_path}/metrics")).text

    lines = [line for line in log_lines(capsys) if line["event"] == "request finished"]
    assert [(line["path"], line["method"], line["status"]) for line in lines] == [
        ("/graphql", "GET", 200),
        ("/graphql", "POST", 415),
        ("/graphql", "DELETE", 405),
        (f"{root_path}/graphql/x", "GET", 404),
        ("/metrics", "GET", 200),
    ]
    samples = [
        re.findall(r'(?:method|route)="(.+?)"', labels)
        for labels, _ in REQUEST_COUNT.findall(metrics)
    ]
    assert sorted(samples) == [
        ["DELETE", "/graphql"],
        ["GET", "/graphql"],
        ["GET", "unmatched"],
        ["POST", "/graphql"],
    ]


async def test_requests_are_logged_before_a_failed_shutdown(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")

    async def fail_after_request() -> None:
        async with app_client(database) as client:
            await client.get("/livez")
            raise LookupError

    with pytest.raises(LookupError):
        await fail_after_request()

    assert [line["path"] for line in log_lines(capsys) if "path" in line] == ["/livez"]


def test_terminated_server_has_logged_every_finished_request(start_server: ServerStarter) -> None:
    server = start_server.ready(RATE_LIMIT="off")
    with ThreadPoolExecutor(4) as executor:
        responses = list(executor.map(lambda _number: server.get("/v1/me", server.key), range(30)))
    server.stop()

    logged = [entry["request_id"] for entry in server.request_log() if entry["path"] == "/v1/me"]
    assert sorted(logged) == sorted(response.headers["X-Request-Id"] for response in responses)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_address_from_a_trusted_proxy_is_redacted_and_forges_no_line(
    start_server: ServerStarter,
) -> None:
    server = start_server.ready(TRUSTED_PROXIES="127.0.0.1")
    for address in ("203.0.113.7", DEMO_KEY, "x\x85\x9b2K forged"):
        httpx.get(
            f"{server.url}/livez",
            headers=[(b"X-Forwarded-For", address.encode("latin-1"))],
            timeout=TIMEOUT_SECONDS,
        )
    server.stop()

    clients = [entry["client"] for entry in server.request_log() if entry["path"] == "/livez"]
    assert clients == ["203.0.113.7", "***", "x%C2%85%C2%9B2K%20forged"]


@pytest.fixture
def stalled_server(tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    """A server whose log is a pipe that is not read, and the file descriptor of its reader."""
    folder = tmp_path / "server"
    folder.mkdir()
    os.mkfifo(folder / "1.log")
    reader = os.open(folder / "1.log", os.O_RDONLY | os.O_NONBLOCK)
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'stalled.db'}", "RATE_LIMIT": "off"}
    server = ServerProcess(folder, settings, start=spawn)
    try:
        server.wait_until_ready()
        yield server, reader
    finally:
        server.kill()
        os.close(reader)


def test_server_answers_while_no_one_reads_its_log(
    stalled_server: tuple[ServerProcess, int],
) -> None:
    server, reader = stalled_server
    count = 600
    with httpx.Client(base_url=server.url, timeout=ANSWER_SECONDS) as client:
        responses = [client.get("/livez") for _ in range(count)]
    ids = [response.headers["X-Request-Id"] for response in responses]

    log = b""
    while log.count(b'"/livez"') < count:
        try:
            log += os.read(reader, PIPE_BYTES)
        except BlockingIOError:
            time.sleep(0.01)
    assert len(log) > PIPE_BYTES
    assert re.findall(rb'"request_id":"(\w+)","method":"GET","path":"/livez"', log) == [
        request_id.encode() for request_id in ids
    ]
