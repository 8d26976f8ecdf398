"""Sends every kind of expensive request of one API key at the same time, as an attack on other workspaces.

Run it as `python -m tests.isolation.attack URL TOKEN ACCOUNT KINDS`. It prints the number of each outcome at
SIGINT. After a refusal or a lost connection, each attacker tries again a second later.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import click
import httpx

from app.domain.times import format_instant
from tests.load_client import HttpConnection, RequestFailed, execute, open_graphql_socket
from tests.retrying_client import CREATE_POST
from tests.subscriptions.subscriber_connections import DOCUMENT
from tests.subscriptions.subscriber_pool import raise_fd_limit

READERS = 16
"""Connections with expensive reads."""
FIELDS = 10
"""Expensive fields of one request."""
SOCKETS, SUBSCRIPTIONS_PER_SOCKET = 50, 10
"""WebSockets whose client reads nothing once the subscriptions have begun."""
EXPORTS = 10
EXPORT_PART, EXPORT_INTERVAL = 64 * 1024, 4.0
"""Bytes that the client of an export reads at a time, and the seconds between two reads."""
INCOMPLETE_REQUESTS, HEADER_INTERVAL = 500, 4.0
"""Connections that send one header line at a time, and the seconds between two lines."""
_PAUSE = 1.0
"""Seconds before an attacker tries again."""


class Attack:
    """All attackers of one key."""

    def __init__(self, url: str, token: str, account: int) -> None:
        self._url, self._token, self._account = url, token, account
        self.outcomes: Counter[str] = Counter()

    async def run(self, kinds: list[str]) -> None:
        """Run all attackers of the kinds; does not end."""
        attackers: dict[str, list[tuple[Callable[[], Awaitable[None]], int]]] = {
            "reads": [(self._read, READERS)],
            "subscriptions": [(self._subscribe, SOCKETS), (self._write, 1)],
            "exports": [(self._export, EXPORTS)],
            "incomplete-requests": [(self._send_incomplete_request, INCOMPLETE_REQUESTS)],
        }
        async with asyncio.TaskGroup() as tasks:
            for kind in kinds:
                for attack, count in attackers[kind]:
                    for _ in range(count):
                        tasks.create_task(self._repeat(kind, attack))

    async def _repeat(self, kind: str, attack: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await attack()
                self.outcomes[f"{kind}: answered"] += 1
            except RequestFailed as refusal:
                self.outcomes[f"{kind}: {refusal.status}"] += 1
                await asyncio.sleep(_PAUSE)
            except Exception as error:  # noqa: BLE001 - whatever ended the connection
                self.outcomes[f"{kind}: {type(error).__name__}"] += 1
                await asyncio.sleep(_PAUSE)

    async def _read(self) -> None:
        await self._execute(secrets.choice((_searches, _statistics, _groups))(), {})

    async def _write(self) -> None:
        await asyncio.sleep(0.5)
        post = {"content": "Spring sale " * 100, "accountIds": [self._account], "draft": True}
        await self._execute(CREATE_POST, {"input": post})

    async def _execute(self, document: str, variables: Mapping[str, object]) -> None:
        connection = HttpConnection(self._url)
        try:
            await execute(connection, self._token, document, variables)
        finally:
            connection.close()

    async def _subscribe(self) -> None:
        async with open_graphql_socket(self._url, self._token, max_queue=1) as socket:
            for number in range(SUBSCRIPTIONS_PER_SOCKET):
                message = {
                    "id": str(number),
                    "type": "subscribe",
                    "payload": {"query": DOCUMENT, "variables": {}},
                }
                await socket.send(json.dumps(message))
            await socket.wait_closed()

    async def _export(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Accept-Encoding": "identity"}
        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream(
                "GET", f"{self._url}/v1/destinations.ndjson", headers=headers
            ) as response,
        ):
            if response.status_code != 200:
                raise RequestFailed(str(response.status_code))
            async for _ in response.aiter_bytes(EXPORT_PART):
                await asyncio.sleep(EXPORT_INTERVAL)

    async def _send_incomplete_request(self) -> None:
        parts = urlsplit(self._url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(b"GET /v1/posts HTTP/1.1\r\nHost: isolation\r\n")
            while not reader.at_eof():
                writer.write(b"X-Header: value\r\n")
                await writer.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEADER_INTERVAL):
                        await reader.read(65536)
        finally:
            writer.close()


def _searches() -> str:
    return _aliased(
        lambda: (
            f'destinations(first: 5, filter: {{search: "{secrets.token_hex(4)}"}})'
            " { nodes { destinationId } }"
        )
    )


def _statistics() -> str:
    now = datetime.now(UTC)
    period = f'from: "{format_instant(now - timedelta(days=59))}", to: "{format_instant(now)}"'
    return _aliased(
        lambda: (
            f"outcomeStats({period}, interval: DAY, groupBy: [PLATFORM])"
            " { buckets { start counts { published failed } } }"
        )
    )


def _groups() -> str:
    return _aliased(lambda: "failureGroups(first: 20) { nodes { key count postCount } }")


def _aliased(field: Callable[[], str]) -> str:
    return "{ " + " ".join(f"f{number}: {field()}" for number in range(FIELDS)) + " }"


async def _main() -> None:
    url, token, account, kinds = sys.argv[1:]
    raise_fd_limit(INCOMPLETE_REQUESTS + SOCKETS + READERS + EXPORTS + 100)
    attack = Attack(url, token, int(account))

    def end() -> None:
        click.echo(json.dumps(attack.outcomes))
        sys.stdout.flush()
        os._exit(0)  # without closing hundreds of connections one by one

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, end)
    click.echo("running")
    await attack.run(kinds.split(","))


if __name__ == "__main__":
    asyncio.run(_main())
