"""Manual retries: decisions by state, filters, pages, idempotency, and errors without effect."""

from asyncio import gather
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.manual_retries import RetryRefusal
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_post,
    being_verified,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.graphql.schema.mutations.mutation_calls import (
    expect_refusal,
    run_mutation,
    stored_events,
)
from tests.graphql.schema.mutations.test_bulk_plans import TOO_BROAD
from tests.graphql.tenant_objects import add_post_in_states, add_tenant, client_with_settings

YESTERDAY = NOW - timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)

RETRY = """
fragment R on DestinationRetry {
  destinationId postId accountId platform retried refusal fix
  destination {
    status outcome scheduledFor attempts nextRetryAt error errorCategory errorCode isOverdue
    publishedAt pollAfterSeconds
  }
}
"""
RETRY_POST = f"""
mutation($input: RetryPostInput!) {{
  payload: retryPost(input: $input) {{
    post {{ postId status version updatedAt }}
    retriedCount
    retries {{ ...R }}
  }}
}}
{RETRY}
"""
RETRY_MATCHING = f"""
mutation($input: RetryDestinationsInput!) {{
  payload: retryDestinations(input: $input) {{
    retriedCount refusedCount hasMore endCursor retries {{ ...R }}
  }}
}}
{RETRY}
"""

QUEUED = {
    "status": "QUEUED",
    "outcome": "NONE",
    "scheduledFor": "2026-04-14T15:00:00.000Z",
    "attempts": 3,
    "nextRetryAt": None,
    "error": None,
    "errorCategory": None,
    "errorCode": None,
    "isOverdue": False,
    "publishedAt": None,
    "pollAfterSeconds": 2,
}
FIXES = {refusal.name: refusal.fix for refusal in RetryRefusal}
STATES: Mapping[str, tuple[DestinationState, str | None]] = {
    "failed": (failed(due_at=YESTERDAY, attempts=3), None),
    "auth": (failed(category=ErrorCategory.AUTH, code="AUTH"), None),
    "unknown": (unknown(), "OUTCOME_UNKNOWN"),
    "being verified": (being_verified(), "OUTCOME_UNKNOWN"),
    "queued": (queued(NOW + timedelta(hours=1)), "NOT_FAILED"),
    "due": (queued(YESTERDAY), "NOT_FAILED"),
    "waiting": (waiting_for_retry(NOW + timedelta(minutes=1)), "NOT_FAILED"),
    "claimed": (claimed(), "IN_FLIGHT"),
    "started": (started(), "IN_FLIGHT"),
    "published": (published(), "ALREADY_PUBLISHED"),
    "draft": (draft(), "NOT_FAILED"),
}
"""States of a destination, with the reason for refusing a retry."""


async def add_every_retry_state(acme: Tenant) -> dict[str, str]:
    """Add one post per state on its own account; return the state names by destination."""
    return {
        str((await add_post_in_states(acme, state)).destinations[0]): name
        for name, (state, _) in STATES.items()
    }


async def stored_states(tenant: Tenant) -> dict[str, tuple[Any, ...]]:
    return {str(row[1]): row for row in (await all_rows(tenant.database))["destination"]}


async def test_retry_queues_failed_and_keeps_published_destinations(acme: Tenant) -> None:
    one, other = [
        await add_account(acme.database, acme.workspace, platform=platform)
        for platform in ("x", "tiktok")
    ]
    post = await add_post(
        acme.database,
        acme.workspace,
        {one: published(YESTERDAY, due_at=YESTERDAY), other: failed(due_at=YESTERDAY, attempts=3)},
        version=7,
        created_at=YESTERDAY,
    )
    published_id, retried_id = post.destinations
    before = await stored_states(acme)

    answer = await run_mutation(acme, RETRY_POST, postId=str(post.id))

    assert (await stored_states(acme))[str(published_id)] == before[str(published_id)]
    assert answer["post"] == {
        "postId": str(post.id),
        "status": "PUBLISHING",
        "version": 8,
        "updatedAt": "2026-04-15T15:00:00.000Z",
    }
    assert answer["retriedCount"] == 1
    assert answer["retries"] == [
        {
            "destinationId": str(published_id),
            "postId": str(post.id),
            "accountId": one,
            "platform": "x",
            "retried": False,
            "refusal": "ALREADY_PUBLISHED",
            "fix": FIXES["ALREADY_PUBLISHED"],
            "destination": QUEUED
            | {"status": "PUBLISHED", "outcome": "PUBLISHED", "attempts": 1}
            | {"publishedAt": "2026-04-14T15:00:00.000Z", "pollAfterSeconds": None},
        },
        {
            "destinationId": str(retried_id),
            "postId": str(post.id),
            "accountId": other,
            "platform": "tiktok",
            "retried": True,
            "refusal": None,
            "fix": None,
            "destination": QUEUED,
        },
    ]
    post_event, destination_event = await stored_events(acme.database)
    assert post_event[:3] == (1, "post.changed", "retryPost")
    assert destination_event[:3] == (2, "destination.changed", "retryPost")
    assert destination_event.changed == {
        *("status", "outcome", "claimable_at", "round_attempts", "round_started_at"),
        *("error", "error_category", "error_code", "settled_at", "due_day", "updated_at"),
    }


async def test_force_retries_unknown_outcomes_too(acme: Tenant) -> None:
    post = await add_post_in_states(acme, unknown(), started(), queued())
    before = await all_rows(acme.database)

    refused = await run_mutation(acme, RETRY_POST, postId=str(post.id))
    assert await all_rows(acme.database) == before
    forced = await run_mutation(acme, RETRY_POST, postId=str(post.id), force=True)

    refusals = ["OUTCOME_UNKNOWN", "IN_FLIGHT", "NOT_FAILED"]
    assert [retry["refusal"] for retry in refused["retries"]] == refusals
    assert [retry["refusal"] for retry in forced["retries"]] == [None, *refusals[1:]]
    assert (refused["retriedCount"], forced["retriedCount"]) == (0, 1)


async def test_post_is_retried_on_selected_accounts(acme: Tenant) -> None:
    key = {"postId": str((await add_post_in_states(acme, failed(), failed(), failed())).id)}

    none = await run_mutation(acme, RETRY_POST, **key, accountIds=[])
    some = await run_mutation(acme, RETRY_POST, **key, accountIds=[3, 1, 1])

    assert (none["retriedCount"], none["retries"]) == (0, [])
    retried = [(retry["accountId"], retry["retried"]) for retry in some["retries"]]
    assert retried == [(1, True), (3, True)]
    assert some["post"]["status"] == "PUBLISHING"
    assert await expect_refusal(acme, RETRY_POST, **key, accountIds=[1, 99]) == (
        "VALIDATION_ERROR",
        "input.accountIds",
        "The post does not go to account 99.",
    )
    error = await expect_refusal(acme, RETRY_POST, **key, accountIds=[0])
    assert error[:2] == ("INVALID_ID", "input.accountIds")


async def test_retry_of_invisible_post_is_not_found(acme: Tenant) -> None:
    deleted = await add_post_in_states(acme, failed(), deleted_at=NOW)
    for post_id in (deleted.id, uuid4()):
        assert await expect_refusal(acme, RETRY_POST, postId=str(post_id)) == (
            "NOT_FOUND",
            None,
            "The post was not found: this workspace has none with that id.",
        )


async def test_imported_post_is_not_retried(acme: Tenant) -> None:
    post = await add_post_in_states(acme, failed(), imported_at=NOW)
    assert await expect_refusal(acme, RETRY_POST, postId=str(post.id)) == (
        "CONFLICT",
        None,
        "The post was imported: retry it in the service that publishes it.",
    )
    for dry_run in (True, False):
        answer = await run_mutation(
            acme, RETRY_MATCHING, filter={"postId": [str(post.id)]}, dryRun=dry_run
        )
        assert answer["retries"] == []


async def test_filter_retries_matching_failures(acme: Tenant) -> None:
    names = await add_every_retry_state(acme)
    before = await stored_states(acme)

    answer = await run_mutation(acme, RETRY_MATCHING, filter={"platform": ["instagram"]})

    assert {names[retry["destinationId"]]: retry["refusal"] for retry in answer["retries"]} == {
        "failed": None,
        "auth": None,
        "unknown": "OUTCOME_UNKNOWN",
        "being verified": "OUTCOME_UNKNOWN",
    }
    assert (answer["retriedCount"], answer["refusedCount"]) == (2, 2)
    assert answer["hasMore"] is False
    after = await stored_states(acme)
    assert {names[key] for key in after if after[key] != before[key]} == {"failed", "auth"}
    assert [event[::2][:2] for event in await stored_events(acme.database)] == [
        (seq, "retryDestinations") for seq in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize("name", ["errorCode", "destinationId", "cancelled"])
async def test_cancelled_destinations_are_retried_only_by_name(acme: Tenant, name: str) -> None:
    cancelled = failed(category=ErrorCategory.PERMANENT, code="CANCELLED")
    posts = [await add_post_in_states(acme, state) for state in (cancelled, failed(), unknown())]
    ids = [str(post.id) for post in posts]
    names = {
        "errorCode": ["CANCELLED"],
        "destinationId": [str(posts[0].destinations[0])],
        "cancelled": True,
    }

    answer = await run_mutation(acme, RETRY_MATCHING, filter={"postId": ids})
    repeated = await run_mutation(acme, RETRY_MATCHING, filter={"postId": ids, name: names[name]})

    assert {retry["postId"]: retry["retried"] for retry in answer["retries"]} == {
        ids[1]: True,
        ids[2]: False,
    }
    assert [(retry["postId"], retry["retried"]) for retry in repeated["retries"]] == [
        (ids[0], True)
    ]


async def test_dry_run_decides_like_run_and_writes_nothing(acme: Tenant) -> None:
    names = await add_every_retry_state(acme)
    statuses = ["QUEUED", "PUBLISHING", "PUBLISHED", "FAILED"]
    everything = {"filter": {"platform": ["instagram"], "status": statuses}}
    before = await all_rows(acme.database)

    dry = await run_mutation(acme, RETRY_MATCHING, **everything, dryRun=True, idempotencyKey="k")
    assert await all_rows(acme.database) == before
    run = await run_mutation(acme, RETRY_MATCHING, **everything, idempotencyKey="k")

    for answer in (dry, run):
        for retry in answer["retries"]:
            del retry["destination"]
    assert dry == run
    assert {names[retry["destinationId"]]: retry["refusal"] for retry in dry["retries"]} == {
        name: expected for name, (_, expected) in STATES.items()
    }
    assert all(retry["fix"] == FIXES.get(retry["refusal"]) for retry in dry["retries"])


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"failedAfter": "2026-04-15T15:00:00.000Z"}, 3),
        ({"failedBefore": "2026-04-15T15:00:00.001Z"}, 3),
        ({"maxAttempts": 2}, 3),
        ({"outcome": ["UNKNOWN"], "platform": ["instagram"]}, 1),
        ({"outcome": ["NONE", "PUBLISHED"], "accountId": [1]}, 0),
        ({"errorCode": ["CAPTION_TOO_LONG"], "maxAttempts": 1}, 1),
        ({"status": None, "accountId": [1, 5]}, 1),
    ],
)
async def test_filter_of_retry_matches_failures_like_that_of_list(
    acme: Tenant, filters: dict[str, Any], count: int
) -> None:
    for attempts in (1, 2, 3):
        settled_at = NOW + (attempts - 2) * MILLISECOND
        await add_post_in_states(
            acme, failed(due_at=YESTERDAY, settled_at=settled_at, attempts=attempts)
        )
    for state in (unknown(due_at=YESTERDAY, settled_at=NOW), published(), queued()):
        await add_post_in_states(acme, state)

    listed = await acme.client.query(
        "query($filter: DestinationFilter) { destinations(filter: $filter) { nodes { destinationId } } }",
        filter={**filters, "status": ["FAILED"]},
    )
    dry = await run_mutation(acme, RETRY_MATCHING, filter=filters, dryRun=True)

    matches = [retry["destinationId"] for retry in dry["retries"]]
    assert matches == [node["destinationId"] for node in listed["destinations"]["nodes"]]
    assert len(matches) == count


async def test_filter_that_matches_everything_is_rejected(acme: Tenant) -> None:
    await add_post_in_states(acme, failed())
    everything: list[dict[str, Any]] = [
        {},
        {"status": None, "postId": None},
        {"status": ["FAILED"], "outcome": ["FAILED", "UNKNOWN"], "platform": None},
        {"overdue": False},
        {"retrying": False, "duplicated": False, "cancelled": False},
        {"draft": False, "imported": False},
        {"search": "", "outcome": ["FAILED"]},
    ]
    for filters in everything:
        for dry_run in (False, True):
            error = await expect_refusal(acme, RETRY_MATCHING, filter=filters, dryRun=dry_run)
            assert error == TOO_BROAD, filters


async def test_filter_that_matches_nothing_retries_nothing(acme: Tenant) -> None:
    await add_post_in_states(acme, failed())
    foreign = await add_post_in_states(await add_tenant(acme), failed(), failed())
    before = await all_rows(acme.database)
    nothing: list[dict[str, Any]] = [
        {"postId": []},
        {"accountId": []},
        {"platform": []},
        {"status": []},
        {"errorCode": [], "outcome": []},
        {"overdue": True},
        {"platform": ["INSTAGRAM"]},
        {"postId": [str(foreign.id)]},
        {"accountId": [2]},
    ]
    for filters in nothing:
        assert await run_mutation(acme, RETRY_MATCHING, filter=filters) == {
            "retriedCount": 0,
            "refusedCount": 0,
            "hasMore": False,
            "endCursor": None,
            "retries": [],
        }, filters
    assert await all_rows(acme.database) == before


ON_X = {"filter": {"platform": ["x"]}}
INVALID_ARGUMENTS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"filter": {"accountId": [0]}}, "INVALID_ID", "filter.accountId", ""),
    ({"filter": {"platform": ["a\0b"]}}, "VALIDATION_ERROR", "filter.platform", ""),
    ({"filter": {"maxAttempts": -1}}, "VALIDATION_ERROR", "filter.maxAttempts", "it is -1."),
    ({"filter": {"postId": [str(uuid4())] * 501}}, "LIMIT_EXCEEDED", "filter.postId", ""),
    (ON_X | {"first": 0}, "VALIDATION_ERROR", "first", "first must be from 1 to 500; it is 0."),
    (ON_X | {"first": 501}, "VALIDATION_ERROR", "first", "it is 501."),
    (ON_X | {"first": "ten"}, "VALIDATION_ERROR", "first", ""),
    (ON_X | {"after": "nowhere"}, "BAD_CURSOR", "after", ""),
    (ON_X | {"idempotencyKey": ""}, "VALIDATION_ERROR", "idempotencyKey", ""),
]


async def test_invalid_retry_argument_is_rejected_by_name(acme: Tenant) -> None:
    for arguments, code, field, message in INVALID_ARGUMENTS:
        error = await expect_refusal(acme, RETRY_MATCHING, **arguments)
        assert error[:2] == (code, f"input.{field}")
        assert message in error[2]


async def add_failures(acme: Tenant, count: int) -> list[str]:
    """Add failed posts on one account, two per second; return the destinations."""
    account = await add_account(acme.database, acme.workspace)
    posts = [
        await add_post(
            acme.database,
            acme.workspace,
            {account: failed()},
            created_at=NOW - timedelta(seconds=number // 2),
        )
        for number in range(count)
    ]
    return [str(post.destinations[0]) for post in posts]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_pages_cover_every_match_once(acme: Tenant, dry_run: bool) -> None:
    expected = await add_failures(acme, 25)
    arguments = {"filter": {"accountId": [1]}, "first": 10, "dryRun": dry_run}

    pages: list[dict[str, Any]] = []
    while not pages or pages[-1]["hasMore"]:
        after = pages[-1]["endCursor"] if pages else None
        pages.append(await run_mutation(acme, RETRY_MATCHING, **arguments, after=after))

    assert [page["retriedCount"] for page in pages] == [10, 10, 5]
    retried_ids = [retry["destinationId"] for page in pages for retry in page["retries"]]
    assert sorted(retried_ids) == sorted(expected)
    last = await run_mutation(acme, RETRY_MATCHING, **arguments, after=pages[-1]["endCursor"])
    assert (last["retries"], last["hasMore"], last["endCursor"]) == ([], False, None)


async def test_concurrent_retries_retry_each_destination_once(acme: Tenant) -> None:
    await add_failures(acme, 12)
    document = RETRY_MATCHING.replace("retries { ...R }", "").replace(RETRY, "")
    answers = await gather(
        *(acme.client.query(document, input={"filter": {"accountId": [1]}}) for _ in range(4))
    )
    assert sum(answer["payload"]["retriedCount"] for answer in answers) == 12
    kinds = [event.kind for event in await stored_events(acme.database)]
    assert kinds.count("destination.changed") == 12


async def test_retry_cursor_of_another_workspace_is_rejected(acme: Tenant) -> None:
    await add_failures(acme, 2)
    page = await run_mutation(acme, RETRY_MATCHING, filter={"accountId": [1]}, first=1, dryRun=True)
    arguments = {"filter": {"accountId": [1]}, "after": page["endCursor"]}
    error = await expect_refusal(await add_tenant(acme), RETRY_MATCHING, **arguments)
    assert error[:2] == ("BAD_CURSOR", "input.after")


async def test_retry_above_the_entry_limit_is_rejected_without_retrying(acme: Tenant) -> None:
    await add_failures(acme, 3)
    async with client_with_settings(acme, GRAPHQL_MAX_LIST_ENTRIES="2") as client:
        tenant = Tenant(acme.database, acme.workspace, client)
        arguments = {"filter": {"accountId": [1]}}
        error = await expect_refusal(tenant, RETRY_MATCHING, **arguments, first=3)
        allowed = await run_mutation(tenant, RETRY_MATCHING, **arguments, first=2)
    assert (error[0], allowed["retriedCount"]) == ("LIMIT_EXCEEDED", 2)
