"""What the tests of the page have in common: a server of their own, and a person who visits. No tests."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
)

from tests.command_processes import fork
from tests.servers import TIMEOUT_SECONDS, ServerProcess

ATTEMPTS = 3

expect.set_options(timeout=20_000)


class PageServer:
    """A server without a demo, under a path, whose keys a test may revoke."""

    def __init__(self, folder: Path) -> None:
        self._environment = {
            "DATABASE_URL": f"sqlite:///{folder / 'own.db'}",
            "ROOT_PATH": "/social/results",
        }
        self._folder = folder
        self._logs = folder / "logs"
        self._logs.mkdir()
        self.server = ServerProcess(self._logs, self._environment)
        lines = self.server.wait_until_ready()
        self.url = self.server.url
        self.key = lines[5].split()[-1]
        self._environment["PORT"] = str(urlsplit(self.url).port)

    def restart(self) -> None:
        """After it was stopped, at the same address."""
        self.server = ServerProcess(self._logs, self._environment)
        self.server.wait_until_ready()

    def run_command(self, *arguments: str) -> str:
        out, log = self._folder / "command.out", self._folder / "command.log"
        process = fork(arguments, {**os.environ, **self._environment}, out, log)
        assert process.wait(TIMEOUT_SECONDS) == 0
        return out.read_text()


class PageSession:
    """A tab of the browser in which the page is open."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self._origin = origin
        self.problems: list[str] = []
        """What the browser complained of, and whom it asked besides the server."""
        self.requests: list[dict[str, Any]] = []
        """The bodies that were posted."""
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._note_request)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self._origin, "data:")):
            self.problems.append(request.url)
        if request.method == "POST":
            self.requests.append(json.loads(request.post_data or ""))

    async def execute_query(self) -> dict[str, Any]:
        """Press the button; the answer of the server."""
        button = self.page.get_by_role("button", name="Execute query")
        async with self.page.expect_response(_is_not_introspection) as response:
            await button.click()
        answer: dict[str, Any] = await (await response.value).json()
        return answer

    async def wait_for_schema(self) -> None:
        """Return when the key was taken and the schema is there."""
        await self.page.get_by_role("button", name="Show Documentation Explorer").click()
        await expect(self.page.get_by_role("link", name="Query", exact=True)).to_be_visible()

    async def replace_query(self, query: str) -> None:
        """Replace what stands in the editor, by pasting: of what is typed it closes the brackets."""
        await self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await self.page.evaluate("text => navigator.clipboard.writeText(text)", query)
        editor = self.page.locator(".graphiql-query-editor .monaco-editor")
        for _ in range(ATTEMPTS):  # on a busy machine a key may get lost
            await editor.click()
            await self.page.keyboard.press("Control+A")
            await self.page.keyboard.press("Control+V")
            try:
                await expect(editor.locator(".view-lines")).to_have_text(query, timeout=2_000)
            except AssertionError:
                continue
            return

    @property
    def key_input(self) -> Locator:
        return self.page.get_by_label("API key")

    async def expect_status(self, text: str) -> None:
        await expect(self.page.locator("header output")).to_have_text(text)


def _is_not_introspection(response: Response) -> bool:
    question = response.request.post_data or ""
    return response.request.method == "POST" and "IntrospectionQuery" not in question


@asynccontextmanager
async def open_page(
    browser: Browser, url: str, *, problems: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[PageSession]:
    """A person who opens the page, sees nothing go wrong but what is expected, and leaves."""
    context = await browser.new_context(**options)
    visit = PageSession(await context.new_page(), url.split("/graph", maxsplit=1)[0])
    await visit.page.goto(url)
    yield visit
    await context.close()
    assert visit.problems == list(problems)
