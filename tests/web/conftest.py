"""Fixtures of the page tests: a browser, and a server that they may change."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.web.page_session import PageServer

CHROMIUM_FLAGS = (
    "--no-sandbox",  # the sandbox does not work as root, for instance in containers
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed; run scripts/clients.")
    async with async_playwright() as playwright:
        chromium_browser = await playwright.chromium.launch(
            executable_path=chromium, args=CHROMIUM_FLAGS
        )
        yield chromium_browser
        await chromium_browser.close()


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    page_server = PageServer(tmp_path_factory.mktemp("page-server"))
    yield page_server
    page_server.server.stop()
    assert [event for event in page_server.server.log_events() if event["level"] != "info"] == []
