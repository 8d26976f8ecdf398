"""The page in a real Chromium: what it loads, what a person can do there, and what becomes of the key."""

import asyncio
import json

import pytest
from playwright.async_api import Browser, Route, expect

from app.services.api_keys import CACHE_TTL
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess
from tests.web.page_session import PageServer, open_page

UNKNOWN_KEY = "pe_live_" + "0" * 32
UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
SCOPES = "read, write, publish"

pytestmark = pytest.mark.usefixtures("require_built_page")


async def test_the_page_asks_nobody_but_its_server_and_nothing_fails(
    browser: Browser, demo_server: ServerProcess
) -> None:
    for path in ("/graphql", "/graphiql"):
        async with open_page(browser, demo_server.url + path) as visit:
            await expect(visit.page).to_have_title("post-results · GraphQL")
            await visit.expect_status(f"Workspace Demo: {SCOPES} · demo key")
            await visit.wait_for_schema()
            await expect(visit.page.get_by_label("Result Window")).not_to_contain_text("error")


async def test_an_outside_request_would_be_refused_and_noticed(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_page(browser, f"{demo_server.url}/graphiql") as visit:
        refused = await visit.page.evaluate(
            "fetch('http://127.0.0.2:9/').then(() => false, () => true)"
        )
        assert refused is True
        assert any("violates the following Content Security Policy" in it for it in visit.problems)
        visit.problems.clear()


async def test_the_usual_questions_are_written_and_each_gets_its_answer(
    browser: Browser, demo_server: ServerProcess
) -> None:
    url = f"{demo_server.url}/graphql"
    async with open_page(browser, url, timezone_id="America/New_York") as visit:
        page = visit.page
        await visit.wait_for_schema()

        post = (await visit.execute_query())["data"]["post"]
        assert post["status"] == "PARTIALLY_FAILED"
        assert [destination["status"] for destination in post["destinations"]] == [
            "PUBLISHED",
            "PUBLISHED",
            "FAILED",
        ]
        await expect(page.get_by_label("Result Window")).to_contain_text("PARTIALLY_FAILED")

        await page.clock.set_fixed_time("2026-04-15T15:00:00Z")
        await page.get_by_role("tab", name="WhatFailedToday").click()
        posts = (await visit.execute_query())["data"]["posts"]
        assert visit.requests[-1]["variables"] == {"startOfToday": "2026-04-15T04:00:00.000Z"}
        assert posts["totalCount"] > 0
        assert {node["status"] for node in posts["nodes"]} <= {"FAILED", "PARTIALLY_FAILED"}

        await page.get_by_role("tab", name="WhatWaitsForARetry").click()
        waiting = (await visit.execute_query())["data"]["destinations"]["nodes"]
        assert len(waiting) > 0
        assert all(item["nextRetryAt"] and item["attempts"] > 0 for item in waiting)

        await page.get_by_role("tab", name="HealthOfOneAccount").click()
        account = (await visit.execute_query())["data"]["account"]
        assert account["platform"] == "instagram"
        assert account["health"]["status"] == "HEALTHY"


async def test_docs_explorer_and_history_open(browser: Browser, demo_server: ServerProcess) -> None:
    async with open_page(browser, f"{demo_server.url}/graphql") as visit:
        page = visit.page
        await visit.wait_for_schema()
        await page.get_by_role("link", name="Query", exact=True).click()
        await expect(page.get_by_role("link", name="errorCatalog", exact=True)).to_be_visible()

        await page.get_by_role("button", name="Show GraphiQL Explorer").click()
        await page.locator(".docExplorerWrap").get_by_text("content", exact=True).click()
        answer = await visit.execute_query()
        assert "content" in answer["data"]["post"]

        await page.get_by_role("button", name="Show History").click()
        await expect(page.get_by_role("button", name="ResultsOfOnePost")).to_be_visible()


async def test_a_key_survives_a_reload_and_nothing_else(
    browser: Browser, page_server: PageServer
) -> None:
    async with open_page(browser, f"{page_server.url}/graphql") as visit:
        await visit.expect_status("Enter a key. `post-results keys create` makes one.")
        await visit.key_input.fill(page_server.key)
        await visit.expect_status(f"Workspace default: {SCOPES}, admin")
        await visit.wait_for_schema()
        assert await visit.execute_query() == {"data": {"post": None}}

        await visit.page.reload()
        await visit.expect_status(f"Workspace default: {SCOPES}, admin")
        await expect(visit.key_input).to_have_value(page_server.key)

        another = await visit.page.context.new_page()
        await another.goto(f"{page_server.url}/graphql")
        await expect(another.get_by_label("API key")).to_have_value("")
        stored = await visit.page.evaluate("JSON.stringify(localStorage) + document.cookie")
        assert "ResultsOfOnePost" in stored
        assert page_server.key not in stored


async def test_a_wrong_key_is_said_to_be_wrong_and_asks_nothing_else(
    browser: Browser, demo_server: ServerProcess
) -> None:
    url = f"{demo_server.url}/graphql"
    async with open_page(browser, url, problems=(UNAUTHORIZED,)) as visit:
        await visit.wait_for_schema()
        asked = len(visit.requests)

        await visit.key_input.fill("")
        await visit.key_input.press_sequentially("sesame")
        await visit.expect_status("A key is pe_live_ followed by 32 digits of 0-9 and a-f.")
        await visit.page.wait_for_timeout(600)  # twice as long as it waits before it asks
        assert len(visit.requests) == asked

        await visit.key_input.fill(UNKNOWN_KEY)
        await visit.expect_status("The API key is unknown, revoked or expired. Use another key.")
        assert len(visit.requests) == asked + 1
        await visit.page.get_by_role("button", name="Execute query").click()
        await expect(visit.page.get_by_label("Result Window")).to_contain_text(
            "Enter a working API key at the top of the page."
        )
        assert len(visit.requests) == asked + 1

        await visit.key_input.fill(DEMO_KEY)
        await visit.expect_status(f"Workspace Demo: {SCOPES} · demo key")
        assert (await visit.execute_query())["data"]["post"]["status"] == "PARTIALLY_FAILED"


async def test_a_key_that_is_revoked_meanwhile_is_said_to_be_wrong(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.run_command(
        "keys", "create", "--workspace", "default", "--name", "page"
    ).strip()
    (row,) = [
        line
        for line in page_server.run_command("keys", "list").splitlines()
        if line.endswith("page")
    ]
    url = f"{page_server.url}/graphiql"
    async with open_page(browser, url, problems=(UNAUTHORIZED,)) as visit:
        await visit.key_input.fill(key)
        await visit.wait_for_schema()
        page_server.run_command("keys", "revoke", row.split()[0])
        await asyncio.sleep(CACHE_TTL.total_seconds())
        await visit.execute_query()
        await visit.expect_status("The API key is unknown, revoked or expired. Use another key.")


async def test_a_late_refusal_of_one_key_is_not_said_of_the_next(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.run_command(
        "keys", "create", "--workspace", "default", "--name", "late"
    ).strip()
    (row,) = [
        line
        for line in page_server.run_command("keys", "list").splitlines()
        if line.endswith("late")
    ]
    is_next_accepted = asyncio.Event()

    async def answer_late(route: Route) -> None:
        response = await route.fetch()
        if response.status == 401:
            await is_next_accepted.wait()
        await route.fulfill(response=response)

    async with open_page(browser, f"{page_server.url}/graphiql", problems=(UNAUTHORIZED,)) as visit:
        await visit.key_input.fill(key)
        await visit.wait_for_schema()
        page_server.run_command("keys", "revoke", row.split()[0])
        await asyncio.sleep(CACHE_TTL.total_seconds())
        await visit.page.route("**/graphql", answer_late)
        await visit.page.get_by_role("button", name="Execute query").click()
        await visit.key_input.fill(page_server.key)
        await visit.expect_status(f"Workspace default: {SCOPES}, admin")
        async with visit.page.expect_response(lambda response: response.status == 401):
            is_next_accepted.set()
        assert await visit.execute_query() == {"data": {"post": None}}
        await visit.expect_status(f"Workspace default: {SCOPES}, admin")


async def test_a_demo_gives_its_key_again_to_whoever_has_none(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_page(browser, f"{demo_server.url}/graphql") as visit:
        await visit.key_input.fill("")
        await visit.expect_status("Enter a key. `post-results keys create` makes one.")
        await visit.page.reload()
        await visit.expect_status(f"Workspace Demo: {SCOPES} · demo key")


async def test_there_is_no_other_place_for_a_key_from_where_it_would_be_kept(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_page(browser, f"{demo_server.url}/graphql") as visit:
        await visit.wait_for_schema()
        await expect(visit.page.get_by_role("button", name="Variables")).to_be_visible()
        await expect(visit.page.get_by_role("button", name="Headers")).to_have_count(0)


async def test_all_that_is_said_of_a_key_can_be_read_in_a_narrow_window(
    browser: Browser, demo_server: ServerProcess
) -> None:
    url = f"{demo_server.url}/graphql"
    async with open_page(browser, url, viewport={"width": 360, "height": 640}) as visit:
        await visit.expect_status(f"Workspace Demo: {SCOPES} · demo key")
        for part in (visit.key_input, visit.page.locator("header output")):
            box = await part.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 360


async def test_the_same_data_can_be_had_by_rest(
    browser: Browser, demo_server: ServerProcess
) -> None:
    path = f"/v1/posts/{DEMO_POST}/results"
    async with open_page(browser, f"{demo_server.url}/graphql") as visit:
        await visit.wait_for_schema()
        link = visit.page.get_by_role("link", name=f"Same by REST: GET {path}")
        assert await link.get_attribute("href") == demo_server.url + path
        await link.click()
        panel = visit.page.get_by_label("The same data by REST")
        await expect(panel.locator(".rest-command")).to_have_text(
            f"curl -H 'Authorization: Bearer {DEMO_KEY}' \\\n  '{demo_server.url}{path}'"
        )
        await panel.get_by_role("button", name="Send").click()
        status, answer = (await panel.locator(".rest-answer").inner_text()).split("\n", 1)
        assert status == "200 OK"
        assert json.loads(answer)["data"] == demo_server.get(path, DEMO_KEY).json()["data"]

        await visit.replace_query("{ viewer { id } }")
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


async def test_the_rest_call_follows_what_is_written(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_page(browser, f"{demo_server.url}/graphql") as visit:
        await visit.wait_for_schema()
        link = visit.page.locator(".rest-link")
        for query, path in REST_CALLS:
            await visit.replace_query(query)
            await expect(link).to_have_text(f"Same by REST: GET {path}")
            assert demo_server.get(path, DEMO_KEY).status_code == 200
        await visit.replace_query("""{ post(postId: "'; /?#") { status } }""")
        await expect(link).to_have_text("Same by REST: GET /v1/posts/%27%3B%20%2F%3F%23/results")
        for query in NO_REST_CALLS:
            await visit.replace_query(query)
            await expect(link).to_have_text("REST has no call for this.")
            await visit.replace_query("{ viewer { id } }")
            await expect(link).to_have_text("Same by REST: GET /v1/me")
