"""The board in Chromium under a path prefix: live changes, retries, hostile text, and a revoked key."""

import json

import pytest
from playwright.async_api import Browser, Route, ViewportSize, expect

from tests.web.board_api import BoardApi, run_in_shell
from tests.web.board_tab import UNAUTHORIZED, UNREACHABLE, open_tab, request_body
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

HOSTILE = (
    "<img src=x onerror=alert(1)>\u202e{{7*7}}</title><script>alert(2)</script>\u0007" + "a" * 3_000
)
SHOWN_START = "<img src=x onerror=alert(1)>\u202e{{7*7}}"
TITLE_START = "<img src=x onerror=alert(1)>{{7*7}}"
NARROW: ViewportSize = {"width": 360, "height": 800}

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


async def test_empty_workspace_says_how_to_begin_and_the_first_post_appears(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.create_key_of_workspace("empty")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open()
        await tab.sign_in(key, person="Ann")
        for page in ("Accounts", "Today", "Results"):
            await tab.page.get_by_role("link", name=page, exact=True).click()
            await expect(tab.heading(page)).to_be_focused()
            await expect(tab.page.get_by_label("Send a post", exact=True)).to_be_visible()
        await expect(tab.page.locator(".empty").first).to_have_text("There are no results yet.")
        assert await tab.axe_violations() == []
        await tab.expect_live()
        connecting, sending = [
            await tab.page.get_by_label(name, exact=True).input_value()
            for name in ("Connect an account", "Send a post")
        ]
        run_in_shell(connecting, key)
        await expect(tab.page.get_by_label("Connect an account", exact=True)).to_have_count(0)
        post_id = json.loads(run_in_shell(sending, key))["data"]["post_id"]
        row = tab.page.locator("tbody tr")
        await expect(row).to_contain_text("Hello")
        await expect(row).to_contain_text("@brand")
        await expect(row).to_contain_text("Scheduled")
        BoardApi(page_server.url, key).record_failure(post_id, 1)
        await expect(row).to_contain_text("Failed")
        await expect(row).to_contain_text("It is broken.")


async def test_row_that_leaves_the_list_stays_in_place_while_it_is_selected(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("leaving")
    publisher.create_post(account_id, "A post that leaves")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/results?status=QUEUED&account={account_id}")
        await tab.sign_in(page_server.key)
        row = tab.page.locator("tbody tr")
        await row.get_by_role("checkbox").check()
        await tab.expect_live()
        publisher.fail("It is broken.")
        await expect(row).to_contain_text("now Failed; no longer in this list")
        publisher.create_post(account_id, "A new post")
        await expect(tab.page.get_by_role("button", name="1 new · show")).to_be_visible()
        await expect(row).to_have_count(1)
        await tab.page.keyboard.press(".")
        await expect(row).to_contain_text("A new post")
        publisher.fail("It is broken.")


async def test_key_that_selects_all_selects_nothing_that_comes_later_into_an_empty_list(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("empty")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/results?account={account_id}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator(".empty")).to_be_visible()
        await tab.expect_live()
        await tab.page.keyboard.press("*")
        publisher.create_failures(account_id, 1, "LATER")
        await expect(tab.page.locator("tbody tr")).to_have_count(1)
        await expect(tab.page.get_by_label("Selection")).to_have_count(0)
        await tab.page.keyboard.press("*")
        await expect(tab.page.get_by_label("Selection")).to_contain_text(
            "The 1 result that matches"
        )


async def test_retry_is_queued_once_and_names_the_person(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("retried"), "A post to retry")
    publisher.fail("It is broken.")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key, person="Ann")
        await tab.page.get_by_role("button", name="Retry").dblclick()
        await expect(tab.page.locator(".notice")).to_have_text("It is queued again.×")
        await expect(tab.page.locator(".card .status")).to_have_text("Scheduled")
        await expect(tab.page.get_by_role("button", name="Retry")).to_have_count(0)
        await expect(tab.page.locator("main > section").last).to_contain_text("by Ann")
        post = publisher.execute("query($id: UUID!) { post(postId: $id) { version } }", id=post_id)
        assert post == {"version": 2}
        await tab.page.get_by_role("button", name="Cancel post").click()
        dialog = tab.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("It will not be published on 1 account.")
        assert await tab.axe_violations() == []
        await dialog.get_by_role("button", name="Cancel the post").click()
        await expect(dialog).to_have_count(0)
        await expect(tab.page.locator(".card .status")).to_have_text("Cancelled")


async def test_retry_without_a_response_is_repeated_with_its_key(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("lost"), "A retry whose response is lost")
    publisher.fail("It is broken.")

    async def lose_response(route: Route) -> None:
        if "accountIds" not in request_body(route.request).get("variables", {}).get("input", {}):
            await route.continue_()
            return
        await route.fetch()
        await route.abort()

    lost = frozenset({UNAUTHORIZED, "Failed to load resource: net::ERR_FAILED"})
    async with open_tab(browser, page_server.url, problems=lost) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        await tab.page.keyboard.press("z")  # pauses updates, so that the button stays
        await tab.page.route("**/graphql", lose_response)
        retry = tab.page.get_by_role("button", name="Retry")
        await retry.click()
        notice = tab.page.locator(".notice p")
        await expect(notice).to_have_text(
            "It is not known whether it was retried. The server cannot be reached. Check the connection,"
            " then try again."
        )
        assert publisher.version(post_id) == 2
        await tab.page.unroute("**/graphql")
        await retry.click()
        await expect(notice.last).to_have_text("It is queued again.")
        assert publisher.version(post_id) == 2
        publisher.fail("It is broken again.")


async def test_cancellation_of_a_changed_post_is_refused_once_also_without_updates(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("stale"), "A post that changes")
    publisher.fail("It is broken.")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        publisher.retry(post_id)
        await expect(tab.page.locator(".card .status")).to_have_text("Scheduled")
        await tab.page.keyboard.press("z")
        await tab.page.get_by_role("button", name="Cancel post").click()
        publisher.fail("It is broken again.")
        publisher.retry(post_id)
        dialog = tab.page.get_by_role("dialog")
        cancel = dialog.get_by_role("button", name="Cancel the post")
        await cancel.click()
        await expect(dialog).to_contain_text(
            "Another person or program has changed the post meanwhile."
        )
        await expect(dialog).to_contain_text("Retried manually.")
        await expect(dialog).to_contain_text("by the key “first key”")
        assert publisher.version(post_id) == 3
        await expect(tab.page.locator(".connection")).to_contain_text("Paused")
        await cancel.click()
        await expect(dialog).to_have_count(0)
        assert publisher.statuses("A post that changes") == ["FAILED"]


async def test_hostile_text_is_shown_as_text_on_every_page(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("<b>bold</b>\u202e"), HOSTILE)
    publisher.fail(HOSTILE[:500], code="<script>")
    async with open_tab(browser, page_server.url, viewport=NARROW) as tab:
        await tab.open("/results?code=%3Cscript%3E")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_contain_text(SHOWN_START)
        await tab.open()
        await expect(tab.page.locator(".causes").first).to_contain_text("<img src=x onerror")
        await tab.open(f"/posts/{post_id}")
        await expect(tab.page.locator(".card h2")).to_contain_text("<b>bold</b>")
        await expect(tab.page.locator(".post-text")).to_contain_text("</script>\u2407aaa")
        assert (await tab.page.title()).startswith(TITLE_START)
        assert await tab.page.locator("img, main script").count() == 0
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_revoked_key_asks_for_another_over_the_page(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    key = page_server.create_key("revoked")
    publisher.create_post(publisher.connect("revoked"), "Shown before the key is revoked")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results")
        await tab.sign_in(key)
        await expect(tab.page.locator("tbody tr").first).to_be_visible()
        page_server.revoke_key("revoked")
        dialog = tab.page.get_by_role("dialog", name="Sign in again")
        await expect(dialog).to_be_visible()
        await tab.sign_in(page_server.key)
        await expect(dialog).to_have_count(0)
        await tab.page.get_by_label("Text of the post").fill("before the key")
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.locator("tbody tr")).to_have_count(1)
        await expect(tab.page.locator("tbody tr")).to_contain_text(
            "Shown before the key is revoked"
        )


async def test_page_catches_up_after_a_restart_of_the_server(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("restarted")
    async with open_tab(browser, page_server.url, problems=UNREACHABLE) as tab:
        await tab.open(f"/results?account={account_id}")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        page_server.server.stop()
        await expect(tab.page.locator(".connection")).to_contain_text("Reconnecting… as of")
        page_server.restart()
        await tab.page.route(tab.board_url, lambda route: route.fulfill(body="<!doctype html>"))
        publisher.create_post(account_id, "A post that the page has missed")
        await tab.expect_live()
        await expect(tab.page.locator("tbody tr")).to_contain_text(
            "A post that the page has missed"
        )
        notices = tab.page.get_by_label("Messages")
        await expect(notices).to_contain_text("Connected again")
        await expect(notices).to_contain_text(
            "A newer version of this page is available. Reload it."
        )
