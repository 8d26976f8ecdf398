"""Fixture of a tenant with subscriptions."""

from collections.abc import AsyncIterator

import pytest

from app.db.core.database import Database
from tests.graphql.live_tenant import LiveTenant, open_live_tenant


@pytest.fixture
async def live_tenant(database: Database) -> AsyncIterator[LiveTenant]:
    async with open_live_tenant(database) as tenant:
        yield tenant
