"""Requests to real servers on loopback: exchange, limits of time and size, and broken servers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpcore2
import pytest

from app.domain.outbound_rules import OutboundRules
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.outbound.errors import OutboundFailure
from tests.outbound.local_servers import (
    LOCAL_RULES,
    LONG_TIMEOUT,
    OK_RESPONSE,
    SHORT_TIMEOUT,
    ScriptedStream,
    failed_send,
    local_server,
    never_respond,
    post,
    read_request,
    responding,
)

MEBIBYTE = 1024 * 1024


async def test_request_and_response_are_complete() -> None:
    requests: list[bytes] = []
    response = b"HTTP/1.1 201 Created\r\nX-Id: a\r\nX-ID: b\r\nContent-Length: 4\r\n\r\n\xff{}\n"
    async with (
        local_server(responding(response, requests=requests)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        received = await client.send(post(server.url("/hook?a=b")))

    assert received == OutboundResponse(
        status=201,
        headers=[("x-id", "a"), ("x-id", "b"), ("content-length", "4")],
        body=b"\xff{}\n",
        is_truncated=False,
    )
    assert requests == [
        b"POST /hook?a=b HTTP/1.1\r\n"
        b"Host: 127.0.0.1:%d\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: 2\r\n"
        b"\r\n{}" % server.port
    ]


@pytest.mark.parametrize(("path", "target"), [("", b"/"), ("?a", b"/?a"), ("/b", b"/b")])
async def test_request_without_body_has_no_length(path: str, target: bytes) -> None:
    requests: list[bytes] = []
    async with (
        local_server(responding(OK_RESPONSE, requests=requests)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        request = OutboundRequest(
            method="GET", url=server.url(path), timeout=LONG_TIMEOUT, max_response_bytes=10
        )
        await client.send(request)

    (sent,) = requests
    assert sent.startswith(b"GET %b HTTP/1.1\r\n" % target)
    assert b"content-length" not in sent.lower()


@pytest.mark.parametrize("name", ["host", "Content-length", "ACCEPT-ENCODING"])
def test_headers_of_the_client_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"headers are those of the client: {name.lower()}."):
        replace(post("https://hook.example/"), headers={name: "a"})


async def test_header_with_a_line_break_is_not_sent() -> None:
    requests: list[bytes] = []
    async with (
        local_server(responding(OK_RESPONSE, requests=requests)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        request = replace(post(server.url()), headers={"X-A": "a\r\nX-Injected: b"})
        with pytest.raises(ValueError, match="a header is not allowed in HTTP"):
            await client.send(request)
        await server.wait_for_end_of_connections()
    assert requests == []


async def test_head_and_body_are_sent_together() -> None:
    stream = ScriptedStream(OK_RESPONSE)
    async with OutboundClient(LOCAL_RULES, dial=stream.dial) as client:
        await client.send(post("http://127.0.0.1/"))
    (sent,) = stream.writes
    assert sent.endswith(b"\r\n\r\n{}")


async def test_endless_body_is_truncated_and_its_connection_closed() -> None:
    sent_bytes = 0

    async def send_endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MEBIBYTE))
        while sent_bytes < 100 * MEBIBYTE:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent_bytes += 65536

    async with local_server(send_endless_body) as server, OutboundClient(LOCAL_RULES) as client:
        response = await client.send(post(server.url(), max_bytes=100_000))
        await server.wait_for_end_of_connections()

    assert (response.status, response.is_truncated) == (200, True)
    assert response.body == b"x" * 100_000
    assert sent_bytes < 50 * MEBIBYTE


@pytest.mark.parametrize(("limit", "body", "is_truncated"), [(2, b"ok", False), (1, b"o", True)])
async def test_body_of_the_maximum_size_is_not_truncated(
    limit: int, body: bytes, is_truncated: bool
) -> None:
    async with (
        local_server(responding(OK_RESPONSE)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        response = await client.send(post(server.url(), max_bytes=limit))
    assert (response.body, response.is_truncated) == (body, is_truncated)


async def test_encoded_body_is_not_decoded() -> None:
    bomb = b"\x1f\x8b\x08\x00"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    async with (
        local_server(responding(head + bomb)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        assert (await client.send(post(server.url()))).body == bomb


async def test_server_that_never_responds_times_out() -> None:
    async with local_server(never_respond) as server, OutboundClient(LOCAL_RULES) as client:
        error = await failed_send(client, post(server.url(), timeout=SHORT_TIMEOUT))
        await server.wait_for_end_of_connections()
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.TIMEOUT, True)
    assert error.message == (
        "127.0.0.1 did not complete its response within 0.2 s. Make the server respond before it does longer"
        " work."
    )


@pytest.mark.parametrize("slow_part", [OK_RESPONSE, b"x" * 50])
async def test_slow_bytes_do_not_extend_the_deadline(slow_part: bytes) -> None:
    """Each byte arrives within the timeout, and the response is complete after a second."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if slow_part != OK_RESPONSE:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(slow_part))
        for byte in slow_part:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with local_server(drip) as server, OutboundClient(LOCAL_RULES) as client:
        error = await failed_send(client, post(server.url(), timeout=SHORT_TIMEOUT))
        await server.wait_for_end_of_connections()
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.TIMEOUT, True)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
    ],
)
async def test_incomplete_response_is_a_closed_connection(response: bytes) -> None:
    async with (
        local_server(responding(response)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        error = await failed_send(client, post(server.url()))
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.CONNECTION_CLOSED, True)
    assert error.message == (
        "127.0.0.1 closed the connection before its response was complete. Check the log of the server."
    )


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200 OK\r\n\r\nhalf"])
async def test_reset_connection_is_a_closed_connection(response: bytes) -> None:
    reads = [response, httpcore2.ReadError()] if response else [httpcore2.ReadError()]
    stream = ScriptedStream(*reads)
    async with OutboundClient(LOCAL_RULES, dial=stream.dial) as client:
        error = await failed_send(client, post("http://127.0.0.1/"))
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.CONNECTION_CLOSED, True)


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Large: " + b"x" * MEBIBYTE,
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * MEBIBYTE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Many: 1\r\n" * 100_000,
    ],
)
async def test_invalid_response_is_refused(response: bytes) -> None:
    async with (
        local_server(responding(response)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        error = await failed_send(client, post(server.url()))
        await server.wait_for_end_of_connections()
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.INVALID_RESPONSE, True)
    assert error.message == (
        "127.0.0.1 sent a response that is not valid HTTP/1.1, or has more than 100 KiB of headers. Check"
        " that the port belongs to an HTTP server."
    )


async def test_endless_informational_responses_time_out() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        while True:
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)

    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        error = await failed_send(client, post(server.url(), timeout=SHORT_TIMEOUT))
        await server.wait_for_end_of_connections()
    assert error.reason is OutboundFailure.TIMEOUT


async def test_response_to_a_request_that_was_not_read_is_returned() -> None:
    stream = ScriptedStream(OK_RESPONSE, write_error=httpcore2.WriteError())
    async with OutboundClient(LOCAL_RULES, dial=stream.dial) as client:
        assert (await client.send(post("http://127.0.0.1/"))).body == b"ok"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_returned_but_not_followed(status: int) -> None:
    async with local_server(never_respond) as canary, OutboundClient(LOCAL_RULES) as client:
        response = b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (
            status,
            canary.url().encode(),
        )
        async with local_server(responding(response)) as server:
            received = await client.send(post(server.url()))
        assert (received.status, canary.connections) == (status, 0)


async def test_proxies_and_credentials_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    requests: list[bytes] = []
    async with (
        local_server(never_respond) as canary,
        local_server(responding(OK_RESPONSE, requests=requests)) as server,
    ):
        for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{canary.port}")
        async with OutboundClient(LOCAL_RULES) as client:
            await client.send(post(server.url(), timeout=SHORT_TIMEOUT))
        assert canary.connections == 0
    assert b"authorization" not in requests[0].lower()


async def test_cookies_are_not_stored() -> None:
    requests: list[bytes] = []
    with_cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with (
        local_server(responding(with_cookie, OK_RESPONSE, requests=requests)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        for _ in range(2):
            await client.send(post(server.url()))
    assert requests[0] == requests[1]


async def test_connection_is_used_again() -> None:
    async with (
        local_server(responding(*[OK_RESPONSE] * 5)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        for _ in range(5):
            await client.send(post(server.url()))
        assert server.connections == 1


async def test_connection_that_the_server_closed_is_not_used_again() -> None:
    async with (
        local_server(responding(OK_RESPONSE)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        for _ in range(3):
            assert (await client.send(post(server.url()))).status == 200
            await server.wait_for_end_of_connections()
        assert server.connections == 3


async def test_unsolicited_response_is_not_that_of_the_next_request() -> None:
    is_first_received, is_second_sent = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await responding(OK_RESPONSE)(reader, writer)
        await is_first_received.wait()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        is_second_sent.set()

    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        assert (await client.send(post(server.url()))).status == 200
        is_first_received.set()
        await is_second_sent.wait()
        assert (await client.send(post(server.url()))).status == 200
        assert server.connections == 2


async def test_slow_server_does_not_delay_another() -> None:
    waiting: list[asyncio.Task[OutboundResponse]] = []
    are_connected = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if slow.connections == len(waiting):
            are_connected.set()
        await never_respond(reader, writer)

    async with (
        local_server(hold) as slow,
        local_server(responding(OK_RESPONSE)) as fast,
        OutboundClient(LOCAL_RULES) as client,
        asyncio.TaskGroup() as tasks,
    ):
        waiting += [tasks.create_task(client.send(post(slow.url()))) for _ in range(150)]
        await are_connected.wait()
        assert (await client.send(post(fast.url()))).status == 200
        for task in waiting:
            task.cancel()


async def test_idle_connections_of_few_receivers_stay_open_while_a_server_is_silent() -> None:
    async with (
        local_server(never_respond) as silent,
        local_server(responding(OK_RESPONSE, OK_RESPONSE)) as server,
        OutboundClient(LOCAL_RULES) as client,
        asyncio.TaskGroup() as tasks,
    ):
        waiting = tasks.create_task(client.send(post(silent.url())))
        await silent.wait_for_open_connections(1)
        for number in range(40):
            await client.send(replace(post(server.url()), pool_key=number))
        await server.wait_for_open_connections(32)
        await server.wait_for_end_of_connections()  # after a few seconds without a request
        await silent.wait_for_open_connections(1)
        waiting.cancel()


async def test_cancellation_closes_the_connection() -> None:
    is_received = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        is_received.set()
        await reader.read()

    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        sending = asyncio.create_task(client.send(post(server.url())))
        await is_received.wait()
        sending.cancel()
        await asyncio.wait({sending})
        assert sending.cancelled()
        await server.wait_for_end_of_connections()


async def test_end_of_the_client_closes_idle_connections() -> None:
    async with local_server(responding(OK_RESPONSE, OK_RESPONSE)) as server:
        async with OutboundClient(LOCAL_RULES) as client:
            await client.send(post(server.url()))
        await server.wait_for_end_of_connections()


async def test_http_needs_its_setting() -> None:
    async with local_server(never_respond) as server:
        rules = OutboundRules(allowed_networks=LOCAL_RULES.allowed_networks)
        async with OutboundClient(rules) as client:
            error = await failed_send(client, post(server.url()))
        assert server.connections == 0
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.INVALID_URL, False)
    assert error.message == (
        "url must start with https://. The operator of this server can allow http:// with"
        " OUTBOUND_ALLOW_HTTP=yes."
    )
