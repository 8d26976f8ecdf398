"""Status, publication time, search text and state changes of posts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import DestinationState, DestinationStatus
from app.domain.ids import DestinationId
from app.domain.posts import post_published_at, post_status, search_text
from app.domain.transitions import cancelled
from app.domain.validation.text import fold_for_search
from tests.domain.destination_states import ALL_STATES, LATER, QUEUED, make_post
from tests.factories import NOW, claimed, draft, failed, published, queued

NOON = datetime(2026, 4, 15, 12, tzinfo=UTC)


STATES = [
    replace(state, attempts=attempts, round_attempts=0)
    for state in (queued(), claimed(), published(), failed())
    for attempts in (0, 1)
]


def expected_status(
    is_draft: bool, submitted_now: bool, destinations: Sequence[DestinationState]
) -> str:
    """The four rules in their order, by counting."""
    total = len(destinations)
    count = {
        status: sum(destination.status is status for destination in destinations)
        for status in DestinationStatus
    }
    published, failed = count[DestinationStatus.PUBLISHED], count[DestinationStatus.FAILED]
    if is_draft or total == 0:
        return "draft"
    if published == total:
        return "published"
    if failed == total:
        return "failed"
    if published + failed == total:
        return "partially_failed"
    was_attempted = any(destination.attempts for destination in destinations)
    if count[DestinationStatus.QUEUED] < total or was_attempted or submitted_now:
        return "publishing"
    return "scheduled"


@pytest.mark.parametrize("count", range(4))
def test_status_of_every_post_with_up_to_three_destinations(count: int) -> None:
    for is_draft, submitted_now, destinations in product(
        (False, True), (False, True), product(STATES, repeat=count)
    ):
        status = post_status(
            is_draft=is_draft, submitted_now=submitted_now, destinations=iter(destinations)
        )
        assert status == expected_status(is_draft, submitted_now, destinations), destinations


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], None),
        ([None, None], None),
        ([None, NOON, None], NOON),
        ([NOON, NOON + timedelta(milliseconds=1)], NOON + timedelta(milliseconds=1)),
        ([NOON, NOON - timedelta(days=1), None], NOON),
    ],
)
def test_publication_time_is_the_latest_of_all_destinations(
    times: list[datetime | None], expected: datetime | None
) -> None:
    states = (
        queued() if time is None else replace(published(), published_at=time) for time in times
    )
    assert post_published_at(states) == expected


@pytest.mark.parametrize(
    ("content", "platform_content", "expected"),
    [
        ("", {}, ""),
        ("Grüße", {}, "grüße".casefold()),
        ("One", {"x": {"content": "Three"}, "linkedin": {"content": "Two"}}, "one\x1ftwo\x1fthree"),
        ("One", {"x": {"content": "Two", "settings": {"content": "hidden"}}}, "one\x1ftwo"),
        ("One", {"x": {"settings": {}}, "y": None, "z": "text", "w": ["content"]}, "one"),
        ("One", {"x": {"content": None}, "y": {"content": 7}, "z": {"content": {}}}, "one"),
    ],
)
def test_search_text_has_content_and_platform_content(
    content: str, platform_content: dict[str, object], expected: str
) -> None:
    assert search_text(content, platform_content) == expected


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_search_text_does_not_depend_on_order_of_platforms(
    content: str, texts: dict[str, str]
) -> None:
    platform_content: dict[str, object] = {name: {"content": text} for name, text in texts.items()}
    in_reverse = dict(reversed(platform_content.items()))
    assert search_text(content, platform_content) == search_text(content, in_reverse)
    assert search_text(content, platform_content).startswith(fold_for_search(content))


def test_platform_content_overrides_content_unless_empty() -> None:
    platform_content = {"x": {"content": "Own"}, "y": {"content": ""}, "z": {"settings": {}}}
    post = make_post([], content="Common", platform_content=platform_content)
    texts = [post.content_for_platform(platform) for platform in ("x", "y", "z", "linkedin")]
    assert texts == ["Own", "Common", "Common", "Common"]


@pytest.mark.parametrize("name", ALL_STATES)
def test_changed_destination_state_updates_destination_and_post(name: str) -> None:
    before = make_post([queued(), ALL_STATES["queued"]], scheduled_for=LATER)
    first, second = before.destinations

    after = before.with_state(second.id, ALL_STATES[name], NOW)

    if name == "queued":
        assert after is before
    else:
        changed = replace(second, state=ALL_STATES[name], updated_at=NOW)
        assert after == replace(before, destinations=(first, changed), updated_at=NOW)
    assert after.destination(second.id).state == ALL_STATES[name]


@pytest.mark.parametrize("name", QUEUED)
def test_destination_of_deleted_post_is_never_claimable(name: str) -> None:
    before = make_post([published()], deleted_at=NOW)
    destination_id = before.destinations[0].id
    after = before.with_state(destination_id, ALL_STATES[name], NOW)
    assert after.destination(destination_id).state == replace(ALL_STATES[name], claimable_at=None)


@pytest.mark.parametrize("scheduled_for", [LATER, None])
def test_published_draft_is_submitted_and_its_other_destinations_are_cancelled(
    scheduled_for: datetime | None,
) -> None:
    before = make_post([draft(), draft()], scheduled_for=scheduled_for)
    first, second = before.destinations
    due = queued(scheduled_for or NOW)
    assert before.resubmitted_for(second.id, NOW) == replace(
        before,
        is_draft=False,
        submitted_now=scheduled_for is None,
        updated_at=NOW,
        destinations=(
            replace(first, state=cancelled(due, NOW), updated_at=NOW),
            replace(second, state=due, updated_at=NOW),
        ),
    )


def test_destination_of_another_post_is_not_found() -> None:
    with pytest.raises(KeyError):
        make_post([queued()]).destination(DestinationId(UUID(int=77)))
