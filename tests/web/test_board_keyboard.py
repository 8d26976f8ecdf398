"""Filters and keys of the board in Chromium with the demo data."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Request, Route, ViewportSize, expect

from tests.servers import ServerProcess
from tests.web.board_feed import Feed
from tests.web.board_tab import NARROW, WIDE, BoardTab, open_tab, request_body

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, demo_server.url) as tab:
        yield tab


async def test_filter_keeps_the_focus_after_enter(tab: BoardTab) -> None:
    await tab.open_demo("/results")
    field = tab.page.get_by_label("Text of the post")
    await field.fill("example")
    await field.press("Enter")
    await expect(tab.page).to_have_url(f"{tab.board_url}/results?q=example")
    await expect(field).to_be_focused()
    entries = await tab.page.evaluate("history.length")
    await field.press("Enter")
    assert await tab.page.evaluate("history.length") == entries
    await tab.page.get_by_role("button", name="Clear filters (1)").click()
    await expect(field).to_have_value("")


async def test_percent_sequence_of_a_search_is_decoded_once(tab: BoardTab) -> None:
    await tab.open_demo("/results?q=%2541b")
    field = tab.page.get_by_label("Text of the post")
    await expect(field).to_have_value("%41b")
    await expect(tab.page.locator(".empty")).to_contain_text("Nothing matches this filter.")


async def test_period_is_chosen_before_its_times(tab: BoardTab) -> None:
    await tab.open_demo("/results")
    await tab.page.get_by_text("More filters").click()
    await tab.page.get_by_label("Period of").select_option("failed")
    await expect(tab.page).to_have_url(f"{tab.board_url}/results?period=failed")
    await expect(tab.page.get_by_label("Period of")).to_have_value("failed")


async def test_time_of_a_filter_takes_effect_on_enter(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url, timezone_id="Asia/Tokyo") as tab:
        await tab.open_demo("/results")
        await tab.page.get_by_text("More filters").click()
        field = tab.page.get_by_label("From")
        await field.fill("2026-01-02T12:04")
        await field.press("Enter")
        await expect(tab.page).to_have_url(re.compile(r"[?&]from=2026-01-02T03%3A04%3A00"))
        await expect(field).to_be_focused()
        await expect(field).to_have_value("2026-01-02T12:04")


async def test_list_stays_until_that_of_another_filter_has_arrived(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    published = tab.page.locator("tbody .status", has_text="Published")
    await expect(published.first).to_be_visible()
    is_released = asyncio.Event()

    async def wait(route: Route) -> None:
        if _reads_results(route.request):
            await is_released.wait()
        await route.continue_()

    await tab.page.route("**/graphql", wait)
    await tab.page.get_by_label("Status").select_option("FAILED")
    await expect(tab.page).to_have_url(f"{tab.board_url}/results?status=FAILED")
    await expect(tab.page.locator(".deferred")).to_have_attribute("aria-busy", "true")
    await expect(published.first).to_be_visible()
    is_released.set()
    await expect(tab.page.locator(".deferred")).to_have_attribute("aria-busy", "false")
    await expect(published).to_have_count(0)
    # Other tests of the demo decide whether a result without a known outcome comes first.
    failed = re.compile("^(Failed|Unknown outcome)$")
    await expect(tab.page.locator("tbody .status").first).to_have_text(failed)


async def test_narrow_window_shows_the_list_below_a_filter_of_a_link(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url, viewport=NARROW) as tab:
        await tab.open_demo("/results?account=2285")
        await expect(tab.page.locator("tbody tr").first).to_be_visible()
        await expect(tab.page.get_by_label("Error code")).to_have_count(0)
        await tab.page.get_by_text("Filters (1)").click()
        await expect(tab.page.get_by_role("combobox", name="Account", exact=True)).to_have_value(
            "2285"
        )


async def test_arrows_move_between_rows_also_without_shortcuts(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    row = tab.page.locator("tbody tr")
    await expect(row.nth(1)).to_be_visible()
    await expect(tab.heading("Results")).to_be_focused()
    await tab.page.keyboard.press("ArrowDown")
    await expect(tab.heading("Results")).to_be_focused()
    await tab.page.get_by_role("button", name="Menu").click()
    await tab.page.get_by_label("Keyboard shortcuts").uncheck()
    await tab.page.keyboard.press("Escape")
    await tab.page.locator("tr[data-index='0']").focus()
    await tab.page.keyboard.press("ArrowDown")
    await expect(tab.page.locator("tr[data-index='1']")).to_be_focused()
    await tab.page.keyboard.press("ArrowUp")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()
    await tab.page.keyboard.press("j")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()


@pytest.mark.parametrize("shortcuts", [True, False])
async def test_space_selects_the_row_with_the_focus_also_without_shortcuts(
    tab: BoardTab, shortcuts: bool
) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    row = tab.page.locator("tr[data-index='1']")
    await expect(row).to_be_visible()
    await tab.page.get_by_role("button", name="Menu").click()
    await tab.page.get_by_label("Keyboard shortcuts").set_checked(shortcuts)
    await expect(tab.page.locator(".shortcuts")).to_contain_text("Spaceselect the row")
    await tab.page.keyboard.press("Escape")
    await row.focus()
    scroll = await tab.page.evaluate("scrollY")
    await tab.page.keyboard.press("Space")
    await expect(row.get_by_role("checkbox")).to_be_checked()
    await expect(tab.page.locator("[data-selected=true]")).to_have_count(1)
    await tab.page.keyboard.press("Space")
    await expect(row.get_by_role("checkbox")).not_to_be_checked()
    assert await tab.page.evaluate("scrollY") == scroll


async def test_keys_select_only_an_active_row_and_not_below_an_open_menu(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    await expect(tab.page.locator("tbody tr").nth(1)).to_be_visible()
    await tab.page.keyboard.press("x")
    await tab.page.keyboard.press("?")
    await expect(tab.page.locator(".shortcuts")).to_contain_text("show these keys")
    await tab.page.keyboard.press("j")
    await tab.page.keyboard.press("Escape")
    await expect(tab.page.get_by_role("button", name="Menu")).to_be_focused()
    await tab.page.keyboard.press("Shift+J")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()
    await expect(tab.page.get_by_label("Selection")).to_contain_text("1 result selected")
    await expect(tab.page.locator("tr[data-selected='true']")).to_have_attribute("data-index", "0")


async def test_list_of_keys_is_scrolled_by_keys_in_a_low_window(tab: BoardTab) -> None:
    await tab.page.set_viewport_size({"width": 360, "height": 320})
    await tab.open_demo("/waiting")
    await expect(tab.heading("Waiting")).to_be_focused()
    await tab.page.keyboard.press("?")
    await expect(tab.page.get_by_role("region", name="Keys")).to_be_focused()
    assert await tab.axe_violations() == []
    last = tab.page.get_by_text("t Today, r Results")
    await expect(last).not_to_be_in_viewport()
    await tab.page.keyboard.press("End")
    await expect(last).to_be_in_viewport(ratio=1)
    await tab.page.keyboard.press("Escape")
    await expect(tab.page.get_by_role("button", name="Menu")).to_be_focused()


async def test_back_leads_to_the_row_whose_post_was_opened_by_mouse(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    link = tab.page.locator("tr[data-index='15'] a")
    for index in range(16):
        await expect(tab.page.locator(f"tr[data-index='{index}']")).to_be_visible()
        await tab.page.keyboard.press("j")
        await expect(tab.page.locator(f"tr[data-index='{index}']")).to_be_focused()
    row_id = await link.get_attribute("href")
    await link.dispatch_event("click")  # at once, while the list may still scroll
    await expect(tab.page.get_by_role("link", name="← Results")).to_be_visible()
    await tab.page.keyboard.press("u")
    row = tab.page.locator("tbody tr[tabindex='0']")
    await expect(row).to_have_attribute("data-index", "15")
    await expect(row).to_be_in_viewport()
    await expect(row.locator("a")).to_have_attribute("href", str(row_id))


async def test_selection_is_still_there_after_a_post_was_opened(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    rows = tab.page.locator("tbody tr")
    await expect(rows.nth(2)).to_be_visible()
    for key in ("j", "x", "j", "j", "x", "Enter"):
        await tab.page.keyboard.press(key)
    await expect(tab.page.get_by_role("link", name="← Results")).to_be_visible()
    await tab.page.keyboard.press("u")
    bar = tab.page.get_by_role("region", name="Selection")
    await expect(bar).to_contain_text("2 results selected")
    await expect(rows.nth(2).get_by_role("checkbox")).to_be_checked()
    await tab.page.keyboard.press("g")
    await tab.page.keyboard.press("r")
    await expect(tab.page).to_have_url(re.compile("/results$"))
    await expect(rows.nth(2)).to_be_visible()
    await expect(bar).to_have_count(0)


async def test_selection_is_restored_only_once(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    rows = tab.page.locator("tbody tr")
    await expect(rows.nth(2)).to_be_visible()
    await tab.page.keyboard.press("j")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()  # a frame later
    for key in ("*", "Enter"):
        await tab.page.keyboard.press(key)
    await expect(tab.page.get_by_role("link", name="← Results")).to_be_visible()
    await tab.page.keyboard.press("u")
    bar = tab.page.get_by_role("region", name="Selection")
    await expect(bar).to_contain_text("results that match")
    await bar.get_by_role("button", name="Clear").click()
    await expect(bar).to_have_count(0)

    await tab.page.keyboard.press("g")
    await tab.page.keyboard.press("t")
    await expect(tab.heading("Today")).to_be_visible()
    await tab.page.go_back()
    await expect(rows.nth(2)).to_be_visible()
    await expect(bar).to_have_count(0)


async def test_brackets_lead_to_the_other_posts_of_the_list(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED&order=CREATED_AT")
    links = tab.page.locator("tbody tr a")
    await expect(links.nth(5)).to_be_visible()
    hrefs = await links.evaluate_all("links => links.map(link => link.getAttribute('href'))")
    first, second, third = list(dict.fromkeys(hrefs))[:3]
    await links.first.click()
    await expect(tab.page.get_by_role("link", name="← Results")).to_be_visible()
    for key, path in [("[", first), ("]", second), ("]", third), ("[", second)]:
        await tab.page.keyboard.press(key)
        await expect(tab.page).to_have_url(tab.board_url.removesuffix("/board") + path)
    await expect(tab.page.get_by_role("link", name="← Results")).to_be_visible()
    await tab.page.keyboard.press("u")
    await expect(tab.page.locator("tbody tr[tabindex='0'] a")).to_have_attribute("href", second)


async def test_retry_key_asks_about_the_active_row_without_a_selection(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=FAILED&order=CREATED_AT")
    row = tab.page.locator("tr[data-index='0']")
    await expect(row).to_be_visible()
    dialog = tab.page.get_by_role("dialog")
    await tab.page.keyboard.press("r")
    await expect(dialog).to_have_count(0)
    await tab.page.keyboard.press("j")
    await tab.page.keyboard.press("r")
    await expect(dialog.get_by_role("list", name="What it is about")).to_contain_text(
        await row.locator(".cell-post").inner_text()
    )


async def test_key_of_new_rows_does_nothing_without_them(tab: BoardTab) -> None:
    reads: list[bool] = []
    tab.page.on("request", lambda request: reads.append(_reads_results(request)))
    await Feed().serve(tab.page)
    await tab.open_demo("/results?order=CREATED_AT&direction=ASC")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(tab.page.get_by_role("button", name="200 rows loaded")).to_be_attached()
    read_count = sum(reads)
    for key in (".", "j"):
        await tab.page.keyboard.press(key)
    await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()
    assert sum(reads) == read_count


@pytest.mark.parametrize("viewport", [NARROW, WIDE])
async def test_button_for_more_rows_stays_in_view_while_it_has_the_focus(
    tab: BoardTab, viewport: ViewportSize
) -> None:
    await tab.page.set_viewport_size(viewport)
    await tab.open_demo("/results?order=CREATED_AT&direction=ASC")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    await tab.page.keyboard.press("j")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()
    await tab.page.keyboard.press("Tab")
    for count in (100, 200, 300):
        button = tab.page.get_by_role("button", name=f"Show more; {count} rows loaded")
        await expect(button).to_be_focused()
        await expect(tab.page.locator(f"tr[data-index='{count - 1}']")).to_be_in_viewport()
        await expect(button).to_be_in_viewport(ratio=1)
        await tab.page.keyboard.press("Enter")


async def test_slash_leads_to_the_search(tab: BoardTab) -> None:
    await tab.open_demo()
    await expect(tab.heading("Failed today, by cause")).to_be_visible()
    await expect(tab.page.locator(".skeleton")).to_have_count(0)
    await tab.page.keyboard.press("/")
    await expect(tab.page.locator("tbody tr").first).to_be_visible()
    await tab.page.keyboard.press("/")
    await expect(tab.page.get_by_label("Text of the post")).to_be_focused()


def _reads_results(request: Request) -> bool:
    return "orderBy" in request_body(request).get("variables", {})
