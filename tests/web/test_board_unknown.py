"""The page of unknown outcomes in Chromium: each finding, refusals, other people, hostile text."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.servers import DEMO_KEY, ServerProcess
from tests.web.attempts import lose, persons_of, reconcile, state_of
from tests.web.board_tab import NARROW, WIDE, BoardTab, open_tab
from tests.web.page_session import PageServer
from tests.web.publisher import Publisher

NOT_THERE = {
    "status": "FAILED",
    "outcome": "FAILED",
    "errorCode": "NOT_PUBLISHED",
    "platformPostUrl": None,
    "platformPostId": None,
}
URL = "https://x.com/brand/status/1"
HOSTILE = "<img src=x onerror=alert(1)>\u202e{{7*7}}</title><script>alert(2)</script>" + "a" * 3_000

ENGINE = "postgresql"

pytestmark = pytest.mark.usefixtures("require_built_page")


@pytest.fixture
async def tab(browser: Browser, page_server: PageServer) -> AsyncIterator[BoardTab]:
    """A tab in which Ann has signed in, with a window as narrow as a phone."""
    async with open_tab(browser, page_server.url, viewport=NARROW) as tab:
        await tab.open("/unknown")
        await tab.sign_in(page_server.key, person="Ann")
        await tab.expect_live()
        await tab.page.mouse.move(0, 0)  # a list under the pointer stays as it is
        yield tab


def card(tab: BoardTab) -> Locator:
    """What is shown of one outcome."""
    return tab.page.locator("article.card")


async def test_demo_shows_the_attempt_and_where_to_look(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(
        browser, demo_server.url, timezone_id="America/New_York", viewport=WIDE, color_scheme="dark"
    ) as tab:
        await tab.open_demo("/unknown?item=nonsense")
        await expect(tab.heading("Unknown outcomes")).to_be_focused()
        await expect(tab.heading("@mybrand Instagram")).to_be_visible()
        text = "Demo: outcome unknown, the publisher stopped after it started an attempt"
        await expect(card(tab)).to_contain_text(text)
        await expect(card(tab)).to_contain_text("Bypublisher-2")
        await expect(card(tab)).to_contain_text("The publisher did not report the platform")
        look = tab.page.get_by_role("link", name="Look on Instagram")
        assert await look.get_attribute("href") == "https://www.instagram.com/mybrand"
        assert await look.get_attribute("rel") == "noopener noreferrer"
        query = "{destinations(filter:{outcome:[UNKNOWN]},orderBy:{field:FAILED_AT,direction:ASC})"
        found = demo_server.get(
            f"/graphql?query={query}{{nodes{{destinationId}}}}}}", DEMO_KEY
        ).json()
        first = found["data"]["destinations"]["nodes"][0]["destinationId"]
        await expect(tab.page).to_have_url(f"{tab.board_url}/unknown?item={first}")
        assert await tab.axe_violations() == []
        await tab.page.get_by_role("link", name="All that happened to it").click()
        await tab.page.get_by_role("link", name="Say what you found on the platform").click()
        await expect(tab.page).to_have_url(f"{tab.board_url}/unknown?item={first}")


async def test_each_finding_is_recorded_and_the_next_one_follows(
    tab: BoardTab, publisher: Publisher
) -> None:
    await expect(tab.page.locator(".empty")).to_have_text(
        "Nothing is unknown: every publisher has said how it ended."
    )
    account_id = publisher.connect("triage")
    names = ("skipped", "absent", "by URL", "by id", "again")
    ids = {name: lose(publisher, account_id, name) for name in names}
    await expect(tab.page.locator(".triage-list li")).to_have_count(5)
    await expect(card(tab)).to_contain_text("skipped")
    field = tab.page.get_by_label("If it is there")

    await tab.page.context.route("https://x.com/**", lambda route: route.abort())
    async with tab.page.context.expect_page() as opened:
        await tab.page.keyboard.press("o")
    place = await opened.value
    assert await place.evaluate("opener") is None
    await place.close()
    await tab.page.keyboard.press("s")
    await expect(tab.page).to_have_url(f"{tab.board_url}/unknown?item={ids['absent']}")
    await expect(card(tab).get_by_role("heading")).to_be_focused()
    await tab.page.keyboard.press("n")
    await expect(card(tab)).to_contain_text("by URL")
    await tab.page.keyboard.press("p")
    await expect(field).to_be_focused()
    await tab.page.keyboard.type("x.com/brand/status/1")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("alert")).to_have_text(
        "Paste the whole URL, with https:// at its beginning, or the id of the post."
    )
    await field.fill(f" {URL} ")
    await tab.page.get_by_role("button", name="It is published").dblclick()
    await expect(card(tab)).to_contain_text("by id")
    await field.fill("1780")
    await tab.page.keyboard.press("Enter")
    await expect(card(tab)).to_contain_text("again")
    await tab.page.keyboard.press("Shift+N")
    await expect(card(tab)).to_contain_text("skipped")
    report = tab.page.locator(".report")
    await expect(report).to_have_text("triage: not there. It is queued again.")
    await tab.page.get_by_role("button", name="Not there", exact=True).click()
    await expect(report).to_have_text("triage: recorded that it is not there.")
    await expect(tab.page.locator(".empty")).to_contain_text("You settled the last one at")
    await expect(tab.page.locator(".empty p").first).to_be_focused()

    assert state_of(publisher, ids["skipped"]) == state_of(publisher, ids["absent"]) == NOT_THERE
    published = {"status": "PUBLISHED", "outcome": "PUBLISHED", "errorCode": None}
    by_url, by_id = state_of(publisher, ids["by URL"]), state_of(publisher, ids["by id"])
    assert by_url == {**published, "platformPostUrl": URL, "platformPostId": None}
    assert by_id == {**published, "platformPostUrl": None, "platformPostId": "1780"}
    again = state_of(publisher, ids["again"])
    assert (again["status"], again["outcome"]) == ("QUEUED", "NONE")
    persons = persons_of(publisher, "reconcileDestination")
    assert persons == ["Ann"] * 5
    publisher.fail("It is broken.")


async def test_one_that_is_settled_meanwhile_is_named_and_the_next_one_follows(
    tab: BoardTab, publisher: Publisher
) -> None:
    account_id = publisher.connect("race")
    raced = lose(publisher, account_id, "settled twice")
    watched = lose(publisher, account_id, "settled by another")
    await expect(tab.page.locator(".triage-list li")).to_have_count(2)
    await tab.page.keyboard.press("z")  # the page does not see the next change
    reconcile(publisher, raced, URL)
    await tab.page.get_by_role("button", name="Not there", exact=True).click()
    await expect(tab.page.locator(".report")).to_have_text(
        "race: it was settled meanwhile. A check found that the post was published."
        " By the key “first key”."
    )
    assert state_of(publisher, raced)["platformPostUrl"] == URL
    await expect(card(tab)).to_contain_text("settled by another")

    await tab.page.keyboard.press("z")
    reconcile(publisher, watched, URL)
    await expect(card(tab)).to_contain_text("It is settled: Published")
    await expect(card(tab)).to_contain_text("A check found that the post was published.")
    await card(tab).get_by_role("button", name="Next").click()
    await expect(tab.page.locator(".empty")).to_contain_text("Nothing is unknown")


async def test_read_only_sign_in_may_look_and_says_why_it_may_not_settle(
    browser: Browser, page_server: PageServer, publisher: Publisher
) -> None:
    destination_id = lose(
        publisher, publisher.connect("<b>bold</b>\u202e"), HOSTILE, message=HOSTILE[:300]
    )
    async with open_tab(browser, page_server.url, viewport=NARROW) as tab:
        await tab.open(f"/unknown?item={destination_id.upper()}")
        await tab.sign_in(page_server.key, read_only=True)
        await expect(card(tab)).to_contain_text("<img src=x onerror=alert(1)>")
        for name in ("It is published", "Not there", "Not there, retry"):
            button = tab.page.get_by_role("button", name=name, exact=True)
            await expect(button).to_have_attribute("aria-disabled", "true")
            await expect(button).to_have_accessible_description("This sign-in may only read.")
        await tab.page.keyboard.press("n")
        assert await tab.axe_violations() == []
        assert await tab.page.locator("main :is(img, script)").count() == 0
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        await tab.open("/unknown?item=00000000-0000-4000-8000-000000000000")
        await expect(tab.page.locator(".empty")).to_contain_text("There is no such post")
        await tab.page.get_by_role("button", name="Next").click()
        await expect(tab.page).to_have_url(f"{tab.board_url}/unknown?item={destination_id}")
    assert state_of(publisher, destination_id)["outcome"] == "UNKNOWN"
