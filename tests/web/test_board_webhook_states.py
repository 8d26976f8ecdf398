"""Webhooks on the board in Chromium: who may see them, their states, deliveries, and what changes live."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from playwright.async_api import Browser, Locator, Route, expect
from sqlalchemy import update

from app.db.core.database import Database
from app.db.models import Webhook, WebhookDelivery, WebhookDeliveryAttempt
from app.db.repositories.workspaces import find_workspace_by_name
from app.domain.ids import WorkspaceId
from app.domain.webhooks.event_types import WebhookEventType
from app.services.secret_cipher import SecretCipher, new_secrets_key
from tests.factories import NOW
from tests.raw_statements import run_raw
from tests.web.board_feed import Feed
from tests.web.board_tab import NARROW, BoardTab, open_tab, request_body
from tests.web.page_session import PageServer
from tests.webhook_receiver import LOOPBACK_SETTINGS
from tests.webhook_rows import (
    SECRETS_KEY,
    add_delivery,
    add_webhook,
    delivered,
    disabled_webhook,
    given_up,
    pending,
    retrying,
)

SETTINGS = {
    **LOOPBACK_SETTINGS,
    "SECRETS_KEY": SECRETS_KEY,
    "WEBHOOKS": "no",
}
"""No process delivers, so that the rows of the tests stay as they are."""
ADMIN_SCOPES = ("--scope", "read", "--scope", "write", "--scope", "admin")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}\u202e" + "w" * 150
MIRROR_REASON = "This workspace mirrors another service. Make the change there."

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


class HookWorkspace:
    """A workspace of one test, whose webhooks and deliveries are inserted as rows."""

    def __init__(
        self, page_server: PageServer, database: Database, id_: WorkspaceId, name: str
    ) -> None:
        self.database = database
        self.id = id_
        self._page_server = page_server
        self.name = name

    def create_key(self, *scopes: str) -> str:
        arguments = ("keys", "create", "--workspace", self.name, "--name", "key", *scopes)
        return self._page_server.run_command(*arguments).strip()

    async def add_deliveries(self, webhook_id: UUID, count: int, *, first: int = 1) -> None:
        """Add deliveries that wait, one a minute."""
        for number in range(first, first + count):
            await add_delivery(
                self.database,
                self.id,
                webhook_id,
                pending(),
                event_seq=number,
                created_at=NOW + timedelta(minutes=number),
            )


@pytest.fixture
async def hooks(
    page_server: PageServer, request: pytest.FixtureRequest
) -> AsyncIterator[HookWorkspace]:
    is_mirror = "mirror" in request.node.name
    name = f"hooks {uuid4()}"
    mirror = ("--mirror-of", "https://example.com") if is_mirror else ()
    page_server.run_command("workspaces", "create", name, *mirror)
    async with Database(page_server.database_url) as database:
        workspace = await find_workspace_by_name(database.all_workspaces, name)
        assert workspace is not None
        yield HookWorkspace(page_server, database, workspace.id, name)


@pytest.fixture
async def tab(browser: Browser, page_server: PageServer) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, page_server.url, timezone_id="UTC") as tab:
        await tab.open("/webhooks")
        yield tab


async def sign_in(tab: BoardTab, hooks: HookWorkspace) -> None:
    await tab.sign_in(hooks.create_key(*ADMIN_SCOPES))
    await expect(tab.heading("Webhooks")).to_be_visible()


async def overflow(tab: BoardTab) -> int:
    """Pixels by which the page is wider than the window."""
    excess: int = await tab.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return excess


def statuses(tab: BoardTab) -> Locator:
    return tab.page.locator(".delivery .status")


@pytest.mark.parametrize("read_only", [False, True])
async def test_without_the_scope_the_page_says_so_and_nothing_leads_to_it(
    tab: BoardTab, hooks: HookWorkspace, read_only: bool
) -> None:
    key = hooks.create_key(*(ADMIN_SCOPES if read_only else ()))
    await tab.sign_in(key, read_only=read_only)
    await expect(tab.heading("This key may not manage webhooks")).to_be_focused()
    button = tab.page.get_by_role("button", name="Add a webhook…")
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_have_accessible_description(
        "This sign-in may only read." if read_only else "This key may not manage webhooks."
    )
    assert await tab.axe_violations() == []
    await expect(tab.page.get_by_role("link", name="Webhooks")).to_have_count(0)
    await tab.open(f"/webhooks/{uuid4()}")
    await expect(tab.heading("This key may not manage webhooks")).to_be_focused()
    await tab.page.keyboard.press("g")
    await tab.page.keyboard.press("h")
    await tab.page.keyboard.press("Control+k")
    await tab.page.get_by_role("combobox").fill("webhooks")
    await expect(tab.page.get_by_role("option")).to_have_count(2)
    await expect(tab.page.get_by_role("option").first).to_contain_text("Posts with the text")


async def test_webhook_whose_secret_cannot_be_decrypted_says_so(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    await add_webhook(hooks.database, hooks.id, name="Readable")
    lost = SecretCipher([new_secrets_key()])
    await add_webhook(
        hooks.database, hooks.id, name="Lost", cipher=lost, created_at=NOW + timedelta(minutes=1)
    )
    await sign_in(tab, hooks)
    cards = tab.page.locator(".card.webhook")
    readable, unreadable = cards.nth(0), cards.nth(1)

    await expect(readable.locator(".status")).to_have_text("Nothing sent yet")
    await expect(readable.locator(".fix")).to_have_count(0)
    await expect(unreadable.locator(".status")).to_have_text("Cannot be signed")
    await expect(unreadable.locator(".fix")).to_have_text(
        "Nothing is sent: the server cannot decrypt the secret, because SECRETS_KEY was changed or is"
        " missing. The operator can restore the key. Otherwise, rotate the secret of this webhook."
    )
    assert await tab.axe_violations() == []


async def test_mirror_shows_webhooks_and_offers_no_action(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    webhook_id = await add_webhook(hooks.database, hooks.id, name="Mirrored")
    await hooks.add_deliveries(webhook_id, 1)
    await sign_in(tab, hooks)
    await tab.page.get_by_role("link", name="Mirrored").click()
    await tab.page.locator(".delivery summary").click()
    names = ["Test…", "Edit…", "Disable", "Rotate secret…", "Delete…", "Redeliver"]
    for name in (*names, "Redeliver what failed…"):
        button = tab.page.get_by_role("button", name=name, exact=True)
        await expect(button).to_have_attribute("aria-disabled", "true")
        await expect(button).to_have_accessible_description(MIRROR_REASON)


async def test_list_says_in_words_whether_each_webhook_works(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    failing = {"failing_since": NOW, "consecutive_failures": 3, "last_failure_at": NOW}
    disabled = disabled_webhook()
    webhooks: dict[str, dict[str, Any]] = {
        "Works": {"last_success_at": NOW},
        "Failing": failing,
        "By a person": {"is_active": False},
        "Gone": {**disabled, "disabled_reason": "gone"},
        "Five days": disabled,
        "New": {},
    }
    for number, (name, columns) in enumerate(webhooks.items()):
        at = NOW + timedelta(minutes=number)
        await add_webhook(hooks.database, hooks.id, name=name, created_at=at, **columns)
    await sign_in(tab, hooks)
    states = tab.page.locator(".webhook > p")
    await expect(states.nth(1)).to_contain_text("Failing since Wed 15 Apr, 15:00, 3 failures")
    await expect(tab.page.locator(".webhook .status")).to_have_text(
        [
            "Works",
            "Failing",
            "Disabled by a person",
            "Disabled: the receiver no longer exists",
            "Disabled: every delivery failed for five days",
            "Nothing sent yet",
        ]
    )
    assert await tab.axe_violations() == []
    await tab.page.set_viewport_size(NARROW)
    assert await overflow(tab) <= 0


async def test_bad_urls_say_what_to_do(tab: BoardTab, hooks: HookWorkspace) -> None:
    await sign_in(tab, hooks)
    for path in (f"/webhooks/{uuid4()}", "/webhooks/1"):
        await tab.open(path)
        await expect(tab.heading("No such webhook")).to_be_focused()
    await tab.page.keyboard.press("u")
    await expect(tab.heading("Webhooks")).to_be_focused()
    await expect(tab.page).to_have_title(f"Webhooks · {hooks.name}")


async def test_new_webhook_comes_with_a_warning_where_no_process_delivers(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    await sign_in(tab, hooks)
    await tab.page.get_by_role("button", name="Add a webhook…").first.click()
    await tab.page.get_by_label("URL of the receiver").fill("http://127.0.0.1:9/")
    await tab.page.keyboard.press("Enter")
    added = tab.page.get_by_role("dialog", name="The webhook is added")
    await expect(added).to_contain_text("No process of this installation has delivered")
    assert await tab.axe_violations() == []
    await tab.page.set_viewport_size(NARROW)
    assert await overflow(tab) <= 0


async def test_deliveries_are_filtered_by_the_url_and_read_in_pages(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    webhook_id = await add_webhook(hooks.database, hooks.id, name="Many")
    await hooks.add_deliveries(webhook_id, 70)
    states = (delivered(), retrying(), given_up())
    for number, state in enumerate(states):
        await add_delivery(
            hooks.database,
            hooks.id,
            webhook_id,
            state,
            event_seq=1_000 + number,
            event_type=WebhookEventType.POST_FAILED,
            created_at=NOW + timedelta(days=1),
        )
    await sign_in(tab, hooks)
    await tab.page.get_by_role("link", name="Many").click()
    await expect(statuses(tab)).to_have_count(50)
    await tab.page.get_by_role("button", name="Show more; 50 rows loaded").click()
    await expect(statuses(tab)).to_have_count(73)
    await expect(tab.page.get_by_role("button", name="Show more")).to_have_count(0)
    page = f"{tab.board_url}/webhooks/{webhook_id}"
    await tab.page.get_by_role("combobox", name="Status").select_option("Given up")
    await expect(tab.page).to_have_url(f"{page}?status=GIVEN_UP")
    await expect(statuses(tab)).to_have_text(["Given up"])
    await tab.page.get_by_role("combobox", name="Event").select_option("Post published")
    await expect(tab.page.locator(".empty")).to_contain_text("No delivery matches these filters.")
    await tab.page.get_by_role("link", name="Show all deliveries").click()
    await expect(tab.page).to_have_url(page)
    await tab.page.get_by_label("From").fill("2026-04-16T00:00")
    await tab.page.keyboard.press("Enter")
    await expect(statuses(tab)).to_have_text(["Given up", "Retrying", "Delivered"])
    await tab.page.reload()
    await expect(statuses(tab)).to_have_count(3)
    assert await tab.axe_violations() == []
    await tab.page.get_by_role("link", name="Clear filters").click()
    await expect(statuses(tab)).to_have_count(50)


async def test_new_deliveries_appear_and_wait_while_the_list_is_in_use(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    webhook_id = await add_webhook(hooks.database, hooks.id, name="Live")
    await sign_in(tab, hooks)
    await tab.expect_live()
    await tab.page.get_by_role("link", name="Live").click()
    await expect(tab.page.locator(".empty")).to_contain_text("Nothing was sent yet.")
    await hooks.add_deliveries(webhook_id, 1)
    await expect(statuses(tab)).to_have_count(1)
    await tab.page.locator(".delivery").hover()
    await hooks.add_deliveries(webhook_id, 2, first=2)
    await expect(tab.page.get_by_role("button", name="2 new · show")).to_be_visible()
    await expect(statuses(tab)).to_have_count(1)
    await tab.page.keyboard.press(".")
    await expect(statuses(tab)).to_have_count(3)


async def test_deliveries_behind_the_first_hundred_change_without_a_reload(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    webhook_id = await add_webhook(hooks.database, hooks.id, name="Long")
    await hooks.add_deliveries(webhook_id, 120)
    await sign_in(tab, hooks)
    await tab.expect_live()
    await tab.page.get_by_role("link", name="Long").click()
    for loaded in (50, 100):
        await tab.page.get_by_role("button", name=f"Show more; {loaded} rows loaded").click()
    await expect(statuses(tab)).to_have_count(120)
    await expect(statuses(tab).last).to_have_text("Waiting")
    statement = (
        update(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.event_seq == 1)
        .values(next_attempt_at=None, delivered_at=NOW, attempts=1)
    )
    await hooks.database.write_all_workspaces(lambda session: run_raw(session, statement))
    await expect(statuses(tab).last).to_have_text("Delivered", timeout=15_000)


async def test_redelivery_starts_at_the_last_success_of_a_webhook_that_fails(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    now = datetime.now(UTC)
    await add_webhook(
        hooks.database,
        hooks.id,
        name="Failing",
        consecutive_failures=9,
        failing_since=now - timedelta(days=3),
        last_success_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        last_failure_at=now,
        last_delivery_at=now,
    )
    await sign_in(tab, hooks)
    await tab.page.get_by_role("link", name="Failing").click()
    await tab.page.get_by_role("button", name="Redeliver what failed…").click()
    since = tab.page.get_by_role("dialog").get_by_label("Events since (UTC)")
    await expect(since).to_have_value("2026-01-02T03:04")


async def test_list_is_read_again_after_a_webhook_was_disabled(
    browser: Browser, page_server: PageServer, hooks: HookWorkspace
) -> None:
    webhook_id = await add_webhook(hooks.database, hooks.id, name="Disabled later")
    async with open_tab(browser, page_server.url) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open("/webhooks")
        await sign_in(tab, hooks)
        await feed.wait_for_subscription(1)
        await expect(tab.page.locator(".webhook .status")).to_have_text("Nothing sent yet")
        await disable(hooks, webhook_id)
        feed.send_change(change_type="WEBHOOK_DISABLED")
        await expect(tab.page.locator(".webhook .status")).to_have_text("Disabled by a person")


async def disable(hooks: HookWorkspace, webhook_id: UUID) -> None:
    statement = update(Webhook).where(Webhook.id == webhook_id).values(is_active=False)
    await hooks.database.write_all_workspaces(lambda session: run_raw(session, statement))


async def test_error_of_the_list_is_shown_and_gone_after_a_retry(
    tab: BoardTab, hooks: HookWorkspace
) -> None:
    async def refuse(route: Route) -> None:
        if request_body(route.request).get("variables") != {}:
            await route.continue_()
            return
        error = {"message": "It took too long.", "extensions": {"code": "TIMEOUT"}}
        await route.fulfill(json={"data": None, "errors": [error]})

    await sign_in(tab, hooks)
    await tab.page.get_by_role("link", name="Today").click()
    await expect(tab.heading("Today")).to_be_visible()
    await tab.page.route("**/graphql", refuse)
    await tab.open("/webhooks")
    panel = tab.page.locator(".error-panel")
    await expect(panel).to_contain_text("It took too long.")
    await tab.page.unroute("**/graphql")
    await panel.get_by_role("button", name="Try again").click()
    await expect(tab.page.locator(".empty")).to_contain_text("This workspace has no webhook yet.")


async def test_hostile_text_is_only_text(tab: BoardTab, hooks: HookWorkspace) -> None:
    dialogs: list[str] = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    webhook_id = await add_webhook(
        hooks.database,
        hooks.id,
        name=HOSTILE,
        description=HOSTILE,
        url=f"https://example.com/{HOSTILE}",
        platforms=["x_y-9"],
    )
    state = retrying()
    delivery_id = await add_delivery(
        hooks.database, hooks.id, webhook_id, state, event_seq=1, body=f'{{"a":"{HOSTILE}"}}'
    )
    statement = (
        update(WebhookDeliveryAttempt)
        .where(WebhookDeliveryAttempt.delivery_id == delivery_id)
        .values(error=HOSTILE, response_body=f"{HOSTILE}\u0007")
    )
    await hooks.database.write_all_workspaces(lambda session: run_raw(session, statement))
    await sign_in(tab, hooks)
    await tab.page.set_viewport_size(NARROW)
    await expect(tab.page.locator(".webhook h2")).to_contain_text("onerror=alert(1)")
    assert await overflow(tab) <= 0
    for name in ("Test…", "Edit…", "Delete…"):
        await tab.page.get_by_role("button", name=name).click()
        await expect(tab.page.get_by_role("dialog")).to_be_visible()
        assert await overflow(tab) <= 0
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.get_by_role("dialog")).to_have_count(0)
    await tab.page.locator(".webhook h2 a").click()
    await tab.page.locator(".delivery summary").click()
    await tab.page.get_by_text("Response of the receiver").click()
    await expect(tab.page.locator(".delivery pre").first).to_contain_text("\u2407")
    await expect(tab.page.locator(".delivery-error")).to_contain_text("onerror=alert(1)")
    assert await overflow(tab) <= 0
    assert await tab.page.locator("img, #board script").count() == 0
    assert "\u202e" not in await tab.page.title()
    assert await tab.axe_violations() == []
    assert dialogs == []
