"""States of the board in Chromium: keys and workspaces that may not do all, wrong clocks, lost changes."""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Locator, Route, expect
from sqlalchemy import update

from app.db.core.database import Database
from app.db.models import ApiKey
from tests.raw_statements import run_raw
from tests.web.board_feed import Feed
from tests.web.board_tab import UNAUTHORIZED, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

MIRROR_REASON = "This workspace mirrors another service. Make the change there."
IMPORTED_ACCOUNT = 77
FAILED = "Failed to load resource: net::ERR_FAILED"
UNAVAILABLE = (
    "Failed to load resource: the server responded with a status of 503 (Service Unavailable)"
)
WRONG_CLOCK = "The clock of this computer is wrong. All times here are by the server’s clock."
"""Notice of a browser whose clock differs by more than 30 seconds."""

pytestmark = pytest.mark.usefixtures("require_built_page")


def import_failure(page_server: PageServer, folder: Path, workspace: str) -> str:
    """Import a post that has failed today on one account, and return its id."""
    return import_post(page_server, folder, workspace, {"status": "failed"})


def import_retry(page_server: PageServer, folder: Path, workspace: str) -> str:
    """Import a post for which the other service has planned a retry, and return its id."""
    retry_at = datetime.now(UTC) + timedelta(hours=1)
    retry = {"status": "queued", "next_retry_at": retry_at.isoformat()}
    return import_post(page_server, folder, workspace, retry)


def import_post(
    page_server: PageServer, folder: Path, workspace: str, state: Mapping[str, object]
) -> str:
    """Import a post after an attempt that failed today on one account, and return its id."""
    post_id = str(uuid4())
    attempt = {"account_id": IMPORTED_ACCOUNT, "platform": "x", "attempts": 1}
    record = {
        "post_id": post_id,
        "content": "A post of another service",
        "scheduled_for": datetime.now(UTC).isoformat(),
        "destinations": [{**attempt, "error": "It is broken.", **state}],
    }
    file = folder / "posts.jsonl"
    file.write_text(json.dumps(record), "utf-8")
    page_server.run_command("import", str(file), "--workspace", workspace)
    return post_id


async def test_key_that_only_publishes_is_refused_with_the_reason_and_can_be_replaced(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.create_key("publisher", "--scope", "publish")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results")
        await tab.sign_in(key)
        await expect(tab.heading("This key can publish, but not read")).to_be_visible()
        await tab.page.get_by_role("link", name="sign in with it").click()
        await tab.sign_in(page_server.key)
        await expect(tab.heading("Today")).to_be_visible()


async def test_mirror_offers_no_action_and_says_why(
    browser: Browser, page_server: PageServer, tmp_path: Path
) -> None:
    key = page_server.create_key_of_workspace("mirror", "--mirror-of", "https://example.com")
    post_id = import_failure(page_server, tmp_path, "mirror")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results")
        await tab.sign_in(key)
        await expect(tab.page.locator(".header")).to_contain_text("mirror")
        await tab.page.locator("tbody").get_by_role("checkbox").check()
        await expect_disabled_reasons(tab.page.get_by_label("Selection"), 2)
        for path, count in (
            (f"/posts/{post_id}", 2),
            (f"/accounts/{IMPORTED_ACCOUNT}", 3),
            ("/failures", 1),
        ):
            await tab.open(path)
            await expect_disabled_reasons(tab.page.locator("main"), count)


async def test_mirror_shows_retries_as_plans_of_the_mirrored_service(
    browser: Browser, page_server: PageServer, tmp_path: Path
) -> None:
    key = page_server.create_key_of_workspace("retrying", "--mirror-of", "https://example.com")
    post_id = import_retry(page_server, tmp_path, "retrying")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/waiting")
        await tab.sign_in(key)
        await expect(tab.heading("Waiting for a retry")).to_be_visible()
        await expect(tab.heading("Overdue")).to_have_count(0)
        retries = tab.page.locator(".waiting").first
        await expect(retries).to_contain_text("the mirrored service had planned to try them again")
        await expect(retries.locator("tbody")).to_contain_text("planned for")
        await tab.open(f"/posts/{post_id}")
        await expect(tab.page.locator(".post-header .status")).to_have_text("Retrying")
        await expect(tab.page.locator(".card .fix")).to_have_text(
            "Nothing to do: the mirrored service has planned a retry."
        )


async def test_unfinished_import_has_no_next_step_on_the_board(
    browser: Browser, page_server: PageServer, tmp_path: Path
) -> None:
    key = page_server.create_key_of_workspace("unfinished")
    post_id = import_retry(page_server, tmp_path, "unfinished")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(key)
        await expect(tab.page.locator(".post-header .status")).to_have_text("Imported unfinished")
        card = tab.page.locator(".card")
        await expect(card.locator(".status")).to_have_text("Imported unfinished")
        await expect(card).to_contain_text("This server does not publish it.")
        await expect(card.locator(".fix")).to_have_count(0)


async def expect_disabled_reasons(place: Locator, count: int) -> None:
    """Expect that so many actions are disabled because of the mirror, and that there are no others."""
    await expect(place.locator(".disabled-reason")).to_have_text([MIRROR_REASON] * count)
    await expect(place.locator(".action button[aria-disabled=true]")).to_have_count(count)
    await expect(place.locator(".action")).to_have_count(count)


async def test_imported_post_is_retried_and_cancelled_where_it_came_from(
    browser: Browser, page_server: PageServer, tmp_path: Path
) -> None:
    post_id = import_failure(page_server, tmp_path, "default")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/results?account={IMPORTED_ACCOUNT}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody .cell-reason")).to_contain_text(
            "Retry it in the service that publishes it"
        )
        await tab.open(f"/posts/{post_id}")
        await expect(tab.page.locator(".facts")).to_contain_text("another service publishes it")
        for name, reason in (
            ("Retry", "Retry the post in the service that publishes it."),
            ("Cancel post", "Another service publishes this post. Cancel it there."),
        ):
            button = tab.page.get_by_role("button", name=name)
            await expect(button).to_have_attribute("aria-disabled", "true")
            await expect(button).to_have_accessible_description(reason)


async def test_key_that_expires_asks_for_another_over_the_page(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("expiring")
    publisher.create_failures(account_id, 1, "EXPIRING")
    key = page_server.create_key("expiring", "--expires-in-days", "1")
    async with open_tab(browser, page_server.url) as tab, Database(page_server.database_url) as db:
        await tab.open(f"/results?account={account_id}")
        await tab.sign_in(key)
        checkbox = tab.page.locator("tbody").get_by_role("checkbox")
        await checkbox.check()
        await tab.expect_live()
        expiry = (
            update(ApiKey).where(ApiKey.name == "expiring").values(expires_at=datetime.now(UTC))
        )
        await db.write_all_workspaces(lambda session: run_raw(session, expiry))
        dialog = tab.page.get_by_role("dialog", name="Sign in again")
        await expect(dialog).to_be_visible()
        await tab.sign_in(page_server.key)
        await expect(dialog).to_have_count(0)
        await expect(checkbox).to_be_checked()


async def test_selection_survives_lost_changes_where_rows_still_exist(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("resynced")
    post_ids = publisher.create_failures(account_id, 3, "RESYNCED")
    async with open_tab(browser, page_server.url) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open(f"/results?account={account_id}&order=CREATED_AT&direction=ASC")
        await tab.sign_in(page_server.key)
        rows = tab.page.locator("tbody tr")
        await rows.nth(0).get_by_role("checkbox").check()
        await rows.nth(1).get_by_role("checkbox").check()
        selection = tab.page.get_by_label("Selection")
        await expect(selection).to_contain_text("2 results selected")
        await tab.expect_live()
        publisher.delete_post(post_ids[0])
        feed.refuse("RESYNC_REQUIRED", "The cursor is too old.")
        await expect(rows.nth(0)).to_contain_text("no longer in this list")
        await expect(selection).to_contain_text("1 result selected")
        await expect(rows.nth(1).get_by_role("checkbox")).to_be_checked()


async def test_panels_that_failed_are_read_again_once_after_each_reconnection(
    browser: Browser, page_server: PageServer
) -> None:
    problems = frozenset({UNAUTHORIZED, FAILED})
    async with open_tab(browser, page_server.url, problems=problems) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open("/results")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        aborted = 0
        enough = asyncio.Event()

        async def abort(route: Route) -> None:
            nonlocal aborted
            aborted += 1
            await route.abort()
            if aborted == 6:
                enough.set()

        await tab.page.route("**/graphql", abort)
        await tab.page.get_by_role("link", name="Waiting").click()
        errors = tab.page.locator(".error-panel")
        await expect(errors).to_have_count(3)
        assert aborted == 3
        await feed.close()
        async with asyncio.timeout(30):
            await enough.wait()
        await expect(errors).to_have_count(3)
        await tab.page.unroute("**/graphql")
        await feed.close()
        await expect(errors).to_have_count(0)
        await expect(tab.page.locator("main")).to_contain_text("Nothing waits for a retry.")
        assert aborted == 6


async def test_panels_that_failed_are_read_again_after_the_wait_that_the_server_asks_for(
    browser: Browser, page_server: PageServer
) -> None:
    problems = frozenset({UNAUTHORIZED, UNAVAILABLE})
    async with open_tab(browser, page_server.url, problems=problems) as tab:
        await tab.open("/results")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        error = {"message": "Busy.", "extensions": {"code": "SERVICE_UNAVAILABLE"}}
        refusal = json.dumps({"errors": [error]})
        headers = {"Retry-After": "2", "Content-Type": "application/json"}
        await tab.page.route(
            "**/graphql",
            lambda route: route.fulfill(status=503, headers=headers, body=refusal),
            times=3,
        )
        await tab.page.get_by_role("link", name="Waiting").click()
        await expect(tab.page.get_by_role("button", name="Try again in 2 s")).to_have_count(3)
        await expect(tab.page.locator(".error-panel")).to_have_count(0)
        await expect(tab.page.locator("main")).to_contain_text("Nothing waits for a retry.")


async def test_pause_shows_since_when_and_that_the_server_is_away(
    browser: Browser, page_server: PageServer
) -> None:
    async with open_tab(browser, page_server.url) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open("/results")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        await tab.page.keyboard.press("z")
        connection = tab.page.locator(".connection")
        await expect(connection).to_have_text(re.compile(r"^Paused as of \d\d:\d\d:\d\d$"))
        paused = await connection.inner_text()
        await feed.close()
        await expect(connection).to_have_text(f"{paused} · reconnecting…")
        await expect(tab.page.locator(".notices")).to_contain_text("Connected again")
        await expect(connection).to_have_text(paused)
        await tab.page.keyboard.press("z")
        await tab.expect_live()
        assert paused.removeprefix("Paused") < (await connection.inner_text()).removeprefix("Live")


async def test_post_that_is_deleted_while_it_is_open_is_said_to_be_gone(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    (post_id,) = publisher.create_failures(publisher.connect("deleted"), 1, "DELETED")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator(".card")).to_have_count(1)
        await tab.expect_live()
        publisher.delete_post(post_id)
        await expect(tab.heading("No such post")).to_be_visible()


async def test_times_are_those_of_the_server_also_when_the_clock_of_the_browser_changes(
    browser: Browser, page_server: PageServer
) -> None:
    async with open_tab(browser, page_server.url, timezone_id="UTC") as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.page.clock.install(time=datetime.now(UTC) + timedelta(hours=3))
        await tab.open("/results")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator(".notice p")).to_have_text([WRONG_CLOCK])
        connection = tab.page.locator(".connection")
        await expect(connection).to_have_text(live_now())
        await tab.page.clock.set_system_time(datetime.now(UTC) - timedelta(hours=5))
        await feed.close()
        await expect(connection).to_have_text(live_now())


async def test_message_below_a_closed_one_is_not_announced_again(
    browser: Browser, page_server: PageServer
) -> None:
    problems = frozenset({UNAUTHORIZED, "Failed to load resource: net::ERR_FAILED"})
    async with open_tab(browser, page_server.url, problems=problems) as tab:
        await Feed().serve(tab.page)
        await tab.page.clock.install(time=datetime.now(UTC) + timedelta(hours=3))
        await tab.open("/results")
        await tab.sign_in(page_server.key)
        announced = tab.page.get_by_label("Messages").get_by_role("status")
        await expect(announced).to_have_text(WRONG_CLOCK)
        await tab.page.route("**/board/session?*", lambda route: route.abort())
        await tab.page.get_by_role("button", name="Menu").click()
        await tab.page.get_by_role("button", name="Sign out", exact=True).click()
        await expect(tab.page.locator(".notice")).to_have_count(2)
        await tab.page.keyboard.press("Escape")  # closes the menu
        await tab.page.clock.run_for("00:10")
        await expect(announced).to_have_text(re.compile("^You are still signed in."))
        await tab.page.get_by_role("button", name="Close: You are still signed in.").click()
        await tab.page.clock.run_for("00:10")
        await expect(tab.page.locator(".notice p")).to_have_text([WRONG_CLOCK])
        await expect(announced).to_have_text(re.compile("^You are still signed in."))


def live_now() -> re.Pattern[str]:
    """Text of a connection that was heard in the last or the next two minutes."""
    now = datetime.now(UTC)
    minutes = "|".join(f"{now + timedelta(minutes=offset):%H:%M}" for offset in (-1, 0, 1, 2))
    return re.compile(rf"Live as of ({minutes}):\d\d")


async def test_page_without_scripts_names_what_works_without_them(
    browser: Browser, page_server: PageServer
) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{page_server.url}/board/results")
    text = await page.locator("noscript").inner_text()
    assert text == (
        "The results board requires JavaScript. The API does not: see the documentation."
    )
    await page.locator("noscript a").click()
    await expect(page).to_have_url(f"{page_server.url}/docs")
    await context.close()
