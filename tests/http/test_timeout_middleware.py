"""Timeouts and disconnects, with ASGI test doubles and mostly virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.request_scope import request_state
from app.http.timeout_middleware import RequestTimeoutMiddleware
from tests.http.asgi import (
    LONG_TIMEOUT,
    NO_TIME,
    ASGIClient,
    BlockingApp,
    VirtualTimeLoop,
    http_scope,
    render_error,
)

WITH_BODY = [(b"transfer-encoding", b"chunked")]
TIMEOUT_RESPONSE = {
    "code": "service_unavailable",
    "message": "The request timed out after 0 s.",
    "id": "0000cafe",
}


def with_timeout(app: ASGIApp, timeout: timedelta = LONG_TIMEOUT) -> RequestTimeoutMiddleware:
    return RequestTimeoutMiddleware(app, timeout=timeout, render=render_error)


async def test_response_in_time_is_unchanged() -> None:
    client = ASGIClient()

    await with_timeout(PlainTextResponse("hello"))(http_scope(), client.receive, client.send)

    assert (client.status, client.body, client.has_response.is_set()) == (200, b"hello", True)


async def test_timeout_cancels_app_and_responds_503() -> None:
    client = ASGIClient()
    app = BlockingApp()
    scope = http_scope()

    await with_timeout(app, NO_TIME)(scope, client.receive, client.send)

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
    client = ASGIClient()

    async def ignore_cancellation(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await PlainTextResponse("too late")(scope, receive, send)

    await with_timeout(ignore_cancellation, NO_TIME)(http_scope(), client.receive, client.send)

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)


async def test_timeout_leaves_started_response_incomplete() -> None:
    client = ASGIClient()
    app = BlockingApp(starts_response=True)

    await with_timeout(app, NO_TIME)(http_scope(), client.receive, client.send)

    assert app.was_cancelled
    assert (client.status, client.body, client.has_response.is_set()) == (200, b"beginning", False)


async def test_exception_during_cleanup_propagates() -> None:
    client = ASGIClient()

    async def failing_app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("cleanup failed")

    with pytest.raises(LookupError, match="cleanup failed"):
        await with_timeout(failing_app, NO_TIME)(http_scope(), client.receive, client.send)

    assert client.status == 503


async def test_disabled_timeout_does_not_cancel() -> None:
    client = ASGIClient()

    async def respond_slowly(scope: Scope, receive: Receive, send: Send) -> None:
        request_state(scope)["disable_timeout"]()
        await asyncio.sleep(0.01)
        await PlainTextResponse("hello")(scope, receive, send)

    await with_timeout(respond_slowly, timedelta(milliseconds=1))(
        http_scope(), client.receive, client.send
    )

    assert (client.status, client.body) == (200, b"hello")


async def test_disconnect_cancels_app() -> None:
    client = ASGIClient()
    app = BlockingApp()
    request = asyncio.create_task(with_timeout(app)(http_scope(), client.receive, client.send))
    await app.is_running.wait()

    client.disconnect()
    await request

    assert app.was_cancelled
    assert app.cleaned_up.is_set()
    assert client.sent == []


async def test_disconnect_cancels_app_with_disabled_timeout() -> None:
    client = ASGIClient()
    app = BlockingApp(starts_response=True)
    scope = http_scope()
    request = asyncio.create_task(with_timeout(app)(scope, client.receive, client.send))
    await app.is_running.wait()
    request_state(scope)["disable_timeout"]()

    client.disconnect()
    await request

    assert app.was_cancelled
    assert client.body == b"beginning"


async def test_disconnect_after_body_cancels_app() -> None:
    client = ASGIClient(b"half", b"half")
    app = BlockingApp()

    async def read_body_first(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == b"halfhalf"
        await app(scope, receive, send)

    scope = http_scope("POST", headers=WITH_BODY)
    request = asyncio.create_task(with_timeout(read_body_first)(scope, client.receive, client.send))
    await app.is_running.wait()

    client.disconnect()
    await request

    assert app.was_cancelled


async def test_app_receives_every_message_then_disconnect() -> None:
    client = ASGIClient(b"one", b"two", b"three")
    received: list[Message] = []

    async def receive_all(scope: Scope, receive: Receive, send: Send) -> None:
        while not received or received[-1]["type"] != "http.disconnect":
            received.append(await receive())
            if len(received) == 3:
                await PlainTextResponse("thank you")(scope, receive, send)

    scope = http_scope("POST", headers=WITH_BODY)
    await with_timeout(receive_all)(scope, client.receive, client.send)

    assert received == [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"three", "more_body": False},
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize("pieces", [[], [b"un", b"announced"]])
async def test_body_without_header_is_delivered(pieces: list[bytes]) -> None:
    client = ASGIClient(*pieces)

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)

    await with_timeout(echo)(http_scope("POST"), client.receive, client.send)

    assert client.body == b"".join(pieces)


async def test_body_is_read_on_demand_only() -> None:
    client = ASGIClient(b"never", b"read")
    scope = http_scope("POST", headers=[(b"content-length", b"9")])

    await with_timeout(PlainTextResponse("refused"))(scope, client.receive, client.send)

    assert client.body == b"refused"
    assert client.pieces_taken == 0


async def test_endless_body_times_out() -> None:
    client = ASGIClient(b"first", b"never sent")
    scope = http_scope("POST", headers=WITH_BODY)

    async def receive() -> Message:
        if client.pieces_taken:
            await asyncio.Event().wait()
        return await client.receive()

    async def read_body(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    await with_timeout(read_body, timedelta(milliseconds=1))(scope, receive, client.send)

    assert client.status == 503


async def test_streamed_response_is_delivered() -> None:
    client = ASGIClient()

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"b", b"c"):
            await asyncio.sleep(0)
            yield chunk

    await with_timeout(StreamingResponse(chunks()))(http_scope(), client.receive, client.send)

    assert (client.body, client.has_response.is_set()) == (b"abc", True)


async def test_background_task_is_not_cancelled() -> None:
    client = ASGIClient()
    finished = []

    async def background_work() -> None:
        for _ in range(5):
            await asyncio.sleep(0.002)
        finished.append(client.has_response.is_set())

    response = PlainTextResponse("done", background=BackgroundTask(background_work))
    await with_timeout(response, timedelta(milliseconds=5))(
        http_scope(), client.receive, client.send
    )

    assert finished == [True]


async def test_exception_of_app_propagates() -> None:
    client = ASGIClient()

    async def failing_app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("failure")

    with pytest.raises(LookupError, match="failure"):
        await with_timeout(failing_app)(http_scope(), client.receive, client.send)


async def test_app_that_cancels_itself_is_a_failure() -> None:
    client = ASGIClient()

    async def cancel_itself(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled by its own code"):
        await with_timeout(cancel_itself)(http_scope(), client.receive, client.send)


async def test_cancellation_by_server_cancels_app() -> None:
    client = ASGIClient()
    app = BlockingApp()
    request = asyncio.create_task(with_timeout(app)(http_scope(), client.receive, client.send))
    await app.is_running.wait()

    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request

    assert app.was_cancelled
    assert app.cleaned_up.is_set()


@pytest.mark.parametrize("headers", [[], WITH_BODY])
async def test_no_task_remains_after_request(headers: list[tuple[bytes, bytes]]) -> None:
    client = ASGIClient()
    before = asyncio.all_tasks()

    scope = http_scope("POST", headers=headers)
    await with_timeout(PlainTextResponse("hello"))(scope, client.receive, client.send)

    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_are_passed_on(kind: str) -> None:
    client = ASGIClient()
    passed: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.extend((scope, receive, send))

    scope = {"type": kind}
    await with_timeout(app, NO_TIME)(scope, client.receive, client.send)

    assert passed == [{"type": kind}, client.receive, client.send]


def delayed_app(seconds: float) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(seconds)
        await PlainTextResponse("hello")(scope, receive, send)

    return app


async def response_time(app: ASGIApp, *, start_delay: float = 0) -> tuple[int | None, float]:
    """Status of a request that starts after `start_delay`, and the loop time of its response."""
    await asyncio.sleep(start_delay)
    client = ASGIClient()
    await app(http_scope(), client.receive, client.send)
    return client.status, round(asyncio.get_running_loop().time(), 6)


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

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(response_time(app)) == expected


def test_concurrent_requests_have_separate_timeouts() -> None:
    app = with_timeout(delayed_app(1), timedelta(seconds=0.5))
    starts = [number * 0.007 for number in range(100)]

    async def run_concurrently() -> list[tuple[int | None, float]]:
        return await asyncio.gather(*(response_time(app, start_delay=start) for start in starts))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run_concurrently()) == [(503, round(start + 0.5, 6)) for start in starts]


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


def test_disconnect_is_noticed_after_slow_threshold() -> None:
    client = ASGIClient()
    disconnected_at = 0.005
    app = BlockingApp()

    async def disconnect_early() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(disconnected_at, client.disconnect)
        await with_timeout(app)(http_scope(), client.receive, client.send)
        return loop.time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(disconnect_early()) == 0.02
    assert app.was_cancelled


def test_disconnect_is_noticed_after_slow_body() -> None:
    client = ASGIClient(b"half", b"half")
    app = BlockingApp()

    async def receive() -> Message:
        await asyncio.sleep(0.3)
        return await client.receive()

    async def read_body_first(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == b"halfhalf"
        client.disconnect()
        await app(scope, receive, send)

    async def send_slow_body() -> float:
        scope = http_scope("POST", headers=WITH_BODY)
        await with_timeout(read_body_first)(scope, receive, client.send)
        return round(asyncio.get_running_loop().time(), 6)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(send_slow_body()) == 0.9
    assert app.was_cancelled


def test_timeouts_work_after_event_loop_was_replaced() -> None:
    app = with_timeout(delayed_app(9), timedelta(seconds=0.1))

    async def start_request() -> None:
        request = asyncio.create_task(response_time(app))
        await asyncio.sleep(0.01)
        assert not request.done()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(start_request())
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(response_time(app)) == (503, 0.1)


def test_event_loops_have_separate_timers() -> None:
    app = with_timeout(delayed_app(9), timedelta(seconds=0.1))

    def statuses() -> list[int | None]:
        async def run_both() -> list[int | None]:
            results = await asyncio.gather(response_time(app), response_time(app, start_delay=0.05))
            return [status for status, _ in results]

        with asyncio.Runner() as runner:
            return runner.run(run_both())

    with ThreadPoolExecutor() as threads:
        assert [future.result() for future in [threads.submit(statuses) for _ in range(4)]] == (
            [[503, 503]] * 4
        )
