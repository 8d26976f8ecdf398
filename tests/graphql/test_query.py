"""What can be read: every field of every type, with exact values."""

import base64
from datetime import timedelta
from uuid import UUID

from app.db.engine import Database
from app.domain.api_keys import Scope
from app.domain.destinations import ErrorCategory, Outcome
from tests.clients import serving
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
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


async def test_a_post_is_returned_with_everything_it_was_given(database: Database) -> None:
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
    async with serving(database, token=key.token) as client:
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


async def test_a_failed_destination_says_what_happened_and_what_to_do(database: Database) -> None:
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
    async with serving(database, token=key.token) as client:
        data = await client.query(
            "{ destinations { nodes { id destinationId postId accountId accountName platform status"
            " outcome dueAt publishedAt platformPostId platformPostUrl error errorCategory errorCode"
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
            "dueAt": "2026-04-15T15:00:00.000Z",
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
