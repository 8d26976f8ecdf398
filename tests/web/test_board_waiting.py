"""The page of what waits in Chromium: the demo's lists, and posts that move from one to the next."""

import re

import pytest
from playwright.async_api import Browser, expect

from tests.servers import ServerProcess
from tests.web.attempts import claim_many, report_transient_failure, start
from tests.web.board_tab import NARROW, UNAUTHORIZED, WIDE, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

REFUSED = "Failed to load resource: net::ERR_FAILED"

ENGINE = "postgresql"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


async def test_demo_says_since_when_why_and_until_when(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url, viewport=WIDE, color_scheme="dark") as tab:
        await tab.open_demo("/waiting")
        await expect(tab.heading("Waiting")).to_be_focused()
        overdue = tab.page.get_by_role("region", name="Overdue")
        await expect(overdue).to_contain_text("Check that a publisher is running")
        unclaimed = overdue.get_by_role("row").filter(has_text="overdue, because no publisher")
        await expect(unclaimed.get_by_role("cell")).to_contain_text(
            [
                re.compile(r"^for \d+ (min|h)"),
                "My Brand IdeasPinterest",
                "Demo: overdue",
                "has waited for a publisher since",
            ]
        )
        retries = tab.page.get_by_role("region", name="Waiting for a retry")
        limited = retries.get_by_role("row").filter(has_text="rate limit resets")
        await expect(limited.get_by_role("cell")).to_contain_text(
            [
                re.compile("^in (20|19|18) h"),
                "My Brand ChannelYouTube",
                "Demo: waiting",
                "The daily quota of uploads",
            ]
        )
        await expect(limited).to_contain_text("Gives up after")
        assert await tab.axe_violations() == []
        await tab.page.keyboard.press("j")
        await expect(unclaimed.get_by_role("link")).to_be_focused()
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.locator(".card")).to_contain_text("My Brand Ideas")


async def test_post_moves_from_publishing_to_retrying_and_stays_while_it_has_the_focus(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("waiting")
    async with open_tab(browser, page_server.url, viewport=NARROW) as tab:
        await tab.open("/waiting")
        await tab.sign_in(page_server.key)
        publishing = tab.page.get_by_role("region", name="Publishing now")
        retries = tab.page.get_by_role("region", name="Waiting for a retry")
        await expect(publishing).to_contain_text("Nothing is being published right now.")
        await expect(tab.page.get_by_role("region", name="Overdue")).to_contain_text(
            "Nothing is overdue"
        )
        await tab.expect_live()
        publisher.create_post(account_id, "<script>alert(1)</script>" + "a" * 300)
        token = start(publisher)
        row = publishing.get_by_role("row").nth(1)
        await expect(row).to_contain_text("must report until")
        await expect(row).to_contain_text("<script>alert(1)</script>aaa")
        await row.get_by_role("link").focus()
        report_transient_failure(publisher, token, "Busy <b>now</b>.")
        await expect(row).to_contain_text("Retrying")
        await expect(row).to_contain_text("no longer in this list")
        await expect(retries.get_by_role("button", name="1 new · show")).to_be_visible()
        await tab.page.keyboard.press(".")
        retry = retries.get_by_role("row").nth(1)
        await expect(retry).to_contain_text(re.compile("next attempt|waits for a publisher since"))
        await expect(retry).to_contain_text("Busy <b>now</b>.Attempt 2 of 5. Gives up after")
        await expect(retry).not_to_contain_text("is final")
        await tab.heading("Waiting").click()
        await expect(publishing).to_contain_text("Nothing is being published right now.")
        assert await tab.axe_violations() == []
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_long_list_grows_and_is_loaded_in_pages(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.execute(
        'mutation { connectAccount(input: {platform: "threads", accountName: "many"})'
        " { account { accountId } } }"
    )["account"]["accountId"]

    claim_many(publisher, account_id, 50)
    async with open_tab(
        browser, page_server.url, problems=frozenset({UNAUTHORIZED, REFUSED})
    ) as tab:
        await tab.open("/waiting")
        await tab.sign_in(page_server.key)
        publishing = tab.page.get_by_role("region", name="Publishing now")
        rows = publishing.locator("tbody tr")
        more = publishing.get_by_role("button", name="Show more; 50 rows loaded")
        await expect(rows).to_have_count(50)
        await expect(more).to_have_count(0)
        await tab.expect_live()
        await tab.page.mouse.move(0, 0)  # a list under the pointer stays as it is
        claim_many(publisher, account_id, 1)
        await expect(rows).to_have_count(51)
        await expect(publishing).to_contain_text("51 results")
        await tab.page.reload()
        await expect(rows).to_have_count(50)
        await tab.page.route("**/graphql", lambda route: route.abort())
        await more.click()
        panel = publishing.locator(".error-panel")
        await expect(panel).to_contain_text("The server cannot be reached.")
        await tab.page.unroute("**/graphql")
        await panel.get_by_role("button", name="Try again").click()
        await expect(rows).to_have_count(51)
        await expect(panel).to_have_count(0)
