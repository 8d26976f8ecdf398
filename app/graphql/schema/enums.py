"""Registers the domain's enums as GraphQL enums with a description for every value."""

from enum import StrEnum

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from app.db.core.paging import Direction
from app.db.repositories.accounts import AccountOrderField
from app.db.repositories.destinations import DestinationOrderField
from app.db.repositories.failure_groups import FailureGroupOrderField
from app.db.repositories.posts import PostOrderField
from app.domain.accounts import (
    AccountPublisher,
    HealthReason,
    HealthStatus,
    LostAccessPolicy,
    ReadinessStatus,
)
from app.domain.api_keys import Scope
from app.domain.attempts import AttemptKind
from app.domain.cancellations import CancellationRefusal
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import ErrorCode, concrete_errors
from app.domain.events import EventKind
from app.domain.ids import WorkspaceKind
from app.domain.manual_retries import RetryRefusal
from app.domain.outcome_statistics import OutcomeGrouping
from app.domain.posts import PostStatus
from app.domain.settlement import Receipt
from app.domain.time_buckets import BucketSize
from app.domain.times import Period
from app.domain.verification import VerificationFinding
from app.domain.webhooks.deliveries import DeliveryStatus
from app.domain.webhooks.endpoints import DISABLE_AFTER, DisabledReason
from app.domain.webhooks.event_types import WebhookEventType


class Reconciliation(StrEnum):
    """Finding of a person on the platform: each VerificationFinding except STILL_UNKNOWN."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"


class ResultOutcome(StrEnum):
    """Outcome of an attempt outside the claim protocol: each Outcome except NONE."""

    PUBLISHED = "published"
    FAILED = "failed"
    UNKNOWN = "unknown"


class CalendarInterval(StrEnum):
    """Length of a bucket of the calendar: each BucketSize except WEEK."""

    HOUR = "hour"
    DAY = "day"


class CatalogPart(StrEnum):
    """Part of the error catalog."""

    REQUEST = "request"
    PUBLISHING = "publishing"


def _register_enum(
    enum_type: type[StrEnum],
    description: str,
    *,
    name: str | None = None,
    **value_descriptions: str,
) -> None:
    """Register a GraphQL enum, by default of the same name; every value needs a description."""
    strawberry.enum(enum_type, name=name, description=description)
    definition: StrawberryEnumDefinition = enum_type.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = value_descriptions.pop(value.name)
    if value_descriptions:
        raise ValueError(f"{enum_type.__name__} has no value {', '.join(value_descriptions)}")


_register_enum(
    PostStatus,
    "Status of a post, derived from its destinations.",
    DRAFT="The post was not submitted or has no destination.",
    SCHEDULED="The post is waiting for its due time and nothing was attempted yet.",
    PUBLISHING="Publishing was requested immediately or has started, and a destination is not final.",
    PUBLISHED="The post was published on every destination.",
    PARTIALLY_FAILED="All destinations are final: some were published, the others failed.",
    FAILED="The post failed on every destination.",
)
_register_enum(
    PostOrderField,
    "Field that posts are ordered by; posts without a value come last.",
    CREATED_AT="UTC time when the post was created.",
    SCHEDULED_FOR="UTC time when the post is due.",
    PUBLISHED_AT="UTC time of the post's last publication.",
    UPDATED_AT="UTC time of the post's last change.",
)
_register_enum(
    DestinationOrderField,
    "Field that destinations are ordered by; destinations without a value come last.",
    CREATED_AT="UTC time when the destination was created.",
    UPDATED_AT="UTC time of the destination's last change.",
    SCHEDULED_FOR="UTC time when the destination is due.",
    PUBLISHED_AT="UTC time when the destination was published.",
    NEXT_RETRY_AT="UTC time of the destination's next automatic retry.",
    FAILED_AT="UTC time when the destination failed, or its outcome became unknown.",
    LATENESS="Time from the due time to the publication, of published destinations.",
)
_register_enum(
    AccountOrderField,
    "Field that accounts are ordered by.",
    ACCOUNT_ID="Number of the account.",
    CREATED_AT="UTC time when the account was first connected.",
    CONNECTED_AT="UTC time when the account was last connected.",
)
_register_enum(
    FailureGroupOrderField,
    "Order of failure groups, largest or latest first.",
    name="FailureGroupOrder",
    COUNT="Number of failures in the group.",
    LAST_SEEN="UTC time of the latest failure in the group.",
)
_register_enum(
    DestinationStatus,
    "Status of one destination. PUBLISHED and FAILED are final unless a user retries.",
    QUEUED="Waiting for the due time, or for an automatic retry if `nextRetryAt` is set.",
    PUBLISHING="Claimed by a publisher.",
    PUBLISHED="Published on the platform.",
    FAILED="Failed and not retried automatically, or the outcome is unknown; see `outcome`.",
)
_register_enum(
    Outcome,
    "Result of a destination on the platform, as far as it is known.",
    name="DestinationOutcome",
    NONE="No final result yet.",
    PUBLISHED="The post is on the platform.",
    FAILED="The post is not on the platform.",
    UNKNOWN="An attempt started, and its result is not known; the post may be on the platform.",
)
_register_enum(
    ErrorCategory,
    "Category of a publishing error; decides about automatic retries.",
    TRANSIENT="Temporary failure; retried with increasing delays.",
    RATE_LIMITED="The platform limits the request rate; retried when the platform allows.",
    AUTH="The platform rejected the account's access; reconnect the account.",
    CONTENT_REJECTED="The platform rejected the content; edit the post.",
    PERMANENT="A retry of the unchanged post cannot succeed.",
    UNCLASSIFIED="The publisher could not classify the error; retried like TRANSIENT.",
)
_register_enum(
    ErrorSource,
    "Party that can fix an error.",
    USER="The user who created the post.",
    PLATFORM="The platform.",
    SYSTEM="The publisher or this server.",
)
_register_enum(
    NextAction,
    "Next step for a user after an error.",
    WAIT="Wait for the automatic retry.",
    RETRY="Retry manually.",
    EDIT_POST="Edit the post, then publish it again.",
    RECONNECT_ACCOUNT="Reconnect the account, then retry.",
    CHECK_PLATFORM="Check on the platform whether the post was published.",
    CONTACT_PLATFORM="Contact the platform's support.",
)
_register_enum(
    RetryRefusal,
    "Reason why a destination cannot be retried.",
    ALREADY_PUBLISHED="The post is already on the platform.",
    IN_FLIGHT="A publisher has claimed the destination and has not reported yet.",
    OUTCOME_UNKNOWN="The post may be on the platform; a retry could publish it twice.",
    ACCOUNT_NEEDS_RECONNECTION="The account cannot post: disconnected, rejected or expired.",
    IMPORTED="The post was imported; the service that publishes it can retry it.",
    NOT_FAILED="The destination is queued for its due time or for an automatic retry.",
)
_register_enum(
    CancellationRefusal,
    "Reason why a post cannot be cancelled.",
    IMPORTED="The post was imported; the service that publishes it can cancel it.",
    ALREADY_DRAFT="The post is a draft, so nothing of it is published.",
    BEING_PUBLISHED="A publisher has claimed a destination and has not reported yet.",
    OUTCOME_UNKNOWN="The post may be on a platform; its result must be recorded first.",
    NOTHING_QUEUED="All destinations were published or have failed.",
)
_register_enum(
    AttemptKind,
    "Kind of entry in the attempt log.",
    REGULAR="Reported in time, and counted as an attempt.",
    LATE="Reported after the lease was lost, or older than another attempt; not counted.",
    UNSTARTED="Publication whose claim had no `startAttempt`: a mistake of the publisher.",
)
_register_enum(
    Receipt,
    "Effect of a report.",
    name="ReportReceipt",
    RECORDED="The report was recorded and decides the result.",
    REPEATED="The same report was received before. Nothing changed, but the id or URL of a publication may"
    " have been added.",
    LATE="The report arrived after its lease was lost and was only logged.",
    DUPLICATE="The destination was already published, so the post may appear twice. Both reports"
    " are stored.",
)
_register_enum(
    EventKind,
    "Type of a change in the change feed.",
    name="ChangeType",
    POST_CREATED="A post was created or imported.",
    POST_CHANGED="A post or its derived status changed.",
    POST_DELETED="A post was deleted.",
    DESTINATION_ADDED="An account was added to a post.",
    DESTINATION_CHANGED="The status or another field of a destination changed.",
    DESTINATION_REMOVED="An account was removed from a post.",
    DESTINATION_DUPLICATED="A destination was published more than once; its state is that of the first"
    " report.",
    ACCOUNT_CONNECTED="An account was connected or imported.",
    ACCOUNT_CHANGED="An account changed.",
    PUBLISHER_MISUSED="A publisher reported a publication for a claim without `startAttempt`, also if it was"
    " released or has expired. The report counts.",
    WEBHOOK_DISABLED="A webhook was disabled, because its deliveries failed or its receiver is gone.",
)
_register_enum(
    VerificationFinding,
    "Result of a publisher's check on the platform.",
    PUBLISHED="The post is on the platform.",
    NOT_PUBLISHED="The post is not on the platform.",
    STILL_UNKNOWN="The platform gives no answer yet.",
)
_register_enum(
    Reconciliation,
    "Result of a person's check on the platform.",
    PUBLISHED="The post is on the platform.",
    NOT_PUBLISHED="The post is not on the platform.",
)
_register_enum(
    ResultOutcome,
    "Outcome of an attempt that is recorded by `recordResult`.",
    PUBLISHED="The post is on the platform.",
    FAILED="The post is not on the platform.",
    UNKNOWN="The platform gave no answer; the post may be on the platform.",
)
_register_enum(
    AccountPublisher,
    "What publishes the posts of an account.",
    EXTERNAL="A client of this API, which claims them.",
    SANDBOX="The worker of this server, on a fake platform for trials.",
    BLUESKY="The worker of this server, on Bluesky and other servers of the AT Protocol.",
    MASTODON="The worker of this server, on Mastodon and servers with its API.",
    WEBHOOK="The worker of this server, by signed requests to a program of yours.",
    THREADS="The worker of this server, on Threads. Contract-tested: never run against Meta's servers.",
    INSTAGRAM="The worker of this server, on Instagram. Contract-tested: never run against Meta's servers.",
)
_register_enum(
    LostAccessPolicy,
    "What happens to queued posts of an account when its platform rejects the access.",
    FAIL="Each fails when it is due.",
    WAIT="They stay queued until the account is reconnected. Those that are less than one hour late are then"
    " published; the others wait for `retryAfterReconnect`. Each fails 24 hours after it was due, or after"
    " its last manual retry.",
)
_register_enum(
    ReadinessStatus,
    "Ability of an account to post now.",
    name="AccountReadinessStatus",
    HEALTHY="The account can post.",
    EXPIRED="The access has expired or the platform rejected it; reconnect the account.",
    UNHEALTHY="The account is disabled or disconnected; connect it again.",
)
_register_enum(
    HealthStatus,
    "Health of an account, judged by its access and recent outcomes.",
    name="AccountHealthStatus",
    HEALTHY="No problems.",
    WARNING="The account can post but has problems; see `reasons`.",
    BROKEN="The account cannot post; see `reasons`.",
)
_register_enum(
    HealthReason,
    "Problem of an account.",
    name="AccountHealthReason",
    ACCOUNT_INACTIVE="The account is disabled or disconnected.",
    NEEDS_RECONNECTION="The platform rejected the access.",
    TOKEN_EXPIRED="The access has expired.",
    TOKEN_EXPIRING_SOON="The access expires within seven days.",
    RECENT_PERMANENT_FAILURES="At least three permanent failures in the last seven days.",
)
_register_enum(
    Scope,
    "Permission of an API key.",
    READ="Read all data of the workspace.",
    WRITE="Change posts and accounts.",
    PUBLISH="Claim and report destinations of the workspace.",
    PUBLISH_ALL="Claim and report destinations of all workspaces.",
    ADMIN="Read and change webhooks.",
    RAW="Read the platform's unprocessed responses to attempts.",
    CREDENTIALS="Set the credentials of accounts, which no key can read.",
)
_register_enum(
    WebhookEventType,
    "Type of an event that webhooks receive. Imported posts and accounts cause no events.",
    POST_SCHEDULED="A post was scheduled.",
    POST_PUBLISHING="Publishing a post on an account has started; one event for each account.",
    POST_PUBLISHED="A post was published on an account; one event for each account.",
    POST_FAILED="A post failed on an account and is not retried automatically, or its outcome is unknown; one"
    " event for each account. POST_PUBLISHED follows if an unknown outcome turns out to be a publication.",
    POST_PARTIALLY_FAILED="All destinations of a post are final: some were published, the others failed.",
    POST_UPDATED="A post was edited, cancelled or submitted.",
    POST_DELETED="A post was deleted.",
    ACCOUNT_CONNECTED="An account was connected.",
    ACCOUNT_DISCONNECTED="An account was disconnected.",
    ACCOUNT_RECONNECT_NEEDED="A platform rejected the access of an account.",
    WEBHOOK_DISABLED="Another webhook was disabled, because its deliveries failed or its receiver is gone.",
    MEDIA_UPLOADED="Accepted for compatibility; such an event is never sent.",
    MEDIA_DELETED="Accepted for compatibility; such an event is never sent.",
)
_register_enum(
    DeliveryStatus,
    "Status of the delivery of an event to a webhook.",
    name="WebhookDeliveryStatus",
    PENDING="No attempt has ended yet, at all or since the delivery was last requested again.",
    RETRYING="The last attempt failed, and another one follows.",
    DELIVERED="The receiver accepted the event.",
    GIVEN_UP="The last attempt of the schedule failed. `redeliverWebhook` starts again.",
)
_register_enum(
    DisabledReason,
    "Reason why the server disabled a webhook.",
    name="WebhookDisabledReason",
    GONE="The receiver responded with the status 410.",
    FAILING=f"Every delivery failed for {DISABLE_AFTER.days} days.",
)
_register_enum(
    WorkspaceKind,
    "Kind of a workspace, which decides what publishes its posts.",
    LOCAL="Posts are published by publishers of this server.",
    MIRROR="Posts are published elsewhere; the workspace is a read-only copy.",
)
_register_enum(
    Period,
    "Reporting period that ends now, or a custom one.",
    name="AnalyticsPeriod",
    TODAY="Since midnight UTC.",
    WEEK="The last 7 days.",
    MONTH="The last 30 days.",
    ALL="The whole history.",
    CUSTOM="The time between the arguments `from` and `to`.",
)
_register_enum(
    BucketSize,
    "Length of a bucket on the clock of a time zone; the bucket is shorter or longer if the clock changes.",
    name="StatsInterval",
    HOUR="From one full hour to the next.",
    DAY="From midnight to midnight.",
    WEEK="From Monday 00:00 to Monday 00:00, as in ISO 8601.",
)
_register_enum(
    CalendarInterval,
    "Length of a bucket of the calendar, on the clock of a time zone.",
    HOUR="From one full hour to the next.",
    DAY="From midnight to midnight.",
)
_register_enum(
    OutcomeGrouping,
    "Property by which statistics of outcomes are grouped.",
    PLATFORM="Platform of the account.",
    ACCOUNT="Account.",
    CATEGORY="Category of the error.",
    HOUR_OF_WEEK="Hour since Monday 00:00 on the clock of the time zone, 0 to 167.",
)
_register_enum(
    Direction,
    "Sort direction. Entries without a value come last in both directions.",
    name="OrderDirection",
    ASC="Lowest value first: the oldest time, or the least lateness.",
    DESC="Highest value first: the newest time, or the greatest lateness.",
)
_register_enum(
    CatalogPart,
    "Part of the error catalog.",
    name="ErrorCatalogPart",
    REQUEST="Errors of requests to this API.",
    PUBLISHING="Errors of publishing to platforms.",
)
_register_enum(
    ErrorCode,
    "Error code in `errors[].extensions.code`; the description of each code is how to fix the"
    " error. The REST API returns it in lower case.",
    **{error.code.name: error.fix for error in concrete_errors()},
)
