"""Post, Destination, Attempt and Account: rows made into described fields. No SQL, no arguments.

Same-row fields are plain attributes. A field that needs another statement can fail alone and is
therefore nullable.
"""

from datetime import datetime
from math import ceil
from uuid import UUID

import strawberry
from strawberry import field

from app.db.engine import AnyRow
from app.domain import accounts as account_rules
from app.domain.accounts import Connection, HealthReason, HealthStatus, ReadinessStatus
from app.domain.attempts import AttemptKind
from app.domain.destinations import (
    DestinationStatus,
    ErrorCategory,
    Outcome,
    is_overdue,
    poll_after,
)
from app.domain.diagnosis import ErrorSource, NextAction, diagnose
from app.domain.ids import AccountId, DestinationId, NodeKind, PostId, encode_node_id
from app.domain.posts import PostStatus
from app.graphql.context import Info
from app.graphql.scalars import Json


@strawberry.interface(description="An object that `node` finds again by its id.")
class Node:
    id: strawberry.ID = field(description="Opaque and stable; for `node` and client caches.")


@strawberry.type(description="What to do about an error.")
class Diagnosis:
    category: ErrorCategory = field(description="The kind of error.")
    code: str = field(description="The publisher's code; `errorCatalog` lists the known ones.")
    source: ErrorSource = field(description="Who can end it.")
    retryable: bool = field(
        description="Whether a retry of the unchanged post can succeed, after the fix."
    )
    will_retry: bool = field(description="Whether it is retried by itself, at nextRetryAt.")
    fix: str = field(description="A sentence for a person: what to do.")
    next_action: NextAction = field(description="The one next step.")


@strawberry.type(description="One call to a platform, as its publisher reported it.")
class Attempt:
    attempt_id: UUID = field(description="Unique in the workspace.")
    number: int | None = field(description="Counts a destination's starts from 1; null if late.")
    kind: AttemptKind = field(description="How it came into the log.")
    outcome: Outcome = field(description="How it ended; NONE while it runs.")
    category: ErrorCategory | None = field(description="The kind of its error.")
    code: str | None = field(description="The publisher's code of its error.")
    message: str | None = field(description="Its error, for a person.")
    http_status: int | None = field(description="The platform's HTTP status, where there was one.")
    retry_after_seconds: float | None = field(description="How long the platform asked to wait.")
    worker: str | None = field(description="The publisher that made it, by its own name.")
    started_at: datetime = field(description="When the platform was about to be called.")
    finished_at: datetime | None = field(description="When the end was reported.")

    @classmethod
    def from_row(cls, row: AnyRow) -> "Attempt":
        wait = row.retry_after_ms
        return cls(
            attempt_id=row.id,
            number=row.number,
            kind=row.kind,
            outcome=row.outcome,
            category=row.category,
            code=row.code,
            message=row.message,
            http_status=row.http_status,
            retry_after_seconds=None if wait is None else wait / 1000,
            worker=row.worker,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )


@strawberry.type(description="One post on one account: where it stands and what happened.")
class Destination(Node):
    destination_id: UUID = field(description="The destination's UUID.")
    post_id: UUID = field(description="The post's UUID.")
    account_id: int = field(description="The account's number in this workspace.")
    platform: str = field(description="The account's platform, such as `instagram`; an open set.")
    status: DestinationStatus = field(description="Where it stands.")
    outcome: Outcome = field(description="What is known about the platform.")
    scheduled_for: datetime | None = field(description="When it should go out; null while a draft.")
    published_at: datetime | None = field(description="When the platform published it.")
    platform_post_id: str | None = field(description="The platform's own id of the post.")
    platform_post_url: str | None = field(description="Where the post can be seen.")
    error: str | None = field(description="The last attempt's error, for a person.")
    error_category: ErrorCategory | None = field(description="The kind of the error.")
    error_code: str | None = field(description="The publisher's code of the error.")
    attempts: int = field(description="How often the platform was called; never reset.")
    next_retry_at: datetime | None = field(description="When the next automatic retry is due.")
    is_overdue: bool = field(
        description="Whether it was due, or the lease on it ended, five minutes ago or earlier, and no"
        " publisher has taken it up or reported since. While a lease runs, it is not."
    )
    poll_after_seconds: int | None = field(
        description="When a client that polls may look again; null for what does not change by itself."
    )
    created_at: datetime = field(description="When it was added to the post.")
    updated_at: datetime = field(description="When it last changed.")

    @classmethod
    def from_row(cls, row: AnyRow, now: datetime) -> "Destination":
        wait = poll_after(
            status=row.status, due_at=row.due_at, next_retry_at=row.next_retry_at, now=now
        )
        return cls(
            id=strawberry.ID(encode_node_id(NodeKind.DESTINATION, row.id)),
            destination_id=row.id,
            post_id=row.post_id,
            account_id=row.account_id,
            platform=row.platform,
            status=row.status,
            outcome=row.outcome,
            scheduled_for=row.due_at,
            published_at=row.published_at,
            platform_post_id=row.platform_post_id,
            platform_post_url=row.platform_post_url,
            error=row.error,
            error_category=row.error_category,
            error_code=row.error_code,
            attempts=row.attempts,
            next_retry_at=row.next_retry_at,
            is_overdue=is_overdue(
                claimable_at=row.claimable_at,
                round_started_at=row.round_started_at,
                started_at=row.started_at,
                lease_expires_at=row.lease_expires_at,
                now=now,
            ),
            poll_after_seconds=None if wait is None else ceil(wait.total_seconds()),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    @strawberry.field(description="What to do about the error; null where there is none.")
    def diagnosis(self) -> Diagnosis | None:
        if self.error_category is None or self.error_code is None:
            return None
        found = diagnose(
            category=self.error_category,
            code=self.error_code,
            outcome=self.outcome,
            will_retry=self.next_retry_at is not None,
        )
        return Diagnosis(
            category=found.category,
            code=found.code,
            source=found.source,
            retryable=found.retryable,
            will_retry=found.will_retry,
            fix=found.fix,
            next_action=found.next_action,
        )

    @strawberry.field(description="The account's name, as `account.accountName`.")
    async def account_name(self, info: Info) -> str | None:
        row = await info.context.loaders.accounts_by_id.load(AccountId(self.account_id))
        return None if row is None else account_name(row)

    @strawberry.field(description="The account it goes out on.")
    async def account(self, info: Info) -> "Account | None":
        row = await info.context.loaders.accounts_by_id.load(AccountId(self.account_id))
        return None if row is None else Account.from_row(row, info.context.clock())

    @strawberry.field(description="The post it belongs to.")
    async def post(self, info: Info) -> "Post | None":
        row = await info.context.loaders.posts_by_id.load(PostId(self.post_id))
        return None if row is None else Post.from_row(row)

    @strawberry.field(
        description="Its attempts, oldest first. Of an imported one, `attempts` may count more than are"
        " logged."
    )
    async def attempt_log(self, info: Info) -> list[Attempt] | None:
        key = DestinationId(self.destination_id)
        rows = await info.context.loaders.attempts_by_destination_id.load(key)
        return [Attempt.from_row(row) for row in rows]


@strawberry.type(description="A post and, through its destinations, what happened to it.")
class Post(Node):
    post_id: UUID = field(description="The post's UUID.")
    status: PostStatus = field(description="Derived from the destinations.")
    content: str = field(description="The text; empty where each platform has its own.")
    scheduled_for: datetime | None = field(description="When it should go out; null = at once.")
    timezone: str | None = field(description="An IANA name for display; it never moves a time.")
    media_ids: list[str] = field(description="The media ids, as given.")
    media: Json = field(description="The media, as given.")
    platform_content: Json = field(description="What differs per platform, as given.")
    reference: str | None = field(description="The client's own name for the post.")
    published_at: datetime | None = field(description="When it was last published somewhere.")
    version: int = field(
        description="Grows with all that somebody does to the post: changes, cancellations, retries."
    )
    imported_at: datetime | None = field(
        description="When an import last changed it; null for one made here. What was imported is never"
        " published from here."
    )
    created_at: datetime = field(description="When it was created.")
    updated_at: datetime = field(
        description="When it or a destination last changed; of an imported one, what its source says."
    )

    @classmethod
    def from_row(cls, row: AnyRow) -> "Post":
        return cls(
            id=strawberry.ID(encode_node_id(NodeKind.POST, row.id)),
            post_id=row.id,
            status=row.status,
            content=row.content,
            scheduled_for=row.scheduled_for,
            timezone=row.timezone,
            media_ids=row.media_ids,
            media=row.media,
            platform_content=row.platform_content,
            reference=row.reference,
            published_at=row.published_at,
            version=row.version,
            imported_at=row.imported_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    @strawberry.field(description="One for each account, in the order of the request.")
    async def destinations(self, info: Info) -> list[Destination] | None:
        rows = await info.context.loaders.destinations_by_post_id.load(PostId(self.post_id))
        now = info.context.clock()
        return [Destination.from_row(row, now) for row in rows]

    @strawberry.field(description="The accounts it goes out on, in the order of the request.")
    async def account_ids(self, info: Info) -> list[int] | None:
        rows = await info.context.loaders.destinations_by_post_id.load(PostId(self.post_id))
        return [row.account_id for row in rows]


@strawberry.type(description="Whether the account can post now, by its access alone.")
class AccountReadiness:
    status: ReadinessStatus = field(description="The verdict.")
    can_post: bool = field(description="Whether a post would go out.")
    message: str | None = field(description="What to do, for a person; null if healthy.")


@strawberry.type(description="An account's access to its platform.")
class AccountToken:
    expires_at: datetime | None = field(description="When it ends; null if never or unknown.")
    last_refresh: datetime | None = field(description="When it was last renewed.")
    expired: bool = field(description="Whether it has ended.")
    expiring_soon: bool = field(description="Whether it ends within seven days.")


@strawberry.type(description="What happened on an account lately.")
class AccountActivity:
    last_published_at: datetime | None = field(description="The last publication.")
    failures_last7d: int = field(
        name="failuresLast7d", description="Destinations that failed within seven days."
    )
    permanent_failures_last7d: int = field(
        name="permanentFailuresLast7d",
        description="Those of them that no automatic retry follows.",
    )
    queued_count: int = field(description="Destinations that wait for their time or a retry.")


@strawberry.type(description="The verdict over an account's access and its recent outcomes.")
class AccountHealth:
    status: HealthStatus = field(description="BROKEN if and only if it cannot post.")
    can_post: bool = field(description="Whether a post would go out.")
    reasons: list[HealthReason] = field(description="What is wrong; empty if healthy.")
    activity: AccountActivity = field(description="What the verdict is based on.")


@strawberry.type(description="A connected account on a platform. Credentials are not kept here.")
class Account(Node):
    account_id: int = field(description="The account's number in this workspace.")
    platform: str = field(description="Such as `instagram`; an open set.")
    account_name: str = field(description="The best name there is for it; never empty.")
    display_name: str | None = field(description="The name the platform shows.")
    platform_user_id: str | None = field(description="The platform's own id of the account.")
    platform_username: str | None = field(description="The user name on the platform.")
    avatar_url: str | None = field(description="Its picture.")
    is_active: bool = field(description="False when switched off or disconnected.")
    needs_reconnection: bool = field(description="Whether the platform refused its access.")
    needs_reconnection_since: datetime | None = field(description="Since when it does.")
    readiness: AccountReadiness = field(description="Whether it can post now.")
    token: AccountToken = field(description="Its access to the platform.")
    connected_at: datetime = field(description="When it was last connected.")
    created_at: datetime = field(description="When it was first connected.")
    updated_at: datetime = field(description="When it last changed.")
    connection: strawberry.Private[Connection]

    @classmethod
    def from_row(cls, row: AnyRow, now: datetime) -> "Account":
        connection = Connection(
            is_active=row.is_active,
            needs_reconnection_since=row.needs_reconnection_since,
            token_expires_at=row.token_expires_at,
        )
        ready = account_rules.readiness(connection, now)
        return cls(
            id=strawberry.ID(encode_node_id(NodeKind.ACCOUNT, row.id)),
            account_id=row.id,
            platform=row.platform,
            account_name=account_name(row),
            display_name=row.display_name,
            platform_user_id=row.platform_user_id,
            platform_username=row.platform_username,
            avatar_url=row.avatar_url,
            is_active=row.is_active,
            needs_reconnection=row.needs_reconnection_since is not None,
            needs_reconnection_since=row.needs_reconnection_since,
            readiness=AccountReadiness(
                status=ready.status, can_post=ready.can_post, message=ready.message
            ),
            token=AccountToken(
                expires_at=row.token_expires_at,
                last_refresh=row.token_refreshed_at,
                expired=connection.token_expired(now),
                expiring_soon=connection.token_expiring_soon(now),
            ),
            connected_at=row.connected_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
            connection=connection,
        )

    @strawberry.field(description="The verdict, from its access and real outcomes.")
    async def health(self, info: Info) -> AccountHealth | None:
        key = AccountId(self.account_id)
        row = await info.context.loaders.activity_by_account_id.load(key)
        activity = AccountActivity(
            last_published_at=row.last_published_at if row else None,
            failures_last7d=row.failures if row else 0,
            permanent_failures_last7d=row.permanent_failures if row else 0,
            queued_count=row.queued if row else 0,
        )
        verdict = account_rules.health(
            self.connection,
            permanent_failures=activity.permanent_failures_last7d,
            now=info.context.clock(),
        )
        return AccountHealth(
            status=verdict.status,
            can_post=verdict.can_post,
            reasons=list(verdict.reasons),
            activity=activity,
        )


def account_name(row: AnyRow) -> str:
    """The name an account is shown by, wherever it is shown."""
    return account_rules.shown_name(
        row.id,
        row.platform,
        account_name=row.account_name,
        display_name=row.display_name,
        platform_username=row.platform_username,
    )
