"""Queries: every field of posts, destinations and attempts, and lookup by id."""

import base64
from datetime import timedelta
from uuid import UUID

import pytest

from app.db.core.database import Database
from app.db.repositories.attempts import load_attempts
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from tests.clients import Tenant, app_client
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

POST = UUID("0b1e7a30-0000-4000-8000-000000000001")
DESTINATION = UUID("0b1e7a30-0000-4000-8000-00000000000a")


def node_id(kind: str, key: object) -> str:
    return base64.b64encode(f"{kind}:{key}".encode()).decode()


async def test_post_returns_all_fields(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    account = await add_account(database, workspace)
    await add_post(
        database,
        workspace,
        {account: queued(NOW + timedelta(hours=1))},
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
    async with app_client(database, token=key.token) as client:
        data = await client.query(
            "query ($id: UUID!) { post(postId: $id) { id postId status content scheduledFor"
            " timezone mediaIds media platformContent reference publishedAt version createdAt"
            " updatedAt accountIds } }",
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
            "accountIds": [account],
        }
    }


async def test_failed_destination_returns_attempts_and_diagnosis(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    account = await add_account(database, workspace, platform="linkedin", account_name="Acme Inc.")
    post = await add_post(
        database,
        workspace,
        {
            account: failed(
                attempts=2,
                error="Token expired.",
                category=ErrorCategory.AUTH,
                code="TOKEN_EXPIRED",
            )
        },
        destination_ids=[DESTINATION],
    )
    first = await add_attempt(
        database,
        workspace,
        post.destinations[0],
        number=1,
        fence=1,
        outcome=Outcome.FAILED,
        category=ErrorCategory.RATE_LIMITED,
        code="RATE_LIMITED",
        message="Slow down.",
        http_status=429,
        retry_after=timedelta(seconds=1.5),
    )
    second = await add_attempt(
        database,
        workspace,
        post.destinations[0],
        number=2,
        fence=2,
        outcome=Outcome.FAILED,
        category=ErrorCategory.AUTH,
        code="TOKEN_EXPIRED",
        message="Token expired.",
        worker=None,
        started_at=NOW + timedelta(minutes=1),
    )
    async with app_client(database, token=key.token) as client:
        data = await client.query(
            "{ destinations { nodes { id destinationId postId accountId accountName platform status"
            " outcome scheduledFor publishedAt platformPostId platformPostUrl error errorCategory errorCode"
            " attempts nextRetryAt isOverdue pollAfterSeconds createdAt updatedAt"
            " diagnosis { category code source retryable willRetry fix nextAction }"
            " post { postId } account { accountId }"
            " attemptLog { attemptId number kind outcome category code message httpStatus"
            " retryAfterSeconds worker startedAt finishedAt } } } }"
        )
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
            "attemptLog": [
                {
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
                },
                {
                    "attemptId": str(second),
                    "number": 2,
                    "kind": "REGULAR",
                    "outcome": "FAILED",
                    "category": "AUTH",
                    "code": "TOKEN_EXPIRED",
                    "message": "Token expired.",
                    "httpStatus": None,
                    "retryAfterSeconds": None,
                    "worker": None,
                    "startedAt": "2026-04-15T15:01:00.000Z",
                    "finishedAt": "2026-04-15T15:01:01.000Z",
                },
            ],
        }
    ]


async def test_published_destination_returns_platform_url_and_id(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(
        acme.database,
        acme.workspace,
        {account: published(NOW - timedelta(seconds=5), due_at=NOW - timedelta(minutes=1))},
    )
    data = await acme.client.query(
        "{ posts { nodes { status publishedAt scheduledFor destinations { status outcome scheduledFor"
        " publishedAt platformPostId platformPostUrl error errorCode attempts diagnosis { code }"
        " attemptLog { number } } } } }"
    )
    assert data["posts"]["nodes"] == [
        {
            "status": "PUBLISHED",
            "publishedAt": "2026-04-15T14:59:55.000Z",
            "scheduledFor": None,
            "destinations": [
                {
                    "status": "PUBLISHED",
                    "outcome": "PUBLISHED",
                    "scheduledFor": "2026-04-15T14:59:00.000Z",
                    "publishedAt": "2026-04-15T14:59:55.000Z",
                    "platformPostId": "17895695668004550",
                    "platformPostUrl": "https://www.instagram.com/p/C1a2b3c4d5e/",
                    "error": None,
                    "errorCode": None,
                    "attempts": 1,
                    "diagnosis": None,
                    "attemptLog": [],
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("state", "code", "source", "will_retry", "next_action"),
    [
        (waiting_for_retry(), "TIMEOUT", "PLATFORM", True, "WAIT"),
        (unknown(), "OUTCOME_UNKNOWN", "SYSTEM", False, "CHECK_PLATFORM"),
        (
            failed(category=ErrorCategory.CONTENT_REJECTED, code="HASHTAG_BANNED"),
            *("HASHTAG_BANNED", "USER", False, "EDIT_POST"),
        ),
    ],
    ids=["waiting for a retry", "unknown outcome", "a publisher's own code"],
)
async def test_diagnosis_depends_on_state_and_error(
    acme: Tenant,
    state: DestinationState,
    code: str,
    source: str,
    will_retry: bool,
    next_action: str,
) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: state})
    data = await acme.client.query(
        "{ destinations { nodes { diagnosis { code source willRetry nextAction } } } }"
    )
    assert data["destinations"]["nodes"] == [
        {
            "diagnosis": {
                "code": code,
                "source": source,
                "willRetry": will_retry,
                "nextAction": next_action,
            }
        }
    ]


@pytest.mark.parametrize(
    ("state", "seconds"),
    [
        (draft(), None),
        (queued(NOW + timedelta(days=2)), 3600),
        (queued(NOW + timedelta(seconds=90)), 90),
        (queued(NOW + timedelta(seconds=2.001)), 3),
        (queued(NOW - timedelta(hours=1)), 2),
        (waiting_for_retry(NOW + timedelta(minutes=1)), 60),
        (claimed(), 2),
        (started(), 2),
        (published(), None),
        (failed(), None),
        (unknown(), None),
    ],
)
async def test_poll_after_seconds_depends_on_state(
    acme: Tenant, state: DestinationState, seconds: int | None
) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: state})
    data = await acme.client.query("{ destinations { nodes { pollAfterSeconds } } }")
    assert data["destinations"]["nodes"] == [{"pollAfterSeconds": seconds}]


async def test_attempt_log_contains_late_and_running_attempts(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: started()})
    (destination,) = post.destinations
    running = await add_attempt(
        acme.database,
        acme.workspace,
        destination,
        number=2,
        fence=2,
        outcome=Outcome.NONE,
        started_at=NOW + timedelta(seconds=1),
    )
    late = await add_attempt(
        acme.database,
        acme.workspace,
        destination,
        kind=AttemptKind.LATE,
        number=None,
        outcome=Outcome.UNKNOWN,
        started_at=NOW,
    )
    data = await acme.client.query(
        "{ destinations { nodes { attemptLog { attemptId kind number outcome category finishedAt"
        " } } } }"
    )
    assert data["destinations"]["nodes"][0]["attemptLog"] == [
        {
            "attemptId": str(late),
            "kind": "LATE",
            "number": None,
            "outcome": "UNKNOWN",
            "category": "TRANSIENT",
            "finishedAt": "2026-04-15T15:00:01.000Z",
        },
        {
            "attemptId": str(running),
            "kind": "REGULAR",
            "number": 2,
            "outcome": "NONE",
            "category": None,
            "finishedAt": None,
        },
    ]


async def test_attempt_log_orders_simultaneous_starts_by_number_with_late_reports_last(
    acme: Tenant,
) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: published(attempts=3)})
    (destination,) = post.destinations
    numbers = [None, 3, 2, None, 1]
    for position, number in enumerate(numbers):
        kind = AttemptKind.LATE if number is None else AttemptKind.REGULAR
        await add_attempt(
            acme.database,
            acme.workspace,
            destination,
            id=UUID(int=position + 1),
            kind=kind,
            number=number,
            fence=number or 1,
            outcome=Outcome.FAILED,
        )
    before = await add_attempt(
        acme.database,
        acme.workspace,
        destination,
        kind=AttemptKind.LATE,
        number=None,
        outcome=Outcome.FAILED,
        started_at=NOW - timedelta(milliseconds=1),
    )

    data = await acme.client.query("{ destinations { nodes { attemptLog { attemptId } } } }")

    expected = [before, *(UUID(int=number) for number in (5, 3, 2, 1, 4))]
    (node,) = data["destinations"]["nodes"]
    assert [attempt["attemptId"] for attempt in node["attemptLog"]] == [
        str(attempt) for attempt in expected
    ]
    reader = acme.database.read(acme.workspace)
    assert [attempt.id for attempt in await load_attempts(reader, destination)] == expected


async def test_destinations_keep_order_of_request(acme: Tenant) -> None:
    first, second, third = [await add_account(acme.database, acme.workspace) for _ in range(3)]
    await add_post(
        acme.database, acme.workspace, {third: queued(), first: published(), second: failed()}
    )
    data = await acme.client.query("{ posts { nodes { accountIds destinations { accountId } } } }")
    assert data["posts"]["nodes"] == [
        {
            "accountIds": [third, first, second],
            "destinations": [{"accountId": account} for account in (third, first, second)],
        }
    ]


async def test_post_without_destinations_is_draft(acme: Tenant) -> None:
    await add_post(acme.database, acme.workspace)
    data = await acme.client.query("{ posts { nodes { status accountIds destinations { id } } } }")
    assert data["posts"]["nodes"] == [{"status": "DRAFT", "accountIds": [], "destinations": []}]


async def test_node_finds_every_object_by_its_id(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: queued()})
    objects: dict[str, dict[str, object]] = {
        node_id("Post", post.id): {"__typename": "Post", "postId": str(post.id)},
        node_id("Destination", post.destinations[0]): {
            "__typename": "Destination",
            "destinationId": str(post.destinations[0]),
        },
        node_id("Account", account): {"__typename": "Account", "accountId": account},
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
    [
        "",
        "1",
        str(POST),
        "é",
        base64.b64encode(b"\xff\xff").decode(),
        node_id("Post", "1"),
        node_id("Post", str(POST).upper()),
        node_id("post", POST),
        node_id("Attempt", POST),
        node_id("Account", POST),
        node_id("Account", 0),
        node_id("Account", "01"),
        node_id("Account", 2**31),
        node_id("Post", POST).rstrip("="),
        node_id("Post", POST) + "\n",
    ],
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


async def test_nodes_accepts_at_most_100_ids(acme: Tenant) -> None:
    document = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    ids = [node_id("Account", number) for number in range(1, 102)]
    assert await acme.client.query(document, ids=ids[:100]) == {"nodes": [None] * 100}
    assert await acme.client.expect_error(document, ids=ids) == (
        "LIMIT_EXCEEDED",
        "ids",
        "ids has 101 values; at most 100 are allowed.",
    )


@pytest.mark.parametrize("account_id", [0, -1])
async def test_account_number_out_of_range_is_rejected(acme: Tenant, account_id: int) -> None:
    error = await acme.client.expect_error(
        "query ($id: Int!) { account(accountId: $id) { id } }", id=account_id
    )
    assert error == (
        "INVALID_ID",
        "accountId",
        "An account id is a whole number from 1 to 2147483647.",
    )


async def test_deleted_post_and_its_destinations_appear_in_no_query(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(
        acme.database, acme.workspace, {account: queued()}, reference="gone", deleted_at=NOW
    )
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
