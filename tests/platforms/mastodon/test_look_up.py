"""Tests of lookups: which status is that of a post, and when a post is certainly absent."""

from typing import Any

import pytest

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.platforms.media import Media
from app.platforms.protocol import LookupFailure, NotPublished, OutcomeUnknown
from tests.platforms.mastodon.scripted_instance import (
    ACCOUNT,
    APPLICATION,
    INSTANCE,
    NO_RESPONSE,
    PAGE,
    STATUS,
    AdapterRun,
    after,
    response,
    running_adapter,
)
from tests.platforms.publish_requests import publish_problem, reported

NOT_FOUND, INCONCLUSIVE = LookupFailure.NOT_FOUND, LookupFailure.INCONCLUSIVE
FIRST_PAGE = f"{PAGE}?exclude_reblogs=true&limit=40"
NEXT_PAGE = f"{PAGE}?exclude_reblogs=true&limit=39&max_id="
PICTURE = Media(content=b"", content_type="image/png", alt="", width=None, height=None)


def status(status_id: str, text: str | None = "Hello", **fields: Any) -> dict[str, Any]:
    """Return a status a second after the attempt; without `text`, the server does not include it."""
    return {
        "id": status_id,
        "url": f"https://example.social/@alice/{status_id}",
        "created_at": "2026-04-15T15:00:01.000Z",
        "content": "<p>Hello</p>",
        "text": text,
        "media_attachments": [],
        **fields,
    }


def publication(status_id: str) -> Publication:
    return Publication(
        platform_post_id=status_id,
        platform_post_url=f"https://example.social/@alice/{status_id}",
        published_at=after(1),
    )


def source(status_id: str, text: str) -> dict[str, list[bytes]]:
    body = {"id": status_id, "text": text, "spoiler_text": ""}
    return {f"GET /api/v1/statuses/{status_id}/source": [response(200, body)]}


def pages(*statuses: list[dict[str, Any]]) -> dict[str, list[bytes]]:
    """Return a script with pages of statuses, and an empty one after them."""
    return {PAGE: [response(200, page) for page in (*statuses, [])]}


async def look_up(run: AdapterRun, content: str = "Hello", seconds: float = 121) -> object:
    """Look a post up some seconds after the start of its attempt."""
    run.now = after(seconds)
    return await run.adapter.look_up(run.request(content))


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([status("3")], publication("3")),
        ([status("3", " Hello\r\n")], publication("3")),
        ([status("4", "Other"), status("3"), status("2", "Hello!")], publication("3")),
        ([status("4", in_reply_to_id="1"), status("3")], publication("3")),
        ([status("4", reblog=status("1")), status("3")], publication("3")),
        ([status("4", media_attachments=[{"id": "5"}]), status("3")], publication("3")),
        ([status("4"), status("3")], INCONCLUSIVE),
        ([status("4", media_attachments=[{"id": "5"}])], INCONCLUSIVE),
        ([status("4", "Other")], NOT_FOUND),
        ([status("3", created_at="2026-04-15T14:50:00.000Z")], None),
        ([status("3", created_at="2026-04-15T14:49:59.999Z")], NOT_FOUND),
        ([], NOT_FOUND),
    ],
)
async def test_status_of_post_is_found(
    statuses: list[dict[str, Any]], expected: Publication | LookupFailure | None
) -> None:
    async with running_adapter(pages(statuses)) as run:
        found = await look_up(run)

    if expected is None:
        assert isinstance(found, Publication)
    else:
        assert found == expected


async def test_text_is_read_from_source() -> None:
    script = {
        **pages([status("4", None), status("3", None), status("2", None, in_reply_to_id="1")]),
        **source("4", "Hello **world**"),
        **source("3", "Hello"),
    }
    async with running_adapter(script) as run:
        assert await look_up(run) == publication("3")

    assert run.instance.targets == [
        ACCOUNT,
        FIRST_PAGE,
        f"{NEXT_PAGE}2",
        "GET /api/v1/statuses/4/source",
        "GET /api/v1/statuses/3/source",
    ]


async def test_statuses_are_read_until_they_are_older_than_the_attempt() -> None:
    recent = [status("9", "Other"), status("8", "Other")]
    older = [status("7"), status("6", "Other", created_at="2026-04-15T14:49:59.000Z")]
    async with running_adapter(pages(recent, older)) as run:
        assert await look_up(run) == publication("7")

    assert run.instance.targets == [ACCOUNT, FIRST_PAGE, f"{NEXT_PAGE}8"]


@pytest.mark.parametrize("number", [1, 39, 40, 41, 255])
async def test_only_page_of_snac_has_all_statuses(number: int) -> None:
    page = [status(str(n), "Other") for n in range(number)]
    async with running_adapter({PAGE: [response(200, page)]}) as run:
        assert await look_up(run) is NOT_FOUND


@pytest.mark.parametrize("numbers", [(40, 39), (256, 256)])
async def test_other_page_that_repeats_is_inconclusive(numbers: tuple[int, int]) -> None:
    answers = [
        response(200, [status(str(n), "Other") for n in range(number)]) for number in numbers
    ]
    async with running_adapter({PAGE: answers}) as run:
        with pytest.raises(OutcomeUnknown, match="repeats a page"):
            await look_up(run)


async def test_absent_post_is_certain_after_fifty_pages_at_most() -> None:
    recent = [[status(str(n), "Other")] for n in range(50)]
    async with running_adapter(pages(*recent[:49])) as run:
        assert await look_up(run) is NOT_FOUND
    async with running_adapter(pages(*recent)) as run:
        with pytest.raises(OutcomeUnknown, match="more than 50 pages"):
            await look_up(run)

    assert len(run.instance.targets) == 1 + 50


@pytest.mark.parametrize(("listed", "expected"), [("public", INCONCLUSIVE), ("private", NOT_FOUND)])
async def test_private_post_is_absent_only_if_private_statuses_are_listed(
    listed: str, expected: LookupFailure
) -> None:
    async with running_adapter(pages([status("3", "Other", visibility=listed)])) as run:
        run.now = after(121)
        request = run.request(settings={"visibility": "private"})
        assert await run.adapter.look_up(request) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(120, INCONCLUSIVE), (120.001, NOT_FOUND)])
async def test_absent_post_may_be_delivered_for_two_minutes(
    seconds: float, expected: LookupFailure
) -> None:
    async with running_adapter(pages()) as run:
        assert await look_up(run, seconds=seconds) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(360, INCONCLUSIVE), (360.001, NOT_FOUND)])
async def test_absent_post_with_media_may_be_delivered_later(
    seconds: float, expected: LookupFailure
) -> None:
    async with running_adapter(pages()) as run:
        run.media = [PICTURE]
        assert await look_up(run, seconds=seconds) is expected


@pytest.mark.parametrize(("text", "expected"), [("", INCONCLUSIVE), ("Other", NOT_FOUND)])
async def test_post_without_text_is_not_identified_by_its_media(
    text: str, expected: LookupFailure
) -> None:
    async with running_adapter(pages([status("3", text, media_attachments=[{"id": "5"}])])) as run:
        run.media = [PICTURE]
        assert await look_up(run, "", seconds=600) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(200, {"name": "post-results"}), publication("3")),
        (response(403), INCONCLUSIVE),
        (response(404), INCONCLUSIVE),
    ],
)
async def test_status_of_other_application_is_not_that_of_post(
    answer: bytes, expected: object
) -> None:
    statuses = [
        status("4", application={"name": "Web"}),
        status("3", application={"name": "post-results"}),
    ]
    async with running_adapter({**pages(statuses), APPLICATION: [answer]}) as run:
        assert await look_up(run) == expected


@pytest.mark.parametrize(
    "script",
    [
        {ACCOUNT: [response(500)]},
        {ACCOUNT: [response(200, {"id": 7})]},
        {PAGE: [response(503)]},
        {PAGE: [response(200, {})]},
        {PAGE: [response(200, b"null")]},
        {PAGE: [response(200, b"[{")]},
        {PAGE: [response(200, ["3"])]},
        {PAGE: [NO_RESPONSE]},
        pages([status("3", None)]),
        {**pages([status("3", application={"name": "Web"})]), APPLICATION: [response(500)]},
    ],
)
async def test_failed_request_makes_lookup_inconclusive(script: dict[str, list[bytes]]) -> None:
    async with running_adapter(script) as run:
        with pytest.raises((OutcomeUnknown, TypeError, ValueError)):
            await look_up(run)


@pytest.mark.parametrize(
    ("answer", "code"),
    [(response(401), "HTTP_401"), (response(422, {"error": "Invalid token"}), "TOKEN_REVOKED")],
)
async def test_revoked_token_is_reported(answer: bytes, code: str) -> None:
    async with running_adapter({ACCOUNT: [answer]}) as run:
        with pytest.raises(NotPublished) as caught:
            await look_up(run)

    assert (caught.value.category, caught.value.code) == (ErrorCategory.AUTH, code)


async def test_statuses_that_are_reported_for_other_posts_are_not_that_of_the_post() -> None:
    statuses = [status("5"), status("4"), status("3")]
    by_url = status("4")["url"]
    async with running_adapter(pages(statuses)) as run:
        run.now = after(121)
        assert await run.adapter.look_up(run.request(find_reported=reported("5", by_url))) == (
            publication("3")
        )
    async with running_adapter(pages(statuses)) as run:
        run.now = after(121)
        request = run.request(find_reported=reported("5", "4", "3"))
        assert await run.adapter.look_up(request) is NOT_FOUND


async def test_statuses_before_a_forced_retry_are_not_that_of_the_retry() -> None:
    earlier = [status("4", "Other"), status("3")]
    retried = [status("5"), *earlier]
    script = {
        PAGE: [response(200, page) for page in (earlier, [], retried, [], earlier, [])],
        STATUS: [response(500)],
    }
    async with running_adapter(script) as run:
        request = run.request(forced_retries=1)
        with pytest.raises(OutcomeUnknown):
            await run.adapter.publish(request)
        assert await request.checkpoint.load() == {"earlierStatuses": ["3"]}

        run.now = after(121)
        assert await run.adapter.look_up(request) == publication("5")
        assert await run.adapter.look_up(request) is NOT_FOUND


async def test_second_attempt_of_a_forced_retry_does_not_take_the_first_one_for_earlier() -> None:
    script = {**pages([status("5")]), STATUS: [response(500)]}
    async with running_adapter(script) as run:
        request = run.request(forced_retries=1)
        await request.checkpoint.save({"earlierStatuses": []})
        with pytest.raises(OutcomeUnknown):
            await run.adapter.publish(request)
        run.now = after(121)
        assert await run.adapter.look_up(request) == publication("5")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response(503), "The server answered 503 without a usable result."),
        (response(200, b"<html>"), "The server returned statuses of an unknown form."),
        (response(200, [None]), "The server returned statuses of an unknown form."),
        (
            response(200, [{"created_at": "now"}]),
            "The server returned statuses of an unknown form.",
        ),
    ],
)
async def test_forced_retry_is_not_sent_if_earlier_statuses_are_not_known(
    answer: bytes, reason: str
) -> None:
    async with running_adapter({PAGE: [answer]}) as run:
        assert await publish_problem(run.adapter.publish(run.request(forced_retries=1))) == (
            ErrorCategory.TRANSIENT,
            "STATUSES_NOT_READ",
            f"{reason} The statuses of the account could not be read, so the post was not sent.",
        )
    assert STATUS not in run.instance.targets


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ([status("5"), status("4")], ["5", "4"]),
        ([status("5", "Other"), status("4", in_reply_to_id="1")], []),
        ([status("4", media_attachments=[{"id": "5"}])], []),
        ([status("4", created_at="2026-04-15T14:49:59.999Z")], []),
        ([status("4", application={"name": "web"}), status("5")], ["5"]),
        ([], []),
    ],
)
async def test_unreported_statuses_of_a_post_are_found(
    statuses: list[dict[str, Any]], found: list[str]
) -> None:
    application = {APPLICATION: [response(200, {"name": "post-results"})]}
    async with running_adapter(pages([*statuses, status("3")]) | application) as run:
        request = run.request(find_reported=reported("3"))
        assert await run.adapter.find_unreported([request]) == [
            [publication(each) for each in found]
        ]


@pytest.mark.parametrize("url", [None, 5, [], {}])
async def test_status_without_a_usable_url_is_found(url: object) -> None:
    async with running_adapter(pages([status("5", url=url)])) as run:
        found = await run.adapter.look_up(run.request(find_reported=reported("3")))

    assert found == Publication(platform_post_id="5", platform_post_url=None, published_at=after(1))


async def test_statuses_of_several_posts_are_found_by_one_list() -> None:
    statuses = [status("6", None), status("5", None), status("4", "Other"), status("3", "Third")]
    sources = source("6", "Hello") | source("5", "Other")
    async with running_adapter(pages(statuses) | sources) as run:
        requests = [
            run.request("Other", attempt_started_at=after(1), find_reported=reported("5")),
            run.request("Hello", find_reported=reported("3")),
            run.request(" "),
        ]
        found = await run.adapter.find_unreported(requests)

        assert found == [[publication("5"), publication("4")], [publication("6")], []]
        assert sorted(target for target in run.instance.targets if "statuses" in target) == [
            "GET /api/v1/accounts/7/statuses?exclude_reblogs=true&limit=39&max_id=3",
            "GET /api/v1/accounts/7/statuses?exclude_reblogs=true&limit=40",
            "GET /api/v1/statuses/5/source",
            "GET /api/v1/statuses/6/source",
        ]


@pytest.mark.parametrize(
    ("description", "can_repeat"),
    [
        ({"version": "4.3.2"}, False),
        ({"version": "2.9.4"}, False),
        ({"version": "4.6.0-nightly.2026-10-01+glitch"}, False),
        ({"version": "4.0.0 (not true; really snac/2.75)"}, True),
        ({"version": "2.7.2 (compatible; Pleroma 2.6.0)"}, True),
        ({"version": "0.17.3+git-abc"}, True),
        ({"version": "latest"}, True),
        ({"version": 4}, True),
        ({}, True),
    ],
)
async def test_version_shows_whether_requests_can_be_repeated(
    description: dict[str, object], can_repeat: bool
) -> None:
    async with running_adapter({INSTANCE: [response(200, description)]}) as run:
        assert await run.adapter.can_repeat(run.request()) is can_repeat
        assert await run.adapter.can_repeat(run.request()) is can_repeat

    assert run.instance.targets == [INSTANCE]


async def test_requests_of_an_unreadable_instance_can_be_repeated() -> None:
    async with running_adapter({INSTANCE: [response(503)]}) as run:
        assert await run.adapter.can_repeat(run.request())


async def test_nothing_is_searched_for_a_post_without_text() -> None:
    async with running_adapter() as run:
        run.media = [PICTURE]
        assert await run.adapter.find_unreported([run.request(" ")]) == [()]
    assert run.instance.targets == []
