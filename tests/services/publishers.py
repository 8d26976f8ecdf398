"""What publishers do, in a word each, for tests: as the operator's worker, with leases of a minute."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from app.db.engine import Database
from app.db.post_writes import load_posts
from app.domain.attempts import Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.endings import RetryRules
from app.domain.errors import PostResultsError
from app.domain.findings import Finding
from app.domain.ids import PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES
from app.services import publishing as service
from app.services.claiming import Claim, Wish, claim_destinations, claim_verifications
from app.services.publishing import Publisher, Told
from app.services.writing import Errand
from tests.factories import NOW

T = TypeVar("T")

WORKER = Publisher(None, None)
MINUTE = timedelta(minutes=1)
RULES = RetryRules(DEFAULT_POLICIES, lambda: 0.5)
HERE = Publication(platform_post_id="1", platform_post_url=None, published_at=NOW)


def failure(category: ErrorCategory = ErrorCategory.TRANSIENT) -> Failure:
    return Failure(category=category, code=category.name, message="It said no.")


async def claim(
    database: Database,
    limit: int = 100,
    *,
    platforms: Sequence[str] | None = None,
    publisher: Publisher = WORKER,
    now: datetime = NOW,
) -> list[Claim]:
    wish = Wish(limit=limit, lease=MINUTE, platforms=platforms)
    return await claim_destinations(database, publisher, wish, new_id=uuid4, now=now)


async def look(
    database: Database, limit: int = 100, *, publisher: Publisher = WORKER, now: datetime = NOW
) -> list[Claim]:
    wish = Wish(limit=limit, lease=MINUTE, platforms=None)
    return await claim_verifications(database, publisher, wish, new_id=uuid4, now=now)


async def start(database: Database, lease: Lease, now: datetime = NOW) -> Told:
    told, _ = await service.start_attempt(
        database, WORKER, lease, worker="w", new_id=uuid4, now=now
    )
    return told


async def publish(database: Database, lease: Lease, now: datetime = NOW) -> Told:
    return await service.report_published(database, WORKER, lease, HERE, new_id=uuid4, now=now)


async def fail(
    database: Database, lease: Lease, told: Failure | None = None, now: datetime = NOW
) -> Told:
    return await service.report_failed(
        database, WORKER, lease, told or failure(), RULES, new_id=uuid4, now=now
    )


async def find(
    database: Database,
    lease: Lease,
    finding: Finding,
    *,
    publisher: Publisher = WORKER,
    now: datetime = NOW,
) -> Told:
    where = HERE if finding is Finding.PUBLISHED else None
    return await service.report_verified(
        database, publisher, lease, finding, where, RULES, new_id=uuid4, now=now
    )


def errand(workspace: WorkspaceId, now: datetime = NOW) -> Errand:
    return Errand(workspace_id=workspace, actor=None, operation="test", now=now)


async def states(
    database: Database, workspace: WorkspaceId, *posts: PostId
) -> list[DestinationState]:
    """Of the posts' destinations, in their order."""
    reader = database.read(workspace)
    found = await load_posts(reader, posts)
    return [each.state for post in posts for each in found[post].destinations]


async def code_of(work: Awaitable[object]) -> str | None:
    """Of the refusal; None if there was none."""
    try:
        await work
    except PostResultsError as error:
        return str(error.code)
    return None


async def at_once(works: Iterable[Awaitable[T]]) -> list[T]:
    return await asyncio.gather(*works)
