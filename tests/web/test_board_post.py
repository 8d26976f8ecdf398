"""Page of a post in Chromium: its times, who can fix a failure, retries and why they are disabled."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from playwright.async_api import Browser, expect

from app.db.core.database import Database
from app.db.repositories.workspaces import find_workspace_by_name
from app.domain.attempts import AttemptKind
from app.domain.destinations import Outcome
from app.domain.ids import DestinationId
from tests.factories import NOW, add_attempt
from tests.servers import ServerProcess
from tests.web.attempts import lose_post, start
from tests.web.board_api import BoardApi
from tests.web.board_tab import open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

TIME_OF_TODAY = re.compile(r"^\d\d:\d\d$")
TIME_WITH_DATE = re.compile(r"^\w{3} \d{1,2} \w{3}, \d\d:\d\d$")

LOADED_ATTEMPTS = 104
LOADED_CHANGES = 100

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


async def add_late_attempts(
    page_server: PageServer, publisher: Publisher, post_id: str, count: int
) -> None:
    """Add attempts to the only destination of a post, which it does not count."""
    post = publisher.execute(
        "query($id: UUID!) { post(postId: $id) { destinations { destinationId } } }", id=post_id
    )
    destination_id = DestinationId(UUID(post["destinations"][0]["destinationId"]))
    async with Database(page_server.database_url) as database:
        workspace = await find_workspace_by_name(database.all_workspaces, "default")
        assert workspace is not None
        for number in range(count):
            await add_attempt(
                database,
                workspace.id,
                destination_id,
                kind=AttemptKind.LATE,
                number=None,
                fence=None,
                outcome=Outcome.FAILED,
                started_at=NOW + timedelta(minutes=number),
            )


async def test_times_get_a_date_when_the_day_has_ended(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("overnight"), "A post of today")
    publisher.fail("It is broken.")
    async with open_tab(browser, page_server.url) as tab:
        await tab.page.clock.install()
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        created = tab.page.locator(".facts time")
        await expect(created).to_have_text(TIME_OF_TODAY)
        await tab.page.clock.fast_forward("24:00:00")
        await expect(created).to_have_text(TIME_WITH_DATE)


async def test_draft_without_a_time_is_not_said_to_be_due(
    browser: Browser, page_server: PageServer
) -> None:
    post_id = BoardApi(page_server.url, page_server.key).create_post(
        accountIds=[], content="A draft", draft=True
    )
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator(".facts")).to_contain_text("Duenot scheduled")


async def test_unknown_outcome_cannot_be_retried_and_the_reason_names_no_api(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.open_demo("/results?outcome=UNKNOWN&order=CREATED_AT")
        await tab.page.locator("tbody a").first.click()
        card = tab.page.locator(".card").filter(has_text="Unknown outcome").first
        await expect(tab.page.locator(".post-header .status")).to_have_text("Unknown outcome")
        retry = card.get_by_role("button", name="Retry", exact=True)
        await expect(retry).to_have_accessible_description(
            "Check whether the post is on the platform, then record the result."
            " A retry without a check could publish it twice."
        )


async def test_reconnection_of_the_account_allows_the_retry_on_an_open_post(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("reconnected")
    (post_id,) = publisher.create_failures(account_id, 1, "TOKEN_EXPIRED", category="AUTH")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        card = tab.page.locator(".card")
        retry = card.get_by_role("button", name="Retry")
        await expect(retry).to_have_accessible_description("Reconnect the account, then retry.")
        await tab.expect_live()
        publisher.mark_reconnected(account_id)
        await expect(retry).to_have_attribute("aria-disabled", "false")
        await expect(card).to_contain_text("can be fixed by a person with access to the account")
        await tab.open(f"/results?account={account_id}")
        await expect(tab.page.locator("tbody .cell-reason")).to_contain_text("Retry it")


async def test_card_leads_to_its_account_and_to_failures_with_its_cause(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("linked")
    (post_id,) = publisher.create_failures(account_id, 1, "LINKED", message="It is linked.")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.page.get_by_role("link", name="Others with this cause").click()
        await expect(tab.page).to_have_url(re.compile(r"/board/failures/[0-9a-f-]+$"))
        await expect(tab.page.locator("main")).to_contain_text("It is linked.")
        await tab.page.go_back()
        await tab.page.locator(".card h2").get_by_role("link", name="linked").click()
        await expect(tab.page).to_have_url(f"{tab.board_url}/accounts/{account_id}")


async def test_focus_stays_in_the_card_when_its_button_disappears(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("focused"), "A post to retry by keyboard")
    publisher.fail("It is broken.")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.page.get_by_role("button", name="Retry").press("Enter")
        await expect(tab.page.get_by_role("button", name="Retry")).to_have_count(0)
        await expect(tab.page.locator(".card h2")).to_be_focused()
        publisher.fail("It is broken.")


async def test_keys_retry_the_only_failure_of_a_post_and_cancel_the_post(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("keyed")
    (post_id,) = publisher.create_failures(account_id, 1, "KEYED")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.get_by_role("button", name="Retry")).to_be_visible()
        await tab.page.keyboard.press("c")
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)
        await tab.page.keyboard.press("r")
        await expect(tab.page.get_by_role("button", name="Retry")).to_have_count(0)
        assert publisher.statuses("KEYED") == ["QUEUED"]
        await expect(tab.page.get_by_role("button", name="Cancel post")).to_have_attribute(
            "aria-disabled", "false"
        )
        await tab.page.keyboard.press("c")
        await tab.page.get_by_role("button", name="Cancel the post").click()
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)
        await expect(tab.page.locator(".card .status")).to_have_text("Cancelled")


async def test_history_of_an_account_has_attempts_and_what_people_did_in_order(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("history"), "A post with a history")
    publisher.fail("It is broken.")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key, person="Ann")
        await tab.expect_live()
        await tab.page.get_by_role("button", name="Retry").click()
        entries = tab.page.locator(".card .timeline > li:not(.wait)")
        await expect(entries.last).to_contain_text("Retried manually.")
        await tab.page.get_by_role("button", name="Cancel post").click()
        await tab.page.get_by_role("button", name="Cancel the post").click()
        await expect(entries).to_contain_text(
            [
                *(" due", "Attempt 1 failed", "Retried manually."),
                "Cancelled before it was published.",
            ]
        )
        await expect(entries.nth(2)).to_contain_text("by Ann")
        await expect(entries.last).to_contain_text("by Ann")


async def test_attempts_that_were_loaded_stay_when_the_last_one_ends_and_another_follows(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("persistent"), "A post with many attempts")
    await add_late_attempts(page_server, publisher, post_id, LOADED_ATTEMPTS)
    token = start(publisher)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        more = tab.page.get_by_role("button", name="Show later attempts")
        attempts = tab.page.locator(".card .timeline > li", has=tab.page.locator("strong"))
        for count in (50, 100):
            await expect(attempts).to_have_count(count)
            await more.click()
        await expect(attempts).to_have_count(LOADED_ATTEMPTS + 1)
        await expect(attempts.last).to_contain_text("Attempt 1 is running")
        publisher.report_failure(token, "It is broken.")
        await expect(attempts.last).to_contain_text("Attempt 1 failed")
        await expect(attempts).to_have_count(LOADED_ATTEMPTS + 1)
        publisher.retry(post_id)
        publisher.fail("It is broken again.")
        await expect(attempts.last).to_contain_text("Attempt 2 failed")
        await expect(attempts).to_have_count(LOADED_ATTEMPTS + 2)
        await expect(attempts.first).to_contain_text("Late report")
        await expect(more).to_have_count(0)


async def test_change_after_many_attempts_is_shown_before_all_attempts_are_loaded(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("long history")
    (post_id,) = publisher.create_failures(account_id, 1, "LONG")
    await add_late_attempts(page_server, publisher, post_id, LOADED_ATTEMPTS)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        entries = tab.page.locator(".card .timeline > li:not(.wait)")
        more = tab.page.get_by_role("button", name="Show later attempts")
        await expect(entries.last).to_have_text("Show later attempts")
        await tab.page.get_by_role("button", name="Retry").click()
        await expect(entries.last).to_contain_text("Retried manually.")
        for count in (50, 100):
            await expect(entries).to_have_count(1 + count + 2)
            await expect(entries.nth(1 + count)).to_have_text("Show later attempts")
            await more.click()
        await expect(more).to_have_count(0)
        await expect(entries.nth(-2)).to_contain_text("Attempt 1 failed")
        await expect(entries.last).to_contain_text("Retried manually.")
        publisher.fail("It is broken.")


async def test_result_that_was_recorded_without_a_start_took_less_than_a_second(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    (post_id,) = publisher.create_failures(publisher.connect("recorded"), 1, "RECORDED")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        attempt = tab.page.locator(".card .timeline > li").last
        await expect(attempt).to_contain_text("Attempt 1 failed in less than 1 s")


async def test_list_and_card_of_a_permanent_failure_agree_on_the_next_step(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    publisher.create_failures(publisher.connect("permanent"), 1, "ODD_CODE")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/results?code=ODD_CODE")
        await tab.sign_in(page_server.key)
        reason = tab.page.locator("tbody .cell-reason")
        await expect(reason).to_contain_text("Resolve what the error names, then retry")
        await tab.page.locator("tbody a").click()
        await expect(tab.page.locator(".card .fix")).to_contain_text(
            "Read the error; what it names has to change first."
        )


def change_post(publisher: Publisher, post_id: str, **fields: str) -> None:
    publisher.execute(
        "mutation($input: UpdatePostInput!) { updatePost(input: $input) { post { id } } }",
        input={"postId": post_id, **fields},
    )


async def test_history_has_what_people_did_before_many_other_changes_of_the_post(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("changed")
    (post_id,) = publisher.create_failures(account_id, 1, "CHANGED")
    publisher.retry(post_id)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        entries = tab.page.locator(".card .timeline > li:not(.wait)")
        await expect(entries).to_contain_text([" due", "Attempt 1 failed", "Retried manually."])
        for number in range(LOADED_CHANGES):
            change_post(publisher, post_id, content=f"Text {number}")
        publisher.fail("It is broken.")
        expected = [" due", "Attempt 1 failed", "Retried manually.", "Attempt 2 failed"]
        await expect(entries).to_contain_text(expected)
        await tab.page.reload()
        await expect(entries).to_contain_text(expected)
        await expect(tab.page.get_by_text("These are the latest 100 changes.")).to_be_visible()
        await expect(entries).to_have_count(4)


async def test_history_says_that_it_has_only_the_latest_changes(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("postponed"), "A post that is postponed")
    due = datetime.now(UTC) + timedelta(days=1)
    for number in range(LOADED_CHANGES):
        change_post(publisher, post_id, scheduledFor=(due + timedelta(minutes=number)).isoformat())
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator(".card .timeline > li")).to_have_count(1 + LOADED_CHANGES)
        note = tab.page.get_by_text("Beside the attempts, only the latest 100 changes are shown.")
        await expect(note).to_have_count(0)
        change_post(publisher, post_id, scheduledFor=(due - timedelta(minutes=1)).isoformat())
        await expect(note).to_be_visible()


async def test_answer_that_changes_after_it_was_copied_can_be_copied_again(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    post_id = publisher.create_post(publisher.connect("answered"), "A post with an answer")
    permissions = ["clipboard-read", "clipboard-write"]
    async with open_tab(browser, page_server.url, permissions=permissions) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.expect_live()
        await tab.page.get_by_role("button", name="Answer for the customer").click()
        await tab.page.get_by_role("button", name="Copy: Answer").click()
        await expect(tab.page.get_by_role("button", name="Copied: Answer")).to_be_visible()
        publisher.fail("It is broken.")
        await expect(tab.page.get_by_label("Answer", exact=True)).to_have_value(
            re.compile("it could not be published")
        )
        await expect(tab.page.get_by_role("button", name="Copy: Answer")).to_be_visible()


async def test_unknown_outcome_is_retried_without_a_check_after_its_account_was_typed(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("@forced")
    post_id = publisher.create_post(account_id, "A post that may be out")
    lose_post(publisher, post_id, account_id)
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        await tab.page.get_by_role("button", name="Retry without a check…").click()
        dialog = tab.page.get_by_role("dialog", name="Retry without a check?")
        assert await tab.axe_violations() == []
        confirm = dialog.get_by_role("button", name="Retry without a check")
        await dialog.get_by_role("textbox").fill("@forge")
        await confirm.dispatch_event("click")
        await expect(confirm).to_have_attribute("aria-disabled", "true")
        assert publisher.statuses("A post that may be out") == ["FAILED"]
        await dialog.get_by_role("textbox").fill(" @forced ")
        await confirm.click()
        await expect(dialog).to_have_count(0)
        await expect(tab.page.locator(".card .status")).to_have_text("Scheduled")
        assert publisher.statuses("A post that may be out") == ["QUEUED"]
        publisher.fail("It is broken.")


async def test_card_shows_every_publication_that_was_reported(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("twice")
    post_id = publisher.create_post(account_id, "A post that was published twice")
    for number in (1, 2):
        publisher.record_publication(post_id, account_id, f"https://x.example/{number}")
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/posts/{post_id}")
        await tab.sign_in(page_server.key)
        card = tab.page.locator(".card")
        await expect(card).to_contain_text("It was reported as published more than once")
        links = card.get_by_role("link", name="Open on x.example")
        await expect(links.nth(0)).to_have_attribute("href", "https://x.example/1")
        await expect(links.nth(1)).to_have_attribute("href", "https://x.example/2")
        await expect(card).to_contain_text("Also reported as published")
        publisher.record_publication(post_id, account_id, "https://x.example/3")
        await expect(links.nth(2)).to_have_attribute("href", "https://x.example/3")
