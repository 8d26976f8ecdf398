"""Numbers of the board in Chromium: each that is a link leads to a list with exactly so many rows."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.async_api import Browser, expect

from tests.web.board_tab import BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

NUMBER = re.compile(r"(\d+)(?: (?!(?:s|min|h|%)\b).*)?", re.DOTALL)
"""Text of a link with a number, which is no duration or percentage."""

pytestmark = pytest.mark.usefixtures("require_built_page")


def add_every_state(page_server: PageServer, publisher: Publisher, folder: Path) -> list[int]:
    """Add results in states that numbers include or leave out; returns the accounts that have them."""
    able, unable = publisher.connect("able"), publisher.connect("unable")
    publisher.create_failures(able, 3, "BROKEN")
    publisher.create_failures(able, 2, "REFUSED", category="CONTENT_REJECTED")
    publisher.create_failures(able, 1, "CANCELLED")
    soon = datetime.now(UTC) + timedelta(hours=2)
    for account in (able, unable):
        for fields in ({"scheduledFor": soon.isoformat()}, {"draft": True}):
            publisher.execute(
                "mutation($input: CreatePostInput!) { createPost(input: $input) { post { id } } }",
                input={"accountIds": [account], "content": "Sale", **fields},
            )
    published = {"outcome": "PUBLISHED", "platformPostUrl": "https://x.example/1"}
    for outcome in (
        {**published, "publishedAt": (soon - timedelta(days=10)).isoformat()},
        published,
        {"outcome": "UNKNOWN", "message": "No answer."},
    ):
        assert publisher.execute(
            "mutation($input: RecordResultInput!) { recordResult(input: $input) { attempts } }",
            input={
                "postId": publisher.create_post(able, "Sale"),
                "accountId": able,
                "attemptKey": "1",
                **outcome,
            },
        )
    publisher.disconnect(unable)
    import_unfinished(page_server, folder, "default", [able, unable])
    return [able, unable]


def import_unfinished(
    page_server: PageServer, folder: Path, workspace: str, accounts: list[int]
) -> None:
    """Import a post for each account in each state without an outcome."""
    due = datetime.now(UTC) + timedelta(hours=2)
    retry = {"status": "failed", "error": "Timed out", "attempts": 1}
    states: list[dict[str, object]] = [
        {"status": "queued"},
        {"status": "publishing"},
        {**retry, "next_retry_at": due.isoformat()},
    ]
    records = [
        {
            "post_id": str(uuid4()),
            "content": "A post of another service",
            "scheduled_for": due.isoformat(),
            "destinations": [{"account_id": account, "platform": "x", **state}],
        }
        for account in accounts
        for state in states
    ]
    file = folder / "posts.jsonl"
    file.write_text("\n".join(map(json.dumps, records)), "utf-8")
    page_server.run_command("import", str(file), "--workspace", workspace)


async def links_with_numbers(tab: BoardTab) -> dict[str, int]:
    """Return the numbers of links to results, by the address."""
    await expect(tab.page.locator("main a[href*='/results?']").first).to_be_visible()
    await tab.page.wait_for_load_state("networkidle")  # other panels load on their own
    links: list[tuple[str, str]] = await tab.page.evaluate(
        "[...document.querySelectorAll('main a[href*=\"/results?\"]')]"
        ".map((link) => [link.href, link.innerText])"
    )
    matches = {href: NUMBER.fullmatch(" ".join(text.split())) for href, text in links}
    return {href: int(match[1]) for href, match in matches.items() if match}


async def test_every_number_leads_to_exactly_its_rows(
    browser: Browser, page_server: PageServer, publisher: Publisher, tmp_path: Path
) -> None:
    accounts = add_every_state(page_server, publisher, tmp_path)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(page_server.key)
        await check_numbers(tab, accounts)


async def test_numbers_of_a_mirror_are_the_states_at_the_source(
    browser: Browser, page_server: PageServer, tmp_path: Path
) -> None:
    key = page_server.create_key_of_workspace("mirror", "--mirror-of", "https://example.com")
    import_unfinished(page_server, tmp_path, "mirror", [7])
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(key)
        numbers = await check_numbers(tab, [7])
    # Publishing, waiting for a retry, and queued: in all, and within 24 hours.
    assert sorted(numbers.values()) == [1, 1, 2, 2]


async def check_numbers(tab: BoardTab, accounts: list[int]) -> dict[str, int]:
    """Expect that each number of the pages leads to its rows; returns the numbers that are not zero."""
    await expect(tab.heading("Today")).to_be_visible()
    numbers: dict[str, int] = {}
    for path in (
        *("", "/accounts", "/numbers?by=ACCOUNT", "/numbers?by=CATEGORY"),
        *(f"/accounts/{account}" for account in accounts),
    ):
        await tab.open(path)
        found = await links_with_numbers(tab)
        assert found, path
        numbers |= found
    rows: dict[str, int] = {}
    for href in numbers:
        await tab.page.goto(href)
        bar = tab.page.locator(".list-bar p").first
        await expect(bar.or_(tab.page.locator("main .empty"))).to_be_visible()
        text = await bar.inner_text() if await bar.count() else "0"
        rows[href] = int(text.split()[0])
    assert rows == numbers
    return {href: number for href, number in numbers.items() if number}
