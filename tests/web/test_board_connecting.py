"""Accounts that people connect on the board in Chromium, with scripted platforms on loopback."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from app.services.secret_cipher import new_secrets_key
from tests.platforms.bluesky.scripted_pds import (
    APP_PASSWORD,
    CREATE_SESSION,
    DID,
    GET_SESSION,
    ScriptedPds,
    error_response,
    json_response,
    running_pds,
)
from tests.platforms.mastodon.scripted_instance import (
    ACCOUNT,
    TOKEN,
    AdapterRun,
    response,
    running_adapter,
)
from tests.platforms.mastodon.test_verification import ALICE, APPS, REGISTERED, TOKENS
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.webhook_receiver import LOOPBACK_SETTINGS

SETTINGS = {
    **LOOPBACK_SETTINGS,
    "SECRETS_KEY": new_secrets_key(),
}
SESSION = {"did": DID, "handle": "alice.test", "active": True}
REFUSED_CODE = response(400, {"error": "invalid_grant"})
SCOPES = ("read", "write", "credentials")

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture
def key(page_server: PageServer, request: pytest.FixtureRequest) -> str:
    """Key of a workspace that only this test uses."""
    workspace = request.node.name[:60]
    page_server.run_command("workspaces", "create", workspace)
    arguments = ("keys", "create", "--workspace", workspace, "--name", "connector")
    scopes = [option for scope in SCOPES for option in ("--scope", scope)]
    return page_server.run_command(*arguments, *scopes).strip()


@pytest.fixture
async def tab(browser: Browser, page_server: PageServer, key: str) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/accounts")
        await tab.sign_in(key, full_access=True)
        await expect(tab.heading("Accounts")).to_be_focused()
        await tab.expect_live()
        yield tab


async def open_form(tab: BoardTab, platform: str) -> Locator:
    """Open the dialog, and choose a platform."""
    await tab.page.get_by_role("button", name="Connect an account…").click()
    form = dialog(tab, "Connect an account")
    await expect(form.get_by_label("Connect to")).to_be_focused()
    await form.get_by_label("Connect to").select_option(platform)
    return form


def dialog(tab: BoardTab, name: str) -> Locator:
    return tab.page.get_by_role("dialog", name=name)


async def press(form: Locator, name: str) -> None:
    await form.get_by_role("button", name=name, exact=True).click()


def stored_account(page_server: PageServer, key: str) -> dict[str, Any]:
    document = "{ account(accountId: 1) { publisher platformUserId accountName hasCredentials } }"
    return BoardApi(page_server.url, key).execute(document)


def script_alice(pds: ScriptedPds) -> None:
    pds.script(GET_SESSION, *[json_response(200, SESSION)] * 2)


async def test_bluesky_account_is_connected_after_a_refused_password(
    tab: BoardTab, page_server: PageServer, key: str
) -> None:
    async with running_pds() as pds:
        pds.script(CREATE_SESSION, error_response(401, "AuthenticationRequired"))
        script_alice(pds)
        form = await open_form(tab, "Bluesky")
        await form.get_by_label("Handle").fill("alice.test")
        password = form.get_by_label("App password")
        await password.fill(APP_PASSWORD)
        await expect(password).to_have_attribute("type", "password")
        await expect(password).to_have_attribute("autocomplete", "off")
        await form.get_by_label("Server").fill(pds.url)
        assert await tab.axe_violations() == []
        await press(form, "Connect")
        await expect(form.get_by_role("alert")).to_contain_text(
            "The server does not accept the handle or the app password."
        )
        await expect(form.get_by_label("Handle")).to_have_value("alice.test")
        assert await tab.axe_violations() == []
        await press(form, "Connect")

        connected = dialog(tab, "The account is connected")
        await expect(connected).to_contain_text("alice.test (Bluesky), number 1.")
        assert await tab.axe_violations() == []
    assert stored_account(page_server, key) == {
        "publisher": "BLUESKY",
        "platformUserId": DID,
        "accountName": "alice.test",
        "hasCredentials": True,
    }
    await tab.page.keyboard.press("Escape")
    await expect(tab.page.locator("tbody tr")).to_contain_text("alice.test")
    assert APP_PASSWORD not in await tab.page.content()


async def test_mastodon_account_is_connected_by_the_code_of_its_server(
    tab: BoardTab, page_server: PageServer, key: str
) -> None:
    granted = response(200, {"access_token": TOKEN})
    script = {
        APPS: [REGISTERED],
        TOKENS: [REFUSED_CODE, granted],
        ACCOUNT: [response(200, ALICE)],
    }
    async with running_adapter(script) as run:
        form = await open_form(tab, "Mastodon")
        await form.get_by_label("Server").fill(run.url)
        await form.get_by_label("Name in this workspace").fill("Acme")
        await press(form, "Continue")
        await expect_link(form, run)
        assert await tab.axe_violations() == []
        await press(form, "Get a new link")
        await expect(form.get_by_label("Server")).to_have_value(run.url)
        await press(form, "Continue")
        code = form.get_by_label("Code")
        await expect(code).to_have_attribute("type", "password")
        await code.fill("code-1")
        await code.press("Enter")
        await expect(form.get_by_role("alert")).to_contain_text("does not accept the code")
        await code.fill(" code-2 ")
        await code.press("Enter")

        connected = dialog(tab, "The account is connected")
        await expect(connected).to_contain_text(
            re.compile(r"Acme \(Mastodon\), alice@127.0.0.1:\d")
        )
        last = [call for call in run.instance.calls if call.target == TOKENS][-1]
        assert b"code=code-2" in last.body
    assert stored_account(page_server, key)["accountName"] == "Acme"
    await connected.get_by_role("link").click()
    await expect(tab.heading("Acme")).to_be_visible()
    await expect(connected).to_have_count(0)


async def expect_link(form: Locator, run: AdapterRun) -> None:
    """Expect the focused link to the page of the server, which opens without access to this one."""
    link = form.get_by_role("link", name="Open 127.0.0.1")
    await expect(link).to_be_focused()
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(link).to_have_attribute("target", "_blank")
    href = await link.get_attribute("href")
    assert href is not None
    assert href.startswith(f"{run.url}oauth/authorize?response_type=code&client_id=id-1")


async def test_own_publisher_gets_a_new_secret_that_is_shown_once(
    tab: BoardTab, page_server: PageServer, key: str
) -> None:
    form = await open_form(tab, "Your own publisher (webhook)")
    await form.get_by_label("Platform", exact=True).fill("linkedin")
    await form.get_by_label("Id of the account").fill("u1")
    url = form.get_by_label("URL of your publisher")
    await url.fill("https://publisher.example/publish")
    assert await tab.axe_violations() == []
    await url.press("Enter")

    connected = dialog(tab, "The account is connected")
    secret = await connected.get_by_label("Secret", exact=True).input_value()
    assert re.fullmatch(r"whsec_[\w+/]{43}=", secret)
    await expect(connected.get_by_text("Store the secret of your publisher now")).to_be_focused()
    await expect(connected.get_by_role("link")).to_have_count(0)
    assert await tab.axe_violations() == []
    await tab.page.keyboard.press("Escape")
    await expect(connected).to_be_visible()
    await press(connected, "I have stored it")
    await expect(tab.page.locator("tbody tr")).to_contain_text("publisher.example")
    assert secret not in await tab.page.content()
    assert stored_account(page_server, key)["platformUserId"] == "u1"


async def test_account_whose_access_was_rejected_is_connected_again(
    tab: BoardTab, page_server: PageServer, key: str
) -> None:
    api = BoardApi(page_server.url, key)
    connect = (
        "mutation($input: ConnectAccountInput!)"
        " { connectAccount(input: $input) { account { accountId } } }"
    )
    fields = {"platform": "mastodon", "publisher": "MASTODON", "accountName": "Acme"}
    api.execute(connect, input={**fields, "platformUserId": "109"})
    async with running_adapter({ACCOUNT: [response(200, ALICE)]}) as run:
        await tab.open("/accounts/1")
        await tab.page.get_by_role("button", name="Connect again…").click()
        form = dialog(tab, "Connect Acme (Mastodon) again")
        await form.get_by_label("Server").fill(run.url)
        await expect(form.get_by_label("Name in this workspace")).to_have_count(0)
        await form.get_by_text("Use an access token instead").click()
        await form.get_by_label("Access token").fill(TOKEN)
        assert await tab.axe_violations() == []
        await press(form, "Continue")

        connected = dialog(tab, "The account is connected")
        await expect(connected).to_contain_text("Acme (Mastodon), alice@127.0.0.1")
        await expect(connected).to_contain_text("what failed before stays failed")
        await press(connected, "Close")
    assert stored_account(page_server, key)["hasCredentials"] is True


async def test_sign_in_without_the_scope_says_what_it_needs(
    browser: Browser, page_server: PageServer, key: str
) -> None:
    reasons = {
        False: "This needs a sign-in with “Read, act and publish”, and a key with the scope credentials.",
        True: "This sign-in may only read.",
    }
    for read_only, reason in reasons.items():
        async with open_tab(browser, page_server.url) as tab:
            await tab.open("/accounts")
            await tab.sign_in(key, read_only=read_only)
            button = tab.page.get_by_role("button", name="Connect an account…")
            await expect(button).to_have_accessible_description(reason)
            await button.press("Enter")
            await expect(tab.page.get_by_role("dialog")).to_have_count(0)
