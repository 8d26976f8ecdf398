"""Common headers of responses, and the record of each request."""

import asyncio
import gc
import os
import re
from dataclasses import replace
from uuid import UUID

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import InvalidApiKey, NotFound
from app.domain.ids import ApiKeyId, WorkspaceId
from app.http.request_logging import RequestLoggingMiddleware
from app.http.request_scope import request_state
from tests.http.asgi import (
    LONG_TIMEOUT,
    NOW,
    UNMATCHED_RECORD,
    ASGIClient,
    BlockingApp,
    RecordingObserver,
    build_middleware,
    cancel_when_running,
    http_client,
    http_scope,
    make_rate_limits,
    send_request,
    stepping_clock,
)

KEY_ID = ApiKeyId(UUID(int=1))
WORKSPACE_ID = WorkspaceId(UUID(int=2))
TOKEN = "pe_live_0123456789abcdef0123456789abcdef"
RESET_AT = str(int(NOW.timestamp()) + 60)


def rate_headers(response: httpx.Response) -> tuple[str, ...]:
    names = ("Limit", "Remaining", "Reset")
    return tuple(response.headers[f"X-RateLimit-{name}"] for name in names)


async def hello_endpoint(request: Request) -> Response:
    return PlainTextResponse("hello")


async def test_request_id_is_in_state_and_response() -> None:
    async def request_id_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(request_state(scope)["request_id"])(scope, receive, send)

    async with http_client(build_middleware(request_id_endpoint, RecordingObserver())) as client:
        response = await client.get("/", headers={"X-Request-Id": "chosen by the client"})

    assert (response.headers.get_list("X-Request-Id"), response.text) == (["00000001"], "00000001")


async def test_request_ids_are_unique() -> None:
    app = RequestLoggingMiddleware(
        PlainTextResponse("hello"),
        observer=RecordingObserver(),
        rate_limits=make_rate_limits(),
        random_bytes=os.urandom,
        monotonic=stepping_clock(),
    )
    async with http_client(app) as client:
        responses = await asyncio.gather(*(client.get("/") for _ in range(20)))

    ids = {response.headers["X-Request-Id"] for response in responses}
    assert len(ids) == 20
    assert all(re.fullmatch("[0-9a-f]{8}", request_id) for request_id in ids)


async def test_record_has_all_facts_and_no_secrets() -> None:
    observer = RecordingObserver()

    async def endpoint(request: Request) -> Response:
        state = request_state(request.scope)
        state["api"] = "graphql"
        state["api_key_id"] = KEY_ID
        state["workspace_id"] = WORKSPACE_ID
        state["operation_name"] = "Posts" * 100
        state["operation_type"] = "query"
        state["error_codes"] = ["not_found"]
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/posts/{post_id}", endpoint, methods=["POST"])])
    async with http_client(build_middleware(app, observer)) as client:
        await client.post("/posts/17?search=secret", headers={"Authorization": f"Bearer {TOKEN}"})

    assert observer.finished == [
        replace(
            UNMATCHED_RECORD,
            method="POST",
            route="/posts/{post_id}",
            path="/posts/17",
            status=200,
            body_bytes=5,
            client_address="203.0.113.7",
            api="graphql",
            api_key_id=KEY_ID,
            workspace_id=WORKSPACE_ID,
            operation_name=("Posts" * 100)[:200],
            operation_type="query",
            error_codes=("not_found",),
        )
    ]
    assert observer.started == 1
    assert TOKEN not in repr(observer.finished)
    assert "secret" not in repr(observer.finished)


async def test_unmatched_request_is_recorded() -> None:
    observer = RecordingObserver()

    scope = http_scope("GET", "/no\nsuch path/é" + "x" * 1000)
    await send_request(build_middleware(PlainTextResponse("", 404), observer), scope=scope)

    path = "/no\nsuch path/é" + "x" * 185
    assert observer.finished == [replace(UNMATCHED_RECORD, path=path)]


async def test_route_of_state_overrides_router() -> None:
    observer = RecordingObserver()

    async def endpoint(request: Request) -> Response:
        request_state(request.scope)["route"] = "/v1/posts/{post_id}"
        return PlainTextResponse("hello")

    async with http_client(
        build_middleware(Starlette(routes=[Route("/{rest:path}", endpoint)]), observer)
    ) as client:
        await client.get("/v1/posts/17")

    assert [record.route for record in observer.finished] == ["/v1/posts/{post_id}"]


async def test_streamed_bytes_are_counted() -> None:
    observer = RecordingObserver()

    await send_request(build_middleware(StreamingResponse(iter(["ab", "", "cde"])), observer))

    assert [record.body_bytes for record in observer.finished] == [5]


async def failing_endpoint(request: Request) -> Response:
    raise LookupError("internals")


async def unauthorized_endpoint(request: Request) -> Response:
    raise InvalidApiKey("No such key.")


async def not_found_endpoint(request: Request) -> Response:
    raise NotFound("Not found.")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/hello", 200),
        ("HEAD", "/hello", 200),
        ("POST", "/hello", 405),
        ("GET", "/unauthorized", 401),
        ("GET", "/missing", 404),
        ("GET", "/unknown", 404),
        ("GET", "/failing", 500),
        ("GET", "/livez", 200),
        ("OPTIONS", "/hello", 405),
    ],
)
async def test_every_response_has_common_headers(method: str, path: str, status: int) -> None:
    routes = [
        Route("/hello", hello_endpoint, methods=["GET"]),
        Route("/unauthorized", unauthorized_endpoint),
        Route("/missing", not_found_endpoint),
        Route("/failing", failing_endpoint),
        Route("/livez", hello_endpoint),
    ]
    app = build_middleware(
        Starlette(routes=routes).router,
        RecordingObserver(),
        rate_limits=make_rate_limits("2/minute"),
    )
    async with http_client(app) as client:
        response = await client.request(method, path)

    assert response.status_code == status
    assert response.headers["X-Request-Id"] == "00000001"
    assert rate_headers(response) == ("2", "2", RESET_AT)


async def test_rate_limit_headers_without_limits_are_a_million() -> None:
    async with http_client(
        build_middleware(PlainTextResponse("hello"), RecordingObserver())
    ) as client:
        response = await client.get("/")

    assert rate_headers(response) == ("1000000", "1000000", RESET_AT)


async def test_response_shows_remaining_requests_of_key() -> None:
    rate_limits = make_rate_limits("2/minute")

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        rate_limits.charge_request(KEY_ID, request_state(scope))
        await PlainTextResponse("hello")(scope, receive, send)

    app = build_middleware(api, RecordingObserver(), rate_limits=rate_limits)
    async with http_client(app) as client:
        responses = [await client.get("/") for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert [rate_headers(response) for response in responses] == [
        ("2", "1", RESET_AT),
        ("2", "0", RESET_AT),
        ("2", "0", RESET_AT),
    ]
    assert responses[2].headers["Retry-After"] == "60"


async def read_body_later(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0)
    await Request(scope, receive).body()


@pytest.mark.parametrize(
    ("app", "headers"),
    [(BlockingApp(), []), (read_body_later, [(b"content-length", b"8")])],
    ids=["while the app works", "during the body"],
)
async def test_disconnected_client_is_recorded_as_499(
    app: ASGIApp, headers: list[tuple[bytes, bytes]]
) -> None:
    observer = RecordingObserver()
    client = ASGIClient(b"half")
    asyncio.get_running_loop().call_soon(client.disconnect)

    scope = http_scope("POST", headers=headers)
    await build_middleware(app, observer)(scope, client.receive, client.send)

    assert [record.status for record in observer.finished] == [499]
    assert observer.failures == []
    assert client.sent == []


async def test_request_cancelled_by_server_is_recorded() -> None:
    observer = RecordingObserver()
    app = BlockingApp()

    await cancel_when_running(build_middleware(app, observer), app, ASGIClient())

    assert [record.status for record in observer.finished] == [500]


async def test_disconnect_after_response_keeps_status() -> None:
    observer = RecordingObserver()

    async def receive_after_response(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await PlainTextResponse("hello")(scope, receive, send)
        assert await receive() == {"type": "http.disconnect"}

    await send_request(build_middleware(receive_after_response, observer))

    assert [record.status for record in observer.finished] == [200]


async def test_lifespan_state_is_passed_on_unchanged() -> None:
    state = {"database": "opened once"}
    databases: list[object] = []

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        databases.append(scope["state"]["database"])
        await PlainTextResponse("hello")(scope, receive, send)

    scope = {**http_scope(), "state": state}
    await send_request(build_middleware(api, RecordingObserver()), scope=scope)

    assert databases == ["opened once"]
    assert state == {"database": "opened once"}


async def test_quick_request_leaves_no_reference_cycle() -> None:
    app = build_middleware(PlainTextResponse("hello"), RecordingObserver())
    client = ASGIClient()
    gc.collect()
    gc.disable()
    try:
        await app(http_scope(), client.receive, client.send)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_are_not_recorded(kind: str) -> None:
    observer = RecordingObserver()
    passed: list[object] = []
    client = ASGIClient()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.extend((scope, receive, send))

    middleware = build_middleware(app, observer, origins=["*"], timeout=LONG_TIMEOUT)
    await middleware({"type": kind}, client.receive, client.send)

    assert passed == [{"type": kind}, client.receive, client.send]
    assert (observer.started, observer.finished) == (0, [])
