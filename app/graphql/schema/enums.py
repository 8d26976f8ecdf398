"""The vocabularies as described GraphQL enums, nearly all of them the domain's. No object types."""

from enum import StrEnum

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from app.db.core.paging import Direction
from app.db.repositories.destinations import DestinationSort
from app.db.repositories.posts import PostSort
from app.domain.accounts import HealthReason, HealthStatus, ReadinessStatus
from app.domain.api_keys import Scope
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import ErrorCode, concrete_errors
from app.domain.events import EventKind
from app.domain.manual_retries import RetryRefusal
from app.domain.posts import PostStatus
from app.domain.settlement import Receipt
from app.domain.times import Period
from app.domain.verification import VerificationFinding
from app.domain.workspaces import WorkspaceKind


class Reconciliation(StrEnum):
    """What a person found who looked."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"


class ResultOutcome(StrEnum):
    """How an attempt ended that was made elsewhere."""

    PUBLISHED = "published"
    FAILED = "failed"
    UNKNOWN = "unknown"


class CatalogPart(StrEnum):
    """Which errors of the catalog."""

    REQUEST = "request"
    PUBLISHING = "publishing"


def _register_enum(
    enum_type: type[StrEnum], name: str, description: str, **value_descriptions: str
) -> None:
    """Make a domain enum a GraphQL one; every value needs its sentence."""
    strawberry.enum(enum_type, name=name, description=description)
    definition: StrawberryEnumDefinition = enum_type.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = value_descriptions.pop(value.name)
    if value_descriptions:
        raise ValueError(f"{name} has no {', '.join(value_descriptions)}")


_register_enum(
    PostStatus,
    "PostStatus",
    "The status of a post, derived from its destinations.",
    DRAFT="Not submitted, or without any destination.",
    SCHEDULED="Waits for its time; nothing was attempted yet.",
    PUBLISHING="On its way: something is due, attempted or already final.",
    PUBLISHED="Published on every destination.",
    PARTIALLY_FAILED="Final everywhere: published on some destinations, failed on others.",
    FAILED="Failed on every destination.",
)
_register_enum(
    PostSort,
    "PostOrderField",
    "What a list of posts is ordered by; posts without the time come last.",
    CREATED_AT="When the post was created.",
    SCHEDULED_FOR="When it should go out.",
    PUBLISHED_AT="When it was last published somewhere.",
    UPDATED_AT="When it last changed.",
)
_register_enum(
    DestinationSort,
    "DestinationOrderField",
    "What a list of destinations is ordered by; those without the time come last.",
    CREATED_AT="When it was created.",
    UPDATED_AT="When it last changed.",
    SCHEDULED_FOR="When it should go out.",
    PUBLISHED_AT="When it was published.",
    NEXT_RETRY_AT="When its next automatic retry is due.",
)
_register_enum(
    DestinationStatus,
    "DestinationStatus",
    "Where one destination stands. PUBLISHED and FAILED are final until somebody retries.",
    QUEUED="Waits for its time, or for an automatic retry when nextRetryAt is set.",
    PUBLISHING="A publisher has taken it up.",
    PUBLISHED="The platform has it.",
    FAILED="It failed for good, or its outcome is unknown; see outcome.",
)
_register_enum(
    Outcome,
    "DestinationOutcome",
    "What is known about the platform.",
    NONE="Nothing final yet.",
    PUBLISHED="It is there.",
    FAILED="It is not there.",
    UNKNOWN="The attempt started and its end was never reported: it may or may not be there.",
)
_register_enum(
    ErrorCategory,
    "ErrorCategory",
    "The kind of a publishing error; it decides about automatic retries.",
    TRANSIENT="A passing fault; retried with growing delays.",
    RATE_LIMITED="The platform asked to slow down; retried when it allows.",
    AUTH="The platform refused the account's access; reconnect the account.",
    CONTENT_REJECTED="The platform refused the content; change it.",
    PERMANENT="It will not succeed unchanged.",
    UNCLASSIFIED="The publisher could not tell; retried like a passing fault.",
)
_register_enum(
    ErrorSource,
    "ErrorSource",
    "Who can end a failure.",
    USER="The person who posts.",
    PLATFORM="The platform.",
    SYSTEM="The publisher or this server.",
)
_register_enum(
    NextAction,
    "NextAction",
    "The one next step for a person.",
    WAIT="Nothing: it is retried by itself.",
    RETRY="Retry it.",
    EDIT_POST="Change the post, then post it again.",
    RECONNECT_ACCOUNT="Reconnect the account, then retry.",
    CHECK_PLATFORM="Look on the platform whether it is there.",
    CONTACT_PLATFORM="Settle it with the platform.",
)
_register_enum(
    RetryRefusal,
    "RetryRefusal",
    "Why a destination is not retried.",
    ALREADY_PUBLISHED="The platform has it.",
    IN_FLIGHT="A publisher has taken it up and has not reported yet.",
    OUTCOME_UNKNOWN="It may or may not be on the platform; a retry could publish it twice.",
    ACCOUNT_NEEDS_RECONNECTION="Its account cannot post: disconnected, refused or expired.",
    NOT_FAILED="It is queued: for its time, or for a retry that comes by itself.",
)
_register_enum(
    AttemptKind,
    "AttemptKind",
    "How an attempt came into the log.",
    REGULAR="Reported by the publisher that held the destination.",
    LATE="Reported after its publisher had lost the destination; kept as evidence.",
)
_register_enum(
    Receipt,
    "ReportReceipt",
    "What became of a report.",
    RECORDED="It settles what it reports.",
    REPEATED="It was reported before; nothing has changed.",
    LATE="It came after its lease was lost, so it is only logged.",
    DUPLICATE="The post was published there before: it may stand there twice now. Both are on record.",
)
_register_enum(
    EventKind,
    "ChangeType",
    "What happened to which kind of thing.",
    POST_CREATED="A post was created or imported.",
    POST_CHANGED="A post, or what follows from its destinations, has changed.",
    POST_DELETED="A post was deleted.",
    DESTINATION_ADDED="An account was added to a post.",
    DESTINATION_CHANGED="It stands elsewhere now, or something else about it has changed.",
    DESTINATION_REMOVED="An account was taken off a post.",
    DESTINATION_DUPLICATED="It was published once more than it should be; its state is that of the first"
    " report.",
    ACCOUNT_CONNECTED="An account was connected or imported.",
    ACCOUNT_CHANGED="An account has changed.",
)
_register_enum(
    VerificationFinding,
    "VerificationFinding",
    "What somebody found who looked on the platform.",
    PUBLISHED="The post is there.",
    NOT_PUBLISHED="The post is not there.",
    STILL_UNKNOWN="It cannot be told yet.",
)
_register_enum(
    Reconciliation,
    "Reconciliation",
    "What a person found who looked on the platform.",
    PUBLISHED="The post is there.",
    NOT_PUBLISHED="The post is not there.",
)
_register_enum(
    ResultOutcome,
    "ResultOutcome",
    "How an attempt ended.",
    PUBLISHED="The platform has the post.",
    FAILED="The platform does not have it.",
    UNKNOWN="The platform gave no answer: the post may be there all the same.",
)
_register_enum(
    ReadinessStatus,
    "AccountReadinessStatus",
    "Whether an account can post now.",
    HEALTHY="It can.",
    EXPIRED="Its access has ended; reconnect it.",
    UNHEALTHY="It is switched off or disconnected.",
)
_register_enum(
    HealthStatus,
    "AccountHealthStatus",
    "The verdict over an account's access and its recent outcomes.",
    HEALTHY="Nothing to do.",
    WARNING="It can post, but something needs attention; see reasons.",
    BROKEN="It cannot post; see reasons.",
)
_register_enum(
    HealthReason,
    "AccountHealthReason",
    "What is wrong with an account.",
    ACCOUNT_INACTIVE="It is switched off or disconnected.",
    NEEDS_RECONNECTION="The platform refused its access.",
    TOKEN_EXPIRED="Its access has expired.",
    TOKEN_EXPIRING_SOON="Its access expires within seven days.",
    RECENT_PERMANENT_FAILURES="At least three permanent failures within seven days.",
)
_register_enum(
    Scope,
    "Scope",
    "What an API key may do.",
    READ="Read everything in its workspace.",
    WRITE="Change posts and accounts.",
    PUBLISH="Claim and report in its workspace.",
    PUBLISH_ALL="Claim and report over all workspaces.",
    ADMIN="Manage webhooks and keys.",
)
_register_enum(
    WorkspaceKind,
    "WorkspaceKind",
    "Where a workspace's posts are published from.",
    LOCAL="From this server's publishers.",
    MIRROR="From elsewhere; this is a copy for reading.",
)
_register_enum(
    Period,
    "AnalyticsPeriod",
    "A reporting period that ends now, or a custom one.",
    TODAY="Since midnight UTC.",
    WEEK="The last 7 days.",
    MONTH="The last 30 days.",
    ALL="Everything.",
    CUSTOM="From `from` to `to`.",
)
_register_enum(
    Direction,
    "OrderDirection",
    "The direction of an order. What has no value comes last in both.",
    ASC="Oldest first.",
    DESC="Newest first.",
)
_register_enum(
    CatalogPart,
    "ErrorCatalogPart",
    "A part of the error catalog.",
    REQUEST="Errors of requests to this API.",
    PUBLISHING="Errors of publishing to platforms.",
)
_register_enum(
    ErrorCode,
    "ErrorCode",
    "The codes in `errors[].extensions.code`. The REST API prints them in lower case.",
    **{error.code.name: error.fix for error in concrete_errors()},
)
