"""The page of unknown outcomes in Chromium: each finding, refusals, other people, hostile text."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, Locator, Request, Route, expect

from tests.servers import DEMO_KEY, ServerProcess
from tests.web.attempts import lose, lose_post, persons_of, reconcile, state_of
from tests.web.board_tab import NARROW, WIDE, BoardTab, open_tab, request_body
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


@pytest.fixture(autouse=True)
def settle_the_rest(publisher: Publisher) -> Iterator[None]:
    """Settle what a test leaves unknown, which the page would show in the next one."""
    yield
    document = (
        "{ destinations(first: 100, filter: {outcome: [UNKNOWN]}) { nodes { destinationId } } }"
    )
    for destination in publisher.execute(document)["nodes"]:
        reconcile(publisher, destination["destinationId"], URL)


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


def settled_id(request: Request) -> str | None:
    """Id of the destination that the request settles."""
    settles: dict[str, str] = request_body(request).get("variables", {}).get("input", {})
    return settles["destinationId"] if "finding" in settles else None


async def test_demo_shows_the_attempt_and_where_to_look(
    browser: Browser, demo_server: ServerProcess
) -> None:
    async with open_tab(
        browser, demo_server.url, timezone_id="America/New_York", viewport=WIDE, color_scheme="dark"
    ) as tab:
        await tab.open_demo("/unknown?item=nonsense")
        await expect(tab.heading("Unknown outcomes")).to_be_focused()
        await expect(tab.heading("@mybrand Instagram")).to_be_visible()
        await expect(card(tab).get_by_role("link", name="@mybrand")).to_have_attribute(
            "href", re.compile(r"^/board/accounts/\d+$")
        )
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
    await expect(card(tab)).to_contain_text(
        "A check found that the post was published. by the key “first key”"
    )
    await card(tab).get_by_role("button", name="Next").click()
    await expect(tab.page.locator(".empty")).to_contain_text("Nothing is unknown")


async def test_held_key_moves_to_further_outcomes_and_settles_one(
    tab: BoardTab, publisher: Publisher
) -> None:
    account_id = publisher.connect("held")
    ids = [lose(publisher, account_id, text) for text in ("first", "second", "third")]
    settled: list[str | None] = []
    tab.page.on("request", lambda request: settled.append(settled_id(request)))
    await expect(tab.page.locator(".triage-list li")).to_have_count(3)
    for text in ("second", "third"):
        await tab.page.keyboard.down("j")
        await expect(card(tab)).to_contain_text(text)
    await tab.page.keyboard.up("j")
    await tab.page.keyboard.down("n")
    await expect(card(tab)).to_contain_text("first")
    await tab.page.keyboard.down("n")
    await tab.page.keyboard.up("n")
    await tab.page.keyboard.press("s")
    await expect(card(tab)).to_contain_text("second")
    assert [each for each in settled if each] == [ids[2]]


async def test_late_answer_leaves_the_user_at_the_outcome_to_which_they_moved(
    tab: BoardTab, publisher: Publisher
) -> None:
    account_id = publisher.connect("late")
    ids = [lose(publisher, account_id, text) for text in ("first", "second", "third")]
    release = asyncio.Event()

    async def delay(route: Route) -> None:
        if settled_id(route.request):
            await release.wait()
        await route.continue_()

    await tab.page.route("**/graphql", delay)
    await expect(tab.page.locator(".triage-list li")).to_have_count(3)
    await expect(card(tab)).to_contain_text("first")
    for key in ("n", "j", "j"):
        await tab.page.keyboard.press(key)
    await expect(card(tab)).to_contain_text("third")
    field = tab.page.get_by_label("If it is there")
    await field.fill(URL)
    release.set()
    await expect(tab.page.locator(".report")).to_have_text("late: recorded that it is not there.")
    await expect(tab.page).to_have_url(f"{tab.board_url}/unknown?item={ids[2]}")
    await expect(field).to_have_value(URL)


async def test_outcome_after_the_last_one_is_shown_also_if_that_was_below_the_pointer(
    tab: BoardTab, publisher: Publisher
) -> None:
    account_id = publisher.connect("pointed")
    lose(publisher, account_id, "the last one")
    await expect(card(tab)).to_contain_text("the last one")
    await tab.page.locator(".triage-list li").hover()
    await tab.page.keyboard.press("n")
    await expect(tab.page.locator(".empty")).to_contain_text("Nothing is unknown")
    lose(publisher, account_id, "the next one")
    await expect(card(tab)).to_contain_text("the next one")


async def test_settlement_is_found_behind_many_changes(tab: BoardTab, publisher: Publisher) -> None:
    account_id = publisher.connect("retried often")
    post_id = publisher.create_post(account_id, "retried often")
    for number in range(51):  # with two changes each
        publisher.record_failure(post_id, account_id, attempt=f"{post_id} {number}")
        publisher.retry(post_id)
    destination_id = lose_post(publisher, post_id, account_id)
    reconcile(publisher, destination_id, URL)
    await tab.open(f"/unknown?item={destination_id}")
    await expect(card(tab)).to_contain_text(
        "A check found that the post was published. by the key “first key”"
    )


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
