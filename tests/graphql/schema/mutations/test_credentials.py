"""Credentials of accounts: set by variables only, never returned, and deleted with the connection."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.db.core.database import Database
from app.db.repositories.credentials import find_credentials
from app.domain.accounts import AccountPublisher
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.credentials import MAX_CREDENTIALS_BYTES
from app.domain.ids import AccountId
from tests.clients import UNLIMITED_SETTINGS, Tenant
from tests.credential_rows import (
    CIPHER,
    PLATFORM,
    VALUES,
    add_credentials,
    open_credentials_tenant,
    stored_values,
)
from tests.factories import NOW, add_account, add_api_key, add_workspace
from tests.graphql.schema.mutations.mutation_calls import (
    StoredEvent,
    expect_refusal,
    run_mutation,
    stored_events,
)
from tests.graphql.schema.mutations.test_accounts import NO_ACCOUNT, NOW_TEXT

CONNECT = """
mutation ($input: ConnectAccountInput!) {
  payload: connectAccount(input: $input) { account { accountId hasCredentials credentialsSetAt } }
}
"""
SET = """
mutation ($input: SetAccountCredentialsInput!) {
  payload: setAccountCredentials(input: $input) {
    account { accountId hasCredentials credentialsSetAt needsReconnection readiness { canPost } }
  }
}
"""
SET_VARIABLE = """
mutation ($credentials: Credentials!) {
  setAccountCredentials(input: {accountId: 1, credentials: $credentials}) { account { accountId } }
}
"""
DISCONNECT = """
mutation ($input: DisconnectAccountInput!) {
  payload: disconnectAccount(input: $input) { account { hasCredentials credentialsSetAt } }
}
"""
FIRST = AccountId(1)
OTHER_VALUES = {"identifier": "alice.test", "password": "other"}
SECRET = "sesame-sesame"
LITERAL_MESSAGE = (
    "Credentials must be passed as a variable: a document may be logged or cached. Replace them, since they"
    " were sent in a document."
)
NEEDS_SCOPE = ("INSUFFICIENT_SCOPE", None, "This needs an API key with the scope credentials.")


@pytest.fixture
async def acme(database: Database) -> AsyncIterator[Tenant]:
    async with open_credentials_tenant(database) as tenant:
        yield tenant


async def add_bluesky_account(tenant: Tenant, **columns: Any) -> AccountId:
    return await add_account(tenant.database, tenant.workspace, platform=PLATFORM, **columns)


async def values_of(tenant: Tenant, account: AccountId = FIRST) -> dict[str, Any]:
    return await stored_values(tenant.database, tenant.workspace, account)


async def test_account_is_connected_with_credentials(acme: Tenant) -> None:
    payload = await run_mutation(acme, CONNECT, platform=PLATFORM, credentials=VALUES)

    assert payload == {
        "account": {"accountId": 1, "hasCredentials": True, "credentialsSetAt": NOW_TEXT}
    }
    assert await values_of(acme) == VALUES
    stored = await find_credentials(acme.database.reader(acme.workspace), FIRST)
    assert stored is not None
    assert stored.data.key_id == CIPHER.key_id
    assert stored.data.ciphertext.startswith(b"gAAAAA")


async def test_account_is_connected_without_credentials(acme: Tenant) -> None:
    for credentials in ({}, {"credentials": None}):
        payload = await run_mutation(acme, CONNECT, platform=PLATFORM, **credentials)
        assert payload["account"]["hasCredentials"] is False
        assert payload["account"]["credentialsSetAt"] is None


@pytest.mark.parametrize(
    ("publisher", "error"),
    [
        (
            AccountPublisher.BLUESKY,
            "No credentials are stored for the account. Connect it again, or use setAccountCredentials.",
        ),
        (AccountPublisher.EXTERNAL, None),
    ],
)
async def test_missing_credentials_are_an_error_of_accounts_that_need_them(
    acme: Tenant, publisher: AccountPublisher, error: str | None
) -> None:
    await add_bluesky_account(acme, publisher=publisher)
    data = await acme.client.query("{ account(accountId: 1) { credentialsError } }")
    assert data == {"account": {"credentialsError": error}}


async def test_reconnection_without_credentials_keeps_them(acme: Tenant) -> None:
    connection = {"platform": PLATFORM, "platformUserId": "did:plc:1"}
    await run_mutation(acme, CONNECT, **connection, credentials=VALUES)

    payload = await run_mutation(acme, CONNECT, **connection)
    assert payload["account"]["hasCredentials"] is True
    await run_mutation(acme, CONNECT, **connection, credentials=OTHER_VALUES)

    assert await values_of(acme) == OTHER_VALUES


async def test_new_credentials_connect_the_account_again(acme: Tenant) -> None:
    account = await add_bluesky_account(
        acme, is_active=False, needs_reconnection_since=NOW, token_expires_at=NOW
    )

    for values in (VALUES, OTHER_VALUES):
        payload = await run_mutation(acme, SET, accountId=account, credentials=values)
        assert payload["account"] == {
            "accountId": account,
            "hasCredentials": True,
            "credentialsSetAt": NOW_TEXT,
            "needsReconnection": False,
            "readiness": {"canPost": True},
        }
        assert await values_of(acme, account) == values

    changed = {"is_active", "needs_reconnection_since", "token_expires_at", "token_refreshed_at"}
    assert await stored_events(acme.database) == [
        StoredEvent(1, "account.changed", "setAccountCredentials", account, changed)
    ]


async def test_list_of_accounts_reads_credentials_by_one_statement(acme: Tenant) -> None:
    accounts = [await add_bluesky_account(acme) for _ in range(3)]
    await add_credentials(acme.database, acme.workspace, accounts[1])

    data = await acme.client.query("{ accounts { accountId hasCredentials credentialsSetAt } }")

    assert data["accounts"] == [
        {
            "accountId": account,
            "hasCredentials": account == accounts[1],
            "credentialsSetAt": NOW_TEXT if account == accounts[1] else None,
        }
        for account in accounts
    ]


async def test_disconnection_deletes_credentials(acme: Tenant) -> None:
    await run_mutation(acme, CONNECT, platform=PLATFORM, credentials=VALUES)

    payload = await run_mutation(acme, DISCONNECT, accountId=1)

    assert payload["account"] == {"hasCredentials": False, "credentialsSetAt": None}
    reader = acme.database.reader(acme.workspace)
    assert await find_credentials(reader, FIRST) is None


async def test_account_of_another_workspace_is_not_found(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    account = await add_account(acme.database, other, id=7, platform=PLATFORM)
    await add_credentials(acme.database, other, account)

    for account_id in (7, 8):
        assert await expect_refusal(acme, SET, accountId=account_id, credentials=VALUES) == (
            "NOT_FOUND",
            None,
            NO_ACCOUNT,
        )


async def test_credentials_require_their_scope(acme: Tenant) -> None:
    await add_bluesky_account(acme)
    others = [scope for scope in Scope if scope is not Scope.CREDENTIALS]
    keys = [
        await add_api_key(acme.database, acme.workspace, scopes=scopes)
        for scopes in (others, [Scope.CREDENTIALS])
    ]
    without_scope, only_credentials = (acme.client.with_token(key.token) for key in keys)

    connect_input: dict[str, Any] = {"platform": PLATFORM, "credentials": VALUES}
    set_input = {"accountId": 1, "credentials": VALUES}
    assert await without_scope.expect_error(SET, input=set_input) == NEEDS_SCOPE
    assert await without_scope.expect_error(CONNECT, input=connect_input) == NEEDS_SCOPE
    await without_scope.query(CONNECT, input={"platform": PLATFORM})
    await only_credentials.query(SET, input=set_input)
    assert (await only_credentials.expect_error(CONNECT, input=connect_input))[2] == (
        "This needs an API key with the scope write."
    )
    assert Scope.CREDENTIALS not in DEFAULT_SCOPES


async def test_mirror_stores_no_credentials(acme: Tenant) -> None:
    mirror = await add_workspace(acme.database, mirror_of="https://example.com")
    await add_account(acme.database, mirror)
    key = await add_api_key(acme.database, mirror, scopes=Scope)

    error = await acme.client.with_token(key.token).expect_error(
        SET, input={"accountId": 1, "credentials": VALUES}
    )

    assert error[0] == "READ_ONLY_MIRROR"


async def test_server_without_a_key_refuses_credentials(database: Database) -> None:
    async with open_credentials_tenant(database, UNLIMITED_SETTINGS) as acme:
        await add_bluesky_account(acme)
        refusal = (
            "CONFLICT",
            None,
            "This server cannot store secrets, because SECRETS_KEY is not set. The operator can create a key"
            " with `post-results secrets new-key`.",
        )
        assert await expect_refusal(acme, SET, accountId=1, credentials=VALUES) == refusal
        assert await expect_refusal(acme, CONNECT, platform=PLATFORM, credentials=VALUES) == refusal
        await run_mutation(acme, CONNECT, platform=PLATFORM)


async def test_credentials_are_accepted_as_a_variable_of_their_own(acme: Tenant) -> None:
    await add_bluesky_account(acme)

    await acme.client.query(SET_VARIABLE, credentials=VALUES)

    assert await values_of(acme) == VALUES


LITERALS = (
    ("", f'{{password: "{SECRET}"}}'),
    ("", f'"{SECRET}"'),
    ("", f'["{SECRET}"]'),
    ("($password: JSON)", "{password: $password}"),
)


@pytest.mark.parametrize(("variables", "literal"), LITERALS)
@pytest.mark.parametrize(
    "field",
    ["setAccountCredentials(input: {accountId: 1,", 'connectAccount(input: {platform: "x",'],
)
async def test_literal_credentials_are_refused(
    acme: Tenant, variables: str, literal: str, field: str
) -> None:
    document = f"mutation {variables} {{ {field} credentials: {literal}}}) {{ __typename }} }}"

    assert await acme.client.expect_error(document, password=SECRET) == (
        "VALIDATION_ERROR",
        "input.credentials",
        f"input.credentials: {LITERAL_MESSAGE}",
    )


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        (f'$credentials: Credentials = {{password: "{SECRET}"}}', "$credentials"),
        (
            "$credentials: SetAccountCredentialsInput ="
            f' {{accountId: 1, credentials: {{password: "{SECRET}"}}}}',
            "$credentials.credentials",
        ),
    ],
)
async def test_default_of_a_variable_is_refused(acme: Tenant, variable: str, field: str) -> None:
    document = SET_VARIABLE.replace("$credentials: Credentials!", variable)

    response = await acme.client.execute(document)

    assert SECRET not in str(response)
    messages = [error["message"] for error in response["errors"]]
    assert f"{field}: {LITERAL_MESSAGE}" in messages


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (SECRET, "Credentials must be a JSON object with at least one member."),
        ([SECRET], "Credentials must be a JSON object with at least one member."),
        ({}, "Credentials must be a JSON object with at least one member."),
        (
            {SECRET: "x" * MAX_CREDENTIALS_BYTES},
            "Credentials have 16,404 bytes; at most 16,384 are allowed.",
        ),
        (
            {SECRET: "\0"},
            "Credentials must not be nested deeper than 20 levels, and must not have NUL characters, lone"
            " surrogates, texts of more than 100,000 characters, or numbers beyond 64 bits.",
        ),
    ],
)
async def test_invalid_credentials_are_refused_without_their_value(
    acme: Tenant, value: object, message: str
) -> None:
    refusal = ("VALIDATION_ERROR", "input.credentials", f"input.credentials: {message}")

    assert await acme.client.expect_error(SET_VARIABLE, credentials=value) == refusal
    assert await acme.client.expect_error(SET, input={"accountId": 1, "credentials": value}) == (
        refusal
    )


OTHER_ERRORS: list[tuple[str, object]] = [
    # Variables of the input object.
    ("", {"accountId": 1, "credentials": {"password": SECRET}, "unknown": 1}),
    ("", {"accountId": 1, "credential": {"password": SECRET}}),
    ("", {"accountID": 1, "credentials": {"password": SECRET}}),
    ("", {"credentials": {"password": SECRET}}),
    ("", SECRET),
    ("", [{"accountId": 1, "credentials": {"password": SECRET}}]),
    ("", {"accountId": "x", "credentials": {"password": SECRET}}),
    # Literals of the input object.
    (f'accountId: 1, credential: {{password: "{SECRET}"}}', None),
    (f'credentials: {{password: "{SECRET}"}}', None),
    (f'accountId: 1, credentials: {{password: "{SECRET}"}}, unknown: 1', None),
]


@pytest.mark.parametrize(("literal", "value"), OTHER_ERRORS)
async def test_errors_of_other_fields_do_not_quote_credentials(
    acme: Tenant, literal: str, value: object
) -> None:
    document = SET
    if literal:
        document = f"mutation {{ setAccountCredentials(input: {{{literal}}}) {{ __typename }} }}"

    response = await acme.client.execute(document, **({} if literal else {"input": value}))

    assert response["errors"]
    assert SECRET not in str(response)


async def test_error_names_the_wrong_field(acme: Tenant) -> None:
    value = {"accountId": 1, "credential": VALUES, "credentials": VALUES}

    assert await acme.client.expect_error(SET, input=value) == (
        "VALIDATION_ERROR",
        "input",
        "input: Expected value of type 'SetAccountCredentialsInput' not to include unknown field"
        " 'credential'. Did you mean 'credentials'?",
    )


async def test_repeated_request_is_recognized_without_storing_the_credentials(
    acme: Tenant,
) -> None:
    await add_bluesky_account(acme)
    request = {"accountId": 1, "credentials": VALUES, "idempotencyKey": "k1"}
    first = await run_mutation(acme, SET, **request)
    await add_credentials(acme.database, acme.workspace, FIRST, OTHER_VALUES)

    assert await run_mutation(acme, SET, **request) == first
    assert await values_of(acme) == OTHER_VALUES
    code, field, _ = await expect_refusal(acme, SET, **request | {"credentials": OTHER_VALUES})
    assert (code, field) == ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")

    connection = {"platform": PLATFORM, "credentials": VALUES, "idempotencyKey": "k2"}
    await run_mutation(acme, CONNECT, **connection)
    for other in ({"credentials": OTHER_VALUES}, {"credentials": None}):
        code, *_ = await expect_refusal(acme, CONNECT, **connection | other)
        assert code == "IDEMPOTENCY_KEY_REUSED"
