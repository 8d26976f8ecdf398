"""Tests of unknown outcomes: lookups and later attempts find the post, and publish it at most once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.platforms.protocol import LookupFailure, OutcomeUnknown
from tests.factories import NOW
from tests.platforms.meta.adapter_run import (
    CONTAINER,
    IMAGE,
    OTHER_CONTAINER,
    PLATFORMS,
    AdapterRun,
    after,
    publish_error,
    refusal,
    running_adapter,
)
from tests.platforms.meta.stub_graph import (
    CUT_RESPONSE,
    HTML,
    NO_RESPONSE,
    Fault,
    graph_error,
    response,
)

BOTH = pytest.mark.parametrize("name", PLATFORMS)
NOT_FOUND, INCONCLUSIVE = LookupFailure.NOT_FOUND, LookupFailure.INCONCLUSIVE
LATEST_DELIVERY = 120


async def lose_answer(run: AdapterRun, *, is_processed: bool) -> None:
    """Publish with an answer that is lost, so that the outcome is unknown."""
    run.stub.faults["publish"] = [Fault(NO_RESPONSE, is_processed=is_processed)]
    assert isinstance(await publish_error(run), OutcomeUnknown)


async def stop_while_publishing(run: AdapterRun) -> asyncio.Event:
    """Stop an attempt after its request to publish is sent; return the event that lets it arrive."""
    released = run.stub.publish_released = asyncio.Event()
    attempt = asyncio.create_task(run.adapter.publish(run.request()))
    await run.stub.publish_received.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    run.stub.publish_released = None
    return released


@BOTH
async def test_attempt_without_checkpoint_has_published_nothing(name: str) -> None:
    async with running_adapter(name) as run:
        assert await run.adapter.look_up(run.request()) is NOT_FOUND

    assert run.stub.calls == []


@BOTH
@pytest.mark.parametrize("answer", [NO_RESPONSE, CUT_RESPONSE, HTML, response(500)])
async def test_published_post_is_found_by_its_container(name: str, answer: bytes) -> None:
    fault = Fault(answer, is_processed=True)
    async with running_adapter(name, faults={"publish": [fault]}) as run:
        run.stub.add_post("Hello", "IMAGE", after(-601))
        assert isinstance(await publish_error(run), OutcomeUnknown)
        publication = await run.adapter.look_up(run.request())
        repeated = await run.adapter.publish(run.request("Edited, and too long" * 200, attempt=2))

    (_, post) = run.stub.posts
    assert repeated == publication
    assert publication == replace(
        repeated,
        platform_post_id=post["id"],
        platform_post_url=post["permalink"],
        published_at=NOW,
    )


@BOTH
async def test_post_that_was_not_published_is_published_by_next_attempt(name: str) -> None:
    async with running_adapter(name) as run:
        await lose_answer(run, is_processed=False)
        run.now += timedelta(seconds=LATEST_DELIVERY + 1)
        assert await run.adapter.look_up(run.request()) is NOT_FOUND
        publication = await run.adapter.publish(run.request(attempt=2))

    assert [post["id"] for post in run.stub.posts] == [publication.platform_post_id]
    assert list(run.stub.containers) == [CONTAINER]
    first, second = run.checkpoint.values
    assert second == {**first, "sentAt": "2026-04-15T15:02:01Z"}


@pytest.mark.parametrize(
    ("status", "seconds", "result"),
    [
        ("FINISHED", LATEST_DELIVERY, INCONCLUSIVE),
        ("FINISHED", LATEST_DELIVERY + 0.001, NOT_FOUND),
        ("IN_PROGRESS", LATEST_DELIVERY, INCONCLUSIVE),
        ("IN_PROGRESS", 23 * 3600, INCONCLUSIVE),
        ("ERROR", 0, NOT_FOUND),
        ("EXPIRED", 0, NOT_FOUND),
    ],
)
@BOTH
async def test_lookup_depends_on_status_and_on_late_delivery(
    name: str, status: str, seconds: float, result: LookupFailure
) -> None:
    async with running_adapter(name) as run:
        await lose_answer(run, is_processed=False)
        run.stub.containers[CONTAINER].states = [status]
        run.now += timedelta(seconds=seconds)
        assert await run.adapter.look_up(run.request()) is result


@pytest.mark.parametrize(
    "answer",
    [HTML, CUT_RESPONSE, NO_RESPONSE, response(500), graph_error(190), graph_error(100, 33)],
)
@pytest.mark.parametrize("operation", ["status", "list"])
async def test_lookup_without_readable_answer_fails(operation: str, answer: bytes) -> None:
    async with running_adapter() as run:
        await lose_answer(run, is_processed=True)
        run.stub.faults[operation] = [Fault(answer)]
        with pytest.raises(Exception) as caught:  # noqa: PT011 - any error is inconclusive
            await run.adapter.look_up(run.request())

    assert type(caught.value).__name__ in ("NotPublished", "OutcomeUnknown")


@BOTH
@pytest.mark.parametrize("arrives", [True, False])
async def test_attempt_that_stops_while_publishing_leaves_one_post(
    name: str, arrives: bool
) -> None:
    async with running_adapter(name) as run:
        released = await stop_while_publishing(run)
        if arrives:
            released.set()
            await run.stub.publish_processed.wait()
        run.now += timedelta(seconds=LATEST_DELIVERY + 1)
        found = await run.adapter.look_up(run.request())
        publication = await run.adapter.publish(run.request(attempt=2))

    (post,) = run.stub.posts
    assert publication.platform_post_id == post["id"]
    assert found == (publication if arrives else NOT_FOUND)


@BOTH
async def test_attempt_that_stops_before_publishing_leaves_no_post(name: str) -> None:
    async with running_adapter(name) as run:
        run.stub.faults["publish"] = [Fault(NO_RESPONSE)]
        await publish_error(run)
        (call,) = run.stub.calls_of("POST", run.stub.api.publish)

        assert call.own_parameters == {"creation_id": CONTAINER}
        assert await run.adapter.look_up(run.request()) is INCONCLUSIVE
        publication = await run.adapter.publish(run.request(attempt=2))

    assert [post["id"] for post in run.stub.posts] == [publication.platform_post_id]


@BOTH
async def test_request_that_arrives_after_next_attempt_publishes_no_second_post(name: str) -> None:
    async with running_adapter(name) as run:
        released = await stop_while_publishing(run)
        assert await run.adapter.look_up(run.request()) is INCONCLUSIVE
        run.now += timedelta(seconds=LATEST_DELIVERY + 1)
        assert await run.adapter.look_up(run.request()) is NOT_FOUND
        publication = await run.adapter.publish(run.request(attempt=2))
        run.stub.publish_processed.clear()
        released.set()
        await run.stub.publish_processed.wait()

    assert [post["id"] for post in run.stub.posts] == [publication.platform_post_id]


@BOTH
async def test_request_that_arrives_before_that_of_next_attempt_publishes_the_only_post(
    name: str,
) -> None:
    async with running_adapter(name) as run:
        late = await stop_while_publishing(run)
        run.now += timedelta(seconds=LATEST_DELIVERY + 1)
        second_released = run.stub.publish_released = asyncio.Event()
        run.stub.publish_received.clear()
        second = asyncio.create_task(run.adapter.publish(run.request(attempt=2)))
        await run.stub.publish_received.wait()
        late.set()
        await run.stub.publish_processed.wait()
        second_released.set()
        publication = await second

    assert [post["id"] for post in run.stub.posts] == [publication.platform_post_id]


@BOTH
@pytest.mark.parametrize("status", ["ERROR", "EXPIRED"])
async def test_container_that_cannot_be_published_is_replaced(name: str, status: str) -> None:
    async with running_adapter(name) as run:
        await lose_answer(run, is_processed=False)
        run.stub.containers[CONTAINER].states = [status]
        await run.adapter.publish(run.request(attempt=2))

    assert run.stub.containers[OTHER_CONTAINER].status == "PUBLISHED"
    assert run.checkpoint.values[-1]["container"] == OTHER_CONTAINER


@BOTH
@pytest.mark.parametrize(
    "fields",
    [
        {"content": "Hello!"},
        {"media": [IMAGE | {"alt": "Another"}]},
        {"media": [IMAGE, {"url": "https://example.com/2.jpg"}]},
    ],
)
async def test_container_of_edited_post_is_replaced(name: str, fields: dict[str, Any]) -> None:
    async with running_adapter(name, faults={"publish": [Fault(graph_error(2))]}) as run:
        assert (await refusal(run)).code == "GRAPH_2"
        await run.adapter.publish(run.request(**fields))

    assert len(run.stub.posts) == 1
    assert run.stub.containers[CONTAINER].status == "FINISHED"


async def test_next_attempt_waits_for_container_in_progress() -> None:
    async with running_adapter() as run:
        await lose_answer(run, is_processed=False)
        run.stub.containers[CONTAINER].states = ["IN_PROGRESS", "IN_PROGRESS", "FINISHED"]
        await run.adapter.publish(run.request("Edited", attempt=2))

    assert run.now == after(3)
    assert run.stub.posts[0]["text"] == "Edited"


@pytest.mark.parametrize("answer", [response(500), graph_error(190), graph_error(4), NO_RESPONSE])
async def test_next_attempt_without_readable_container_publishes_nothing(answer: bytes) -> None:
    async with running_adapter() as run:
        await lose_answer(run, is_processed=True)
        run.stub.faults["status"] = [Fault(answer)]
        await refusal(run, run.request(attempt=2))

    assert len(run.stub.posts) == 1


@BOTH
async def test_text_is_compared_as_platform_stores_it(name: str) -> None:
    async with running_adapter(name) as run:
        run.stub.faults["publish"] = [Fault(NO_RESPONSE, is_processed=True)]
        await publish_error(run, run.request(" Grüße\r\nan alle "))
        (post,) = run.stub.posts
        post[run.stub.api.text] = "Grüße\nan alle"
        publication = await run.adapter.look_up(run.request())

    assert publication.platform_post_id == post["id"]  # type: ignore[union-attr]


@BOTH
async def test_post_without_text_is_found(name: str) -> None:
    async with running_adapter(name) as run:
        run.stub.add_post("Other", "IMAGE", NOW)
        run.stub.add_post(None, "CAROUSEL_ALBUM", NOW)
        run.stub.faults["publish"] = [Fault(NO_RESPONSE, is_processed=True)]
        await publish_error(run, run.request(""))
        publication = await run.adapter.look_up(run.request(""))

    assert publication.platform_post_id == run.stub.posts[-1]["id"]  # type: ignore[union-attr]


@BOTH
@pytest.mark.parametrize("copies", [0, 2])
async def test_published_post_that_is_not_identified_stays_unknown(name: str, copies: int) -> None:
    async with running_adapter(name) as run:
        await lose_answer(run, is_processed=True)
        run.stub.posts.clear()
        for seconds in range(copies):
            run.stub.add_post("Hello", "IMAGE", after(seconds))
        with pytest.raises(OutcomeUnknown) as looked_up:
            await run.adapter.look_up(run.request())
        error = await publish_error(run, run.request(attempt=2))

    assert isinstance(error, OutcomeUnknown)
    assert error.message == looked_up.value.message
    assert error.message.startswith(
        f"The post is published, but {copies} posts of the account have its text. Find it on"
    )


async def test_post_is_found_among_later_ones() -> None:
    async with running_adapter(page_size=2) as run:
        run.stub.add_post("Hello", "IMAGE", after(-3600))
        await lose_answer(run, is_processed=True)
        wanted = run.stub.posts[-1]["id"]
        for number in range(7):
            run.stub.add_post(f"Other {number}", "IMAGE", after(60))
        publication = await run.adapter.look_up(run.request())

    assert publication.platform_post_id == wanted  # type: ignore[union-attr]
    assert len(run.stub.calls_of("GET", "threads")) == 5


async def test_lookup_ends_after_five_pages() -> None:
    async with running_adapter(page_size=1) as run:
        await lose_answer(run, is_processed=True)
        for number in range(9):
            run.stub.add_post(f"Other {number}", "IMAGE", after(60))
        with pytest.raises(OutcomeUnknown, match="more than 500 posts"):
            await run.adapter.look_up(run.request())


@BOTH
async def test_container_that_a_new_token_cannot_read_is_replaced(name: str) -> None:
    async with running_adapter(name) as run:
        run.stub.faults["publish"] = [Fault(graph_error(9))]
        await publish_error(run)
        run.stub.containers.clear()
        run.now += timedelta(minutes=6)
        await run.adapter.publish(run.request(attempt=2))

    assert len(run.stub.posts) == 1
    assert len(run.stub.calls_of("POST", run.stub.api.publish)) == 2
