"""Whoever follows changes and comes back whenever it is cut off, by every way there is. Compares nothing."""

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
"""Seconds at most, until somebody who was cut off comes back, and between two questions for a page."""
LEAVE_PROBABILITY = 1 / 300
"""How often somebody leaves of their own accord, for each change."""
MAX_AWAY_SECONDS = 3.0
"""Seconds at most, until they come back: they are far behind then."""
_SILENCE_TIMEOUT = 20
"""Seconds; the server sends something more often, on a stream that lives."""
_UNAVAILABLE_CODES = {"SERVICE_UNAVAILABLE"}
_CONNECTION_ERRORS = (OSError, EOFError, httpx.TransportError, WebSocketException)

CursorStream: TypeAlias = AsyncGenerator[str, None]
ChangeData: TypeAlias = Mapping[str, Any]


class UnexpectedResponse(Exception):
    """An answer that nobody should be given here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSpec:
    """What is followed."""

    document: str
    """A subscription with a variable `after`."""
    field: str
    variables: Mapping[str, Any]
    matches: Callable[[ChangeData], bool]
    """Whether it has to tell of a change."""


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
    """Of destinations; none is ever taken off its post, or it would not be told of."""
    return SubscriptionSpec(
        document="subscription($after: String, $filter: DestinationFilter)"
        " { destinationChanged(filter: $filter, after: $after) { cursor destination { status } } }",
        field="destinationChanged",
        variables={"filter": {"accountId": [account]}},
        matches=lambda change: change["accountId"] == account,
    )


SubscribeTransport: TypeAlias = Callable[[str, str, SubscriptionSpec, str], CursorStream]
"""To follow a server at an URL with a token, what is wished for, behind a cursor."""


class Subscriber:
    """Follows servers in turn, from the last change that it has seen, and does not end by itself."""

    def __init__(
        self, name: str, transport: SubscribeTransport, spec: SubscriptionSpec, urls: Sequence[str], token: str, start: str
    ) -> None:
        self.name = name
        self.wish = spec
        self.received: list[str] = []
        """The cursors, in the order in which they came."""
        self.reconnects = 0
        self.faults: list[str] = []
        self._transport = transport
        self._urls = urls
        self._token = token
        self._start = start

    def has_received_all(self, changes: Sequence[ChangeData]) -> bool:
        """Whether it has seen the last of those that it is to be told of."""
        meant = [change["cursor"] for change in changes if self.wish.matches(change)]
        return self.received[-1:] == meant[-1:]

    async def run(self, randomness: Random) -> None:
        while True:
            longest = await self._run_connection(randomness)
            self.reconnects += 1
            await asyncio.sleep(randomness.uniform(0, longest))

    async def _run_connection(self, randomness: Random) -> float:
        """Until it is cut off, or leaves; for how many seconds at most it is then away."""
        after = self.received[-1] if self.received else self._start
        url = randomness.choice(self._urls)
        try:
            async with aclosing(self._transport(url, self._token, self.wish, after)) as cursors:
                async for cursor in cursors:
                    self.received.append(cursor)
                    if randomness.random() < LEAVE_PROBABILITY:
                        return MAX_AWAY_SECONDS
        except _CONNECTION_ERRORS as cut:
            # By a process that was killed; what the service itself closes for, it says.
            if isinstance(cut, ConnectionClosed) and cut.rcvd and cut.rcvd.code >= 4000:
                self.faults.append(str(cut))
        except UnexpectedResponse as fault:
            self.faults.append(str(fault))
        return MAX_RECONNECT_DELAY


async def subscribe_websocket(url: str, token: str, spec: SubscriptionSpec, after: str) -> CursorStream:
    """By graphql-transport-ws."""
    where = f"ws{url.removeprefix('http')}/graphql"
    protocol = Subprotocol("graphql-transport-ws")
    # Without a bound to its queue: with a full one, it would not see that its close is answered.
    async with connect(
        where, subprotocols=[protocol], open_timeout=TIMEOUT_SECONDS, max_queue=None
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
            yield _matching_cursor(message["payload"], spec)


async def subscribe_sse(url: str, token: str, spec: SubscriptionSpec, after: str) -> CursorStream:
    """By server-sent events."""
    body = {"query": spec.document, "variables": {**spec.variables, "after": after}}
    async with (
        _http_client(token, Accept="text/event-stream") as http,
        http.stream("POST", f"{url}/graphql", json=body) as response,
    ):
        async for line in response.aiter_lines():
            if line == "event: complete":
                return
            if line.startswith("data: "):
                answer = json.loads(line.removeprefix("data: "))
                if answer.get("data") is None:
                    _check_unavailable(answer["errors"])
                    return
                yield _matching_cursor(answer, spec)
            elif line.startswith("{"):  # not a stream, but an error
                _check_unavailable(json.loads(line)["errors"])
                return


async def poll_changes(url: str, token: str, _: SubscriptionSpec, after: str) -> CursorStream:
    """By pages of GET /v1/changes."""
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


def _matching_cursor(message: Mapping[str, Any], spec: SubscriptionSpec) -> str:
    if message.get("errors"):
        raise UnexpectedResponse(json.dumps(message))
    return str(message["data"][spec.field]["cursor"])


def _check_message_type(message: Mapping[str, Any], kind: str) -> None:
    if message["type"] != kind:
        raise UnexpectedResponse(json.dumps(message))


def _check_unavailable(errors: Sequence[Mapping[str, Any]]) -> None:
    """Nothing but that the database is away."""
    if {each["extensions"]["code"] for each in errors} - _UNAVAILABLE_CODES:
        raise UnexpectedResponse(json.dumps(errors))
