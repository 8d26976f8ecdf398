"""Checks every page of the board at each width and in each colour scheme: `python -m tests.web.board_matrix`.

A page must have no accessibility violation, no violation of the content security policy, no message in the
console, and no horizontal scroll bar.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
from playwright.async_api import Browser, ViewportSize, expect

from tests.command_processes import fork
from tests.servers import DEMO_KEY, DEMO_POST, TIMEOUT_SECONDS, ServerProcess, run_server
from tests.web.board_api import BoardApi
from tests.web.board_tab import BoardTab, open_tab
from tests.web.chromium import open_chromium

DEMO_ACCOUNT = 2285

PATHS = (
    "",
    "/results",
    "/results?status=FAILED&order=FAILED_AT",
    "/results?q=nothing-has-this-text",
    f"/posts/{DEMO_POST}",
    "/unknown",
    "/failures",
    "/waiting",
    "/accounts",
    f"/accounts/{DEMO_ACCOUNT}",
    "/numbers",
    "/calendar",
    "/calendar/week",
    "/calendar/day",
    "/activity",
    "/webhooks",
    "/no-such-page",
)
DIALOGS = (
    ("/results", "Show as API"),
    (f"/posts/{DEMO_POST}", "Answer for the customer"),
    ("/failures", "Retry all…"),
)
"""Page of a dialog, and the button that opens it."""
ADMIN_DIALOGS = ("Add a webhook…", "Test…", "Edit…", "Rotate secret…", "Delete…")
"""Buttons of the page of webhooks, which only a key with the scope admin sees."""
PUBLISHERS = ("BLUESKY", "MASTODON", "WEBHOOK")
"""Forms of the dialog that connects an account, for a key with the scope credentials."""
WIDTHS = (360, 768, 1440)
SCHEMES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced colours": {"forced_colors": "active"},
}
_HEIGHT = 900


async def check_pages(server: ServerProcess, admin_key: str) -> list[str]:
    """Return a sentence for each problem; the key has the scopes admin and credentials."""
    problems = []
    paths = (*PATHS, f"/failures/{_failure_group(server)}")
    webhook = f"/webhooks/{_create_webhook(server, admin_key)}"
    async with open_chromium() as browser:
        for (scheme, options), width in product(SCHEMES.items(), WIDTHS):
            found = [each async for each in _check_at(browser, server, paths, width, options)]
            admin = _check_as_admin(browser, server, admin_key, webhook, width, options)
            found += [each async for each in admin]
            click.echo(f"{scheme}, {width} px: {len(paths) + 2} pages, {len(found)} problems")
            problems += [f"{scheme}, {width} px, {each}" for each in found]
    return problems


def _failure_group(server: ServerProcess) -> str:
    groups = BoardApi(server.url, DEMO_KEY).execute("{ failureGroups(first: 1) { nodes { key } } }")
    key: str = groups["nodes"][0]["key"]
    return key


def _create_webhook(server: ServerProcess, key: str) -> str:
    created = BoardApi(server.url, key).execute(
        'mutation { createWebhook(input: {url: "https://example.com/hook", name: "Reporting",'
        " events: [POST_SCHEDULED]}) { webhook { webhookId } } }"
    )
    BoardApi(server.url, key).create_post(
        accountIds=[DEMO_ACCOUNT], content="Hello", scheduledFor="2030-01-01T00:00:00Z"
    )
    webhook_id: str = created["webhook"]["webhookId"]
    return webhook_id


async def _check_as_admin(
    browser: Browser,
    server: ServerProcess,
    key: str,
    webhook: str,
    width: int,
    options: dict[str, Any],
) -> AsyncIterator[str]:
    viewport = ViewportSize(width=width, height=_HEIGHT)
    async with open_tab(
        browser, server.url, problems=frozenset(), viewport=viewport, **options
    ) as tab:
        await tab.open("/webhooks")
        await tab.sign_in(key, full_access=True)
        await expect(tab.heading("Webhooks")).to_be_visible()
        tab.problems.clear()  # the server has refused a request without a session
        for button in ADMIN_DIALOGS:
            await tab.page.get_by_role("button", name=button).first.click()
            await _expect_dialog(tab)
            for problem in await _problems(tab):
                yield f"/board/webhooks, {button}: {problem}"
            await tab.page.keyboard.press("Escape")
        for problem in await _problems(tab):
            yield f"/board/webhooks with a webhook: {problem}"
        await _open(tab, webhook)
        await tab.page.locator(".delivery summary").first.click()
        await expect(tab.page.locator(".delivery pre").last).to_be_visible()
        for problem in await _problems(tab):
            yield f"/board{webhook}: {problem}"
        await _open(tab, "/accounts")
        await tab.page.get_by_role("button", name="Connect an account…").click()
        for publisher in PUBLISHERS:
            await tab.page.get_by_label("Connect to").select_option(publisher)
            for problem in await _problems(tab):
                yield f"/board/accounts, {publisher}: {problem}"


async def _check_at(
    browser: Browser,
    server: ServerProcess,
    paths: Sequence[str],
    width: int,
    options: dict[str, Any],
) -> AsyncIterator[str]:
    viewport = ViewportSize(width=width, height=_HEIGHT)
    async with open_tab(
        browser, server.url, problems=frozenset(), viewport=viewport, **options
    ) as tab:
        await tab.open()
        await expect(tab.heading("Sign in")).to_be_visible()
        tab.problems.clear()  # the server has refused a request without a session
        for problem in await _problems(tab):
            yield f"sign-in: {problem}"
        await tab.page.get_by_role("button", name="Open the demo").click()
        await expect(tab.heading("Today")).to_be_visible()
        await tab.page.get_by_role("button", name="Menu").click()
        for problem in await _problems(tab):
            yield f"menu: {problem}"
        await tab.page.keyboard.press("Escape")
        await tab.page.keyboard.press("ControlOrMeta+k")
        await _expect_dialog(tab)
        for problem in await _problems(tab):
            yield f"palette: {problem}"
        for path in paths:
            await _open(tab, path)
            for problem in await _problems(tab):
                yield f"/board{path}: {problem}"
        for path, button in DIALOGS:
            await _open(tab, path)
            await tab.page.get_by_role("button", name=button).first.click()
            await _expect_dialog(tab)
            for problem in await _problems(tab):
                yield f"/board{path}, {button}: {problem}"


async def _open(tab: BoardTab, path: str) -> None:
    await tab.open(path)
    await expect(tab.page.locator("h1")).to_be_visible()
    await expect(tab.page.locator(".skeleton")).to_have_count(0)


async def _expect_dialog(tab: BoardTab) -> None:
    await expect(tab.page.get_by_role("dialog")).to_be_visible()
    await expect(tab.page.locator(".skeleton")).to_have_count(0)


async def _problems(tab: BoardTab) -> list[str]:
    """Return what is wrong with the shown page, and what was reported since the last call."""
    found = [*tab.problems, *await tab.axe_violations(), *await tab.policy_violations()]
    tab.problems.clear()
    if await tab.page.evaluate(_OVERFLOWS):
        found.append("the page is wider than the window")
    return found


_OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def _create_admin_key(folder: Path, settings: dict[str, str]) -> str:
    names = ("read", "write", "admin", "credentials")
    scopes = [option for name in names for option in ("--scope", name)]
    arguments = ("keys", "create", "--workspace", "Demo", "--name", "admin", *scopes)
    out = folder / "key.out"
    process = fork(arguments, {**os.environ, **settings}, out, folder / "key.log")
    assert process.wait(TIMEOUT_SECONDS) == 0
    return out.read_text().strip()


@click.command()
def main() -> None:
    """Print each problem, and exit with 1 if there is one."""
    with tempfile.TemporaryDirectory() as name:
        settings = {"DATABASE_URL": f"sqlite:///{name}/demo.db"}
        settings |= {"RATE_LIMIT": "off", "BOARD_RATE_LIMIT": "off"}
        with run_server(Path(name), settings, "--demo") as server:
            problems = asyncio.run(check_pages(server, _create_admin_key(Path(name), settings)))
    for problem in problems:
        click.echo(problem)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
