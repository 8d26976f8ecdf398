"""Third-party clients reconnect after restarts of the server and miss no change."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import pytest

from tests.contract.subscription_clients import ClientSubscription, PostEditor, start_clients
from tests.servers import ServerGroup, ServerProcess, log_errors

pytestmark = pytest.mark.slow

WEBSOCKET_CLIENTS = ["graphql-ws", "graphql-ws, eager", "apollo", "urql"]
RECONNECTING_CLIENTS = [*WEBSOCKET_CLIENTS, "graphql-sse", "urql by graphql-sse"]
NON_RECONNECTING_CLIENT = "urql by fetch"
WRITE_INTERVAL = 0.01
"""Seconds between two changes."""
MAX_CHANGES = 10_000
"""More changes than a run makes."""

CHANGES_SUBSCRIPTION = """
    subscription Changes($after: String) { changes(after: $after) { __typename cursor } }
    """


@dataclass(frozen=True)
class RestartRecord:
    """All changes of the run, and the messages of each client."""

    changes: list[str]
    """Cursors of all changes."""
    received: dict[str, list[Any]]
    sockets: dict[str, list[Any]]


@pytest.fixture(scope="module", name="record")
def restart_record(tmp_path_factory: pytest.TempPathFactory) -> RestartRecord:
    """Restart a server twice under all clients, once by SIGTERM and once by SIGKILL.

    A second server on the same database receives the writes.
    """
    folder = tmp_path_factory.mktemp("restarts")
    logs = folder / "logs"
    logs.mkdir()
    url = f"sqlite:///{folder / 'live.db'}"
    writer = ServerProcess(logs, {"DATABASE_URL": url, "RATE_LIMIT": "off"}, "--demo")
    restarted = ServerGroup(logs, url, 1)
    try:
        writer.wait_until_ready()
        restarted.start()
        record = restart_under_load(restarted, writer)
        restarted.stop()
        writer.stop()
    finally:
        restarted.kill()
        writer.kill()
    assert not log_errors(logs)
    return record


def restart_under_load(restarted: ServerGroup, writer: ServerProcess) -> RestartRecord:
    editor = PostEditor(writer)
    start = editor.latest_cursor()
    with start_clients(restarted.urls[0]) as clients:
        subscriptions = {
            name: clients.subscribe(name, CHANGES_SUBSCRIPTION, after=start)
            for name in RECONNECTING_CLIENTS
        }
        ending = clients.subscribe(NON_RECONNECTING_CLIENT, CHANGES_SUBSCRIPTION, after=start)
        received: dict[str, list[Any]] = {name: [] for name in RECONNECTING_CLIENTS}

        def wait_for_new_change() -> None:
            editor.create_draft("Change for all clients")
            cursor = editor.latest_cursor()
            for name, subscription in subscriptions.items():
                received[name] += _receive_until(subscription, _changes_message(cursor))

        with _write_in_background(editor):
            wait_for_new_change()
            restarted.stop()
            restarted.start()
            received[NON_RECONNECTING_CLIENT] = _receive_until(ending, "end")
            wait_for_new_change()
            restarted.kill_and_restart(0)
            wait_for_new_change()
        wait_for_new_change()
        sockets = {name: clients.drain_messages(f"socket of {name}") for name in WEBSOCKET_CLIENTS}
        for name, subscription in subscriptions.items():
            received[name] += subscription.drain_messages()
    changes = editor.cursors_after(start)
    editor.close()
    return RestartRecord(changes, received, sockets)


def _changes_message(cursor: str) -> dict[str, Any]:
    return {"data": {"changes": {"__typename": "Change", "cursor": cursor}}, "errors": []}


def _receive_until(subscription: ClientSubscription, last: Any) -> list[Any]:
    """All messages up to a certain one."""
    messages = [subscription.next_message()]
    while messages[-1] != last:
        assert len(messages) < MAX_CHANGES
        messages.append(subscription.next_message())
    return messages


@contextmanager
def _write_in_background(editor: PostEditor) -> Iterator[None]:
    """Create drafts in another thread during the block."""
    stop = Event()

    def write() -> None:
        while not stop.wait(WRITE_INTERVAL):
            editor.create_draft("Background change")

    thread = Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("client", RECONNECTING_CLIENTS)
def test_reconnecting_client_receives_each_change_once_and_in_order(
    record: RestartRecord, client: str
) -> None:
    assert record.received[client] == [_changes_message(cursor) for cursor in record.changes]


@pytest.mark.parametrize("client", WEBSOCKET_CLIENTS)
def test_socket_is_closed_with_1012_at_a_shutdown_and_with_1006_at_a_kill(
    record: RestartRecord, client: str
) -> None:
    ends = [end for before, end in pairwise(record.sockets[client]) if before == "connected"]
    assert ends == [[1012, ""], [1006, ""]]
    assert record.sockets[client][-1] == "connected"


def test_event_stream_of_urql_ends_with_the_server(record: RestartRecord) -> None:
    *messages, last = record.received[NON_RECONNECTING_CLIENT]
    assert messages == [_changes_message(cursor) for cursor in record.changes[: len(messages)]]
    assert 0 < len(messages) < len(record.changes)
    assert last == "end"
