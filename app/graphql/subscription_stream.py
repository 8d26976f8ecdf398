"""The answers to one subscription, one for each change that it is told of. Knows no transport."""

import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import structlog
from graphql import ExecutionResult
from graphql.execution.values import VariableValues
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from app.domain.errors import MASKED_MESSAGE, InternalError, PostResultsError, ServiceUnavailable
from app.graphql.document_budget import DocumentMemoryBudget
from app.graphql.engine.errors import OperationResult, public_cause, to_json
from app.graphql.engine.prepared import PreparedOperation
from app.graphql.response_cache import SKIPPED_RESPONSE, ComputedResponse, ResponseCache
from app.graphql.schema.context import Context
from app.graphql.schema.subscription import PendingEvent
from app.http.concurrency import ConcurrencyLimiter

DATABASE_OUTAGE_TIMEOUT = timedelta(minutes=2)
"""How long a change waits for a database that is away, before its stream is given up."""
_INITIAL_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.1, 5.0
"""Seconds; each is drawn from up to its whole."""

BuildResult: TypeAlias = Callable[[Context, ExecutionResult], OperationResult]

logger = structlog.stdlib.get_logger(__name__)


class SubscriptionStream:
    """Of one subscription that has begun."""

    def __init__(
        self,
        operation: PreparedOperation,
        text: str,
        raw_variables: Mapping[str, object],
        variables: VariableValues,
        context: Context,
        pending_events: AsyncGenerator[PendingEvent, None],
        *,
        response_cache: ResponseCache,
        subscription_limiter: ConcurrencyLimiter,
        document_budget: DocumentMemoryBudget,
        build_result: BuildResult,
    ) -> None:
        self._operation = operation
        self._variables = variables
        self._context = context
        self._pending_events = pending_events
        self._response_cache = response_cache
        self._subscription_limiter = subscription_limiter
        self._document_budget = document_budget
        self._build_result = build_result
        viewer = context.viewer
        told_apart = {
            name: value
            for name, value in raw_variables.items()
            if name not in operation.cursor_variables
        }
        asked = (str(viewer.workspace_id), viewer.scopes, text, operation.name, told_apart)
        self._cache_key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
        """Whatever makes a difference to the answers, as something short that is soon compared."""

    async def responses(self) -> AsyncGenerator[str, None]:
        """Each as JSON, as `Answer.body` has it.

        It has no end; what it breaks off with is a PostResultsError: ResyncRequired, or a failure of ours.
        """
        with (
            self._subscription_limiter.acquire(self._context.viewer.key_id),
            self._document_budget.reserve(self._operation),
        ):
            async with aclosing(self._pending_events) as told:
                try:
                    async for each in told:
                        key = (each.event.seq, each.event.happened_at, self._cache_key)
                        answer = await self._response_cache.get_or_compute(
                            key, partial(self._execute_with_retry, each)
                        )
                        if answer != SKIPPED_RESPONSE:
                            yield answer
                except PostResultsError:
                    raise
                except Exception as error:
                    request_id = self._context.state["request_id"]
                    logger.exception("subscription failed", request_id=request_id)
                    raise InternalError(MASKED_MESSAGE) from error

    async def _execute_with_retry(self, event: PendingEvent) -> ComputedResponse:
        """The answer to a change, also if the database has to come back first."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ServiceUnavailable),
            stop=stop_after_delay(DATABASE_OUTAGE_TIMEOUT),
            wait=wait_random_exponential(
                multiplier=_INITIAL_BACKOFF_SECONDS, max=_MAX_BACKOFF_SECONDS
            ),
            reraise=True,
        ):
            with attempt:
                made = await self._execute_event(event)
        return made

    async def _execute_event(self, event: PendingEvent) -> ComputedResponse:
        """ServiceUnavailable if anything of it could not be read."""
        context = self._context.for_next_event()
        shown = await event.resolve(context)
        if shown is None:
            return ComputedResponse(SKIPPED_RESPONSE, is_cacheable=True)
        result = await self._operation.execute_event(shown, context, self._variables)
        for error in result.errors or ():
            if isinstance(cause := public_cause(error), ServiceUnavailable):
                raise cause
        answer = self._build_result(context, result)
        return ComputedResponse(to_json(answer), is_cacheable=not answer.errors)
