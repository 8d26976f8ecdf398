"""GraphQL type Account with its access and health, and pages of accounts."""

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry import field

from app.db.core.statements import AnyRow
from app.db.repositories.outcomes import OutcomePeriod
from app.domain import accounts as account_rules
from app.domain import profile_urls
from app.domain.accounts import (
    AccountAccess,
    AccountPublisher,
    HealthReason,
    HealthStatus,
    LostAccessPolicy,
    ReadinessStatus,
)
from app.domain.credentials import (
    NO_CREDENTIALS,
    NO_WORKER_WITH_CHECKPOINT_KEY,
    NO_WORKER_WITH_KEY,
    is_unreadable_by_workers,
)
from app.domain.ids import AccountId, NodeKind
from app.domain.time_buckets import check_period
from app.graphql.loading.field_sources import (
    Computed,
    Deferred,
    FromResolver,
    column,
    sourced_field,
)
from app.graphql.schema.board_counts import CappedCount
from app.graphql.schema.connections import KeysetConnection
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import PeriodEnd, PeriodStart, to_record
from app.graphql.schema.node import Node
from app.graphql.schema.outcome_stats import OutcomeCounts, build_counts
from app.services.board_counts import CappedNumber

if TYPE_CHECKING:
    from app.graphql.schema.destinations import Destination

LABEL_COLUMNS = ("account_name", "display_name", "platform_username", "id", "platform")
"""Columns from which the display label of an account is computed."""

_ACCESS_COLUMNS = tuple(field.name for field in dataclasses.fields(AccountAccess))
"""Columns that decide whether an account can post."""


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
        description="Number of destinations that failed in the last seven days and are still failed. Unknown"
        " outcomes count, cancellations do not.",
    )
    permanent_failures_last7d: int = field(
        name="permanentFailuresLast7d",
        description="Number of those in `failuresLast7d` whose error category is AUTH, CONTENT_REJECTED or"
        " PERMANENT.",
    )
    queued_count: int = field(
        description="Number of destinations that wait for their due time or a retry, with `awaitsOutcome`."
    )


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
    on_lost_access: LostAccessPolicy = column(
        "What happens to queued posts when the platform rejects the access; `needsReconnection` is then true."
    )
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
        "Label of the account, never empty: its name in this workspace; without one, its display name, its"
        " user name, or its platform and number.",
        Computed(LABEL_COLUMNS, account_rules.display_label),
    )
    def account_name(self) -> str:
        return account_label(self.row)

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
        "Reason why the account has no verified credentials, or why no worker publishes with them: the"
        " platform refused them or could not be asked yet, no running worker has had their key for a minute,"
        " or none are stored although the publisher needs them. Also the reason why some posts wait: no"
        " running worker has had the key of their checkpoints for a minute. Null if they are verified, and"
        " until a worker has tried to verify them.",
        Deferred(columns=("id", "publisher")),
    )
    async def credentials_error(self, info: Info) -> str | None:
        row = await self._load_credentials(info)
        if row is None:
            return NO_CREDENTIALS if self.row.publisher.needs_credentials else None
        key_seen_at = await info.context.loaders.worker_key_times_by_id.load(row.key_id)
        if is_unreadable_by_workers(row.set_at, key_seen_at, self.now):
            return NO_WORKER_WITH_KEY
        error: str | None = row.verify_error
        if error is not None:
            return error
        key = AccountId(self.account_id)
        if await info.context.loaders.has_unreadable_checkpoints_by_account_id.load(key):
            return NO_WORKER_WITH_CHECKPOINT_KEY
        return None

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
        " deleted posts, and destinations that were retried since.",
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
    async def last_failure(
        self, info: Info
    ) -> Annotated["Destination", strawberry.lazy("app.graphql.schema.destinations")] | None:
        from app.graphql.schema.destinations import Destination  # noqa: PLC0415 - it refers to Account

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
        info.context.response_limit.add(1)
        loader = info.context.loaders.outcomes_by_account_id(period)
        return build_counts(await loader.load(AccountId(self.account_id)))


@strawberry.type(description="Account in a list.")
class AccountEdge:
    cursor: str = field(description="Cursor of the account; pass it as `after` or `before`.")
    node: Account = field(description="The account.")


@strawberry.type(description="Page of accounts.")
class AccountConnection(KeysetConnection):
    nodes: list[Account] = field(description="Accounts of the page.")

    @strawberry.field(description="Accounts of the page with their cursors.")
    def edges(self) -> list[AccountEdge]:
        return self.page.edges(AccountEdge, self.nodes)


async def load_account(context: Context, account_id: AccountId | None) -> Account | None:
    """Load the current state of an account; return None if it does not exist or the id is None."""
    row = None if account_id is None else await context.loaders.accounts_by_id.load(account_id)
    return None if row is None else Account.from_row(row, context.clock())


def account_label(row: AnyRow) -> str:
    return account_rules.display_label(*(getattr(row, name) for name in LABEL_COLUMNS))
