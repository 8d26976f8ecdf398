"""Mastodon accounts that the code of an authorization connects, by requests to a scripted instance."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.db.core.database import Database
from app.domain.accounts import AccountPublisher
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.ids import AccountId
from app.services.missing_keys import record_keys
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.credential_rows import CIPHER, PLATFORM, StoppedClock, stored_values
from tests.factories import NOW, add_account, add_api_key, add_workspace
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.graphql.schema.mutations.test_credential_verification import (
    CONNECT,
    SERVER_ENVIRONMENT,
    SET,
)
from tests.graphql.schema.mutations.test_credentials import LITERAL_MESSAGE, NEEDS_SCOPE
from tests.platform_servers.mastodon import SnacServer
from tests.platforms.mastodon.scripted_instance import (
    ACCOUNT,
    TOKEN,
    AdapterRun,
    response,
    running_adapter,
)
from tests.platforms.mastodon.test_verification import ALICE, APPS, REGISTERED, TOKENS, form_of

START = """
mutation ($input: StartMastodonAuthorizationInput!) {
  payload: startMastodonAuthorization(input: $input) { authorizationUrl authorization expiresAt }
}
"""
CONNECTION = {"platform": "mastodon", "publisher": "MASTODON", "verify": True}
GRANTED = response(200, {"access_token": TOKEN})
SCRIPT = {APPS: [REGISTERED], TOKENS: [GRANTED], ACCOUNT: [response(200, ALICE)]}
FIRST = AccountId(1)
NOT_VALID = (
    "VALIDATION_ERROR",
    "input.credentials",
    "The authorization is incomplete, or not one of this workspace. Get a new link, and copy the code that"
    " its page shows.",
)


@dataclass
class Connector:
    """A client of the workspace Acme, whose key has the scope CREDENTIALS."""

    tenant: Tenant
    clock: StoppedClock

    async def start(self, run: AdapterRun) -> str:
        """Return the authorization of a new application at the instance."""
        payload = await run_mutation(self.tenant, START, instance=run.url)
        return str(payload["authorization"])

    async def connect(self, authorization: str, code: object = "code-1") -> dict[str, Any]:
        credentials = {"authorization": authorization, "code": code}
        payload = await run_mutation(self.tenant, CONNECT, **CONNECTION, credentials=credentials)
        return dict(payload["account"])

    async def refusal(self, **credentials: object) -> tuple[str, str | None, str]:
        return await expect_refusal(self.tenant, CONNECT, **CONNECTION, credentials=credentials)


@asynccontextmanager
async def open_connector(database: Database, **environment: str) -> AsyncIterator[Connector]:
    settings = read_settings(SERVER_ENVIRONMENT | environment)
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, scopes=(*DEFAULT_SCOPES, Scope.CREDENTIALS))
    clock = StoppedClock()
    async with app_client(
        database, token=key.token, settings=settings, clock=lambda: clock.now
    ) as client:
        yield Connector(Tenant(database, workspace, client), clock)


@pytest.fixture
async def acme(database: Database) -> AsyncIterator[Connector]:
    async with open_connector(database) as connector:
        yield connector


async def test_account_is_connected_by_the_code_of_its_owner(acme: Connector) -> None:
    async with running_adapter(SCRIPT) as run:
        origin, host = run.url.removesuffix("/"), urlsplit(run.url).netloc
        started = await run_mutation(acme.tenant, START, instance=run.url)
        page = urlsplit(started["authorizationUrl"])
        assert f"{page.scheme}://{page.netloc}{page.path}" == f"{origin}/oauth/authorize"
        assert parse_qs(page.query)["client_id"] == ["id-1"]
        assert started["expiresAt"] == "2026-04-15T15:10:00.000Z"

        account = await acme.connect(started["authorization"], " code-1\n")

        form = form_of(run, TOKENS)
        assert (form["code"], form["client_secret"]) == ("code-1", "secret-1")
    assert account == {
        "accountId": FIRST,
        "publisher": "MASTODON",
        "displayName": "Alice",
        "platformUserId": f"109@{host}",
        "platformUsername": f"alice@{host}",
        "avatarUrl": "https://example.social/a.png",
        "credentialsVerifiedAt": "2026-04-15T15:00:00.000Z",
        "credentialsError": None,
    }
    assert await stored_values(
        acme.tenant.database, acme.tenant.workspace, FIRST, platform="mastodon"
    ) == {"instance": origin, "accessToken": TOKEN}


async def test_account_is_authorized_again(acme: Connector) -> None:
    tenant = acme.tenant
    account = await add_account(
        tenant.database,
        tenant.workspace,
        platform="mastodon",
        publisher=AccountPublisher.MASTODON,
        needs_reconnection_since=NOW,
    )
    async with running_adapter(SCRIPT) as run:
        credentials = {"authorization": await acme.start(run), "code": "code-1"}

        payload = await run_mutation(
            tenant, SET, accountId=account, credentials=credentials, verify=True
        )

    assert payload["account"]["displayName"] == "Alice"
    assert payload["account"]["needsReconnection"] is False
    stored = await stored_values(tenant.database, tenant.workspace, account, platform="mastodon")
    assert stored["accessToken"] == TOKEN


async def test_repeated_request_exchanges_the_code_once(acme: Connector) -> None:
    async with running_adapter(SCRIPT) as run:
        credentials = {"authorization": await acme.start(run), "code": "code-1"}
        request = {**CONNECTION, "credentials": credentials, "idempotencyKey": "k1"}
        first = await run_mutation(acme.tenant, CONNECT, **request)
        count = len(run.instance.calls)
        acme.clock.now += timedelta(hours=1)
        await record_keys(acme.tenant.database, CIPHER, acme.clock.now)

        assert await run_mutation(acme.tenant, CONNECT, **request) == first

        assert len(run.instance.calls) == count
        other = {**request, "credentials": {**credentials, "code": "code-2"}}
        code, *_ = await expect_refusal(acme.tenant, CONNECT, **other)
        assert code == "IDEMPOTENCY_KEY_REUSED"


async def test_authorization_expires_after_10_minutes(acme: Connector) -> None:
    async with running_adapter(SCRIPT) as run:
        authorization = await acme.start(run)
        acme.clock.now = NOW + timedelta(minutes=10)

        assert await acme.refusal(authorization=authorization, code="code-1") == (
            "VALIDATION_ERROR",
            "input.credentials",
            "The authorization has expired. Get a new link, and copy the code that its page shows.",
        )
        assert run.instance.targets == [APPS]
        acme.clock.now -= timedelta(milliseconds=1)
        assert (await acme.connect(authorization))["accountId"] == FIRST


async def test_authorization_of_another_workspace_is_refused(acme: Connector) -> None:
    tenant = acme.tenant
    other = await add_workspace(tenant.database)
    key = await add_api_key(tenant.database, other, scopes=(*DEFAULT_SCOPES, Scope.CREDENTIALS))
    others_client = tenant.client.with_token(key.token)
    async with running_adapter(SCRIPT) as run:
        foreign = Connector(Tenant(tenant.database, other, others_client), acme.clock)
        authorization = await foreign.start(run)

        assert await acme.refusal(authorization=authorization, code="code-1") == NOT_VALID
        assert run.instance.targets == [APPS]


@pytest.mark.parametrize("damage", [lambda text: text[:-1], lambda text: "", lambda text: [text]])
async def test_damaged_authorization_is_refused(acme: Connector, damage: Any) -> None:
    async with running_adapter(SCRIPT) as run:
        authorization = await acme.start(run)

        assert await acme.refusal(authorization=damage(authorization), code="code-1") == NOT_VALID


@pytest.mark.parametrize("code", [" ", None, 7])
async def test_missing_code_is_asked_for(acme: Connector, code: object) -> None:
    async with running_adapter(SCRIPT) as run:
        _, _, message = await acme.refusal(authorization=await acme.start(run), code=code)

        assert message == "The code is missing. Copy it from the page of the server."
        assert run.instance.targets == [APPS]


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (
            response(400, {"error": "invalid_grant", "error_description": "code-1 is not valid"}),
            "VALIDATION_ERROR",
            "The server does not accept the code. Connect the account again, with a new code.",
        ),
        (
            response(200, b"<html>"),
            "SERVICE_UNAVAILABLE",
            "The server answered 200 without a usable result. The account is not connected.",
        ),
        (
            response(200, {"access_token": 7}),
            "SERVICE_UNAVAILABLE",
            "The server's answer has no valid access_token. The account is not connected.",
        ),
    ],
)
async def test_code_without_a_token_connects_nothing(
    acme: Connector, answer: bytes, code: str, message: str
) -> None:
    async with running_adapter({**SCRIPT, TOKENS: [answer]}) as run:
        refusal = await acme.refusal(authorization=await acme.start(run), code="code-1")

    assert (refusal[0], refusal[2]) == (code, message)


async def test_exchanged_code_is_not_to_be_sent_again(acme: Connector) -> None:
    async with running_adapter({**SCRIPT, ACCOUNT: [response(503)]}) as run:
        refusal = await acme.refusal(authorization=await acme.start(run), code="code-1")

    assert refusal == (
        "VALIDATION_ERROR",
        "input.credentials",
        "The server answered 503 without a usable result. The credentials were not verified. The code cannot"
        " be used again: get a new link.",
    )


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (
            response(403, {"error": "Not allowed"}),
            "VALIDATION_ERROR",
            "The server does not register applications. Create one in the settings of your account, and use"
            " its access token.",
        ),
        (
            response(200, b"<html>"),
            "SERVICE_UNAVAILABLE",
            "The server answered 200 without a usable result. Check the address of the server, which must"
            " have the API of Mastodon.",
        ),
        (
            response(200, {"client_id": "i" * 2_001, "client_secret": "s"}),
            "SERVICE_UNAVAILABLE",
            "The server's answer has no valid client_id. Check the address of the server, which must have the"
            " API of Mastodon.",
        ),
    ],
)
async def test_server_that_registers_no_application_is_refused(
    acme: Connector, answer: bytes, code: str, message: str
) -> None:
    async with running_adapter({APPS: [answer]}) as run:
        refusal = await expect_refusal(acme.tenant, START, instance=run.url)

    assert (refusal[0], refusal[2]) == (code, message)


async def test_address_of_the_server_must_be_allowed(database: Database) -> None:
    async with (
        open_connector(database, OUTBOUND_ALLOWED_NETWORKS="") as acme,
        running_adapter(SCRIPT) as run,
    ):
        for instance in (run.url, "mastodon.social", ""):
            code, argument, _ = await expect_refusal(acme.tenant, START, instance=instance)
            assert (code, argument) == ("VALIDATION_ERROR", "input.instance")
        assert run.instance.calls == []


async def test_server_is_not_contacted_without_a_key(database: Database) -> None:
    async with open_connector(database, SECRETS_KEY="") as acme, running_adapter(SCRIPT) as run:
        code, _, message = await expect_refusal(acme.tenant, START, instance=run.url)

        assert code == "CONFLICT"
        assert "because SECRETS_KEY is not set" in message
        assert "post-results secrets new-key" in message
        assert run.instance.calls == []


async def test_authorizations_count_as_new_posts(database: Database) -> None:
    async with (
        open_connector(database, RATE_LIMIT="1000/minute", CREATE_RATE_LIMIT="1/minute") as acme,
        running_adapter(SCRIPT) as run,
    ):
        authorization = await acme.start(run)

        for mutation, arguments in (
            (START, {"instance": run.url}),
            (CONNECT, {**CONNECTION, "credentials": {"authorization": authorization, "code": "c"}}),
        ):
            code, *_ = await expect_refusal(acme.tenant, mutation, **arguments)
            assert code == "RATE_LIMIT_EXCEEDED"
        assert run.instance.targets == [APPS]


async def test_authorization_requires_the_scope_of_credentials(acme: Connector) -> None:
    key = await add_api_key(acme.tenant.database, acme.tenant.workspace)
    client = acme.tenant.client.with_token(key.token)

    assert await client.expect_error(START, input={"instance": "https://a.example"}) == NEEDS_SCOPE


async def test_authorization_in_a_document_is_refused(acme: Connector) -> None:
    document = """
    mutation {
      connectAccount(input: {platform: "x", credentials: {authorization: "a", code: "c"}}) { __typename }
    }
    """

    assert await acme.tenant.client.expect_error(document) == (
        "VALIDATION_ERROR",
        "input.credentials",
        f"input.credentials: {LITERAL_MESSAGE}",
    )


async def test_code_is_not_stored_without_a_verification(acme: Connector) -> None:
    async with running_adapter(SCRIPT) as run:
        credentials = {"authorization": await acme.start(run), "code": "code-1"}
    unverified = {**CONNECTION, "verify": False}

    refusal = await expect_refusal(acme.tenant, CONNECT, **unverified, credentials=credentials)

    assert refusal == (
        "VALIDATION_ERROR",
        "input.verify",
        "Only a verification exchanges the code of an authorization. Set verify to true.",
    )


async def test_code_belongs_to_credentials_of_mastodon_only(acme: Connector) -> None:
    credentials = {"authorization": "a", "code": "c"}
    connection = {"platform": PLATFORM, "publisher": "BLUESKY", "verify": True}

    _, _, message = await expect_refusal(
        acme.tenant, CONNECT, **connection, credentials=credentials
    )

    assert message.startswith(
        "The credentials of the account must have the strings identifier and appPassword"
    )


@pytest.mark.slow
async def test_account_of_a_real_snac_is_connected_by_a_code(
    acme: Connector, snac: SnacServer
) -> None:
    login = snac.create_login()
    started = await run_mutation(acme.tenant, START, instance=snac.url)
    client_id = parse_qs(urlsplit(started["authorizationUrl"]).query)["client_id"][0]

    account = await acme.connect(
        started["authorization"], await snac.authorization_code(login, client_id)
    )

    host = snac.url.removeprefix("http://")
    assert account["platformUsername"] == f"{login.name}@{host}"
