"""Helper of the board's tests: a browser tab that records what must not happen."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    ViewportSize,
    expect,
)

AXE = Path("app/web/source/node_modules/axe-core/axe.min.js")
SOCKET_CLOSING = "WebSocket is already in CLOSING or CLOSED state."
"""Message of the browser when graphql-ws ends a subscription while the server closes its socket."""
UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
UNREACHABLE = frozenset(
    {
        UNAUTHORIZED,
        "WebSocket connection failed",
        *(
            f"Failed to load resource: net::ERR_{error}"
            for error in (
                "CONNECTION_REFUSED",
                "CONNECTION_RESET",
                "CONNECTION_CLOSED",
                "CONTENT_LENGTH_MISMATCH",
                "EMPTY_RESPONSE",
                "INCOMPLETE_CHUNKED_ENCODING",
                "SOCKET_NOT_CONNECTED",
            )
        ),
    }
)
"""Messages of the browser while the server is not running, or ends during a request."""

NARROW: ViewportSize = {"width": 360, "height": 800}
WIDE: ViewportSize = {"width": 1440, "height": 800}

_WEBSOCKET_FAILURE = re.compile(r"WebSocket connection to '\S+' failed: .*")

_RECORD_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


class BoardTab:
    """A tab with a page of the board."""

    def __init__(self, page: Page, board_url: str) -> None:
        self.page = page
        self.board_url = board_url
        self.problems: list[str] = []
        """Errors and warnings of the browser, and URLs of requests to other origins."""
        self.responses: list[Response] = []
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("response", self._on_response)
        origin = board_url.split("/", 3)
        self._origin = "/".join(origin[:3])

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(
                _WEBSOCKET_FAILURE.sub("WebSocket connection failed", message.text)
            )

    def _on_response(self, response: Response) -> None:
        self.responses.append(response)

    async def open(self, path: str = "") -> None:
        await self.page.goto(self.board_url + path)

    async def sign_in(
        self, key: str, *, person: str = "", read_only: bool = False, full_access: bool = False
    ) -> None:
        """Fill in and send the form."""
        await self.page.get_by_label("API key").fill(key)
        await self.page.get_by_label("Your name").fill(person)
        await self.page.get_by_label("Read only").set_checked(read_only)
        await self.page.get_by_label("Read, act and publish").set_checked(full_access)
        await self.page.get_by_role("button", name="Sign in").click()

    async def open_demo(self, path: str = "") -> None:
        """Sign in with one click, and open a page."""
        await self.open(path)
        button = self.page.get_by_role("button", name="Open the demo")
        await button.click()
        await expect(button).to_have_count(0)

    def heading(self, name: str) -> Locator:
        return self.page.get_by_role("heading", name=name, exact=True)

    async def expect_live(self) -> None:
        await expect(self.page.locator(".connection")).to_contain_text("Live")

    async def expect_default_action(self, keys: str) -> None:
        """Press keys, and expect that the page leaves them to the browser."""
        await self.page.evaluate(
            "addEventListener('keydown', (event) => { window.lastKey = event; })"
        )
        await self.page.keyboard.press(keys)
        assert await self.page.evaluate("window.lastKey.defaultPrevented") is False

    async def axe_violations(self) -> list[str]:
        """Ids of the rules of WCAG 2.2 AA and best practices that the page violates, with the elements."""
        await self.page.evaluate(_axe_source())
        results: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{violation['id']}: {node['html'][:120]}"
            for violation in results["violations"]
            for node in violation["nodes"]
        ]

    async def policy_violations(self) -> list[str]:
        violations: list[str] = await self.page.evaluate("window.violations")
        return violations

    def foreign_requests(self) -> list[str]:
        return [r.url for r in self.responses if not r.url.startswith(self._origin)]


def request_body(request: Request) -> dict[str, Any]:
    """Body of a request with a document; empty for other requests."""
    body: dict[str, Any] = json.loads(request.post_data or "{}")
    return body


@cache
def _axe_source() -> str:
    return AXE.read_text("utf-8")


def zone_at_noon(now: datetime) -> str:
    """Time zone in which it is between 12:00 and 13:00."""
    # In the names of these zones, hours behind UTC are positive.
    return f"Etc/GMT{now.astimezone(UTC).hour - 12:+d}"


@asynccontextmanager
async def open_tab(
    browser: Browser,
    server_url: str,
    *,
    problems: frozenset[str] = frozenset({UNAUTHORIZED}),
    timezone_id: str | None = None,
    **options: Any,
) -> AsyncIterator[BoardTab]:
    """A tab in a new context; at the end, only the given problems and no violation may have occurred.

    Requests of a tab that is not signed in have the status 401, which the browser reports. The
    default time zone is one in which it is noon, so that no day ends during a test.
    """
    zone = timezone_id or zone_at_noon(datetime.now(UTC))
    context = await browser.new_context(timezone_id=zone, **options)
    await context.add_init_script(_RECORD_VIOLATIONS)
    tab = BoardTab(await context.new_page(), f"{server_url}/board")
    yield tab
    violations = await tab.policy_violations()
    # A handler of a request that is cut off by the end would fail in the next call of the browser.
    await tab.page.unroute_all(behavior="ignoreErrors")
    await context.close()
    assert violations == []
    assert set(tab.problems) - {SOCKET_CLOSING} <= problems, tab.problems
    assert tab.foreign_requests() == []
