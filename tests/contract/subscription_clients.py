"""The field's clients as a test follows changes by them, all in one process of Node.js. No tests."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.external_programs import JAVASCRIPT, ROOT
from tests.servers import DEMO_KEY, TIMEOUT_SECONDS, ServerProcess


class ClientSubscription:
    """One that was begun, for whoever waits for what it is told."""

    def __init__(self, clients: "SubscriptionClients", name: str) -> None:
        self._clients = clients
        self.name = name

    def next_message(self) -> Any:
        """The next that it is told: data and errors, a failure, or `end`."""
        return self._clients.next_message(self.name)

    def drain_messages(self) -> list[Any]:
        """All that it was told and nobody asked for yet."""
        return self._clients.drain_messages(self.name)

    def stop(self) -> None:
        """Return when it is to be told no more."""
        self._clients.send_command(stop=self.name)
        while self.next_message() != "stopped":
            pass


class SubscriptionClients:
    """Each is made once for a key, when it is first needed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._operation_count = 0
        self._messages: defaultdict[str, SimpleQueue[Any]] = defaultdict(SimpleQueue)

    def subscribe(self, client: str, query: str, *, key: str = DEMO_KEY, **variables: Any) -> ClientSubscription:
        self._operation_count += 1
        name = f"operation {self._operation_count}"
        self.send_command(id=name, client=client, key=key, query=query, variables=variables)
        return ClientSubscription(self, name)

    def send_command(self, **line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def next_message(self, name: str) -> Any:
        """The next of an operation, a `socket of` a client, or the `answers to` one."""
        return self._messages[name].get(timeout=TIMEOUT_SECONDS)

    def drain_messages(self, name: str) -> list[Any]:
        found: list[Any] = []
        while True:
            try:
                found.append(self._messages[name].get_nowait())
            except Empty:
                return found

    def read_messages(self) -> None:
        """Until the process ends."""
        for line in self._process.stdout or ():
            printed = json.loads(line)
            self._messages[printed["id"]].put(printed["told"])


@contextmanager
def start_clients(url: str) -> Iterator[SubscriptionClients]:
    """The clients of one server; tests are skipped where they are not installed."""
    if not (JAVASCRIPT / "node_modules" / "graphql-ws").exists():
        pytest.skip("The clients are not installed; run scripts/clients.")
    command = [str(ROOT / "scripts" / "node"), "node", "follow.mjs", f"{url}/graphql"]
    with subprocess.Popen(
        command, cwd=JAVASCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        clients = SubscriptionClients(process)
        listening = Thread(target=clients.read_messages)
        listening.start()
        try:
            yield clients
        finally:
            assert process.stdin is not None
            process.stdin.close()
            listening.join()
    assert process.returncode == 0


class PostEditor:
    """Whoever changes something by REST, and reads by GraphQL what was changed."""

    def __init__(self, server: ServerProcess, key: str = DEMO_KEY) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._drafts = 0
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT_SECONDS)

    def create_draft(self, content: str) -> str:
        """Make a post that goes nowhere; its id."""
        self._drafts += 1
        reference = f"draft {self._drafts}"  # or the next one would be taken for its repetition
        post = {"content": content, "draft": True, "reference": reference}
        response = self._http.post("/v1/posts", json=post)
        assert response.status_code == 201
        made: str = response.json()["data"]["post_id"]
        return made

    def update_content(self, post_id: str, content: str) -> None:
        response = self._http.patch(f"/v1/posts/{post_id}", json={"content": content})
        assert response.status_code == 200

    def latest_cursor(self) -> str:
        """The cursor behind all changes there are."""
        cursor: str = self._changes(None, "")["latestCursor"]
        return cursor

    def cursors_after(self, after: str, post_id: str = "") -> list[str]:
        """Of all changes after one; only those of a post, if it is given."""
        found: list[str] = []
        page: dict[str, Any] = {"hasNextPage": True, "endCursor": after}
        while page["hasNextPage"]:
            page = self._changes(page["endCursor"], post_id)
            found += [each["cursor"] for each in page["nodes"]]
        return found

    def _changes(self, after: str | None, post_id: str) -> Any:
        query = """
            query Changes($after: String, $postId: UUID) {
              changes(after: $after, postId: $postId, first: 100) {
                nodes { cursor } endCursor latestCursor hasNextPage
              }
            }
            """
        variables = {"after": after, "postId": post_id or None}
        asked = {"query": query, "variables": variables}
        return self._http.post("/graphql", json=asked).json()["data"]["changes"]

    def close(self) -> None:
        self._http.close()
