"""Helper of the board's measurements: values with their goals, and pages of a board with seeded data."""

import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, expect

from tests.servers import ServerProcess

_OBSERVE = """
window.interactions = new Map();
window.longFrames = [];
new PerformanceObserver((list) => {
    for (const { interactionId, duration } of list.getEntries()) {
        const longest = Math.max(duration, window.interactions.get(interactionId) ?? 0);
        if (interactionId) window.interactions.set(interactionId, longest);
    }
}).observe({ type: "event", durationThreshold: 16, buffered: true });
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longFrames.push(entry.duration);
}).observe({ type: "long-animation-frame", buffered: true });
"""


_IS_LIVE = """
() => document.querySelector(".connection")?.textContent.includes("Live")
    && !document.querySelector(".skeleton")
"""


_SLOW_PROCESSOR = 440
"""BenchmarkIndex of a slow processor: that of a fast desktop, 1,760, slowed down four times."""

_BENCHMARK_INDEX = """
() => {
    const MILLISECONDS = 250;
    function rate(iterate) {
        const startedAt = performance.now();
        let iterations = 0;
        while (performance.now() < startedAt + MILLISECONDS) iterate(iterations++);
        return (100 * iterations) / (performance.now() - startedAt);
    }
    const numbers = Array.from({ length: 100_000 }, (_, index) => index);
    const arrays = [numbers, [...numbers]];
    const concatenations = rate(() => {
        let text = "";
        for (let i = 0; i < 10_000; i++) text += "a";
        if (text.length !== 10_000) throw new Error();
    });
    const copies = rate((iteration) => {
        const [source, target] = iteration % 2 ? arrays : [arrays[1], arrays[0]];
        for (let i = 0; i < source.length; i++) target[i] = source[i];
    });
    return (concatenations + copies) / 2;
}
"""
"""Speed of a processor as Lighthouse measures it: tens of iterations per second, of two kinds."""


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


async def slow_down(page: Page, session: CDPSession) -> None:
    """Give the page a processor of a fixed speed, whatever the speed of this machine is at the moment.

    A fixed factor would emulate another device on each machine:
    https://github.com/GoogleChrome/lighthouse/blob/main/docs/throttling.md#cpu-throttling.
    """
    index = statistics.median([await page.evaluate(_BENCHMARK_INDEX) for _ in range(3)])
    rate = max(1.0, index / _SLOW_PROCESSOR)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": rate})
