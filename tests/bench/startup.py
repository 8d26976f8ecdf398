"""What it takes until a server answers at all, and until it answers a document it has never seen."""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.contender_list import POST_RESULTS_SERVER, Name
from tests.bench.requests import GRAPHQL, POST_RESULTS_QUERY, Request
from tests.bench.servers import ContenderProcess

_DOCUMENT_COUNT = 30


@dataclass(frozen=True, slots=True)
class StartupTimes:
    """Milliseconds: from the start of the process to its first answer, and of one client's requests."""

    name: Name
    first_response_ms: float
    new_document_ms: float | None
    repeated_document_ms: float | None

    def __str__(self) -> str:
        start = f"{self.name} answers {self.first_response_ms:,.0f} ms after it is started"
        if self.new_document_ms is None or self.repeated_document_ms is None:
            return start
        return (
            f"{start}; Q1 as a document that it has never seen takes {self.new_document_ms:.1f} ms, and"
            f" {self.repeated_document_ms:.1f} ms again"
        )


def measure_startup(servers: Sequence[ContenderProcess], post_id: object) -> Iterator[StartupTimes]:
    """Ask ours for documents that differ in their operation's name; the others' starts are enough."""
    for server in servers:
        new = same = None
        if server.name.server == POST_RESULTS_SERVER:
            documents = [_named_request(f"Document{number}", post_id) for number in range(_DOCUMENT_COUNT)]
            new, same = (statistics.median(_average_ms(server, documents)) for _ in range(2))
        yield StartupTimes(server.name, server.start_seconds * 1000, new, same)


def _named_request(name: str, post_id: object) -> Request:
    document = POST_RESULTS_QUERY.replace("query", f"query {name}", 1)
    request = GRAPHQL["Q1"].with_post_id(post_id)
    body = {**json.loads(request.body or ""), "query": document}
    return Request(request.path, json.dumps(body))


def _average_ms(server: ContenderProcess, requests: Sequence[Request]) -> Iterator[float]:
    for request in requests:
        started = time.perf_counter()
        server.send(request)
        yield (time.perf_counter() - started) * 1000
