"""The board in Chromium in a narrow window, whose bars must not cover what has the focus."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, ViewportSize, expect

from tests.servers import DEMO_POST, ServerProcess
from tests.web.board_tab import NARROW, WIDE, BoardTab, open_tab

ROWS = 12
BAR_PAGES = ["Today", "Results", "Unknown", "Failures"]
_LINES = """(heading) => {
    const range = document.createRange();
    range.selectNodeContents(heading);
    return range.getClientRects().length;
}"""
# Position of the focused element, and of the bars below it.
_POSITIONS = """
    const { top, bottom } = document.activeElement.getBoundingClientRect();
    const boxes = (selector, position) =>
        [...document.querySelectorAll(selector)]
            .filter((bar) => getComputedStyle(bar).position === position)
            .map((bar) => bar.getBoundingClientRect());
    const below = [...boxes(".navigation", "fixed"), ...boxes(".selection-bar", "sticky")];
"""
_IS_BETWEEN_BARS = f"""() => {{
    {_POSITIONS}
    const above = [...boxes(".top-bars", "sticky"), ...boxes("thead", "sticky")];
    return above.every((bar) => top >= bar.bottom) && below.every((bar) => bottom <= bar.top);
}}"""
# Part of the focused row that no bar covers, in pixels.
_UNCOVERED_HEIGHT = f"""() => {{
    {_POSITIONS}
    const above = boxes(".top-bars", "sticky").map((bar) => bar.bottom);
    return Math.min(bottom, innerHeight, ...below.map((bar) => bar.top)) - Math.max(top, 0, ...above);
}}"""
_PRESS_IN_ONE_FRAME = """(keys) => {
    for (const key of keys)
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
}"""
_NEXT_FRAME = """() =>
    new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"""
# Controls of the shown card whose upper or lower edge is behind something else.
_COVERED_CONTROLS = """() =>
    [...document.querySelectorAll("article.card :is(a, button, input)")]
        .filter((control) => {
            const { left, right, top, bottom } = control.getBoundingClientRect();
            const isSeen = (y) => control.contains(document.elementFromPoint((left + right) / 2, y));
            return !isSeen(top + 2) || !isSeen(bottom - 2);
        })
        .map((control) => control.outerHTML)"""

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, demo_server.url, viewport=NARROW) as tab:
        yield tab


@pytest.mark.parametrize("viewport", [NARROW, WIDE])
async def test_rows_that_take_the_focus_are_between_the_bars(
    tab: BoardTab, viewport: ViewportSize
) -> None:
    await tab.page.set_viewport_size(viewport)
    await tab.open_demo("/results")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    await tab.page.keyboard.press("j")
    await tab.page.keyboard.press("x")
    await expect(tab.page.get_by_label("Selection")).to_be_visible()
    steps = [("j", index) for index in range(1, ROWS)]
    steps += [("k", index) for index in reversed(range(ROWS - 1))]
    covered = []
    for key, index in steps:
        await tab.page.keyboard.press(key)
        await expect(tab.page.locator(f"tr[data-index='{index}']")).to_be_focused()
        if not await tab.page.evaluate(_IS_BETWEEN_BARS):
            covered.append((key, index))
    assert covered == []


async def test_row_that_takes_the_focus_as_the_selection_appears_is_above_it(tab: BoardTab) -> None:
    await tab.page.set_viewport_size({"width": 360, "height": 720})
    await tab.open_demo("/results")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    await tab.page.keyboard.press("j")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()
    await tab.page.evaluate(_PRESS_IN_ONE_FRAME, ["x", "j"])
    await expect(tab.page.locator("tr[data-index='1']")).to_be_focused()
    await expect(tab.page.get_by_label("Selection")).to_be_visible()
    assert await tab.page.evaluate(_IS_BETWEEN_BARS)


@pytest.mark.parametrize("selecting_keys", ["*", "x*"])
@pytest.mark.parametrize(("width", "height"), [(320, 568), (360, 640), (412, 700)])
async def test_row_with_the_focus_stays_between_the_bars_when_the_selection_grows(
    tab: BoardTab, width: int, height: int, selecting_keys: str
) -> None:
    await tab.page.set_viewport_size({"width": width, "height": height})
    await tab.open_demo("/results")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    for index in range(2):
        await tab.page.keyboard.press("j")
        await expect(tab.page.locator(f"tr[data-index='{index}']")).to_be_focused()
    for key in selecting_keys:
        await tab.page.keyboard.press(key)
        await expect(tab.page.get_by_label("Selection")).to_be_visible()
    await tab.page.evaluate(_NEXT_FRAME)
    covered = [] if await tab.page.evaluate(_IS_BETWEEN_BARS) else [selecting_keys]
    for key, index in [("j", 2), ("k", 1)]:
        await tab.page.keyboard.press(key)
        await expect(tab.page.locator(f"tr[data-index='{index}']")).to_be_focused()
        if not await tab.page.evaluate(_IS_BETWEEN_BARS):
            covered.append(key)
    assert covered == []


async def test_page_does_not_scroll_back_to_the_focus_when_the_selection_appears(
    tab: BoardTab,
) -> None:
    await tab.open_demo("/results")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    heading = tab.heading("Results")
    await expect(heading).to_be_focused()
    for top in (0, -500):  # behind the bar at the top, and outside of the window
        await heading.evaluate("(e, top) => scrollBy(0, e.getBoundingClientRect().top - top)", top)
        position = await tab.page.evaluate("scrollY")
        await tab.page.keyboard.press("*")
        await expect(tab.page.get_by_label("Selection")).to_be_visible()
        await tab.page.evaluate(_NEXT_FRAME)
        await expect(heading).to_be_focused()
        assert await tab.page.evaluate("scrollY") == position > 0
        clear = tab.page.get_by_role("button", name="Clear", exact=True)
        await clear.dispatch_event("click")  # without the focus


async def test_selection_leaves_space_for_a_row_in_a_low_window(tab: BoardTab) -> None:
    await tab.page.set_viewport_size({"width": 320, "height": 481})
    await tab.open_demo("/results")
    await tab.expect_live()
    row = tab.page.locator("tr[data-index='0']")
    await expect(row).to_be_visible()
    await tab.page.keyboard.press("j")
    await expect(row).to_be_focused()
    await tab.page.keyboard.press("*")
    await expect(tab.page.get_by_label("Selection")).to_be_visible()
    height = await row.evaluate("row => row.getBoundingClientRect().height")
    assert await tab.page.evaluate(_UNCOVERED_HEIGHT) >= min(height, 150)
    assert await tab.axe_violations() == []


async def test_button_of_the_selection_with_the_focus_stays_in_view_when_that_grows(
    tab: BoardTab,
) -> None:
    await tab.page.set_viewport_size({"width": 320, "height": 568})
    await tab.open_demo("/results")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    await tab.page.keyboard.press("j")
    await tab.page.keyboard.press("x")
    clear = tab.page.get_by_label("Selection").get_by_role("button", name="Clear")
    await clear.focus()
    await tab.page.keyboard.press("*")
    await expect(tab.page.get_by_label("Selection")).to_contain_text("that match")
    await expect(clear).to_be_focused()
    await expect(clear).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("width", [320, 360, 412, 768])
async def test_bar_at_the_top_keeps_its_height_when_the_page_is_live(
    tab: BoardTab, width: int
) -> None:
    bar = tab.page.locator(".top-bars")
    await tab.page.set_viewport_size({"width": width, "height": 800})
    await tab.open_demo()
    await tab.expect_live()
    live_box = await bar.bounding_box()
    await tab.page.route_web_socket(re.compile(""), lambda _: None)  # opens, and answers nothing
    await tab.page.reload()
    await expect(bar).to_contain_text("Connecting…")
    assert await bar.bounding_box() == live_box


async def test_row_with_the_focus_is_not_covered_at_a_zoom_of_400_percent(tab: BoardTab) -> None:
    await tab.page.set_viewport_size({"width": 320, "height": 256})
    await tab.open_demo("/results")
    await tab.expect_live()
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    await tab.page.keyboard.press("j")
    await tab.page.keyboard.press("x")
    await expect(tab.page.get_by_label("Selection")).to_be_visible()
    for index in range(1, 4):
        await tab.page.keyboard.press("j")
        row = tab.page.locator(f"tr[data-index='{index}']")
        await expect(row).to_be_focused()
        height = await row.evaluate("row => row.getBoundingClientRect().height")
        assert await tab.page.evaluate(_UNCOVERED_HEIGHT) >= min(height, 200)


async def test_tab_leads_to_controls_between_the_bars(tab: BoardTab) -> None:
    await tab.open_demo(f"/posts/{DEMO_POST}")
    await expect(tab.page.locator(".timeline li").first).to_be_visible()
    await tab.expect_live()
    covered = []
    while await tab.page.evaluate("document.activeElement.closest('main') !== null"):
        if not await tab.page.evaluate(_IS_BETWEEN_BARS):
            covered.append(await tab.page.evaluate("document.activeElement.outerHTML"))
        await tab.page.keyboard.press("Tab")
    assert covered == []


async def test_no_control_of_an_unknown_outcome_is_covered_at_first(tab: BoardTab) -> None:
    await tab.page.set_viewport_size({"width": 360, "height": 760})
    await tab.open_demo("/unknown")
    await expect(tab.page.get_by_role("button", name="It is published")).to_be_visible()
    assert await tab.page.evaluate("scrollY") == 0
    assert await tab.page.evaluate(_COVERED_CONTROLS) == []


async def test_bar_has_four_pages_and_a_menu_of_the_others(tab: BoardTab) -> None:
    await tab.open_demo("/waiting")
    navigation = tab.page.get_by_role("navigation", name="Board")
    bar = navigation.get_by_role("link")
    await expect(bar).to_have_text(BAR_PAGES)
    assert await navigation.evaluate("bar => bar.scrollWidth <= bar.clientWidth")
    more = navigation.get_by_role("button", name="More")
    await expect(more).to_have_attribute("aria-current", "true")
    await more.click()
    await expect(bar).to_have_text(
        [*BAR_PAGES, "Waiting", "Accounts", "Numbers", "Calendar", "Activity"]
    )
    await navigation.get_by_role("link", name="Accounts").click()
    await expect(tab.heading("Accounts")).to_be_focused()
    await expect(bar).to_have_count(4)
    await bar.get_by_text("Results").click()
    await expect(tab.heading("Results")).to_be_focused()
    await expect(more).not_to_have_attribute("aria-current", "true")


@pytest.mark.parametrize("width", [320, 360, 768])
async def test_menu_is_as_wide_as_its_content_also_in_a_zone_with_a_long_name(
    browser: Browser, demo_server: ServerProcess, width: int
) -> None:
    zone = "America/North_Dakota/New_Salem"
    viewport = ViewportSize(width=width, height=800)
    async with open_tab(browser, demo_server.url, viewport=viewport, timezone_id=zone) as tab:
        await tab.open_demo()
        await tab.page.get_by_role("button", name="Menu").click()
        menu = tab.page.get_by_role("region", name="Menu")
        await expect(menu.get_by_label("Time zone")).to_have_value(zone)
        assert await menu.evaluate("menu => menu.scrollWidth <= menu.clientWidth")


async def test_wide_window_has_all_pages_in_its_bar(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url, viewport=WIDE) as tab:
        await tab.open_demo()
        navigation = tab.page.get_by_role("navigation", name="Board")
        await expect(navigation.get_by_role("link")).to_have_count(9)
        await expect(navigation.get_by_role("button")).to_have_count(0)


async def test_headings_of_one_word_are_not_broken_in_wide_windows(tab: BoardTab) -> None:
    await tab.open_demo("/results")
    await expect(tab.page.locator("tr[data-index='0']")).to_be_visible()
    headings = tab.page.locator(".results-table th")
    for width in (360, 768, 961, 1024, 1440):
        await tab.page.set_viewport_size({"width": width, "height": 800})
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width
        lines = [await heading.evaluate(_LINES) for heading in await headings.all()]
        assert width < 961 or lines[:-1] == [1, 1, 1, 1, 1, 1], width


async def test_results_begin_in_the_upper_half_below_folded_filters(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=FAILED&account=2285")
    row = tab.page.locator("tr[data-index='0']")
    await expect(row).to_be_visible()
    box = await row.bounding_box()
    assert box is not None
    assert box["y"] < NARROW["height"] / 2
    await expect(tab.page.get_by_label("Status")).to_have_count(0)
    await tab.page.get_by_text("Filters (2)").click()
    await tab.page.get_by_label("Status").select_option("QUEUED")
    await expect(tab.page).to_have_url(f"{tab.board_url}/results?status=QUEUED&account=2285")
    await expect(tab.page.get_by_label("Status")).to_have_value("QUEUED")


@pytest.mark.parametrize("viewport", [NARROW, WIDE])
async def test_calendar_opens_at_its_controls(tab: BoardTab, viewport: ViewportSize) -> None:
    await tab.page.set_viewport_size(viewport)
    await tab.open_demo("/calendar")
    today = tab.page.locator("td[aria-current=date]")
    await expect(today).to_be_visible()
    await expect(tab.page.get_by_role("link", name="← Previous month")).to_be_in_viewport()
    await expect(tab.page.locator("h1")).to_be_focused()
    assert await tab.page.evaluate("scrollY") == 0
    await tab.page.get_by_role("main").get_by_role("link", name="Today").click()
    await expect(today).to_be_in_viewport()
