"""An adapter for Threads or Instagram with its server on loopback, and a clock that only sleeping moves."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.outbound.client import OutboundClient
from app.platforms.meta.adapter import MetaAdapter
from app.platforms.meta.descriptions import INSTAGRAM, THREADS, MetaPlatform
from app.platforms.protocol import NotPublished, PlatformCallError, PublishRequest
from tests.factories import NOW
from tests.outbound.local_servers import LOCAL_RULES, local_server
from tests.platforms.meta.stub_graph import INSTAGRAM_API, THREADS_API, TOKEN, USER, Api, StubGraph
from tests.platforms.publish_requests import MemoryCheckpoint, MemoryCredentials, publish_request

PLATFORMS: Mapping[str, tuple[MetaPlatform, Api]] = {
    "threads": (THREADS, THREADS_API),
    "instagram": (INSTAGRAM, INSTAGRAM_API),
}
IMAGE = {"url": "https://example.com/1.jpg", "alt": "A kitchen"}
CONTAINER, OTHER_CONTAINER = "17000000000000000", "17000000000000001"
"""Ids of the first two containers."""


class AdapterRun:
    """An adapter, its server, and what is stored for one destination."""

    def __init__(self, platform: MetaPlatform, stub: StubGraph, client: OutboundClient) -> None:
        self.stub = stub
        self.now = NOW
        self.checkpoint = MemoryCheckpoint()
        self.credentials = MemoryCredentials({"userId": USER, "accessToken": TOKEN})
        self.adapter = MetaAdapter(platform, client=client, now=lambda: self.now, sleep=self._sleep)

    def request(self, content: str = "Hello", **fields: Any) -> PublishRequest:
        """Return the request of an attempt that starts now: a post with one image."""
        defaults: dict[str, Any] = {
            "content": content,
            "media_ids": [],
            "media": [IMAGE],
            "credentials": self.credentials,
            "checkpoint": self.checkpoint,
            "attempt_started_at": self.now,
        }
        return publish_request(**defaults | fields)

    async def _sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@asynccontextmanager
async def running_adapter(name: str = "threads", **fields: Any) -> AsyncIterator[AdapterRun]:
    """Run an adapter for a server with the given fields."""
    platform, api = PLATFORMS[name]
    stub = StubGraph(api, NOW, **fields)
    async with local_server(stub.handle) as server, OutboundClient(LOCAL_RULES) as client:
        yield AdapterRun(replace(platform, origin=server.url("")), stub, client)


async def publish_error(
    run: AdapterRun, request: PublishRequest | None = None
) -> PlatformCallError:
    """Publish; return the error that this must have."""
    try:
        await run.adapter.publish(request or run.request())
    except PlatformCallError as error:
        return error
    raise AssertionError("The post was published.")


async def refusal(run: AdapterRun, request: PublishRequest | None = None) -> NotPublished:
    """Publish; return the error of a post that is certainly not published."""
    error = await publish_error(run, request)
    assert isinstance(error, NotPublished)
    return error


def after(seconds: float) -> datetime:
    """Return the time after the start of the first attempt."""
    return NOW + timedelta(seconds=seconds)
