"""Failure reports: retries, the attempt log, redaction, and unknown outcomes."""

from datetime import datetime
from typing import Any

import pytest

from app.domain.times import parse_instant
from tests.db.all_tables import all_rows
from tests.factories import NOW
from tests.graphql.schema.mutations.publisher_client import (
    SECOND,
    PublisherClient,
    seconds_after_now,
)

FINAL = {
    "receipt": "RECORDED",
    "status": "FAILED",
    "outcome": "FAILED",
    "attempts": 1,
    "willRetry": False,
    "nextRetryAt": None,
}
RETRIED = FINAL | {"status": "QUEUED", "outcome": "NONE", "willRetry": True}
ACCOUNT = "{ accounts { needsReconnectionSince readiness { canPost } } }"


def pop_next_retry_time(reported: dict[str, Any]) -> datetime:
    """Remove the retry time from a report and return it."""
    return parse_instant(reported.pop("nextRetryAt"))


@pytest.mark.parametrize("category", ["TRANSIENT", "UNCLASSIFIED"])
async def test_transient_failure_is_retried_within_30_seconds(
    publisher: PublisherClient, category: str
) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()

    report = await publisher.call(
        "reportFailed", leaseToken=token, category=category, message="The platform is down."
    )

    due = pop_next_retry_time(report)
    assert NOW <= due <= NOW + 30 * SECOND
    assert report == {name: value for name, value in RETRIED.items() if name != "nextRetryAt"}
    stored = await publisher.destination_log(post)
    assert (stored["error"], stored["errorCategory"], stored["errorCode"]) == (
        "The platform is down.",
        category,
        category,
    )
    publisher.clock.now = due
    assert [claim["attempts"] for claim in await publisher.claim()] == [1]


async def test_rate_limited_failure_is_retried_after_requested_wait(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    report = await publisher.call(
        "reportFailed",
        leaseToken=token,
        category="RATE_LIMITED",
        message="Slow down.",
        httpStatus=429,
        retryAfterSeconds=3600,
    )

    assert report == RETRIED | {"nextRetryAt": seconds_after_now(3600)}
    publisher.clock.set_seconds(3599.9)
    assert await publisher.claim() == []
    publisher.clock.set_seconds(3600)
    assert len(await publisher.claim()) == 1


@pytest.mark.parametrize("category", ["AUTH", "CONTENT_REJECTED", "PERMANENT"])
async def test_permanent_failure_is_final(publisher: PublisherClient, category: str) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    report = await publisher.call(
        "reportFailed", leaseToken=token, category=category, message="No.", code="NOPE"
    )

    assert report == FINAL
    (account,) = (await publisher.client.query(ACCOUNT))["accounts"]
    marked_at = seconds_after_now(0) if category == "AUTH" else None
    assert account == {
        "needsReconnectionSince": marked_at,
        "readiness": {"canPost": marked_at is None},
    }


async def test_failure_report_is_logged_completely(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()
    publisher.clock.set_seconds(2)

    await publisher.call(
        "reportFailed",
        leaseToken=token,
        category="PERMANENT",
        code="GONE",
        message="The page was deleted.",
        httpStatus=410,
        retryAfterSeconds=0,
        raw='{"error": "gone"}',
    )

    assert (await publisher.destination_log(post))["attemptLog"] == [
        {
            "number": 1,
            "kind": "REGULAR",
            "outcome": "FAILED",
            "category": "PERMANENT",
            "code": "GONE",
            "message": "The page was deleted.",
            "httpStatus": 410,
            "retryAfterSeconds": 0.0,
            "worker": "w1",
            "startedAt": seconds_after_now(0),
            "finishedAt": seconds_after_now(2),
        }
    ]


async def test_long_message_is_redacted_and_truncated(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()
    secret = "EAAG1234567890abcdefghij"
    text = f"Refused: access_token={secret}, Bearer {secret} " + f"or sig={secret} " * 28_000
    assert len(text) > 800_000

    report = await publisher.call(
        "reportFailed", leaseToken=token, category="PERMANENT", message=text, raw="x" * 100_000
    )

    assert report == FINAL
    stored = (await publisher.destination_log(post))["error"]
    assert stored.startswith(
        "Refused: access_token=[redacted], Bearer [redacted] or sig=[redacted]"
    )
    assert secret[:6] not in stored
    assert len(stored) <= 2000
    assert stored.endswith("…")


async def test_secrets_of_publisher_are_redacted_in_all_fields(
    publisher: PublisherClient,
) -> None:
    first, second = await publisher.add_post(), await publisher.add_post()
    secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    for claim in await publisher.claim(limit=2):
        token = claim["leaseToken"]
        await publisher.call("startAttempt", leaseToken=token, worker=secret)
        if claim["postId"] == str(first):
            await publisher.call(
                "reportPublished",
                leaseToken=token,
                platformPostUrl=f"https://acme:{secret}@example.com/p/1?access_token={secret}",
            )
        else:
            await publisher.call(
                "reportFailed",
                leaseToken=token,
                category="PERMANENT",
                code=secret,
                message=f"Refused {secret}.",
                raw=f'{{"set-cookie": ["{secret}"]}}',
            )

    logs = [await publisher.destination_log(post) for post in (first, second)]
    assert [attempt["worker"] for log in logs for attempt in log["attemptLog"]] == [
        "[redacted]"
    ] * 2
    assert (logs[1]["error"], logs[1]["attemptLog"][0]["code"]) == (
        "Refused [redacted].",
        "[redacted]",
    )
    stored = str(await all_rows(publisher.database))
    assert "https://example.com/p/1?access_token=[redacted]" in stored
    assert secret not in stored


async def test_too_large_body_is_rejected(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    code, argument, _ = await publisher.expect_error(
        "reportFailed", leaseToken=token, category="PERMANENT", message="x" * 1_048_576
    )

    assert (code, argument) == ("BODY_TOO_LARGE", None)


async def test_unknown_outcome_is_not_retried(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()
    arguments = {
        "leaseToken": token,
        "category": "TRANSIENT",
        "message": "No answer in 30 s.",
        "outcomeUnknown": True,
    }

    reports = [await publisher.call("reportFailed", **arguments) for _ in range(2)]

    unknown = FINAL | {"outcome": "UNKNOWN"}
    assert reports == [unknown, unknown | {"receipt": "REPEATED"}]
    publisher.clock.set_seconds(86_400)
    assert await publisher.claim() == []


async def test_repeated_failure_report_counts_once(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()
    arguments = {"leaseToken": token, "category": "RATE_LIMITED", "message": "Slow down."}
    first = await publisher.call("reportFailed", **arguments)
    publisher.clock.set_seconds(1)

    repeated = await publisher.call("reportFailed", **arguments)

    assert repeated == first | {"receipt": "REPEATED"}
    assert len((await publisher.destination_log(post))["attemptLog"]) == 1
