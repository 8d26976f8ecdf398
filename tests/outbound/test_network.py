"""Resolution, checks and connections: which addresses are dialled, and TLS for the name of the URL."""

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import NoReturn

import httpcore2
import pytest
import trustme

from app.domain.outbound_rules import OutboundRules
from app.outbound.client import OutboundClient
from app.outbound.errors import OutboundError, OutboundFailure
from app.outbound.network import CheckedNetwork, dial_tcp, look_up_addresses, resolve_name
from tests.outbound.local_servers import (
    LOCAL_RULES,
    OK_RESPONSE,
    SHORT_TIMEOUT,
    failed_send,
    local_server,
    never_respond,
    post,
    resolving,
    responding,
)
from tests.servers import unused_port

PUBLIC = "93.184.216.34"
PUBLIC_ONLY = OutboundRules(allow_http=True)
NOT_ALLOWED = (
    "{host} has an address that is not public. Use a public host, or ask the operator of this server to allow"
    " its network in OUTBOUND_ALLOWED_NETWORKS."
)


class FailingDialer:
    """Dial function that records the addresses and connects to none."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []

    async def __call__(
        self, address: str, port: int, seconds: float | None
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append((address, port))
        raise httpcore2.ConnectError("no route to host")


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        (PUBLIC, "127.0.0.1"),
        ("127.0.0.1", PUBLIC),
        (*[PUBLIC] * 10, "10.0.0.1"),
        ("2606:4700::1111", "::1"),
        ("::ffff:127.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("fe80::1%eth0",),
    ],
)
async def test_name_with_any_special_address_is_refused(addresses: tuple[str, ...]) -> None:
    dial = FailingDialer()
    async with (
        local_server(never_respond) as canary,
        OutboundClient(PUBLIC_ONLY, resolve=resolving(*addresses), dial=dial) as client,
    ):
        error = await failed_send(client, post(f"http://hook.example:{canary.port}/"))
        assert (dial.dialled, canary.connections) == ([], 0)
    assert (error.reason, error.may_have_been_sent) == (
        OutboundFailure.ADDRESS_NOT_ALLOWED,
        False,
    )
    assert error.message == NOT_ALLOWED.format(host="hook.example")


async def test_special_address_in_the_url_is_refused() -> None:
    async with local_server(never_respond) as canary, OutboundClient(PUBLIC_ONLY) as client:
        error = await failed_send(client, post(canary.url()))
        assert canary.connections == 0
    assert error.reason is OutboundFailure.ADDRESS_NOT_ALLOWED
    assert error.message == NOT_ALLOWED.format(host="127.0.0.1")


@pytest.mark.parametrize("host", ["localhost", "0x7f.1", "2130706433", "127.1", "①②⑦.⓪.⓪.①"])
async def test_every_notation_of_loopback_is_refused_when_it_is_resolved(host: str) -> None:
    dial = FailingDialer()
    network = CheckedNetwork(PUBLIC_ONLY, resolve_name, dial)
    with pytest.raises(OutboundError) as caught:
        await network.connect_tcp(host, 80)
    assert caught.value.reason in (
        OutboundFailure.ADDRESS_NOT_ALLOWED,
        OutboundFailure.NAME_NOT_RESOLVED,
    )
    assert dial.dialled == []


async def test_name_that_rebinds_to_loopback_reaches_no_server() -> None:
    answers = [(PUBLIC,), ("127.0.0.1",)]

    async def resolve(host: str) -> Sequence[str]:
        return answers.pop(0)

    dial = FailingDialer()
    async with (
        local_server(never_respond) as canary,
        OutboundClient(PUBLIC_ONLY, resolve=resolve, dial=dial) as client,
    ):
        request = post(f"http://hook.example:{canary.port}/")
        errors = [await failed_send(client, request) for _ in range(2)]
        assert (dial.dialled, canary.connections) == ([(PUBLIC, canary.port)], 0)
    assert [error.reason for error in errors] == [
        OutboundFailure.CONNECTION_FAILED,
        OutboundFailure.ADDRESS_NOT_ALLOWED,
    ]


async def test_second_address_is_dialled_if_the_first_fails() -> None:
    async def dial(address: str, port: int, seconds: float | None) -> httpcore2.AsyncNetworkStream:
        if address == PUBLIC:
            raise httpcore2.ConnectTimeout
        return await dial_tcp(address, port, seconds)

    async with (
        local_server(responding(OK_RESPONSE)) as server,
        OutboundClient(LOCAL_RULES, resolve=resolving(PUBLIC, "127.0.0.1"), dial=dial) as client,
    ):
        response = await client.send(post(f"http://hook.example:{server.port}/"))
    assert response.status == 200


async def test_number_of_dialled_addresses_is_limited() -> None:
    dial = FailingDialer()
    addresses = [f"93.184.216.{number}" for number in range(10)]
    async with OutboundClient(PUBLIC_ONLY, resolve=resolving(*addresses), dial=dial) as client:
        error = await failed_send(client, post("https://hook.example/"))
    assert dial.dialled == [(address, 443) for address in addresses[:4]]
    assert error.reason is OutboundFailure.CONNECTION_FAILED


async def test_refused_connection_was_certainly_not_sent() -> None:
    port = unused_port()
    async with OutboundClient(LOCAL_RULES) as client:
        error = await failed_send(client, post(f"http://127.0.0.1:{port}/"))
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.CONNECTION_FAILED, False)
    assert error.message == (
        f"127.0.0.1 refused the connection to port {port}, or cannot be reached. Check that the server is"
        " running, and that its firewall allows connections from this service."
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_process_without_free_files_does_not_blame_the_server(host: str) -> None:
    async with (
        local_server(responding(OK_RESPONSE)) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        with no_free_files():
            error = await failed_send(client, post(f"http://{host}:{server.port}/"))
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.NO_FREE_SOCKET, False)
    assert error.message == (
        "This service has no free sockets. Its operator can raise the limit of open files."
    )


async def test_lookup_without_free_files_does_not_report_an_unknown_name() -> None:
    """mdns4_minimal, which Debian configures with avahi, reports an unknown name if it has no socket."""
    with no_free_files(), pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        look_up_addresses("localhost", find_no_name)
    with pytest.raises(socket.gaierror, match=UNKNOWN_NAME):
        look_up_addresses("localhost", find_no_name)


UNKNOWN_NAME = "Name or service not known"


def find_no_name(*_arguments: object, **_options: object) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, UNKNOWN_NAME)


@contextmanager
def no_free_files() -> Iterator[None]:
    """Lower the limit of open files to those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long"), None])
async def test_name_without_address_was_certainly_not_sent(error: Exception | None) -> None:
    async def resolve(host: str) -> Sequence[str]:
        if error is not None:
            raise error
        return ()

    async with OutboundClient(LOCAL_RULES, resolve=resolve) as client:
        failure = await failed_send(client, post("https://hook.example/"))
    assert (failure.reason, failure.may_have_been_sent) == (
        OutboundFailure.NAME_NOT_RESOLVED,
        False,
    )
    assert failure.message == (
        "The name hook.example could not be resolved. Check its spelling and its DNS records."
    )


async def test_names_are_resolved_by_the_operating_system() -> None:
    assert set(await resolve_name("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(UnicodeError):
        await resolve_name("hook..example")


async def test_deadline_includes_the_resolution() -> None:
    async def never_resolve(host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    async with OutboundClient(LOCAL_RULES, resolve=never_resolve) as client:
        error = await failed_send(client, post("https://hook.example/", timeout=SHORT_TIMEOUT))
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.TIMEOUT, False)
    assert error.message.startswith("hook.example did not accept a connection within 0.2 s.")


async def test_deadline_includes_the_connection_and_its_tls_handshake() -> None:
    async with local_server(never_respond) as server, OutboundClient(LOCAL_RULES) as client:
        request = post(f"https://127.0.0.1:{server.port}/", timeout=SHORT_TIMEOUT)
        error = await failed_send(client, request)
        await server.wait_for_end_of_connections()
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.TIMEOUT, False)


AUTHORITY = trustme.CA()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def test_tls_and_host_use_the_name_of_the_url() -> None:
    requests: list[bytes] = []
    names: list[str | None] = []
    context = server_context(AUTHORITY.issue_cert("hook.example"))
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    async with (
        local_server(responding(OK_RESPONSE, requests=requests), context) as server,
        OutboundClient(
            LOCAL_RULES, resolve=resolving("127.0.0.1"), ssl_context=client_context()
        ) as client,
    ):
        response = await client.send(post(f"https://Hook.example:{server.port}/a"))
    assert response.body == b"ok"
    assert names == ["hook.example"]
    assert f"\r\nHost: hook.example:{server.port}\r\n".encode() in requests[0]


EXPIRED = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (trustme.CA().issue_cert("hook.example"), "unable to get local issuer certificate"),
        (AUTHORITY.issue_cert("other.example"), "certificate is not valid for 'hook.example'"),
        (
            AUTHORITY.issue_cert(
                "hook.example", not_before=EXPIRED - timedelta(days=1), not_after=EXPIRED
            ),
            "certificate has expired",
        ),
    ],
    ids=["unknown authority", "other host", "expired"],
)
async def test_invalid_certificate_is_refused_before_the_request_is_sent(
    certificate: trustme.LeafCert, reason: str
) -> None:
    requests: list[bytes] = []
    async with (
        local_server(
            responding(OK_RESPONSE, requests=requests), server_context(certificate)
        ) as server,
        OutboundClient(
            LOCAL_RULES, resolve=resolving("127.0.0.1"), ssl_context=client_context()
        ) as client,
    ):
        error = await failed_send(client, post(f"https://hook.example:{server.port}/"))
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.TLS_FAILED, False)
    assert error.message.startswith(
        "No TLS connection to hook.example could be opened: its certificate is not valid ("
    )
    assert reason in error.message
    assert requests == []


def demand_certificate(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Send the alert to a client without a certificate, which has sent its request by then."""
    connection, _ = listener.accept()
    with suppress(ssl.SSLError):
        context.wrap_socket(connection, server_side=True)


async def test_alert_of_a_server_that_demands_a_client_certificate_is_a_closed_connection() -> None:
    context = server_context(AUTHORITY.issue_cert("hook.example"))
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://hook.example:{listener.getsockname()[1]}/"
        async with OutboundClient(
            LOCAL_RULES, resolve=resolving("127.0.0.1"), ssl_context=client_context()
        ) as client:
            for _ in range(5):
                server = asyncio.create_task(
                    asyncio.to_thread(demand_certificate, listener, context)
                )
                error = await failed_send(client, post(url))
                await server
                assert error.reason is OutboundFailure.CONNECTION_CLOSED


async def test_default_client_does_not_trust_unknown_authorities() -> None:
    context = server_context(AUTHORITY.issue_cert("hook.example"))
    async with (
        local_server(responding(OK_RESPONSE), context) as server,
        OutboundClient(LOCAL_RULES, resolve=resolving("127.0.0.1")) as client,
    ):
        error = await failed_send(client, post(f"https://hook.example:{server.port}/"))
    assert error.reason is OutboundFailure.TLS_FAILED


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_server_without_tls_is_refused(response: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response)

    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        error = await failed_send(client, post(f"https://127.0.0.1:{server.port}/"))
    assert (error.reason, error.may_have_been_sent) == (OutboundFailure.TLS_FAILED, False)
    assert error.message == (
        "No TLS connection to 127.0.0.1 could be opened: the port may not use TLS, or only an old version."
        " Check the port and the server's TLS settings."
    )


async def test_host_header_of_an_ipv6_address_has_brackets() -> None:
    hosts: list[str] = []

    async def dial(address: str, port: int, seconds: float | None) -> httpcore2.AsyncNetworkStream:
        hosts.append(address)
        return await dial_tcp("127.0.0.1", port, seconds)

    requests: list[bytes] = []
    rules = OutboundRules(allow_http=True, allowed_networks=(ip_network("::1/128"),))
    async with (
        local_server(responding(OK_RESPONSE, requests=requests)) as server,
        OutboundClient(rules, dial=dial) as client,
    ):
        await client.send(post(f"http://[::1]:{server.port}/"))
    assert hosts == ["::1"]
    assert f"\r\nHost: [::1]:{server.port}\r\n".encode() in requests[0]
