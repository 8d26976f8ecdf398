"""The palette of the board in Chromium: pages, accounts, posts and actions by one field."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, Request, Route, expect

from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab, request_body

PAGES = [
    *("Today", "Results", "Unknown", "Failures", "Waiting", "Accounts", "Numbers", "Calendar"),
    "Activity",
]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo()
        await expect(tab.heading("Today")).to_be_focused()
        yield tab


async def open_palette(tab: BoardTab) -> Locator:
    """Open the palette by its keys, and return its field."""
    await tab.page.keyboard.press("Control+k")
    field = tab.page.get_by_role("combobox", name="Page, account, or id, address or text of a post")
    await expect(field).to_be_focused()
    return field


def options(tab: BoardTab) -> Locator:
    return tab.page.get_by_role("listbox", name="Go to").get_by_role("option")


def searched_text(request: Request) -> str | None:
    """Text by which the request searches for accounts."""
    text: str | None = request_body(request).get("variables", {}).get("search")
    return text


async def test_arrows_choose_a_page_and_escape_returns_the_focus(tab: BoardTab) -> None:
    field = await open_palette(tab)
    commands = ["Pause updates of this page", "Sign out"]
    await expect(options(tab)).to_have_text([*(f"{name} page" for name in PAGES), *commands])
    assert await tab.axe_violations() == []
    for key in ("ArrowUp", "ArrowDown", "ArrowDown"):  # to the last one, and around its end
        await field.press(key)
    active = tab.page.get_by_role("dialog").get_by_role("option", selected=True)
    await expect(active).to_have_text("Results page")
    await expect(field).to_have_attribute(
        "aria-activedescendant", str(await active.get_attribute("id"))
    )
    await field.press("Escape")
    await expect(field).to_have_count(0)
    await expect(tab.heading("Today")).to_be_focused()
    await (await open_palette(tab)).fill("act")
    await expect(options(tab).first).to_have_text("Activity page")
    await tab.page.keyboard.press("Enter")
    await expect(tab.heading("Activity")).to_be_focused()


async def test_menu_opens_the_palette_without_shortcuts_which_pauses_updates(tab: BoardTab) -> None:
    menu = tab.page.get_by_role("button", name="Menu")
    await menu.click()
    await tab.page.get_by_label("Keyboard shortcuts").uncheck()
    await tab.page.get_by_role("button", name="Go to…").click()
    await tab.page.keyboard.press("Escape")
    await expect(menu).to_be_focused()
    await (await open_palette(tab)).fill("PAUSE")
    await options(tab).first.click()
    await expect(tab.page.locator(".connection")).to_contain_text("Paused")
    await (await open_palette(tab)).fill("sign out")
    await tab.page.keyboard.press("Enter")
    await expect(tab.heading("Sign in")).to_be_visible()
    await tab.page.keyboard.press("Control+k")
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)


async def test_pasted_id_opens_its_post_or_that_of_its_result(
    tab: BoardTab, demo_server: ServerProcess
) -> None:
    document = "query($id: UUID!) { post(postId: $id) { destinations { destinationId } } }"
    post = BoardApi(demo_server.url, DEMO_KEY).execute(document, id=DEMO_POST)
    result_id = post["destinations"][0]["destinationId"]
    for pasted in (f' "{DEMO_POST.upper()}",', result_id):
        await tab.open()
        await expect(tab.page.locator("h1")).to_be_focused()
        await (await open_palette(tab)).fill(pasted)
        await tab.page.keyboard.press("Enter")
        await expect(tab.page).to_have_url(f"{tab.board_url}/posts/{DEMO_POST}")
    field = await open_palette(tab)
    await field.fill("00000000-0000-4000-8000-000000000000")
    await field.press("Enter")
    await expect(tab.page.get_by_role("dialog").get_by_role("status")).to_have_text(
        "This workspace has no post and no result with this id."
    )
    await field.fill("2285")
    await field.press("Enter")
    await expect(tab.page).to_have_url(f"{tab.board_url}/accounts/2285")


async def test_pasted_address_of_a_publication_opens_its_post(
    tab: BoardTab, demo_server: ServerProcess
) -> None:
    document = "query($id: UUID!) { post(postId: $id) { destinations { platformPostUrl } } }"
    post = BoardApi(demo_server.url, DEMO_KEY).execute(document, id=DEMO_POST)
    url = post["destinations"][0]["platformPostUrl"]
    field = await open_palette(tab)
    await field.fill("https://example.com/" + "a" * 1_900)
    await field.press("Enter")
    await expect(tab.page.get_by_role("dialog").get_by_role("status")).to_have_text(
        "No post of this workspace was published at this address."
    )
    pasted = url.replace("https://", "http://www.") + "/?utm_source=mail"
    await field.fill(f"<{pasted}>")
    await expect(options(tab)).to_have_text([f"Post that was published as {pasted}"])
    await field.press("Enter")
    await expect(tab.page).to_have_url(f"{tab.board_url}/posts/{DEMO_POST}")


async def test_text_finds_accounts_and_leads_to_results(tab: BoardTab) -> None:
    field = await open_palette(tab)
    await field.fill("50% off & <b>")
    await expect(options(tab)).to_have_text(
        ["Posts with the text “50% off & <b>”", "Posts with the reference “50% off & <b>”"]
    )
    await field.press("ArrowDown")
    await field.press("Enter")
    await expect(tab.page).to_have_url(f"{tab.board_url}/results?reference=50%25+off+%26+%3Cb%3E")
    await tab.page.get_by_role("button", name="Show as API").click()
    await tab.page.keyboard.press("Control+k")
    await expect(tab.page.get_by_label("GraphQL query", exact=True)).to_be_visible()
    await expect(tab.page.get_by_role("dialog")).to_have_count(1)
    await tab.page.keyboard.press("Escape")
    await (await open_palette(tab)).fill("@MYBRAND")
    await expect(options(tab).nth(2)).to_contain_text("@mybrand")
    await options(tab).nth(2).click()
    await expect(tab.page.locator("h1")).to_have_text("@mybrand")


async def test_late_answer_for_an_earlier_text_is_ignored(tab: BoardTab) -> None:
    release = asyncio.Event()

    async def delay(route: Route) -> None:
        if searched_text(route.request) == "my":
            await release.wait()
        await route.continue_()

    await tab.page.route("**/graphql", delay)
    field = await open_palette(tab)
    async with tab.page.expect_response(lambda r: searched_text(r.request) == "my") as late:
        async with tab.page.expect_request(lambda request: searched_text(request) == "my"):
            await field.fill("my")
        await field.fill("@mybrand")
        await expect(options(tab).nth(2)).to_contain_text("@mybrand")
        release.set()
    await (await late.value).finished()
    await tab.page.evaluate("new Promise(requestAnimationFrame)")
    await expect(options(tab).nth(2)).to_contain_text("@mybrand", timeout=1)
