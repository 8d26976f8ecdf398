"""Idempotency keys of mutations: a repeated request has one effect and the same response."""

from typing import Any
from uuid import UUID

import pytest

from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import add_account, add_post
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.graphql.schema.mutations.test_accounts import CONNECT, RETRY_AUTH_FAILURES, auth_failed
from tests.graphql.schema.mutations.test_posts import CREATE, CREATE_SEVERAL
from tests.graphql.schema.mutations.test_retries import RETRY_MATCHING, RETRY_POST

POST = UUID(int=1)
SALE = {"content": "Sale", "draft": True}
CALLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "createPost": (CREATE, SALE, {"content": "Else"}),
    "createPosts": (CREATE_SEVERAL, {"posts": [SALE]}, {"posts": [SALE, SALE]}),
    "connectAccount": (CONNECT, {"platform": "x"}, {"platform": "threads"}),
    "retryPost": (RETRY_POST, {"postId": str(POST)}, {"force": True}),
    "retryDestinations": (RETRY_MATCHING, {"filter": {"accountId": [1]}}, {"first": 3}),
    "retryAfterReconnect": (RETRY_AUTH_FAILURES, {"accountId": 1}, {"failedAfter": "2026-04-15"}),
}
"""Mutation → document, arguments, and arguments that make another request."""


@pytest.mark.parametrize("name", CALLS)
async def test_idempotency_key_has_one_effect_and_belongs_to_one_request(
    acme: Tenant, name: str
) -> None:
    document, arguments, other = CALLS[name]
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: auth_failed()}, id=POST)
    first = await run_mutation(acme, document, **arguments, idempotencyKey="k1")
    await add_post(acme.database, acme.workspace, {account: auth_failed()})
    once = await all_rows(acme.database)

    assert await run_mutation(acme, document, **arguments, idempotencyKey="k1") == first
    assert await all_rows(acme.database) == once
    request = {**arguments, **other, "idempotencyKey": "k1"}
    assert await expect_refusal(acme, document, **request) == (
        "IDEMPOTENCY_KEY_REUSED",
        "input.idempotencyKey",
        "This idempotency key was used for another request.",
    )
    assert await run_mutation(acme, document, **arguments, idempotencyKey="k2") != first
