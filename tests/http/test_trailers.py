"""Trailers, which a proxy may forward without a check, and Host headers, behind a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Scope

from app.http.request import FROM_TRUSTED_PROXY
from tests.http.asgi import CallRecorder, build_application, responding
from tests.http.protocol_server import OK, RawServer, limits, serve

HEAD = (
    b"POST /v1?a=b HTTP/1.1\r\nHost: results.example.com\r\nX-Forwarded-For: 203.0.113.7\r\n"
    b"X-Forwarded-Proto: https\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CHUNKS = b"2\r\nab\r\n3;extension=1\r\ncde\r\n0\r\n"
TRAILERS = (
    b"X-Forwarded-Email: boss@example.com",
    b"X-Forwarded-For: 203.0.113.66",
    b"X-Forwarded-Proto: http",
    b"Authorization: Bearer pe_live_00000000000000000000000000000000",
    b"Cookie: session=1",
    b"Host: evil.example.com",
    b"Expect: 100-continue",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
)


def segments(data: bytes, division: str) -> Sequence[bytes]:
    """Divide data: not at all, behind each line, or behind each byte."""
    match division:
        case "one segment":
            return [data]
        case "lines":
            return data.splitlines(keepends=True)
        case _:
            return [data[index : index + 1] for index in range(len(data))]


DIVISIONS = ("one segment", "lines", "bytes")


@asynccontextmanager
async def recording_server() -> AsyncIterator[tuple[RawServer, list[tuple[Scope, bytes]]]]:
    """Server that records the scope and the body of each request, when all of it was received."""
    requests: list[tuple[Scope, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, is_complete = b"", False
        while not is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            is_complete = not message["more_body"]
        requests.append((scope, body))
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})

    proxies = ["127.0.0.1"]
    async with serve(limits(100, None, *proxies), app, trusted_proxies=proxies) as server:
        yield server, requests


@pytest.mark.parametrize(
    ("trailers", "division"),
    [
        *(((each,), "one segment") for each in TRAILERS),
        *((TRAILERS, division) for division in DIVISIONS),
    ],
)
async def test_trailers_are_not_headers(trailers: tuple[bytes, ...], division: str) -> None:
    async with recording_server() as (server, requests):
        data = HEAD + CHUNKS + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"
        connection = await server.open(*segments(data, division))
        await connection.read_response()
        await connection.send(*segments(HEAD + CHUNKS + b"\r\n", division))  # without trailers
        await connection.read_response()

    (with_trailers, body), (without, same_body) = requests
    assert body == same_body == b"abcde"
    assert with_trailers["headers"] == [
        (b"host", b"results.example.com"),
        (b"x-forwarded-for", b"203.0.113.7"),
        (b"x-forwarded-proto", b"https"),
        (b"transfer-encoding", b"chunked"),
    ]
    assert (with_trailers["scheme"], with_trailers["client"]) == ("https", ("203.0.113.7", 0))
    assert with_trailers["state"][FROM_TRUSTED_PROXY] is True
    for scope in (with_trailers, without):
        del scope["state"]
    assert with_trailers == without


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding"])
async def test_trailers_that_change_the_framing_are_refused(name: bytes) -> None:
    async with recording_server() as (server, requests):
        connection = await server.open(HEAD + CHUNKS + name + b": 1\r\n\r\n")
        response = await connection.response()
    assert response.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert requests == []


@pytest.mark.parametrize(
    "flood",
    [b"X: " + 40_000 * b"x", 4_000 * b"X-Many: 1\r\n", b"X-Long: 1\r\n" + 40_000 * b"x"],
    ids=["long value", "many trailers", "long name"],
)
@pytest.mark.parametrize("path", [b"/", b"/held"])
async def test_trailers_above_64_kib_are_refused_before_their_end(
    path: bytes, flood: bytes
) -> None:
    """A response that has started is aborted instead."""
    async with serve(limits()) as server:
        connection = await server.open(HEAD.replace(b"/v1?a=b", path), CHUNKS)
        if path == b"/":  # the response does not wait for the body
            await connection.read_response()
        await connection.send(*[flood] * 3)
        response = await connection.response()
    if path == b"/":
        assert response.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    else:
        assert b" 431 " not in response


async def test_chunk_extensions_above_64_kib_are_refused() -> None:
    async with serve(limits()) as server:
        connection = await server.open(HEAD, b"1;a=", *[20_000 * b"x"] * 4)
        assert (await connection.read_response())[1] == b"hello"
        assert (await connection.response()).startswith(b"HTTP/1.1 431 ")


async def test_long_bodies_of_short_chunks_with_trailers_are_read() -> None:
    async with recording_server() as (server, requests):
        connection = await server.open(HEAD, *[2_000 * b"1\r\na\r\n"] * 30, b"0\r\nA: b\r\n\r\n")
        await connection.read_response()
    assert [body for _, body in requests] == [60_000 * b"a"]


# Host


ONE_HOST = b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n"


@pytest.mark.parametrize(
    "host", [b"x", b"results.example.com", b"10.0.0.1:8000", b"[::1]:8000", b"a_b-c.~d", b"x:"]
)
async def test_valid_host_is_accepted(host: bytes) -> None:
    async with serve(limits()) as server:
        connection = await server.open(ONE_HOST % host)
        assert await connection.status_line() == b"HTTP/1.1 200 OK\r\n"


async def test_http_1_0_needs_no_host() -> None:
    async with serve(limits()) as server:
        connection = await server.open(b"GET / HTTP/1.0\r\n\r\n")
        assert await connection.status_line() == b"HTTP/1.1 200 OK\r\n"


INVALID = "The Host header is not the name of a server, optionally with a port."


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "The request has no Host header. Send one."),
        (b"GET /livez HTTP/1.1\r\n\r\n", "The request has no Host header. Send one."),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            "The request has 2 Host headers. Send exactly one.",
        ),
        (
            b"GET / HTTP/1.0\r\nHost: x\r\nA: b\r\nHOST: y\r\n\r\n",
            "The request has 2 Host headers. Send exactly one.",
        ),
        *(
            (ONE_HOST % host, INVALID)
            for host in (b"", b"a b", b"a, b", b"a/b", b"a@b", b"a:b", b"::1", b":80", b"\xc3\xa9")
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            "The request has 2 Host headers. Send exactly one.",
        ),
    ],
)
async def test_other_number_of_hosts_than_one_is_refused(head: bytes, message: str) -> None:
    recorder = CallRecorder()
    app = build_application(responding(OK), recorder)
    async with serve(limits(), app) as server:
        connection = await server.open(head)
        response = await connection.response()

    lines, _, body = response.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    headers = lines.lower().split(b"\r\n")
    assert headers.count(b"connection: close") == 1
    assert {b"x-ratelimit-limit: 1000000", b"x-ratelimit-remaining: 1000000"} <= {*headers}
    assert json.loads(body) == {"code": "validation_error", "message": message, "id": "00000001"}
    assert recorder.error_codes == [("validation_error",)]


async def test_connection_is_closed_after_a_request_with_two_hosts() -> None:
    recorder = CallRecorder()
    app = build_application(responding(OK), recorder)
    async with serve(limits(), app) as server:
        two = b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"
        connection = await server.open(two + ONE_HOST % b"x")
        response = await asyncio.wait_for(connection.reader.read(), 10)
    assert (response.count(b"HTTP/1.1 "), recorder.statuses) == (1, [400])
