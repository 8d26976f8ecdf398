"""Reads REST responses of another server and parses them into records of posts.

A list of posts, a single post and the results of a post become the same kind of record.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from itertools import chain, count, islice, starmap
from typing import NoReturn, TypedDict, TypeGuard

from app.domain.destinations import DestinationStatus
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import DEFAULT_TIMEZONE, MAX_DESTINATIONS, STATUS_BY_NAME, PostStatus
from app.domain.validation.object_reader import MAX_INT32, ObjectReader
from app.domain.validation.post_contents import MAX_CONTENT_LENGTH, MAX_REFERENCE_LENGTH
from app.domain.validation.text import MAX_NAME_LENGTH

MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Size limit of a JSON document and of a line, which bounds the memory of an import."""

_MAX_ERROR_LENGTH = 4_000

_DESTINATION_LIST_KEYS = ("destinations", "results")
"""Keys of the list of destinations; some responses have both."""

_MAX_DISPLAYED_ID_LENGTH = 40

_DESTINATION_STATUS_BY_NAME = {status.value: status for status in DestinationStatus} | {
    "done": DestinationStatus.PUBLISHED,
    "scheduled": DestinationStatus.QUEUED,
}


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON value, and the line on which it begins, counted from 1."""

    line: int
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRecord:
    """One post on one account, according to a response."""

    id: DestinationId | None
    account_id: AccountId
    account_name: str | None
    platform: str
    status: DestinationStatus
    """Status in this service's terms: a failed destination that will be retried is queued."""
    scheduled_for: datetime | None
    published_at: datetime | None
    platform_post_id: str | None
    platform_post_url: str | None
    error: str | None
    attempts: int
    next_retry_at: datetime | None


class PostDetails(TypedDict, total=False):
    """Fields of the post itself, which results lack; a missing key means that the response has no value."""

    content: str
    scheduled_for: datetime | None
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    reference: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRecord:
    id: PostId
    status: PostStatus | None
    details: PostDetails
    """Empty if the response has only results."""
    destinations: tuple[DestinationRecord, ...]
    as_of: datetime | None
    """Time of the response, according to its envelope."""

    @property
    def updated_at(self) -> datetime | None:
        return self.details.get("updated_at")

    @property
    def time(self) -> datetime | None:
        """Time up to which the record is correct; None if the response has no time."""
        return self.updated_at or self.as_of


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record, or text that is not JSON, that is not imported.

    The label names it, such as `line 4`; the reason is a sentence.
    """

    label: str
    reason: str


def iter_json_texts(readline: Callable[[int], bytes]) -> Iterator[JsonText | RejectedRecord]:
    """Read one JSON document, or newline-delimited JSON: one text per line.

    `readline` is that of a binary file. A first line that is incomplete JSON begins a document; in any
    other file each line is a text, and a malformed line does not affect the others.
    """
    lines = _read_lines(readline)
    first = next((line for line in lines if line[1].strip(_BLANK_BYTES)), None)
    if first is None:
        return
    if not _is_incomplete(_parse_text(*first)):
        yield from _parse_lines(chain([first], lines))
        return
    first_number, first_line = first
    document = bytearray(first_line)
    for _, line in lines:
        document += line
        if len(document) > MAX_TEXT_BYTES:
            break
    text = _parse_text(first_number, document)
    if isinstance(text, RejectedRecord) and _has_complete_second_line(document):
        read_lines = _read_lines(BytesIO(document).readline, first_number=first_number)
        yield from _parse_lines(chain(read_lines, lines))
    else:
        yield text


def _has_complete_second_line(document: bytearray) -> bool:
    """Return whether the file has one text per line, and only its first line is truncated."""
    lines = _read_lines(BytesIO(document).readline)
    return any(isinstance(text, JsonText) for text in islice(_parse_lines(lines), 1, 2))


def _read_lines(
    readline: Callable[[int], bytes], *, first_number: int = 1
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers; of a line that is too long only the beginning."""
    for number in count(first_number):
        line = readline(MAX_TEXT_BYTES + 1)
        if not line:
            return
        yield number, line
        while len(line) > MAX_TEXT_BYTES and not line.endswith(b"\n"):
            line = readline(MAX_TEXT_BYTES + 1)


def _parse_lines(lines: Iterable[tuple[int, bytes]]) -> Iterator[JsonText | RejectedRecord]:
    """Parse each line that is not blank."""
    return starmap(_parse_text, (line for line in lines if line[1].strip(_BLANK_BYTES)))


_BLANK_BYTES = b" \t\r\n\xef\xbb\xbf"
"""White space and the byte order mark, with which each of several concatenated files may begin."""

_INCOMPLETE = "The JSON text is incomplete."


def _parse_text(number: int, data: bytes | bytearray) -> JsonText | RejectedRecord:
    if len(data) > MAX_TEXT_BYTES:
        reason = f"The text is longer than {MAX_TEXT_BYTES // 1024**2} MiB."
        return RejectedRecord(f"line {number}", reason)
    text = ""
    try:
        text = data.decode("utf-8-sig")
        return JsonText(number, _DECODER.decode(text))
    except UnicodeDecodeError:
        reason = "The text is not encoded in UTF-8."
    except json.JSONDecodeError as error:
        reason = _syntax_error(error, text, number)
    except RecursionError:
        reason = "The JSON text is nested too deeply."
    except ValueError:
        reason = "The JSON text has NaN, Infinity or a number with thousands of digits."
    return RejectedRecord(f"line {number}", reason)


def _syntax_error(error: json.JSONDecodeError, text: str, number: int) -> str:
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return _INCOMPLETE
    problem = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
    line = number + error.lineno - 1
    return f"The text is not JSON: {problem} at line {line} column {error.colno}."


def _is_incomplete(text: JsonText | RejectedRecord) -> bool:
    return isinstance(text, RejectedRecord) and text.reason == _INCOMPLETE


def _reject_constant(_constant: str) -> NoReturn:
    """Reject NaN and Infinity, which Python's decoder accepts."""
    raise ValueError


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)


def parse_records(text: JsonText | RejectedRecord) -> Iterator[PostRecord | RejectedRecord]:
    """Parse every post of a text, in order; an invalid post does not affect the others.

    A text is a REST response, with or without its envelope, or a list of responses. An object with an id
    is a post.
    """
    match text:
        case RejectedRecord():
            yield text
        case JsonText(line, list(entries)):
            for number, entry in enumerate(entries, 1):
                yield from _parse_response(entry, f"line {line}, entry {number}")
        case JsonText(line, value):
            yield from _parse_response(value, f"line {line}")


def _parse_response(response: object, location: str) -> Iterator[PostRecord | RejectedRecord]:
    as_of = None
    if isinstance(response, dict) and "data" in response and not _is_post(response):
        if response["data"] is None:
            yield RejectedRecord(location, "The response is an error and has no data.")
            return
        as_of = _response_time(response.get("meta"))
        response = response["data"]
    match response:
        case list(posts) | {"posts": list(posts)} if not _is_post(response):
            for number, post in enumerate(posts, 1):
                yield _parse_record(post, f"{location}, post {number}", as_of)
        case _:
            yield _parse_record(response, location, as_of)


def _is_post(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict) and bool(value.keys() & {"post_id", "id"})


def _response_time(meta: object) -> datetime | None:
    """Return the time of the response; None if it is missing or invalid, which rejects no post."""
    try:
        return ObjectReader(meta).instant("timestamp") if isinstance(meta, dict) else None
    except InvalidInput:
        return None


def _parse_record(
    value: object, location: str, as_of: datetime | None
) -> PostRecord | RejectedRecord:
    if not _is_post(value):
        return RejectedRecord(location, "The value is no post, list of posts or results of a post.")
    displayed_id = value.get("post_id") or value.get("id")
    if (
        isinstance(displayed_id, str)
        and displayed_id.isprintable()
        and len(displayed_id) <= _MAX_DISPLAYED_ID_LENGTH
    ):
        location = f"post {displayed_id}"
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
    """Return the entries of the list of destinations, which only a draft may lack."""
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
    if "reference" in reader.members:
        details["reference"] = reader.text("reference", max_length=MAX_REFERENCE_LENGTH)
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
    error = reader.text("error", max_length=MAX_TEXT_BYTES) or reader.text(
        "last_error", max_length=MAX_TEXT_BYTES
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
        attempts=reader.whole_number("attempts", 0, MAX_INT32) or 0,
        next_retry_at=next_retry_at,
    )


def _truncate_error(text: str) -> str:
    return text if len(text) <= _MAX_ERROR_LENGTH else f"{text[: _MAX_ERROR_LENGTH - 1]}…"


def _error_sentence(error: InvalidInput) -> str:
    if error.argument is None or error.argument in error.message:
        return error.message
    return f"{error.argument}: {error.message}"
