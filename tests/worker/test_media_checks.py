"""Background checks of media: what they load and when, what they store, and fairness between workspaces."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import Destination, MediaCheck, MediaCheckUsage
from app.db.repositories.media_checks import lease_media_check
from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId, PostId, WorkspaceId
from app.domain.times import format_instant
from app.outbound.client import OutboundClient
from app.services.media_checks import MediaCheckService
from app.worker.connectivity import Connectivity
from app.worker.media_checks import MediaChecker, check_media_in_background
from tests.clients import Tenant
from tests.factories import NOW, add_account, add_api_key, add_workspace
from tests.graphql.schema.mutations.mutation_calls import run_mutation, stored_events
from tests.outbound.local_servers import (
    LOCAL_RULES,
    ConnectionHandler,
    LocalServer,
    local_server,
    never_respond,
    read_request,
)
from tests.platforms.test_media_downloads import (
    GIF,
    IMAGE,
    JPEG,
    MAX_PART,
    answer,
    data_url,
    redirect,
)
from tests.rest.envelope import success_data
from tests.services.publishing_calls import claim
from tests.worker.worker_bench import FakeClock, reach_any, wait_until

BLUESKY, MASTODON = AccountPublisher.BLUESKY, AccountPublisher.MASTODON
INSTAGRAM, EXTERNAL = AccountPublisher.INSTAGRAM, AccountPublisher.EXTERNAL
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LEASE = 5 * MINUTE
DUE_AT = NOW + 10 * HOUR
CREATE, UPDATE, SCHEDULE, DELETE, CANCEL = (
    f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{"
    f" payload: {name}(input: $input) {{ {selection} }} }}"
    for name, selection in {
        "createPost": "post { postId }",
        "updatePost": "post { version }",
        "schedulePost": "post { version }",
        "deletePost": "postId",
        "cancelPost": "post { version }",
    }.items()
)
POST = """
query ($postId: UUID!) {
  post(postId: $postId) {
    version
    updatedAt
    mediaWarnings { accountId platform code message }
    destinations { mediaWarning }
  }
}
"""
TOO_LARGE = "media[0] has more than 2,000,000 bytes. Make the image smaller."


@dataclass
class CountingServer:
    """Handler that counts requests by path; each path has an answer."""

    answers: Mapping[str, bytes]
    requests: list[str] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await read_request(reader)).split()[1].decode()
        self.requests.append(path)
        writer.write(self.answers[path])
        await writer.drain()


@dataclass
class Bench:
    """A workspace with posts whose media are on a local server, and workers whose clock the test moves."""

    tenant: Tenant
    server: LocalServer
    client: OutboundClient
    clock: FakeClock = field(default_factory=FakeClock)
    max_bytes: int = 10**9

    @property
    def database(self) -> Database:
        return self.tenant.database

    def service(self) -> MediaCheckService:
        return MediaCheckService(
            database=self.database,
            client=self.client,
            max_bytes=self.max_bytes,
            new_id=uuid4,
            clock=self.clock.now,
        )

    async def account(self, publisher: AccountPublisher) -> AccountId:
        platform = "mastodon" if publisher is EXTERNAL else publisher.value
        return await add_account(
            self.database, self.tenant.workspace, platform=platform, publisher=publisher
        )

    async def create(
        self,
        *paths: str,
        publishers: tuple[AccountPublisher, ...] = (MASTODON,),
        due_at: datetime | None = DUE_AT,
        **fields: Any,
    ) -> PostId:
        """Create a post with media at these paths, on a new account of each publisher."""
        payload = await run_mutation(
            self.tenant,
            CREATE,
            content="Sale",
            accountIds=[await self.account(each) for each in publishers],
            scheduledFor=None if due_at is None else format_instant(due_at),
            media=self.media(*paths),
            **fields,
        )
        return PostId(UUID(payload["post"]["postId"]))

    def media(self, *paths: str) -> list[dict[str, str]]:
        return [
            {"url": path if path.startswith("data:") else self.server.url(path)} for path in paths
        ]

    async def check_at(self, after: timedelta) -> None:
        """Run all checks that are due this time after NOW."""
        self.clock.seconds = after.total_seconds()
        service = self.service()
        while due := await service.due({}, max_of_workspace=9, limit=9):
            await asyncio.gather(*map(service.check, due))

    async def post(self, post_id: PostId) -> dict[str, Any]:
        data = await self.tenant.client.query(POST, postId=str(post_id))
        return dict(data["post"])

    async def warnings(self, post_id: PostId) -> list[tuple[str, str, str]]:
        """Platform, code and message of the warnings of a post."""
        post = await self.post(post_id)
        return [(each["platform"], each["code"], each["message"]) for each in post["mediaWarnings"]]

    async def check_times(self) -> list[timedelta | None]:
        """The time of the next check of each post with a stored check, after NOW."""
        async with self.database.read_connection() as connection:
            rows = await connection.execute(select(MediaCheck.check_at))
            return [None if row.check_at is None else row.check_at - NOW for row in rows]

    async def loaded_bytes(self) -> list[int]:
        async with self.database.read_connection() as connection:
            rows = await connection.execute(select(MediaCheckUsage.byte_count))
            return [row.byte_count for row in rows]


@asynccontextmanager
async def open_bench(tenant: Tenant, handle: ConnectionHandler) -> AsyncIterator[Bench]:
    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        yield Bench(tenant, server, client)


async def test_media_are_loaded_a_minute_after_creation_and_an_hour_before_the_due_time(
    acme: Tenant,
) -> None:
    handle = CountingServer({"/1": answer(IMAGE, "image/png"), "/2": answer(GIF)})
    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1", "/2", "/1", data_url(IMAGE))
        assert await bench.check_times() == [MINUTE]
        await bench.check_at(MINUTE - SECOND)
        assert handle.requests == []
        await bench.check_at(MINUTE)
        assert handle.requests == ["/1", "/2"]
        assert await bench.check_times() == [9 * HOUR]
        await bench.check_at(9 * HOUR)
        assert handle.requests == ["/1", "/2"] * 2
        assert (await bench.warnings(post), await bench.check_times()) == ([], [None])
        assert await bench.loaded_bytes() == [len(IMAGE) + len(GIF)]  # of the last hour


async def test_post_that_is_due_soon_is_checked_immediately_and_once(acme: Tenant) -> None:
    handle = CountingServer({"/1": answer(IMAGE)})
    async with open_bench(acme, handle) as bench:
        await bench.create("/1", due_at=NOW + 15 * MINUTE)
        await bench.check_at(timedelta())
        assert (handle.requests, await bench.check_times()) == (["/1"], [None])


async def test_draft_is_checked_once(acme: Tenant) -> None:
    handle = CountingServer({"/1": answer(b"", status=404)})
    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1", due_at=None, draft=True)
        await bench.check_at(MINUTE)
        assert [code for _, code, _ in await bench.warnings(post)] == ["MEDIA_REJECTED"]
        assert await bench.check_times() == [None]


async def test_what_a_worker_does_not_load_later_has_no_check(acme: Tenant) -> None:
    async with open_bench(acme, never_respond) as bench:
        await bench.create("/1", due_at=None)
        await bench.create("/1", publishers=(EXTERNAL,))
        await bench.create(data_url(IMAGE))
        await bench.create()
        assert await bench.check_times() == []


@pytest.mark.parametrize(
    ("content", "declared"),
    [(JPEG, "image/jpg"), (JPEG, "image/png"), (IMAGE, "text/html"), (GIF, None)],
)
async def test_bytes_decide_the_type(acme: Tenant, content: bytes, declared: str | None) -> None:
    handle = CountingServer({"/1": answer(content, declared)})
    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1", publishers=(MASTODON, BLUESKY))
        await bench.check_at(MINUTE)
        assert (handle.requests, await bench.warnings(post)) == (["/1"], [])


async def test_each_platform_has_its_own_limits(acme: Tenant) -> None:
    handle = CountingServer({"/1": answer(IMAGE + bytes(2_000_000)), "/2": answer(b"<html>")})
    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1", publishers=(MASTODON, BLUESKY, INSTAGRAM))
        await bench.check_at(MINUTE)
        instagram = "media[0] is image/png, but Instagram accepts image/jpeg only. Convert it."
        assert await bench.warnings(post) == [
            ("bluesky", "MEDIA_REJECTED", TOO_LARGE),
            ("instagram", "MEDIA_REJECTED", instagram),
        ]
        destinations = (await bench.post(post))["destinations"]
        assert [each["mediaWarning"] for each in destinations] == [None, TOO_LARGE, instagram]


async def test_load_stops_at_the_largest_limit(acme: Tenant) -> None:
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n" + IMAGE + bytes(5_000_000)
    async with open_bench(acme, CountingServer({"/1": huge})) as bench:
        post = await bench.create("/1", publishers=(BLUESKY,))
        await bench.check_at(MINUTE)
        assert await bench.warnings(post) == [("bluesky", "MEDIA_REJECTED", TOO_LARGE)]
        (loaded,) = await bench.loaded_bytes()
        assert 2_000_001 < loaded < 2_000_002 + MAX_PART


async def test_redirect_to_a_private_address_is_refused(acme: Tenant) -> None:
    locations = {"/1": "/2", "/2": "http://10.0.0.1/1.png"}
    handle = CountingServer({path: redirect(location) for path, location in locations.items()})
    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1")
        await bench.check_at(MINUTE)
        ((platform, code, message),) = await bench.warnings(post)
        assert (platform, code) == ("mastodon", "MEDIA_REJECTED")
        assert message.startswith(
            "media[0] redirects to a URL that cannot be loaded. 10.0.0.1 has an address that is not"
        )


async def test_result_changes_neither_version_nor_time_and_is_no_event(acme: Tenant) -> None:
    async with open_bench(acme, CountingServer({"/1": answer(b"", status=404)})) as bench:
        post = await bench.create("/1")
        before, events = await bench.post(post), await stored_events(acme.database)
        await bench.check_at(MINUTE)
        after = await bench.post(post)
        assert after.pop("mediaWarnings") != before.pop("mediaWarnings") == []
        assert after.pop("destinations") != before.pop("destinations")
        assert after == before
        assert await stored_events(acme.database) == events


async def test_temporary_failure_is_repeated_twice(acme: Tenant) -> None:
    handle = CountingServer({"/1": answer(b"", status=503), "/2": answer(b"x", status=404)})
    message = "media[0] was not loaded: its server answered 503. This may be temporary."
    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1", "/2")
        for after, next_check in (
            (MINUTE, 2 * MINUTE),
            (2 * MINUTE, 7 * MINUTE),
            (7 * MINUTE, 9 * HOUR),
        ):
            await bench.check_at(after)
            assert await bench.warnings(post) == [("mastodon", "MEDIA_NOT_LOADED", message)]
            assert await bench.check_times() == [next_check]
        assert handle.requests == ["/1", "/2"] * 3
        handle.answers = {"/1": answer(IMAGE), "/2": answer(IMAGE)}
        await bench.check_at(9 * HOUR)
        assert await bench.warnings(post) == []


async def test_two_workers_load_once(acme: Tenant) -> None:
    handle = CountingServer({"/1": answer(IMAGE)})
    async with open_bench(acme, handle) as bench:
        await bench.create("/1")
        bench.clock.seconds = 60
        services = [bench.service(), bench.service()]
        (first,), (second,) = [await each.due({}, max_of_workspace=2, limit=8) for each in services]
        assert first == second
        await asyncio.gather(services[0].check(first), services[1].check(second))
        assert handle.requests == ["/1"]


async def test_check_of_a_killed_worker_is_repeated(acme: Tenant) -> None:
    async with open_bench(acme, never_respond) as bench:
        post = await bench.create("/1")
        bench.clock.seconds = 60
        (pending,) = await bench.service().due({}, max_of_workspace=2, limit=8)
        killed = asyncio.create_task(bench.service().check(pending))
        await bench.server.wait_for_open_connections(1)
        killed.cancel()
        with suppress(asyncio.CancelledError):
            await killed
        assert await bench.check_times() == [6 * MINUTE]  # the end of the lease
        async with open_bench(acme, CountingServer({"/1": answer(b"")})) as other:
            other.clock.seconds = 360
            (pending,) = await other.service().due({}, max_of_workspace=2, limit=8)
            assert (pending.post_id, pending.attempts) == (post, 1)


async def test_check_that_ends_with_its_worker_each_time_is_not_repeated_forever(
    acme: Tenant,
) -> None:
    handle = CountingServer({"/1": answer(IMAGE)})
    async with open_bench(acme, handle) as bench:
        await bench.create("/1")
        for minutes in (1, 6, 11):
            bench.clock.seconds = 60 * minutes
            (pending,) = await bench.service().due({}, max_of_workspace=2, limit=8)
            lease = partial(lease_media_check, due=pending, expires_at=bench.clock.now() + LEASE)
            assert await acme.database.write(pending.workspace_id, lease) is not None
        await bench.check_at(16 * MINUTE)
        assert (handle.requests, await bench.check_times()) == ([], [9 * HOUR])


async def test_change_during_a_check_discards_its_result(acme: Tenant) -> None:
    release = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await release.wait()
        writer.write(answer(b"", status=404))
        await writer.drain()

    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1")
        bench.clock.seconds = 60
        (pending,) = await bench.service().due({}, max_of_workspace=2, limit=8)
        check = asyncio.create_task(bench.service().check(pending))
        await bench.server.wait_for_open_connections(1)
        await run_mutation(acme, UPDATE, postId=str(post), media=bench.media("/2"))
        release.set()
        await check
        assert (await bench.warnings(post), await bench.check_times()) == ([], [MINUTE])


async def test_only_changes_of_media_accounts_and_time_are_checked_again(acme: Tenant) -> None:
    handle = CountingServer(
        {"/1": answer(b"", status=404), "/2": answer(IMAGE), "/3": answer(IMAGE)}
    )
    async with open_bench(acme, handle) as bench:
        post = await bench.create("/1")
        await bench.check_at(MINUTE)
        warnings = await bench.warnings(post)
        assert warnings != []

        await run_mutation(acme, UPDATE, postId=str(post), content="New")
        assert (await bench.warnings(post), await bench.check_times()) == (warnings, [9 * HOUR])

        due_at = format_instant(DUE_AT + HOUR)
        await run_mutation(acme, UPDATE, postId=str(post), scheduledFor=due_at)
        assert (await bench.warnings(post), await bench.check_times()) == (warnings, [MINUTE])
        await bench.check_at(MINUTE)
        assert await bench.check_times() == [10 * HOUR]

        await run_mutation(acme, UPDATE, postId=str(post), media=bench.media("/2"))
        assert (await bench.warnings(post), await bench.check_times()) == ([], [MINUTE])
        await bench.check_at(MINUTE)
        assert handle.requests == ["/1", "/1", "/2"]


@pytest.mark.parametrize(
    ("document", "fields"), [(DELETE, {}), (UPDATE, {"publishNow": True}), (UPDATE, {"media": []})]
)
async def test_post_without_further_checks_has_no_row_and_no_warning(
    acme: Tenant, document: str, fields: dict[str, Any]
) -> None:
    async with open_bench(acme, CountingServer({"/1": answer(b"", status=404)})) as bench:
        post = await bench.create("/1")
        await bench.check_at(MINUTE)
        await run_mutation(acme, document, postId=str(post), **fields)
        assert await bench.check_times() == []
        async with acme.database.read_connection() as connection:
            rows = await connection.execute(select(Destination.media_warning))
            assert [row.media_warning for row in rows] == [None]


async def test_cancelled_post_is_checked_as_a_draft(acme: Tenant) -> None:
    async with open_bench(acme, CountingServer({"/1": answer(b"", status=404)})) as bench:
        post = await bench.create("/1")
        await bench.check_at(MINUTE)
        await run_mutation(acme, CANCEL, postId=str(post))
        assert await bench.check_times() == [MINUTE]
        await bench.check_at(MINUTE)
        assert await bench.check_times() == [None]


async def test_bytes_of_a_workspace_are_limited_per_hour(acme: Tenant) -> None:
    handle = CountingServer({"/1": answer(IMAGE)})
    other = await add_workspace(acme.database)
    key = await add_api_key(acme.database, other)
    tenant = Tenant(acme.database, other, acme.client.with_token(key.token))
    async with open_bench(acme, handle) as bench:
        bench.max_bytes = len(IMAGE)
        for _ in range(2):
            await bench.create("/1")
        bench.clock.seconds = 60
        service = bench.service()
        (first,) = await service.due({}, max_of_workspace=1, limit=8)
        await service.check(first)
        assert handle.requests == ["/1"]
        assert await service.due({}, max_of_workspace=1, limit=8) == []

        bench.tenant = tenant
        await bench.create("/1")
        await bench.check_at(2 * MINUTE)
        assert handle.requests == ["/1"] * 2
        await bench.check_at(HOUR)
        assert handle.requests == ["/1"] * 2
        await bench.check_at(HOUR + MINUTE)
        assert handle.requests == ["/1"] * 3


async def test_due_checks_of_workspaces_are_returned_in_turn(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    key = await add_api_key(acme.database, other)
    tenant = Tenant(acme.database, other, acme.client.with_token(key.token))
    async with open_bench(acme, never_respond) as bench:
        for _ in range(5):
            await bench.create("/1")
        bench.tenant = tenant
        await bench.create("/1")
        bench.clock.seconds = 60
        service = bench.service()

        due = await service.due({}, max_of_workspace=3, limit=8)
        assert sorted(each.workspace_id for each in due[:2]) == sorted([acme.workspace, other])
        assert [each.workspace_id for each in due[2:]] == [acme.workspace] * 2
        running: dict[WorkspaceId, int] = {acme.workspace: 2}
        due = await service.due(running, max_of_workspace=2, limit=8)
        assert [each.workspace_id for each in due] == [other]


async def test_workspace_with_slow_servers_delays_no_other(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    key = await add_api_key(acme.database, other)
    tenant = Tenant(acme.database, other, acme.client.with_token(key.token))
    handle = CountingServer({"/1": answer(IMAGE)})
    async with open_bench(acme, never_respond) as hostile, local_server(handle) as server:
        for _ in range(20):
            await hostile.create("/1")
        own = Bench(tenant, server, hostile.client)
        hostile.clock.seconds = own.clock.seconds = 60
        connectivity = Connectivity(acme.database, reach_any, hostile.clock.monotonic)
        checker = MediaChecker(
            hostile.service(), connectivity, poll_interval=timedelta(milliseconds=10)
        )
        async with check_media_in_background(checker):
            await hostile.server.wait_for_open_connections(2)
            for _ in range(3):
                await own.create("/1", due_at=NOW + 5 * MINUTE)
            await wait_until(lambda: len(handle.requests) == 3)
            assert hostile.server.connections == 2


async def test_claim_of_a_due_post_ends_its_checks(acme: Tenant) -> None:
    async with open_bench(acme, CountingServer({"/1": answer(b"", status=404)})) as bench:
        post = await bench.create("/1", publishers=(MASTODON, BLUESKY), due_at=NOW + MINUTE)
        await bench.check_at(timedelta())
        assert len(await bench.warnings(post)) == 2
        assert len(await claim(acme.database, of=MASTODON, now=NOW + 2 * MINUTE)) == 1
        assert (await bench.warnings(post), await bench.check_times()) == ([], [])


async def test_warnings_are_found_and_counted(acme: Tenant) -> None:
    async with open_bench(acme, CountingServer({"/1": answer(b"", status=404)})) as bench:
        post = await bench.create("/1", publishers=(MASTODON, EXTERNAL))
        path = f"/v1/posts/{post}"
        assert "media_warnings" not in success_data(await acme.client.get(path))
        await bench.check_at(MINUTE)
        message = (
            "media[0] was not loaded: its server answered 404. Use a URL at which everyone can load the"
            " image."
        )
        data = await acme.client.query(
            """{
              destinations(filter: {mediaWarning: true}) { nodes { accountId mediaWarning } }
              others: destinations(filter: {mediaWarning: false}) { totalCount }
              boardCounts(since: "2026-04-15T00:00:00Z") { mediaWarning { count capped } }
            }"""
        )
        assert data == {
            "destinations": {"nodes": [{"accountId": 1, "mediaWarning": message}]},
            "others": {"totalCount": 1},
            "boardCounts": {"mediaWarning": {"count": 1, "capped": False}},
        }
        warning = {
            "account_id": 1,
            "platform": "mastodon",
            "code": "MEDIA_REJECTED",
            "message": message,
        }
        read = success_data(await acme.client.get(path))
        assert read["media_warnings"] == [warning]
        (listed,) = success_data(await acme.client.get("/v1/posts"))["posts"]
        assert listed["media_warnings"] == [warning]
        response = await acme.client.request("PATCH", path, json=read)
        assert response.status_code == 200
