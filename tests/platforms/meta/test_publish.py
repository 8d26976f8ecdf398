"""Tests of publishing: the documented requests of a post, and the checkpoint before the last of them."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.platforms.protocol import NotPublished
from tests.factories import NOW
from tests.platforms.meta.adapter_run import (
    CONTAINER,
    IMAGE,
    OTHER_CONTAINER,
    PLATFORMS,
    after,
    publish_error,
    refusal,
    running_adapter,
)
from tests.platforms.meta.stub_graph import TOKEN, USER, Fault, graph_error, response
from tests.platforms.publish_requests import FixedDeadline, MemoryCheckpoint, refusal_details

BOTH = pytest.mark.parametrize("name", PLATFORMS)
CONTENT_REJECTED, TRANSIENT = ErrorCategory.CONTENT_REJECTED, ErrorCategory.TRANSIENT
RATE_LIMITED = ErrorCategory.RATE_LIMITED
SECOND_IMAGE = {"url": "https://example.com/2.jpg"}
PUBLICATION = Publication(
    platform_post_id="18000000000000000",
    platform_post_url="https://social.example/p/18000000000000000",
    published_at=NOW,
)


async def test_text_is_published_on_threads() -> None:
    async with running_adapter("threads") as run:
        settings = {"reply_control": "mentioned_only"}
        publication = await run.adapter.publish(
            run.request("Grüße & more\n", media=[], settings=settings)
        )

    assert publication == PUBLICATION
    assert [(call.line, call.own_parameters) for call in run.stub.calls] == [
        (
            f"POST /v1.0/{USER}/threads",
            {"media_type": "TEXT", "reply_control": "mentioned_only", "text": "Grüße & more\n"},
        ),
        (f"GET /v1.0/{CONTAINER}", {"fields": "status,error_message"}),
        (f"POST /v1.0/{USER}/threads_publish", {"creation_id": CONTAINER}),
        ("GET /v1.0/18000000000000000", {"fields": "id,permalink,timestamp"}),
    ]
    assert {call.parameters["access_token"] for call in run.stub.calls} == {TOKEN}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("threads", {"media_type": "IMAGE", "text": "Hello"}),
        ("instagram", {"caption": "Hello"}),
    ],
)
async def test_image_is_published_with_its_description(
    name: str, parameters: dict[str, str]
) -> None:
    async with running_adapter(name) as run:
        assert await run.adapter.publish(run.request()) == PUBLICATION

    assert run.stub.containers[CONTAINER].parameters == {
        **parameters,
        "image_url": "https://example.com/1.jpg",
        "alt_text": "A kitchen",
    }


@pytest.mark.parametrize(
    ("name", "image", "text"),
    [("threads", {"media_type": "IMAGE"}, "text"), ("instagram", {}, "caption")],
)
async def test_images_are_published_as_carousel_when_they_are_ready(
    name: str, image: dict[str, str], text: str
) -> None:
    async with running_adapter(name, processing=["IN_PROGRESS", "FINISHED"]) as run:
        await run.adapter.publish(run.request(media=[IMAGE, SECOND_IMAGE]))

    item = {**image, "is_carousel_item": "true"}
    assert [container.parameters for container in run.stub.containers.values()] == [
        {**item, "image_url": "https://example.com/1.jpg", "alt_text": "A kitchen"},
        {**item, "image_url": "https://example.com/2.jpg"},
        {
            "media_type": "CAROUSEL",
            "children": f"{CONTAINER},{OTHER_CONTAINER}",
            text: "Hello",
        },
    ]
    assert len(run.stub.posts) == 1
    assert run.now == after(3)


@BOTH
async def test_container_is_stored_before_it_is_published(name: str) -> None:
    class RefusingCheckpoint(MemoryCheckpoint):
        async def save(self, value: Any) -> None:
            await super().save(value)
            raise NotPublished(TRANSIENT, "NOT_CALLED", "The lease is lost.")

    checkpoint = RefusingCheckpoint()
    async with running_adapter(name) as run:
        assert (await refusal(run, run.request(checkpoint=checkpoint))).code == "NOT_CALLED"

    (saved,) = checkpoint.values
    assert saved["container"] == CONTAINER
    assert saved["createdAt"] == saved["sentAt"] == "2026-04-15T15:00:00Z"
    assert run.stub.posts == []


async def test_late_attempt_publishes_nothing_after_its_checkpoint() -> None:
    class SlowCheckpoint(MemoryCheckpoint):
        async def save(self, value: Any) -> None:
            await super().save(value)
            run.now = after(30.001)

    async with running_adapter() as run:
        error = await refusal(run, run.request(checkpoint=SlowCheckpoint()))

    assert refusal_details(error) == (TRANSIENT, "NOT_CALLED", None, None)
    assert run.stub.calls_of("POST", run.stub.api.publish) == []


async def test_attempt_that_loses_its_lease_after_its_checkpoint_publishes_nothing() -> None:
    class LeaseDuringCheckpoint(MemoryCheckpoint):
        def seconds_left(self) -> float:
            return 0 if self.values else 60

    checkpoint = LeaseDuringCheckpoint()
    async with running_adapter() as run:
        error = await refusal(run, run.request(checkpoint=checkpoint, deadline=checkpoint))

    assert refusal_details(error) == (TRANSIENT, "NOT_CALLED", None, None)
    assert run.stub.calls_of("POST", run.stub.api.publish) == []


async def test_attempt_without_lease_creates_no_container() -> None:
    async with running_adapter() as run:
        error = await refusal(run, run.request(deadline=FixedDeadline(0)))

    assert refusal_details(error) == (TRANSIENT, "NOT_CALLED", None, None)
    assert run.stub.calls == []


MANY = [{"url": f"https://example.com/{number}.jpg"} for number in range(21)]


@pytest.mark.parametrize(
    ("name", "fields", "code", "message"),
    [
        ("threads", {"content": "x" * 501}, "TEXT_TOO_LONG", "501 characters; Threads allows 500"),
        ("threads", {"content": "👍" * 126}, "TEXT_TOO_LONG", "504 characters; Threads allows"),
        (
            "instagram",
            {"content": "x" * 2201},
            "TEXT_TOO_LONG",
            "2,201 characters; Instagram allows 2,200",
        ),
        ("instagram", {"content": "👍" * 2201}, "TEXT_TOO_LONG", "2,201 characters"),
        ("threads", {"content": " ", "media": []}, "EMPTY_POST", "neither text nor media"),
        ("instagram", {"media": []}, "IMAGE_MISSING", "A post on Instagram needs an image"),
        ("threads", {"media": MANY}, "TOO_MANY_MEDIA", "21 media; Threads allows 20"),
        ("instagram", {"media": MANY[:11]}, "TOO_MANY_MEDIA", "11 media; Instagram allows 10"),
        ("threads", {"media_ids": ["m1"]}, "MEDIA_REJECTED", "mediaIds name files of another"),
        (
            "instagram",
            {"media": [{"url": "data:image/jpeg;base64,/9j/"}]},
            "MEDIA_REJECTED",
            "media[0] is a data: URL, but Instagram loads images from public URLs only",
        ),
        (
            "threads",
            {"media": [IMAGE, {"url": "ftp://example.com/1.jpg"}]},
            "MEDIA_REJECTED",
            "media[1] must be a URL that starts with http:// or https://",
        ),
        ("threads", {"media": [{"id": 7}]}, "MEDIA_REJECTED", "media[0] needs the URL of an image"),
        (
            "instagram",
            {"media": [{"url": "https://example.com/1.PNG?x=1"}]},
            "MEDIA_REJECTED",
            "media[0] is image/png, but Instagram accepts image/jpeg only",
        ),
        (
            "threads",
            {"media": [{"url": "https://example.com/1.mp4"}]},
            "MEDIA_REJECTED",
            "media[0] is video/mp4, but Threads accepts image/jpeg and image/png only",
        ),
        (
            "threads",
            {"media": [IMAGE | {"alt": "x" * 1001}]},
            "MEDIA_REJECTED",
            "The alt text of media[0] has 1001 characters; Threads allows 1000",
        ),
        (
            "threads",
            {"settings": {"reply_control": "friends"}},
            "INVALID_SETTING",
            "settings.reply_control must be one of everyone",
        ),
    ],
)
async def test_post_that_platform_does_not_accept_is_not_sent(
    name: str, fields: dict[str, Any], code: str, message: str
) -> None:
    async with running_adapter(name) as run:
        error = await refusal(run, run.request(**fields))

    assert refusal_details(error) == (CONTENT_REJECTED, code, None, None)
    assert message in error.message
    assert run.stub.calls == []


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("threads", {"content": "x" * 500}),
        ("threads", {"media": MANY[:20]}),
        ("threads", {"media": [{"url": "https://example.com/photo"}]}),
        ("instagram", {"content": "x" * 2200}),
        ("instagram", {"content": "", "media": MANY[:10]}),
    ],
)
async def test_post_at_limit_is_published(name: str, fields: dict[str, Any]) -> None:
    async with running_adapter(name) as run:
        assert await run.adapter.publish(run.request(**fields)) == PUBLICATION


@pytest.mark.parametrize(
    ("name", "reason", "category", "message", "wait"),
    [
        (
            "threads",
            "INVALID_ASPEC_RATIO",
            CONTENT_REJECTED,
            "Meta does not accept the post.",
            None,
        ),
        ("threads", "UNKNOWN", TRANSIENT, "Meta could not process the image.", None),
        ("threads", None, TRANSIENT, "Meta could not process the image.", None),
        (
            "instagram",
            "Error: 2207004 large",
            CONTENT_REJECTED,
            "Meta does not accept the post.",
            None,
        ),
        (
            "instagram",
            "ERROR 2207052: URI",
            TRANSIENT,
            "The image could not be loaded from its",
            None,
        ),
        (
            "instagram",
            "2207042",
            RATE_LIMITED,
            "The account has reached its limit",
            timedelta(hours=1),
        ),
    ],
)
async def test_failed_container_is_not_published(
    name: str, reason: str | None, category: ErrorCategory, message: str, wait: timedelta | None
) -> None:
    async with running_adapter(name, processing=["ERROR"], reason=reason) as run:
        error = await refusal(run)

    assert refusal_details(error) == (category, "CONTAINER_ERROR", None, wait)
    assert error.message.startswith(message)
    assert reason is None or error.message.endswith(f"Meta's reason: {reason}")
    assert run.checkpoint.values == []


@BOTH
async def test_container_that_is_never_ready_ends_attempt_after_five_minutes(name: str) -> None:
    async with running_adapter(name, processing=["IN_PROGRESS"]) as run:
        error = await refusal(run)

    assert refusal_details(error) == (TRANSIENT, "CONTAINER_NOT_READY", None, None)
    assert run.now == after(300)
    assert len(run.stub.calls_of("GET", CONTAINER)) == 11
    assert run.checkpoint.values == []


async def test_container_that_does_not_exist_yet_is_read_again() -> None:
    missing = Fault(graph_error(100, 33, message="Unsupported get request."))
    async with running_adapter("instagram", faults={"status": [missing, missing]}) as run:
        assert await run.adapter.publish(run.request()) == PUBLICATION

    assert run.now == after(3)


@pytest.mark.parametrize(
    "answer", [response(500), response(200, b"<html>"), graph_error(10), graph_error(100, 33)]
)
async def test_post_without_readable_permalink_is_published(answer: bytes) -> None:
    async with running_adapter(faults={"post": [Fault(answer)]}) as run:
        publication = await run.adapter.publish(run.request())

    assert publication == Publication(
        platform_post_id="18000000000000000", platform_post_url=None, published_at=NOW
    )


async def test_server_refuses_what_is_not_documented() -> None:
    """Shows that the other tests would fail if a request had such a parameter."""
    async with running_adapter("instagram") as run:
        run.stub.api = PLATFORMS["threads"][1]
        error = await publish_error(run)

    assert isinstance(error, NotPublished)
    assert refusal_details(error) == (ErrorCategory.PERMANENT, "GRAPH_100_33", 400, None)
