"""Failure groups: what counts, numbers, order and pages, the latest failure, and the effect of a retry."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.failure_groups import group_of
from app.domain.ids import NodeKind, encode_node_id
from tests.clients import Tenant
from tests.factories import (
    NOW,
    add_account,
    add_accounts,
    add_post,
    claimed,
    failed,
    published,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.graphql.tenant_objects import BAD_CURSOR_MESSAGE, add_post_in_states, node_id
from tests.recording_driver import record_statements

HOUR = timedelta(hours=1)
CAPTION = group_of(
    "instagram", ErrorCategory.CONTENT_REJECTED, "CAPTION_TOO_LONG", "The caption is too long."
)
NO_SUCH_KEY = "1-" + "0" * 32
CANCELLED = failed(category=ErrorCategory.PERMANENT, code="CANCELLED", error="Cancelled.")

EVERY_FIELD = """
    id key platform category code message count unknownCount postCount accountCount firstSeen lastSeen
    hourlyCounts retryableCount refusedCount
    diagnosis { category code source retryable willRetry nextAction }
    accounts { accountId count account { platform } }
    sample { destinationId status outcome error errorCode failureGroup account { accountId } }
"""
GROUPS = f"""
query($filter: DestinationFilter, $orderBy: FailureGroupOrder, $first: Int, $after: String) {{
  failureGroups(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {{
    nodes {{ {EVERY_FIELD} }}
    edges {{ cursor node {{ key }} }}
    pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
  }}
}}
"""
KEYS = """
query(
  $filter: DestinationFilter, $orderBy: FailureGroupOrder! = COUNT
  $first: Int, $after: String, $last: Int, $before: String
) {
  failureGroups(
    filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before
  ) {
    nodes { code count }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


def image_failure(width: int, *, hours_ago: int) -> DestinationState:
    error = f'The image "{width}.jpg" is {width} pixels wide.'
    return failed(error=error, code="IMAGE_TOO_SMALL", settled_at=NOW - hours_ago * HOUR)


async def groups(tenant: Tenant, **variables: Any) -> list[dict[str, Any]]:
    data = await tenant.client.query(GROUPS, **variables)
    return list(data["failureGroups"]["nodes"])


async def counts(tenant: Tenant, **variables: Any) -> dict[str, int]:
    """The numbers of failures by error code, in the order of the list."""
    page = (await tenant.client.query(KEYS, **variables))["failureGroups"]
    return {node["code"]: node["count"] for node in page["nodes"]}


async def test_failures_that_differ_in_details_are_one_group(acme: Tenant) -> None:
    one, other = await add_accounts(acme.database, acme.workspace, 2)
    states = (
        {one: image_failure(5, hours_ago=25), other: image_failure(7, hours_ago=2)},
        {one: image_failure(31, hours_ago=2)},
        {one: image_failure(64, hours_ago=1)},
    )
    posts = [await add_post(acme.database, acme.workspace, each) for each in states]
    await add_post(acme.database, acme.workspace, {one: published(), other: queued()})
    await add_post(acme.database, acme.workspace, {one: waiting_for_retry(), other: claimed()})

    (group,) = await groups(acme)

    key = group.pop("key")
    assert group == {
        "id": encode_node_id(NodeKind.FAILURE_GROUP, key),
        "platform": "instagram",
        "category": "CONTENT_REJECTED",
        "code": "IMAGE_TOO_SMALL",
        "message": "The image <text> is <number> pixels wide.",
        "count": 4,
        "unknownCount": 0,
        "postCount": 3,
        "accountCount": 2,
        "firstSeen": "2026-04-14T14:00:00.000Z",
        "lastSeen": "2026-04-15T14:00:00.000Z",
        "hourlyCounts": [*[0] * 21, 2, 1, 0],
        "accounts": [
            {"accountId": one, "count": 3, "account": {"platform": "instagram"}},
            {"accountId": other, "count": 1, "account": {"platform": "instagram"}},
        ],
        "retryableCount": 4,
        "refusedCount": 0,
        "diagnosis": {
            "category": "CONTENT_REJECTED",
            "code": "IMAGE_TOO_SMALL",
            "source": "USER",
            "retryable": False,
            "willRetry": False,
            "nextAction": "EDIT_POST",
        },
        "sample": {
            "destinationId": str(posts[2].destinations[0]),
            "status": "FAILED",
            "outcome": "FAILED",
            "error": 'The image "64.jpg" is 64 pixels wide.',
            "errorCode": "IMAGE_TOO_SMALL",
            "failureGroup": key,
            "account": {"accountId": one},
        },
    }
    assert await acme.client.query(
        f"query($id: ID!) {{ node(id: $id) {{ ... on FailureGroup {{ {EVERY_FIELD} }} }} }}",
        id=group["id"],
    ) == {"node": {**group, "key": key}}


async def test_unknown_outcomes_are_counted_apart_and_never_retried(acme: Tenant) -> None:
    known = failed(category=ErrorCategory.TRANSIENT, code="TIMEOUT")
    lost = replace(known, outcome=Outcome.UNKNOWN, verifiable_at=NOW)
    post = await add_post_in_states(acme, lost, lost, known)
    await add_post_in_states(acme, replace(lost, error="Lost."))

    mixed, only_unknown = await groups(acme)

    numbers = ("count", "unknownCount", "retryableCount", "refusedCount")
    assert [mixed[name] for name in numbers] == [3, 2, 1, 2]
    assert [only_unknown[name] for name in numbers] == [1, 1, 0, 1]
    assert mixed["diagnosis"]["nextAction"] == "RETRY"
    assert only_unknown["diagnosis"]["nextAction"] == "CHECK_PLATFORM"
    answer = await retry(acme, failureGroup=[mixed["key"]])
    assert (answer["retriedCount"], answer["refusedCount"]) == (1, 2)
    assert {each["postId"] for each in answer["retries"]} == {str(post.id)}


RETRY = """
mutation($input: RetryDestinationsInput!) {
  payload: retryDestinations(input: $input) { retriedCount refusedCount retries { postId refusal } }
}
"""


async def retry(tenant: Tenant, **filters: Any) -> dict[str, Any]:
    return await run_mutation(tenant, RETRY, filter=filters)


@pytest.mark.parametrize(
    "blocked",
    [{"is_active": False}, {"needs_reconnection_since": NOW}, {"token_expires_at": NOW}],
    ids=lambda blocked: next(iter(blocked)),
)
async def test_accounts_that_cannot_post_are_refused(acme: Tenant, blocked: dict[str, Any]) -> None:
    good = await add_account(acme.database, acme.workspace, token_expires_at=NOW + HOUR)
    bad = await add_account(acme.database, acme.workspace, **blocked)
    await add_post(acme.database, acme.workspace, {good: failed(), bad: failed()})

    (group,) = await groups(acme)
    answer = await retry(acme, failureGroup=[CAPTION])

    assert (group["retryableCount"], group["refusedCount"]) == (1, 1)
    assert (answer["retriedCount"], answer["refusedCount"]) == (1, 1)


async def test_imported_posts_are_refused(acme: Tenant) -> None:
    await add_post_in_states(acme, failed(), imported_at=NOW)
    await add_post_in_states(acme, failed(), failed())
    (group,) = await groups(acme)
    assert (group["retryableCount"], group["refusedCount"]) == (2, 1)
    assert (await retry(acme, failureGroup=[CAPTION]))["retriedCount"] == 2


async def test_cancelled_destinations_are_retried_by_their_group(acme: Tenant) -> None:
    await add_post_in_states(acme, CANCELLED)
    (group,) = await groups(acme)
    assert (group["code"], group["retryableCount"]) == ("CANCELLED", 1)
    assert (await retry(acme, platform=["instagram"]))["retries"] == []
    for keys in ([group["key"], NO_SUCH_KEY], [group["key"]]):
        answer = await run_mutation(acme, RETRY, filter={"failureGroup": keys}, dryRun=True)
        assert answer["retriedCount"] == 1
    assert (await retry(acme, failureGroup=[group["key"]]))["retriedCount"] == 1


async def test_retried_published_and_deleted_failures_leave_the_group(acme: Tenant) -> None:
    await add_post_in_states(acme, failed(settled_at=NOW - HOUR))
    await add_post_in_states(acme, failed(), deleted_at=NOW)
    (group,) = await groups(acme)
    assert (group["count"], group["lastSeen"]) == (1, "2026-04-15T14:00:00.000Z")
    assert group["hourlyCounts"] == [*[0] * 22, 1, 0]
    assert (group["retryableCount"], group["refusedCount"]) == (1, 0)
    assert group["sample"]["status"] == "FAILED"

    await retry(acme, failureGroup=[CAPTION])

    assert await groups(acme) == []
    assert await acme.client.query("query($id: ID!) { node(id: $id) { id } }", id=group["id"]) == {
        "node": None
    }


async def test_hourly_counts_cover_24_whole_hours(acme: Tenant) -> None:
    """NOW is at the start of an hour."""
    millisecond = timedelta(milliseconds=1)
    for settled_at in (
        NOW - 23 * HOUR - millisecond,  # too early
        NOW - 23 * HOUR,
        NOW - 22 * HOUR - millisecond,
        NOW - millisecond,
        NOW,
        NOW + HOUR - millisecond,
        NOW + HOUR,  # too late
    ):
        await add_post_in_states(acme, failed(settled_at=settled_at))
    (group,) = await groups(acme)
    assert group["count"] == 7
    assert group["hourlyCounts"] == [2, *[0] * 21, 1, 2]


async def add_groups(tenant: Tenant, **hours_ago_by_code: list[int]) -> None:
    for code, hours_ago in hours_ago_by_code.items():
        states = [failed(code=code, settled_at=NOW - hours * HOUR) for hours in hours_ago]
        await add_post_in_states(tenant, *states)


async def test_groups_are_ordered_by_count_or_latest_failure(acme: Tenant) -> None:
    await add_groups(acme, A=[3], B=[2, 1], C=[9, 9, 9], D=[0])
    by_count = await counts(acme)
    assert (list(by_count)[:2], set(by_count)) == (["C", "B"], {"A", "B", "C", "D"})
    assert await counts(acme, orderBy="LAST_SEEN") == {"D": 1, "B": 2, "A": 1, "C": 3}


@pytest.mark.parametrize("order", ["COUNT", "LAST_SEEN"])
async def test_pages_contain_each_group_once(acme: Tenant, order: str) -> None:
    """Groups A to E have equal counts and times, so that their keys decide."""
    await add_groups(acme, **{code: [1] for code in "ABCDE"}, F=[0, 0], G=[2])
    whole = (await acme.client.query(KEYS, orderBy=order))["failureGroups"]
    found, after = [], None
    for number in range(4):
        page = (await acme.client.query(KEYS, orderBy=order, first=2, after=after))["failureGroups"]
        after = page["pageInfo"]["endCursor"]
        assert page["pageInfo"] == {
            "hasNextPage": number < 3,
            "hasPreviousPage": number > 0,
            "startCursor": page["pageInfo"]["startCursor"],
            "endCursor": after,
        }
        found += page["nodes"]
    assert found == whole["nodes"]
    found, before = [], None
    for number in range(4):
        page = (await acme.client.query(KEYS, orderBy=order, last=2, before=before))[
            "failureGroups"
        ]
        before = page["pageInfo"]["startCursor"]
        assert page["pageInfo"] == {
            "hasNextPage": number > 0,
            "hasPreviousPage": number < 3,
            "startCursor": before,
            "endCursor": page["pageInfo"]["endCursor"],
        }
        found = [*page["nodes"], *found]
    assert found == whole["nodes"]
    bounds = {"after": whole["pageInfo"]["startCursor"], "before": whole["pageInfo"]["endCursor"]}
    for size in ({"first": 100}, {"last": 100}):
        between = (await acme.client.query(KEYS, orderBy=order, **size, **bounds))["failureGroups"]
        assert between["nodes"] == whole["nodes"][1:-1]
    assert sorted(node["code"] for node in found) == list("ABCDEFG")


async def test_edges_have_cursors(acme: Tenant) -> None:
    await add_groups(acme, A=[1], B=[2, 2])
    page = (await acme.client.query(GROUPS))["failureGroups"]
    keys = [node["key"] for node in page["nodes"]]
    cursors = [edge["cursor"] for edge in page["edges"]]
    assert [edge["node"] for edge in page["edges"]] == [{"key": key} for key in keys]
    assert page["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "startCursor": cursors[0],
        "endCursor": cursors[1],
    }
    assert await counts(acme, after=cursors[0]) == {"A": 1}
    empty = (await acme.client.query(GROUPS, after=cursors[1]))["failureGroups"]["pageInfo"]
    assert empty["startCursor"] is empty["endCursor"] is None


async def test_invalid_page_arguments_are_rejected(acme: Tenant) -> None:
    await add_groups(acme, A=[1])
    page = (await acme.client.query(KEYS))["failureGroups"]
    cursor = page["pageInfo"]["endCursor"]
    bad_cursor = ("BAD_CURSOR", "after", BAD_CURSOR_MESSAGE)
    assert await acme.client.expect_error(KEYS, orderBy="LAST_SEEN", after=cursor) == bad_cursor
    assert await acme.client.expect_error(KEYS, after="x") == bad_cursor
    for first in (0, 101):
        message = f"first must be from 1 to 100; it is {first}."
        error = await acme.client.expect_error(KEYS, first=first)
        assert error == ("VALIDATION_ERROR", "first", message)
        error = await acme.client.expect_error(KEYS, last=first)
        assert error == ("VALIDATION_ERROR", "last", message.replace("first", "last"))
    error = await acme.client.expect_error(KEYS, first=1, last=1)
    assert error == ("VALIDATION_ERROR", "last", "Pass either first or last, not both.")


async def test_filter_decides_what_counts(acme: Tenant) -> None:
    one, other = await add_accounts(acme.database, acme.workspace, 2)
    await add_post(
        acme.database,
        acme.workspace,
        {one: failed(settled_at=NOW - HOUR), other: failed(code="OTHER")},
        content="Spring sale",
    )
    await add_post(acme.database, acme.workspace, {other: failed()}, reference="b", content="Sun")
    await add_post(acme.database, acme.workspace, {one: unknown()}, content="ab")
    caption, other_code, lost = "CAPTION_TOO_LONG", "OTHER", "OUTCOME_UNKNOWN"
    everything = {caption: 2, other_code: 1, lost: 1}
    cases: list[tuple[dict[str, Any], dict[str, int]]] = [
        ({}, everything),
        ({"status": ["FAILED"]}, everything),
        ({"status": ["PUBLISHED"]}, {}),
        ({"accountId": [one]}, {caption: 1, lost: 1}),
        ({"outcome": ["FAILED"]}, {caption: 2, other_code: 1}),
        ({"outcome": ["UNKNOWN"]}, {lost: 1}),
        ({"outcome": ["UNKNOWN", "PUBLISHED"]}, {lost: 1}),
        ({"failedBefore": "2026-04-15T15:00:00Z"}, {caption: 1}),
        ({"errorCode": [other_code, lost]}, {other_code: 1, lost: 1}),
        ({"reference": "b"}, {caption: 1}),
        ({"search": "SALE"}, {caption: 1, other_code: 1}),
        ({"search": "ab"}, {lost: 1}),
        ({"nextAction": ["EDIT_POST"]}, {caption: 2, other_code: 1}),
        ({"failureGroup": [CAPTION]}, {caption: 2}),
        ({"failureGroup": [CAPTION], "accountId": [other]}, {caption: 1}),
        ({"failureGroup": [NO_SUCH_KEY]}, {}),
        ({"failureGroup": []}, {}),
        ({"overdue": True}, {}),
    ]
    for filters, expected in cases:
        assert await counts(acme, filter=filters) == expected, filters

    (group,) = await groups(acme, filter={"accountId": [one], "errorCode": [caption]})
    assert group["sample"]["account"] == {"accountId": one}
    assert group["hourlyCounts"] == [*[0] * 22, 1, 0]
    assert (group["count"], group["retryableCount"], group["refusedCount"]) == (1, 1, 0)


async def test_key_selects_the_destinations_of_the_group(acme: Tenant) -> None:
    post = await add_post_in_states(acme, failed(), failed(code="OTHER"))
    document = """
    query($keys: [String!]) {
      destinations(filter: {failureGroup: $keys}) { totalCount nodes { destinationId } }
    }
    """
    for key, ids in ((CAPTION, [str(post.destinations[0])]), (NO_SUCH_KEY, [])):
        page = (await acme.client.query(document, keys=[key]))["destinations"]
        nodes = [{"destinationId": each} for each in ids]
        assert page == {"totalCount": len(ids), "nodes": nodes}
    message = (
        "filter.failureGroup must be the key of a failure group, as `FailureGroup.key` and"
        " `Destination.failureGroup` return it."
    )
    expected = ("VALIDATION_ERROR", "filter.failureGroup", message)
    malformed = [CAPTION, "1-x"]
    assert await acme.client.expect_error(document, keys=malformed) == expected
    assert await acme.client.expect_error(KEYS, filter={"failureGroup": malformed}) == expected
    error = await expect_refusal(acme, RETRY, filter={"failureGroup": malformed})
    assert error == ("VALIDATION_ERROR", f"input.{expected[1]}", message)


async def test_nodes_are_read_together(acme: Tenant) -> None:
    await add_groups(acme, A=[1], B=[2, 2])
    ids = [node["id"] for node in await groups(acme)]
    document = """
    query($ids: [ID!]!) {
      nodes(ids: $ids) { ... on FailureGroup { code hourlyCounts retryableCount refusedCount } }
    }
    """
    unknown_ids = [node_id("FailureGroup", NO_SUCH_KEY), node_id("FailureGroup", "2" + CAPTION[1:])]
    with record_statements(acme.database) as statements:
        answer = await acme.client.query(document, ids=[*ids, *unknown_ids])
    assert answer["nodes"] == [
        {"code": "B", "hourlyCounts": [*[0] * 21, 2, 0, 0], "retryableCount": 2, "refusedCount": 0},
        {"code": "A", "hourlyCounts": [*[0] * 22, 1, 0], "retryableCount": 1, "refusedCount": 0},
        None,
        None,
    ]
    assert len(statements) == 4  # groups, hours, accounts, and effects of a retry
    for key in ("x", "1-" + "A" * 32, str(NO_SUCH_KEY) + "\n"):
        error = await acme.client.expect_error(document, ids=[node_id("FailureGroup", key)])
        assert error[:2] == ("INVALID_ID", "ids")


async def test_numbers_that_are_not_selected_cost_no_statement(acme: Tenant) -> None:
    await add_groups(acme, A=[1], B=[2])
    with record_statements(acme.database) as statements:
        await acme.client.query("{ failureGroups { nodes { count sample { error } } } }")
        assert len(statements) == 1
        await acme.client.query("{ failureGroups { nodes { hourlyCounts } } }")
        assert len(statements) == 3
        await acme.client.query("{ failureGroups { nodes { retryableCount } } }")
    assert len(statements) == 6
