"""Connections: total order, pages in both directions and by offset, cursors, counts."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Destination, Post
from app.domain.destinations import DestinationState
from app.domain.posts import PostStatus
from tests.clients import Client, Tenant
from tests.factories import (
    NOW,
    add_account,
    add_post,
    draft,
    published,
    queued,
    waiting_for_retry,
)
from tests.graphql.tenant_objects import (
    BAD_CURSOR_MESSAGE,
    add_post_in_states,
    add_tenant,
    client_with_settings,
)
from tests.raw_statements import insert_raw
from tests.recording_driver import record_statements

MINUTE = timedelta(minutes=1)

TIMES = (NOW, None, NOW - MINUTE, NOW + MINUTE, None, NOW - MINUTE, NOW + MINUTE, NOW - MINUTE)
"""Times of eight rows: with ties and nulls, not in the order of the ids."""

SIZES = (1, 3, 8, 100)

POST_ORDERS = ("CREATED_AT", "UPDATED_AT", "SCHEDULED_FOR", "PUBLISHED_AT")
ORDERS = [
    (root, field, direction)
    for root, fields in {
        "posts": POST_ORDERS,
        "destinations": (*POST_ORDERS, "NEXT_RETRY_AT"),
    }.items()
    for field in fields
    for direction in ("ASC", "DESC")
]

KEYS = {"posts": "postId", "destinations": "destinationId"}
STATES: dict[str, Callable[[datetime], DestinationState]] = {
    "SCHEDULED_FOR": queued,  # a destination has the time of its post
    "PUBLISHED_AT": published,
    "NEXT_RETRY_AT": waiting_for_retry,
}
POST_COLUMNS = ("CREATED_AT", "UPDATED_AT", "SCHEDULED_FOR")


async def add_timed_rows(acme: Tenant, field: str) -> dict[UUID, datetime | None]:
    """Add eight posts, each with a destination of the same id; return the times by id."""
    account = await add_account(acme.database, acme.workspace)
    rows: dict[UUID, datetime | None] = {}
    for number, time in enumerate(TIMES):
        key = UUID(int=5 * number % len(TIMES) + 1)
        at = NOW if time is None and field in ("CREATED_AT", "UPDATED_AT") else time
        state = STATES[field](at) if field in STATES and at is not None else draft()
        columns: dict[str, Any] = {field.lower(): at} if field in POST_COLUMNS else {}
        await add_post(
            acme.database,
            acme.workspace,
            {account: state},
            id=key,
            destination_ids=[key],
            **columns,
        )
        rows[key] = at
    return rows


def expected_order(rows: dict[UUID, datetime | None], direction: str) -> list[str]:
    """Order by time and id; rows without a time come last in both directions."""
    backwards = direction == "DESC"
    timed = sorted(((at, key) for key, at in rows.items() if at is not None), reverse=backwards)
    untimed = sorted((key for key, at in rows.items() if at is None), reverse=backwards)
    return [str(key) for key in [*(key for _, key in timed), *untimed]]


async def query_page(client: Client, root: str, **arguments: Any) -> dict[str, Any]:
    """Query a page and check that nodes, edges and page info agree."""
    order = "PostOrder" if root == "posts" else "DestinationOrder"
    offset = ("$offset: Int, ", "offset: $offset, ") if root == "posts" else ("", "")
    data = await client.query(
        f"query ({offset[0]}$orderBy: {order}, $first: Int, $after: String, $last: Int,"
        f" $before: String) {{ {root}({offset[1]}orderBy: $orderBy, first: $first, after: $after,"
        f" last: $last, before: $before) {{ nodes {{ {KEYS[root]} }}"
        f" edges {{ cursor node {{ {KEYS[root]} }} }}"
        " pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }",
        **arguments,
    )
    page: dict[str, Any] = data[root]
    assert page["nodes"] == [edge["node"] for edge in page["edges"]]
    cursors = [edge["cursor"] for edge in page["edges"]]
    assert page["pageInfo"]["startCursor"] == (cursors[0] if cursors else None)
    assert page["pageInfo"]["endCursor"] == (cursors[-1] if cursors else None)
    assert len(set(cursors)) == len(cursors)
    return page


def node_keys(root: str, page: dict[str, Any]) -> list[str]:
    return [node[KEYS[root]] for node in page["nodes"]]


def page_ends(page: dict[str, Any]) -> tuple[bool, bool]:
    """Return hasPreviousPage and hasNextPage."""
    return page["pageInfo"]["hasPreviousPage"], page["pageInfo"]["hasNextPage"]


@pytest.mark.parametrize(("root", "field", "direction"), ORDERS)
async def test_pages_of_any_size_cover_list_in_both_directions(
    acme: Tenant, root: str, field: str, direction: str
) -> None:
    order = {"field": field, "direction": direction}
    expected = expected_order(await add_timed_rows(acme, field), direction)
    assert node_keys(root, await query_page(acme.client, root, orderBy=order)) == expected

    for size in SIZES:
        starts = range(0, len(expected), size)
        after = before = None
        for start in starts:
            page = await query_page(acme.client, root, orderBy=order, first=size, after=after)
            assert node_keys(root, page) == expected[start : start + size]
            assert page_ends(page) == (start > 0, start + size < len(expected))
            after = page["pageInfo"]["endCursor"]
        for start in starts:
            page = await query_page(acme.client, root, orderBy=order, last=size, before=before)
            stop = len(expected) - start
            assert node_keys(root, page) == expected[max(stop - size, 0) : stop]
            assert page_ends(page) == (stop - size > 0, start > 0)
            before = page["pageInfo"]["startCursor"]


@pytest.mark.parametrize("root", KEYS)
async def test_after_and_before_select_entries_between_cursors(acme: Tenant, root: str) -> None:
    order = {"field": "SCHEDULED_FOR", "direction": "ASC"}
    expected = expected_order(await add_timed_rows(acme, "SCHEDULED_FOR"), "ASC")
    everything = await query_page(acme.client, root, orderBy=order)
    cursors = [edge["cursor"] for edge in everything["edges"]]
    for size, first, last, ends in (
        ({}, 2, 6, (True, False)),
        ({"first": 2}, 2, 4, (True, True)),
        ({"last": 2}, 4, 6, (True, True)),
        ({"last": 4}, 2, 6, (False, True)),
    ):
        page = await query_page(
            acme.client, root, orderBy=order, after=cursors[1], before=cursors[6], **size
        )
        assert node_keys(root, page) == expected[first:last]
        assert page_ends(page) == ends, size


async def test_posts_support_offset_pagination(acme: Tenant) -> None:
    expected = expected_order(await add_timed_rows(acme, "CREATED_AT"), "DESC")
    for offset in (0, 1, 7, 8, 10_000):
        page = await query_page(acme.client, "posts", first=3, offset=offset)
        assert node_keys("posts", page) == expected[offset : offset + 3]
        assert page_ends(page) == (offset > 0, offset + 3 < len(expected))
    page = await query_page(acme.client, "posts", offset=5)
    data = await acme.client.query(
        "query ($after: String) { posts(after: $after, filter: {accountId: [1]}) { nodes { postId } } }",
        after=page["edges"][0]["cursor"],
    )
    assert node_keys("posts", data["posts"]) == expected[6:]


@pytest.mark.parametrize("root", KEYS)
async def test_default_page_is_20_newest_entries(acme: Tenant, root: str) -> None:
    newest_first = []
    for age in range(22):
        created_at = NOW - age * MINUTE
        post = await add_post_in_states(acme, queued(), created_at=created_at)
        newest_first.append(str(post.id if root == "posts" else post.destinations[0]))
    page = await query_page(acme.client, root)
    assert node_keys(root, page) == newest_first[:20]
    assert page_ends(page) == (False, True)
    page = await query_page(acme.client, root, orderBy={}, first=None)
    assert node_keys(root, page) == newest_first[:20]
    page = await query_page(acme.client, root, before=page["pageInfo"]["endCursor"])
    assert node_keys(root, page) == newest_first[:19]
    page = await query_page(acme.client, root, orderBy={"direction": "ASC"}, first=1)
    assert node_keys(root, page) == newest_first[-1:]


@pytest.mark.parametrize("root", KEYS)
async def test_empty_list_returns_empty_page(acme: Tenant, root: str) -> None:
    for sizes in ({}, {"first": 1}, {"last": 1}):
        page = await query_page(acme.client, root, **sizes)
        assert page == {
            "nodes": [],
            "edges": [],
            "pageInfo": {
                "hasNextPage": False,
                "hasPreviousPage": False,
                "startCursor": None,
                "endCursor": None,
            },
        }


PAGE_SIZE_ERRORS = [
    ("first: 0", "first", "first must be from 1 to 100; it is 0."),
    ("last: 2147483647", "last", "last must be from 1 to 100; it is 2,147,483,647."),
    ("first: 1, last: 1", "last", "Pass either first or last, not both."),
]
OFFSET_ERRORS = [
    (arguments, "offset", f"offset {problem}")
    for arguments, problem in {
        "offset: -1": "must be from 0 to 10,000; it is -1.",
        "offset: 10001": "must be from 0 to 10,000; it is 10,001.",
        'offset: 0, after: "x"': "cannot be combined with after, before or last.",
        'offset: 0, before: "x"': "cannot be combined with after, before or last.",
        "offset: 1, last: 1": "cannot be combined with after, before or last.",
    }.items()
]


@pytest.mark.parametrize(
    ("root", "errors"),
    [("posts", PAGE_SIZE_ERRORS + OFFSET_ERRORS), ("destinations", PAGE_SIZE_ERRORS)],
)
async def test_invalid_page_size_or_offset_is_rejected(
    acme: Tenant, root: str, errors: list[tuple[str, str, str]]
) -> None:
    for arguments, field, message in errors:
        error = await acme.client.expect_error(f"{{ {root}({arguments}) {{ nodes {{ id }} }} }}")
        assert error == ("VALIDATION_ERROR", field, message)


def bad_cursor_error(argument: str) -> tuple[str, str, str]:
    return "BAD_CURSOR", argument, BAD_CURSOR_MESSAGE.replace("after", argument)


async def is_cursor_rejected(client: Client, root: str, cursor: str, order: str = "") -> bool:
    """Check that the cursor is rejected as `after` and as `before`, each by its name."""
    for argument in ("after", "before"):
        error = await client.expect_error(
            f"query ($cursor: String) {{ {root}({order} {argument}: $cursor) {{ nodes {{ id }} }} }}",
            cursor=cursor,
        )
        assert error == bad_cursor_error(argument)
    return True


@pytest.mark.parametrize(("root", "other"), [("posts", "destinations"), ("destinations", "posts")])
async def test_cursor_is_valid_only_in_its_list_order_and_workspace(
    acme: Tenant, root: str, other: str
) -> None:
    await add_timed_rows(acme, "CREATED_AT")
    cursor = (await query_page(acme.client, root, first=1))["pageInfo"]["endCursor"]
    for text in ("", "é", "a" * 1000, cursor[::-1], cursor + "=", f" {cursor}"):
        assert await is_cursor_rejected(acme.client, root, text)
    assert await is_cursor_rejected(acme.client, other, cursor)
    assert await is_cursor_rejected(acme.client, root, cursor, "orderBy: {field: UPDATED_AT}")
    assert await is_cursor_rejected(acme.client, root, cursor, "orderBy: {direction: ASC}")
    assert await is_cursor_rejected((await add_tenant(acme)).client, root, cursor)


async def test_cursor_survives_restart_but_not_change_of_secret_key(acme: Tenant) -> None:
    await add_post(acme.database, acme.workspace)
    document = "query ($cursor: String) { posts(after: $cursor) { edges { cursor } } }"
    cursor = (await acme.client.query(document))["posts"]["edges"][0]["cursor"]
    async with client_with_settings(acme) as client:
        assert await client.query(document, cursor=cursor) == {"posts": {"edges": []}}
    async with client_with_settings(acme, SECRET_KEY="sixteen letters!") as client:
        assert await client.expect_error(document, cursor=cursor) == bad_cursor_error("after")


@pytest.mark.parametrize("root", KEYS)
async def test_total_is_counted_only_if_selected(acme: Tenant, root: str) -> None:
    await add_timed_rows(acme, "CREATED_AT")
    with record_statements(acme.database) as statements:
        await acme.client.query(
            f"{{ {root}(first: 2) {{ nodes {{ id }} pageInfo {{ endCursor }} }} }}"
        )
    assert len(statements) == 1
    with record_statements(acme.database) as statements:
        data = await acme.client.query(
            f"query ($no: Boolean!) {{ {root}(first: 2) {{ totalCount @include(if: $no) }} }}",
            no=False,
        )
    assert (data, len(statements)) == ({root: {}}, 1)
    with record_statements(acme.database) as statements:
        data = await acme.client.query(
            f"{{ {root}(first: 2) {{ totalCount ...T nodes {{ __typename }} }} }}"
            f" fragment T on {root.capitalize()[:-1]}Connection {{ total: totalCount }}"
        )
    assert (data[root]["totalCount"], data[root]["total"]) == (8, 8)
    assert (len(data[root]["nodes"]), len(statements)) == (2, 2)


@pytest.mark.parametrize("root", KEYS)
async def test_capped_total_is_counted_once_if_a_field_of_it_is_selected(
    acme: Tenant, root: str
) -> None:
    await add_timed_rows(acme, "CREATED_AT")
    for fields, expected in (
        ("totalCountCapped", {"totalCountCapped": 8}),
        ("totalCountIsCapped", {"totalCountIsCapped": False}),
        (
            "totalCountCapped totalCountIsCapped",
            {"totalCountCapped": 8, "totalCountIsCapped": False},
        ),
    ):
        with record_statements(acme.database) as statements:
            data = await acme.client.query(f"{{ {root}(first: 2) {{ {fields} }} }}")

        assert data == {root: expected}
        assert len(statements) == 2


@pytest.mark.parametrize(("number", "is_capped"), [(10_000, False), (10_002, True)])
async def test_capped_total_is_10_001_with_more_entries(
    acme: Tenant, number: int, is_capped: bool
) -> None:
    await add_drafts(acme, number)
    fields = "totalCount totalCountCapped totalCountIsCapped"
    data = await acme.client.query(
        f"{{ posts {{ {fields} }} destinations {{ {fields} }} }}",
    )

    total = {
        "totalCount": number,
        "totalCountCapped": min(number, 10_001),
        "totalCountIsCapped": is_capped,
    }
    assert data == {"posts": total, "destinations": total}


async def add_drafts(acme: Tenant, number: int) -> None:
    """Add posts with one destination each."""
    account = await add_account(acme.database, acme.workspace)
    times = {"workspace_id": acme.workspace, "created_at": NOW, "updated_at": NOW}
    post = {"is_draft": True, "submitted_now": False, "status": PostStatus.DRAFT, "version": 1}
    empty = {"content": "", "search_text": "", "media_ids": [], "media": [], "platform_content": {}}
    destination = {"account_id": account, "platform": "x", "position": 0, **asdict(draft())}

    async def add(session: AllWorkspacesWriteSession, ids: list[UUID]) -> None:
        await insert_raw(session, Post, [{"id": id, **times, **post, **empty} for id in ids])
        await insert_raw(
            session, Destination, [{"id": id, "post_id": id, **times, **destination} for id in ids]
        )

    for start in range(0, number, 1000):  # one transaction may take longer than its timeout
        ids = [UUID(int=key) for key in range(start, min(start + 1000, number))]
        await acme.database.write_all_workspaces(partial(add, ids=ids))
    if (
        not acme.database.is_sqlite
    ):  # whose statistics may be those of the empty tables of another test
        async with acme.database.write_engine.begin() as connection:
            await connection.exec_driver_sql("ANALYZE post, destination")
