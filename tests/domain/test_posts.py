"""A post's status and what else follows from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import DestinationStatus
from app.domain.ids import DestinationId
from app.domain.posts import PostStatus, post_published_at, post_status, search_text
from app.domain.validation.text import fold_for_search
from tests.domain.destination_states import (
    ALL_STATES,
    LATER,
    NEVER_ATTEMPTED,
    RETRY_SCHEDULED,
    make_post,
)
from tests.factories import NOW, published, queued

QUEUED = DestinationStatus.QUEUED
PUBLISHING = DestinationStatus.PUBLISHING
PUBLISHED = DestinationStatus.PUBLISHED
FAILED = DestinationStatus.FAILED
NOON = datetime(2026, 4, 15, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    status: DestinationStatus
    attempts: int = 0
    published_at: datetime | None = None


ALL_ROWS = [Row(status, attempts) for status in DestinationStatus for attempts in (0, 1, 5)]


def all_posts() -> Iterator[tuple[bool, bool, tuple[Row, ...]]]:
    for length in range(4):
        yield from product((False, True), (False, True), product(ALL_ROWS, repeat=length))


def expected_status(is_draft: bool, submitted_now: bool, rows: Sequence[Row]) -> str:
    """The four rules, one after the other, each by counting."""
    count = {status: sum(row.status == status for row in rows) for status in DestinationStatus}
    if is_draft or len(rows) == 0:
        return "draft"
    if count[PUBLISHED] == len(rows):
        return "published"
    if count[FAILED] == len(rows):
        return "failed"
    if count[PUBLISHED] + count[FAILED] == len(rows):
        return "partially_failed"
    started = sum(row.attempts for row in rows) > 0
    if count[QUEUED] < len(rows) or started or submitted_now:
        return "publishing"
    return "scheduled"


def test_every_post_of_up_to_three_destinations_has_the_status_of_the_rules() -> None:
    posts = list(all_posts())
    assert len(posts) == 4 * (1 + 12 + 12**2 + 12**3)
    for is_draft, submitted_now, rows in posts:
        status = post_status(is_draft=is_draft, submitted_now=submitted_now, destinations=rows)
        assert status.value == expected_status(is_draft, submitted_now, rows), rows


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], PostStatus.DRAFT),
        ([Row(QUEUED)], PostStatus.SCHEDULED),
        ([Row(QUEUED), Row(QUEUED)], PostStatus.SCHEDULED),
        ([Row(QUEUED, attempts=1)], PostStatus.PUBLISHING),
        ([Row(QUEUED), Row(QUEUED, attempts=1)], PostStatus.PUBLISHING),
        ([Row(PUBLISHING)], PostStatus.PUBLISHING),
        ([Row(QUEUED), Row(PUBLISHED)], PostStatus.PUBLISHING),
        ([Row(QUEUED), Row(FAILED)], PostStatus.PUBLISHING),
        ([Row(PUBLISHING), Row(FAILED), Row(PUBLISHED)], PostStatus.PUBLISHING),
        ([Row(PUBLISHED)], PostStatus.PUBLISHED),
        ([Row(PUBLISHED), Row(PUBLISHED)], PostStatus.PUBLISHED),
        ([Row(FAILED)], PostStatus.FAILED),
        ([Row(PUBLISHED), Row(PUBLISHED), Row(FAILED)], PostStatus.PARTIALLY_FAILED),
    ],
)
def test_the_status_of_a_scheduled_post(rows: list[Row], expected: PostStatus) -> None:
    assert post_status(is_draft=False, submitted_now=False, destinations=rows) is expected
    assert post_status(is_draft=True, submitted_now=False, destinations=rows) is PostStatus.DRAFT


def test_a_post_to_go_out_at_once_is_publishing_while_it_waits() -> None:
    waiting = post_status(is_draft=False, submitted_now=True, destinations=[Row(QUEUED)])
    assert waiting is PostStatus.PUBLISHING


def test_a_post_without_destinations_is_a_draft_whatever_else_holds() -> None:
    for is_draft, submitted_now in product((False, True), repeat=2):
        status = post_status(is_draft=is_draft, submitted_now=submitted_now, destinations=iter(()))
        assert status is PostStatus.DRAFT


@given(st.lists(st.sampled_from(ALL_ROWS)), st.booleans(), st.booleans())
def test_the_order_of_the_destinations_does_not_matter(
    rows: list[Row], is_draft: bool, submitted_now: bool
) -> None:
    turned = rows[::-1]
    assert post_status(
        is_draft=is_draft, submitted_now=submitted_now, destinations=rows
    ) is post_status(
        is_draft=is_draft, submitted_now=submitted_now, destinations=(row for row in turned)
    )


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], None),
        ([None], None),
        ([None, None], None),
        ([NOON], NOON),
        ([None, NOON, None], NOON),
        ([NOON, NOON + timedelta(milliseconds=1)], NOON + timedelta(milliseconds=1)),
        ([NOON, NOON - timedelta(days=1), None], NOON),
    ],
)
def test_a_post_is_published_when_it_last_appeared_somewhere(
    times: list[datetime | None], expected: datetime | None
) -> None:
    rows = [Row(QUEUED if time is None else PUBLISHED, published_at=time) for time in times]
    assert post_published_at(rows) == expected
    assert post_published_at(iter(rows)) == expected


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
def test_a_search_looks_into_the_content_and_each_platforms_own(
    content: str, platform_content: dict[str, object], expected: str
) -> None:
    assert search_text(content, platform_content) == expected


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_the_search_text_does_not_depend_on_the_order_of_the_platforms(
    content: str, texts: dict[str, str]
) -> None:
    platform_content: dict[str, object] = {name: {"content": text} for name, text in texts.items()}
    turned = dict(reversed(platform_content.items()))
    assert search_text(content, platform_content) == search_text(content, turned)
    assert search_text(content, platform_content).startswith(fold_for_search(content))


@pytest.mark.parametrize("name", ALL_STATES)
def test_a_destination_in_another_state_is_changed_now_and_so_is_its_post(name: str) -> None:
    before = make_post([queued(), ALL_STATES["queued"]], scheduled_for=LATER)
    first, second = before.destinations

    after = before.with_state(second.id, ALL_STATES[name], NOW)

    if name == "queued":
        assert after is before
    else:
        changed = replace(second, state=ALL_STATES[name], updated_at=NOW)
        assert after == replace(before, destinations=(first, changed), updated_at=NOW)
        assert after.version == before.version
    assert after.destination(second.id).state == ALL_STATES[name]


@pytest.mark.parametrize("name", [*NEVER_ATTEMPTED, *RETRY_SCHEDULED])
def test_nobody_may_claim_what_comes_back_to_a_deleted_post(name: str) -> None:
    before = make_post([published()], deleted_at=NOW)
    (only,) = before.destinations
    after = before.with_state(only.id, ALL_STATES[name], NOW)
    assert after.destination(only.id).state == replace(ALL_STATES[name], claimable_at=None)


def test_a_destination_of_another_post_is_no_destination() -> None:
    with pytest.raises(KeyError):
        make_post([queued()]).destination(DestinationId(UUID(int=77)))
