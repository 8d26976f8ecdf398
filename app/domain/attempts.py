"""Records of attempts, and validation of the details that publishers report about them."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypedDict
from uuid import UUID

from app.domain.destinations import NOT_SENT_CATEGORIES, ErrorCategory, Outcome
from app.domain.errors import InvalidInput
from app.domain.times import truncate_to_ms
from app.domain.validation.numbers import validate_number, validate_seconds
from app.domain.validation.redaction import redact, redact_url
from app.domain.validation.text import (
    MAX_URL_LENGTH,
    normalize_url,
    percent_encode_url,
    validate_name,
    validate_text,
    validate_url,
)

MAX_MESSAGE_LENGTH = 2000
MAX_RAW_LENGTH = 4096
_MAX_CODE_LENGTH = 100
_MAX_WORKER_LENGTH = 200
MAX_ATTEMPT_KEY_LENGTH = 255
_MAX_PLATFORM_POST_ID_LENGTH = 500
MAX_RETRY_AFTER = timedelta(days=30)
_MAX_CLOCK_SKEW = timedelta(minutes=15)
"""Longest time by which a publisher's clock may be ahead of the server's."""


class AttemptKind(StrEnum):
    """Kind of an attempt.

    LATE: reported after the lease was lost, or older than another attempt; stored, but not numbered.
    UNSTARTED: a publication whose claim was never started; numbered if its lease was still held.
    """

    REGULAR = "regular"
    LATE = "late"
    UNSTARTED = "unstarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Reason why an attempt failed, as reported by the publisher."""

    category: ErrorCategory
    code: str
    message: str
    http_status: int | None = None
    retry_after: timedelta | None = None
    """Shortest wait that the platform asked for."""
    raw: str | None = None
    """The platform's own response."""
    not_sent: bool = False
    """True if the post was certainly not sent: retries are limited by age alone, not by their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Location of a post on its platform, and the time of publication."""

    platform_post_id: str | None
    platform_post_url: str | None
    published_at: datetime

    def has_same_id(self, other: "Publication") -> bool:
        """Return whether both have the same id on the platform."""
        return self.platform_post_id is not None and self.platform_post_id == other.platform_post_id

    def has_same_url(self, other: "Publication") -> bool:
        """Return whether both have the same normal URL, and not both have an id, which would decide."""
        has_one_id_at_most = self.platform_post_id is None or other.platform_post_id is None
        return (
            has_one_id_at_most
            and self._normal_url is not None
            and self._normal_url == other._normal_url
        )

    def is_certainly_another(self, other: "Publication") -> bool:
        """Return whether both have ids, or neither has one, and these or else the URLs differ."""
        if self.platform_post_id is None and other.platform_post_id is None:
            return self._normal_url != other._normal_url
        return None not in (self.platform_post_id, other.platform_post_id) and not self.has_same_id(
            other
        )

    @property
    def _normal_url(self) -> str | None:
        return self.platform_post_url and normalize_url(self.platform_post_url)

    def completed_by(self, other: "Publication") -> "Publication":
        """Return the publication with the id and the URL of another report where it has none."""
        return replace(
            self,
            platform_post_id=self.platform_post_id or other.platform_post_id,
            platform_post_url=self.platform_post_url or other.platform_post_url,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to a platform: logged at its start or by a report, ended once."""

    id: UUID
    kind: AttemptKind
    number: int | None = None
    """Counts the attempts of the destination, from 1; None if the attempt is not counted."""
    fence: int | None
    """Fence of the claim; None for an attempt logged without one."""
    attempt_key: str | None = None
    """Identifies the attempt of a publisher with its own queue."""
    worker: str | None = None
    started_at: datetime
    outcome: Outcome = Outcome.NONE
    """NONE while the attempt runs."""
    failure: Failure | None = None
    """Set if the outcome is FAILED or UNKNOWN."""
    finished_at: datetime | None = None

    def ended(self, outcome: Outcome, failure: Failure | None, now: datetime) -> "Attempt":
        """Return the attempt with its outcome. It never ends before its start, despite clock skew."""
        return replace(
            self, outcome=outcome, failure=failure, finished_at=max(now, self.started_at)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Report that a destination is published; at most one for each fence."""

    fence: int
    """Fence of the attempt that published."""
    counted: bool
    """True for the first report of a destination, which set its state; others are duplicates."""
    publication: Publication
    reported_at: datetime


class FailureDetails(TypedDict, total=False):
    """Optional details of a reported failure."""

    code: str | None
    http_status: int | None
    retry_after_seconds: int | None
    raw: str | None
    not_sent: bool


def validate_failure(category: ErrorCategory, message: str, details: FailureDetails) -> Failure:
    """Return a failure to store, redacted and truncated; raises InvalidInput if it is invalid."""
    if not message.strip():
        raise InvalidInput(
            "message must not be empty: it is what people are shown.", argument="message"
        )
    code = details.get("code")
    if code is not None:
        validate_name(code, "code", max_length=_MAX_CODE_LENGTH)
    http_status = details.get("http_status")
    if http_status is not None:
        validate_number(http_status, "httpStatus", 100, 599)
    retry_after = details.get("retry_after_seconds")
    raw = details.get("raw")
    not_sent = details.get("not_sent", False)
    check_not_sent(category, not_sent=not_sent)
    return Failure(
        category=category,
        code=redact(code, max_length=_MAX_CODE_LENGTH) if code else category.name,
        message=redact(message, max_length=MAX_MESSAGE_LENGTH),
        http_status=http_status,
        retry_after=None
        if retry_after is None
        else validate_seconds(retry_after, "retryAfterSeconds", timedelta(), MAX_RETRY_AFTER),
        raw=None if raw is None else redact(raw, max_length=MAX_RAW_LENGTH),
        not_sent=not_sent,
    )


def check_not_sent(category: ErrorCategory, *, not_sent: bool) -> None:
    """Raise InvalidInput for `not_sent` with a category that is final, whether the post was sent or not."""
    if not_sent and category not in NOT_SENT_CATEGORIES:
        names = ", ".join(each.name for each in NOT_SENT_CATEGORIES)
        raise InvalidInput(
            f"notSent is only allowed with {names}. Failures of the category {category.name} are not"
            " retried automatically.",
            argument="notSent",
        )


def publication_url(url: str, argument: str) -> str:
    """Return the URL of a publication as it is stored; raises InvalidInput, naming the argument."""
    return percent_encode_url(redact_url(validate_text(url, argument, max_length=MAX_URL_LENGTH)))


def validate_publication(
    platform_post_id: str | None,
    platform_post_url: str | None,
    published_at: datetime | None,
    now: datetime,
) -> Publication:
    """Return a publication to store, at `now` if no time is given.

    Secrets are removed from the URL, and illegal characters are percent-encoded, not rejected. Raises
    InvalidInput if the publication has neither id nor URL.
    """
    if platform_post_id is None and platform_post_url is None:
        raise InvalidInput(
            "A published post needs platformPostUrl or platformPostId, by which people find it.",
            argument="platformPostUrl",
        )
    if platform_post_url is not None:
        platform_post_url = validate_url(
            publication_url(platform_post_url, "platformPostUrl"), "platformPostUrl"
        )
    if platform_post_id is not None:
        validate_name(platform_post_id, "platformPostId", max_length=_MAX_PLATFORM_POST_ID_LENGTH)
    return Publication(
        platform_post_id=platform_post_id,
        platform_post_url=platform_post_url,
        published_at=_reported_time(published_at, now, "publishedAt"),
    )


def usable_publication(publication: Publication, now: datetime) -> Publication:
    """Return the publication to store, without an invalid id or URL, published no later than `now`.

    An id or a URL that cannot be stored does not change that the platform has the post. Raises InvalidInput
    if neither is valid.
    """
    publication = replace(publication, published_at=min(publication.published_at, now))
    without_url = replace(publication, platform_post_url=None)
    for each in (publication, without_url):
        with suppress(InvalidInput):
            return _validated(each, now)
    return _validated(replace(publication, platform_post_id=None), now)


def _validated(publication: Publication, now: datetime) -> Publication:
    return validate_publication(
        publication.platform_post_id, publication.platform_post_url, publication.published_at, now
    )


def validate_worker(name: str | None) -> str | None:
    """Return the worker's name to store, redacted; raises InvalidInput if it is too long."""
    if name is None:
        return None
    validate_text(name, "worker", max_length=_MAX_WORKER_LENGTH)
    return redact(name, max_length=_MAX_WORKER_LENGTH)


def check_attempt_key(key: str) -> None:
    """Raise InvalidInput if a key is empty, too long or not printable."""
    validate_name(key, "attemptKey", max_length=MAX_ATTEMPT_KEY_LENGTH)


def validate_started_at(started_at: datetime | None, now: datetime) -> datetime:
    """Return the start of an attempt, by default `now`; raises InvalidInput if it is in the future."""
    return _reported_time(started_at, now, "startedAt")


def _reported_time(reported: datetime | None, now: datetime, argument: str) -> datetime:
    """Return a publisher's time, or `now` if it is ahead by no more than the skew of its clock."""
    if reported is not None and reported > now + _MAX_CLOCK_SKEW:
        minutes = _MAX_CLOCK_SKEW // timedelta(minutes=1)
        raise InvalidInput(
            f"{argument} is more than {minutes} minutes in the future. Check the publisher's clock.",
            argument=argument,
        )
    return truncate_to_ms(now if reported is None else min(reported, now))
