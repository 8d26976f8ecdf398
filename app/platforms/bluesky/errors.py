"""Errors of AT Protocol servers as errors of the adapter protocol."""

from http import HTTPStatus

from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundResponse
from app.platforms.protocol import NotPublished
from app.platforms.responses import parse_json_object, refusal

AUTHENTICATION_REQUIRED = "AuthenticationRequired"
EXPIRED_TOKEN = "ExpiredToken"
HANDLE_NOT_FOUND = "HandleNotFound"
INVALID_REQUEST = "InvalidRequest"
INVALID_SWAP = "InvalidSwap"
RECORD_NOT_FOUND = "RecordNotFound"
REPO_DEACTIVATED = "RepoDeactivated"
REPO_SUSPENDED = "RepoSuspended"
REPO_TAKENDOWN = "RepoTakendown"

MAIN_PASSWORD_MESSAGE = (
    "This is the main password of the account, which allows far more than publishing. Create an app password"
    " in Bluesky's settings (Privacy and security > App passwords), and connect the account with it."
)
TAKEDOWN_MESSAGE = "The account has been taken down. Ask the moderators of its server."
SUSPENSION_MESSAGE = "The account is suspended. Ask the moderators of its server."
DEACTIVATION_MESSAGE = (
    "The account is deactivated. Activate it, and connect it again. If it has moved to another server,"
    " connect it with the URL of that server."
)

_REFUSALS = {
    ErrorCategory.AUTH: {
        AUTHENTICATION_REQUIRED: "The server does not accept the handle or the app password. Create an"
        " app password in Bluesky's settings, and connect the account again with it.",
        EXPIRED_TOKEN: "The session of the account has expired. Connect the account again.",
        "AuthFactorTokenRequired": MAIN_PASSWORD_MESSAGE,  # no app password needs a second factor
        "InvalidToken": "The server does not accept the session. Connect the account again. If it has moved"
        " to another server, connect it with the URL of that server.",
        "AccountTakedown": TAKEDOWN_MESSAGE,
        REPO_TAKENDOWN: TAKEDOWN_MESSAGE,
        REPO_SUSPENDED: SUSPENSION_MESSAGE,
        "AccountDeactivated": DEACTIVATION_MESSAGE,
        REPO_DEACTIVATED: DEACTIVATION_MESSAGE,
        "AccountNotFound": "The account was deleted or moved to another server. Connect it again.",
    },
    ErrorCategory.CONTENT_REJECTED: {
        "PayloadTooLarge": "An image is larger than the server accepts. Use a smaller one.",
    },
    ErrorCategory.TRANSIENT: {
        "BlobNotFound": "The server has lost an image. The next attempt uploads it again.",
    },
    ErrorCategory.PERMANENT: {
        "AuthMissing": "The server received no credentials. Check the proxies before it.",
        HANDLE_NOT_FOUND: "No account has the handle.",
        INVALID_SWAP: "A record has the record key already.",
        RECORD_NOT_FOUND: "No record has the record key.",
    },
}
"""Sentences by the names of errors after which nothing is published.

RateLimitExceeded is missing: its status and headers suffice.
"""

_CATEGORY_BY_NAME = {
    name: category for category, messages in _REFUSALS.items() for name in messages
}


def read_refusal(response: OutboundResponse) -> NotPublished | None:
    """Return the error of a response by its name; None unless it is a client error with a known name."""
    if not HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    answer = parse_json_object(response) or {}
    name = str(answer.get("error"))
    if name == INVALID_REQUEST:
        return _invalid_request(response, str(answer.get("message")))
    if name not in _CATEGORY_BY_NAME:
        return None
    category = _CATEGORY_BY_NAME[name]
    return refusal(response, category, name, _REFUSALS[category][name])


def _invalid_request(response: OutboundResponse, message: str) -> NotPublished:
    """Return the error for a record that its schema does not allow, or for another invalid request."""
    category, subject = ErrorCategory.PERMANENT, "request"
    if " record: " in message:
        category, subject = ErrorCategory.CONTENT_REJECTED, "post"
    text = f"The server does not accept the {subject}: {message}"
    return refusal(response, category, INVALID_REQUEST, text)
