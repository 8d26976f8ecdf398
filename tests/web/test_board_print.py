"""Prints of the board in Chromium with the demo data."""

import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab

PATHS = (
    *("", "/results", f"/posts/{DEMO_POST}", "/unknown", "/failures", "/waiting", "/accounts"),
    *(
        "/accounts/2285",
        "/numbers",
        "/calendar",
        "/calendar/day",
        "/activity",
        "/webhooks",
        "/nowhere",
    ),
)
ZONE = "Asia/Tokyo"
PAGE_SIZE = 100
FIRST_ROWS = "The first 100 rows; more match."
TIME = r"\w+ \d+ \w+ \d{4}, \d\d:\d\d:\d\d GMT\+9 \(Asia/Tokyo\)"

RECORD_PRINT = """
() => addEventListener("beforeprint", () => {
    window.printed = {
        lines: [...document.querySelectorAll(".print-heading li")].map((line) => line.textContent),
        notes: [...document.querySelectorAll("p.print-only")].map((note) => note.textContent),
        rows: document.querySelectorAll("tbody.print-only > tr").length,
    };
}, {once: true})
"""
"""Records what is added to the page for a print, after the page has added it."""

VISIBLE_CONTROLS = """
() => [...document.querySelectorAll(
    ".header, nav:not(.triage-list), button, .button, input, select, form, search, .notices"
)].filter((element) => element.checkVisibility()).map((element) => element.outerHTML)
"""
COLORS = """
() => {
    const text = [...document.querySelectorAll("h1, main p, main a, main td, main .status")]
        .filter((element) => element.checkVisibility());
    const colors = new Set(text.map((element) => getComputedStyle(element).color));
    return [...colors, getComputedStyle(document.documentElement).backgroundColor];
}
"""
LAYOUT = """
() => [".table", "thead", "tbody.print-only", "tbody.print-only > tr", "tbody.print-only td:last-child"].map(
    (selector) => getComputedStyle(document.querySelector(selector)).display
)
"""
SPLITS = """
() => [...document.querySelectorAll("tbody.print-only > tr")].map((row) => getComputedStyle(row).breakInside)
"""

BAR_COLORS = """
() => Object.fromEntries([...document.querySelectorAll(".share-bar [class^=tone-]")].map((part) => {
    const { fill, printColorAdjust } = getComputedStyle(part);
    return [part.classList[0], [fill, printColorAdjust]];
}))
"""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


async def print_page(tab: BoardTab) -> dict[str, Any]:
    """Print; returns what was added to the page for it, and the number of pages."""
    await tab.page.evaluate(RECORD_PRINT)
    document = await tab.page.pdf(format="A4")
    added: dict[str, Any] = await tab.page.evaluate("window.printed")
    return {**added, "pages": len(re.findall(rb"/Type\s*/Page\b", document))}


async def test_all_loaded_rows_are_printed_with_the_filter_zone_and_time(
    browser: Browser, demo_server: ServerProcess
) -> None:
    filter_ = '{ destinations(filter: {status: [PUBLISHED], platform: ["x"]}) { totalCount } }'
    count = BoardApi(demo_server.url, DEMO_KEY).execute(filter_)["totalCount"]
    async with open_tab(browser, demo_server.url, timezone_id=ZONE) as tab:
        await tab.open_demo("/results?status=PUBLISHED&platform=x")
        table = tab.page.get_by_role("table", name="Results")
        await expect(table).to_have_attribute("aria-rowcount", str(1 + count))
        await tab.expect_live()
        await expect(table.locator("tbody tr").first).to_be_visible()
        assert await table.locator("tbody tr").count() < count
        printed = await print_page(tab)
        scope, about, at = printed["lines"]
        assert (scope, about) == ("Status: Published", "Platform: X")
        assert re.fullmatch(f"Demo, as of {TIME}", at)
        assert printed["rows"] == min(count, PAGE_SIZE)
        assert printed["notes"] == ([FIRST_ROWS] if count > PAGE_SIZE else [])
        assert printed["pages"] > 1
        await expect(tab.page.locator("tbody.print-only, .print-heading")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_prints_are_black_on_white_without_controls(
    browser: Browser, demo_server: ServerProcess, scheme: Any
) -> None:
    async with open_tab(browser, demo_server.url, color_scheme=scheme, timezone_id=ZONE) as tab:
        await tab.open_demo()
        await expect(tab.heading("Today")).to_be_visible()
        for path in PATHS:
            await tab.open(path)
            await expect(tab.page.locator("h1")).to_be_visible()
            await expect(tab.page.locator(".skeleton")).to_have_count(0)
            await tab.page.emulate_media(media="print", color_scheme=scheme)
            assert await tab.page.evaluate(VISIBLE_CONTROLS) == [], path
            assert await tab.page.evaluate(COLORS) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"], path
            await tab.page.emulate_media(media="screen", color_scheme=scheme)
            printed = await print_page(tab)
            assert re.fullmatch(f"Demo, as of {TIME}", printed["lines"][-1]), path


async def test_printed_table_repeats_its_header_and_splits_no_row(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url, color_scheme="dark") as tab:
        await tab.open_demo("/results?status=PUBLISHED")
        await expect(tab.page.locator("tbody tr").first).to_be_visible()
        await tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        await tab.page.emulate_media(media="print")
        assert await tab.page.evaluate(LAYOUT) == [
            *("table", "table-header-group", "table-row-group", "table-row", "table-cell")
        ]
        assert set(await tab.page.evaluate(SPLITS)) == {"avoid"}
        await expect(tab.page.locator("tbody:not(.print-only)")).to_be_hidden()
        assert await tab.page.evaluate("document.documentElement.dataset.theme") == "light"
        await tab.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert await tab.page.evaluate("document.documentElement.dataset.theme") == "system"


async def test_parts_of_a_printed_bar_have_the_colors_of_the_light_page(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url, color_scheme="light") as tab:
        await tab.open_demo("/numbers")
        await expect(tab.page.locator(".share-bar").first).to_be_visible()
        shown = await tab.page.evaluate(BAR_COLORS)
        assert shown.keys() == {"tone-good", "tone-bad", "tone-warning"}
        await tab.page.emulate_media(media="print", color_scheme="dark")
        await tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert await tab.page.evaluate(BAR_COLORS) == {
            tone: [fill, "exact"] for tone, (fill, _) in shown.items()
        }
