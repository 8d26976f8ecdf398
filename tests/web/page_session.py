"""Helpers of the page tests: a server process, and a browser tab with GraphiQL."""

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
    """A server without a demo, under a path prefix, whose keys a test may revoke."""

    def __init__(self, folder: Path, database_url: str, **settings: str) -> None:
        self.database_url = database_url
        self._environment = {
            "DATABASE_URL": database_url,
            "ROOT_PATH": "/social/results",
            "RATE_LIMIT": "600/minute",  # the tests of a module share a key
            **settings,
        }
        self._folder = folder
        self._logs = folder / "logs"
        self._logs.mkdir()
        self.server = ServerProcess(self._logs, self._environment)
        self.server.wait_until_ready()
        self.url = self.server.url
        self.key = self.server.key
        self._environment["PORT"] = str(urlsplit(self.url).port)

    def restart(self) -> None:
        """Start the stopped server again at the same address."""
        self.server = ServerProcess(self._logs, self._environment)
        self.server.wait_until_ready()

    def create_key(self, name: str, *options: str) -> str:
        """Create an API key of the default workspace; returns the token."""
        arguments = ("keys", "create", "--workspace", "default", "--name", name, *options)
        return self.run_command(*arguments).strip()

    def create_key_of_workspace(self, name: str, *options: str) -> str:
        """Create a workspace with these options, and an API key of it; returns the token."""
        self.run_command("workspaces", "create", name, *options)
        return self.run_command("keys", "create", "--workspace", name, "--name", name).strip()

    def revoke_key(self, name: str) -> None:
        lines = self.run_command("keys", "list").splitlines()
        (row,) = [line for line in lines if line.endswith(name)]
        self.run_command("keys", "revoke", row.split()[0])

    def run_command(self, *arguments: str) -> str:
        out, log = self._folder / "command.out", self._folder / "command.log"
        process = fork(arguments, {**os.environ, **self._environment}, out, log)
        assert process.wait(TIMEOUT_SECONDS) == 0
        return out.read_text()


class PageSession:
    """A browser tab with GraphiQL."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self._origin = origin
        self.problems: list[str] = []
        """Errors and warnings of the browser, and URLs of requests to other origins."""
        self.requests: list[dict[str, Any]] = []
        """Bodies of POST requests."""
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._on_request)

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self._origin, "data:")):
            self.problems.append(request.url)
        if request.method == "POST":
            self.requests.append(json.loads(request.post_data or ""))

    async def execute_query(self) -> dict[str, Any]:
        """Press the button and return the server's response."""
        button = self.page.get_by_role("button", name="Execute query")
        async with self.page.expect_response(_is_not_introspection) as response:
            await button.click()
        result: dict[str, Any] = await (await response.value).json()
        return result

    async def wait_for_schema(self) -> None:
        """Wait until the key is accepted and the schema is loaded."""
        await self.page.get_by_role("button", name="Show Documentation Explorer").click()
        await expect(self.page.get_by_role("link", name="Query", exact=True)).to_be_visible()

    async def replace_query(self, query: str) -> None:
        """Replace the text of the editor by pasting; it would add closing brackets to typed text."""
        await self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await self.page.evaluate("text => navigator.clipboard.writeText(text)", query)
        editor = self.page.locator(".graphiql-query-editor .monaco-editor")
        for _ in range(ATTEMPTS):  # on a busy machine a key press may get lost
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
    body = response.request.post_data or ""
    return response.request.method == "POST" and "IntrospectionQuery" not in body


@asynccontextmanager
async def open_page(
    browser: Browser, url: str, *, problems: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[PageSession]:
    """Open the page in a new context; at the end assert that only the expected problems occurred."""
    context = await browser.new_context(**options)
    session = PageSession(await context.new_page(), url.split("/graph", maxsplit=1)[0])
    await session.page.goto(url)
    yield session
    await context.close()
    assert session.problems == list(problems)
