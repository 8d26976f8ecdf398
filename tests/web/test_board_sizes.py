"""The board in Chromium with the largest objects that the server accepts, and with 10,000 accounts."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.async_api import Browser, expect

from app.db.core.database import Database
from app.db.repositories.workspaces import find_workspace_by_name
from app.domain.destinations import Outcome
from app.domain.ids import DestinationId
from tests.factories import NOW, add_accounts, add_attempt
from tests.web.board_tab import BoardTab, open_tab
from tests.web.page_session import PageServer

ACCOUNTS = 10_000
DESTINATIONS = 500
ATTEMPTS = 300
ATTEMPTS_PER_PAGE = 50
TEXT_LENGTH = 100_000
SHOWN_TEXT_LENGTH = 5_000
OPEN_CARDS = 3
MAX_ELEMENTS = 15_000
POST = uuid4()
DESTINATION = uuid4()
"""The first one of the post."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture(scope="module")
async def large_server(
    anyio_backend: str, page_server: PageServer, tmp_path_factory: pytest.TempPathFactory
) -> PageServer:
    """A server with a post that is as large as it can be, and with many accounts."""
    file = tmp_path_factory.mktemp("import") / "post.jsonl"
    write_post(file)
    page_server.run_command("import", str(file), "--workspace", "default")
    async with Database(page_server.database_url) as database:
        workspace = await find_workspace_by_name(database.all_workspaces, "default")
        assert workspace is not None
        await add_accounts(database, workspace.id, ACCOUNTS)
        for number in range(1, ATTEMPTS + 1):
            await add_attempt(
                database,
                workspace.id,
                DestinationId(DESTINATION),
                number=number,
                fence=number,
                outcome=Outcome.FAILED,
                started_at=NOW + timedelta(hours=number),
            )
    return page_server


def write_post(file: Path) -> None:
    """Write a post that has failed on all of its accounts, as the importer reads it."""
    destinations = [
        {
            "id": str(DESTINATION if number == 1 else uuid4()),
            "account_id": number,
            "account_name": f"account-{number}",
            "platform": "x",
            "status": "failed",
            "attempts": ATTEMPTS,
            "error": "It is broken.",
        }
        for number in range(1, DESTINATIONS + 1)
    ]
    post = {"post_id": str(POST), "content": "t" * TEXT_LENGTH, "destinations": destinations}
    file.write_text(json.dumps(post), "utf-8")


@pytest.fixture
async def tab(browser: Browser, large_server: PageServer) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, large_server.url) as tab:
        await tab.open()
        await tab.sign_in(large_server.key)
        await expect(tab.heading("Today")).to_be_visible()
        yield tab


async def test_post_on_500_accounts_shows_all_cards_and_the_start_of_its_text(
    tab: BoardTab,
) -> None:
    await tab.open(f"/posts/{POST}")
    await expect(tab.page.locator(".card")).to_have_count(DESTINATIONS)
    await expect(tab.page.locator(".card details[open]")).to_have_count(OPEN_CARDS)
    await expect(tab.page.locator(".post-text")).to_have_text("t" * SHOWN_TEXT_LENGTH + "…")
    assert await tab.page.evaluate("document.querySelectorAll('*').length") < MAX_ELEMENTS


async def test_300_attempts_are_read_page_by_page(tab: BoardTab) -> None:
    await tab.open(f"/posts/{POST}")
    card = tab.page.locator(".card").first
    attempts = card.locator(".timeline strong")
    for count in range(ATTEMPTS_PER_PAGE, ATTEMPTS, ATTEMPTS_PER_PAGE):
        await expect(attempts).to_have_count(count)
        await card.get_by_role("button", name="Show later attempts").click()
    await expect(attempts).to_have_count(ATTEMPTS)
    await expect(attempts.last).to_have_text(f"Attempt {ATTEMPTS}")
    await expect(card.get_by_role("button", name="Show later attempts")).to_have_count(0)


async def test_10000_accounts_are_listed_in_pages_and_a_link_may_filter_by_any(
    tab: BoardTab,
) -> None:
    last = DESTINATIONS + ACCOUNTS
    await tab.open("/accounts")
    await expect(tab.page.locator("tbody tr").first).to_be_visible()
    await expect(tab.page.get_by_role("link", name="Next page")).to_be_visible()
    await tab.open(f"/results?account={last}")
    filter_of_accounts = tab.page.get_by_role("combobox", name="Account", exact=True)
    await expect(filter_of_accounts).to_have_value(str(last))
    await expect(filter_of_accounts.locator("option")).to_have_count(1 + 100 + 1)
    await expect(filter_of_accounts.locator("option:checked")).to_have_text("acme (Instagram)")
    await expect(tab.page.get_by_text("Only the first 100 accounts are listed.")).to_be_visible()
    # The first 100 accounts are all on one platform.
    platforms = tab.page.get_by_role("combobox", name="Platform", exact=True).locator("option")
    await expect(platforms.filter(has_text="Instagram")).to_have_count(1)
    await expect(tab.page.locator(".empty")).to_contain_text("Nothing matches this filter.")
