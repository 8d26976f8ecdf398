"""The REST routes: for each a path, a GraphQL document, its variables and its shape. Nothing else.

Every prefix serves the same table. Unknown paths and methods are refused by the application's
router, in the same envelope.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.graphql.app import QUERY_ONLY, GraphQLDoor
from app.http.state import request_state
from app.rest import documents, parameters, shapes
from app.rest.envelope import envelope_data, envelope_error
from app.rest.errors import first_error
from app.rest.parameters import Variables
from app.rest.shapes import Found, JsonObject

PREFIXES = ("/v1", "/api/v1")
"""The documented one, and the one that existing clients send."""

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Read:
    """A path that is read by running a document."""

    path: str
    document: str
    variables: Callable[[Request], Variables]
    shape: Callable[[Found], JsonObject]
    retry_after: Callable[[Found], int | None] | None = None
    """For an answer that will change by itself: in how many seconds."""


READS = (
    Read(
        "/posts/{post_id}/results",
        documents.POST_RESULTS,
        parameters.one_post,
        shapes.results,
        shapes.next_look,
    ),
    Read("/posts/{post_id}", documents.POST, parameters.one_post, shapes.post),
    Read("/posts", documents.POSTS, parameters.post_list, shapes.posts),
    Read("/accounts", documents.ACCOUNTS, parameters.nothing, shapes.accounts),
    Read("/accounts/{account_id}", documents.ACCOUNT, parameters.one_account, shapes.account),
    Read(
        "/accounts/{account_id}/health",
        documents.ACCOUNT_HEALTH,
        parameters.one_account,
        shapes.account_health,
    ),
    Read("/me", documents.ME, parameters.nothing, shapes.me),
    Read(
        "/analytics/summary",
        documents.ANALYTICS_SUMMARY,
        parameters.reporting_period,
        shapes.analytics_summary,
    ),
)


def rest_routes(door: GraphQLDoor, clock: Clock) -> list[Route]:
    """The table under each prefix; `clock` tells the time that `meta` prints."""
    return [
        Route(prefix + read.path, _handler(read, door, clock), methods=["GET"])
        for prefix in PREFIXES
        for read in READS
    ]


def _handler(
    read: Read, door: GraphQLDoor, clock: Clock
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        request_state(request.scope)["door"] = "rest"
        context = await door.context_for(request)
        variables = read.variables(request)
        answer = await door.run(context, read.document, variables, allowed=QUERY_ONLY)
        now = clock()
        if answer.data is None or answer.errors:
            return envelope_error(request.scope, first_error(answer.errors), now)
        found = Found(answer.data, variables, now)
        retry_after = read.retry_after(found) if read.retry_after else None
        return envelope_data(request, read.shape(found), now, retry_after=retry_after)

    return handle
