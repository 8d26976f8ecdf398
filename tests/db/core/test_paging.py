"""Keyset pages compared with a list sorted in Python: windows, directions, ties and nulls."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.database import Database
from app.db.core.paging import Direction, Order, Page, PageRequest, read_page, slice_statement
from app.db.models import Post
from app.domain.ids import WorkspaceId
from app.domain.signing import KeysetPosition
from tests.factories import NOW, add_post, add_workspace
from tests.recording_driver import record_statements

TIMES = [None, *(NOW + timedelta(minutes=minute) for minute in range(4))]
ROWS = 23

both_directions = pytest.mark.parametrize("direction", list(Direction))
both_columns = pytest.mark.parametrize(
    "column", [Post.created_at, Post.scheduled_for], ids=["never_null", "sometimes_null"]
)


@dataclass(frozen=True)
class SortedPosts:
    """Posts with many equal and null times, beside those of another workspace."""

    database: Database
    workspace_id: WorkspaceId
    rows: list[tuple[UUID, datetime, datetime | None]]
    """Tuples of id, created_at and scheduled_for."""

    def expected_order(
        self, column: InstrumentedAttribute[Any], direction: Direction
    ) -> list[KeysetPosition]:
        """Return the whole list: nulls last in both directions, ties by id in the same direction."""
        timed = [
            (created_at if column is Post.created_at else scheduled_for, post_id)
            for post_id, created_at, scheduled_for in self.rows
        ]
        descending = direction is Direction.DESC
        with_time = sorted(
            ((time, post_id) for time, post_id in timed if time is not None), reverse=descending
        )
        without = sorted((post_id for time, post_id in timed if time is None), reverse=descending)
        return [
            *(KeysetPosition(time, str(post_id)) for time, post_id in with_time),
            *(KeysetPosition(None, str(post_id)) for post_id in without),
        ]

    async def page(
        self, column: InstrumentedAttribute[Any], direction: Direction, request: PageRequest
    ) -> tuple[list[KeysetPosition], Page]:
        order = Order(column, Post.id, direction)
        reader = self.database.reader(self.workspace_id)
        statement = select(Post.id, column.label("value"))
        page = await read_page(
            reader, partial(slice_statement, statement, order), {}, order, request
        )
        return [KeysetPosition(row.value, str(row.id)) for row in page.rows], page


@pytest.fixture
async def sorted_posts(database: Database) -> SortedPosts:
    generator = random.Random(20260415)
    workspace, other = await add_workspace(database), await add_workspace(database)
    rows = []
    for _ in range(ROWS):
        post_id = UUID(int=generator.getrandbits(128))
        created_at = generator.choice(TIMES[1:])
        scheduled_for = generator.choice(TIMES)
        assert created_at is not None
        await add_post(
            database, workspace, id=post_id, created_at=created_at, scheduled_for=scheduled_for
        )
        await add_post(database, other, created_at=created_at, scheduled_for=scheduled_for)
        rows.append((post_id, created_at, scheduled_for))
    return SortedPosts(database, workspace, rows)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    column=st.sampled_from([Post.created_at, Post.scheduled_for]),
    direction=st.sampled_from(Direction),
    size=st.integers(1, 8),
    from_end=st.booleans(),
    after=st.none() | st.integers(0, ROWS - 1),
    before=st.none() | st.integers(0, ROWS - 1),
)
async def test_page_between_any_positions_is_a_slice_of_the_list(
    sorted_posts: SortedPosts,
    column: InstrumentedAttribute[Any],
    direction: Direction,
    size: int,
    from_end: bool,
    after: int | None,
    before: int | None,
) -> None:
    whole = sorted_posts.expected_order(column, direction)
    window = whole[0 if after is None else after + 1 : before]
    request = PageRequest(
        size=size,
        from_end=from_end,
        after=None if after is None else whole[after],
        before=None if before is None else whole[before],
    )

    positions, page = await sorted_posts.page(column, direction, request)

    assert positions == (window[-size:] if from_end else window[:size])
    if from_end:
        assert page.has_previous_page == (len(window) > size)
    else:
        assert page.has_next_page == (len(window) > size)


@both_directions
@both_columns
async def test_offset_skips_rows_of_the_list(
    sorted_posts: SortedPosts, column: InstrumentedAttribute[Any], direction: Direction
) -> None:
    whole = sorted_posts.expected_order(column, direction)

    for offset in (0, 7, ROWS - 2, ROWS, ROWS + 5):
        request = PageRequest(size=4, offset=offset)
        positions, page = await sorted_posts.page(column, direction, request)

        assert positions == whole[offset : offset + 4]
        assert page.has_next_page == (len(whole) > offset + 4)
        assert page.has_previous_page == (offset > 0)


@both_directions
@both_columns
async def test_rows_added_between_pages_repeat_no_row(
    sorted_posts: SortedPosts, column: InstrumentedAttribute[Any], direction: Direction
) -> None:
    whole = sorted_posts.expected_order(column, direction)
    first, _ = await sorted_posts.page(column, direction, PageRequest(size=10))
    for time in TIMES:
        await add_post(
            sorted_posts.database,
            sorted_posts.workspace_id,
            created_at=time or NOW,
            scheduled_for=time,
        )

    rest, _ = await sorted_posts.page(column, direction, PageRequest(size=100, after=first[-1]))

    assert [position for position in first + rest if position in whole] == whole
    assert len(set(first + rest)) == len(first + rest)


async def test_rows_without_time_need_a_second_statement_only_if_the_page_has_room(
    sorted_posts: SortedPosts,
) -> None:
    whole = sorted_posts.expected_order(Post.scheduled_for, Direction.DESC)
    with_time = sum(position.value is not None for position in whole)
    assert 1 < with_time < ROWS - 1

    async def statements(size: int, *, from_end: bool = False) -> int:
        with record_statements(sorted_posts.database) as recorded:
            request = PageRequest(size=size, from_end=from_end)
            await sorted_posts.page(Post.scheduled_for, Direction.DESC, request)
        return len(recorded)

    assert await statements(with_time - 1) == 1
    assert await statements(with_time) == 2  # the second determines has_next_page
    assert await statements(ROWS - with_time - 1, from_end=True) == 1
    assert await statements(ROWS, from_end=True) == 2


async def test_empty_list_has_one_empty_page(database: Database) -> None:
    sorted_posts = SortedPosts(database, await add_workspace(database), [])

    for from_end in (False, True):
        request = PageRequest(size=5, from_end=from_end)
        _, page = await sorted_posts.page(Post.created_at, Direction.ASC, request)

        assert page == Page([], has_next_page=False, has_previous_page=False)
