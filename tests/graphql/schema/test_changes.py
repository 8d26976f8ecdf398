"""Query `changes`: fields, current state, filters, pages and errors; `tests.db` tests the feed itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.db.core.database import Database, WriteSession
from app.db.models import Post
from app.domain.events import Event, EventKind
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId, WorkspaceId
from app.domain.signing import CursorCodec, KeysetPosition
from app.settings import read_settings
from tests.clients import Client, Tenant, app_client
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
DELETED_DESTINATION = DestinationId(UUID("0b1e7a30-0000-4000-8000-00000000dead"))
ACCOUNT = AccountId(7)

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
    async with client_with_settings(database, workspace, FAST_PATH=request.param) as opened:
        yield opened


@asynccontextmanager
async def client_with_settings(
    database: Database, workspace: WorkspaceId, **settings: str
) -> AsyncIterator[Client]:
    token = (await add_api_key(database, workspace)).token
    all_settings = read_settings({"RATE_LIMIT": "off", **settings})
    async with app_client(database, token=token, settings=all_settings) as opened:
        yield opened


@pytest.fixture
async def workspace(anyio_backend: str, database: Database) -> WorkspaceId:
    """A workspace with one failed post on one account."""
    workspace_id = await add_workspace(database)
    await add_account(database, workspace_id, id=ACCOUNT, account_name="@acme")
    await add_post(
        database,
        workspace_id,
        {ACCOUNT: failed(error="Too long.")},
        id=POST,
        destination_ids=[DESTINATION],
    )
    return workspace_id


async def query_twice(client: Client, document: str, **variables: Any) -> Any:
    """Run a document twice; the prepared document must return the same response."""
    first = await client.execute(document, **variables)
    assert await client.execute(document, **variables) == first
    return first


def make_event(*, post: PostId | None = None, destination: DestinationId | None = None) -> Event:
    return Event(
        kind=EventKind.DESTINATION_CHANGED if destination else EventKind.POST_CHANGED,
        post_id=post,
        destination_id=destination,
        account_id=ACCOUNT if destination else None,
        values={"error": "Too long.", "fence": 3} if destination else {"content": "b"},
    )


async def test_change_has_all_fields_and_current_state_of_its_objects(
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
            make_event(post=POST, destination=DELETED_DESTINATION),
            Event(
                kind=EventKind.ACCOUNT_CHANGED,
                account_id=ACCOUNT,
                values={"is_active": False},
            ),
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
    post_change = {
        "__typename": "Change",
        "cursor": cursors[0],
        "type": "POST_CHANGED",
        "happenedAt": "2026-04-15T15:00:00.000Z",
        "operation": "updatePost",
        "actorKeyId": str(KEY),
        "postId": str(POST),
        "destinationId": None,
        "accountId": None,
        "values": {"content": "b"},
        "post": post,
        "destination": None,
        "account": None,
    }
    by_server = {"operation": "loseLease", "actorKeyId": None, "accountId": 7, "account": account}
    destination_change = {
        **post_change,
        **by_server,
        "cursor": cursors[1],
        "type": "DESTINATION_CHANGED",
        "destinationId": str(DESTINATION),
        "values": {"error": "Too long."},
        "destination": {
            "destinationId": str(DESTINATION),
            "status": "FAILED",
            "error": "Too long.",
            "account": {"accountId": 7},
            "post": {"postId": str(POST)},
        },
    }
    deleted = {"cursor": cursors[2], "destinationId": str(DELETED_DESTINATION), "destination": None}
    account_change = {
        **post_change,
        **by_server,
        "cursor": cursors[3],
        "type": "ACCOUNT_CHANGED",
        "postId": None,
        "values": {"is_active": False},
        "post": None,
    }

    assert (await query_twice(client, ALL_FIELDS_QUERY))["data"]["changes"] == {
        "__typename": "ChangePage",
        "nodes": [
            post_change,
            destination_change,
            destination_change | deleted,
            account_change,
        ],
        "hasNextPage": False,
        "endCursor": cursors[3],
        "latestCursor": cursors[3],
    }


async def test_changes_of_deleted_post_remain_without_its_state(
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
        (node["postId"], node["destinationId"], node["post"], node["destination"], node["account"])
        for node in data["nodes"]
    ] == [
        (str(POST), None, None, None, None),
        (str(POST), str(DESTINATION), None, None, {"accountId": 7, "accountName": "@acme"}),
    ]


async def test_every_event_kind_can_be_filtered_by_type(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    await append_test_events(
        database, workspace, [Event(kind=kind, values={}) for kind in EventKind]
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
        assert [node["type"] for node in page["nodes"]] == expected
        assert not page["hasNextPage"]
        assert page["endCursor"] == page["latestCursor"]
    rest = await client.query(document, types=["POST_CREATED"], after=page["endCursor"])
    assert rest["changes"] == {**page, "nodes": []}
    literal = await client.query(
        "{ changes(types: [POST_DELETED, ACCOUNT_CHANGED]) { nodes { type } } }"
    )
    assert [node["type"] for node in literal["changes"]["nodes"]] == [
        "POST_DELETED",
        "ACCOUNT_CHANGED",
    ]


async def test_changes_page_has_requested_size(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    await append_test_events(database, workspace, numbered_events(101))
    document = """query ($first: Int, $after: String) {
        changes(first: $first, after: $after) { nodes { values cursor } hasNextPage endCursor } }"""
    for first, size in ((None, 20), (1, 1), (100, 100)):
        page = (await query_twice(client, document, first=first))["data"]["changes"]
        assert [node["values"] for node in page["nodes"]] == [
            {"content": str(number)} for number in range(1, size + 1)
        ]
        assert page["hasNextPage"]
        assert page["endCursor"] == page["nodes"][-1]["cursor"]
        rest = await query_twice(client, document, first=100, after=page["endCursor"])
        assert rest["data"]["changes"]["nodes"][0]["values"] == {"content": str(size + 1)}
        assert not rest["data"]["changes"]["hasNextPage"]


async def test_objects_of_changes_are_loaded_in_one_statement_per_kind(
    database: Database, workspace: WorkspaceId, client: Client
) -> None:
    events = [make_event(post=POST, destination=DESTINATION)] * 30 + [make_event(post=POST)] * 30
    await append_test_events(database, workspace, events)
    document = """{ changes(first: 100) { nodes {
        post { content } destination { error } account { accountName } } } }"""
    with record_statements(database) as statements:
        await client.query(document)
    # Two for the newest change and the page, one each for posts, destinations and accounts.
    assert len(statements) == 2 + 3


@pytest.mark.parametrize("is_fast", ["yes", "no"])
async def test_changes_count_toward_list_size_limit(
    database: Database, workspace: WorkspaceId, is_fast: str
) -> None:
    await append_test_events(database, workspace, numbered_events(3))
    document = "{ a: changes { endCursor } b: changes(first: 2) { nodes { values } } }"
    answers = []
    for limit in ("5", "4"):
        settings = {"GRAPHQL_MAX_LIST_ENTRIES": limit, "FAST_PATH": is_fast}
        async with client_with_settings(database, workspace, **settings) as client:
            answers.append(await query_twice(client, document))
    assert [len(answer.get("errors", ())) for answer in answers] == [0, 1]
    assert answers[1]["errors"][0]["extensions"] == {"code": "LIMIT_EXCEEDED"}


TYPES = ", ".join(kind.name for kind in EventKind)
UUID_MESSAGE = (
    "The id must be a UUID in its 36-character form, such as f47ac10b-58cc-4372-a567-0e02b2c3d479."
)
BAD_CURSOR = (
    "after is not a cursor of this list in this order."
    " Pass one that an earlier page returned, unchanged, or leave it out."
)
INVALID_QUERIES = {
    "first: 0": ("VALIDATION_ERROR", "first", "first must be from 1 to 100; it is 0."),
    "first: 101": ("VALIDATION_ERROR", "first", "first must be from 1 to 100; it is 101."),
    "first: -1": ("VALIDATION_ERROR", "first", "first must be from 1 to 100; it is -1."),
    "types: [POST_PUBLISHED]": (
        "VALIDATION_ERROR",
        "types",
        f"types[0]: Value 'POST_PUBLISHED' does not exist in 'ChangeType' enum. Use one of {TYPES}.",
    ),
    'types: [POST_CREATED, "POST_CREATED"]': (
        "VALIDATION_ERROR",
        "types",
        "types[1]: Enum 'ChangeType' cannot represent non-enum value: \"POST_CREATED\"."
        f" Use one of {TYPES}.",
    ),
    "types: [null]": (
        "VALIDATION_ERROR",
        "types",
        "types[0]: Expected value of non-null type 'ChangeType!' not to be null.",
    ),
    'postId: "x"': ("INVALID_ID", "postId", f"postId: {UUID_MESSAGE}"),
    'after: "x"': ("BAD_CURSOR", "after", BAD_CURSOR),
    'after: ""': ("BAD_CURSOR", "after", BAD_CURSOR),
    'after: "\\u0000"': ("BAD_CURSOR", "after", BAD_CURSOR),
}


async def test_invalid_argument_of_changes_is_rejected_by_name(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    for arguments, expected in INVALID_QUERIES.items():
        document = f"{{ changes({arguments}) {{ endCursor }} }}"
        assert await acme.client.expect_error(document) == expected
    unknown = await acme.client.expect_error(
        "query ($types: [ChangeType!]) { changes(types: $types) { endCursor } }", types=["X"]
    )
    assert unknown[:2] == ("VALIDATION_ERROR", "types")


async def test_cursor_of_other_list_or_workspace_is_rejected(acme: Tenant) -> None:
    await add_post(acme.database, acme.workspace)
    other = await add_workspace(acme.database)
    for workspace in (acme.workspace, other):
        await append_test_events(acme.database, workspace, numbered_events(1))
    document = "query ($after: String) { changes(after: $after) { endCursor nodes { cursor } } }"
    key = await add_api_key(acme.database, other)
    foreign = (await acme.client.with_token(key.token).query(document))["changes"]
    posts = (await acme.client.query("{ posts { pageInfo { endCursor } } }"))["posts"]
    own = (await acme.client.query(document))["changes"]
    assert own["nodes"][0]["cursor"] == own["endCursor"]
    for bad in (
        foreign["endCursor"],
        foreign["nodes"][0]["cursor"],
        posts["pageInfo"]["endCursor"],
        own["endCursor"][1:],
        own["endCursor"] + "=",
    ):
        error = await acme.client.expect_error(document, after=bad)
        assert error == ("BAD_CURSOR", "after", BAD_CURSOR)
    posts_document = "query ($after: String) { posts(after: $after) { totalCount } }"
    assert (await acme.client.expect_error(posts_document, after=own["endCursor"]))[:2] == (
        "BAD_CURSOR",
        "after",
    )
