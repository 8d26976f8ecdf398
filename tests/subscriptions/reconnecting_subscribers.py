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

PAUSE = 0.1
"""Seconds at most, until somebody who was cut off comes back, and between two questions for a page."""
LEAVES = 1 / 300
"""How often somebody leaves of their own accord, for each change."""
AWAY = 3.0
"""Seconds at most, until they come back: they are far behind then."""
_LONGEST_SILENCE = 20
"""Seconds; the server sends something more often, on a stream that lives."""
_AWAY = {"SERVICE_UNAVAILABLE"}
_CUT_OFF = (OSError, EOFError, httpx.TransportError, WebSocketException)

Cursors: TypeAlias = AsyncGenerator[str, None]
Change: TypeAlias = Mapping[str, Any]


class Refused(Exception):
    """An answer that nobody should be given here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is followed."""

    document: str
    """A subscription with a variable `after`."""
    field: str
    variables: Mapping[str, Any]
    is_meant: Callable[[Change], bool]
    """Whether it has to tell of a change."""


def all_changes() -> Wish:
    return Wish(
        document="subscription($after: String) { changes(after: $after) { cursor post { status } } }",
        field="changes",
        variables={},
        is_meant=lambda _: True,
    )


def changes_of_post(post_id: str) -> Wish:
    return Wish(
        document="subscription($after: String, $postId: UUID!)"
        " { postChanged(postId: $postId, after: $after) { cursor post { content } } }",
        field="postChanged",
        variables={"postId": post_id},
        is_meant=lambda change: change["postId"] == post_id,
    )


def changes_on_account(account: int) -> Wish:
    """Of destinations; none is ever taken off its post, or it would not be told of."""
    return Wish(
        document="subscription($after: String, $filter: DestinationFilter)"
        " { destinationChanged(filter: $filter, after: $after) { cursor destination { status } } }",
        field="destinationChanged",
        variables={"filter": {"accountId": [account]}},
        is_meant=lambda change: change["accountId"] == account,
    )


Way: TypeAlias = Callable[[str, str, Wish, str], Cursors]
"""To follow a server at an URL with a token, what is wished for, behind a cursor."""


class Subscriber:
    """Follows servers in turn, from the last change that it has seen, and does not end by itself."""

    def __init__(
        self, name: str, way: Way, wish: Wish, urls: Sequence[str], token: str, start: str
    ) -> None:
        self.name = name
        self.wish = wish
        self.seen: list[str] = []
        """The cursors, in the order in which they came."""
        self.came_back = 0
        self.faults: list[str] = []
        self._way = way
        self._urls = urls
        self._token = token
        self._start = start

    def has_seen_all(self, changes: Sequence[Change]) -> bool:
        """Whether it has seen the last of those that it is to be told of."""
        meant = [change["cursor"] for change in changes if self.wish.is_meant(change)]
        return self.seen[-1:] == meant[-1:]

    async def follow(self, randomness: Random) -> None:
        while True:
            longest = await self._follow_for_a_while(randomness)
            self.came_back += 1
            await asyncio.sleep(randomness.uniform(0, longest))

    async def _follow_for_a_while(self, randomness: Random) -> float:
        """Until it is cut off, or leaves; for how many seconds at most it is then away."""
        after = self.seen[-1] if self.seen else self._start
        url = randomness.choice(self._urls)
        try:
            async with aclosing(self._way(url, self._token, self.wish, after)) as cursors:
                async for cursor in cursors:
                    self.seen.append(cursor)
                    if randomness.random() < LEAVES:
                        return AWAY
        except _CUT_OFF as cut:
            # By a process that was killed; what the service itself closes for, it says.
            if isinstance(cut, ConnectionClosed) and cut.rcvd and cut.rcvd.code >= 4000:
                self.faults.append(str(cut))
        except Refused as fault:
            self.faults.append(str(fault))
        return PAUSE


async def by_socket(url: str, token: str, wish: Wish, after: str) -> Cursors:
    """By graphql-transport-ws."""
    where = f"ws{url.removeprefix('http')}/graphql"
    protocol = Subprotocol("graphql-transport-ws")
    # Without a bound to its queue: with a full one, it would not see that its close is answered.
    async with connect(
        where, subprotocols=[protocol], open_timeout=TIMEOUT_SECONDS, max_queue=None
    ) as socket:
        payload: Any = {"Authorization": f"Bearer {token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        _check(json.loads(await socket.recv()), "connection_ack")
        payload = {"query": wish.document, "variables": {**wish.variables, "after": after}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "error":
                _check_away(message["payload"])
                return
            _check(message, "next")
            yield _cursor(message["payload"], wish)


async def by_events(url: str, token: str, wish: Wish, after: str) -> Cursors:
    """By server-sent events."""
    body = {"query": wish.document, "variables": {**wish.variables, "after": after}}
    async with (
        _http(token, Accept="text/event-stream") as http,
        http.stream("POST", f"{url}/graphql", json=body) as response,
    ):
        async for line in response.aiter_lines():
            if line == "event: complete":
                return
            if line.startswith("data: "):
                answer = json.loads(line.removeprefix("data: "))
                if answer.get("data") is None:
                    _check_away(answer["errors"])
                    return
                yield _cursor(answer, wish)
            elif line.startswith("{"):  # not a stream, but an error
                _check_away(json.loads(line)["errors"])
                return


async def by_polling(url: str, token: str, _: Wish, after: str) -> Cursors:
    """By pages of GET /v1/changes."""
    async with _http(token) as http:
        while True:
            response = await http.get(f"{url}/v1/changes", params={"after": after, "limit": 20})
            if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return
            if response.status_code != httpx.codes.OK:
                raise Refused(response.text)
            page = response.json()["data"]
            for change in page["changes"]:
                yield change["cursor"]
            after = page["cursor"]
            if not page["has_more"]:
                await asyncio.sleep(PAUSE)


def _http(token: str, **headers: str) -> httpx.AsyncClient:
    headers["Authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(headers=headers, timeout=_LONGEST_SILENCE)


def _cursor(answer: Mapping[str, Any], wish: Wish) -> str:
    if answer.get("errors"):
        raise Refused(json.dumps(answer))
    return str(answer["data"][wish.field]["cursor"])


def _check(message: Mapping[str, Any], kind: str) -> None:
    if message["type"] != kind:
        raise Refused(json.dumps(message))


def _check_away(errors: Sequence[Mapping[str, Any]]) -> None:
    """Nothing but that the database is away."""
    if {each["extensions"]["code"] for each in errors} - _AWAY:
        raise Refused(json.dumps(errors))
