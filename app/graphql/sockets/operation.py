"""One operation on a WebSocket: what its client is sent, from the first answer to the last message."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from app.domain.errors import PostResultsError, ServiceUnavailable
from app.graphql.errors import Answer, as_json, error_entry
from app.graphql.requests import OperationRequest
from app.graphql.sockets.messages import Replies, Subscribe
from app.graphql.sockets.terms import Terms
from app.graphql.streams.stream import Stream
from app.http.state import RequestState


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Whoever was let in."""

    token: str
    address: str | None


async def answered(
    terms: Terms,
    asker: Asker,
    subscribe: Subscribe,
    state: RequestState,
    say: Callable[[str], Awaitable[None]],
) -> str:
    """Say all that is answered but for the last message, which is returned.

    Raises what `say` raises, and the PostResultsError that refuses or ends it: InvalidApiKey where the key
    is not good any more, ServiceUnavailable where the begin takes too long.
    """
    replies = Replies(subscribe.id)
    try:
        async with asyncio.timeout(terms.answer_within.total_seconds()):
            answer = await _begun(terms, asker, subscribe.request, state)
    except TimeoutError:
        seconds = terms.answer_within.total_seconds()
        raise ServiceUnavailable(
            f"No answer within {seconds:g} s; the operation was given up.", retry_after=5
        ) from None
    if isinstance(answer, Stream):
        async with aclosing(answer.answers()) as answers:
            async for each in answers:
                await say(replies.next(each))
    elif answer.executed:
        await say(replies.next(as_json(answer)))
    else:
        return replies.error(answer.errors)
    return replies.complete()


def refused(operation_id: str, error: PostResultsError, state: RequestState) -> str:
    """The last message, which says why."""
    state["error_codes"] = [error.code.value]
    return Replies(operation_id).error([error_entry(error, state["request_id"])])


async def _begun(
    terms: Terms, asker: Asker, request: OperationRequest, state: RequestState
) -> Answer | Stream:
    context = await terms.door.context_of(
        asker.token,
        asker.address,
        state,
        max_list_entries=terms.max_list_entries,
        max_values=terms.max_values,
    )
    workspace = context.viewer.workspace_id
    context.request_count.as_unknown(may_follow=True)
    try:
        query = terms.documents.find(request.document, workspace)
        answer = await terms.door.open(context, query, request.variables, request.operation_name)
        if isinstance(answer, Stream) or answer.executed:
            terms.documents.remember(request.document, workspace)
        return answer
    finally:
        context.request_count.as_request()  # for what could not be read counts too
