"""Sign-out of the board in a browser that is not used, with a clock that the test moves."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.servers import ServerProcess
from tests.web.board_tab import UNAUTHORIZED, BoardTab, open_tab

FIELD = "Sign out when this browser is not used"
REFUSED = "Failed to load resource: net::ERR_FAILED"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    """A tab with the page of the accounts, which signs out after 15 minutes without use."""
    problems = frozenset({UNAUTHORIZED, REFUSED})
    async with open_tab(browser, demo_server.url, problems=problems) as tab:
        await tab.page.context.clock.install()
        await tab.open_demo("/accounts")
        await expect(tab.heading("Accounts")).to_be_focused()
        await tab.page.get_by_role("button", name="Menu").click()
        await expect(tab.page.get_by_label(FIELD)).to_have_value("never")
        await tab.page.get_by_label(FIELD).select_option("After 15 minutes")
        await tab.page.keyboard.press("Escape")
        yield tab


def sign_in_dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Sign in again")


async def is_signed_in(tab: BoardTab) -> bool:
    """Whether the server accepts the session of the browser."""
    query = '{"query": "{ viewer { scopes } }"}'
    status: int = await tab.page.evaluate(
        "([url, body]) => fetch(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body})"
        ".then((response) => response.status)",
        [tab.board_url.removesuffix("/board") + "/graphql", query],
    )
    return status == 200


async def test_idle_browser_is_signed_out_and_keeps_its_place(tab: BoardTab) -> None:
    await tab.page.clock.fast_forward("14:00")
    await expect(sign_in_dialog(tab.page)).to_have_count(0)
    assert await is_signed_in(tab)
    async with tab.page.expect_response("**/board/session?*"):
        await tab.page.clock.fast_forward("01:10")
    assert not await is_signed_in(tab)
    await expect(sign_in_dialog(tab.page)).to_be_visible()
    await expect(tab.heading("Accounts")).to_be_attached()
    backdrop = "dialog => getComputedStyle(dialog, '::backdrop').backgroundColor"
    assert await sign_in_dialog(tab.page).evaluate(backdrop) == "rgb(255, 255, 255)"
    await sign_in_dialog(tab.page).get_by_role("button", name="Open the demo").click()
    await expect(sign_in_dialog(tab.page)).to_have_count(0)
    await tab.page.clock.run_for("00:10")
    await expect(sign_in_dialog(tab.page)).to_have_count(0)


async def test_use_of_another_tab_counts(tab: BoardTab) -> None:
    other = await tab.page.context.new_page()
    await other.goto(f"{tab.board_url}/waiting")
    await expect(other.get_by_role("heading", name="Waiting", exact=True)).to_be_focused()
    for _ in range(2):
        await tab.page.clock.fast_forward("10:00")
        await other.keyboard.press("Shift")
    await expect(sign_in_dialog(tab.page)).to_have_count(0)
    await tab.page.clock.fast_forward("15:10")
    await expect(sign_in_dialog(tab.page)).to_be_visible()
    await expect(sign_in_dialog(other)).to_be_visible()


async def test_use_after_a_sleep_of_the_computer_is_too_late(tab: BoardTab) -> None:
    # Only the time passes; no timer fires before the first key.
    await tab.page.evaluate("localStorage['post-results-board-used'] -= 16 * 60_000")
    await tab.page.clock.set_fixed_time(await tab.page.evaluate("Date.now() + 6_000"))
    await tab.page.keyboard.press("Shift")
    await expect(sign_in_dialog(tab.page)).to_be_visible()


async def test_sign_in_is_a_use(tab: BoardTab) -> None:
    await tab.page.keyboard.press("Control+k")
    await tab.page.get_by_role("option", name="Sign out").click()
    await expect(tab.heading("Sign in")).to_be_visible()
    await tab.page.clock.fast_forward("20:00")
    await tab.page.get_by_role("button", name="Open the demo").click()
    await expect(tab.heading("Today")).to_be_focused()
    await tab.page.clock.run_for("00:10")
    await expect(sign_in_dialog(tab.page)).to_have_count(0)
    assert await is_signed_in(tab)


async def test_sign_out_is_repeated_until_the_server_is_reached(tab: BoardTab) -> None:
    async def refuse(route: Route) -> None:
        await route.abort()

    await tab.page.route("**/board/session?*", refuse)
    async with tab.page.expect_event("requestfailed"):
        await tab.page.clock.fast_forward("15:10")
    await expect(sign_in_dialog(tab.page)).to_be_visible()
    assert await is_signed_in(tab)
    await tab.page.unroute("**/board/session?*")
    async with tab.page.expect_response("**/board/session?*"):
        await tab.page.clock.run_for("00:10")
    assert not await is_signed_in(tab)
