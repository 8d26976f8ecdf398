"""Query `changes`: fields, current state, filters, pages and errors; `tests.db` tests the feed itself."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from app.db.models import Post
from app.domain.events import Event, EventKind
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId
from app.domain.signing import CursorCodec, KeysetPosition
from tests.clients import Client, Tenant
from tests.db.repositories.event_rows import append_test_events, numbered_events
from tests.domain.errors import NUL, UUID_MESSAGE
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    failed,
)
from tests.graphql.tenant_objects import BAD_CURSOR_MESSAGE, add_tenant, client_with_settings
from tests.raw_statements import run_raw
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
      cursor type happenedAt operation actorKeyId actor { keyId keyName person }
      postId destinationId accountId values previous sentence
      post { postId content status destinations { destinationId } }
      destination { destinationId status error account { accountId } post { postId } }
      account { accountId accountName }
    }
    hasNextPage endCursor latestCursor
  }
}
"""


@pytest.fixture(params=["yes", "no"], ids=["fast", "plain"])
async def feed(request: pytest.FixtureRequest, acme: Tenant) -> AsyncIterator[Tenant]:
    """A tenant with one failed post on one account, with and without the fast path."""
    await add_account(acme.database, acme.workspace, id=ACCOUNT, account_name="@acme")
    await add_post(
        acme.database,
        acme.workspace,
        {ACCOUNT: failed(error="Too long.")},
        id=POST,
        destination_ids=[DESTINATION],
    )
    async with client_with_settings(acme, FAST_PATH=request.param) as client:
        yield Tenant(acme.database, acme.workspace, client)


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
        previous={"fence": 2} if destination else {"content": "a"},
    )


async def test_change_has_all_fields_and_current_state_of_its_objects(feed: Tenant) -> None:
    await append_test_events(
        feed.database, feed.workspace, [make_event(post=POST)], actor=KEY, operation="updatePost"
    )
    events = [
        make_event(post=POST, destination=DESTINATION),
        make_event(post=POST, destination=DELETED_DESTINATION),
        Event(kind=EventKind.ACCOUNT_CHANGED, account_id=ACCOUNT, values={"is_active": False}),
    ]
    await append_test_events(feed.database, feed.workspace, events, operation="loseLease")
    codec = CursorCodec(bytes(32), feed.workspace, "changes")
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
        "actor": {"keyId": str(KEY), "keyName": None, "person": None},
        "postId": str(POST),
        "destinationId": None,
        "accountId": None,
        "values": {"content": "b"},
        "previous": {"content": "a"},
        "sentence": "The text was changed.",
        "post": post,
        "destination": None,
        "account": None,
    }
    by_server = {
        "operation": "loseLease",
        "actorKeyId": None,
        "actor": None,
        "accountId": 7,
        "account": account,
    }
    destination_change = {
        **post_change,
        **by_server,
        "cursor": cursors[1],
        "type": "DESTINATION_CHANGED",
        "destinationId": str(DESTINATION),
        "values": {"error": "Too long."},
        "previous": {"error": None},
        "sentence": "The recorded error was changed.",
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
        "previous": None,
        "sentence": "The account was disconnected. Nothing is published on it.",
        "post": None,
    }

    nodes = [post_change, destination_change, destination_change | deleted, account_change]
    assert (await query_twice(feed.client, ALL_FIELDS_QUERY))["data"]["changes"] == {
        "__typename": "ChangePage",
        "nodes": nodes,
        "hasNextPage": False,
        "endCursor": cursors[3],
        "latestCursor": cursors[3],
    }


async def test_name_of_the_actor_is_that_of_a_key_of_the_workspace(feed: Tenant) -> None:
    other = await add_tenant(feed)
    keys = [
        await add_api_key(feed.database, workspace, name=name)
        for workspace, name in ((feed.workspace, "own"), (other.workspace, "foreign"))
    ]
    for key in keys:
        await append_test_events(
            feed.database, feed.workspace, [make_event(post=POST)], actor=key.id
        )

    data = await feed.client.query("{ changes { nodes { actor { keyId keyName } } } }")

    assert [node["actor"] for node in data["changes"]["nodes"]] == [
        {"keyId": str(keys[0].id), "keyName": "own"},
        {"keyId": str(keys[1].id), "keyName": None},
    ]


async def test_changes_of_deleted_post_remain_without_its_state(feed: Tenant) -> None:
    events = [make_event(post=POST), make_event(post=POST, destination=DESTINATION)]
    await append_test_events(feed.database, feed.workspace, events)
    deletion = update(Post).where(Post.id == POST).values(deleted_at=NOW)
    await feed.database.write_all_workspaces(lambda session: run_raw(session, deletion))

    data = (await query_twice(feed.client, ALL_FIELDS_QUERY, postId=str(POST)))["data"]["changes"]

    assert [
        (node["postId"], node["destinationId"], node["post"], node["destination"], node["account"])
        for node in data["nodes"]
    ] == [
        (str(POST), None, None, None, None),
        (str(POST), str(DESTINATION), None, None, {"accountId": 7, "accountName": "@acme"}),
    ]


async def test_every_event_kind_can_be_filtered_by_type(feed: Tenant) -> None:
    events = [Event(kind=kind, values={}) for kind in EventKind]
    await append_test_events(feed.database, feed.workspace, events)
    document = """query ($types: [ChangeType!], $after: String) {
        changes(types: $types, after: $after) { nodes { type } hasNextPage endCursor latestCursor } }"""
    names = [kind.name for kind in EventKind]
    for types, expected in (
        (None, names),
        ([], []),
        *((name, [name]) for name in names),
        ([names[3], names[0], names[3]], [names[0], names[3]]),
    ):
        page = (await query_twice(feed.client, document, types=types))["data"]["changes"]
        assert [node["type"] for node in page["nodes"]] == expected
        assert not page["hasNextPage"]
        assert page["endCursor"] == page["latestCursor"]
    rest = await feed.client.query(document, types=["POST_CREATED"], after=page["endCursor"])
    assert rest["changes"] == {**page, "nodes": []}
    literal = await feed.client.query(
        "{ changes(types: [POST_DELETED, ACCOUNT_CHANGED]) { nodes { type } } }"
    )
    assert literal["changes"]["nodes"] == [{"type": "POST_DELETED"}, {"type": "ACCOUNT_CHANGED"}]


async def test_changes_of_a_key_or_person_are_read_newest_first(feed: Tenant) -> None:
    for number, (key, person) in enumerate([(KEY, "Ann"), (None, "Ann"), (KEY, None)], 1):
        event = Event(kind=EventKind.POST_CHANGED, values={"content": str(number)})
        await append_test_events(feed.database, feed.workspace, [event], actor=key, person=person)
    document = """query ($after: String, $keyId: UUID, $person: String, $direction: OrderDirection!) {
        changes(after: $after, first: 1, keyId: $keyId, person: $person, direction: $direction) {
            nodes { values cursor } hasNextPage endCursor } }"""
    for filters, expected in (
        ({}, "321"),
        ({"person": "Ann"}, "21"),
        ({"keyId": str(KEY)}, "31"),
        ({"keyId": str(KEY), "person": "Ann"}, "1"),
        ({"person": ""}, ""),
    ):
        for direction, contents in (("DESC", expected), ("ASC", expected[::-1])):
            found, page = "", {"endCursor": None, "hasNextPage": True}
            while page["hasNextPage"]:
                variables = filters | {"after": page["endCursor"], "direction": direction}
                page = (await query_twice(feed.client, document, **variables))["data"]["changes"]
                found += "".join(node["values"]["content"] for node in page["nodes"])
            assert found == contents
    newest = await feed.client.query(
        '{ changes(first: 2, person: "Ann", direction: DESC) { nodes { actor { person } } } }'
    )
    assert newest["changes"]["nodes"] == [{"actor": {"person": "Ann"}}] * 2


async def test_changes_of_a_destination_are_read_without_excluded_operations(feed: Tenant) -> None:
    of_destination = make_event(post=POST, destination=DESTINATION)
    of_other = make_event(post=POST, destination=DELETED_DESTINATION)
    for operation, event in (
        ("startAttempt", of_destination),
        ("retryPost", of_destination),
        ("retryPost", of_other),
        ("updatePost", make_event(post=POST)),
    ):
        await append_test_events(feed.database, feed.workspace, [event], operation=operation)
    document = """query ($destinationId: UUID, $postId: UUID, $excludeOperations: [String!]) {
        changes(destinationId: $destinationId, postId: $postId, excludeOperations: $excludeOperations) {
            nodes { operation destinationId } hasNextPage } }"""
    ours, others = (
        {"operation": operation, "destinationId": str(DESTINATION)}
        for operation in ("startAttempt", "retryPost")
    )
    destination = {"destinationId": str(DESTINATION)}
    for arguments, expected in (
        (destination, [ours, others]),
        (destination | {"postId": str(POST)}, [ours, others]),
        (destination | {"postId": str(uuid4())}, []),
        (destination | {"excludeOperations": ["startAttempt", "nothing"]}, [others]),
        (destination | {"excludeOperations": []}, [ours, others]),
        ({"destinationId": str(uuid4())}, []),
    ):
        page = (await query_twice(feed.client, document, **arguments))["data"]["changes"]
        assert page == {"nodes": expected, "hasNextPage": False}, arguments


async def test_page_of_changes_has_20_entries_by_default(feed: Tenant) -> None:
    await append_test_events(feed.database, feed.workspace, numbered_events(101))
    document = """query ($first: Int, $after: String) {
        changes(first: $first, after: $after) { nodes { values cursor } hasNextPage endCursor } }"""
    for first, size in ((None, 20), (100, 100)):
        page = (await query_twice(feed.client, document, first=first))["data"]["changes"]
        assert [node["values"]["content"] for node in page["nodes"]] == [
            str(number) for number in range(1, size + 1)
        ]
        assert page["hasNextPage"]
        assert page["endCursor"] == page["nodes"][-1]["cursor"]
    rest = (await feed.client.query(document, after=page["endCursor"]))["changes"]
    assert [node["values"] for node in rest["nodes"]] == [{"content": "101"}]
    assert not rest["hasNextPage"]


async def test_objects_of_changes_are_loaded_in_one_statement_per_kind(feed: Tenant) -> None:
    events = [make_event(post=POST, destination=DESTINATION)] * 30 + [make_event(post=POST)] * 30
    await append_test_events(feed.database, feed.workspace, events)
    document = """{ changes(first: 100) { nodes {
        post { content } destination { error } account { accountName } } } }"""
    with record_statements(feed.database) as statements:
        await feed.client.query(document)
    # Two for the newest change and the page, one each for posts, destinations and accounts.
    assert len(statements) == 2 + 3


@pytest.mark.parametrize("is_fast", ["yes", "no"])
async def test_changes_count_toward_the_entry_limit(acme: Tenant, is_fast: str) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(3))
    document = "{ a: changes { endCursor } b: changes(first: 2) { nodes { values } } }"
    for limit, errors in (("5", []), ("4", [{"code": "LIMIT_EXCEEDED"}])):
        settings = {"GRAPHQL_MAX_LIST_ENTRIES": limit, "FAST_PATH": is_fast}
        async with client_with_settings(acme, **settings) as client:
            answer = await query_twice(client, document)
        assert [error["extensions"] for error in answer.get("errors", ())] == errors


TYPES = ", ".join(kind.name for kind in EventKind)
INVALID_QUERIES = {
    "first: 101": ("VALIDATION_ERROR", "first", "first must be from 1 to 100; it is 101."),
    "types: [POST_PUBLISHED]": (
        "VALIDATION_ERROR",
        "types",
        f"types[0]: Value 'POST_PUBLISHED' does not exist in 'ChangeType' enum. Use one of {TYPES}.",
    ),
    "types: [null]": (
        "VALIDATION_ERROR",
        "types",
        "types[0]: Expected value of non-null type 'ChangeType!' not to be null.",
    ),
    'postId: "x"': ("INVALID_ID", "postId", f"postId: {UUID_MESSAGE}"),
    'destinationId: "x"': ("INVALID_ID", "destinationId", f"destinationId: {UUID_MESSAGE}"),
    'excludeOperations: ["\\u0000"]': (
        "VALIDATION_ERROR",
        "excludeOperations",
        f"excludeOperations {NUL}",
    ),
    'person: "\\u0000"': ("VALIDATION_ERROR", "person", f"person {NUL}"),
    'after: "\\u0000"': ("BAD_CURSOR", "after", BAD_CURSOR_MESSAGE),
}


async def test_invalid_argument_of_changes_is_rejected_by_name(acme: Tenant) -> None:
    for arguments, expected in INVALID_QUERIES.items():
        document = f"{{ changes({arguments}) {{ endCursor }} }}"
        assert await acme.client.expect_error(document) == expected
    unknown = await acme.client.expect_error(
        "query ($types: [ChangeType!]) { changes(types: $types) { endCursor } }", types=["X"]
    )
    assert unknown[:2] == ("VALIDATION_ERROR", "types")


async def test_cursor_of_other_list_or_workspace_is_rejected(acme: Tenant) -> None:
    other = await add_tenant(acme)
    document = "query ($after: String) { changes(after: $after) { endCursor nodes { cursor } } }"
    changes = []
    for tenant in (acme, other):
        await append_test_events(tenant.database, tenant.workspace, numbered_events(1))
        changes.append((await tenant.client.query(document))["changes"])
    await add_post(acme.database, acme.workspace)
    posts = (await acme.client.query("{ posts { pageInfo { endCursor } } }"))["posts"]

    own, foreign = changes
    assert own["nodes"] == [{"cursor": own["endCursor"]}]
    for bad in (foreign["endCursor"], posts["pageInfo"]["endCursor"], own["endCursor"] + "="):
        error = await acme.client.expect_error(document, after=bad)
        assert error == ("BAD_CURSOR", "after", BAD_CURSOR_MESSAGE)
    posts_document = "query ($after: String) { posts(after: $after) { totalCount } }"
    error = await acme.client.expect_error(posts_document, after=own["endCursor"])
    assert error[:2] == ("BAD_CURSOR", "after")
