"""Calendar of the board in Chromium: months, weeks and days, and moving a post."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, Route, expect

from tests.servers import DEMO_KEY, ServerProcess
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab
from tests.web.page_session import PageServer

BERLIN = "Europe/Berlin"
HOSTILE_TEXT = "</title><img src=x onerror=alert(1)>\u202e{{7*7}}"
DAY = "/calendar/day/2030-01-15"

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, demo_server.url, timezone_id=BERLIN) as tab:
        yield tab


@pytest.fixture(scope="module")
def api(page_server: PageServer) -> BoardApi:
    return BoardApi(page_server.url, page_server.key)


@pytest.fixture(scope="module")
def account_id(api: BoardApi) -> int:
    return api.connect("calendar")


def read_post(api: BoardApi, post_id: str) -> dict[str, Any]:
    document = "query($id: UUID!) { post(postId: $id) { status scheduledFor version } }"
    return api.execute(document, id=post_id)


async def test_counts_of_a_day_are_those_of_the_api_and_lead_to_its_posts(
    tab: BoardTab, demo_server: ServerProcess
) -> None:
    calendar = BoardApi(demo_server.url, DEMO_KEY).execute(
        '{ calendar(from: "2026-04-14T22:00:00Z", to: "2026-04-15T22:00:00Z")'
        " { buckets { counts { partiallyFailed total } } } }"
    )
    totals = [bucket["counts"]["total"] for bucket in calendar["buckets"]]
    await tab.open_demo("/calendar/month/2026-04-01")
    await expect(tab.heading("April 2026")).to_be_focused()
    grid = tab.page.get_by_role("grid", name="Days")
    await expect(grid.get_by_role("gridcell")).to_have_count(35)
    day = grid.locator("[data-date='2026-04-15']")
    assert sum(totals) == 1
    await day.get_by_role("link", name="1 partly failed or unknown").click()
    await expect(tab.heading("Wednesday 15 April 2026")).to_be_visible()
    await expect(tab.page).to_have_url(
        f"{tab.board_url}/calendar/day/2026-04-15?status=PARTIALLY_FAILED"
    )
    hour = tab.page.get_by_role("row", name="16:00")
    await expect(hour.locator(".day-post")).to_contain_text("Partly failed16:30")
    await expect(tab.page.locator(".day tr")).to_have_count(24)
    await tab.page.get_by_label("Status").select_option("FAILED")
    await expect(tab.page.locator(".day-post")).to_have_count(0)
    await tab.page.get_by_role("button", name="Clear filters").click()
    await expect(tab.page).to_have_url(f"{tab.board_url}/calendar/day/2026-04-15")


async def test_day_shows_what_is_overdue_and_what_is_retried(
    tab: BoardTab, demo_server: ServerProcess
) -> None:
    document = (
        "query($text: String!) { destinations(first: 1, filter: {search: $text})"
        " { nodes { scheduledFor } } }"
    )
    api = BoardApi(demo_server.url, DEMO_KEY)
    await tab.open_demo()
    await expect(tab.heading("Today")).to_be_visible()
    for text, status in (("Demo: overdue", "Overdue"), ("Demo: waiting", "Retrying")):
        (destination,) = api.execute(document, text=text)["nodes"]
        due = datetime.fromisoformat(destination["scheduledFor"]).astimezone(ZoneInfo(BERLIN))
        await tab.open(f"/calendar/day/{due.date()}")
        post = tab.page.locator(".day-post").filter(has_text=text).first
        await expect(post.locator(".status")).to_have_text(status)


async def test_day_has_as_many_hours_as_its_clock(tab: BoardTab) -> None:
    await tab.open_demo("/calendar/day/2026-10-25")
    rows = tab.page.locator(".day tr th")
    await expect(rows).to_have_count(25)
    assert (await rows.all_inner_texts())[1:4] == ["01:00 GMT+2", "02:00 GMT+2", "02:00 GMT+1"]
    await expect(tab.page.locator("main")).to_contain_text("it has 25 hours.")
    await tab.open("/calendar/day/2026-03-29")
    await expect(rows).to_have_count(23)
    assert (await rows.all_inner_texts())[1:4] == ["01:00 GMT+1", "03:00 GMT+2", "04:00 GMT+2"]
    await expect(tab.page.locator("main")).to_contain_text("it has 23 hours.")


async def test_keys_move_between_days_and_months(tab: BoardTab) -> None:
    await tab.open_demo("/calendar/month/2026-01-31")
    await expect(tab.page.locator("[data-date='2026-01-31']")).to_have_attribute("tabindex", "0")
    await tab.page.keyboard.press("]")
    await expect(tab.heading("February 2026")).to_be_focused()
    await expect(tab.page.locator("[data-date='2026-02-28']")).to_be_visible()
    await tab.page.keyboard.press("j")
    for key in ("ArrowDown", "ArrowLeft"):
        await tab.page.keyboard.press(key)
    await expect(tab.page.locator("[data-date='2026-02-08']")).to_be_focused()
    await tab.expect_default_action("Alt+ArrowLeft")
    await expect(tab.page.locator("[data-date='2026-02-08']")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await expect(tab.heading("Sunday 8 February 2026")).to_be_focused()
    await tab.page.keyboard.press("[")
    await expect(tab.heading("Saturday 7 February 2026")).to_be_focused()
    await tab.page.get_by_role("link", name="Week", exact=True).click()
    await expect(tab.page.get_by_role("gridcell")).to_have_count(7)
    await tab.page.keyboard.press("t")
    await expect(tab.page.locator("[aria-current='date']")).to_have_count(1)


async def test_bad_dates_show_the_current_month_with_a_note(tab: BoardTab) -> None:
    await tab.open_demo("/calendar")
    await expect(tab.page.get_by_role("grid")).to_be_visible()
    for path in (
        "month/2026-13-45",
        "year/2026-01-01",
        "day/%3Cscript%3E",
        "week/0000-00-00?status=NO",
    ):
        await tab.open(f"/calendar/{path}")
        note = tab.page.get_by_text("This is the current month.")
        await expect(note).to_contain_text(
            path.split("?")[0].replace("%3C", "<").replace("%3E", ">")
        )
        await expect(tab.page.locator("[aria-current='date']")).to_have_count(1)
        await expect(tab.page.locator(".error-panel")).to_have_count(0)


async def test_post_is_moved_once_and_not_over_a_change_meanwhile(
    browser: Browser, page_server: PageServer, api: BoardApi, account_id: int
) -> None:
    post_id = api.create_post(
        content=HOSTILE_TEXT, accountIds=[account_id], scheduledFor="2030-01-15T09:30:00Z"
    )
    async with open_tab(browser, page_server.url, timezone_id=BERLIN) as tab:
        await tab.open(DAY)
        await tab.sign_in(page_server.key)
        post = tab.page.get_by_role("row", name="10:00").locator(".day-post")
        await expect(post).to_contain_text("Scheduled10:30")
        await expect(post).to_contain_text(HOSTILE_TEXT)
        assert await tab.page.locator("img").count() == 0
        await tab.expect_live()

        await post.get_by_role("button", name="Move").click()
        dialog = tab.page.get_by_role("dialog")
        api.execute(
            "mutation($id: UUID!) { updatePost(input: {postId: $id, scheduledFor:"
            ' "2030-01-15T11:00:00Z"}) { post { version } } }',
            id=post_id,
        )
        time = dialog.get_by_label("New time")
        await time.fill("2020-01-15T14:15")
        await expect(dialog).to_contain_text("Wednesday 15 January 2020, 14:15:00 CET")
        await expect(dialog.locator(".problem")).to_have_text(
            "This time has passed. Choose a later one."
        )
        await expect(dialog.get_by_role("button", name="Move", exact=True)).to_have_attribute(
            "aria-disabled", "true"
        )
        await time.press("Enter")
        await time.fill("2030-01-15T14:15")
        await expect(dialog.locator(".problem")).to_have_count(0)
        await expect(tab.page.locator(".day-post").get_by_text("12:00")).to_be_attached()
        await time.press("Enter")
        await expect(dialog).to_contain_text(
            "Another person or program has changed the post meanwhile. It is due"
        )
        await expect(dialog).to_contain_text("Tuesday 15 January 2030, 12:00:00 CET")
        await expect(dialog).to_contain_text("STALE_VERSION")
        assert await tab.axe_violations() == []

        await dialog.get_by_role("button", name="Move", exact=True).dblclick()
        await expect(dialog).to_have_count(0)
        await expect(tab.page.locator(".notice")).to_contain_text(
            "Moved to Tue 15 Jan 2030, 14:15."
        )
        row = tab.page.get_by_role("row", name="14:00").locator(".day-post")
        await expect(row).to_contain_text("14:15")
        await expect(row).to_be_focused()
        await row.get_by_role("button", name="Move").click()
        await time.fill("2030-01-16T14:15")
        await dialog.get_by_role("button", name="Move", exact=True).click()
        await expect(row).to_have_count(0)
        await expect(tab.heading("Tuesday 15 January 2030")).to_be_focused()
    assert read_post(api, post_id) == {
        "status": "SCHEDULED",
        "scheduledFor": "2030-01-16T13:15:00.000Z",
        "version": 4,
    }


async def test_warning_of_a_move_has_the_times_of_the_zone(
    browser: Browser, page_server: PageServer, api: BoardApi, account_id: int
) -> None:
    async def warn(route: Route) -> None:
        response = await route.fetch()
        body = await response.json()
        if "updatePost" in (body.get("data") or {}):
            warning = {"message": "The lease ends at 2030-04-15 11:30 UTC."}
            body["data"]["updatePost"]["warnings"] = [warning]
        await route.fulfill(response=response, json=body)

    api.create_post(content="Moved", accountIds=[account_id], scheduledFor="2030-04-15T09:30:00Z")
    async with open_tab(browser, page_server.url, timezone_id=BERLIN) as tab:
        await tab.page.route("**/graphql", warn)
        await tab.open("/calendar/day/2030-04-15")
        await tab.sign_in(page_server.key)
        await tab.page.locator(".day-post").get_by_role("button", name="Move").click()
        await tab.page.get_by_label("New time").fill("2030-04-15T12:00")
        await tab.page.keyboard.press("Enter")
        text = "Moved to Mon 15 Apr 2030, 12:00. The lease ends on Mon 15 Apr 2030, 13:30."
        await expect(tab.page.locator(".notice p")).to_have_text(text)
        await expect(tab.page.locator(".notices [role=status]")).to_have_text(text)
        await expect(tab.page.get_by_role("button", name=f"Close: {text}")).to_be_visible()


async def test_draft_is_apart_and_can_be_scheduled(
    browser: Browser, page_server: PageServer, api: BoardApi, account_id: int
) -> None:
    post_id = api.create_post(
        content="A draft",
        accountIds=[account_id],
        scheduledFor="2030-02-01T12:00:00Z",
        draft=True,
    )
    async with open_tab(browser, page_server.url, timezone_id=BERLIN) as tab:
        await tab.open("/calendar/month/2030-02-01")
        await tab.sign_in(page_server.key)
        await tab.page.get_by_role("link", name="1 draft").click()
        await expect(tab.page.locator(".day .day-post")).to_have_count(0)
        drafts = tab.page.get_by_role("region", name="1 draft")
        await drafts.get_by_role("button", name="Move").click()
        await tab.page.get_by_role("button", name="Schedule it for this time").click()
        await expect(tab.page.locator(".notice")).to_contain_text(
            "Scheduled for Fri 1 Feb 2030, 13:00."
        )
        await expect(drafts).to_have_count(0)
    assert read_post(api, post_id) == {
        "status": "SCHEDULED",
        "scheduledFor": "2030-02-01T12:00:00.000Z",
        "version": 2,
    }


async def test_new_post_appears_and_a_reader_cannot_move_it(
    browser: Browser, page_server: PageServer, api: BoardApi, account_id: int
) -> None:
    async with open_tab(browser, page_server.url, timezone_id="UTC") as tab:
        await tab.open("/calendar/day/2030-03-01?account=" + str(account_id))
        await tab.sign_in(page_server.key, read_only=True)
        await expect(tab.page.locator(".day tr")).to_have_count(24)
        await tab.expect_live()
        api.create_post(
            content="A new post", accountIds=[account_id], scheduledFor="2030-03-01T08:00:00Z"
        )
        post = tab.page.get_by_role("row", name="08:00").locator(".day-post")
        await expect(post).to_contain_text("A new post")
        move = post.get_by_role("button", name="Move")
        await expect(move).to_have_attribute("aria-disabled", "true")
        await expect(move).to_have_accessible_description("This sign-in may only read.")
        await move.click(force=True)
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)


async def test_post_leads_back_to_the_page_on_which_it_was_opened(tab: BoardTab) -> None:
    pages = {
        "/calendar/week/2026-04-15": ("Calendar", "a[href*='/posts/']"),
        "/waiting": ("Waiting", ".waiting-table .cell-post a"),
        "/activity": ("Activity", ".changed-post a"),
        "/unknown": ("Unknown outcomes", "a[href*='/posts/']"),
    }
    await tab.open_demo()
    for path, (name, links) in pages.items():
        await tab.open(path)
        await tab.page.locator("main").locator(links).first.click()
        await expect(tab.page.get_by_role("link", name=f"← {name}")).to_be_visible()
        await tab.page.keyboard.press("u")
        await expect(tab.page).to_have_url(re.compile(re.escape(f"/board{path}")))
