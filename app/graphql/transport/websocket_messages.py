"""Parses and formats the messages of graphql-transport-ws.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias, cast

import orjson

from app.domain.errors import InvalidInput, InvalidJson
from app.graphql.engine.operation_request import OperationRequest, read_operation_request
from app.http.body import read_json_object
from app.http.headers import parse_bearer

PROTOCOL = "graphql-transport-ws"


class CloseCode(IntEnum):
    """Close codes of the protocol, and of the registry of RFC 6455."""

    TRY_AGAIN_LATER = 1013
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INITIALISATION_TIMEOUT = 4408
    SUBSCRIBER_ALREADY_EXISTS = 4409
    TOO_MANY_INITIALISATION_REQUESTS = 4429
    INTERNAL_SERVER_ERROR = 4500


@dataclass(frozen=True, slots=True)
class ConnectionInit:
    token: str | None
    """API key in the payload; None if the payload has none."""


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Pong:
    pass


@dataclass(frozen=True, slots=True)
class Subscribe:
    id: str
    request: OperationRequest


@dataclass(frozen=True, slots=True)
class Complete:
    id: str


ClientMessage: TypeAlias = ConnectionInit | Ping | Pong | Subscribe | Complete


class MalformedMessage(Exception):
    """Error of a message that does not conform to the protocol; its text is the close reason."""


def read_message(text: str) -> ClientMessage:
    """Parse a message of the client; raises MalformedMessage if it is invalid."""
    try:
        message = read_json_object(text.encode(errors="surrogatepass"))
    except InvalidJson as error:
        raise MalformedMessage(error.message.replace("The body", "The message")) from None
    match message.get("type"):
        case "connection_init":
            return ConnectionInit(_read_token(_read_payload(message)))
        case "ping":
            _read_payload(message)
            return Ping()
        case "pong":
            _read_payload(message)
            return Pong()
        case "subscribe":
            return Subscribe(_read_id(message), _read_request(message))
        case "complete":
            return Complete(_read_id(message))
    raise MalformedMessage("type must be connection_init, ping, pong, subscribe or complete.")


def _read_id(message: Mapping[str, object]) -> str:
    operation_id = message.get("id")
    if not isinstance(operation_id, str) or not operation_id:
        raise MalformedMessage("id must be a string with at least one character.")
    return operation_id


def _read_payload(message: Mapping[str, object]) -> Mapping[str, object]:
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise MalformedMessage("payload must be a JSON object.")
    return cast("Mapping[str, object]", payload or {})


def _read_token(payload: Mapping[str, object]) -> str | None:
    """Return the token in `{"Authorization": "Bearer …"}`, also below `headers`; names in any case."""
    values = {name.lower(): value for name, value in payload.items()}
    authorization = values.get("authorization")
    if isinstance(authorization, str):
        return parse_bearer(authorization)
    headers = values.get("headers")
    return _read_token(headers) if isinstance(headers, dict) else None


def _read_request(message: Mapping[str, object]) -> OperationRequest:
    if not isinstance(payload := message.get("payload"), dict):
        raise MalformedMessage("payload must be a JSON object with a query.")
    try:
        return read_operation_request(payload)
    except InvalidInput as error:
        raise MalformedMessage(f"payload: {error.message}") from None


CONNECTION_ACK = '{"type":"connection_ack"}'
PONG = '{"type":"pong"}'


class OperationMessages:
    """Formatter of the server's messages for one operation."""

    def __init__(self, operation_id: str) -> None:
        self._prefix = f'{{"id":{orjson.dumps(operation_id).decode()},"type":'

    def next(self, body: bytes) -> str:
        """Format a response, which is JSON already."""
        return f'{self._prefix}"next","payload":{body.decode()}}}'

    def next_parts(self, body: bytes) -> tuple[bytes, bytes, bytes]:
        """Format a response like `next`, as parts of UTF-8, without a copy of the body."""
        return f'{self._prefix}"next","payload":'.encode(), body, b"}"

    def error(self, entries: list[dict[str, Any]]) -> str:
        """Format the last message of an operation that was not executed, or failed."""
        return f'{self._prefix}"error","payload":{orjson.dumps(entries).decode()}}}'

    def complete(self) -> str:
        """Format the last message of an operation that succeeded."""
        return f'{self._prefix}"complete"}}'
