"""Publishing and lookups against a scripted server."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
import structlog

from app.domain.account_pauses import RemainingCalls
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.ids import DestinationId
from app.platforms.bluesky.records import make_publication_key, publication_marker, record_key
from app.platforms.media import Media
from app.platforms.protocol import (
    LookupFailure,
    NotPublished,
    ObservedRateLimit,
    OutcomeUnknown,
    PlatformCallError,
)
from tests.factories import NOW
from tests.platforms.bluesky.scripted_pds import (
    CLOSED_CONNECTION,
    CUT_JSON,
    DID,
    GET_RECORD,
    GET_SESSION,
    HTML_PAGE,
    NO_ANSWER,
    PUT_RECORD,
    RESOLVE_HANDLE,
    UPLOAD_BLOB,
    access_token,
    bluesky_setup,
    call_timeout,
    error_response,
    http_response,
    json_response,
    record_uri,
)
from tests.platforms.bluesky.test_errors import REFUSALS
from tests.platforms.publish_requests import DESTINATION, FixedDeadline

CONTENT_REJECTED, PERMANENT = ErrorCategory.CONTENT_REJECTED, ErrorCategory.PERMANENT
RATE_LIMITED, TRANSIENT = ErrorCategory.RATE_LIMITED, ErrorCategory.TRANSIENT

PUBLICATION_KEY = make_publication_key(DESTINATION.id, 0)
KEYS = [record_key(PUBLICATION_KEY, DESTINATION.created_at, salt) for salt in range(3)]
MARKER = publication_marker(PUBLICATION_KEY)
FOREIGN = {"text": "Hi", "createdAt": "2026-04-15T09:00:00.000Z"}
EARLIER = {
    "text": "Spring sale",
    "createdAt": "2026-04-15T14:58:00.000Z",
    "postResults": MARKER,
}
IMAGE = Media(content=b"\x89PNG", content_type="image/png", alt="A cat", width=4, height=3)

UNUSABLE_ANSWERS = [
    (HTML_PAGE, "not a JSON object"),
    (http_response(200, b'{"uri":"at'), "not a JSON object"),
    (CUT_JSON, "closed the connection before its response was complete"),
    (CLOSED_CONNECTION, "closed the connection before its response was complete"),
    (NO_ANSWER, "did not complete its response within 1 s"),
    (json_response(200, {}), "no valid"),
    (json_response(500, {"error": "InternalServerError"}), "answered 500"),
    (json_response(502, {"error": "UpstreamFailure"}), "answered 502"),
    (http_response(503, b"<html>"), "answered 503"),
]


def publication(key: str, published_at: datetime) -> Publication:
    return Publication(
        platform_post_id=record_uri(key),
        platform_post_url=f"https://bsky.app/profile/{DID}/post/{key}",
        published_at=published_at,
    )


async def test_post_becomes_a_record_with_a_chosen_key() -> None:
    async with bluesky_setup() as setup:
        result = await setup.publish(settings={"langs": ["en"]})

        (put,) = setup.pds.requests
        assert result == publication(KEYS[0], NOW)
        assert put.headers["content-type"] == "application/json"
        assert put.headers["authorization"] == f"Bearer {access_token(1)}"
        assert put.json == {
            "repo": DID,
            "collection": "app.bsky.feed.post",
            "rkey": KEYS[0],
            "swapRecord": None,
            "record": {
                "$type": "app.bsky.feed.post",
                "text": "Spring sale",
                "createdAt": "2026-04-15T15:00:00.000Z",
                "langs": ["en"],
                "facets": [],
                "postResults": MARKER,
            },
        }
        assert await setup.look_up() == result


async def test_images_are_uploaded_and_embedded() -> None:
    async with bluesky_setup(media=[IMAGE, IMAGE]) as setup:
        await setup.publish(content="")

        assert setup.pds.methods == [UPLOAD_BLOB, UPLOAD_BLOB, PUT_RECORD]
        upload, _, put = setup.pds.requests
        assert (upload.headers["content-type"], upload.body) == ("image/png", b"\x89PNG")
        assert upload.headers["authorization"] == f"Bearer {access_token(1)}"
        image = {
            "image": {"$type": "blob", "size": 4},
            "alt": "A cat",
            "aspectRatio": {"width": 4, "height": 3},
        }
        assert put.json["record"]["embed"] == {
            "$type": "app.bsky.embed.images",
            "images": [image, image],
        }


async def test_mentions_are_resolved_and_unknown_handles_stay_plain() -> None:
    text = "Hi @bob.test"
    async with bluesky_setup() as setup:
        setup.pds.script(RESOLVE_HANDLE, json_response(200, {"did": "did:plc:bob"}))
        await setup.publish(content=text)
        del setup.pds.records[KEYS[0]]
        await setup.publish(content=text)
        setup.pds.script(RESOLVE_HANDLE, error_response(400, "InvalidRequest", "Invalid handle"))
        del setup.pds.records[KEYS[0]]
        await setup.publish(content=text)

        assert setup.pds.requests[0].parameters == {"handle": "bob.test"}
        assert [put.json["record"]["facets"] for put in setup.pds.sent(PUT_RECORD)] == [
            [
                {
                    "index": {"byteStart": 3, "byteEnd": 12},
                    "features": [
                        {"$type": "app.bsky.richtext.facet#mention", "did": "did:plc:bob"}
                    ],
                }
            ],
            [],
            [],
        ]


@pytest.mark.parametrize("text", ["Spring sale", "Edited since"])
async def test_record_of_an_earlier_attempt_is_reported_and_not_repeated(text: str) -> None:
    async with bluesky_setup() as setup:
        setup.pds.records[KEYS[0]] = EARLIER | {"text": text}
        with structlog.testing.capture_logs() as logs:
            result = await setup.publish(attempt=2)

        assert result == publication(KEYS[0], NOW - timedelta(minutes=2))
        assert setup.pds.records == {KEYS[0]: EARLIER | {"text": text}}
        assert [log["event"] for log in logs] == ["post found with another text"] * (
            text != "Spring sale"
        )


async def test_forced_retry_is_published_and_found_under_a_key_of_its_own() -> None:
    key = record_key(make_publication_key(DESTINATION.id, 1), DESTINATION.created_at, 0)
    async with bluesky_setup() as setup:
        setup.pds.records[KEYS[0]] = EARLIER
        assert await setup.look_up(forced_retries=1) is LookupFailure.NOT_FOUND
        result = await setup.publish(forced_retries=1)

        assert result == publication(key, NOW)
        assert setup.pds.records.keys() == {KEYS[0], key}
        assert await setup.publish(forced_retries=1, attempt=3) == result
        assert await setup.look_up(forced_retries=1) == result


async def test_key_of_another_destinations_record_is_not_used() -> None:
    other = FOREIGN | {
        "postResults": publication_marker(make_publication_key(DestinationId(UUID(int=1)), 0))
    }
    async with bluesky_setup() as setup:
        setup.pds.records |= {KEYS[0]: FOREIGN, KEYS[1]: other}
        result = await setup.publish()

        assert result == publication(KEYS[2], NOW)
        assert setup.pds.records[KEYS[0]] == FOREIGN
        assert setup.pds.records[KEYS[1]] == other
        assert await setup.look_up() == result


async def test_post_without_a_free_key_is_not_published() -> None:
    async with bluesky_setup() as setup:
        setup.pds.records |= dict.fromkeys(KEYS, FOREIGN)
        error = await setup.failed_publish(NotPublished)

        assert (error.category, error.code) == (PERMANENT, "RECORD_KEYS_TAKEN")
        assert setup.pds.records == dict.fromkeys(KEYS, FOREIGN)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        *UNUSABLE_ANSWERS,
        (error_response(429, "RateLimitExceeded"), "cannot be read: The platform answered 429"),
        (error_response(400, "RecordNotFound"), "has since been deleted"),
    ],
)
async def test_record_that_exists_but_cannot_be_read_leaves_the_outcome_unknown(
    answer: bytes | None, message: str
) -> None:
    async with bluesky_setup(call_timeout=call_timeout(answer)) as setup:
        setup.pds.records[KEYS[0]] = EARLIER
        setup.pds.script(GET_RECORD, answer)
        error = await setup.failed_publish(OutcomeUnknown)

    assert message in error.message


@pytest.mark.parametrize(("answer", "message"), UNUSABLE_ANSWERS)
async def test_unusable_answer_to_the_put_leaves_the_outcome_unknown(
    answer: bytes | None, message: str
) -> None:
    async with bluesky_setup(call_timeout=call_timeout(answer)) as setup:
        setup.pds.script(PUT_RECORD, answer)
        error = await setup.failed_publish(OutcomeUnknown)

    assert message in error.message


async def test_answer_about_another_record_leaves_the_outcome_unknown() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, json_response(200, {"uri": record_uri(KEYS[1])}))
        error = await setup.failed_publish(OutcomeUnknown)

    assert error.message == "The server's answer does not name the record of the post."


@pytest.mark.parametrize(("status", "name", "category", "message"), REFUSALS)
async def test_refused_record_is_not_published(
    status: int, name: str, category: ErrorCategory, message: str
) -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, error_response(status, name))
        error = await setup.failed_publish(NotPublished)

        assert (error.category, error.code, error.http_status) == (category, name, status)
        assert message in error.message
        assert setup.pds.methods == [PUT_RECORD]


@pytest.mark.parametrize(
    ("headers", "retry_after"),
    [
        ({"retry_after": "290"}, timedelta(seconds=290)),
        ({"ratelimit_reset": str(int(NOW.timestamp()) + 60)}, timedelta(seconds=60)),
        ({}, None),
    ],
)
async def test_rate_limit_has_the_wait_of_its_headers(
    headers: dict[str, str], retry_after: timedelta | None
) -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(
            PUT_RECORD,
            error_response(429, "RateLimitExceeded", "Rate Limit Exceeded", **headers),
        )
        error = await setup.failed_publish(NotPublished)

    assert (error.category, error.retry_after) == (RATE_LIMITED, retry_after)


async def test_remaining_puts_are_recorded() -> None:
    limits = {"ratelimit_remaining": "0", "ratelimit_reset": str(int(NOW.timestamp()) + 60)}
    observed = ObservedRateLimit()
    async with bluesky_setup() as setup:
        answer = {"uri": record_uri(KEYS[0]), "cid": "bafy"}
        setup.pds.script(PUT_RECORD, json_response(200, answer, **limits))
        await setup.publish(rate_limit=observed)

    assert observed.remaining == RemainingCalls(0, timedelta(minutes=1))


@pytest.mark.parametrize(
    ("answer", "category", "code"),
    [
        (error_response(413, "PayloadTooLarge"), CONTENT_REJECTED, "PayloadTooLarge"),
        (error_response(429, "RateLimitExceeded"), RATE_LIMITED, "HTTP_429"),
        (json_response(503, {}), TRANSIENT, "NO_ANSWER"),
        (json_response(200, {}), TRANSIENT, "NO_ANSWER"),
        (NO_ANSWER, TRANSIENT, "NO_ANSWER"),
    ],
)
@pytest.mark.parametrize("method", [UPLOAD_BLOB, RESOLVE_HANDLE])
async def test_failure_before_the_put_publishes_nothing(
    method: str, answer: bytes | None, category: ErrorCategory, code: str
) -> None:
    async with bluesky_setup(media=[IMAGE], call_timeout=call_timeout(answer)) as setup:
        setup.pds.script(method, answer)
        error = await setup.failed_publish(NotPublished, content="Hi @bob.test")

        assert (error.category, error.code) == (category, code)
        assert setup.pds.sent(PUT_RECORD) == []


@pytest.mark.parametrize(
    ("content", "media", "code"),
    [
        ("a" * 301, [], "TEXT_TOO_LONG"),
        ("a\0", [], "INVALID_TEXT"),
        ("", [], "EMPTY_POST"),
    ],
)
async def test_content_outside_the_limits_calls_no_server(
    content: str, media: list[Media], code: str
) -> None:
    async with bluesky_setup(media=media) as setup:
        error = await setup.failed_publish(NotPublished, content=content)

        assert (error.category, error.code) == (CONTENT_REJECTED, code)
        assert setup.pds.requests == []


async def test_nothing_is_put_after_the_deadline() -> None:
    async with bluesky_setup(media=[IMAGE]) as setup:
        error = await setup.failed_publish(NotPublished, deadline=FixedDeadline(0))

        assert error.code == "NOT_CALLED"
        assert setup.pds.methods == [UPLOAD_BLOB]


async def test_absent_record_is_not_found_under_any_key() -> None:
    async with bluesky_setup() as setup:
        setup.pds.records[KEYS[1]] = FOREIGN
        result = await setup.look_up()

        assert result is LookupFailure.NOT_FOUND
        assert setup.pds.methods == [GET_SESSION, *[GET_RECORD] * 3]
        assert [lookup.parameters for lookup in setup.pds.sent(GET_RECORD)] == [
            {"repo": DID, "collection": "app.bsky.feed.post", "rkey": key} for key in KEYS
        ]


@pytest.mark.parametrize("session", [{"did": DID, "active": False}, {"did": DID}])
async def test_lookup_on_an_inactive_account_is_inconclusive(session: dict[str, object]) -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(GET_SESSION, json_response(200, session))
        result = await setup.look_up()

        assert result is LookupFailure.INCONCLUSIVE
        assert setup.pds.methods == [GET_SESSION]


@pytest.mark.parametrize("method", [GET_SESSION, GET_RECORD])
@pytest.mark.parametrize(
    "answer",
    [
        NO_ANSWER,
        CUT_JSON,
        HTML_PAGE,
        error_response(401, "AccountTakedown"),
        error_response(400, "InvalidRequest"),
        error_response(429, "RateLimitExceeded"),
        error_response(502, "UpstreamFailure", "Upstream service unreachable"),
    ],
)
async def test_lookup_without_a_clear_answer_raises(method: str, answer: bytes | None) -> None:
    async with bluesky_setup(call_timeout=call_timeout(answer)) as setup:
        setup.pds.script(method, answer)
        with pytest.raises(PlatformCallError):
            await setup.look_up()
