"""Failures of requests to platforms: which of them are certain, and the waits that platforms ask for."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest

from app.domain.account_pauses import RemainingCalls
from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundClient, OutboundResponse
from app.platforms.protocol import (
    NotPublished,
    ObservedRateLimit,
    OutcomeUnknown,
    PlatformCallError,
)
from app.platforms.responses import (
    convert_unknown_outcome,
    parse_json_object,
    refusal,
    remaining_calls,
    require_json_object,
    retry_wait,
    send,
)
from tests.factories import NOW
from tests.outbound.local_servers import (
    LOCAL_RULES,
    LONG_TIMEOUT,
    ConnectionHandler,
    local_server,
    never_respond,
    post,
    responding,
)

CERTAIN = {
    301: ErrorCategory.PERMANENT,
    307: ErrorCategory.PERMANENT,
    308: ErrorCategory.PERMANENT,
    400: ErrorCategory.CONTENT_REJECTED,
    401: ErrorCategory.AUTH,
    403: ErrorCategory.PERMANENT,
    405: ErrorCategory.PERMANENT,
    413: ErrorCategory.CONTENT_REJECTED,
    415: ErrorCategory.CONTENT_REJECTED,
    422: ErrorCategory.CONTENT_REJECTED,
    429: ErrorCategory.RATE_LIMITED,
}


def answer(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Answer", "Content-Length: 2", *headers]
    return "\r\n".join([*lines, "", "{}"]).encode()


def response(
    body: bytes = b"{}",
    *,
    headers: Sequence[tuple[str, str]] = (),
    is_truncated: bool = False,
) -> OutboundResponse:
    return OutboundResponse(status=200, headers=headers, body=body, is_truncated=is_truncated)


def known_refusal(response: OutboundResponse) -> NotPublished | None:
    """The table of a platform that knows the status 418 only."""
    if response.status != 418:
        return None
    return refusal(response, ErrorCategory.CONTENT_REJECTED, "TEAPOT", "This is a teapot.")


async def send_to(
    handle: ConnectionHandler,
    time_limit: timedelta = LONG_TIMEOUT,
    rate_limit: ObservedRateLimit | None = None,
) -> OutboundResponse:
    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        request = post(server.url(), timeout=time_limit)
        return await send(
            client, request, now=NOW, read_refusal=known_refusal, rate_limit=rate_limit
        )


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_successful_response_is_returned(status: int) -> None:
    assert (await send_to(responding(answer(status)))).status == status


@pytest.mark.parametrize(
    "status", [302, 303, 404, 408, 409, 418, 425, 499, 500, 502, 503, 504, *CERTAIN]
)
async def test_status_decides_unless_the_platform_has_its_own_table(status: int) -> None:
    error: PlatformCallError
    try:
        await send_to(responding(answer(status, "Retry-After: 7")))
        pytest.fail("no error")
    except PlatformCallError as raised:
        error = raised
    assert (error.http_status, error.raw) == (status, "{}")
    if status == 418:
        assert isinstance(error, NotPublished)
        assert (error.code, error.message) == ("TEAPOT", "This is a teapot.")
    elif status in CERTAIN:
        assert isinstance(error, NotPublished)
        assert (error.category, error.code) == (CERTAIN[status], f"HTTP_{status}")
        assert error.message.startswith(f"The platform answered {status}: it ")
        assert error.retry_after == timedelta(seconds=7)
        assert not error.not_sent
    else:
        assert isinstance(error, OutcomeUnknown)
        assert str(error) == (
            f"The platform answered {status}, so the post may be published all the same."
        )


async def test_failure_after_the_request_was_sent_is_unknown() -> None:
    for handle in (responding(b"no HTTP"), responding(b"")):
        with pytest.raises(OutcomeUnknown):
            await send_to(handle)
    with pytest.raises(OutcomeUnknown):
        await send_to(never_respond, timedelta(seconds=1))


async def test_failure_before_the_request_is_certain() -> None:
    async with OutboundClient(LOCAL_RULES) as client:
        for url, category, code in (
            ("http://127.0.0.1:1/", ErrorCategory.TRANSIENT, "CONNECTION_FAILED"),
            ("http://10.0.0.1/", ErrorCategory.PERMANENT, "ADDRESS_NOT_ALLOWED"),
            ("mailto:a@example.com", ErrorCategory.PERMANENT, "INVALID_URL"),
        ):
            with pytest.raises(NotPublished) as caught:
                await send(client, post(url), now=NOW, read_refusal=known_refusal)
            assert (caught.value.category, caught.value.code) == (category, code)
            assert caught.value.not_sent is (category is ErrorCategory.TRANSIENT)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30),
        ({"retry-after": "Wed, 15 Apr 2026 15:02:00 GMT"}, 120),
        ({"retry-after": "30", "ratelimit-reset": "60"}, 30),
        ({"retry-after": "soon", "ratelimit-reset": "60"}, None),
        ({"ratelimit-reset": "60"}, 60),
        ({"ratelimit-reset": str(int(NOW.timestamp()) + 90)}, 90),
        ({"ratelimit-reset": str(int(NOW.timestamp()) - 90)}, 0),
        ({"x-ratelimit-reset": "2026-04-15T15:05:00.000Z"}, 300),
        ({"x-ratelimit-reset": "2026-04-15T15:05:00.000000+00:00"}, 300),
        ({"x-ratelimit-reset": "2026-04-15T14:05:00Z"}, 0),
        ({"x-ratelimit-reset": "2026-04-15T15:05:00"}, None),
        ({"ratelimit-reset": "soon"}, None),
        ({"ratelimit-reset": "-5"}, None),
        ({"ratelimit-reset": "٣"}, None),
        ({"ratelimit-reset": ""}, None),
        ({"ratelimit-reset": str(int(NOW.timestamp()) * 10**9)}, None),
        ({"ratelimit-reset": "9" * 30}, None),
        ({"ratelimit-reset": "9" * 5_000}, None),
    ],
)
def test_wait_is_read_from_both_forms_of_headers(
    headers: dict[str, str], seconds: int | None
) -> None:
    wait = None if seconds is None else timedelta(seconds=seconds)
    assert retry_wait(response(headers=[*headers.items()]), NOW) == wait


@pytest.mark.parametrize("clock_error", [timedelta(minutes=-10), timedelta(minutes=10)])
@pytest.mark.parametrize(
    "reset",
    [
        {"retry-after": "Wed, 15 Apr 2026 15:05:00 GMT"},
        {"ratelimit-reset": str(int(NOW.timestamp()) + 300)},
        {"x-ratelimit-reset": "2026-04-15T15:05:00Z"},
    ],
)
def test_wait_does_not_depend_on_the_clock_of_this_process(
    reset: dict[str, str], clock_error: timedelta
) -> None:
    headers = {"date": "Wed, 15 Apr 2026 15:00:00 GMT", **reset}
    wait = retry_wait(response(headers=[*headers.items()]), NOW + clock_error)
    assert wait == timedelta(minutes=5)


def test_invalid_date_of_a_response_is_ignored() -> None:
    headers = [("date", "today"), ("x-ratelimit-reset", "2026-04-15T15:05:00Z")]
    assert retry_wait(response(headers=headers), NOW) == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"ratelimit-remaining": "0"}, None),
        ({"ratelimit-reset": "60"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "60"}, (0, 60)),
        ({"ratelimit-remaining": "0", "ratelimit-reset": str(int(NOW.timestamp()) + 90)}, (0, 90)),
        ({"x-ratelimit-remaining": "12", "x-ratelimit-reset": "2026-04-15T15:05:00Z"}, (12, 300)),
        ({"ratelimit-remaining": "3", "retry-after": "30", "ratelimit-reset": "60"}, (3, 30)),
        *(
            ({"ratelimit-remaining": remaining, "ratelimit-reset": "60"}, None)
            for remaining in ("", "-1", "1.5", "٣", "none", "9" * 10)
        ),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "soon"}, None),
    ],
)
def test_remaining_calls_are_read_only_with_their_reset(
    headers: dict[str, str], expected: tuple[int, int] | None
) -> None:
    remaining = expected and RemainingCalls(expected[0], timedelta(seconds=expected[1]))
    assert remaining_calls(response(headers=[*headers.items()]), NOW) == remaining


@pytest.mark.parametrize("status", [200, 400, 429, 500])
async def test_remaining_calls_are_recorded_for_any_answer(status: int) -> None:
    limits = ("RateLimit-Remaining: 2", "RateLimit-Reset: 60")
    observed = ObservedRateLimit()
    with suppress(PlatformCallError):
        await send_to(responding(answer(status, *limits)), rate_limit=observed)
    assert observed.remaining == RemainingCalls(2, timedelta(minutes=1))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"text"', b"null", b'{"a": 1', b"\xff"])
def test_answer_that_is_no_json_object_leaves_the_outcome_unknown(body: bytes) -> None:
    assert parse_json_object(response(body)) is None
    with pytest.raises(OutcomeUnknown) as caught:
        require_json_object(response(body))
    assert caught.value.http_status == 200


def test_cut_answer_leaves_the_outcome_unknown() -> None:
    assert require_json_object(response(b'{"id": "1"}')) == {"id": "1"}
    with pytest.raises(OutcomeUnknown):
        require_json_object(response(b'{"id": "1"}', is_truncated=True))


@pytest.mark.parametrize(
    ("http_status", "message"),
    [
        (None, "No answer came. The post was not sent yet."),
        (502, "The server answered 502 without a usable result. The post was not sent yet."),
    ],
)
def test_unknown_outcome_of_a_preparing_call_is_a_certain_failure(
    http_status: int | None, message: str
) -> None:
    with (
        pytest.raises(NotPublished) as caught,
        convert_unknown_outcome("The post was not sent yet."),
    ):
        raise OutcomeUnknown("No answer came.", http_status=http_status, raw="token")

    error = caught.value
    assert (error.category, error.code, error.message) == (
        ErrorCategory.TRANSIENT,
        "NO_ANSWER",
        message,
    )
    assert (error.http_status, error.raw, error.not_sent) == (http_status, None, True)


@pytest.mark.parametrize("category", ErrorCategory)
def test_temporary_failure_of_a_preparing_call_has_not_sent_the_post(
    category: ErrorCategory,
) -> None:
    failure = NotPublished(category, "REFUSED", "No.")
    with pytest.raises(NotPublished) as caught, convert_unknown_outcome("Nothing was sent."):
        raise failure

    assert caught.value is failure
    temporary = (ErrorCategory.TRANSIENT, ErrorCategory.RATE_LIMITED)
    assert failure.not_sent is (category in temporary)


def test_response_of_a_preparing_call_is_kept_on_request() -> None:
    with (
        pytest.raises(NotPublished) as caught,
        convert_unknown_outcome("Nothing was sent.", code="NOT_UPLOADED", keep_response=True),
    ):
        raise OutcomeUnknown("No answer came.", raw="<html>")

    assert (caught.value.code, caught.value.raw) == ("NOT_UPLOADED", "<html>")
