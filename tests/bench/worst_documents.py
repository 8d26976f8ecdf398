"""Searches for the document that blocks the event loop longest: `python -m tests.bench.worst_documents`.

The application runs in this process, on a workspace with 300 accounts. Known shapes come first, then random
documents, then variants of the worst ones. Each request is sent twice: with a new document, and with a known
one. What counts is the longest iteration of the event loop in CPU time of its thread. The longest garbage
collection in any thread is printed, too.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from random import Random
from urllib.parse import urlsplit
from uuid import UUID

import click
import orjson

from app.asgi import Application, create_app_from_env
from app.graphql.engine.executable_schema import create_schema
from app.settings import read_settings
from tests.bench.contender_list import ENGINES
from tests.bench.expensive_documents import (
    DocumentGenerator,
    Operation,
    Request,
    changing_requests,
    known_operations,
    known_requests,
)
from tests.bench.loop_monitor import LoopMonitor
from tests.bench.rounds import seed_all, temporary_databases
from tests.bench.seeding import DESTINATIONS_PER_POST, Dataset
from tests.http.asgi import ASGIClient, http_scope

_LIMIT_MS = 50
"""Longest time that a document may block the event loop."""

_WORST = 10
_POSTS_ON_ALL_ACCOUNTS = 33
"""Posts with 300 destinations each: all of them have about as many entries as a response may have."""

_STREAM_SECONDS = 1.0
"""Time after which a subscription is left; nothing changes meanwhile."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Result of one request."""

    request: Request
    blocked_ms: float
    """CPU time of the longest iteration of the event loop."""
    collection_ms: float
    """CPU time of the longest garbage collection in any thread."""
    elapsed_ms: float
    status: int | None
    answer: str
    """Size of the answer, or its first error."""

    def __str__(self) -> str:
        return (
            f"{self.blocked_ms:9.1f} ms blocked, {self.collection_ms:9.1f} ms collection,"
            f" {self.elapsed_ms:9.1f} ms in all  {self.request.name}: {self.status} {self.answer}"
        )


class Search:
    """Search for the worst documents on one database."""

    def __init__(
        self, app: Application, token: str, monitor: LoopMonitor, generator: DocumentGenerator
    ) -> None:
        self._app = app
        self._token = token
        self._monitor = monitor
        self._generator = generator
        self.measurements: list[Measurement] = []

    async def run(self, documents: int, variants: int) -> None:
        """Measure known shapes, random documents, and variants of the worst operations."""
        async with self._app.router.lifespan_context(self._app):
            await self._send(Request("warm up", b'{"query": "{ viewer { scopes } }"}'))
            for request in known_requests(self._generator):
                await self.measure(request)
            found = [
                (await self._measure_operation(operation), operation)
                for operation in self._first_operations(documents)
            ]
            for _ in range(variants):
                found.sort(key=lambda pair: -pair[0])
                del found[_WORST:]
                _, parent = self._generator.rng.choice(found)
                operation = self._generator.variant(parent)
                found.append((await self._measure_operation(operation), operation))
            for request in changing_requests(self._generator):
                await self.measure(request)

    def _first_operations(self, documents: int) -> Iterator[Operation]:
        yield from known_operations(self._generator)
        yield from islice(iter(self._generator.operation, None), documents)

    async def _measure_operation(self, operation: Operation) -> float:
        return await self.measure(operation.to_request())

    async def measure(self, request: Request) -> float:
        """Send a request twice and keep the worse measurement; return its time."""
        first, second = await self._send(request), await self._send(request)
        worse = max(first, second, key=lambda each: each.blocked_ms)
        self.measurements.append(worse)
        if worse.blocked_ms > _LIMIT_MS:
            click.echo(f"    {worse}")
        return worse.blocked_ms

    async def _send(self, request: Request) -> Measurement:
        url = urlsplit(request.path)
        headers = [
            (b"authorization", f"Bearer {self._token}".encode()),
            (b"content-type", b"application/json"),
            (b"accept", request.accept.encode()),
        ]
        scope = http_scope("POST" if request.body else "GET", url.path, headers)
        scope.update({"query_string": url.query.encode(), "client": ("127.0.0.1", 1)})
        client = ASGIClient(request.body)
        gc.collect()
        await asyncio.sleep(0.01)
        self._monitor.restart()
        started = time.perf_counter()
        task = asyncio.ensure_future(self._app(scope, client.receive, client.send))
        await asyncio.wait(
            {task}, timeout=_STREAM_SECONDS if "event-stream" in request.accept else None
        )
        blocked_ms = self._monitor.longest_ms()
        collection_ms = self._monitor.longest_collection_ms()
        elapsed_ms = (time.perf_counter() - started) * 1000
        client.disconnect()
        await asyncio.wait({task})
        return Measurement(
            request,
            blocked_ms,
            collection_ms,
            elapsed_ms,
            client.status,
            _describe(client.body),
        )


def _describe(body: bytes) -> str:
    """Return the first error of an answer, else its size."""
    size = f"{len(body):,} bytes"
    if not body.startswith(b"{") or len(body) > 100_000:
        return size
    try:
        errors = orjson.loads(body).get("errors")
    except orjson.JSONDecodeError:
        return size
    return f"refused or failed: {errors[0]['message'][:100]}" if errors else size


def _search(
    url: str, dataset: Dataset, ids: Sequence[UUID], seed: int, documents: int, variants: int
) -> Sequence[Measurement]:
    os.environ |= {"DATABASE_URL": url, "RATE_LIMIT": "off", "LOG_LEVEL": "error", "WEBHOOKS": "no"}
    generator = DocumentGenerator(
        create_schema(read_settings(os.environ).graphql).graphql_schema,
        dataset.now,
        ids,
        Random(seed),
    )
    app = create_app_from_env()  # exempts all that exists, this schema too, from garbage collection
    monitor = LoopMonitor()
    search = Search(app, dataset.api_key.token, monitor, generator)
    with asyncio.Runner(loop_factory=monitor.new_event_loop) as runner:
        runner.run(search.run(documents, variants))
    return search.measurements


@click.command()
@click.option("--destinations", default=201_000, show_default=True, type=click.IntRange(1_000))
@click.option("--documents", default=200, show_default=True, type=click.IntRange(0))
@click.option("--variants", default=200, show_default=True, type=click.IntRange(0))
@click.option("--seed", default=1, show_default=True)
@click.option("--engines", default="both", type=click.Choice([*ENGINES, "both"]))
def main(destinations: int, documents: int, variants: int, seed: int, engines: str) -> None:
    """Print the ten documents that block the event loop longest. Exits with 1 above the limit."""
    chosen = ENGINES if engines == "both" else (engines,)
    dataset = Dataset(
        destinations // DESTINATIONS_PER_POST, datetime.now(UTC), _POSTS_ON_ALL_ACCOUNTS
    )
    is_within_limit = True
    with temporary_databases(chosen) as urls:
        ids = seed_all(urls, dataset)
        for engine, url in urls.items():
            click.echo(engine)
            measurements = _search(url, dataset, ids, seed, documents, variants)
            worst = sorted(measurements, key=lambda each: -each.blocked_ms)[:_WORST]
            click.echo(f"  the worst of {len(measurements)} documents:")
            for each in worst:
                click.echo(f"  {each}")
            is_within_limit = is_within_limit and worst[0].blocked_ms <= _LIMIT_MS
    sys.exit(not is_within_limit)


if __name__ == "__main__":
    main()
