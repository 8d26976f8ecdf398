"""The board in Chromium with the demo data: sign-in, and the content of each page."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, expect

from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab

UNKNOWN_KEY = "pe_live_" + "0" * 32
KEY_FORMAT = "A key is pe_live_ followed by 32 digits of 0-9 and a-f."
MAX_FIRST_LOAD_BYTES = 230_000
NEW_YORK = "America/New_York"

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, demo_server.url, timezone_id=NEW_YORK) as tab:
        yield tab


def number_of_results(server: ServerProcess) -> int:
    """Number of results of the demo by the API; it depends on the day on which the demo was loaded."""
    api = BoardApi(server.url, DEMO_KEY)
    count: int = api.execute("{ destinations { totalCount } }")["totalCount"]
    return count


async def test_demo_opens_today_by_one_click_and_one_script(tab: BoardTab) -> None:
    await tab.open_demo()
    await expect(tab.heading("Today")).to_be_focused()
    await expect(tab.page).to_have_title("Today · Demo")
    await expect(tab.page).to_have_url(f"{tab.board_url}/")
    await tab.expect_live()
    await expect(tab.page.locator(".header")).to_contain_text(NEW_YORK)
    sizes = [int(response.headers["content-length"]) for response in tab.responses]
    assert sum(sizes) < MAX_FIRST_LOAD_BYTES
    names = sorted(response.url.rsplit("/", 1)[1].split("-")[0] for response in tab.responses)
    assert [name for name in names if name == "main"] == ["main", "main"]  # script and style


async def test_today_shows_numbers_that_lead_to_their_rows(
    tab: BoardTab, demo_server: ServerProcess
) -> None:
    await tab.open_demo()
    link = tab.page.get_by_role("link", name="with an unknown outcome")
    count = int((await link.inner_text()).split()[0])  # grows when leases of the demo expire
    assert count >= 1
    await link.click()
    await expect(tab.heading("Unknown outcomes")).to_be_focused()
    await tab.open("/results?outcome=UNKNOWN")
    await expect(tab.page.locator(".list-bar p")).to_contain_text(f"{count} result")
    await expect(tab.page.locator("tbody tr")).to_have_count(count)
    await expect(tab.page.locator("tbody .status")).to_have_text(["Unknown outcome"] * count)
    export = await tab.page.get_by_role("link", name="Download CSV").get_attribute("href")
    assert export == "/v1/destinations.csv?outcome=unknown"
    lines = demo_server.get(export, DEMO_KEY).text.splitlines()
    assert len(lines) == 1 + count


async def test_results_of_a_filter_are_in_the_url_and_survive_a_reload(tab: BoardTab) -> None:
    await tab.open_demo("/results")
    await tab.page.get_by_label("Status").select_option("FAILED")
    await expect(tab.page).to_have_url(f"{tab.board_url}/results?status=FAILED")
    await tab.page.get_by_label("Text of the post").fill("the documented example")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.locator(".list-bar p")).to_have_text("1 result")
    await tab.page.reload()
    row = tab.page.locator("tbody tr")
    await expect(row).to_contain_text("Token expired. Please reconnect your LinkedIn account.")
    await expect(row).to_contain_text("Reconnect the account, then retry")
    await tab.page.get_by_role("button", name="Clear filters (2)").click()
    await expect(tab.page).to_have_url(f"{tab.board_url}/results")


async def test_nonsense_in_the_url_is_ignored_and_an_empty_list_offers_all(
    tab: BoardTab, demo_server: ServerProcess
) -> None:
    nonsense = "status=NO&account=-1,x,99999999999999&from=9999-99&order=%00&group=1&period=x&q=%20"
    await tab.open_demo(f"/results?{nonsense}&code=<script>&code=B")
    await expect(tab.page.locator(".empty")).to_contain_text("Nothing matches this filter.")
    await tab.page.get_by_role("link", name="Show all results").click()
    await expect(tab.page.locator(".list-bar")).to_contain_text(
        f"{number_of_results(demo_server):,} results"
    )


async def test_keys_move_select_and_open_rows_and_lead_back_to_the_same_row(tab: BoardTab) -> None:
    await tab.open_demo("/results?status=PUBLISHED")
    rows = tab.page.locator("tbody tr")
    await expect(rows.nth(2)).to_be_visible()
    nodes = await tab.page.evaluate("document.querySelectorAll('*').length")
    assert nodes < 1_500
    for key in ("j", "j", "j"):
        await tab.page.keyboard.press(key)
    await expect(tab.page.locator("tr[data-index='2']")).to_be_focused()
    await tab.page.keyboard.press("x")
    await tab.page.keyboard.press("Shift+J")
    await expect(tab.page.get_by_label("Selection")).to_contain_text("2 results selected")
    post = await tab.page.locator("tr[data-index='3'] a").get_attribute("href")
    assert post is not None
    await expect(tab.page.locator("tr[data-index='3']")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await expect(tab.heading("What happened")).to_be_visible()
    assert tab.page.url.endswith(post)
    await tab.page.keyboard.press("u")
    await expect(tab.page.locator("tr[data-index='3']")).to_have_attribute("tabindex", "0")
    await expect(tab.page).to_have_url(f"{tab.board_url}/results?status=PUBLISHED")
    await tab.page.keyboard.press("g")
    await tab.page.keyboard.press("t")
    await expect(tab.heading("Today")).to_be_focused()


async def test_scrolling_loads_more_rows_and_keeps_few_of_them(
    tab: BoardTab, demo_server: ServerProcess
) -> None:
    await tab.open_demo("/results?order=CREATED_AT&direction=ASC")
    table = tab.page.get_by_role("table", name="Results")
    await expect(table).to_have_attribute("aria-rowcount", str(1 + number_of_results(demo_server)))
    await expect(table.locator("tr[data-index='0']")).to_be_visible()
    await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(tab.page.get_by_role("button", name="200 rows loaded")).to_be_attached()
    assert await table.locator("tbody tr").count() < 60


async def test_row_of_a_further_page_is_in_view_after_its_post_was_opened(tab: BoardTab) -> None:
    await tab.open_demo("/results?order=CREATED_AT&direction=ASC")
    first_row = tab.page.locator("tr[data-index='0']")
    await expect(first_row).to_be_visible()
    for count in (200, 300):
        await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        more = tab.page.get_by_role("button", name=f"{count} rows loaded")
        await expect(more).to_be_attached()
    row = tab.page.locator("tr[data-index='195']")
    text = await row.inner_text()
    await row.locator(".cell-post a").click()
    await expect(tab.heading("What happened")).to_be_visible()
    await tab.page.keyboard.press("u")

    await expect(row).to_be_in_viewport()
    assert await row.inner_text() == text
    await expect(row).to_have_attribute("tabindex", "0")
    await expect(first_row).to_have_count(0)


async def test_post_shows_accounts_attempts_and_why_it_cannot_be_retried(tab: BoardTab) -> None:
    await tab.open_demo(f"/posts/{DEMO_POST}")
    cards = tab.page.locator(".card")
    await expect(cards).to_have_count(3)
    await expect(cards.nth(0)).to_contain_text("@mybrand Instagram")
    link = cards.nth(0).get_by_role("link", name="Open on")
    await expect(link).to_have_text("Open on www.instagram.com")
    assert await link.get_attribute("rel") == "noopener noreferrer"
    failed = cards.nth(2)
    await expect(failed).to_contain_text("Token expired. Please reconnect your LinkedIn account.")
    await expect(failed.locator(".timeline li")).to_have_count(6)
    await expect(failed.locator(".timeline")).to_contain_text(
        re.compile("Wed 15 Apr( 2026)?, 10:31 Attempt 3 failed after 2 s")
    )
    retry = failed.get_by_role("button", name="Retry")
    await expect(retry).to_have_attribute("aria-disabled", "true")
    await expect(retry).to_have_accessible_description("Reconnect the account, then retry.")
    await tab.page.get_by_role("button", name="Answer for the customer").click()
    answer = await tab.page.get_by_label("Answer", exact=True).input_value()
    assert answer.splitlines()[-2:] == [
        "- LinkedIn (My Brand Inc.): it could not be published, because the platform no longer accepted"
        " the access to the account. Please connect the account again.",
        "All times are those of America/New_York.",
    ]


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/posts/00000000-0000-4000-8000-000000000000", "No such post"),
        ("/posts/..%2f", "No such post"),
        ("/nowhere", "No such page"),
    ],
)
async def test_unknown_paths_offer_a_search(tab: BoardTab, path: str, heading: str) -> None:
    await tab.open_demo(path)
    await expect(tab.heading(heading)).to_be_visible()
    await tab.page.get_by_label("Text or id of a post").fill(DEMO_POST)
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.locator(".card")).to_have_count(3)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/x",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil",
    ],
)
async def test_sign_in_leads_to_pages_of_the_board_only(
    browser: Browser, demo_server: ServerProcess, target: str
) -> None:
    async with open_tab(browser, demo_server.url, problems=frozenset()) as tab:
        await tab.open_demo(f"/sign-in?next={quote(target, safe='')}")
        await expect(tab.heading("Today")).to_be_visible()
        await expect(tab.page).to_have_url(f"{tab.board_url}/")


async def test_key_is_checked_before_it_is_sent_and_refused_by_the_server(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open("/results?status=FAILED")
        await expect(tab.page).to_have_url(
            f"{tab.board_url}/sign-in?next=%2Fresults%3Fstatus%3DFAILED"
        )
        await tab.sign_in("sesame")
        alert = tab.page.get_by_role("alert")
        await expect(alert).to_have_text(KEY_FORMAT)
        await tab.sign_in(f' "{UNKNOWN_KEY}"', person="Ann", read_only=True)
        await expect(alert).to_have_text(
            "The API key is unknown, revoked or expired. Use another key."
        )
        assert await tab.page.get_by_label("API key").input_value() == ""
        assert await tab.page.get_by_label("Your name").input_value() == "Ann"
        await tab.page.get_by_label("API key").fill(f"'{DEMO_KEY}' ")
        await tab.page.get_by_role("button", name="Sign in").click()
        await expect(tab.page).to_have_url(f"{tab.board_url}/results?status=FAILED")
        await expect(tab.page.locator(".header")).to_contain_text("read only")
        await tab.page.get_by_role("button", name="Menu").click()
        await expect(tab.page.locator(".menu")).to_contain_text("Ann with the key “demo”")
        stored = await tab.page.evaluate("JSON.stringify(localStorage) + document.cookie")
        assert DEMO_KEY not in stored


async def test_log_that_is_pasted_in_place_of_a_key_goes_nowhere(
    browser: Browser, demo_server: ServerProcess
) -> None:
    log = f"12:00:01 ERROR request failed, key={UNKNOWN_KEY} Traceback ".ljust(100, "~") * 1_000
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open("/sign-in")
        await expect(tab.heading("Sign in")).to_be_visible()
        requests = len(tab.responses)
        await tab.sign_in(log)
        await expect(tab.page.get_by_role("alert")).to_have_text(KEY_FORMAT)
        assert len(tab.responses) == requests
        content = await tab.page.content() + tab.page.url + await tab.page.title()
        assert UNKNOWN_KEY not in content
        assert "Traceback" not in content


async def test_sign_out_ends_the_other_tab_which_keeps_its_place(tab: BoardTab) -> None:
    await tab.open_demo()
    await tab.expect_live()
    other = await tab.page.context.new_page()
    await other.goto(f"{tab.board_url}/posts/{DEMO_POST}")
    await expect(other.locator(".card")).to_have_count(3)
    await tab.page.get_by_role("button", name="Menu").click()
    await tab.page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(tab.heading("Sign in")).to_be_visible()
    await expect(other.get_by_role("heading", name="Sign in again")).to_be_visible()
    await other.get_by_role("dialog").get_by_role("button", name="Open the demo").click()
    await expect(other.get_by_role("dialog")).to_have_count(0)
    await expect(other.locator(".card")).to_have_count(3)


async def test_zone_that_the_browser_does_not_know_is_replaced_by_utc(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.page.add_init_script(
            "Intl.DateTimeFormat.prototype.resolvedOptions = () => ({ timeZone: 'Etc/Unknown' })"
        )
        await tab.open_demo(f"/posts/{DEMO_POST}")
        await expect(tab.page.locator(".header")).to_contain_text("UTC")
        await expect(tab.page.locator(".card").first).to_contain_text(
            re.compile("Published Wed 15 Apr( 2026)?, 14:30")
        )


async def test_zone_and_theme_are_chosen_in_the_menu_and_stored(tab: BoardTab) -> None:
    await tab.open_demo(f"/posts/{DEMO_POST}")
    await tab.page.get_by_role("button", name="Menu").click()
    await tab.page.get_by_label("Time zone").select_option("Asia/Tokyo")
    await tab.page.get_by_label("Theme").select_option("dark")
    await tab.page.reload()
    await expect(tab.page.locator(".header")).to_contain_text("Asia/Tokyo")
    await expect(tab.page.locator(".card").first).to_contain_text(
        re.compile("Published Wed 15 Apr( 2026)?, 23:30")
    )
    assert await tab.page.evaluate("document.documentElement.dataset.theme") == "dark"
