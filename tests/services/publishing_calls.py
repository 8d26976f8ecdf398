"""What publishers do, in a word each, for tests: as the operator's worker, with leases of a minute."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from app.db.core.database import Database
from app.db.repositories.posts import load_posts
from app.domain.attempts import Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.errors import PostResultsError
from app.domain.ids import PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import RetryDecider
from app.domain.verification import VerificationFinding
from app.services import reports as service
from app.services.claims import Claim, ClaimRequest, claim_destinations, claim_verifications
from app.services.reports import Publisher, ReportResult
from app.services.unit_of_work import WriteContext
from tests.factories import NOW

T = TypeVar("T")

OPERATOR_PUBLISHER = Publisher(None, None)
MINUTE = timedelta(minutes=1)
RETRY_CONTEXT = RetryDecider(DEFAULT_POLICIES, lambda: 0.5)
PUBLICATION = Publication(platform_post_id="1", platform_post_url=None, published_at=NOW)


def make_failure(category: ErrorCategory = ErrorCategory.TRANSIENT) -> Failure:
    return Failure(category=category, code=category.name, message="It said no.")


async def claim(
    database: Database,
    limit: int = 100,
    *,
    platforms: Sequence[str] | None = None,
    publisher: Publisher = OPERATOR_PUBLISHER,
    now: datetime = NOW,
) -> list[Claim]:
    wish = ClaimRequest(limit=limit, lease_duration=MINUTE, platforms=platforms)
    return await claim_destinations(database, publisher, wish, new_id=uuid4, now=now)


async def claim_for_verification(
    database: Database,
    limit: int = 100,
    *,
    publisher: Publisher = OPERATOR_PUBLISHER,
    now: datetime = NOW,
) -> list[Claim]:
    wish = ClaimRequest(limit=limit, lease_duration=MINUTE, platforms=None)
    return await claim_verifications(database, publisher, wish, new_id=uuid4, now=now)


async def start_attempt(database: Database, lease: Lease, now: datetime = NOW) -> ReportResult:
    told, _ = await service.start_attempt(
        database, OPERATOR_PUBLISHER, lease, worker="w", new_id=uuid4, now=now
    )
    return told


async def report_published(database: Database, lease: Lease, now: datetime = NOW) -> ReportResult:
    return await service.report_published(
        database, OPERATOR_PUBLISHER, lease, PUBLICATION, new_id=uuid4, now=now
    )


async def report_failed(
    database: Database, lease: Lease, failure_details: Failure | None = None, now: datetime = NOW
) -> ReportResult:
    return await service.report_failed(
        database,
        OPERATOR_PUBLISHER,
        lease,
        failure_details or make_failure(),
        RETRY_CONTEXT,
        new_id=uuid4,
        now=now,
    )


async def report_verified(
    database: Database,
    lease: Lease,
    finding: VerificationFinding,
    *,
    publisher: Publisher = OPERATOR_PUBLISHER,
    now: datetime = NOW,
) -> ReportResult:
    where = PUBLICATION if finding is VerificationFinding.PUBLISHED else None
    return await service.report_verified(
        database, publisher, lease, finding, where, RETRY_CONTEXT, new_id=uuid4, now=now
    )


def write_context(workspace: WorkspaceId, now: datetime = NOW) -> WriteContext:
    return WriteContext(workspace_id=workspace, actor=None, operation="test", now=now)


async def destination_states(
    database: Database, workspace: WorkspaceId, *posts: PostId
) -> list[DestinationState]:
    """Of the posts' destinations, in their order."""
    reader = database.read(workspace)
    found = await load_posts(reader, posts)
    return [each.state for post in posts for each in found[post].destinations]


async def error_code(work: Awaitable[object]) -> str | None:
    """Of the refusal; None if there was none."""
    try:
        await work
    except PostResultsError as error:
        return str(error.code)
    return None


async def run_concurrently(works: Iterable[Awaitable[T]]) -> list[T]:
    return await asyncio.gather(*works)
