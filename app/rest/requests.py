"""A REST request as it is read, and what it asks for in the words of a document. Knows no field of either."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey, body_key
from app.domain.ids import ApiKeyId
from app.domain.validation.object_reader import ObjectReader
from app.http.body import read_body, read_json_object, require_json
from app.http.request_headers import headers_dict

Variables = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request with its body; one that reads has none, whatever was sent."""

    request: Request
    caller: ApiKeyId
    raw_body: bytes = b""
    body: ObjectReader = field(default_factory=lambda: ObjectReader({}))

    @property
    def idempotency_key(self) -> str | None:
        """The client's own key, not yet checked."""
        return self.request.headers.get("Idempotency-Key")

    def implicit_idempotency_key(self) -> IdempotencyKey | None:
        """By what a repetition is known of a client that sends no key; None if it allows duplicates."""
        if self.request.headers.get("X-Allow-Duplicate") == "1":
            return None
        return body_key(str(self.caller), self.raw_body)


@dataclass(frozen=True, slots=True)
class DocumentCall:
    """The variables of a document, and what goes beside them."""

    variables: Variables
    implicit_idempotency_key: IdempotencyKey | None = None
    rejected_posts: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Of several posts, those that variables cannot carry, by their places among all."""


async def read_request(request: Request, caller: ApiKeyId, *, max_body_bytes: int) -> RestRequest:
    """The request with its body, which is one JSON object; no body is as good as an empty object.

    BodyTooLarge, UnsupportedMediaType or InvalidJson for any other.
    """
    if request.method in ("GET", "HEAD"):
        return RestRequest(request, caller)
    body = await read_body(request, max_body_bytes)
    if not body:
        return RestRequest(request, caller)
    require_json(headers_dict(request.scope))
    return RestRequest(request, caller, body, ObjectReader(read_json_object(body)))
