"""Subscriptions in GraphiQL in Chromium: what they show and how they end."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, WebSocket, expect

from app.services.api_keys import CACHE_TTL
from tests.contract.subscription_clients import PostEditor
from tests.web.page_session import PageServer, PageSession, open_page

EVENT_COUNT = 100
VIEWPORT = {"width": 1280, "height": 1600}
INVALID_KEY_MESSAGE = "The API key is unknown, revoked or expired. Use another key."

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


@pytest.fixture(scope="module")
def writer(page_server: PageServer) -> Iterator[PostEditor]:
    writer = PostEditor(page_server.server, page_server.key)
    yield writer
    writer.close()


class SubscriptionTab:
    """The GraphiQL tab `WhatHappens`, which subscribes to changes."""

    def __init__(self, session: PageSession) -> None:
        self.session = session
        self.page = session.page
        self.result_panel = session.page.get_by_label("Result Window")
        self.messages: list[dict[str, Any]] = []
        """Messages that the page sent over WebSockets."""
        self.is_connected = asyncio.Event()
        self.is_closed = asyncio.Event()
        session.page.on("websocket", self._on_websocket)

    def _on_websocket(self, socket: WebSocket) -> None:
        self.url = socket.url
        self.is_connected.clear()
        self.is_closed.clear()
        socket.on("framesent", lambda frame: self.messages.append(json.loads(frame)))
        socket.on("framereceived", lambda frame: self.is_connected.set())
        socket.on("close", lambda _: self.is_closed.set())

    async def subscribe(self, key: str) -> None:
        await self.session.key_input.fill(key)
        await self.session.wait_for_schema()
        await self.page.get_by_role("tab", name="WhatHappens").click()
        await self.run()

    async def run(self) -> None:
        await self.page.get_by_role("button", name="Execute query").click()

    async def stop(self) -> None:
        await self.page.get_by_role("button", name="Stop query").click()

    async def expect_ended(self) -> None:
        await expect(self.page.get_by_role("button", name="Execute query")).to_be_visible()

    async def expect_texts(self, *texts: str) -> None:
        for text in texts:
            await expect(self.result_panel).to_contain_text(text)

    async def expect_changes_of(self, writer: PostEditor, post_id: str) -> None:
        """Write until a change is shown: nothing reports when the subscription has started."""
        for number in range(EVENT_COUNT):
            writer.update_content(post_id, f"Spring {number}")
            try:
                await expect(self.result_panel).to_contain_text("Spring", timeout=200)
            except AssertionError:
                continue
            return


async def test_changes_are_shown_until_subscription_is_stopped(
    browser: Browser, page_server: PageServer, writer: PostEditor
) -> None:
    post_id = writer.create_draft("Winter")
    async with open_page(browser, f"{page_server.url}/graphql", viewport=VIEWPORT) as session:
        tab = SubscriptionTab(session)
        await tab.subscribe(page_server.key)
        await tab.expect_changes_of(writer, post_id)
        assert tab.url == f"{page_server.url.replace('http', 'ws')}/graphql"
        init, subscribe = tab.messages
        assert init == {
            "type": "connection_init",
            "payload": {"Authorization": f"Bearer {page_server.key}"},
        }
        assert subscribe["payload"]["operationName"] == "WhatHappens"
        assert "variables" not in subscribe["payload"]

        writer.update_content(post_id, "Summer")
        await tab.expect_texts("Summer", "earlier", "Spring")

        await tab.stop()
        await tab.expect_ended()
        await tab.is_closed.wait()
        assert tab.messages[2:] == [{"type": "complete", "id": subscribe["id"]}]
        writer.update_content(post_id, "Autumn")
        await expect(tab.result_panel).not_to_contain_text("Autumn")

        await tab.run()
        await tab.expect_texts("Autumn")
        await expect(tab.result_panel).not_to_contain_text("Summer")


async def test_subscription_errors_are_shown(browser: Browser, page_server: PageServer) -> None:
    async with open_page(browser, f"{page_server.url}/graphql") as session:
        tab = SubscriptionTab(session)
        await session.key_input.fill(page_server.key)
        await session.wait_for_schema()
        for query, text in (
            ("subscription Wrong { nothing }", "Cannot query field 'nothing' on type"),
            ('subscription Old { changes(after: "x") { cursor } }', "BAD_CURSOR"),
        ):
            await session.replace_query(query)
            await tab.run()
            await tab.expect_texts(text)
            await tab.expect_ended()


async def test_subscription_with_revoked_key_is_refused(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.create_key("live")
    async with open_page(browser, f"{page_server.url}/graphql") as session:
        tab = SubscriptionTab(session)
        await session.key_input.fill(key)
        await session.wait_for_schema()
        page_server.revoke_key("live")
        await asyncio.sleep(CACHE_TTL.total_seconds())
        await session.page.get_by_role("tab", name="WhatHappens").click()
        await tab.run()
        await tab.expect_texts(INVALID_KEY_MESSAGE)
        await session.expect_status(INVALID_KEY_MESSAGE)


async def test_change_of_key_ends_subscription(browser: Browser, page_server: PageServer) -> None:
    async with open_page(browser, f"{page_server.url}/graphql") as session:
        tab = SubscriptionTab(session)
        await tab.subscribe(page_server.key)
        await tab.is_connected.wait()
        await session.key_input.fill("")
        await tab.is_closed.wait()
        await tab.expect_ended()


async def test_subscription_resumes_after_server_restart(browser: Browser, tmp_path: Path) -> None:
    page_server = PageServer(tmp_path, f"sqlite:///{tmp_path / 'page.db'}")
    connection_refused = (
        f"WebSocket connection to '{page_server.url.replace('http', 'ws')}/graphql' failed: "
        "Error in connection establishment: net::ERR_CONNECTION_REFUSED"
    )
    url = f"{page_server.url}/graphql"
    async with open_page(
        browser, url, problems=(connection_refused,), viewport=VIEWPORT
    ) as session:
        tab, writer = SubscriptionTab(session), PostEditor(page_server.server, page_server.key)
        post_id = writer.create_draft("Winter")
        await tab.subscribe(page_server.key)
        await tab.expect_changes_of(writer, post_id)

        page_server.server.stop()
        await tab.expect_texts(
            "The connection to the server has ended. Run this again to go on.", "Spring"
        )
        await tab.expect_ended()
        await tab.run()
        await tab.expect_texts("The server does not answer. Is it running?")

        page_server.restart()
        writer.update_content(post_id, "Summer")
        await tab.run()
        await tab.expect_texts("Summer")
        await expect(tab.result_panel).not_to_contain_text("Spring")
        writer.close()
    page_server.server.stop()
