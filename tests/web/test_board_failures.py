"""Failures by cause on the board in Chromium: the list, one group, its rows and its live changes."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import update

from app.db.core.database import Database
from app.db.models import Destination
from tests.raw_statements import run_raw
from tests.servers import DEMO_KEY, ServerProcess
from tests.web.board_tab import open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

HOSTILE = "<img src=x onerror=alert(x)>\u202e{{a*b}}</title>" + "a" * 300
NO_GROUP = "1-" + "0" * 32

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


def failure_groups(server: ServerProcess, **arguments: Any) -> list[dict[str, Any]]:
    """Read the groups of the demo by the API."""
    document = (
        "query($filter: DestinationFilter, $orderBy: FailureGroupOrder!)"
        " { failureGroups(first: 20, filter: $filter, orderBy: $orderBy)"
        " { nodes { key count message accountCount diagnosis { fix } } } }"
    )
    variables = {"orderBy": "COUNT", **arguments}
    path = f"/graphql?query={document}&variables={json.dumps(variables)}"
    groups: list[dict[str, Any]] = server.get(path, DEMO_KEY).json()["data"]["failureGroups"][
        "nodes"
    ]
    return groups


async def test_groups_show_the_fix_first_and_their_filters_are_in_the_url(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/failures")
        headings = tab.page.locator(".causes h2")
        await expect(headings).to_have_count(20)
        groups = failure_groups(demo_server)
        assert await headings.all_text_contents() == [group["diagnosis"]["fix"] for group in groups]
        first = tab.page.locator(".causes > li").first
        message = re.sub("<(number|id|url|text)>", "…", groups[0]["message"])
        await expect(first).to_contain_text(f"“{message}”")
        await expect(first).to_contain_text(f"{groups[0]['count']} results of ")
        await tab.page.keyboard.press("j")
        await tab.page.keyboard.press("j")
        await expect(headings.nth(1).get_by_role("link")).to_be_focused()
        await tab.page.get_by_role("link", name="Next page").click()
        await expect(tab.page.get_by_role("link", name="Go to the first page")).to_be_visible()
        await tab.page.get_by_role("combobox", name="Platform").select_option("tiktok")
        await tab.page.get_by_role("combobox", name="Order by").select_option("LAST_SEEN")
        await expect(tab.page).to_have_url(
            f"{tab.board_url}/failures?order=LAST_SEEN&platform=tiktok"
        )
        chosen = {"filter": {"platform": ["tiktok"]}, "orderBy": "LAST_SEEN"}
        groups = failure_groups(demo_server, **chosen)
        await expect(headings).to_have_count(len(groups))
        assert await headings.all_text_contents() == [group["diagnosis"]["fix"] for group in groups]


async def test_group_shows_cause_accounts_example_and_rows_and_leads_back_to_its_list(
    browser: Browser, demo_server: ServerProcess
) -> None:
    group = failure_groups(demo_server, filter={"errorCode": ["TEXT_TOO_LONG"]})[0]
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/failures?category=CONTENT_REJECTED")
        await tab.page.locator(f"a[href$='{group['key']}']").click()
        await expect(tab.heading(group["diagnosis"]["fix"])).to_be_focused()
        cause = tab.page.get_by_label("Cause", exact=True)
        await expect(cause).to_contain_text("TEXT_TOO_LONG")
        await expect(cause).to_contain_text("Failures are one group if platform, cause, code and")
        await expect(cause).to_contain_text("Latest example:")
        accounts = tab.page.locator("section[aria-labelledby='group-accounts'] li")
        await expect(accounts).to_have_count(group["accountCount"])
        await expect(tab.page.locator(".list-bar p")).to_contain_text(f"{group['count']} result")
        await tab.page.locator("tbody tr").first.get_by_role("link").click()
        await expect(tab.heading("What happened")).to_be_visible()
        back = tab.page.get_by_role("link", name="← Group of failures")
        await expect(back).to_have_attribute("href", f"/board/failures/{group['key']}")
        await tab.page.keyboard.press("u")
        await expect(tab.heading(group["diagnosis"]["fix"])).to_be_visible()
        await tab.page.keyboard.press("u")
        await expect(tab.page).to_have_url(f"{tab.board_url}/failures?category=CONTENT_REJECTED")


async def test_bad_urls_say_what_to_do(browser: Browser, demo_server: ServerProcess) -> None:
    texts = {
        f"/failures/{NO_GROUP}": "Everything in this group is settled",
        "/failures/..%2f<script>": "No such group of failures",
        "/failures?order=x&period=century&category=NO&platform=%00": "TikTok",
        "/failures?platform=nowhere": "No failure matches these filters.",
        "/failures?after=nonsense": "Go to the first page",
    }
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/failures?period=hour")
        await expect(tab.page.locator("main")).to_contain_text("Failures since")
        for path, text in texts.items():
            await tab.open(path)
            await expect(tab.page.locator("main")).to_contain_text(text)


async def test_group_says_how_many_a_retry_would_refuse(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    working, leaving = publisher.connect("working"), publisher.connect("leaving")
    publisher.create_failures(working, 2, "MIXED", message="Too short: 3 s.")
    publisher.create_failures(leaving, 1, "MIXED", message="Too short: 4 s.")
    publisher.disconnect(leaving)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/failures")
        await tab.sign_in(page_server.key)
        group = tab.page.locator(".causes > li").filter(has_text="MIXED")
        await expect(group).to_contain_text("“Too short: … s.”")
        await expect(group).to_contain_text("3 results of 3 posts on 2 accounts of X")
        await expect(group).to_contain_text("2 can be retried, 1 cannot.")
        await expect(group).to_contain_text("3 failures in the last 24 hours, ")
        await group.get_by_role("link").click()
        accounts = tab.page.locator("section[aria-labelledby='group-accounts'] li")
        await expect(accounts).to_contain_text(["working: 2 failed", "leaving: 1 failed"])
        await tab.expect_live()
        publisher.disconnect(working)
        await expect(tab.page.locator("main")).to_contain_text("None can be retried now.")
        await tab.page.get_by_role("button", name="Why none can be retried…").click()
        dialog = tab.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("0 of 3 results will be queued again; 3 not:")
        await expect(dialog.get_by_role("listitem")).to_contain_text(["3 The account cannot post."])
        await expect(dialog.get_by_role("button")).to_have_text(["Close"])


async def test_group_is_live_and_says_when_everything_in_it_is_settled(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("<b>bold</b>")
    publisher.create_failures(account_id, 1, "LIVE", message=HOSTILE)
    async with open_tab(browser, page_server.url, viewport={"width": 360, "height": 800}) as tab:
        await tab.open("/failures")
        await tab.sign_in(page_server.key, person="Ann")
        group = tab.page.locator(".causes > li").filter(has_text="LIVE")
        await expect(group).to_contain_text("“<img src=x onerror=alert(x)>\u202e{{a*b}}</title>")
        await tab.expect_live()
        publisher.create_failures(account_id, 1, "LIVE", message=HOSTILE)
        await expect(group).to_contain_text("2 results of 2 posts on 1 account of X")
        await group.get_by_role("link").click()
        await expect(tab.page.locator(".causes")).to_contain_text("<b>bold</b>: 2 failed")
        assert await tab.page.locator("img, main script, main b").count() == 0
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        await tab.page.get_by_role("button", name="Retry all…").click()
        await tab.page.get_by_role("button", name="Retry 2 results").click()
        sentence = tab.page.get_by_role("dialog").locator(".sentence")
        await expect(sentence).to_have_text("2 of 2 results were queued again.")
        await tab.page.get_by_role("button", name="Close", exact=True).click()
        await expect(tab.heading("Everything in this group is settled")).to_be_focused()
        assert publisher.statuses("LIVE") == ["QUEUED", "QUEUED"]


async def test_period_holds_for_the_group_and_its_retry(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("period")
    publisher.create_failures(account_id, 2, "OLD")
    last_month = datetime.now(UTC) - timedelta(days=20)
    old = update(Destination).where(Destination.error_code == "OLD").values(failed_at=last_month)
    async with Database(page_server.database_url) as database:
        await database.write_all_workspaces(lambda session: run_raw(session, old))
    publisher.create_failures(account_id, 1, "OLD")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/failures?period=week")
        await tab.sign_in(page_server.key)
        group = tab.page.locator(".causes > li").filter(has_text="OLD")
        link = group.get_by_role("heading").get_by_role("link")
        await expect(link).to_have_attribute("href", re.compile(r"/failures/[^?]+\?period=week$"))
        await tab.open()
        failed_today = tab.page.get_by_role("region", name="Failed today, by cause")
        await (
            failed_today.get_by_role("listitem")
            .filter(has_text="OLD")
            .get_by_role("link")
            .first.click()
        )
        await expect(tab.page).to_have_url(re.compile(r"/failures/[^?]+\?period=today$"))
        cause = tab.page.get_by_label("Cause", exact=True)
        await expect(cause).to_contain_text("Failures since 00:00.")
        await expect(cause).to_contain_text("1 result of 1 post on 1 account of X")
        await expect(tab.page.locator(".causes")).to_contain_text("period: 1 failed")
        await expect(tab.page.locator(".list-bar p")).to_have_text("1 result")
        await tab.page.get_by_role("button", name="Retry all…").click()
        dialog = tab.page.get_by_role("dialog")
        await expect(dialog.get_by_role("list", name="What it is about")).to_contain_text(
            "Failed since 00:00"
        )
        await expect(dialog.locator(".sentence")).to_have_text(
            "1 of 1 result will be queued again."
        )
        await dialog.get_by_role("button", name="Change nothing").click()
        await tab.page.get_by_role("link", name="Show failures of any time").click()
        await expect(cause).to_contain_text("3 results of 3 posts on 1 account of X")
        await expect(tab.page.locator(".list-bar p")).to_have_text("3 results")


async def test_group_without_failures_in_the_period_leads_to_those_of_any_time(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo(f"/failures/{NO_GROUP}?period=hour")
        await expect(tab.heading("No failure in this period")).to_be_visible()
        await tab.page.get_by_role("link", name="Show failures of any time").click()
        await expect(tab.heading("Everything in this group is settled")).to_be_visible()


async def test_groups_keep_their_order_under_the_pointer(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("order")
    publisher.create_failures(account_id, 3, "ALPHA")
    publisher.create_failures(account_id, 2, "BETA")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/failures")
        await tab.sign_in(page_server.key)
        groups = tab.page.locator(".causes > li").filter(has_text=re.compile("ALPHA|BETA"))
        show = tab.page.get_by_role("button", name="The order has changed · show")
        await expect(groups).to_contain_text(["ALPHA", "BETA"])
        await tab.expect_live()
        await groups.nth(1).get_by_role("button", name="Retry all…").hover()
        publisher.create_failures(account_id, 2, "BETA")
        await expect(show).to_be_visible()
        await expect(groups).to_contain_text(["ALPHA", "BETA"])
        await expect(groups.nth(1)).to_contain_text("4 results of 4 posts")
        await tab.page.mouse.move(0, 0)
        await expect(groups).to_contain_text(["BETA", "ALPHA"])
        await expect(show).to_have_count(0)
        await groups.nth(1).get_by_role("button", name="Retry all…").focus()
        publisher.create_failures(account_id, 2, "ALPHA")
        await show.press("Enter")
        await expect(tab.page.locator(".order-bar")).to_be_focused()
        await expect(groups).to_contain_text(["ALPHA", "BETA"])


async def test_retry_of_posts_that_must_be_changed_says_that_it_will_fail_again(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("unchanged")
    publisher.create_failures(account_id, 1, "UNCHANGED", category="CONTENT_REJECTED")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/failures?category=CONTENT_REJECTED")
        await tab.sign_in(page_server.key)
        group = tab.page.locator(".causes > li").filter(has_text="UNCHANGED")
        await group.get_by_role("button", name="Retry all…").click()
        scope = tab.page.get_by_role("dialog").get_by_label("What it is about")
        assert await scope.get_by_role("listitem").all_text_contents() == [
            "Failures of X with one cause: “It is broken.”",
            "Failed at any time",
            "The posts must be changed first: a retry without a change will fail again.",
        ]
