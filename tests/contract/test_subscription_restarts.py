"""The field's clients come back by themselves when the server is started anew, and miss nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.contract.subscription_clients import ClientSubscription, PostEditor, start_clients
from tests.servers import ServerProcess

WEBSOCKET_CLIENTS = ["graphql-ws", "graphql-ws, eager", "apollo", "urql"]
RECONNECTING_CLIENTS = [*WEBSOCKET_CLIENTS, "graphql-sse", "urql by graphql-sse"]
NON_RECONNECTING_CLIENT = "urql by fetch"
PAUSE = 0.01
"""Seconds between two changes."""
MAX_CHANGES = 10_000
"""More changes than there ever are."""

CHANGES_SUBSCRIPTION = "subscription Follow($after: String) { changes(after: $after) { __typename cursor } }"


@dataclass(frozen=True)
class RestartRecord:
    """What had happened in the end, and what each client was told of it."""

    changes: list[str]
    """The cursors of all."""
    received: dict[str, list[Any]]
    sockets: dict[str, list[Any]]


class RestartedServers:
    """Two servers of one database: one that is started anew, and one that takes what is written meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._settings = {"DATABASE_URL": f"sqlite:///{folder / 'live.db'}", "RATE_LIMIT": "off"}
        self.other = self._start("--demo")
        self.restarted = self._start()
        self._settings["PORT"] = self.restarted.url.rpartition(":")[2]

    def _start(self, *arguments: str) -> ServerProcess:
        server = ServerProcess(self._logs, self._settings, *arguments)
        server.wait_until_ready()
        return server

    def stop_and_start(self) -> None:
        _stop(self.restarted)
        self.restarted = self._start()

    def kill_and_start(self) -> None:
        self.restarted.kill()
        self.restarted = self._start()

    def stop(self) -> None:
        _stop(self.restarted)
        _stop(self.other)

    def end(self) -> None:
        self.restarted.kill()
        self.other.kill()


def _stop(server: ServerProcess) -> None:
    """It must have had no trouble."""
    server.stop()
    assert [each for each in server.log_events() if each["level"] != "info"] == []


def restart_under_load(servers: RestartedServers) -> RestartRecord:
    """Restart the server twice under all clients while somebody writes."""
    writer = PostEditor(servers.other)
    start = writer.latest_cursor()
    with start_clients(servers.restarted.url) as clients:
        following = [clients.subscribe(name, CHANGES_SUBSCRIPTION, after=start) for name in RECONNECTING_CLIENTS]
        ending = clients.subscribe(NON_RECONNECTING_CLIENT, CHANGES_SUBSCRIPTION, after=start)
        told: dict[str, list[Any]] = {name: [] for name in [*RECONNECTING_CLIENTS, NON_RECONNECTING_CLIENT]}

        def wait_for_new_change() -> None:
            writer.create_draft("For all to see")
            cursor = writer.latest_cursor()
            for name, each in zip(RECONNECTING_CLIENTS, following, strict=True):
                told[name] += _receive_until(each, _changes_message(cursor))

        with _write_in_background(writer):
            wait_for_new_change()
            servers.stop_and_start()
            told[NON_RECONNECTING_CLIENT] = _receive_until(ending, "end")
            wait_for_new_change()
            servers.kill_and_start()
            wait_for_new_change()
        wait_for_new_change()
        sockets = {name: clients.drain_messages(f"socket of {name}") for name in WEBSOCKET_CLIENTS}
        for name, each in zip(RECONNECTING_CLIENTS, following, strict=True):
            told[name] += each.drain_messages()
    changes = writer.cursors_after(start)
    writer.close()
    return RestartRecord(changes, told, sockets)


def _changes_message(cursor: str) -> dict[str, Any]:
    return {"data": {"changes": {"__typename": "Change", "cursor": cursor}}, "errors": []}


def _receive_until(operation: ClientSubscription, last_cursor: Any) -> list[Any]:
    """All that it is told down to this."""
    found = [operation.next_message()]
    while found[-1] != last_cursor:
        assert len(found) < MAX_CHANGES
        found.append(operation.next_message())
    return found


@contextmanager
def _write_in_background(writer: PostEditor) -> Iterator[None]:
    """Somebody makes one post after the other."""
    is_over = Event()

    def write() -> None:
        while not is_over.wait(PAUSE):
            writer.create_draft("One of many")

    writing = Thread(target=write)
    writing.start()
    try:
        yield
    finally:
        is_over.set()
        writing.join()


@pytest.fixture(scope="module")
def restart_record(tmp_path_factory: pytest.TempPathFactory) -> RestartRecord:
    scene = RestartedServers(tmp_path_factory.mktemp("restarts"))
    try:
        story = restart_under_load(scene)
        scene.stop()
    finally:
        scene.end()
    return story


@pytest.mark.parametrize("client", RECONNECTING_CLIENTS)
def test_a_client_sees_each_change_once_and_in_order(story: RestartRecord, client: str) -> None:
    assert story.received[client] == [_changes_message(cursor) for cursor in story.changes]


@pytest.mark.parametrize("client", WEBSOCKET_CLIENTS)
def test_a_server_that_stops_says_so_and_one_that_is_killed_cannot(
    story: RestartRecord, client: str
) -> None:
    ends = [end for before, end in pairwise(story.sockets[client]) if before == "connected"]
    assert ends == [[1012, ""], [1006, ""]]
    assert story.sockets[client][-1] == "connected"


def test_the_events_that_urql_reads_itself_are_at_an_end_with_the_server(story: RestartRecord) -> None:
    *told, last = story.received[NON_RECONNECTING_CLIENT]
    assert told == [_changes_message(cursor) for cursor in story.changes[: len(told)]]
    assert 0 < len(told) < len(story.changes)
    assert last == "end"
