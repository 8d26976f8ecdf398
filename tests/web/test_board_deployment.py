"""The board in Chromium in front of servers with other settings, behind a proxy, and without the database."""

import json
import re
from asyncio import to_thread
from collections.abc import Callable, Iterator

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import make_url

from tests import postgres
from tests.servers import DEMO_POST, ServerProcess, run_server
from tests.web.board_tab import UNAUTHORIZED, open_tab
from tests.web.stripping_proxy import strip_prefix

FAILED_LOAD = "Failed to load resource: the server responded with a status of"
UNAVAILABLE = f"{FAILED_LOAD} 503 (Service Unavailable)"
NOT_FOUND = f"{FAILED_LOAD} 404 (Not Found)"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture(scope="module")
def restricted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A demo server below a path, with one trusted document, whose API pages of another origin may call."""
    folder = tmp_path_factory.mktemp("restricted-server")
    trusted = folder / "trusted.json"
    trusted.write_text(json.dumps({"typename": "{ __typename }"}), "utf-8")
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "ROOT_PATH": "/social/results",
        "TRUSTED_DOCUMENTS": str(trusted),
        "CORS_ORIGINS": "https://example.com",
    }
    with run_server(folder, settings, "--demo") as server:
        yield server


async def test_board_works_with_trusted_documents_behind_a_proxy_that_strips_the_prefix(
    browser: Browser, restricted_server: ServerProcess
) -> None:
    async with (
        strip_prefix(restricted_server.url) as url,
        open_tab(browser, url) as tab,
    ):
        await tab.open_demo(f"/posts/{DEMO_POST}")
        await expect(tab.page.locator(".card")).to_have_count(3)
        await tab.expect_live()
        await tab.open("/results?category=AUTH")
        await tab.page.get_by_role("button", name="Select all").click()
        await tab.page.get_by_role("button", name="Retry…").click()
        await expect(tab.page.get_by_role("dialog")).to_contain_text("will be queued again")


async def test_script_that_a_newer_server_does_not_have_is_loaded_by_a_reload(
    browser: Browser, restricted_server: ServerProcess
) -> None:
    problems = frozenset({UNAUTHORIZED, NOT_FOUND})
    async with open_tab(browser, restricted_server.url, problems=problems) as tab:
        await tab.open_demo()
        await tab.expect_live()
        await tab.page.route("**/assets/numbers-*.js", lambda route: route.fulfill(status=404))
        await tab.page.get_by_role("link", name="Numbers").click()
        await expect(tab.heading("This page could not be loaded")).to_be_focused()
        await tab.page.unroute("**/assets/numbers-*.js")
        await tab.page.get_by_role("button", name="Reload").click()
        await expect(tab.heading("Numbers")).to_be_visible()


async def test_parts_of_pages_without_their_scripts_offer_a_reload(
    browser: Browser, restricted_server: ServerProcess
) -> None:
    problems = frozenset({UNAUTHORIZED, NOT_FOUND})
    scripts = re.compile(r"/assets/(plot|palette|api-commands)-.*\.js")
    missing = "This part could not be loaded."
    async with open_tab(browser, restricted_server.url, problems=problems) as tab:
        await tab.page.route(scripts, lambda route: route.fulfill(status=404))
        await tab.open_demo("/numbers")
        outcomes = tab.page.get_by_role("figure", name="Outcomes")
        await expect(outcomes).to_contain_text(missing)
        await outcomes.get_by_text("Outcomes as a table").click()
        await expect(outcomes.locator("tbody tr").first).to_be_visible()
        assert await tab.axe_violations() == []
        await tab.page.keyboard.press("Control+k")
        await expect(tab.page.get_by_role("dialog", name="Go to")).to_contain_text(missing)
        await tab.open("/results")
        await tab.page.get_by_role("button", name="Show as API").click()
        dialog = tab.page.get_by_role("dialog", name="These results by the API")
        await expect(dialog).to_contain_text(missing)
        await tab.page.unroute(scripts)
        await dialog.get_by_role("button", name="Reload").click()
        await tab.page.get_by_role("button", name="Show as API").click()
        await expect(tab.page.get_by_label("Variables", exact=True)).to_be_visible()


@pytest.fixture
def postgresql_board(
    postgresql_server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, Callable[[str], None]]]:
    """A server on PostgreSQL, and a function that runs SQL about its database, whose name is `$name`."""
    folder = tmp_path_factory.mktemp("server-on-postgresql")
    with (
        postgres.new_database(postgresql_server_url) as url,
        postgres.script_runner(postgresql_server_url) as run,
        run_server(folder, {"DATABASE_URL": url, "DATABASE_TIMEOUT": "5"}) as server,
    ):
        name = make_url(url).database
        assert name is not None
        yield server, lambda sql: run(sql.replace("$name", name))


async def test_board_without_its_database_says_so_and_starts_when_it_is_back(
    browser: Browser, postgresql_board: tuple[ServerProcess, Callable[[str], None]]
) -> None:
    server, run = postgresql_board
    problems = frozenset({UNAUTHORIZED, UNAVAILABLE})
    async with open_tab(browser, server.url, problems=problems) as tab:
        await tab.open()
        await tab.sign_in(server.key)
        await tab.expect_live()
        await to_thread(run, "ALTER DATABASE $name ALLOW_CONNECTIONS false")
        await to_thread(
            run, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$name'"
        )
        await tab.open("/results")
        await expect(tab.heading("The board cannot start")).to_be_visible()
        panel = tab.page.locator(".error-panel")
        await expect(panel).to_contain_text("SERVICE_UNAVAILABLE · request ")
        await to_thread(run, "ALTER DATABASE $name ALLOW_CONNECTIONS true")
        await panel.get_by_role("button", name="Try again").click()
        await expect(tab.heading("Results")).to_be_visible()
        await tab.expect_live()
