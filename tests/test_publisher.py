"""The publisher of `scripts/publisher.py` against a server, publishing to an HTTP endpoint of our own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.db.engine import Database
from app.domain.api_keys import Scope
from tests.clients import serving
from tests.factories import add_account, add_api_key, add_post, add_workspace, queued
from tests.servers import Server
from tests.worker.running import eventually

FILE = Path(__file__).parent.parent / "scripts" / "publisher.py"

ANSWERS: dict[str, tuple[int, dict[str, str], object]] = {
    "there": (201, {}, {"id": "17", "url": "https://platform.example/17"}),
    "too many": (429, {"Retry-After": "30"}, {}),
    "no access": (401, {}, {}),
    "refused": (400, {}, {}),
    "broken": (500, {}, {}),
    "no answer": (200, {}, "<html>"),
}
"""What the platform answers, by the text of the post."""


@contextmanager
def platform() -> Iterator[tuple[str, list[str]]]:
    """The address of a platform, and the texts that it got."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            claim = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append(claim["content"])
            status, headers, answer = ANSWERS[claim["content"]]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Not to the test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", got
        server.shutdown()
        thread.join()


@contextmanager
def publisher(environment: dict[str, str]) -> Iterator[None]:
    """Runs, and says nothing."""
    process = subprocess.Popen(
        [sys.executable, str(FILE)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield
    finally:
        process.kill()
        output, _ = process.communicate()
    assert output == b""


def test_it_is_short_and_needs_nothing_but_python() -> None:
    lines = FILE.read_text().splitlines()
    assert len(lines) <= 60
    assert [line for line in lines if line.startswith(("import", "from"))] == [
        "import json",
        "import os",
        "import time",
        "from typing import Any",
        "from urllib.error import HTTPError",
        "from urllib.request import Request, urlopen",
    ]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_it_publishes_each_post_once_and_reports_what_came_of_it(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, scopes=[Scope.READ, Scope.PUBLISH])
    posts = {}
    for content in ANSWERS:
        account = await add_account(database, workspace)
        now = datetime.now(UTC)
        added = await add_post(
            database, workspace, {account: queued(now)}, content=content, submitted_now=True
        )
        posts[content] = str(added.id)
    logs = tmp_path / "logs"
    logs.mkdir()
    server = Server(logs, {"DATABASE_URL": database_url, "RATE_LIMIT": "off"})
    try:
        server.greeting()
        with platform() as (url, got):
            environment = {"API_URL": f"{server.url}/graphql", "API_KEY": key.token}
            with publisher({**environment, "PUBLISH_URL": url}):
                results = {}

                def are_reported() -> bool:
                    for content, post_id in posts.items():
                        path = f"/v1/posts/{post_id}/results"
                        (result,) = server.get(path, key.token).json()["data"]["results"]
                        results[content] = result
                    return all(
                        each["status"] in ("published", "failed") or each["next_retry_at"]
                        for each in results.values()
                    )

                await eventually(are_reported)
        server.stop()
    finally:
        server.end()

    assert sorted(got) == sorted(ANSWERS)
    told = {
        content: (each["status"], each["attempts"], each["platform_post_url"], each["error"])
        for content, each in results.items()
    }
    assert told["there"] == ("published", 1, "https://platform.example/17", None)
    assert told["too many"] == ("queued", 1, None, "HTTP Error 429: Too Many Requests")
    assert told["no access"] == ("failed", 1, None, "HTTP Error 401: Unauthorized")
    assert told["refused"] == ("failed", 1, None, "HTTP Error 400: Bad Request")
    assert told["broken"] == ("failed", 1, None, "HTTP Error 500: Internal Server Error")
    assert told["no answer"] == (
        "failed",
        1,
        None,
        "JSONDecodeError('Expecting value: line 1 column 1 (char 0)')",
    )
    document = """
    query($ids: [UUID!]) {
      destinations(filter: {postId: $ids, outcome: [UNKNOWN]}) { totalCount }
    }
    """
    async with serving(database, token=key.token) as client:
        ids = {content: [post_id] for content, post_id in posts.items()}
        unknown = {
            content
            for content, each in ids.items()
            if (await client.query(document, ids=each))["destinations"]["totalCount"]
        }
    assert unknown == {"broken", "no answer"}
