"""Helper of the board's measurements: values with their goals, and pages of a board with seeded data."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, expect

from tests.servers import ServerProcess

_OBSERVE = """
window.interactions = [];
window.longFrames = [];
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.interactionId) window.interactions.push(entry.duration);
}).observe({ type: "event", durationThreshold: 16, buffered: true });
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longFrames.push(entry.duration);
}).observe({ type: "long-animation-frame", buffered: true });
"""


_IS_LIVE = """
() => document.querySelector(".connection")?.textContent.includes("Live")
    && !document.querySelector(".skeleton")
"""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured value with its goal, which is its maximum."""

    name: str
    value: float
    goal: float
    unit: str

    @property
    def meets_goal(self) -> bool:
        return self.value <= self.goal

    def __str__(self) -> str:
        verdict = "" if self.meets_goal else "  MISSED"
        return f"{self.name:52} {self.value:9,.1f} {self.unit:6} ≤ {self.goal:,g}{verdict}"


@dataclass(slots=True)
class Board:
    """A browser and a server with seeded data."""

    browser: Browser
    server: ServerProcess
    token: str
    cookies: list[Any] = field(default_factory=list)

    async def sign_in(self) -> None:
        context = await self.browser.new_context()
        page = await context.new_page()
        await page.goto(f"{self.server.url}/board")
        await page.get_by_label("API key").fill(self.token)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", name="Today", exact=True)).to_be_visible()
        self.cookies = await context.cookies()
        await context.close()

    @asynccontextmanager
    async def page(self) -> AsyncIterator[tuple[Page, CDPSession]]:
        """A signed-in page with an empty cache."""
        context = await self.browser.new_context(viewport={"width": 1440, "height": 900})
        await context.add_cookies(self.cookies)
        await context.add_init_script(_OBSERVE)
        page = await context.new_page()
        yield page, await context.new_cdp_session(page)
        await context.close()

    async def open(self, page: Page, path: str) -> None:
        """Open a page, and wait until its data is shown and live."""
        await page.goto(f"{self.server.url}/board{path}")
        # Not `expect`, which describes the whole page whenever it does not meet the expectation yet.
        await page.wait_for_function(_IS_LIVE)
