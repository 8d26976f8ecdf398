"""The fault proxy injects exactly the planned faults, and forwards all other requests unchanged."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.outbound.client import OutboundClient
from app.outbound.errors import OutboundFailure
from tests.outbound.local_servers import (
    LOCAL_RULES,
    failed_send,
    local_server,
    post,
    read_request,
    responding,
)
from tests.platform_servers.fault_proxy import Fault, FaultPlan, FaultProxy, fault_proxy
from tests.servers import unused_port

RESPONSE = b"HTTP/1.1 201 Created\r\nX-Id: a\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\n\xff{}\n"
FORWARDED_RESPONSE = (
    b"HTTP/1.1 201 Created\r\nX-Id: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\xff{}\n"
)
REQUEST = (
    b"POST /hook?a=b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}"
)
FORWARDED_REQUEST = (
    b"POST /hook?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
)
IMMEDIATE_FAULTS = (
    Fault.REQUEST_DROPPED,
    Fault.RESPONSE_DROPPED,
    Fault.RESPONSE_CUT,
    Fault.DELAYED,
)


class ManualSleep:
    """A `sleep` that ends when the test releases it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.has_started = asyncio.Event()
        self.release = asyncio.Event()

    async def wait_for_start(self) -> None:
        async with asyncio.timeout(10):
            await self.has_started.wait()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.has_started.set()
        await self.release.wait()


def make_plan(*faults: Fault, rate: float = 1, seed: int = 1) -> FaultPlan:
    return FaultPlan(
        seed=seed,
        may_fail=lambda method, path: (method, path) == ("POST", "/hook"),
        rate=rate,
        faults=faults,
        max_delay=timedelta(hours=1),
    )


async def exchange(proxy: FaultProxy, request: bytes = REQUEST) -> bytes:
    """Send a request and return everything that the proxy responds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(("method", "target"), [(b"GET", b"/hook"), (b"POST", b"/other?p=/hook")])
async def test_request_that_may_not_fail_is_forwarded_with_its_response(
    method: bytes, target: bytes
) -> None:
    requests: list[bytes] = []
    body = b"\0" * 1_000_000
    head = b"%b %b HTTP/1.1\r\nX-Id: A\r\nContent-Length: %d\r\n" % (method, target, len(body))
    async with (
        local_server(responding(RESPONSE, requests=requests)) as server,
        fault_proxy(server.port, make_plan(Fault.REQUEST_DROPPED)) as proxy,
    ):
        received = await exchange(proxy, head + b"\r\n" + body)

    assert received == FORWARDED_RESPONSE
    assert requests == [head + b"Connection: close\r\n\r\n" + body]
    assert proxy.requests == {None: 1}


@pytest.mark.parametrize(
    ("fault", "is_delivered"),
    [(Fault.REQUEST_DROPPED, False), (Fault.RESPONSE_DROPPED, True), (Fault.RESPONSE_CUT, True)],
)
async def test_client_of_a_lost_message_may_have_sent_the_request(
    fault: Fault, is_delivered: bool
) -> None:
    requests: list[bytes] = []
    async with (
        local_server(responding(RESPONSE, requests=requests)) as server,
        fault_proxy(server.port, make_plan(fault)) as proxy,
        OutboundClient(LOCAL_RULES) as client,
    ):
        error = await failed_send(client, post(proxy.url + "/hook"))

    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.CONNECTION_CLOSED, True)
    assert len(requests) == is_delivered
    assert proxy.requests == {fault: 1}


@pytest.mark.parametrize("fault", [Fault.REQUEST_DROPPED, Fault.RESPONSE_DROPPED])
async def test_dropped_message_gives_an_empty_response(fault: Fault) -> None:
    async with (
        local_server(responding(RESPONSE)) as server,
        fault_proxy(server.port, make_plan(fault)) as proxy,
    ):
        assert await exchange(proxy) == b""


async def test_response_is_cut_at_a_random_byte() -> None:
    async with (
        local_server(responding(RESPONSE)) as server,
        fault_proxy(server.port, make_plan(Fault.RESPONSE_CUT)) as proxy,
    ):
        parts = {await exchange(proxy) for _ in range(20)}

    assert len(parts) > 10
    assert parts <= {FORWARDED_RESPONSE[:length] for length in range(len(FORWARDED_RESPONSE))}


async def test_delayed_request_is_delivered_after_a_random_delay() -> None:
    requests: list[bytes] = []
    sleep = ManualSleep()
    async with (
        local_server(responding(RESPONSE, requests=requests)) as server,
        fault_proxy(server.port, make_plan(Fault.DELAYED), sleep=sleep) as proxy,
    ):
        exchanges = [asyncio.create_task(exchange(proxy)) for _ in range(2)]
        await sleep.wait_for_start()
        assert requests == []
        sleep.release.set()
        assert await asyncio.gather(*exchanges) == [FORWARDED_RESPONSE] * 2

    assert requests == [FORWARDED_REQUEST] * 2
    assert len(set(sleep.seconds)) == 2
    assert all(0 < seconds < 3600 for seconds in sleep.seconds)


async def test_delayed_request_is_delivered_although_the_client_gave_up() -> None:
    requests: list[bytes] = []
    sleep = ManualSleep()
    async with local_server(responding(RESPONSE, requests=requests)) as server:
        async with fault_proxy(server.port, make_plan(Fault.DELAYED), sleep=sleep) as proxy:
            client = asyncio.create_task(exchange(proxy))
            await sleep.wait_for_start()
            client.cancel()
            await asyncio.wait([client])
            sleep.release.set()
        assert requests == [FORWARDED_REQUEST]


async def test_late_request_is_delivered_after_the_client_gave_up() -> None:
    requests: list[bytes] = []
    sleep = ManualSleep()
    has_arrived = asyncio.Event()

    def may_fail(method: str, path: str) -> bool:
        has_arrived.set()
        return True

    plan = replace(make_plan(Fault.DELIVERED_LATE), may_fail=may_fail)
    async with local_server(responding(RESPONSE, requests=requests)) as server:
        async with fault_proxy(server.port, plan, sleep=sleep) as proxy:
            client = asyncio.create_task(exchange(proxy))
            await has_arrived.wait()
            assert not sleep.has_started.is_set()
            client.cancel()
            await sleep.wait_for_start()
            assert requests == []
            sleep.release.set()
        assert requests == [FORWARDED_REQUEST]
    assert client.cancelled()


async def test_repeated_request_is_delivered_twice_and_has_the_response() -> None:
    requests: list[bytes] = []
    async with (
        local_server(responding(RESPONSE, requests=requests)) as server,
        fault_proxy(server.port, make_plan(Fault.REPEATED)) as proxy,
    ):
        assert await exchange(proxy) == FORWARDED_RESPONSE

    assert requests == [FORWARDED_REQUEST] * 2
    assert Fault.REPEATED not in FaultPlan(seed=1, may_fail=lambda *_: True, rate=1).faults


async def test_same_seed_gives_the_same_faults_whatever_is_forwarded_between_them() -> None:
    lookup = REQUEST.replace(b"POST", b"GET")
    alone = await responses_by_seed(1, [REQUEST])
    assert set(alone) > {b"", FORWARDED_RESPONSE}
    assert (await responses_by_seed(1, [lookup, REQUEST]))[1::2] == alone
    assert await responses_by_seed(2, [REQUEST]) != alone


async def responses_by_seed(seed: int, requests: list[bytes]) -> list[bytes]:
    """Send each request 20 times, with immediate faults for half of the requests that may fail."""
    sleep = ManualSleep()
    sleep.release.set()
    plan = make_plan(*IMMEDIATE_FAULTS, rate=0.5, seed=seed)
    async with (
        local_server(responding(RESPONSE)) as server,
        fault_proxy(server.port, plan, sleep=sleep) as proxy,
    ):
        return [await exchange(proxy, request) for _ in range(20) for request in requests]


async def test_unavailable_server_gives_an_empty_response() -> None:
    async with fault_proxy(unused_port(), make_plan(Fault.DELAYED, rate=0)) as proxy:
        assert await exchange(proxy) == b""


async def close_without_response(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await read_request(reader)


async def test_server_that_does_not_respond_gives_an_empty_response() -> None:
    async with (
        local_server(close_without_response) as server,
        fault_proxy(server.port, make_plan(Fault.DELAYED, rate=0)) as proxy,
    ):
        assert await exchange(proxy) == b""
