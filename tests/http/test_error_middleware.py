"""Responses to uncaught exceptions."""

import json

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import (
    BadCursor,
    InternalError,
    PostResultsError,
    RateLimitExceeded,
    ServiceUnavailable,
)
from app.http.middleware import ErrorMiddleware
from app.http.request_scope import request_state
from tests.http.asgi import ASGIClient, RecordingObserver, http_scope, render_error, send_request

MASKED = {
    "code": "internal_error",
    "message": "Something went wrong on this server. Try again; if it stays, give its operator the"
    " request id.",
    "id": "0000cafe",
}


def raising_app(error: Exception, *, first_message: bytes | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if first_message is not None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": first_message, "more_body": True})
        raise error

    return app


async def send_in_middleware(app: ASGIApp, observer: RecordingObserver) -> tuple[ASGIClient, Scope]:
    """Send a request to an app inside the middleware; return the client and the scope."""
    scope = http_scope()
    middleware = ErrorMiddleware(app, render=render_error, report=observer.request_failed)
    return await send_request(middleware, scope=scope), scope


async def test_unexpected_exception_is_reported_and_masked() -> None:
    observer = RecordingObserver()
    error = LookupError("SELECT secret FROM /var/lib")

    client, scope = await send_in_middleware(raising_app(error), observer)

    assert (client.status, json.loads(client.body)) == (500, MASKED)
    assert observer.failures == [("0000cafe", error)]
    assert request_state(scope)["error_codes"] == ["internal_error"]


async def test_exception_after_start_leaves_response_incomplete() -> None:
    observer = RecordingObserver()
    error = LookupError("half-way")

    client, scope = await send_in_middleware(
        raising_app(error, first_message=b"beginning"), observer
    )

    assert (client.status, client.body) == (200, b"beginning")
    assert not client.has_response.is_set()
    assert observer.failures == [("0000cafe", error)]
    assert request_state(scope)["error_codes"] == ["internal_error"]


@pytest.mark.parametrize(
    ("error", "is_reported"),
    [
        (BadCursor("Not a cursor."), False),
        (RateLimitExceeded("Too many.", retry_after=3), False),
        (ServiceUnavailable("Busy.", retry_after=2), True),
        (InternalError("Broken."), True),
    ],
)
async def test_own_errors_are_rendered_and_those_of_the_server_reported(
    error: PostResultsError, *, is_reported: bool
) -> None:
    observer = RecordingObserver()

    client, scope = await send_in_middleware(raising_app(error), observer)

    assert client.status == error.http_status
    assert json.loads(client.body) == {
        "code": error.code,
        "message": error.message,
        "id": "0000cafe",
    }
    assert observer.failures == ([("0000cafe", error)] if is_reported else [])
    assert request_state(scope)["error_codes"] == [error.code]


async def test_successful_response_is_unchanged() -> None:
    observer = RecordingObserver()

    client, scope = await send_in_middleware(PlainTextResponse("fine"), observer)

    assert (client.status, client.body) == (200, b"fine")
    assert "error_codes" not in request_state(scope)
