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


class Operation:
    """One that was begun, for whoever waits for what it is told."""

    def __init__(self, clients: "Clients", name: str) -> None:
        self._clients = clients
        self.name = name

    def told(self) -> Any:
        """The next that it is told: data and errors, a failure, or `end`."""
        return self._clients.told(self.name)

    def told_since(self) -> list[Any]:
        """All that it was told and nobody asked for yet."""
        return self._clients.told_since(self.name)

    def stop(self) -> None:
        """Return when it is to be told no more."""
        self._clients.say(stop=self.name)
        while self.told() != "stopped":
            pass


class Clients:
    """Each is made once for a key, when it is first needed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._begun = 0
        self._told: defaultdict[str, SimpleQueue[Any]] = defaultdict(SimpleQueue)

    def begin(self, client: str, query: str, *, key: str = DEMO_KEY, **variables: Any) -> Operation:
        self._begun += 1
        name = f"operation {self._begun}"
        self.say(id=name, client=client, key=key, query=query, variables=variables)
        return Operation(self, name)

    def say(self, **line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def told(self, name: str) -> Any:
        """The next of an operation, a `socket of` a client, or the `answers to` one."""
        return self._told[name].get(timeout=TIMEOUT_SECONDS)

    def told_since(self, name: str) -> list[Any]:
        found: list[Any] = []
        while True:
            try:
                found.append(self._told[name].get_nowait())
            except Empty:
                return found

    def listen(self) -> None:
        """Until the process ends."""
        for line in self._process.stdout or ():
            printed = json.loads(line)
            self._told[printed["id"]].put(printed["told"])


@contextmanager
def clients_of(url: str) -> Iterator[Clients]:
    """The clients of one server; tests are skipped where they are not installed."""
    if not (JAVASCRIPT / "node_modules" / "graphql-ws").exists():
        pytest.skip("The clients are not installed; run scripts/clients.")
    command = [str(ROOT / "scripts" / "node"), "node", "follow.mjs", f"{url}/graphql"]
    with subprocess.Popen(
        command, cwd=JAVASCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        clients = Clients(process)
        listening = Thread(target=clients.listen)
        listening.start()
        try:
            yield clients
        finally:
            assert process.stdin is not None
            process.stdin.close()
            listening.join()
    assert process.returncode == 0


class Writer:
    """Whoever changes something by REST, and reads by GraphQL what was changed."""

    def __init__(self, server: ServerProcess, key: str = DEMO_KEY) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._drafts = 0
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT_SECONDS)

    def draft(self, content: str) -> str:
        """Make a post that goes nowhere; its id."""
        self._drafts += 1
        reference = f"draft {self._drafts}"  # or the next one would be taken for its repetition
        post = {"content": content, "draft": True, "reference": reference}
        response = self._http.post("/v1/posts", json=post)
        assert response.status_code == 201
        made: str = response.json()["data"]["post_id"]
        return made

    def rewrite(self, post_id: str, content: str) -> None:
        response = self._http.patch(f"/v1/posts/{post_id}", json={"content": content})
        assert response.status_code == 200

    def newest(self) -> str:
        """The cursor behind all changes there are."""
        cursor: str = self._changes(None, "")["latestCursor"]
        return cursor

    def cursors(self, after: str, of: str = "") -> list[str]:
        """Of all changes after one; only those of a post, if it is given."""
        found: list[str] = []
        page: dict[str, Any] = {"hasNextPage": True, "endCursor": after}
        while page["hasNextPage"]:
            page = self._changes(page["endCursor"], of)
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
