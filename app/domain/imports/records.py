"""What a documented answer says of a post and of its destinations, checked. Not what follows from it.

A list of posts, one post and the results of one say the same things, some more, some fewer; so there is
one kind of record.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from app.domain.destinations import DestinationStatus
from app.domain.errors import InvalidInput
from app.domain.fields import Fields
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.imports.json_texts import MAX_TEXT_LENGTH, JsonText, NotJson
from app.domain.posts import (
    DEFAULT_TIMEZONE,
    MAX_CONTENT_LENGTH,
    MAX_DESTINATIONS,
    MAX_NAME_LENGTH,
    STATUS_WORDS,
    PostStatus,
)

MAX_ERROR_LENGTH = 4_000

_LISTS = ("destinations", "results")
"""What answers call the list of destinations; some have both."""

_MAX_SHOWN_LENGTH = 40

_DESTINATION_STATUSES = {status.value: status for status in DestinationStatus} | {
    "done": DestinationStatus.PUBLISHED,
    "scheduled": DestinationStatus.QUEUED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRecord:
    """What an answer says of one post on one account."""

    id: DestinationId | None
    account_id: AccountId
    account_name: str | None
    platform: str
    status: DestinationStatus
    """As it is kept here: one that failed and will be retried is queued."""
    scheduled_for: datetime | None
    published_at: datetime | None
    platform_post_id: str | None
    platform_post_url: str | None
    error: str | None
    attempts: int
    next_retry_at: datetime | None


class PostDetails(TypedDict, total=False):
    """What only the answers that carry the post itself say of it; what has no key is not told."""

    content: str
    scheduled_for: datetime | None
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRecord:
    id: PostId
    status: PostStatus | None
    details: PostDetails
    """Empty where the answer is of results alone."""
    destinations: tuple[DestinationRecord, ...]
    as_of: datetime | None
    """When the answer was given, where its envelope says so."""

    @property
    def scheduled_for(self) -> datetime | None:
        return self.details.get("scheduled_for")

    @property
    def updated_at(self) -> datetime | None:
        return self.details.get("updated_at")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that is not brought in; `what` names it, the reason is a sentence."""

    what: str
    reason: str


def records_in(text: JsonText | NotJson) -> Iterator[PostRecord | Refusal]:
    """Every post that a text tells of, in order; a broken one is refused alone.

    A text is a documented answer, in its envelope or bare, or a list of such. What has an id is a post.
    """
    where = f"line {text.line}"
    match text:
        case NotJson():
            yield Refusal(where, text.reason)
        case JsonText(value=list(entries)):
            for number, entry in enumerate(entries, 1):
                yield from _records_of_answer(entry, f"{where}, entry {number}")
        case JsonText(value=value):
            yield from _records_of_answer(value, where)


def _records_of_answer(answer: object, where: str) -> Iterator[PostRecord | Refusal]:
    as_of = None
    match answer:
        case {"post_id": _} | {"id": _}:
            pass
        case {"data": None}:
            yield Refusal(where, "It is the answer to a request that failed, and has no data.")
            return
        case {"data": data, **rest}:
            as_of = _answered_at(rest.get("meta"))
            answer = data
    match answer:
        case {"post_id": _} | {"id": _}:
            yield _record(answer, where, as_of)
        case list(posts) | {"posts": list(posts)}:
            for number, post in enumerate(posts, 1):
                yield _record(post, f"{where}, post {number}", as_of)
        case _:
            yield _record(answer, where, as_of)


def _answered_at(meta: object) -> datetime | None:
    """None where it cannot be read: that costs no post."""
    try:
        return Fields(meta).instant("timestamp") if isinstance(meta, dict) else None
    except InvalidInput:
        return None


def _record(value: object, where: str, as_of: datetime | None) -> PostRecord | Refusal:
    if not isinstance(value, dict) or not value.keys() & {"post_id", "id"}:
        return Refusal(where, "It is no post, no list of posts and no results of a post.")
    given_id = value.get("post_id") or value.get("id")
    if isinstance(given_id, str) and given_id.isprintable() and len(given_id) <= _MAX_SHOWN_LENGTH:
        where = f"post {given_id}"
    try:
        return _checked_record(Fields(value), as_of)
    except InvalidInput as error:
        return Refusal(where, _sentence(error))


def _checked_record(fields: Fields, as_of: datetime | None) -> PostRecord:
    post_id = fields.uuid("post_id") or fields.uuid("id")
    if post_id is None:
        raise InvalidInput("post_id is missing.", argument="post_id")
    status = fields.word("post_status", STATUS_WORDS) or fields.word("status", STATUS_WORDS)
    return PostRecord(
        id=PostId(post_id),
        status=status,
        details=_details(fields),
        destinations=_destinations(_listed(fields, status)),
        as_of=as_of,
    )


def _listed(fields: Fields, status: PostStatus | None) -> Iterable[Fields]:
    """The entries of its list of destinations, which only a draft may lack."""
    name = next((name for name in _LISTS if fields.has(name)), _LISTS[0])
    if status is PostStatus.DRAFT and not fields.has(name):
        return ()
    return fields.objects(name, max_length=MAX_DESTINATIONS)


def _details(fields: Fields) -> PostDetails:
    details = PostDetails()
    if "content" in fields.members:
        details["content"] = fields.text("content", max_length=MAX_CONTENT_LENGTH) or ""
    if "scheduled_for" in fields.members:
        details["scheduled_for"] = fields.instant("scheduled_for")
    if "timezone" in fields.members:
        timezone = fields.text("timezone", max_length=MAX_NAME_LENGTH)
        details["timezone"] = None if timezone == DEFAULT_TIMEZONE else timezone
    if "media_ids" in fields.members:
        details["media_ids"] = fields.texts_or_numbers("media_ids", max_length=MAX_NAME_LENGTH)
    if "media" in fields.members:
        details["media"] = fields.json_list("media")
    if "platform_content" in fields.members:
        details["platform_content"] = fields.json_object("platform_content")
    if created_at := fields.instant("created_at"):
        details["created_at"] = created_at
    if updated_at := fields.instant("updated_at"):
        details["updated_at"] = updated_at
    return details


def _destinations(entries: Iterable[Fields]) -> tuple[DestinationRecord, ...]:
    by_account: dict[AccountId, DestinationRecord] = {}
    for entry in entries:
        record = _destination(entry)
        if record.account_id in by_account:
            raise entry.refused("account_id", "is that of an earlier entry")
        by_account[record.account_id] = record
    return tuple(by_account.values())


def _destination(fields: Fields) -> DestinationRecord:
    status = fields.word("status", _DESTINATION_STATUSES)
    if status is None:
        raise fields.refused("status", "is missing")
    next_retry_at = fields.instant("next_retry_at")
    if status is DestinationStatus.FAILED and next_retry_at is not None:
        status = DestinationStatus.QUEUED
    destination_id = fields.uuid("id")
    error = fields.text("error", max_length=MAX_TEXT_LENGTH) or fields.text(
        "last_error", max_length=MAX_TEXT_LENGTH
    )
    return DestinationRecord(
        id=None if destination_id is None else DestinationId(destination_id),
        account_id=fields.account_id("account_id"),
        account_name=fields.text("account_name", max_length=MAX_NAME_LENGTH),
        platform=fields.required_text("platform", max_length=MAX_NAME_LENGTH),
        status=status,
        scheduled_for=fields.instant("scheduled_for"),
        published_at=fields.instant("published_at"),
        platform_post_id=fields.text_or_number("platform_post_id", max_length=MAX_NAME_LENGTH),
        platform_post_url=fields.url("platform_post_url"),
        error=None if error is None else _cut(error),
        attempts=fields.count("attempts"),
        next_retry_at=next_retry_at,
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_ERROR_LENGTH else f"{text[: MAX_ERROR_LENGTH - 1]}…"


def _sentence(error: InvalidInput) -> str:
    if error.argument is None or error.argument in error.message:
        return error.message
    return f"{error.argument}: {error.message}"
