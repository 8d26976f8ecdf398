"""Webhooks on the board in Chromium: what people do with them, with a receiver on loopback."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, Locator, expect
from standardwebhooks import Webhook

from app.services.secret_cipher import new_secrets_key
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.webhook_receiver import (
    LOOPBACK_SETTINGS,
    ReceiverResponse,
    WebhookReceiver,
    respond_in_turn,
)

ENGINE = "postgresql"
SETTINGS = {
    **LOOPBACK_SETTINGS,
    "SECRETS_KEY": new_secrets_key(),
    "WEBHOOK_RETRY_SCHEDULE": "3600",
}
CREATE = (
    "mutation($input: CreateWebhookInput!)"
    " { createWebhook(input: $input) { secret webhook { webhookId } } }"
)

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture
def key(page_server: PageServer, request: pytest.FixtureRequest) -> str:
    """Key of a workspace that only this test uses."""
    workspace = request.node.name[:60]
    page_server.run_command("workspaces", "create", workspace)
    scopes = ("--scope", "read", "--scope", "write", "--scope", "admin")
    arguments = ("keys", "create", "--workspace", workspace, "--name", "admin", *scopes)
    return page_server.run_command(*arguments).strip()


@pytest.fixture
def api(page_server: PageServer, key: str) -> BoardApi:
    return BoardApi(page_server.url, key)


@pytest.fixture
def account(api: BoardApi) -> int:
    return api.connect("@hooked")


@pytest.fixture
async def receiver(anyio_backend: str) -> AsyncIterator[WebhookReceiver]:
    response = ReceiverResponse(200, "Thank you.", ["X-Receiver: <b>receiver</b>"])
    async with WebhookReceiver(response).running() as receiver:
        yield receiver


@pytest.fixture
async def tab(browser: Browser, page_server: PageServer, key: str) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, page_server.url) as tab:
        await tab.open("/webhooks")
        await tab.sign_in(key)
        await expect(tab.heading("Webhooks")).to_be_focused()
        await tab.expect_live()
        yield tab


def create_webhook(api: BoardApi, receiver: WebhookReceiver, **fields: object) -> str:
    settings = {"url": receiver.url, "name": "Reporting", "events": ["POST_SCHEDULED"], **fields}
    webhook_id: str = api.execute(CREATE, input=settings)["webhook"]["webhookId"]
    return webhook_id


def schedule_post(api: BoardApi, account: int, content: str) -> str:
    """Create a post with this text, which is also its reference, and return its id."""
    due = datetime.now(UTC) + timedelta(days=1)
    fields = {"content": content, "reference": content, "scheduledFor": due.isoformat()}
    return api.create_post(accountIds=[account], **fields)


def dialog(tab: BoardTab, name: str) -> Locator:
    return tab.page.get_by_role("dialog", name=name)


async def press(tab: BoardTab, name: str) -> None:
    await tab.page.get_by_role("button", name=name, exact=True).click()


async def delete_webhook(tab: BoardTab) -> None:
    """Delete the webhook whose page is shown."""
    await press(tab, "Delete…")
    await expect(dialog(tab, "Delete this webhook?")).to_contain_text("Nothing more is sent to")
    await press(tab, "Delete the webhook")
    await expect(tab.heading("Webhooks")).to_be_focused()
    await expect(tab.page.locator(".empty")).to_contain_text("This workspace has no webhook yet.")


async def test_added_webhook_shows_its_secret_once_and_passes_a_test(
    tab: BoardTab, receiver: WebhookReceiver
) -> None:
    await tab.page.locator(".empty").get_by_role("button", name="Add a webhook…").click()
    form = dialog(tab, "Add a webhook")
    await expect(form.get_by_label("URL of the receiver")).to_be_focused()
    await form.get_by_label("URL of the receiver").fill(receiver.url)
    await form.get_by_label("Name").fill("Reporting")
    await form.get_by_label("Post scheduled").check()
    await form.get_by_text("Only some platforms or accounts").click()
    assert await tab.axe_violations() == []
    await form.get_by_role("button", name="Add", exact=True).click()
    added = dialog(tab, "The webhook is added")
    secret = await added.get_by_label("Secret", exact=True).input_value()
    assert secret.startswith("whsec_")
    await expect(added).to_contain_text("Store the secret now: it is not displayed again.")
    assert await tab.axe_violations() == []
    await tab.page.keyboard.press("Escape")
    await expect(added).to_be_visible()
    await added.get_by_role("button", name="I have stored it").click()
    card = tab.page.locator(".webhook")
    await expect(card).to_contain_text("Nothing sent yet")
    await expect(card).to_contain_text(
        "Post scheduled · Post published · Post failed, or its outcome is unknown"
    )
    assert secret not in await tab.page.content()

    await press(tab, "Test…")
    test = dialog(tab, "Test this webhook")
    await test.get_by_role("button", name="Send the test").click()
    await expect(test.get_by_role("status")).to_have_text("The receiver accepted the test")
    await expect(test.locator(".facts")).to_have_text(re.compile(r"Status200Duration\d.*s"))
    await expect(test.locator("pre").first).to_contain_text("x-receiver: <b>receiver</b>")
    await expect(test.locator("pre").last).to_have_text("Thank you.")
    assert await tab.axe_violations() == []
    (request,) = receiver.received
    assert Webhook(secret).verify(request.body, dict(request.headers))["event"] == "webhook.test"
    receiver.respond = respond_in_turn(ReceiverResponse(503, "<script>alert(1)</script>"))
    await test.get_by_role("button", name="Send it again").click()
    await expect(test.get_by_role("status")).to_have_text("The test failed")
    await expect(test).to_contain_text("The receiver answered 503 Service Unavailable")
    await expect(test.locator("pre").last).to_have_text("<script>alert(1)</script>")
    await test.get_by_role("button", name="Close").click()
    await expect(tab.page.get_by_role("button", name="Test…")).to_be_focused()
    await card.get_by_role("link").click()
    await delete_webhook(tab)


@pytest.mark.usefixtures("account")
async def test_refused_settings_are_explained_at_their_field(
    tab: BoardTab, api: BoardApi, receiver: WebhookReceiver
) -> None:
    create_webhook(api, receiver)
    await tab.page.reload()
    await tab.page.get_by_role("button", name="Add a webhook…").click()
    form = dialog(tab, "Add a webhook")
    url = form.get_by_label("URL of the receiver")
    await url.fill("ftp://example.com")
    await url.press("Enter")
    await expect(url).to_be_focused()
    await expect(url).to_have_attribute("aria-invalid", "true")
    await expect(url).to_have_accessible_description(re.compile("url must .*http"))
    await url.fill(f"{receiver.url}/other")
    await form.get_by_label("Post published").uncheck()
    await form.get_by_label("Post failed").uncheck()
    await url.press("Enter")
    await expect(form.get_by_role("group", name="Events")).to_be_focused()
    await expect(form.get_by_role("group", name="Events")).to_have_accessible_description(
        "Choose at least one event."
    )
    await form.get_by_label("Post published").check()
    await url.fill(receiver.url)
    await url.press("Enter")
    await expect(url).to_have_accessible_description(
        "Another webhook of this workspace has this URL. Add the events to that one."
    )
    assert await tab.axe_violations() == []
    await tab.page.keyboard.press("Escape")
    await expect(form).to_have_count(0)

    await press(tab, "Edit…")
    edit = dialog(tab, "Edit this webhook")
    await expect(edit.get_by_label("URL of the receiver")).to_have_value(receiver.url)
    await edit.get_by_label("Name").fill("")
    await edit.get_by_label("Post scheduled").uncheck()
    await edit.get_by_label("Account connected").check()
    await edit.get_by_text("Only some platforms or accounts").click()
    await edit.get_by_label("@hooked").check()
    await edit.get_by_role("button", name="Save").click()
    await expect(edit).to_have_count(0)
    card = tab.page.locator(".webhook")
    await expect(card.get_by_role("link")).to_have_text(receiver.url.split("/")[2])
    await expect(card).to_contain_text("EventsAccount connectedOnly accounts")
    await card.get_by_role("link").click()
    await delete_webhook(tab)


async def test_enabled_webhook_receives_what_it_missed_or_only_what_follows(
    tab: BoardTab, api: BoardApi, account: int, receiver: WebhookReceiver
) -> None:
    create_webhook(api, receiver)
    await tab.page.reload()
    toggle = tab.page.get_by_role("button", name=re.compile("^(Disable|Enable…)$"))
    for start, expected in (
        ("Everything missed since it was disabled", ["missed", "next"]),
        ("Only what happens from now on", ["next"]),
    ):
        receiver.received.clear()
        await expect(toggle).to_have_text("Disable")
        await toggle.click()
        await expect(toggle).to_have_text("Enable…")
        await expect(toggle).to_be_focused()
        await expect(tab.page.locator(".webhook")).to_contain_text("Disabled by a person")
        schedule_post(api, account, "missed")
        await toggle.click()
        ask = dialog(tab, "Enable this webhook?")
        await ask.get_by_label(start).check()
        assert await tab.axe_violations() == []
        await ask.get_by_role("button", name="Enable").click()
        await expect(toggle).to_have_text("Disable")
        schedule_post(api, account, "next")
        await tab.page.get_by_role("link", name="Reporting").click()
        delivered = tab.page.locator(".delivery .status").get_by_text("Delivered")
        await expect(delivered).to_have_count(2 if expected == ["missed", "next"] else 3)
        contents = [text for text in ("missed", "next") if contains(receiver, text)]
        assert contents == expected
        await tab.page.keyboard.press("u")
        await expect(tab.heading("Webhooks")).to_be_focused()
    await tab.page.get_by_role("link", name="Reporting").click()
    await delete_webhook(tab)


def contains(receiver: WebhookReceiver, reference: str) -> bool:
    """Return whether an event about the post with the reference was received."""
    return any(f'"reference":"{reference}"'.encode() in each.body for each in receiver.received)


async def test_rotated_secret_is_shown_once_and_both_sign(
    tab: BoardTab, api: BoardApi, receiver: WebhookReceiver
) -> None:
    secrets = [
        api.execute(CREATE, input={"url": receiver.url, "events": ["POST_FAILED"]})["secret"]
    ]
    await tab.page.reload()
    await press(tab, "Rotate secret…")
    ask = dialog(tab, "Rotate the secret?")
    await expect(ask).to_contain_text("For 24 hours both secrets sign each request")
    await ask.get_by_role("button", name="Rotate the secret").click()
    result = dialog(tab, "The new secret")
    secrets.append(await result.get_by_label("Secret", exact=True).input_value())
    await expect(result).to_contain_text("The replaced secret signs too until")
    await result.get_by_role("button", name="I have stored it").click()
    await expect(tab.page.get_by_role("button", name="Rotate secret…")).to_be_focused()
    await expect(tab.page.locator(".webhook")).to_contain_text("Replaced secretsigns too until")
    await press(tab, "Test…")
    await press(tab, "Send the test")
    accepted = dialog(tab, "Test this webhook").get_by_role("status")
    await expect(accepted).to_have_text("The receiver accepted the test")
    (request,) = receiver.received
    assert secrets[0] != secrets[1]
    for secret in secrets:
        Webhook(secret).verify(request.body, dict(request.headers))
    await press(tab, "Close")
    await tab.page.locator(".webhook").get_by_role("link").click()
    await delete_webhook(tab)


async def test_failed_deliveries_show_their_attempts_and_are_delivered_again(
    tab: BoardTab, api: BoardApi, account: int, receiver: WebhookReceiver
) -> None:
    webhook_id = create_webhook(api, receiver)
    body = "<img src=x onerror=alert(1)>"
    receiver.respond = respond_in_turn(ReceiverResponse(500, body))
    posts = [schedule_post(api, account, f"post {number}") for number in range(3)]
    await tab.open(f"/webhooks/{webhook_id}")
    rows = tab.page.locator(".delivery")
    await expect(rows.locator(".status")).to_have_text(["Retrying"] * 3)
    await expect(tab.page.get_by_label("Webhook", exact=True)).to_contain_text(
        re.compile(r"Failing since \d\d:\d\d, 3 failures")
    )
    await expect(rows.nth(0)).to_contain_text("Post scheduled · Post")
    await expect(rows.nth(0)).to_contain_text("The receiver answered 500 Internal Server Error")
    await rows.nth(0).locator("summary").click()
    await expect(rows.nth(0)).to_contain_text(re.compile("attempt 1: status 500 in "))
    await rows.nth(0).get_by_text("Response of the receiver").click()
    await expect(rows.nth(0).locator("pre").first).to_have_text(body)
    await expect(rows.nth(0).locator("pre").last).to_contain_text('"event": "post.scheduled"')
    assert await tab.axe_violations() == []
    receiver.respond = respond_in_turn(200)
    await rows.nth(0).get_by_role("button", name="Redeliver").click()
    await expect(rows.locator(".status")).to_have_text(["Delivered", "Retrying", "Retrying"])
    await expect(rows.nth(0)).to_contain_text(re.compile("attempt 2: status 200 in "))

    await press(tab, "Redeliver what failed…")
    await expect(dialog(tab, "Redeliver what failed").get_by_label("Events since")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    check = dialog(tab, "Redeliver what failed")
    await expect(check).to_contain_text("2 of 2 events will be attempted again.")
    await expect(check).to_contain_text("Failed deliveries to Reporting")
    assert await tab.axe_violations() == []
    await check.get_by_role("button", name="Redeliver 2 events").click()
    await expect(check).to_contain_text("2 of 2 events were attempted again.")
    await check.get_by_role("button", name="Close").click()
    await expect(rows.locator(".status")).to_have_text(["Delivered"] * 3)

    await rows.nth(0).get_by_role("link", name="Post").click()
    await expect(tab.heading("post 2")).to_be_focused()
    section = tab.page.get_by_role("region", name="Webhooks")
    await expect(section.get_by_role("listitem")).to_contain_text(
        re.compile("Post scheduled → Reporting Delivered")
    )
    await section.get_by_role("link", name="Reporting").click()
    await expect(tab.page).to_have_url(f"{tab.board_url}/webhooks/{webhook_id}?post={posts[2]}")
    await expect(rows).to_have_count(1)
    await delete_webhook(tab)


async def test_everything_is_possible_by_keys(
    tab: BoardTab, api: BoardApi, account: int, receiver: WebhookReceiver
) -> None:
    keyboard = tab.page.keyboard
    await tab.page.get_by_role("main").get_by_role("button").first.focus()
    await keyboard.press("Enter")
    await expect(dialog(tab, "Add a webhook").get_by_label("URL of the receiver")).to_be_focused()
    await keyboard.type(receiver.url)
    await keyboard.press("Tab")
    await keyboard.press("Tab")
    await expect(tab.page.get_by_label("Post scheduled")).to_be_focused()
    await keyboard.press("Space")
    await keyboard.press("Enter")
    await expect(dialog(tab, "The webhook is added").locator(".fix")).to_be_focused()
    for _ in range(3):
        await keyboard.press("Tab")
    await keyboard.press("Enter")
    await expect(dialog(tab, "The webhook is added")).to_have_count(0)
    schedule_post(api, account, "by keys")
    await keyboard.press("g")
    await keyboard.press("a")
    await expect(tab.heading("Accounts")).to_be_focused()
    await keyboard.press("g")
    await keyboard.press("h")
    await expect(tab.heading("Webhooks")).to_be_focused()
    await keyboard.press("j")
    await keyboard.press("Enter")
    await expect(tab.heading(receiver.url.split("/")[2])).to_be_focused()
    await expect(tab.page.locator(".delivery .status")).to_have_text("Delivered")
    await keyboard.press("j")
    await keyboard.press("Enter")
    await expect(tab.page.locator(".delivery pre").last).to_contain_text("by keys")
    await keyboard.press("u")
    await expect(tab.heading("Webhooks")).to_be_focused()
    await keyboard.press("Control+k")
    await expect(tab.page.get_by_role("combobox")).to_be_focused()
    await keyboard.type("webh")
    await expect(tab.page.get_by_role("option").first).to_have_text("Webhooks page")
    await keyboard.press("Escape")
    await tab.page.locator(".webhook").get_by_role("link").click()
    await delete_webhook(tab)
