"""What the tests of the page ask for: a browser, and a server that they may change."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.web.page_session import PageServer

CHROMIUM_FLAGS = (
    "--no-sandbox",  # it cannot be had as root, in containers for instance
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
        launched = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield launched
        await launched.close()


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    own = PageServer(tmp_path_factory.mktemp("own-server"))
    yield own
    own.server.stop()
    assert [event for event in own.server.log_events() if event["level"] != "info"] == []
