"""Fixtures of the tests of use cases."""

import pytest

from tests.clients import Tenant, wait_for_startup_reads


@pytest.fixture
async def acme(acme: Tenant) -> Tenant:
    """An empty workspace; the first maintenance of its server is over, which would change due posts."""
    await wait_for_startup_reads(acme.database)
    return acme
