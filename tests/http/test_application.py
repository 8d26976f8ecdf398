"""Common headers of responses, responses to exceptions, and the record of each request."""

import asyncio
import gc
import json
import os
import re
import tracemalloc
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.domain.errors import (
    BadCursor,
    InternalError,
    InvalidApiKey,
    MethodNotAllowed,
    NotFound,
    PostResultsError,
    RateLimitExceeded,
    ServiceUnavailable,
)
from app.domain.ids import ApiKeyId
from app.http.application import Handler, new_request_id
from app.http.body import read_body
from app.http.request import ABORT, HttpRequest
from app.http.responses import PIECE_BYTES, BytesResponse, Response
from tests.http.asgi import (
    NOW,
    ASGIClient,
    BlockingHandler,
    CallRecorder,
    VirtualTimeLoop,
    build_application,
    cancel_when_running,
    http_client,
    http_scope,
    make_rate_limits,
    raising,
    responding,
    send_request,
)

KEY_ID = ApiKeyId(UUID(int=1))
OTHER_KEY_ID = ApiKeyId(UUID(int=2))
RESET_AT = str(int(NOW.timestamp()) + 60)
HELLO = BytesResponse(b"hello", 200, [(b"content-type", b"text/plain")])
MASKED = {
    "code": "internal_error",
    "message": "Something went wrong on this server. Try again; if it stays, give its operator the"
    " request id.",
    "id": "00000001",
}


def rate_headers(response: httpx.Response) -> tuple[str, ...]:
    names = ("Limit", "Remaining", "Reset")
    return tuple(response.headers[f"X-RateLimit-{name}"] for name in names)


def large_body(pieces: int) -> bytes:
    return b"".join(b"%016x" % number for number in range(pieces * PIECE_BYTES // 16))


async def test_large_body_is_sent_in_pieces_without_the_request_timeout() -> None:
    class SlowReader(ASGIClient):
        async def send(self, message: Message) -> None:
            await asyncio.sleep(0.01)
            await super().send(message)

    body = large_body(20)
    recorder = CallRecorder()
    app = build_application(
        responding(BytesResponse(body, 200, ())), recorder, timeout=timedelta(seconds=0.1)
    )
    client = SlowReader()
    await app(http_scope(), client.receive, client.send)

    assert (client.body, client.headers[b"content-length"]) == (body, b"%d" % len(body))
    assert {len(message.get("body", b"")) for message in client.sent} == {0, PIECE_BYTES}
    ((request, status, _),) = recorder.finished
    assert (request.body_bytes, status) == (len(body), 200)


@pytest.mark.parametrize("pieces", [4, 19], ids=["in the middle", "before the last piece"])
async def test_client_that_reads_nothing_of_a_large_body_is_disconnected(pieces: int) -> None:
    class StoppedReader(ASGIClient):
        async def send(self, message: Message) -> None:
            if len(self.sent) == pieces + 1:
                await asyncio.Event().wait()
            await super().send(message)

    is_aborted = asyncio.Event()
    recorder = CallRecorder()
    app = build_application(
        responding(BytesResponse(large_body(20), 200, ())),
        recorder,
        send_timeout=timedelta(seconds=0.05),
    )
    client = StoppedReader()
    scope = {**http_scope(), "state": {ABORT: is_aborted.set}}
    async with asyncio.timeout(5):
        await app(scope, client.receive, client.send)

    assert (is_aborted.is_set(), len(client.body)) == (True, pieces * PIECE_BYTES)
    ((request, status, _),) = recorder.finished
    assert (request.body_bytes, status) == (pieces * PIECE_BYTES, 499)


class WaitingReader(ASGIClient):
    """Client that reads the body only from `may_read` on."""

    def __init__(self) -> None:
        super().__init__()
        self.may_read = asyncio.Event()

    async def send(self, message: Message) -> None:
        if self.sent:
            await self.may_read.wait()
        await super().send(message)


async def test_large_body_is_not_copied_while_it_waits() -> None:
    body, client = large_body(100), WaitingReader()
    app = build_application(responding(BytesResponse(body, 200, ())))
    tracemalloc.start()
    try:
        waiting = asyncio.create_task(app(http_scope(), client.receive, client.send))
        await asyncio.sleep(0.01)
        waiting_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    client.may_read.set()
    await waiting

    assert client.body == body
    assert waiting_bytes < len(body) / 5


@pytest.mark.parametrize(
    ("method", "operation_type", "status"),
    [
        ("GET", None, 503),
        ("POST", "query", 503),
        ("POST", "mutation", 200),
        ("PATCH", None, 200),
    ],
)
async def test_result_of_a_change_is_sent_however_many_large_bodies_wait(
    method: str, operation_type: str | None, status: int
) -> None:
    async def respond(request: HttpRequest) -> Response:
        request.operation_type = operation_type
        return BytesResponse(large_body(20), 200, ())

    app = build_application(respond, max_response_bytes=30 * PIECE_BYTES)
    first = WaitingReader()
    waiting = asyncio.create_task(app(http_scope(), first.receive, first.send))
    await asyncio.sleep(0.01)

    assert (await send_request(app, scope=http_scope(method))).status == status

    first.may_read.set()
    await waiting


@pytest.mark.parametrize(
    ("method", "operation_type", "status"),
    [
        ("GET", None, 200),
        ("POST", "query", 200),
        ("POST", "subscription", 200),
        ("POST", "mutation", 503),
        ("PATCH", None, 503),
    ],
)
async def test_no_change_begins_while_unread_responses_fill_the_share_of_its_key(
    method: str, operation_type: str | None, status: int
) -> None:
    rate_limits = make_rate_limits()
    executed: list[str] = []

    async def respond(request: HttpRequest) -> Response:
        is_large = request.path == "/large"
        request.api_key_id = OTHER_KEY_ID if request.path == "/other" else KEY_ID
        request.operation_type = "query" if is_large else operation_type
        rate_limits.charge_request(request)
        executed.append(request.path)
        return BytesResponse(large_body(20), 200, ()) if is_large else HELLO

    app = build_application(respond, max_response_bytes=40 * PIECE_BYTES)
    slow = WaitingReader()
    waiting = asyncio.create_task(app(http_scope(path="/large"), slow.receive, slow.send))
    await asyncio.sleep(0.01)
    client = await send_request(app, scope=http_scope(method, "/change"))
    other = await send_request(app, scope=http_scope(method, "/other"))

    assert (client.status, client.headers.get(b"retry-after")) == (
        (200, None) if status == 200 else (503, b"5")
    )
    assert other.status == 200
    assert executed == ["/large", *(["/change"] if status == 200 else []), "/other"]

    slow.may_read.set()
    await waiting
    assert (await send_request(app, scope=http_scope(method, "/change"))).status == 200


class TricklingReader(ASGIClient):
    """Client that reads one piece every two seconds, half of what a slow client may read."""

    async def send(self, message: Message) -> None:
        if self.sent:
            await asyncio.sleep(2)
        await super().send(message)


@pytest.mark.parametrize(
    ("refused_at", "seconds", "pieces"),
    [(None, 200, 100), (50, 200, 100), (100.5, 101, 50)],
    ids=["no one is refused", "another one was refused before", "another one is refused"],
)
def test_slow_client_of_a_large_body_is_disconnected_once_another_one_is_refused(
    refused_at: float | None, seconds: float, pieces: int
) -> None:
    recorder = CallRecorder()
    is_aborted = asyncio.Event()

    async def respond(_request: HttpRequest) -> Response:
        return BytesResponse(large_body(100), 200, ())

    async def run() -> tuple[float, ASGIClient]:
        app = build_application(respond, recorder, max_response_bytes=150 * PIECE_BYTES)
        slow = TricklingReader()
        scope = {**http_scope(), "state": {ABORT: is_aborted.set}}
        reading = asyncio.create_task(app(scope, slow.receive, slow.send))
        if refused_at is not None:
            await asyncio.sleep(refused_at)
            assert (await send_request(app)).status == 503
        await reading
        return asyncio.get_running_loop().time(), slow

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        ended_at, slow = runner.run(run())

    assert round(ended_at) == seconds
    assert len(slow.body) == pieces * PIECE_BYTES
    assert is_aborted.is_set() == (pieces < 100)
    assert recorder.statuses[-1] == (499 if pieces < 100 else 200)


async def test_large_bodies_that_wait_are_limited_and_others_are_sent() -> None:
    async def respond(request: HttpRequest) -> Response:
        return HELLO if request.path == "/small" else BytesResponse(large_body(20), 200, ())

    app = build_application(respond, max_response_bytes=30 * PIECE_BYTES)
    first = WaitingReader()
    waiting = asyncio.create_task(app(http_scope(), first.receive, first.send))
    await asyncio.sleep(0.01)

    assert (await send_request(app)).status == 503
    assert (await send_request(app, scope=http_scope(path="/small"))).body == b"hello"

    first.may_read.set()
    await waiting
    assert first.body == (await send_request(app)).body == large_body(20)


async def test_request_id_is_of_request_and_response() -> None:
    async def request_id(request: HttpRequest) -> Response:
        return PlainTextResponse(request.request_id)

    async with http_client(build_application(request_id)) as client:
        response = await client.get("/", headers={"X-Request-Id": "chosen by the client"})

    assert (response.headers.get_list("X-Request-Id"), response.text) == (["00000001"], "00000001")


def test_request_ids_are_unique() -> None:
    ids = {new_request_id(os.urandom) for _ in range(20)}

    assert len(ids) == 20
    assert all(re.fullmatch("[0-9a-f]{8}", request_id) for request_id in ids)


@pytest.mark.parametrize(
    ("handle", "status"),
    [
        (responding(HELLO), 200),
        (responding(PlainTextResponse("hello")), 200),
        (responding(StreamingResponse(iter(["hello"]))), 200),
        (responding(BytesResponse(b"", 304, [])), 304),
        (raising(InvalidApiKey("No such key.")), 401),
        (raising(NotFound("Not found.")), 404),
        (raising(MethodNotAllowed("No.", allowed="GET")), 405),
        (raising(LookupError("internals")), 500),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_every_response_has_common_headers(method: str, handle: Handler, status: int) -> None:
    app = build_application(handle, rate_limits=make_rate_limits("2/minute"))
    async with http_client(app) as client:
        response = await client.request(method, "/")

    assert response.status_code == status
    assert response.headers["X-Request-Id"] == "00000001"
    assert rate_headers(response) == ("2", "2", RESET_AT)


async def test_response_is_its_start_and_one_body() -> None:
    client = await send_request(build_application(responding(HELLO)))

    assert client.sent == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/plain"),
                (b"content-length", b"5"),
                (b"x-request-id", b"00000001"),
                (b"x-ratelimit-limit", b"1000000"),
                (b"x-ratelimit-remaining", b"1000000"),
                (b"x-ratelimit-reset", RESET_AT.encode()),
            ],
        },
        {"type": "http.response.body", "body": b"hello"},
    ]


@pytest.mark.parametrize("handle", [responding(HELLO), raising(NotFound("There is none."))])
async def test_draining_application_closes_connections(handle: Handler) -> None:
    client = await send_request(build_application(handle, is_draining=lambda: True))

    assert (b"connection", b"close") in client.sent[0]["headers"]


@pytest.mark.parametrize(("status", "length"), [(200, b"0"), (404, b"0"), (204, None), (304, None)])
async def test_only_a_response_that_may_have_content_has_a_length(
    status: int, length: bytes | None
) -> None:
    client = await send_request(build_application(responding(BytesResponse(b"", status, []))))

    assert client.headers.get(b"content-length") == length


async def test_response_shows_remaining_requests_of_key() -> None:
    rate_limits = make_rate_limits("2/minute")

    async def api(request: HttpRequest) -> Response:
        request.api_key_id = KEY_ID
        rate_limits.charge_request(request)
        return HELLO

    app = build_application(api, rate_limits=rate_limits)
    async with http_client(app) as client:
        responses = [await client.get("/") for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert [rate_headers(response) for response in responses] == [
        ("2", "1", RESET_AT),
        ("2", "0", RESET_AT),
        ("2", "0", RESET_AT),
    ]
    assert responses[2].headers["Retry-After"] == "60"


# Exceptions


def raising_after_start(error: Exception) -> Handler:
    """Create a handler of a stream that fails after its first bytes."""

    async def handle(request: HttpRequest) -> Response:
        await request.send({"type": "http.response.start", "status": 200})
        await request.send({"type": "http.response.body", "body": b"beginning", "more_body": True})
        raise error

    return handle


async def test_unexpected_exception_is_reported_and_masked() -> None:
    recorder = CallRecorder()
    error = LookupError("SELECT secret FROM /var/lib")

    client = await send_request(build_application(raising(error), recorder))

    assert (client.status, json.loads(client.body)) == (500, MASKED)
    assert recorder.failures == [("00000001", error)]
    assert recorder.error_codes == [("internal_error",)]


async def test_exception_after_start_leaves_response_incomplete() -> None:
    recorder = CallRecorder()
    error = LookupError("half-way")

    client = await send_request(build_application(raising_after_start(error), recorder))

    assert (client.status, client.body) == (200, b"beginning")
    assert not client.has_response.is_set()
    assert recorder.failures == [("00000001", error)]
    assert recorder.statuses == [200]
    assert recorder.error_codes == [("internal_error",)]


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
    recorder = CallRecorder()

    client = await send_request(build_application(raising(error), recorder))

    assert client.status == error.http_status
    assert json.loads(client.body) == {
        "code": error.code,
        "message": error.message,
        "id": "00000001",
    }
    assert recorder.failures == ([("00000001", error)] if is_reported else [])
    assert recorder.error_codes == [(error.code,)]


async def test_handler_that_cancels_itself_has_failed() -> None:
    recorder = CallRecorder()

    client = await send_request(build_application(raising(asyncio.CancelledError()), recorder))

    assert (client.status, json.loads(client.body)) == (500, MASKED)
    ((_, failure),) = recorder.failures
    assert isinstance(failure, RuntimeError)
    assert str(failure) == "The request's task was cancelled by its own code."


# Records


async def test_request_is_recorded_once_with_its_time() -> None:
    recorder = CallRecorder()

    await send_request(
        build_application(responding(HELLO), recorder), scope=http_scope("PUT", "/é")
    )

    assert recorder.started == 1
    ((request, status, seconds),) = recorder.finished
    assert (request.method, request.path, status, seconds) == ("PUT", "/é", 200, 0.25)
    assert (request.body_bytes, request.error_codes) == (5, ())
    assert recorder.failures == []


async def test_streamed_bytes_are_counted() -> None:
    recorder = CallRecorder()

    stream = StreamingResponse(iter(["ab", "", "cde"]))
    await send_request(build_application(responding(stream), recorder))

    assert [finished.request.body_bytes for finished in recorder.finished] == [5]


async def read_body_later(request: HttpRequest) -> Response:
    await asyncio.sleep(0)
    await read_body(request, 100)
    return HELLO


@pytest.mark.parametrize(
    ("handle", "headers"),
    [(BlockingHandler(), []), (read_body_later, [(b"content-length", b"8")])],
    ids=["while the handler works", "during the body"],
)
async def test_disconnected_client_is_recorded_as_499(
    handle: Handler, headers: list[tuple[bytes, bytes]]
) -> None:
    recorder = CallRecorder()
    client = ASGIClient(b"half")
    asyncio.get_running_loop().call_soon(client.disconnect)

    scope = http_scope("POST", headers=headers)
    await build_application(handle, recorder)(scope, client.receive, client.send)

    assert recorder.statuses == [499]
    assert recorder.failures == []
    assert client.sent == []


async def test_request_cancelled_by_server_is_recorded() -> None:
    recorder = CallRecorder()
    handler = BlockingHandler()

    await cancel_when_running(build_application(handler, recorder), handler, ASGIClient())

    assert recorder.statuses == [500]
    assert handler.was_cancelled
    assert handler.cleaned_up.is_set()


async def test_disconnect_after_response_keeps_status() -> None:
    recorder = CallRecorder()

    class ReceivingResponse(PlainTextResponse):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await super().__call__(scope, receive, send)
            assert await receive() == {"type": "http.disconnect"}

    await send_request(build_application(responding(ReceivingResponse("hello")), recorder))

    assert recorder.statuses == [200]


async def test_lifespan_state_is_passed_on_unchanged() -> None:
    state = {"database": "opened once"}
    databases: list[object] = []

    async def api(request: HttpRequest) -> Response:
        databases.append(request.scope["state"]["database"])
        return HELLO

    await send_request(build_application(api), scope={**http_scope(), "state": state})

    assert databases == ["opened once"]
    assert state == {"database": "opened once"}


async def test_quick_request_leaves_no_reference_cycle() -> None:
    app = build_application(responding(HELLO), _RecorderWithoutRequests())
    cycles = []
    gc.disable()
    try:
        for _ in range(3):
            client = ASGIClient()
            gc.collect()
            await app(http_scope(), client.receive, client.send)
            cycles.append(gc.collect())
    finally:
        gc.enable()
    # What other tests have left behind can become garbage during one of the requests.
    assert min(cycles) == 0


class _RecorderWithoutRequests(CallRecorder):
    """Stores no request, which would keep it from being collected."""

    def request_finished(self, request: object, status: int, seconds: float) -> None:
        """Store nothing."""
