"""Executes one operation of a WebSocket, and sends its messages to the client."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from app.domain.errors import PostResultsError, ServiceUnavailable
from app.graphql.engine.errors import OperationResult, error_entry, to_json
from app.graphql.engine.persisted_documents import DocumentStore
from app.graphql.service import ConnectionTimeouts, GraphQLService
from app.graphql.subscription_stream import SubscriptionStream
from app.graphql.transport.http import OperationRequest
from app.graphql.transport.websocket.messages import OperationMessages, Subscribe
from app.http.concurrency import ConcurrencyLimiter
from app.http.state import RequestState
from app.observability.recorders import SocketRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketConfig:
    """Dependencies and limits shared by all WebSockets of the server."""

    service: GraphQLService
    document_store: DocumentStore
    observer: SocketRecorder
    new_request_id: Callable[[], str]
    authenticated_limiter: ConcurrencyLimiter
    unauthenticated_limiter: ConcurrencyLimiter
    """Limiter of WebSockets that have not authenticated yet, all under one key."""
    max_operations: int
    """Number of operations that may run on one WebSocket at a time."""
    max_list_entries: int
    max_values: int
    operation_timeout: timedelta
    """Timeout of queries and mutations, and of the start of a subscription."""
    timeouts: ConnectionTimeouts


async def run_operation(
    config: WebSocketConfig,
    token: str,
    message: Subscribe,
    state: RequestState,
    client_address: str | None,
    send_message: Callable[[str], Awaitable[None]],
) -> str:
    """Execute an operation and send its messages, except for the last one, which is returned.

    Raises what `send_message` raises, and a PostResultsError that rejects or ends the operation:
    InvalidApiKey if the key is no longer valid, ServiceUnavailable after the operation timeout.
    """
    messages = OperationMessages(message.id)
    try:
        async with asyncio.timeout(config.operation_timeout.total_seconds()):
            result = await _start(config, token, message.request, state, client_address)
    except TimeoutError:
        seconds = config.operation_timeout.total_seconds()
        raise ServiceUnavailable(
            f"No response within {seconds:g} s; the operation was cancelled.", retry_after=5
        ) from None
    if isinstance(result, SubscriptionStream):
        async with aclosing(result.responses()) as responses:
            async for response in responses:
                await send_message(messages.next(response))
    elif result.is_executed:
        await send_message(messages.next(to_json(result)))
    else:
        return messages.error(result.errors)
    return messages.complete()


def error_message(operation_id: str, error: PostResultsError, state: RequestState) -> str:
    """Format the error as the last message of an operation, and record its code for the log."""
    state["error_codes"] = [error.code.value]
    return OperationMessages(operation_id).error([error_entry(error, state["request_id"])])


async def _start(
    config: WebSocketConfig,
    token: str,
    request: OperationRequest,
    state: RequestState,
    client_address: str | None,
) -> OperationResult | SubscriptionStream:
    context = await config.service.authenticate(
        token,
        client_address,
        state,
        max_list_entries=config.max_list_entries,
        max_values=config.max_values,
    )
    workspace = context.viewer.workspace_id
    context.rate_limit_charge.precheck(may_subscribe=True)
    try:
        query = config.document_store.resolve(request.document, workspace)
        result = await config.service.execute_or_subscribe(
            context, query, request.variables, request.operation_name
        )
        if isinstance(result, SubscriptionStream) or result.is_executed:
            config.document_store.store(request.document, workspace)
        return result
    finally:
        context.rate_limit_charge.charge_request()  # charges an unparsable document; no-op if already charged
