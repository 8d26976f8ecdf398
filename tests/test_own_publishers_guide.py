"""The example of a publisher behind a URL publishes each post once, and answers lookups correctly."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.ids import DestinationId
from app.domain.webhooks.signatures import make_secret, signature_headers
from app.outbound.client import OutboundClient
from app.platforms.protocol import LookupFailure, NotPublished, OutcomeUnknown, PublishRequest
from app.platforms.webhook_publisher import WebhookPublisher
from tests.external_programs import run_program
from tests.guides import guide
from tests.outbound.local_servers import LOCAL_RULES
from tests.platforms.publish_requests import MemoryCredentials, publish_request
from tests.servers import unused_port

GUIDE = guide("own-publishers")
EXAMPLE = GUIDE.section("Flask").block("python")
CHECK, _STORE = GUIDE.section("n8n").blocks("js")
N8N = """
const [request, secret, urls] = JSON.parse(process.argv[2]);
const $env = { PUBLISHER_SECRET: secret };
const $getWorkflowStaticData = () => urls;
const $input = { first: () => ({ json: { headers: request.headers } }) };
const helpers = { getBinaryDataBuffer: async () => Buffer.from(request.body) };
async function check() {
CHECK
}
check.call({ helpers }).then((items) => console.log(JSON.stringify(items)));
"""
"""Program that runs the code of a node of n8n, with the values that n8n provides."""
PLATFORM_CLIENT = """
import pathlib, time

def publish_post(post):
    if post["content"] == "slow":
        time.sleep(0.3)
    if post["content"] == "fails once" and post["attempt"] == 1:
        raise ConnectionError
    with pathlib.Path("posts").open("a") as posts:
        posts.write(post["destinationId"] + "\\n")
    return "https://example.com/" + post["destinationId"]
"""
SECRET = make_secret(lambda number: bytes(range(number)))


@dataclass(frozen=True)
class Example:
    """The running example, and the folder with what it has published."""

    url: str
    folder: Path

    def posts(self, request: PublishRequest) -> int:
        """Return how often the post was published."""
        file = self.folder / "posts"
        return file.read_text().count(str(request.destination_id)) if file.exists() else 0

    def request(self, content: str = "Hello", *, secret: str = SECRET) -> PublishRequest:
        credentials = {
            "url": f"{self.url}/publish",
            "lookupUrl": f"{self.url}/lookup",
            "secret": secret,
        }
        return publish_request(
            destination_id=DestinationId(uuid4()),
            content=content,
            credentials=MemoryCredentials(credentials),
        )


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("own-publisher")
    (folder / "app.py").write_text(EXAMPLE)
    (folder / "platform_client.py").write_text(PLATFORM_CLIENT)
    url = f"http://127.0.0.1:{(port := unused_port())}"
    command = [sys.executable, "-m", "flask", "run", "--port", str(port)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, env={"SECRET": SECRET}, stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait_until_ready(url, process)
            yield Example(url, folder)
        finally:
            process.kill()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            httpx.get(url)
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("The example has stopped.")


@asynccontextmanager
async def publisher() -> AsyncIterator[WebhookPublisher]:
    async with OutboundClient(LOCAL_RULES) as client:
        yield WebhookPublisher(client, now=lambda: datetime.now(UTC))


async def test_repeated_requests_publish_once(example: Example) -> None:
    request = example.request()
    async with publisher() as adapter:
        first = await adapter.publish(request)
        second = await adapter.publish(request)
        third = await adapter.publish(replace(request, attempt=2))
        found = await adapter.look_up(request)

    assert first.platform_post_url == f"https://example.com/{request.destination_id}"
    assert isinstance(found, Publication)
    urls = {publication.platform_post_url for publication in (first, second, third, found)}
    assert urls == {first.platform_post_url}
    assert example.posts(request) == 1


async def test_concurrent_requests_publish_once(example: Example) -> None:
    request = example.request("slow")
    async with publisher() as adapter:
        results = await asyncio.gather(
            *[adapter.publish(request) for _ in range(5)], return_exceptions=True
        )
        assert isinstance(await adapter.look_up(request), Publication)

    assert sum(isinstance(result, Publication) for result in results) == 1
    assert sum(isinstance(result, OutcomeUnknown) for result in results) == 4
    assert example.posts(request) == 1


async def test_request_that_arrives_after_its_lookup_publishes_nothing(example: Example) -> None:
    request = example.request()
    async with publisher() as adapter:
        assert await adapter.look_up(request) is LookupFailure.NOT_FOUND
        with pytest.raises(NotPublished):
            await adapter.publish(request)
        assert await adapter.look_up(request) is LookupFailure.NOT_FOUND
        assert example.posts(request) == 0

        next_attempt = replace(request, attempt=2)
        assert await adapter.look_up(next_attempt) is LookupFailure.NOT_FOUND
        await adapter.publish(replace(request, attempt=3))
    assert example.posts(request) == 1


async def test_interrupted_publication_stays_unknown_until_another_attempt(
    example: Example,
) -> None:
    request = example.request("fails once")
    async with publisher() as adapter:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await adapter.publish(request)
            assert await adapter.look_up(request) is LookupFailure.INCONCLUSIVE
        assert example.posts(request) == 0

        for _ in range(2):
            await adapter.publish(replace(request, attempt=2))
    assert example.posts(request) == 1


async def test_wrong_signature_is_refused(example: Example) -> None:
    request = example.request(secret=make_secret(bytes))
    async with publisher() as adapter:
        with pytest.raises(NotPublished) as caught:
            await adapter.publish(request)

    assert caught.value.category is ErrorCategory.AUTH
    assert caught.value.message == "The signature is not valid."
    assert example.posts(request) == 0


def run_check(folder: Path, secret: str, urls: dict[str, str]) -> object:
    """Run the code of n8n for a request that is signed with SECRET; returns what it passes on."""
    (folder / "check.cjs").write_text(N8N.replace("CHECK", CHECK))
    body = json.dumps({"destinationId": "d1", "content": "Grüße"})
    headers = signature_headers(
        body.encode(), event_id="d1", now=datetime.now(UTC), secrets=[SECRET]
    )
    request = {"headers": headers, "body": body}
    output = run_program("node", "check.cjs", json.dumps([request, secret, urls]), cwd=folder)
    (item,) = json.loads(output)
    return item["json"]


def test_n8n_passes_the_post_on(tmp_path: Path) -> None:
    post = {"destinationId": "d1", "content": "Grüße"}
    assert run_check(tmp_path, SECRET, {}) == {"status": None, "id": "d1", "post": post}


def test_n8n_answers_a_repeated_request(tmp_path: Path) -> None:
    assert run_check(tmp_path, SECRET, {"d1": "https://example.com/1"}) == {
        "status": 200,
        "answer": {"url": "https://example.com/1"},
    }


def test_n8n_refuses_a_wrong_signature(tmp_path: Path) -> None:
    assert run_check(tmp_path, make_secret(bytes), {}) == {
        "status": 401,
        "answer": {"error": "The signature is not valid."},
    }
