"""Subscriptions on the page in a real Chromium: what they show, and how they end. Nothing else of it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, WebSocket, expect

from app.services.api_keys import CACHE_TTL
from tests.contract.subscription_clients import PostEditor
from tests.web.page_session import Own, Visit, visiting

MANY = 100
TALL = {"width": 1280, "height": 1600}
REFUSED = "The API key is unknown, revoked or expired. Use another key."

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture(scope="module")
def writer(own: Own) -> Iterator[PostEditor]:
    writer = PostEditor(own.server, own.key)
    yield writer
    writer.close()


class Live:
    """What somebody who visits does with the tab that is there for it."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.page = visit.page
        self.shown = visit.page.get_by_label("Result Window")
        self.messages: list[dict[str, Any]] = []
        """Those that were sent by sockets."""
        self.is_connected = asyncio.Event()
        self.is_closed = asyncio.Event()
        visit.page.on("websocket", self._note_socket)

    def _note_socket(self, socket: WebSocket) -> None:
        self.url = socket.url
        self.is_connected.clear()
        self.is_closed.clear()
        socket.on("framesent", lambda frame: self.messages.append(json.loads(frame)))
        socket.on("framereceived", lambda frame: self.is_connected.set())
        socket.on("close", lambda _: self.is_closed.set())

    async def begin(self, key: str) -> None:
        await self.visit.key.fill(key)
        await self.visit.has_schema()
        await self.page.get_by_role("tab", name="WhatHappens").click()
        await self.run()

    async def run(self) -> None:
        await self.page.get_by_role("button", name="Execute query").click()

    async def stop(self) -> None:
        await self.page.get_by_role("button", name="Stop query").click()

    async def has_ended(self) -> None:
        await expect(self.page.get_by_role("button", name="Execute query")).to_be_visible()

    async def shows(self, *texts: str) -> None:
        for text in texts:
            await expect(self.shown).to_contain_text(text)

    async def shows_changes_of(self, writer: PostEditor, post_id: str) -> None:
        """Return when it shows one; nobody is told when it has begun, so it takes some."""
        for number in range(MANY):
            writer.update_content(post_id, f"Spring {number}")
            try:
                await expect(self.shown).to_contain_text("Spring", timeout=200)
            except AssertionError:
                continue
            return


async def test_each_change_is_shown_as_it_comes_until_somebody_stops(
    browser: Browser, own: Own, writer: PostEditor
) -> None:
    post_id = writer.create_draft("Winter")
    async with visiting(browser, f"{own.url}/graphql", viewport=TALL) as visit:
        live = Live(visit)
        await live.begin(own.key)
        await live.shows_changes_of(writer, post_id)
        assert live.url == f"{own.url.replace('http', 'ws')}/graphql"
        first, second = live.messages
        assert first == {
            "type": "connection_init",
            "payload": {"Authorization": f"Bearer {own.key}"},
        }
        assert second["payload"]["operationName"] == "WhatHappens"
        assert "variables" not in second["payload"]

        writer.update_content(post_id, "Summer")
        await live.shows("Summer", "earlier", "Spring")

        await live.stop()
        await live.has_ended()
        await live.is_closed.wait()
        assert live.messages[2:] == [{"type": "complete", "id": second["id"]}]
        writer.update_content(post_id, "Autumn")
        await expect(live.shown).not_to_contain_text("Autumn")

        await live.run()
        await live.shows("Autumn")
        await expect(live.shown).not_to_contain_text("Summer")


async def test_what_is_wrong_with_it_is_shown(browser: Browser, own: Own) -> None:
    async with visiting(browser, f"{own.url}/graphql") as visit:
        live = Live(visit)
        await visit.key.fill(own.key)
        await visit.has_schema()
        for query, said in (
            ("subscription Wrong { nothing }", "Cannot query field 'nothing' on type"),
            ('subscription Old { changes(after: "x") { cursor } }', "BAD_CURSOR"),
        ):
            await visit.write(query)
            await live.run()
            await live.shows(said)
            await live.has_ended()


async def test_a_key_that_is_revoked_meanwhile_is_said_to_be_refused(
    browser: Browser, own: Own
) -> None:
    key = own.command("keys", "create", "--workspace", "default", "--name", "live").strip()
    (row,) = [line for line in own.command("keys", "list").splitlines() if line.endswith("live")]
    async with visiting(browser, f"{own.url}/graphql") as visit:
        live = Live(visit)
        await visit.key.fill(key)
        await visit.has_schema()
        own.command("keys", "revoke", row.split()[0])
        await asyncio.sleep(CACHE_TTL.total_seconds())
        await visit.page.get_by_role("tab", name="WhatHappens").click()
        await live.run()
        await live.shows(REFUSED)
        await visit.verdict_is(REFUSED)


async def test_another_key_ends_what_was_followed_with_the_last_one(
    browser: Browser, own: Own
) -> None:
    async with visiting(browser, f"{own.url}/graphql") as visit:
        live = Live(visit)
        await live.begin(own.key)
        await live.is_connected.wait()
        await visit.key.fill("")
        await live.is_closed.wait()
        await live.has_ended()


async def test_a_server_that_stops_ends_it_and_one_that_is_back_goes_on_where_it_was(
    browser: Browser, tmp_path: Path
) -> None:
    own = Own(tmp_path)
    refused = (
        f"WebSocket connection to '{own.url.replace('http', 'ws')}/graphql' failed: "
        "Error in connection establishment: net::ERR_CONNECTION_REFUSED"
    )
    url = f"{own.url}/graphql"
    async with visiting(browser, url, problems=(refused,), viewport=TALL) as visit:
        live, writer = Live(visit), PostEditor(own.server, own.key)
        post_id = writer.create_draft("Winter")
        await live.begin(own.key)
        await live.shows_changes_of(writer, post_id)

        own.server.stop()
        await live.shows(
            "The connection to the server has ended. Run this again to go on.", "Spring"
        )
        await live.has_ended()
        await live.run()
        await live.shows("The server does not answer. Is it running?")

        own.start_again()
        writer.update_content(post_id, "Summer")
        await live.run()
        await live.shows("Summer")
        await expect(live.shown).not_to_contain_text("Spring")
        writer.close()
    own.server.stop()
