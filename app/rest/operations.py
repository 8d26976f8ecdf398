"""A REST operation: a GraphQL document, the variables read from a request, and the response built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import InvalidInput, not_found_error
from app.domain.idempotency import IdempotencyKey, body_key
from app.domain.ids import ApiKeyId
from app.domain.validation.object_reader import ObjectReader
from app.http.body import read_body, read_json_object, require_json
from app.http.request_scope import headers_dict
from app.rest.envelope import mutation_response, query_response

JsonObject = dict[str, Any]
Variables = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RestRequest:
    """Request with its body; the body of GET and HEAD is never read."""

    request: Request
    api_key_id: ApiKeyId
    raw_body: bytes = b""
    body: ObjectReader = field(default_factory=lambda: ObjectReader({}))

    @property
    def idempotency_key(self) -> str | None:
        """Idempotency key that the client sent, not yet validated."""
        return self.request.headers.get("Idempotency-Key")

    def implicit_idempotency_key(self) -> IdempotencyKey | None:
        """Derive a key from the body, for clients that send none; return None if they allow duplicates."""
        if self.request.headers.get("X-Allow-Duplicate") == "1":
            return None
        return body_key(str(self.api_key_id), self.raw_body)


@dataclass(frozen=True, slots=True)
class DocumentCall:
    """Variables of one execution, and the context values that go with them."""

    variables: Variables
    implicit_idempotency_key: IdempotencyKey | None = None
    rejected_posts: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Posts of a bulk request that variables cannot express, by index in the request."""


@dataclass(frozen=True, slots=True)
class DocumentResult:
    """Data of a document that ran without errors, its variables, and the time."""

    data: Mapping[str, Any]
    variables: Mapping[str, Any]
    now: datetime

    def require(self, field: str) -> JsonObject:
        """Return the object of this field; raise NotFound if the field is null."""
        value: JsonObject | None = self.data[field]
        if value is None:
            raise not_found_error(field)
        return value


@dataclass(frozen=True, slots=True)
class RestOperation:
    """GraphQL document with the code that reads its variables and formats its result."""

    document: str
    build_call: Callable[[RestRequest], DocumentCall]
    build_response: Callable[[Request, DocumentResult], Response]
    supports_long_poll: bool = False
    """True if `wait` holds the response back until its data change."""


def query_operation(
    document: str,
    read_variables: Callable[[Request], Variables],
    build_data: Callable[[DocumentResult], JsonObject],
    retry_after: Callable[[DocumentResult], int | None] = lambda _result: None,
    *,
    supports_long_poll: bool = False,
) -> RestOperation:
    """Create the operation of a GET route.

    `retry_after` returns the seconds after which the data may have changed, None if they will not.
    """

    def build_call(rest_request: RestRequest) -> DocumentCall:
        return DocumentCall(read_variables(rest_request.request))

    def build_response(request: Request, result: DocumentResult) -> Response:
        return query_response(
            request, build_data(result), result.now, retry_after=retry_after(result)
        )

    return RestOperation(document, build_call, build_response, supports_long_poll)


def mutation_operation(
    document: str,
    build_call: Callable[[RestRequest], DocumentCall],
    build_data: Callable[[DocumentResult], JsonObject],
    status: Callable[[JsonObject], int] = lambda _data: 200,
) -> RestOperation:
    """Create the operation of a writing route; `status` chooses the HTTP status for the response data."""

    def build_response(request: Request, result: DocumentResult) -> Response:
        data = build_data(result)
        return mutation_response(request.scope, data, result.now, status=status(data))

    return RestOperation(document, build_call, build_response)


async def read_rest_request(
    request: Request, api_key_id: ApiKeyId, *, max_body_bytes: int
) -> RestRequest:
    """Read a request and its body, one JSON object; an empty body counts as an empty object.

    Raises BodyTooLarge, UnsupportedMediaType or InvalidJson.
    """
    if request.method in ("GET", "HEAD"):
        return RestRequest(request, api_key_id)
    body = await read_body(request, max_body_bytes)
    if not body:
        return RestRequest(request, api_key_id)
    require_json(headers_dict(request.scope))
    return RestRequest(request, api_key_id, body, ObjectReader(read_json_object(body)))


def omit(data: JsonObject, key: str) -> JsonObject:
    """Copy the data without one key."""
    return {name: value for name, value in data.items() if name != key}
