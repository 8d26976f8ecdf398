"""The board in two browsers at once in Chromium, while the server is killed and started again."""

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.web.board_tab import UNREACHABLE, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

ENGINE = "postgresql"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


def stored_rows(publisher: Publisher, account_id: int) -> list[tuple[str, str]]:
    """Text and status of each row by the API, in the order of the page."""
    destinations = publisher.execute(
        "query($ids: [Int!]) { destinations(first: 100, filter: {accountId: $ids})"
        " { nodes { status post { content } } } }",
        ids=[account_id],
    )
    names: dict[str, str] = {"FAILED": "Failed", "QUEUED": "Scheduled"}
    return [(node["post"]["content"], names[node["status"]]) for node in destinations["nodes"]]


async def test_two_browsers_show_the_rows_of_the_api_after_the_server_was_killed(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("killed")
    publisher.create_failures(account_id, 3, "KILLED")
    path = f"/results?account={account_id}&order=CREATED_AT"
    options: dict[str, Any] = {"problems": UNREACHABLE}
    async with (
        open_tab(browser, page_server.url, **options) as first,
        open_tab(browser, page_server.url, **options) as second,
    ):
        for tab, person in ((first, "Ann"), (second, "Ben")):
            await tab.open(path)
            await tab.sign_in(page_server.key, person=person)
            await expect(tab.page.locator("tbody tr")).to_have_count(3)
            await tab.expect_live()
        # A change of one person is seen by the other.
        await first.page.locator("tbody tr").first.get_by_role("checkbox").check()
        await first.page.keyboard.press("r")
        await first.page.get_by_role("button", name="Retry 1 result").click()
        await expect(first.page.locator(".sentence")).to_have_text(
            "1 of 1 result was queued again."
        )
        await first.page.keyboard.press("Escape")
        await expect(second.page.locator("tbody tr").first).to_contain_text("Scheduled")

        page_server.server.kill()
        for tab in (first, second):
            await expect(tab.page.locator(".connection")).not_to_contain_text("Live")
        page_server.restart()
        publisher.create_failures(account_id, 2, "AFTER")
        for tab in (first, second):
            await tab.expect_live()
        await first.page.get_by_role("button", name="Clear", exact=True).click()
        for tab in (first, second):
            await tab.page.mouse.move(0, 0)  # out of the list, which otherwise stays as it is
            await expect(tab.page.locator("tbody tr")).to_have_count(5)
            stored = stored_rows(publisher, account_id)
            rows = tab.page.locator("tbody tr")
            await expect(rows.locator(".cell-post a")).to_have_text([text for text, _ in stored])
            await expect(rows.locator(".status")).to_have_text([status for _, status in stored])
