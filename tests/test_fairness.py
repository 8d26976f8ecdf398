"""Responses to one client beside many requests of another one, and the callers of their reads."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from app.asgi import create_app
from app.db.core.database import Database
from app.db.core.statements import CompiledStatement, Record
from app.db.core.write_session import WORKSPACE_PARAM
from app.runtime.fair_slots import current_caller
from tests.clients import UNLIMITED_SETTINGS, app_client, app_lifespan, client_for
from tests.db.core.intercepting_driver import WrappingDriver
from tests.factories import (
    KEY_PREFIX,
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    queued,
)
from tests.graphql.transport.websocket_client import WebSocketClient, connect_and_init

FLOOD = 300
"""Requests of the flood; they take many times as long as one iteration of the event loop may."""


def unknown_key() -> str:
    return KEY_PREFIX + uuid4().hex


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["/v1/me", "/livez"])
@pytest.mark.parametrize("flood_key", ["valid", "unknown", "missing"])
async def test_client_does_not_wait_for_all_requests_of_another(
    database: Database, flood_key: str, path: str
) -> None:
    token, other_token = [
        (await add_api_key(database, await add_workspace(database))).token for _ in range(2)
    ]
    tokens: dict[str, Callable[[], str | None]] = {
        "valid": lambda: other_token,
        "unknown": unknown_key,
        "missing": lambda: None,
    }
    finished: list[str] = []

    async def send(name: str, response: Awaitable[httpx.Response]) -> int:
        status = (await response).status_code
        finished.append(name)
        return status

    app = create_app(
        UNLIMITED_SETTINGS,
        clock=lambda: NOW,
        database=database,
        api_key_cache_ttl=timedelta(microseconds=1),  # the key is also known after that time
    )
    async with app.router.lifespan_context(app), client_for(app, token=token) as client:
        assert (await client.get("/v1/me")).status_code == 200
        flood = [
            send("flood", client.with_token(tokens[flood_key]()).get("/v1/me"))
            for _ in range(FLOOD)
        ]
        sender = client.with_token(None) if path == "/livez" else client
        *flood_statuses, status = await asyncio.gather(*flood, send("client", sender.get(path)))

    assert status == 200
    assert set(flood_statuses) == {200 if flood_key == "valid" else 401}
    assert finished.index("client") < FLOOD / 2


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_client_does_not_wait_for_all_operations_on_a_websocket_of_another(
    database: Database,
) -> None:
    token, other_token = [
        (await add_api_key(database, await add_workspace(database))).token for _ in range(2)
    ]
    settings = replace(UNLIMITED_SETTINGS, max_subscriptions_per_socket=FLOOD)
    finished: list[str] = []
    has_begun = asyncio.Event()

    async def receive_all(socket: WebSocketClient) -> None:
        for _ in range(FLOOD):
            await socket.receive()
            await socket.receive()  # the message complete
            finished.append("flood")
            has_begun.set()

    async with (
        app_lifespan(database, settings=settings) as app,
        client_for(app, token=token) as client,
        connect_and_init(app, other_token) as socket,
    ):
        assert (await client.get("/v1/me")).status_code == 200
        for number in range(FLOOD):
            socket.subscribe(str(number), "{ viewer { scopes } }")
        flood = asyncio.create_task(receive_all(socket))
        await has_begun.wait()
        assert (await client.get("/v1/me")).status_code == 200
        finished.append("client")
        await flood

    assert finished.index("client") < FLOOD / 2


@dataclass(slots=True)
class CallerRecorder(WrappingDriver):
    """Records the caller of each read of one workspace, but for those of maintenance, which read events."""

    callers: list[Hashable] = field(default_factory=list)

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if WORKSPACE_PARAM in statement.parameters and "FROM event" not in statement.sql:
            self.callers.append(current_caller.get())
        return await self.driver.fetch(statement, arguments)


_POSTS = "{ posts(first: 2) { nodes { destinations { account { accountName } attemptLog { number } } } } }"


async def test_all_reads_of_a_request_are_reads_of_its_key(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    for _ in range(2):
        account = await add_account(database, workspace)
        await add_post(database, workspace, {account: queued(NOW)})
    key = await add_api_key(database, workspace)
    recorder = CallerRecorder()
    async with (
        Database(database_url, wrap_driver=recorder) as opened,
        app_client(opened, token=key.token) as client,
    ):
        await client.query(f"{{ first: {_POSTS[1:-1]} second: {_POSTS[1:-1]} }}")
        for path in ("/v1/posts", "/v1/accounts"):
            assert (await client.get(path)).status_code == 200

    assert len(recorder.callers) >= 4
    assert set(recorder.callers) == {key.id}
