"""What may be asked of the changes by REST: pages, parameters, cursors of both doors; what is refused."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from app.db.repositories.events import delete_events
from app.domain.api_keys import Scope
from app.domain.events import Event, EventKind
from tests.clients import Client, Tenant, app_client
from tests.db.all_tables import all_rows
from tests.db.repositories.event_rows import (
    append_test_events,
    delete_events_after,
    numbered_events,
)
from tests.factories import NOW, add_api_key, add_post
from tests.rest.envelope import check_envelope, failure_error, ordered_json, success_data
from tests.rest.write_requests import non_retryable_error

UUID_FORM = (
    "The id must be a UUID in its 36-character form, such as f47ac10b-58cc-4372-a567-0e02b2c3d479."
)
BAD_CURSOR = (
    "after is not a cursor of this list in this order."
    " Pass one that an earlier page returned, unchanged, or leave it out."
)
RESYNC = (
    "The changes after this cursor are no longer stored. Read the current state again, and"
    " continue from the latest cursor."
)


async def ask(client: Client, query: str = "") -> dict[str, Any]:
    data: dict[str, Any] = success_data(await client.get(f"/v1/changes?{query}"))
    return data


def contents(data: dict[str, Any]) -> list[str]:
    return [each["values"]["content"] for each in data["changes"]]


async def test_pages_follow_each_other_until_there_is_no_more(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(105))
    expected = [str(number) for number in range(1, 106)]
    for query, size in (("", 20), ("limit=1", 1), ("limit=7", 7), ("limit=100", 100)):
        data = await ask(acme.client, query)
        found = contents(data)
        while data["has_more"]:
            assert len(data["changes"]) == size
            assert data["cursor"] == data["changes"][-1]["cursor"]
            data = await ask(acme.client, f"{query}&after={data['cursor']}")
            found += contents(data)
            if size == 1 and len(found) == 10:
                break
        assert found == expected[: len(found)]
        assert len(found) == (10 if size == 1 else 105)
    assert data["cursor"] == data["latest_cursor"]


ASKED = {
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
    "post_id=&after=&limit=&types=": "abcd",
    "post_id={other}&post_id={post}": "abd",
    "limit=1&limit=2": "ab",
    "type=post.created&first=1": "abcd",
}


async def test_what_is_asked_for_is_what_is_told(acme: Tenant) -> None:
    post = (await add_post(acme.database, acme.workspace)).id
    kinds = (
        (EventKind.POST_CREATED, post),
        (EventKind.DESTINATION_CHANGED, post),
        (EventKind.ACCOUNT_CHANGED, None),
        (EventKind.POST_DELETED, post),
    )
    events = [Event(kind=kind, post_id=of, changes={}) for kind, of in kinds]
    await append_test_events(acme.database, acme.workspace, events)
    names = dict(zip([kind.value for kind, _ in kinds], "abcd", strict=True))
    whole = await ask(acme.client)

    for query, expected in ASKED.items():
        asked = query.format(post=post, POST=str(post).upper(), other=uuid4())
        data = await ask(acme.client, asked)
        found = "".join(names[each["type"]] for each in data["changes"])
        assert (query, found) == (query, expected)
        assert data["latest_cursor"] == whole["latest_cursor"]
        # What was not wanted is passed over.
        assert data["has_more"] is (query == "limit=1&limit=2")
        assert (data["cursor"] == whole["cursor"]) is not data["has_more"]


KINDS = (
    "post.created, post.changed, post.deleted, destination.added, destination.changed,"
    " destination.removed, destination.duplicated, account.connected, account.changed"
)


async def test_what_cannot_be_asked_is_refused_by_name(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    refusals = {
        **{
            f"limit={limit}": non_retryable_error(
                "validation_error",
                "limit",
                f"limit must be a whole number from 1 to 100; it is '{limit}'.",
            )
            for limit in ("0", "101", "-1", "1.0", "all")
        },
        **{
            f"types={types}": non_retryable_error(
                "validation_error", "types", f"types must be one of {KINDS}; it is '{word}'."
            )
            for types, word in (
                ("POST_CREATED", "POST_CREATED"),
                ("post.created,post.published", "post.published"),
                ("post", "post"),
                ("Post.created", "Post.created"),
            )
        },
        **{
            f"post_id={id_}": non_retryable_error(
                "invalid_id", "post_id", f"post_id: {UUID_FORM}", UUID_FORM
            )
            for id_ in ("x", "f47ac10b58cc4372a5670e02b2c3d479", "1")
        },
        **{
            f"after={cursor}": non_retryable_error("bad_cursor", "after", BAD_CURSOR)
            for cursor in ("x", "0", "%00", "%C3%A9", "A" * 5000, "null", "%F0%9F%8E%89")
        },
    }
    before = await all_rows(acme.database)
    for query, refusal in refusals.items():
        error = failure_error(await acme.client.get(f"/v1/changes?{query}"), 400)
        assert (query, ordered_json(error)) == (query, ordered_json(refusal))
    assert await all_rows(acme.database) == before


async def test_cursors_that_are_changed_or_of_another_list_are_refused(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(2))
    await add_post(acme.database, acme.workspace)
    cursor = (await ask(acme.client))["cursor"]
    lists = await acme.client.query(
        "{ posts { pageInfo { endCursor } } a: posts(orderBy: {field: UPDATED_AT})"
        " { pageInfo { endCursor } } }"
    )
    of_others = [each["pageInfo"]["endCursor"] for each in lists.values()]
    for bad in (*of_others, cursor[:-1], f"{cursor}=", cursor[::-1], f"{cursor}A", f" {cursor}"):
        error = failure_error(await acme.client.get(f"/v1/changes?after={bad}"), 400)
        assert error == non_retryable_error("bad_cursor", "after", BAD_CURSOR)


async def resync_is_required(tenant: Tenant, cursor: str) -> bool:
    """At both doors, each with the whole refusal."""
    answer = await tenant.client.execute(
        "query ($after: String) { changes(after: $after) { endCursor } }", after=cursor
    )
    response = await tenant.client.get(f"/v1/changes?after={cursor}")
    if response.status_code == 200:
        assert answer == {"data": {"changes": {"endCursor": success_data(response)["cursor"]}}}
        return False
    error = failure_error(response, 410)
    assert ordered_json(error) == ordered_json(
        non_retryable_error("resync_required", "after", RESYNC)
    )
    assert check_envelope(response)["error"] == error
    assert response.headers["Cache-Control"] == "no-store"
    (refusal,) = answer["errors"]
    assert answer["data"] == {"changes": None}
    assert (refusal["message"], refusal["path"]) == (RESYNC, ["changes"])
    assert refusal["extensions"] == {"code": "RESYNC_REQUIRED", "field": "after"}
    return True


async def test_where_changes_are_forgotten_all_must_be_read_anew(acme: Tenant) -> None:
    start = (await ask(acme.client))["cursor"]
    await append_test_events(acme.database, acme.workspace, numbered_events(4))
    cursors = [start, *(each["cursor"] for each in (await ask(acme.client))["changes"])]
    assert [await resync_is_required(acme, each) for each in cursors] == [False] * 5

    await acme.database.write(partial(delete_events, workspace_id=acme.workspace, last_seq=2))

    before = await all_rows(acme.database)
    assert [await resync_is_required(acme, each) for each in cursors] == [
        *[True] * 3,
        *[False] * 2,
    ]
    assert await all_rows(acme.database) == before
    assert contents(await ask(acme.client)) == ["3", "4"]
    assert contents(await ask(acme.client, f"after={cursors[3]}")) == ["4"]


async def test_a_cursor_from_before_a_backup_was_restored_is_of_another_history(
    acme: Tenant,
) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    await append_test_events(
        acme.database, acme.workspace, numbered_events(2), occurred_at=NOW + timedelta(seconds=1)
    )
    cursors = [each["cursor"] for each in (await ask(acme.client))["changes"]]
    await delete_events_after(acme.database, acme.workspace, last_seq=1)
    for _ in range(3):
        required = [await resync_is_required(acme, each) for each in cursors]
        assert required == [False, True, True]
        await append_test_events(
            acme.database, acme.workspace, numbered_events(1), occurred_at=NOW + timedelta(hours=1)
        )


async def test_cursors_of_one_door_are_good_at_the_other(acme: Tenant) -> None:
    document = (
        "query ($after: String) { changes(after: $after, first: 2)"
        " { nodes { cursor values } endCursor latestCursor } }"
    )
    start = (await ask(acme.client))["latest_cursor"]
    await append_test_events(acme.database, acme.workspace, numbered_events(7))
    graphql = (await acme.client.query(document, after=start))["changes"]
    rest = await ask(acme.client, f"limit=2&after={start}")
    assert graphql["nodes"] == [
        {"cursor": each["cursor"], "values": each["values"]} for each in rest["changes"]
    ]
    assert (graphql["endCursor"], graphql["latestCursor"]) == (
        rest["cursor"],
        rest["latest_cursor"],
    )
    for cursor in (graphql["nodes"][0]["cursor"], graphql["endCursor"], graphql["latestCursor"]):
        there = contents(await ask(acme.client, f"limit=2&after={cursor}"))
        here = (await acme.client.query(document, after=cursor))["changes"]["nodes"]
        assert there == [each["values"]["content"] for each in here]


async def test_a_key_that_may_not_read_is_told_so(acme: Tenant) -> None:
    others = [scope for scope in Scope if scope is not Scope.READ]
    unfit = await add_api_key(acme.database, acme.workspace, scopes=others)
    reader = await add_api_key(acme.database, acme.workspace, scopes=[Scope.READ])
    for path in ("/v1/changes", "/api/v1/changes"):
        response = await acme.client.with_token(unfit.token).get(path)
        assert failure_error(response, 403)["code"] == "insufficient_scope"
        response = await acme.client.with_token(None).get(path)
        assert failure_error(response, 401)["code"] == "invalid_api_key"
        success_data(await acme.client.with_token(reader.token).get(path))


async def test_other_methods_are_not_allowed(acme: Tenant) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        response = await acme.client.request(method, "/v1/changes")
        assert failure_error(response, 405)["code"] == "method_not_allowed"
        assert response.headers["Allow"] == "GET, HEAD"


async def test_who_has_the_page_already_is_told_so_until_something_happens(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    first = await acme.client.get("/v1/changes")
    known = {"If-None-Match": first.headers["ETag"]}
    again = await acme.client.get("/v1/changes", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    head = await acme.client.request("HEAD", "/v1/changes")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == first.headers["ETag"]

    await append_test_events(acme.database, acme.workspace, numbered_events(1))

    changed = await acme.client.get("/v1/changes", headers=known)
    assert len(success_data(changed)["changes"]) == 2
    assert changed.headers["ETag"] != first.headers["ETag"]
    # Also where nothing new is wanted, for then the cursor is another one.
    nothing = [await acme.client.get("/v1/changes?types=post.deleted")]
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    nothing.append(await acme.client.get("/v1/changes?types=post.deleted"))
    assert nothing[0].headers["ETag"] != nothing[1].headers["ETag"]


async def test_a_later_service_on_the_same_database_takes_the_same_cursors(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(3))
    cursor = (await ask(acme.client))["changes"][0]["cursor"]
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token) as client:
        assert contents(await ask(client, f"after={cursor}")) == ["2", "3"]
