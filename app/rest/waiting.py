"""Answers that are held back until there is something new, or the time is up. Knows one route's documents."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import NotFound, ResyncRequired, ServiceUnavailable
from app.graphql.context import Context
from app.graphql.door import SUBSCRIPTION, GraphQLDoor
from app.graphql.streams.stream import Stream
from app.http.state import request_state
from app.rest import documents
from app.rest.parameters import post_id

Respond = Callable[[], Awaitable[Response]]
"""Reads anew, and answers."""


async def when_new(
    request: Request, door: GraphQLDoor, context: Context, respond: Respond, wait: timedelta
) -> Response:
    """What is there once it differs from what the client has, or from what was there when it asked.

    After `wait` it is what is there then. Whoever shows the tag of what it has misses nothing in between.
    """
    # Before anything is read: what changes while it is read is waited for too.
    latest = await door.run(context, documents.LATEST_CHANGE)
    first = await respond()
    has_tag = "if-none-match" in request.headers
    if "etag" not in first.headers or (has_tag and first.status_code != 304):
        return first
    changes = (latest.data or {}).get("changes")
    if changes is None:
        raise _cannot_wait()
    state = request_state(request.scope)
    state["lift_deadline"]()
    news = await door.open(
        context,
        documents.POST_CHANGED,
        {"postId": post_id(request), "after": changes["latest_cursor"]},
        allowed=SUBSCRIPTION,
    )
    if not isinstance(news, Stream):
        if any(each["extensions"]["code"] == NotFound.code.name for each in news.errors):
            return await respond()  # and say so
        raise _cannot_wait()
    state["is_untimed"] = True
    differing = asyncio.create_task(_differing(news, respond, first.headers["etag"]))
    stopping = asyncio.create_task(door.shared.stopping.wait())
    try:
        await asyncio.wait(
            {differing, stopping},
            timeout=wait.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        return differing.result() if differing.done() else await respond()
    finally:
        for each in (differing, stopping):
            each.cancel()
        await asyncio.wait({differing, stopping})


def _cannot_wait() -> ServiceUnavailable:
    return ServiceUnavailable(
        "Changes cannot be followed now. Try again in a moment.", retry_after=2
    )


async def _differing(news: Stream, respond: Respond, etag: str) -> Response:
    """The first answer that has another tag: not all that changes is shown."""
    try:
        async with aclosing(news.answers()) as changes:
            async for _ in changes:
                response = await respond()
                if response.headers.get("etag") != etag:
                    break
    except ResyncRequired:  # it was too slow; there is no cursor that its client could mend
        raise _cannot_wait() from None
    return response
