"""CORS: requests and responses of pages of other origins."""

from datetime import timedelta

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from app.domain.errors import InvalidApiKey, RateLimitExceeded
from app.http.application import Handler
from app.http.responses import BytesResponse
from tests.http.asgi import (
    LONG_TIMEOUT,
    NO_TIME,
    BlockingHandler,
    CallRecorder,
    build_application,
    http_client,
    make_rate_limits,
    raising,
    responding,
)

ORIGIN = "https://app.example.com"
CORS_HEADERS = "access-control-"


def cors_headers(response: httpx.Response) -> dict[str, str]:
    return {
        name: value for name, value in response.headers.items() if name.startswith(CORS_HEADERS)
    }


async def preflight(app: ASGIApp, origin: str, method: str, headers: str) -> httpx.Response:
    async with http_client(app) as client:
        return await client.options(
            "/graphql",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": headers,
            },
        )


HELLO = responding(BytesResponse(b"hello", 200, ()))
UNREACHABLE = raising(AssertionError("a preflight must not reach the handler"))


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_preflight_needs_no_key_and_is_not_counted(method: str) -> None:
    recorder = CallRecorder()
    headers = "authorization, content-type, idempotency-key, if-none-match, x-allow-duplicate, x-request-id"

    app = build_application(
        UNREACHABLE, recorder, rate_limits=make_rate_limits("2/minute"), origins=[ORIGIN]
    )
    response = await preflight(app, ORIGIN, method, headers)

    assert response.status_code == 200
    assert cors_headers(response) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": "GET, HEAD, POST, PATCH, DELETE",
        "access-control-allow-headers": (
            "Accept, Accept-Language, Authorization, Content-Language, Content-Type,"
            " Idempotency-Key, If-None-Match, X-Allow-Duplicate, X-Request-Id"
        ),
        "access-control-max-age": "600",
    }
    assert response.headers["X-Request-Id"] == "00000001"
    assert response.headers["X-RateLimit-Remaining"] == "2"
    assert recorder.statuses == [200]


@pytest.mark.parametrize(
    ("origin", "method", "header", "subject"),
    [
        ("https://evil.example.com", "POST", "authorization", "origin"),
        (ORIGIN, "TRACE", "authorization", "method"),
        (ORIGIN, "POST", "x-anything", "headers"),
    ],
)
async def test_disallowed_preflight_is_refused(
    origin: str, method: str, header: str, subject: str
) -> None:
    recorder = CallRecorder()
    app = build_application(UNREACHABLE, recorder, origins=[ORIGIN])
    response = await preflight(app, origin, method, header)

    assert response.status_code == 400
    assert response.json() == {
        "code": "validation_error",
        "message": f"CORS does not allow this request: Disallowed CORS {subject}."
        " The operator sets allowed origins in CORS_ORIGINS.",
        "id": "00000001",
    }
    assert cors_headers(response) == {}
    assert recorder.error_codes == [("validation_error",)]
    assert recorder.failures == []


@pytest.mark.parametrize(
    ("handle", "request_timeout", "status"),
    [
        (HELLO, LONG_TIMEOUT, 200),
        (responding(PlainTextResponse("hello")), LONG_TIMEOUT, 200),
        (raising(InvalidApiKey("No such key.")), LONG_TIMEOUT, 401),
        (raising(RateLimitExceeded("Too many.", retry_after=3)), LONG_TIMEOUT, 429),
        (raising(LookupError("internals")), LONG_TIMEOUT, 500),
        (BlockingHandler(), NO_TIME, 503),
    ],
)
async def test_allowed_origin_may_read_every_response(
    handle: Handler, request_timeout: timedelta, status: int
) -> None:
    app = build_application(handle, origins=[ORIGIN], timeout=request_timeout)
    async with http_client(app) as client:
        response = await client.get("/", headers={"Origin": ORIGIN})

    assert response.status_code == status
    assert cors_headers(response) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-expose-headers": (
            "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset,"
            " Retry-After, ETag, Allow"
        ),
    }
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("header", ["Origin", "Access-Control-Request-Method"])
async def test_options_request_that_is_no_preflight_reaches_handler(header: str) -> None:
    async with http_client(build_application(HELLO, origins=["*"])) as client:
        response = await client.options("/", headers={header: "GET"})

    assert (response.status_code, response.text) == (200, "hello")


@pytest.mark.parametrize(
    ("origins", "headers", "allowed"),
    [
        ([ORIGIN], {"Origin": "https://evil.example.com"}, None),
        ([ORIGIN], {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}, ORIGIN),
        ([ORIGIN], {}, None),
        (["*"], {"Origin": ORIGIN, "Cookie": "a=b"}, "*"),
        ([], {"Origin": ORIGIN}, None),
    ],
    ids=["other origin", "no preflight", "no origin", "any origin", "no setting"],
)
async def test_only_a_page_of_an_allowed_origin_may_read_response(
    origins: list[str], headers: dict[str, str], allowed: str | None
) -> None:
    async with http_client(build_application(HELLO, origins=origins)) as client:
        response = await client.get("/", headers=headers)

    assert (response.status_code, response.text) == (200, "hello")
    assert response.headers.get("Access-Control-Allow-Origin") == allowed
    assert response.headers.get("Vary") == ("Origin" if origins else None)
    assert (cors_headers(response) == {}) == (not origins or "Origin" not in headers)
    assert "Access-Control-Allow-Credentials" not in response.headers


async def test_preflight_without_origins_reaches_handler() -> None:
    response = await preflight(build_application(HELLO), ORIGIN, "GET", "authorization")

    assert (response.text, cors_headers(response)) == ("hello", {})
