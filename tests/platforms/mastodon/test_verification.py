"""Verification of Mastodon credentials, and their authorization by a code, against a scripted instance."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundClient
from app.platforms.mastodon.oauth import MastodonApp, register_app, request_credentials
from app.platforms.protocol import AccountIdentity, NotPublished, OutcomeUnknown
from tests.factories import NOW
from tests.outbound.local_servers import LOCAL_RULES
from tests.platforms.mastodon.scripted_instance import (
    ACCOUNT,
    TOKEN,
    AdapterRun,
    response,
    running_adapter,
)

APPS, TOKENS = "POST /api/v1/apps", "POST /oauth/token"
REDIRECT = "urn:ietf:wg:oauth:2.0:oob"
SCOPES = "read:accounts read:statuses write:statuses write:media"
REGISTERED = response(200, {"client_id": "id-1", "client_secret": "secret-1"})
ALICE = {
    "id": "109",
    "username": "alice",
    "acct": "alice",
    "display_name": "Alice",
    "avatar": "https://example.social/a.png",
    "url": "https://example.social/@alice",
}


async def verify(run: AdapterRun) -> AccountIdentity:
    return await run.adapter.verify_credentials(run.request().credentials)


@asynccontextmanager
async def oauth_run(
    script: dict[str, list[bytes]],
) -> AsyncIterator[tuple[AdapterRun, OutboundClient, str]]:
    """Yield an instance, a client, and the instance's URL without a final slash."""
    async with running_adapter(script) as run, OutboundClient(LOCAL_RULES) as client:
        yield run, client, run.url.removesuffix("/")


def form_of(run: AdapterRun, target: str) -> dict[str, str]:
    return dict(parse_qsl(run.instance.call(target).body.decode()))


async def test_account_of_a_token_has_an_id_that_is_unique_among_instances() -> None:
    async with running_adapter({ACCOUNT: [response(200, ALICE)]}) as run:
        host = urlsplit(run.url).netloc

        assert await verify(run) == AccountIdentity(
            platform_user_id=f"109@{host}",
            username=f"alice@{host}",
            display_name="Alice",
            avatar_url="https://example.social/a.png",
            profile_url="https://example.social/@alice",
        )
        assert run.instance.call(ACCOUNT).headers["Authorization"] == f"Bearer {TOKEN}"


async def test_account_with_an_id_only_is_verified() -> None:
    answer = response(200, {"id": "7", "username": None, "display_name": "", "avatar": 1})
    async with running_adapter({ACCOUNT: [answer]}) as run:
        host = urlsplit(run.url).netloc

        assert await verify(run) == AccountIdentity(platform_user_id=f"7@{host}")


@pytest.mark.parametrize(
    "answer",
    [
        response(401, {"error": "The access token is invalid"}),
        response(401, b""),
        response(422, b""),  # of snac
    ],
)
async def test_revoked_token_is_refused(answer: bytes) -> None:
    async with running_adapter({ACCOUNT: [answer]}) as run:
        with pytest.raises(NotPublished) as caught:
            await verify(run)

        assert caught.value.category is ErrorCategory.AUTH


async def test_server_without_the_api_leaves_the_account_unknown() -> None:
    async with running_adapter({ACCOUNT: [response(200, b"<html>")]}) as run:
        with pytest.raises(OutcomeUnknown):
            await verify(run)


async def test_code_of_the_page_becomes_credentials() -> None:
    token = response(200, {"access_token": "token-1", "token_type": "Bearer"})
    async with oauth_run({APPS: [REGISTERED], TOKENS: [token]}) as (run, client, url):
        app = await register_app(client, f"{url}/", NOW)
        credentials = await request_credentials(client, app, "code-1", NOW)

        assert form_of(run, APPS) == {
            "client_name": "post-results",
            "redirect_uris": REDIRECT,
            "scopes": SCOPES,
        }
        page = urlsplit(app.authorization_url)
        assert (f"{page.scheme}://{page.netloc}", page.path) == (url, "/oauth/authorize")
        assert dict(parse_qsl(page.query)) == {
            "response_type": "code",
            "client_id": "id-1",
            "redirect_uri": REDIRECT,
            "scope": SCOPES,
        }
        assert form_of(run, TOKENS) == {
            "grant_type": "authorization_code",
            "client_id": "id-1",
            "client_secret": "secret-1",
            "redirect_uri": REDIRECT,
            "scope": SCOPES,
            "code": "code-1",
        }
        assert credentials == {"instance": url, "accessToken": "token-1"}
        assert "secret-1" not in repr(app)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            response(400, {"error": "invalid_grant"}),
            "The server does not accept the code. Connect the account again, with a new code.",
        ),
        (
            response(200, {"token_type": "Bearer"}),
            "The server's answer has no valid access_token. The account is not connected.",
        ),
        (
            response(503, b"busy"),
            "The server answered 503 without a usable result. The account is not connected.",
        ),
    ],
)
async def test_code_without_a_token_is_an_error(answer: bytes, message: str) -> None:
    async with oauth_run({TOKENS: [answer]}) as (_, client, url):
        app = MastodonApp(url, "id-1", "secret-1")
        with pytest.raises(NotPublished) as caught:
            await request_credentials(client, app, "code-1", NOW)

        assert caught.value.message == message


@pytest.mark.parametrize("status", [403, 422])
async def test_server_that_registers_no_application_is_an_error(status: int) -> None:
    async with oauth_run({APPS: [response(status, {"error": "Not allowed"})]}) as (_, client, url):
        with pytest.raises(NotPublished) as caught:
            await register_app(client, url, NOW)

    assert caught.value.message == (
        "The server does not register applications. Create one in the settings of your account, and use its"
        " access token."
    )


@pytest.mark.parametrize("instance", ["mastodon.social", "https://a.example/path", ""])
async def test_application_is_registered_only_at_the_url_of_an_instance(instance: str) -> None:
    async with OutboundClient(LOCAL_RULES) as client:
        with pytest.raises(NotPublished) as caught:
            await register_app(client, instance, NOW)

    assert caught.value.message == (
        "The server must be a URL without a path, such as https://mastodon.social."
    )
