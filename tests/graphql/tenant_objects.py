"""Objects of a tenant: posts in given states, node ids, other settings and another workspace."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.domain.destinations import DestinationState
from app.settings import read_settings
from tests.clients import Client, Tenant, app_client
from tests.factories import (
    AddedPost,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    draft,
)

BAD_CURSOR_MESSAGE = (
    "after is not a cursor of this list in this order."
    " Pass one that an earlier page returned, unchanged, or leave it out."
)


def node_id(kind: str, key: object) -> str:
    """Encode a Relay node id."""
    return base64.b64encode(f"{kind}:{key}".encode()).decode()


async def add_post_in_states(
    tenant: Tenant, *states: DestinationState, **columns: Any
) -> AddedPost:
    """Add a post with one new account per state; it is a draft if all its destinations are."""
    accounts = [await add_account(tenant.database, tenant.workspace) for _ in states]
    destinations = dict(zip(accounts, states, strict=True))
    is_draft = all(state == draft() for state in states)
    return await add_post(
        tenant.database, tenant.workspace, destinations, **{"is_draft": is_draft, **columns}
    )


async def add_tenant(tenant: Tenant) -> Tenant:
    """Add an empty workspace to the service of another tenant."""
    workspace = await add_workspace(tenant.database)
    key = await add_api_key(tenant.database, workspace)
    return Tenant(tenant.database, workspace, tenant.client.with_token(key.token))


@asynccontextmanager
async def client_with_settings(tenant: Tenant, **settings: str) -> AsyncIterator[Client]:
    """Open a client of the workspace in a service with these settings and no rate limit."""
    key = await add_api_key(tenant.database, tenant.workspace)
    chosen = read_settings({"RATE_LIMIT": "off", **settings})
    async with app_client(tenant.database, token=key.token, settings=chosen) as client:
        yield client
