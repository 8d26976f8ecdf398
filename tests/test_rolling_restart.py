"""Shutdown and replacement of server processes while clients send requests."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import Event
from typing import Self

import httpx
import pytest

from tests.servers import TIMEOUT_SECONDS, ServerProcess, ServerStarter

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("engine", ["sqlite"], indirect=True)]

CLIENTS = 4
LONG_DELAY = "60"
"""Delay that no test waits for."""


class KeepAliveClient:
    """HTTP client that reuses its connection until a response closes it, and never repeats a request."""

    def __init__(self, server: ServerProcess) -> None:
        address = httpx.URL(server.url)
        self._connection = HTTPConnection(address.host, address.port, timeout=TIMEOUT_SECONDS)
        self._headers = {"Authorization": f"Bearer {server.key}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._connection.close()

    def get(self, path: str) -> tuple[int, str | None]:
        """Return status and `Connection` header of a response; raises OSError if there is none."""
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        response.read()
        return response.status, response.headers["connection"]


def send_requests(server: ServerProcess, stop: Event) -> int:
    """Send requests one after the other until the event is set, and return their number."""
    count = 0
    with KeepAliveClient(server) as client:
        while not stop.is_set():
            assert client.get("/v1/me")[0] == 200
            count += 1
    return count


@contextmanager
def continuous_requests(server: ServerProcess) -> Iterator[None]:
    """Send requests from several clients, of which none may fail."""
    stop = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        counts = [pool.submit(send_requests, server, stop) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            stop.set()
        assert all(count.result() > 10 for count in counts)


def test_draining_server_answers_and_closes_connections(start_server: ServerStarter) -> None:
    server = start_server.ready(SHUTDOWN_DELAY="3")
    with KeepAliveClient(server) as client:
        assert client.get("/v1/me") == (200, None)
        signalled_at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        answers = [client.get(path) for path in ("/readyz", "/v1/me", "/livez")]
    readiness = server.get("/readyz").json()
    assert server.process.wait(TIMEOUT_SECONDS) == 0

    assert answers == [(503, "close"), (200, "close"), (200, "close")]
    assert readiness == {"status": "unavailable", "reason": "The server is shutting down."}
    assert time.monotonic() - signalled_at >= 3


@pytest.mark.parametrize(
    ("workers", "signals"),
    [
        ("1", [signal.SIGINT]),
        ("1", [signal.SIGTERM, signal.SIGTERM]),
        ("2", [signal.SIGINT]),
        ("2", [signal.SIGTERM, signal.SIGTERM]),
    ],
)
def test_sigint_and_second_signal_skip_the_delay(
    start_server: ServerStarter, workers: str, signals: list[signal.Signals]
) -> None:
    server = start_server.ready(WORKERS=workers, SHUTDOWN_DELAY=LONG_DELAY)
    server.wait_for_starts(int(workers))

    for number in signals:
        server.process.send_signal(number)
        time.sleep(0.5)  # signals in quick succession may count as one

    server.process.wait(20)


def test_idle_connection_stays_open(start_server: ServerStarter) -> None:
    server = start_server.ready()
    with KeepAliveClient(server) as client:
        client.get("/livez")
        time.sleep(6)  # common clients close their idle connections after five seconds
        answer = client.get("/v1/me")

    assert answer == (200, None)


def test_idle_connection_is_closed_at_shutdown(start_server: ServerStarter) -> None:
    server = start_server.ready()
    with KeepAliveClient(server) as client:
        client.get("/livez")
        signalled_at = time.monotonic()
        server.stop()

    assert time.monotonic() - signalled_at < 4  # it would stay open for two minutes


def test_connection_in_use_is_answered_at_shutdown(start_server: ServerStarter) -> None:
    server = start_server.ready()
    with KeepAliveClient(server) as client:
        client.get("/livez")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)  # the server has closed its port 0.1 seconds after the signal
        answer = client.get("/v1/me")
    assert server.process.wait(TIMEOUT_SECONDS) == 0

    assert answer == (200, "close")


def test_replacing_processes_fails_no_request(start_server: ServerStarter) -> None:
    server = start_server.ready(WORKERS="2", RATE_LIMIT="off")
    server.wait_for_starts(2)

    with continuous_requests(server):
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_starts(4)
    server.stop()


def test_replaced_processes_do_not_drain(start_server: ServerStarter) -> None:
    server = start_server.ready(WORKERS="2", SHUTDOWN_DELAY=LONG_DELAY)
    server.wait_for_starts(2)

    signalled_at = time.monotonic()
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_starts(4)  # the fourth starts when the first has ended
    duration = time.monotonic() - signalled_at
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(TIMEOUT_SECONDS) == 0

    assert duration < int(LONG_DELAY) / 2


def test_restarts_do_not_delay_the_end(start_server: ServerStarter) -> None:
    server = start_server.ready(WORKERS="2", SHUTDOWN_TIMEOUT="30")
    server.wait_for_starts(2)
    for _ in range(8):
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)

    signalled_at = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(TIMEOUT_SECONDS) == 0

    assert time.monotonic() - signalled_at < 10
