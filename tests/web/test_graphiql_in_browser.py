"""GraphiQL in Chromium: loading, queries, and the handling of API keys."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Route, expect

from app.services.api_keys import CACHE_TTL
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess
from tests.web.page_session import PageServer, PageSession, open_page

UNKNOWN_KEY = "pe_live_" + "0" * 32
UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
SCOPES = "read, write, publish"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture
async def demo_page(browser: Browser, demo_server: ServerProcess) -> AsyncIterator[PageSession]:
    """A tab with GraphiQL of the demo, after its schema was loaded."""
    async with open_page(browser, f"{demo_server.url}/graphql") as session:
        await session.wait_for_schema()
        yield session


async def test_page_loads_without_problems_other_origins_or_headers_editor(
    browser: Browser, demo_server: ServerProcess
) -> None:
    for path in ("/graphql", "/graphiql"):
        async with open_page(browser, demo_server.url + path) as session:
            await expect(session.page).to_have_title("post-results · GraphQL")
            await session.expect_status(f"Workspace Demo: {SCOPES} · demo key")
            await session.wait_for_schema()
            await expect(session.page.get_by_label("Result Window")).not_to_contain_text("error")
            await expect(session.page.get_by_role("button", name="Variables")).to_be_visible()
            await expect(session.page.get_by_role("button", name="Headers")).to_have_count(0)


async def test_request_to_other_origin_is_blocked_and_detected(demo_page: PageSession) -> None:
    is_blocked = await demo_page.page.evaluate(
        "fetch('http://127.0.0.2:9/').then(() => false, () => true)"
    )
    assert is_blocked is True
    assert any(
        "violates the following Content Security Policy" in problem
        for problem in demo_page.problems
    )
    demo_page.problems.clear()


async def test_example_queries_return_data(browser: Browser, demo_server: ServerProcess) -> None:
    url = f"{demo_server.url}/graphql"
    async with open_page(browser, url, timezone_id="America/New_York") as session:
        page = session.page
        await session.wait_for_schema()

        post = (await session.execute_query())["data"]["post"]
        assert post["status"] == "PARTIALLY_FAILED"
        assert [destination["status"] for destination in post["destinations"]] == [
            "PUBLISHED",
            "PUBLISHED",
            "FAILED",
        ]
        await expect(page.get_by_label("Result Window")).to_contain_text("PARTIALLY_FAILED")

        await page.clock.set_fixed_time("2026-04-15T15:00:00Z")
        await page.get_by_role("tab", name="WhatFailedToday").click()
        posts = (await session.execute_query())["data"]["posts"]
        assert session.requests[-1]["variables"] == {"startOfToday": "2026-04-15T04:00:00.000Z"}
        assert posts["totalCount"] > 0
        assert {node["status"] for node in posts["nodes"]} <= {"FAILED", "PARTIALLY_FAILED"}

        await page.get_by_role("tab", name="WhatWaitsForARetry").click()
        waiting = (await session.execute_query())["data"]["destinations"]["nodes"]
        assert len(waiting) > 0
        assert all(node["nextRetryAt"] and node["attempts"] > 0 for node in waiting)

        await page.get_by_role("tab", name="HealthOfOneAccount").click()
        account = (await session.execute_query())["data"]["account"]
        assert account["platform"] == "instagram"
        assert account["health"]["status"] == "HEALTHY"


async def test_docs_explorer_and_history_open(demo_page: PageSession) -> None:
    page = demo_page.page
    await page.get_by_role("link", name="Query", exact=True).click()
    await expect(page.get_by_role("link", name="errorCatalog", exact=True)).to_be_visible()

    await page.get_by_role("button", name="Show GraphiQL Explorer").click()
    await page.locator(".docExplorerWrap").get_by_text("content", exact=True).click()
    result = await demo_page.execute_query()
    assert "content" in result["data"]["post"]

    await page.get_by_role("button", name="Show History").click()
    await expect(page.get_by_role("button", name="ResultsOfOnePost")).to_be_visible()


@pytest.mark.parametrize("path", ["/graphql", "/graphiql"])
async def test_guides_link_opens_the_documentation(
    browser: Browser, demo_server: ServerProcess, path: str
) -> None:
    async with open_page(browser, demo_server.url + path) as session:
        await session.wait_for_schema()
        async with session.page.expect_popup() as popup:
            await session.page.get_by_role("link", name="Guides", exact=True).click()
        guides = await popup.value
        await expect(guides).to_have_url(f"{demo_server.url}/docs")
        await expect(guides).to_have_title("Documentation · post-results")


async def test_key_survives_reload_only(browser: Browser, page_server: PageServer) -> None:
    async with open_page(browser, f"{page_server.url}/graphql") as session:
        await session.expect_status("Enter a key. `post-results keys create` makes one.")
        await session.key_input.fill(page_server.key)
        await session.expect_status(f"Workspace default: {SCOPES}, admin")
        await session.wait_for_schema()
        assert await session.execute_query() == {"data": {"post": None}}

        await session.page.reload()
        await session.expect_status(f"Workspace default: {SCOPES}, admin")
        await expect(session.key_input).to_have_value(page_server.key)

        other_tab = await session.page.context.new_page()
        await other_tab.goto(f"{page_server.url}/graphql")
        await expect(other_tab.get_by_label("API key")).to_have_value("")
        stored = await session.page.evaluate("JSON.stringify(localStorage) + document.cookie")
        assert "ResultsOfOnePost" in stored
        assert page_server.key not in stored


async def test_invalid_key_is_reported_without_further_requests_and_demo_key_returns(
    browser: Browser, demo_server: ServerProcess
) -> None:
    url = f"{demo_server.url}/graphql"
    async with open_page(browser, url, problems=(UNAUTHORIZED,)) as session:
        await session.wait_for_schema()
        request_count = len(session.requests)

        await session.key_input.fill("")
        await session.key_input.press_sequentially("sesame")
        await session.expect_status("A key is pe_live_ followed by 32 digits of 0-9 and a-f.")
        await session.page.wait_for_timeout(600)  # twice the delay before a request
        assert len(session.requests) == request_count

        await session.key_input.fill(UNKNOWN_KEY)
        await session.expect_status("The API key is unknown, revoked or expired. Use another key.")
        assert len(session.requests) == request_count + 1
        await session.page.get_by_role("button", name="Execute query").click()
        await expect(session.page.get_by_label("Result Window")).to_contain_text(
            "Enter a working API key at the top of the page."
        )
        assert len(session.requests) == request_count + 1

        await session.key_input.fill(DEMO_KEY)
        await session.expect_status(f"Workspace Demo: {SCOPES} · demo key")
        assert (await session.execute_query())["data"]["post"]["status"] == "PARTIALLY_FAILED"

        await session.key_input.fill("")
        await session.expect_status("Enter a key. `post-results keys create` makes one.")
        await session.page.reload()
        await session.expect_status(f"Workspace Demo: {SCOPES} · demo key")


async def test_revoked_key_is_reported(browser: Browser, page_server: PageServer) -> None:
    key = page_server.create_key("page")
    url = f"{page_server.url}/graphiql"
    async with open_page(browser, url, problems=(UNAUTHORIZED,)) as session:
        await session.key_input.fill(key)
        await session.wait_for_schema()
        page_server.revoke_key("page")
        await asyncio.sleep(CACHE_TTL.total_seconds())
        await session.execute_query()
        await session.expect_status("The API key is unknown, revoked or expired. Use another key.")


async def test_late_refusal_of_previous_key_is_ignored(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.create_key("late")
    is_next_key_accepted = asyncio.Event()

    async def delay_refusal(route: Route) -> None:
        response = await route.fetch()
        if response.status == 401:
            await is_next_key_accepted.wait()
        await route.fulfill(response=response)

    async with open_page(
        browser, f"{page_server.url}/graphiql", problems=(UNAUTHORIZED,)
    ) as session:
        await session.key_input.fill(key)
        await session.wait_for_schema()
        page_server.revoke_key("late")
        await asyncio.sleep(CACHE_TTL.total_seconds())
        await session.page.route("**/graphql", delay_refusal)
        await session.page.get_by_role("button", name="Execute query").click()
        await session.key_input.fill(page_server.key)
        await session.expect_status(f"Workspace default: {SCOPES}, admin")
        async with session.page.expect_response(lambda response: response.status == 401):
            is_next_key_accepted.set()
        assert await session.execute_query() == {"data": {"post": None}}
        await session.expect_status(f"Workspace default: {SCOPES}, admin")


async def test_key_and_status_fit_narrow_window(
    browser: Browser, demo_server: ServerProcess
) -> None:
    url = f"{demo_server.url}/graphql"
    async with open_page(browser, url, viewport={"width": 360, "height": 640}) as session:
        await session.expect_status(f"Workspace Demo: {SCOPES} · demo key")
        for element in (session.key_input, session.page.locator("header output")):
            box = await element.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 360


async def test_rest_panel_returns_same_data(
    demo_page: PageSession, demo_server: ServerProcess
) -> None:
    path = f"/v1/posts/{DEMO_POST}/results"
    link = demo_page.page.get_by_role("link", name=f"Same by REST: GET {path}")
    assert await link.get_attribute("href") == demo_server.url + path
    await link.click()
    panel = demo_page.page.get_by_label("The same data by REST")
    await expect(panel.locator(".rest-command")).to_have_text(
        f"curl -H 'Authorization: Bearer {DEMO_KEY}' \\\n  '{demo_server.url}{path}'"
    )
    await panel.get_by_role("button", name="Send").click()
    status, body = (await panel.locator(".rest-answer").inner_text()).split("\n", 1)
    assert status == "200 OK"
    assert json.loads(body)["data"] == demo_server.get(path, DEMO_KEY).json()["data"]

    await demo_page.replace_query("{ viewer { id } }")
    await expect(panel.get_by_role("heading")).to_have_text("GET /v1/me")
    await expect(panel.locator(".rest-answer")).to_have_count(0)


REST_CALLS = [
    ("{ viewer { id } }", "/v1/me"),
    ("{ accounts { platform } }", "/v1/accounts"),
    ("{ account(accountId: 2280) { platform } }", "/v1/accounts/2280"),
    ("{ account(accountId: 2280) { health { status } } }", "/v1/accounts/2280/health"),
    (f'{{ post(postId: "{DEMO_POST}") {{ content }} }}', f"/v1/posts/{DEMO_POST}"),
    ("{ posts { totalCount } }", "/v1/posts"),
    (
        '{ posts(filter: {status: [FAILED, SCHEDULED], platform: ["x"], reference: null,'
        ' search: "a&b c", createdAfter: "2026-04-01T00:00:00Z"}, first: 5, offset: 10,'
        " orderBy: {field: CREATED_AT, direction: ASC}) { totalCount } }",
        "/v1/posts?status=failed,scheduled&platform=x&search=a%26b+c"
        "&created_after=2026-04-01T00:00:00Z&sort=created_at&order=asc&limit=5&offset=10",
    ),
    (
        "{ changes(first: 5, types: [POST_CREATED, ACCOUNT_CHANGED], after: null) { endCursor } }",
        "/v1/changes?limit=5&types=post.created,account.changed",
    ),
    ("{ analyticsSummary(period: WEEK) { total } }", "/v1/analytics/summary?period=week"),
]
NO_REST_CALLS = ["{ destinations { totalCount } }", '{ posts(after: "x") { totalCount } }', "{ po"]


async def test_rest_link_follows_query(demo_page: PageSession, demo_server: ServerProcess) -> None:
    link = demo_page.page.locator(".rest-link")
    for query, path in REST_CALLS:
        await demo_page.replace_query(query)
        await expect(link).to_have_text(f"Same by REST: GET {path}")
        assert demo_server.get(path, DEMO_KEY).status_code == 200
    await demo_page.replace_query("""{ post(postId: "'; /?#") { status } }""")
    await expect(link).to_have_text("Same by REST: GET /v1/posts/%27%3B%20%2F%3F%23/results")
    for query in NO_REST_CALLS:
        await demo_page.replace_query(query)
        await expect(link).to_have_text("REST has no call for this.")
        await demo_page.replace_query("{ viewer { id } }")
        await expect(link).to_have_text("Same by REST: GET /v1/me")
