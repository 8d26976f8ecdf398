"""The activity of the board in Chromium: sentences, filters, values, live changes, lost changes."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.servers import DEMO_KEY, ServerProcess, run_server
from tests.web.board_api import BoardApi
from tests.web.board_tab import NARROW, open_tab
from tests.web.publisher import Publisher

VISITS = "post-results-board-visits"

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("activity")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    settings = {"DATABASE_URL": f"sqlite:///{folder / 'activity.db'}", "RATE_LIMIT": "off"}
    with run_server(folder, settings) as server:
        yield server


@pytest.fixture(scope="module")
def publisher(server: ServerProcess) -> Iterator[Publisher]:
    headers = {"Authorization": f"Bearer {server.key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
        yield Publisher(http)


async def test_demo_is_read_from_the_newest_change_on(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url, viewport=NARROW, color_scheme="dark") as tab:
        await tab.open_demo("/activity?types=nonsense&key=1")
        await expect(tab.heading("Activity")).to_be_focused()
        items = tab.page.locator(".timeline > li")
        await expect(items).to_have_count(100)
        newest = BoardApi(demo_server.url, DEMO_KEY).execute(
            "{ changes(first: 1, direction: DESC) { nodes { sentence } } }"
        )["nodes"][0]["sentence"]
        await expect(items.first).to_contain_text(newest)
        await expect(tab.page.locator("main")).to_contain_text("Changes are stored for 30 days")
        await tab.page.get_by_role("button", name="Show earlier changes").click()
        await expect(items).to_have_count(200)
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        await tab.page.get_by_label("What").select_option("POST_DELETED")
        await expect(tab.page).to_have_url(f"{tab.board_url}/activity?types=POST_DELETED")
        await expect(items).to_have_count(0)
        await expect(tab.page.locator("main")).to_contain_text("No such change yet.")
        await tab.page.get_by_label("What").select_option("ACCOUNT_CONNECTED")
        await expect(items.last).to_contain_text("Account @mybrand was connected on Instagram.")
        await expect(tab.page.locator("main")).to_contain_text("No earlier changes are stored.")


async def test_change_names_who_made_it_and_shows_both_values(
    browser: Browser, server: ServerProcess, publisher: Publisher
) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202e"
    account_id = publisher.connect(hostile)
    publisher.create_post(account_id, hostile)
    publisher.fail(hostile)
    async with open_tab(browser, server.url, viewport=NARROW) as tab:
        await tab.open("/results")
        await tab.sign_in(server.key, person="Ann")
        await tab.page.locator("tbody tr a").click()
        await tab.page.get_by_role("button", name="Retry").click()
        await expect(tab.page.locator(".notice")).to_contain_text("It is queued again.")
        await tab.open("/activity?types=DESTINATION_CHANGED")
        items = tab.page.locator(".timeline > li")
        failure = items.filter(has_text="The attempt failed")
        await expect(failure).to_contain_text("<img src=x onerror=alert(1)>")
        await expect(failure).to_contain_text("by the key “first key”")
        await failure.locator("summary").click()
        status = failure.get_by_role("row").filter(has_text="Status")
        await expect(status).to_have_text("Statuspublishingfailed")
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        assert await tab.axe_violations() == []
        await tab.page.get_by_role("link", name="Ann", exact=True).click()
        await expect(items).to_have_count(1)
        await expect(tab.heading("Activity")).to_be_focused()
        await expect(items).to_contain_text(
            "Retried manually. The post is queued to be published again."
        )
        await expect(tab.page).to_have_url(
            f"{tab.board_url}/activity?types=DESTINATION_CHANGED&person=Ann"
        )
        await tab.page.get_by_role("link", name="Show those of everyone").click()
        await expect(tab.heading("Activity")).to_be_focused()
        await tab.expect_live()
        await expect(items).to_have_count(4)
        await items.first.hover()  # so that the list stays as it is
        publisher.fail("The last failure.")
        await tab.page.get_by_role("button", name="3 new changes").click()
        await expect(items.first).to_contain_text("The last failure.")
        await expect(items).to_have_count(7)
        assert await tab.page.locator("main :is(img, script)").count() == 0


async def test_activity_marks_what_is_new_since_the_last_visit_and_follows_the_feed(
    browser: Browser, server: ServerProcess, publisher: Publisher, folder: Path
) -> None:
    account_id = publisher.connect("visited")
    with sqlite3.connect(folder / "activity.db") as database:
        database.execute(
            "UPDATE event SET created_at = datetime(created_at, '-2 hours') || '.000000'"
        )
    async with open_tab(browser, server.url) as tab:
        await tab.open("/activity")
        await tab.sign_in(server.key)
        items = tab.page.locator(".timeline > li")
        await expect(items.first).to_contain_text("Account visited was connected on X.")
        await expect(tab.page.locator(".badge")).to_have_count(0)
        # As if the visit had ended an hour ago.
        hour_ago = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        publisher.create_post(account_id, "After the visit")
        await tab.open("/no-such-page")
        await tab.page.evaluate(
            f"localStorage.setItem('{VISITS}',"
            f" localStorage.getItem('{VISITS}').replace(/20..-..-..T.*?Z/, '{hour_ago}'))"
        )
        await tab.open("/activity")
        await expect(tab.page.locator(".timeline > li:has(.badge)")).to_have_count(2)
        await expect(items.first.locator(".badge")).to_have_text("new")
        await expect(items.nth(1)).to_contain_text("After the visit")
        await tab.expect_live()
        await tab.page.mouse.move(0, 0)  # out of the list, which otherwise stays as it is
        publisher.fail("While the list is not in use.")
        await expect(items.first).to_contain_text("While the list is not in use.")


async def test_changes_that_are_no_longer_stored_are_left_out_after_an_outage(
    browser: Browser, server: ServerProcess, publisher: Publisher, folder: Path
) -> None:
    account_id = publisher.connect("pruned")
    async with open_tab(browser, server.url) as tab:
        await tab.open("/activity?types=POST_CREATED")
        await tab.sign_in(server.key)
        await tab.expect_live()
        items = tab.page.locator(".timeline > li")
        await tab.page.keyboard.press("z")
        publisher.create_post(account_id, "Pruned")
        publisher.create_post(account_id, "Kept")
        with sqlite3.connect(folder / "activity.db") as database:
            database.execute("DELETE FROM event WHERE seq < (SELECT max(seq) FROM event) - 1")
        await tab.page.keyboard.press("z")
        await expect(items.first).to_contain_text("Kept")
        await expect(items).to_have_count(1)
