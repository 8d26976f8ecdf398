"""CORS: requests and responses of pages of other origins."""

from datetime import timedelta

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import InvalidApiKey, RateLimitExceeded
from app.http.middleware import add_cors
from tests.http.asgi import (
    LONG_TIMEOUT,
    NO_TIME,
    BlockingApp,
    RecordingObserver,
    build_middleware,
    http_client,
    make_rate_limits,
    render_error,
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


async def get_from(app: ASGIApp, **headers: str) -> httpx.Response:
    """Send a GET request, by default from the allowed origin."""
    async with http_client(app) as client:
        return await client.get("/", headers={"Origin": ORIGIN, **headers})


async def unreachable_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("a preflight must not reach the app")


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_preflight_needs_no_key_and_is_not_counted(method: str) -> None:
    observer = RecordingObserver()
    headers = "authorization, content-type, idempotency-key, if-none-match, x-allow-duplicate, x-request-id"

    app = build_middleware(
        unreachable_app, observer, rate_limits=make_rate_limits("2/minute"), origins=[ORIGIN]
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
    assert [request.status for request in observer.finished] == [200]


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
    observer = RecordingObserver()
    response = await preflight(
        build_middleware(unreachable_app, observer, origins=[ORIGIN]), origin, method, header
    )

    assert response.status_code == 400
    assert response.json() == {
        "code": "validation_error",
        "message": f"CORS does not allow this request: Disallowed CORS {subject}."
        " The operator sets allowed origins in CORS_ORIGINS.",
        "id": "00000001",
    }
    assert cors_headers(response) == {}
    assert [request.error_codes for request in observer.finished] == [("validation_error",)]


async def rate_limited_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise RateLimitExceeded("Too many.", retry_after=3)


async def unauthorized_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise InvalidApiKey("No such key.")


async def failing_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("internals")


@pytest.mark.parametrize(
    ("app", "request_timeout", "status"),
    [
        (PlainTextResponse("hello"), LONG_TIMEOUT, 200),
        (unauthorized_app, LONG_TIMEOUT, 401),
        (rate_limited_app, LONG_TIMEOUT, 429),
        (failing_app, LONG_TIMEOUT, 500),
        (BlockingApp(), NO_TIME, 503),
    ],
)
async def test_allowed_origin_may_read_every_response(
    app: ASGIApp, request_timeout: timedelta, status: int
) -> None:
    response = await get_from(
        build_middleware(app, RecordingObserver(), origins=[ORIGIN], timeout=request_timeout)
    )

    assert response.status_code == status
    assert cors_headers(response) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-expose-headers": (
            "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset,"
            " Retry-After, ETag, Allow"
        ),
    }
    assert response.headers["Vary"] == "Origin"


async def test_other_origin_may_not_read_response() -> None:
    app = build_middleware(PlainTextResponse("hello"), RecordingObserver(), origins=[ORIGIN])
    response = await get_from(app, Origin="https://evil.example.com")

    assert "Access-Control-Allow-Origin" not in response.headers


async def test_wildcard_allows_every_origin_without_credentials() -> None:
    app = build_middleware(PlainTextResponse(""), RecordingObserver(), origins=["*"])
    response = await get_from(app, Cookie="a=b")

    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers


async def test_no_cors_headers_without_origins() -> None:
    app: Response = PlainTextResponse("hello")
    assert add_cors(app, (), render_error) is app

    response = await get_from(build_middleware(app, RecordingObserver()))

    assert cors_headers(response) == {}
    assert "Vary" not in response.headers
