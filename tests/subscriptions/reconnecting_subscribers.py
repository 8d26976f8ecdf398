"""Subscribers that reconnect and resume after every lost connection, for each transport."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from tests.servers import TIMEOUT_SECONDS

MAX_RECONNECT_DELAY = 0.1
"""Longest time in seconds until a reconnection, and time between two polls."""
LEAVE_PROBABILITY = 1 / 300
"""Probability of a voluntary disconnection after each change."""
MAX_AWAY_SECONDS = 3.0
"""Longest time in seconds of a voluntary absence, so that the subscriber has to catch up."""
_SILENCE_TIMEOUT = 20
"""Seconds; longer than the interval of the server's keep-alive messages."""
_UNAVAILABLE_CODES = {"SERVICE_UNAVAILABLE"}
_CONNECTION_ERRORS = (OSError, EOFError, httpx.TransportError, WebSocketException)

CursorStream: TypeAlias = AsyncGenerator[str, None]
ChangeData: TypeAlias = Mapping[str, Any]


class UnexpectedResponse(Exception):
    """A response that no client should receive in this test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSpec:
    """A subscription and the changes that it matches."""

    document: str
    """GraphQL subscription with a variable `after`."""
    field: str
    variables: Mapping[str, Any]
    matches: Callable[[ChangeData], bool]


def all_changes_spec() -> SubscriptionSpec:
    return SubscriptionSpec(
        document="subscription($after: String) { changes(after: $after) { cursor post { status } } }",
        field="changes",
        variables={},
        matches=lambda _: True,
    )


def post_changes_spec(post_id: str) -> SubscriptionSpec:
    return SubscriptionSpec(
        document="subscription($after: String, $postId: UUID!)"
        " { postChanged(postId: $postId, after: $after) { cursor post { content } } }",
        field="postChanged",
        variables={"postId": post_id},
        matches=lambda change: change["postId"] == post_id,
    )


def account_changes_spec(account: int) -> SubscriptionSpec:
    """Changes of destinations on an account. The test never removes one from its post."""
    return SubscriptionSpec(
        document="subscription($after: String, $filter: DestinationFilter)"
        " { destinationChanged(filter: $filter, after: $after) { cursor destination { status } } }",
        field="destinationChanged",
        variables={"filter": {"accountId": [account]}},
        matches=lambda change: change["accountId"] == account,
    )


SubscribeTransport: TypeAlias = Callable[[str, str, SubscriptionSpec, str], CursorStream]
"""Subscribes at a URL with a token to a specification, after a cursor."""


class Subscriber:
    """Subscribes to random servers, each time after the last received change, until cancelled."""

    def __init__(
        self,
        name: str,
        transport: SubscribeTransport,
        spec: SubscriptionSpec,
        urls: Sequence[str],
        token: str,
        start: str,
    ) -> None:
        self.name = name
        self.spec = spec
        self.received: list[str] = []
        """Cursors in the order of their arrival."""
        self.reconnects = 0
        self.faults: list[str] = []
        self._transport = transport
        self._urls = urls
        self._token = token
        self._start = start

    def has_received_all(self, changes: Sequence[ChangeData]) -> bool:
        """The last received change is the last change that the subscription matches."""
        expected = [change["cursor"] for change in changes if self.spec.matches(change)]
        return self.received[-1:] == expected[-1:]

    async def run(self, randomness: Random) -> None:
        while True:
            max_delay = await self._run_connection(randomness)
            self.reconnects += 1
            await asyncio.sleep(randomness.uniform(0, max_delay))

    async def _run_connection(self, randomness: Random) -> float:
        """Receive changes until the connection ends, and return the longest delay of the next one."""
        after = self.received[-1] if self.received else self._start
        url = randomness.choice(self._urls)
        try:
            async with aclosing(self._transport(url, self._token, self.spec, after)) as cursors:
                async for cursor in cursors:
                    self.received.append(cursor)
                    if randomness.random() < LEAVE_PROBABILITY:
                        return MAX_AWAY_SECONDS
        except _CONNECTION_ERRORS as error:
            # Expected after a kill. Codes from 4000 on mean that the service closed the socket.
            if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code >= 4000:
                self.faults.append(str(error))
        except UnexpectedResponse as fault:
            self.faults.append(str(fault))
        return MAX_RECONNECT_DELAY


async def subscribe_websocket(
    url: str, token: str, spec: SubscriptionSpec, after: str
) -> CursorStream:
    """Subscribe by graphql-transport-ws."""
    websocket_url = f"ws{url.removeprefix('http')}/graphql"
    protocol = Subprotocol("graphql-transport-ws")
    # The queue is unbounded, because a full queue would hide the server's response to a close.
    async with connect(
        websocket_url, subprotocols=[protocol], open_timeout=TIMEOUT_SECONDS, max_queue=None
    ) as socket:
        payload: Any = {"Authorization": f"Bearer {token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        _check_message_type(json.loads(await socket.recv()), "connection_ack")
        payload = {"query": spec.document, "variables": {**spec.variables, "after": after}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "error":
                _check_unavailable(message["payload"])
                return
            _check_message_type(message, "next")
            yield _cursor_of(message["payload"], spec)


async def subscribe_sse(url: str, token: str, spec: SubscriptionSpec, after: str) -> CursorStream:
    """Subscribe by server-sent events."""
    body = {"query": spec.document, "variables": {**spec.variables, "after": after}}
    async with (
        _http_client(token, Accept="text/event-stream") as http,
        http.stream("POST", f"{url}/graphql", json=body) as response,
    ):
        async for line in response.aiter_lines():
            if line == "event: complete":
                return
            if line.startswith("data: "):
                result = json.loads(line.removeprefix("data: "))
                if result.get("data") is None:
                    _check_unavailable(result["errors"])
                    return
                yield _cursor_of(result, spec)
            elif line.startswith("{"):  # an error instead of a stream
                _check_unavailable(json.loads(line)["errors"])
                return


async def poll_changes(url: str, token: str, _: SubscriptionSpec, after: str) -> CursorStream:
    """Poll GET /v1/changes."""
    async with _http_client(token) as http:
        while True:
            response = await http.get(f"{url}/v1/changes", params={"after": after, "limit": 20})
            if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return
            if response.status_code != httpx.codes.OK:
                raise UnexpectedResponse(response.text)
            page = response.json()["data"]
            for change in page["changes"]:
                yield change["cursor"]
            after = page["cursor"]
            if not page["has_more"]:
                await asyncio.sleep(MAX_RECONNECT_DELAY)


def _http_client(token: str, **headers: str) -> httpx.AsyncClient:
    headers["Authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(headers=headers, timeout=_SILENCE_TIMEOUT)


def _cursor_of(result: Mapping[str, Any], spec: SubscriptionSpec) -> str:
    if result.get("errors"):
        raise UnexpectedResponse(json.dumps(result))
    return str(result["data"][spec.field]["cursor"])


def _check_message_type(message: Mapping[str, Any], expected: str) -> None:
    if message["type"] != expected:
        raise UnexpectedResponse(json.dumps(message))


def _check_unavailable(errors: Sequence[Mapping[str, Any]]) -> None:
    """Raise unless all errors mean that the database is unavailable."""
    if {error["extensions"]["code"] for error in errors} - _UNAVAILABLE_CODES:
        raise UnexpectedResponse(json.dumps(errors))
