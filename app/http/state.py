"""What the parts of one request tell each other through `scope["state"]`. No behaviour."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from starlette.types import Scope

from app.domain.errors import PostResultsError
from app.domain.ids import ApiKeyId, WorkspaceId


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """How much of a rate limit is left; `resets_at` (unix seconds) is when all of it is back."""

    limit: int
    remaining: int
    resets_at: int


class RequestState(TypedDict, total=False):
    """Keys of `scope["state"]`; whoever learns a fact notes it, the edge logs and counts it."""

    request_id: str
    """Set by the edge before anybody else sees the request."""
    api: str
    """Which API was called, such as `graphql` or `rest`: one of a handful of words."""
    route: str
    """The path template; what Starlette's router matched is taken where this is not set."""
    api_key_id: ApiKeyId
    workspace_id: WorkspaceId
    rate_limit_status: RateLimitStatus
    operation_name: str
    """The name that the caller gave to a GraphQL operation."""
    operation_type: str
    """`query`, `mutation` or `subscription`."""
    error_codes: list[str]
    """The codes of the errors in the answer, in lower case at every door; see `note_error`."""
    disable_timeout: Callable[[], None]
    """Takes the deadline off this request, for an answer that is meant to stay open."""
    exclude_from_latency: bool
    """It waits for something to happen, or stays open: what it takes says nothing about the server."""


def request_state(scope: Scope) -> RequestState:
    """The state of a request, for reading and for noting."""
    state: RequestState = scope.setdefault("state", {})
    return state


def record_error(scope: Scope, error: PostResultsError) -> None:
    """Note an error that is part of the answer."""
    request_state(scope).setdefault("error_codes", []).append(error.code.value)
