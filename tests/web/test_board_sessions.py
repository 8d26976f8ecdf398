"""Sessions of the board in Chromium: several tabs, several workspaces, and a proxy that signs people in."""

import json

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.servers import ServerProcess
from tests.web.board_tab import UNAUTHORIZED, BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

TOO_MANY = "Failed to load resource: the server responded with a status of 429 (Too Many Requests)"

NO_COOKIE = "This browser did not store the session cookie. Allow cookies for this page."

READ_SCOPES = """
fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ query: "{ viewer { scopes } }" }),
}).then(async (response) => (await response.json()).data.viewer.scopes)
"""

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


async def open_other_tab(tab: BoardTab, path: str = "") -> BoardTab:
    """Open another tab of the same browser."""
    other = BoardTab(await tab.page.context.new_page(), tab.board_url)
    await other.open(path)
    return other


async def accept_without_cookie(route: Route) -> None:
    """Answer a sign-in as for a browser that blocks cookies."""
    await route.fulfill(status=204)


async def sign_out(tab: BoardTab) -> None:
    await tab.page.get_by_role("button", name="Menu").click()
    await tab.page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(tab.heading("Sign in")).to_be_visible()


async def test_tab_follows_another_tab_into_its_workspace(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("own"), 1, "OWN")
    keys = {name: page_server.create_key_of_workspace(name) for name in ("acme", "beta")}
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results?code=OWN")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_have_count(1)
        await tab.expect_live()
        other = await open_other_tab(tab)
        await sign_out(other)
        await other.sign_in(keys["acme"])
        header = tab.page.locator(".header")
        await expect(header).to_contain_text("acme")
        await expect(tab.page.locator(".empty")).to_contain_text("Nothing matches this filter.")
        await expect(tab.page.get_by_label("Messages")).to_contain_text(
            "This browser is signed in to another workspace now, which this page shows."
        )
        await tab.expect_live()
        await other.open("/sign-in")  # without signing out
        await other.sign_in(keys["beta"], read_only=True)
        await expect(header).to_contain_text("beta")
        await expect(header).to_contain_text("read only")
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)
        await tab.expect_live()


async def test_tab_keeps_its_place_when_another_tab_signs_in_with_another_key(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("kept"), 1, "KEPT")
    key = page_server.create_key("second")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results?code=KEPT")
        await tab.sign_in(page_server.key)
        row = tab.page.locator("tbody tr")
        await row.get_by_role("checkbox").check()
        await tab.expect_live()
        # Without the channel between tabs, the tab learns it from the server.
        await tab.page.evaluate("BroadcastChannel.prototype.dispatchEvent = () => true")
        other = await open_other_tab(tab, "/sign-in")
        await other.sign_in(key, read_only=True)
        await expect(tab.page.locator(".header")).to_contain_text("read only")
        await expect(row.get_by_role("checkbox")).to_be_checked()
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)
        await tab.expect_live()


@pytest.mark.parametrize(
    ("access", "scopes"),
    [
        ("Read and act", ["READ", "WRITE", "ADMIN"]),
        ("Read only", ["READ"]),
        ("Read, act and publish", ["READ", "WRITE", "PUBLISH", "ADMIN"]),
    ],
)
async def test_session_has_the_scopes_that_the_form_names(
    browser: Browser, page_server: PageServer, access: str, scopes: list[str]
) -> None:
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.page.get_by_label("API key").fill(page_server.key)
        await tab.page.get_by_label(access).check()
        await tab.page.get_by_role("button", name="Sign in").click()
        await tab.expect_live()
        assert await tab.page.evaluate(READ_SCOPES) == scopes


async def test_sign_in_dialog_stays_open_after_escape(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo()
        await expect(tab.heading("Today")).to_be_focused()
        await sign_out(await open_other_tab(tab))
        dialog = tab.page.get_by_role("dialog", name="Sign in again")
        await expect(dialog).to_be_visible()
        for _ in range(4):
            await tab.page.keyboard.press("Escape")
        await expect(dialog).to_be_visible()
        await expect(dialog.get_by_label("API key")).to_be_visible()
        await tab.page.route("**/board/session", accept_without_cookie)
        await dialog.get_by_role("button", name="Open the demo").click()
        await expect(dialog.get_by_role("alert")).to_have_text(NO_COOKIE)


async def test_sign_in_whose_cookie_is_not_stored_asks_to_allow_cookies(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.page.route("**/board/session", accept_without_cookie)
        await tab.open("/results")
        await tab.page.get_by_role("button", name="Open the demo").click()
        await expect(tab.page.get_by_role("alert")).to_have_text(NO_COOKIE)
        await tab.page.unroute("**/board/session")
        await tab.page.get_by_role("button", name="Open the demo").click()
        await expect(tab.heading("Results")).to_be_focused()


async def test_sign_out_of_all_sessions_is_confirmed(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.create_key("shared")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(key)
        await tab.expect_live()
        dialog = tab.page.get_by_role("dialog", name="Sign out all sessions?")
        menu = _button(tab.page, "Menu")
        for answer in ("Stay signed in", "Sign out all"):
            await menu.click()
            await _button(tab.page, "Sign out all sessions of this key…").click()
            await expect(dialog.locator("p")).to_have_text(
                "Everyone who signed in with the key “shared” is signed out, in every browser,"
                " and must enter a key again. The key itself stays valid."
            )
            assert await tab.axe_violations() == []
            await _button(tab.page, answer).click()
            await expect(dialog).to_have_count(0)
            if answer == "Stay signed in":
                await expect(menu).to_be_focused()
        await expect(tab.heading("Sign in")).to_be_visible()


async def test_read_only_session_is_not_offered_to_sign_out_all(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.create_key("shared")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(key, read_only=True)
        await tab.expect_live()
        await _button(tab.page, "Menu").click()
        await expect(_button(tab.page, "Sign out")).to_be_visible()
        await expect(_button(tab.page, "Sign out all sessions of this key…")).to_have_count(0)


async def test_unexpected_error_of_the_start_is_shown_and_can_be_retried(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/results")
        await expect(tab.heading("Results")).to_be_focused()
        await tab.page.route("**/graphql", lambda route: route.fulfill(json={"data": {}}))
        await tab.page.reload()
        await expect(tab.heading("The board cannot start")).to_be_visible()
        await expect(tab.page.locator(".error-panel")).to_contain_text("PAGE_ERROR")
        await tab.page.unroute("**/graphql")
        await _button(tab.page, "Try again").click()
        await expect(tab.heading("Results")).to_be_focused()


async def test_person_whom_a_proxy_signs_in_is_not_offered_to_sign_out(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async def sign_in_by_proxy(route: Route) -> None:
        response = await route.fetch()
        body = await response.json()
        if "viewer" in (body.get("data") or {}):
            body["data"]["viewer"]["session"]["expiresAt"] = None
        await route.fulfill(response=response, json=body)

    async with open_tab(browser, demo_server.url) as tab:
        await tab.page.route("**/graphql", sign_in_by_proxy)
        await tab.open_demo()
        await tab.page.get_by_role("button", name="Menu").click()
        await expect(tab.page.get_by_label("Pause updates of this page")).to_be_visible()
        await expect(tab.page.get_by_role("button", name="Sign out")).to_have_count(0)
        await expect(tab.page.get_by_label("Sign out when")).to_have_count(0)
        await tab.page.keyboard.press("Control+k")
        await expect(tab.page.get_by_role("option", name="Pause updates")).to_be_visible()
        await expect(tab.page.get_by_role("option", name="Sign out")).to_have_count(0)
        idle = "{'post-results-board-idle': '15', 'post-results-board-used': '0'}"
        await tab.page.evaluate(f"Object.assign(localStorage, {idle})")
        await tab.page.reload()
        await tab.expect_live()
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)


async def test_refused_start_counts_down_again_after_each_refusal(
    browser: Browser, demo_server: ServerProcess
) -> None:
    refused = json.dumps({"errors": [{"message": "Slow.", "extensions": {"code": "RATE_LIMITED"}}]})

    async def refuse(route: Route) -> None:
        await route.fulfill(
            status=429,
            body=refused,
            headers={"Content-Type": "application/json", "Retry-After": "2"},
        )

    problems = frozenset({UNAUTHORIZED, TOO_MANY})
    async with open_tab(browser, demo_server.url, problems=problems) as tab:
        await tab.open_demo()
        await expect(tab.heading("Today")).to_be_focused()
        await tab.page.route("**/graphql", refuse)
        await tab.page.reload()
        for _ in range(2):
            await expect(tab.heading("The board cannot start")).to_be_visible()
            await expect(_button(tab.page, "Try again in 2 s")).to_be_visible()
            await _button(tab.page, "Try again").click()


def _button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)
