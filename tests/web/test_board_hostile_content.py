"""Every page of the board in Chromium with hostile text, and with values of a newer server."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import pytest
from playwright.async_api import Browser, Route, expect
from sqlalchemy import update

from app.db.core.database import Database
from app.db.models import WebhookDeliveryAttempt
from app.db.repositories.workspaces import find_workspace_by_name
from tests.raw_statements import run_raw
from tests.web.board_api import BoardApi
from tests.web.board_tab import NARROW, BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.webhook_rows import add_delivery, add_webhook, disabled_webhook, retrying

NAME = (
    "<img src=x onerror=alert(1)></title><script>alert(2)</script>{{7*7}}\u202e\u2066\u200b"
    + "e"
    + "\u0301" * 40
    + "\u0645\u0631\u062d\u0628\u0627"
    + "n" * 50
)
"""Markup, a template, controls of the direction, nothing visible, a flood of marks, Arabic, no space."""
MARKER = "REPLACED-IN-RESPONSES"
PRINTABLE = f"<b>{MARKER}</b>" + "w" * 50
MESSAGE = f"{MARKER}\u0007{NAME}" + "a" * 300
LONG_TEXT = MESSAGE + "a" * 90_000
NOT_TEXT = r"\ud800\u0000\u202e"
"""JSON of half a character, NUL and a control of the direction; names of workspaces cannot have them."""
PLATFORM = "x_y-9"
DEEP_JSON: Any = json.loads('{"a":[' * 9 + json.dumps(NAME) + "]}" * 9)
NEW_VALUE = "VALUE_OF_A_NEWER_SERVER"
ENUM_FIELDS = (
    "event",
    "events",
    "disabledReason",
    "status",
    "postStatus",
    "outcome",
    "category",
    "errorCategory",
    "source",
    "nextAction",
    "reasons",
    "retryRefusal",
    "type",
    "operation",
    "kind",
)

_PROBLEMS = r"""() => {
    const DIRECTION = /[\u202a-\u202e\u2066-\u2069]/;
    const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f\ud800]/;
    const misleads = (text) => DIRECTION.test(text) || CONTROL.test(text);
    const { scrollWidth, clientWidth } = document.documentElement;
    const problems = [];
    if (scrollWidth > clientWidth) problems.push(`it is ${scrollWidth} px wide`);
    if (misleads(document.title)) problems.push("title");
    for (const element of document.querySelectorAll("#board *")) {
        if (["IMG", "SCRIPT", "STYLE", "IFRAME"].includes(element.tagName)) problems.push(element.outerHTML);
        for (const { name, value } of element.attributes) {
            if (["aria-label", "title", "placeholder"].includes(name) && misleads(value)) {
                problems.push(`${name} of ${element.tagName}`);
            }
        }
    }
    const texts = document.createTreeWalker(document.getElementById("board"), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const { data, parentElement } = texts.currentNode;
        const isIsolated = parentElement.closest("bdi") !== null;
        if (CONTROL.test(data) || (!isIsolated && DIRECTION.test(data))) {
            problems.push(`text of ${parentElement.outerHTML.slice(0, 200)}`);
        }
    }
    return problems;
}"""

_IS_LOADED = "() => document.querySelector('h1') && !document.querySelector('.skeleton')"

_OPEN_DETAILS = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


class HostileWorkspace:
    """A workspace with a post in each state, whose texts are all hostile."""

    def __init__(self, page_server: PageServer) -> None:
        publisher_key = page_server.create_key_of_workspace(MARKER)
        scopes = ("--scope", "read", "--scope", "write", "--scope", "admin")
        arguments = ("keys", "create", "--workspace", MARKER, "--name", MARKER, *scopes)
        self.key = page_server.run_command(*arguments).strip()
        self._api = BoardApi(page_server.url, publisher_key)
        self.account = self._connect("one")
        self.failed = self._post(content=LONG_TEXT)
        self._record(self.failed, "FAILED")
        self._record(self._post(), "UNKNOWN")
        self._record(self._post(), "PUBLISHED", platformPostUrl="https://example.com/%3Cscript%3E")
        self._post(scheduledFor=(datetime.now(UTC) + timedelta(minutes=5)).isoformat())
        self._post(draft=True)
        self._start(self._post)
        self._report_transient_failure(self._start(self._post))
        self._record(self._post(accountIds=[self._connect("two")]), "FAILED", category="AUTH")
        groups = self._api.execute("{ failureGroups(first: 1) { nodes { key } } }")
        self.webhook = uuid4()
        self.group: str = groups["nodes"][0]["key"]

    def paths(self) -> list[str]:
        text = quote(NAME, safe="")
        return [
            "",
            "/results",
            f"/results?q={text}&code={text}&reference={text}",
            f"/posts/{self.failed}",
            "/unknown",
            "/failures",
            f"/failures/{self.group}",
            "/waiting",
            "/accounts",
            f"/accounts?q={text}",
            f"/accounts/{self.account}",
            "/numbers?by=account",
            "/calendar",
            "/calendar/week",
            "/calendar/day",
            "/activity",
            f"/activity?person={text}",
            "/webhooks",
            f"/webhooks/{self.webhook}",
            f"/webhooks/{self.webhook}?status={text}&event={text}&post={text}",
            f"/webhooks/{text}",
            f"/{text}",
        ]

    def _connect(self, user_id: str) -> int:
        account = {
            "platform": PLATFORM,
            "accountName": NAME,
            "displayName": NAME,
            "platformUsername": NAME,
            "platformUserId": user_id,
            "avatarUrl": "https://example.com/picture.png",
        }
        document = (
            "mutation($input: ConnectAccountInput!)"
            " { connectAccount(input: $input) { account { accountId } } }"
        )
        account_id: int = self._api.execute(document, input=account)["account"]["accountId"]
        return account_id

    def _post(self, **fields: Any) -> str:
        return self._api.create_post(
            **{
                "accountIds": [self.account],
                "content": MESSAGE,
                "reference": NAME,
                "mediaIds": [NAME],
                "media": [DEEP_JSON],
                "platformContent": {PLATFORM: {"content": MESSAGE}},
                **fields,
            }
        )

    def _record(self, post_id: str, outcome: str, **fields: Any) -> None:
        accounts = self._api.execute(
            "query($id: UUID!) { post(postId: $id) { accountIds } }", id=post_id
        )["accountIds"]
        failure = {"category": "PERMANENT", "code": PRINTABLE, "message": MESSAGE}
        result = {
            "postId": post_id,
            "accountId": accounts[0],
            "attemptKey": post_id,
            "worker": PRINTABLE,
            "outcome": outcome,
            **(failure if outcome == "FAILED" else {}),
            **({"message": MESSAGE} if outcome == "UNKNOWN" else {}),
            **fields,
        }
        self._api.execute(
            "mutation($input: RecordResultInput!) { recordResult(input: $input) { status } }",
            input=result,
        )

    def _start(self, create: Callable[[], str]) -> str:
        """Create a post, start its attempt, and return the lease token."""
        create()
        (claim,) = self._api.execute(
            "mutation { claimDestinations(input: {leaseSeconds: 600}) { claims { leaseToken } } }"
        )["claims"]
        token: str = claim["leaseToken"]
        self._api.execute(
            "mutation($token: String!, $worker: String) { startAttempt(input: {leaseToken: $token,"
            " worker: $worker}) { attempt } }",
            token=token,
            worker=PRINTABLE,
        )
        return token

    def _report_transient_failure(self, token: str) -> None:
        self._api.execute(
            "mutation($token: String!, $message: String!) { reportFailed(input: {leaseToken: $token,"
            " category: TRANSIENT, message: $message}) { willRetry } }",
            token=token,
            message=MESSAGE,
        )


@pytest.fixture(scope="module")
async def hostile(anyio_backend: str, page_server: PageServer) -> HostileWorkspace:
    workspace = HostileWorkspace(page_server)
    await add_hostile_webhook(page_server, workspace)
    return workspace


async def add_hostile_webhook(page_server: PageServer, hostile: HostileWorkspace) -> None:
    """Add rows of a webhook that fails, and of a delivery of the failed post."""
    async with Database(page_server.database_url) as database:
        workspace = await find_workspace_by_name(database.all_workspaces, MARKER)
        assert workspace is not None
        await add_webhook(
            database,
            workspace.id,
            id=hostile.webhook,
            name=PRINTABLE,
            description=MESSAGE,
            url=f"https://example.com/{NAME}",
            platforms=[PLATFORM],
            **disabled_webhook(),
        )
        delivery_id = await add_delivery(
            database,
            workspace.id,
            hostile.webhook,
            retrying(),
            event_seq=1_000_000,
            post_id=UUID(hostile.failed),
            body=json.dumps({"text": MESSAGE}),
        )
        attempt = (
            update(WebhookDeliveryAttempt)
            .where(WebhookDeliveryAttempt.delivery_id == delivery_id)
            .values(error=MESSAGE, response_body=MESSAGE)
        )
        await database.write_all_workspaces(lambda session: run_raw(session, attempt))


async def test_hostile_text_is_only_text_on_every_page(
    browser: Browser, page_server: PageServer, hostile: HostileWorkspace
) -> None:
    dialogs: list[str] = []

    async def answer_with_broken_text(route: Route) -> None:
        response = await route.fetch()
        body = (await response.text()).replace(MARKER, NOT_TEXT)
        await route.fulfill(response=response, body=body)

    async with open_tab(browser, page_server.url, viewport=NARROW) as tab:
        tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        await tab.open(f"/sign-in?next={quote('/' + NAME, safe='')}")
        await tab.sign_in(hostile.key, person=PRINTABLE)
        await expect(tab.heading("Today")).to_be_visible()
        await retry_as_person(tab, page_server, hostile.failed)
        await tab.page.route("**/graphql", answer_with_broken_text)
        await tab.open("/results")
        await expect(tab.heading("Results")).to_be_visible()
        problems = {path: await problems_of(tab, path) for path in hostile.paths()}
        await tab.open(f"/accounts/{hostile.account}")
        await tab.page.get_by_role("button", name="Retry all failed…").click()
        await expect(tab.page.get_by_role("dialog")).to_contain_text("onerror=alert(1)")
        problems["dialog"] = await problems_now(tab)
        await tab.page.get_by_role("button", name="Close").click()
        await tab.page.get_by_role("button", name="Menu").click()
        await expect(tab.page.get_by_role("region", name="Menu")).to_contain_text("<b>")
        problems["menu"] = await problems_now(tab)
        assert {path: found for path, found in problems.items() if found} == {}
    assert dialogs == []


async def test_unknown_values_of_a_newer_server_keep_every_page_usable(
    browser: Browser, page_server: PageServer, hostile: HostileWorkspace
) -> None:
    async def answer_as_newer_server(route: Route) -> None:
        response = await route.fetch()
        body = (await response.json()) if response.ok else None
        await route.fulfill(response=response, json=with_new_values(body))

    async with open_tab(browser, page_server.url, viewport=NARROW) as tab:
        await tab.open()
        await tab.sign_in(hostile.key)
        await expect(tab.heading("Today")).to_be_visible()
        await tab.page.route("**/graphql", answer_as_newer_server)
        await tab.open("/results")
        await expect(tab.heading("Results")).to_be_visible()
        problems = {path: await problems_of(tab, path) for path in hostile.paths()}
        assert {path: found for path, found in problems.items() if found} == {}
        await tab.open(f"/posts/{hostile.failed}")
        await expect(tab.page.locator(".status").first).to_have_text("Value of a newer server")
        assert await problems_of(tab, "/activity") == []
        new_field = tab.page.get_by_role("row").filter(has_text="Field of a newer server")
        await expect(new_field.first).to_contain_text("""none{"a":["b"]}""")


async def problems_of(tab: BoardTab, path: str) -> list[str]:
    """Open a page with all of its parts, and return what is wrong with it."""
    await tab.page.evaluate("(url) => history.pushState(null, '', url)", tab.board_url + path)
    await tab.page.wait_for_function(_IS_LOADED)
    await tab.page.evaluate(_OPEN_DETAILS)
    await tab.page.wait_for_function(_IS_LOADED)
    return await problems_now(tab)


async def problems_now(tab: BoardTab) -> list[str]:
    problems: list[str] = await tab.page.evaluate(_PROBLEMS)
    return problems + await tab.page.locator(".error-panel").all_inner_texts()


async def retry_as_person(tab: BoardTab, page_server: PageServer, post_id: str) -> None:
    """Retry a post by the session of the page, so that the activity names its person."""
    url = urlsplit(page_server.url)
    response = await tab.page.request.post(
        f"{page_server.url}/graphql",
        headers={"Origin": f"{url.scheme}://{url.netloc}"},
        data={
            "query": "mutation($id: UUID!) { retryPost(input: {postId: $id}) { post { version } } }",
            "variables": {"id": post_id},
        },
    )
    assert await response.json() == {"data": {"retryPost": {"post": {"version": 2}}}}


def with_new_values(value: Any, field: str = "") -> Any:
    """Replace the values of all fields with enum types in a response, and add a changed value."""
    if field == "values" and value is not None:
        return {**value, "field_of_a_newer_server": {"a": ["b"]}}
    if isinstance(value, dict):
        return {name: with_new_values(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [with_new_values(each, field) for each in value]
    return NEW_VALUE if field in ENUM_FIELDS and isinstance(value, str) else value
