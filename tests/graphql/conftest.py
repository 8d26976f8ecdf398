"""Fixtures of tenants with subscriptions and with webhooks, and of a publisher."""

from collections.abc import AsyncIterator

import pytest

from app.db.core.database import Database
from tests.clients import Tenant
from tests.graphql.live_tenant import LiveTenant, open_live_tenant
from tests.graphql.schema.mutations.publisher_client import PublisherClient, open_publisher
from tests.webhook_tenant import open_webhook_tenant


@pytest.fixture
async def live_tenant(database: Database) -> AsyncIterator[LiveTenant]:
    async with open_live_tenant(database) as tenant:
        yield tenant


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[PublisherClient]:
    """A publisher in an empty workspace."""
    async with open_publisher(database) as opened:
        yield opened


@pytest.fixture
async def webhook_tenant(database: Database) -> AsyncIterator[Tenant]:
    """An empty workspace whose key has the scope admin."""
    async with open_webhook_tenant(database) as tenant:
        yield tenant
