"""Client of the publishing protocol with a manual clock."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.destinations import DestinationState
from app.domain.ids import PostId, WorkspaceId
from app.domain.times import format_instant
from app.settings import Settings
from tests.clients import UNLIMITED_SETTINGS, Tenant, app_client
from tests.db.all_tables import all_rows, broken_rules, dump_rows
from tests.factories import NOW, add_api_key, add_workspace, queued
from tests.graphql.tenant_objects import add_post_in_states

SECOND = timedelta(seconds=1)
URL = "https://www.instagram.com/p/C1a2b3c4d5e/"
CLAIM_FIELDS = """
  leaseExpiresAt workspaceId destinationId postId accountId platform accountName platformUserId
  platformUsername content postContent platformContent mediaIds media reference scheduledFor
  timezone attempts
"""
REPORT_FIELDS = "receipt status outcome attempts willRetry nextRetryAt"
PUBLISHED_REPORT = {
    "receipt": "RECORDED",
    "status": "PUBLISHED",
    "outcome": "PUBLISHED",
    "attempts": 1,
    "willRetry": False,
    "nextRetryAt": None,
}
"""Payload of a report that publishes the destination at the first attempt."""

PAYLOAD_FIELDS = {
    "claimDestinations": f"claims {{ leaseToken {CLAIM_FIELDS} }}",
    "claimVerifications": (
        f"claims {{ verificationToken error lastStartedAt lastWorker {CLAIM_FIELDS} }}"
    ),
    "startAttempt": "receipt attempt startedAt leaseExpiresAt",
    "extendLease": "leaseExpiresAt",
    "releaseClaim": "destinationId status",
    "reportPublished": REPORT_FIELDS,
    "reportFailed": REPORT_FIELDS,
    "reportVerified": REPORT_FIELDS,
    "recordResult": REPORT_FIELDS,
    "reconcileDestination": """destination {
        destinationId status outcome platformPostUrl platformPostId publishedAt errorCode attempts
    }""",
}
LOG_QUERY = """query ($postId: UUID!) { post(postId: $postId) { status destinations {
  status outcome platformPostUrl platformPostId publishedAt error errorCategory errorCode attempts
  attemptLog { number kind outcome category code message httpStatus retryAfterSeconds notSent
    worker startedAt finishedAt }
} } }"""


def mutation_document(name: str) -> str:
    """Build a mutation that selects all payload fields."""
    input_type = f"{name[0].upper()}{name[1:]}Input"
    fields = PAYLOAD_FIELDS[name]
    return f"mutation ($input: {input_type}!) {{ payload: {name}(input: $input) {{ {fields} }} }}"


def seconds_after_now(seconds: float) -> str:
    return format_instant(NOW + timedelta(seconds=seconds))


@dataclass(slots=True)
class ManualClock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def set_seconds(self, seconds: float) -> None:
        """Set the time to some seconds after NOW."""
        self.now = NOW + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class PublisherClient(Tenant):
    """A tenant with publishing permission and a manual clock."""

    clock: ManualClock = field(default_factory=ManualClock)

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Return the payload; the mutation must succeed and break no rule."""
        data = await self.client.query(mutation_document(name), input=arguments)
        assert await broken_rules(self.database) == []
        return dict(data["payload"])

    async def expect_error(self, name: str, **arguments: Any) -> tuple[str, str | None, str]:
        """Return code, field and message; the mutation must fail and change nothing."""
        before = await dump_rows(self.database)
        error = await self.client.expect_error(mutation_document(name), input=arguments)
        assert await dump_rows(self.database) == before
        return error

    async def claim(self, **arguments: Any) -> list[dict[str, Any]]:
        claims: list[dict[str, Any]] = (await self.call("claimDestinations", **arguments))["claims"]
        return claims

    async def claim_token(self, **arguments: Any) -> str:
        """Claim the only due destination and return its lease token."""
        (claim,) = await self.claim(**arguments)
        return str(claim["leaseToken"])

    async def start_token(self, **arguments: Any) -> str:
        """Claim the only due destination and start its attempt."""
        token = await self.claim_token(**arguments)
        await self.call("startAttempt", leaseToken=token, worker="w1")
        return token

    async def lost_token(self) -> str:
        """Start an attempt and let its lease expire a second ago; the outcome is not settled yet."""
        token = await self.start_token(leaseSeconds=60)
        self.clock.set_seconds(61)
        return token

    async def with_key(
        self, *scopes: Scope, workspace: WorkspaceId | None = None
    ) -> "PublisherClient":
        """Return a client of the same service with another API key."""
        key = await add_api_key(self.database, workspace or self.workspace, scopes=scopes)
        client = self.client.with_token(key.token)
        return PublisherClient(self.database, workspace or self.workspace, client, self.clock)

    async def add_post(self, *states: DestinationState, **columns: Any) -> PostId:
        """Add a post with one new account per state; without states, on one account and due."""
        return (await add_post_in_states(self, *states or (queued(),), **columns)).id

    async def destination_log(self, post: PostId) -> dict[str, Any]:
        """Return the only destination of a post with its attempt log."""
        data = await self.client.query(LOG_QUERY, postId=str(post))
        (destination,) = data["post"]["destinations"]
        return dict(destination)

    async def events(self) -> list[str]:
        return [row[2] for row in (await all_rows(self.database))["event"]]


@asynccontextmanager
async def open_publisher(
    database: Database,
    *,
    settings: Settings = UNLIMITED_SETTINGS,
    expiration_interval: timedelta | None = None,
    scopes: Iterable[Scope] = (Scope.READ, Scope.WRITE, Scope.PUBLISH),
) -> AsyncIterator[PublisherClient]:
    """Open a publisher in an empty workspace."""
    workspace, clock = await add_workspace(database), ManualClock()
    key = await add_api_key(database, workspace, scopes=scopes)
    async with app_client(
        database,
        token=key.token,
        settings=settings,
        clock=clock,
        expiration_interval=expiration_interval,
    ) as client:
        yield PublisherClient(database, workspace, client, clock)
