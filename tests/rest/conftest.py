"""Fixtures of the REST tests: an account of the workspace."""

import pytest

from app.domain.ids import AccountId
from tests.clients import Tenant
from tests.factories import add_account


@pytest.fixture
async def account(acme: Tenant) -> AccountId:
    """An account that can post."""
    return await add_account(acme.database, acme.workspace, id=2280, account_name="@acme")
