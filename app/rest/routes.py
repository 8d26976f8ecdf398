"""The REST routes: for each a path, a GraphQL document, its variables and its shape. Nothing else.

Every prefix serves the same table. Unknown paths are refused by the application's router, and methods
that a path does not have as the router refuses them, in the same envelope.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.domain.times import Clock
from app.graphql.door import QUERY_AND_MUTATION, QUERY_ONLY, GraphQLDoor
from app.http.state import request_state
from app.rest import bodies, documents, mutations, outcomes, parameters, shapes
from app.rest.envelope import envelope_data, envelope_done, envelope_error
from app.rest.errors import first_error
from app.rest.requests import Asked, Variables, Wanted, read_request
from app.rest.shapes import Found, JsonObject
from app.rest.waiting import when_new

PREFIXES = ("/v1", "/api/v1")
"""The documented one, and the one that existing clients send."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """A method of a path, which runs a document."""

    method: str
    path: str
    document: str
    wanted: Callable[[Asked], Wanted]
    answer: Callable[[Request, Found], Response]
    waits: bool = False
    """Whether a client may have it held back until there is something new."""


def read(
    path: str,
    document: str,
    variables: Callable[[Request], Variables],
    shape: Callable[[Found], JsonObject],
    retry_after: Callable[[Found], int | None] = lambda _found: None,
    *,
    waits: bool = False,
) -> Call:
    """`retry_after`, in seconds, is for an answer that will change by itself."""

    def wanted(asked: Asked) -> Wanted:
        return Wanted(variables(asked.request))

    def answer(request: Request, found: Found) -> Response:
        return envelope_data(request, shape(found), found.now, retry_after=retry_after(found))

    return Call("GET", path, document, wanted, answer, waits)


def write(
    method: str,
    path: str,
    document: str,
    wanted: Callable[[Asked], Wanted],
    shape: Callable[[Found], JsonObject],
    status: Callable[[JsonObject], int] = lambda _data: 200,
) -> Call:
    """`status` is that of the answer with these data."""

    def answer(request: Request, found: Found) -> Response:
        data = shape(found)
        return envelope_done(request.scope, data, found.now, status=status(data))

    return Call(method, path, document, wanted, answer)


CALLS = (
    read(
        "/posts/{post_id}/results",
        documents.POST_RESULTS,
        parameters.one_post,
        shapes.results,
        shapes.next_look,
        waits=True,
    ),
    write(
        "POST",
        "/posts/bulk",
        mutations.CREATE_POSTS,
        bodies.new_posts,
        outcomes.created_several,
        outcomes.bulk_status,
    ),
    write(
        "POST",
        "/posts/retry-failed",
        mutations.RETRY_DESTINATIONS,
        bodies.retries,
        outcomes.retried_failed,
    ),
    read("/posts/{post_id}", documents.POST, parameters.one_post, shapes.post),
    write(
        "PATCH", "/posts/{post_id}", mutations.UPDATE_POST, bodies.changed_post, outcomes.changed
    ),
    write("DELETE", "/posts/{post_id}", mutations.DELETE_POST, bodies.deletion, outcomes.deleted),
    write(
        "POST",
        "/posts/{post_id}/schedule",
        mutations.SCHEDULE_POST,
        bodies.submission,
        outcomes.scheduled,
    ),
    write("POST", "/posts/{post_id}/retry", mutations.RETRY_POST, bodies.retry, outcomes.retried),
    read("/posts", documents.POSTS, parameters.post_list, shapes.posts),
    write(
        "POST",
        "/posts",
        mutations.CREATE_POST,
        bodies.new_post,
        outcomes.created,
        lambda _data: 201,
    ),
    read("/accounts", documents.ACCOUNTS, parameters.nothing, shapes.accounts),
    read("/accounts/{account_id}", documents.ACCOUNT, parameters.one_account, shapes.account),
    read(
        "/accounts/{account_id}/health",
        documents.ACCOUNT_HEALTH,
        parameters.one_account,
        shapes.account_health,
    ),
    read("/changes", documents.CHANGES, parameters.changes, shapes.changes),
    read("/me", documents.ME, parameters.nothing, shapes.me),
    read(
        "/analytics/summary",
        documents.ANALYTICS_SUMMARY,
        parameters.reporting_period,
        shapes.analytics_summary,
    ),
)
"""A path that is spelt out stands before one that it would fit."""


def rest_routes(door: GraphQLDoor, clock: Clock, *, max_body_bytes: int) -> list[Route]:
    """The table under each prefix; `clock` tells the time that `meta` prints."""
    paths = dict.fromkeys(call.path for call in CALLS)
    methods = {
        path: _Methods(
            {
                call.method: _handler(call, door, clock, max_body_bytes)
                for call in CALLS
                if call.path == path
            }
        )
        for path in paths
    }
    return [Route(prefix + path, methods[path]) for prefix in PREFIXES for path in paths]


class _Methods:
    """All methods of one path; an ASGI app, so that the router gives it every method."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = {**handlers}
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handle = self._handlers.get(scope["method"])
        if handle is None:
            raise HTTPException(405, headers={"Allow": ", ".join(self._handlers)})
        response = await handle(Request(scope, receive))
        await response(scope, receive, send)


def _handler(call: Call, door: GraphQLDoor, clock: Clock, max_body_bytes: int) -> Handler:
    allowed = QUERY_ONLY if call.method == "GET" else QUERY_AND_MUTATION

    async def handle(request: Request) -> Response:
        request_state(request.scope)["door"] = "rest"
        context = await door.context_for(request)
        context.request_count.as_request()
        asked = await read_request(request, context.viewer.key_id, max_body_bytes=max_body_bytes)
        wanted = call.wanted(asked)
        if wanted.same_request is not None or wanted.refused_posts:
            context = replace(
                context, same_request=wanted.same_request, refused_posts=wanted.refused_posts
            )

        async def respond() -> Response:
            answer = await door.run(context, call.document, wanted.variables, allowed=allowed)
            now = clock()
            if answer.data is None or answer.errors:
                return envelope_error(request.scope, first_error(answer.errors), now)
            return call.answer(request, Found(answer.data, wanted.variables, now))

        wait = parameters.wait(request) if call.waits else None
        return await (when_new(request, door, context, respond, wait) if wait else respond())

    return handle
