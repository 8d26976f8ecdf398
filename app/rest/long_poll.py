"""Long poll of `GET /posts/{post_id}/results`: holds the response back until its data change."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta

from starlette.datastructures import QueryParams

from app.domain.errors import NotFound, ResyncRequired, ServiceUnavailable
from app.graphql.engine.prepared_operation import Document
from app.graphql.schema.context import Context
from app.graphql.service import SUBSCRIPTION_ONLY, GraphQLService
from app.graphql.subscription_stream import SubscriptionStream
from app.http.request import HttpRequest
from app.http.responses import BytesResponse
from app.rest.parameters import parse_post_id, read_integer

_MAX_WAIT_SECONDS = 60
"""Longest wait of a request; proxies close connections that are silent for longer."""

_UNAVAILABLE_RETRY_SECONDS = 2

_LATEST_CHANGE = """
query LatestChange {
  changes(first: 1, types: []) {
    latest_cursor: latestCursor
  }
}
"""

_POST_CHANGED = """
subscription PostChanged($postId: UUID!, $after: String!) {
  postChanged(postId: $postId, after: $after) {
    cursor
  }
}
"""

Respond = Callable[[], Awaitable[BytesResponse]]
"""Function that reads the data again and builds a response."""


def parse_wait(query: QueryParams) -> timedelta:
    """Parse `wait`, in seconds: the longest time to hold the response back."""
    return timedelta(seconds=read_integer(query, "wait", 0, _MAX_WAIT_SECONDS, 0))


async def wait_for_change(
    request: HttpRequest,
    graphql_service: GraphQLService,
    context: Context,
    respond: Respond,
    max_wait: timedelta,
) -> BytesResponse:
    """Respond as soon as the data differ from those the client has, at the latest after `max_wait`.

    The client's data are those of its If-None-Match, or else those at the start of the request. A
    client that sends the tag of its last response misses no change in between.
    """
    # Read the cursor first, so that a change during the first read is noticed too.
    latest = await graphql_service.execute(context, _LATEST_CHANGE, {})
    first = await respond()
    etag = _etag(first)
    if etag is None or (b"if-none-match" in request.headers and first.status != 304):
        return first
    changes = (latest.data or {}).get("changes")
    if changes is None:
        raise _long_poll_unavailable_error()
    request.has_timeout = False
    stream = await graphql_service.execute_or_subscribe(
        context,
        Document(_POST_CHANGED, graphql_service.schema.limits),
        {"postId": str(parse_post_id(request)), "after": changes["latest_cursor"]},
        allowed_types=SUBSCRIPTION_ONLY,
    )
    if not isinstance(stream, SubscriptionStream):
        codes = [error["extensions"]["code"] for error in stream.errors]
        if NotFound.code.name in codes:  # the post was deleted since: respond with 404
            return await respond()
        raise _long_poll_unavailable_error()
    request.is_latency_measured = False
    changed = asyncio.create_task(_next_changed_response(stream, respond, etag))
    shutdown = asyncio.create_task(graphql_service.app_state.shutdown_event.wait())
    try:
        await asyncio.wait(
            {changed, shutdown},
            timeout=max_wait.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        return changed.result() if changed.done() else await respond()
    finally:
        for task in (changed, shutdown):
            task.cancel()
        await asyncio.wait({changed, shutdown})


def _long_poll_unavailable_error() -> ServiceUnavailable:
    return ServiceUnavailable(
        f"Waiting for changes is not available now. Try again in {_UNAVAILABLE_RETRY_SECONDS} s.",
        retry_after=_UNAVAILABLE_RETRY_SECONDS,
    )


async def _next_changed_response(
    stream: SubscriptionStream, respond: Respond, etag: bytes
) -> BytesResponse:
    """Return the first response with another tag: some changes do not show in the data."""
    try:
        async with aclosing(stream.responses()) as changes:
            async for _ in changes:
                response = await respond()
                if _etag(response) != etag:
                    break
    except ResyncRequired:  # the stream was too slow; a REST client has no cursor to correct
        raise _long_poll_unavailable_error() from None
    return response


def _etag(response: BytesResponse) -> bytes | None:
    return dict(response.headers).get(b"etag")
