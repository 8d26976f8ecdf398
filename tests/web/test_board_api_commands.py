"""The commands by which the board shows its results as API, run by a shell."""

import csv
import json
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, expect

from tests.web.board_api import run_in_shell
from tests.web.board_tab import BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

HOSTILE = r"""it's "x" $(touch y) `z` \ !! & 50% <ö>''"""
INVISIBLE = "a\u202eb\u007fc"

pytestmark = pytest.mark.usefixtures("require_built_page")


async def shown_commands(tab: BoardTab) -> dict[str, str]:
    """The texts of the dialog by their labels."""
    await tab.page.get_by_role("button", name="Show as API").click()
    dialog = tab.page.get_by_role("dialog", name="These results by the API")
    names = (
        "GraphQL query",
        "Variables",
        "Command for the query",
        "Command for all results as CSV",
    )
    fields = {name: dialog.get_by_label(name, exact=True) for name in names}
    return {name: await field.input_value() for name, field in fields.items()}


@pytest.mark.parametrize("text", [HOSTILE, INVISIBLE])
async def test_commands_return_the_shown_results(
    browser: Browser, page_server: PageServer, publisher: Publisher, text: str
) -> None:
    account_id = publisher.connect("commands")
    post_id = publisher.create_post(account_id, f"before {text} after")
    publisher.create_post(account_id, "Another post")
    filters = urlencode({"q": text, "status": "QUEUED", "order": "CREATED_AT", "direction": "ASC"})
    async with open_tab(browser, page_server.url) as tab:
        await tab.open(f"/results?{filters}")
        await tab.sign_in(page_server.key)
        await expect(tab.page.locator("tbody tr")).to_have_count(1)
        shown = await shown_commands(tab)
        assert await tab.axe_violations() == []
    assert page_server.key not in "".join(shown.values())
    assert json.loads(shown["Variables"]) == {
        "filter": {"status": ["QUEUED"], "search": text},
        "orderBy": {"field": "CREATED_AT", "direction": "ASC"},
    }
    assert all(line.isprintable() for line in "".join(shown.values()).splitlines())
    response = json.loads(run_in_shell(shown["Command for the query"], page_server.key))
    (node,) = response["data"]["destinations"]["nodes"]
    assert (node["postId"], node["post"]["content"]) == (post_id, f"before {text} after")
    export = run_in_shell(shown["Command for all results as CSV"], page_server.key)
    (row,) = csv.DictReader(export.splitlines())
    assert row["post_id"] == post_id


async def test_copy_writes_the_text_to_the_clipboard(
    browser: Browser, page_server: PageServer
) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    async with open_tab(browser, page_server.url, permissions=permissions) as tab:
        await tab.open("/results?status=FAILED")
        await tab.sign_in(page_server.key)
        shown = await shown_commands(tab)
        for name, text in shown.items():
            await tab.page.get_by_role("button", name=f"Copy: {name}", exact=True).click()
            copied = tab.page.get_by_role("button", name=f"Copied: {name}", exact=True)
            await expect(copied).to_have_text("Copied")
            await expect(tab.page.get_by_label(name, exact=True)).to_be_focused()
            assert text == await tab.page.get_by_label(name, exact=True).evaluate(
                "field => field.value.slice(field.selectionStart, field.selectionEnd)"
            )


@pytest.mark.parametrize(
    "clipboard",
    [
        "Object.defineProperty(navigator, 'clipboard', { value: undefined })",  # as over http
        "Clipboard.prototype.writeText = () => Promise.reject(new DOMException('refused'))",
    ],
)
async def test_text_is_copied_without_the_clipboard_or_selected_to_copy_by_hand(
    browser: Browser, page_server: PageServer, clipboard: str
) -> None:
    async with open_tab(browser, page_server.url) as tab:
        await tab.page.add_init_script(clipboard)
        await tab.open("/results?status=FAILED")
        await tab.sign_in(page_server.key)
        shown = await shown_commands(tab)
        await tab.page.evaluate(
            "document.addEventListener('copy', () => { window.copied = String(getSelection()); })"
        )
        await tab.page.get_by_role("button", name="Copy: Variables", exact=True).click()
        await expect(tab.page.get_by_role("button", name="Copied: Variables")).to_be_visible()
        assert await tab.page.evaluate("window.copied") == shown["Variables"]
        await tab.page.evaluate("document.execCommand = () => false")
        await tab.page.get_by_role("button", name="Copy: GraphQL query", exact=True).click()
        await expect(tab.page.get_by_label("GraphQL query", exact=True)).to_be_focused()
        await expect(tab.page.get_by_text("Selected: press Ctrl+C.")).to_be_visible()
        await expect(tab.page.get_by_role("button", name="Copied: GraphQL query")).to_have_count(0)
