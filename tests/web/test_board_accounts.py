"""Accounts on the board in Chromium: the list, one account, and bringing back what failed without access."""

import re

import pytest
from playwright.async_api import Browser, Route, expect

from tests.servers import DEMO_KEY, ServerProcess
from tests.web.board_api import BoardApi
from tests.web.board_tab import open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


async def test_accounts_are_filtered_by_the_url_and_opened_by_keys(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/accounts")
        rows = tab.page.locator("tbody tr")
        await expect(tab.page.locator("main > p").first).to_have_text("13 accounts")
        await expect(rows.nth(0)).to_contain_text("@mybrand")
        await expect(rows.nth(0)).to_contain_text("Healthy")
        await tab.page.get_by_role("combobox", name="Access").select_option("no")
        await expect(tab.page).to_have_url(f"{tab.board_url}/accounts?canPost=no")
        await expect(rows).to_have_count(4)
        await expect(rows.nth(0)).to_contain_text("My Brand Inc.")
        await expect(rows.nth(0)).to_contain_text("Cannot post")
        await expect(rows.nth(0)).to_contain_text("The platform rejected its access.")
        await expect(rows.nth(0)).to_contain_text("TOKEN_EXPIRED")
        await tab.page.get_by_label("Name").fill("shop")
        await tab.page.keyboard.press("Enter")
        await expect(rows).to_have_count(1)
        await expect(tab.page).to_have_url(f"{tab.board_url}/accounts?canPost=no&q=shop")
        await tab.page.locator("h1").focus()
        await tab.page.keyboard.press("j")
        await expect(rows.nth(0)).to_be_focused()
        await tab.page.keyboard.press("Enter")
        await expect(tab.heading("@mybrand.shop")).to_be_focused()
        assert await tab.page.locator("img").count() == 0
        await tab.page.keyboard.press("u")
        await expect(tab.page).to_have_url(f"{tab.board_url}/accounts?canPost=no&q=shop")


async def test_number_that_could_not_be_read_is_a_dash(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async def remove_numbers(route: Route) -> None:
        response = await route.fetch()
        body = await response.json()
        for account in (body["data"].get("accountConnection") or {"nodes": []})["nodes"]:
            if "health" in account:
                account.update(
                    health=None, openFailures=None, unknownCount={"count": 0, "capped": False}
                )
        await route.fulfill(response=response, json=body)

    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo()
        await tab.page.route("**/graphql", remove_numbers)
        await tab.open("/accounts")
        row = tab.page.locator("tbody tr").first
        for label, text in {"Waiting": "–", "Failed now": "–", "Unknown": "0"}.items():
            await expect(row.locator(f"td[data-label='{label}']")).to_have_text(text)


async def test_account_shows_health_numbers_due_posts_and_statistics(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/accounts/2285")
        health = tab.page.get_by_label("Health")
        await expect(health).to_contain_text("Cannot post")
        await expect(health).to_contain_text("LinkedIn, my-brand-inc, number 2285")
        assert await health.locator("p").all_inner_texts() == [
            "MB\nLinkedIn, my-brand-inc, number 2285",
            "The account has no valid access to its platform. Reconnect the account to post.",
        ]
        bring_back = tab.page.get_by_role("button", name="Bring back what failed")
        await expect(bring_back).to_have_accessible_description(
            "Reconnect the account where it was connected, then mark it as reconnected here."
        )
        await tab.open("/accounts/2280")
        profile = tab.page.get_by_role("link", name="Profile on www.instagram.com")
        await expect(profile).to_have_attribute("href", "https://www.instagram.com/mybrand")
        due = tab.page.get_by_role("heading", name="Due until ")
        until = await due.locator("time").get_attribute("datetime")
        filter_ = f'{{accountId: [2280], status: [QUEUED], scheduledBefore: "{until}"}}'
        waiting = BoardApi(demo_server.url, DEMO_KEY).execute(
            f"{{ destinations(first: 5, filter: {filter_}) {{ totalCount nodes {{ id }} }} }}"
        )
        rows = tab.page.locator("section[aria-labelledby='due'] li")
        await expect(rows).to_have_count(len(waiting["nodes"]))
        more = tab.page.get_by_role("link", name=f"All {waiting['totalCount']}", exact=True)
        await expect(more).to_have_count(int(waiting["totalCount"] > 5))
        await expect(tab.page.locator("section[aria-labelledby='statistics']")).to_contain_text(
            re.compile(r"Success rate\d+(\.\d)?%Published\d+; \d+ by the first attempt")
        )
        await tab.page.get_by_role("link", name="with an unknown outcome").click()
        await expect(tab.page).to_have_url(f"{tab.board_url}/results?outcome=UNKNOWN&account=2280")
        count = BoardApi(demo_server.url, DEMO_KEY).execute(
            "{ account(accountId: 2280) { unknownCount { count } } }"
        )["unknownCount"]["count"]
        await expect(tab.page.locator("tbody tr")).to_have_count(count)
        await expect(tab.page.locator(".list-bar p")).to_contain_text(f"{count} result")


async def test_bad_urls_say_what_to_do(browser: Browser, demo_server: ServerProcess) -> None:
    texts = {
        "/accounts/1": "No such account",
        "/accounts/-1": "No such account",
        "/accounts/99999999999999999999": "No such account",
        "/accounts?canPost=maybe&order=NAME&direction=UP&platform=%00": "13 accounts",
        "/accounts?q=missing": "No account matches these filters.",
        "/accounts?after=nonsense": "Go to the first page",
    }
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/accounts")
        await expect(tab.heading("Accounts")).to_be_visible()
        for path, text in texts.items():
            await tab.open(path)
            await expect(tab.page.locator("main")).to_contain_text(text)


async def test_account_without_credentials_says_so(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    payload = publisher.execute(
        'mutation { connectAccount(input: {platform: "bluesky", publisher: BLUESKY})'
        " { account { accountId } } }"
    )
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/accounts/{payload['account']['accountId']}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.get_by_label("Health").locator("p").last).to_have_text(
            "No credentials are stored for the account. Connect it again, or use setAccountCredentials."
        )


async def test_what_failed_without_access_is_brought_back_after_reconnection(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("<b>returning</b>")
    publisher.create_failures(account_id, 2, "RETURNING", category="AUTH")
    async with open_tab(browser, page_server.url, timezone_id="UTC") as tab:
        await tab.open(f"/accounts/{account_id}")
        await tab.sign_in(page_server.key, person="Ann")
        await expect(tab.page.get_by_role("link", name="failed without access")).to_contain_text(
            "2"
        )
        await expect(tab.heading("<b>returning</b>")).to_be_visible()
        await tab.page.get_by_role("button", name="Mark reconnected…").click()
        dialog = tab.page.get_by_role("dialog")
        await dialog.get_by_label("The access ends").fill("2031-05-04T10:00")
        assert await tab.axe_violations() == []
        await dialog.get_by_role("button", name="Mark reconnected").click()
        await expect(dialog).to_have_count(0)
        await expect(tab.page.get_by_label("Health")).to_contain_text("Sun 4 May 2031, 10:00")
        token = publisher.execute(
            "query($id: Int!) { account(accountId: $id) { token { expiresAt } } }", id=account_id
        )
        assert token == {"token": {"expiresAt": "2031-05-04T10:00:00.000Z"}}
        assert publisher.statuses("RETURNING") == ["FAILED", "FAILED"]
        await tab.page.get_by_role("button", name="Bring back what failed").click()
        await expect(dialog).to_contain_text("2 of 2 results will be queued again.")
        await dialog.get_by_role("button", name="Retry 2 results").click()
        await expect(dialog).to_contain_text("2 of 2 results were queued again.")
        assert publisher.statuses("RETURNING") == ["QUEUED", "QUEUED"]


async def test_what_waited_is_published_after_reconnection(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("waiting")
    publisher.set_lost_access_policy(account_id, "WAIT")
    publisher.create_failures(account_id, 2, "WAITED", category="AUTH")
    due = publisher.create_post(account_id, "Due on a waiting account")
    async with open_tab(browser, page_server.url, timezone_id="UTC") as tab:
        await tab.open(f"/accounts/{account_id}")
        await tab.sign_in(page_server.key, person="Ann")
        await expect(tab.page.get_by_role("region", name="Due until")).to_contain_text(
            "Each of these waits until the account is reconnected, and fails 24 hours after it is due."
        )
        await tab.page.get_by_role("button", name="Mark reconnected…").click()
        dialog = tab.page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Mark reconnected").click()
        await expect(dialog).to_contain_text("2 posts waited longer, or failed without access.")
        assert await tab.axe_violations() == []
        await dialog.get_by_role("button", name="Leave as it is").click()
        await expect(dialog).to_have_count(0)
        assert publisher.statuses("WAITED") == ["FAILED", "FAILED"]
        await tab.page.get_by_role("button", name="Publish what waited…").click()
        await dialog.get_by_role("button", name="Publish 2 posts").click()
        await expect(dialog).to_have_count(0)
        await expect(tab.page.get_by_text("2 posts were queued again.")).to_be_visible()
        assert publisher.statuses("WAITED") == ["QUEUED", "QUEUED"]
        await tab.page.get_by_role("button", name="Publish what waited…").click()
        await expect(dialog).to_contain_text("No post waits, and none has failed without access.")
        publisher.delete_post(due)


async def test_account_that_is_disconnected_meanwhile_changes_in_the_list(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("leaving")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/accounts?q=leaving")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_contain_text("Healthy")
        await tab.expect_live()
        publisher.disconnect(account_id)
        await expect(tab.page.locator("tbody tr")).to_contain_text("Cannot post")
        await expect(tab.page.locator("tbody tr")).to_contain_text(
            "It is disabled or disconnected."
        )
