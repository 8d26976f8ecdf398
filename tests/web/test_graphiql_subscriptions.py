"""Subscriptions on the page in a real Chromium: what they show, and how they end. Nothing else of it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, WebSocket, expect

from app.services.api_keys import CACHE_TTL
from tests.contract.subscription_clients import Writer
from tests.web.page_session import PageServer, PageSession, open_page

EVENT_COUNT = 100
VIEWPORT = {"width": 1280, "height": 1600}
INVALID_KEY_MESSAGE = "The API key is unknown, revoked or expired. Use another key."

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture(scope="module")
def writer(page_server: PageServer) -> Iterator[Writer]:
    writer = Writer(page_server.server, page_server.key)
    yield writer
    writer.close()


class SubscriptionTab:
    """What somebody who visits does with the tab that is there for it."""

    def __init__(self, session: PageSession) -> None:
        self.visit = session
        self.page = session.page
        self.result_panel = session.page.get_by_label("Result Window")
        self.messages: list[dict[str, Any]] = []
        """Those that were sent by sockets."""
        self.is_connected = asyncio.Event()
        self.is_closed = asyncio.Event()
        session.page.on("websocket", self._note_socket)

    def _note_socket(self, socket: WebSocket) -> None:
        self.url = socket.url
        self.is_connected.clear()
        self.is_closed.clear()
        socket.on("framesent", lambda frame: self.messages.append(json.loads(frame)))
        socket.on("framereceived", lambda frame: self.is_connected.set())
        socket.on("close", lambda _: self.is_closed.set())

    async def subscribe(self, key: str) -> None:
        await self.visit.key_input.fill(key)
        await self.visit.wait_for_schema()
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

    async def expect_changes_of(self, writer: Writer, post_id: str) -> None:
        """Return when it shows one; nobody is told when it has begun, so it takes some."""
        for number in range(EVENT_COUNT):
            writer.rewrite(post_id, f"Spring {number}")
            try:
                await expect(self.result_panel).to_contain_text("Spring", timeout=200)
            except AssertionError:
                continue
            return


async def test_each_change_is_shown_as_it_comes_until_somebody_stops(
    browser: Browser, page_server: PageServer, writer: Writer
) -> None:
    post_id = writer.draft("Winter")
    async with open_page(browser, f"{page_server.url}/graphql", viewport=VIEWPORT) as visit:
        live = SubscriptionTab(visit)
        await live.subscribe(page_server.key)
        await live.expect_changes_of(writer, post_id)
        assert live.url == f"{page_server.url.replace('http', 'ws')}/graphql"
        first, second = live.messages
        assert first == {
            "type": "connection_init",
            "payload": {"Authorization": f"Bearer {page_server.key}"},
        }
        assert second["payload"]["operationName"] == "WhatHappens"
        assert "variables" not in second["payload"]

        writer.rewrite(post_id, "Summer")
        await live.expect_texts("Summer", "earlier", "Spring")

        await live.stop()
        await live.expect_ended()
        await live.is_closed.wait()
        assert live.messages[2:] == [{"type": "complete", "id": second["id"]}]
        writer.rewrite(post_id, "Autumn")
        await expect(live.result_panel).not_to_contain_text("Autumn")

        await live.run()
        await live.expect_texts("Autumn")
        await expect(live.result_panel).not_to_contain_text("Summer")


async def test_what_is_wrong_with_it_is_shown(browser: Browser, page_server: PageServer) -> None:
    async with open_page(browser, f"{page_server.url}/graphql") as visit:
        live = SubscriptionTab(visit)
        await visit.key_input.fill(page_server.key)
        await visit.wait_for_schema()
        for query, said in (
            ("subscription Wrong { nothing }", "Cannot query field 'nothing' on type"),
            ('subscription Old { changes(after: "x") { cursor } }', "BAD_CURSOR"),
        ):
            await visit.replace_query(query)
            await live.run()
            await live.expect_texts(said)
            await live.expect_ended()


async def test_a_key_that_is_revoked_meanwhile_is_said_to_be_refused(
    browser: Browser, page_server: PageServer
) -> None:
    key = page_server.run_command(
        "keys", "create", "--workspace", "default", "--name", "live"
    ).strip()
    (row,) = [
        line
        for line in page_server.run_command("keys", "list").splitlines()
        if line.endswith("live")
    ]
    async with open_page(browser, f"{page_server.url}/graphql") as visit:
        live = SubscriptionTab(visit)
        await visit.key_input.fill(key)
        await visit.wait_for_schema()
        page_server.run_command("keys", "revoke", row.split()[0])
        await asyncio.sleep(CACHE_TTL.total_seconds())
        await visit.page.get_by_role("tab", name="WhatHappens").click()
        await live.run()
        await live.expect_texts(INVALID_KEY_MESSAGE)
        await visit.expect_status(INVALID_KEY_MESSAGE)


async def test_another_key_ends_what_was_followed_with_the_last_one(
    browser: Browser, page_server: PageServer
) -> None:
    async with open_page(browser, f"{page_server.url}/graphql") as visit:
        live = SubscriptionTab(visit)
        await live.subscribe(page_server.key)
        await live.is_connected.wait()
        await visit.key_input.fill("")
        await live.is_closed.wait()
        await live.expect_ended()


async def test_a_server_that_stops_ends_it_and_one_that_is_back_goes_on_where_it_was(
    browser: Browser, tmp_path: Path
) -> None:
    own = PageServer(tmp_path)
    refused = (
        f"WebSocket connection to '{own.url.replace('http', 'ws')}/graphql' failed: "
        "Error in connection establishment: net::ERR_CONNECTION_REFUSED"
    )
    url = f"{own.url}/graphql"
    async with open_page(browser, url, problems=(refused,), viewport=VIEWPORT) as visit:
        live, writer = SubscriptionTab(visit), Writer(own.server, own.key)
        post_id = writer.draft("Winter")
        await live.subscribe(own.key)
        await live.expect_changes_of(writer, post_id)

        own.server.stop()
        await live.expect_texts(
            "The connection to the server has ended. Run this again to go on.", "Spring"
        )
        await live.expect_ended()
        await live.run()
        await live.expect_texts("The server does not answer. Is it running?")

        own.restart()
        writer.rewrite(post_id, "Summer")
        await live.run()
        await live.expect_texts("Summer")
        await expect(live.result_panel).not_to_contain_text("Spring")
        writer.close()
    own.server.stop()
