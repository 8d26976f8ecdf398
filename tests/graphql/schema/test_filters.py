"""Filters of posts and destinations: matches and invalid values."""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.db.repositories import destination_filters, destination_pages, posts
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import DestinationOrderField
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.diagnosis import ErrorSource, NextAction, known_errors
from app.domain.failure_groups import group_of
from app.domain.times import format_instant
from app.domain.transitions import retried
from app.graphql.schema.inputs import DestinationFilterInput, PostFilterInput
from tests.clients import Tenant
from tests.domain.errors import ACCOUNT_ID_MESSAGE
from tests.factories import (
    NOW,
    add_account,
    add_post,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.graphql.tenant_objects import add_post_in_states, add_tenant
from tests.recording_driver import record_statements

MILLISECOND = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)
OVERDUE = timedelta(minutes=5)


async def filter_posts(acme: Tenant, **filters: Any) -> set[str]:
    """Return the contents of the matching posts; their number must equal the total count."""
    data = await acme.client.query(
        "query ($filter: PostFilter)"
        " { posts(filter: $filter, first: 100) { totalCount nodes { content } } }",
        filter=filters,
    )
    contents = [node["content"] for node in data["posts"]["nodes"]]
    assert data["posts"]["totalCount"] == len(contents)
    return set(contents)


async def filter_destinations(acme: Tenant, **filters: Any) -> set[str]:
    """Return the contents of the posts of the matching destinations, which are the same in every order."""
    lists = " ".join(
        f"{order.name}: destinations(filter: $filter, first: 100, orderBy: {{field: {order.name}}})"
        " { totalCount nodes { post { content } } }"
        for order in DestinationOrderField
    )
    data = await acme.client.query(
        f"query ($filter: DestinationFilter) {{ {lists} }}", filter=filters
    )
    contents = [
        sorted(node["post"]["content"] for node in connection["nodes"])
        for connection in data.values()
    ]
    assert contents == [contents[0]] * len(DestinationOrderField)
    assert {connection["totalCount"] for connection in data.values()} == {len(contents[0])}
    return set(contents[0])


EVERY_POST = {"draft", "scheduled", "publishing", "published", "mixed", "failed"}
ON_X = {"scheduled", "published", "mixed"}
ON_INSTAGRAM = {"publishing", "mixed", "failed"}
POST_FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, EVERY_POST),
    ({"status": None}, EVERY_POST),
    ({"status": ["DRAFT"]}, {"draft"}),
    ({"status": "SCHEDULED"}, {"scheduled"}),
    ({"status": ["PUBLISHING"]}, {"publishing"}),
    ({"status": ["PUBLISHED", "FAILED", "FAILED"]}, {"published", "failed"}),
    ({"status": ["PARTIALLY_FAILED"]}, {"mixed"}),
    ({"status": []}, set()),
    ({"platform": ["x"]}, ON_X),
    ({"platform": ["x", "instagram"]}, ON_X | ON_INSTAGRAM),
    ({"platform": ["X"]}, set()),
    ({"platform": []}, set()),
    ({"accountId": [1]}, ON_INSTAGRAM),
    ({"accountId": [1, 2]}, ON_X | ON_INSTAGRAM),
    ({"accountId": [99]}, set()),
    ({"accountId": []}, set()),
    ({"reference": "Spring/1"}, {"mixed"}),
    ({"reference": "spring/1"}, set()),
    ({"reference": "Spring"}, set()),
    ({"reference": ""}, set()),
    ({"platform": ["x"], "accountId": [1]}, {"mixed"}),
    ({"platform": ["x"], "status": ["PUBLISHED"]}, {"published"}),
    ({"platform": ["x"], "status": ["FAILED"]}, set()),
    ({"search": "ED", "status": ["FAILED", "SCHEDULED"]}, {"scheduled", "failed"}),
]


async def test_posts_filter(acme: Tenant) -> None:
    instagram = await add_account(acme.database, acme.workspace)
    x = await add_account(acme.database, acme.workspace, platform="x")
    rows: dict[str, Mapping[Any, DestinationState]] = {
        "draft": {},
        "scheduled": {x: queued(NOW + HOUR)},
        "publishing": {instagram: claimed()},
        "published": {x: published()},
        "mixed": {x: published(), instagram: failed()},
        "failed": {instagram: failed()},
    }
    for content, states in rows.items():
        reference = "Spring/1" if content == "mixed" else None
        await add_post(acme.database, acme.workspace, states, content=content, reference=reference)
    for filters, expected in POST_FILTERS:
        assert await filter_posts(acme, **filters) == expected, filters


async def test_posts_filter_by_id_excludes_those_of_other_workspaces(acme: Tenant) -> None:
    other = await add_tenant(acme)
    ids = [
        str((await add_post(tenant.database, tenant.workspace, content=content)).id)
        for tenant, content in ((acme, "one"), (acme, "two"), (acme, "three"), (other, "foreign"))
    ]
    for post_ids, expected in (
        ([ids[0].upper(), ids[1], ids[0]], {"one", "two"}),
        ([ids[3], str(uuid4())], set()),
        ([], set()),
    ):
        assert await filter_posts(acme, postId=post_ids) == expected
    assert await filter_posts(acme, postId=ids, search="T") == {"two", "three"}


@pytest.mark.parametrize("name", ["created", "scheduled", "published", "updated"])
async def test_posts_time_filter_excludes_upper_bound(acme: Tenant, name: str) -> None:
    columns = {"created": "created_at", "scheduled": "scheduled_for", "updated": "updated_at"}
    for content, at in (("early", NOW - MILLISECOND), ("at", NOW), ("late", NOW + MILLISECOND)):
        state = published(at) if name == "published" else queued()
        column = {columns[name]: at} if name in columns else {}
        await add_post_in_states(acme, state, content=content, **column)
    if name in ("scheduled", "published"):
        await add_post(acme.database, acme.workspace, content="never")
    after, before, now = f"{name}After", f"{name}Before", format_instant(NOW)
    assert await filter_posts(acme, **{after: now}) == {"at", "late"}
    assert await filter_posts(acme, **{before: now}) == {"early"}
    next_instant = format_instant(NOW + MILLISECOND)
    assert await filter_posts(acme, **{after: now, before: next_instant}) == {"at"}
    assert await filter_posts(acme, **{after: now, before: now}) == set()
    assert await filter_posts(acme, **{after: "2026-04-15T17:00:00.0009+02:00"}) == {"at", "late"}


@pytest.mark.parametrize(
    ("content", "needle", "is_found"),
    [
        ("Spring sale", "SPRING", True),
        ("Straße", "STRASSE", True),
        (unicodedata.normalize("NFD", "Café"), unicodedata.normalize("NFC", "CAFÉ"), True),
        ("Cafe", "café", False),
        ("🎉 party", "🎉", True),
        ("100% sure", "0% s", True),
        ("100 sure", "1%sure", False),
        ("snake_case", "e_c", True),
        ("snakeXcase", "e_c", False),
        ("C:\\temp", "\\t", True),
        ("C:/temp", ":/t", True),
        ("a/%b", "/%", True),
        ("a%b", "/%", False),
        ("[a-z]*?", "[a-z]*?", True),
        ("abc", "[a-z]", False),
        ("two  spaces", "  ", True),
        ("no spaces", "  ", False),
        ("x" * 200, "X" * 200, True),
        ("anything", "", True),
    ],
)
async def test_search_is_literal_and_case_insensitive(
    acme: Tenant, content: str, needle: str, is_found: bool
) -> None:
    await add_post(acme.database, acme.workspace, content=content)
    assert await filter_posts(acme, search=needle) == ({content} if is_found else set())


PUBLICATION = "https://www.instagram.com/p/C1a2b3c4d5e/"
DESTINATION_STATES = {
    "queued": queued(NOW + HOUR),
    "retrying": waiting_for_retry(category=ErrorCategory.RATE_LIMITED, code="RATE_LIMITED"),
    "claimed": claimed(),
    "published": published(NOW - HOUR),
    "failed": failed(),
    "unknown": unknown(),
}
FAILURE_GROUP = group_of(
    "failed", ErrorCategory.CONTENT_REJECTED, "CAPTION_TOO_LONG", "The caption is too long."
)
DESTINATION_FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"status": None, "overdue": None}, set(DESTINATION_STATES)),
    ({"status": ["QUEUED"]}, {"queued", "retrying"}),
    ({"status": ["PUBLISHING", "PUBLISHED"]}, {"claimed", "published"}),
    ({"status": ["FAILED"]}, {"failed", "unknown"}),
    ({"status": []}, set()),
    ({"platform": ["queued", "failed"]}, {"queued", "failed"}),
    ({"platform": ["Queued"]}, set()),
    ({"platform": []}, set()),
    ({"accountId": [1, 3]}, {"queued", "claimed"}),
    ({"accountId": []}, set()),
    ({"errorCategory": ["RATE_LIMITED", "UNCLASSIFIED"]}, {"retrying", "unknown"}),
    ({"errorCategory": ["TRANSIENT"]}, set()),
    ({"errorCategory": []}, set()),
    ({"errorCode": ["CAPTION_TOO_LONG", "OUTCOME_UNKNOWN"]}, {"failed", "unknown"}),
    ({"errorCode": ["caption_too_long"]}, set()),
    ({"errorCode": []}, set()),
    ({"outcome": ["NONE"]}, {"queued", "retrying", "claimed"}),
    ({"outcome": ["PUBLISHED", "UNKNOWN"]}, {"published", "unknown"}),
    ({"outcome": []}, set()),
    ({"status": ["FAILED"], "outcome": ["FAILED"]}, {"failed"}),
    ({"status": ["QUEUED"], "outcome": ["FAILED"]}, set()),
    ({"maxAttempts": 0}, {"queued", "claimed"}),
    ({"maxAttempts": 1, "status": ["FAILED"]}, {"failed", "unknown"}),
    ({"failedAfter": "2026-04-15T15:00:00Z"}, {"failed", "unknown"}),
    ({"failedAfter": "2026-04-15T15:00:00.001Z"}, {"unknown"}),
    ({"failedBefore": "2026-04-15T15:00:00.001Z"}, {"failed"}),
    ({"failedBefore": "2026-04-15T15:00:00Z"}, set()),
    ({"failedAfter": "2026-01-01T00:00:00Z", "status": ["PUBLISHED"]}, set()),
    ({"postId": []}, set()),
    ({"platformPostUrl": [f" {PUBLICATION} "]}, {"published"}),
    ({"platformPostUrl": [PUBLICATION, PUBLICATION[:-1]], "retrying": False}, {"published"}),
    ({"platformPostUrl": [PUBLICATION[:-1]]}, set()),
    ({"platformPostUrl": [PUBLICATION + "a" * 1_000]}, set()),
    ({"platformPostUrl": [PUBLICATION], "status": ["QUEUED"]}, set()),
    ({"platformPostUrl": []}, set()),
    ({"status": ["FAILED"], "errorCategory": ["UNCLASSIFIED"]}, {"unknown"}),
    ({"status": ["QUEUED"], "errorCategory": ["UNCLASSIFIED"]}, set()),
    ({"failureGroup": [FAILURE_GROUP]}, {"failed"}),
    ({"failureGroup": [FAILURE_GROUP, "1-" + 32 * "0"]}, {"failed"}),
    ({"failureGroup": ["1-" + 32 * "0"]}, set()),
    ({"failureGroup": []}, set()),
    ({"source": ["USER"]}, {"failed"}),
    ({"source": ["PLATFORM", "SYSTEM"]}, {"retrying", "unknown"}),
    ({"source": []}, set()),
    ({"nextAction": ["WAIT"]}, {"retrying"}),
    ({"nextAction": ["WAIT", "CHECK_PLATFORM"]}, {"retrying", "unknown"}),
    ({"nextAction": ["EDIT_POST", "RETRY"]}, {"failed"}),
    ({"nextAction": []}, set()),
    ({"retrying": True}, {"retrying"}),
    ({"retrying": False}, set(DESTINATION_STATES) - {"retrying"}),
    ({"duplicated": True}, set()),
    ({"duplicated": False, "status": ["PUBLISHED"]}, {"published"}),
    ({"cancelled": True}, set()),
    ({"cancelled": False}, set(DESTINATION_STATES)),
    ({"search": "FAIL"}, {"failed"}),
    ({"search": "ed", "status": ["PUBLISHED", "FAILED"]}, {"published", "failed"}),
    ({"search": "nothing like this"}, set()),
    ({"reference": "ref of failed"}, {"failed"}),
    ({"reference": "ref"}, set()),
    ({"scheduledAfter": "2026-04-15T15:00:00.001Z"}, {"queued"}),
    ({"publishedAfter": "2026-04-15T14:00:00Z"}, {"published"}),
    ({"nextRetryAfter": "2026-04-15T15:00:00Z"}, {"retrying"}),
    ({"lateBySeconds": 0}, {"retrying", "claimed"}),
    ({"lateBySeconds": 0, "status": ["PUBLISHED"]}, set()),
    ({"lateBySeconds": 0, "status": ["FAILED"]}, set()),
    ({"destinationId": []}, set()),
]


async def test_destinations_filter(acme: Tenant) -> None:
    await check_destination_filters(acme)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_destinations_filter_when_many_match(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not use the index of a selective filter then."""
    monkeypatch.setattr(destination_pages, "MAX_SORTED", -1)
    await check_destination_filters(acme)


async def check_destination_filters(acme: Tenant) -> None:
    for name, state in DESTINATION_STATES.items():
        account = await add_account(acme.database, acme.workspace, platform=name)
        await add_post(
            acme.database,
            acme.workspace,
            {account: state},
            content=name,
            reference=f"ref of {name}",
        )
    for filters, expected in DESTINATION_FILTERS:
        assert await filter_destinations(acme, **filters) == expected, filters


async def test_destinations_filter_by_cancelled(acme: Tenant) -> None:
    states = {
        "cancelled": failed(category=ErrorCategory.PERMANENT, code="CANCELLED"),
        "failed": failed(),
        "published": published(),
    }
    for name, state in states.items():
        await add_post_in_states(acme, state, content=name)
    assert await filter_destinations(acme, cancelled=True) == {"cancelled"}
    assert await filter_destinations(acme, cancelled=False) == {"failed", "published"}
    assert await filter_destinations(acme, cancelled=False, status=["FAILED"]) == {"failed"}
    assert await filter_destinations(acme, cancelled=True, errorCode=["TIMEOUT"]) == set()
    assert await filter_destinations(acme, cancelled=None) == set(states)


async def test_destinations_filter_by_draft_import_and_settlement(acme: Tenant) -> None:
    reported_late = published(NOW - HOUR, settled_at=NOW)
    await add_post_in_states(acme, draft(), content="draft")
    await add_post_in_states(acme, queued(NOW + HOUR), content="queued")
    await add_post_in_states(acme, queued(NOW + HOUR), content="imported", imported_at=NOW)
    await add_post_in_states(acme, reported_late, content="published")
    await add_post_in_states(acme, unknown(settled_at=NOW - HOUR), content="unknown")
    filters: list[tuple[dict[str, Any], set[str]]] = [
        ({"draft": True}, {"draft"}),
        ({"draft": True, "status": ["PUBLISHED"]}, set()),
        ({"draft": False}, {"queued", "imported", "published", "unknown"}),
        ({"draft": False, "status": ["QUEUED"]}, {"queued", "imported"}),
        ({"imported": True}, {"imported"}),
        ({"imported": False, "status": ["QUEUED"]}, {"draft", "queued"}),
        ({"settledAfter": format_instant(NOW)}, {"published"}),
        ({"settledBefore": format_instant(NOW)}, {"unknown"}),
        ({"settledBefore": format_instant(NOW), "status": ["PUBLISHED"]}, set()),
        ({"publishedBefore": format_instant(NOW)}, {"published"}),
        ({"settledAfter": format_instant(NOW), "status": ["QUEUED"]}, set()),
    ]
    for values, expected in filters:
        assert await filter_destinations(acme, **values) == expected, values


async def test_destinations_filter_by_post(acme: Tenant) -> None:
    ids = [
        str((await add_post_in_states(acme, queued(), content=content)).id)
        for content in ("one", "two", "three")
    ]
    assert await filter_destinations(acme, postId=ids[:2]) == {"one", "two"}
    assert await filter_destinations(acme, postId=ids[2].upper()) == {"three"}


async def test_destinations_filter_by_id(acme: Tenant) -> None:
    added = [await add_post_in_states(acme, queued(), content=name) for name in ("one", "two")]
    first, second = [str(post.destinations[0]) for post in added]
    assert await filter_destinations(acme, destinationId=[first]) == {"one"}
    assert await filter_destinations(acme, destinationId=[first, second.upper()]) == {"one", "two"}
    assert await filter_destinations(acme, destinationId=[str(added[0].id)]) == set()


@pytest.mark.parametrize(
    ("state", "seconds", "is_late"),
    [
        (published(NOW, due_at=NOW - HOUR), 3600, True),
        (published(NOW, due_at=NOW - HOUR), 3601, False),
        (published(NOW, due_at=NOW), 0, True),
        (published(NOW - HOUR, due_at=NOW), 0, False),
        (queued(NOW - HOUR), 3600, True),
        (queued(NOW - HOUR), 3601, False),
        (queued(NOW + HOUR), 0, False),
        (claimed(NOW - HOUR), 3600, True),
        (waiting_for_retry(NOW + HOUR, due_at=NOW - HOUR), 3600, True),
        (failed(due_at=NOW - HOUR), 0, False),
        (unknown(due_at=NOW - HOUR), 0, False),
        (draft(), 0, False),
    ],
)
async def test_destinations_filter_by_lateness(
    acme: Tenant, state: DestinationState, seconds: int, is_late: bool
) -> None:
    await add_post_in_states(acme, state, content="it")
    assert await filter_destinations(acme, lateBySeconds=seconds) == ({"it"} if is_late else set())


async def test_filters_by_advice_agree_with_the_diagnosis(acme: Tenant) -> None:
    """For all known errors, for codes of publishers, and for a known code in another category."""
    errors = [*known_errors(), *((category, "OWN_CODE") for category in ErrorCategory)]
    errors.append((ErrorCategory.TRANSIENT, "TOKEN_EXPIRED"))
    accounts = [await add_account(acme.database, acme.workspace) for _ in errors]
    states = {
        account: failed(category=category, code=code)
        for account, (category, code) in zip(accounts, errors, strict=True)
    }
    await add_post(acme.database, acme.workspace, states)

    document = (
        "query ($filter: DestinationFilter) { destinations(first: 100, filter: $filter)"
        " { nodes { accountId diagnosis { source nextAction } } } }"
    )
    nodes = (await acme.client.query(document, filter={}))["destinations"]["nodes"]
    assert len(nodes) == len(errors)
    for name, values in (("source", ErrorSource), ("nextAction", NextAction)):
        for value in values:
            found = await acme.client.query(document, filter={name: [value.name]})
            expected = [node for node in nodes if node["diagnosis"][name] == value.name]
            assert found["destinations"]["nodes"] == expected, value


TIME_FILTER_STATES: dict[str, Callable[[datetime], DestinationState]] = {
    "published": published,
    "nextRetry": waiting_for_retry,
    "failed": lambda at: failed(settled_at=at),
    "scheduled": queued,
    "updated": lambda _: queued(),
}


@pytest.mark.parametrize("name", TIME_FILTER_STATES)
async def test_destinations_time_filter_excludes_upper_bound(acme: Tenant, name: str) -> None:
    for content, at in (("early", NOW - MILLISECOND), ("at", NOW), ("late", NOW + MILLISECOND)):
        state = TIME_FILTER_STATES[name](at)
        await add_post_in_states(acme, state, content=content, updated_at=at)
    other = draft() if name == "scheduled" else queued()
    await add_post_in_states(acme, other, content="never", updated_at=NOW - HOUR)
    after, before, now = f"{name}After", f"{name}Before", format_instant(NOW)
    earliest = {"early", "never"} if name == "updated" else {"early"}
    assert await filter_destinations(acme, **{after: now}) == {"at", "late"}
    assert await filter_destinations(acme, **{before: now}) == earliest
    assert await filter_destinations(acme, **{after: now, before: now}) == set()


@pytest.mark.parametrize(
    ("state", "is_overdue"),
    [
        (draft(), False),
        (queued(NOW + HOUR), False),
        (queued(NOW - OVERDUE + MILLISECOND), False),
        (queued(NOW - OVERDUE), True),
        (waiting_for_retry(NOW - OVERDUE + MILLISECOND, due_at=NOW - HOUR), False),
        (waiting_for_retry(NOW - OVERDUE, due_at=NOW - HOUR), True),
        (retried(failed(due_at=NOW - HOUR), NOW - OVERDUE + MILLISECOND), False),
        (retried(failed(due_at=NOW - HOUR), NOW - OVERDUE), True),
        (retried(failed(due_at=NOW - OVERDUE + MILLISECOND), NOW - OVERDUE), False),
        (claimed(NOW - HOUR, lease_expires_at=NOW - OVERDUE + MILLISECOND), False),
        (claimed(NOW - HOUR, lease_expires_at=NOW - OVERDUE), True),
        (started(NOW - HOUR, lease_expires_at=NOW - OVERDUE + MILLISECOND), False),
        (started(NOW - HOUR, lease_expires_at=NOW - OVERDUE), True),
        (published(NOW - HOUR, due_at=NOW - HOUR), False),
        (failed(due_at=NOW - HOUR), False),
        (unknown(due_at=NOW - HOUR), False),
    ],
)
async def test_overdue_filter_agrees_with_field(
    acme: Tenant, state: DestinationState, is_overdue: bool
) -> None:
    await add_post_in_states(acme, state, content="it")
    data = await acme.client.query("{ destinations { nodes { isOverdue } } }")
    assert data["destinations"]["nodes"] == [{"isOverdue": is_overdue}]
    assert await filter_destinations(acme, overdue=True) == ({"it"} if is_overdue else set())
    assert await filter_destinations(acme, overdue=False) == (set() if is_overdue else {"it"})


@pytest.mark.parametrize(
    ("root", "type_", "names"),
    [
        ("posts", "PostFilter", ["search", "reference", "platform"]),
        ("destinations", "DestinationFilter", ["platform", "errorCode", "search", "reference"]),
    ],
)
async def test_invalid_filter_value_is_rejected_by_name(
    acme: Tenant, root: str, type_: str, names: list[str]
) -> None:
    document = f"query ($filter: {type_}) {{ {root}(filter: $filter) {{ nodes {{ id }} }} }}"
    for name in names:
        field = f"filter.{name}"
        for value, problem in (
            ("a\0b", "must not contain a NUL character."),
            ("é" * 201, "is 201 characters long; at most 200 are allowed."),
        ):
            error = await acme.client.expect_error(document, filter={name: value})
            assert error == ("VALIDATION_ERROR", field, f"{field} {problem}")
        longest = {name: "🎉" * 200}
        assert await acme.client.query(document, filter=longest) == {root: {"nodes": []}}
    assert await acme.client.expect_error(document, filter={"accountId": [1, 0]}) == (
        "INVALID_ID",
        "filter.accountId",
        ACCOUNT_ID_MESSAGE,
    )


@pytest.mark.parametrize("key", ["", "1", "2-" + 31 * "0", "1-" + 32 * "A", "x" * 300])
async def test_malformed_failure_group_is_rejected(acme: Tenant, key: str) -> None:
    document = (
        "query ($filter: DestinationFilter) { destinations(filter: $filter) { nodes { id } } }"
    )
    assert await acme.client.expect_error(document, filter={"failureGroup": [key]}) == (
        "VALIDATION_ERROR",
        "filter.failureGroup",
        "filter.failureGroup must be the key of a failure group, as `FailureGroup.key` and"
        " `Destination.failureGroup` return it.",
    )


async def test_filter_accepts_at_most_100_values(acme: Tenant) -> None:
    document = "query ($ids: [Int!]) { posts(filter: {accountId: $ids}) { nodes { id } } }"
    assert await acme.client.query(document, ids=list(range(1, 101))) == {"posts": {"nodes": []}}
    assert await acme.client.expect_error(document, ids=list(range(1, 102))) == (
        "LIMIT_EXCEEDED",
        "filter.accountId",
        "filter.accountId has 101 values; at most 100 are allowed.",
    )


@pytest.mark.parametrize(
    ("filter_input", "criteria", "conditions"),
    [
        (PostFilterInput, posts.PostCriteria, posts._CONDITIONS),
        (DestinationFilterInput, DestinationCriteria, destination_filters._CONDITIONS),
    ],
)
def test_every_filter_field_has_a_criterion_and_a_condition(
    filter_input: type, criteria: type, conditions: Mapping[str, object]
) -> None:
    names = [field.name for field in fields(filter_input)]
    assert names == [field.name for field in fields(criteria)]
    assert set(names) <= conditions.keys()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("number", "is_sorted"), [(2, True), (3, False)])
async def test_many_overdue_destinations_are_read_in_the_order_of_the_list(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, number: int, is_sorted: bool
) -> None:
    monkeypatch.setattr(destination_pages, "MAX_SORTED", 2)
    account = await add_account(acme.database, acme.workspace)
    for hour in range(number):
        await add_post(
            acme.database,
            acme.workspace,
            {account: queued(NOW - HOUR)},
            content=str(hour),
            created_at=NOW - hour * HOUR,
        )

    with record_statements(acme.database) as statements:
        data = await acme.client.query(
            "{ destinations(filter: {overdue: true}, first: 2) { nodes { createdAt } } }"
        )
    assert [node["createdAt"] for node in data["destinations"]["nodes"]] == [
        "2026-04-15T15:00:00.000Z",
        "2026-04-15T14:00:00.000Z",
    ]
    assert ["+destination.created_at" in each.text for each in statements] == [False, is_sorted]
