"""The example publisher `scripts/publisher.py` with a real server and a fake platform."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import httpx
import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from tests.clients import app_client
from tests.factories import add_account, add_api_key, add_post, add_workspace, queued
from tests.servers import TIMEOUT_SECONDS, ServerProcess, unused_port
from tests.worker.worker_bench import wait_until

PUBLISHER_SCRIPT = Path(__file__).parent.parent / "scripts" / "publisher.py"

ServerType = TypeVar("ServerType", bound=ThreadingHTTPServer)

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

URL = "https://platform.example/17"
MONTH = 30 * 24 * 3600

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """HTTP response of the fake platform."""

    body: str = "{}"
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    delay: float = 0
    """Seconds between the bytes of the body."""


PUBLISHED = {
    "published": (Reply(status=201, body=json.dumps({"id": "17", "url": URL})), "17", URL),
    "a number": (Reply(body='{"id": 17000000000000000001}'), "17000000000000000001", None),
    "no url": (Reply(body='{"id": "17", "url": null}'), "17", None),
    "useless url": (Reply(body='{"id": "17", "url": "/posts/17"}'), "17", None),
    "useless id": (Reply(body=json.dumps({"id": "", "url": URL})), None, URL),
    "huge id": (Reply(body=json.dumps({"id": "9" * 2_000_000, "url": URL})), None, URL),
    "lone surrogate": (Reply(body=json.dumps({"id": "\ud800", "url": URL})), None, URL),
}
"""Post text → response, and the stored platform post id and URL."""

UNKNOWN = {
    "nothing": (Reply(), "No usable answer."),
    "nothing useful": (Reply(body='{"id": "\\ud800", "url": true}'), "No usable answer."),
    "a list": (Reply(body="[17]"), "'list' object has no attribute 'get'"),
    "no JSON": (Reply(body="<html>"), "Expecting value: line 1 column 1 (char 0)"),
    "408": (Reply(status=408), "HTTP Error 408: Request Timeout"),
    "409": (Reply(status=409), "HTTP Error 409: Conflict"),
    "500": (Reply(status=500), "HTTP Error 500: Internal Server Error"),
    "524": (Reply(status=524), "HTTP Error 524: "),
    "999": (Reply(status=999), "No usable answer."),
    "moved": (Reply(status=302, headers=[("Location", "/published")]), "HTTP Error 302: Found"),
    "broken off": (
        Reply(headers=[("Content-Length", "17")]),
        "IncompleteRead(2 bytes read, 15 more expected)",
    ),
    "drop by drop": (Reply(body=" " * 100 + "{}", delay=0.1), "TimeoutError()"),
}
"""Post text → response, and the stored error message."""

FAILED = {
    "no access": (Reply(status=401), "HTTP Error 401: Unauthorized"),
    "refused": (Reply(status=400), "HTTP Error 400: Bad Request"),
}

RETRIED = {
    "not now": (Reply(status=503), "TRANSIENT", None),
    "nowhere": (Reply(status=404), "TRANSIENT", None),
    "too many": (Reply(status=429), "RATE_LIMITED", None),
    "too many for 30 s": (Reply(status=429, headers=[("Retry-After", "30")]), "RATE_LIMITED", 30),
    "too many for years": (
        Reply(status=429, headers=[("Retry-After", "9" * 5000)]),
        "RATE_LIMITED",
        MONTH,
    ),
    "too many until": (
        Reply(status=429, headers=[("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")]),
        "RATE_LIMITED",
        None,
    ),
    "too many for ²": (Reply(status=429, headers=[("Retry-After", "²")]), "RATE_LIMITED", None),
}
"""Post text → response, error category, and Retry-After in seconds."""

RESPONSES = {
    text: response
    for table in (PUBLISHED, UNKNOWN, FAILED, RETRIED)
    for text, (response, *_) in table.items()
}


class FakePlatform(ThreadingHTTPServer):
    """Responds by the text of the post and records the requests."""

    def __init__(self, responses: Callable[[str], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _PlatformHandler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.responses = responses
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


class _PlatformHandler(BaseHTTPRequestHandler):
    server: FakePlatform

    def do_POST(self) -> None:
        claim = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append(claim)
        self.server.headers.append(dict(self.headers))
        response = self.server.responses(claim["content"])
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        for byte in response.body if response.delay else [response.body]:
            try:
                self.wfile.write(byte.encode())
            except OSError:
                return
            time.sleep(response.delay)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def run_platform(
    responses: Callable[[str], Reply] = RESPONSES.__getitem__,
) -> Iterator[FakePlatform]:
    with serve_in_thread(FakePlatform(responses)) as server:
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
    """Sends its own responses first, and forwards a request for each None and after the last one."""

    own_responses: Iterator[Reply | None]
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
                response = httpx.post(
                    self.url, content=body, headers=dict(self.headers), timeout=TIMEOUT_SECONDS
                )
            except httpx.HTTPError:  # the server was killed at the end of the test
                return
            status, content = response.status_code, response.content
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def run_proxy(url: str, own_responses: Iterable[Reply | None]) -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a proxy in front of the server, and the names of the forwarded mutations."""
    forwarded: list[str] = []
    attributes = {"own_responses": iter(own_responses), "url": url, "forwarded": forwarded}
    handler = type("Handler", (_ProxyHandler,), attributes)
    with serve_in_thread(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/graphql", forwarded


@contextmanager
def run_publisher(**environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Yield the process of the publisher, and the lines of its output."""
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
    """A server, an API key, and due posts."""

    database: Database
    server: ServerProcess
    token: str
    posts: dict[str, str]
    """Text → id of each post; each has its own account."""

    def environment(self, publish_url: str) -> dict[str, str]:
        return {
            "API_URL": f"{self.server.url}/graphql",
            "API_KEY": self.token,
            "PUBLISH_URL": publish_url,
            "CALL_SECONDS": "2",
        }

    def results(self) -> dict[str, dict[str, Any]]:
        """Text → result of the only destination of each post."""
        posts = self.server.get("/v1/posts?limit=100", self.token).json()["data"]["posts"]
        return {post["content"]: post["destinations"][0] for post in posts}

    def all_reported(self) -> bool:
        return all(
            result["status"] in ("published", "failed") or result["next_retry_at"]
            for result in self.results().values()
        )

    async def attempt_log(self, text: str) -> tuple[str, str, int | None, float | None]:
        """Outcome, category, HTTP status and Retry-After seconds of the first attempt of a post."""
        document = """
        query($id: UUID!) {
          post(postId: $id) {
            destinations { attemptLog { outcome category httpStatus retryAfterSeconds } }
          }
        }
        """
        async with app_client(self.database, token=self.token) as client:
            data = await client.query(document, id=self.posts[text])
        attempt = data["post"]["destinations"][0]["attemptLog"][0]
        return (
            attempt["outcome"],
            attempt["category"],
            attempt["httpStatus"],
            attempt["retryAfterSeconds"],
        )


CreateScenario: TypeAlias = Callable[..., Awaitable[PublisherScenario]]


@pytest.fixture
def create_scenario(
    database: Database, database_url: str, tmp_path: Path
) -> Iterator[CreateScenario]:
    """Function that adds due posts and starts a server, which is killed at the end."""
    logs = tmp_path / "logs"
    logs.mkdir()
    settings = {"DATABASE_URL": database_url, "RATE_LIMIT": "off", "DATABASE_TIMEOUT": "5"}
    with ExitStack() as stack:

        async def create(
            *texts: str, scopes: Sequence[Scope] = (Scope.READ, Scope.PUBLISH)
        ) -> PublisherScenario:
            workspace = await add_workspace(database)
            key = await add_api_key(database, workspace, scopes=scopes)
            posts = {}
            for content in texts:
                due = {await add_account(database, workspace): queued(datetime.now(UTC))}
                added = await add_post(
                    database, workspace, due, content=content, submitted_now=True
                )
                posts[content] = str(added.id)
            server = ServerProcess(logs, settings)
            stack.callback(server.kill)
            await asyncio.to_thread(server.wait_until_ready)
            return PublisherScenario(database, server, key.token, posts)

        yield create


def test_publisher_has_at_most_63_lines_and_imports_only_the_standard_library() -> None:
    lines = PUBLISHER_SCRIPT.read_text().splitlines()
    assert len(lines) <= 63
    assert [line for line in lines if line.startswith(("import", "from"))] == [
        "import json",
        "import os",
        "import time",
        "from concurrent.futures import ThreadPoolExecutor",
        "from socket import gaierror",
        "from urllib.request import HTTPRedirectHandler, Request, build_opener",
    ]


@on_sqlite
async def test_publisher_publishes_each_post_once_and_reports_the_result(
    create_scenario: CreateScenario,
) -> None:
    scenario = await create_scenario(*RESPONSES)
    with (
        run_platform() as platform,
        run_publisher(**scenario.environment(platform.url)) as (process, printed),
    ):
        await wait_until(scenario.all_reported)
        assert process.poll() is None
    results = scenario.results()

    received = [claim["content"] for claim in platform.received]
    assert set(received) == RESPONSES.keys()
    # A retry may follow immediately, because its delay is random.
    assert [text for text in RESPONSES if text not in RETRIED and received.count(text) > 1] == []
    assert {text: result_summary(results[text]) for text in PUBLISHED} == {
        text: ("published", 1, *ids, None) for text, (_, *ids) in PUBLISHED.items()
    }
    not_published = UNKNOWN | FAILED
    assert {text: result_summary(results[text]) for text in not_published} == {
        text: ("failed", 1, None, None, error) for text, (_, error) in not_published.items()
    }
    assert {results[text]["status"] for text in RETRIED} <= {"queued", "publishing"}
    for text in UNKNOWN:
        assert (await scenario.attempt_log(text))[:2] == ("UNKNOWN", "UNCLASSIFIED"), text
    for text, (response, category, seconds) in RETRIED.items():
        expected = ("FAILED", category, response.status, seconds)
        assert await scenario.attempt_log(text) == expected, text
    assert scenario.token not in "".join(printed)


def result_summary(result: dict[str, Any]) -> tuple[str, int, str | None, str | None, str | None]:
    return (
        result["status"],
        result["attempts"],
        result["platform_post_id"],
        result["platform_post_url"],
        result["error"],
    )


@on_sqlite
async def test_platform_receives_the_post_and_no_secrets(create_scenario: CreateScenario) -> None:
    scenario = await create_scenario("published")
    with run_platform() as platform, run_publisher(**scenario.environment(platform.url)):
        await wait_until(scenario.all_reported)

    (claim,) = platform.received
    result = scenario.results()["published"]
    assert claim == {
        "destinationId": result["id"],
        "postId": scenario.posts["published"],
        "platform": result["platform"],
        "accountName": result["account_name"],
        "content": "published",
        "mediaIds": [],
        "reference": None,
    }
    (headers,) = platform.headers
    assert headers["Content-Type"] == "application/json"
    assert scenario.token not in str(headers)


@on_sqlite
@pytest.mark.parametrize(
    "address", ["127.0.0.1", "unknown.invalid"], ids=["connection refused", "name not found"]
)
async def test_unreachable_platform_is_reported_as_not_published(
    create_scenario: CreateScenario, address: str
) -> None:
    scenario = await create_scenario("published")
    with run_publisher(**scenario.environment(f"http://{address}:{unused_port()}/")):
        await wait_until(scenario.all_reported)

    assert await scenario.attempt_log("published") == ("FAILED", "TRANSIENT", None, None)
    assert scenario.results()["published"]["status"] in ("queued", "publishing")


DATABASE_UNAVAILABLE = Reply(
    body=json.dumps(
        {"errors": [{"message": "Away.", "extensions": {"code": "SERVICE_UNAVAILABLE"}}]}
    )
)
"""Response to a mutation that could not write."""


@on_sqlite
async def test_calls_are_repeated_while_the_server_or_its_database_is_unavailable(
    create_scenario: CreateScenario,
) -> None:
    scenario = await create_scenario("published")
    unavailable = [Reply(status=502), Reply(body="<html>"), DATABASE_UNAVAILABLE]
    moved = Reply(status=302, headers=[("Location", "/unavailable")])
    own_responses = [*unavailable, None, None, moved, DATABASE_UNAVAILABLE, None]
    with (
        run_proxy(f"{scenario.server.url}/graphql", own_responses) as (url, forwarded),
        run_platform() as platform,
        run_publisher(**scenario.environment(platform.url) | {"API_URL": url}) as (
            process,
            printed,
        ),
    ):
        await wait_until(lambda: scenario.all_reported() and len(forwarded) > 3)
        assert process.poll() is None

    assert forwarded[:3] == ["claimDestinations", "startAttempt", "reportPublished"]
    assert [line.split(" ")[:2] for line in printed[:3]] == [
        ["claimDestinations", "502"],
        ["claimDestinations", "None"],
        ["claimDestinations", "SERVICE_UNAVAILABLE"],
    ]
    assert has_line(printed, "reportPublished 302")
    assert has_line(printed, "reportPublished SERVICE_UNAVAILABLE")
    assert len(platform.received) == 1
    assert result_summary(scenario.results()["published"]) == ("published", 1, "17", URL, None)


@on_sqlite
async def test_attempt_that_cannot_be_started_is_not_published(
    create_scenario: CreateScenario,
) -> None:
    scenario = await create_scenario("published", "no url")
    own_responses = [None, Reply(status=413)]
    with (
        run_proxy(f"{scenario.server.url}/graphql", own_responses) as (url, forwarded),
        run_platform() as platform,
        run_publisher(**scenario.environment(platform.url) | {"API_URL": url}) as (process, _),
    ):
        await wait_until(lambda: "reportPublished" in forwarded)
        assert process.poll() is None

    assert forwarded[:3] == ["claimDestinations", "claimDestinations", "startAttempt"]
    assert len(platform.received) == 1


@on_sqlite
@pytest.mark.parametrize("is_known", [True, False], ids=["without the scope", "unknown"])
async def test_key_without_permission_to_publish_ends_the_publisher(
    create_scenario: CreateScenario, is_known: bool
) -> None:
    scenario = await create_scenario("published", scopes=[Scope.READ])
    key = {} if is_known else {"API_KEY": "pe_live_" + "0" * 32}
    with run_publisher(**scenario.environment("http://127.0.0.1:1/") | key) as (process, printed):
        assert await asyncio.to_thread(process.wait, TIMEOUT_SECONDS) == 0

    code = "INSUFFICIENT_SCOPE" if is_known else "401"
    assert printed[0].startswith(f"claimDestinations {code} ")
    assert len(printed) == 1
    assert scenario.results()["published"]["attempts"] == 0


def has_line(printed: Sequence[str], prefix: str) -> bool:
    return any(line.startswith(prefix) for line in printed)
