"""Queries: every field of posts, destinations and attempts, and lookup by id."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.db.repositories.attempts import load_attempts
from app.domain.api_keys import Scope
from app.domain.attempts import AttemptKind
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.failure_groups import failure_group
from tests.clients import Tenant
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    claimed,
    failed,
    published,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.graphql.tenant_objects import add_post_in_states, node_id

POST = UUID("0b1e7a30-0000-4000-8000-000000000001")
DESTINATION = UUID("0b1e7a30-0000-4000-8000-00000000000a")


async def test_post_returns_all_fields(acme: Tenant) -> None:
    await add_post_in_states(
        acme,
        queued(NOW + timedelta(hours=1)),
        id=POST,
        content="Ünïcode — naïve 🎉",
        scheduled_for=NOW + timedelta(hours=1),
        timezone="Europe/Berlin",
        media_ids=["m-1", "m-2"],
        media=[{"url": "https://example.com/1.png", "alt": None}],
        platform_content={"instagram": {"content": "Only here", "settings": {"b": 1, "a": [2]}}},
        reference="campaign-7",
        version=3,
        updated_at=NOW + timedelta(seconds=9),
    )
    data = await acme.client.query(
        "query ($id: UUID!) { post(postId: $id) { id postId status content scheduledFor timezone"
        " mediaIds media platformContent reference publishedAt version createdAt updatedAt"
        " accountIds } }",
        id=str(POST).upper(),
    )
    assert data == {
        "post": {
            "id": node_id("Post", POST),
            "postId": str(POST),
            "status": "SCHEDULED",
            "content": "Ünïcode — naïve 🎉",
            "scheduledFor": "2026-04-15T16:00:00.000Z",
            "timezone": "Europe/Berlin",
            "mediaIds": ["m-1", "m-2"],
            "media": [{"url": "https://example.com/1.png", "alt": None}],
            "platformContent": {
                "instagram": {"content": "Only here", "settings": {"b": 1, "a": [2]}}
            },
            "reference": "campaign-7",
            "publishedAt": None,
            "version": 3,
            "createdAt": "2026-04-15T15:00:00.000Z",
            "updatedAt": "2026-04-15T15:00:09.000Z",
            "accountIds": [1],
        }
    }


async def test_failed_destination_returns_attempts_and_diagnosis(acme: Tenant) -> None:
    account = await add_account(
        acme.database, acme.workspace, platform="linkedin", account_name="Acme Inc."
    )
    error: dict[str, Any] = {"category": ErrorCategory.AUTH, "code": "TOKEN_EXPIRED"}
    post = await add_post(
        acme.database,
        acme.workspace,
        {account: failed(attempts=2, error="Token expired.", **error)},
        destination_ids=[DESTINATION],
    )
    first = await add_attempt(
        acme.database,
        acme.workspace,
        post.destinations[0],
        outcome=Outcome.FAILED,
        category=ErrorCategory.RATE_LIMITED,
        code="RATE_LIMITED",
        message="Slow down.",
        http_status=429,
        retry_after=timedelta(seconds=1.5),
    )
    second = await add_attempt(
        acme.database,
        acme.workspace,
        post.destinations[0],
        number=2,
        fence=2,
        outcome=Outcome.FAILED,
        message="Token expired.",
        worker=None,
        started_at=NOW + timedelta(minutes=1),
        **error,
    )
    data = await acme.client.query(
        "{ destinations { nodes { id destinationId postId accountId accountName platform status"
        " outcome scheduledFor publishedAt platformPostId platformPostUrl error errorCategory errorCode"
        " attempts nextRetryAt isOverdue pollAfterSeconds createdAt updatedAt"
        " diagnosis { category code source retryable willRetry fix nextAction }"
        " post { postId } account { accountId }"
        " attemptLog { attemptId number kind outcome category code message httpStatus"
        " retryAfterSeconds worker startedAt finishedAt durationMs } } } }"
    )
    first_attempt = {
        "attemptId": str(first),
        "number": 1,
        "kind": "REGULAR",
        "outcome": "FAILED",
        "category": "RATE_LIMITED",
        "code": "RATE_LIMITED",
        "message": "Slow down.",
        "httpStatus": 429,
        "retryAfterSeconds": 1.5,
        "worker": "worker-1",
        "startedAt": "2026-04-15T15:00:00.000Z",
        "finishedAt": "2026-04-15T15:00:01.000Z",
        "durationMs": 1000,
    }
    second_attempt = first_attempt | {
        "attemptId": str(second),
        "number": 2,
        "category": "AUTH",
        "code": "TOKEN_EXPIRED",
        "message": "Token expired.",
        "httpStatus": None,
        "retryAfterSeconds": None,
        "worker": None,
        "startedAt": "2026-04-15T15:01:00.000Z",
        "finishedAt": "2026-04-15T15:01:01.000Z",
    }
    assert data["destinations"]["nodes"] == [
        {
            "id": node_id("Destination", DESTINATION),
            "destinationId": str(DESTINATION),
            "postId": str(post.id),
            "accountId": account,
            "accountName": "Acme Inc.",
            "platform": "linkedin",
            "status": "FAILED",
            "outcome": "FAILED",
            "scheduledFor": "2026-04-15T15:00:00.000Z",
            "publishedAt": None,
            "platformPostId": None,
            "platformPostUrl": None,
            "error": "Token expired.",
            "errorCategory": "AUTH",
            "errorCode": "TOKEN_EXPIRED",
            "attempts": 2,
            "nextRetryAt": None,
            "isOverdue": False,
            "pollAfterSeconds": None,
            "createdAt": "2026-04-15T15:00:00.000Z",
            "updatedAt": "2026-04-15T15:00:00.000Z",
            "diagnosis": {
                "category": "AUTH",
                "code": "TOKEN_EXPIRED",
                "source": "USER",
                "retryable": True,
                "willRetry": False,
                "fix": "Reconnect the account, then retry the post.",
                "nextAction": "RECONNECT_ACCOUNT",
            },
            "post": {"postId": str(post.id)},
            "account": {"accountId": account},
            "attemptLog": [first_attempt, second_attempt],
        }
    ]


async def test_state_determines_times_lateness_and_outlook(acme: Tenant) -> None:
    await add_post_in_states(
        acme,
        queued(NOW - timedelta(minutes=1)),
        claimed(lease_expires_at=NOW + timedelta(minutes=2)),
        published(NOW + timedelta(seconds=1.5)),
        failed(settled_at=NOW + timedelta(seconds=1)),
        unknown(settled_at=NOW + timedelta(seconds=2)),
    )
    data = await acme.client.query(
        "{ posts { nodes { destinations { failedAt unknownSince latenessSeconds leaseExpiresAt"
        " isDuplicated failureGroup outlook { attempt maxAttempts nextAt givesUpAt sentence } } } } }"
    )
    (post,) = data["posts"]["nodes"]
    sentences = [each["outlook"].pop("sentence") for each in post["destinations"]]
    no_step = dict.fromkeys(("attempt", "maxAttempts", "nextAt", "givesUpAt"))
    nothing = {
        "failedAt": None,
        "unknownSince": None,
        "latenessSeconds": None,
        "leaseExpiresAt": None,
        "isDuplicated": False,
        "failureGroup": None,
        "outlook": no_step,
    }
    assert post["destinations"] == [
        nothing
        | {
            "latenessSeconds": 60.0,
            "outlook": no_step | {"attempt": 1, "nextAt": "2026-04-15T14:59:00.000Z"},
        },
        nothing
        | {
            "latenessSeconds": 0.0,
            "leaseExpiresAt": "2026-04-15T15:02:00.000Z",
            "outlook": no_step | {"attempt": 1, "nextAt": "2026-04-15T15:02:00.000Z"},
        },
        nothing | {"latenessSeconds": 1.5},
        nothing
        | {
            "failedAt": "2026-04-15T15:00:01.000Z",
            "failureGroup": failure_group("instagram", failed()),
        },
        nothing
        | {
            "failedAt": "2026-04-15T15:00:02.000Z",
            "unknownSince": "2026-04-15T15:00:02.000Z",
            "failureGroup": failure_group("instagram", unknown()),
        },
    ]
    assert [sentence.split(" ")[0] for sentence in sentences] == ["It", "A", "Nothing", "It", "It"]


async def test_retry_refusal_is_that_of_a_retry(acme: Tenant) -> None:
    states = [queued(), claimed(), published(), failed(), unknown(), failed()]
    post = await add_post_in_states(acme, *states)
    imported = await add_post_in_states(acme, failed(), imported_at=NOW)
    await acme.client.query(
        "mutation { disconnectAccount(input: {accountId: 6}) { account { isActive } } }"
    )
    document = "query ($id: UUID!) { post(postId: $id) { destinations { retryRefusal retryFix } } }"

    fields = (await acme.client.query(document, id=str(post.id)))["post"]["destinations"]
    retried = await acme.client.query(
        "mutation ($id: UUID!) { retryPost(input: {postId: $id}) { retries { refusal fix } } }",
        id=str(post.id),
    )
    of_imported = (await acme.client.query(document, id=str(imported.id)))["post"]

    assert [each["retryRefusal"] for each in fields] == [
        "NOT_FAILED",
        "IN_FLIGHT",
        "ALREADY_PUBLISHED",
        None,
        "OUTCOME_UNKNOWN",
        "ACCOUNT_NEEDS_RECONNECTION",
    ]
    assert [(each["retryRefusal"], each["retryFix"]) for each in fields] == [
        (each["refusal"], each["fix"]) for each in retried["retryPost"]["retries"]
    ]
    assert of_imported["destinations"] == [
        {
            "retryRefusal": "IMPORTED",
            "retryFix": "Retry the post in the service that publishes it.",
        }
    ]


@pytest.mark.parametrize("has_scope", [True, False])
async def test_raw_response_needs_its_scope(acme: Tenant, has_scope: bool) -> None:
    post = await add_post_in_states(acme, failed())
    for number in (1, 2):
        await add_attempt(
            acme.database,
            acme.workspace,
            post.destinations[0],
            number=number,
            fence=number,
            raw='{"error": 1}' if number == 1 else None,
            started_at=NOW + timedelta(minutes=number),
        )
    scopes = [Scope.READ, *([Scope.RAW] if has_scope else [])]
    key = await add_api_key(acme.database, acme.workspace, scopes=scopes)
    result = await acme.client.with_token(key.token).execute(
        "{ destinations { nodes { attemptLog { number raw } } } }"
    )

    log = result["data"]["destinations"]["nodes"][0]["attemptLog"]
    if has_scope:
        assert log == [{"number": 1, "raw": '{"error": 1}'}, {"number": 2, "raw": None}]
        assert "errors" not in result
    else:
        assert log == [{"number": 1, "raw": None}, {"number": 2, "raw": None}]
        assert [
            (error["path"][-2:], error["extensions"]["code"], error["message"])
            for error in result["errors"]
        ] == [
            ([index, "raw"], "INSUFFICIENT_SCOPE", "This needs an API key with the scope raw.")
            for index in (0, 1)
        ]


async def test_state_determines_diagnosis_and_time_of_next_poll(acme: Tenant) -> None:
    await add_post_in_states(
        acme,
        queued(NOW + timedelta(seconds=2.001)),
        waiting_for_retry(NOW + timedelta(minutes=1)),
        unknown(),
        failed(code="HASHTAG_BANNED"),
        published(),
    )
    data = await acme.client.query(
        "{ posts { nodes { destinations {"
        " pollAfterSeconds diagnosis { code source willRetry nextAction } } } } }"
    )
    (post,) = data["posts"]["nodes"]
    seconds = [destination["pollAfterSeconds"] for destination in post["destinations"]]
    assert seconds == [3, 60, None, None, None]
    diagnoses = [destination["diagnosis"] for destination in post["destinations"]]
    assert [diagnosis and tuple(diagnosis.values()) for diagnosis in diagnoses] == [
        None,
        ("TIMEOUT", "PLATFORM", True, "WAIT"),
        ("OUTCOME_UNKNOWN", "SYSTEM", False, "CHECK_PLATFORM"),
        ("HASHTAG_BANNED", "USER", False, "EDIT_POST"),
        None,
    ]


async def test_attempt_log_is_ordered_by_start_then_number_with_late_reports_last(
    acme: Tenant,
) -> None:
    (destination,) = (await add_post_in_states(acme, published(attempts=3))).destinations
    second = timedelta(seconds=1)
    for position, (number, started_at) in enumerate(
        [(None, NOW), (3, NOW), (2, NOW), (None, NOW), (1, NOW), (None, NOW - second)], start=1
    ):
        await add_attempt(
            acme.database,
            acme.workspace,
            destination,
            id=UUID(int=position),
            kind=AttemptKind.LATE if number is None else AttemptKind.REGULAR,
            number=number,
            fence=number or 1,
            outcome=Outcome.UNKNOWN,
            started_at=started_at,
        )
    running: dict[str, Any] = {
        "number": 4,
        "fence": 4,
        "outcome": Outcome.NONE,
        "started_at": NOW + second,
    }
    running_id = await add_attempt(acme.database, acme.workspace, destination, **running)

    data = await acme.client.query(
        "{ destinations { nodes { attemptLog { attemptId kind number outcome category finishedAt"
        " } } } }"
    )

    (node,) = data["destinations"]["nodes"]
    *ended, last = node["attemptLog"]
    assert [(attempt["attemptId"], attempt["number"]) for attempt in ended] == [
        (str(UUID(int=position)), number)
        for position, number in ((6, None), (5, 1), (3, 2), (2, 3), (1, None), (4, None))
    ]
    assert ended[0] == {
        "attemptId": str(UUID(int=6)),
        "kind": "LATE",
        "number": None,
        "outcome": "UNKNOWN",
        "category": "TRANSIENT",
        "finishedAt": "2026-04-15T15:00:00.000Z",
    }
    assert last == {
        "attemptId": str(running_id),
        "kind": "REGULAR",
        "number": 4,
        "outcome": "NONE",
        "category": None,
        "finishedAt": None,
    }
    stored = await load_attempts(acme.database.reader(acme.workspace), destination)
    assert [str(attempt.id) for attempt in stored] == [
        attempt["attemptId"] for attempt in node["attemptLog"]
    ]


async def test_destinations_keep_order_of_request(acme: Tenant) -> None:
    first, second, third = [await add_account(acme.database, acme.workspace) for _ in range(3)]
    states = {third: queued(), first: published(), second: failed()}
    await add_post(acme.database, acme.workspace, states)
    await add_post(acme.database, acme.workspace, created_at=NOW - timedelta(seconds=1))
    data = await acme.client.query(
        "{ posts { nodes { status publishedAt accountIds destinations { accountId publishedAt } } } }"
    )
    published_at = "2026-04-15T15:00:05.000Z"
    assert data["posts"]["nodes"] == [
        {
            "status": "PUBLISHING",
            "publishedAt": published_at,
            "accountIds": [third, first, second],
            "destinations": [
                {"accountId": third, "publishedAt": None},
                {"accountId": first, "publishedAt": published_at},
                {"accountId": second, "publishedAt": None},
            ],
        },
        {"status": "DRAFT", "publishedAt": None, "accountIds": [], "destinations": []},
    ]


async def test_node_finds_every_object_by_its_id(acme: Tenant) -> None:
    post = await add_post_in_states(acme, queued())
    objects: dict[str, dict[str, object]] = {
        node_id("Post", post.id): {"__typename": "Post", "postId": str(post.id)},
        node_id("Destination", post.destinations[0]): {
            "__typename": "Destination",
            "destinationId": str(post.destinations[0]),
        },
        node_id("Account", 1): {"__typename": "Account", "accountId": 1},
    }
    selection = (
        "{ __typename id ... on Post { postId } ... on Destination { destinationId }"
        " ... on Account { accountId } }"
    )
    for id_, fields in objects.items():
        data = await acme.client.query(f"query ($id: ID!) {{ node(id: $id) {selection} }}", id=id_)
        assert data == {"node": {"id": id_, **fields}}
    post_id, destination_id, account_id = objects
    ids = [account_id, post_id, node_id("Post", POST), account_id, destination_id]
    data = await acme.client.query(
        f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {selection} }}", ids=ids
    )
    assert data == {
        "nodes": [{"id": id_, **objects[id_]} if id_ in objects else None for id_ in ids]
    }


async def test_nonexistent_object_is_null(acme: Tenant) -> None:
    data = await acme.client.query(
        "query ($post: ID!, $destination: ID!, $account: ID!, $id: UUID!)"
        " { a: node(id: $post) { id } b: node(id: $destination) { id } c: node(id: $account) { id }"
        " post(postId: $id) { id } account(accountId: 2147483647) { id } nodes(ids: []) { id } }",
        post=node_id("Post", POST),
        destination=node_id("Destination", DESTINATION),
        account=node_id("Account", 1),
        id=str(POST),
    )
    assert data == {"a": None, "b": None, "c": None, "post": None, "account": None, "nodes": []}


@pytest.mark.parametrize(
    "malformed",
    ["", str(POST), node_id("post", POST), node_id("Account", POST), node_id("Post", POST) + "\n"],
)
async def test_malformed_node_id_is_rejected(acme: Tenant, malformed: str) -> None:
    message = "The id is not one that this API returned in a field named `id`."
    node = await acme.client.expect_error("query ($id: ID!) { node(id: $id) { id } }", id=malformed)
    assert node == ("INVALID_ID", "id", message)
    nodes = await acme.client.expect_error(
        "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }",
        ids=[node_id("Account", 1), malformed],
    )
    assert nodes == ("INVALID_ID", "ids", message)


async def test_deleted_post_and_its_destinations_appear_in_no_query(acme: Tenant) -> None:
    post = await add_post_in_states(acme, queued(), reference="gone", deleted_at=NOW)
    data = await acme.client.query(
        "query ($postId: UUID!, $post: ID!, $destination: ID!)"
        " { post(postId: $postId) { id } node(id: $post) { id }"
        " nodes(ids: [$post, $destination]) { id }"
        " posts { totalCount nodes { id } }"
        ' named: posts(filter: {reference: "gone"}) { totalCount nodes { id } }'
        " destinations { totalCount nodes { id } }"
        " ofPost: destinations(filter: {postId: [$postId]}) { totalCount nodes { id } }"
        " viewer { stats { totalPosts postsLast30d } }"
        " analyticsSummary(period: ALL) { posts { total } byPlatform { total } } }",
        postId=str(post.id),
        post=node_id("Post", post.id),
        destination=node_id("Destination", post.destinations[0]),
    )
    nothing = {"totalCount": 0, "nodes": []}
    assert data == {
        "post": None,
        "node": None,
        "nodes": [None, None],
        "posts": nothing,
        "named": nothing,
        "destinations": nothing,
        "ofPost": nothing,
        "viewer": {"stats": {"totalPosts": 0, "postsLast30d": 0}},
        "analyticsSummary": {"posts": {"total": 0}, "byPlatform": []},
    }
