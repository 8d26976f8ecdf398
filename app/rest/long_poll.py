"""Answers that are held back until there is something new, or the time is up. Knows one route's documents."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import NotFound, ResyncRequired, ServiceUnavailable
from app.graphql.schema.context import Context
from app.graphql.service import SUBSCRIPTION, GraphQLService
from app.graphql.subscription_stream import SubscriptionStream
from app.http.state import request_state
from app.rest import documents
from app.rest.parameters import parse_post_id

Respond = Callable[[], Awaitable[Response]]
"""Reads anew, and answers."""


async def wait_for_change(
    request: Request,
    graphql_service: GraphQLService,
    context: Context,
    respond: Respond,
    max_wait: timedelta,
) -> Response:
    """What is there once it differs from what the client has, or from what was there when it asked.

    After `wait` it is what is there then. Whoever shows the tag of what it has misses nothing in between.
    """
    # Before anything is read: what changes while it is read is waited for too.
    latest = await graphql_service.execute(context, documents.LATEST_CHANGE)
    first = await respond()
    has_tag = "if-none-match" in request.headers
    if "etag" not in first.headers or (has_tag and first.status_code != 304):
        return first
    changes = (latest.data or {}).get("changes")
    if changes is None:
        raise _long_poll_unavailable()
    state = request_state(request.scope)
    state["disable_timeout"]()
    news = await graphql_service.execute_or_subscribe(
        context,
        documents.POST_CHANGED,
        {"postId": parse_post_id(request), "after": changes["latest_cursor"]},
        allowed_types=SUBSCRIPTION,
    )
    if not isinstance(news, SubscriptionStream):
        if any(each["extensions"]["code"] == NotFound.code.name for each in news.errors):
            return await respond()  # and say so
        raise _long_poll_unavailable()
    state["exclude_from_latency"] = True
    differing = asyncio.create_task(_next_changed_response(news, respond, first.headers["etag"]))
    stopping = asyncio.create_task(graphql_service.app_state.shutdown_event.wait())
    try:
        await asyncio.wait(
            {differing, stopping},
            timeout=max_wait.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        return differing.result() if differing.done() else await respond()
    finally:
        for each in (differing, stopping):
            each.cancel()
        await asyncio.wait({differing, stopping})


def _long_poll_unavailable() -> ServiceUnavailable:
    return ServiceUnavailable(
        "Changes cannot be followed now. Try again in a moment.", retry_after=2
    )


async def _next_changed_response(
    stream: SubscriptionStream, respond: Respond, etag: str
) -> Response:
    """The first answer that has another tag: not all that changes is shown."""
    try:
        async with aclosing(stream.responses()) as changes:
            async for _ in changes:
                response = await respond()
                if response.headers.get("etag") != etag:
                    break
    except ResyncRequired:  # it was too slow; there is no cursor that its client could mend
        raise _long_poll_unavailable() from None
    return response
