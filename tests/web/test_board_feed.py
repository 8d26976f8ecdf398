"""The board's live changes in Chromium, with a server that refuses subscriptions and breaks connections."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Request, Route, expect

from tests.servers import DEMO_KEY, ServerProcess, run_server
from tests.web.board_api import BoardApi
from tests.web.board_feed import Feed
from tests.web.board_tab import BoardTab, open_tab, request_body
from tests.web.publisher import Publisher

ROWS = 104
DATA_LOADED_AGAIN = "The page was disconnected for too long, so all its data was loaded again."
CONNECTED_AGAIN = "Connected again."
MESSAGE_MS = 10_000
MIN_BACKOFF_SECONDS = 0.5 + 1 + 2
"""Least sum of the first three delays between attempts to connect."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture
async def tab(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[BoardTab]:
    async with open_tab(browser, demo_server.url) as tab:
        yield tab


@pytest.fixture
async def feed(tab: BoardTab) -> Feed:
    feed = Feed()
    await feed.serve(tab.page)
    return feed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server without rate limits, whose data the tests change."""
    folder = tmp_path_factory.mktemp("server")
    settings = {"DATABASE_URL": f"sqlite:///{folder / 'page.db'}", "RATE_LIMIT": "off"}
    with run_server(folder, settings) as server:
        yield server


@pytest.fixture(scope="module")
def unlimited_publisher(server: ServerProcess) -> Iterator[Publisher]:
    headers = {"Authorization": f"Bearer {server.key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
        yield Publisher(http)


@pytest.mark.parametrize("code", ["RESYNC_REQUIRED", "BAD_CURSOR"])
async def test_feed_continues_at_the_latest_change_if_its_cursor_is_refused(
    tab: BoardTab, feed: Feed, demo_server: ServerProcess, code: str
) -> None:
    api = BoardApi(demo_server.url, DEMO_KEY)
    await tab.open_demo()
    await tab.expect_live()
    feed.cursors[:] = ["old"]
    async with tab.page.expect_response(lambda response: "since" in _variables(response.request)):
        feed.refuse(code, "The cursor is of no use.")
    await feed.wait_for_subscription(2)
    latest = api.execute("{ changes(first: 1) { latestCursor } }")["latestCursor"]
    assert feed.cursors == ["old", latest]
    await tab.expect_live()
    await expect(tab.page.get_by_label("Messages")).to_contain_text(DATA_LOADED_AGAIN)


@pytest.mark.parametrize(
    ("code", "notice"),
    [
        ("VALIDATION_ERROR", "A newer version of this page is available. Reload it."),
        ("DOCUMENT_NOT_TRUSTED", "A newer version of this page is available. Reload it."),
        ("LIMIT_EXCEEDED", "Live changes do not arrive. It is refused."),
    ],
)
async def test_refused_subscription_is_shown_and_repeated_with_growing_delays(
    tab: BoardTab, feed: Feed, code: str, notice: str
) -> None:
    feed.reply = lambda feed: feed.refuse(code, "It is refused.")
    await tab.open_demo()
    await feed.wait_for_subscription(4)
    assert feed.times[3] - feed.times[0] >= MIN_BACKOFF_SECONDS
    await expect(tab.page.locator(".notice p")).to_have_text([notice])
    await expect(tab.page.locator(".connection")).to_have_text("Reconnecting…")


async def test_connection_that_breaks_immediately_is_not_said_to_be_back(
    tab: BoardTab, feed: Feed
) -> None:
    await tab.open_demo()
    await tab.expect_live()
    closing: list[asyncio.Task[None]] = []
    feed.reply = lambda feed: closing.append(asyncio.create_task(feed.close()))
    await feed.close()
    await feed.wait_for_subscription(4)
    await expect(tab.page.locator(".notice")).to_have_count(0)
    feed.reply = lambda _: None
    await expect(tab.page.locator(".notice p")).to_have_text([CONNECTED_AGAIN])
    await tab.expect_live()
    await asyncio.gather(*closing)


async def test_message_about_a_connection_closes_unless_the_pointer_is_on_it(
    tab: BoardTab, feed: Feed
) -> None:
    await tab.page.clock.install()
    await tab.open_demo()
    await tab.expect_live()
    await feed.close()
    notice = tab.page.locator(".notice")
    await expect(notice).to_have_text(CONNECTED_AGAIN + "×")
    await notice.hover()
    await tab.page.clock.fast_forward(MESSAGE_MS)
    await expect(notice).to_have_count(1)
    await tab.page.mouse.move(0, 0)
    await tab.page.clock.fast_forward(MESSAGE_MS)
    await expect(notice).to_have_count(0)


async def test_banner_says_from_when_the_page_is_until_it_is_live_again(
    tab: BoardTab, feed: Feed
) -> None:
    await tab.open_demo()
    await tab.expect_live()
    banner = tab.page.locator(".banner")
    await expect(banner).to_have_text("")
    feed.reply = lambda feed: feed.refuse("LIMIT_EXCEEDED", "It is refused.")
    await feed.close()
    await expect(banner).to_have_text(
        re.compile(r"^Reconnecting… What you see is as of \d\d:\d\d:\d\d\.$")
    )
    await expect(banner).to_have_attribute("role", "status")
    feed.reply = lambda _: None
    await tab.expect_live()
    await expect(banner).to_have_text("")


async def test_panel_is_read_again_after_a_change_during_its_first_load(
    tab: BoardTab, feed: Feed
) -> None:
    requests: list[Request] = []

    async def change_before_the_response_arrives(route: Route) -> None:
        if not _reads_headline(route.request) or requests:
            await route.continue_()
            return
        requests.append(route.request)
        response = await route.fetch()
        await feed.wait_for_subscription(1)
        await expect(tab.page.locator("canvas")).to_have_count(3)
        async with tab.page.expect_request(_reads_charts):
            feed.send_change()
        await route.fulfill(response=response)

    await tab.page.route("**/graphql", change_before_the_response_arrives)
    async with tab.page.expect_request(
        lambda request: _reads_headline(request) and request not in requests and bool(requests)
    ):
        await tab.open_demo("/numbers?from=2026-04-01&to=2026-04-30")
    await expect(tab.page.locator(".sentence").first).to_contain_text(" of 3 results.")


async def test_list_of_an_earlier_visit_is_read_again(
    browser: Browser, server: ServerProcess, unlimited_publisher: Publisher
) -> None:
    account_id = unlimited_publisher.connect("visited")
    (post_id,) = unlimited_publisher.create_failures(account_id, 1, "VISITED")
    async with open_tab(browser, server.url) as tab:
        await Feed().serve(tab.page)
        await tab.open(f"/results?account={account_id}")
        await tab.sign_in(server.key)
        row = tab.page.locator("tbody tr")
        await expect(row.locator(".status")).to_have_text("Failed")
        await tab.page.get_by_role("link", name="Today").click()
        await expect(tab.heading("Today")).to_be_focused()
        unlimited_publisher.retry(post_id)
        await tab.page.go_back()
        await expect(row.locator(".status")).to_have_text("Scheduled")


async def test_repeated_and_reordered_changes_end_with_what_the_server_has(
    browser: Browser, server: ServerProcess, unlimited_publisher: Publisher
) -> None:
    account_id = unlimited_publisher.connect("reordered")
    unlimited_publisher.create_failures(account_id, 2, "REORDERED")
    async with open_tab(browser, server.url) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open(f"/results?account={account_id}&order=CREATED_AT&direction=ASC")
        await tab.sign_in(server.key)
        statuses = tab.page.locator("tbody tr .status")
        await expect(statuses).to_have_text(["Failed", "Failed"])
        await tab.expect_live()
        (first, _) = unlimited_publisher.execute(
            "query($ids: [Int!]) { destinations(filter: {accountId: $ids},"
            " orderBy: {field: CREATED_AT, direction: ASC}) { nodes { id status } } }",
            ids=[account_id],
        )["nodes"]
        publishing = {**first, "status": "PUBLISHING", "awaitsOutcome": True}
        is_released = asyncio.Event()

        async def delay(route: Route) -> None:
            await is_released.wait()
            await route.continue_()

        await tab.page.route("**/graphql", delay)
        for destination in (first, first, publishing):
            feed.send_change(destination)
        await expect(statuses).to_have_text(["Publishing", "Failed"])
        is_released.set()
        await expect(statuses).to_have_text(["Failed", "Failed"])


async def test_rows_behind_the_first_page_are_read_again(
    browser: Browser, server: ServerProcess, unlimited_publisher: Publisher
) -> None:
    account_id = unlimited_publisher.connect("many")
    post_ids = unlimited_publisher.create_failures(account_id, ROWS, "MANY")
    async with open_tab(browser, server.url) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open(f"/results?account={account_id}&order=CREATED_AT&direction=ASC")
        await tab.sign_in(server.key)
        last = tab.page.locator(f"tr[data-index='{ROWS - 1}'] .status")

        async with tab.page.expect_request(_reads_rows_behind) as request:
            await expect(tab.page.locator("tbody tr").first).to_be_visible()
            await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        response = await (await request.value).response()
        assert response is not None
        await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        await expect(last).to_have_text("Failed")
        unlimited_publisher.retry(post_ids[-1])
        feed.refuse("RESYNC_REQUIRED", "The cursor is too old.")
        await expect(last).to_have_text("Scheduled")


async def test_change_while_its_row_is_loading_is_not_lost(
    browser: Browser, server: ServerProcess, unlimited_publisher: Publisher
) -> None:
    account_id = unlimited_publisher.connect("loading")
    post_ids = unlimited_publisher.create_failures(account_id, ROWS, "LOADING")
    async with open_tab(browser, server.url) as tab:
        await tab.open(f"/results?account={account_id}&order=CREATED_AT&direction=ASC")
        await tab.sign_in(server.key)
        await tab.expect_live()
        await expect(tab.page.locator("tbody tr").first).to_be_visible()

        async def change_before_the_response_arrives(route: Route) -> None:
            if not _reads_rows_behind(route.request):
                await route.continue_()
                return
            response = await route.fetch()
            async with tab.page.expect_request(_reads_head):
                unlimited_publisher.retry(post_ids[-1])
            await route.fulfill(response=response)

        await tab.page.route("**/graphql", change_before_the_response_arrives)
        await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        await expect(tab.page.locator(".list-bar")).to_contain_text(f"{ROWS} results")
        last = tab.page.locator(f"tr[data-index='{ROWS - 1}'] .status")
        await expect(tab.page.get_by_role("button", name="Show more")).to_have_count(0)
        await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        await expect(last).to_have_text("Scheduled")


def _variables(request: Request) -> dict[str, Any]:
    variables: dict[str, Any] = request_body(request).get("variables", {})
    return variables


def _reads_headline(request: Request) -> bool:
    """Return whether the request reads the headline of Numbers."""
    return _variables(request).keys() == {"from", "to", "filter"}


def _reads_charts(request: Request) -> bool:
    """Return whether the request reads the charts of Numbers."""
    return "interval" in _variables(request)


def _reads_rows_behind(request: Request) -> bool:
    """Return whether the request reads a page of the results after the first one."""
    return bool(_variables(request).get("after"))


def _reads_head(request: Request) -> bool:
    """Return whether the request reads the head of the results."""
    return _variables(request).keys() == {"filter", "orderBy", "count"}
