"""Manual retries: decisions by state, filters, pages, idempotency, and errors without effect."""

from asyncio import gather
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.manual_retries import RetryRefusal
from app.domain.times import format_instant
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
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
from tests.graphql.schema.mutations.mutation_calls import expect_error, run_mutation, stored_events

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

NO_ERROR = {
    "scheduledFor": "2026-04-14T15:00:00.000Z",
    "nextRetryAt": None,
    "error": None,
    "errorCategory": None,
    "errorCode": None,
    "isOverdue": False,
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
}
"""States of a destination of a submitted post, with the reason for refusing a retry."""


async def add_in_every_state(acme: Tenant) -> dict[UUID, str]:
    """Add one post per state on its own account; return the state names by destination."""
    names: dict[UUID, str] = {}
    for name, (state, _) in STATES.items():
        account = await add_account(acme.database, acme.workspace)
        post = await add_post(acme.database, acme.workspace, {account: state})
        names[post.destinations[0]] = name
    return names


async def stored_states(tenant: Tenant) -> dict[str, tuple[Any, ...]]:
    rows = (await all_rows(tenant.database))["destination"]
    return {str(row[1]): tuple(row) for row in rows}


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
    assert answer == {
        "post": {
            "postId": str(post.id),
            "status": "PUBLISHING",
            "version": 8,
            "updatedAt": "2026-04-15T15:00:00.000Z",
        },
        "retriedCount": 1,
        "retries": [
            {
                "destinationId": str(published_id),
                "postId": str(post.id),
                "accountId": one,
                "platform": "x",
                "retried": False,
                "refusal": "ALREADY_PUBLISHED",
                "fix": FIXES["ALREADY_PUBLISHED"],
                "destination": NO_ERROR
                | {
                    "status": "PUBLISHED",
                    "outcome": "PUBLISHED",
                    "attempts": 1,
                    "publishedAt": "2026-04-14T15:00:00.000Z",
                    "pollAfterSeconds": None,
                },
            },
            {
                "destinationId": str(retried_id),
                "postId": str(post.id),
                "accountId": other,
                "platform": "tiktok",
                "retried": True,
                "refusal": None,
                "fix": None,
                "destination": NO_ERROR
                | {
                    "status": "QUEUED",
                    "outcome": "NONE",
                    "attempts": 3,
                    "publishedAt": None,
                    "pollAfterSeconds": 2,
                },
            },
        ],
    }
    events = await stored_events(acme.database)
    assert [event[:3] for event in events] == [
        (1, "post.changed", "retryPost"),
        (2, "destination.changed", "retryPost"),
    ]
    assert events[1].changed == {
        "status",
        "outcome",
        "claimable_at",
        "round_attempts",
        "round_started_at",
        "error",
        "error_category",
        "error_code",
        "settled_at",
        "due_day",
        "updated_at",
    }


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", STATES)
async def test_retry_decision_depends_on_state_and_force(
    acme: Tenant, name: str, force: bool
) -> None:
    state, expected = STATES[name]
    if force and expected == "OUTCOME_UNKNOWN":
        expected = None
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: state})
    before = await all_rows(acme.database)

    answer = await run_mutation(acme, RETRY_POST, postId=str(post.id), force=force)

    (retry,) = answer["retries"]
    assert (retry["retried"], retry["refusal"]) == (expected is None, expected)
    assert retry["fix"] == (expected and FIXES[expected])
    assert answer["retriedCount"] == (1 if expected is None else 0)
    if expected is None:
        assert retry["destination"]["status"] == "QUEUED"
        assert retry["destination"]["attempts"] == state.attempts
    else:
        assert await all_rows(acme.database) == before


async def test_draft_has_nothing_to_retry(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: draft()}, is_draft=True)
    answer = await run_mutation(acme, RETRY_POST, postId=str(post.id), force=True)
    assert [retry["refusal"] for retry in answer["retries"]] == ["NOT_FAILED"]
    empty = await add_post(acme.database, acme.workspace, is_draft=True)
    answer = await run_mutation(acme, RETRY_POST, postId=str(empty.id))
    assert (answer["retriedCount"], answer["retries"]) == (0, [])


@pytest.mark.parametrize(
    "access",
    [
        {"is_active": False},
        {"needs_reconnection_since": YESTERDAY},
        {"token_expires_at": NOW},
    ],
)
async def test_blocked_account_refuses_retry(acme: Tenant, access: dict[str, Any]) -> None:
    broken = await add_account(acme.database, acme.workspace, **access)
    post = await add_post(acme.database, acme.workspace, {broken: failed()})
    lost = await add_post(acme.database, acme.workspace, {broken: unknown()})
    before = await all_rows(acme.database)

    for failed_post in (post, lost):
        answer = await run_mutation(acme, RETRY_POST, postId=str(failed_post.id), force=True)
        assert [retry["refusal"] for retry in answer["retries"]] == ["ACCOUNT_NEEDS_RECONNECTION"]
    answer = await run_mutation(acme, RETRY_MATCHING, filter={"accountId": [broken]})
    assert [retry["refusal"] for retry in answer["retries"]] == [
        "ACCOUNT_NEEDS_RECONNECTION" if retry["postId"] == str(post.id) else "OUTCOME_UNKNOWN"
        for retry in answer["retries"]
    ]
    assert answer["retries"][0]["fix"] == FIXES[answer["retries"][0]["refusal"]]
    assert await all_rows(acme.database) == before


async def test_post_is_retried_on_selected_accounts(acme: Tenant) -> None:
    one, two, three = [await add_account(acme.database, acme.workspace) for _ in range(3)]
    post = await add_post(
        acme.database, acme.workspace, {one: failed(), two: failed(), three: failed()}
    )
    key = {"postId": str(post.id)}

    none = await run_mutation(acme, RETRY_POST, **key, accountIds=[])
    some = await run_mutation(acme, RETRY_POST, **key, accountIds=[three, one, one])

    assert (none["retriedCount"], none["retries"]) == (0, [])
    assert [(retry["accountId"], retry["retried"]) for retry in some["retries"]] == [
        (one, True),
        (three, True),
    ]
    assert some["post"]["status"] == "PUBLISHING"
    assert await expect_error(acme, RETRY_POST, **key, accountIds=[one, 99]) == (
        "VALIDATION_ERROR",
        "input.accountIds",
        "The post does not go to account 99.",
    )
    assert (await expect_error(acme, RETRY_POST, **key, accountIds=[0]))[:2] == (
        "INVALID_ID",
        "input.accountIds",
    )


async def test_retry_of_invisible_post_is_not_found(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    account = await add_account(acme.database, other)
    foreign = await add_post(acme.database, other, {account: failed()})
    own = await add_account(acme.database, acme.workspace)
    deleted = await add_post(acme.database, acme.workspace, {own: failed()}, deleted_at=NOW)
    errors = {
        await expect_error(acme, RETRY_POST, postId=str(post_id))
        for post_id in (foreign.id, deleted.id, uuid4())
    }
    assert errors == {
        ("NOT_FOUND", None, "The post was not found: this workspace has none with that id.")
    }


async def test_imported_post_is_not_retried(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: failed()}, imported_at=NOW)
    assert await expect_error(acme, RETRY_POST, postId=str(post.id)) == (
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
    names = await add_in_every_state(acme)
    before = await stored_states(acme)

    answer = await run_mutation(acme, RETRY_MATCHING, filter={"platform": ["instagram"]})

    refusals = {
        names[UUID(retry["destinationId"])]: retry["refusal"] for retry in answer["retries"]
    }
    assert refusals == {
        "failed": None,
        "auth": None,
        "unknown": "OUTCOME_UNKNOWN",
        "being verified": "OUTCOME_UNKNOWN",
    }
    assert (answer["retriedCount"], answer["refusedCount"]) == (2, 2)
    assert answer["hasMore"] is False
    after = await stored_states(acme)
    assert {names[UUID(key)] for key in after if after[key] != before[key]} == {"failed", "auth"}
    assert [event[::2][:2] for event in await stored_events(acme.database)] == [
        (seq, "retryDestinations") for seq in (1, 2, 3, 4)
    ]


async def test_cancelled_destinations_are_retried_only_by_error_code(
    acme: Tenant,
) -> None:
    account = await add_account(acme.database, acme.workspace)
    cancelled = failed(category=ErrorCategory.PERMANENT, code="CANCELLED")
    posts = [
        await add_post(acme.database, acme.workspace, {account: state})
        for state in (cancelled, failed(), unknown())
    ]
    ids = [str(post.id) for post in posts]

    answer = await run_mutation(acme, RETRY_MATCHING, filter={"postId": ids})
    repeated = await run_mutation(
        acme, RETRY_MATCHING, filter={"postId": ids, "errorCode": ["CANCELLED"]}
    )

    assert {retry["postId"]: retry["retried"] for retry in answer["retries"]} == {
        ids[1]: True,
        ids[2]: False,
    }
    assert [(retry["postId"], retry["retried"]) for retry in repeated["retries"]] == [
        (ids[0], True)
    ]


async def test_dry_run_decides_like_run_and_writes_nothing(acme: Tenant) -> None:
    names = await add_in_every_state(acme)
    everything = {
        "filter": {
            "platform": ["instagram"],
            "status": ["QUEUED", "PUBLISHING", "PUBLISHED", "FAILED"],
        }
    }
    before = await all_rows(acme.database)

    dry = await run_mutation(acme, RETRY_MATCHING, **everything, dryRun=True, idempotencyKey="k")
    assert await all_rows(acme.database) == before
    run = await run_mutation(acme, RETRY_MATCHING, **everything, idempotencyKey="k")

    for answer in (dry, run):
        for retry in answer["retries"]:
            del retry["destination"]
    assert dry == run
    assert {names[UUID(retry["destinationId"])]: retry["refusal"] for retry in dry["retries"]} == {
        name: expected for name, (_, expected) in STATES.items()
    }
    assert all(retry["fix"] == FIXES.get(retry["refusal"]) for retry in dry["retries"])


async def test_filter_matches_failure_times_attempts_and_outcomes(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    for content, at, attempts in (
        ("early", NOW - MILLISECOND, 1),
        ("at", NOW, 2),
        ("late", NOW + MILLISECOND, 3),
    ):
        state = failed(due_at=YESTERDAY, settled_at=at, attempts=attempts)
        await add_post(acme.database, acme.workspace, {account: state}, content=content)
    lost = unknown(due_at=YESTERDAY, settled_at=NOW, attempts=2)
    await add_post(acme.database, acme.workspace, {account: lost}, content="lost")
    await add_post(
        acme.database, acme.workspace, {account: published(NOW, attempts=0)}, content="there"
    )
    await add_post(acme.database, acme.workspace, {account: queued(NOW)}, content="queued")

    async def matching_contents(**filters: Any) -> set[str]:
        """List matching contents; the dry run must match the same failed destinations."""
        document = """
        query($filter: DestinationFilter) {
          destinations(filter: $filter) { totalCount nodes { destinationId post { content } } }
        }
        """
        listed = (await acme.client.query(document, filter={"status": ["FAILED"], **filters}))[
            "destinations"
        ]
        dry = await run_mutation(
            acme, RETRY_MATCHING, filter={"accountId": [account], **filters}, dryRun=True
        )
        contents = {node["destinationId"]: node["post"]["content"] for node in listed["nodes"]}
        assert listed["totalCount"] == len(contents)
        if filters.get("status") is None:
            assert {retry["destinationId"] for retry in dry["retries"]} == contents.keys()
        return set(contents.values())

    now = format_instant(NOW)
    assert await matching_contents(failedAfter=now) == {"at", "late", "lost"}
    assert await matching_contents(failedBefore=now) == {"early"}
    assert await matching_contents(
        failedAfter=now, failedBefore=format_instant(NOW + MILLISECOND)
    ) == {
        "at",
        "lost",
    }
    assert await matching_contents(failedAfter=now, failedBefore=now) == set()
    assert await matching_contents(failedAfter="2026-04-15T17:00:00.0009+02:00") == {
        "at",
        "late",
        "lost",
    }
    assert await matching_contents(maxAttempts=0) == set()
    assert await matching_contents(maxAttempts=2) == {"early", "at", "lost"}
    assert await matching_contents(outcome=["UNKNOWN"]) == {"lost"}
    assert await matching_contents(outcome=["FAILED"], maxAttempts=1) == {"early"}
    assert await matching_contents(outcome=["NONE", "PUBLISHED"]) == set()
    assert await matching_contents(outcome=[]) == set()
    assert await matching_contents(status=None, failedAfter=now) == {"at", "late", "lost"}
    assert await matching_contents(status=["QUEUED"], failedBefore="2030-01-01T00:00:00Z") == set()
    assert await matching_contents(status=["QUEUED"], outcome=["NONE"]) == {"queued"}


ALL_FAILURES = (
    "VALIDATION_ERROR",
    "input.filter",
    "The filter matches everything: name posts, accounts, platforms, errors, times or attempts.",
)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"status": None, "postId": None},
        {"status": ["FAILED"]},
        {"outcome": ["FAILED", "UNKNOWN"]},
        {"status": ["FAILED"], "outcome": ["FAILED"], "platform": None},
        {"overdue": False},
    ],
)
async def test_filter_that_matches_everything_is_rejected(
    acme: Tenant, filters: dict[str, Any], dry_run: bool
) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: failed()})
    assert await expect_error(acme, RETRY_MATCHING, filter=filters, dryRun=dry_run) == ALL_FAILURES


@pytest.mark.parametrize(
    "filters",
    [
        {"postId": []},
        {"accountId": []},
        {"platform": []},
        {"status": []},
        {"errorCode": [], "outcome": []},
        {"overdue": True},
        {"platform": ["INSTAGRAM"]},
    ],
)
async def test_filter_that_matches_nothing_retries_nothing(
    acme: Tenant, filters: dict[str, Any]
) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: failed()})
    before = await all_rows(acme.database)
    assert await run_mutation(acme, RETRY_MATCHING, filter=filters) == {
        "retriedCount": 0,
        "refusedCount": 0,
        "hasMore": False,
        "endCursor": None,
        "retries": [],
    }
    assert await all_rows(acme.database) == before


ON_X = {"filter": {"platform": ["x"]}}


@pytest.mark.parametrize(
    ("arguments", "code", "field", "message"),
    [
        ({"filter": {"accountId": [0]}}, "INVALID_ID", "filter.accountId", ""),
        ({"filter": {"platform": ["a\0b"]}}, "VALIDATION_ERROR", "filter.platform", ""),
        (
            {"filter": {"maxAttempts": -1}},
            "VALIDATION_ERROR",
            "filter.maxAttempts",
            "filter.maxAttempts must not be negative; it is -1.",
        ),
        (ON_X | {"first": 0}, "VALIDATION_ERROR", "first", "first must be from 1 to 500; it is 0."),
        (ON_X | {"first": 501}, "VALIDATION_ERROR", "first", "it is 501."),
        (ON_X | {"first": "ten"}, "VALIDATION_ERROR", "first", ""),
        (ON_X | {"after": "nowhere"}, "BAD_CURSOR", "after", ""),
        (ON_X | {"idempotencyKey": ""}, "VALIDATION_ERROR", "idempotencyKey", ""),
        ({"filter": {"postId": [f"{uuid4()}"] * 501}}, "LIMIT_EXCEEDED", "filter.postId", ""),
    ],
)
async def test_invalid_retry_argument_is_rejected_by_name(
    acme: Tenant, arguments: dict[str, Any], code: str, field: str, message: str
) -> None:
    error = await expect_error(acme, RETRY_MATCHING, **arguments)

    assert error[:2] == (code, f"input.{field}")
    assert message in error[2]


async def add_failures(acme: Tenant, count: int) -> list[str]:
    """Add failed posts on one account, two per second; return the destinations, newest first."""
    account = await add_account(acme.database, acme.workspace)
    return [
        str(
            (
                await add_post(
                    acme.database,
                    acme.workspace,
                    {account: failed()},
                    created_at=NOW - timedelta(seconds=number // 2),
                )
            ).destinations[0]
        )
        for number in range(count)
    ]


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
    assert len(retried_ids) == 25
    assert set(retried_ids) == set(expected)
    last = await run_mutation(acme, RETRY_MATCHING, **arguments, after=pages[-1]["endCursor"])
    assert (last["retries"], last["hasMore"], last["endCursor"]) == ([], False, None)


async def test_idempotency_key_retries_post_once(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: failed()})
    key = {"postId": str(post.id), "idempotencyKey": "again"}

    first = await run_mutation(acme, RETRY_POST, **key)
    once = await all_rows(acme.database)
    repeated = await run_mutation(acme, RETRY_POST, **key)
    another = await run_mutation(acme, RETRY_POST, postId=str(post.id), idempotencyKey="other")

    assert first == repeated
    assert (first["retriedCount"], another["retriedCount"]) == (1, 0)
    assert len((await all_rows(acme.database))["event"]) == len(once["event"])
    assert await expect_error(acme, RETRY_POST, **key, force=True) == (
        "IDEMPOTENCY_KEY_REUSED",
        "input.idempotencyKey",
        "This idempotency key was used for another request.",
    )


async def test_idempotency_key_retries_matches_once(acme: Tenant) -> None:
    await add_failures(acme, 3)
    arguments = {"filter": {"accountId": [1]}, "first": 2, "idempotencyKey": "again"}

    first = await run_mutation(acme, RETRY_MATCHING, **arguments)
    once = await all_rows(acme.database)
    repeated = await run_mutation(acme, RETRY_MATCHING, **arguments)

    assert first == repeated
    assert (first["retriedCount"], first["hasMore"]) == (2, True)
    assert await all_rows(acme.database) == once
    assert (await expect_error(acme, RETRY_MATCHING, **arguments | {"first": 3}))[0] == (
        "IDEMPOTENCY_KEY_REUSED"
    )


async def test_concurrent_retries_retry_each_destination_once(acme: Tenant) -> None:
    await add_failures(acme, 12)
    document = RETRY_MATCHING.replace("retries { ...R }", "").replace(RETRY, "")
    answers = await gather(
        *(acme.client.query(document, input={"filter": {"accountId": [1]}}) for _ in range(4))
    )
    assert sum(answer["payload"]["retriedCount"] for answer in answers) == 12
    kinds = [event.kind for event in await stored_events(acme.database)]
    assert kinds.count("destination.changed") == 12


async def test_filter_matches_nothing_of_other_workspace(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    account = await add_account(acme.database, other, id=77)
    foreign = await add_post(acme.database, other, {account: failed()})
    before = await all_rows(acme.database)
    for filters in ({"postId": [str(foreign.id)]}, {"accountId": [77]}, {"errorCode": ["X"]}):
        answer = await run_mutation(acme, RETRY_MATCHING, filter=filters)
        assert (answer["retries"], answer["endCursor"]) == ([], None)
    assert await all_rows(acme.database) == before


async def test_retry_cursor_of_another_workspace_is_rejected(acme: Tenant) -> None:
    await add_failures(acme, 2)
    page = await run_mutation(acme, RETRY_MATCHING, filter={"accountId": [1]}, first=1, dryRun=True)
    other = await add_workspace(acme.database)
    key = await add_api_key(acme.database, other)
    other_tenant = Tenant(acme.database, other, acme.client.with_token(key.token))
    arguments = {"filter": {"accountId": [1]}, "after": page["endCursor"]}
    assert (await expect_error(other_tenant, RETRY_MATCHING, **arguments))[:2] == (
        "BAD_CURSOR",
        "input.after",
    )


async def test_retry_above_list_size_limit_is_rejected_without_retrying(
    acme: Tenant,
) -> None:
    await add_failures(acme, 3)
    key = await add_api_key(acme.database, acme.workspace)
    few = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "2"})
    async with app_client(acme.database, token=key.token, settings=few) as client:
        tenant = Tenant(acme.database, acme.workspace, client)
        error = await expect_error(tenant, RETRY_MATCHING, filter={"accountId": [1]}, first=3)
        assert error[0] == "LIMIT_EXCEEDED"
        assert (await run_mutation(tenant, RETRY_MATCHING, filter={"accountId": [1]}, first=2))[
            "retriedCount"
        ] == 2


async def test_retried_post_is_overdue_five_minutes_after_retry(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: failed(due_at=YESTERDAY)})
    await run_mutation(acme, RETRY_POST, postId=str(post.id))
    key = await add_api_key(acme.database, acme.workspace)
    document = """query($overdue: Boolean) {
        destinations(filter: {overdue: $overdue}) { totalCount nodes { isOverdue } }
    }"""
    five_minutes = timedelta(minutes=5)
    for now, is_overdue in ((NOW + five_minutes - MILLISECOND, False), (NOW + five_minutes, True)):
        async with app_client(acme.database, token=key.token, now=now) as client:
            matching = await client.query(document, overdue=is_overdue)
            assert matching["destinations"] == {
                "totalCount": 1,
                "nodes": [{"isOverdue": is_overdue}],
            }
            other = await client.query(document, overdue=not is_overdue)
            assert other["destinations"]["totalCount"] == 0
