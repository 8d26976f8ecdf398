"""Every failure that the API reports, with its code, HTTP status and fix.

PostResultsError
├── RequestError                    the caller can correct the request
│   ├── InvalidInput          400   validation_error
│   │   ├── InvalidJson       400   invalid_json
│   │   ├── InvalidId         400   invalid_id
│   │   ├── InvalidFieldName  400   invalid_field_name
│   │   ├── ContentTooLong    400   content_too_long
│   │   ├── PastScheduleTime  400   past_schedule_time
│   │   ├── InvalidTimezone   400   invalid_timezone
│   │   ├── BulkLimitExceeded 400   bulk_limit_exceeded
│   │   ├── BadCursor         400   bad_cursor
│   │   └── InvalidHost             the connection is closed after the response
│   ├── DocumentError               a GraphQL document that is not executed
│   │   ├── ParseFailed       400   graphql_parse_failed
│   │   ├── ValidationFailed  400   graphql_validation_failed
│   │   ├── LimitExceeded     400   limit_exceeded
│   │   │   └── ResponseTooLarge    a response of the document is refused
│   │   ├── DocumentNotTrusted          403   document_not_trusted
│   │   ├── PersistedQueryNotFound      200   persisted_query_not_found
│   │   └── PersistedQueryNotSupported  200   persisted_query_not_supported
│   ├── InvalidApiKey         401   invalid_api_key
│   ├── InsufficientScope     403   insufficient_scope
│   ├── OriginNotAllowed      403   origin_not_allowed
│   ├── UserNotAllowed        403   user_not_allowed
│   ├── NotFound              404   not_found
│   ├── MethodNotAllowed      405   method_not_allowed
│   ├── Conflict              409   conflict
│   │   ├── PostAlreadyPublished    409   post_already_published
│   │   ├── StaleVersion            409   stale_version
│   │   ├── ReadOnlyMirror          409   read_only_mirror
│   │   ├── AccountNeedsReconnection  409   account_needs_reconnection
│   │   ├── LeaseLost               409   lease_lost
│   │   ├── DestinationLeased       409   leased
│   │   └── IdempotencyInProgress   409   idempotency_in_progress
│   ├── ResyncRequired        410   resync_required
│   ├── IdempotencyKeyReused  422   idempotency_key_reused
│   ├── BodyTooLarge          413   body_too_large
│   ├── UnsupportedMediaType  415   unsupported_media_type
│   └── RateLimitExceeded     429   rate_limit_exceeded   retryable
└── ServerError                     a failure of this server; retryable
    ├── InternalError         500   internal_error
    └── ServiceUnavailable    503   service_unavailable
        └── TooManyConnections      the connection is closed after the response

REST returns the code unchanged, GraphQL in upper case as `extensions.code`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Public code of a failure. Each code belongs to exactly one class below."""

    VALIDATION_ERROR = "validation_error"
    INVALID_JSON = "invalid_json"
    INVALID_ID = "invalid_id"
    INVALID_FIELD_NAME = "invalid_field_name"
    CONTENT_TOO_LONG = "content_too_long"
    PAST_SCHEDULE_TIME = "past_schedule_time"
    INVALID_TIMEZONE = "invalid_timezone"
    BULK_LIMIT_EXCEEDED = "bulk_limit_exceeded"
    BAD_CURSOR = "bad_cursor"
    GRAPHQL_PARSE_FAILED = "graphql_parse_failed"
    GRAPHQL_VALIDATION_FAILED = "graphql_validation_failed"
    LIMIT_EXCEEDED = "limit_exceeded"
    DOCUMENT_NOT_TRUSTED = "document_not_trusted"
    PERSISTED_QUERY_NOT_FOUND = "persisted_query_not_found"
    PERSISTED_QUERY_NOT_SUPPORTED = "persisted_query_not_supported"
    INVALID_API_KEY = "invalid_api_key"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    USER_NOT_ALLOWED = "user_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    POST_ALREADY_PUBLISHED = "post_already_published"
    STALE_VERSION = "stale_version"
    READ_ONLY_MIRROR = "read_only_mirror"
    ACCOUNT_NEEDS_RECONNECTION = "account_needs_reconnection"
    LEASE_LOST = "lease_lost"
    LEASED = "leased"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    RESYNC_REQUIRED = "resync_required"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    INTERNAL_ERROR = "internal_error"
    SERVICE_UNAVAILABLE = "service_unavailable"


class PostResultsError(Exception):
    """A failure whose message, a sentence for a person, may be shown unchanged."""

    code: ClassVar[ErrorCode]
    http_status: ClassVar[int]
    fix: ClassVar[str]
    """Advice to the person who sees this error, as a sentence."""

    def __init__(
        self,
        message: str,
        *,
        argument: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument
        """Name of the wrong argument or field, as the caller wrote it."""
        self.retry_after = retry_after
        """Seconds after which the same request may succeed."""

    @classmethod
    def retryable(cls) -> bool:
        """Return whether the unchanged request can succeed later (429 and 5xx)."""
        return cls.http_status == 429 or cls.http_status >= 500


class RequestError(PostResultsError):
    """A failure that the caller can correct."""


class InvalidInput(RequestError):
    code = ErrorCode.VALIDATION_ERROR
    http_status = 400
    fix = "Correct the argument that the message names; it states the allowed values."


class InvalidJson(InvalidInput):
    code = ErrorCode.INVALID_JSON
    fix = "Send one JSON object, encoded in UTF-8."


class InvalidId(InvalidInput):
    code = ErrorCode.INVALID_ID
    fix = "Send the id exactly as an earlier response returned it."


class InvalidFieldName(InvalidInput):
    code = ErrorCode.INVALID_FIELD_NAME
    fix = "Use the name in the message instead."


class ContentTooLong(InvalidInput):
    code = ErrorCode.CONTENT_TOO_LONG
    fix = "Shorten the text to the length in the message."


class PastScheduleTime(InvalidInput):
    code = ErrorCode.PAST_SCHEDULE_TIME
    fix = "Choose a time in the future, or omit it to publish immediately."


class InvalidTimezone(InvalidInput):
    code = ErrorCode.INVALID_TIMEZONE
    fix = "Use a name of the IANA time zone database, such as Europe/Berlin."


class BulkLimitExceeded(InvalidInput):
    code = ErrorCode.BULK_LIMIT_EXCEEDED
    fix = "Split the list and send several requests."


class BadCursor(InvalidInput):
    code = ErrorCode.BAD_CURSOR
    fix = "Start from the first page, without a cursor; keep the order while paging."


class InvalidHost(InvalidInput):
    """Error of a request without exactly one valid Host header; its connection is closed (RFC 9112, 3.2)."""

    fix = "Send one Host header, with the name or address of the server, and its port."


class DocumentError(RequestError):
    """A GraphQL document that is rejected before execution."""

    http_status = 400


class ParseFailed(DocumentError):
    code = ErrorCode.GRAPHQL_PARSE_FAILED
    fix = "Correct the syntax of the GraphQL document at the given location."


class ValidationFailed(DocumentError):
    code = ErrorCode.GRAPHQL_VALIDATION_FAILED
    fix = "Compare the document with the schema: a name, type or argument does not match."


class LimitExceeded(DocumentError):
    code = ErrorCode.LIMIT_EXCEEDED
    fix = "Request less at a time: split the document or use smaller pages."


class ResponseTooLarge(LimitExceeded):
    """A response has more entries or bytes than allowed.

    Each is a new exception: one that is raised again would hold the frames of all its raises.
    """


class DocumentNotTrusted(DocumentError):
    code = ErrorCode.DOCUMENT_NOT_TRUSTED
    http_status = 403
    fix = "Send the documentId of a trusted document, or have yours added to the server's list."


class PersistedQueryNotFound(DocumentError):
    """Request to a client of automatic persisted queries (APQ) to send the text of the query.

    Clients recognise the error by its message, which is the name of this class. The status is 200
    because Apollo Server uses 200 for every media type and Apollo iOS reads no other status.
    """

    code = ErrorCode.PERSISTED_QUERY_NOT_FOUND
    http_status = 200
    fix = "Send the text of the query together with its hash; the server stores it after execution."


class PersistedQueryNotSupported(DocumentError):
    """Request to a client of automatic persisted queries to send only texts.

    The message and the status 200 have the same reasons as in `PersistedQueryNotFound`.
    """

    code = ErrorCode.PERSISTED_QUERY_NOT_SUPPORTED
    http_status = 200
    fix = "Send the text of the query, without extensions.persistedQuery."


class InvalidApiKey(RequestError):
    code = ErrorCode.INVALID_API_KEY
    http_status = 401
    fix = (
        "Send 'Authorization: Bearer <key>' with a key that is neither revoked nor expired;"
        " on the board, sign in again."
    )


class InsufficientScope(RequestError):
    code = ErrorCode.INSUFFICIENT_SCOPE
    http_status = 403
    fix = "Use a key that has the scope named in the message."


class OriginNotAllowed(RequestError):
    code = ErrorCode.ORIGIN_NOT_ALLOWED
    http_status = 403
    fix = (
        "Ask the operator of this server to add the page's origin to CORS_ORIGINS;"
        " for the board, to set PUBLIC_URL."
    )


class UserNotAllowed(RequestError):
    """A person whom a proxy has signed in, and to whom the operator has granted nothing."""

    code = ErrorCode.USER_NOT_ALLOWED
    http_status = 403
    fix = "Ask the operator of this server to add you, or a group of yours, to BOARD_PROXY_USERS."


class NotFound(RequestError):
    code = ErrorCode.NOT_FOUND
    http_status = 404
    fix = "Check the id and that the key belongs to the workspace that owns it."


def not_found_error(noun: str, key: str = "id", *, argument: str | None = None) -> NotFound:
    """Return the error for an object that does not exist or belongs to another workspace."""
    return NotFound(
        f"The {noun} was not found: this workspace has none with that {key}.", argument=argument
    )


class MethodNotAllowed(RequestError):
    """A request by a method that its path does not support; `allowed` lists those that it does."""

    code = ErrorCode.METHOD_NOT_ALLOWED
    http_status = 405
    fix = "Use one of the methods in the Allow header."

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed
        """Methods, separated by commas."""


class Conflict(RequestError):
    """A request that the current state of the object does not allow."""

    code = ErrorCode.CONFLICT
    http_status = 409
    fix = "Read the post again: the message names the conflict."


class PostAlreadyPublished(Conflict):
    code = ErrorCode.POST_ALREADY_PUBLISHED
    fix = "Leave the post unchanged: published posts stay on record."


class StaleVersion(Conflict):
    code = ErrorCode.STALE_VERSION
    fix = "Read the post again and repeat the change with its current version."


class ReadOnlyMirror(Conflict):
    code = ErrorCode.READ_ONLY_MIRROR
    fix = "Make the change in the service that this workspace mirrors."


class AccountNeedsReconnection(Conflict):
    code = ErrorCode.ACCOUNT_NEEDS_RECONNECTION
    fix = "Reconnect the account, confirm it with markReconnected, then send the request again."


class LeaseLost(Conflict):
    code = ErrorCode.LEASE_LOST
    fix = "Do not call the platform. If you already have, report the result; otherwise claim again."


class DestinationLeased(Conflict):
    code = ErrorCode.LEASED
    fix = "Try again after the other publisher's lease has ended."


class IdempotencyInProgress(Conflict):
    code = ErrorCode.IDEMPOTENCY_IN_PROGRESS
    fix = "Wait a moment and send the same request with the same key again."


class ResyncRequired(RequestError):
    """A cursor older than the retained changes: continuing would skip some of them."""

    code = ErrorCode.RESYNC_REQUIRED
    http_status = 410
    fix = "Take the latest cursor of changes, reload your data, then continue from that cursor."


class IdempotencyKeyReused(RequestError):
    code = ErrorCode.IDEMPOTENCY_KEY_REUSED
    http_status = 422
    fix = "Use a new key for each new request; reuse a key only to repeat its request unchanged."


class BodyTooLarge(RequestError):
    code = ErrorCode.BODY_TOO_LARGE
    http_status = 413
    fix = "Send a smaller body."


class UnsupportedMediaType(RequestError):
    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE
    http_status = 415
    fix = "Send the body as application/json in UTF-8."


class RateLimitExceeded(RequestError):
    code = ErrorCode.RATE_LIMIT_EXCEEDED
    http_status = 429
    fix = "Wait for the number of seconds in the Retry-After header, then send the request again."


class ServerError(PostResultsError):
    """A failure of this server, not of the caller."""


MASKED_MESSAGE = (
    "Something went wrong on this server. Try again; if it stays, give its operator the request id."
)
"""The only message that callers see of an InternalError; the log has the details."""


class InternalError(ServerError):
    code = ErrorCode.INTERNAL_ERROR
    http_status = 500
    fix = "Try again; if the error persists, give the request id to the operator of this server."


class ServiceUnavailable(ServerError):
    code = ErrorCode.SERVICE_UNAVAILABLE
    http_status = 503
    fix = "Try again after the number of seconds in the Retry-After header."


class TooManyConnections(ServiceUnavailable):
    """Error of a connection above a limit, which is closed after the response."""


def concrete_errors(
    root: type[PostResultsError] = PostResultsError,
) -> Iterator[type[PostResultsError]]:
    """Yield every class with a code, in the order of the tree in this module's docstring."""
    if "code" in vars(root):
        yield root
    for child in root.__subclasses__():
        yield from concrete_errors(child)
