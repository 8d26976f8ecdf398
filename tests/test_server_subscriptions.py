"""Subscriptions of server processes: frame limits, lost connections, shutdown and several processes."""

import itertools
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from threading import Barrier
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.servers import DEMO_KEY, DEMO_POST, TIMEOUT_SECONDS, ServerProcess, ServerStarter

pytestmark = pytest.mark.slow

PROTOCOL = Subprotocol("graphql-transport-ws")
CREATED_SUBSCRIPTION = """
    subscription ($after: String) {
      changes(after: $after, types: [POST_CREATED]) { cursor type }
    }
"""
StartDemoServer = Callable[[], ServerProcess]


@pytest.fixture
def start_demo_server(start_server: ServerStarter) -> StartDemoServer:
    """Function that starts a server with the demo data and no rate limits."""
    return partial(start_server.ready, "--demo", RATE_LIMIT="off")


def open_websocket(server: ServerProcess, **options: Any) -> ClientConnection:
    url = server.url.replace("http", "ws", 1) + "/graphql"
    connection: ClientConnection = connect(
        url, subprotocols=[PROTOCOL], compression=None, open_timeout=TIMEOUT_SECONDS, **options
    )
    return connection


def send_message(connection: ClientConnection, **message: Any) -> None:
    connection.send(json.dumps(message))


def receive_message(connection: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv(timeout=TIMEOUT_SECONDS))
    return message


def subscribe_to_changes(connection: ClientConnection, after: str | None = None) -> None:
    """Authenticate and subscribe to changes as operation `a`."""
    send_message(
        connection, type="connection_init", payload={"Authorization": f"Bearer {DEMO_KEY}"}
    )
    assert receive_message(connection) == {"type": "connection_ack"}
    payload = {"query": CREATED_SUBSCRIPTION, "variables": {"after": after}}
    send_message(connection, id="a", type="subscribe", payload=payload)


def current_cursor(server: ServerProcess) -> str:
    cursor: str = server.get("/v1/changes?limit=1", DEMO_KEY).json()["data"]["latest_cursor"]
    return cursor


def create_post(server: ServerProcess) -> None:
    response = httpx.post(
        f"{server.url}/v1/posts",
        json={"content": "hello", "account_ids": [2280]},
        headers={"Authorization": f"Bearer {DEMO_KEY}", "X-Allow-Duplicate": "1"},
        timeout=TIMEOUT_SECONDS,
    )
    assert response.status_code == 201


def close_code(connection: ClientConnection) -> int:
    with suppress(ConnectionClosed):
        while True:
            connection.recv(timeout=TIMEOUT_SECONDS)
    code = connection.close_code
    assert code is not None
    return code


def test_invalid_frames_close_the_socket_without_a_warning_in_the_log(
    demo_server: ServerProcess,
) -> None:
    before = len(demo_server.log_events())
    message = {"type": "ping", "payload": {"x": ""}}
    max_padding = 64 * 1024 - len(json.dumps(message))
    with open_websocket(demo_server) as connection:
        message["payload"] = {"x": max_padding * "x"}
        connection.send(json.dumps(message))  # exactly the limit
        assert receive_message(connection) == {"type": "pong"}
        message["payload"] = {"x": (max_padding + 1) * "x"}
        connection.send(json.dumps(message))
        assert close_code(connection) == 1009
    with open_websocket(demo_server) as connection:
        with suppress(ConnectionClosed):
            connection.send(60_000 * "x" for _ in range(200))  # one message in fragments
        assert close_code(connection) == 1009
    with open_websocket(demo_server) as connection:
        with suppress(ConnectionClosed):
            connection.send(12_000_000 * "x")  # closed before the whole message was sent
        assert close_code(connection) == 1009
    with open_websocket(demo_server) as connection:
        connection.send(b"\xff\xfe", text=True)
        assert close_code(connection) == 1007
    with open_websocket(demo_server) as connection:
        connection.send(b"{}")
        assert close_code(connection) == 4400
    with pytest.raises(InvalidStatus) as rejected:
        open_websocket(demo_server, origin=Origin("https://evil.example"))
    assert rejected.value.response.status_code == 403
    with connect(demo_server.url.replace("http", "ws", 1) + "/graphql") as connection:
        assert close_code(connection) == 4406
    events = demo_server.log_events()[before:]
    assert [event for event in events if event["level"] in ("warning", "error")] == []


def test_lost_connection_ends_its_subscriptions(demo_server: ServerProcess) -> None:
    with open_websocket(demo_server) as connection:
        subscribe_to_changes(connection, current_cursor(demo_server))
        wait_for_metric(demo_server, "post_results_subscriptions_open 1.0")
        connection.socket.shutdown(socket.SHUT_RDWR)
        connection.socket.close()
        wait_for_metric(demo_server, "post_results_subscriptions_open 0.0")
        wait_for_metric(demo_server, "post_results_websockets_open 0.0")


def wait_for_metric(server: ServerProcess, line: str) -> None:
    for _ in range(2000):
        if f"{line}\n" in server.get("/metrics").text:
            return
    raise AssertionError(server.get("/metrics").text)


def test_shutdown_closes_sockets_and_streams_and_clients_can_resume(
    start_demo_server: StartDemoServer,
) -> None:
    server = start_demo_server()
    after = current_cursor(server)
    headers = {"Authorization": f"Bearer {DEMO_KEY}", "Accept": "text/event-stream"}
    with (
        open_websocket(server) as connection,
        httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT_SECONDS) as http,
        http.stream(
            "POST", "/graphql", json={"query": CREATED_SUBSCRIPTION, "variables": {}}
        ) as stream,
        open_websocket(server) as idle,
    ):
        subscribe_to_changes(connection, after)
        subscribe_to_changes(idle, after)
        wait_for_metric(server, "post_results_subscriptions_open 3.0")
        server.stop()
        assert (close_code(connection), close_code(idle)) == (1012, 1012)
        assert "event: complete" not in "".join(stream.iter_text())
    restarted = start_demo_server()
    create_post(restarted)
    with open_websocket(restarted) as connection:
        subscribe_to_changes(connection, after)
        assert receive_message(connection)["payload"]["data"]["changes"]["type"] == "POST_CREATED"
    restarted.stop()


def test_shutdown_closes_sockets_of_clients_that_are_sending(
    start_demo_server: StartDemoServer,
) -> None:
    count = 8
    is_busy = Barrier(count + 1)

    def keep_sending(connection: ClientConnection) -> int:
        with suppress(ConnectionClosed):
            for number in itertools.count():
                send_message(connection, type="pong", payload={"x": 20_000 * "x"})
                if number == 20:
                    is_busy.wait(TIMEOUT_SECONDS)
        return close_code(connection)

    server = start_demo_server()
    with ExitStack() as stack, ThreadPoolExecutor(count) as threads:
        codes = [
            threads.submit(keep_sending, stack.enter_context(open_websocket(server)))
            for _ in range(count)
        ]
        is_busy.wait(TIMEOUT_SECONDS)
        server.stop()
        assert [code.result() for code in codes] == count * [1012]


def test_shutdown_answers_long_polls_with_304(start_demo_server: StartDemoServer) -> None:
    server = start_demo_server()
    headers = {"Authorization": f"Bearer {DEMO_KEY}"}
    url = f"{server.url}/v1/posts/{DEMO_POST}/results?wait=60"
    with httpx.stream("GET", url.replace("wait=60", "wait=0"), headers=headers) as response:
        etag = response.headers["etag"]
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as raw:
        raw.sendall(
            f"GET {httpx.URL(url).raw_path.decode()} HTTP/1.1\r\nHost: test\r\n"
            f"Authorization: Bearer {DEMO_KEY}\r\nIf-None-Match: {etag}\r\n\r\n".encode()
        )
        wait_for_metric(server, "post_results_subscriptions_open 1.0")
        server.stop()
        assert raw.recv(1000).startswith(b"HTTP/1.1 304 ")


def test_changes_written_by_one_process_reach_subscribers_of_another(
    start_demo_server: StartDemoServer,
) -> None:
    reader, writer = start_demo_server(), start_demo_server()
    after = current_cursor(reader)
    with open_websocket(reader) as connection:
        subscribe_to_changes(connection, after)
        create_post(writer)
        assert receive_message(connection)["payload"]["data"]["changes"]["type"] == "POST_CREATED"
    for server in (reader, writer):
        server.stop()
