"""Adapters with a server of their platform in memory, for the tests that each adapter must pass."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from app.domain.times import format_instant
from app.outbound.client import OutboundClient
from app.platforms.bluesky.adapter import Bluesky
from app.platforms.mastodon.adapter import Mastodon
from app.platforms.media import Media
from app.platforms.meta.adapter import MetaAdapter
from app.platforms.protocol import PlatformAdapter, PublishRequest
from app.platforms.webhook_publisher import WebhookPublisher
from tests.factories import NOW
from tests.outbound.local_servers import LOCAL_RULES, local_server, read_request
from tests.platforms.bluesky.scripted_pds import (
    APP_PASSWORD,
    access_token,
    running_pds,
    stored_credentials,
)
from tests.platforms.example_adapter import Notes
from tests.platforms.interception import InterceptingServer, intercepting_server
from tests.platforms.meta.adapter_run import PLATFORMS
from tests.platforms.meta.stub_graph import TOKEN as META_TOKEN
from tests.platforms.meta.stub_graph import USER, StubGraph
from tests.platforms.publish_requests import MemoryCredentials, publish_request

TOKEN = "zQ4-secret-of-the-account"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class ManualClock:
    """Clock that only the test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@dataclass(frozen=True)
class AdapterCase:
    """An adapter, a request for it with valid credentials, and the server of its platform."""

    adapter: PlatformAdapter
    request: PublishRequest
    server: InterceptingServer
    clock: ManualClock
    count_posts: Callable[[], int]
    """Returns the number of posts on the platform."""
    secrets: frozenset[str]
    """Values that no error may contain."""


OpenCase: TypeAlias = Callable[[], AbstractAsyncContextManager[AdapterCase]]


@asynccontextmanager
async def bluesky_case() -> AsyncIterator[AdapterCase]:
    clock = ManualClock()
    async with (
        running_pds() as pds,
        intercepting_server(
            _port(pds.url), lambda _, path: path.endswith("repo.putRecord")
        ) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        yield AdapterCase(
            Bluesky(client=client, now=clock, fetch_media=_no_media),
            publish_request(
                credentials=MemoryCredentials(stored_credentials(server.url)), media=[]
            ),
            server,
            clock,
            lambda: len(pds.records),
            frozenset({APP_PASSWORD, access_token(1), "refresh-1"}),
        )


@asynccontextmanager
async def mastodon_case() -> AsyncIterator[AdapterCase]:
    clock = ManualClock()
    instance = _Instance(clock)
    async with (
        _json_server(instance.respond) as port,
        intercepting_server(
            port, lambda method, path: (method, path) == ("POST", "/api/v1/statuses")
        ) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        credentials = {"instance": server.url, "accessToken": TOKEN}
        yield AdapterCase(
            Mastodon(client=client, now=clock, sleep=clock.sleep, fetch_media=_no_media),
            publish_request(credentials=MemoryCredentials(credentials), media=[], media_ids=[]),
            server,
            clock,
            lambda: len(instance.statuses),
            frozenset({TOKEN}),
        )


@asynccontextmanager
async def webhook_case() -> AsyncIterator[AdapterCase]:
    clock = ManualClock()
    published: dict[str, int] = {}

    def respond(request: JsonRequest) -> JsonResponse:
        """Answer as the guide demands of publishers: one post for all requests with the same id."""
        number = published.get(request.headers["webhook-id"])
        if number is None and request.target == "/lookup":
            return 404, {"error": "There is no such post."}
        number = published.setdefault(request.headers["webhook-id"], len(published) + 1)
        return 200, {"id": number, "url": f"https://example.com/{number}"}

    async with (
        _json_server(respond) as port,
        intercepting_server(port, lambda _, path: path == "/publish") as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        credentials = {
            "url": f"{server.url}/publish",
            "lookupUrl": f"{server.url}/lookup",
            "secret": SECRET,
        }
        yield AdapterCase(
            WebhookPublisher(client, now=clock),
            publish_request(credentials=MemoryCredentials(credentials)),
            server,
            clock,
            lambda: len(published),
            frozenset({SECRET}),
        )


@asynccontextmanager
async def example_case() -> AsyncIterator[AdapterCase]:
    clock = ManualClock()
    notes: dict[str, str] = {}

    def respond(request: JsonRequest) -> JsonResponse:
        if request.target == "/account":
            return 200, {"id": "7", "name": "alice"}
        if request.method == "PUT":
            notes.setdefault(request.target, request.json["text"])
        if request.target not in notes:
            return 404, {"error": "There is no such note."}
        return 200, {"url": f"https://notes.example{request.target}"}

    async with (
        _json_server(respond) as port,
        intercepting_server(port, lambda method, _: method == "PUT") as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        credentials = {"server": server.url, "token": TOKEN}
        yield AdapterCase(
            Notes(client, now=clock),
            publish_request(credentials=MemoryCredentials(credentials), media=[], media_ids=[]),
            server,
            clock,
            lambda: len(notes),
            frozenset({TOKEN}),
        )


@asynccontextmanager
async def meta_case(name: str) -> AsyncIterator[AdapterCase]:
    clock = ManualClock()
    platform, api = PLATFORMS[name]
    stub = StubGraph(api, NOW)
    async with (
        local_server(stub.handle) as stub_server,
        intercepting_server(
            stub_server.port, lambda _, path: path.endswith(f"/{api.publish}")
        ) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        yield AdapterCase(
            MetaAdapter(
                replace(platform, origin=server.url), client=client, now=clock, sleep=clock.sleep
            ),
            publish_request(
                credentials=MemoryCredentials({"userId": USER, "accessToken": META_TOKEN}),
                media=[{"url": "https://example.com/1.jpg"}],
                media_ids=[],
            ),
            server,
            clock,
            lambda: len(stub.posts),
            frozenset({META_TOKEN}),
        )


CASES: Mapping[str, OpenCase] = {
    "bluesky": bluesky_case,
    "mastodon": mastodon_case,
    "threads": partial(meta_case, "threads"),
    "instagram": partial(meta_case, "instagram"),
    "webhook": webhook_case,
    "example": example_case,
}


@dataclass(frozen=True)
class JsonRequest:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


JsonResponse: TypeAlias = tuple[int, object]
"""Status, and body."""


@dataclass
class _Instance:
    """Instance of Mastodon with one account; it heeds idempotency keys."""

    clock: ManualClock
    statuses: dict[str, dict[str, object]] = field(default_factory=dict)
    """Statuses by idempotency key."""

    def respond(self, request: JsonRequest) -> JsonResponse:
        path, _, query = request.target.removeprefix("/api/v1/").partition("?")
        match request.method, path.split("/"):
            case "POST", ["statuses"]:
                return 200, self._post(request.headers["idempotency-key"], request.json["status"])
            case "GET", ["accounts", "verify_credentials"]:
                return 200, {"id": "7", "username": "alice"}
            case "GET", ["accounts", "7", "statuses"]:
                return 200, [] if "max_id" in query else list(self.statuses.values())
            case "GET", ["statuses", status_id, "source"]:
                texts = {status["id"]: status["text"] for status in self.statuses.values()}
                return 200, {"id": status_id, "text": texts[status_id]}
        return 404, {"error": "Record not found"}

    def _post(self, key: str, text: str) -> dict[str, object]:
        number = str(len(self.statuses) + 1)
        status: dict[str, object] = {
            "id": number,
            "url": f"https://example.social/@alice/{number}",
            "created_at": format_instant(self.clock.now),
            "text": text,
        }
        return self.statuses.setdefault(key, status)


@asynccontextmanager
async def _json_server(respond: Callable[[JsonRequest], JsonResponse]) -> AsyncIterator[int]:
    """Serve JSON responses; yields the port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        status, answer = respond(JsonRequest(method, target, headers, body))
        content = json.dumps(answer).encode()
        writer.write(
            f"HTTP/1.1 {status} Status\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )
        await writer.drain()

    async with local_server(handle) as server:
        yield server.port


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


async def _no_media(request: PublishRequest) -> Sequence[Media]:
    return []
