"""Import of responses into a database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import Destination
from app.db.repositories.workspaces import WorkspaceRef
from app.db.tools.integrity import find_problems
from app.demo import DEMO_WORKSPACE_ID, load_demo
from app.domain.ids import WorkspaceId, WorkspaceKind
from app.domain.importing.merging import ImportResult
from app.domain.importing.records import JsonText, PostRecord, RejectedRecord, parse_records
from app.services.expirations import fail_due_on_blocked_accounts, settle_expired_leases
from app.services.imports import dry_run_import, import_records
from tests.clients import Client, Tenant, app_client
from tests.db.all_tables import add_row_in_every_table, all_rows
from tests.domain.errors import NUL, SURROGATE
from tests.factories import (
    KEY_PREFIX,
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    published,
)
from tests.rest.envelope import success_data

LATER = NOW + timedelta(days=1)
POST = "0f47ac10-58cc-4372-a567-0e02b2c3d479"
TOKEN = KEY_PREFIX + "0" * 32


def make_result(account_id: int = 7, **fields: object) -> dict[str, object]:
    return {
        "account_id": account_id,
        "account_name": f"@acme{account_id}",
        "platform": "x",
        "status": "published",
        "published_at": "2026-03-01T09:00:02.000Z",
        "platform_post_id": None,
        "platform_post_url": None,
        "error": None,
        "attempts": 1,
        "next_retry_at": None,
        **fields,
    }


def make_post_entry(
    post_id: object = POST, *results: dict[str, object], **fields: object
) -> dict[str, object]:
    return {
        "post_id": post_id,
        "status": "published",
        "content": "Spring sale",
        "scheduled_for": "2026-03-01T09:00:00.000Z",
        "destinations": list(results or [make_result()]),
        "created_at": "2026-02-27T12:00:00.000Z",
        "updated_at": "2026-03-01T09:00:02.000Z",
        **fields,
    }


def records_of_lines(*responses: object) -> Iterator[PostRecord | RejectedRecord]:
    """Records of a file with one response per line."""
    for line, response in enumerate(responses, 1):
        yield from parse_records(JsonText(line, response))


async def import_responses(
    database: Database,
    workspace: WorkspaceId,
    *responses: object,
    kind: WorkspaceKind = WorkspaceKind.LOCAL,
) -> list[ImportResult | RejectedRecord]:
    records = records_of_lines(*responses)
    return await collect_results(
        import_records(database, WorkspaceRef(workspace, kind), records, now=LATER)
    )


async def collect_results(
    results: AsyncIterator[ImportResult | RejectedRecord],
) -> list[ImportResult | RejectedRecord]:
    return [result async for result in results]


async def all_list_responses(client: Client) -> list[dict[str, Any]]:
    responses: list[dict[str, Any]] = []
    while not responses or responses[-1]["data"]["pagination"]["has_more"]:
        response = await client.get(f"/v1/posts?limit=100&offset={100 * len(responses)}")
        responses.append(response.json())
    return responses


@pytest.fixture
async def demo_database(database: Database) -> Database:
    """A database with the demo data, in which a server has no expired lease or blocked account to settle."""
    await load_demo(database, token=TOKEN, api_key_prefix=KEY_PREFIX, now=NOW)
    await settle_expired_leases(database, NOW)
    await fail_due_on_blocked_accounts(database, NOW)
    return database


async def test_imported_lists_are_returned_unchanged_by_the_api(demo_database: Database) -> None:
    workspace = await add_workspace(demo_database)
    key = await add_api_key(demo_database, workspace)
    async with app_client(demo_database, token=TOKEN) as client:
        responses = await all_list_responses(client)
        total = responses[0]["data"]["total"]

        first = await import_responses(demo_database, workspace, *responses)
        again = await import_responses(demo_database, workspace, *responses)
        responses_after_import = await all_list_responses(client.with_token(key.token))

    assert total > 400
    assert Counter(first) == {ImportResult.NEW: total}
    assert Counter(again) == {ImportResult.UNCHANGED: total}
    assert [page["data"] for page in responses_after_import] == [page["data"] for page in responses]
    assert await find_problems(demo_database) == []


async def test_responses_of_a_server_leave_its_own_posts_unchanged(demo_database: Database) -> None:
    async with app_client(demo_database, token=TOKEN) as client:
        responses = await all_list_responses(client)
        ids = [post["post_id"] for page in responses for post in page["data"]["posts"]]
        for post_id in ids[:50]:
            responses.append((await client.get(f"/v1/posts/{post_id}/results")).json())
    before = await all_rows(demo_database)

    results = await import_responses(demo_database, DEMO_WORKSPACE_ID, *responses)

    assert Counter(results) == {ImportResult.UNCHANGED: len(ids) + 50}
    assert await all_rows(demo_database) == before


async def test_results_create_a_post_that_its_own_response_completes(acme: Tenant) -> None:
    results = {"post_id": POST, "post_status": "published", "results": [make_result()]}

    first = await import_responses(acme.database, acme.workspace, results)
    bare = success_data(await acme.client.get(f"/v1/posts/{POST}"))
    second = await import_responses(acme.database, acme.workspace, make_post_entry(), results)
    complete = success_data(await acme.client.get(f"/v1/posts/{POST}"))

    assert (first, second) == ([ImportResult.NEW], [ImportResult.CHANGED, ImportResult.UNCHANGED])
    destination = {
        **make_result(),
        "id": str(uuid5(UUID(POST), "7")),
        "social_account_id": 7,
        "last_error": None,
    }
    assert bare["content"] == ""
    assert bare["created_at"] == "2026-04-16T15:00:00.000Z"
    assert bare["destinations"] == [{**destination, "scheduled_for": bare["created_at"]}]
    assert complete == {
        **make_post_entry(),
        "id": POST,
        "post_status": "published",
        "account_ids": [7],
        "timezone": "UTC",
        "media_ids": [],
        "media": [],
        "platform_content": {},
        "campaign_id": None,
        "reference": None,
        "destinations": [{**destination, "scheduled_for": "2026-03-01T09:00:00.000Z"}],
    }


async def test_invalid_record_does_not_affect_the_others(acme: Tenant) -> None:
    posts = [
        make_post_entry(str(UUID(int=1))),
        make_post_entry(str(UUID(int=2)), content="nothing\0"),
        make_post_entry(str(UUID(int=3)), make_result(platform_post_id="\ud800")),
        make_post_entry(str(UUID(int=4))),
    ]

    results = await import_responses(acme.database, acme.workspace, {"posts": posts}, 1)

    assert results == [
        ImportResult.NEW,
        RejectedRecord(f"post {UUID(int=2)}", f"content {NUL}"),
        RejectedRecord(f"post {UUID(int=3)}", f"destinations[0].platform_post_id {SURROGATE}"),
        ImportResult.NEW,
        RejectedRecord("line 2", "The value is no post, list of posts or results of a post."),
    ]
    response = success_data(await acme.client.get("/v1/posts"))
    assert {post["post_id"] for post in response["posts"]} == {str(UUID(int=1)), str(UUID(int=4))}


async def test_earliest_and_latest_times_are_stored_and_returned(acme: Tenant) -> None:
    first, last = "1900-01-01T00:00:00.000Z", "9998-12-31T23:59:59.999Z"
    times = {"created_at": first, "updated_at": first, "scheduled_for": last}
    entry = make_post_entry(POST, make_result(published_at=last), **times)

    await import_responses(acme.database, acme.workspace, entry)

    response = success_data(await acme.client.get(f"/v1/posts/{POST}"))
    assert {name: response[name] for name in times} == times
    assert response["destinations"][0]["published_at"] == last
    assert await find_problems(acme.database) == []


async def test_one_batch_and_several_imports_store_the_same(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    history = [
        make_post_entry(POST, make_result(7, status="publishing", published_at=None)),
        make_post_entry(POST, make_result(7), make_result(8)),
        make_post_entry(POST, make_result(8), content="Edited", updated_at="2026-03-05T00:00:00Z"),
    ]

    in_one_batch = await import_responses(acme.database, acme.workspace, *history)
    one_by_one = [await import_responses(acme.database, other, response) for response in history]

    assert in_one_batch == [result for (result,) in one_by_one]
    rows = await all_rows(acme.database)
    for table in ("post", "destination", "account"):
        by_workspace = [
            [row[1:] for row in rows[table] if row[0] == workspace]
            for workspace in (acme.workspace, other)
        ]
        assert by_workspace[0] == by_workspace[1]
        assert by_workspace[0]


async def test_reference_is_imported_and_kept_by_a_source_that_lacks_it(acme: Tenant) -> None:
    async def read_reference() -> object:
        return success_data(await acme.client.get(f"/v1/posts/{POST}"))["reference"]

    later = [f"2026-03-0{day}T09:00:00.000Z" for day in (2, 3, 4)]
    references = []
    for fields in (
        {"reference": "spring"},
        {"updated_at": later[0]},
        {"updated_at": later[1], "reference": "summer"},
        {"updated_at": later[2], "reference": None},
    ):
        await import_responses(acme.database, acme.workspace, make_post_entry(**fields))
        references.append(await read_reference())

    assert references == ["spring", "spring", "summer", None]


async def test_destinations_are_marked_as_mirrored_in_a_mirror_only(acme: Tenant) -> None:
    mirror = await add_workspace(acme.database, mirror_of="https://example.com")
    kinds = {acme.workspace: WorkspaceKind.LOCAL, mirror: WorkspaceKind.MIRROR}
    entry = make_post_entry(POST, make_result(status="queued", published_at=None))
    for workspace, kind in kinds.items():
        assert await import_responses(acme.database, workspace, entry, kind=kind) == [
            ImportResult.NEW
        ]
        assert await import_responses(acme.database, workspace, entry, kind=kind) == [
            ImportResult.UNCHANGED
        ]

    async with acme.database.read_connection() as connection:
        rows = await connection.execute(select(Destination.workspace_id, Destination.is_mirrored))
        assert {row.workspace_id: row.is_mirrored for row in rows} == {
            acme.workspace: False,
            mirror: True,
        }
    assert await find_problems(acme.database) == []


async def test_unknown_accounts_are_added_as_inactive_with_their_numbers(acme: Tenant) -> None:
    known = await add_account(acme.database, acme.workspace, platform="x", account_name=None)
    response = make_post_entry(
        POST, make_result(known), make_result(40, account_name="x account 40"), make_result(41)
    )

    await import_responses(acme.database, acme.workspace, response)
    added = await add_account(acme.database, acme.workspace)

    accounts = success_data(await acme.client.get("/v1/accounts"))["accounts"]
    assert added == 42
    assert [
        (account["id"], account["account_name"], account["is_active"]) for account in accounts
    ] == [
        (known, "@acme1", True),
        (40, "x account 40", False),
        (41, "@acme41", False),
        (42, "acme", True),
    ]


async def test_account_on_another_platform_is_rejected_except_in_a_mirror(acme: Tenant) -> None:
    mirror = await add_workspace(acme.database, mirror_of="https://example.com")
    for workspace in (acme.workspace, mirror):
        await add_account(acme.database, workspace, id=7, platform="instagram")

    local = await import_responses(acme.database, acme.workspace, make_post_entry())
    mirrored = await import_responses(
        acme.database, mirror, make_post_entry(), kind=WorkspaceKind.MIRROR
    )

    sentence = "In this workspace, account 7 is on another platform."
    assert local == [RejectedRecord(f"post {POST}", sentence)]
    assert mirrored == [ImportResult.NEW]
    assert success_data(await acme.client.get("/v1/posts"))["posts"] == []
    assert await find_problems(acme.database) == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "The record differs from the post, which is managed on this server."),
        ({"deleted_at": NOW, "imported_at": NOW}, "The post was deleted on this server."),
    ],
    ids=["created", "deleted"],
)
async def test_post_that_was_created_or_deleted_here_is_not_changed(
    acme: Tenant, fields: dict[str, Any], reason: str
) -> None:
    account = await add_account(acme.database, acme.workspace, id=7, platform="x")
    await add_post(acme.database, acme.workspace, {account: published()}, id=UUID(POST), **fields)
    before = await all_rows(acme.database)

    entry = make_post_entry(updated_at="2026-05-01T00:00:00Z")
    results = await import_responses(acme.database, acme.workspace, entry)

    assert results == [RejectedRecord(f"post {POST}", reason)]
    assert await all_rows(acme.database) == before


async def test_id_of_another_destination_is_rejected(acme: Tenant) -> None:
    other, taken = str(UUID(int=1)), str(UUID(int=2))
    first = make_post_entry(POST, make_result(id=taken))
    second = make_post_entry(other, make_result(id=taken))

    assert await import_responses(acme.database, acme.workspace, first) == [ImportResult.NEW]
    in_another_import = await import_responses(acme.database, acme.workspace, second)
    in_the_same = await import_responses(acme.database, acme.workspace, first, second)

    rejection = RejectedRecord(f"post {other}", "A destination has the id of another destination.")
    assert in_another_import == [rejection]
    assert in_the_same == [ImportResult.UNCHANGED, rejection]


# Isolation of workspaces.


async def test_other_workspaces_with_the_same_ids_are_unchanged(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    await import_responses(acme.database, other, make_post_entry())
    before = await all_rows(acme.database)

    results = await import_responses(
        acme.database,
        acme.workspace,
        make_post_entry(content="Another", updated_at="2026-03-09T00:00:00Z"),
    )

    assert results == [ImportResult.NEW]
    after = await all_rows(acme.database)
    for table in ("post", "destination", "account", "workspace"):
        other_rows = [row for row in after[table] if row[0] == other]
        assert other_rows
        assert other_rows == [row for row in before[table] if row[0] == other]


async def test_import_without_the_workspace_filter_finds_posts_of_other_workspaces(
    anyio_backend: str, database_url: str
) -> None:
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace: statement
    ) as unfiltered:
        workspaces = [await add_workspace(unfiltered) for _ in range(2)]
        results = [
            await import_responses(unfiltered, workspace, make_post_entry())
            for workspace in workspaces
        ]

    assert results == [[ImportResult.NEW], [ImportResult.UNCHANGED]]


async def test_rest_of_the_database_is_unchanged(database: Database) -> None:
    ids = await add_row_in_every_table(database)
    before = await all_rows(database)

    await import_responses(database, ids.workspace, make_post_entry())

    after = await all_rows(database)
    assert [row for row in after["post"] if str(row[1]) != POST] == before["post"]
    for table in before.keys() - {"post", "destination", "account", "workspace", "event"}:
        assert after[table] == before[table]
    assert after["event"][: len(before["event"])] == before["event"]


# Dry runs, repetition and concurrency.


async def test_dry_run_gives_the_results_of_the_import_and_writes_nothing(acme: Tenant) -> None:
    await import_responses(acme.database, acme.workspace, make_post_entry())
    responses = [
        make_post_entry(),
        make_post_entry(content="Edited", updated_at="2026-03-05T00:00:00Z"),
        *(make_post_entry(str(UUID(int=number))) for number in range(1, 500)),
        make_post_entry(str(UUID(int=1))),
        make_post_entry(str(UUID(int=2)), updated_at="2026-03-05T00:00:00Z"),
        make_post_entry(str(UUID(int=3)), make_result(7, platform="instagram")),
        {"post_id": POST},
    ]
    before = await all_rows(acme.database)

    workspace = WorkspaceRef(acme.workspace, WorkspaceKind.LOCAL)
    expected = await collect_results(
        dry_run_import(acme.database, workspace, records_of_lines(*responses), now=LATER)
    )

    assert await all_rows(acme.database) == before
    assert await import_responses(acme.database, acme.workspace, *responses) == expected
    assert expected == [
        ImportResult.UNCHANGED,
        ImportResult.CHANGED,
        *[ImportResult.NEW] * 499,
        ImportResult.UNCHANGED,
        ImportResult.CHANGED,
        RejectedRecord(
            f"post {UUID(int=3)}", "In this workspace, account 7 is on another platform."
        ),
        RejectedRecord(f"post {POST}", "destinations must be a list."),
    ]


async def test_concurrent_imports_create_each_post_once(acme: Tenant, database_url: str) -> None:
    responses = [make_post_entry(str(UUID(int=number))) for number in range(1, 601)]

    async def import_in_process(number: int) -> list[ImportResult | RejectedRecord]:
        async with Database(database_url, timeout=timedelta(minutes=1)) as database:
            order = responses if number % 2 else reversed(responses)
            return await import_responses(database, acme.workspace, *order)

    results = await asyncio.gather(*map(import_in_process, range(4)))

    counts = Counter(result for process_results in results for result in process_results)
    assert counts == {ImportResult.NEW: 600, ImportResult.UNCHANGED: 1800}
    assert await find_problems(acme.database) == []


async def test_post_with_the_maximum_number_of_destinations_is_imported(acme: Tenant) -> None:
    entries = [make_result(number) for number in range(1, 501)]
    posts = [make_post_entry(str(UUID(int=number)), *entries) for number in (1, 2)]
    results = await import_responses(acme.database, acme.workspace, *posts)
    assert results == [ImportResult.NEW] * 2
