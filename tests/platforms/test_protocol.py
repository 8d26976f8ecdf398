"""What an adapter is given of a post, and when it must not publish any more."""

from dataclasses import replace

import pytest

from app.domain.destinations import ErrorCategory
from app.domain.ids import AccountId
from app.platforms.protocol import NotPublished, make_posting
from tests.platforms.postings import ACCOUNT, DESTINATION, POST, WORKSPACE, Fixed, posting


def test_a_platform_is_given_its_own_text_and_settings() -> None:
    own = {"content": "Short.", "contentType": "reel", "settings": {"a": 1}}
    post = replace(POST, platform_content={"sandbox": own, "x": {"content": "Other."}})

    made = make_posting(WORKSPACE, post, DESTINATION, ACCOUNT, Fixed(60))

    assert made.content == "Short."
    assert made.settings == {"contentType": "reel", "settings": {"a": 1}}
    assert (made.attempt, made.account.id) == (1, AccountId(7))
    assert (made.media_ids, made.reference) == (["m1"], "campaign-7/1")


@pytest.mark.parametrize("own", [{}, {"sandbox": {"content": None}}, {"sandbox": ["no object"]}])
def test_without_a_text_of_its_own_it_is_given_the_posts(own: dict[str, object]) -> None:
    made = make_posting(
        WORKSPACE, replace(POST, platform_content=own), DESTINATION, ACCOUNT, Fixed(60)
    )

    assert (made.content, made.settings) == ("Spring sale", {})


def test_after_the_deadline_nothing_may_be_published() -> None:
    posting(deadline=Fixed(0.001)).require_time()
    with pytest.raises(NotPublished) as refused:
        posting(deadline=Fixed(0)).require_time()

    assert (refused.value.category, refused.value.code) == (ErrorCategory.TRANSIENT, "NOT_CALLED")
