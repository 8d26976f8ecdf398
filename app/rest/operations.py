"""A REST operation: a GraphQL document, the variables read from a request, and the response built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from app.domain.errors import InvalidInput, not_found_error
from app.domain.idempotency import IdempotencyKey, body_key
from app.domain.ids import ApiKeyId
from app.domain.validation.object_reader import ObjectReader
from app.http.body import read_body, read_json_object, require_json
from app.http.request import HttpRequest

JsonObject = dict[str, Any]
Variables = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RestRequest:
    """Writing request with its body."""

    request: HttpRequest
    api_key_id: ApiKeyId
    raw_body: bytes
    body: ObjectReader

    @property
    def idempotency_key(self) -> str | None:
        """Idempotency key that the client sent, not yet validated."""
        return self.request.header(b"idempotency-key")

    def implicit_idempotency_key(self) -> IdempotencyKey | None:
        """Derive a key from the ids of the path and the body, for clients that send none.

        Return None if they allow duplicates.
        """
        if self.request.header(b"x-allow-duplicate") == "1":
            return None
        caller = ":".join([str(self.api_key_id), *self.request.path_parameters.values()])
        return body_key(caller, self.raw_body)


async def read_rest_request(
    request: HttpRequest, api_key_id: ApiKeyId, *, max_body_bytes: int
) -> RestRequest:
    """Read a request and its body, one JSON object; an empty body counts as an empty object.

    Raises BodyTooLarge, UnsupportedMediaType or InvalidJson.
    """
    body = await read_body(request, max_body_bytes)
    if not body:
        return RestRequest(request, api_key_id, body, ObjectReader({}))
    require_json(request)
    return RestRequest(request, api_key_id, body, ObjectReader(read_json_object(body)))


@dataclass(frozen=True, slots=True)
class DocumentCall:
    """Input of a mutation, its only variable, and the context values that go with it."""

    input: JsonObject
    implicit_idempotency_key: IdempotencyKey | None = None
    rejected_posts: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Posts of a bulk request that variables cannot express, by index in the request."""
    unknown_members: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Errors of members that posts do not have, by the index of the post; 0 for a single post."""


@dataclass(frozen=True, slots=True)
class DocumentResult:
    """Data of a document that ran without errors, its variables, and the time."""

    data: Mapping[str, Any]
    """Data of the response, which belong to the caller and may be changed in place."""
    variables: Mapping[str, Any]
    now: datetime

    def require(self, field: str) -> JsonObject:
        """Return the object of this field; raise NotFound if the field is null."""
        value: JsonObject | None = self.data[field]
        if value is None:
            raise not_found_error(field)
        return value


@dataclass(frozen=True, slots=True)
class QueryOperation:
    """Operation of a GET route; the body of the request is never read."""

    document: str
    read_variables: Callable[[HttpRequest], Variables]
    build_data: Callable[[DocumentResult], JsonObject]
    retry_after: Callable[[DocumentResult], int | None] = lambda _result: None
    """Returns the seconds after which the data may have changed, None if they will not."""
    follow_up: Callable[[DocumentResult], str | None] = lambda _result: None
    """Returns a second document without variables, whose data `build_data` needs too, if it does."""
    supports_long_poll: bool = False
    """True if `wait` holds the response back until its data change."""


@dataclass(frozen=True, slots=True)
class MutationOperation:
    """Operation of a writing route."""

    document: str
    build_call: Callable[[RestRequest], DocumentCall]
    build_data: Callable[[DocumentResult], JsonObject]
    status: Callable[[JsonObject], int] = lambda _data: 200
    """Chooses the HTTP status for the data of the response."""


RestOperation: TypeAlias = QueryOperation | MutationOperation


def omit(data: JsonObject, key: str) -> JsonObject:
    """Copy the data without one key."""
    return {name: value for name, value in data.items() if name != key}
