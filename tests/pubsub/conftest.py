"""Fixtures: a PostgreSQL database without other notifiers, and a session in it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests import postgres
from tests.pubsub.postgres_session import PostgresSession, open_session


@pytest.fixture(scope="module")
def url(postgresql_server_url: str) -> Iterator[str]:
    with postgres.new_database(postgresql_server_url) as database_url:
        yield database_url


@pytest.fixture
async def postgres_session(anyio_backend: str, url: str) -> AsyncIterator[PostgresSession]:
    async with open_session(url) as session:
        yield session
