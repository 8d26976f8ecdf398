"""Texts, media and platform failures of the demo posts."""

from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Literal
from uuid import UUID

from app.domain.attempts import Failure
from app.domain.destinations import ErrorCategory

_OPENINGS = (
    "New on the blog:",
    "This week:",
    "Behind the scenes:",
    "Just in:",
    "Good to know:",
    "Coming soon:",
    "From the workshop:",
    "A small update:",
    "Back by request:",
    "Save this one:",
)
_SUBJECTS = (
    "five ways to plan a calmer week",
    "how we pick the colours for the season",
    "what a good morning routine looks like",
    "the tools that we would buy again",
    "three mistakes that you can avoid",
    "a tour of the new studio",
    "our guide to the first hundred days",
    "what changed since last spring",
    "the checklist that we use before every launch",
    "ten minutes with the people who pack the parcels",
    "how to write a good headline",
    "the story of a product that nearly failed",
    "why we answer every letter",
    "what our customers cook on Sundays",
    "the quiet half of good design",
    "a simple budget for a small team",
    "how to photograph things at home",
    "the best questions from the last live session",
    "notes from a week without meetings",
    "what is in the box, piece by piece",
    "a reading list for long evenings",
    "the recipe that everybody asked for",
)
_ENDINGS = (
    "Link in the profile.",
    "What would you add?",
    "Share your thoughts in the comments.",
    "Read on and share it with a friend.",
    "Which one is yours?",
    "More tomorrow.",
    "Registration is open until Friday.",
    "It takes four minutes.",
    "Happy to answer questions.",
    "#smallbusiness #planning",
    "#behindthescenes",
    "",
)
_FILLER = "This sentence is repeated until the text has the required length. "


def draw_content(rng: Random) -> str:
    """Combine three random phrases into a text."""
    phrases = (rng.choice(_OPENINGS), rng.choice(_SUBJECTS) + ".", rng.choice(_ENDINGS))
    return " ".join(filter(None, phrases))


def text_of_length(length: int, opening: str) -> str:
    """Return a text of exactly `length` code points that starts with `opening`."""
    text = opening + _FILLER * (length // len(_FILLER) + 1)
    return text[: length - 1] + "."


def draw_uuid(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def draw_medium(rng: Random, media_type: Literal["image", "video"]) -> Mapping[str, str]:
    """Draw a picture or video in the form of a media library's entry."""
    media_id = str(draw_uuid(rng))
    suffix, mime_type = {"image": ("jpg", "image/jpeg"), "video": ("mp4", "video/mp4")}[media_type]
    return {
        "id": media_id,
        "filename": f"{media_type}-{media_id[:8]}.{suffix}",
        "media_type": media_type,
        "mime_type": mime_type,
    }


def failure(
    category: ErrorCategory,
    code: str,
    message: str,
    http_status: int | None = None,
    retry_after: timedelta | None = None,
) -> Failure:
    """Return a failure from positional arguments, which fit on a line."""
    return Failure(
        category=category,
        code=code,
        message=message,
        http_status=http_status,
        retry_after=retry_after,
    )


_TRANSIENT = ErrorCategory.TRANSIENT
TIMEOUT = failure(_TRANSIENT, "NETWORK_ERROR", "The platform did not answer within 30 seconds.")
UNAVAILABLE = failure(_TRANSIENT, "PLATFORM_UNAVAILABLE", "Service temporarily unavailable.", 503)
BAD_GATEWAY = failure(_TRANSIENT, "PLATFORM_UNAVAILABLE", "Bad gateway.", 502)
PROCESSING = failure(
    _TRANSIENT, "MEDIA_PROCESSING", "The media is still being processed. Try again later.", 400
)
UNRECOGNISED = failure(
    ErrorCategory.UNCLASSIFIED,
    "UNCLASSIFIED",
    "The platform answered in a form that the publisher does not know.",
    200,
)

_AUTH = ErrorCategory.AUTH
TOKEN_EXPIRED = failure(
    _AUTH, "TOKEN_EXPIRED", "The access token has expired. Please reconnect the account.", 401
)
ACCESS_REVOKED = failure(
    _AUTH, "AUTH", "The account is no longer connected to this application.", 403
)
PERMISSION_MISSING = failure(
    _AUTH,
    "PERMISSION_MISSING",
    "The account has not granted the permission to publish videos.",
    403,
)

_REJECTED = ErrorCategory.CONTENT_REJECTED
DUPLICATE = failure(_REJECTED, "DUPLICATE_CONTENT", "You have already posted the same text.", 403)
POLICY = failure(
    _REJECTED, "POLICY_VIOLATION", "The post was blocked by the community guidelines.", 403
)
THREADS_TOO_LONG = failure(
    _REJECTED, "TEXT_TOO_LONG", "The text may be at most 500 characters long.", 400
)
X_TOO_LONG = failure(
    _REJECTED, "TEXT_TOO_LONG", "The text may be at most 280 characters long.", 403
)
ASPECT_RATIO = failure(
    _REJECTED,
    "MEDIA_UNSUPPORTED",
    "The aspect ratio must be between 4:5 and 1.91:1; it is 9:21.",
    400,
)
VIDEO_TOO_SHORT = failure(
    _REJECTED, "MEDIA_UNSUPPORTED", "The video must be at least 3 seconds long.", 400
)
IMAGE_TOO_SMALL = failure(
    _REJECTED, "MEDIA_UNSUPPORTED", "The image must be at least 200 pixels wide.", 400
)
NO_PROMOTION = failure(
    ErrorCategory.PERMANENT,
    "FEATURE_UNAVAILABLE",
    "Promotional posts are not available to this account.",
    403,
)

_LIMITED = ErrorCategory.RATE_LIMITED
X_WINDOW = failure(_LIMITED, "RATE_LIMITED", "Too many requests.", 429, timedelta(minutes=15))
TIKTOK_BURST = failure(
    _LIMITED, "RATE_LIMITED", "Too many posts in a short time.", 429, timedelta(minutes=30)
)
PINTEREST_BURST = failure(
    _LIMITED, "RATE_LIMITED", "You have exceeded your rate limit.", 429, timedelta(minutes=10)
)
DAILY_QUOTA = failure(
    _LIMITED,
    "DAILY_QUOTA_EXCEEDED",
    "The daily quota of uploads is used up.",
    403,
    timedelta(hours=24),
)

Failures = tuple[Failure, ...]

RECOVERABLE_FAILURES: Mapping[str, Failures] = {
    "instagram": (PROCESSING, PROCESSING, UNAVAILABLE, TIMEOUT),
    "facebook": (UNAVAILABLE, TIMEOUT, UNRECOGNISED),
    "x": (X_WINDOW, X_WINDOW, UNAVAILABLE, TIMEOUT),
    "threads": (TIMEOUT, UNAVAILABLE, UNRECOGNISED),
    "youtube": (PROCESSING, BAD_GATEWAY),
    "linkedin": (UNAVAILABLE, BAD_GATEWAY, TIMEOUT),
    "tiktok": (TIKTOK_BURST, PROCESSING, TIMEOUT),
    "pinterest": (PINTEREST_BURST, BAD_GATEWAY),
}
"""Failures after which a retry publishes, by platform; a repeated entry is drawn more often."""

FINAL_FAILURES: Mapping[str, Failures] = {
    "instagram": (PROCESSING, ASPECT_RATIO, ASPECT_RATIO, DAILY_QUOTA),
    "facebook": (POLICY, DUPLICATE, UNAVAILABLE, UNRECOGNISED),
    "x": (DUPLICATE, DUPLICATE, X_TOO_LONG, UNAVAILABLE),
    "threads": (THREADS_TOO_LONG, TIMEOUT, UNRECOGNISED),
    "youtube": (DAILY_QUOTA, DAILY_QUOTA, PROCESSING),
    "linkedin": (DUPLICATE, UNAVAILABLE, BAD_GATEWAY),
    "tiktok": (VIDEO_TOO_SHORT, NO_PROMOTION, PROCESSING),
    "pinterest": (IMAGE_TOO_SMALL, IMAGE_TOO_SMALL, BAD_GATEWAY),
}
"""Failures with which a destination fails, by platform; a repeated entry is drawn more often."""
