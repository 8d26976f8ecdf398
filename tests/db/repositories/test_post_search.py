"""Search of posts: the posts whose text contains a text, whether an index finds them or not."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text, update

from app.db.core.database import Database
from app.db.core.paging import Direction, PageRequest
from app.db.core.statements import Statement
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Post
from app.db.repositories import post_search
from app.db.repositories.post_search import POST_SEARCH_KEY
from app.db.repositories.posts import PostCriteria, PostOrderField, count_posts, posts_page
from app.domain.ids import WorkspaceId
from app.domain.posts import search_text
from app.domain.validation.text import fold_for_search
from tests.db.core.test_database import only_on_postgresql
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.raw_statements import run_raw
from tests.recording_driver import record_statements

PIECES = [
    *("a", "B", "ab", "abc", "xyz", " ", "  ", "\n", "%", "_", "/", "\\", '"', '""', "'", "*", "-"),
    *(":", "(", ")", "^", "+", ".", "AND", "OR", "NOT", "NEAR", "ß", "ẞ", "É", "e\u0301", "İ", "ſ"),
    *("日本", "語", "\U0001f389", "\u200d", "\x1f", "\x7f", "\u0345"),
]
"""Operators of LIKE and FTS5, letters whose case folding is irregular, and text of one and several bytes."""

texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


async def search(
    database: Database, workspace: WorkspaceId, term: str, limit: int | None = None
) -> tuple[set[UUID], int]:
    """Return the ids of the posts found, and their total."""
    reader, criteria = database.reader(workspace), PostCriteria(search=term)
    request = PageRequest(size=100)
    page = await posts_page(reader, criteria, PostOrderField.CREATED_AT, Direction.DESC, request)
    return {row.id for row in page.rows}, await count_posts(reader, criteria, limit)


@pytest.fixture
async def contents(database: Database) -> tuple[WorkspaceId, dict[UUID, str]]:
    """A workspace with posts of random contents, of which one has a text for a platform."""
    workspace, random = await add_workspace(database), Random(5)
    stored: dict[UUID, str] = {}
    for _ in range(60):
        content = "".join(random.choices(PIECES, k=random.randrange(1, 12)))
        stored[(await add_post(database, workspace, content=content)).id] = content
    return workspace, stored


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(term=texts, size=st.integers(1, 4), start=st.integers(0, 40), number=st.integers(0, 59))
async def test_search_finds_exactly_the_posts_that_contain_the_text(
    database: Database,
    contents: tuple[WorkspaceId, dict[UUID, str]],
    term: str,
    size: int,
    start: int,
    number: int,
) -> None:
    workspace, stored = contents
    part = [*stored.values()][number][start : start + size]
    for searched in (term, part or term):
        expected = {
            id
            for id, content in stored.items()
            if fold_for_search(searched) in search_text(content, {})
        }

        assert await search(database, workspace, searched) == (expected, len(expected))


async def test_search_finds_only_posts_of_its_workspace(database: Database) -> None:
    workspace, other = await add_workspace(database), await add_workspace(database)
    own = await add_post(database, workspace, content="Spring sale")
    await add_post(database, other, content="Spring sale")

    assert await search(database, workspace, "spring") == ({own.id}, 1)
    assert await search(database, workspace, "s") == ({own.id}, 1)


async def test_changed_and_deleted_posts_are_found_by_their_present_text(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    changed = await add_post(database, workspace, content="Spring sale")
    deleted = await add_post(database, workspace, content="Spring sale")
    removed = await add_post(database, workspace, content="Spring sale")
    kept = await add_post(database, workspace, content="Spring sale")

    async def work(session: AllWorkspacesWriteSession) -> None:
        await run_raw(
            session, update(Post).where(Post.id == changed.id).values(search_text="winter sale")
        )
        await run_raw(session, update(Post).where(Post.id == deleted.id).values(deleted_at=NOW))
        await run_raw(session, delete(Post).where(Post.id == removed.id))

    await database.write_all_workspaces(work)

    assert await search(database, workspace, "spring") == ({kept.id}, 1)
    assert await search(database, workspace, "winter") == ({changed.id}, 1)
    assert await search(database, workspace, "sale") == ({changed.id, kept.id}, 2)
    if database.is_sqlite:
        assert await stored_numbers(database) == 3


async def stored_numbers(database: Database) -> int:
    async with database.read_connection() as connection:
        return int(await connection.scalar(select(func.count()).select_from(POST_SEARCH_KEY)) or 0)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_sqlite_finds_posts_after_a_vacuum(database: Database) -> None:
    workspace = await add_workspace(database)
    removed = [await add_post(database, workspace, content="Old sale") for _ in range(3)]
    kept = await add_post(database, workspace, content="Spring sale")
    await database.write_all_workspaces(
        lambda session: run_raw(
            session, delete(Post).where(Post.id.in_([post.id for post in removed]))
        )
    )
    with closing(sqlite3.connect(str(database.url.database))) as connection:
        connection.execute("VACUUM")
    later = await add_post(database, workspace, content="Late sale")

    assert await search(database, workspace, "spring") == ({kept.id}, 1)
    assert await search(database, workspace, "sale") == ({kept.id, later.id}, 2)
    assert await search(database, workspace, "old sale") == (set(), 0)


async def test_search_with_other_filters(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    own = await add_post(database, workspace, {account: queued()}, content="Spring sale")
    await add_post(database, workspace, content="Spring sale")
    criteria = PostCriteria(search="Spring", account_id=[account])

    assert await count_posts(database.reader(workspace), criteria) == 1
    page = await posts_page(
        database.reader(workspace),
        criteria,
        PostOrderField.CREATED_AT,
        Direction.DESC,
        PageRequest(size=5),
    )
    assert [row.id for row in page.rows] == [own.id]


async def add_hourly_posts(
    database: Database, workspace: WorkspaceId, number: int
) -> Sequence[UUID]:
    """Add posts with the same text, from the oldest to the newest."""
    return [
        (await add_post(database, workspace, created_at=NOW + timedelta(hours=hour))).id
        for hour in range(number)
    ]


async def test_text_of_two_characters_is_searched_in_the_newest_posts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_search, "SHORT_SEARCH_POSTS", 3)
    workspace = await add_workspace(database)
    ids = await add_hourly_posts(database, workspace, 5)

    assert await search(database, workspace, "sp") == (set(ids[2:]), 3)
    assert await search(database, workspace, "spr") == (set(ids), 5)


async def test_newest_posts_are_all_if_there_are_fewer(database: Database) -> None:
    workspace = await add_workspace(database)
    ids = await add_hourly_posts(database, workspace, 2)

    assert await search(database, workspace, "sp") == (set(ids), 2)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("number", "is_sorted"), [(2, True), (3, False)])
async def test_page_of_a_frequent_text_is_read_in_the_order_of_the_list(
    database: Database, monkeypatch: pytest.MonkeyPatch, number: int, is_sorted: bool
) -> None:
    monkeypatch.setattr(post_search, "MAX_CANDIDATE_POSTS", 2)
    workspace = await add_workspace(database)
    ids = await add_hourly_posts(database, workspace, number)

    with record_statements(database) as statements:
        found = await search(database, workspace, "spring")

    assert found == (set(ids), number)
    assert ["json_each" in each.text for each in statements] == [False, is_sorted, False]


async def test_total_is_counted_up_to_a_limit(database: Database) -> None:
    workspace = await add_workspace(database)
    ids = await add_hourly_posts(database, workspace, 3)

    for limit, total in ((1, 1), (3, 3), (4, 3), (None, 3)):
        assert await search(database, workspace, "spring", limit) == (set(ids), total)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_numbers_in_the_index_are_read_for_one_workspace(database: Database) -> None:
    workspace, other = await add_workspace(database), await add_workspace(database)
    own = await add_post(database, workspace)
    await add_post(database, other)

    rows = await database.reader(workspace).rows(Statement(select(POST_SEARCH_KEY.c.post_id)))
    assert [row.post_id for row in rows] == [own.id]


@only_on_postgresql
async def test_postgresql_has_the_index_if_it_has_the_extension(database: Database) -> None:
    async with database.read_connection() as connection:
        is_available = await connection.scalar(
            text("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'")
        )
        is_created = await connection.scalar(
            text("SELECT count(*) FROM pg_indexes WHERE indexname = 'ix_post_search'")
        )

    assert is_created == is_available
