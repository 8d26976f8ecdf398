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
    STATUS,
    TOKEN,
    AdapterRun,
    response,
    running_adapter,
)
from tests.platforms.publish_requests import MemoryCredentials

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


SCOPES_MISSING = (
    "The access token lacks a scope. Connect the account again with a token that has read:accounts,"
    " read:statuses, write:statuses and write:media."
)
DISABLED = (
    "The server has disabled the login: the account is suspended, or has moved to another account. Sign in at"
    " the server, which says why. Of an account that has moved, connect the new one."
)
NOT_APPROVED = (
    "The moderators of the server have not approved the account yet. Connect it again when they"
    " have."
)
NOT_CONFIRMED = (
    "The e-mail address of the account is not confirmed. Confirm it, and connect the account again."
)
FORBIDDEN = {
    "This action is outside the authorized scopes": ("MISSING_SCOPE", SCOPES_MISSING),
    "Your login is currently disabled": ("LOGIN_DISABLED", DISABLED),
    "Your login is currently pending approval": ("LOGIN_NOT_APPROVED", NOT_APPROVED),
    "Your login is missing a confirmed e-mail address": ("EMAIL_NOT_CONFIRMED", NOT_CONFIRMED),
}


@pytest.mark.parametrize("target", [ACCOUNT, STATUS])
@pytest.mark.parametrize(("reason", "expected"), FORBIDDEN.items())
async def test_forbidden_login_is_named(
    target: str, reason: str, expected: tuple[str, str]
) -> None:
    async with running_adapter({target: [response(403, {"error": reason})]}) as run:
        with pytest.raises(NotPublished) as caught:
            await (verify(run) if target == ACCOUNT else run.adapter.publish(run.request()))

    error = caught.value
    assert (error.category, error.http_status) == (ErrorCategory.AUTH, 403)
    assert (error.code, error.message) == expected


@pytest.mark.parametrize("answer", [response(403, {"error": "No"}), response(403, b"<html>")])
async def test_other_forbidden_request_is_left_to_its_status(answer: bytes) -> None:
    async with running_adapter({ACCOUNT: [answer]}) as run:
        with pytest.raises(NotPublished) as caught:
            await verify(run)

    assert (caught.value.category, caught.value.code) == (ErrorCategory.PERMANENT, "HTTP_403")


@pytest.mark.parametrize(
    ("details", "code", "message"),
    [
        (
            {"suspended": True},
            "ACCOUNT_SUSPENDED",
            "The account is suspended. Ask the moderators of its server.",
        ),
        (
            {"moved": {"id": "8", "acct": "alice@b.example", "url": "https://b.example/@alice"}},
            "ACCOUNT_MOVED",
            "The account has moved to https://b.example/@alice. Connect that account.",
        ),
        (
            {"moved": {"id": "8", "acct": "alice@b.example"}},
            "ACCOUNT_MOVED",
            "The account has moved to alice@b.example. Connect that account.",
        ),
        (
            {"moved": {}},
            "ACCOUNT_MOVED",
            "The account has moved to another account. Connect that account.",
        ),
    ],
)
async def test_suspended_or_moved_account_is_refused(
    details: dict[str, object], code: str, message: str
) -> None:
    async with running_adapter({ACCOUNT: [response(200, ALICE | details)]}) as run:
        with pytest.raises(NotPublished) as caught:
            await verify(run)

    error = caught.value
    assert (error.category, error.code, error.message) == (ErrorCategory.AUTH, code, message)


async def test_account_that_is_neither_suspended_nor_moved_is_verified() -> None:
    details = {"suspended": False, "moved": None}
    async with running_adapter({ACCOUNT: [response(200, ALICE | details)]}) as run:
        assert (await verify(run)).display_name == "Alice"


async def test_blanks_around_credentials_are_ignored() -> None:
    async with running_adapter() as run:
        values = {"instance": f" {run.url}\n", "accessToken": f" {TOKEN}\n"}
        await run.adapter.verify_credentials(MemoryCredentials(values))

        assert run.instance.call(ACCOUNT).headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [400, 413, 415])
async def test_server_that_refuses_the_request_is_to_be_checked(status: int) -> None:
    async with running_adapter({ACCOUNT: [response(status, b"<html>")]}) as run:
        with pytest.raises(NotPublished) as caught:
            await verify(run)

        error = caught.value
        assert (error.category, error.code) == (ErrorCategory.PERMANENT, f"HTTP_{status}")
        assert error.message == (
            f"The server answered {status}: it refuses the request. Check its URL,"
            f" {run.url.removesuffix('/')}."
        )


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
