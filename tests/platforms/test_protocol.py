"""Tests of publish requests."""

from dataclasses import replace

import pytest

from app.domain.destinations import ErrorCategory
from app.domain.posts import Post
from app.platforms.protocol import NotPublished, PublishRequest, make_publish_request
from tests.factories import NOW
from tests.platforms.publish_requests import (
    ACCOUNT,
    DESTINATION,
    POST,
    WORKSPACE,
    FixedDeadline,
    MemoryCheckpoint,
    MemoryCredentials,
    publish_request,
    reported,
)


def request_for(post: Post) -> PublishRequest:
    return make_publish_request(
        WORKSPACE,
        post,
        DESTINATION,
        ACCOUNT,
        attempt_started_at=NOW,
        credentials=MemoryCredentials(),
        checkpoint=MemoryCheckpoint(),
        deadline=FixedDeadline(60),
        find_reported=reported(),
    )


def test_request_contains_the_platforms_own_text_and_settings() -> None:
    content = {"content": "Short.", "contentType": "reel", "settings": {"a": 1}}
    post = replace(POST, platform_content={"sandbox": content, "x": {"content": "Other."}})

    request = request_for(post)

    assert request.content == "Short."
    assert (request.content_type, request.settings) == ("reel", {"a": 1})
    assert (request.attempt, request.account.id) == (1, ACCOUNT.id)
    assert (request.media_ids, request.reference) == (["m1"], "campaign-7/1")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"sandbox": {"content": None}},
        {"sandbox": ["no object"]},
        {"sandbox": {"contentType": 1, "settings": "no object"}},
    ],
)
def test_request_falls_back_to_the_posts_text(content: dict[str, object]) -> None:
    request = request_for(replace(POST, platform_content=content))

    assert (request.content, request.content_type, request.settings) == ("Spring sale", None, {})


def test_deadline_check_raises_not_published() -> None:
    publish_request(deadline=FixedDeadline(0.001)).check_deadline()
    with pytest.raises(NotPublished) as caught:
        publish_request(deadline=FixedDeadline(0)).check_deadline()

    assert (caught.value.category, caught.value.code) == (ErrorCategory.TRANSIENT, "NOT_CALLED")
