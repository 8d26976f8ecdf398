"""Fixtures of a tenant with subscriptions and of a publisher."""

from collections.abc import AsyncIterator

import pytest

from app.db.core.database import Database
from tests.graphql.live_tenant import LiveTenant, open_live_tenant
from tests.graphql.schema.mutations.publisher_client import PublisherClient, open_publisher


@pytest.fixture
async def live_tenant(database: Database) -> AsyncIterator[LiveTenant]:
    async with open_live_tenant(database) as tenant:
        yield tenant


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[PublisherClient]:
    """A publisher in an empty workspace."""
    async with open_publisher(database) as opened:
        yield opened
