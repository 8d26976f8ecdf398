"""Fixtures of the change feed tests."""

from collections.abc import AsyncIterator

import pytest

from tests.services.feed_scenario import NO_POLLING, FeedScenario, open_feed_scenario


@pytest.fixture
async def scenario(anyio_backend: str, database_url: str) -> AsyncIterator[FeedScenario]:
    """A feed that reads only when woken."""
    async with open_feed_scenario(database_url, NO_POLLING) as feed_scenario:
        yield feed_scenario
