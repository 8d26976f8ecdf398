"""One operation on a WebSocket: what its client is sent, from the first answer to the last message."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from app.domain.errors import PostResultsError, ServiceUnavailable
from app.graphql.engine.errors import OperationResult, error_entry, to_json
from app.graphql.subscription_stream import SubscriptionStream
from app.graphql.transport.requests import OperationRequest
from app.graphql.transport.websocket.config import WebSocketConfig
from app.graphql.transport.websocket.messages import OperationMessages, Subscribe
from app.http.state import RequestState


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Whoever was let in."""

    token: str
    client_address: str | None


async def run_operation(
    config: WebSocketConfig,
    credentials: Credentials,
    message: Subscribe,
    state: RequestState,
    send_message: Callable[[str], Awaitable[None]],
) -> str:
    """Say all that is answered but for the last message, which is returned.

    Raises what `say` raises, and the PostResultsError that refuses or ends it: InvalidApiKey where the key
    is not good any more, ServiceUnavailable where the begin takes too long.
    """
    replies = OperationMessages(message.id)
    try:
        async with asyncio.timeout(config.operation_timeout.total_seconds()):
            answer = await _start(config, credentials, message.request, state)
    except TimeoutError:
        seconds = config.operation_timeout.total_seconds()
        raise ServiceUnavailable(
            f"No answer within {seconds:g} s; the operation was given up.", retry_after=5
        ) from None
    if isinstance(answer, SubscriptionStream):
        async with aclosing(answer.responses()) as answers:
            async for each in answers:
                await send_message(replies.next(each))
    elif answer.is_executed:
        await send_message(replies.next(to_json(answer)))
    else:
        return replies.error(answer.errors)
    return replies.complete()


def error_message(operation_id: str, error: PostResultsError, state: RequestState) -> str:
    """The last message, which says why."""
    state["error_codes"] = [error.code.value]
    return OperationMessages(operation_id).error([error_entry(error, state["request_id"])])


async def _start(
    config: WebSocketConfig,
    credentials: Credentials,
    request: OperationRequest,
    state: RequestState,
) -> OperationResult | SubscriptionStream:
    context = await config.service.authenticate(
        credentials.token,
        credentials.client_address,
        state,
        max_list_entries=config.max_list_entries,
        max_values=config.max_values,
    )
    workspace = context.viewer.workspace_id
    context.rate_limit_charge.precheck(may_subscribe=True)
    try:
        query = config.document_store.resolve(request.document, workspace)
        answer = await config.service.execute_or_subscribe(
            context, query, request.variables, request.operation_name
        )
        if isinstance(answer, SubscriptionStream) or answer.is_executed:
            config.document_store.store(request.document, workspace)
        return answer
    finally:
        context.rate_limit_charge.charge_request()  # for what could not be read counts too
