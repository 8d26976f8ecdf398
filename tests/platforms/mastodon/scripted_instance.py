"""An instance on loopback whose responses are scripted by method and path, and an adapter for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.outbound.client import OutboundClient
from app.platforms.mastodon.adapter import Mastodon
from app.platforms.media import Media
from app.platforms.protocol import PlatformCallError, PublishRequest
from tests.factories import NOW
from tests.outbound.local_servers import LOCAL_RULES, local_server, read_request
from tests.platforms.publish_requests import MemoryCredentials, publish_request

TOKEN = "zQ4-secret-of-the-account"
INSTANCE = "GET /api/v2/instance"
STATUS = "POST /api/v1/statuses"
UPLOAD = "POST /api/v2/media"
ACCOUNT = "GET /api/v1/accounts/verify_credentials"
APPLICATION = "GET /api/v1/apps/verify_credentials"
PAGE = "GET /api/v1/accounts/7/statuses"
LIMITS = {"max_characters": 500, "max_media_attachments": 4, "characters_reserved_per_url": 23}
PUBLISHED = {
    "id": "109",
    "url": "https://example.social/@alice/109",
    "created_at": "2026-04-15T15:00:01.500Z",
}


def response(status: int, body: object = None, **headers: str) -> bytes:
    """Return a response with a JSON body; bytes are sent unchanged."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


NO_RESPONSE, CUT_RESPONSE = b"", response(200, PUBLISHED)[:-9]
"""Responses after which the instance closes the connection."""


@dataclass(frozen=True)
class Call:
    """A request that the instance received."""

    target: str
    """Method and path, with the query."""
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedInstance:
    """Instance that answers by `script`: the responses by target, the last of which repeats."""

    def __init__(self, script: dict[str, list[bytes]]) -> None:
        self.script = {
            INSTANCE: [response(200, {"configuration": {"statuses": LIMITS}})],
            STATUS: [response(200, PUBLISHED)],
            ACCOUNT: [response(200, {"id": "7"})],
        } | script
        self.calls: list[Call] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            target = first.removesuffix(" HTTP/1.1")
            headers = dict(line.split(": ", 1) for line in lines)
            self.calls.append(Call(target, headers, body))
            responses = self.script.get(target.partition("?")[0], [response(404, b"<html>")])
            answer = responses.pop(0) if len(responses) > 1 else responses[0]
            writer.write(answer)
            await writer.drain()
            if answer in (NO_RESPONSE, CUT_RESPONSE):
                return

    @property
    def targets(self) -> list[str]:
        return [call.target for call in self.calls]

    def call(self, target: str) -> Call:
        """Return the only request with the target."""
        (call,) = (call for call in self.calls if call.target == target)
        return call


class AdapterRun:
    """An adapter with a clock that only sleeping moves, the media of its posts, and its instance."""

    def __init__(self, instance: ScriptedInstance, client: OutboundClient, url: str) -> None:
        self.instance = instance
        self.url = url
        self.now = NOW
        self.media: Sequence[Media] = ()
        self.adapter = Mastodon(
            client=client, now=lambda: self.now, sleep=self._sleep, fetch_media=self._fetch_media
        )

    def request(self, content: str = "Hello", **fields: Any) -> PublishRequest:
        credentials = MemoryCredentials({"instance": self.url, "accessToken": TOKEN})
        media = [{"url": f"https://example.com/{n}.png"} for n, _ in enumerate(self.media)]
        defaults: dict[str, Any] = {"content": content, "media": media, "credentials": credentials}
        return publish_request(**defaults | fields)

    async def _sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def _fetch_media(self, request: PublishRequest) -> Sequence[Media]:
        return self.media


@asynccontextmanager
async def running_adapter(
    script: dict[str, list[bytes]] | None = None,
) -> AsyncIterator[AdapterRun]:
    instance = ScriptedInstance(script or {})
    async with local_server(instance.handle) as server, OutboundClient(LOCAL_RULES) as client:
        yield AdapterRun(instance, client, server.url("/"))


async def publish_error(
    run: AdapterRun, request: PublishRequest | None = None
) -> PlatformCallError:
    """Publish; return the error that this must have."""
    try:
        await run.adapter.publish(request or run.request())
    except PlatformCallError as error:
        return error
    raise AssertionError("The post was published.")


def after(seconds: float) -> datetime:
    """Return the time after the start of the attempt."""
    return NOW + timedelta(seconds=seconds)
