"""Parsing of REST responses into records."""

from copy import deepcopy
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import DestinationStatus
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.importing.records import (
    DestinationRecord,
    JsonText,
    PostDetails,
    PostRecord,
    RejectedRecord,
    parse_records,
)
from app.domain.posts import PostStatus
from app.domain.times import parse_instant
from tests.domain.errors import ACCOUNT_ID_MESSAGE, NOT_A_URL, TIME_MESSAGE, UUID_MESSAGE

POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
OTHER = "0b5bbc4e-6a2b-4a8e-9d6a-0c0f3c0f9a11"
DESTINATION = "2a0d0c54-4d5c-4bb2-9d5b-1d6f6c1f0d01"
POST_STATUSES = "draft, scheduled, publishing, published, partially_failed, failed, done, queued"
TOO_LONG = "is {} characters long; at most {} are allowed."
NO_POST_MESSAGE = "The value is no post, list of posts or results of a post."

RESULT: dict[str, Any] = {
    "account_id": 2280,
    "account_name": "@acme",
    "platform": "instagram",
    "status": "published",
    "published_at": "2026-04-15T14:30:05.000Z",
    "platform_post_id": "17895695668004550",
    "platform_post_url": "https://www.instagram.com/p/C1a2b3c4d5e/",
    "error": None,
    "attempts": 1,
    "next_retry_at": None,
    "id": DESTINATION,
    "social_account_id": 2280,
    "last_error": None,
}
RESULTS_RESPONSE: dict[str, Any] = {
    "post_id": POST,
    "post_status": "published",
    "results": [RESULT],
}
POST_RESPONSE: dict[str, Any] = {
    "post_id": POST,
    "id": POST,
    "status": "published",
    "post_status": "published",
    "content": "Spring sale",
    "account_ids": [2280],
    "scheduled_for": "2026-04-15T14:30:00.000Z",
    "timezone": "Europe/Berlin",
    "media_ids": ["a", 7],
    "media": [{"url": "https://example.com/a.jpg"}],
    "platform_content": {"x": {"content": "Sale"}},
    "reference": "spring",
    "campaign_id": None,
    "destinations": [{**RESULT, "scheduled_for": "2026-04-15T14:30:00.000Z"}],
    "created_at": "2026-04-14T09:00:00.000Z",
    "updated_at": "2026-04-15T14:30:05.000Z",
}
RETRY_RESPONSE: dict[str, Any] = {
    "post_id": POST,
    "id": POST,
    "retried_count": 1,
    "retried": 1,
    "destinations": [
        {
            **POST_RESPONSE["destinations"][0],
            "status": "queued",
            "new_status": "queued",
            "published_at": None,
            "platform_post_id": None,
            "platform_post_url": None,
            "attempts": 3,
        }
    ],
    "next_step": "Poll the results.",
    "message": "1 destination is retried.",
}


def envelope(data: object, **meta: object) -> dict[str, object]:
    return {"data": data, "error": None, "meta": {"request_id": "0a1b2c3d", **meta}}


def records_in(value: object, line: int = 1) -> list[PostRecord | RejectedRecord]:
    return list(parse_records(JsonText(line, value)))


def parse_record(value: object) -> PostRecord:
    (record,) = records_in(value)
    assert isinstance(record, PostRecord)
    return record


def parse_destination(**fields: object) -> DestinationRecord:
    (parsed,) = parse_record({**RESULTS_RESPONSE, "results": [{**RESULT, **fields}]}).destinations
    return parsed


RESULT_RECORD = DestinationRecord(
    id=DestinationId(UUID(DESTINATION)),
    account_id=AccountId(2280),
    account_name="@acme",
    platform="instagram",
    status=DestinationStatus.PUBLISHED,
    scheduled_for=None,
    published_at=parse_instant("2026-04-15T14:30:05Z"),
    platform_post_id="17895695668004550",
    platform_post_url="https://www.instagram.com/p/C1a2b3c4d5e/",
    error=None,
    attempts=1,
    next_retry_at=None,
)
RESULTS_RECORD = PostRecord(
    id=PostId(UUID(POST)),
    status=PostStatus.PUBLISHED,
    details={},
    destinations=(RESULT_RECORD,),
    as_of=None,
)
POST_RECORD = PostRecord(
    id=PostId(UUID(POST)),
    status=PostStatus.PUBLISHED,
    details=PostDetails(
        content="Spring sale",
        scheduled_for=parse_instant("2026-04-15T14:30:00Z"),
        timezone="Europe/Berlin",
        media_ids=["a", "7"],
        media=[{"url": "https://example.com/a.jpg"}],
        platform_content={"x": {"content": "Sale"}},
        reference="spring",
        created_at=parse_instant("2026-04-14T09:00:00Z"),
        updated_at=parse_instant("2026-04-15T14:30:05Z"),
    ),
    destinations=(replace(RESULT_RECORD, scheduled_for=parse_instant("2026-04-15T14:30:00Z")),),
    as_of=None,
)
RETRY_RECORD = replace(
    RESULTS_RECORD,
    status=None,
    destinations=(
        replace(
            POST_RECORD.destinations[0],
            status=DestinationStatus.QUEUED,
            published_at=None,
            platform_post_id=None,
            platform_post_url=None,
            attempts=3,
        ),
    ),
)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (RESULTS_RESPONSE, RESULTS_RECORD),
        (POST_RESPONSE, POST_RECORD),
        ({**POST_RESPONSE, "accounts_count": 1, "message": "Created.", "results": []}, POST_RECORD),
        ({**POST_RESPONSE, "publish_now": False, "message": "Scheduled."}, POST_RECORD),
        (RETRY_RESPONSE, RETRY_RECORD),
        ({"posts": [POST_RESPONSE], "pagination": {}, "total": 1}, POST_RECORD),
        ([POST_RESPONSE], POST_RECORD),
        ({**POST_RESPONSE, "data": None, "posts": []}, POST_RECORD),
        ({**POST_RESPONSE, "undocumented": {"\0": 2**99}, "data2": "\ud800"}, POST_RECORD),
        ({**POST_RESPONSE, "post_id": ""}, POST_RECORD),
    ],
    ids=[
        "results",
        "post",
        "create",
        "schedule",
        "retry",
        "list",
        "bare list",
        "more",
        "other",
        "id",
    ],
)
def test_documented_response_is_parsed_with_and_without_its_envelope(
    response: dict[str, Any], expected: PostRecord
) -> None:
    assert records_in(response) == [expected]
    assert records_in(envelope(response)) == [expected]
    assert records_in([response, envelope(response)]) == [expected, expected]


@pytest.mark.parametrize(
    ("meta", "as_of"),
    [
        ({}, None),
        ({"timestamp": None}, None),
        ({"timestamp": ""}, None),
        ({"timestamp": "now"}, None),
        ({"timestamp": 1776263400}, None),
        ({"timestamp": "2026-04-15T14:31:00+02:00"}, "2026-04-15T12:31:00.000Z"),
    ],
)
def test_envelope_gives_the_time_of_the_response(
    meta: dict[str, object], as_of: str | None
) -> None:
    expected = None if as_of is None else parse_instant(as_of)
    response = envelope({"posts": [POST_RESPONSE, RESULTS_RESPONSE]}, **meta)
    assert [record.as_of for record in records_in(response) if isinstance(record, PostRecord)] == [
        expected
    ] * 2


@pytest.mark.parametrize("meta", [None, 1, [], "x"])
def test_envelope_without_meta_is_parsed(meta: object) -> None:
    assert records_in({"data": POST_RESPONSE, "meta": meta}) == [POST_RECORD]
    assert records_in({"data": POST_RESPONSE}) == [POST_RECORD]


@pytest.mark.parametrize(
    ("response", "what", "reason"),
    [
        (
            {"data": None, "error": {"code": "not_found"}, "meta": {"timestamp": "2026-04-15"}},
            "line 3",
            "The response is an error and has no data.",
        ),
        (envelope({"accounts": [{"id": 1}], "account_ids": [1]}), "line 3", NO_POST_MESSAGE),
        (
            envelope({"summary": {}, "results": [{"post": POST_RESPONSE}]}),
            "line 3",
            NO_POST_MESSAGE,
        ),
        (envelope({"retried_count": 0, "destinations": []}), "line 3", NO_POST_MESSAGE),
        (
            envelope({"post_id": POST, "id": POST, "deleted": True, "message": "Deleted."}),
            f"post {POST}",
            "destinations must be a list.",
        ),
        (envelope({"posts": {}}), "line 3", NO_POST_MESSAGE),
        (envelope([RESULT, 1][1:]), "line 3, post 1", NO_POST_MESSAGE),
        ({}, "line 3", NO_POST_MESSAGE),
        ([[[POST_RESPONSE]]], "line 3, entry 1, post 1", NO_POST_MESSAGE),
        ([None], "line 3, entry 1", NO_POST_MESSAGE),
        ([{"posts": [1]}], "line 3, entry 1, post 1", NO_POST_MESSAGE),
        ("post", "line 3", NO_POST_MESSAGE),
        (7, "line 3", NO_POST_MESSAGE),
        ({**POST_RESPONSE, "post_id": None, "id": None}, "line 3", "post_id is missing."),
        ({**POST_RESPONSE, "post_id": 7}, "line 3", "post_id must be a string."),
        ({**POST_RESPONSE, "post_id": "7"}, "post 7", f"post_id: {UUID_MESSAGE}"),
        ({**POST_RESPONSE, "post_id": None, "id": "x"}, "post x", UUID_MESSAGE),
        ({**POST_RESPONSE, "post_id": "\x1b[2J"}, "line 3", f"post_id: {UUID_MESSAGE}"),
        ({**POST_RESPONSE, "post_id": "7" * 41}, "line 3", f"post_id: {UUID_MESSAGE}"),
        ({**POST_RESPONSE, "post_id": f" {POST}"}, f"post  {POST}", f"post_id: {UUID_MESSAGE}"),
    ],
)
def test_other_values_are_rejected_with_their_location(
    response: object, what: str, reason: str
) -> None:
    assert records_in(response, line=3) == [RejectedRecord(what, reason)]


def test_malformed_json_is_rejected_with_its_reason() -> None:
    rejected = RejectedRecord("line 4", "The JSON text is nested too deeply.")
    assert list(parse_records(rejected)) == [rejected]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"post_status": 1}, "post_status must be a string."),
        (
            {"post_status": "Published"},
            f"post_status must be one of {POST_STATUSES}; the nearest is published.",
        ),
        ({"post_status": None, "status": ""}, f"status must be one of {POST_STATUSES}."),
        ({"content": 5}, "content must be a string."),
        ({"content": "a\0"}, "content must not contain a NUL character."),
        ({"content": "a" * 100_001}, f"content {TOO_LONG.format(100_001, 100_000)}"),
        ({"scheduled_for": "soon"}, f"scheduled_for: {TIME_MESSAGE}"),
        ({"scheduled_for": 1776263400}, "scheduled_for must be a string."),
        ({"timezone": True}, "timezone must be a string."),
        ({"created_at": "2026-13-01"}, f"created_at: {TIME_MESSAGE}"),
        ({"updated_at": "10000-01-01"}, f"updated_at: {TIME_MESSAGE}"),
        ({"media_ids": "a"}, "media_ids must be a list."),
        ({"media_ids": ["a", True]}, "media_ids must be a list of strings."),
        ({"media_ids": [1.5]}, "media_ids must be a list of strings."),
        ({"media_ids": ["a", "\ud800"]}, "media_ids[1] must not contain a lone surrogate."),
        ({"media": {}}, "media must be a list."),
        ({"media": [{"size": 2**63}]}, "media[0].size must fit into 64 bits."),
        ({"platform_content": []}, "platform_content must be an object."),
        ({"reference": 7}, "reference must be a string."),
        ({"reference": "r" * 201}, "reference is 201 characters long; at most 200 are allowed."),
        (
            {"platform_content": {"x": ["\0"]}},
            "platform_content.x[0] must not contain a NUL character.",
        ),
        ({"destinations": {}}, "destinations must be a list."),
        ({"destinations": None}, "destinations must be a list."),
        ({"destinations": [1]}, "destinations[0] must be an object."),
        (
            {"destinations": [RESULT] * 501},
            "destinations has 501 entries; at most 500 are allowed.",
        ),
        (
            {"destinations": [RESULT, {**RESULT, "id": None}]},
            "destinations[1].account_id is that of an earlier entry.",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_post_with_an_invalid_field_is_rejected_alone(fields: dict[str, Any], reason: str) -> None:
    bad = {**POST_RESPONSE, "post_id": OTHER, **fields}
    parsed = records_in({"posts": [POST_RESPONSE, bad, RESULTS_RESPONSE]})
    assert parsed == [POST_RECORD, RejectedRecord(f"post {OTHER}", reason), RESULTS_RECORD]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": None}, "status is missing."),
        ({"status": True}, "status must be a string."),
        (
            {"status": "partially_failed"},
            "status must be one of queued, publishing, published, failed, done, scheduled.",
        ),
        ({"account_id": None}, f"account_id: {ACCOUNT_ID_MESSAGE}"),
        ({"account_id": "7"}, f"account_id: {ACCOUNT_ID_MESSAGE}"),
        ({"account_id": 7.0}, f"account_id: {ACCOUNT_ID_MESSAGE}"),
        ({"account_id": True}, f"account_id: {ACCOUNT_ID_MESSAGE}"),
        ({"account_id": 0}, f"account_id: {ACCOUNT_ID_MESSAGE}"),
        ({"account_id": 2**31}, f"account_id: {ACCOUNT_ID_MESSAGE}"),
        ({"account_id": 2280}, "account_id is that of an earlier entry."),
        ({"account_name": ["@acme"]}, "account_name must be a string."),
        ({"account_name": "a" * 501}, f"account_name {TOO_LONG.format(501, 500)}"),
        ({"platform": None}, "platform is missing."),
        ({"platform": ""}, "platform is missing."),
        ({"platform": 1}, "platform must be a string."),
        ({"id": 1}, "id must be a string."),
        ({"published_at": "yesterday"}, f"published_at: {TIME_MESSAGE}"),
        ({"next_retry_at": {}}, "next_retry_at must be a string."),
        ({"scheduled_for": False}, "scheduled_for must be a string."),
        ({"platform_post_id": 1.5}, "platform_post_id must be a string."),
        ({"platform_post_id": False}, "platform_post_id must be a string."),
        ({"platform_post_id": 10**500}, f"platform_post_id {TOO_LONG.format(501, 500)}"),
        ({"platform_post_url": "javascript:alert(1)"}, f"platform_post_url {NOT_A_URL}"),
        ({"error": {"code": 1}}, "error must be a string."),
        ({"error": "", "last_error": 4}, "last_error must be a string."),
        ({"error": "a\0"}, "error must not contain a NUL character."),
        ({"attempts": "1"}, "attempts must be a whole number."),
        ({"attempts": 1.0}, "attempts must be a whole number."),
        ({"attempts": True}, "attempts must be a whole number."),
        ({"attempts": -1}, "attempts must be a whole number from 0 to 2147483647."),
        ({"attempts": 2**31}, "attempts must be a whole number from 0 to 2147483647."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_field_of_a_destination_is_reported_with_its_path(
    fields: dict[str, Any], reason: str
) -> None:
    bad = {"post_id": OTHER, "results": [RESULT, {**RESULT, "account_id": 7, **fields}]}
    parsed = records_in([RESULTS_RESPONSE, bad, POST_RESPONSE])
    assert parsed == [
        RESULTS_RECORD,
        RejectedRecord(f"post {OTHER}", f"results[1].{reason}"),
        POST_RECORD,
    ]


# Meaning of the fields.


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"status": "done"}, {}),
        ({"status": "scheduled"}, {"status": DestinationStatus.QUEUED}),
        (
            {"status": "failed", "error": "No."},
            {"status": DestinationStatus.FAILED, "error": "No."},
        ),
        (
            {"status": "failed", "next_retry_at": "2026-04-16"},
            {"status": DestinationStatus.QUEUED, "next_retry_at": parse_instant("2026-04-16")},
        ),
        (
            {"status": "publishing", "next_retry_at": "2026-04-16"},
            {"status": DestinationStatus.PUBLISHING, "next_retry_at": parse_instant("2026-04-16")},
        ),
        ({"id": None}, {"id": None}),
        ({"id": DESTINATION.upper()}, {}),
        ({"account_id": 1}, {"account_id": 1}),
        ({"account_id": 2**31 - 1}, {"account_id": 2**31 - 1}),
        ({"account_name": ""}, {"account_name": None}),
        ({"platform_post_id": 17895695668004550}, {}),
        ({"platform_post_id": -5}, {"platform_post_id": "-5"}),
        ({"platform_post_id": 0}, {"platform_post_id": "0"}),
        ({"platform_post_id": ""}, {"platform_post_id": None}),
        ({"platform_post_url": ""}, {"platform_post_url": None}),
        ({"published_at": ""}, {"published_at": None}),
        ({"attempts": None}, {"attempts": 0}),
        ({"attempts": 2**31 - 1}, {"attempts": 2**31 - 1}),
        ({"error": "a", "last_error": "b"}, {"error": "a"}),
        ({"error": "", "last_error": "b"}, {"error": "b"}),
        ({"error": "é" * 4000}, {"error": "é" * 4000}),
        ({"error": "é" * 4001}, {"error": "é" * 3999 + "…"}),
        ({"error": "é" * 10**6}, {"error": "é" * 3999 + "…"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_destination_is_parsed_with_its_meaning(
    fields: dict[str, object], expected: dict[str, Any]
) -> None:
    assert parse_destination(**fields) == replace(RESULT_RECORD, **expected)


def test_destination_needs_only_account_platform_and_status() -> None:
    least = {"account_id": 2280, "platform": "instagram", "status": "queued"}
    (parsed,) = parse_record({"id": POST, "results": [least]}).destinations
    assert parsed == replace(
        RESULT_RECORD,
        id=None,
        account_name=None,
        status=DestinationStatus.QUEUED,
        published_at=None,
        platform_post_id=None,
        platform_post_url=None,
        attempts=0,
    )


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"post_status": "done", "status": "failed"}, PostStatus.PUBLISHED),
        ({"post_status": None, "status": "queued"}, PostStatus.SCHEDULED),
        ({"post_status": None, "status": None}, None),
        *(({"post_status": status.value}, status) for status in PostStatus),
    ],
)
def test_post_status_is_parsed_in_both_vocabularies(
    fields: dict[str, object], status: PostStatus | None
) -> None:
    assert parse_record({**POST_RESPONSE, **fields}).status is status


EMPTY_DETAILS = PostDetails(
    content="",
    scheduled_for=None,
    timezone=None,
    media_ids=[],
    media=[],
    platform_content={},
    reference=None,
)


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_fields_of_a_post_are_details(empty: str | None) -> None:
    fields = dict.fromkeys(
        ["content", "scheduled_for", "timezone", "reference", "created_at", "updated_at"], empty
    )
    lists = {"media_ids": None, "media": None, "platform_content": None}
    parsed = parse_record({"post_id": POST, "destinations": [], **fields, **lists})
    assert (parsed.destinations, parsed.details) == ((), EMPTY_DETAILS)
    assert parse_record({**POST_RESPONSE, **EMPTY_DETAILS, "timezone": "UTC"}).details == {
        **POST_RECORD.details,
        **EMPTY_DETAILS,
    }


@pytest.mark.parametrize("name", [*POST_RECORD.details])
def test_each_detail_can_occur_alone(name: str) -> None:
    parsed = parse_record({**RESULTS_RESPONSE, name: POST_RESPONSE[name]})
    assert parsed.details == {name: POST_RECORD.details[name]}  # type: ignore[literal-required]


def test_only_a_draft_can_lack_its_destinations() -> None:
    assert parse_record({"post_id": POST, "status": "draft", "content": ""}).destinations == ()
    assert records_in({"post_id": POST, "status": "scheduled", "content": ""}) == [
        RejectedRecord(f"post {POST}", "destinations must be a list.")
    ]


# Arbitrary values.

FIELD_NAMES = [
    *("post_id", "id", "post_status", "status", "content", "posts", "results", "destinations"),
    *("data", "meta", "timestamp", "account_id", "platform", "attempts", "error", "next_retry_at"),
    *("media_ids", "media", "platform_content", "created_at", "platform_post_url"),
]
UNUSUAL_SCALARS = st.sampled_from(
    [POST, "published", "failed", "2026-04-15", "\0", "\ud800", 7, 2**31, float("inf"), 10**400, ""]
)
ANY_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | UNUSUAL_SCALARS,
    lambda values: (
        st.lists(values) | st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(), values)
    ),
    max_leaves=15,
)


@st.composite
def altered_responses(draw: st.DrawFn) -> object:
    """A documented response with up to three fields replaced by arbitrary values."""
    response = deepcopy(draw(st.sampled_from([POST_RESPONSE, RESULTS_RESPONSE, RETRY_RESPONSE])))
    inner = (response.get("destinations") or response["results"])[0]
    for _ in range(draw(st.integers(1, 3))):
        target = draw(st.sampled_from([response, inner]))
        target[draw(st.sampled_from(sorted(target)))] = draw(ANY_VALUES)
    return draw(
        st.sampled_from([response, {"data": response}, [response], {"posts": [response, response]}])
    )


@given(ANY_VALUES | altered_responses())
def test_any_value_is_parsed_or_rejected_with_a_sentence(value: object) -> None:
    for parsed in records_in(value):
        if isinstance(parsed, RejectedRecord):
            assert parsed.label.startswith(("line 1", "post "))
            assert parsed.label.isprintable()
            assert parsed.reason.endswith(".")
            assert parsed.reason.isprintable()
