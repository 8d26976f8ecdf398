"""Recorded calls of the servers of one attempt: which of them answered, and how the others failed."""

import asyncio
import errno
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import httpcore2
import pytest

from app.domain.circuit_breakers import ServerFailure
from app.outbound.client import OutboundClient
from app.outbound.network import Dial, Resolve, dial_tcp, resolve_name
from app.platforms.protocol import PlatformCallError
from app.platforms.responses import send
from app.platforms.server_contacts import (
    ServerContacts,
    record_failed_login,
    record_status,
    recorded_contacts,
    url_origin,
)
from tests.factories import NOW
from tests.outbound.local_servers import (
    LOCAL_RULES,
    LONG_TIMEOUT,
    SHORT_TIMEOUT,
    ConnectionHandler,
    local_server,
    never_respond,
    post,
    resolving,
    responding,
)

UNREACHABLE, NO_ANSWER = ServerFailure.UNREACHABLE, ServerFailure.NO_ANSWER
URL = "https://social.example/api"
ORIGIN = "https://social.example"


def answer(status: int) -> bytes:
    return f"HTTP/1.1 {status} Answer\r\nContent-Length: 2\r\n\r\n{{}}".encode()


async def call(
    url: str,
    *,
    time_limit: timedelta = LONG_TIMEOUT,
    resolve: Resolve = resolve_name,
    dial: Dial = dial_tcp,
) -> None:
    """Send a request, whatever becomes of it."""
    async with OutboundClient(LOCAL_RULES, resolve=resolve, dial=dial) as client:
        request = post(url, timeout=time_limit)
        with suppress(PlatformCallError):
            await send(client, request, now=NOW, read_refusal=lambda _response: None)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        *((status, None) for status in (200, 302, 400, 404, 499, 501, 505)),
        *((status, NO_ANSWER) for status in (500, 502, 503, 504, 507, 599)),
    ],
)
async def test_server_that_answers_500_or_more_fails_unless_it_lacks_the_function(
    status: int, failure: ServerFailure | None
) -> None:
    with recorded_contacts() as contacts:
        async with local_server(responding(answer(status))) as server:
            await call(server.url())
    assert contacts == ServerContacts({server.url(""): failure})


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_answer_that_depends_on_the_account_says_nothing_of_its_server(status: int) -> None:
    with recorded_contacts() as contacts:
        async with local_server(responding(answer(status))) as server:
            await call(server.url())
    assert contacts == ServerContacts()


@pytest.mark.parametrize(
    ("handle", "time_limit"),
    [
        (responding(b""), LONG_TIMEOUT),
        (responding(b"no HTTP"), LONG_TIMEOUT),
        (responding(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), LONG_TIMEOUT),
        (never_respond, SHORT_TIMEOUT),
    ],
    ids=["closed", "no HTTP", "incomplete", "late"],
)
async def test_server_without_a_complete_answer_was_reached(
    handle: ConnectionHandler, time_limit: timedelta
) -> None:
    with recorded_contacts() as contacts:
        async with local_server(handle) as server:
            await call(server.url(), time_limit=time_limit)
    assert contacts == ServerContacts({server.url(""): NO_ANSWER})


async def resolve_nothing(_host: str) -> Sequence[str]:
    raise OSError("no such name")


async def dial_without_end(
    _address: str, _port: int, _seconds: float | None
) -> httpcore2.AsyncNetworkStream:
    await asyncio.Event().wait()
    raise AssertionError


async def dial_without_free_socket(
    _address: str, _port: int, _seconds: float | None
) -> httpcore2.AsyncNetworkStream:
    raise httpcore2.ConnectError from OSError(errno.EMFILE, "Too many open files")


LOOPBACK = resolving("127.0.0.1")


async def test_server_without_a_connection_is_unreachable() -> None:
    async with local_server(never_respond) as server:
        pass
    with recorded_contacts() as contacts:
        await call(server.url())
        await call("http://unknown.example/", resolve=resolve_nothing)
        await call(
            "http://slow.example/",
            time_limit=SHORT_TIMEOUT,
            resolve=LOOPBACK,
            dial=dial_without_end,
        )
        async with local_server(responding(answer(200))) as plain:
            await call(plain.url().replace("http:", "https:"))
    assert contacts == ServerContacts(
        {
            server.url(""): UNREACHABLE,
            "http://unknown.example": UNREACHABLE,
            "http://slow.example": UNREACHABLE,
            f"https://127.0.0.1:{plain.port}": UNREACHABLE,
        }
    )


async def test_request_that_this_process_does_not_send_says_nothing_of_its_server() -> None:
    with recorded_contacts() as contacts:
        await call("ftp://social.example/")
        await call("https://user:password@social.example/")
        await call(URL, resolve=resolving("10.0.0.1"))
        await call("http://social.example/", resolve=LOOPBACK, dial=dial_without_free_socket)
    assert contacts == ServerContacts()
    assert (contacts.last_origin, contacts.last_failure, contacts.login_origin) == (None,) * 3


def test_last_call_of_each_server_counts() -> None:
    with recorded_contacts() as contacts:
        record_status(URL, 503)
        record_status("https://other.example/", 200)
        record_status(URL, 200)
    assert contacts.results == {ORIGIN: None, "https://other.example": None}
    assert contacts.last_origin == ORIGIN
    assert contacts.login_origin == "https://other.example"
    assert contacts.answered == ["https://other.example", ORIGIN]


def test_nothing_is_recorded_outside_a_context() -> None:
    with recorded_contacts() as contacts:
        pass
    record_status(URL, 503)
    record_failed_login()
    assert contacts == ServerContacts()


async def test_concurrent_attempts_do_not_share_records() -> None:
    both_begun = asyncio.Barrier(2)

    async def attempt(url: str, status: int) -> ServerContacts:
        with recorded_contacts() as contacts:
            await both_begun.wait()
            await asyncio.gather(*(record_in_task(url, status) for _ in range(2)))
            if status == 503:
                record_failed_login()
            await both_begun.wait()
        return contacts

    async def record_in_task(url: str, status: int) -> None:
        record_status(url, status)

    answered, failed = await asyncio.gather(
        attempt(URL, 200), attempt("https://other.example/", 503)
    )
    assert answered == ServerContacts({ORIGIN: None})
    assert failed == ServerContacts({"https://other.example": NO_ANSWER}, has_failed_login=True)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Social.Example/api?a=1", ORIGIN),
        ("https://social.example:443/api", ORIGIN),
        ("http://social.example:80", "http://social.example"),
        ("http://social.example:443/", "http://social.example:443"),
        ("https://social.example:3000/", "https://social.example:3000"),
        ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]"),
    ],
)
def test_origin_has_a_port_unless_it_is_the_default(url: str, origin: str) -> None:
    assert url_origin(url) == origin
