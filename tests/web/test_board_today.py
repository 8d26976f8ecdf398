"""The first page of the board in Chromium: failures of today, and accounts that cannot post."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, expect

from app.db.core.database import Database
from app.db.repositories.workspaces import find_workspace_by_name
from app.domain.ids import AccountId
from tests.circuit_breaker_rows import account_breaker, server_breaker
from tests.factories import insert_objects
from tests.web.board_tab import open_tab, zone_at_noon
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

pytestmark = pytest.mark.usefixtures("require_built_page")


def schedule(publisher: Publisher, account_id: int, content: str, due: datetime) -> None:
    publisher.execute(
        "mutation($input: CreatePostInput!) { createPost(input: $input) { post { id } } }",
        input={"accountIds": [account_id], "content": content, "scheduledFor": due.isoformat()},
    )


async def test_posts_that_will_fail_are_exactly_those_that_the_number_leads_to(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id, able = publisher.connect("blocked"), publisher.connect("able")
    now = datetime.now(UTC)
    zone = zone_at_noon(now)
    for name, hours in (("First", 2), ("Second", 3), ("Later", 30)):
        schedule(publisher, account_id, name, now + timedelta(hours=hours))
    schedule(publisher, able, "Able", now + timedelta(hours=2))
    publisher.disconnect(account_id)
    async with open_tab(browser, page_server.url, timezone_id=zone) as tab:
        await tab.open()
        await tab.sign_in(page_server.key)
        accounts = tab.page.get_by_role("region", name="Accounts that cannot post")
        first = (now + timedelta(hours=2)).astimezone(ZoneInfo(zone))
        await expect(accounts.get_by_role("listitem")).to_contain_text(
            "3 posts waiting on it; each fails when it is due: 2 within 24 hours,"
            f" the first at {first:%H:%M}."
        )
        posts = tab.page.locator("tbody .cell-post")
        await tab.page.get_by_role("link", name="2 will fail within 24 hours").click()
        await expect(posts).to_have_text(["First", "Second"])
        await tab.page.go_back()
        await accounts.get_by_role("link", name="2", exact=True).click()
        await expect(posts).to_have_text(["First", "Second"])
        await tab.page.keyboard.press("*")
        scope = tab.page.get_by_role("dialog").get_by_label("What it is about")
        await tab.page.keyboard.press("r")
        await expect(scope).to_contain_text("Account: blocked (X)")


async def test_posts_whose_content_does_not_fit_are_counted_and_listed(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.execute(
        'mutation { connectAccount(input: {platform: "mastodon"}) { account { accountId } } }'
    )["account"]["accountId"]
    due = datetime.now(UTC) + timedelta(days=3)
    for name, settings in (("Misspelt", {"visiblity": "private"}), ("Fits", {})):
        publisher.execute(
            "mutation($input: CreatePostInput!) { createPost(input: $input) { post { id } } }",
            input={
                "accountIds": [account_id],
                "content": name,
                "scheduledFor": due.isoformat(),
                "platformContent": {"mastodon": {"settings": settings}},
            },
        )
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(page_server.key)
        needed = tab.page.get_by_role("region", name="Needs you")
        await expect(needed).to_contain_text("accounts cannot post")
        await expect(needed).not_to_contain_text("content")
        changed = publisher.execute(
            "mutation($id: Int!) { updateAccount(input: {accountId: $id, publisher: MASTODON})"
            " { contentErrorCount } }",
            id=account_id,
        )
        assert changed == {"contentErrorCount": 1}
        await expect(needed).to_contain_text("1 will fail because of their content")
        await tab.page.get_by_role("link", name="1 will fail because of their content").click()
        await expect(tab.page.locator("tbody .cell-post")).to_have_text(["Misspelt"])
        await expect(tab.page.get_by_label("State")).to_have_value("invalidContent")
        await tab.page.get_by_role("link", name="Misspelt").click()
        await expect(tab.page.get_by_text("It will fail on")).to_contain_text(
            "platformContent.mastodon.settings.visiblity is unknown"
        )


async def test_outage_of_a_platform_is_one_sentence_that_leads_to_its_results(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    one, other = publisher.connect("one"), publisher.connect("other")
    publisher.create_failures(one, 5, "UNAVAILABLE", category="TRANSIENT")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        outage = tab.page.locator(".outage")
        await expect(tab.page.get_by_role("link", name="5 wait for a retry")).to_be_visible()
        await expect(outage).to_have_count(0)
        publisher.create_failures(other, 1, "UNAVAILABLE", category="TRANSIENT")
        await expect(outage).to_have_text(
            re.compile(
                r"X may have an outage\. Since .*\d\d:\d\d, 6 of 6 attempts to publish there failed without"
                r" a fault of the post\. 6 results on 2 accounts"
            )
        )
        assert await tab.axe_violations() == []
        await outage.get_by_role("link").click()
        await expect(tab.page.locator(".list-bar p")).to_have_text("6 results")
        for _ in range(2):
            post_id = publisher.create_post(one, "After the outage")
            publisher.record_publication(post_id, one, f"https://x.com/one/status/{post_id[:8]}")
        await tab.page.go_back()
        await expect(tab.heading("Today")).to_be_visible()
        await expect(outage).to_have_count(0)


async def test_server_that_does_not_answer_is_one_sentence_that_leads_to_what_waits(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    accounts = [publisher.connect(name) for name in ("first", "second", "third")]
    for name, account_id in zip(("A", "B", "C"), accounts, strict=True):
        publisher.create_post(account_id, name)
    now = datetime.now(UTC)
    next_probe_at = now + timedelta(minutes=3)
    async with Database(page_server.database_url) as database:
        workspace = await find_workspace_by_name(database.all_workspaces, "default")
        assert workspace is not None
        rows = (
            *(
                account_breaker(
                    workspace.id, AccountId(each), since=None, next_probe_at=next_probe_at
                )
                for each in accounts[:2]
            ),
            server_breaker(since=now, next_probe_at=next_probe_at),
        )
        await database.write_all_workspaces(lambda session: insert_objects(session, *rows))
    # The server reads outages at most once a second, and another client may have read them just before.
    while not publisher.execute("{ serverOutages { host } }"):  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.1)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(page_server.key)
        outage = tab.page.locator(".outage")
        await expect(outage).to_have_text(
            re.compile(
                r"^social\.example does not answer \(X\) since .*\d\d:\d\d\. What waits on 2 accounts is"
                r" published when it answers, and uses no attempts until then\."
                r" It is tried again at .*\d\d:\d\d\.$"
            )
        )
        assert await tab.axe_violations() == []
        await outage.get_by_role("link").click()
        await expect(tab.page.locator("tbody .cell-post")).to_have_text(["A", "B"])


async def test_failures_of_today_keep_their_order_under_the_pointer(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("today")
    publisher.create_failures(account_id, 12, "GAMMA")
    publisher.create_failures(account_id, 11, "DELTA")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(page_server.key)
        region = tab.page.get_by_role("region", name="Failed today, by cause")
        causes = region.get_by_role("listitem").filter(has_text=re.compile("GAMMA|DELTA"))
        await expect(causes).to_contain_text(["GAMMA", "DELTA"])
        await tab.expect_live()
        await causes.nth(1).hover()
        publisher.create_failures(account_id, 2, "DELTA")
        await expect(causes.nth(1)).to_contain_text("13 failures")
        await expect(causes).to_contain_text(["GAMMA", "DELTA"])
        await tab.page.keyboard.press(".")
        await expect(causes).to_contain_text(["DELTA", "GAMMA"])
