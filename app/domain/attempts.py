"""The log of attempts, and what a publisher says of one. What that does to a destination is in publishing."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypedDict
from uuid import UUID

from app.domain.destinations import ErrorCategory, Outcome
from app.domain.errors import InvalidInput
from app.domain.times import truncate_to_ms
from app.domain.validation.redaction import redact, redact_url
from app.domain.validation.text import (
    MAX_URL_LENGTH,
    check_name,
    check_text,
    check_url,
    percent_encode_url,
)

MAX_MESSAGE_LENGTH = 2000
MAX_RAW_LENGTH = 4096
MAX_CODE_LENGTH = 100
MAX_WORKER_LENGTH = 200
MAX_ATTEMPT_KEY_LENGTH = 255
MAX_PLATFORM_POST_ID_LENGTH = 500
MAX_RETRY_AFTER = timedelta(days=30)
MAX_CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours a publisher's clock may be."""


class AttemptKind(StrEnum):
    """LATE is a report that came after its lease was lost: kept, but outside the numbering."""

    REGULAR = "regular"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed, as a publisher tells it."""

    category: ErrorCategory
    code: str
    message: str
    http_status: int | None = None
    retry_after: timedelta | None = None
    """How long the platform wants to be left alone."""
    raw: str | None = None
    """The platform's own answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Where a post is on its platform, and since when."""

    platform_post_id: str | None
    platform_post_url: str | None
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to a platform: logged when it starts or is reported, ended once."""

    id: UUID
    kind: AttemptKind
    number: int | None
    """Among the attempts of the destination, from 1; None for a late report."""
    fence: int | None
    """Of its claim; None where somebody else logged it."""
    attempt_key: str | None
    """By which a publisher with a queue of its own knows it."""
    worker: str | None
    started_at: datetime
    outcome: Outcome = Outcome.NONE
    """NONE while it runs."""
    failure: Failure | None = None
    """With an outcome that is failed or unknown."""
    finished_at: datetime | None = None

    def ended(self, outcome: Outcome, failure: Failure | None, now: datetime) -> "Attempt":
        """It does not end before it started, whatever the clocks say."""
        return replace(
            self, outcome=outcome, failure=failure, finished_at=max(now, self.started_at)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A report that a destination is published; the first one of a destination counts."""

    fence: int
    counted: bool
    publication: Publication
    reported_at: datetime


class FailureDetails(TypedDict, total=False):
    """What a publisher may tell of a failure besides its message."""

    code: str | None
    http_status: int | None
    retry_after_seconds: int | None
    raw: str | None


def validate_failure(category: ErrorCategory, message: str, details: FailureDetails) -> Failure:
    """A failure as it may be stored: without secrets and cut; InvalidInput for what cannot be right."""
    if not message.strip():
        raise InvalidInput(
            "message must not be empty: it is what people are shown.", argument="message"
        )
    code = details.get("code")
    if code is not None:
        check_name(code, "code", max_length=MAX_CODE_LENGTH)
    http_status = details.get("http_status")
    if http_status is not None and not 100 <= http_status <= 599:
        raise InvalidInput(
            f"httpStatus must be from 100 to 599; it is {http_status}.", argument="httpStatus"
        )
    raw = details.get("raw")
    return Failure(
        category=category,
        code=redact(code, max_length=MAX_CODE_LENGTH) if code else category.name,
        message=redact(message, max_length=MAX_MESSAGE_LENGTH),
        http_status=http_status,
        retry_after=_parse_retry_after(details.get("retry_after_seconds")),
        raw=None if raw is None else redact(raw, max_length=MAX_RAW_LENGTH),
    )


def validate_publication(
    platform_post_id: str | None,
    platform_post_url: str | None,
    published_at: datetime | None,
    now: datetime,
) -> Publication:
    """Where a publisher says it is, by now if it says no time; InvalidInput without id and URL.

    A URL is mended rather than refused, and its secrets are taken out.
    """
    if platform_post_id is None and platform_post_url is None:
        raise InvalidInput(
            "A published post needs platformPostUrl or platformPostId, by which people find it.",
            argument="platformPostUrl",
        )
    if platform_post_url is not None:
        check_text(platform_post_url, "platformPostUrl", max_length=MAX_URL_LENGTH)
        platform_post_url = check_url(
            percent_encode_url(redact_url(platform_post_url)), "platformPostUrl"
        )
    if platform_post_id is not None:
        check_name(platform_post_id, "platformPostId", max_length=MAX_PLATFORM_POST_ID_LENGTH)
    if published_at is not None and published_at > now + MAX_CLOCK_SKEW:
        raise InvalidInput("publishedAt is in the future.", argument="publishedAt")
    return Publication(
        platform_post_id=platform_post_id,
        platform_post_url=platform_post_url,
        published_at=truncate_to_ms(published_at or now),
    )


def validate_worker(name: str | None) -> str | None:
    """Who makes an attempt, as it may be stored: without secrets; InvalidInput for one too long."""
    if name is None:
        return None
    check_text(name, "worker", max_length=MAX_WORKER_LENGTH)
    return redact(name, max_length=MAX_WORKER_LENGTH)


def check_attempt_key(key: str) -> None:
    """InvalidInput for one that is empty, too long or not printable."""
    check_name(key, "attemptKey", max_length=MAX_ATTEMPT_KEY_LENGTH)


def validate_started_at(started_at: datetime | None, now: datetime) -> datetime:
    """When an attempt began, by now if nobody says when; InvalidInput for a time to come."""
    if started_at is not None and started_at > now + MAX_CLOCK_SKEW:
        raise InvalidInput("startedAt is in the future.", argument="startedAt")
    return started_at or now


def _parse_retry_after(seconds: int | None) -> timedelta | None:
    longest = int(MAX_RETRY_AFTER.total_seconds())
    if seconds is not None and not 0 <= seconds <= longest:
        raise InvalidInput(
            f"retryAfterSeconds must be from 0 to {longest:,}; it is {seconds:,}.",
            argument="retryAfterSeconds",
        )
    return None if seconds is None else timedelta(seconds=seconds)
