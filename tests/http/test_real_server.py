"""The edge behind a real server, where sockets close and bodies are slow."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.body import read_body
from tests.http.asgi import LONG_TIMEOUT, RecordingObserver, build_middleware

MEBIBYTE = 1024 * 1024
SHORT_TIMEOUT = timedelta(milliseconds=50)
HTTP_IMPLEMENTATIONS = ("httptools", "h11")


@pytest.fixture(params=HTTP_IMPLEMENTATIONS)
def http_implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@asynccontextmanager
async def serve_app(app: ASGIApp, http: str) -> AsyncIterator[int]:
    """Serve an app on a free port, which is given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            http=http,
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def open_connection(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def wait_for_requests(observer: RecordingObserver, requests: int) -> None:
    """Wait until so many requests have been told of."""
    async with asyncio.timeout(10):
        while len(observer.finished) < requests:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(Request(scope, receive), MEBIBYTE)
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.mark.parametrize("has_body", [False, True])
async def test_the_work_ends_when_the_socket_closes(
    http_implementation: str, has_body: bool
) -> None:
    observer = RecordingObserver()
    is_running, was_cancelled = asyncio.Event(), asyncio.Event()

    async def wait_until_cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == (b"abc" if has_body else b"")
        is_running.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    async with (
        serve_app(build_middleware(wait_until_cancelled, observer), http_implementation) as port,
        open_connection(port) as (_, writer),
    ):
        head = b"POST / HTTP/1.1\r\nHost: x\r\n"
        writer.write(head + (b"Content-Length: 3\r\n\r\nabc" if has_body else b"\r\n"))
        await is_running.wait()
        writer.close()
        await asyncio.wait_for(was_cancelled.wait(), 10)
        await wait_for_requests(observer, 1)

    assert [request.status for request in observer.finished] == [499]
    assert observer.failures == []


async def test_a_body_that_stops_half_way_meets_the_deadline(http_implementation: str) -> None:
    observer = RecordingObserver()

    async with (
        serve_app(
            build_middleware(echo, observer, timeout=SHORT_TIMEOUT), http_implementation
        ) as port,
        open_connection(port) as (reader, writer),
    ):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        status_line = await asyncio.wait_for(reader.readline(), 10)

    assert status_line == b"HTTP/1.1 503 Service Unavailable\r\n"
    assert [request.error_codes for request in observer.finished] == [("service_unavailable",)]


@pytest.mark.parametrize("ending", ["deadline", "exception"])
async def test_an_answer_that_breaks_off_is_seen_to_be_broken(
    http_implementation: str, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "uvicorn.error")
    observer = RecordingObserver()

    async def stream_chunks() -> AsyncIterator[bytes]:
        yield b"beginning"
        if ending == "exception":
            raise LookupError("half-way")
        await asyncio.Event().wait()

    timeout = SHORT_TIMEOUT if ending == "deadline" else LONG_TIMEOUT
    async with (
        serve_app(
            build_middleware(StreamingResponse(stream_chunks()), observer, timeout=timeout),
            http_implementation,
        ) as port,
        httpx.AsyncClient() as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/")

    assert [request.status for request in observer.finished] == [200]


async def test_a_body_up_to_the_limit_is_read_and_one_byte_more_is_refused(
    http_implementation: str,
) -> None:
    def body_chunks(size: int) -> Iterator[bytes]:
        for start in range(0, size, 65536):
            yield b"a" * min(65536, size - start)

    async def stream_body(size: int) -> AsyncIterator[bytes]:
        for piece in body_chunks(size):
            yield piece

    async with (
        serve_app(build_middleware(echo, RecordingObserver()), http_implementation) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        statuses = [
            (await client.post("/", content=content)).status_code
            for content in (
                b"a" * MEBIBYTE,
                b"a" * (MEBIBYTE + 1),
                stream_body(MEBIBYTE),
                stream_body(MEBIBYTE + 1),
            )
        ]
        after = await client.post("/", content=b"abc")

    assert statuses == [200, 413, 200, 413]
    assert after.text == "3"


async def test_a_client_that_asks_first_need_not_send_a_body_that_is_too_large(
    http_implementation: str,
) -> None:
    async with (
        serve_app(build_middleware(echo, RecordingObserver()), http_implementation) as port,
        open_connection(port) as (reader, writer),
    ):
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"
        )
        status_line = await asyncio.wait_for(reader.readline(), 10)

    assert status_line.startswith(b"HTTP/1.1 413 ")


async def test_one_connection_serves_many_requests(http_implementation: str) -> None:
    observer = RecordingObserver()
    async with (
        serve_app(build_middleware(echo, observer), http_implementation) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        answers = [
            (await client.request(method, "/", content=body)).text
            for method, body in (("GET", None), ("POST", b"abc"), ("POST", b""), ("DELETE", None))
        ]

    assert answers == ["0", "3", "0", "0"]
    assert [request.status for request in observer.finished] == [200] * 4
