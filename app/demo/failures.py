"""What goes wrong on which platform: believable errors with the codes of the error table."""

from collections.abc import Mapping
from datetime import timedelta

from app.demo.courses import Failure
from app.domain.destinations import ErrorCategory

Failures = tuple[Failure, ...]


def _transient(code: str, message: str, http_status: int | None = None) -> Failure:
    return Failure(
        category=ErrorCategory.TRANSIENT, code=code, message=message, http_status=http_status
    )


def _rejected(code: str, message: str, http_status: int = 400) -> Failure:
    return Failure(
        category=ErrorCategory.CONTENT_REJECTED,
        code=code,
        message=message,
        http_status=http_status,
    )


def _rate_limited(
    message: str, retry_after: timedelta, *, code: str = "RATE_LIMITED", http_status: int = 429
) -> Failure:
    return Failure(
        category=ErrorCategory.RATE_LIMITED,
        code=code,
        message=message,
        http_status=http_status,
        retry_after=retry_after,
    )


TIMEOUT = _transient("NETWORK_ERROR", "The platform did not answer within 30 seconds.")
UNAVAILABLE = _transient("PLATFORM_UNAVAILABLE", "Service temporarily unavailable.", 503)
BAD_GATEWAY = _transient("PLATFORM_UNAVAILABLE", "Bad gateway.", 502)
PROCESSING = _transient(
    "MEDIA_PROCESSING", "The media is still being processed. Try again later.", 400
)
UNRECOGNISED = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code="UNCLASSIFIED",
    message="The platform answered in a form that the publisher does not know.",
    http_status=200,
)

TOKEN_EXPIRED = Failure(
    category=ErrorCategory.AUTH,
    code="TOKEN_EXPIRED",
    message="The access token has expired. Please reconnect the account.",
    http_status=401,
)
ACCESS_REFUSED = Failure(
    category=ErrorCategory.AUTH,
    code="AUTH",
    message="The account is no longer connected to this application.",
    http_status=403,
)
PERMISSION_MISSING = Failure(
    category=ErrorCategory.AUTH,
    code="PERMISSION_MISSING",
    message="The account has not granted the permission to publish videos.",
    http_status=403,
)

DUPLICATE = _rejected("DUPLICATE_CONTENT", "You have already posted the same text.", 403)
POLICY = _rejected("POLICY_VIOLATION", "The post was blocked by the community guidelines.", 403)
THREADS_TOO_LONG = _rejected("TEXT_TOO_LONG", "The text may be at most 500 characters long.")
X_TOO_LONG = _rejected("TEXT_TOO_LONG", "The text may be at most 280 characters long.", 403)
ASPECT_RATIO = _rejected(
    "MEDIA_UNSUPPORTED", "The aspect ratio must be between 4:5 and 1.91:1; it is 9:21."
)
VIDEO_TOO_SHORT = _rejected("MEDIA_UNSUPPORTED", "The video must be at least 3 seconds long.")
IMAGE_TOO_SMALL = _rejected("MEDIA_UNSUPPORTED", "The image must be at least 200 pixels wide.")
NO_PROMOTION = Failure(
    category=ErrorCategory.PERMANENT,
    code="FEATURE_UNAVAILABLE",
    message="Promotional posts are not available to this account.",
    http_status=403,
)

X_WINDOW = _rate_limited("Too many requests.", timedelta(minutes=15))
TIKTOK_BURST = _rate_limited("Too many posts in a short time.", timedelta(minutes=30))
PINTEREST_BURST = _rate_limited("You have exceeded your rate limit.", timedelta(minutes=10))
DAILY_QUOTA = _rate_limited(
    "The daily quota of uploads is used up.",
    timedelta(hours=24),
    code="DAILY_QUOTA_EXCEEDED",
    http_status=403,
)

PASSING: Mapping[str, Failures] = {
    "instagram": (PROCESSING, PROCESSING, UNAVAILABLE, TIMEOUT),
    "facebook": (UNAVAILABLE, TIMEOUT, UNRECOGNISED),
    "x": (X_WINDOW, X_WINDOW, UNAVAILABLE, TIMEOUT),
    "threads": (TIMEOUT, UNAVAILABLE, UNRECOGNISED),
    "youtube": (PROCESSING, BAD_GATEWAY),
    "linkedin": (UNAVAILABLE, BAD_GATEWAY, TIMEOUT),
    "tiktok": (TIKTOK_BURST, PROCESSING, TIMEOUT),
    "pinterest": (PINTEREST_BURST, BAD_GATEWAY),
}
"""What a retry gets over, by platform; what happens more often stands there more often."""

LASTING: Mapping[str, Failures] = {
    "instagram": (PROCESSING, ASPECT_RATIO, ASPECT_RATIO, DAILY_QUOTA),
    "facebook": (POLICY, DUPLICATE, UNAVAILABLE, UNRECOGNISED),
    "x": (DUPLICATE, DUPLICATE, X_TOO_LONG, UNAVAILABLE),
    "threads": (THREADS_TOO_LONG, TIMEOUT, UNRECOGNISED),
    "youtube": (DAILY_QUOTA, DAILY_QUOTA, PROCESSING),
    "linkedin": (DUPLICATE, UNAVAILABLE, BAD_GATEWAY),
    "tiktok": (VIDEO_TOO_SHORT, NO_PROMOTION, PROCESSING),
    "pinterest": (IMAGE_TOO_SMALL, IMAGE_TOO_SMALL, BAD_GATEWAY),
}
"""What posts failed of in the end."""
