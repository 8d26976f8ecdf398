"""An export whose client reads one message at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from sqlalchemy import text
from starlette.types import ASGIApp, Message

from app.asgi import DEFAULT_CONNECTION_TIMEOUTS
from app.db.core.database import Database
from app.domain.ids import WorkspaceId
from app.graphql.service import ConnectionTimeouts
from app.http.request import ABORT
from app.rest.endpoints import PREFIXES
from app.settings import read_settings
from tests.claim_benchmark import copy_post
from tests.clients import Client, app_lifespan, client_for
from tests.factories import (
    AddedKey,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
)
from tests.graphql.transport.asgi_connection import ASGIConnection
from tests.raw_statements import run_raw

PATH = "/v1/destinations.ndjson"
PATHS = [f"{prefix}/destinations.{name}" for prefix in PREFIXES for name in ("csv", "ndjson")]


async def add_batches(database: Database, workspace: WorkspaceId) -> None:
    """Add 1,200 destinations."""
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: failed()})
    await database.write_all_workspaces(lambda session: copy_post(session, post.id, 1199))


class ExportConnection(ASGIConnection):
    """Client that reads one message of an export at a time, with a client for other requests."""

    def __init__(
        self,
        database: Database,
        app: ASGIApp,
        client: Client,
        workspace: WorkspaceId,
        key: AddedKey,
    ) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {key.token}".encode())],
            "state": {ABORT: self.abort},
        }
        super().__init__(app, scope, [{"type": "http.request", "body": b"", "more_body": False}])
        self.stop_reading()
        self.database = database
        self.app = app
        self.client = client
        self.workspace = workspace
        self.key = key
        self.is_aborted = False
        self.received_bytes = 0
        self._reads_all = False

    async def start_another(self, workspace: WorkspaceId) -> "ExportConnection":
        """Start an export of a workspace on another connection, and wait until it runs or waits."""
        key = await add_api_key(self.database, workspace)
        another = ExportConnection(self.database, self.app, self.client, workspace, key)
        await asyncio.sleep(0.1)
        return another

    def abort(self) -> None:
        self.is_aborted = True
        self.disconnect()

    def disconnect(self) -> None:
        self.to_app.put_nowait({"type": "http.disconnect"})

    def on_message(self, message: Message) -> None:
        self.received_bytes += len(message.get("body", b""))
        if not self._reads_all:
            self.stop_reading()

    async def wait_started(self) -> int:
        """Wait for the start of the response, and return its status."""
        status: int = (await self.next_asgi_message())["status"]
        return status

    async def read_part(self) -> int:
        """Read the next part of the body, and return its number of rows."""
        self._can_read.set()
        body: bytes = (await self.next_asgi_message())["body"]
        return body.count(b"\n")

    async def read_rest(self) -> tuple[int, bool]:
        """Read until the app has returned; return the number of rows, and whether the body has an end."""
        self._reads_all = True
        self._can_read.set()
        await self.wait_finished()
        rows, has_end = 0, False
        while not self.has_no_messages():
            message = await self.next_asgi_message()
            rows += message.get("body", b"").count(b"\n")
            has_end = not message.get("more_body", True)
        return rows, has_end


@asynccontextmanager
async def open_export(
    database: Database,
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    timeouts: ConnectionTimeouts = DEFAULT_CONNECTION_TIMEOUTS,
    statement: str | None = None,
) -> AsyncIterator[ExportConnection]:
    """Start an export of 1,200 destinations, in batches of 500, after a statement that changes some."""
    workspace = await add_workspace(database)
    await add_batches(database, workspace)
    if statement is not None:
        await database.write_all_workspaces(lambda session: run_raw(session, text(statement)))
    key = await add_api_key(database, workspace)
    async with (
        app_lifespan(
            database,
            settings=read_settings({"RATE_LIMIT": "off", **settings}),
            connection_timeouts=timeouts,
        ) as app,
        client_for(app, token=key.token) as client,
    ):
        connection = ExportConnection(database, app, client, workspace, key)
        try:
            yield connection
        finally:
            await connection.close()
