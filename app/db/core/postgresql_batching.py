"""Batches of point reads on PostgreSQL: reads that wait at the same time run as one statement.

A batch starts while fewer than two statements of the same text are counted as running; reads that arrive
meanwhile are the next batch. A statement is counted for at most one second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import Dialect

from app.db.core.statements import (
    AnySelect,
    BatchedStatement,
    CompiledStatement,
    Record,
    compile_statement,
)
from app.db.core.tenancy import batch_point_read
from app.domain.round_robin_queue import RoundRobinQueue
from app.runtime.fair_slots import current_caller

_MAX_RUNNING_PER_STATEMENT = 2
"""Statements of the same text that are counted as running; more would make batches smaller."""

_MAX_BATCH_SIZE = 32
"""Requests in one batch. The time of PostgreSQL grows faster than the number of requests."""

_TIME_LIMIT = timedelta(seconds=1).total_seconds()
"""Time after which the requests of a batch run alone, and a slow read is no longer counted as running."""

_FetchAlone: TypeAlias = Callable[
    [CompiledStatement, Sequence[object], float], Awaitable[Sequence[Record]]
]
"""Runs a statement of one request until a time of the event loop."""

_FetchBatch: TypeAlias = Callable[
    [CompiledStatement, Sequence[object]], Awaitable[Sequence[Record]]
]

logger = structlog.stdlib.get_logger(__name__)


def compile_point_read(
    statement: AnySelect, workspace: str, key: str, dialect: Dialect
) -> CompiledStatement:
    """Compile a point read for one request and for batches; see `batch_point_read`."""
    compiled = compile_statement(statement, dialect)
    batch = BatchedStatement(
        compile_statement(batch_point_read(statement, workspace, key), dialect),
        workspace_index=compiled.parameters.index(workspace),
        key_index=compiled.parameters.index(key),
    )
    return replace(compiled, batch=batch)


class PointReadBatches:
    """Point reads of one event loop."""

    def __init__(
        self,
        fetch_alone: _FetchAlone,
        fetch_batch: _FetchBatch,
        *,
        may_run_alone: Callable[[Hashable], bool],
    ) -> None:
        """Create empty queues; the functions run a statement of one request, and of a batch.

        `may_run_alone` returns False while a statement of this caller would wait for other reads.
        """
        self._fetch_alone = fetch_alone
        self._fetch_batch = fetch_batch
        self._may_run_alone = may_run_alone
        self._queues: WeakKeyDictionary[CompiledStatement, _Queue] = WeakKeyDictionary()

    async def fetch(
        self,
        statement: CompiledStatement,
        arguments: Sequence[object],
        batch: BatchedStatement,
        deadline: float,
    ) -> Sequence[Record]:
        """Return the rows of one request, by a statement of its own if no other request waits.

        A request with several keys is neither batched nor counted. One whose batch failed runs alone, without
        waiting, so it fails only by its own error. Cancelling a request does not cancel its batch. Raises
        TimeoutError at `deadline`, a time of the event loop in seconds.
        """
        key = arguments[batch.key_index]
        if isinstance(key, list | tuple):
            if len(key) != 1:
                return await self._fetch_alone(statement, arguments, deadline)
            (key,) = key
        queue = self._queues.get(statement)
        if queue is None:
            queue = _Queue(batch.statement, self._fetch_batch, self._may_run_alone)
            self._queues[statement] = queue
        async with asyncio.timeout_at(deadline):
            rows = await queue.fetch_in_batch(arguments[batch.workspace_index], key)
        if rows is not None:
            return rows
        with queue.counted_run():
            return await self._fetch_alone(statement, arguments, deadline)


class _Request(NamedTuple):
    caller: Hashable
    workspace: object
    key: object
    result: asyncio.Future[Sequence[Record] | None]


class _Queue:
    """Requests of one statement."""

    def __init__(
        self,
        statement: CompiledStatement,
        fetch: _FetchBatch,
        may_run_alone: Callable[[Hashable], bool],
    ) -> None:
        self._statement = statement
        self._fetch = fetch
        self._may_run_alone = may_run_alone
        self._loop = asyncio.get_running_loop()
        self._waiting: RoundRobinQueue[_Request] = RoundRobinQueue()
        self._running: set[object] = set()
        """The tasks of the batches, and an object for each request that runs alone."""

    async def fetch_in_batch(self, workspace: object, key: object) -> Sequence[Record] | None:
        """Return the rows of a request in a batch; None if the request must run alone."""
        if not self._waiting:
            self._loop.call_soon(self._start_batches)
        caller = current_caller.get()
        result: asyncio.Future[Sequence[Record] | None] = self._loop.create_future()
        self._waiting.append(caller, _Request(caller, workspace, key, result))
        return await result

    @contextmanager
    def counted_run(self) -> Iterator[None]:
        """Count a request that runs alone, until the end of the context or the time limit."""
        run = object()
        self._running.add(run)
        timer = self._loop.call_later(_TIME_LIMIT, self._end_run, run)
        try:
            yield
        finally:
            timer.cancel()
            self._end_run(run)

    def _start_batches(self) -> None:
        while self._waiting and len(self._running) < _MAX_RUNNING_PER_STATEMENT:
            batch = self._pop_batch()
            if len(batch) == 1 and self._may_run_alone(batch[0].caller):
                batch[0].result.set_result(None)
            elif batch:
                task = self._loop.create_task(self._run_batch(batch))
                self._running.add(task)
                task.add_done_callback(self._end_run)

    def _end_run(self, run: object) -> None:
        self._running.discard(run)
        self._loop.call_soon(self._start_batches)

    def _pop_batch(self) -> list[_Request]:
        """Remove the requests of the next batch, round robin by caller."""
        batch: list[_Request] = []
        while self._waiting and len(batch) < _MAX_BATCH_SIZE:
            request = self._waiting.pop()
            if not request.result.done():
                batch.append(request)
        return batch

    async def _run_batch(self, requests: Sequence[_Request]) -> None:
        results: Sequence[Sequence[Record] | None] = [None] * len(requests)
        try:
            async with asyncio.timeout(_TIME_LIMIT):
                results = await self._fetch_rows(requests)
        except Exception as error:  # noqa: BLE001 - each request runs alone, and raises its own error
            logger.warning("batch of reads failed", error=type(error).__name__, size=len(requests))
        for request, rows in zip(requests, results, strict=True):
            if not request.result.done():
                request.result.set_result(rows)

    async def _fetch_rows(self, requests: Sequence[_Request]) -> Sequence[Sequence[Record]]:
        """Return the rows of each request, in the order of the statement."""
        values = {
            "workspaces": [request.workspace for request in requests],
            "keys": [request.key for request in requests],
        }
        rows = await self._fetch(self._statement, self._statement.encode_arguments(values))
        results: list[list[Record]] = [[] for _ in requests]
        for row in rows:
            results[row[-1] - 1].append(row)
        return results
