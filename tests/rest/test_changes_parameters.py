"""Parameters of `GET /changes`: pages, filters, cursors, and what is refused."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from app.db.repositories.events import delete_events
from app.domain.events import Event, EventKind
from app.domain.ids import DestinationId
from tests.clients import Client, Tenant
from tests.db.all_tables import all_rows
from tests.db.repositories.event_rows import append_test_events, numbered_events
from tests.domain.errors import UUID_MESSAGE
from tests.factories import add_post
from tests.graphql.tenant_objects import BAD_CURSOR_MESSAGE
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import field_error, non_retryable_error

RESYNC_MESSAGE = (
    "The changes after this cursor are no longer stored. Read the current state again, and"
    " continue from the latest cursor."
)


async def get_changes(client: Client, query: str = "") -> dict[str, Any]:
    data: dict[str, Any] = success_data(await client.get(f"/v1/changes?{query}"))
    return data


def change_contents(data: dict[str, Any]) -> list[str]:
    return [change["values"]["content"] for change in data["changes"]]


async def test_pages_continue_until_last_change(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(105))
    for query, size in (("", 20), ("limit=7", 7), ("limit=100", 100)):
        data = await get_changes(acme.client, query)
        contents = change_contents(data)
        while data["has_more"]:
            assert len(data["changes"]) == size
            assert data["cursor"] == data["changes"][-1]["cursor"]
            data = await get_changes(acme.client, f"{query}&after={data['cursor']}")
            contents += change_contents(data)
        assert contents == [str(number) for number in range(1, 106)]
        assert data["cursor"] == data["latest_cursor"]


FILTER_QUERIES = {
    "types=post.created": "a",
    "types=post.created,post.deleted": "ad",
    "types=post.created&types=post.deleted": "ad",
    "types=post.created, account.changed ,&types=": "ac",
    "types=post.created,post.created": "a",
    "types=": "abcd",
    "types=,": "abcd",
    "post_id={post}": "abd",
    "post_id={post}&types=destination.changed": "b",
    "post_id={POST}&types=account.changed": "",
    "post_id={other}": "",
    "destination_id={destination}": "b",
    "destination_id={destination}&post_id={other}": "",
    "destination_id={other}": "",
    "destination_id=": "abcd",
    "post_id=&after=&limit=&types=": "abcd",
    "post_id={other}&post_id={post}": "abd",
    "limit=1&limit=2": "ab",
    "type=post.created&first=1": "abcd",
}


async def test_filters_select_changes(acme: Tenant) -> None:
    post = (await add_post(acme.database, acme.workspace)).id
    destination = DestinationId(uuid4())
    kinds = (
        (EventKind.POST_CREATED, post, None),
        (EventKind.DESTINATION_CHANGED, post, destination),
        (EventKind.ACCOUNT_CHANGED, None, None),
        (EventKind.POST_DELETED, post, None),
    )
    events = [
        Event(kind=kind, post_id=post_id, destination_id=destination_id, values={})
        for kind, post_id, destination_id in kinds
    ]
    await append_test_events(acme.database, acme.workspace, events)
    names = dict(zip([kind.value for kind, *_ in kinds], "abcd", strict=True))
    whole = await get_changes(acme.client)

    for query, expected in FILTER_QUERIES.items():
        parameters = query.format(
            post=post, POST=str(post).upper(), destination=destination, other=uuid4()
        )
        data = await get_changes(acme.client, parameters)
        selected = "".join(names[change["type"]] for change in data["changes"])
        assert (query, selected) == (query, expected)
        assert data["latest_cursor"] == whole["latest_cursor"]
        # The cursor also passes changes that the filter excludes.
        assert data["has_more"] is (query == "limit=1&limit=2")
        assert (data["cursor"] == whole["cursor"]) is not data["has_more"]


KIND_NAMES = (
    "post.created, post.changed, post.deleted, destination.added, destination.changed,"
    " destination.removed, destination.duplicated, account.connected, account.changed,"
    " publisher.misused, webhook.disabled"
)


async def test_invalid_parameter_is_refused_by_name(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    refusals = {
        "limit=101": non_retryable_error(
            "validation_error", "limit", "limit must be a whole number from 1 to 100; it is '101'."
        ),
        **{
            f"types={types}": non_retryable_error(
                "validation_error", "types", f"types must be one of {KIND_NAMES}; it is '{word}'."
            )
            for types, word in (
                ("POST_CREATED", "POST_CREATED"),
                ("post.created,post.published", "post.published"),
            )
        },
        "post_id=x": field_error("invalid_id", "post_id", UUID_MESSAGE),
        **{
            f"after={cursor}": non_retryable_error("bad_cursor", "after", BAD_CURSOR_MESSAGE)
            for cursor in ("x", "%00", "%C3%A9", "A" * 5000, "%F0%9F%8E%89")
        },
    }
    before = await all_rows(acme.database)
    for query, refusal in refusals.items():
        error = failure_error(await acme.client.get(f"/v1/changes?{query}"), 400)
        assert (query, ordered_json(error)) == (query, ordered_json(refusal))
    assert await all_rows(acme.database) == before


async def refused_cursors(tenant: Tenant, cursors: Sequence[str]) -> list[str]:
    """The cursors that REST and GraphQL both refuse with the whole error; both accept the others."""
    document = "query ($after: String) { changes(after: $after) { endCursor } }"
    refused = []
    for cursor in cursors:
        answer = await tenant.client.execute(document, after=cursor)
        response = await tenant.client.get(f"/v1/changes?after={cursor}")
        if response.status_code == 200:
            assert answer == {"data": {"changes": {"endCursor": success_data(response)["cursor"]}}}
            continue
        refused.append(cursor)
        assert ordered_json(failure_error(response, 410)) == ordered_json(
            non_retryable_error("resync_required", "after", RESYNC_MESSAGE)
        )
        assert response.headers["Cache-Control"] == "no-store"
        (error,) = answer["errors"]
        assert answer["data"] == {"changes": None}
        assert (error["message"], error["path"]) == (RESYNC_MESSAGE, ["changes"])
        assert error["extensions"] == {"code": "RESYNC_REQUIRED", "field": "after"}
    return refused


async def test_cursor_before_pruned_changes_requires_resync(acme: Tenant) -> None:
    start = (await get_changes(acme.client))["cursor"]
    await append_test_events(acme.database, acme.workspace, numbered_events(4))
    cursors = [start, *(change["cursor"] for change in (await get_changes(acme.client))["changes"])]
    assert await refused_cursors(acme, cursors) == []

    await acme.database.write(acme.workspace, partial(delete_events, last_seq=2))

    before = await all_rows(acme.database)
    assert await refused_cursors(acme, cursors) == cursors[:3]
    assert await all_rows(acme.database) == before
    assert change_contents(await get_changes(acme.client)) == ["3", "4"]
    assert change_contents(await get_changes(acme.client, f"after={cursors[3]}")) == ["4"]


async def test_matching_etag_gets_304_until_next_change(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    first = await acme.client.get("/v1/changes")
    if_none_match = {"If-None-Match": first.headers["ETag"]}
    repeated = await acme.client.get("/v1/changes", headers=if_none_match)
    assert (repeated.status_code, repeated.content) == (304, b"")

    await append_test_events(acme.database, acme.workspace, numbered_events(1))

    changed = await acme.client.get("/v1/changes", headers=if_none_match)
    assert len(success_data(changed)["changes"]) == 2
    assert changed.headers["ETag"] != first.headers["ETag"]
    # Also if the filter excludes all new changes, because the cursor differs.
    empty = [await acme.client.get("/v1/changes?types=post.deleted")]
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    empty.append(await acme.client.get("/v1/changes?types=post.deleted"))
    assert empty[0].headers["ETag"] != empty[1].headers["ETag"]
