"""GraphQL type Destination with its diagnosis and outlook, and pages of destinations."""

import dataclasses
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry
from strawberry import field

from app.db.core.statements import AnyRow
from app.db.repositories.outages import outage_of, waits_until
from app.domain import accounts as account_rules
from app.domain import diagnosis as diagnosis_rules
from app.domain import outlook as outlook_rules
from app.domain.accounts import AccountAccess, ReconnectionState
from app.domain.destinations import (
    DestinationStatus,
    ErrorCategory,
    Outcome,
    awaits_outcome,
    is_overdue,
    lateness_seconds,
    poll_after,
)
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.ids import AccountId, DestinationId, NodeKind, PostId
from app.domain.manual_retries import RetryRefusal, retry_refusal
from app.graphql.loading.field_sources import (
    Computed,
    Deferred,
    FromRelated,
    FromResolver,
    ToOne,
    column,
    related_row,
    sourced_field,
)
from app.graphql.schema.accounts import LABEL_COLUMNS, Account, account_label
from app.graphql.schema.attempts import Attempt, AttemptConnection, read_attempts
from app.graphql.schema.connections import After, KeysetConnection, PageSize
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import to_record
from app.graphql.schema.node import Node

if TYPE_CHECKING:
    from app.graphql.schema.posts import Post

_PROGRESS_COLUMNS = tuple(field.name for field in dataclasses.fields(outlook_rules.Progress))
"""Columns that decide what happens next to a destination."""

_RETRY_COLUMNS = ("status", "outcome", "account_id", "post_id")

_AWAITS_COLUMNS = ("settled_at", "due_at", "claimable_at", "lease_expires_at", "is_mirrored")
"""Columns that decide whether an outcome is awaited."""

_POLL_COLUMNS = ("status", "next_retry_at", *_AWAITS_COLUMNS)
_FINAL_STATUSES = frozenset(status.value for status in DestinationStatus if status.is_final)


def _poll_after_seconds(
    status: DestinationStatus,
    next_retry_at: datetime | None,
    settled_at: datetime | None,
    due_at: datetime | None,
    claimable_at: datetime | None,
    lease_expires_at: datetime | None,
    is_mirrored: bool,
    now: datetime,
) -> int | None:
    wait = poll_after(
        status=status,
        awaits_outcome=awaits_outcome(
            settled_at=settled_at,
            due_at=due_at,
            claimable_at=claimable_at,
            lease_expires_at=lease_expires_at,
            is_mirrored=is_mirrored,
        ),
        due_at=due_at,
        next_retry_at=next_retry_at,
        now=now,
    )
    return None if wait is None else ceil(wait.total_seconds())


@strawberry.type(name="Diagnosis", description="Cause of a publishing error and how to fix it.")
class ErrorDiagnosis:
    """GraphQL fields of `app.domain.diagnosis.Diagnosis`, whose instances are returned unconverted."""

    category: ErrorCategory = field(description="Category of the error.")
    code: str = field(description="Error code of the publisher; `errorCatalog` has known codes.")
    source: ErrorSource = field(description="Party that can fix the error.")
    retryable: bool = field(description="True if the unchanged post can succeed after the fix.")
    will_retry: bool = field(
        description="True if an automatic retry follows, at `Destination.nextRetryAt`; in a mirror, at the"
        " mirrored service."
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
        " failure, or if the next such failure is final at any time."
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
    outcome: Outcome = column(
        "Result on the platform, as far as it is known; NONE before a final result."
    )
    scheduled_for: datetime | None = column(
        "UTC time when the post is due on this account; null for a draft.", name="due_at"
    )
    published_at: datetime | None = column("UTC time of the publication; null if not published.")
    platform_post_id: str | None = column("Id of the post on the platform.")
    platform_post_url: str | None = column("URL of the post on the platform.")
    error: str | None = column("Human-readable error message of the last attempt, if any.")
    error_category: ErrorCategory | None = column("Category of the error; decides about retries.")
    error_code: str | None = column("Error code of the publisher; `errorCatalog` has known codes.")
    content_error: str | None = column(
        "Reason why the waiting destination will fail with the code INVALID_SETTING: its content does not fit"
        " the schema of its platform. Null if none is known: content is checked when the post is stored, when"
        " the publisher of the account changes, and after an upgrade."
    )
    attempts: int = column("Number of attempts started, never reset.")

    @sourced_field(
        "Reason why the destination will probably fail, by the last background check of its media; it says"
        " whether that may be temporary. Null without one, and after the outcome.",
        FromResolver(columns=("media_warning", "settled_at")),
    )
    def media_warning(self) -> str | None:
        return self.row.media_warning if self.row.settled_at is None else None

    next_retry_at: datetime | None = column(
        "UTC time of the next automatic retry; null if none is planned. While the account waits for its"
        " platform or its server, `outlook` has the time of the next attempt. For an imported destination,"
        " the time that the other service planned."
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
        "True if a publisher works on the destination, or will from its due time on: of this server, or in a"
        " mirror, of the mirrored service. False for drafts, after the outcome, and for imported posts in"
        " other workspaces, whose status is the last one that was imported.",
        FromResolver(columns=_AWAITS_COLUMNS),
    )
    def awaits_outcome(self) -> bool:
        return awaits_outcome(**{name: getattr(self.row, name) for name in _AWAITS_COLUMNS})

    @sourced_field(
        "Seconds from the due time to the publication; if the destination is due with `awaitsOutcome`, to"
        " now. Null for a failed destination and before the due time.",
        FromResolver(columns=("lateness_ms", *_AWAITS_COLUMNS)),
    )
    def lateness_seconds(self) -> float | None:
        return lateness_seconds(
            lateness_ms=self.row.lateness_ms,
            awaits_outcome=self.awaits_outcome(),
            due_at=self.row.due_at,
            now=self.now,
        )

    @sourced_field(
        "What happens next, without an action of a user.",
        Deferred(columns=(*_PROGRESS_COLUMNS, "account_id")),
        graphql_type=DestinationOutlook,
    )
    async def outlook(self, info: Info) -> outlook_rules.Outlook:
        wait = await self._load_wait(info)
        return outlook_rules.outlook(
            to_record(self.row, outlook_rules.Progress),
            info.context.app_state.retry_policies,
            self.now,
            paused_until=None if wait is None else wait.paused_until,
            outage=None if wait is None else outage_of(wait),
            account=await self._load_reconnection(info),
        )

    async def _load_reconnection(self, info: Info) -> ReconnectionState | None:
        """Return what decides whether the destination waits; None if it cannot be claimed."""
        if self.row.claimable_at is None:
            return None
        row = await info.context.loaders.accounts_by_id.load(AccountId(self.row.account_id))
        return None if row is None else to_record(row, ReconnectionState)

    async def _load_wait(self, info: Info) -> AnyRow | None:
        """Return the pause and the breakers of the account; None if the destination cannot be claimed."""
        if self.row.claimable_at is None:
            return None
        return await info.context.loaders.waits_by_account_id.load(AccountId(self.row.account_id))

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
        " became due or its lease expired. False while a lease is running, while a rate limit of the"
        " platform pauses the account, and while the destination waits for a server that does not answer,"
        " for a reconnection, or for"
        " `retryAfterReconnect`.",
        Deferred(
            columns=(
                *("claimable_at", "round_started_at", "started_at", "lease_expires_at"),
                "account_id",
            )
        ),
    )
    async def is_overdue(self, info: Info) -> bool:
        wait = await self._load_wait(info)
        return is_overdue(
            claimable_at=self.row.claimable_at,
            round_started_at=self.row.round_started_at,
            started_at=self.row.started_at,
            lease_expires_at=self.row.lease_expires_at,
            waited_until=None if wait is None else waits_until(wait),
            account=await self._load_reconnection(info),
            now=self.now,
        )

    @sourced_field(
        "Seconds that a polling client should wait before it reads again; null without `awaitsOutcome`, as"
        " the status does not change automatically. In a mirror, the import decides when it changes.",
        Computed(_POLL_COLUMNS, _poll_after_seconds, uses_now=True, null_for=_FINAL_STATUSES),
    )
    def poll_after_seconds(self) -> int | None:
        values = {name: getattr(self.row, name) for name in _POLL_COLUMNS}
        return _poll_after_seconds(**values, now=self.now)

    @sourced_field(
        "Cause of the error and how to fix it; null without an error. Also null for imported posts without an"
        " outcome, except in a mirror: they have the last state that was imported, and no next step here.",
        FromResolver(
            columns=(
                *("error_category", "error_code", "outcome", "next_retry_at"),
                *_AWAITS_COLUMNS,
            )
        ),
        graphql_type=ErrorDiagnosis | None,
    )
    def diagnosis(self) -> diagnosis_rules.Diagnosis | None:
        return diagnosis_rules.diagnose_destination(
            category=self.error_category,
            code=self.error_code,
            outcome=self.outcome,
            next_retry_at=self.next_retry_at,
            awaits_outcome=self.awaits_outcome(),
            is_mirrored=self.row.is_mirrored,
        )

    @sourced_field(
        "Label of the account, same as `account.accountName`.",
        FromRelated("account", LABEL_COLUMNS, account_rules.display_label),
    )
    async def account_name(self, info: Info) -> str | None:
        row = await self._load_account_row(info)
        return None if row is None else account_label(row)

    @sourced_field("Account that the post is published on.", ToOne("account"))
    async def account(self, info: Info) -> Account | None:
        row = await self._load_account_row(info)
        return None if row is None else Account.from_row(row, self.now)

    async def _load_account_row(self, info: Info) -> AnyRow | None:
        joined_row = related_row(self.row, "account")
        if joined_row is not None:
            return joined_row
        return await info.context.loaders.accounts_by_id.load(AccountId(self.account_id))

    @sourced_field("Post of this destination.", Deferred(columns=("post_id",)))
    async def post(
        self, info: Info
    ) -> Annotated["Post", strawberry.lazy("app.graphql.schema.posts")] | None:
        from app.graphql.schema.posts import Post  # noqa: PLC0415 - it refers to Destination

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


@strawberry.type(description="Destination in a list.")
class DestinationEdge:
    cursor: str = field(description="Cursor of the destination; pass it as `after` or `before`.")
    node: Destination = field(description="The destination.")


@strawberry.type(description="Page of destinations.")
class DestinationConnection(KeysetConnection):
    nodes: list[Destination] = field(description="Destinations of the page.")

    @strawberry.field(description="Destinations of the page with their cursors.")
    def edges(self) -> list[DestinationEdge]:
        return self.page.edges(DestinationEdge, self.nodes)


async def load_destination(
    context: Context, destination_id: DestinationId | None
) -> Destination | None:
    """Load the current state of a destination; return None if it does not exist or the id is None."""
    if destination_id is None:
        return None
    row = await context.loaders.destinations_by_id.load(destination_id)
    return None if row is None else Destination.from_row(row, context.clock())
