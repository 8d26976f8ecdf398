"""Short forms of use cases for tests: operator's worker, leases of one minute."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from app.db.core.database import Database
from app.db.repositories.posts import load_posts
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Failure, Publication
from app.domain.destinations import DestinationState
from app.domain.errors import PostResultsError
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import AccountId, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.post_commands import NewPost, PostUpdate
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.verification import VerificationFinding
from app.services.account_pauses import AccountPauses
from app.services.claims import Claim, ClaimRequest, ClaimService
from app.services.posts import CreatedPost, create_post, update_post
from app.services.reports import ReportResult, ReportService
from app.services.unit_of_work import Publisher, WriteContext
from tests.domain.attempt_histories import RETRY_DECIDER, make_failure
from tests.factories import NOW, add_account, add_post, add_workspace, draft, no_quota, queued

T = TypeVar("T")

OPERATOR_PUBLISHER = Publisher(None, None)
MINUTE = timedelta(minutes=1)
PUBLICATION = Publication(platform_post_id="1", platform_post_url=None, published_at=NOW)


def new_post(account_ids: Sequence[AccountId] = (), *, is_draft: bool = False) -> NewPost:
    return NewPost(
        content="Sale",
        account_ids=account_ids,
        scheduled_for=None,
        is_draft=is_draft,
        timezone=None,
        media_ids=[],
        media=[],
        platform_content={},
        reference=None,
    )


async def add_due(
    database: Database, workspace: WorkspaceId, count: int = 1, platform: str = "x"
) -> AccountId:
    """Add due posts on a new account."""
    account = await add_account(database, workspace, platform=platform)
    for _ in range(count):
        await add_post(database, workspace, {account: queued()})
    return account


async def add_unclaimable(
    database: Database, states: Iterable[DestinationState], *, is_active: bool = True
) -> None:
    """Add destinations in these states, and due ones of posts that no publisher may claim.

    Those posts are a draft, a deleted post and an imported one, and one of a mirror.
    """
    local = await add_workspace(database)
    mirror = await add_workspace(database, mirror_of="https://example.com")
    account, mirrored = [
        await add_account(database, workspace, is_active=is_active) for workspace in (local, mirror)
    ]
    for state in states:
        await add_post(database, local, {account: state})
    unclaimable = replace(queued(), claimable_at=None)
    await add_post(database, local, {account: draft()}, is_draft=True)
    await add_post(database, local, {account: unclaimable}, deleted_at=NOW)
    await add_post(database, local, {account: unclaimable}, imported_at=NOW)
    await add_post(database, mirror, {mirrored: unclaimable})


def claim_service(
    database: Database, publisher: Publisher = OPERATOR_PUBLISHER, now: datetime = NOW
) -> ClaimService:
    return ClaimService(
        database=database,
        publisher=publisher,
        key_ids=None,
        policies=DEFAULT_POLICIES,
        new_id=uuid4,
        clock=lambda: now,
    )


def account_pauses(database: Database, now: datetime = NOW) -> AccountPauses:
    """Pauses after which half of the spread is added."""
    return AccountPauses(database=database, clock=lambda: now)


def report_service(
    database: Database, publisher: Publisher = OPERATOR_PUBLISHER, now: datetime = NOW
) -> ReportService:
    return ReportService(
        database=database,
        publisher=publisher,
        retry_decider=RETRY_DECIDER,
        new_id=uuid4,
        clock=lambda: now,
    )


async def claim(
    database: Database,
    limit: int = 100,
    *,
    platforms: Sequence[str] | None = None,
    of: AccountPublisher = AccountPublisher.EXTERNAL,
    publisher: Publisher = OPERATOR_PUBLISHER,
    now: datetime = NOW,
) -> list[Claim]:
    request = ClaimRequest(limit=limit, lease_duration=MINUTE, publishers=[of], platforms=platforms)
    return await claim_service(database, publisher, now).claim_destinations(request)


async def claim_for_verification(
    database: Database,
    limit: int = 100,
    *,
    of: AccountPublisher = AccountPublisher.EXTERNAL,
    publisher: Publisher = OPERATOR_PUBLISHER,
    now: datetime = NOW,
) -> list[Claim]:
    request = ClaimRequest(limit=limit, lease_duration=MINUTE, publishers=[of])
    return await claim_service(database, publisher, now).claim_verifications(request)


async def start_attempt(database: Database, lease: Lease, now: datetime = NOW) -> ReportResult:
    result, _ = await report_service(database, now=now).start_attempt(lease, "w")
    return result


async def report_published(database: Database, lease: Lease, now: datetime = NOW) -> ReportResult:
    return await report_service(database, now=now).report_published(lease, PUBLICATION)


async def report_failed(
    database: Database, lease: Lease, failure: Failure | None = None, now: datetime = NOW
) -> ReportResult:
    return await report_service(database, now=now).report_failed(lease, failure or make_failure())


async def report_verified(
    database: Database,
    lease: Lease,
    finding: VerificationFinding,
    *,
    publisher: Publisher = OPERATOR_PUBLISHER,
    now: datetime = NOW,
) -> ReportResult:
    publication = PUBLICATION if finding is VerificationFinding.PUBLISHED else None
    return await report_service(database, publisher, now).report_verified(
        lease, finding, publication
    )


def write_context(workspace: WorkspaceId, now: datetime = NOW) -> WriteContext:
    return WriteContext.without_actor(workspace, "test", now)


async def create(
    database: Database, workspace: WorkspaceId, new: NewPost, key: IdempotencyKey | None = None
) -> CreatedPost:
    context = write_context(workspace)
    return await create_post(database, context, new, key, charge_quota=no_quota, new_id=uuid4)


async def change(
    database: Database,
    workspace: WorkspaceId,
    post: PostId,
    account_ids: Sequence[AccountId] | None = None,
    *,
    content: str | None = None,
    expected_version: int | None = None,
) -> None:
    """Change the accounts of a post, its content, or both."""
    await update_post(
        database,
        write_context(workspace),
        post,
        PostUpdate() if content is None else PostUpdate(content=content),
        account_ids=account_ids,
        expected_version=expected_version,
        idempotency_key=None,
        new_id=uuid4,
    )


async def destination_states(
    database: Database, workspace: WorkspaceId, *posts: PostId
) -> list[DestinationState]:
    """States of the posts' destinations, in order."""
    loaded = await load_posts(database.reader(workspace), posts)
    return [destination.state for post in posts for destination in loaded[post].destinations]


async def error_code(work: Awaitable[object]) -> str | None:
    """Code of the error that `work` raises; None if it succeeds."""
    try:
        await work
    except PostResultsError as error:
        return str(error.code)
    return None


async def run_concurrently(works: Iterable[Awaitable[T]]) -> list[T]:
    return await asyncio.gather(*works)
