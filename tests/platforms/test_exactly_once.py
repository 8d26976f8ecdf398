"""Posts published on a real server, through a proxy that loses, cuts and delays requests, appear once."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from app.domain.attempts import Publication
from app.domain.ids import DestinationId
from app.outbound.client import OutboundClient
from app.platforms.bluesky.adapter import Bluesky
from app.platforms.media import Media
from app.platforms.protocol import LookupFailure, NotPublished, PlatformAdapter, PublishRequest
from tests.outbound.local_servers import LOCAL_RULES, resolving
from tests.platform_servers.fault_proxy import Fault, FaultPlan, fault_proxy
from tests.platform_servers.pds import PdsServer, run_pds
from tests.platforms.publish_requests import MemoryCredentials, publish_request
from tests.servers import unused_port

pytestmark = pytest.mark.slow

POSTS = 60
CONCURRENCY = 6
CALL_TIMEOUT = timedelta(seconds=5)


@dataclass
class Publisher:
    """Publishes a post as workers do: an unknown outcome is looked up before the next attempt."""

    adapter: PlatformAdapter
    next_attempt: Callable[[PublishRequest], PublishRequest]
    """Returns the request of the attempt after a failed one."""
    unknown_outcomes: int = field(default=0, init=False)

    async def publish(self, request: PublishRequest) -> Publication:
        while True:
            try:
                return await self.adapter.publish(request)
            except NotPublished:
                found = None
            except Exception:  # noqa: BLE001 - an adapter may raise anything
                self.unknown_outcomes += 1
                found = await self._look_up(request)
            if found is not None:
                return found
            request = self.next_attempt(request)

    async def _look_up(self, request: PublishRequest) -> Publication | None:
        """Return the publication, or None if there is none, as soon as a lookup is conclusive."""
        while True:
            try:
                found = await self.adapter.look_up(request)
            except Exception:  # noqa: BLE001
                continue
            if isinstance(found, Publication):
                return found
            if found is LookupFailure.NOT_FOUND:
                return None


@dataclass(frozen=True)
class ProxiedPds:
    """A PDS whose accounts have the URL of a proxy."""

    server: PdsServer
    proxy_port: int


@pytest.fixture(scope="module")
def proxied_pds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedPds]:
    proxy_port = unused_port()
    folder = tmp_path_factory.mktemp("proxied-pds")
    with run_pds(folder, public_port=proxy_port) as server:
        yield ProxiedPds(server, proxy_port)


async def no_media(request: PublishRequest) -> Sequence[Media]:
    return []


@dataclass(frozen=True)
class Run:
    """Result of publishing POSTS posts on a new account."""

    publications: Sequence[Publication]
    records: Sequence[str]
    """URIs of the posts on the account."""
    unknown_outcomes: int


async def publish_through_faults(
    pds: ProxiedPds, next_attempt: Callable[[PublishRequest], PublishRequest]
) -> Run:
    account = await pds.server.create_account()
    credentials = MemoryCredentials(
        {
            "identifier": account.handle,
            "appPassword": account.app_password,
            "service": pds.server.url,
        }
    )
    requests = [
        publish_request(
            destination_id=DestinationId(uuid4()),
            destination_created_at=datetime.now(UTC),
            content=f"Post {number}",
            credentials=credentials,
        )
        for number in range(POSTS)
    ]
    plan = FaultPlan(
        seed=11,
        may_fail=lambda _method, path: path.endswith((".putRecord", ".getRecord")),
        rate=0.5,
    )
    slots = asyncio.Semaphore(CONCURRENCY)
    async with (
        fault_proxy(pds.server.port, plan, port=pds.proxy_port) as proxy,
        OutboundClient(LOCAL_RULES, resolve=resolving("127.0.0.1")) as client,
    ):
        adapter = Bluesky(
            client=client,
            now=lambda: datetime.now(UTC),
            fetch_media=no_media,
            timeout=CALL_TIMEOUT,
        )
        publisher = Publisher(adapter, next_attempt)

        async def publish(request: PublishRequest) -> Publication:
            async with slots:
                return await publisher.publish(request)

        publications = await asyncio.gather(*map(publish, requests))
    assert set(proxy.requests) == {None, *Fault}
    records = [str(record["uri"]) for record in await pds.server.records(account)]
    return Run(publications, records, publisher.unknown_outcomes)


async def test_each_post_is_on_bluesky_once(proxied_pds: ProxiedPds) -> None:
    run = await publish_through_faults(proxied_pds, lambda request: request)

    assert run.unknown_outcomes >= POSTS / 4
    assert len(run.records) == POSTS
    assert {publication.platform_post_id for publication in run.publications} == {*run.records}


async def test_posts_with_a_new_key_in_each_attempt_are_on_bluesky_twice(
    proxied_pds: ProxiedPds,
) -> None:
    """Shows that the faults would publish posts twice, if the key did not prevent it."""
    run = await publish_through_faults(
        proxied_pds, lambda request: replace(request, destination_id=DestinationId(uuid4()))
    )

    assert len(run.records) > POSTS
