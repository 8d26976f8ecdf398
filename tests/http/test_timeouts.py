"""Timeouts and disconnects, with ASGI test doubles and mostly virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message

from app.http.application import Handler, HttpApplication
from app.http.body import read_body
from app.http.request import HttpRequest
from app.http.responses import BytesResponse, Response
from tests.http.asgi import (
    LONG_TIMEOUT,
    NO_TIME,
    ASGIClient,
    BlockingHandler,
    CallRecorder,
    VirtualTimeLoop,
    build_application,
    http_scope,
    responding,
    send_request,
)

T = TypeVar("T")

WITH_BODY = [(b"transfer-encoding", b"chunked")]
BODY_LIMIT = 1000
HELLO = BytesResponse(b"hello", 200, ())
TIMEOUT_RESPONSE = {
    "code": "service_unavailable",
    "message": "The request timed out after 0 s.",
    "id": "00000001",
}
TENTH = timedelta(seconds=0.1)


def with_timeout(
    handle: Handler, timeout: timedelta = LONG_TIMEOUT, recorder: CallRecorder | None = None
) -> HttpApplication:
    return build_application(handle, recorder, timeout=timeout)


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


def loop_time() -> float:
    return round(asyncio.get_running_loop().time(), 6)


async def stream_chunks() -> AsyncIterator[bytes]:
    for chunk in (b"a", b"b", b"c"):
        await asyncio.sleep(0)
        yield chunk


@pytest.mark.parametrize(
    ("response", "headers"),
    [
        (BytesResponse(b"abc", 200, ()), []),
        (BytesResponse(b"abc", 200, ()), WITH_BODY),
        (PlainTextResponse("abc"), []),
        (StreamingResponse(stream_chunks()), []),
    ],
    ids=["without body", "with body", "of Starlette", "streamed"],
)
async def test_response_in_time_is_unchanged_and_leaves_no_task(
    response: Response, headers: list[tuple[bytes, bytes]]
) -> None:
    before = asyncio.all_tasks()

    scope = http_scope("POST", headers=headers)
    client = await send_request(with_timeout(responding(response)), scope=scope)

    assert (client.status, client.body, client.has_response.is_set()) == (200, b"abc", True)
    assert asyncio.all_tasks() == before


async def test_timeout_cancels_handler_and_responds_503() -> None:
    handler, recorder = BlockingHandler(), CallRecorder()

    client = await send_request(with_timeout(handler, NO_TIME, recorder))

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)
    assert client.headers[b"retry-after"] == b"5"
    assert handler.was_cancelled
    assert handler.cleaned_up.is_set()
    assert (recorder.statuses, recorder.error_codes) == ([503], [("service_unavailable",)])


async def test_timeout_response_does_not_wait_for_cleanup() -> None:
    client = ASGIClient()
    clean_up = asyncio.Event()

    async def clean_up_slowly(_request: HttpRequest) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            await clean_up.wait()
        return HELLO

    request = asyncio.create_task(
        with_timeout(clean_up_slowly, NO_TIME)(http_scope(), client.receive, client.send)
    )
    await client.has_response.wait()

    assert client.status == 503
    assert not request.done()
    clean_up.set()
    await request


async def test_request_ends_after_its_timeout_response_and_leaves_its_task_uncancelled() -> None:
    client = ASGIClient()

    async def send_slowly(message: Message) -> None:
        await asyncio.sleep(0.01)
        await client.send(message)

    app = with_timeout(BlockingHandler(), NO_TIME)
    await app(http_scope(), client.receive, send_slowly)

    assert client.has_response.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_cleanup_is_not_cancelled() -> None:
    client = ASGIClient()
    cleaned_up = []

    async def clean_up_slowly(_request: HttpRequest) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            await client.has_response.wait()
            await asyncio.sleep(0.001)
            cleaned_up.append(True)
        return HELLO

    async def send_slowly(message: Message) -> None:
        await asyncio.sleep(0.001)
        await client.send(message)

    await with_timeout(clean_up_slowly, NO_TIME)(http_scope(), client.receive, send_slowly)

    assert cleaned_up == [True]


@pytest.mark.parametrize("response", [HELLO, PlainTextResponse("too late")])
@pytest.mark.parametrize("sends_itself", [False, True])
async def test_response_after_timeout_is_dropped(response: Response, *, sends_itself: bool) -> None:
    recorder = CallRecorder()

    async def handle(request: HttpRequest) -> Response:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if sends_itself and not isinstance(response, BytesResponse):
                await request.respond(response)
            return response
        raise AssertionError("an event that is never set")

    client = await send_request(with_timeout(handle, NO_TIME, recorder))

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)
    assert recorder.statuses == [503]
    assert len(client.sent) == 2


async def test_timeout_leaves_started_response_incomplete() -> None:
    handler = BlockingHandler(starts_response=True)

    client = await send_request(with_timeout(handler, NO_TIME))

    assert handler.was_cancelled
    assert (client.status, client.body, client.has_response.is_set()) == (200, b"beginning", False)


async def test_exception_during_cleanup_is_reported_after_timeout_response() -> None:
    recorder = CallRecorder()
    error = LookupError("cleanup failed")

    async def fail_at_cleanup(_request: HttpRequest) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            raise error

    client = await send_request(with_timeout(fail_at_cleanup, NO_TIME, recorder))

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)
    assert recorder.failures == [("00000001", error)]
    assert recorder.statuses == [503]


async def block_event_loop(_request: HttpRequest) -> Response:
    """Handle a request like one that needs much CPU time."""
    end = asyncio.get_running_loop().time() + 0.025
    while asyncio.get_running_loop().time() < end:
        pass
    return HELLO


async def test_wait_for_the_start_counts_against_the_timeout() -> None:
    recorder = CallRecorder()
    app = with_timeout(block_event_loop, timedelta(milliseconds=60), recorder)

    clients = await asyncio.gather(*(send_request(app) for _ in range(10)))

    assert [client.status for client in clients[:2]] == [200, 200]
    body = json.loads(clients[-1].body)
    assert (body["code"], body["id"]) == ("service_unavailable", "0000000a")
    assert clients[-1].headers[b"retry-after"] == b"5"
    assert 2 <= recorder.statuses.count(200) <= 5


# Bodies


async def test_handler_receives_every_message_then_disconnect() -> None:
    received: list[Message] = []

    async def receive_all(request: HttpRequest) -> Response:
        while not received or received[-1]["type"] != "http.disconnect":
            received.append(await request.receive())
            if len(received) == 3:
                await request.respond(PlainTextResponse("thank you"))
        raise asyncio.CancelledError

    scope = http_scope("POST", headers=WITH_BODY)
    recorder = CallRecorder()
    app = with_timeout(receive_all, recorder=recorder)
    await send_request(app, b"one", b"two", b"three", scope=scope)

    assert received == [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"three", "more_body": False},
        {"type": "http.disconnect"},
    ]
    assert recorder.statuses == [200]


async def echo(request: HttpRequest) -> Response:
    return BytesResponse(await read_body(request, BODY_LIMIT), 200, ())


async def echo_after_threshold(request: HttpRequest) -> Response:
    await asyncio.sleep(0.03)
    return await echo(request)


@pytest.mark.parametrize("handle", [echo, echo_after_threshold])
@pytest.mark.parametrize("delay", [0, 0.05])
@pytest.mark.parametrize("pieces", [[], [b"un", b"announced", b" body"]])
def test_body_without_header_is_delivered_in_order(
    pieces: list[bytes], delay: float, handle: Handler
) -> None:
    """A server of HTTP/2 announces no body; the watcher must not receive a part of it."""
    client = ASGIClient(*pieces)

    async def receive() -> Message:
        message = await client.receive()
        await asyncio.sleep(delay)
        return message

    run_in_virtual_time(with_timeout(handle)(http_scope("POST"), receive, client.send))

    assert client.body == b"".join(pieces)


async def test_body_is_read_on_demand_only() -> None:
    scope = http_scope("POST", headers=[(b"content-length", b"9")])

    client = await send_request(with_timeout(responding(HELLO)), b"never", b"read", scope=scope)

    assert client.body == b"hello"
    assert client.pieces_taken == 0


async def test_endless_body_times_out() -> None:
    client = ASGIClient(b"first", b"never sent")

    async def receive() -> Message:
        if client.pieces_taken:
            await asyncio.Event().wait()
        return await client.receive()

    scope = http_scope("POST", headers=WITH_BODY)
    await with_timeout(echo, timedelta(milliseconds=1))(scope, receive, client.send)

    assert client.status == 503


# Virtual time


def delayed(seconds: float, *, has_timeout: bool = True) -> Handler:
    async def handle(request: HttpRequest) -> Response:
        request.has_timeout = has_timeout
        await asyncio.sleep(seconds)
        return HELLO

    return handle


async def response_time(app: ASGIApp, *, start_delay: float = 0) -> tuple[int | None, float]:
    """Status of a request that starts after `start_delay`, and the loop time of its response."""
    await asyncio.sleep(start_delay)
    client = await send_request(app)
    return client.status, loop_time()


@pytest.mark.parametrize(
    ("timeout", "duration", "expected"),
    [
        (0.1, 0.099, (200, 0.099)),
        (0.1, 0.101, (503, 0.1)),
        (0.1, 9, (503, 0.1)),
        (30, 29.999, (200, 29.999)),
        (30, 30.001, (503, 30)),
        (30, 0.001, (200, 0.001)),
    ],
)
def test_response_must_complete_within_timeout(
    timeout: float, duration: float, expected: tuple[int, float]
) -> None:
    app = with_timeout(delayed(duration), timedelta(seconds=timeout))

    assert run_in_virtual_time(response_time(app)) == expected


def test_disabled_timeout_does_not_cancel() -> None:
    app = with_timeout(delayed(9, has_timeout=False), TENTH)

    assert run_in_virtual_time(response_time(app)) == (200, 9)


def test_background_task_is_not_cancelled() -> None:
    finished_at: list[float] = []

    async def background_work() -> None:
        await asyncio.sleep(9)
        finished_at.append(loop_time())

    response = PlainTextResponse("done", background=BackgroundTask(background_work))
    client = run_in_virtual_time(send_request(with_timeout(responding(response), TENTH)))

    assert (client.status, client.body, finished_at) == (200, b"done", [9])


def test_concurrent_requests_have_separate_timeouts() -> None:
    app = with_timeout(delayed(1), timedelta(seconds=0.5))
    starts = [number * 0.007 for number in range(100)]

    async def run_concurrently() -> list[tuple[int | None, float]]:
        return await asyncio.gather(*(response_time(app, start_delay=start) for start in starts))

    assert run_in_virtual_time(run_concurrently()) == [
        (503, round(start + 0.5, 6)) for start in starts
    ]


def test_quick_requests_share_one_timer() -> None:
    app = with_timeout(responding(HELLO))
    loop = VirtualTimeLoop()

    async def run_sequentially() -> None:
        for _ in range(1000):
            assert await response_time(app) == (200, 0)
        assert loop.timers == 1
        await asyncio.sleep(10)  # sets a timer of its own

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run_sequentially())
    assert loop.timers == 2


@pytest.mark.parametrize("has_timeout", [True, False])
def test_disconnect_cancels_handler_after_slow_threshold(*, has_timeout: bool) -> None:
    client = ASGIClient()
    handler = BlockingHandler(starts_response=not has_timeout)

    async def start(request: HttpRequest) -> Response:
        request.has_timeout = has_timeout
        asyncio.get_running_loop().call_later(0.005, client.disconnect)
        return await handler(request)

    async def disconnect_early() -> float:
        await with_timeout(start)(http_scope(), client.receive, client.send)
        return loop_time()

    assert run_in_virtual_time(disconnect_early()) == 0.02
    assert handler.was_cancelled
    assert handler.cleaned_up.is_set()
    assert client.body == (b"" if has_timeout else b"beginning")


@pytest.mark.parametrize(("delay", "noticed_at"), [(0, 0.02), (0.3, 0.9)])
def test_disconnect_after_body_cancels_handler(delay: float, noticed_at: float) -> None:
    client = ASGIClient(b"half", b"half")
    handler = BlockingHandler()

    async def receive() -> Message:
        await asyncio.sleep(delay)
        return await client.receive()

    async def read_body_first(request: HttpRequest) -> Response:
        assert await read_body(request, BODY_LIMIT) == b"halfhalf"
        client.disconnect()
        return await handler(request)

    async def send_body() -> float:
        scope = http_scope("POST", headers=WITH_BODY)
        await with_timeout(read_body_first)(scope, receive, client.send)
        return loop_time()

    assert run_in_virtual_time(send_body()) == noticed_at
    assert handler.was_cancelled
    assert client.sent == []


def test_timeouts_work_after_event_loop_was_replaced() -> None:
    app = with_timeout(delayed(9), TENTH)

    async def start_request() -> None:
        request = asyncio.create_task(response_time(app))
        await asyncio.sleep(0.01)
        assert not request.done()

    run_in_virtual_time(start_request())
    assert run_in_virtual_time(response_time(app)) == (503, 0.1)


def test_event_loops_have_separate_timers() -> None:
    app = with_timeout(delayed(9), TENTH)

    async def run_both() -> list[int | None]:
        results = await asyncio.gather(response_time(app), response_time(app, start_delay=0.05))
        return [status for status, _ in results]

    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(lambda: asyncio.run(run_both())) for _ in range(4)]
        assert [run.result() for run in runs] == [[503, 503]] * 4
