"""A workspace with a key, and a client of the service that holds it. No posts, no accounts."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from app.db.engine import Database
from app.domain.ids import WorkspaceId
from tests.clients import Client, serving
from tests.factories import add_api_key, add_workspace


@dataclass(frozen=True, slots=True)
class Tenant:
    database: Database
    workspace: WorkspaceId
    client: Client


@pytest.fixture
async def acme(database: Database) -> AsyncIterator[Tenant]:
    """The workspace that asks."""
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    async with serving(database, token=key.token) as client:
        yield Tenant(database, workspace, client)
