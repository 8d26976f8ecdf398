"""Data that the layers of one request share in `scope["state"]`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from starlette.types import Scope

from app.domain.errors import PostResultsError
from app.domain.ids import ApiKeyId, WorkspaceId


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """State of a rate limit; at `resets_at` (Unix seconds) the full limit is available again."""

    limit: int
    remaining: int
    resets_at: int


class RequestState(TypedDict, total=False):
    """Keys of `scope["state"]`, each set by the layer that learns the fact and logged by the middleware."""

    request_id: str
    """Id of the request, set by the outermost middleware."""
    api: str
    """API that was called: `graphql`, `rest`, …; a label of metrics, so one of a few words."""
    route: str
    """Path template; defaults to the one that Starlette's router matched."""
    api_key_id: ApiKeyId
    workspace_id: WorkspaceId
    rate_limit_status: RateLimitStatus
    operation_name: str
    """Name of the GraphQL operation, chosen by the client."""
    operation_type: str
    """`query`, `mutation` or `subscription`."""
    error_codes: list[str]
    """Codes of the errors in the response, in lower case for every API; see `record_error`."""
    disable_timeout: Callable[[], None]
    """Function that disables the timeout of this request, for a response that stays open."""
    exclude_from_latency: bool
    """True for long polls and streams, whose duration says nothing about the server."""


def request_state(scope: Scope) -> RequestState:
    """Return the mutable state of a request."""
    state: RequestState = scope.setdefault("state", {})
    return state


def record_error(scope: Scope, error: PostResultsError) -> None:
    """Add the code of an error in the response to the request's state."""
    request_state(scope).setdefault("error_codes", []).append(error.code.value)
