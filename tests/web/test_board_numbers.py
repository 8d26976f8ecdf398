"""Statistics of the board in Chromium: numbers, charts, tables, and their URLs."""

import csv
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.servers import DEMO_KEY, ServerProcess
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab
from tests.web.page_session import PageServer

TODAY = datetime.now(UTC).date()
FIRST, LAST = TODAY - timedelta(days=12), TODAY - timedelta(days=4)
PERIOD = f"from={FIRST}&to={LAST}"
"""Nine days whose outcomes do not change any more."""
HOSTILE_NAME = "<b>bold</b>\u202e{{7*7}}"

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, demo_server.url, timezone_id="UTC") as tab:
        yield tab


class Stats:
    """Statistics of the period in the demo workspace, by the API."""

    def __init__(self, server: ServerProcess) -> None:
        self._api = BoardApi(server.url, DEMO_KEY)

    def read(self, fields: str, *, group_by: str = "[]") -> dict[str, Any]:
        period = f'from: "{FIRST}T00:00:00Z", to: "{LAST + timedelta(days=1)}T00:00:00Z"'
        stats = self._api.execute(
            f"{{ outcomeStats({period}, groupBy: {group_by}) {{ buckets {{ {fields} }} }} }}"
        )
        (bucket,) = stats["buckets"]
        return dict(bucket)


@pytest.fixture
def stats(demo_server: ServerProcess) -> Stats:
    return Stats(demo_server)


async def test_numbers_are_those_of_the_api_and_lead_to_their_rows(
    tab: BoardTab, stats: Stats
) -> None:
    counts = stats.read(
        "counts { published failed userCaused unknown firstTry savedByRetry attempts successRate }"
    )["counts"]
    await tab.open_demo(f"/numbers?{PERIOD}")
    await expect(tab.heading("Numbers")).to_be_focused()
    ended = counts["published"] + counts["failed"] + counts["unknown"]
    sentence = tab.page.locator(".sentence")
    await expect(sentence).to_contain_text(f"published: {counts['published']} of {ended} results.")
    percent = float((await sentence.inner_text()).split("%", maxsplit=1)[0])
    assert percent == pytest.approx(100 * counts["successRate"], abs=0.051)
    cards = tab.page.locator(".number strong")
    names = ("published", "failed", "userCaused", "unknown")
    assert await cards.all_inner_texts() == [str(counts[name]) for name in names]
    await expect(tab.page.locator("main")).to_contain_text(
        f"{counts['firstTry']} were published at the first attempt, {counts['savedByRetry']} after a retry."
        f" {counts['attempts']} attempts started."
    )
    await tab.page.get_by_role("link", name=f"{counts['failed']} failed", exact=True).click()
    await expect(tab.heading("Results")).to_be_visible()
    results = "result" if counts["failed"] == 1 else "results"
    await expect(tab.page.locator(".list-bar p")).to_have_text(f"{counts['failed']} {results}")


async def test_charts_have_a_sentence_a_keyboard_cursor_and_a_table(tab: BoardTab) -> None:
    await tab.open_demo(f"/numbers?{PERIOD}")
    charts = tab.page.get_by_role("img")
    await expect(charts).to_have_count(3)
    await expect(tab.page.locator("canvas")).to_have_count(3)
    outcomes = tab.page.get_by_role("figure", name="Outcomes")
    await tab.page.mouse.move(0, 0)  # the chart follows the mouse too
    await outcomes.get_by_role("img").focus()
    await tab.page.keyboard.press("End")
    await tab.page.keyboard.press("ArrowRight")
    await tab.expect_default_action("Alt+ArrowLeft")
    await outcomes.get_by_text("Outcomes as a table").click()
    rows = outcomes.locator("tbody tr")
    await expect(rows).to_have_count(9)
    day = f"{LAST:%a} {LAST.day} {LAST:%b}"
    published, failed, unknown = await rows.last.locator("td").all_inner_texts()
    readout = f"{day}: published {published}, failed {failed}, unknown outcome {unknown}"
    await expect(outcomes.locator(".readout")).to_have_text(readout)
    await expect(outcomes.locator(".u-cursor-x")).to_be_visible()
    await tab.page.emulate_media(color_scheme="dark")
    assert await tab.axe_violations() == []


async def test_tables_by_platform_account_cause_and_hour_are_in_the_url(
    tab: BoardTab, stats: Stats
) -> None:
    by_account = stats.read("groups { accountId counts { failed unknown } }", group_by="[ACCOUNT]")
    by_hour = stats.read(
        "groups { counts { published failed unknown } }", group_by="[HOUR_OF_WEEK]"
    )
    await tab.open_demo(f"/numbers?{PERIOD}")
    table_by = tab.page.get_by_label("Table by")
    await table_by.focus()
    await table_by.select_option("ACCOUNT")
    await expect(tab.page).to_have_url(f"{tab.board_url}/numbers?{PERIOD}&by=ACCOUNT")
    accounts = tab.page.get_by_role("table", name="Outcomes by account")
    await expect(accounts.locator("tbody tr")).to_have_count(len(by_account["groups"]))
    await expect(table_by).to_be_focused()

    cells = await tab.page.locator(".heat-map td").all_inner_texts()
    assert len(cells) == 7 * 24
    shares = [cell.split("/") for cell in cells if cell]
    expected = [group["counts"] for group in by_hour["groups"]]
    failures = sum(counts["failed"] + counts["unknown"] for counts in expected)
    assert sum(int(bad) for bad, _ in shares) == failures
    assert sum(int(ended) for _, ended in shares) == failures + sum(
        counts["published"] for counts in expected
    )

    await table_by.select_option("CATEGORY")
    causes = tab.page.get_by_role("table", name="Failures by cause")
    await expect(causes).to_contain_text("The platform rejected the content")
    await table_by.select_option("ACCOUNT")
    worst = max(
        by_account["groups"],
        key=lambda group: group["counts"]["failed"] + group["counts"]["unknown"],
    )
    await expect(accounts).to_be_visible()
    await accounts.locator(f"a[href$='by=ACCOUNT&account={worst['accountId']}']").click()
    account = tab.page.get_by_role("combobox", name="Account", exact=True)
    await expect(account).to_have_value(str(worst["accountId"]))
    await expect(tab.page.locator(".number strong").nth(1)).to_have_text(
        str(worst["counts"]["failed"])
    )


async def test_hours_of_one_week_lead_to_their_results(tab: BoardTab) -> None:
    await tab.open_demo(f"/numbers?{PERIOD}")
    hours = tab.page.locator(".heat-map")
    await expect(hours).to_contain_text("In a period of at most seven days, the numbers lead to")
    await expect(hours.get_by_role("link")).to_have_count(0)
    week = f"/numbers?from={LAST - timedelta(days=6)}&to={LAST}"
    await tab.open(week)
    await expect(hours).to_contain_text("/")
    cells = [cell.split("/") for cell in await hours.locator("td").all_inner_texts() if cell]
    failing = [(int(bad), int(ended)) for bad, ended in cells if bad != "0"]
    await expect(hours.get_by_role("link")).to_have_count(len(failing))
    await expect(hours).not_to_contain_text("In a period of at most seven days")
    assert await tab.axe_violations() == []
    for index, (bad, _) in enumerate(failing[:2]):
        await hours.get_by_role("link").nth(index).click()
        await expect(tab.page.locator(".list-bar p")).to_have_text(re.compile(f"^{bad} results?$"))
        await tab.page.go_back()
    await tab.open(f"{week}&heat=late")
    await hours.get_by_role("link").first.click()
    first = next(int(ended) - int(bad) for bad, ended in cells if bad != ended)
    await expect(tab.page.locator(".list-bar p")).to_have_text(re.compile(f"^{first} results?$"))
    await expect(tab.page.get_by_label("Order by")).to_have_value("LATENESS")


async def test_charts_and_tables_are_saved_as_csv(tab: BoardTab, stats: Stats) -> None:
    by_platform = stats.read(
        "groups { platform counts { successRate published failed unknown savedByRetry attempts } }",
        group_by="[PLATFORM]",
    )
    await tab.open_demo(f"/numbers?{PERIOD}")
    over_time = await save_csv(tab, "Over time")
    assert over_time.name == f"outcomes-by-day-{FIRST}-{LAST}.csv"
    assert [row["start"] for row in over_time.rows] == [
        f"{FIRST + timedelta(days=day)}T00:00:00.000Z" for day in range(9)
    ]
    assert [*over_time.rows[0]] == [
        *("start", "success_rate", "published", "failed", "unknown"),
        *("lateness_p50_seconds", "lateness_p95_seconds"),
    ]
    outcomes = tab.page.get_by_role("figure", name="Outcomes")
    await outcomes.get_by_text("Outcomes as a table").click()
    cells = await outcomes.locator("tbody td").all_inner_texts()
    names = ("published", "failed", "unknown")
    assert [row[name] for row in over_time.rows for name in names] == cells

    groups = await save_csv(tab, "By platform")
    assert groups.name == f"outcomes-by-platform-{FIRST}-{LAST}.csv"
    columns = {
        **{name: name for name in ("published", "failed", "unknown", "attempts")},
        "success_rate": "successRate",
        "saved_by_retry": "savedByRetry",
    }
    assert {
        row["platform"].lower(): {name: number_in(row[name]) for name in columns}
        for row in groups.rows
    } == {
        group["platform"]: {name: group["counts"][key] for name, key in columns.items()}
        for group in by_platform["groups"]
    }


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A file that the browser has saved."""

    name: str
    rows: list[dict[str, str]]


async def save_csv(tab: BoardTab, section: str) -> SavedTable:
    """Press the button of a section of the page."""
    button = tab.page.get_by_role("region", name=section, exact=True).get_by_role(
        "button", name="Download CSV"
    )
    async with tab.page.expect_download() as started:
        await button.click()
    download = await started.value
    text = (await download.path()).read_text("utf-8")
    return SavedTable(download.suggested_filename, [*csv.DictReader(text.splitlines())])


def number_in(cell: str) -> float | None:
    return float(cell) if cell else None


async def test_nonsense_in_the_url_is_ignored_and_long_periods_are_cut(tab: BoardTab) -> None:
    nonsense = "period=9d&from=2026-13-01&to=x&interval=YEAR&by=NO&heat=1&account=-1&platform=%00"
    await tab.open_demo(f"/numbers?{nonsense}")
    await expect(tab.page.get_by_label("Period")).to_have_value("7d")
    await expect(tab.page.get_by_role("img")).to_have_count(3)
    await tab.open("/numbers?from=2001-01-01&to=2026-11-01&interval=HOUR")
    await expect(tab.page.locator("main")).to_contain_text("A period has at most 366 days.")
    await expect(tab.page.locator("main")).to_contain_text("1 November 2025 – 1 November 2026")
    await expect(tab.page.get_by_label("Charts by")).to_have_value("WEEK")
    assert await tab.page.get_by_label("Charts by").locator("option").all_inner_texts() == [
        "day",
        "week",
    ]
    await expect(tab.page.get_by_role("img")).to_have_count(3)
    await expect(tab.page.locator(".error-panel")).to_have_count(0)


async def test_period_and_own_dates_are_chosen_in_the_page(tab: BoardTab) -> None:
    await tab.open_demo("/numbers")
    await tab.page.get_by_label("Period").select_option("30d")
    await expect(tab.page).to_have_url(f"{tab.board_url}/numbers?period=30d")
    await tab.page.get_by_label("Period").select_option("own")
    await tab.page.get_by_label("From").fill(str(FIRST))
    await tab.page.get_by_label("To", exact=True).fill(str(LAST))
    await tab.page.keyboard.press("Enter")
    await expect(tab.page).to_have_url(f"{tab.board_url}/numbers?{PERIOD}")
    await tab.page.get_by_label("Charts by").select_option("HOUR")
    await expect(tab.page).to_have_url(f"{tab.board_url}/numbers?{PERIOD}&interval=HOUR")


async def test_empty_period_says_so_and_changes_without_a_reload(
    browser: Browser, page_server: PageServer
) -> None:
    api = BoardApi(page_server.url, page_server.key)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/numbers?by=ACCOUNT")
        await tab.sign_in(page_server.key)
        sentence = tab.page.locator(".sentence")
        await expect(sentence).to_have_text(
            "Nothing ended in this period, so that there is no success rate."
        )
        await tab.expect_live()
        account_id = api.connect(HOSTILE_NAME)
        api.record_failure(api.create_post(content="A post", accountIds=[account_id]), account_id)
        await expect(sentence).to_have_text("0% published: 0 of 1 result.")
        row = tab.page.get_by_role("table", name="Outcomes by account").locator("tbody tr")
        await expect(row).to_contain_text("<b>bold</b>{{7*7}} (X)")
        assert await tab.page.locator("main b").count() == 0

        outcomes = tab.page.get_by_role("figure", name="Outcomes")
        await outcomes.get_by_role("img").focus()
        await tab.page.keyboard.press("End")
        await expect(outcomes.locator(".readout")).to_contain_text("failed 1,")
        api.record_failure(api.create_post(content="A post", accountIds=[account_id]), account_id)
        await expect(outcomes.locator(".readout")).to_contain_text("failed 2,")
        await expect(outcomes.locator(".u-cursor-x")).to_be_visible()
