"""The publishing protocol as a publisher speaks it, with a clock that is moved by hand. No tests."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.db.engine import Database
from app.db.integrity import find_problems
from app.domain.api_keys import Scope
from app.domain.destinations import DestinationState
from app.domain.ids import AccountId, PostId, WorkspaceId
from app.domain.times import format_instant
from app.settings import Settings
from tests.clients import NO_TICK, UNLIMITED, Client, serving
from tests.db.contents import all_rows
from tests.factories import NOW, add_account, add_api_key, add_post, add_workspace, queued

SECOND = timedelta(seconds=1)
URL = "https://www.instagram.com/p/C1a2b3c4d5e/"
CLAIMED = """
  leaseExpiresAt workspaceId destinationId postId accountId platform accountName platformUserId
  platformUsername content postContent platformContent mediaIds media reference scheduledFor
  timezone attempts
"""
REPORT = "receipt status outcome attempts willRetry nextRetryAt"
SELECTIONS = {
    "claimDestinations": f"claims {{ leaseToken {CLAIMED} }}",
    "claimVerifications": (
        f"claims {{ verificationToken error lastStartedAt lastWorker {CLAIMED} }}"
    ),
    "startAttempt": "receipt attempt startedAt leaseExpiresAt",
    "extendLease": "leaseExpiresAt",
    "releaseClaim": "destinationId status",
    "reportPublished": REPORT,
    "reportFailed": REPORT,
    "reportVerified": REPORT,
    "recordResult": REPORT,
    "reconcileDestination": """destination {
        destinationId status outcome platformPostUrl platformPostId publishedAt errorCode attempts
    }""",
}
LOG = """query ($postId: UUID!) { post(postId: $postId) { status destinations {
  status outcome platformPostUrl platformPostId publishedAt error errorCategory errorCode attempts
  attemptLog { number kind outcome category code message httpStatus retryAfterSeconds worker
    startedAt finishedAt }
} } }"""


def document(name: str) -> str:
    """A mutation with everything that it answers."""
    of_input = f"{name[0].upper()}{name[1:]}Input"
    return (
        f"mutation ($input: {of_input}!) {{ made: {name}(input: $input) {{ {SELECTIONS[name]} }} }}"
    )


def at(seconds: float) -> str:
    """So many seconds after NOW."""
    return format_instant(NOW + timedelta(seconds=seconds))


@dataclass(slots=True)
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def to(self, seconds: float) -> None:
        """So many seconds after NOW."""
        self.now = NOW + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Publisher:
    """A client that may publish in its workspace, and what it finds there."""

    database: Database
    workspace: WorkspaceId
    client: Client
    clock: Clock = field(default_factory=Clock)

    async def call(self, name: str, **given: Any) -> dict[str, Any]:
        """The payload of a mutation that must succeed, and must break no invariant."""
        data = await self.client.query(document(name), input=given)
        assert await find_problems(self.database) == []
        return dict(data["made"])

    async def refused(self, name: str, **given: Any) -> tuple[str, str | None, str]:
        """Code, field and message of a mutation that must change nothing."""
        before = await all_rows(self.database)
        told = await self.client.refusal(document(name), input=given)
        assert await all_rows(self.database) == before
        return told

    async def claim(self, **given: Any) -> list[dict[str, Any]]:
        claims: list[dict[str, Any]] = (await self.call("claimDestinations", **given))["claims"]
        return claims

    async def claimed(self, **given: Any) -> str:
        """The token of the one destination that is due."""
        (claim,) = await self.claim(**given)
        return str(claim["leaseToken"])

    async def started(self, **given: Any) -> str:
        """The same, and the attempt started."""
        token = await self.claimed(**given)
        await self.call("startAttempt", leaseToken=token, worker="w1")
        return token

    async def lost(self) -> str:
        """The token of a lease that ended a second ago, with the attempt started; it is not settled."""
        token = await self.started(leaseSeconds=60)
        self.clock.to(61)
        return token

    async def with_key(self, *scopes: Scope, workspace: WorkspaceId | None = None) -> "Publisher":
        """The same service, asked with another key."""
        key = await add_api_key(self.database, workspace or self.workspace, scopes=scopes)
        client = self.client.with_token(key.token)
        return Publisher(self.database, workspace or self.workspace, client, self.clock)

    async def post(self, *states: DestinationState, **given: Any) -> PostId:
        """A post on as many new accounts, each in its state; on one where it is due if none is said."""
        accounts: list[AccountId] = [
            await add_account(self.database, self.workspace) for _ in states or (None,)
        ]
        destinations = dict(zip(accounts, states or (queued(),), strict=True))
        return (await add_post(self.database, self.workspace, destinations, **given)).id

    async def log(self, post: PostId) -> dict[str, Any]:
        """What the post's only destination says, its attempts included; of whatever key may read."""
        (destination,) = (await self.client.query(LOG, postId=str(post)))["post"]["destinations"]
        return dict(destination)

    async def events(self) -> list[str]:
        return [row[2] for row in (await all_rows(self.database))["event"]]


@asynccontextmanager
async def publishing(
    database: Database,
    *,
    settings: Settings = UNLIMITED,
    tick: timedelta = NO_TICK,
    scopes: Iterable[Scope] = (Scope.READ, Scope.WRITE, Scope.PUBLISH),
) -> AsyncIterator[Publisher]:
    """A publisher in a workspace in which nothing is yet."""
    workspace, clock = await add_workspace(database), Clock()
    key = await add_api_key(database, workspace, scopes=scopes)
    async with serving(
        database, token=key.token, settings=settings, clock=clock, tick=tick
    ) as client:
        yield Publisher(database, workspace, client, clock)
