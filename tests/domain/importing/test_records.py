"""What the documented answers tell of posts, and what is refused of whatever else comes."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import DestinationStatus
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.importing.json_stream import JsonText, MalformedJson
from app.domain.importing.records import (
    DestinationRecord,
    PostDetails,
    PostRecord,
    RejectedRecord,
    parse_records,
)
from app.domain.posts import PostStatus
from app.domain.times import parse_instant

POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
OTHER = "0b5bbc4e-6a2b-4a8e-9d6a-0c0f3c0f9a11"
DESTINATION = "2a0d0c54-4d5c-4bb2-9d5b-1d6f6c1f0d01"
NO_POST = "It is no post, no list of posts and no results of a post."
NOT_A_UUID = (
    "The id must be a UUID in its 36-character form, such as f47ac10b-58cc-4372-a567-0e02b2c3d479."
)
NOT_AN_INSTANT = (
    "The time must be an ISO 8601 date and time in the years 1900 to 9998,"
    " such as 2026-04-15T14:30:05.000Z; without an offset it is read as UTC."
)
NOT_AN_ACCOUNT = "An account id is a whole number from 1 to 2147483647."

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
RESULTS_ANSWER: dict[str, Any] = {
    "post_id": POST,
    "post_status": "published",
    "results": [RESULT],
}
POST_ANSWER: dict[str, Any] = {
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
    "campaign_id": None,
    "destinations": [{**RESULT, "scheduled_for": "2026-04-15T14:30:00.000Z"}],
    "created_at": "2026-04-14T09:00:00.000Z",
    "updated_at": "2026-04-15T14:30:05.000Z",
}
RETRY_ANSWER: dict[str, Any] = {
    "post_id": POST,
    "id": POST,
    "retried_count": 1,
    "retried": 1,
    "destinations": [
        {
            **POST_ANSWER["destinations"][0],
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


def enveloped(data: object, **meta: object) -> dict[str, object]:
    return {"data": data, "error": None, "meta": {"request_id": "0a1b2c3d", **meta}}


def records(value: object, line: int = 1) -> list[PostRecord | RejectedRecord]:
    return list(parse_records(JsonText(line, value)))


def record(value: object) -> PostRecord:
    (found,) = records(value)
    assert isinstance(found, PostRecord)
    return found


def destination(**said: object) -> DestinationRecord:
    (found,) = record({**RESULTS_ANSWER, "results": [{**RESULT, **said}]}).destinations
    return found


def a_destination_record(**changes: Any) -> DestinationRecord:
    """Of RESULT."""
    return DestinationRecord(
        **{
            "id": DestinationId(UUID(DESTINATION)),
            "account_id": AccountId(2280),
            "account_name": "@acme",
            "platform": "instagram",
            "status": DestinationStatus.PUBLISHED,
            "scheduled_for": None,
            "published_at": parse_instant("2026-04-15T14:30:05Z"),
            "platform_post_id": "17895695668004550",
            "platform_post_url": "https://www.instagram.com/p/C1a2b3c4d5e/",
            "error": None,
            "attempts": 1,
            "next_retry_at": None,
            **changes,
        }
    )


OF_RESULTS = PostRecord(
    id=PostId(UUID(POST)),
    status=PostStatus.PUBLISHED,
    details={},
    destinations=(a_destination_record(),),
    as_of=None,
)
OF_POST = PostRecord(
    id=PostId(UUID(POST)),
    status=PostStatus.PUBLISHED,
    details=PostDetails(
        content="Spring sale",
        scheduled_for=parse_instant("2026-04-15T14:30:00Z"),
        timezone="Europe/Berlin",
        media_ids=["a", "7"],
        media=[{"url": "https://example.com/a.jpg"}],
        platform_content={"x": {"content": "Sale"}},
        created_at=parse_instant("2026-04-14T09:00:00Z"),
        updated_at=parse_instant("2026-04-15T14:30:05Z"),
    ),
    destinations=(a_destination_record(scheduled_for=parse_instant("2026-04-15T14:30:00Z")),),
    as_of=None,
)
OF_RETRY = PostRecord(
    id=PostId(UUID(POST)),
    status=None,
    details={},
    destinations=(
        a_destination_record(
            status=DestinationStatus.QUEUED,
            scheduled_for=parse_instant("2026-04-15T14:30:00Z"),
            published_at=None,
            platform_post_id=None,
            platform_post_url=None,
            attempts=3,
        ),
    ),
    as_of=None,
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RESULTS_ANSWER, OF_RESULTS),
        (POST_ANSWER, OF_POST),
        ({**POST_ANSWER, "accounts_count": 1, "message": "Created.", "results": []}, OF_POST),
        ({**POST_ANSWER, "publish_now": False, "message": "Scheduled."}, OF_POST),
        (RETRY_ANSWER, OF_RETRY),
        ({"posts": [POST_ANSWER], "pagination": {}, "total": 1}, OF_POST),
        ([POST_ANSWER], OF_POST),
        ({**POST_ANSWER, "data": None, "posts": []}, OF_POST),
        ({**POST_ANSWER, "post_id": ""}, OF_POST),
    ],
    ids=["results", "post", "create", "schedule", "retry", "list", "bare list", "more", "id"],
)
def test_each_documented_answer_is_read_bare_or_in_its_envelope(
    answer: dict[str, Any], expected: PostRecord
) -> None:
    assert records(answer) == [expected]
    assert records(enveloped(answer)) == [expected]
    assert records([answer, enveloped(answer)]) == [expected, expected]


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
def test_the_envelope_says_when_the_answer_was_given(
    meta: dict[str, object], as_of: str | None
) -> None:
    expected = None if as_of is None else parse_instant(as_of)
    answer = enveloped({"posts": [POST_ANSWER, RESULTS_ANSWER]}, **meta)
    assert [each.as_of for each in records(answer) if isinstance(each, PostRecord)] == [
        expected
    ] * 2


@pytest.mark.parametrize("meta", [None, 1, [], "x"])
def test_an_envelope_without_its_meta_is_read_all_the_same(meta: object) -> None:
    assert records({"data": POST_ANSWER, "meta": meta}) == [OF_POST]
    assert records({"data": POST_ANSWER}) == [OF_POST]


@pytest.mark.parametrize(
    ("answer", "what", "reason"),
    [
        (
            {"data": None, "error": {"code": "not_found"}, "meta": {"timestamp": "2026-04-15"}},
            "line 3",
            "It is the answer to a request that failed, and has no data.",
        ),
        (enveloped({"accounts": [{"id": 1}], "account_ids": [1]}), "line 3", NO_POST),
        (
            enveloped(
                {
                    "summary": {"total": 1},
                    "results": [{"index": 0, "ok": True, "post": POST_ANSWER}],
                }
            ),
            "line 3",
            NO_POST,
        ),
        (enveloped({"retried_count": 0, "destinations": [], "message": ""}), "line 3", NO_POST),
        (
            enveloped({"post_id": POST, "id": POST, "deleted": True, "message": "Deleted."}),
            f"post {POST}",
            "destinations must be a list.",
        ),
        (enveloped({"posts": {}}), "line 3", NO_POST),
        (enveloped([RESULT, 1][1:]), "line 3, post 1", NO_POST),
        ({}, "line 3", NO_POST),
        ([[[POST_ANSWER]]], "line 3, entry 1, post 1", NO_POST),
        ([None], "line 3, entry 1", NO_POST),
        ([{"posts": [1]}], "line 3, entry 1, post 1", NO_POST),
        ("post", "line 3", NO_POST),
        (7, "line 3", NO_POST),
        ({**POST_ANSWER, "post_id": None, "id": None}, "line 3", "post_id is missing."),
        ({**POST_ANSWER, "post_id": 7}, "line 3", "post_id must be a string."),
        ({**POST_ANSWER, "post_id": "7"}, "post 7", f"post_id: {NOT_A_UUID}"),
        ({**POST_ANSWER, "post_id": None, "id": "x"}, "post x", NOT_A_UUID),
        ({**POST_ANSWER, "post_id": "\x1b[2J"}, "line 3", f"post_id: {NOT_A_UUID}"),
        ({**POST_ANSWER, "post_id": "7" * 41}, "line 3", f"post_id: {NOT_A_UUID}"),
        ({**POST_ANSWER, "post_id": f" {POST}"}, f"post  {POST}", f"post_id: {NOT_A_UUID}"),
    ],
)
def test_whatever_else_comes_is_refused_by_its_place(
    answer: object, what: str, reason: str
) -> None:
    assert records(answer, line=3) == [RejectedRecord(what, reason)]


def test_what_is_not_json_is_refused_with_its_reason() -> None:
    assert list(parse_records(MalformedJson(4, "It is nested too deeply."))) == [
        RejectedRecord("line 4", "It is nested too deeply.")
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"post_status": 1}, "post_status must be a string."),
        (
            {"post_status": "Published"},
            "post_status must be one of draft, scheduled, publishing, published,"
            " partially_failed, failed, done, queued.",
        ),
        (
            {"post_status": None, "status": ""},
            "status must be one of draft, scheduled, publishing, published,"
            " partially_failed, failed, done, queued.",
        ),
        ({"content": 5}, "content must be a string."),
        ({"content": "a\0"}, "content must not contain a NUL character."),
        (
            {"content": "a" * 100_001},
            "content is 100001 characters long; at most 100000 are allowed.",
        ),
        ({"scheduled_for": "soon"}, f"scheduled_for: {NOT_AN_INSTANT}"),
        ({"scheduled_for": 1776263400}, "scheduled_for must be a string."),
        ({"timezone": True}, "timezone must be a string."),
        ({"created_at": "2026-13-01"}, f"created_at: {NOT_AN_INSTANT}"),
        ({"updated_at": "10000-01-01"}, f"updated_at: {NOT_AN_INSTANT}"),
        ({"media_ids": "a"}, "media_ids must be a list."),
        ({"media_ids": ["a", True]}, "media_ids must be a list of strings."),
        ({"media_ids": [1.5]}, "media_ids must be a list of strings."),
        ({"media_ids": ["a", "\ud800"]}, "media_ids[1] must not contain a lone surrogate."),
        ({"media": {}}, "media must be a list."),
        ({"media": [{"size": 2**63}]}, "media[0].size must fit into 64 bits."),
        ({"platform_content": []}, "platform_content must be an object."),
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
def test_a_post_with_a_bad_member_is_refused_alone(said: dict[str, Any], reason: str) -> None:
    bad = {**POST_ANSWER, "post_id": OTHER, **said}
    found = records({"posts": [POST_ANSWER, bad, RESULTS_ANSWER]})
    assert found == [OF_POST, RejectedRecord(f"post {OTHER}", reason), OF_RESULTS]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"status": None}, "results[1].status is missing."),
        ({"status": True}, "results[1].status must be a string."),
        (
            {"status": "partially_failed"},
            "results[1].status must be one of queued, publishing, published, failed, done, scheduled.",
        ),
        ({"account_id": None}, f"results[1].account_id: {NOT_AN_ACCOUNT}"),
        ({"account_id": "7"}, f"results[1].account_id: {NOT_AN_ACCOUNT}"),
        ({"account_id": 7.0}, f"results[1].account_id: {NOT_AN_ACCOUNT}"),
        ({"account_id": True}, f"results[1].account_id: {NOT_AN_ACCOUNT}"),
        ({"account_id": 0}, f"results[1].account_id: {NOT_AN_ACCOUNT}"),
        ({"account_id": 2**31}, f"results[1].account_id: {NOT_AN_ACCOUNT}"),
        ({"account_id": 2280}, "results[1].account_id is that of an earlier entry."),
        ({"account_name": ["@acme"]}, "results[1].account_name must be a string."),
        (
            {"account_name": "a" * 501},
            "results[1].account_name is 501 characters long; at most 500 are allowed.",
        ),
        ({"platform": None}, "results[1].platform is missing."),
        ({"platform": ""}, "results[1].platform is missing."),
        ({"platform": 1}, "results[1].platform must be a string."),
        ({"id": 1}, "results[1].id must be a string."),
        ({"published_at": "yesterday"}, f"results[1].published_at: {NOT_AN_INSTANT}"),
        ({"next_retry_at": {}}, "results[1].next_retry_at must be a string."),
        ({"scheduled_for": False}, "results[1].scheduled_for must be a string."),
        ({"platform_post_id": 1.5}, "results[1].platform_post_id must be a string."),
        ({"platform_post_id": False}, "results[1].platform_post_id must be a string."),
        (
            {"platform_post_id": 10**500},
            "results[1].platform_post_id is 501 characters long; at most 500 are allowed.",
        ),
        (
            {"platform_post_url": "javascript:alert(1)"},
            "results[1].platform_post_url must be a URL that starts with http:// or https://.",
        ),
        ({"error": {"code": 1}}, "results[1].error must be a string."),
        ({"error": "", "last_error": 4}, "results[1].last_error must be a string."),
        ({"error": "a\0"}, "results[1].error must not contain a NUL character."),
        ({"attempts": "1"}, "results[1].attempts must be a whole number."),
        ({"attempts": 1.0}, "results[1].attempts must be a whole number."),
        ({"attempts": True}, "results[1].attempts must be a whole number."),
        ({"attempts": -1}, "results[1].attempts must be a whole number from 0 to 2147483647."),
        ({"attempts": 2**31}, "results[1].attempts must be a whole number from 0 to 2147483647."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_member_of_a_destination_is_told_by_its_path(
    said: dict[str, Any], reason: str
) -> None:
    bad = {"post_id": OTHER, "results": [RESULT, {**RESULT, "account_id": 7, **said}]}
    found = records([RESULTS_ANSWER, bad, POST_ANSWER])
    assert found == [OF_RESULTS, RejectedRecord(f"post {OTHER}", reason), OF_POST]


# What the members mean.


@pytest.mark.parametrize(
    ("said", "expected"),
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
def test_a_destination_is_read_as_it_is_meant(
    said: dict[str, object], expected: dict[str, object]
) -> None:
    assert destination(**said) == a_destination_record(**expected)


def test_of_a_destination_only_account_platform_and_status_must_be_told() -> None:
    least = {"account_id": 2280, "platform": "instagram", "status": "queued"}
    (found,) = record({"id": POST, "results": [least]}).destinations
    assert found == a_destination_record(
        id=None,
        account_name=None,
        status=DestinationStatus.QUEUED,
        published_at=None,
        platform_post_id=None,
        platform_post_url=None,
        attempts=0,
    )


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"post_status": "done", "status": "failed"}, PostStatus.PUBLISHED),
        ({"post_status": None, "status": "queued"}, PostStatus.SCHEDULED),
        ({"post_status": None, "status": None}, None),
        *(({"post_status": each.value}, each) for each in PostStatus),
    ],
)
def test_the_status_of_a_post_is_read_in_the_old_words_too(
    said: dict[str, object], status: PostStatus | None
) -> None:
    assert record({**POST_ANSWER, **said}).status is status


EMPTY_DETAILS = PostDetails(
    content="", scheduled_for=None, timezone=None, media_ids=[], media=[], platform_content={}
)


@pytest.mark.parametrize("empty", [None, ""])
def test_a_post_that_carries_nothing_still_tells_that_it_does(empty: str | None) -> None:
    told = dict.fromkeys(
        ["content", "scheduled_for", "timezone", "created_at", "updated_at"], empty
    )
    lists = {"media_ids": None, "media": None, "platform_content": None}
    found = record({"post_id": POST, "destinations": [], **told, **lists})
    assert (found.destinations, found.details) == ((), EMPTY_DETAILS)
    assert record({**POST_ANSWER, **EMPTY_DETAILS, "timezone": "UTC"}).details == {
        **OF_POST.details,
        **EMPTY_DETAILS,
    }


@pytest.mark.parametrize("name", [*OF_POST.details])
def test_each_detail_may_be_told_alone(name: str) -> None:
    found = record({**RESULTS_ANSWER, name: POST_ANSWER[name]})
    assert found.details == {name: OF_POST.details[name]}  # type: ignore[literal-required]


def test_a_draft_may_lack_the_list_of_its_destinations() -> None:
    assert record({"post_id": POST, "status": "draft", "content": ""}).destinations == ()
    assert records({"post_id": POST, "status": "scheduled", "content": ""}) == [
        RejectedRecord(f"post {POST}", "destinations must be a list.")
    ]


def test_what_is_not_documented_is_passed_over() -> None:
    assert record({**POST_ANSWER, "surprise": {"\0": 2**99}, "data2": "\ud800"}) == OF_POST


# Anything at all.

WORDS = [
    *(
        "post_id",
        "id",
        "post_status",
        "status",
        "content",
        "posts",
        "results",
        "destinations",
        "data",
    ),
    *("meta", "timestamp", "account_id", "platform", "attempts", "error", "next_retry_at"),
    *("media_ids", "media", "platform_content", "created_at", "platform_post_url"),
]
ODD = st.sampled_from(
    [POST, "published", "failed", "2026-04-15", "\0", "\ud800", 7, 2**31, float("inf"), 10**400, ""]
)
ODD_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ODD,
    lambda values: st.lists(values) | st.dictionaries(st.sampled_from(WORDS) | st.text(), values),
    max_leaves=15,
)


@st.composite
def odd_answers(draw: st.DrawFn) -> object:
    """A documented answer with some of its members replaced by anything."""
    answer = json.loads(
        json.dumps(draw(st.sampled_from([POST_ANSWER, RESULTS_ANSWER, RETRY_ANSWER])))
    )
    inner = (answer.get("destinations") or answer["results"])[0]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([answer, inner]))
        place[draw(st.sampled_from(sorted(place)))] = draw(ODD_VALUES)
    return draw(st.sampled_from([answer, {"data": answer}, [answer], {"posts": [answer, answer]}]))


@given(ODD_VALUES | odd_answers())
def test_any_value_is_read_or_refused_in_a_sentence(value: object) -> None:
    for found in records(value):
        if isinstance(found, RejectedRecord):
            assert found.label.startswith(("line 1", "post "))
            assert found.label.isprintable()
            assert found.reason.endswith(".")
            assert found.reason.isprintable()
