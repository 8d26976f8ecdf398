"""What it takes until a server answers at all, and until it answers a document it has never seen."""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.contender_list import OURS, Name
from tests.bench.requests import GRAPHQL, POST_RESULTS, Request
from tests.bench.servers import Server

_DOCUMENTS = 30


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds: from the start of the process to its first answer, and of one client's requests."""

    name: Name
    until_first_answer: float
    new_document: float | None
    same_document: float | None

    def __str__(self) -> str:
        start = f"{self.name} answers {self.until_first_answer:,.0f} ms after it is started"
        if self.new_document is None or self.same_document is None:
            return start
        return (
            f"{start}; Q1 as a document that it has never seen takes {self.new_document:.1f} ms, and"
            f" {self.same_document:.1f} ms again"
        )


def starts(servers: Sequence[Server], post_id: object) -> Iterator[Start]:
    """Ask ours for documents that differ in their operation's name; the others' starts are enough."""
    for server in servers:
        new = same = None
        if server.name.server == OURS:
            documents = [_named(f"Document{number}", post_id) for number in range(_DOCUMENTS)]
            new, same = (statistics.median(_took(server, documents)) for _ in range(2))
        yield Start(server.name, server.start_seconds * 1000, new, same)


def _named(name: str, post_id: object) -> Request:
    document = POST_RESULTS.replace("query", f"query {name}", 1)
    request = GRAPHQL["Q1"].of_post(post_id)
    body = {**json.loads(request.body or ""), "query": document}
    return Request(request.path, json.dumps(body))


def _took(server: Server, requests: Sequence[Request]) -> Iterator[float]:
    for request in requests:
        started = time.perf_counter()
        server.ask(request)
        yield (time.perf_counter() - started) * 1000
