"""GraphQL types Post, Destination and Account, backed by database rows.

Columns of the same row are plain non-null attributes. A field that needs another statement can fail
without its parent and is therefore nullable.
"""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import ClassVar
from uuid import UUID

import strawberry
from strawberry import field

from app.db.core.statements import AnyRow
from app.db.repositories.outcomes import OutcomePeriod
from app.domain import accounts as account_rules
from app.domain import diagnosis as diagnosis_rules
from app.domain import outlook as outlook_rules
from app.domain import profile_urls
from app.domain.accounts import (
    AccountAccess,
    AccountPublisher,
    HealthReason,
    HealthStatus,
    ReadinessStatus,
)
from app.domain.destinations import (
    DestinationStatus,
    ErrorCategory,
    Outcome,
    is_overdue,
    lateness_seconds,
    poll_after,
)
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.ids import AccountId, DestinationId, NodeKind, PostId, encode_node_id
from app.domain.manual_retries import RetryRefusal, retry_refusal
from app.domain.media import describe_media
from app.domain.posts import PostStatus
from app.domain.time_buckets import check_period
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
    sourced_field,
)
from app.graphql.schema.attempts import Attempt, AttemptConnection, read_attempts
from app.graphql.schema.board_counts import CappedCount
from app.graphql.schema.connections import After, PageSize
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import PeriodEnd, PeriodStart, to_record
from app.graphql.schema.outcome_stats import OutcomeCounts, build_counts
from app.graphql.schema.scalars import Json
from app.services.board_counts import CappedNumber

_LABEL_COLUMNS = ("account_name", "display_name", "platform_username", "id", "platform")
"""Columns from which the display label of an account is computed."""

_ACCESS_COLUMNS = tuple(field.name for field in dataclasses.fields(AccountAccess))
"""Columns that decide whether an account can post."""

_PROGRESS_COLUMNS = tuple(field.name for field in dataclasses.fields(outlook_rules.Progress))
"""Columns that decide what happens next to a destination."""

_RETRY_COLUMNS = ("status", "outcome", "account_id", "post_id")

_POLL_COLUMNS = ("status", "due_at", "next_retry_at")
_FINAL_STATUSES = frozenset(status.value for status in DestinationStatus if status.is_final)


def _account_label(row: AnyRow) -> str:
    return account_rules.display_label(*(getattr(row, name) for name in _LABEL_COLUMNS))


def _poll_after_seconds(
    status: DestinationStatus,
    due_at: datetime | None,
    next_retry_at: datetime | None,
    now: datetime,
) -> int | None:
    wait = poll_after(status=status, due_at=due_at, next_retry_at=next_retry_at, now=now)
    return None if wait is None else ceil(wait.total_seconds())


@strawberry.interface(description="Object that the query `node` finds by its id.")
class Node(RowBacked):
    kind: ClassVar[NodeKind]

    @sourced_field(
        "Opaque, stable id of the object, for `node` and client caches.",
        FromResolver(columns=("id",)),
    )
    def id(self) -> strawberry.ID:
        return strawberry.ID(encode_node_id(self.kind, self.row.id))


@strawberry.type(name="Diagnosis", description="Cause of a publishing error and how to fix it.")
class ErrorDiagnosis:
    """GraphQL fields of `app.domain.diagnosis.Diagnosis`, whose instances are returned unconverted."""

    category: ErrorCategory = field(description="Category of the error.")
    code: str = field(description="Error code of the publisher; `errorCatalog` has known codes.")
    source: ErrorSource = field(description="Party that can fix the error.")
    retryable: bool = field(description="True if the unchanged post can succeed after the fix.")
    will_retry: bool = field(
        description="True if a retry is planned, at `Destination.nextRetryAt`."
    )
    fix: str = field(description="Instruction for the user, as a sentence.")
    next_action: NextAction = field(description="Next step for the user.")


@strawberry.type(
    name="Outlook", description="What happens next to a destination without an action of a user."
)
class DestinationOutlook:
    """GraphQL fields of `app.domain.outlook.Outlook`, whose instances are returned unconverted."""

    attempt: int | None = field(
        description="Number of the running or next attempt since the last manual retry, from 1; null if none"
        " follows."
    )
    max_attempts: int | None = field(
        description="Attempts after which a failure like the last one is final; null without a failure or"
        " without a limit."
    )
    next_at: datetime | None = field(
        description="UTC time of the next attempt, or of the end of the publisher's lease; null if no attempt"
        " follows."
    )
    gives_up_at: datetime | None = field(
        description="UTC time after which a failure like the last one is not retried; null without a"
        " failure."
    )
    sentence: str = field(description="What happens next, as English sentences.")


@strawberry.type(description="One post on one account: its publishing status and result.")
class Destination(Node):
    kind = NodeKind.DESTINATION

    destination_id: UUID = column("UUID of the destination.", name="id")
    post_id: UUID = column("UUID of the post.")
    account_id: int = column("Number of the account in this workspace.")
    platform: str = column("Platform of the account, such as `instagram`; an open set.")
    status: DestinationStatus = column("Publishing status of the destination.")
    outcome: Outcome = column("Known result on the platform; NONE before a final result.")
    scheduled_for: datetime | None = column(
        "UTC time when the post is due on this account; null for a draft.", name="due_at"
    )
    published_at: datetime | None = column("UTC time of the publication; null if not published.")
    platform_post_id: str | None = column("Id of the post on the platform.")
    platform_post_url: str | None = column("URL of the post on the platform.")
    error: str | None = column("Human-readable error message of the last attempt, if any.")
    error_category: ErrorCategory | None = column("Category of the error; decides about retries.")
    error_code: str | None = column("Error code of the publisher; `errorCatalog` has known codes.")
    attempts: int = column("Number of attempts started, never reset.")
    next_retry_at: datetime | None = column(
        "UTC time of the next automatic retry; null if none is planned."
    )
    failed_at: datetime | None = column(
        "UTC time when the destination failed, or its outcome became unknown; null otherwise."
    )
    failure_group: str | None = column(
        "Key of the group of failures with the same cause; null if not failed."
    )
    is_duplicated: bool = column(
        "True if more than one publication was reported, so that the post may appear twice."
    )
    lease_expires_at: datetime | None = column(
        "UTC time when the lease of the publisher ends; null if no publisher holds the destination."
    )
    created_at: datetime = column("UTC time when the account was added to the post.")
    updated_at: datetime = column("UTC time of the last change.")

    @sourced_field(
        "UTC time when the outcome became unknown; null if it is known.",
        FromResolver(columns=("failed_at", "outcome")),
    )
    def unknown_since(self) -> datetime | None:
        return self.row.failed_at if self.row.outcome is Outcome.UNKNOWN else None

    @sourced_field(
        "Seconds from the due time to the publication; if the destination is due and not settled, to"
        " now. Null for a failed destination and before the due time.",
        FromResolver(columns=("lateness_ms", "settled_at", "due_at")),
    )
    def lateness_seconds(self) -> float | None:
        return lateness_seconds(
            lateness_ms=self.row.lateness_ms,
            is_settled=self.row.settled_at is not None,
            due_at=self.row.due_at,
            now=self.now,
        )

    @sourced_field(
        "What happens next, without an action of a user.",
        Deferred(columns=_PROGRESS_COLUMNS),
        graphql_type=DestinationOutlook,
    )
    def outlook(self, info: Info) -> outlook_rules.Outlook:
        progress = to_record(self.row, outlook_rules.Progress)
        return outlook_rules.outlook(progress, info.context.app_state.retry_policies, self.now)

    @sourced_field(
        "Reason why a manual retry would be refused now; null if it would be accepted, or if the post was"
        " deleted.",
        Deferred(columns=_RETRY_COLUMNS),
    )
    async def retry_refusal(self, info: Info) -> RetryRefusal | None:
        return await self._load_retry_refusal(info)

    @sourced_field(
        "How to resolve `retryRefusal`, in sentences; null if a retry would be accepted.",
        Deferred(columns=_RETRY_COLUMNS),
    )
    async def retry_fix(self, info: Info) -> str | None:
        refusal = await self._load_retry_refusal(info)
        return None if refusal is None else refusal.fix

    async def _load_retry_refusal(self, info: Info) -> RetryRefusal | None:
        loaders = info.context.loaders
        post = await loaders.posts_by_id.load(PostId(self.post_id))
        account = await loaders.accounts_by_id.load(AccountId(self.account_id))
        if post is None or account is None:  # deleted since the destination was read
            return None
        return retry_refusal(
            self.status,
            self.outcome,
            to_record(account, AccountAccess),
            is_imported=post.imported_at is not None,
            force=False,
            now=self.now,
        )

    @sourced_field(
        "True if no publisher claimed or reported the destination within five minutes after it"
        " became due or its lease expired. False while a lease is running.",
        FromResolver(
            columns=("claimable_at", "round_started_at", "started_at", "lease_expires_at")
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

    @sourced_field(
        "Seconds that a polling client should wait before it reads again; null if the status"
        " does not change automatically.",
        Computed(_POLL_COLUMNS, _poll_after_seconds, uses_now=True, null_for=_FINAL_STATUSES),
    )
    def poll_after_seconds(self) -> int | None:
        row = self.row
        if row.status.is_final:
            return None
        return _poll_after_seconds(row.status, row.due_at, row.next_retry_at, self.now)

    @sourced_field(
        "Cause of the error and how to fix it; null without an error.",
        FromResolver(columns=("error_category", "error_code", "outcome", "next_retry_at")),
        graphql_type=ErrorDiagnosis | None,
    )
    def diagnosis(self) -> diagnosis_rules.Diagnosis | None:
        if self.error_category is None or self.error_code is None:
            return None
        return diagnosis_rules.diagnose(
            category=self.error_category,
            code=self.error_code,
            outcome=self.outcome,
            will_retry=self.next_retry_at is not None,
        )

    @sourced_field(
        "Display name of the account, same as `account.accountName`.",
        FromRelated("account", _LABEL_COLUMNS, account_rules.display_label),
    )
    async def account_name(self, info: Info) -> str | None:
        row = await self._load_account_row(info)
        return None if row is None else _account_label(row)

    @sourced_field("Account that the post is published on.", ToOne("account"))
    async def account(self, info: Info) -> "Account | None":
        row = await self._load_account_row(info)
        return None if row is None else Account.from_row(row, self.now)

    async def _load_account_row(self, info: Info) -> AnyRow | None:
        joined_row = related_row(self.row, "account")
        if joined_row is not None:
            return joined_row
        return await info.context.loaders.accounts_by_id.load(AccountId(self.account_id))

    @sourced_field("Post of this destination.", Deferred(columns=("post_id",)))
    async def post(self, info: Info) -> "Post | None":
        row = await info.context.loaders.posts_by_id.load(PostId(self.post_id))
        return None if row is None else Post.from_row(row, self.now)

    @sourced_field(
        "Log of the attempts, oldest first. For an imported destination, `attempts` may be"
        " higher than the number of logged attempts.",
        Deferred(columns=("id",)),
    )
    async def attempt_log(self, info: Info) -> list[Attempt] | None:
        key = DestinationId(self.destination_id)
        rows = await info.context.loaders.attempts_by_destination_id.load(key)
        return [Attempt.from_row(row) for row in rows]

    @sourced_field(
        "Log of the attempts in pages, oldest first, for destinations with many attempts.",
        Deferred(columns=("id",)),
    )
    async def attempt_connection(
        self, info: Info, first: PageSize = None, after: After = None
    ) -> AttemptConnection | None:
        return await read_attempts(info.context, DestinationId(self.destination_id), first, after)


@strawberry.type(description="Social media post; its `destinations` hold the result per account.")
class Post(Node):
    kind = NodeKind.POST

    post_id: UUID = column("UUID of the post.", name="id")
    status: PostStatus = column("Status of the post, derived from its destinations.")
    content: str = column("Text of the post; empty if each platform has its own text.")
    scheduled_for: datetime | None = column(
        "UTC time when the post is due; null for an immediate post or a draft without a time."
    )
    timezone: str | None = column("IANA time zone for display; does not affect any time.")
    media_ids: list[str] = column("Media ids, unchanged from the input.")
    platform_content: Json = column("Content that differs by platform, unchanged from the input.")
    reference: str | None = column("Name that the client chose for the post.")
    published_at: datetime | None = column("UTC time of the last publication, if any.")
    version: int = column("Version, increased by each edit, cancellation or manual retry.")
    imported_at: datetime | None = column(
        "UTC time when an import last changed the post; null if it was created here. This server never"
        " publishes imported posts."
    )
    created_at: datetime = column("UTC time when the post was created.")
    updated_at: datetime = column(
        "UTC time of the last change of the post or a destination; for an imported post, the time that"
        " its source gives."
    )

    @sourced_field(
        "Media objects, unchanged from the input, except that `data` with `contentType`, `size` in bytes and"
        " `sha256` replaces a `url` that is a `data:` URL. Claims have this URL. `updatePost` accepts"
        " `data`, and keeps the image.",
        Computed(("media",), describe_media),
    )
    def media(self) -> Json:
        return Json(describe_media(self.row.media))

    @sourced_field(
        "Destinations of the post, one per account, in the order of `accountIds`.",
        ToMany("destinations", columns=("id",)),
    )
    async def destinations(self, info: Info) -> list[Destination] | None:
        return [
            Destination.from_row(row, self.now) for row in await self._load_destination_rows(info)
        ]

    @sourced_field(
        "Numbers of the accounts that the post is published on, in the order of the request.",
        Deferred(("id",), relation="destinations", relation_columns=("account_id",)),
    )
    async def account_ids(self, info: Info) -> list[int] | None:
        return [row.account_id for row in await self._load_destination_rows(info)]

    async def _load_destination_rows(self, info: Info) -> Sequence[AnyRow]:
        if "destinations" in self.prefetched:
            return self.prefetched["destinations"]
        return await info.context.loaders.destinations_by_post_id.load(PostId(self.row.id))


@strawberry.type(description="Ability of an account to post now, judged by its access only.")
class AccountReadiness:
    """GraphQL fields of `app.domain.accounts.Readiness`, whose instances are returned unconverted."""

    status: ReadinessStatus = field(description="HEALTHY if the account can post; else the reason.")
    can_post: bool = field(description="True if a post that is due now would be published.")
    message: str | None = field(description="Instruction for the user; null if healthy.")


@strawberry.type(description="Expiry of the access of an account to its platform.")
class AccountToken:
    expires_at: datetime | None = field(description="UTC time of expiry; null if never or unknown.")
    last_refresh: datetime | None = field(description="UTC time of the last renewal, if any.")
    expired: bool = field(description="True if the access has expired.")
    expiring_soon: bool = field(description="True if the access expires within seven days.")


@strawberry.type(description="Recent publishing activity of an account.")
class AccountActivity:
    last_published_at: datetime | None = field(
        description="UTC time of the last publication, if any."
    )
    failures_last7d: int = field(
        name="failuresLast7d",
        description="Number of destinations that failed in the last seven days.",
    )
    permanent_failures_last7d: int = field(
        name="permanentFailuresLast7d",
        description="Number of failures in the last seven days that are not retried automatically.",
    )
    queued_count: int = field(description="Number of destinations waiting to be due or retried.")


@strawberry.type(description="Health of an account, judged by its access and recent outcomes.")
class AccountHealth:
    status: HealthStatus = field(description="Overall status; BROKEN if the account cannot post.")
    can_post: bool = field(description="True if a post that is due now would be published.")
    reasons: list[HealthReason] = field(description="Problems of the account; empty if healthy.")
    activity: AccountActivity = field(description="Recent activity that the status is based on.")


@strawberry.type(description="Connected account on a platform.")
class Account(Node):
    kind = NodeKind.ACCOUNT

    account_id: int = column("Number of the account in this workspace.", name="id")
    platform: str = column("Platform of the account, such as `instagram`; an open set.")
    publisher: AccountPublisher = column("What publishes the posts of the account.")
    display_name: str | None = column("Name that the platform displays.")
    platform_user_id: str | None = column("Id of the account on the platform.")
    platform_username: str | None = column("User name on the platform.")
    avatar_url: str | None = column("URL of the profile picture.")
    is_active: bool = column("False if the account was disabled or disconnected.")
    needs_reconnection_since: datetime | None = column(
        "UTC time when the platform first rejected the access; null if it accepts the access."
    )
    connected_at: datetime = column("UTC time when the account was last connected.")
    created_at: datetime = column("UTC time when the account was first connected.")
    updated_at: datetime = column("UTC time of the last change.")

    @property
    def access(self) -> AccountAccess:
        return to_record(self.row, AccountAccess)

    @sourced_field(
        "Best available name of the account; never empty.",
        Computed(_LABEL_COLUMNS, account_rules.display_label),
    )
    def account_name(self) -> str:
        return _account_label(self.row)

    @sourced_field(
        "URL of the profile on the platform, made of platform and user name; null if the user name is not"
        " known, or if the platform has no such URL.",
        Computed(("platform", "platform_username"), profile_urls.profile_url),
    )
    def profile_url(self) -> str | None:
        return profile_urls.profile_url(self.platform, self.platform_username)

    @sourced_field(
        "True if the platform rejected the access and the account must be reconnected.",
        FromResolver(columns=("needs_reconnection_since",)),
    )
    def needs_reconnection(self) -> bool:
        return self.row.needs_reconnection_since is not None

    @sourced_field(
        "Ability of the account to post now.",
        FromResolver(columns=_ACCESS_COLUMNS),
        graphql_type=AccountReadiness,
    )
    def readiness(self) -> account_rules.Readiness:
        return account_rules.readiness(self.access, self.now)

    @sourced_field(
        "Platform access of the account.",
        FromResolver(columns=(*_ACCESS_COLUMNS, "token_refreshed_at")),
    )
    def token(self) -> AccountToken:
        access = self.access
        return AccountToken(
            expires_at=access.token_expires_at,
            last_refresh=self.row.token_refreshed_at,
            expired=access.token_expired(self.now),
            expiring_soon=access.token_expiring_soon(self.now),
        )

    @sourced_field(
        "True if credentials of the account are stored, with which a worker of this server publishes.",
        Deferred(columns=("id",)),
    )
    async def has_credentials(self, info: Info) -> bool | None:
        return await self._load_credentials(info) is not None

    @sourced_field(
        "UTC time when the stored credentials were set; null without credentials.",
        Deferred(columns=("id",)),
    )
    async def credentials_set_at(self, info: Info) -> datetime | None:
        row = await self._load_credentials(info)
        return None if row is None else row.set_at

    @sourced_field(
        "UTC time when the platform accepted the stored credentials; null without credentials, until they are"
        " verified, and if the latest verification failed.",
        Deferred(columns=("id",)),
    )
    async def credentials_verified_at(self, info: Info) -> datetime | None:
        row = await self._load_credentials(info)
        return None if row is None else row.verified_at

    @sourced_field(
        "Reason why the stored credentials are not verified: the platform refused them, or could not be asked"
        " yet. Null if they are verified, and until a worker has tried to verify them.",
        Deferred(columns=("id",)),
    )
    async def credentials_error(self, info: Info) -> str | None:
        row = await self._load_credentials(info)
        return None if row is None else row.verify_error

    async def _load_credentials(self, info: Info) -> AnyRow | None:
        key = AccountId(self.account_id)
        return await info.context.loaders.credentials_by_account_id.load(key)

    @sourced_field(
        "Health of the account, judged by its access and recent outcomes.",
        Deferred(columns=("id", *_ACCESS_COLUMNS)),
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
            self.access,
            permanent_failures=activity.permanent_failures_last7d,
            now=info.context.clock(),
        )
        return to_record(verdict, AccountHealth, reasons=list(verdict.reasons), activity=activity)

    @sourced_field(
        "Number of destinations on the account that are failed now: without unknown outcomes, cancellations,"
        " and destinations that were retried since.",
        Deferred(columns=("id",)),
        graphql_type=CappedCount | None,
    )
    async def open_failures(self, info: Info) -> CappedNumber:
        key = AccountId(self.account_id)
        row = await info.context.loaders.open_failures_by_account_id.load(key)
        return CappedNumber.from_number(row.failures if row else 0)

    @sourced_field(
        "Number of destinations on the account whose outcome is unknown now. They are not in"
        " `openFailures`.",
        Deferred(columns=("id",)),
        graphql_type=CappedCount | None,
    )
    async def unknown_count(self, info: Info) -> CappedNumber:
        key = AccountId(self.account_id)
        row = await info.context.loaders.unknown_count_by_account_id.load(key)
        return CappedNumber.from_number(row.outcomes if row else 0)

    @sourced_field(
        "Destination that failed last, by `failedAt`, of those that `openFailures` counts; null if there are"
        " none. An unknown outcome is not a failure here.",
        Deferred(columns=("id",)),
    )
    async def last_failure(self, info: Info) -> Destination | None:
        key = AccountId(self.account_id)
        row = await info.context.loaders.last_failures_by_account_id.load(key)
        return None if row is None else Destination.from_row(row, self.now)

    @sourced_field(
        "Numbers of the account's destinations that were settled in a period, and of the attempts that"
        " started in it, as `outcomeStats` defines them.",
        Deferred(columns=("id",)),
    )
    async def stats(self, info: Info, start: PeriodStart, end: PeriodEnd) -> OutcomeCounts | None:
        check_period(start, end)
        names = info.selection.names
        period = OutcomePeriod(
            start=start,
            end=end,
            has_lateness="lateness" in names,
            has_attempts="attempts" in names,
        )
        info.context.entry_limit.add(1)
        loader = info.context.loaders.outcomes_by_account_id(period)
        return build_counts(await loader.load(AccountId(self.account_id)))


async def load_post(context: Context, post_id: PostId | None) -> Post | None:
    """Load the current state of a post; return None if it does not exist or the id is None."""
    row = None if post_id is None else await context.loaders.posts_by_id.load(post_id)
    return None if row is None else Post.from_row(row, context.clock())


async def load_destination(
    context: Context, destination_id: DestinationId | None
) -> Destination | None:
    """Load the current state of a destination; return None if it does not exist or the id is None."""
    if destination_id is None:
        return None
    row = await context.loaders.destinations_by_id.load(destination_id)
    return None if row is None else Destination.from_row(row, context.clock())


async def load_account(context: Context, account_id: AccountId | None) -> Account | None:
    """Load the current state of an account; return None if it does not exist or the id is None."""
    row = None if account_id is None else await context.loaders.accounts_by_id.load(account_id)
    return None if row is None else Account.from_row(row, context.clock())
