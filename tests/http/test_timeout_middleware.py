"""Timeouts and disconnects, with ASGI test doubles and mostly virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.request_scope import request_state
from app.http.timeout_middleware import RequestTimeoutMiddleware
from tests.http.asgi import (
    LONG_TIMEOUT,
    NO_TIME,
    ASGIClient,
    BlockingApp,
    VirtualTimeLoop,
    cancel_when_running,
    http_scope,
    render_error,
    send_request,
)

T = TypeVar("T")

WITH_BODY = [(b"transfer-encoding", b"chunked")]
TIMEOUT_RESPONSE = {
    "code": "service_unavailable",
    "message": "The request timed out after 0 s.",
    "id": "0000cafe",
}
TENTH = timedelta(seconds=0.1)


def with_timeout(app: ASGIApp, timeout: timedelta = LONG_TIMEOUT) -> RequestTimeoutMiddleware:
    return RequestTimeoutMiddleware(app, timeout=timeout, render=render_error)


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
        (PlainTextResponse("abc"), []),
        (PlainTextResponse("abc"), WITH_BODY),
        (StreamingResponse(stream_chunks()), []),
    ],
    ids=["without body", "with body", "streamed"],
)
async def test_response_in_time_is_unchanged_and_leaves_no_task(
    response: Response, headers: list[tuple[bytes, bytes]]
) -> None:
    before = asyncio.all_tasks()

    client = await send_request(with_timeout(response), scope=http_scope("POST", headers=headers))

    assert (client.status, client.body, client.has_response.is_set()) == (200, b"abc", True)
    assert asyncio.all_tasks() == before


async def test_timeout_cancels_app_and_responds_503() -> None:
    app, scope = BlockingApp(), http_scope()

    client = await send_request(with_timeout(app, NO_TIME), scope=scope)

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)
    assert (b"retry-after", b"5") in client.sent[0]["headers"]
    assert app.was_cancelled
    assert app.cleaned_up.is_set()
    assert request_state(scope)["error_codes"] == ["service_unavailable"]


async def test_timeout_response_does_not_wait_for_cleanup() -> None:
    client = ASGIClient()
    clean_up = asyncio.Event()

    async def clean_up_slowly(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await clean_up.wait()

    request = asyncio.create_task(
        with_timeout(clean_up_slowly, NO_TIME)(http_scope(), client.receive, client.send)
    )
    await client.has_response.wait()

    assert client.status == 503
    assert not request.done()
    clean_up.set()
    await request


async def test_cleanup_is_not_cancelled() -> None:
    client = ASGIClient()
    cleaned_up = []

    async def clean_up_slowly(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await client.has_response.wait()
            await asyncio.sleep(0.001)
            cleaned_up.append(True)

    async def send_slowly(message: Message) -> None:
        await asyncio.sleep(0.001)
        await client.send(message)

    await with_timeout(clean_up_slowly, NO_TIME)(http_scope(), client.receive, send_slowly)

    assert cleaned_up == [True]


async def test_messages_after_timeout_are_dropped() -> None:
    async def ignore_cancellation(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await PlainTextResponse("too late")(scope, receive, send)

    client = await send_request(with_timeout(ignore_cancellation, NO_TIME))

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)


async def test_timeout_leaves_started_response_incomplete() -> None:
    app = BlockingApp(starts_response=True)

    client = await send_request(with_timeout(app, NO_TIME))

    assert app.was_cancelled
    assert (client.status, client.body, client.has_response.is_set()) == (200, b"beginning", False)


async def test_exception_during_cleanup_propagates_after_timeout_response() -> None:
    client = ASGIClient()

    async def fail_at_cleanup(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("cleanup failed")

    with pytest.raises(LookupError, match="cleanup failed"):
        await with_timeout(fail_at_cleanup, NO_TIME)(http_scope(), client.receive, client.send)

    assert client.status == 503


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (LookupError("failure"), LookupError, "failure"),
        (asyncio.CancelledError(), RuntimeError, "cancelled by its own code"),
    ],
    ids=["exception", "app that cancels itself"],
)
async def test_exception_of_app_propagates_and_its_own_cancellation_is_a_failure(
    raised: BaseException, expected: type[Exception], message: str
) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise raised

    with pytest.raises(expected, match=message):
        await send_request(with_timeout(fail))


async def test_cancellation_by_server_cancels_app() -> None:
    app = BlockingApp()

    await cancel_when_running(with_timeout(app), app, ASGIClient())

    assert app.was_cancelled
    assert app.cleaned_up.is_set()


# Bodies


async def test_app_receives_every_message_then_disconnect() -> None:
    received: list[Message] = []

    async def receive_all(scope: Scope, receive: Receive, send: Send) -> None:
        while not received or received[-1]["type"] != "http.disconnect":
            received.append(await receive())
            if len(received) == 3:
                await PlainTextResponse("thank you")(scope, receive, send)

    scope = http_scope("POST", headers=WITH_BODY)
    await send_request(with_timeout(receive_all), b"one", b"two", b"three", scope=scope)

    assert received == [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"three", "more_body": False},
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize("pieces", [[], [b"un", b"announced"]])
async def test_body_without_header_is_delivered(pieces: list[bytes]) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)

    client = await send_request(with_timeout(echo), *pieces, scope=http_scope("POST"))

    assert client.body == b"".join(pieces)


async def test_body_is_read_on_demand_only() -> None:
    scope = http_scope("POST", headers=[(b"content-length", b"9")])

    client = await send_request(
        with_timeout(PlainTextResponse("refused")), b"never", b"read", scope=scope
    )

    assert client.body == b"refused"
    assert client.pieces_taken == 0


async def test_endless_body_times_out() -> None:
    client = ASGIClient(b"first", b"never sent")

    async def receive() -> Message:
        if client.pieces_taken:
            await asyncio.Event().wait()
        return await client.receive()

    async def read_body(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    scope = http_scope("POST", headers=WITH_BODY)
    await with_timeout(read_body, timedelta(milliseconds=1))(scope, receive, client.send)

    assert client.status == 503


# Virtual time


def delayed_app(seconds: float, *, disables_timeout: bool = False) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if disables_timeout:
            request_state(scope)["disable_timeout"]()
        await asyncio.sleep(seconds)
        await PlainTextResponse("hello")(scope, receive, send)

    return app


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
    app = with_timeout(delayed_app(duration), timedelta(seconds=timeout))

    assert run_in_virtual_time(response_time(app)) == expected


def test_disabled_timeout_does_not_cancel() -> None:
    app = with_timeout(delayed_app(9, disables_timeout=True), TENTH)

    assert run_in_virtual_time(response_time(app)) == (200, 9)


def test_background_task_is_not_cancelled() -> None:
    finished_at: list[float] = []

    async def background_work() -> None:
        await asyncio.sleep(9)
        finished_at.append(loop_time())

    response = PlainTextResponse("done", background=BackgroundTask(background_work))
    client = run_in_virtual_time(send_request(with_timeout(response, TENTH)))

    assert (client.status, client.body, finished_at) == (200, b"done", [9])


def test_concurrent_requests_have_separate_timeouts() -> None:
    app = with_timeout(delayed_app(1), timedelta(seconds=0.5))
    starts = [number * 0.007 for number in range(100)]

    async def run_concurrently() -> list[tuple[int | None, float]]:
        return await asyncio.gather(*(response_time(app, start_delay=start) for start in starts))

    assert run_in_virtual_time(run_concurrently()) == [
        (503, round(start + 0.5, 6)) for start in starts
    ]


def test_quick_requests_share_one_timer() -> None:
    app = with_timeout(PlainTextResponse("hello"))
    loop = VirtualTimeLoop()

    async def run_sequentially() -> None:
        for _ in range(1000):
            assert await response_time(app) == (200, 0)
        assert loop.timers == 1
        await asyncio.sleep(10)  # sets a timer of its own

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run_sequentially())
    assert loop.timers == 2


@pytest.mark.parametrize("disables_timeout", [False, True])
def test_disconnect_cancels_app_after_slow_threshold(*, disables_timeout: bool) -> None:
    client = ASGIClient()
    app = BlockingApp(starts_response=disables_timeout)

    async def start(scope: Scope, receive: Receive, send: Send) -> None:
        if disables_timeout:
            request_state(scope)["disable_timeout"]()
        asyncio.get_running_loop().call_later(0.005, client.disconnect)
        await app(scope, receive, send)

    async def disconnect_early() -> float:
        await with_timeout(start)(http_scope(), client.receive, client.send)
        return loop_time()

    assert run_in_virtual_time(disconnect_early()) == 0.02
    assert app.was_cancelled
    assert app.cleaned_up.is_set()
    assert client.body == (b"beginning" if disables_timeout else b"")


@pytest.mark.parametrize(("delay", "noticed_at"), [(0, 0.02), (0.3, 0.9)])
def test_disconnect_after_body_cancels_app(delay: float, noticed_at: float) -> None:
    client = ASGIClient(b"half", b"half")
    app = BlockingApp()

    async def receive() -> Message:
        await asyncio.sleep(delay)
        return await client.receive()

    async def read_body_first(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == b"halfhalf"
        client.disconnect()
        await app(scope, receive, send)

    async def send_body() -> float:
        scope = http_scope("POST", headers=WITH_BODY)
        await with_timeout(read_body_first)(scope, receive, client.send)
        return loop_time()

    assert run_in_virtual_time(send_body()) == noticed_at
    assert app.was_cancelled
    assert client.sent == []


def test_timeouts_work_after_event_loop_was_replaced() -> None:
    app = with_timeout(delayed_app(9), TENTH)

    async def start_request() -> None:
        request = asyncio.create_task(response_time(app))
        await asyncio.sleep(0.01)
        assert not request.done()

    run_in_virtual_time(start_request())
    assert run_in_virtual_time(response_time(app)) == (503, 0.1)


def test_event_loops_have_separate_timers() -> None:
    app = with_timeout(delayed_app(9), TENTH)

    async def run_both() -> list[int | None]:
        results = await asyncio.gather(response_time(app), response_time(app, start_delay=0.05))
        return [status for status, _ in results]

    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(lambda: asyncio.run(run_both())) for _ in range(4)]
        assert [run.result() for run in runs] == [[503, 503]] * 4
