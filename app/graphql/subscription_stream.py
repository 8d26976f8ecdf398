"""Responses of a subscription, one per event, their cache, and the memory budget of subscriptions."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from weakref import ReferenceType, ref

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
from app.http.memory_budget import MemoryBudget
from app.runtime.fair_slots import FairSlots, current_caller
from app.services.api_keys import Viewer

RESPONSE_TTL = timedelta(seconds=2)
"""Lifetime of an entry; short, because a later subscriber needs data that is as current."""
MAX_RESPONSE_CACHE_BYTES = 4 << 20
_ENTRY_OVERHEAD_BYTES = 800
"""Measured memory of a cache entry beside the bytes of its response."""
_MAX_SHARED_LARGE_RESPONSES = 1_000
"""Limit of remembered references to responses that are larger than the cache."""
_MAX_CONCURRENT = 4
"""Limit of concurrent computations, so that an event with many different responses blocks no other work."""

ResponseKey = Hashable
"""Event, and everything that its response depends on."""

_DATABASE_OUTAGE_TIMEOUT = timedelta(minutes=2)
"""Time for which an event is retried while the database is unavailable, before its stream fails."""
_INITIAL_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.1, 5.0
"""Bounds of the exponential backoff with full jitter."""
_MAX_OPEN_DOCUMENT_BYTES = 128 << 20
_BUDGET_RETRY_AFTER_SECONDS = 60
_MAX_WAITING_BYTES = 128 << 20

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class EncodedResponse:
    """JSON of a response, one object for all subscriptions that receive it."""

    body: bytes
    """UTF-8; empty for an event that is not sent to the client."""
    is_cacheable: bool = False
    """True if the response has no errors, so that later subscribers may receive it too."""


SKIPPED_RESPONSE = EncodedResponse(b"", is_cacheable=True)


class ResponseCache:
    """Cache in which the first caller computes a response, and the others wait for it or find it.

    A response that is larger than the cache is found while another caller still uses it.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        ttl = RESPONSE_TTL.total_seconds()
        self._responses: TTLCache[ResponseKey, EncodedResponse] = TTLCache(
            MAX_RESPONSE_CACHE_BYTES,
            ttl,
            monotonic,
            lambda response: len(response.body) + _ENTRY_OVERHEAD_BYTES,
        )
        self._large_responses: TTLCache[ResponseKey, ReferenceType[EncodedResponse]] = TTLCache(
            _MAX_SHARED_LARGE_RESPONSES, ttl, monotonic
        )
        self._in_flight: dict[ResponseKey, asyncio.Task[EncodedResponse]] = {}
        self._slots = FairSlots(_MAX_CONCURRENT, max_per_caller=_MAX_CONCURRENT)

    async def get_or_compute(
        self, key: ResponseKey, compute: Callable[[], Awaitable[EncodedResponse]]
    ) -> EncodedResponse:
        """Return the response; all callers that wait for one computation share its exception."""
        response = self._responses.get(key)
        if response is not None:
            return response
        task = self._in_flight.get(key)
        if task is None:
            large = self._large_responses.get(key)
            if large is not None and (response := large()) is not None:
                return response
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
        self, key: ResponseKey, compute: Callable[[], Awaitable[EncodedResponse]]
    ) -> EncodedResponse:
        try:
            async with self._slots.hold(current_caller.get()):
                response = await compute()
                if response.is_cacheable:
                    try:
                        self._responses[key] = response
                    except ValueError:  # larger than the whole cache
                        self._large_responses[key] = ref(response)
                # A computation that never blocked has not yielded to the event loop yet.
                await asyncio.sleep(0)
            return response
        finally:
            del self._in_flight[key]


def _consume_exception(task: "asyncio.Task[EncodedResponse]") -> None:
    """Mark the exception as retrieved: if all callers were cancelled, no one else reads it."""
    if not task.cancelled():
        task.exception()


def create_document_budget(max_bytes: int = _MAX_OPEN_DOCUMENT_BYTES) -> MemoryBudget:
    """Create the limit of the memory held by the documents of open subscriptions of this process."""
    return MemoryBudget(
        max_bytes,
        lambda: ServiceUnavailable(
            "Too many distinct subscription documents are open, with this API key or in total. Use"
            " variables instead of inlined values, or try again later.",
            retry_after=_BUDGET_RETRY_AFTER_SECONDS,
        ),
    )


class SlowClient(Exception):
    """Reason to disconnect a client: more waits to be sent to it, or to its API key, than may wait."""


def create_waiting_budget(max_bytes: int = _MAX_WAITING_BYTES) -> MemoryBudget:
    """Create the limit of the memory held by responses that wait to be sent by this process."""
    return MemoryBudget(max_bytes, SlowClient)


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
    document_budget: MemoryBudget

    async def responses(self) -> AsyncGenerator[EncodedResponse, None]:
        """Yield responses without end.

        Fails with a PostResultsError: ResyncRequired, or a failure of the server.
        """
        key_id, operation = self.context.viewer.key_id, self.operation
        with (
            self.subscription_limiter.acquire(key_id),
            self.document_budget.reserve(key_id, {operation: operation.estimated_bytes}),
        ):
            async with aclosing(self.pending_events) as events:
                try:
                    async for pending in events:
                        key = (pending.event.seq, pending.event.happened_at, self.cache_key)
                        response = await self.response_cache.get_or_compute(
                            key, partial(self._execute_with_retry, pending)
                        )
                        if response.body:
                            yield response
                        del pending, response  # or they would stay in memory until the next event
                except PostResultsError:
                    raise
                except Exception as error:
                    request_id = self.context.request.request_id
                    logger.exception("subscription failed", request_id=request_id)
                    raise InternalError(MASKED_MESSAGE) from error

    async def _execute_with_retry(self, pending: PendingEvent) -> EncodedResponse:
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
    async def _retry_event(self, pending: PendingEvent) -> EncodedResponse:
        """Execute an event until it succeeds; separate, because tenacity takes about as long as an event."""
        return await self._execute_event(pending)

    async def _execute_event(self, pending: PendingEvent) -> EncodedResponse:
        """Execute an event once; raises ServiceUnavailable if the database was unavailable to any field."""
        context = self.context.for_next_event()
        payload = await pending.build_payload(pending.event, context)
        if payload is None:
            return SKIPPED_RESPONSE
        result = await self.operation.execute_event(payload, context, self.variables)
        return EncodedResponse(to_json(result), is_cacheable=not result.errors)


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
