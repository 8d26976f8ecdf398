"""What the outermost layer adds to each answer and tells about each request."""

import asyncio
import gc
import os
from datetime import timedelta
from uuid import UUID

import httpx
import limits
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.domain.errors import InvalidApiKey, NotFound
from app.domain.ids import ApiKeyId, WorkspaceId
from app.http.request_logging import RequestLoggingMiddleware
from app.http.state import request_state
from app.observability.recorders import RequestRecord
from tests.http.asgi import (
    LONG_TIMEOUT,
    NOW,
    ASGIClient,
    RecordingObserver,
    build_middleware,
    http_client,
    http_scope,
    make_rate_limits,
    stepping_clock,
)

KEY_ID = ApiKeyId(UUID(int=1))
WORKSPACE_ID = WorkspaceId(UUID(int=2))
TOKEN = "pe_live_0123456789abcdef0123456789abcdef"
RESET_AT = str(int(NOW.timestamp()) + 60)
RATE_LIMITS = make_rate_limits(limits.parse_many("2/minute"))


def rate_headers(response: httpx.Response) -> tuple[str, ...]:
    names = ("Limit", "Remaining", "Reset")
    return tuple(response.headers[f"X-RateLimit-{name}"] for name in names)


async def hello_endpoint(request: Request) -> Response:
    return PlainTextResponse("hello")


async def test_the_id_of_a_request_stands_in_its_state_and_in_its_answer() -> None:
    async def show_id(request: Request) -> Response:
        return PlainTextResponse(request.state.request_id)

    async with http_client(
        build_middleware(Starlette(routes=[Route("/", show_id)]), RecordingObserver())
    ) as client:
        response = await client.get("/", headers={"X-Request-Id": "chosen by the caller"})

    assert (response.headers.get_list("X-Request-Id"), response.text) == (["00000001"], "00000001")


async def test_two_requests_never_have_the_same_id() -> None:
    requests = RequestLoggingMiddleware(
        PlainTextResponse("hello"),
        observer=RecordingObserver(),
        rate_limits=make_rate_limits(),
        random_bytes=os.urandom,
        monotonic=stepping_clock(),
    )
    async with http_client(requests) as client:
        responses = await asyncio.gather(*(client.get("/") for _ in range(20)))

    ids = {response.headers["X-Request-Id"] for response in responses}
    assert len(ids) == 20
    assert all(len(bytes.fromhex(an_id)) == 4 and an_id == an_id.lower() for an_id in ids)


async def test_everything_known_about_a_request_is_told() -> None:
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
        RequestRecord(
            request_id="00000001",
            method="POST",
            route="/posts/{post_id}",
            path="/posts/17",
            status=200,
            duration=timedelta(seconds=0.25),
            body_bytes=5,
            client_address="203.0.113.7",
            api="graphql",
            api_key_id=KEY_ID,
            workspace_id=WORKSPACE_ID,
            operation_name=("Posts" * 100)[:200],
            operation_type="query",
            error_codes=("not_found",),
            is_latency_measured=True,
        )
    ]
    assert observer.started == 1
    assert TOKEN not in repr(observer.finished)
    assert "secret" not in repr(observer.finished)


async def test_a_request_that_got_nowhere_is_told_as_well() -> None:
    observer = RecordingObserver()
    client = ASGIClient()

    scope = http_scope("GET", "/no\nsuch path/é" + "x" * 1000)
    await build_middleware(PlainTextResponse("", 404), observer)(scope, client.receive, client.send)

    assert observer.finished == [
        RequestRecord(
            request_id="00000001",
            method="GET",
            route=None,
            path="/no\nsuch path/é" + "x" * 185,
            status=404,
            duration=timedelta(seconds=0.25),
            body_bytes=0,
            client_address=None,
            api=None,
            api_key_id=None,
            workspace_id=None,
            operation_name=None,
            operation_type=None,
            error_codes=(),
            is_latency_measured=True,
        )
    ]


async def test_the_route_that_a_door_notes_wins_over_the_router() -> None:
    observer = RecordingObserver()

    async def endpoint(request: Request) -> Response:
        request_state(request.scope)["route"] = "/v1/posts/{post_id}"
        return PlainTextResponse("hello")

    async with http_client(
        build_middleware(Starlette(routes=[Route("/{rest:path}", endpoint)]), observer)
    ) as client:
        await client.get("/v1/posts/17")

    assert [request.route for request in observer.finished] == ["/v1/posts/{post_id}"]


async def test_all_bytes_of_a_streamed_answer_are_counted() -> None:
    observer = RecordingObserver()

    async with http_client(
        build_middleware(StreamingResponse(iter(["ab", "", "cde"])), observer)
    ) as client:
        await client.get("/")

    assert [request.body_bytes for request in observer.finished] == [5]


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
        ("GET", "/refusing", 401),
        ("GET", "/missing", 404),
        ("GET", "/unknown", 404),
        ("GET", "/failing", 500),
        ("GET", "/livez", 200),
        ("OPTIONS", "/hello", 405),
    ],
)
async def test_every_kind_of_answer_has_the_same_headers(
    method: str, path: str, status: int
) -> None:
    routes = [
        Route("/hello", hello_endpoint, methods=["GET"]),
        Route("/refusing", unauthorized_endpoint),
        Route("/missing", not_found_endpoint),
        Route("/failing", failing_endpoint),
        Route("/livez", hello_endpoint),
    ]
    app = Starlette(routes=routes)
    async with http_client(
        build_middleware(app.router, RecordingObserver(), limits=RATE_LIMITS)
    ) as client:
        response = await client.request(method, path)

    assert response.status_code == status
    assert response.headers["X-Request-Id"] == "00000001"
    assert rate_headers(response) == ("2", "2", RESET_AT)


async def test_without_limits_the_headers_say_a_million() -> None:
    async with http_client(
        build_middleware(PlainTextResponse("hello"), RecordingObserver())
    ) as client:
        response = await client.get("/")

    assert rate_headers(response) == ("1000000", "1000000", RESET_AT)


async def test_an_answer_to_a_key_shows_what_the_key_has_left() -> None:
    limited = make_rate_limits(limits.parse_many("2/minute"))

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        limited.charge_request(KEY_ID, request_state(scope))
        await PlainTextResponse("hello")(scope, receive, send)

    async with http_client(build_middleware(api, RecordingObserver(), limits=limited)) as client:
        responses = [await client.get("/") for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert [rate_headers(response) for response in responses] == [
        ("2", "1", RESET_AT),
        ("2", "0", RESET_AT),
        ("2", "0", RESET_AT),
    ]
    assert responses[2].headers["Retry-After"] == "60"


async def test_a_client_that_went_away_is_told_as_499_and_is_no_failure() -> None:
    observer = RecordingObserver()
    client = ASGIClient()
    is_running = asyncio.Event()

    async def works(scope: Scope, receive: Receive, send: Send) -> None:
        is_running.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(
        build_middleware(works, observer)(http_scope(), client.receive, client.send)
    )
    await is_running.wait()
    client.disconnect()
    await request

    assert [finished.status for finished in observer.finished] == [499]
    assert observer.failures == []
    assert client.sent == []


async def test_a_client_that_went_away_while_sending_is_told_as_499_and_is_no_failure() -> None:
    observer = RecordingObserver()
    client = ASGIClient(b"half")
    client.disconnect()

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    scope = http_scope("POST", headers=[(b"content-length", b"8")])
    await build_middleware(reads, observer)(scope, client.receive, client.send)

    assert [finished.status for finished in observer.finished] == [499]
    assert observer.failures == []


async def test_a_client_that_went_away_after_its_answer_got_its_answer() -> None:
    observer = RecordingObserver()
    client = ASGIClient()

    async def listens_on(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await PlainTextResponse("hello")(scope, receive, send)
        assert await receive() == {"type": "http.disconnect"}

    await build_middleware(listens_on, observer)(http_scope(), client.receive, client.send)

    assert [finished.status for finished in observer.finished] == [200]


async def test_a_request_that_the_server_stops_is_told() -> None:
    observer = RecordingObserver()
    client = ASGIClient()
    is_running = asyncio.Event()

    async def works(scope: Scope, receive: Receive, send: Send) -> None:
        is_running.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(
        build_middleware(works, observer)(http_scope(), client.receive, client.send)
    )
    await is_running.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request

    assert [finished.status for finished in observer.finished] == [500]


async def test_the_state_of_the_server_is_seen_and_not_changed() -> None:
    state = {"database": "opened once"}
    scope = {**http_scope(), "state": state}
    seen: list[object] = []
    client = ASGIClient()

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"]["database"])
        await PlainTextResponse("hello")(scope, receive, send)

    await build_middleware(api, RecordingObserver())(scope, client.receive, client.send)

    assert seen == ["opened once"]
    assert state == {"database": "opened once"}


async def test_a_quick_request_is_no_work_for_the_garbage_collector() -> None:
    client = ASGIClient()
    answers = build_middleware(PlainTextResponse("hello"), RecordingObserver())
    gc.collect()
    gc.disable()
    try:
        await answers(http_scope(), client.receive, client.send)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass_through_untold(kind: str) -> None:
    observer = RecordingObserver()
    passed: list[object] = []
    client = ASGIClient()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.extend((scope, receive, send))

    requests = build_middleware(app, observer, origins=["*"], timeout=LONG_TIMEOUT)
    await requests({"type": kind}, client.receive, client.send)

    assert passed == [{"type": kind}, client.receive, client.send]
    assert (observer.started, observer.finished) == (0, [])
