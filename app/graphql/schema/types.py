"""Post, Destination, Attempt and Account: rows made into described fields. No SQL, no arguments.

Same-row fields are plain attributes. A field that needs another statement can fail alone and is
therefore nullable.
"""

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import ClassVar
from uuid import UUID

import strawberry
from strawberry import field

from app.db.core.statements import AnyRow
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
from app.graphql.loading.field_sources import (
    Computed,
    Deferred,
    FromRelated,
    FromResolver,
    RowBacked,
    ToMany,
    ToOne,
    column,
    related_row,
    source_metadata,
)
from app.graphql.schema.context import Info
from app.graphql.schema.scalars import Json

DISPLAY_LABEL_COLUMNS = ("account_name", "display_name", "platform_username", "id", "platform")
"""What the name is told by that an account is shown by, wherever it is shown."""


def account_display_label(row: AnyRow) -> str:
    return account_rules.display_label(*(getattr(row, each) for each in DISPLAY_LABEL_COLUMNS))


_POLL_COLUMNS = ("status", "due_at", "next_retry_at")


def _poll_after_seconds(
    status: DestinationStatus,
    due_at: datetime | None,
    next_retry_at: datetime | None,
    now: datetime,
) -> int | None:
    wait = poll_after(status=status, due_at=due_at, next_retry_at=next_retry_at, now=now)
    return None if wait is None else ceil(wait.total_seconds())


CONNECTION_COLUMNS = ("is_active", "needs_reconnection_since", "token_expires_at")
"""What it is told by whether an account can post."""


@strawberry.interface(description="An object that `node` finds again by its id.")
class Node(RowBacked):
    kind: ClassVar[NodeKind]

    @strawberry.field(
        description="Opaque and stable; for `node` and client caches.",
        metadata=source_metadata(FromResolver(columns=("id",))),
    )
    def id(self) -> strawberry.ID:
        return strawberry.ID(encode_node_id(self.kind, self.row.id))


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
    kind = NodeKind.DESTINATION

    destination_id: UUID = column("The destination's UUID.", name="id")
    post_id: UUID = column("The post's UUID.")
    account_id: int = column("The account's number in this workspace.")
    platform: str = column("The account's platform, such as `instagram`; an open set.")
    status: DestinationStatus = column("Where it stands.")
    outcome: Outcome = column("What is known about the platform.")
    scheduled_for: datetime | None = column(
        "When it should go out; null while a draft.", name="due_at"
    )
    published_at: datetime | None = column("When the platform published it.")
    platform_post_id: str | None = column("The platform's own id of the post.")
    platform_post_url: str | None = column("Where the post can be seen.")
    error: str | None = column("The last attempt's error, for a person.")
    error_category: ErrorCategory | None = column("The kind of the error.")
    error_code: str | None = column("The publisher's code of the error.")
    attempts: int = column("How often the platform was called; never reset.")
    next_retry_at: datetime | None = column("When the next automatic retry is due.")
    created_at: datetime = column("When it was added to the post.")
    updated_at: datetime = column("When it last changed.")

    @strawberry.field(
        description="Whether it was due, or the lease on it ended, five minutes ago or earlier, and no"
        " publisher has taken it up or reported since. While a lease runs, it is not.",
        metadata=source_metadata(
            FromResolver(
                columns=("claimable_at", "round_started_at", "started_at", "lease_expires_at")
            )
        ),
    )
    def is_overdue(self) -> bool:
        return is_overdue(
            claimable_at=self.row.claimable_at,
            round_started_at=self.row.round_started_at,
            started_at=self.row.started_at,
            lease_expires_at=self.row.lease_expires_at,
            now=self.now,
        )

    @strawberry.field(
        description="When a client that polls may look again; null for what does not change by itself.",
        metadata=source_metadata(Computed(_POLL_COLUMNS, _poll_after_seconds, uses_now=True)),
    )
    def poll_after_seconds(self) -> int | None:
        row = self.row
        return _poll_after_seconds(row.status, row.due_at, row.next_retry_at, self.now)

    @strawberry.field(
        description="What to do about the error; null where there is none.",
        metadata=source_metadata(
            FromResolver(columns=("error_category", "error_code", "outcome", "next_retry_at"))
        ),
    )
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

    @strawberry.field(
        description="The account's name, as `account.accountName`.",
        metadata=source_metadata(
            FromRelated("account", DISPLAY_LABEL_COLUMNS, account_rules.display_label)
        ),
    )
    async def account_name(self, info: Info) -> str | None:
        row = await self._load_account_row(info)
        return None if row is None else account_display_label(row)

    @strawberry.field(
        description="The account it goes out on.", metadata=source_metadata(ToOne("account"))
    )
    async def account(self, info: Info) -> "Account | None":
        row = await self._load_account_row(info)
        return None if row is None else Account.from_row(row, self.now)

    async def _load_account_row(self, info: Info) -> AnyRow | None:
        known = related_row(self.row, "account")
        if known is not None:
            return known
        return await info.context.loaders.accounts_by_id.load(AccountId(self.account_id))

    @strawberry.field(
        description="The post it belongs to.",
        metadata=source_metadata(Deferred(columns=("post_id",))),
    )
    async def post(self, info: Info) -> "Post | None":
        row = await info.context.loaders.posts_by_id.load(PostId(self.post_id))
        return None if row is None else Post.from_row(row, self.now)

    @strawberry.field(
        description="Its attempts, oldest first. Of an imported one, `attempts` may count more than are"
        " logged.",
        metadata=source_metadata(Deferred(columns=("id",))),
    )
    async def attempt_log(self, info: Info) -> list[Attempt] | None:
        key = DestinationId(self.destination_id)
        rows = await info.context.loaders.attempts_by_destination_id.load(key)
        return [Attempt.from_row(row) for row in rows]


@strawberry.type(description="A post and, through its destinations, what happened to it.")
class Post(Node):
    kind = NodeKind.POST

    post_id: UUID = column("The post's UUID.", name="id")
    status: PostStatus = column("Derived from the destinations.")
    content: str = column("The text; empty where each platform has its own.")
    scheduled_for: datetime | None = column("When it should go out; null = at once.")
    timezone: str | None = column("An IANA name for display; it never moves a time.")
    media_ids: list[str] = column("The media ids, as given.")
    media: Json = column("The media, as given.")
    platform_content: Json = column("What differs per platform, as given.")
    reference: str | None = column("The client's own name for the post.")
    published_at: datetime | None = column("When it was last published somewhere.")
    version: int = column(
        "Grows with all that somebody does to the post: changes, cancellations, retries."
    )
    imported_at: datetime | None = column(
        "When an import last changed it; null for one made here. What was imported is never"
        " published from here."
    )
    created_at: datetime = column("When it was created.")
    updated_at: datetime = column(
        "When it or a destination last changed; of an imported one, what its source says."
    )

    @strawberry.field(
        description="One for each account, in the order of the request.",
        metadata=source_metadata(ToMany("destinations", columns=("id",))),
    )
    async def destinations(self, info: Info) -> list[Destination] | None:
        return [
            Destination.from_row(row, self.now) for row in await self._load_destination_rows(info)
        ]

    @strawberry.field(
        description="The accounts it goes out on, in the order of the request.",
        metadata=source_metadata(
            Deferred(("id",), relation="destinations", relation_columns=("account_id",))
        ),
    )
    async def account_ids(self, info: Info) -> list[int] | None:
        return [row.account_id for row in await self._load_destination_rows(info)]

    async def _load_destination_rows(self, info: Info) -> Sequence[AnyRow]:
        if "destinations" in self.prefetched:
            return self.prefetched["destinations"]
        return await info.context.loaders.destinations_by_post_id.load(PostId(self.row.id))


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
    kind = NodeKind.ACCOUNT

    account_id: int = column("The account's number in this workspace.", name="id")
    platform: str = column("Such as `instagram`; an open set.")
    display_name: str | None = column("The name the platform shows.")
    platform_user_id: str | None = column("The platform's own id of the account.")
    platform_username: str | None = column("The user name on the platform.")
    avatar_url: str | None = column("Its picture.")
    is_active: bool = column("False when switched off or disconnected.")
    needs_reconnection_since: datetime | None = column("Since when it does.")
    connected_at: datetime = column("When it was last connected.")
    created_at: datetime = column("When it was first connected.")
    updated_at: datetime = column("When it last changed.")

    @property
    def connection(self) -> Connection:
        return Connection(
            is_active=self.row.is_active,
            needs_reconnection_since=self.row.needs_reconnection_since,
            token_expires_at=self.row.token_expires_at,
        )

    @strawberry.field(
        description="The best name there is for it; never empty.",
        metadata=source_metadata(Computed(DISPLAY_LABEL_COLUMNS, account_rules.display_label)),
    )
    def account_name(self) -> str:
        return account_display_label(self.row)

    @strawberry.field(
        description="Whether the platform refused its access.",
        metadata=source_metadata(FromResolver(columns=("needs_reconnection_since",))),
    )
    def needs_reconnection(self) -> bool:
        return self.row.needs_reconnection_since is not None

    @strawberry.field(
        description="Whether it can post now.",
        metadata=source_metadata(FromResolver(columns=CONNECTION_COLUMNS)),
    )
    def readiness(self) -> AccountReadiness:
        ready = account_rules.readiness(self.connection, self.now)
        return AccountReadiness(status=ready.status, can_post=ready.can_post, message=ready.message)

    @strawberry.field(
        description="Its access to the platform.",
        metadata=source_metadata(FromResolver(columns=(*CONNECTION_COLUMNS, "token_refreshed_at"))),
    )
    def token(self) -> AccountToken:
        connection = self.connection
        return AccountToken(
            expires_at=connection.token_expires_at,
            last_refresh=self.row.token_refreshed_at,
            expired=connection.token_expired(self.now),
            expiring_soon=connection.token_expiring_soon(self.now),
        )

    @strawberry.field(
        description="The verdict, from its access and real outcomes.",
        metadata=source_metadata(Deferred(columns=("id", *CONNECTION_COLUMNS))),
    )
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
