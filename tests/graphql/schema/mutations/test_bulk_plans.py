"""Dry runs and plans of the mutations by filter: their numbers, pages, growth, expiry and repetition."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.db.models import Destination, Post
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.ids import PostId
from tests.db.all_tables import all_rows
from tests.db.core.test_database import only_on_postgresql
from tests.factories import (
    NOW,
    add_account,
    add_accounts,
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
from tests.graphql.schema.mutations.publisher_client import PublisherClient
from tests.graphql.tenant_objects import add_post_in_states, add_tenant
from tests.test_concurrency import count_lock_waits

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PLAN = "hasMore endCursor plan plannedCount planCutoff"
RETRY = f"""
mutation($input: RetryDestinationsInput!) {{
  payload: retryDestinations(input: $input) {{
    {PLAN} changedCount: retriedCount refusedCount refusals {{ reason fix count }}
    decisions: retries {{ id: destinationId postId accountId platform changed: retried refusal fix }}
  }}
}}
"""
RECONCILE = f"""
mutation($input: ReconcileDestinationsInput!) {{
  payload: reconcileDestinations(input: $input) {{
    {PLAN} changedCount: reconciledCount
    decisions: reconciliations {{
      id: destinationId postId accountId platform
      destination {{ status outcome errorCode error }}
    }}
  }}
}}
"""
CANCEL = f"""
mutation($input: CancelPostsInput!) {{
  payload: cancelPosts(input: $input) {{
    {PLAN} changedCount: cancelledCount refusedCount refusals {{ reason fix count }}
    decisions: cancellations {{ id: postId changed: cancelled refusal fix post {{ status version }} }}
  }}
}}
"""
TOO_BROAD = (
    "VALIDATION_ERROR",
    "input.filter",
    "The filter is too broad: set a field that narrows it, such as accountId, a time or a reference. A"
    " status, an outcome, false and an empty search do not.",
)
ON_INSTAGRAM = {"platform": ["instagram"]}
CALLS: dict[str, tuple[str, dict[str, Any], DestinationState]] = {
    "retryDestinations": (RETRY, {}, failed(settled_at=NOW - HOUR)),
    "reconcileDestinations": (
        RECONCILE,
        {"finding": "NOT_PUBLISHED"},
        unknown(settled_at=NOW - HOUR),
    ),
    "cancelPosts": (CANCEL, {}, queued(NOW + HOUR)),
}
"""Mutation → document, further arguments, and a state in which it changes a destination or its post."""


async def add_posts_on_account(
    tenant: PublisherClient, state: DestinationState, count: int
) -> list[str]:
    """Add posts on one new account, created a second apart, newest first; return their UUIDs."""
    account = await add_account(tenant.database, tenant.workspace)
    return [
        str(
            (
                await add_post(
                    tenant.database,
                    tenant.workspace,
                    {account: state},
                    created_at=NOW - HOUR - timedelta(seconds=number),
                )
            ).id
        )
        for number in range(count)
    ]


async def set_update_times(
    tenant: PublisherClient, posts: Sequence[PostId], times: Sequence[datetime]
) -> None:
    async with tenant.database.write_engine.begin() as connection:
        for post, time in zip(posts, times, strict=True):
            for model, column in ((Post, Post.id), (Destination, Destination.post_id)):
                await connection.execute(
                    update(model).where(column == post).values(updated_at=time)
                )


def post_ids(page: dict[str, Any]) -> list[str]:
    return [decision.get("postId", decision["id"]) for decision in page["decisions"]]


@pytest.mark.parametrize("name", CALLS)
async def test_plan_changes_what_the_dry_run_counted(publisher: PublisherClient, name: str) -> None:
    document, arguments, state = CALLS[name]
    expected = await add_posts_on_account(publisher, state, 5)
    before = await all_rows(publisher.database)

    dry = await run_mutation(
        publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True, first=2
    )
    assert await all_rows(publisher.database) == before
    pages, plan = [], dry["plan"]
    while plan is not None:
        publisher.clock.now += MINUTE
        page = await run_mutation(publisher, document, **arguments, plan=plan, first=2)
        pages.append(page)
        plan = page["plan"]

    assert (dry["plannedCount"], dry["planCutoff"]) == (5, "2026-04-15T15:00:00.000Z")
    assert (dry["changedCount"], dry["hasMore"], post_ids(dry)) == (2, True, expected[:2])
    assert [post_ids(page) for page in pages] == [expected[:2], expected[2:4], expected[4:]]
    assert [page["changedCount"] for page in pages] == [2, 2, 1]
    assert [page["plannedCount"] for page in pages] == [3, 1, None]
    assert [page["planCutoff"] for page in pages] == [dry["planCutoff"], dry["planCutoff"], None]
    assert [page["endCursor"] for page in pages] == [None] * 3
    assert {event.operation for event in await stored_events(publisher.database)} == {name}


@pytest.mark.parametrize("name", CALLS)
async def test_plan_fails_if_more_can_be_changed(publisher: PublisherClient, name: str) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 3)
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)
    # As old as the others, so that the time of the dry run does not exclude it.
    await add_posts_on_account(publisher, state, 1)

    assert await expect_refusal(publisher, document, **arguments, plan=dry["plan"]) == (
        "CONFLICT",
        "input.plan",
        "The plan has 3 left, but more can be changed now. Nothing was changed: repeat the dry run and pass"
        " its plan.",
    )


@pytest.mark.parametrize("name", CALLS)
async def test_plan_excludes_what_changed_since_the_dry_run(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    times = [NOW - MINUTE, NOW, NOW + timedelta(milliseconds=1)]
    posts = [await add_post_in_states(publisher, state, created_at=time) for time in times]
    await set_update_times(publisher, [post.id for post in posts], times)
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)
    publisher.clock.now += MINUTE

    page = await run_mutation(publisher, document, **arguments, plan=dry["plan"])

    assert (dry["changedCount"], dry["plannedCount"]) == (3, 2)
    assert sorted(post_ids(page)) == sorted(str(post.id) for post in posts[:2])
    assert page["plan"] is None


async def test_cancelled_and_rescheduled_post_is_not_part_of_the_plan(
    publisher: PublisherClient,
) -> None:
    posts = await add_posts_on_account(publisher, queued(NOW + HOUR), 2)
    dry = await run_mutation(publisher, CANCEL, filter=ON_INSTAGRAM, dryRun=True)
    publisher.clock.now += MINUTE
    await run_mutation(publisher, CANCEL, plan=dry["plan"])
    for post in posts:
        await publisher.client.query(
            "mutation($input: SchedulePostInput!) { schedulePost(input: $input) { __typename } }",
            input={"postId": post, "publishNow": True},
        )

    again = await run_mutation(publisher, CANCEL, plan=dry["plan"])

    assert (again["decisions"], again["plan"]) == ([], None)


@pytest.mark.parametrize("name", CALLS)
async def test_repeated_plan_with_a_key_has_one_effect_and_one_answer(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 3)
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)
    call = {**arguments, "plan": dry["plan"], "first": 2, "idempotencyKey": "k1"}

    first = await run_mutation(publisher, document, **call)
    once = await all_rows(publisher.database)
    publisher.clock.now += HOUR
    assert await run_mutation(publisher, document, **call) == first
    assert await all_rows(publisher.database) == once
    error = await expect_refusal(publisher, document, **call | {"plan": first["plan"]})
    assert error[0] == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize("name", CALLS)
async def test_expired_plan_changes_nothing(publisher: PublisherClient, name: str) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 1)
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)

    publisher.clock.now += 15 * MINUTE
    assert await expect_refusal(publisher, document, **arguments, plan=dry["plan"]) == (
        "CONFLICT",
        "input.plan",
        "The plan has expired: repeat the dry run and pass its plan.",
    )
    publisher.clock.now -= timedelta(milliseconds=1)
    page = await run_mutation(publisher, document, **arguments, plan=dry["plan"])
    assert page["changedCount"] == 1


@pytest.mark.parametrize("name", CALLS)
async def test_plan_of_another_workspace_or_operation_is_invalid(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, _ = CALLS[name]
    plans = {}
    for other, (other_document, other_arguments, state) in CALLS.items():
        await add_posts_on_account(publisher, state, 1)
        dry = await run_mutation(
            publisher, other_document, **other_arguments, filter=ON_INSTAGRAM, dryRun=True
        )
        plans[other] = dry["plan"]
    own = plans.pop(name)
    other_tenant = await add_tenant(publisher)

    invalid = [(publisher, plan) for plan in (*plans.values(), own[:-1], "", "nothing")]
    for tenant, plan in [*invalid, (other_tenant, own)]:
        assert await expect_refusal(tenant, document, **arguments, plan=plan) == (
            "VALIDATION_ERROR",
            "input.plan",
            "plan is not valid for this operation in this workspace. Pass the plan of a dry run or of the"
            " call before, unchanged.",
        )


@pytest.mark.parametrize("name", CALLS)
async def test_plan_replaces_filter_dry_run_and_cursor(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 2)
    dry = await run_mutation(
        publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True, first=1
    )
    others = {"filter": ON_INSTAGRAM, "dryRun": True, "after": dry["endCursor"]}
    for field, value in others.items():
        assert await expect_refusal(
            publisher, document, **arguments, plan=dry["plan"], **{field: value}
        ) == (
            "VALIDATION_ERROR",
            f"input.{field}",
            f"Pass plan without {field}.",
        )
    assert await expect_refusal(publisher, document, **arguments) == (
        "VALIDATION_ERROR",
        "input.filter",
        "Pass a filter, or the plan of a dry run.",
    )


@pytest.mark.parametrize("name", CALLS)
async def test_filter_that_matches_everything_is_rejected(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 1)
    for filters in (
        {},
        {"search": ""},
        {"status": ["SCHEDULED" if name == "cancelPosts" else "FAILED"]},
    ):
        for dry_run in (False, True):
            error = await expect_refusal(
                publisher, document, **arguments, filter=filters, dryRun=dry_run
            )
            assert error == TOO_BROAD


@pytest.mark.parametrize("name", CALLS)
async def test_concurrent_calls_with_one_plan_change_each_object_once(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 12)
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)
    call = {**arguments, "plan": dry["plan"]}
    without_objects = document.replace("destination { status outcome errorCode error }", "")

    answers = await asyncio.gather(
        *(publisher.client.query(without_objects, input=call) for _ in range(4))
    )

    assert sum(answer["payload"]["changedCount"] for answer in answers) == 12
    events = Counter(event.kind for event in await stored_events(publisher.database))
    assert events["destination.changed"] == 12


EVERY_STATE = [
    draft(),
    queued(NOW + HOUR),
    queued(NOW - HOUR),
    waiting_for_retry(NOW + MINUTE),
    claimed(),
    started(),
    published(),
    failed(),
    failed(category=ErrorCategory.AUTH, code="AUTH", attempts=0),
    unknown(),
    being_verified(),
]


async def add_every_state(tenant: PublisherClient) -> None:
    """Add posts with one and two destinations in every state, on usable and on blocked accounts."""
    accounts = await add_accounts(tenant.database, tenant.workspace, 2)
    blocked = await add_account(tenant.database, tenant.workspace, is_active=False)
    for state in EVERY_STATE:
        for account, deleted_at in ((accounts[0], None), (accounts[0], NOW), (blocked, None)):
            await add_post(
                tenant.database,
                tenant.workspace,
                {account: state},
                is_draft=state == draft(),
                deleted_at=deleted_at,
            )
    for states in product(EVERY_STATE, repeat=2):
        if draft() not in states:
            destinations = dict(zip(accounts, states, strict=True))
            await add_post(tenant.database, tenant.workspace, destinations)


ALL_STATUSES = {
    "retryDestinations": ["QUEUED", "PUBLISHING", "PUBLISHED", "FAILED"],
    "cancelPosts": ["DRAFT", "SCHEDULED", "PUBLISHING", "PUBLISHED", "PARTIALLY_FAILED", "FAILED"],
}


@pytest.mark.parametrize("name", ALL_STATUSES)
async def test_dry_run_counts_what_it_decides(publisher: PublisherClient, name: str) -> None:
    document, arguments, _ = CALLS[name]
    await add_every_state(publisher)
    filters = {**ON_INSTAGRAM, "status": ALL_STATUSES[name]}

    dry = await run_mutation(publisher, document, **arguments, filter=filters, dryRun=True)
    run = await run_mutation(publisher, document, **arguments, filter=filters)

    decided = Counter(decision["refusal"] for decision in dry["decisions"])
    assert dry["plannedCount"] == dry["changedCount"] == decided.pop(None) > 10
    assert {each["reason"]: each["count"] for each in dry["refusals"]} == decided
    assert len(decided) >= 4
    counts = [each["count"] for each in dry["refusals"]]
    assert counts == sorted(counts, reverse=True)
    fixes = {each["refusal"]: each["fix"] for each in dry["decisions"] if each["refusal"]}
    assert {each["reason"]: each["fix"] for each in dry["refusals"]} == fixes
    for page in (dry, run):
        for decision in page["decisions"]:
            decision.pop("post", None)
    assert run["decisions"] == dry["decisions"]
    assert run["refusals"] == dry["refusals"]


async def test_dry_run_of_reconciliation_counts_unknown_outcomes(
    publisher: PublisherClient,
) -> None:
    await add_every_state(publisher)
    arguments = {"finding": "NOT_PUBLISHED", "filter": ON_INSTAGRAM}

    dry = await run_mutation(publisher, RECONCILE, **arguments, dryRun=True)
    run = await run_mutation(publisher, RECONCILE, **arguments)

    assert dry["plannedCount"] == dry["changedCount"] == run["changedCount"] > 10
    assert [each["id"] for each in run["decisions"]] == [each["id"] for each in dry["decisions"]]
    for each in dry["decisions"]:
        assert each["destination"]["outcome"] == "UNKNOWN"
    assert (await run_mutation(publisher, RECONCILE, **arguments))["decisions"] == []


async def test_reconciliation_excludes_outcomes_that_the_filter_excludes(
    publisher: PublisherClient,
) -> None:
    await add_post_in_states(publisher, unknown())
    filters = {**ON_INSTAGRAM, "outcome": ["FAILED"]}
    page = await run_mutation(publisher, RECONCILE, finding="NOT_PUBLISHED", filter=filters)
    assert page["decisions"] == []


async def test_plan_skips_refused_destinations(publisher: PublisherClient) -> None:
    retried = await add_posts_on_account(publisher, failed(), 2)
    blocked = await add_account(publisher.database, publisher.workspace, is_active=False)
    for _ in range(3):  # newer than the others
        await add_post(publisher.database, publisher.workspace, {blocked: failed()})
    await add_post_in_states(publisher, failed(category=ErrorCategory.PERMANENT, code="CANCELLED"))
    dry = await run_mutation(publisher, RETRY, filter=ON_INSTAGRAM, dryRun=True)

    first = await run_mutation(publisher, RETRY, plan=dry["plan"], first=1)
    second = await run_mutation(publisher, RETRY, plan=first["plan"], first=1)

    assert (dry["plannedCount"], dry["refusedCount"]) == (2, 3)
    assert [each["count"] for each in dry["refusals"]] == [3]
    assert [post_ids(page) for page in (first, second)] == [retried[:1], retried[1:]]
    assert (first["plannedCount"], second["plan"]) == (1, None)


async def test_plan_of_cancellations_continues_after_refused_posts(
    publisher: PublisherClient,
) -> None:
    (oldest,) = await add_posts_on_account(publisher, queued(NOW + HOUR), 1)
    for _ in range(2):
        await add_post_in_states(publisher, started())
    dry = await run_mutation(publisher, CANCEL, filter=ON_INSTAGRAM, dryRun=True)

    pages, plan = [], dry["plan"]
    while plan is not None:
        pages.append(await run_mutation(publisher, CANCEL, plan=plan, first=1))
        plan = pages[-1]["plan"]

    assert [page["changedCount"] for page in pages] == [0, 0, 1]
    assert post_ids(pages[-1]) == [oldest]


async def test_plan_respects_updated_before_of_its_filter(publisher: PublisherClient) -> None:
    times = [NOW - HOUR, NOW - MINUTE]
    posts = [await add_post_in_states(publisher, failed(settled_at=time)) for time in times]
    await set_update_times(publisher, [post.id for post in posts], times)
    filters = {"updatedBefore": "2026-04-15T14:30:00.000Z"}
    dry = await run_mutation(publisher, RETRY, filter=filters, dryRun=True)
    page = await run_mutation(publisher, RETRY, plan=dry["plan"])
    assert post_ids(page) == [str(posts[0].id)]


async def test_idempotency_key_belongs_to_one_page_size(publisher: PublisherClient) -> None:
    await add_posts_on_account(publisher, failed(), 3)
    dry = await run_mutation(publisher, RETRY, filter=ON_INSTAGRAM, dryRun=True)
    call = {"plan": dry["plan"], "idempotencyKey": "k1"}
    await run_mutation(publisher, RETRY, **call, first=1)
    error = await expect_refusal(publisher, RETRY, **call, first=2)
    assert error[0] == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize("name", CALLS)
async def test_call_has_fewer_objects_if_their_posts_have_many_destinations(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    accounts = await add_accounts(publisher.database, publisher.workspace, 500)
    posts = [
        await add_post(
            publisher.database,
            publisher.workspace,
            dict.fromkeys(accounts[:count], state),
            created_at=NOW - timedelta(seconds=number),
        )
        for number, count in enumerate((499, 500, 2, 1))
    ]
    call = {**arguments, "filter": {"accountId": accounts[:1]}}

    page = (await publisher.client.query(document, input=call))["payload"]
    call["after"] = page["endCursor"]
    rest = (await publisher.client.query(document, input=call))["payload"]

    assert post_ids(page) == [str(post.id) for post in posts[:2]]
    assert (page["hasMore"], rest["hasMore"]) == (True, False)
    assert post_ids(rest) == [str(post.id) for post in posts[2:]]


@pytest.mark.parametrize("name", CALLS)
@only_on_postgresql
async def test_object_that_is_changed_before_its_lock_is_skipped(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    changed, *others = await add_posts_on_account(publisher, state, 3)
    async with publisher.database.write_engine.begin() as connection:
        await connection.execute(select(Post.id).where(Post.id == UUID(changed)).with_for_update())
        call = asyncio.create_task(
            publisher.client.query(document, input={**arguments, "filter": ON_INSTAGRAM})
        )
        async with asyncio.timeout(10):
            while not await count_lock_waits(publisher.database):
                pass
        for model, column in ((Post, Post.id), (Destination, Destination.post_id)):
            await connection.execute(
                update(model)
                .where(column == UUID(changed))
                .values(updated_at=NOW + timedelta(seconds=1))
            )

    page = (await call)["payload"]

    assert post_ids(page) == others
    assert page["changedCount"] == 2


@pytest.mark.parametrize("outcomes", [["UNKNOWN"], ["NONE", "PUBLISHED"], []])
async def test_retry_plan_respects_the_outcomes_of_its_filter(
    publisher: PublisherClient, outcomes: list[str]
) -> None:
    for state in (failed(), unknown()):
        await add_post_in_states(publisher, state)
    filters = {**ON_INSTAGRAM, "outcome": outcomes}
    dry = await run_mutation(publisher, RETRY, filter=filters, dryRun=True)
    assert (dry["changedCount"], dry["plannedCount"], dry["plan"]) == (0, None, None)


async def test_dry_run_of_retry_counts_imported_posts(publisher: PublisherClient) -> None:
    await add_post_in_states(publisher, failed(), imported_at=NOW)
    dry = await run_mutation(publisher, RETRY, filter=ON_INSTAGRAM, dryRun=True)
    assert dry["refusals"] == [
        {
            "reason": "IMPORTED",
            "fix": "Retry the post in the service that publishes it.",
            "count": 1,
        }
    ]
    assert (dry["decisions"], dry["plan"], dry["plannedCount"]) == ([], None, None)


async def test_reconciled_destinations_are_failed_and_can_be_retried(
    publisher: PublisherClient,
) -> None:
    post = await add_post_in_states(publisher, unknown(), being_verified(), published(), failed())

    page = await run_mutation(
        publisher, RECONCILE, finding="NOT_PUBLISHED", filter={"postId": [str(post.id)]}
    )

    assert {each["id"] for each in page["decisions"]} == {
        str(each) for each in post.destinations[:2]
    }
    assert [each["destination"] for each in page["decisions"]] == [
        {
            "status": "FAILED",
            "outcome": "FAILED",
            "errorCode": "NOT_PUBLISHED",
            "error": "A check found that the post is not on the platform.",
        }
    ] * 2
    retried = await run_mutation(publisher, RETRY, filter={"errorCode": ["NOT_PUBLISHED"]})
    assert retried["changedCount"] == 2


async def test_bulk_finding_of_a_publication_is_rejected(publisher: PublisherClient) -> None:
    await add_post_in_states(publisher, unknown())
    assert await expect_refusal(publisher, RECONCILE, finding="PUBLISHED", filter=ON_INSTAGRAM) == (
        "VALIDATION_ERROR",
        "input.finding",
        "finding must be NOT_PUBLISHED: a publication needs its own URL or id, which"
        " reconcileDestination records.",
    )


async def test_cancelled_posts_become_drafts_or_fail(publisher: PublisherClient) -> None:
    waiting = await add_post_in_states(publisher, queued(NOW + HOUR), version=4)
    partly = await add_post_in_states(publisher, published(), queued(NOW + HOUR))
    for state in (published(), failed(), draft()):
        await add_post_in_states(publisher, state)

    page = await run_mutation(publisher, CANCEL, filter=ON_INSTAGRAM)

    assert {each["id"]: (each["changed"], each["post"]) for each in page["decisions"]} == {
        str(waiting.id): (True, {"status": "DRAFT", "version": 5}),
        str(partly.id): (True, {"status": "PARTIALLY_FAILED", "version": 2}),
    }
    assert (page["changedCount"], page["refusedCount"], page["refusals"]) == (2, 0, [])
