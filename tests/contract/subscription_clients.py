"""Controls third-party GraphQL clients that run in one process of Node.js."""

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
    """An operation that was started with one of the clients."""

    def __init__(self, clients: "SubscriptionClients", name: str) -> None:
        self._clients = clients
        self.name = name

    def next_message(self) -> Any:
        """Wait for the next message: data and errors, a failure, or `end`."""
        return self._clients.next_message(self.name)

    def drain_messages(self) -> list[Any]:
        """All messages that were received and not read yet."""
        return self._clients.drain_messages(self.name)

    def stop(self) -> None:
        """Stop the operation and wait for the confirmation."""
        self._clients.send_command(stop=self.name)
        while self.next_message() != "stopped":
            pass


class SubscriptionClients:
    """The clients of one server. Each client is created once per API key, at its first use."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._operation_count = 0
        self._messages: defaultdict[str, SimpleQueue[Any]] = defaultdict(SimpleQueue)

    def subscribe(
        self, client: str, query: str, *, key: str = DEMO_KEY, **variables: Any
    ) -> ClientSubscription:
        """Start an operation of any type with a client."""
        return self._start(client=client, key=key, query=query, variables=variables)

    def subscribe_by_id(
        self, client: str, query: str, document_id: str, **variables: Any
    ) -> ClientSubscription:
        """Start an operation with a client that also sends the id of its document."""
        operation = {"query": query, "documentId": document_id, "variables": variables}
        return self._start(client=client, key=DEMO_KEY, **operation)

    def _start(self, **operation: Any) -> ClientSubscription:
        self._operation_count += 1
        name = f"operation {self._operation_count}"
        self.send_command(id=name, **operation)
        return ClientSubscription(self, name)

    def send_command(self, **line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def next_message(self, name: str) -> Any:
        """Wait for the next message of an operation, of `socket of CLIENT`, or of `responses to CLIENT`."""
        return self._messages[name].get(timeout=TIMEOUT_SECONDS)

    def drain_messages(self, name: str) -> list[Any]:
        messages: list[Any] = []
        while True:
            try:
                messages.append(self._messages[name].get_nowait())
            except Empty:
                return messages

    def read_messages(self) -> None:
        """Read the output of the process until it ends."""
        for line in self._process.stdout or ():
            printed = json.loads(line)
            self._messages[printed["id"]].put(printed["message"])


@contextmanager
def start_clients(url: str) -> Iterator[SubscriptionClients]:
    """Start the clients of one server; skip the test if they are not installed."""
    if not (JAVASCRIPT / "node_modules" / "graphql-ws").exists():
        pytest.skip("The clients are not installed; run scripts/clients.")
    command = [str(ROOT / "scripts" / "node"), "node", "subscribe.mjs", f"{url}/graphql"]
    with subprocess.Popen(
        command, cwd=JAVASCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        clients = SubscriptionClients(process)
        reader = Thread(target=clients.read_messages)
        reader.start()
        try:
            yield clients
        finally:
            assert process.stdin is not None
            process.stdin.close()
            reader.join()
    assert process.returncode == 0


class PostEditor:
    """Changes posts by REST and reads the change feed by GraphQL."""

    def __init__(self, server: ServerProcess, key: str = DEMO_KEY) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._drafts = 0
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT_SECONDS)

    def create_draft(self, content: str) -> str:
        """Create a draft without accounts and return its id."""
        self._drafts += 1
        reference = f"draft {self._drafts}"  # without it, an equal draft would count as a duplicate
        post = {"content": content, "draft": True, "reference": reference}
        response = self._http.post("/v1/posts", json=post)
        assert response.status_code == 201
        post_id: str = response.json()["data"]["post_id"]
        return post_id

    def update_content(self, post_id: str, content: str) -> None:
        response = self._http.patch(f"/v1/posts/{post_id}", json={"content": content})
        assert response.status_code == 200

    def latest_cursor(self) -> str:
        """The cursor after all current changes."""
        cursor: str = self._changes(None, "")["latestCursor"]
        return cursor

    def cursors_after(self, after: str, post_id: str = "") -> list[str]:
        """Cursors of all changes after a cursor, or only those of a post."""
        cursors: list[str] = []
        page: dict[str, Any] = {"hasNextPage": True, "endCursor": after}
        while page["hasNextPage"]:
            page = self._changes(page["endCursor"], post_id)
            cursors += [node["cursor"] for node in page["nodes"]]
        return cursors

    def _changes(self, after: str | None, post_id: str) -> Any:
        query = """
            query Changes($after: String, $postId: UUID) {
              changes(after: $after, postId: $postId, first: 100) {
                nodes { cursor } endCursor latestCursor hasNextPage
              }
            }
            """
        variables = {"after": after, "postId": post_id or None}
        body = {"query": query, "variables": variables}
        return self._http.post("/graphql", json=body).json()["data"]["changes"]

    def close(self) -> None:
        self._http.close()
