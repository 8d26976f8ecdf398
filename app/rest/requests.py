"""A REST request as it is read, and what it asks for in the words of a document. Knows no field of either."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from app.domain.errors import InvalidInput
from app.domain.fields import Fields
from app.domain.idempotency import RepetitionKey, same_body_key
from app.domain.ids import ApiKeyId
from app.http.body import read_body, read_json_object, require_json
from app.http.headers import first_headers

Variables = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its body; one that reads has none, whatever was sent."""

    request: Request
    caller: ApiKeyId
    raw_body: bytes = b""
    body: Fields = field(default_factory=lambda: Fields({}))

    @property
    def idempotency_key(self) -> str | None:
        """The client's own key, not yet checked."""
        return self.request.headers.get("Idempotency-Key")

    def same_request(self) -> RepetitionKey | None:
        """By what a repetition is known of a client that sends no key; None if it allows duplicates."""
        if self.request.headers.get("X-Allow-Duplicate") == "1":
            return None
        return same_body_key(str(self.caller), self.raw_body)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The variables of a document, and what goes beside them."""

    variables: Variables
    same_request: RepetitionKey | None = None
    refused_posts: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Of several posts, those that variables cannot carry, by their places among all."""


async def read_request(request: Request, caller: ApiKeyId, *, max_body_bytes: int) -> Asked:
    """The request with its body, which is one JSON object; no body is as good as an empty object.

    BodyTooLarge, UnsupportedMediaType or InvalidJson for any other.
    """
    if request.method in ("GET", "HEAD"):
        return Asked(request, caller)
    body = await read_body(request, max_body_bytes)
    if not body:
        return Asked(request, caller)
    require_json(first_headers(request.scope))
    return Asked(request, caller, body, Fields(read_json_object(body)))
