"""Fixtures of the page tests: a browser, and a server that they may change."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import httpx
import pytest
from playwright.async_api import Browser

from tests import postgres
from tests.web.chromium import find_chromium, open_chromium
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher


@pytest.fixture(scope="package")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    if find_chromium() is None:
        pytest.skip("Chromium is not installed; run scripts/clients.")
    async with open_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def page_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageServer]:
    """A server with the `SETTINGS` of the module; on PostgreSQL if it sets `ENGINE = "postgresql"`."""
    folder = tmp_path_factory.mktemp("page-server")
    with ExitStack() as stack:
        database_url = f"sqlite+aiosqlite:///{folder / 'page.db'}"
        if getattr(request.module, "ENGINE", "sqlite") == "postgresql":
            server_url = request.getfixturevalue("postgresql_server_url")
            database_url = stack.enter_context(postgres.new_database(server_url))
        page_server = PageServer(folder, database_url, **getattr(request.module, "SETTINGS", {}))
        yield page_server
        page_server.server.stop()
    assert [event for event in page_server.server.log_events() if event["level"] != "info"] == []


@pytest.fixture(scope="module")
def publisher(page_server: PageServer) -> Iterator[Publisher]:
    headers = {"Authorization": f"Bearer {page_server.key}"}
    with httpx.Client(base_url=page_server.url, headers=headers, timeout=60) as http:
        yield Publisher(http)
