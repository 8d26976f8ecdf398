"""Dry runs and plans of the mutations by filter: their numbers, pages, growth, expiry and repetition."""

from asyncio import gather
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.destinations import DestinationState, ErrorCategory
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
from tests.graphql.schema.mutations.publisher_client import PublisherClient
from tests.graphql.tenant_objects import add_post_in_states, add_tenant

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PLAN = "refusedCount hasMore endCursor plan plannedCount planCutoff"
RETRY = f"""
mutation($input: RetryDestinationsInput!) {{
  payload: retryDestinations(input: $input) {{
    {PLAN} changedCount: retriedCount refusals {{ reason fix count }}
    decisions: retries {{ id: destinationId postId accountId platform changed: retried refusal fix }}
  }}
}}
"""
RECONCILE = f"""
mutation($input: ReconcileDestinationsInput!) {{
  payload: reconcileDestinations(input: $input) {{
    {PLAN} changedCount: reconciledCount
    decisions: reconciliations {{
      id: destinationId postId accountId platform changed: reconciled refusal fix
      destination {{ status outcome errorCode error }}
    }}
  }}
}}
"""
CANCEL = f"""
mutation($input: CancelPostsInput!) {{
  payload: cancelPosts(input: $input) {{
    {PLAN} changedCount: cancelledCount refusals {{ reason fix count }}
    decisions: cancellations {{ id: postId changed: cancelled refusal fix post {{ status version }} }}
  }}
}}
"""
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
async def test_plan_of_a_grown_set_changes_nothing(publisher: PublisherClient, name: str) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 3)
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)
    # As old as the others, so that the time of the dry run does not exclude it.
    await add_posts_on_account(publisher, state, 1)

    assert await expect_refusal(publisher, document, **arguments, plan=dry["plan"]) == (
        "CONFLICT",
        "input.plan",
        "4 match and are eligible now, but the plan has 3 left. Nothing was changed: repeat the dry run and"
        " pass its plan.",
    )


@pytest.mark.parametrize("name", CALLS)
async def test_plan_excludes_what_matches_since_the_dry_run(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, _ = CALLS[name]
    state_at: dict[str, Callable[[datetime], DestinationState]] = {
        "retryDestinations": lambda time: failed(settled_at=time),
        "reconcileDestinations": lambda time: unknown(settled_at=time),
        "cancelPosts": lambda time: queued(time + HOUR),
    }
    times = [NOW - MINUTE, NOW, NOW + timedelta(milliseconds=1)]
    posts = [
        await add_post_in_states(publisher, state_at[name](time), created_at=time) for time in times
    ]
    publisher.clock.now = NOW
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)
    publisher.clock.now = NOW + MINUTE

    assert dry["plannedCount"] == 3
    page = await run_mutation(publisher, document, **arguments, plan=dry["plan"])

    assert sorted(post_ids(page)) == sorted(str(post.id) for post in posts[:2])
    assert page["plan"] is None


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
    stranger = await add_tenant(publisher)

    invalid = [(publisher, plan) for plan in (*plans.values(), own[:-1], "", "nothing")]
    for tenant, plan in [*invalid, (stranger, own)]:
        assert await expect_refusal(tenant, document, **arguments, plan=plan) == (
            "VALIDATION_ERROR",
            "input.plan",
            "plan is not one of this operation. Pass the plan of a dry run or of the call before,"
            " unchanged.",
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
            f"{field} cannot be combined with plan, which includes its dry run's filter.",
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
            assert await expect_refusal(
                publisher, document, **arguments, filter=filters, dryRun=dry_run
            ) == (
                "VALIDATION_ERROR",
                "input.filter",
                "The filter matches everything: set another field than status and outcome, such as an"
                " account, a time or a reference.",
            )


@pytest.mark.parametrize("name", CALLS)
async def test_concurrent_calls_with_one_plan_change_each_object_once(
    publisher: PublisherClient, name: str
) -> None:
    document, arguments, state = CALLS[name]
    await add_posts_on_account(publisher, state, 12)
    dry = await run_mutation(publisher, document, **arguments, filter=ON_INSTAGRAM, dryRun=True)
    call = {**arguments, "plan": dry["plan"]}
    without_objects = document.replace("destination { status outcome errorCode error }", "")

    answers = await gather(*(publisher.client.query(without_objects, input=call) for _ in range(4)))

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


@pytest.mark.parametrize("name", CALLS)
async def test_dry_run_counts_what_it_decides(publisher: PublisherClient, name: str) -> None:
    document, arguments, _ = CALLS[name]
    for state in EVERY_STATE:
        await add_post_in_states(publisher, state)
        for other in EVERY_STATE:
            if draft() not in (state, other):
                await add_post_in_states(publisher, state, other)
    blocked = await add_account(publisher.database, publisher.workspace, is_active=False)
    for state in EVERY_STATE:
        await add_post(
            publisher.database, publisher.workspace, {blocked: state}, is_draft=state == draft()
        )
        await add_post_in_states(publisher, state, deleted_at=NOW, is_draft=state == draft())
    statuses = {
        "retryDestinations": ["QUEUED", "PUBLISHING", "PUBLISHED", "FAILED"],
        "reconcileDestinations": ["FAILED"],
        "cancelPosts": [
            "DRAFT",
            "SCHEDULED",
            "PUBLISHING",
            "PUBLISHED",
            "PARTIALLY_FAILED",
            "FAILED",
        ],
    }
    filters = {**ON_INSTAGRAM, "status": statuses[name]}

    dry = await run_mutation(publisher, document, **arguments, filter=filters, dryRun=True)

    decided = Counter(decision["refusal"] for decision in dry["decisions"])
    assert dry["plannedCount"] == decided.pop(None) > 10
    if name != "reconcileDestinations":
        assert {each["reason"]: each["count"] for each in dry["refusals"]} == decided
        assert len(decided) >= 4
    fixes = {decision["refusal"]: decision["fix"] for decision in dry["decisions"]}
    assert fixes.pop(None) is None
    assert {each["reason"]: each["fix"] for each in dry.get("refusals", [])} == fixes
    run = await run_mutation(publisher, document, **arguments, filter=filters)
    decisions = [
        {name: value for name, value in decision.items() if name not in ("destination", "post")}
        for page in (dry, run)
        for decision in page["decisions"]
    ]
    assert decisions[: len(dry["decisions"])] == decisions[len(dry["decisions"]) :]
    assert run["changedCount"] == dry["plannedCount"]


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
