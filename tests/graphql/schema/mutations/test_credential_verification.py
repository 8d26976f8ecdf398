"""Credentials that are verified before they are stored, by requests to a scripted platform server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.db.core.database import Database
from app.db.repositories.credentials import find_credentials
from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from app.settings import read_settings
from tests.clients import Tenant
from tests.credential_rows import KEY, open_credentials_tenant, stored_values
from tests.factories import add_account
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.graphql.schema.mutations.test_accounts import NO_ACCOUNT, NOW_TEXT
from tests.platforms.bluesky.scripted_pds import (
    CREATE_SESSION,
    DID,
    GET_RECORD,
    GET_SESSION,
    ScriptedPds,
    error_response,
    json_response,
    login_credentials,
    running_pds,
)

CONNECT = """
mutation ($input: ConnectAccountInput!) {
  payload: connectAccount(input: $input) {
    account {
      accountId publisher displayName platformUserId platformUsername avatarUrl credentialsVerifiedAt
      credentialsError
    }
  }
}
"""
SET = """
mutation ($input: SetAccountCredentialsInput!) {
  payload: setAccountCredentials(input: $input) {
    account { platformUserId platformUsername displayName credentialsVerifiedAt needsReconnection }
  }
}
"""
ALICE = {"platform": "bluesky", "publisher": "BLUESKY", "verify": True}
SERVER_ENVIRONMENT = {
    "RATE_LIMIT": "off",
    "WEBHOOKS": "no",
    "SECRETS_KEY": KEY,
    "OUTBOUND_ALLOW_HTTP": "yes",
    "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8",
}
FIRST = AccountId(1)
REFUSAL = (
    "VALIDATION_ERROR",
    "input.credentials",
    "The server does not accept the handle or the app password. Create an app password in Bluesky's settings,"
    " and connect the account again with it.",
)


@asynccontextmanager
async def open_tenant(database: Database, **environment: str) -> AsyncIterator[Tenant]:
    """A tenant of a server that may send requests to loopback."""
    settings = read_settings(SERVER_ENVIRONMENT | environment)
    async with open_credentials_tenant(database, settings) as tenant:
        yield tenant


@pytest.fixture
async def acme(database: Database) -> AsyncIterator[Tenant]:
    async with open_tenant(database) as tenant:
        yield tenant


@pytest.fixture
async def scripted_pds() -> AsyncIterator[ScriptedPds]:
    """The server of alice.test, who has a profile."""
    async with running_pds() as server:
        session = {"did": DID, "handle": "alice.test", "active": True}
        server.script(GET_SESSION, *[json_response(200, session)] * 2)
        profile = {"value": {"displayName": "Alice"}}
        server.script(GET_RECORD, *[json_response(200, profile)] * 2)
        yield server


async def has_stored_anything(tenant: Tenant) -> bool:
    reader = tenant.database.reader(tenant.workspace)
    return await find_credentials(reader, FIRST) is not None


async def test_new_account_has_the_names_that_the_platform_states(
    acme: Tenant, scripted_pds: ScriptedPds
) -> None:
    credentials = login_credentials(scripted_pds.url)

    payload = await run_mutation(acme, CONNECT, **ALICE, credentials=credentials)

    assert payload["account"] == {
        "accountId": 1,
        "publisher": "BLUESKY",
        "displayName": "Alice",
        "platformUserId": DID,
        "platformUsername": "alice.test",
        "avatarUrl": None,
        "credentialsVerifiedAt": NOW_TEXT,
        "credentialsError": None,
    }
    stored = await stored_values(acme.database, acme.workspace, FIRST)
    assert stored["session"]["refreshJwt"] == "refresh-2"
    assert {name: stored[name] for name in credentials} == credentials
    again = await run_mutation(acme, CONNECT, **ALICE, credentials=credentials)
    assert again["account"]["accountId"] == 1


async def test_names_of_the_input_are_kept(acme: Tenant, scripted_pds: ScriptedPds) -> None:
    names = {"displayName": "Acme", "platformUserId": DID, "platformUsername": "acme"}

    payload = await run_mutation(
        acme, CONNECT, **ALICE, **names, credentials=login_credentials(scripted_pds.url)
    )

    assert {name: payload["account"][name] for name in names} == names


async def test_account_that_is_connected_again_keeps_its_names(
    acme: Tenant, scripted_pds: ScriptedPds
) -> None:
    names = {"displayName": "Acme", "avatarUrl": "https://acme.example/a.png"}
    await add_account(
        acme.database,
        acme.workspace,
        platform="bluesky",
        platform_user_id=DID,
        display_name=names["displayName"],
        avatar_url=names["avatarUrl"],
    )

    payload = await run_mutation(
        acme, CONNECT, **ALICE, credentials=login_credentials(scripted_pds.url)
    )

    assert payload["account"]["accountId"] == FIRST
    assert {name: payload["account"][name] for name in names} == names
    assert payload["account"]["platformUsername"] == "alice.test"


async def test_refused_credentials_are_not_stored(acme: Tenant, scripted_pds: ScriptedPds) -> None:
    account = await add_account(
        acme.database, acme.workspace, platform="bluesky", publisher=AccountPublisher.BLUESKY
    )
    scripted_pds.script(CREATE_SESSION, *[error_response(401, "AuthenticationRequired")] * 2)
    credentials = login_credentials(scripted_pds.url)

    assert await expect_refusal(acme, CONNECT, **ALICE, credentials=credentials) == REFUSAL
    assert await expect_refusal(
        acme, SET, accountId=account, credentials=credentials, verify=True
    ) == (REFUSAL)

    assert not await has_stored_anything(acme)
    data = await acme.client.query("{ accounts { accountId } }")
    assert data == {"accounts": [{"accountId": account}]}


async def test_unavailable_platform_is_a_retryable_error(
    acme: Tenant, scripted_pds: ScriptedPds
) -> None:
    scripted_pds.script(CREATE_SESSION, error_response(503, "Overloaded"))

    response = await acme.client.execute(
        CONNECT, input={**ALICE, "credentials": login_credentials(scripted_pds.url)}
    )

    (error,) = response["errors"]
    assert error["message"] == (
        "The server answered 503 without a usable result. The login was not completed."
    )
    assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert error["extensions"]["retryAfter"] == 30
    assert not await has_stored_anything(acme)


async def test_credentials_of_another_account_are_refused(
    acme: Tenant, scripted_pds: ScriptedPds
) -> None:
    account = await add_account(
        acme.database,
        acme.workspace,
        platform="bluesky",
        publisher=AccountPublisher.BLUESKY,
        platform_user_id="did:plc:other",
    )
    credentials = login_credentials(scripted_pds.url)
    refusal = (
        "VALIDATION_ERROR",
        "input.credentials",
        f"The credentials belong to the platform user {DID}, not to did:plc:other. Use the credentials of"
        " that account, or connect another account.",
    )

    connection = {**ALICE, "platformUserId": "did:plc:other", "credentials": credentials}
    assert await expect_refusal(acme, CONNECT, **connection) == refusal
    change = {"accountId": account, "credentials": credentials, "verify": True}
    assert await expect_refusal(acme, SET, **change) == refusal

    assert not await has_stored_anything(acme)


async def test_verified_credentials_complete_the_names_of_their_account(
    acme: Tenant, scripted_pds: ScriptedPds
) -> None:
    account = await add_account(
        acme.database,
        acme.workspace,
        platform="bluesky",
        publisher=AccountPublisher.BLUESKY,
        display_name="Acme",
    )

    payload = await run_mutation(
        acme, SET, accountId=account, credentials=login_credentials(scripted_pds.url), verify=True
    )

    assert payload["account"] == {
        "platformUserId": None,
        "platformUsername": "alice.test",
        "displayName": "Acme",
        "credentialsVerifiedAt": NOW_TEXT,
        "needsReconnection": False,
    }


async def test_credentials_are_not_verified_by_default(
    acme: Tenant, scripted_pds: ScriptedPds
) -> None:
    connection = {**ALICE, "verify": False, "credentials": login_credentials(scripted_pds.url)}

    payload = await run_mutation(acme, CONNECT, **connection)

    assert payload["account"]["credentialsVerifiedAt"] is None
    assert scripted_pds.requests == []


@pytest.mark.parametrize(
    ("changes", "argument", "message"),
    [
        ({"credentials": None}, "input.verify", "verify needs credentials."),
        (
            {"publisher": None},
            "input.verify",
            "Credentials of an account with the publisher EXTERNAL cannot be verified. Choose an adapter of"
            " the worker, such as BLUESKY, or do not verify them.",
        ),
        (
            {"credentials": {"ref": "file:bluesky.json"}},
            "input.verify",
            "This server does not read the files of credentials, so it cannot verify them. Set verify to"
            " false: a worker verifies them.",
        ),
        (
            {"credentials": {"identifier": "alice.test"}},
            "input.credentials",
            "The credentials of the account must have the strings identifier and appPassword, and may have"
            " the URL service. Connect the account again.",
        ),
        (
            {"publisher": "MASTODON"},
            "input.publisher",
            "publisher MASTODON publishes on the platform mastodon only, not on bluesky. Choose EXTERNAL, and"
            " publish with a client of the API.",
        ),
    ],
)
async def test_nothing_is_sent_without_what_a_verification_needs(
    acme: Tenant, scripted_pds: ScriptedPds, changes: dict[str, Any], argument: str, message: str
) -> None:
    connection = {**ALICE, "credentials": login_credentials(scripted_pds.url)} | changes

    assert await expect_refusal(acme, CONNECT, **connection) == (
        "VALIDATION_ERROR",
        argument,
        message,
    )
    assert scripted_pds.requests == []


async def test_address_that_the_server_does_not_allow_is_refused(
    database: Database, scripted_pds: ScriptedPds
) -> None:
    async with open_tenant(database, OUTBOUND_ALLOWED_NETWORKS="") as acme:
        code, argument, message = await expect_refusal(
            acme, CONNECT, **ALICE, credentials=login_credentials(scripted_pds.url)
        )

    assert (code, argument) == ("VALIDATION_ERROR", "input.credentials")
    assert "127.0.0.1" in message
    assert scripted_pds.requests == []


async def test_account_of_another_workspace_is_not_found(acme: Tenant) -> None:
    change = {"accountId": 8, "credentials": login_credentials("http://127.0.0.1:1")}

    assert await expect_refusal(acme, SET, **change, verify=True) == (
        "NOT_FOUND",
        None,
        NO_ACCOUNT,
    )


async def test_verifications_count_as_new_posts(
    database: Database, scripted_pds: ScriptedPds
) -> None:
    async with open_tenant(
        database, RATE_LIMIT="1000/minute", CREATE_RATE_LIMIT="1/minute"
    ) as acme:
        connection = {**ALICE, "credentials": login_credentials(scripted_pds.url)}
        await run_mutation(acme, CONNECT, **connection)
        requests = len(scripted_pds.requests)

        code, _, message = await expect_refusal(acme, CONNECT, **connection)

        assert code == "RATE_LIMIT_EXCEEDED"
        assert message.startswith("Too many new posts and verifications: 1 ")
        assert len(scripted_pds.requests) == requests


async def test_repeated_request_asks_the_platform_once(
    database: Database, scripted_pds: ScriptedPds
) -> None:
    credentials = login_credentials(scripted_pds.url)
    requests = [
        (CONNECT, {**ALICE, "credentials": credentials, "idempotencyKey": "k1"}),
        (SET, {"accountId": 1, "credentials": credentials, "verify": True, "idempotencyKey": "k1"}),
    ]
    async with open_tenant(
        database, RATE_LIMIT="1000/minute", CREATE_RATE_LIMIT="2/minute"
    ) as acme:
        for mutation, arguments in requests:
            first = await run_mutation(acme, mutation, **arguments)
            count = len(scripted_pds.requests)

            assert await run_mutation(acme, mutation, **arguments) == first

            assert len(scripted_pds.requests) == count

        other = login_credentials(f"{scripted_pds.url}/other")
        for mutation, arguments in requests:
            reused = {**arguments, "credentials": other}
            code, _, _ = await expect_refusal(acme, mutation, **reused)
            assert code == "IDEMPOTENCY_KEY_REUSED"
