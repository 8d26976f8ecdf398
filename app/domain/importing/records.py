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
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.importing.json_stream import MAX_TEXT_LENGTH, JsonText, MalformedJson
from app.domain.posts import DEFAULT_TIMEZONE, MAX_DESTINATIONS, STATUS_BY_NAME, PostStatus
from app.domain.validation.object_reader import ObjectReader
from app.domain.validation.post_contents import MAX_CONTENT_LENGTH
from app.domain.validation.text import MAX_NAME_LENGTH

MAX_ERROR_LENGTH = 4_000

_DESTINATION_LIST_KEYS = ("destinations", "results")
"""What answers call the list of destinations; some have both."""

_MAX_DISPLAYED_ID_LENGTH = 40

_DESTINATION_STATUS_BY_NAME = {status.value: status for status in DestinationStatus} | {
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
class RejectedRecord:
    """A record that is not brought in; `what` names it, the reason is a sentence."""

    label: str
    reason: str


def parse_records(text: JsonText | MalformedJson) -> Iterator[PostRecord | RejectedRecord]:
    """Every post that a text tells of, in order; a broken one is refused alone.

    A text is a documented answer, in its envelope or bare, or a list of such. What has an id is a post.
    """
    where = f"line {text.line}"
    match text:
        case MalformedJson():
            yield RejectedRecord(where, text.reason)
        case JsonText(value=list(entries)):
            for number, entry in enumerate(entries, 1):
                yield from _parse_response(entry, f"{where}, entry {number}")
        case JsonText(value=value):
            yield from _parse_response(value, where)


def _parse_response(response: object, location: str) -> Iterator[PostRecord | RejectedRecord]:
    as_of = None
    match response:
        case {"post_id": _} | {"id": _}:
            pass
        case {"data": None}:
            yield RejectedRecord(
                location, "It is the answer to a request that failed, and has no data."
            )
            return
        case {"data": data, **rest}:
            as_of = _response_time(rest.get("meta"))
            response = data
    match response:
        case {"post_id": _} | {"id": _}:
            yield _parse_record(response, location, as_of)
        case list(posts) | {"posts": list(posts)}:
            for number, post in enumerate(posts, 1):
                yield _parse_record(post, f"{location}, post {number}", as_of)
        case _:
            yield _parse_record(response, location, as_of)


def _response_time(meta: object) -> datetime | None:
    """None where it cannot be read: that costs no post."""
    try:
        return ObjectReader(meta).instant("timestamp") if isinstance(meta, dict) else None
    except InvalidInput:
        return None


def _parse_record(
    value: object, location: str, as_of: datetime | None
) -> PostRecord | RejectedRecord:
    if not isinstance(value, dict) or not value.keys() & {"post_id", "id"}:
        return RejectedRecord(location, "It is no post, no list of posts and no results of a post.")
    given_id = value.get("post_id") or value.get("id")
    if (
        isinstance(given_id, str)
        and given_id.isprintable()
        and len(given_id) <= _MAX_DISPLAYED_ID_LENGTH
    ):
        location = f"post {given_id}"
    try:
        return _parse_post_record(ObjectReader(value), as_of)
    except InvalidInput as error:
        return RejectedRecord(location, _error_sentence(error))


def _parse_post_record(reader: ObjectReader, as_of: datetime | None) -> PostRecord:
    post_id = reader.uuid("post_id") or reader.uuid("id")
    if post_id is None:
        raise InvalidInput("post_id is missing.", argument="post_id")
    status = reader.enum("post_status", STATUS_BY_NAME) or reader.enum("status", STATUS_BY_NAME)
    return PostRecord(
        id=PostId(post_id),
        status=status,
        details=_parse_details(reader),
        destinations=_parse_destinations(_destination_entries(reader, status)),
        as_of=as_of,
    )


def _destination_entries(reader: ObjectReader, status: PostStatus | None) -> Iterable[ObjectReader]:
    """The entries of its list of destinations, which only a draft may lack."""
    name = next(
        (name for name in _DESTINATION_LIST_KEYS if reader.has(name)), _DESTINATION_LIST_KEYS[0]
    )
    if status is PostStatus.DRAFT and not reader.has(name):
        return ()
    return reader.objects(name, max_length=MAX_DESTINATIONS)


def _parse_details(reader: ObjectReader) -> PostDetails:
    details = PostDetails()
    if "content" in reader.members:
        details["content"] = reader.text("content", max_length=MAX_CONTENT_LENGTH) or ""
    if "scheduled_for" in reader.members:
        details["scheduled_for"] = reader.instant("scheduled_for")
    if "timezone" in reader.members:
        timezone = reader.text("timezone", max_length=MAX_NAME_LENGTH)
        details["timezone"] = None if timezone == DEFAULT_TIMEZONE else timezone
    if "media_ids" in reader.members:
        details["media_ids"] = reader.texts_or_numbers("media_ids", max_length=MAX_NAME_LENGTH)
    if "media" in reader.members:
        details["media"] = reader.json_list("media")
    if "platform_content" in reader.members:
        details["platform_content"] = reader.json_object("platform_content")
    if created_at := reader.instant("created_at"):
        details["created_at"] = created_at
    if updated_at := reader.instant("updated_at"):
        details["updated_at"] = updated_at
    return details


def _parse_destinations(entries: Iterable[ObjectReader]) -> tuple[DestinationRecord, ...]:
    by_account: dict[AccountId, DestinationRecord] = {}
    for entry in entries:
        record = _parse_destination(entry)
        if record.account_id in by_account:
            raise entry.error("account_id", "is that of an earlier entry")
        by_account[record.account_id] = record
    return tuple(by_account.values())


def _parse_destination(reader: ObjectReader) -> DestinationRecord:
    status = reader.enum("status", _DESTINATION_STATUS_BY_NAME)
    if status is None:
        raise reader.error("status", "is missing")
    next_retry_at = reader.instant("next_retry_at")
    if status is DestinationStatus.FAILED and next_retry_at is not None:
        status = DestinationStatus.QUEUED
    destination_id = reader.uuid("id")
    error = reader.text("error", max_length=MAX_TEXT_LENGTH) or reader.text(
        "last_error", max_length=MAX_TEXT_LENGTH
    )
    return DestinationRecord(
        id=None if destination_id is None else DestinationId(destination_id),
        account_id=reader.account_id("account_id"),
        account_name=reader.text("account_name", max_length=MAX_NAME_LENGTH),
        platform=reader.required_text("platform", max_length=MAX_NAME_LENGTH),
        status=status,
        scheduled_for=reader.instant("scheduled_for"),
        published_at=reader.instant("published_at"),
        platform_post_id=reader.text_or_number("platform_post_id", max_length=MAX_NAME_LENGTH),
        platform_post_url=reader.url("platform_post_url"),
        error=None if error is None else _truncate_error(error),
        attempts=reader.count("attempts"),
        next_retry_at=next_retry_at,
    )


def _truncate_error(text: str) -> str:
    return text if len(text) <= MAX_ERROR_LENGTH else f"{text[: MAX_ERROR_LENGTH - 1]}…"


def _error_sentence(error: InvalidInput) -> str:
    if error.argument is None or error.argument in error.message:
        return error.message
    return f"{error.argument}: {error.message}"
