"""Importing into a database: what was answered elsewhere is answered here, once, and nothing else changes."""

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
from app.domain.destinations import DestinationState, DestinationStatus
from app.domain.ids import WorkspaceId
from app.domain.importing.importer import ImportResult
from app.domain.importing.json_stream import JsonText
from app.domain.importing.records import PostRecord, RejectedRecord, parse_records
from app.domain.workspaces import WorkspaceKind
from app.services.expirations import fail_due_on_blocked_accounts, settle_expired_leases
from app.services.imports import dry_run_import, import_records
from tests.clients import Client, Tenant, app_client
from tests.db.all_tables import add_row_in_every_table, all_rows
from tests.factories import (
    KEY_PREFIX,
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    published,
    queued,
    waiting_for_retry,
)
from tests.rest.envelope import success_data

BAD_TIME = (
    "The time must be an ISO 8601 date and time in the years 1900 to 9998,"
    " such as 2026-04-15T14:30:05.000Z; without an offset it is read as UTC."
)
LATER = NOW + timedelta(days=1)
POST = "0f47ac10-58cc-4372-a567-0e02b2c3d479"
TOKEN = KEY_PREFIX + "0" * 32


def a_result(account_id: int = 7, **said: object) -> dict[str, object]:
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
        **said,
    }


def a_post(
    post_id: object = POST, *results: dict[str, object], **said: object
) -> dict[str, object]:
    return {
        "post_id": post_id,
        "status": "published",
        "content": "Spring sale",
        "scheduled_for": "2026-03-01T09:00:00.000Z",
        "destinations": list(results or [a_result()]),
        "created_at": "2026-02-27T12:00:00.000Z",
        "updated_at": "2026-03-01T09:00:02.000Z",
        **said,
    }


def records(*answers: object) -> Iterator[PostRecord | RejectedRecord]:
    """As they are found in a file with one answer a line."""
    for line, answer in enumerate(answers, 1):
        yield from parse_records(JsonText(line, answer))


async def brought_in(
    database: Database,
    workspace: WorkspaceId,
    *answers: object,
    kind: WorkspaceKind = WorkspaceKind.LOCAL,
) -> list[ImportResult | RejectedRecord]:
    return await outcomes(
        import_records(database, WorkspaceRef(workspace, kind), records(*answers), now=LATER)
    )


async def rehearsed(
    database: Database, workspace: WorkspaceId, *answers: object
) -> list[ImportResult | RejectedRecord]:
    return await outcomes(
        dry_run_import(
            database, WorkspaceRef(workspace, WorkspaceKind.LOCAL), records(*answers), now=LATER
        )
    )


async def outcomes(
    effects: AsyncIterator[ImportResult | RejectedRecord],
) -> list[ImportResult | RejectedRecord]:
    return [effect async for effect in effects]


async def every_list_answer(client: Client) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    while not answers or answers[-1]["data"]["pagination"]["has_more"]:
        response = await client.get(f"/v1/posts?limit=100&offset={100 * len(answers)}")
        answers.append(response.json())
    return answers


@pytest.fixture
async def demo(database: Database) -> Database:
    """In which a server that starts finds nothing to do on its own."""
    await load_demo(database, token=TOKEN, key_prefix=KEY_PREFIX, now=NOW)
    await settle_expired_leases(database, NOW)
    await fail_due_on_blocked_accounts(database, NOW)
    return database


async def test_what_a_server_answers_is_answered_again_after_its_import(demo: Database) -> None:
    workspace = await add_workspace(demo)
    key = await add_api_key(demo, workspace)
    async with app_client(demo, token=TOKEN) as client:
        answers = await every_list_answer(client)
        total = answers[0]["data"]["total"]

        first = await brought_in(demo, workspace, *answers)
        again = await brought_in(demo, workspace, *answers)
        answered = await every_list_answer(client.with_token(key.token))

    assert total > 400
    assert Counter(first) == {ImportResult.NEW: total}
    assert Counter(again) == {ImportResult.UNCHANGED: total}
    assert [each["data"] for each in answered] == [each["data"] for each in answers]
    assert await find_problems(demo) == []


async def test_a_server_says_nothing_new_to_itself(demo: Database) -> None:
    async with app_client(demo, token=TOKEN) as client:
        lists = await every_list_answer(client)
        ids = [post["post_id"] for answer in lists for post in answer["data"]["posts"]]
        results = [(await client.get(f"/v1/posts/{each}/results")).json() for each in ids[:50]]
    before = await all_rows(demo)

    effects = await brought_in(demo, DEMO_WORKSPACE_ID, *lists, *results)

    assert Counter(effects) == {ImportResult.UNCHANGED: len(ids) + len(results)}
    assert await all_rows(demo) == before


async def test_results_alone_make_a_post_that_its_own_answer_completes(acme: Tenant) -> None:
    results = {"post_id": POST, "post_status": "published", "results": [a_result()]}

    first = await brought_in(acme.database, acme.workspace, results)
    bare = success_data(await acme.client.get(f"/v1/posts/{POST}"))
    second = await brought_in(acme.database, acme.workspace, a_post(), results)
    complete = success_data(await acme.client.get(f"/v1/posts/{POST}"))

    assert (first, second) == ([ImportResult.NEW], [ImportResult.CHANGED, ImportResult.UNCHANGED])
    destination = {
        **a_result(),
        "id": str(uuid5(UUID(POST), "7")),
        "social_account_id": 7,
        "last_error": None,
    }
    assert bare["content"] == ""
    assert bare["created_at"] == "2026-04-16T15:00:00.000Z"
    assert bare["destinations"] == [{**destination, "scheduled_for": bare["created_at"]}]
    assert complete == {
        "post_id": POST,
        "id": POST,
        "status": "published",
        "post_status": "published",
        "content": "Spring sale",
        "account_ids": [7],
        "scheduled_for": "2026-03-01T09:00:00.000Z",
        "timezone": "UTC",
        "media_ids": [],
        "media": [],
        "platform_content": {},
        "campaign_id": None,
        "destinations": [{**destination, "scheduled_for": "2026-03-01T09:00:00.000Z"}],
        "created_at": "2026-02-27T12:00:00.000Z",
        "updated_at": "2026-03-01T09:00:02.000Z",
    }


async def test_a_broken_record_costs_no_other(acme: Tenant) -> None:
    posts = [
        a_post(str(UUID(int=1))),
        a_post(str(UUID(int=2)), content="nothing\0"),
        a_post(str(UUID(int=3)), a_result(platform_post_id="\ud800")),
        a_post(str(UUID(int=4)), a_result(platform_post_url="ftp://x.com")),
        a_post(str(UUID(int=5)), platform_content={"x": {"n": 2**63}}),
        a_post(str(UUID(int=6))),
    ]

    effects = await brought_in(acme.database, acme.workspace, {"posts": posts}, 1)

    assert effects == [
        ImportResult.NEW,
        RejectedRecord(f"post {UUID(int=2)}", "content must not contain a NUL character."),
        RejectedRecord(
            f"post {UUID(int=3)}",
            "destinations[0].platform_post_id must not contain a lone surrogate.",
        ),
        RejectedRecord(
            f"post {UUID(int=4)}",
            "destinations[0].platform_post_url must be a URL that starts with http:// or https://.",
        ),
        RejectedRecord(f"post {UUID(int=5)}", "platform_content.x.n must fit into 64 bits."),
        ImportResult.NEW,
        RejectedRecord("line 2", "It is no post, no list of posts and no results of a post."),
    ]
    answer = success_data(await acme.client.get("/v1/posts"))
    assert {post["post_id"] for post in answer["posts"]} == {str(UUID(int=1)), str(UUID(int=6))}


async def test_times_at_the_ends_of_what_is_taken_are_answered_again(acme: Tenant) -> None:
    first, last = "1900-01-01T00:00:00.000Z", "9998-12-31T23:59:59.999Z"
    times = dict.fromkeys(["created_at", "updated_at"], first)
    posts = [
        a_post(POST, a_result(published_at=last), scheduled_for=last, **times),
        a_post(str(UUID(int=1)), created_at="0001-01-01T00:00:00Z"),
        a_post(str(UUID(int=2)), scheduled_for="9999-12-31T00:00:00Z"),
    ]

    assert await brought_in(acme.database, acme.workspace, *posts) == [
        ImportResult.NEW,
        RejectedRecord(f"post {posts[1]['post_id']}", f"created_at: {BAD_TIME}"),
        RejectedRecord(f"post {posts[2]['post_id']}", f"scheduled_for: {BAD_TIME}"),
    ]

    answer = success_data(await acme.client.get(f"/v1/posts/{POST}"))
    assert {name: answer[name] for name in ("created_at", "updated_at", "scheduled_for")} == {
        **times,
        "scheduled_for": last,
    }
    assert answer["destinations"][0]["published_at"] == last
    assert await find_problems(acme.database) == []


async def test_a_newer_answer_changes_what_is_stored(acme: Tenant) -> None:
    waiting = {"status": "queued", "published_at": None, "attempts": 0}
    before = a_post(
        POST,
        a_result(7, **waiting),
        a_result(8, **waiting),
        a_result(9, status="failed", published_at=None, attempts=3, error="Timed out"),
    )
    after = a_post(
        POST,
        a_result(9, status="failed", published_at=None, attempts=3, error="Timed out"),
        a_result(10),
        a_result(7),
        content="SUMMER sale",
        updated_at="2026-03-02T09:00:00.000Z",
    )

    effects = await brought_in(acme.database, acme.workspace, before, after, before)

    assert effects == [ImportResult.NEW, ImportResult.CHANGED, ImportResult.UNCHANGED]
    (post,) = success_data(await acme.client.get("/v1/posts?search=summer"))["posts"]
    assert post["account_ids"] == [9, 10, 7]
    assert [each["status"] for each in post["destinations"]] == ["failed", "published", "published"]
    data = await acme.client.query(
        "query($id: UUID!) { post(postId: $id) { version importedAt } }", id=POST
    )
    assert data["post"] == {"version": 2, "importedAt": "2026-04-16T15:00:00.000Z"}
    assert await find_problems(acme.database) == []


async def test_changes_of_earlier_imports_are_the_same_in_one_batch_and_in_several(
    acme: Tenant,
) -> None:
    other = await add_workspace(acme.database)
    history = [
        a_post(POST, a_result(7, status="publishing", published_at=None)),
        a_post(POST, a_result(7), a_result(8)),
        a_post(POST, a_result(8), content="Edited", updated_at="2026-03-05T00:00:00Z"),
    ]

    at_once = await brought_in(acme.database, acme.workspace, *history)
    one_by_one = [await brought_in(acme.database, other, each) for each in history]

    assert at_once == [effect for (effect,) in one_by_one]
    rows = await all_rows(acme.database)
    for table in ("post", "destination", "account"):
        by_workspace = [
            [row[1:] for row in rows[table] if row[0] == workspace]
            for workspace in (acme.workspace, other)
        ]
        assert by_workspace[0] == by_workspace[1]
        assert by_workspace[0]


async def test_unknown_accounts_are_added_as_inactive_and_their_numbers_are_taken(
    acme: Tenant,
) -> None:
    known = await add_account(acme.database, acme.workspace, platform="x", account_name=None)
    answer = a_post(POST, a_result(known), a_result(40, account_name="x account 40"), a_result(41))

    await brought_in(acme.database, acme.workspace, answer)
    added = await add_account(acme.database, acme.workspace)

    accounts = success_data(await acme.client.get("/v1/accounts"))["accounts"]
    assert added == 42
    assert [(each["id"], each["account_name"], each["is_active"]) for each in accounts] == [
        (known, "@acme1", True),
        (40, "x account 40", False),
        (41, "@acme41", False),
        (42, "acme", True),
    ]


async def test_an_account_on_another_platform_is_refused_but_in_a_mirror(
    acme: Tenant,
) -> None:
    mirror = await add_workspace(acme.database, mirror_of="https://example.com")
    for workspace in (acme.workspace, mirror):
        await add_account(acme.database, workspace, id=7, platform="instagram")

    local = await brought_in(acme.database, acme.workspace, a_post())
    mirrored = await brought_in(acme.database, mirror, a_post(), kind=WorkspaceKind.MIRROR)

    sentence = "In this workspace, account 7 is on another platform."
    assert local == [RejectedRecord(f"post {POST}", sentence)]
    assert mirrored == [ImportResult.NEW]
    assert success_data(await acme.client.get("/v1/posts"))["posts"] == []
    assert await find_problems(acme.database) == []


@pytest.mark.parametrize(
    "state", [published(), queued(), waiting_for_retry()], ids=lambda state: str(state.status)
)
async def test_a_post_that_was_made_here_is_not_changed(
    acme: Tenant, state: DestinationState
) -> None:
    account = await add_account(acme.database, acme.workspace, id=7, platform="x")
    await add_post(acme.database, acme.workspace, {account: state}, id=UUID(POST))
    before = await all_rows(acme.database)

    effects = await brought_in(
        acme.database, acme.workspace, a_post(updated_at="2026-05-01T00:00:00Z")
    )

    sentence = "It says something else than this server, which made the post or took it up itself."
    assert effects == [RejectedRecord(f"post {POST}", sentence)]
    assert await all_rows(acme.database) == before


async def test_a_post_that_was_deleted_here_stays_deleted(acme: Tenant) -> None:
    await add_post(acme.database, acme.workspace, id=UUID(POST), deleted_at=NOW, imported_at=NOW)
    before = await all_rows(acme.database)

    effects = await brought_in(acme.database, acme.workspace, a_post())

    assert effects == [RejectedRecord(f"post {POST}", "It was deleted here.")]
    assert await all_rows(acme.database) == before


async def test_the_id_of_another_destination_is_refused(acme: Tenant) -> None:
    other, taken = str(UUID(int=1)), str(UUID(int=2))
    first = a_post(POST, a_result(id=taken))
    second = a_post(other, a_result(id=taken))

    assert await brought_in(acme.database, acme.workspace, first) == [ImportResult.NEW]
    in_another_import = await brought_in(acme.database, acme.workspace, second)
    in_the_same = await brought_in(acme.database, acme.workspace, first, second)

    refusal = RejectedRecord(f"post {other}", "It has the id of another destination.")
    assert in_another_import == [refusal]
    assert in_the_same == [ImportResult.UNCHANGED, refusal]


async def test_nothing_that_was_imported_can_be_claimed(acme: Tenant) -> None:
    late = {"status": "queued", "published_at": None, "attempts": 0}
    retry = {**late, "next_retry_at": "2026-03-01T09:10:00Z", "attempts": 1, "error": "Timed out"}
    running = {**late, "status": "publishing"}

    await brought_in(
        acme.database,
        acme.workspace,
        a_post(POST, a_result(7, **late), a_result(8, **retry), a_result(9, **running)),
    )

    statement = select(
        Destination.status, Destination.claimable_at, Destination.fence, Destination.lease_token
    ).order_by(Destination.position)
    reader = acme.database.read(acme.workspace)
    assert [tuple(row) for row in await reader.rows(statement)] == [
        (DestinationStatus.QUEUED, None, 0, None),
        (DestinationStatus.QUEUED, None, 0, None),
        (DestinationStatus.PUBLISHING, None, 0, None),
    ]


# The wall between tenants.


async def test_other_workspaces_with_the_same_ids_are_left_alone(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    await brought_in(acme.database, other, a_post())
    before = await all_rows(acme.database)

    effects = await brought_in(
        acme.database, acme.workspace, a_post(content="Another", updated_at="2026-03-09T00:00:00Z")
    )

    assert effects == [ImportResult.NEW]
    after = await all_rows(acme.database)
    for table in ("post", "destination", "account", "workspace"):
        kept = [row for row in after[table] if row[0] == other]
        assert kept
        assert kept == [row for row in before[table] if row[0] == other]


async def test_without_the_wall_that_would_be_noticed(
    anyio_backend: str, database_url: str
) -> None:
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace: statement
    ) as unwalled:
        workspaces = [await add_workspace(unwalled) for _ in range(2)]
        effects = [await brought_in(unwalled, each, a_post()) for each in workspaces]

    assert effects == [[ImportResult.NEW], [ImportResult.UNCHANGED]]


async def test_the_rest_of_the_database_is_left_alone(database: Database) -> None:
    ids = await add_row_in_every_table(database)
    before = await all_rows(database)

    await brought_in(database, ids.workspace, a_post())

    after = await all_rows(database)
    assert [row for row in after["post"] if str(row[1]) != POST] == before["post"]
    changed = {"post", "destination", "account", "workspace", "event"}
    untouched = before.keys() - changed
    assert {table: after[table] for table in untouched} == {
        table: before[table] for table in untouched
    }
    assert after["event"][: len(before["event"])] == before["event"]


# Rehearsing, running twice, running at once.


async def test_a_rehearsal_says_what_the_import_will_do_and_writes_nothing(acme: Tenant) -> None:
    await brought_in(acme.database, acme.workspace, a_post())
    answers = [
        a_post(),
        a_post(content="Edited", updated_at="2026-03-05T00:00:00Z"),
        *(a_post(str(UUID(int=number))) for number in range(1, 500)),
        a_post(str(UUID(int=1))),
        a_post(str(UUID(int=2)), updated_at="2026-03-05T00:00:00Z"),
        a_post(str(UUID(int=3)), a_result(7, platform="instagram")),
        {"post_id": POST},
    ]
    before = await all_rows(acme.database)

    expected = await rehearsed(acme.database, acme.workspace, *answers)

    assert await all_rows(acme.database) == before
    assert await brought_in(acme.database, acme.workspace, *answers) == expected
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


async def test_an_import_that_breaks_off_is_run_again(acme: Tenant) -> None:
    answers = [a_post(str(UUID(int=number))) for number in range(1, 1001)]

    def broken_off() -> Iterator[PostRecord | RejectedRecord]:
        yield from records(*answers[:700])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await outcomes(
            import_records(
                acme.database,
                WorkspaceRef(acme.workspace, WorkspaceKind.LOCAL),
                broken_off(),
                now=LATER,
            )
        )
    again = await brought_in(acme.database, acme.workspace, *answers)

    assert Counter(again) == {ImportResult.UNCHANGED: 600, ImportResult.NEW: 400}


async def test_imports_at_once_bring_everything_in_once(acme: Tenant, database_url: str) -> None:
    answers = [a_post(str(UUID(int=number))) for number in range(1, 601)]

    async def one_of_four(number: int) -> list[ImportResult | RejectedRecord]:
        async with Database(database_url, timeout=timedelta(minutes=1)) as database:
            order = answers if number % 2 else reversed(answers)
            return await brought_in(database, acme.workspace, *order)

    effects = await asyncio.gather(*map(one_of_four, range(4)))

    counts = Counter(effect for each in effects for effect in each)
    assert counts == {ImportResult.NEW: 600, ImportResult.UNCHANGED: 1800}
    assert await find_problems(acme.database) == []


async def test_a_post_with_as_many_destinations_as_there_may_be(acme: Tenant) -> None:
    results = [a_result(number) for number in range(1, 502)]

    effects = await brought_in(
        acme.database,
        acme.workspace,
        *(a_post(str(UUID(int=number)), *results[:500]) for number in (1, 2)),
        a_post(str(UUID(int=3)), *results),
    )

    sentence = "destinations has 501 entries; at most 500 are allowed."
    assert effects == [
        ImportResult.NEW,
        ImportResult.NEW,
        RejectedRecord(f"post {UUID(int=3)}", sentence),
    ]
