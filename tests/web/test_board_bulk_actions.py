"""Bulk actions of the board in Chromium: dry run, confirmation, stop, conflict, and lost responses."""

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.web.board_tab import UNAUTHORIZED, BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

LOST_RESPONSE = "Failed to load resource: net::ERR_FAILED"

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


async def open_retry_of_all(tab: BoardTab, server: PageServer, code: str) -> None:
    """Sign in, select all results with the code, and open the dialog by keys."""
    await tab.open(f"/results?code={code}")
    await tab.sign_in(server.key, person="Ann")
    await expect(tab.page.locator("tbody tr").first).to_be_visible()
    await tab.page.keyboard.press("*")
    await tab.page.keyboard.press("r")


async def expect_sentence(page: Page, text: str) -> None:
    sentence = page.get_by_role("dialog").locator(".sentence")
    await expect(sentence).to_have_text(text)
    await expect(sentence).to_be_focused()


def bulk_input(route: Route) -> dict[str, Any] | None:
    """Input of a call with a plan; None for other requests."""
    body = json.loads(route.request.post_data or "{}")
    arguments: dict[str, Any] = body.get("variables", {}).get("input") or {}
    return arguments if arguments.get("plan") else None


async def test_retry_of_all_changes_what_the_dry_run_has_shown(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("able"), 3, "ALL")
    unable = publisher.connect("unable")
    publisher.create_failures(unable, 1, "ALL")
    publisher.disconnect(unable)
    async with open_tab(browser, page_server.url) as tab:
        await open_retry_of_all(tab, page_server, "ALL")
        dialog = tab.page.get_by_role("dialog", name="Retry failed results")
        await expect_sentence(tab.page, "3 of 4 results will be queued again; 1 not:")
        scope = dialog.get_by_label("What it is about").get_by_role("listitem")
        assert await scope.all_text_contents() == [
            "All results that match",
            "Error code: ALL",
            "Only what has failed",
        ]
        await expect(dialog.get_by_label("Not changed")).to_have_text(
            "1 The account cannot post. Reconnect the account, then retry."
        )
        assert await tab.axe_violations() == []
        assert publisher.statuses("ALL") == ["FAILED"] * 4
        await dialog.get_by_role("button", name="Retry 3 results").click()
        await expect_sentence(tab.page, "3 of 4 results were queued again; 1 not:")
        assert sorted(publisher.statuses("ALL")) == ["FAILED", "QUEUED", "QUEUED", "QUEUED"]
        await dialog.get_by_role("button", name="Close").click()
        await expect(tab.page.locator(".notice")).to_have_text("3 results were queued again.×")
        await expect(tab.page.locator("tbody .status", has_text="Scheduled")).to_have_count(3)


async def test_stop_ends_after_the_current_call_and_continue_finishes_the_plan(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("stopped"), 3, "STOP")
    stopped = asyncio.Event()
    keys: list[str] = []

    async def change_one_by_one(route: Route) -> None:
        """Let each call change one object, and the first one wait until the user has stopped."""
        arguments = bulk_input(route)
        body = json.loads(route.request.post_data or "{}")
        if arguments is not None:
            keys.append(arguments["idempotencyKey"])
            await stopped.wait()
            body["variables"]["input"]["first"] = 1
        await route.continue_(post_data=json.dumps(body))

    async with open_tab(browser, page_server.url) as tab:
        await tab.page.route("**/graphql", change_one_by_one)
        await open_retry_of_all(tab, page_server, "STOP")
        await tab.page.get_by_role("button", name="Retry 3 results").click()
        await expect_sentence(tab.page, "0 of 3 results queued again so far.")
        await tab.page.get_by_role("button", name="Stop").click()
        stopped.set()
        await expect_sentence(tab.page, "Stopped: 1 of 3 results was queued again.")
        assert sorted(publisher.statuses("STOP")) == ["FAILED", "FAILED", "QUEUED"]
        await tab.page.get_by_role("button", name="Continue").click()
        await expect_sentence(tab.page, "3 of 3 results were queued again.")
        assert publisher.statuses("STOP") == ["QUEUED"] * 3
        assert len(set(keys)) == len(keys) == 3


async def test_conflict_changes_nothing_and_repeats_the_dry_run(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("steady"), 1, "CONFLICT")
    returning = publisher.connect("returning")
    publisher.create_failures(returning, 1, "CONFLICT")
    publisher.disconnect(returning)
    async with open_tab(browser, page_server.url) as tab:
        await open_retry_of_all(tab, page_server, "CONFLICT")
        await expect_sentence(tab.page, "1 of 2 results will be queued again; 1 not:")
        publisher.mark_reconnected(returning)
        await tab.page.get_by_role("button", name="Retry 1 result").click()
        await expect_sentence(tab.page, "2 of 2 results will be queued again.")
        await expect(tab.page.locator("dialog .problem")).to_contain_text(
            "Something has changed meanwhile, so it was checked again."
            " The plan has 1 left, but more can be changed now."
        )
        assert publisher.statuses("CONFLICT") == ["FAILED", "FAILED"]
        await tab.page.get_by_role("button", name="Change nothing").click()
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)
        assert publisher.statuses("CONFLICT") == ["FAILED", "FAILED"]


async def test_call_without_a_response_is_repeated_with_the_same_key(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_ids = publisher.create_failures(publisher.connect("lost"), 2, "LOST")
    keys: list[str] = []

    async def lose_first_response(route: Route) -> None:
        arguments = bulk_input(route)
        if arguments is not None:
            keys.append(arguments["idempotencyKey"])
        if len(keys) == 1 and arguments is not None:
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()

    async with open_tab(
        browser, page_server.url, problems=frozenset({UNAUTHORIZED, LOST_RESPONSE})
    ) as tab:
        await tab.page.route("**/graphql", lose_first_response)
        await open_retry_of_all(tab, page_server, "LOST")
        await tab.page.get_by_role("button", name="Retry 2 results").click()
        await expect_sentence(tab.page, "It did not work.")
        await expect(tab.page.get_by_role("alert")).to_contain_text("cannot be reached")
        await tab.page.get_by_role("button", name="Try again").click()
        await expect_sentence(tab.page, "2 of 2 results were queued again.")
        assert len(keys) == 2
        assert keys[0] == keys[1]
        assert [publisher.version(post_id) for post_id in post_ids] == [2, 2]


async def test_selected_rows_are_retried_and_no_others(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("selected"), 3, "SELECTED")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results?code=SELECTED&order=CREATED_AT&direction=ASC")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_have_count(3)
        await tab.page.keyboard.press("j")
        await expect(tab.page.locator("tr[data-index='0']")).to_be_focused()
        await tab.page.keyboard.press("x")
        await tab.page.keyboard.press("Shift+J")
        bar = tab.page.get_by_label("Selection")
        await expect(bar).to_contain_text("2 results selected")
        await bar.get_by_role("button", name="Retry…").click()
        await tab.page.get_by_role("button", name="Retry 2 results").click()
        await expect_sentence(tab.page, "2 of 2 results were queued again.")
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)
        assert publisher.statuses("SELECTED") == ["QUEUED", "QUEUED", "FAILED"]
        await tab.page.get_by_label("Select selected (X)").first.click()
        await expect(bar).to_contain_text("1 result selected")
        await bar.get_by_role("button", name="Clear").click()
        await expect(bar).to_have_count(0)


async def test_cancelled_results_are_not_counted_as_failed_now_and_left_out_of_retries(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("partly cancelled")
    publisher.create_failures(account_id, 2, "FAILED_NOW")
    publisher.create_failures(account_id, 1, "CANCELLED")
    async with open_tab(browser, page_server.url) as tab:
        scope = tab.page.get_by_label("What it is about").get_by_role("listitem")
        await tab.open(f"/accounts/{account_id}")
        await tab.sign_in(page_server.key)
        await tab.page.get_by_role("button", name="Retry all failed…").click()
        await expect_sentence(tab.page, "2 of 2 results will be queued again.")
        assert await scope.all_text_contents() == [
            "Everything that has failed on partly cancelled (X)",
            "Cancelled results are left out",
        ]
        await tab.page.get_by_role("button", name="Change nothing").click()
        await tab.page.get_by_role("link", name="2 failed now").click()
        await expect(tab.page).to_have_url(
            f"{tab.board_url}/results?outcome=FAILED&account={account_id}&flag=notCancelled&order=FAILED_AT"
        )
        await expect(tab.page.locator("tbody tr")).to_have_count(2)
        await tab.page.get_by_label("State").select_option("")
        await expect(tab.page.locator("tbody tr")).to_have_count(3)
        await tab.page.keyboard.press("Escape")
        await tab.page.get_by_role("button", name="Select all").click()
        await tab.page.get_by_label("Selection").get_by_role("button", name="Retry…").click()
        await expect_sentence(tab.page, "2 of 2 results will be queued again.")
        assert (await scope.all_text_contents())[-1] == "Cancelled results are left out"
        await tab.page.get_by_role("button", name="Retry 2 results").click()
        await expect_sentence(tab.page, "2 of 2 results were queued again.")
        assert publisher.statuses("CANCELLED") == ["FAILED"]


async def test_retry_of_all_names_what_it_leaves_out(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("mixed")
    publisher.create_failures(account_id, 1, "MIXED")
    publisher.create_failures(account_id, 1, "CANCELLED")
    publisher.create_post(account_id, "Waits for its time")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/results?account={account_id}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_have_count(3)
        bar = tab.page.get_by_label("Selection")
        scope = tab.page.get_by_label("What it is about").get_by_role("listitem")
        await tab.page.keyboard.press("*")
        await expect(bar).to_contain_text("All 3 results that match")
        await tab.page.keyboard.press("r")
        await expect_sentence(tab.page, "1 of 1 result will be queued again.")
        assert await scope.all_text_contents() == [
            *("All results that match", "Account: mixed (X)"),
            *("Only what has failed", "Cancelled results are left out"),
        ]
        await tab.page.keyboard.press("Escape")
        await tab.open(f"/results?account={account_id}&status=QUEUED")
        await expect(tab.page.locator("tbody tr")).to_have_count(1)
        await tab.page.keyboard.press("*")
        await expect(bar).to_contain_text("The 1 result that matches")


async def test_filter_that_is_too_broad_is_refused_before_it_is_sent(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("broad"), 1, "BROAD")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results?status=FAILED")
        await tab.sign_in(page_server.key)
        await tab.page.get_by_role("button", name="Select all").click()
        retry = tab.page.get_by_label("Selection").get_by_role("button", name="Retry…")
        await expect(retry).to_have_attribute("aria-disabled", "true")
        await expect(retry).to_have_accessible_description(
            "Add a filter beside status and outcome first, such as an account, a cause or a period."
        )


async def test_posts_that_match_a_text_are_cancelled(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("cancelled")
    post_ids = [
        publisher.create_post(account_id, text)
        for text in ("winter sale one", "winter sale two", "summer sale")
    ]
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results?status=QUEUED&q=winter+sale")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_have_count(2)
        await tab.page.keyboard.press("*")
        await tab.page.keyboard.press("c")
        await expect_sentence(tab.page, "2 of 2 posts will be cancelled.")
        await tab.page.get_by_role("button", name="Cancel 2 posts").click()
        await expect_sentence(tab.page, "2 of 2 posts were cancelled.")
        assert [publisher.version(post_id) for post_id in post_ids] == [2, 2, 1]


async def test_posts_of_selected_results_are_cancelled_on_all_their_accounts(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    first, second = publisher.connect("selected one"), publisher.connect("selected two")
    both = publisher.execute(
        'mutation($ids: [Int!]!) { createPost(input: {accountIds: $ids, content: "chosen both"})'
        " { post { postId } } }",
        ids=[first, second],
    )["post"]["postId"]
    other = publisher.create_post(first, "chosen not")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results?status=QUEUED&q=chosen&order=CREATED_AT&direction=ASC")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_have_count(3)
        for account in ("selected one", "selected two"):
            row = tab.page.locator("tbody tr").filter(has_text="chosen both")
            await row.filter(has_text=account).get_by_role("checkbox").check()
        await tab.page.keyboard.press("c")
        await expect_sentence(tab.page, "1 of 1 post will be cancelled.")
        dialog = tab.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("The 1 post whose results you have selected")
        await tab.page.get_by_role("button", name="Cancel 1 post").click()
        await expect_sentence(tab.page, "1 of 1 post was cancelled.")
        assert [publisher.version(both), publisher.version(other)] == [2, 1]


async def test_read_only_sign_in_shows_actions_with_the_reason(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("read only")
    publisher.create_failures(account_id, 1, "READONLY")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/failures")
        await tab.sign_in(page_server.key, read_only=True)
        await expect(tab.page.get_by_role("button", name="Retry all…").first).to_be_visible()
        await expect_disabled(tab.page, "Retry all…")
        await tab.open(f"/accounts/{account_id}")
        for name in ("Mark reconnected…", "Bring back", "Retry all failed…"):
            await expect_disabled(tab.page, name)
        await tab.open("/results?code=READONLY")
        await tab.page.get_by_role("button", name="Select all").click()
        for name in ("Retry…", "Cancel posts…"):
            await expect_disabled(tab.page, name)


async def expect_disabled(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name).first
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_have_accessible_description("This sign-in may only read.")
    await button.click(force=True)
    assert await page.get_by_role("dialog").count() == 0
