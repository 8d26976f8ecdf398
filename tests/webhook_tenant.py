"""A tenant whose key may read and change webhooks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.db.core.database import Database
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.factories import add_api_key, add_workspace
from tests.webhook_receiver import LOOPBACK_SETTINGS
from tests.webhook_rows import SECRETS_KEY

SETTINGS = {"RATE_LIMIT": "off", "SECRETS_KEY": SECRETS_KEY, **LOOPBACK_SETTINGS}


@asynccontextmanager
async def open_webhook_tenant(database: Database, **settings: str) -> AsyncIterator[Tenant]:
    """Open an empty workspace with a key of the scope admin, in a service that delivers nothing itself."""
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, scopes=(*DEFAULT_SCOPES, Scope.ADMIN))
    chosen = read_settings({**SETTINGS, **settings})
    async with app_client(database, token=key.token, settings=chosen) as client:
        yield Tenant(database, workspace, client)
