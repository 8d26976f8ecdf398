"""The publisher of `scripts/publisher.py` against a server, publishing to an HTTP endpoint of our own."""

import asyncio
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import make_url

from app.db.core.database import Database
from app.domain.api_keys import Scope
from tests.clients import app_client
from tests.factories import add_account, add_api_key, add_post, add_workspace, queued
from tests.servers import TIMEOUT_SECONDS, ServerProcess
from tests.worker.worker_bench import wait_until

PUBLISHER_SCRIPT = Path(__file__).parent.parent / "scripts" / "publisher.py"

ServerType = TypeVar("ServerType", bound=ThreadingHTTPServer)

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

URL = "https://platform.example/17"
MONTH = 30 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformResponse:
    """What the platform answers."""

    body: str = "{}"
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    delay: float = 0
    """Seconds after each byte."""


PUBLISHED = {
    "there": (PlatformResponse(status=201, body=json.dumps({"id": "17", "url": URL})), "17", URL),
    "a number": (
        PlatformResponse(body='{"id": 17000000000000000001}'),
        "17000000000000000001",
        None,
    ),
    "no url": (PlatformResponse(body='{"id": "17", "url": null}'), "17", None),
    "useless url": (PlatformResponse(body='{"id": "17", "url": "/posts/17"}'), "17", None),
    "useless id": (PlatformResponse(body=json.dumps({"id": "", "url": URL})), None, URL),
    "huge id": (PlatformResponse(body=json.dumps({"id": "9" * 2_000_000, "url": URL})), None, URL),
    "lone surrogate": (PlatformResponse(body=json.dumps({"id": "\ud800", "url": URL})), None, URL),
}
"""By the text of the post; with the id and the URL that are kept of it."""

UNKNOWN = {
    "nothing": (PlatformResponse(), "No usable answer."),
    "nothing useful": (
        PlatformResponse(body='{"id": "\\ud800", "url": true}'),
        "No usable answer.",
    ),
    "a list": (PlatformResponse(body="[17]"), "'list' object has no attribute 'get'"),
    "no JSON": (PlatformResponse(body="<html>"), "Expecting value: line 1 column 1 (char 0)"),
    "408": (PlatformResponse(status=408), "HTTP Error 408: Request Timeout"),
    "409": (PlatformResponse(status=409), "HTTP Error 409: Conflict"),
    "500": (PlatformResponse(status=500), "HTTP Error 500: Internal Server Error"),
    "524": (PlatformResponse(status=524), "HTTP Error 524: "),
    "999": (PlatformResponse(status=999), "No usable answer."),
    "moved": (
        PlatformResponse(status=302, headers=[("Location", "/there")]),
        "HTTP Error 501: Unsupported method ('GET')",
    ),
    "broken off": (
        PlatformResponse(headers=[("Content-Length", "17")]),
        "IncompleteRead(2 bytes read, 15 more expected)",
    ),
    "drop by drop": (PlatformResponse(body=" " * 100 + "{}", delay=0.1), "TimeoutError()"),
}
"""With what people are shown."""

FAILED = {
    "no access": (PlatformResponse(status=401), "HTTP Error 401: Unauthorized"),
    "refused": (PlatformResponse(status=400), "HTTP Error 400: Bad Request"),
}

WAITING = {
    "not now": (PlatformResponse(status=503), "TRANSIENT", None),
    "nowhere": (PlatformResponse(status=404), "TRANSIENT", None),
    "too many": (PlatformResponse(status=429), "RATE_LIMITED", None),
    "too many for 30 s": (
        PlatformResponse(status=429, headers=[("Retry-After", "30")]),
        "RATE_LIMITED",
        30,
    ),
    "too many for years": (
        PlatformResponse(status=429, headers=[("Retry-After", "9" * 5000)]),
        "RATE_LIMITED",
        MONTH,
    ),
    "too many until": (
        PlatformResponse(status=429, headers=[("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")]),
        "RATE_LIMITED",
        None,
    ),
    "too many for ²": (
        PlatformResponse(status=429, headers=[("Retry-After", "²")]),
        "RATE_LIMITED",
        None,
    ),
}
"""With the category, and the seconds that the platform asks for."""

ANSWERS = {
    text: answer
    for table in (PUBLISHED, UNKNOWN, FAILED, WAITING)
    for text, (answer, *_) in table.items()
}


class FakePlatform(ThreadingHTTPServer):
    """Answers by the text of the post; what it got is kept."""

    def __init__(self, responses: Callable[[str], PlatformResponse]) -> None:
        super().__init__(("127.0.0.1", 0), _PlatformHandler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.answers = responses
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


class _PlatformHandler(BaseHTTPRequestHandler):
    server: FakePlatform

    def do_POST(self) -> None:
        claim = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append(claim)
        self.server.headers.append(dict(self.headers))
        answer = self.server.answers(claim["content"])
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        for byte in answer.body if answer.delay else [answer.body]:
            try:
                self.wfile.write(byte.encode())
            except OSError:
                return
            time.sleep(answer.delay)

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


@contextmanager
def run_platform(
    answers: Callable[[str], PlatformResponse] = ANSWERS.__getitem__,
) -> Iterator[FakePlatform]:
    with serve_in_thread(FakePlatform(answers)) as server:
        yield server


@contextmanager
def serve_in_thread(server: ServerType) -> Iterator[ServerType]:
    server.daemon_threads = True
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _ProxyHandler(BaseHTTPRequestHandler):
    """Answers by itself what it has an answer for, and lets the server answer the rest."""

    own_responses: Iterator[PlatformResponse | None]
    url: str
    forwarded: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        own = next(self.own_responses, None)
        if own is not None:
            status, content = own.status, own.body.encode()
        else:
            self.forwarded.append(re.findall(r"(\w+)\(input", body.decode())[0])
            try:
                passed = httpx.post(
                    self.url, content=body, headers=dict(self.headers), timeout=TIMEOUT_SECONDS
                )
            except httpx.HTTPError:  # at the end of a test
                return
            status, content = passed.status_code, passed.content
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


@contextmanager
def run_proxy(
    url: str, own_responses: Iterable[PlatformResponse | None]
) -> Iterator[tuple[str, list[str]]]:
    """An address before the server's, and the calls that were passed on."""
    passed: list[str] = []
    handler = type(
        "Handler", (_ProxyHandler,), {"own": iter(own_responses), "url": url, "passed": passed}
    )
    with serve_in_thread(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/graphql", passed


@contextmanager
def run_publisher(**environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The publisher, and the lines that it has printed."""
    process = subprocess.Popen(
        [sys.executable, str(PUBLISHER_SCRIPT)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    printed: list[str] = []
    reader = threading.Thread(target=printed.extend, args=[process.stdout])
    reader.start()
    try:
        yield process, printed
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class PublisherScenario:
    """A server with a key, and posts that are due."""

    database: Database
    server: ServerProcess
    token: str
    posts: dict[str, str]
    """By their text; each on an account of its own."""

    def environment(self, publish_url: str) -> dict[str, str]:
        return {
            "API_URL": f"{self.server.url}/graphql",
            "API_KEY": self.token,
            "PUBLISH_URL": publish_url,
            "CALL_SECONDS": "2",
        }

    def results(self) -> dict[str, dict[str, Any]]:
        """Of the only destination of each post, by its text."""
        found = self.server.get("/v1/posts?limit=100", self.token).json()["data"]["posts"]
        return {each["content"]: each["destinations"][0] for each in found}

    def all_reported(self) -> bool:
        return all(
            each["status"] in ("published", "failed") or each["next_retry_at"]
            for each in self.results().values()
        )

    async def attempt_log(self, text: str) -> tuple[str, str, int | None, float | None]:
        """How the only attempt of a post ended: outcome, category, HTTP status, seconds to wait."""
        document = """
        query($id: UUID!) {
          post(postId: $id) {
            destinations { attemptLog { outcome category httpStatus retryAfterSeconds } }
          }
        }
        """
        async with app_client(self.database, token=self.token) as client:
            data = await client.query(document, id=self.posts[text])
        ((attempt,),) = (each["attemptLog"] for each in data["post"]["destinations"])
        return (
            attempt["outcome"],
            attempt["category"],
            attempt["httpStatus"],
            attempt["retryAfterSeconds"],
        )


class ScenarioFactory:
    """Makes scenes; whatever still runs at the end is killed."""

    def __init__(self, database: Database, url: str, logs: Path) -> None:
        self._database, self._url, self._logs = database, url, logs
        self._servers: list[ServerProcess] = []

    async def create(
        self, *texts: str, scopes: Sequence[Scope] = (Scope.READ, Scope.PUBLISH)
    ) -> PublisherScenario:
        workspace = await add_workspace(self._database)
        key = await add_api_key(self._database, workspace, scopes=scopes)
        posts = {}
        for content in texts:
            account = await add_account(self._database, workspace)
            due = {account: queued(datetime.now(UTC))}
            added = await add_post(
                self._database, workspace, due, content=content, submitted_now=True
            )
            posts[content] = str(added.id)
        settings = {"DATABASE_URL": self._url, "RATE_LIMIT": "off", "DATABASE_TIMEOUT": "5"}
        server = ServerProcess(self._logs, settings)
        self._servers.append(server)
        await asyncio.to_thread(server.wait_until_ready)
        return PublisherScenario(self._database, server, key.token, posts)

    def kill_servers(self) -> None:
        for server in self._servers:
            server.kill()


@pytest.fixture
def scenarios(database: Database, database_url: str, tmp_path: Path) -> Iterator[ScenarioFactory]:
    logs = tmp_path / "logs"
    logs.mkdir()
    stage = ScenarioFactory(database, database_url, logs)
    yield stage
    stage.kill_servers()


def unused_port() -> int:
    """On which nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert isinstance(port, int)
        return port


@contextmanager
def lock_database(url: str) -> Iterator[None]:
    """Nobody can write to the database meanwhile."""
    connection = sqlite3.connect(str(make_url(url).database), timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def test_it_is_short_and_needs_nothing_but_python() -> None:
    lines = PUBLISHER_SCRIPT.read_text().splitlines()
    assert len(lines) <= 60
    assert [line for line in lines if line.startswith(("import", "from"))] == [
        "import json",
        "import os",
        "import time",
        "from concurrent.futures import ThreadPoolExecutor",
        "from socket import gaierror",
        "from urllib.request import Request, urlopen",
    ]


@on_sqlite
async def test_it_publishes_each_post_once_and_reports_what_came_of_it(
    stage: ScenarioFactory,
) -> None:
    scene = await stage.create(*ANSWERS)
    with (
        run_platform() as there,
        run_publisher(**scene.environment(there.url)) as (process, printed),
    ):
        await wait_until(scene.all_reported)
        assert process.poll() is None
    results = scene.results()

    assert sorted(each["content"] for each in there.received) == sorted(ANSWERS)
    assert {text: result_summary(results[text]) for text in PUBLISHED} == {
        text: ("published", 1, *where, None) for text, (_, *where) in PUBLISHED.items()
    }
    assert {text: result_summary(results[text]) for text in UNKNOWN} == {
        text: ("failed", 1, None, None, error) for text, (_, error) in UNKNOWN.items()
    }
    assert {text: result_summary(results[text]) for text in FAILED} == {
        text: ("failed", 1, None, None, error) for text, (_, error) in FAILED.items()
    }
    assert {each["status"] for text, each in results.items() if text in WAITING} == {"queued"}
    for text in UNKNOWN:
        assert (await scene.attempt_log(text))[:2] == ("UNKNOWN", "UNCLASSIFIED"), text
    for text, (answer, category, seconds) in WAITING.items():
        expected = ("FAILED", category, answer.status, seconds)
        assert await scene.attempt_log(text) == expected, text
    assert scene.token not in "".join(printed)


def result_summary(result: dict[str, Any]) -> tuple[str, int, str | None, str | None, str | None]:
    return (
        result["status"],
        result["attempts"],
        result["platform_post_id"],
        result["platform_post_url"],
        result["error"],
    )


@on_sqlite
async def test_the_platform_gets_the_post_and_no_secrets(stage: ScenarioFactory) -> None:
    scene = await stage.create("there")
    with run_platform() as there, run_publisher(**scene.environment(there.url)):
        await wait_until(scene.all_reported)

    (got,) = there.received
    result = scene.results()["there"]
    assert got == {
        "destinationId": result["id"],
        "postId": scene.posts["there"],
        "platform": result["platform"],
        "accountName": result["account_name"],
        "content": "there",
        "mediaIds": [],
        "reference": None,
    }
    (headers,) = there.headers
    assert headers["Content-Type"] == "application/json"
    assert scene.token not in str(headers)


@on_sqlite
@pytest.mark.parametrize(
    "address", ["127.0.0.1", "nobody.invalid"], ids=["connection refused", "name not found"]
)
async def test_a_platform_that_is_not_there_has_surely_not_published(
    stage: ScenarioFactory, address: str
) -> None:
    scene = await stage.create("there")
    with run_publisher(**scene.environment(f"http://{address}:{unused_port()}/")):
        await wait_until(scene.all_reported)

    assert await scene.attempt_log("there") == ("FAILED", "TRANSIENT", None, None)
    assert scene.results()["there"]["status"] == "queued"


@on_sqlite
async def test_a_database_that_is_away_delays_claims_and_reports(
    stage: ScenarioFactory, database_url: str
) -> None:
    unlock = threading.Event()
    holding: list[threading.Thread] = []

    def hold(is_held: threading.Event) -> None:
        with lock_database(database_url):
            is_held.set()
            unlock.wait(TIMEOUT_SECONDS)

    def answer_while_nobody_can_write(_text: str) -> PlatformResponse:
        is_held = threading.Event()
        holding.append(threading.Thread(target=hold, args=[is_held]))
        holding[-1].start()
        is_held.wait(TIMEOUT_SECONDS)
        return ANSWERS["there"]

    scene = await stage.create("there")
    with (
        run_platform(answer_while_nobody_can_write) as there,
        run_publisher(**scene.environment(there.url)) as (process, printed),
    ):
        with lock_database(database_url):
            await wait_until(lambda: has_line(printed, "claimDestinations SERVICE_UNAVAILABLE"))
        await wait_until(lambda: has_line(printed, "reportPublished SERVICE_UNAVAILABLE"))
        unlock.set()
        await wait_until(scene.all_reported)
        assert process.poll() is None
    for thread in holding:
        thread.join()

    assert len(there.received) == 1
    assert result_summary(scene.results()["there"]) == ("published", 1, "17", URL, None)


@on_sqlite
async def test_a_server_that_is_away_is_asked_again(stage: ScenarioFactory) -> None:
    scene = await stage.create("there")
    own = [
        PlatformResponse(status=502),
        PlatformResponse(body="<html>"),
        None,
        None,
        PlatformResponse(status=502),
        None,
    ]
    with (
        run_proxy(f"{scene.server.url}/graphql", own) as (url, passed),
        run_platform() as there,
        run_publisher(**scene.environment(there.url) | {"API_URL": url}) as (process, printed),
    ):
        await wait_until(lambda: scene.all_reported() and len(passed) > 3)
        assert process.poll() is None

    assert passed[:3] == ["claimDestinations", "startAttempt", "reportPublished"]
    assert [line.split(" ")[:2] for line in printed[:2]] == [
        ["claimDestinations", "502"],
        ["claimDestinations", "None"],
    ]
    assert has_line(printed, "reportPublished 502")
    assert result_summary(scene.results()["there"]) == ("published", 1, "17", URL, None)


@on_sqlite
async def test_what_cannot_be_started_is_not_published(stage: ScenarioFactory) -> None:
    scene = await stage.create("there", "no url")
    own = [None, PlatformResponse(status=413)]
    with (
        run_proxy(f"{scene.server.url}/graphql", own) as (url, passed),
        run_platform() as there,
        run_publisher(**scene.environment(there.url) | {"API_URL": url}) as (process, _),
    ):
        await wait_until(lambda: "reportPublished" in passed)
        assert process.poll() is None

    assert passed[:3] == ["claimDestinations", "claimDestinations", "startAttempt"]
    assert len(there.received) == 1


@on_sqlite
@pytest.mark.parametrize("is_known", [True, False], ids=["without the scope", "unknown"])
async def test_a_key_that_may_not_publish_ends_it(stage: ScenarioFactory, is_known: bool) -> None:
    scene = await stage.create("there", scopes=[Scope.READ])
    key = {} if is_known else {"API_KEY": "pe_live_" + "0" * 32}
    with run_publisher(**scene.environment("http://127.0.0.1:1/") | key) as (process, printed):
        assert await asyncio.to_thread(process.wait, TIMEOUT_SECONDS) == 0

    code = "INSUFFICIENT_SCOPE" if is_known else "401"
    assert printed[0].startswith(f"claimDestinations {code} ")
    assert len(printed) == 1
    assert scene.results()["there"]["attempts"] == 0


def has_line(printed: Sequence[str], beginning: str) -> bool:
    return any(line.startswith(beginning) for line in printed)
