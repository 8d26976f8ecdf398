"""The field's clients come back by themselves when the server is started anew, and miss nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.contract.subscription_clients import Operation, Writer, clients_of
from tests.servers import ServerProcess

BY_SOCKET = ["graphql-ws", "graphql-ws, eager", "apollo", "urql"]
COMING_BACK = [*BY_SOCKET, "graphql-sse", "urql by graphql-sse"]
NOT_COMING_BACK = "urql by fetch"
PAUSE = 0.01
"""Seconds between two changes."""
MANY = 10_000
"""More changes than there ever are."""

FOLLOW = "subscription Follow($after: String) { changes(after: $after) { __typename cursor } }"


@dataclass(frozen=True)
class Story:
    """What had happened in the end, and what each client was told of it."""

    changes: list[str]
    """The cursors of all."""
    told: dict[str, list[Any]]
    sockets: dict[str, list[Any]]


class Scene:
    """Two servers of one database: one that is started anew, and one that takes what is written meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._settings = {"DATABASE_URL": f"sqlite:///{folder / 'live.db'}", "RATE_LIMIT": "off"}
        self.other = self._start("--demo")
        self.front = self._start()
        self._settings["PORT"] = self.front.url.rpartition(":")[2]

    def _start(self, *arguments: str) -> ServerProcess:
        server = ServerProcess(self._logs, self._settings, *arguments)
        server.wait_until_ready()
        return server

    def stop_and_start(self) -> None:
        _stop(self.front)
        self.front = self._start()

    def kill_and_start(self) -> None:
        self.front.kill()
        self.front = self._start()

    def stop(self) -> None:
        _stop(self.front)
        _stop(self.other)

    def end(self) -> None:
        self.front.kill()
        self.other.kill()


def _stop(server: ServerProcess) -> None:
    """It must have had no trouble."""
    server.stop()
    assert [each for each in server.log_events() if each["level"] != "info"] == []


def play(scene: Scene) -> Story:
    """Restart the server twice under all clients while somebody writes."""
    writer = Writer(scene.other)
    start = writer.newest()
    with clients_of(scene.front.url) as clients:
        following = [clients.begin(name, FOLLOW, after=start) for name in COMING_BACK]
        ending = clients.begin(NOT_COMING_BACK, FOLLOW, after=start)
        told: dict[str, list[Any]] = {name: [] for name in [*COMING_BACK, NOT_COMING_BACK]}

        def all_see_one_more() -> None:
            writer.draft("For all to see")
            cursor = writer.newest()
            for name, each in zip(COMING_BACK, following, strict=True):
                told[name] += _until(each, _told_of(cursor))

        with _writing(writer):
            all_see_one_more()
            scene.stop_and_start()
            told[NOT_COMING_BACK] = _until(ending, "end")
            all_see_one_more()
            scene.kill_and_start()
            all_see_one_more()
        all_see_one_more()
        sockets = {name: clients.told_since(f"socket of {name}") for name in BY_SOCKET}
        for name, each in zip(COMING_BACK, following, strict=True):
            told[name] += each.told_since()
    changes = writer.cursors(start)
    writer.close()
    return Story(changes, told, sockets)


def _told_of(cursor: str) -> dict[str, Any]:
    return {"data": {"changes": {"__typename": "Change", "cursor": cursor}}, "errors": []}


def _until(operation: Operation, last: Any) -> list[Any]:
    """All that it is told down to this."""
    found = [operation.told()]
    while found[-1] != last:
        assert len(found) < MANY
        found.append(operation.told())
    return found


@contextmanager
def _writing(writer: Writer) -> Iterator[None]:
    """Somebody makes one post after the other."""
    is_over = Event()

    def write() -> None:
        while not is_over.wait(PAUSE):
            writer.draft("One of many")

    writing = Thread(target=write)
    writing.start()
    try:
        yield
    finally:
        is_over.set()
        writing.join()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    scene = Scene(tmp_path_factory.mktemp("restarts"))
    try:
        story = play(scene)
        scene.stop()
    finally:
        scene.end()
    return story


@pytest.mark.parametrize("client", COMING_BACK)
def test_a_client_sees_each_change_once_and_in_order(story: Story, client: str) -> None:
    assert story.told[client] == [_told_of(cursor) for cursor in story.changes]


@pytest.mark.parametrize("client", BY_SOCKET)
def test_a_server_that_stops_says_so_and_one_that_is_killed_cannot(
    story: Story, client: str
) -> None:
    ends = [end for before, end in pairwise(story.sockets[client]) if before == "connected"]
    assert ends == [[1012, ""], [1006, ""]]
    assert story.sockets[client][-1] == "connected"


def test_the_events_that_urql_reads_itself_are_at_an_end_with_the_server(story: Story) -> None:
    *told, last = story.told[NOT_COMING_BACK]
    assert told == [_told_of(cursor) for cursor in story.changes[: len(told)]]
    assert 0 < len(told) < len(story.changes)
    assert last == "end"
