"""`Destination.attemptConnection`: pages of the attempt log, their cursors, statements and limits."""

from typing import Any
from uuid import UUID

import pytest

from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Attempt
from app.domain.attempts import AttemptKind
from app.domain.destinations import Outcome
from app.domain.ids import DestinationId
from tests.clients import Client, Tenant
from tests.domain.attempt_histories import SECOND
from tests.factories import NOW, failed
from tests.graphql.tenant_objects import (
    BAD_CURSOR_MESSAGE,
    add_post_in_states,
    add_tenant,
    client_with_settings,
)
from tests.raw_statements import insert_raw
from tests.recording_driver import record_statements

LOG = """
query ($key: UUID!) {
  destinations(filter: {destinationId: [$key]}) { nodes { attemptLog { attemptId number } } }
}
"""
PAGE = """
query ($key: UUID!, $first: Int, $after: String) {
  destinations(first: 1, filter: {destinationId: [$key]}) {
    nodes {
      attemptConnection(first: $first, after: $after) {
        nodes { attemptId number }
        edges { cursor node { attemptId number } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }
  }
}
"""
LISTS = """
{
  destinations(first: 10, orderBy: {direction: ASC}) {
    nodes { two: attemptConnection(first: 2) { ...P } three: attemptConnection(first: 3) { ...P } }
  }
}
fragment P on AttemptConnection { nodes { number } pageInfo { hasNextPage } }
"""


async def add_destinations(tenant: Tenant, *attempt_counts: int) -> list[DestinationId]:
    """Add a post with a destination for each number of attempts."""
    post = await add_post_in_states(tenant, *(failed() for _ in attempt_counts))
    for destination_id, count in zip(post.destinations, attempt_counts, strict=True):
        await add_attempts(tenant, destination_id, count)
    return list(post.destinations)


async def add_attempts(tenant: Tenant, destination_id: DestinationId, count: int) -> None:
    """Add attempts, four at a time with the same start: three in descending order of id, and a late one."""
    rows: list[dict[str, Any]] = []
    for index in range(count):
        is_late = index % 4 == 3
        rows.append(
            {
                "workspace_id": tenant.workspace,
                "id": UUID(int=(destination_id.int & ~0xFFFF) + count - index),
                "destination_id": destination_id,
                "kind": AttemptKind.LATE if is_late else AttemptKind.REGULAR,
                "number": None if is_late else index + 1,
                "fence": index + 1,
                "outcome": Outcome.PUBLISHED,
                "started_at": NOW + index // 4 * SECOND,
                "finished_at": NOW + count * SECOND,
            }
        )
    empty = dict.fromkeys({column.key for column in Attempt.__table__.columns} - {*rows[0]})
    empty["not_sent"] = False

    async def work(session: AllWorkspacesWriteSession) -> None:
        await insert_raw(session, Attempt, [{**row, **empty} for row in rows])

    await tenant.database.write_all_workspaces(work)


async def read_page(client: Client, key: DestinationId, **arguments: Any) -> dict[str, Any]:
    data = await client.query(PAGE, key=str(key), **arguments)
    return dict(data["destinations"]["nodes"][0]["attemptConnection"])


async def test_pages_are_the_log_in_its_order(acme: Tenant) -> None:
    (key, _other) = await add_destinations(acme, 300, 2)
    data = await acme.client.query(LOG, key=str(key))
    log = data["destinations"]["nodes"][0]["attemptLog"]
    numbers = [None if index % 4 == 3 else index + 1 for index in range(300)]
    assert [attempt["number"] for attempt in log] == numbers

    nodes: list[object] = []
    after = None
    while after is not None or not nodes:
        with record_statements(acme.database) as statements:
            page = await read_page(acme.client, key, first=7, after=after)
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert len(page["nodes"]) == min(7, 300 - len(nodes))
        nodes += page["nodes"]
        has_next_page = len(nodes) < 300
        assert page["pageInfo"] == {
            "hasNextPage": has_next_page,
            "hasPreviousPage": after is not None,
            "startCursor": page["edges"][0]["cursor"],
            "endCursor": page["edges"][-1]["cursor"],
        }
        assert len(statements) == 2  # of the destination and its attempts
        last, after = (
            page["pageInfo"]["endCursor"],
            page["pageInfo"]["endCursor"] if has_next_page else None,
        )

    assert nodes == log
    assert len((await read_page(acme.client, key))["nodes"]) == 20
    assert await read_page(acme.client, key, after=last) == {
        "nodes": [],
        "edges": [],
        "pageInfo": {
            "hasNextPage": False,
            "hasPreviousPage": True,
            "startCursor": None,
            "endCursor": None,
        },
    }


async def test_first_pages_of_a_list_take_one_statement_per_size(acme: Tenant) -> None:
    await add_destinations(acme, 1, 3, 2)
    with record_statements(acme.database) as statements:
        data = await acme.client.query(LISTS)

    pages = [
        [
            ([attempt["number"] for attempt in page["nodes"]], page["pageInfo"]["hasNextPage"])
            for page in (node["two"], node["three"])
        ]
        for node in data["destinations"]["nodes"]
    ]
    assert sorted(pages) == [
        [([1], False), ([1], False)],
        [([1, 2], False), ([1, 2], False)],
        [([1, 2], True), ([1, 2, 3], False)],
    ]
    assert len([each for each in statements if "FROM attempt" in each.text]) == 2


@pytest.mark.parametrize("first", [0, 101, -1])
async def test_page_size_out_of_range_is_rejected(acme: Tenant, first: int) -> None:
    (key,) = await add_destinations(acme, 1)
    error = await acme.client.execute(PAGE, key=str(key), first=first)
    assert [(each["extensions"]["code"], each["message"]) for each in error["errors"]] == [
        ("VALIDATION_ERROR", f"first must be from 1 to 100; it is {first}.")
    ]


async def test_cursor_is_valid_only_for_its_destination(acme: Tenant) -> None:
    key, other = await add_destinations(acme, 2, 2)
    cursor = (await read_page(acme.client, key, first=1))["pageInfo"]["endCursor"]
    assert len((await read_page(acme.client, key, after=cursor))["nodes"]) == 1
    list_cursor = "query { destinations(first: 1) { pageInfo { endCursor } } }"
    data = await acme.client.query(list_cursor)
    foreign = await add_tenant(acme)
    (foreign_key,) = await add_destinations(foreign, 2)

    for client, destination, text in (
        (acme.client, other, cursor),
        (acme.client, key, data["destinations"]["pageInfo"]["endCursor"]),
        (acme.client, key, cursor[::-1]),
        (acme.client, key, ""),
        (foreign.client, foreign_key, cursor),
    ):
        body = await client.execute(PAGE, key=str(destination), after=text)
        (error,) = body["errors"]
        assert (error["extensions"], error["message"]) == (
            {"code": "BAD_CURSOR", "field": "after"},
            BAD_CURSOR_MESSAGE,
        )
        assert body["data"] == {"destinations": {"nodes": [{"attemptConnection": None}]}}


async def test_pages_count_towards_the_limits(acme: Tenant) -> None:
    keys = await add_destinations(acme, 3, 2)
    cursor = (await read_page(acme.client, keys[0], first=1))["pageInfo"]["endCursor"]
    document = "{ destinations(first: 100) { nodes { attemptConnection(first: 100) { nodes { number } } } } }"
    code, _, message = await acme.client.expect_error(document)
    assert (code, message) == (
        "LIMIT_EXCEEDED",
        "The document asks for 10100 nodes; at most 2000 are allowed.",
    )

    for limit, is_allowed in (("4", True), ("3", False)):
        async with client_with_settings(acme, GRAPHQL_MAX_LIST_ENTRIES=limit) as client:
            body = await client.execute(
                LISTS.replace("three: attemptConnection(first: 3) { ...P }", "")
            )
            assert ("errors" not in body) == is_allowed
    async with client_with_settings(acme, GRAPHQL_MAX_LIST_ENTRIES="1") as client:
        body = await client.execute(PAGE, key=str(keys[0]), after=cursor)
        assert [each["extensions"]["code"] for each in body["errors"]] == ["LIMIT_EXCEEDED"]
