"""The messages of graphql-transport-ws: what a client may send, and what it is sent. Does nothing of it.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias, cast

import orjson

from app.domain.errors import InvalidInput, InvalidJson
from app.graphql.transport.requests import OperationRequest, read_operation_request
from app.http.body import read_json_object

PROTOCOL = "graphql-transport-ws"


class CloseCode(IntEnum):
    """Why a socket is closed: the protocol's own codes, and those of RFC 6455 and its registry."""

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
    payload: Mapping[str, object]


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
    """A message that the protocol does not know; says what is wrong with it."""


def read_message(text: str) -> ClientMessage:
    """Malformed for whatever is no message of a client."""
    try:
        message = read_json_object(text.encode(errors="surrogatepass"))
    except InvalidJson as error:
        raise MalformedMessage(error.message.replace("The body", "The message")) from None
    match message.get("type"):
        case "connection_init":
            return ConnectionInit(_read_payload(message))
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
    found = message.get("id")
    if not isinstance(found, str) or not found:
        raise MalformedMessage("id must be a string with at least one character.")
    return found


def _read_payload(message: Mapping[str, object]) -> Mapping[str, object]:
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise MalformedMessage("payload must be a JSON object.")
    return cast("Mapping[str, object]", payload or {})


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
    """What is sent to the operation with an id."""

    def __init__(self, operation_id: str) -> None:
        self._prefix = f'{{"id":{orjson.dumps(operation_id).decode()},"type":'

    def next(self, response: str) -> str:
        """`answer` is JSON already."""
        return f'{self._prefix}"next","payload":{response}}}'

    def error(self, entries: list[dict[str, Any]]) -> str:
        """The last one, of an operation that is not run, or not any further."""
        return f'{self._prefix}"error","payload":{orjson.dumps(entries).decode()}}}'

    def complete(self) -> str:
        """The last one, after all that there was."""
        return f'{self._prefix}"complete"}}'
