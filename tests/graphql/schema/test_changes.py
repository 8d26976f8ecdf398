"""What happened, as GraphQL tells it: every field, and what it is about as that is now. Refuses nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.db.core.database import Database, WriteSession
from app.db.models import Post
from app.domain.cursors import CursorCodec, KeysetPosition
from app.domain.events import Event, EventKind
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId, WorkspaceId
from app.settings import read_settings
from tests.clients import Client, app_client
from tests.db.repositories.event_rows import append_test_events, numbered_events
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
)
from tests.recording_driver import record_statements

POST = PostId(UUID("0b1e7a30-0000-4000-8000-000000000001"))
DESTINATION = DestinationId(UUID("0b1e7a30-0000-4000-8000-00000000000a"))
KEY = ApiKeyId(UUID("0b1e7a30-0000-4000-8000-0000000000aa"))
DELETED_POST = DestinationId(UUID("0b1e7a30-0000-4000-8000-00000000dead"))
ON_DESTINATION = AccountId(7)

ALL_FIELDS_QUERY = """
query ($after: String, $first: Int, $types: [ChangeType!], $postId: UUID) {
  changes(after: $after, first: $first, types: $types, postId: $postId) {
    __typename
    nodes {
      __typename
      cursor type happenedAt operation actorKeyId postId destinationId accountId values
      post { postId content status destinations { destinationId } }
      destination { destinationId status error account { accountId } post { postId } }
      account { accountId accountName }
    }
    hasNextPage endCursor latestCursor
  }
}
"""


@pytest.fixture(params=["yes", "no"], ids=["fast", "plain"])
async def client(
    request: pytest.FixtureRequest, database: Database, workspace: WorkspaceId
) -> AsyncIterator[Client]:
    async with client_with_settings(database, workspace, FAST_PATH=request.param) as made:
        yield made


@asynccontextmanager
async def client_with_settings(
    database: Database, workspace: WorkspaceId, **settings: str
) -> AsyncIterator[Client]:
    token = (await add_api_key(database, workspace)).token
    chosen = read_settings({"RATE_LIMIT": "off", **settings})
    async with app_client(database, token=token, settings=chosen) as made:
        yield made


@pytest.fixture
async def workspace(anyio_backend: str, database: Database) -> WorkspaceId:
    """With a post on an account."""
    made = await add_workspace(database)
    await add_account(database, made, id=ON_DESTINATION, account_name="@acme")
    await add_post(
        database, made, {ON_DESTINATION: failed(error="Too long.")}, id=POST, destination_ids=[DESTINATION]
    )
    return made


async def query_twice(client: Client, document: str, **variables: Any) -> Any:
    """The answer to a document, which is the same when it is known."""
    first = await client.execute(document, **variables)
    assert await client.execute(document, **variables) == first
    return first


def make_event(*, post: PostId | None = None, destination: DestinationId | None = None) -> Event:
    return Event(
        kind=EventKind.DESTINATION_CHANGED if destination else EventKind.POST_CHANGED,
        post_id=post,
        destination_id=destination,
        account_id=ON_DESTINATION if destination else None,
        changes={"error": "Too long.", "fence": 3} if destination else {"content": "b"},
    )


async def test_a_change_is_shown_with_what_it_is_about_as_that_is_now(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    await append_test_events(
        database, workspace, [make_event(post=POST)], actor=KEY, operation="updatePost"
    )
    await append_test_events(
        database,
        workspace,
        [
            make_event(post=POST, destination=DESTINATION),
            make_event(post=POST, destination=DELETED_POST),
            Event(kind=EventKind.ACCOUNT_CHANGED, account_id=ON_DESTINATION, changes={"is_active": False}),
        ],
        operation="loseLease",
    )
    codec = CursorCodec(bytes(32), workspace, "changes")
    cursors = [codec.encode(KeysetPosition(NOW, str(seq))) for seq in range(1, 5)]
    post = {
        "postId": str(POST),
        "content": "Spring sale starts today",
        "status": "FAILED",
        "destinations": [{"destinationId": str(DESTINATION)}],
    }
    account = {"accountId": 7, "accountName": "@acme"}
    common = {"__typename": "Change", "happenedAt": "2026-04-15T15:00:00.000Z"}

    assert await query_twice(client, ALL_FIELDS_QUERY) == {
        "data": {
            "changes": {
                "__typename": "ChangePage",
                "nodes": [
                    {
                        **common,
                        "cursor": cursors[0],
                        "type": "POST_CHANGED",
                        "operation": "updatePost",
                        "actorKeyId": str(KEY),
                        "postId": str(POST),
                        "destinationId": None,
                        "accountId": None,
                        "values": {"content": "b"},
                        "post": post,
                        "destination": None,
                        "account": None,
                    },
                    {
                        **common,
                        "cursor": cursors[1],
                        "type": "DESTINATION_CHANGED",
                        "operation": "loseLease",
                        "actorKeyId": None,
                        "postId": str(POST),
                        "destinationId": str(DESTINATION),
                        "accountId": 7,
                        "values": {"error": "Too long."},
                        "post": post,
                        "destination": {
                            "destinationId": str(DESTINATION),
                            "status": "FAILED",
                            "error": "Too long.",
                            "account": {"accountId": 7},
                            "post": {"postId": str(POST)},
                        },
                        "account": account,
                    },
                    {
                        **common,
                        "cursor": cursors[2],
                        "type": "DESTINATION_CHANGED",
                        "operation": "loseLease",
                        "actorKeyId": None,
                        "postId": str(POST),
                        "destinationId": str(DELETED_POST),
                        "accountId": 7,
                        "values": {"error": "Too long."},
                        "post": post,
                        "destination": None,
                        "account": account,
                    },
                    {
                        **common,
                        "cursor": cursors[3],
                        "type": "ACCOUNT_CHANGED",
                        "operation": "loseLease",
                        "actorKeyId": None,
                        "postId": None,
                        "destinationId": None,
                        "accountId": 7,
                        "values": {"is_active": False},
                        "post": None,
                        "destination": None,
                        "account": account,
                    },
                ],
                "hasNextPage": False,
                "endCursor": cursors[3],
                "latestCursor": cursors[3],
            }
        }
    }


async def test_of_a_deleted_post_the_changes_stay_and_nothing_else(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    await append_test_events(
        database, workspace, [make_event(post=POST), make_event(post=POST, destination=DESTINATION)]
    )

    async def delete(session: WriteSession) -> None:
        await session.execute(update(Post).where(Post.id == POST).values(deleted_at=NOW))

    await database.write(delete)

    data = (await query_twice(client, ALL_FIELDS_QUERY, postId=str(POST)))["data"]["changes"]

    assert [
        (each["postId"], each["destinationId"], each["post"], each["destination"], each["account"])
        for each in data["nodes"]
    ] == [
        (str(POST), None, None, None, None),
        (str(POST), str(DESTINATION), None, None, {"accountId": 7, "accountName": "@acme"}),
    ]


async def test_every_type_of_the_feed_is_one_of_the_schema_and_can_be_asked_for(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    await append_test_events(
        database, workspace, [Event(kind=kind, changes={}) for kind in EventKind]
    )
    document = """query ($types: [ChangeType!], $after: String) {
        changes(types: $types, after: $after) { nodes { type } hasNextPage endCursor latestCursor } }"""
    names = [kind.name for kind in EventKind]
    for types, expected in (
        (names, names),
        (None, names),
        ([], []),
        *((name, [name]) for name in names),
        ([names[3], names[0], names[3]], [names[0], names[3]]),
    ):
        page = (await query_twice(client, document, types=types))["data"]["changes"]
        assert [each["type"] for each in page["nodes"]] == expected
        assert not page["hasNextPage"]
        assert page["endCursor"] == page["latestCursor"]
    rest = await client.query(document, types=["POST_CREATED"], after=page["endCursor"])
    assert rest["changes"] == {**page, "nodes": []}
    literal = await client.query(
        "{ changes(types: [POST_DELETED, ACCOUNT_CHANGED]) { nodes { type } } }"
    )
    assert [each["type"] for each in literal["changes"]["nodes"]] == [
        "POST_DELETED",
        "ACCOUNT_CHANGED",
    ]


async def test_pages_are_of_the_size_that_is_asked_for(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    await append_test_events(database, workspace, numbered_events(101))
    document = """query ($first: Int, $after: String) {
        changes(first: $first, after: $after) { nodes { values cursor } hasNextPage endCursor } }"""
    for first, size in ((None, 20), (1, 1), (100, 100)):
        page = (await query_twice(client, document, first=first))["data"]["changes"]
        assert [each["values"] for each in page["nodes"]] == [
            {"content": str(number)} for number in range(1, size + 1)
        ]
        assert page["hasNextPage"]
        assert page["endCursor"] == page["nodes"][-1]["cursor"]
        rest = await query_twice(client, document, first=100, after=page["endCursor"])
        assert rest["data"]["changes"]["nodes"][0]["values"] == {"content": str(size + 1)}
        assert not rest["data"]["changes"]["hasNextPage"]


async def test_whatever_the_changes_are_about_is_read_in_one_statement_for_each_kind(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    events = [make_event(post=POST, destination=DESTINATION)] * 30 + [make_event(post=POST)] * 30
    await append_test_events(database, workspace, events)
    document = """{ changes(first: 100) { nodes {
        post { content } destination { error } account { accountName } } } }"""
    with record_statements(database) as statements:
        await client.query(document)
    # The newest change and the page; then posts, destinations and accounts.
    assert len(statements) == 2 + 3


@pytest.mark.parametrize("is_fast", ["yes", "no"])
async def test_changes_count_among_the_entries_of_an_answer(
    database: Database, workspace: WorkspaceId, is_fast: str
) -> None:
    await append_test_events(database, workspace, numbered_events(3))
    document = "{ a: changes { endCursor } b: changes(first: 2) { nodes { values } } }"
    answers = []
    for limit in ("5", "4"):
        settings = {"GRAPHQL_MAX_LIST_ENTRIES": limit, "FAST_PATH": is_fast}
        async with client_with_settings(database, workspace, **settings) as client:
            answers.append(await query_twice(client, document))
    assert [len(each.get("errors", ())) for each in answers] == [0, 1]
    assert answers[1]["errors"][0]["extensions"] == {"code": "LIMIT_EXCEEDED"}
