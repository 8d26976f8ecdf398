"""Idempotency keys of mutations: a repeated request has one effect and the same response."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLInputObjectType

from app.db.core.database import Database
from app.domain.destinations import DestinationState
from app.domain.ids import AccountId
from tests.clients import Tenant, app_client
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    draft,
    queued,
    unknown,
)
from tests.graphql.schema.mutations import test_accounts as account_mutations
from tests.graphql.schema.mutations.mutation_calls import (
    expect_refusal,
    run_mutation,
    stored_events,
)
from tests.graphql.schema.mutations.publisher_client import ManualClock, mutation_document
from tests.graphql.schema.mutations.test_accounts import CONNECT, RETRY_AUTH_FAILURES, auth_failed
from tests.graphql.schema.mutations.test_posts import (
    CANCEL,
    CREATE,
    CREATE_SEVERAL,
    DELETE,
    LATER,
    SCHEDULE,
    UPDATE,
)
from tests.graphql.schema.mutations.test_retries import RETRY_MATCHING, RETRY_POST
from tests.graphql.schema.test_schema import PRINTED_SCHEMA

POST, DESTINATION, OTHER = (UUID(int=number) for number in (1, 2, 3))
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


@dataclass(frozen=True, slots=True)
class Change:
    """A mutation of an object that `add_object` adds."""

    document: str
    arguments: Mapping[str, Any]
    others: Mapping[str, Mapping[str, Any]]
    """Arguments that make another request, by the field of the input that they change."""
    state: DestinationState = field(default_factory=queued)
    """State of the post's destination."""

    @property
    def missing(self) -> Mapping[str, Any]:
        """Arguments with the id of an object that does not exist."""
        id_name = next(iter(self.arguments))
        return {**self.arguments, **self.others[id_name]}


OF_POST = {"postId": str(POST), "expectedVersion": 1}
OTHER_POST: dict[str, dict[str, Any]] = {
    "postId": {"postId": str(OTHER)},
    "expectedVersion": {"expectedVersion": None},
}
OTHER_ACCOUNT = {"accountId": {"accountId": 7}}
CHANGES = {
    "updatePost": Change(
        UPDATE,
        {**OF_POST, "content": "Else"},
        {
            **OTHER_POST,
            "content": {"content": None},
            "accountIds": {"accountIds": [1]},
            "scheduledFor": {"scheduledFor": LATER},
            "publishNow": {"publishNow": True},
            "timezone": {"timezone": None},
            "mediaIds": {"mediaIds": None},
            "media": {"media": None},
            "platformContent": {"platformContent": None},
            "reference": {"reference": None},
        },
    ),
    "schedulePost": Change(
        SCHEDULE,
        {**OF_POST, "publishNow": True},
        {
            **OTHER_POST,
            "scheduledFor": {"scheduledFor": LATER},
            "publishNow": {"publishNow": False},
            "accountIds": {"accountIds": [1]},
        },
        draft(),
    ),
    "cancelPost": Change(CANCEL, OF_POST, OTHER_POST),
    "deletePost": Change(DELETE, OF_POST, OTHER_POST),
    "reconcileDestination": Change(
        mutation_document("reconcileDestination"),
        {"destinationId": str(DESTINATION), "finding": "PUBLISHED", "platformPostId": "17"},
        {
            "destinationId": {"destinationId": str(OTHER)},
            "finding": {"finding": "NOT_PUBLISHED", "platformPostId": None},
            "platformPostId": {"platformPostId": "18"},
            "platformPostUrl": {"platformPostUrl": "https://example.com/17"},
            "publishedAt": {"publishedAt": "2026-04-15T15:00:00Z"},
        },
        unknown(),
    ),
    "updateAccount": Change(
        account_mutations.UPDATE,
        {"accountId": 1, "accountName": "brand"},
        {
            **OTHER_ACCOUNT,
            "accountName": {"accountName": None},
            "displayName": {"displayName": None},
            "platformUsername": {"platformUsername": None},
            "avatarUrl": {"avatarUrl": None},
            "tokenExpiresAt": {"tokenExpiresAt": None},
            "publisher": {"publisher": "EXTERNAL"},
            "onLostAccess": {"onLostAccess": "WAIT"},
        },
    ),
    "disconnectAccount": Change(account_mutations.DISCONNECT, {"accountId": 1}, OTHER_ACCOUNT),
    "markReconnected": Change(
        account_mutations.RECONNECTED,
        {"accountId": 1},
        {**OTHER_ACCOUNT, "tokenExpiresAt": {"tokenExpiresAt": LATER}},
    ),
}


async def add_object(acme: Tenant, change: Change) -> None:
    """Add a post on an account whose access was rejected."""
    account = await add_account(acme.database, acme.workspace, needs_reconnection_since=NOW)
    await add_post(
        acme.database,
        acme.workspace,
        {account: change.state},
        id=POST,
        destination_ids=[DESTINATION],
        is_draft=change.state == draft(),
    )


def test_every_field_of_the_input_is_changed_by_another_request() -> None:
    for name, change in CHANGES.items():
        input_type = PRINTED_SCHEMA.type_map[f"{name[0].upper()}{name[1:]}Input"]
        assert isinstance(input_type, GraphQLInputObjectType)
        assert {*change.others, "idempotencyKey"} == set(input_type.fields)


@pytest.mark.parametrize("name", CHANGES)
async def test_repeated_change_has_one_effect_and_the_stored_warnings(
    database: Database, name: str
) -> None:
    workspace, clock = await add_workspace(database), ManualClock()
    key = await add_api_key(database, workspace)
    async with app_client(database, token=key.token, clock=lambda: clock.now) as client:
        await check_repetition(Tenant(database, workspace, client), clock, CHANGES[name])


async def check_repetition(acme: Tenant, clock: ManualClock, change: Change) -> None:
    """Run the change after a failed one with the same key, and repeat it 23 hours later."""
    await add_object(acme, change)
    code, *_ = await expect_refusal(acme, change.document, **change.missing, idempotencyKey="k1")
    assert code == "NOT_FOUND"
    request = {**change.arguments, "idempotencyKey": "k1"}
    first = await run_mutation(acme, change.document, **request)
    if "accountId" in change.arguments:
        await add_post(acme.database, acme.workspace, {AccountId(1): queued()})
    else:
        await run_mutation(acme, account_mutations.RECONNECTED, accountId=1)
    clock.now += timedelta(hours=23)
    once = await all_rows(acme.database)

    assert await run_mutation(acme, change.document, **request) == first
    repeated = await all_rows(acme.database)
    assert repeated | {"api_key": once["api_key"]} == once  # except the last use of the key
    for other in change.others.values():
        error = await expect_refusal(acme, change.document, **{**request, **other})
        assert error[:2] == ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey"), other
    assert first.get("warnings", [1]) != []
    assert first.get("waitingPosts", 1) == 1


@pytest.mark.parametrize("name", CHANGES)
async def test_two_concurrent_changes_with_one_key_have_one_effect(acme: Tenant, name: str) -> None:
    change = CHANGES[name]
    await add_object(acme, change)
    request = {**change.arguments, "idempotencyKey": "k1"}

    responses = await asyncio.gather(
        *(acme.client.execute(change.document, input=request) for _ in range(2))
    )

    payloads = [response["data"]["payload"] for response in responses if "errors" not in response]
    errors = [error for response in responses for error in response.get("errors", [])]
    assert {error["extensions"]["code"] for error in errors} <= {"IDEMPOTENCY_IN_PROGRESS"}
    assert payloads in ([payloads[0]], payloads[:1] * 2)
    assert len((await all_rows(acme.database))["idempotency_key"]) == 1
    kinds = [event.kind for event in await stored_events(acme.database)]
    assert len(kinds) == len(set(kinds)) > 0


async def test_repeated_change_returns_the_current_state(acme: Tenant) -> None:
    await add_object(acme, CHANGES["updatePost"])
    first = await run_mutation(acme, UPDATE, postId=str(POST), content="A", idempotencyKey="k1")
    await run_mutation(acme, UPDATE, postId=str(POST), content="B")

    repeated = await run_mutation(acme, UPDATE, postId=str(POST), content="A", idempotencyKey="k1")
    assert (repeated["post"]["content"], repeated["post"]["version"]) == ("B", 3)
    assert repeated["warnings"] == first["warnings"] != []

    await run_mutation(acme, DELETE, postId=str(POST))
    repeated = await run_mutation(acme, UPDATE, postId=str(POST), content="A", idempotencyKey="k1")
    assert repeated == {"post": None, "warnings": first["warnings"]}
