"""Tenant of a running service, for tests of subscriptions and streams."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette

from app.db.core.database import Database
from app.domain.ids import AccountId, WorkspaceId
from tests.clients import Client, app_lifespan, client_for, wait_for_startup_reads
from tests.factories import add_account, add_api_key, add_workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTenant:
    database: Database
    workspace: WorkspaceId
    account: AccountId
    token: str
    app: Starlette
    client: Client

    async def create_post(self, content: str = "hello", *, media: Sequence[object] = ()) -> str:
        """Create a post, which causes two changes: of the post and of its destination; return the UUID."""
        data = await self.client.query(
            "mutation ($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }",
            input={"content": content, "accountIds": [self.account], "media": media},
        )
        post_id: str = data["createPost"]["post"]["postId"]
        return post_id


@asynccontextmanager
async def open_live_tenant(database: Database) -> AsyncIterator[LiveTenant]:
    """Open a tenant with one account and a key with default scopes."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    key = await add_api_key(database, workspace)
    async with app_lifespan(database) as app, client_for(app, token=key.token) as client:
        await wait_for_startup_reads(database)
        yield LiveTenant(
            database=database,
            workspace=workspace,
            account=account,
            token=key.token,
            app=app,
            client=client,
        )


def running_tasks() -> list[str]:
    """Return the names of the running tasks, without the server's periodic tasks."""
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return sorted(name for name in names if name not in ("_repeat", "Event.wait"))


async def wait_for_tasks(names: list[str]) -> None:
    """Wait until these are the names of the running tasks; a pool recovers connections in the background."""
    async with asyncio.timeout(10):
        while running_tasks() != names:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def wait_for_subscriptions(client: Client, count: int) -> None:
    """Wait until the metrics show this number of open subscriptions."""
    async with asyncio.timeout(10):
        expected = f"subscriptions_open {count:.1f}"
        while expected not in (await client.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
