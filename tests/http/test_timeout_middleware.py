"""Deadlines and clients that leave, on hand-driven ASGI; nothing here waits for a real deadline."""

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

from app.http.state import request_state
from app.http.timeout_middleware import RequestTimeoutMiddleware
from tests.http.asgi import (
    LONG_TIMEOUT,
    NO_TIME,
    ASGIClient,
    VirtualTimeLoop,
    http_scope,
    render_error,
)

WITH_BODY = [(b"transfer-encoding", b"chunked")]
TIMEOUT_RESPONSE = {
    "code": "service_unavailable",
    "message": "No answer within 0 s; the request was given up.",
    "id": "0000cafe",
}


class BlockingApp:
    """An app that works until it is cancelled, and notes what happened to it."""

    def __init__(self, *, starts_response: bool = False) -> None:
        self.starts_response = starts_response
        self.is_running = asyncio.Event()
        self.was_cancelled = False
        self.cleaned_up = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.starts_response:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"beginning", "more_body": True})
        self.is_running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            await asyncio.sleep(0)
            self.cleaned_up.set()


def with_timeout(app: ASGIApp, timeout: timedelta = LONG_TIMEOUT) -> RequestTimeoutMiddleware:
    return RequestTimeoutMiddleware(app, timeout=timeout, render=render_error)


async def test_an_answer_in_time_goes_through_unchanged() -> None:
    client = ASGIClient()

    await with_timeout(PlainTextResponse("hello"))(http_scope(), client.receive, client.send)

    assert (client.status, client.body, client.has_response.is_set()) == (200, b"hello", True)


async def test_after_the_deadline_the_work_is_cancelled_and_the_client_told() -> None:
    client = ASGIClient()
    work = BlockingApp()
    scope = http_scope()

    await with_timeout(work, NO_TIME)(scope, client.receive, client.send)

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)
    assert (b"retry-after", b"5") in client.sent[0]["headers"]
    assert work.was_cancelled
    assert work.cleaned_up.is_set()
    assert request_state(scope)["error_codes"] == ["service_unavailable"]


async def test_the_answer_after_the_deadline_does_not_wait_for_the_clean_up() -> None:
    client = ASGIClient()
    clean_up = asyncio.Event()

    async def slow_to_clean_up(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await clean_up.wait()

    request = asyncio.create_task(
        with_timeout(slow_to_clean_up, NO_TIME)(http_scope(), client.receive, client.send)
    )
    await client.has_response.wait()

    assert client.status == 503
    assert not request.done()
    clean_up.set()
    await request


async def test_the_clean_up_is_not_cancelled_in_its_turn() -> None:
    client = ASGIClient()
    cleaned_up = []

    async def slow_to_clean_up(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await client.has_response.wait()
            await asyncio.sleep(0.001)
            cleaned_up.append(True)

    async def send_slowly(message: Message) -> None:
        await asyncio.sleep(0.001)
        await client.send(message)

    await with_timeout(slow_to_clean_up, NO_TIME)(http_scope(), client.receive, send_slowly)

    assert cleaned_up == [True]


async def test_what_an_app_sends_after_it_was_given_up_is_dropped() -> None:
    client = ASGIClient()

    async def ignore_cancellation(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await PlainTextResponse("too late")(scope, receive, send)

    await with_timeout(ignore_cancellation, NO_TIME)(http_scope(), client.receive, client.send)

    assert (client.status, json.loads(client.body)) == (503, TIMEOUT_RESPONSE)


async def test_a_started_response_is_left_incomplete_after_the_deadline() -> None:
    client = ASGIClient()
    work = BlockingApp(starts_response=True)

    await with_timeout(work, NO_TIME)(http_scope(), client.receive, client.send)

    assert work.was_cancelled
    assert (client.status, client.body, client.has_response.is_set()) == (200, b"beginning", False)


async def test_a_failure_while_cleaning_up_is_not_lost() -> None:
    client = ASGIClient()

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("the clean-up failed")

    with pytest.raises(LookupError, match="the clean-up failed"):
        await with_timeout(fails, NO_TIME)(http_scope(), client.receive, client.send)

    assert client.status == 503


async def test_a_lifted_deadline_does_not_end_the_work() -> None:
    client = ASGIClient()

    async def respond_slowly(scope: Scope, receive: Receive, send: Send) -> None:
        request_state(scope)["disable_timeout"]()
        await asyncio.sleep(0.01)
        await PlainTextResponse("in my own time")(scope, receive, send)

    await with_timeout(respond_slowly, timedelta(milliseconds=1))(
        http_scope(), client.receive, client.send
    )

    assert (client.status, client.body) == (200, b"in my own time")


async def test_a_client_that_leaves_ends_the_work_that_answers_it() -> None:
    client = ASGIClient()
    work = BlockingApp()
    request = asyncio.create_task(with_timeout(work)(http_scope(), client.receive, client.send))
    await work.is_running.wait()

    client.disconnect()
    await request

    assert work.was_cancelled
    assert work.cleaned_up.is_set()
    assert client.sent == []


async def test_a_client_that_leaves_ends_a_lifted_deadline_as_well() -> None:
    client = ASGIClient()
    work = BlockingApp(starts_response=True)
    scope = http_scope()
    request = asyncio.create_task(with_timeout(work)(scope, client.receive, client.send))
    await work.is_running.wait()
    request_state(scope)["disable_timeout"]()

    client.disconnect()
    await request

    assert work.was_cancelled
    assert client.body == b"beginning"


async def test_a_client_that_leaves_after_sending_a_body_ends_the_work() -> None:
    client = ASGIClient(b"half", b"half")
    work = BlockingApp()

    async def reads_first(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == b"halfhalf"
        await work(scope, receive, send)

    scope = http_scope("POST", headers=WITH_BODY)
    request = asyncio.create_task(with_timeout(reads_first)(scope, client.receive, client.send))
    await work.is_running.wait()

    client.disconnect()
    await request

    assert work.was_cancelled


async def test_the_app_gets_every_message_and_the_disconnect_last() -> None:
    client = ASGIClient(b"one", b"two", b"three")
    received: list[Message] = []

    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        while not received or received[-1]["type"] != "http.disconnect":
            received.append(await receive())
            if len(received) == 3:
                await PlainTextResponse("thank you")(scope, receive, send)

    scope = http_scope("POST", headers=WITH_BODY)
    await with_timeout(listens)(scope, client.receive, client.send)

    assert received == [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"three", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_a_request_without_a_body_still_delivers_its_one_message() -> None:
    client = ASGIClient()

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await PlainTextResponse(repr(body))(scope, receive, send)

    await with_timeout(reads)(http_scope(), client.receive, client.send)

    assert client.body == b"b''"


async def test_a_body_that_no_header_announces_is_delivered_whole() -> None:
    client = ASGIClient(b"un", b"announced")

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)

    await with_timeout(reads)(http_scope("POST"), client.receive, client.send)

    assert client.body == b"unannounced"


async def test_a_body_is_not_read_for_an_app_that_does_not_ask_for_it() -> None:
    client = ASGIClient(b"never", b"read")
    scope = http_scope("POST", headers=[(b"content-length", b"9")])

    await with_timeout(PlainTextResponse("refused"))(scope, client.receive, client.send)

    assert client.body == b"refused"
    assert client.pieces_taken == 0


async def test_a_body_that_never_ends_meets_the_deadline() -> None:
    client = ASGIClient(b"first", b"never sent")
    scope = http_scope("POST", headers=WITH_BODY)

    async def receive() -> Message:
        if client.pieces_taken:
            await asyncio.Event().wait()
        return await client.receive()

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    await with_timeout(reads, timedelta(milliseconds=1))(scope, receive, client.send)

    assert client.status == 503


async def test_a_streamed_answer_is_delivered_whole() -> None:
    client = ASGIClient()

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"b", b"c"):
            await asyncio.sleep(0)
            yield piece

    await with_timeout(StreamingResponse(pieces()))(http_scope(), client.receive, client.send)

    assert (client.body, client.has_response.is_set()) == (b"abc", True)


async def test_work_after_a_complete_answer_is_not_disturbed() -> None:
    client = ASGIClient()
    finished = []

    async def afterwards() -> None:
        for _ in range(5):
            await asyncio.sleep(0.002)
        finished.append(client.has_response.is_set())

    response = PlainTextResponse("done", background=BackgroundTask(afterwards))
    await with_timeout(response, timedelta(milliseconds=5))(
        http_scope(), client.receive, client.send
    )

    assert finished == [True]


async def test_an_exception_of_the_app_comes_through() -> None:
    client = ASGIClient()

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("as it is")

    with pytest.raises(LookupError, match="as it is"):
        await with_timeout(fails)(http_scope(), client.receive, client.send)


async def test_work_that_is_cancelled_from_within_is_a_failure_and_no_end() -> None:
    client = ASGIClient()

    async def cancels_itself(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled from within"):
        await with_timeout(cancels_itself)(http_scope(), client.receive, client.send)


async def test_a_server_that_stops_the_request_stops_its_work() -> None:
    client = ASGIClient()
    work = BlockingApp()
    request = asyncio.create_task(with_timeout(work)(http_scope(), client.receive, client.send))
    await work.is_running.wait()

    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request

    assert work.was_cancelled
    assert work.cleaned_up.is_set()


@pytest.mark.parametrize("headers", [[], WITH_BODY])
async def test_nothing_is_left_running_after_a_request(headers: list[tuple[bytes, bytes]]) -> None:
    client = ASGIClient()
    before = asyncio.all_tasks()

    scope = http_scope("POST", headers=headers)
    await with_timeout(PlainTextResponse("hello"))(scope, client.receive, client.send)

    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass_through(kind: str) -> None:
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
    """The status, and at which second of the loop it was there; the request begins after some."""
    await asyncio.sleep(start_delay)
    client = ASGIClient()
    await app(http_scope(), client.receive, client.send)
    return client.status, round(asyncio.get_running_loop().time(), 6)


@pytest.mark.parametrize(
    ("timeout", "works_for", "expected"),
    [
        (0.1, 0.099, (200, 0.099)),
        (0.1, 0.101, (503, 0.1)),
        (0.1, 9, (503, 0.1)),
        (30, 29.999, (200, 29.999)),
        (30, 30.001, (503, 30)),
        (30, 0.001, (200, 0.001)),
    ],
)
def test_an_answer_has_until_the_deadline_and_no_longer(
    timeout: float, works_for: float, expected: tuple[int, float]
) -> None:
    app = with_timeout(delayed_app(works_for), timedelta(seconds=timeout))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(response_time(app)) == expected


def test_each_of_many_requests_has_its_own_deadline() -> None:
    app = with_timeout(delayed_app(1), timedelta(seconds=0.5))
    starts = [number * 0.007 for number in range(100)]

    async def run_concurrently() -> list[tuple[int | None, float]]:
        return await asyncio.gather(*(response_time(app, start_delay=start) for start in starts))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run_concurrently()) == [(503, round(start + 0.5, 6)) for start in starts]


def test_quick_requests_have_one_timer_among_them_and_none_afterwards() -> None:
    app = with_timeout(PlainTextResponse("hello"))
    hourglass = VirtualTimeLoop()

    async def run_sequentially() -> None:
        for _ in range(1000):
            assert await response_time(app) == (200, 0)
        assert hourglass.timers == 1
        await asyncio.sleep(10)  # which sets another

    with asyncio.Runner(loop_factory=lambda: hourglass) as runner:
        runner.run(run_sequentially())
    assert hourglass.timers == 2


def test_a_client_that_left_is_noticed_as_soon_as_its_request_is_not_quick() -> None:
    client = ASGIClient()
    client_left_at = 0.005
    work = BlockingApp()

    async def disconnect_early() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(client_left_at, client.disconnect)
        await with_timeout(work)(http_scope(), client.receive, client.send)
        return loop.time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(disconnect_early()) == 0.02
    assert work.was_cancelled


def test_a_client_is_watched_from_the_end_of_its_body_on_however_slowly_that_comes() -> None:
    client = ASGIClient(b"half", b"half")
    work = BlockingApp()

    async def receive() -> Message:
        await asyncio.sleep(0.3)
        return await client.receive()

    async def reads_first(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == b"halfhalf"
        client.disconnect()
        await work(scope, receive, send)

    async def asks() -> float:
        scope = http_scope("POST", headers=WITH_BODY)
        await with_timeout(reads_first)(scope, receive, client.send)
        return round(asyncio.get_running_loop().time(), 6)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(asks()) == 0.9
    assert work.was_cancelled


def test_requests_of_a_new_loop_have_deadlines_after_one_that_ended_in_the_middle() -> None:
    app = with_timeout(delayed_app(9), timedelta(seconds=0.1))

    async def start_request() -> None:
        request = asyncio.create_task(response_time(app))
        await asyncio.sleep(0.01)
        assert not request.done()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(start_request())
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(response_time(app)) == (503, 0.1)


def test_two_loops_share_an_app_and_no_timer() -> None:
    app = with_timeout(delayed_app(9), timedelta(seconds=0.1))

    def statuses() -> list[int | None]:
        async def run_both() -> list[int | None]:
            found = await asyncio.gather(response_time(app), response_time(app, start_delay=0.05))
            return [status for status, _ in found]

        with asyncio.Runner() as runner:
            return runner.run(run_both())

    with ThreadPoolExecutor() as threads:
        assert [item.result() for item in [threads.submit(statuses) for _ in range(4)]] == (
            [[503, 503]] * 4
        )
