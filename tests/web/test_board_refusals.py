"""The board in Chromium when the server refuses requests: rate limits, outages, and responses of a proxy."""

import asyncio
from collections.abc import Callable

import pytest
from playwright.async_api import Browser, Locator, Request, Route, expect

from tests.servers import ServerProcess
from tests.web.board_feed import Feed
from tests.web.board_tab import UNAUTHORIZED, BoardTab, open_tab, request_body
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

FAILED_LOAD = "Failed to load resource: the server responded with a status of"
TOO_MANY = f"{FAILED_LOAD} 429 (Too Many Requests)"
BAD_REQUEST = f"{FAILED_LOAD} 400 (Bad Request)"
UNAVAILABLE = f"{FAILED_LOAD} 503 (Service Unavailable)"
BAD_GATEWAY = f"{FAILED_LOAD} 502 (Bad Gateway)"
WAITING_LISTS = 3

pytestmark = pytest.mark.usefixtures("require_built_page")


class Refusals:
    """Refuses the requests for which `matches` is true, with a new message each time."""

    def __init__(self, status: int, code: str, matches: Callable[[Request], bool]) -> None:
        self._status = status
        self._code = code
        self._matches = matches
        self.count = 0

    async def handle(self, route: Route) -> None:
        if not self._matches(route.request):
            await route.continue_()
            return
        self.count += 1
        error = {"message": f"Refusal {self.count}.", "extensions": {"code": self._code}}
        headers = {"Retry-After": "30"} if self._status == 429 else {}
        await route.fulfill(status=self._status, json={"errors": [error]}, headers=headers)


async def open_list_with_refused_page(tab: BoardTab, refusals: Refusals) -> Locator:
    """Open the results and scroll to the end of the first page; return the error of the next one."""
    await tab.page.route("**/graphql", refusals.handle)
    await tab.open_demo("/results?order=CREATED_AT&direction=ASC")
    await expect(tab.page.locator("tbody tr").first).to_be_visible()
    await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    panel = tab.page.locator(".error-panel")
    await expect(panel).to_contain_text("Refusal 1.")
    return panel


async def test_refused_page_of_the_list_is_shown_and_not_requested_again(
    browser: Browser, demo_server: ServerProcess
) -> None:
    refusals = Refusals(429, "RATE_LIMITED", _reads_next_page)
    problems = frozenset({UNAUTHORIZED, TOO_MANY})
    async with open_tab(browser, demo_server.url, problems=problems) as tab:
        panel = await open_list_with_refused_page(tab, refusals)
        await expect(panel.get_by_role("button")).to_contain_text("Try again in")
        for _ in range(5):
            await tab.page.evaluate("scrollTo(0, 0)")
            await expect(tab.page.locator("tr[data-index='0']")).to_be_in_viewport()
            await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
            await expect(tab.page.locator("tr[data-index='99']")).to_be_in_viewport()
        await expect(panel).to_contain_text("Refusal 1.")
        assert refusals.count == 1


async def test_refused_page_of_the_list_is_requested_by_its_button_and_at_the_next_visit(
    browser: Browser, demo_server: ServerProcess
) -> None:
    refusals = Refusals(503, "UNAVAILABLE", _reads_next_page)
    problems = frozenset({UNAUTHORIZED, UNAVAILABLE})
    async with open_tab(browser, demo_server.url, problems=problems) as tab:
        panel = await open_list_with_refused_page(tab, refusals)
        await panel.get_by_role("button", name="Try again").click()
        await expect(panel).to_contain_text("Refusal 2.")
        await tab.page.unroute("**/graphql")
        await tab.page.keyboard.press("g")
        await tab.page.keyboard.press("t")
        await expect(tab.heading("Today")).to_be_focused()
        await tab.page.go_back()
        await expect(tab.page.locator("tbody tr").first).to_be_visible()
        await expect(panel).to_have_count(0)
        await tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        await expect(tab.page.get_by_role("button", name="200 rows loaded")).to_be_attached()
    assert refusals.count == 2


async def test_refused_refreshes_share_one_message_and_keep_what_is_shown(
    browser: Browser, demo_server: ServerProcess
) -> None:
    problems = frozenset({UNAUTHORIZED, TOO_MANY})
    async with open_tab(browser, demo_server.url, problems=problems) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open_demo("/waiting")
        await expect(tab.page.locator("section.waiting")).to_have_count(WAITING_LISTS)
        await expect(tab.page.locator(".skeleton")).to_have_count(0)
        await tab.expect_live()
        notices = tab.page.locator(".notice p")
        refusals = Refusals(429, "RATE_LIMITED", lambda _: True)
        one_by_one = asyncio.Lock()
        lists = asyncio.Semaphore(0)

        async def refuse_one_by_one(route: Route) -> None:
            async with one_by_one:
                await refusals.handle(route)
                await expect(notices.filter(has_text=f"Refusal {refusals.count}.")).to_be_visible()
                lists.release()

        await tab.page.route("**/graphql", refuse_one_by_one)
        feed.send_change()
        for _ in range(WAITING_LISTS):
            await lists.acquire()
        await expect(notices).to_have_text(
            [f"This page could not be brought up to date. Refusal {WAITING_LISTS}."]
        )
        await expect(tab.page.locator(".error-panel")).to_have_count(0)


async def fail_failure_groups(route: Route) -> None:
    """Answer the query of Today without one of its fields."""
    if "since" not in request_body(route.request).get("variables", {}):
        await route.continue_()
        return
    response = await route.fetch()
    body = await response.json()
    body["data"]["failureGroups"] = None
    error = {
        "message": "It took too long.",
        "path": ["failureGroups"],
        "extensions": {"code": "TIMEOUT"},
    }
    await route.fulfill(response=response, json={**body, "errors": [error]})


async def test_error_of_one_panel_leaves_the_others_and_is_gone_after_a_retry(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        await tab.page.route("**/graphql", fail_failure_groups)
        await tab.open_demo()
        panel = tab.page.locator(".error-panel")
        await expect(panel).to_contain_text("It took too long.")
        await expect(panel).to_contain_text("TIMEOUT · request ")
        await expect(tab.page.get_by_label("Needs you")).to_contain_text("failed today")
        await expect(tab.heading("Accounts that cannot post")).to_be_visible()
        await tab.page.unroute("**/graphql")
        await panel.get_by_role("button", name="Try again").click()
        await expect(tab.heading("Failed today, by cause")).to_be_visible()
        await expect(panel).to_have_count(0)


async def test_exceeded_limit_is_shown_with_its_code(
    browser: Browser, demo_server: ServerProcess
) -> None:
    refusals = Refusals(400, "LIMIT_EXCEEDED", _reads_results)
    problems = frozenset({UNAUTHORIZED, BAD_REQUEST})
    async with open_tab(browser, demo_server.url, problems=problems) as tab:
        await tab.page.route("**/graphql", refusals.handle)
        await tab.open_demo("/results")
        panel = tab.page.locator(".error-panel")
        await expect(panel).to_contain_text("Refusal 1.")
        await expect(panel).to_contain_text("LIMIT_EXCEEDED")
        await tab.page.unroute("**/graphql")
        await panel.get_by_role("button", name="Try again").click()
        await expect(tab.page.locator("tbody tr").first).to_be_visible()
        assert refusals.count == 1


async def test_skeleton_of_a_page_appears_after_a_delay(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        is_released = asyncio.Event()

        async def delay(route: Route) -> None:
            await is_released.wait()
            await route.continue_()

        await tab.open_demo()
        await tab.expect_live()
        await tab.page.route("**/graphql", delay)
        await tab.page.get_by_role("link", name="Failures", exact=True).click()
        skeleton = tab.page.get_by_role("status", name="Loading")
        await expect(skeleton.last).to_be_visible()
        await expect(skeleton.last).to_have_css("animation", "0s 0.15s both appear")
        is_released.set()
        await expect(skeleton).to_have_count(0)


async def test_panels_stay_while_an_automatic_refresh_of_one_of_them_fails(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(browser, demo_server.url) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open_demo()
        await expect(tab.heading("Failed today, by cause")).to_be_visible()
        await tab.expect_live()
        await tab.page.route("**/graphql", fail_failure_groups)
        feed.send_change()
        await expect(tab.page.locator(".notice p")).to_have_text(
            ["This page could not be brought up to date. It took too long."]
        )
        await expect(tab.heading("Failed today, by cause")).to_be_visible()
        await expect(tab.page.locator(".error-panel")).to_have_count(0)


async def test_list_stays_while_its_automatic_refresh_fails(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    account_id = publisher.connect("refused")
    publisher.create_failures(account_id, 1, "REFUSED")
    problems = frozenset({UNAUTHORIZED, UNAVAILABLE})
    async with open_tab(browser, page_server.url, problems=problems) as tab:
        feed = Feed()
        await feed.serve(tab.page)
        await tab.open(f"/results?account={account_id}")
        async with tab.page.expect_request(_reads_results) as first:
            await tab.sign_in(page_server.key)
        document = request_body(await first.value)["documentId"]
        row = tab.page.locator("tbody tr")
        await expect(row).to_have_count(1)
        await tab.expect_live()
        refusals = Refusals(
            503, "UNAVAILABLE", lambda request: request_body(request).get("documentId") == document
        )
        await tab.page.route("**/graphql", refusals.handle)
        await tab.page.mouse.move(0, 0)  # out of the list, which otherwise stays as it is
        publisher.create_failures(account_id, 1, "REFUSED")
        feed.send_change()
        await expect(tab.page.locator(".notice p")).to_have_text(
            ["This page could not be brought up to date. Refusal 1."]
        )
        await expect(row).to_have_count(1)
        await expect(tab.page.locator(".error-panel")).to_have_count(0)
        await tab.page.unroute("**/graphql")
        await tab.page.keyboard.press(".")
        await expect(row).to_have_count(2)


@pytest.mark.parametrize("body", ["{}", "null", '{"error": "no upstream"}'])
async def test_response_of_a_proxy_is_an_error(
    browser: Browser, demo_server: ServerProcess, body: str
) -> None:
    async def answer_as_proxy(route: Route) -> None:
        if _reads_results(route.request):
            await route.fulfill(status=502, content_type="application/json", body=body)
        else:
            await route.continue_()

    problems = frozenset({UNAUTHORIZED, BAD_GATEWAY})
    async with open_tab(browser, demo_server.url, problems=problems) as tab:
        await tab.page.route("**/graphql", answer_as_proxy)
        await tab.open_demo("/results")
        panel = tab.page.locator(".error-panel").last
        await expect(panel).to_contain_text("The server answered with the status 502.")
        await expect(panel).to_contain_text("HTTP 502")


def _reads_results(request: Request) -> bool:
    return "orderBy" in request_body(request).get("variables", {})


def _reads_next_page(request: Request) -> bool:
    return _reads_results(request) and bool(request_body(request)["variables"].get("after"))
