"""What an adapter is given of a post, and when it must not publish any more."""

from dataclasses import replace

import pytest

from app.domain.destinations import ErrorCategory
from app.domain.ids import AccountId
from app.platforms.protocol import NotPublished, make_publish_request
from tests.platforms.publish_requests import (
    ACCOUNT,
    DESTINATION,
    POST,
    WORKSPACE,
    FixedDeadline,
    publish_request,
)


def test_a_platform_is_given_its_own_text_and_settings() -> None:
    own = {"content": "Short.", "contentType": "reel", "settings": {"a": 1}}
    post = replace(POST, platform_content={"sandbox": own, "x": {"content": "Other."}})

    made = make_publish_request(WORKSPACE, post, DESTINATION, ACCOUNT, FixedDeadline(60))

    assert made.content == "Short."
    assert made.settings == {"contentType": "reel", "settings": {"a": 1}}
    assert (made.attempt, made.account.id) == (1, AccountId(7))
    assert (made.media_ids, made.reference) == (["m1"], "campaign-7/1")


@pytest.mark.parametrize("own", [{}, {"sandbox": {"content": None}}, {"sandbox": ["no object"]}])
def test_without_a_text_of_its_own_it_is_given_the_posts(own: dict[str, object]) -> None:
    made = make_publish_request(
        WORKSPACE, replace(POST, platform_content=own), DESTINATION, ACCOUNT, FixedDeadline(60)
    )

    assert (made.content, made.settings) == ("Spring sale", {})


def test_after_the_deadline_nothing_may_be_published() -> None:
    publish_request(deadline=FixedDeadline(0.001)).check_deadline()
    with pytest.raises(NotPublished) as refused:
        publish_request(deadline=FixedDeadline(0)).check_deadline()

    assert (refused.value.category, refused.value.code) == (ErrorCategory.TRANSIENT, "NOT_CALLED")
