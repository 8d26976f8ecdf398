"""A tenant whose service can be followed, for whoever asks for one."""

from collections.abc import AsyncIterator

import pytest

from app.db.engine import Database
from tests.clients import reaching, started
from tests.factories import add_account, add_api_key, add_workspace
from tests.graphql.following import Live


@pytest.fixture
async def live(database: Database) -> AsyncIterator[Live]:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    key = await add_api_key(database, workspace)
    async with started(database) as app, reaching(app, token=key.token) as client:
        yield Live(
            database=database,
            workspace=workspace,
            account=account,
            token=key.token,
            app=app,
            client=client,
        )
