"""The application behind a real server, with closing sockets and slow bodies."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
import uvicorn
from starlette.responses import StreamingResponse

from app.http.application import Handler
from app.http.body import read_body
from app.http.request import HttpRequest
from app.http.responses import BytesResponse, Response
from tests.http.asgi import LONG_TIMEOUT, CallRecorder, build_application, responding

MEBIBYTE = 1024 * 1024
SHORT_TIMEOUT = timedelta(milliseconds=50)
HTTP_IMPLEMENTATIONS = ("httptools", "h11")


@pytest.fixture(params=HTTP_IMPLEMENTATIONS)
def http_implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@asynccontextmanager
async def serve(
    handle: Handler, http: str, recorder: CallRecorder, limit: timedelta = LONG_TIMEOUT
) -> AsyncIterator[int]:
    """Serve a handler on a free port; yields the port. `limit` is its timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            build_application(handle, recorder, timeout=limit),
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


async def wait_for_requests(recorder: CallRecorder, requests: int) -> None:
    """Wait until `requests` requests have finished."""
    async with asyncio.timeout(10):
        while len(recorder.finished) < requests:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def measure_body(request: HttpRequest) -> Response:
    body = await read_body(request, MEBIBYTE)
    return BytesResponse(str(len(body)).encode(), 200, ())


@pytest.mark.parametrize("has_body", [False, True])
async def test_closed_socket_cancels_app(http_implementation: str, has_body: bool) -> None:
    recorder = CallRecorder()
    is_running, was_cancelled = asyncio.Event(), asyncio.Event()

    async def wait_until_cancelled(request: HttpRequest) -> Response:
        assert await read_body(request, MEBIBYTE) == (b"abc" if has_body else b"")
        is_running.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()
        raise AssertionError("an event that is never set")

    async with (
        serve(wait_until_cancelled, http_implementation, recorder) as port,
        open_connection(port) as (_, writer),
    ):
        head = b"POST / HTTP/1.1\r\nHost: x\r\n"
        writer.write(head + (b"Content-Length: 3\r\n\r\nabc" if has_body else b"\r\n"))
        await is_running.wait()
        writer.close()
        await asyncio.wait_for(was_cancelled.wait(), 10)
        await wait_for_requests(recorder, 1)

    assert recorder.statuses == [499]
    assert recorder.failures == []


async def test_stalled_body_times_out(http_implementation: str) -> None:
    recorder = CallRecorder()

    async with (
        serve(measure_body, http_implementation, recorder, SHORT_TIMEOUT) as port,
        open_connection(port) as (reader, writer),
    ):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        status_line = await asyncio.wait_for(reader.readline(), 10)

    assert status_line == b"HTTP/1.1 503 Service Unavailable\r\n"
    assert recorder.error_codes == [("service_unavailable",)]


@pytest.mark.parametrize("ending", ["timeout", "exception"])
async def test_truncated_response_is_a_protocol_error(
    http_implementation: str, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "uvicorn.error")
    recorder = CallRecorder()

    async def stream_chunks() -> AsyncIterator[bytes]:
        yield b"beginning"
        if ending == "exception":
            raise LookupError("half-way")
        await asyncio.Event().wait()

    timeout = SHORT_TIMEOUT if ending == "timeout" else LONG_TIMEOUT
    async with (
        serve(
            responding(StreamingResponse(stream_chunks())), http_implementation, recorder, timeout
        ) as port,
        httpx.AsyncClient() as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/")

    assert recorder.statuses == [200]


async def test_body_size_limit_is_exact(http_implementation: str) -> None:
    async def stream_body(size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 65536):
            yield b"a" * min(65536, size - start)

    async with (
        serve(measure_body, http_implementation, CallRecorder()) as port,
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


async def test_expect_continue_with_oversized_body_is_refused(http_implementation: str) -> None:
    async with (
        serve(measure_body, http_implementation, CallRecorder()) as port,
        open_connection(port) as (reader, writer),
    ):
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"
        )
        status_line = await asyncio.wait_for(reader.readline(), 10)

    assert status_line.startswith(b"HTTP/1.1 413 ")


async def test_connection_is_kept_alive(http_implementation: str) -> None:
    recorder = CallRecorder()
    async with (
        serve(measure_body, http_implementation, recorder) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        texts = [
            (await client.request(method, "/", content=body)).text
            for method, body in (("GET", None), ("POST", b"abc"), ("POST", b""), ("DELETE", None))
        ]

    assert texts == ["0", "3", "0", "0"]
    assert recorder.statuses == [200] * 4
