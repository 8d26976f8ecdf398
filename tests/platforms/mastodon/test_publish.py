"""Tests of publishing: the requests of a post, and the meaning of each failure."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.account_pauses import RemainingCalls
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.platforms.media import Media
from app.platforms.protocol import NotPublished, OutcomeUnknown
from tests.platforms.mastodon.scripted_instance import (
    CUT_RESPONSE,
    INSTANCE,
    NO_RESPONSE,
    PAGE,
    PUBLISHED,
    STATUS,
    TOKEN,
    UPLOAD,
    after,
    publish_error,
    response,
    running_adapter,
)
from tests.platforms.publish_requests import FixedDeadline, MemoryCredentials, refusal_details

PICTURE = Media(content=b"\x89PNG\r\n", content_type="image/png", alt="Küche", width=4, height=3)
PUBLICATION = Publication(
    platform_post_id="109",
    platform_post_url="https://example.social/@alice/109",
    published_at=after(1.5),
)
POLL = "GET /api/v1/media/5"
PROCESSING = response(202, {"id": "5", "url": None})
CONTENT_REJECTED = ErrorCategory.CONTENT_REJECTED
TRANSIENT = ErrorCategory.TRANSIENT


async def test_post_is_published_as_status() -> None:
    async with running_adapter() as run:
        settings = {"visibility": "private", "spoiler_text": "Food", "language": "de"}
        publication = await run.adapter.publish(run.request("Grüße", settings=settings))

    assert publication == PUBLICATION
    assert run.instance.targets == [INSTANCE, STATUS]
    call = run.instance.call(STATUS)
    assert call.headers["Authorization"] == f"Bearer {TOKEN}"
    assert call.headers["Idempotency-Key"] == "post-results-d1e2f3a4-b5c6-7890-abcd-ef1234567890"
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["Connection"] == "close"
    assert call.json == {
        "status": "Grüße",
        "visibility": "private",
        "spoiler_text": "Food",
        "language": "de",
    }


async def test_second_attempt_has_same_idempotency_key() -> None:
    async with running_adapter({STATUS: [NO_RESPONSE, response(200, PUBLISHED)]}) as run:
        assert isinstance(await publish_error(run), OutcomeUnknown)
        await run.adapter.publish(run.request("Hello", attempt=2, attempt_started_at=after(600)))

    keys = {call.headers["Idempotency-Key"] for call in run.instance.calls[1:]}
    assert run.instance.targets == [INSTANCE, STATUS, STATUS]
    assert len(keys) == 1


async def test_remaining_statuses_are_recorded_and_remaining_uploads_are_not() -> None:
    upload_limit = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2026-04-15T15:30:00.000Z"}
    limit = {"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "2026-04-15T16:00:00.000Z"}
    script = {
        UPLOAD: [response(200, {"id": "5"}, **upload_limit)],
        STATUS: [response(200, PUBLISHED, **limit)],
    }
    async with running_adapter(script) as run:
        run.media = [PICTURE]
        request = run.request()
        await run.adapter.publish(request)

    assert request.rate_limit.remaining == RemainingCalls(7, timedelta(hours=1))


async def test_forced_retry_has_another_idempotency_key() -> None:
    async with running_adapter({PAGE: [response(200, [])]}) as run:
        await run.adapter.publish(run.request(forced_retries=2))

    key = run.instance.call(STATUS).headers["Idempotency-Key"]
    assert key == "post-results-d1e2f3a4-b5c6-7890-abcd-ef1234567890-2"


@pytest.mark.parametrize(
    ("status", "body", "headers", "details"),
    [
        (401, b"", {}, (ErrorCategory.AUTH, "HTTP_401", 401, None)),
        (
            401,
            {"error": "The access token is invalid"},
            {},
            (ErrorCategory.AUTH, "HTTP_401", 401, None),
        ),
        (
            403,
            {"error": "This action is not allowed"},
            {},
            (ErrorCategory.PERMANENT, "HTTP_403", 403, None),
        ),
        (
            422,
            {"error": "Validation failed: Text can't be blank"},
            {},
            (CONTENT_REJECTED, "CONTENT_REJECTED", 422, None),
        ),
        (422, b"<html>", {}, (CONTENT_REJECTED, "CONTENT_REJECTED", 422, None)),
        (
            422,
            {"error": "Cannot attach files that have not finished processing. Try again!"},
            {},
            (TRANSIENT, "MEDIA_PROCESSING", 422, None),
        ),
        (
            429,
            {"error": "Too many requests"},
            {"Retry-After": "120", "X-RateLimit-Reset": "2026-04-15T16:00:00Z"},
            (ErrorCategory.RATE_LIMITED, "HTTP_429", 429, timedelta(minutes=2)),
        ),
        (
            429,
            b"Throttled",
            {"X-RateLimit-Reset": "2026-04-15T15:05:00.123456Z"},
            (ErrorCategory.RATE_LIMITED, "HTTP_429", 429, timedelta(seconds=300.123456)),
        ),
        (
            429,
            b"",
            {"X-RateLimit-Reset": "1776265500"},
            (ErrorCategory.RATE_LIMITED, "HTTP_429", 429, timedelta(minutes=5)),
        ),
    ],
)
async def test_refusal_is_classified(
    status: int, body: object, headers: dict[str, str], details: object
) -> None:
    async with running_adapter({STATUS: [response(status, body, **headers)]}) as run:
        error = await publish_error(run)

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == details


@pytest.mark.parametrize(
    ("answer", "http_status"),
    [
        (response(404, {"error": "Record not found"}), 404),
        (response(500, b"<html>"), 500),
        (response(503, {"error": "There was a temporary problem"}), 503),
        (response(200, b'{"id": "109", "ur'), 200),
        (response(200, b"<!DOCTYPE html>"), 200),
        (response(200, {"id": None}), 200),
        (response(200, [PUBLISHED]), 200),
        (NO_RESPONSE, None),
        (CUT_RESPONSE, None),
    ],
    ids=["404", "500", "503", "cut", "html", "no id", "list", "no response", "closed"],
)
async def test_outcome_without_status_is_unknown(answer: bytes, http_status: int | None) -> None:
    async with running_adapter({STATUS: [answer]}) as run:
        error = await publish_error(run)

    assert isinstance(error, OutcomeUnknown)
    assert error.http_status == http_status


async def test_unreachable_instance_has_certainly_published_nothing() -> None:
    async with running_adapter() as run:
        credentials = MemoryCredentials({"instance": "http://127.0.0.1:1", "accessToken": TOKEN})
        error = await publish_error(run, run.request(credentials=credentials))

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == (TRANSIENT, "CONNECTION_FAILED", None, None)
    assert error.not_sent


@pytest.mark.parametrize(
    "values",
    [
        {"accessToken": TOKEN},
        {"instance": "https://example.social"},
        {"instance": "example.social", "accessToken": TOKEN},
        {"instance": "https://example.social/@alice", "accessToken": TOKEN},
        {"instance": "https://alice:pw@example.social", "accessToken": TOKEN},
        {"instance": "https://example.social", "accessToken": f"{TOKEN}\nx"},
        {"instance": "https://example.social", "accessToken": "ü"},
    ],
)
async def test_invalid_credentials_are_refused(values: dict[str, object]) -> None:
    async with running_adapter() as run:
        error = await publish_error(run, run.request(credentials=MemoryCredentials(values)))

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == (ErrorCategory.AUTH, "INVALID_CREDENTIALS", None, None)
    assert TOKEN not in error.message
    assert run.instance.calls == []


@pytest.mark.parametrize("status", [200, 401, 503])
async def test_token_is_removed_from_response(status: int) -> None:
    echo = response(status, {"error": f"Bearer {TOKEN} is unknown"})
    async with running_adapter({STATUS: [echo]}) as run:
        error = await publish_error(run)

    assert error.raw == '{"error": "Bearer [redacted] is unknown"}'
    assert TOKEN not in error.message


async def test_reason_of_server_is_in_message_without_token() -> None:
    answer = response(422, {"error": f"Text with {TOKEN} is too long"})
    async with running_adapter({STATUS: [answer]}) as run:
        error = await publish_error(run)

    assert error.message == (
        "The server does not accept the post. Its reason: Text with [redacted] is too long"
    )


@pytest.mark.parametrize(
    ("fields", "media", "code", "targets"),
    [
        ({"content": "x" * 501}, 0, "TEXT_TOO_LONG", [INSTANCE]),
        ({}, 5, "TOO_MANY_MEDIA", [INSTANCE]),
        ({"content": " \n"}, 0, "EMPTY_POST", [INSTANCE]),
        ({"settings": {"visibility": "direct"}}, 0, "INVALID_SETTING", []),
    ],
)
async def test_invalid_post_is_not_sent(
    fields: dict[str, Any], media: int, code: str, targets: list[str]
) -> None:
    async with running_adapter() as run:
        run.media = [PICTURE] * media
        error = await publish_error(run, run.request(**fields))

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == (CONTENT_REJECTED, code, None, None)
    assert run.instance.targets == targets


async def test_limits_are_read_again_after_a_day() -> None:
    async with running_adapter() as run:
        for now in (after(0), after(86_399), after(86_400)):
            run.now = now
            await run.adapter.publish(run.request(attempt_started_at=now))

    assert run.instance.targets == [INSTANCE, STATUS, STATUS, INSTANCE, STATUS]


async def test_limits_are_read_from_version_1_of_api() -> None:
    description = {"configuration": {"statuses": {"max_characters": 10}}}
    script = {INSTANCE: [response(404)], "GET /api/v1/instance": [response(200, description)]}
    async with running_adapter(script) as run:
        error = await publish_error(run, run.request("x" * 11))

    assert error.message.startswith("The text has 11 characters; the server allows 10.")
    assert run.instance.targets == [INSTANCE, "GET /api/v1/instance"]


async def test_image_beyond_the_limits_of_the_instance_is_not_uploaded() -> None:
    limits = {"configuration": {"media_attachments": {"image_matrix_limit": 11}}}
    async with running_adapter({INSTANCE: [response(200, limits)]}) as run:
        run.media = [PICTURE]
        error = await publish_error(run, run.request())

    assert error.message == (
        "media[0] has 4 × 3 pixels; the server allows 11 in total. Make the image smaller."
    )
    assert run.instance.targets == [INSTANCE]


@pytest.mark.parametrize(
    "answer", [response(404), response(500), response(200, b"<html>"), NO_RESPONSE]
)
async def test_unreadable_limits_are_not_checked(answer: bytes) -> None:
    async with running_adapter({INSTANCE: [answer]}) as run:
        assert await run.adapter.publish(run.request("x" * 10_000)) == PUBLICATION
        await run.adapter.publish(run.request())

    assert run.instance.targets.count(INSTANCE) == 2


@pytest.mark.parametrize(
    "fields", [{"deadline": FixedDeadline(0)}, {"attempt_started_at": after(-60.001)}]
)
async def test_late_post_is_not_sent(fields: dict[str, Any]) -> None:
    async with running_adapter() as run:
        error = await publish_error(run, run.request(**fields))

    assert isinstance(error, NotPublished)
    assert error.code == "NOT_CALLED"
    assert run.instance.targets == [INSTANCE]


async def test_media_are_uploaded_as_form() -> None:
    async with running_adapter({UPLOAD: [response(200, {"id": "5"})]}) as run:
        run.media = [PICTURE]
        assert await run.adapter.publish(run.request()) == PUBLICATION

    call = run.instance.call(UPLOAD)
    content_type, _, boundary = call.headers["Content-Type"].partition("; boundary=")
    assert content_type == "multipart/form-data"
    assert call.body.split(f"--{boundary}".encode()) == [
        b"",
        b'\r\nContent-Disposition: form-data; name="file"; filename="%b.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\x89PNG\r\n\r\n" % boundary.encode(),
        b'\r\nContent-Disposition: form-data; name="description"\r\n\r\nK\xc3\xbcche\r\n',
        b"--\r\n",
    ]
    assert run.instance.call(STATUS).json == {"status": "Hello", "media_ids": ["5"]}


async def test_name_of_file_is_different_for_each_content_and_description() -> None:
    async with running_adapter({UPLOAD: [response(200, {"id": "5"})]}) as run:
        run.media = [
            PICTURE,
            replace(PICTURE, content=b"\x89PNG\n"),
            replace(PICTURE, alt="Bad", content_type="image/webp"),
        ]
        await run.adapter.publish(run.request())

    bodies = [call.body for call in run.instance.calls if call.target == UPLOAD]
    names = [body.partition(b'filename="')[2].partition(b'"')[0] for body in bodies]
    assert [name.partition(b".")[2] for name in names] == [b"png", b"png", b"webp"]
    assert len(set(names)) == 3


async def test_post_waits_for_processing_of_media() -> None:
    polls = [response(206), response(206), response(200, {"id": "5"})]
    async with running_adapter({UPLOAD: [PROCESSING], POLL: polls}) as run:
        run.media = [PICTURE]
        assert await run.adapter.publish(run.request("")) == PUBLICATION

    assert run.instance.targets == [INSTANCE, UPLOAD, POLL, POLL, POLL, STATUS]
    assert run.now == after(6)


@pytest.mark.parametrize(
    ("deadline", "code", "seconds"), [(60, "MEDIA_PROCESSING", 302), (0, "NOT_CALLED", 0)]
)
async def test_media_that_are_never_processed_fail_attempt(
    deadline: int, code: str, seconds: int
) -> None:
    async with running_adapter({UPLOAD: [PROCESSING], POLL: [response(206)]}) as run:
        run.media = [PICTURE]
        error = await publish_error(run, run.request(deadline=FixedDeadline(deadline)))

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == (TRANSIENT, code, None, None)
    assert run.now == after(seconds)
    assert STATUS not in run.instance.targets


@pytest.mark.parametrize(
    ("answer", "details"),
    [
        (response(401), (ErrorCategory.AUTH, "HTTP_401", 401, None)),
        (
            response(422, {"error": "Validation failed: File content type is invalid"}),
            (CONTENT_REJECTED, "MEDIA_UNSUPPORTED", 422, None),
        ),
        (
            response(429, b"", **{"Retry-After": "60"}),
            (ErrorCategory.RATE_LIMITED, "HTTP_429", 429, timedelta(minutes=1)),
        ),
        (response(500), (TRANSIENT, "MEDIA_NOT_UPLOADED", 500, None)),
        (NO_RESPONSE, (TRANSIENT, "MEDIA_NOT_UPLOADED", None, None)),
    ],
)
@pytest.mark.parametrize("target", [UPLOAD, POLL])
async def test_failure_of_media_has_certainly_published_nothing(
    target: str, answer: bytes, details: object
) -> None:
    async with running_adapter({UPLOAD: [PROCESSING], target: [answer]}) as run:
        run.media = [PICTURE]
        error = await publish_error(run)

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == details
    assert STATUS not in run.instance.targets


async def test_upload_of_a_file_that_is_too_large_is_a_refusal_of_the_content() -> None:
    async with running_adapter({UPLOAD: [response(413)]}) as run:
        run.media = [PICTURE]
        error = await publish_error(run)

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == (CONTENT_REJECTED, "HTTP_413", 413, None)


async def test_media_without_id_have_certainly_published_nothing() -> None:
    async with running_adapter({UPLOAD: [response(200, b"<html>")]}) as run:
        run.media = [PICTURE]
        error = await publish_error(run)

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == (TRANSIENT, "MEDIA_NOT_UPLOADED", 200, None)
    assert error.raw == "<html>"
    assert error.message == (
        "The server answered 200 without a usable result. The media were not uploaded, so the post was"
        " not sent."
    )
