"""Fixtures of the REST tests: an account of the workspace, and a tenant with webhooks."""

from collections.abc import AsyncIterator

import pytest

from app.db.core.database import Database
from app.domain.ids import AccountId
from tests.clients import Tenant
from tests.factories import add_account
from tests.webhook_tenant import open_webhook_tenant


@pytest.fixture
async def account(acme: Tenant) -> AccountId:
    """An account that can post."""
    return await add_account(acme.database, acme.workspace, id=2280, account_name="@acme")


@pytest.fixture
async def webhook_tenant(database: Database) -> AsyncIterator[Tenant]:
    """An empty workspace whose key has the scope admin."""
    async with open_webhook_tenant(database) as tenant:
        yield tenant
