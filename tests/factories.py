"""Factories of database rows: workspaces, API keys, accounts, posts, destinations and attempts.

Each function writes a row and returns its typed id. Defaults are realistic and fixed, except random ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import inspect, select, update

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Account, ApiKey, Attempt, Base, Destination, Post, Workspace
from app.db.repositories.posts import state_columns
from app.domain.accounts import AccountPublisher, LostAccessPolicy, default_publisher
from app.domain.api_keys import DEFAULT_SCOPES, Scope, make_key
from app.domain.attempts import AttemptKind
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    due_day,
    lateness_ms,
)
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId, WorkspaceId, WorkspaceKind
from app.domain.posts import post_published_at, post_status, search_text
from tests.raw_statements import insert_raw, run_raw

NOW = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
"""Current time of the tests."""

KEY_PREFIX = "pe_live_"
LEASE_DURATION = timedelta(minutes=5)


def no_quota() -> None:
    """Quota check of new posts that allows all."""


@dataclass(frozen=True, slots=True)
class AddedKey:
    id: ApiKeyId
    token: str
    """The API key, as clients send it."""


@dataclass(frozen=True, slots=True)
class AddedPost:
    id: PostId
    destinations: tuple[DestinationId, ...]
    """Ids in the order of the accounts."""


async def add_workspace(
    database: Database,
    *,
    id: UUID | None = None,
    name: str | None = None,
    mirror_of: str | None = None,
    created_at: datetime = NOW,
) -> WorkspaceId:
    """Add a local workspace, or a mirror of a URL."""
    workspace_id = id or uuid4()
    await _insert(
        database,
        Workspace(
            id=workspace_id,
            name=name or f"Workspace {workspace_id}",
            kind=WorkspaceKind.LOCAL if mirror_of is None else WorkspaceKind.MIRROR,
            mirror_of=mirror_of,
            event_seq=0,
            next_account_id=1,
            created_at=created_at,
        ),
    )
    return WorkspaceId(workspace_id)


async def add_api_key(
    database: Database,
    workspace_id: WorkspaceId,
    *,
    id: UUID | None = None,
    name: str = "Test key",
    scopes: Iterable[Scope] = DEFAULT_SCOPES,
    created_at: datetime = NOW,
    expires_at: datetime | None = None,
    revoked_at: datetime | None = None,
    last_used_at: datetime | None = None,
) -> AddedKey:
    key_id = id or uuid4()
    key = make_key(KEY_PREFIX, lambda length: uuid4().bytes[:length])
    await _insert(
        database,
        ApiKey(
            workspace_id=workspace_id,
            id=key_id,
            digest=key.digest,
            display_prefix=key.display_prefix,
            name=name,
            scopes=[scope.value for scope in scopes],
            created_at=created_at,
            expires_at=expires_at,
            revoked_at=revoked_at,
            last_used_at=last_used_at,
        ),
    )
    return AddedKey(ApiKeyId(key_id), key.token)


async def add_account(
    database: Database,
    workspace_id: WorkspaceId,
    *,
    id: int | None = None,
    platform: str = "instagram",
    publisher: AccountPublisher | None = None,
    account_name: str | None = "acme",
    display_name: str | None = None,
    platform_user_id: str | None = None,
    platform_username: str | None = None,
    avatar_url: str | None = None,
    is_active: bool = True,
    needs_reconnection_since: datetime | None = None,
    token_expires_at: datetime | None = None,
    token_refreshed_at: datetime | None = None,
    on_lost_access: LostAccessPolicy = LostAccessPolicy.FAIL,
    held_until: datetime | None = None,
    connected_at: datetime | None = None,
    created_at: datetime = NOW,
) -> AccountId:
    """Add an account that can post, with the next id of the workspace by default."""

    async def work(session: AllWorkspacesWriteSession) -> AccountId:
        ((next_id,),) = await run_raw(
            session,
            select(Workspace.next_account_id).where(Workspace.id == workspace_id).with_for_update(),
        )
        account_id = id or next_id
        await run_raw(
            session,
            update(Workspace)
            .where(Workspace.id == workspace_id)
            .values(next_account_id=max(next_id, account_id + 1)),
        )
        await insert_objects(
            session,
            Account(
                workspace_id=workspace_id,
                id=account_id,
                platform=platform,
                publisher=publisher or default_publisher(platform),
                account_name=account_name,
                display_name=display_name,
                platform_user_id=platform_user_id,
                platform_username=platform_username,
                avatar_url=avatar_url,
                is_active=is_active,
                needs_reconnection_since=needs_reconnection_since,
                token_expires_at=token_expires_at,
                token_refreshed_at=token_refreshed_at,
                on_lost_access=on_lost_access,
                held_until=held_until,
                connected_at=connected_at or created_at,
                created_at=created_at,
                updated_at=created_at,
            ),
        )
        return AccountId(account_id)

    return await database.write_all_workspaces(work)


async def add_accounts(
    database: Database, workspace_id: WorkspaceId, count: int
) -> list[AccountId]:
    """Add several accounts that can post in one transaction, with the next ids of the workspace."""

    async def work(session: AllWorkspacesWriteSession) -> list[AccountId]:
        ((end,),) = await run_raw(
            session,
            update(Workspace)
            .where(Workspace.id == workspace_id)
            .values(next_account_id=Workspace.next_account_id + count)
            .returning(Workspace.next_account_id),
        )
        ids = [AccountId(number) for number in range(end - count, end)]
        accounts = (
            Account(
                workspace_id=workspace_id,
                id=account_id,
                platform="instagram",
                publisher=AccountPublisher.EXTERNAL,
                on_lost_access=LostAccessPolicy.FAIL,
                account_name="acme",
                is_active=True,
                connected_at=NOW,
                created_at=NOW,
                updated_at=NOW,
            )
            for account_id in ids
        )
        await insert_objects(session, *accounts)
        return ids

    return await database.write_all_workspaces(work)


async def add_post(
    database: Database,
    workspace_id: WorkspaceId,
    destinations: Mapping[AccountId, DestinationState] | None = None,
    *,
    id: UUID | None = None,
    destination_ids: Sequence[UUID] = (),
    content: str = "Spring sale starts today",
    is_draft: bool = False,
    submitted_now: bool = False,
    scheduled_for: datetime | None = None,
    timezone: str | None = None,
    media_ids: Sequence[str] = (),
    media: Sequence[Mapping[str, Any]] = (),
    platform_content: Mapping[str, Any] | None = None,
    reference: str | None = None,
    version: int = 1,
    deleted_at: datetime | None = None,
    imported_at: datetime | None = None,
    created_at: datetime = NOW,
    updated_at: datetime | None = None,
) -> AddedPost:
    """Add a post with these destinations; its status is derived from theirs."""
    states = dict(destinations or {})
    ids = [*destination_ids, *(uuid4() for _ in range(len(states) - len(destination_ids)))]
    post = Post(
        workspace_id=workspace_id,
        id=id or uuid4(),
        content=content,
        is_draft=is_draft,
        submitted_now=submitted_now,
        scheduled_for=scheduled_for,
        timezone=timezone,
        media_ids=list(media_ids),
        media=list(media),
        platform_content=dict(platform_content or {}),
        reference=reference,
        status=post_status(
            is_draft=is_draft, submitted_now=submitted_now, destinations=states.values()
        ),
        published_at=post_published_at(states.values()),
        version=version,
        search_text=search_text(content, platform_content or {}),
        deleted_at=deleted_at,
        imported_at=imported_at,
        created_at=created_at,
        updated_at=updated_at or created_at,
    )

    async def work(session: AllWorkspacesWriteSession) -> None:
        accounts = await run_raw(
            session,
            select(Account.id, Account.platform, Account.publisher).where(
                Account.workspace_id == workspace_id
            ),
        )
        (workspace,) = await run_raw(
            session, select(Workspace.kind).where(Workspace.id == workspace_id)
        )
        is_mirrored = workspace.kind is WorkspaceKind.MIRROR
        platform_of = {row.id: row.platform for row in accounts}
        publisher_of = {row.id: row.publisher for row in accounts}
        await insert_objects(session, post)
        for position, (account_id, state) in enumerate(states.items()):
            await insert_objects(
                session,
                Destination(
                    workspace_id=workspace_id,
                    id=ids[position],
                    post_id=post.id,
                    account_id=account_id,
                    platform=platform_of[account_id],
                    publisher=publisher_of[account_id],
                    position=position,
                    created_at=post.created_at,
                    updated_at=post.updated_at,
                    is_duplicated=False,
                    is_mirrored=is_mirrored,
                    **state_columns(platform_of[account_id], state),
                ),
            )

    await database.write_all_workspaces(work)
    return AddedPost(PostId(post.id), tuple(map(DestinationId, ids)))


async def add_attempt(
    database: Database,
    workspace_id: WorkspaceId,
    destination_id: DestinationId,
    *,
    id: UUID | None = None,
    kind: AttemptKind = AttemptKind.REGULAR,
    number: int | None = 1,
    fence: int | None = 1,
    attempt_key: str | None = None,
    outcome: Outcome = Outcome.PUBLISHED,
    category: ErrorCategory = ErrorCategory.TRANSIENT,
    code: str = "TIMEOUT",
    message: str = "The platform did not answer in time.",
    http_status: int | None = None,
    retry_after: timedelta | None = None,
    raw: str | None = None,
    not_sent: bool = False,
    worker: str | None = "worker-1",
    started_at: datetime = NOW,
    finished_at: datetime | None = None,
) -> UUID:
    """Add an attempt; category, code and message apply only to the outcomes failed and unknown."""
    failed = outcome in (Outcome.FAILED, Outcome.UNKNOWN)
    finished = outcome is not Outcome.NONE
    attempt_id = id or uuid4()
    attempt = Attempt(
        workspace_id=workspace_id,
        id=attempt_id,
        destination_id=destination_id,
        kind=kind,
        number=number,
        fence=fence,
        attempt_key=attempt_key,
        outcome=outcome,
        category=category if failed else None,
        code=code if failed else None,
        message=message if failed else None,
        http_status=http_status,
        retry_after_ms=None if retry_after is None else retry_after // timedelta(milliseconds=1),
        raw=raw,
        not_sent=not_sent,
        worker=worker,
        started_at=started_at,
        finished_at=(finished_at or started_at + timedelta(seconds=1)) if finished else None,
    )

    async def work(session: AllWorkspacesWriteSession) -> None:
        rows = await run_raw(
            session,
            select(Destination.account_id, Destination.platform).where(
                Destination.workspace_id == workspace_id, Destination.id == destination_id
            ),
        )
        if rows:  # else the foreign key refuses the attempt
            attempt.account_id, attempt.platform = rows[0]
        await insert_objects(session, attempt)

    await database.write_all_workspaces(work)
    return attempt_id


async def _insert(database: Database, row: Workspace | ApiKey) -> None:
    await database.write_all_workspaces(lambda session: insert_objects(session, row))


async def insert_objects(session: AllWorkspacesWriteSession, *objects: Base) -> None:
    """Insert ORM objects, in this order; an attribute that is not set is null."""
    for row in objects:
        values = {column.key: getattr(row, column.key) for column in inspect(type(row)).columns}
        await insert_raw(session, type(row), [values])


def draft() -> DestinationState:
    """A destination of a draft."""
    return DestinationState(
        status=DestinationStatus.QUEUED, due_at=None, claimable_at=None, round_started_at=None
    )


def queued(due_at: datetime = NOW) -> DestinationState:
    """A destination that a worker may claim from its due time on."""
    return DestinationState(
        status=DestinationStatus.QUEUED, due_at=due_at, claimable_at=due_at, round_started_at=due_at
    )


def waiting_for_retry(
    next_retry_at: datetime = NOW + timedelta(minutes=1),
    *,
    due_at: datetime = NOW,
    attempts: int = 1,
    error: str = "The platform did not answer in time.",
    category: ErrorCategory = ErrorCategory.TRANSIENT,
    code: str = "TIMEOUT",
) -> DestinationState:
    """A destination that failed and has a planned retry."""
    return DestinationState(
        status=DestinationStatus.QUEUED,
        due_at=due_at,
        claimable_at=next_retry_at,
        round_started_at=due_at,
        attempts=attempts,
        round_attempts=_counted_attempts(attempts, category),
        fence=attempts,
        next_retry_at=next_retry_at,
        error=error,
        error_category=category,
        error_code=code,
    )


def claimed(
    due_at: datetime = NOW, *, lease_expires_at: datetime | None = None
) -> DestinationState:
    """A destination with a lease whose attempt was not started."""
    expiry = lease_expires_at or due_at + LEASE_DURATION
    return DestinationState(
        status=DestinationStatus.PUBLISHING,
        due_at=due_at,
        claimable_at=expiry,
        round_started_at=due_at,
        fence=1,
        lease_token=uuid4(),
        lease_expires_at=expiry,
    )


def started(
    due_at: datetime = NOW, *, lease_expires_at: datetime | None = None
) -> DestinationState:
    """A destination with a lease and a started attempt."""
    return DestinationState(
        status=DestinationStatus.PUBLISHING,
        due_at=due_at,
        claimable_at=None,
        round_started_at=due_at,
        attempts=1,
        round_attempts=1,
        fence=1,
        lease_token=uuid4(),
        lease_expires_at=lease_expires_at or due_at + LEASE_DURATION,
        started_at=due_at,
    )


def published(
    published_at: datetime = NOW + timedelta(seconds=5),
    *,
    due_at: datetime = NOW,
    attempts: int = 1,
    platform_post_id: str | None = "17895695668004550",
    platform_post_url: str | None = "https://www.instagram.com/p/C1a2b3c4d5e/",
    settled_at: datetime | None = None,
) -> DestinationState:
    """A published destination, by default reported at its time of publication."""
    return DestinationState(
        status=DestinationStatus.PUBLISHED,
        outcome=Outcome.PUBLISHED,
        due_at=due_at,
        claimable_at=None,
        round_started_at=due_at,
        attempts=attempts,
        round_attempts=attempts,
        fence=attempts,
        published_at=published_at,
        platform_post_id=platform_post_id,
        platform_post_url=platform_post_url,
        settled_at=settled_at or published_at,
        due_day=due_day(due_at),
        lateness_ms=lateness_ms(due_at, published_at),
    )


def failed(
    *,
    due_at: datetime = NOW,
    attempts: int = 1,
    error: str = "The caption is too long.",
    category: ErrorCategory = ErrorCategory.CONTENT_REJECTED,
    code: str = "CAPTION_TOO_LONG",
    settled_at: datetime | None = None,
) -> DestinationState:
    """A failed destination without a planned retry, by default settled at its due time."""
    return DestinationState(
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        due_at=due_at,
        claimable_at=None,
        round_started_at=due_at,
        attempts=attempts,
        round_attempts=_counted_attempts(attempts, category),
        fence=attempts,
        error=error,
        error_category=category,
        error_code=code,
        settled_at=settled_at or due_at,
        due_day=due_day(due_at),
    )


def unknown(
    *, due_at: datetime = NOW, attempts: int = 1, settled_at: datetime | None = None
) -> DestinationState:
    """A destination with an unknown outcome, by default since the expiry of its lease."""
    settled_at = settled_at or due_at + LEASE_DURATION
    lost = failed(
        due_at=due_at,
        attempts=attempts,
        error="The publisher did not report the platform's response in time.",
        category=ErrorCategory.UNCLASSIFIED,
        code="OUTCOME_UNKNOWN",
        settled_at=settled_at,
    )
    return replace(lost, outcome=Outcome.UNKNOWN, verifiable_at=settled_at)


def being_verified(*, expires_at: datetime = NOW + 2 * LEASE_DURATION) -> DestinationState:
    """A destination with an unknown outcome that a publisher verifies."""
    return replace(unknown(), verifiable_at=expires_at, verification_token=uuid4())


def _counted_attempts(attempts: int, category: ErrorCategory) -> int:
    """Number of attempts that count towards the retry limit, if all failed with this category."""
    return 0 if category is ErrorCategory.RATE_LIMITED else attempts
