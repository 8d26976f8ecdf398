"""Posts published on a real server, through a proxy that loses, cuts and delays requests, appear once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.attempts import Publication
from app.domain.destinations import DestinationState
from app.domain.events import EventKind
from app.domain.ids import DestinationId
from app.domain.settlement import DUPLICATE_CHECK_DELAY
from app.outbound.client import OutboundClient
from app.platforms import make_adapters
from app.platforms.protocol import LookupFailure, NotPublished, PlatformAdapter, PublishRequest
from app.services.secret_cipher import SecretCipher
from tests.credential_rows import add_credentials
from tests.factories import add_account, add_post, add_workspace, queued
from tests.graphql.schema.mutations.mutation_calls import stored_events
from tests.outbound.local_servers import LOCAL_RULES, resolving
from tests.platform_servers.fault_proxy import Fault, FaultPlan, fault_proxy
from tests.platforms.proxied_platforms import (
    PROXIED_PLATFORMS,
    PlatformPost,
    ProxiedAccount,
    ProxiedPlatform,
)
from tests.platforms.publish_requests import MemoryCredentials, publish_request
from tests.worker.worker_bench import (
    SECRETS_KEY,
    MovableClock,
    SentPost,
    WorkerBench,
    is_published,
    is_unknown,
)

pytestmark = pytest.mark.slow

POSTS = 60
CONCURRENCY = 6
PUBLISH_TIMEOUT = timedelta(seconds=2)
LOOKUP_TIMEOUT = timedelta(seconds=5)
LONG_DELAY = timedelta(seconds=3)
"""Longest delay of a request by the proxy, so that many are delivered after the lookup."""

SHORT_DELAY = timedelta(seconds=0.3)
"""Longest delay of a request by the proxy, if each lookup waits for late deliveries."""

VERIFICATION_INTERVAL = timedelta(minutes=5)
"""Wait after an inconclusive lookup."""

DUPLICATED = EventKind.DESTINATION_DUPLICATED

LOOKUP_DELAY = timedelta(minutes=2)
"""Time after which the adapter for Mastodon does not expect a late delivery of a text."""

ChangeRequest = Callable[[PublishRequest], PublishRequest]


@dataclass
class Publisher:
    """Publishes a post as workers do: an unknown outcome is looked up before the next attempt.

    `wait` seconds stand for the time between an inconclusive lookup and the next one.
    """

    adapter: PlatformAdapter
    next_attempt: ChangeRequest
    """Returns the request of the attempt after a failed one."""
    wait: timedelta
    unknown_outcomes: int = field(default=0, init=False)

    async def publish(self, request: PublishRequest) -> Publication:
        while True:
            request = replace(request, attempt_started_at=datetime.now(UTC))
            try:
                async with asyncio.timeout(PUBLISH_TIMEOUT.total_seconds()):
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
                async with asyncio.timeout(LOOKUP_TIMEOUT.total_seconds()):
                    found = await self.adapter.look_up(request)
            except Exception:  # noqa: BLE001
                continue
            if isinstance(found, Publication):
                return found
            if found is LookupFailure.NOT_FOUND:
                return None
            await asyncio.sleep(self.wait.total_seconds())
            request = replace(request, attempt_started_at=request.attempt_started_at - LOOKUP_DELAY)


@pytest.fixture(scope="module")
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxiedPlatform]:
    """The platform that the parameter names."""
    with PROXIED_PLATFORMS[request.param](tmp_path_factory.mktemp("platform")) as running:
        yield running


@dataclass(frozen=True)
class Run:
    """Result of publishing POSTS posts on a new account."""

    publications: Sequence[Publication]
    posts: Sequence[PlatformPost]
    """Posts on the account."""
    unknown_outcomes: int

    @property
    def published_ids(self) -> set[str | None]:
        return {publication.platform_post_id for publication in self.publications}

    @property
    def ids(self) -> set[str]:
        return {post.id for post in self.posts}


async def publish_through_faults(
    platform: ProxiedPlatform,
    next_attempt: ChangeRequest = lambda request: request,
    *,
    max_delay: timedelta = LONG_DELAY,
    wait: timedelta = timedelta(0),
) -> Run:
    account = await platform.create_account()
    credentials = MemoryCredentials(account.credentials)
    requests = [
        publish_request(
            destination_id=DestinationId(uuid4()),
            destination_created_at=datetime.now(UTC),
            content=f"Post {number}",
            media=[],
            media_ids=[],
            credentials=credentials,
        )
        for number in range(POSTS)
    ]
    plan = FaultPlan(
        seed=11,
        may_fail=lambda *request: platform.is_publication(*request) or platform.is_lookup(*request),
        rate=0.5,
        max_delay=max_delay,
    )
    slots = asyncio.Semaphore(CONCURRENCY)
    async with (
        fault_proxy(platform.server_port, plan, port=platform.proxy_port) as proxy,
        OutboundClient(LOCAL_RULES, resolve=resolving("127.0.0.1")) as client,
    ):
        adapters = make_adapters(
            sandbox_file=None, client=client, now=lambda: datetime.now(UTC), sleep=asyncio.sleep
        )
        publisher = Publisher(adapters[platform.publisher], next_attempt, wait)

        async def publish(request: PublishRequest) -> Publication:
            async with slots:
                return await publisher.publish(request)

        publications = await asyncio.gather(*map(publish, requests))
    assert set(proxy.requests) == {None, *plan.faults}
    return Run(publications, await account.list_posts(), publisher.unknown_outcomes)


with_keys = pytest.mark.parametrize("platform", ["bluesky", "mastodon-mock"], indirect=True)
"""Platforms that publish one post for all requests with the same key."""


@with_keys
async def test_each_post_is_published_once(platform: ProxiedPlatform) -> None:
    run = await publish_through_faults(platform)

    assert run.unknown_outcomes >= POSTS / 4
    assert len(run.posts) == POSTS
    assert run.published_ids == run.ids


@with_keys
async def test_posts_with_a_new_key_in_each_attempt_are_published_twice(
    platform: ProxiedPlatform,
) -> None:
    """Shows that the faults would publish posts twice, if the key did not prevent it."""
    run = await publish_through_faults(
        platform, lambda request: replace(request, destination_id=DestinationId(uuid4()))
    )

    assert len(run.posts) > POSTS


@pytest.mark.parametrize("platform", ["snac2"], indirect=True)
async def test_server_without_keys_publishes_each_post_once_if_lookups_wait(
    platform: ProxiedPlatform,
) -> None:
    """The wait is longer than the delays of the proxy. One post may be double all the same."""
    run = await publish_through_faults(platform, max_delay=SHORT_DELAY, wait=4 * SHORT_DELAY)

    assert run.unknown_outcomes >= POSTS / 4
    assert {post.text for post in run.posts} == {f"Post {number}" for number in range(POSTS)}
    assert len(run.posts) <= POSTS + 1
    assert len(run.published_ids) == POSTS
    assert run.published_ids <= run.ids


@pytest.mark.parametrize(
    ("platform", "copies"), [("mastodon-mock", 1), ("snac2", 2)], indirect=["platform"]
)
async def test_status_of_a_request_that_is_delivered_after_the_lookup_is_reported_as_duplicate(
    platform: ProxiedPlatform, copies: int, database: Database
) -> None:
    """The first request is delivered after the second one; only snac2 publishes it once more."""
    account = await platform.create_account()
    sent = await add_post_of(platform, database, account)
    requests, may_be_delivered = Counter[str](), asyncio.Event()

    def is_first_publication(method: str, path: str) -> bool:
        is_publication = platform.is_publication(method, path)
        requests["publications"] += is_publication
        return is_publication and requests["publications"] == 1

    async def delay(_seconds: float) -> None:
        await may_be_delivered.wait()

    plan = FaultPlan(
        seed=1,
        may_fail=is_first_publication,
        rate=1,
        faults=(Fault.DELIVERED_LATE,),
    )
    clock = MovableClock()
    async with (
        fault_proxy(platform.server_port, plan, port=platform.proxy_port, sleep=delay) as proxy,
        OutboundClient(LOCAL_RULES, resolve=resolving("127.0.0.1")) as client,
    ):
        adapters = make_adapters(
            sandbox_file=None, client=client, now=clock.now, sleep=asyncio.sleep
        )
        bench = WorkerBench(
            database, clock=clock, adapters=adapters, publish_timeout=PUBLISH_TIMEOUT
        )
        async with bench.running_worker():
            await sent.wait_until(lambda state: is_waiting_for_verification(state, clock))
            clock.moved_by += VERIFICATION_INTERVAL
            await sent.wait_until(is_published)
        may_be_delivered.set()
        await proxy.wait_for_deliveries()
        assert requests["publications"] == 2

        await bench.check_duplicates()
        assert await sent.duplicates() == []
        clock.moved_by += DUPLICATE_CHECK_DELAY
        await asyncio.gather(bench.check_duplicates(), bench.check_duplicates())
        await bench.check_duplicates()

    posts = await account.list_posts()
    first = (await sent.state()).platform_post_url
    assert len(posts) == copies
    assert [each.platform_post_url for each in await sent.duplicates()] == [
        post.url for post in posts if post.url != first
    ]
    duplicated = [each for each in await stored_events(database) if each.kind == DUPLICATED]
    assert len(duplicated) == copies - 1
    assert await find_problems(database) == []


@pytest.mark.parametrize(
    ("platform", "copies"),
    [("bluesky", 1), ("mastodon-mock", 1), ("snac2", 2)],
    indirect=["platform"],
)
async def test_post_of_a_request_that_the_network_repeats_is_reported_as_duplicate(
    platform: ProxiedPlatform, copies: int, database: Database
) -> None:
    """Each request has a complete response, and is delivered once more; only snac2 publishes it again."""
    account = await platform.create_account()
    sent = await add_post_of(platform, database, account)
    lookups = Counter[str]()

    def is_publication(method: str, path: str) -> bool:
        lookups["lists"] += platform.is_lookup(method, path)
        return platform.is_publication(method, path)

    plan = FaultPlan(seed=1, may_fail=is_publication, rate=1, faults=(Fault.REPEATED,))
    clock = MovableClock()
    async with (
        fault_proxy(platform.server_port, plan, port=platform.proxy_port) as proxy,
        OutboundClient(LOCAL_RULES, resolve=resolving("127.0.0.1")) as client,
    ):
        adapters = make_adapters(
            sandbox_file=None, client=client, now=clock.now, sleep=asyncio.sleep
        )
        bench = WorkerBench(database, clock=clock, adapters=adapters)
        async with bench.running_worker():
            await sent.wait_until(is_published)
        assert proxy.requests[Fault.REPEATED] == 1
        clock.moved_by += DUPLICATE_CHECK_DELAY
        await bench.check_duplicates()

    posts = await account.list_posts()
    state = await sent.state()
    assert (len(posts), state.attempts) == (copies, 1)
    assert [each.platform_post_url for each in await sent.duplicates()] == [
        post.url for post in posts if post.url != state.platform_post_url
    ]
    assert (lookups["lists"] > 0) == (copies > 1)
    assert await find_problems(database) == []


def is_waiting_for_verification(state: DestinationState, clock: MovableClock) -> bool:
    return (
        is_unknown(state)
        and state.verification_token is None
        and state.verifiable_at is not None
        and state.verifiable_at > clock.now()
    )


async def add_post_of(
    platform: ProxiedPlatform, database: Database, account: ProxiedAccount
) -> SentPost:
    """A due post on an account with the credentials of a server's account."""
    workspace = await add_workspace(database)
    publisher = platform.publisher
    name = str(publisher.platform)
    account_id = await add_account(database, workspace, platform=name, publisher=publisher)
    cipher = SecretCipher([SECRETS_KEY])
    await add_credentials(
        database, workspace, account_id, account.credentials, cipher=cipher, platform=name
    )
    due = queued(datetime.now(UTC))
    post = await add_post(database, workspace, {account_id: due}, submitted_now=True)
    return SentPost(database, workspace, account_id, post.id, post.destinations[0])
