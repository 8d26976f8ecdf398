"""Responses of a subscription, one per event, their cache, and the memory budget of subscriptions."""

import asyncio
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from cachetools import TTLCache
from graphql.execution.values import VariableValues
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from app.domain.errors import MASKED_MESSAGE, InternalError, PostResultsError, ServiceUnavailable
from app.graphql.engine.errors import to_json
from app.graphql.engine.prepared_operation import PreparedOperation
from app.graphql.schema.context import Context
from app.graphql.schema.subscription import PendingEvent
from app.http.concurrency import ConcurrencyLimiter
from app.services.api_keys import Viewer

RESPONSE_TTL = timedelta(seconds=2)
"""Lifetime of an entry; short, because a later subscriber needs data that is as current."""
MAX_RESPONSE_CACHE_BYTES = 4 << 20
_ENTRY_OVERHEAD_BYTES = 700
"""Measured memory of a cache entry beside its response."""
_MAX_CONCURRENT = 4
"""Limit of concurrent computations, so that an event with many different responses blocks no other work."""

SKIPPED_RESPONSE = ""
"""Response of an event that is not sent to the client."""

ResponseKey = Hashable
"""Event, and everything that its response depends on."""

_DATABASE_OUTAGE_TIMEOUT = timedelta(minutes=2)
"""Time for which an event is retried while the database is unavailable, before its stream fails."""
_INITIAL_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.1, 5.0
"""Bounds of the exponential backoff with full jitter."""
_MAX_OPEN_DOCUMENT_BYTES = 128 << 20
_BUDGET_RETRY_AFTER_SECONDS = 60

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ComputedResponse:
    response: str
    is_cacheable: bool
    """True if the response has no errors, so that later subscribers may receive it too."""


class ResponseCache:
    """Cache in which the first caller computes a response, and the others wait for it or find it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._responses: TTLCache[ResponseKey, str] = TTLCache(
            MAX_RESPONSE_CACHE_BYTES,
            RESPONSE_TTL.total_seconds(),
            monotonic,
            lambda response: sys.getsizeof(response) + _ENTRY_OVERHEAD_BYTES,
        )
        self._in_flight: dict[ResponseKey, asyncio.Task[str]] = {}
        self._concurrency = asyncio.Semaphore(_MAX_CONCURRENT)

    async def get_or_compute(
        self, key: ResponseKey, compute: Callable[[], Awaitable[ComputedResponse]]
    ) -> str:
        """Return the response; all callers that wait for one computation share its exception."""
        response = self._responses.get(key)
        if response is not None:
            return response
        task = self._in_flight.get(key)
        if task is None:
            task = self._in_flight[key] = asyncio.create_task(self._compute(key, compute))
            task.add_done_callback(_consume_exception)
        # Shielded, so that a cancelled caller does not cancel the computation for the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel all computations and wait until they have ended."""
        tasks = set(self._in_flight.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _compute(
        self, key: ResponseKey, compute: Callable[[], Awaitable[ComputedResponse]]
    ) -> str:
        try:
            async with self._concurrency:
                computed = await compute()
                if computed.is_cacheable:
                    with suppress(ValueError):  # larger than the whole cache
                        self._responses[key] = computed.response
                # A computation that never blocked has not yielded to the event loop yet.
                await asyncio.sleep(0)
            return computed.response
        finally:
            del self._in_flight[key]


def _consume_exception(task: "asyncio.Task[str]") -> None:
    """Mark the exception as retrieved: if all callers were cancelled, no one else reads it."""
    if not task.cancelled():
        task.exception()


class DocumentMemoryBudget:
    """Limit of the memory held by the documents of open subscriptions of this process.

    Subscriptions with the same document share its memory.
    """

    def __init__(self, max_bytes: int = _MAX_OPEN_DOCUMENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._subscriber_counts: Counter[PreparedOperation] = Counter()
        self._used_bytes = 0

    def check(self, operation: PreparedOperation) -> None:
        """Raise ServiceUnavailable if one more document would exceed the budget."""
        is_open = operation in self._subscriber_counts
        if not is_open and self._used_bytes + operation.estimated_bytes > self._max_bytes:
            raise ServiceUnavailable(
                "Too many distinct subscription documents are open. Use variables instead of inlined"
                " values, or try again later.",
                retry_after=_BUDGET_RETRY_AFTER_SECONDS,
            )

    @contextmanager
    def reserve(self, operation: PreparedOperation) -> Iterator[None]:
        """Count one subscription of the document while the context is open; raises like `check`."""
        self.check(operation)
        if operation not in self._subscriber_counts:
            self._used_bytes += operation.estimated_bytes
        self._subscriber_counts[operation] += 1
        try:
            yield
        finally:
            self._subscriber_counts[operation] -= 1
            if not self._subscriber_counts[operation]:
                del self._subscriber_counts[operation]
                self._used_bytes -= operation.estimated_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStream:
    """Stream of the responses of one open subscription."""

    operation: PreparedOperation
    variables: VariableValues
    context: Context
    pending_events: AsyncGenerator[PendingEvent, None]
    cache_key: bytes
    """Key of the responses in the cache, together with the event; see `subscription_cache_key`."""
    response_cache: ResponseCache
    subscription_limiter: ConcurrencyLimiter
    document_budget: DocumentMemoryBudget

    async def responses(self) -> AsyncGenerator[str, None]:
        """Yield responses as JSON, without end.

        Fails with a PostResultsError: ResyncRequired, or a failure of the server.
        """
        with (
            self.subscription_limiter.acquire(self.context.viewer.key_id),
            self.document_budget.reserve(self.operation),
        ):
            async with aclosing(self.pending_events) as events:
                try:
                    async for pending in events:
                        key = (pending.event.seq, pending.event.happened_at, self.cache_key)
                        response = await self.response_cache.get_or_compute(
                            key, partial(self._execute_with_retry, pending)
                        )
                        if response != SKIPPED_RESPONSE:
                            yield response
                except PostResultsError:
                    raise
                except Exception as error:
                    request_id = self.context.request.request_id
                    logger.exception("subscription failed", request_id=request_id)
                    raise InternalError(MASKED_MESSAGE) from error

    async def _execute_with_retry(self, pending: PendingEvent) -> ComputedResponse:
        """Execute an event, with retries while the database is unavailable to any field."""
        try:
            return await self._execute_event(pending)
        except ServiceUnavailable:
            return await self._retry_event(pending)

    @retry(
        retry=retry_if_exception_type(ServiceUnavailable),
        stop=stop_after_delay(_DATABASE_OUTAGE_TIMEOUT),
        wait=wait_random_exponential(multiplier=_INITIAL_BACKOFF_SECONDS, max=_MAX_BACKOFF_SECONDS),
        reraise=True,
    )
    async def _retry_event(self, pending: PendingEvent) -> ComputedResponse:
        """Execute an event until it succeeds; separate, because tenacity takes about as long as an event."""
        return await self._execute_event(pending)

    async def _execute_event(self, pending: PendingEvent) -> ComputedResponse:
        """Execute an event once; raises ServiceUnavailable if the database was unavailable to any field."""
        context = self.context.for_next_event()
        payload = await pending.build_payload(pending.event, context)
        if payload is None:
            return ComputedResponse(SKIPPED_RESPONSE, is_cacheable=True)
        result = await self.operation.execute_event(payload, context, self.variables)
        return ComputedResponse(to_json(result), is_cacheable=not result.errors)


def subscription_cache_key(
    operation: PreparedOperation, query: str, raw_variables: Mapping[str, object], viewer: Viewer
) -> bytes:
    """Hash everything that the responses of a subscription depend on, besides the event."""
    variables = {
        name: value
        for name, value in raw_variables.items()
        if name not in operation.cursor_variables
    }
    identity = (str(viewer.workspace_id), viewer.scopes, query, operation.name, variables)
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).digest()
