"""Reports of failures: what is retried and when, what is kept of them, and what nobody knows."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.db.core.database import Database
from app.domain.times import parse_instant
from tests.db.all_tables import all_rows
from tests.factories import NOW
from tests.graphql.schema.mutations.publisher_client import (
    SECOND,
    PublisherClient,
    open_publisher,
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


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[PublisherClient]:
    async with open_publisher(database) as opened:
        yield opened


def next_retry_time(reported: dict[str, Any]) -> datetime:
    """When it is tried again, taken out of what was told."""
    return parse_instant(reported.pop("nextRetryAt"))


@pytest.mark.parametrize("category", ["TRANSIENT", "UNCLASSIFIED"])
async def test_a_passing_fault_is_retried_within_half_a_minute(
    publisher: PublisherClient, category: str
) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()

    told = await publisher.call(
        "reportFailed", leaseToken=token, category=category, message="The platform is down."
    )

    due = next_retry_time(told)
    assert NOW <= due <= NOW + 30 * SECOND
    assert told == {name: value for name, value in RETRIED.items() if name != "nextRetryAt"}
    stored = await publisher.destination_log(post)
    assert (stored["error"], stored["errorCategory"], stored["errorCode"]) == (
        "The platform is down.",
        category,
        category,
    )
    publisher.clock.now = due
    assert [each["attempts"] for each in await publisher.claim()] == [1]


async def test_a_rate_limit_is_waited_out(publisher: PublisherClient) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    told = await publisher.call(
        "reportFailed",
        leaseToken=token,
        category="RATE_LIMITED",
        message="Slow down.",
        httpStatus=429,
        retryAfterSeconds=3600,
    )

    assert told == RETRIED | {"nextRetryAt": seconds_after_now(3600)}
    publisher.clock.set_seconds(3599.9)
    assert await publisher.claim() == []
    publisher.clock.set_seconds(3600)
    assert len(await publisher.claim()) == 1


@pytest.mark.parametrize("category", ["AUTH", "CONTENT_REJECTED", "PERMANENT"])
async def test_what_cannot_succeed_unchanged_is_final(
    publisher: PublisherClient, category: str
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    told = await publisher.call(
        "reportFailed", leaseToken=token, category=category, message="No.", code="NOPE"
    )

    assert told == FINAL
    (account,) = (await publisher.client.query(ACCOUNT))["accounts"]
    marked = seconds_after_now(0) if category == "AUTH" else None
    assert account == {
        "needsReconnectionSince": marked,
        "readiness": {"canPost": marked is None},
    }


async def test_the_fifth_failure_is_final(publisher: PublisherClient) -> None:
    await publisher.add_post()
    told: dict[str, Any] = {}
    for _ in range(5):
        token = await publisher.start_token()
        told = await publisher.call(
            "reportFailed", leaseToken=token, category="TRANSIENT", message="Down."
        )
        publisher.clock.now += timedelta(hours=2)

    assert told == FINAL | {"attempts": 5}


async def test_everything_that_is_told_is_kept_in_the_log(publisher: PublisherClient) -> None:
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


async def test_of_a_megabyte_with_secrets_the_harmless_beginning_is_kept(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()
    secret = "EAAG1234567890abcdefghij"
    text = f"Refused: access_token={secret}, Bearer {secret} " + f"or sig={secret} " * 28_000
    assert len(text) > 800_000

    told = await publisher.call(
        "reportFailed", leaseToken=token, category="PERMANENT", message=text, raw="x" * 100_000
    )

    assert told == FINAL
    stored = (await publisher.destination_log(post))["error"]
    assert stored.startswith(
        "Refused: access_token=[redacted], Bearer [redacted] or sig=[redacted]"
    )
    assert secret[:6] not in stored
    assert len(stored) <= 2000
    assert stored.endswith("…")


async def test_a_secret_is_kept_nowhere_that_a_publisher_tells_it(
    publisher: PublisherClient,
) -> None:
    first, second = await publisher.add_post(), await publisher.add_post()
    secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    for each in await publisher.claim(limit=2):
        token = each["leaseToken"]
        await publisher.call("startAttempt", leaseToken=token, worker=secret)
        if each["postId"] == str(first):
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

    logs = [await publisher.destination_log(each) for each in (first, second)]
    assert [each["worker"] for log in logs for each in log["attemptLog"]] == ["[redacted]"] * 2
    assert (logs[1]["error"], logs[1]["attemptLog"][0]["code"]) == (
        "Refused [redacted].",
        "[redacted]",
    )
    stored = str(await all_rows(publisher.database))
    assert "https://example.com/p/1?access_token=[redacted]" in stored
    assert secret not in stored


async def test_a_body_that_is_larger_than_allowed_is_refused_as_such(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    code, argument, _ = await publisher.expect_error(
        "reportFailed", leaseToken=token, category="PERMANENT", message="x" * 1_048_576
    )

    assert (code, argument) == ("BODY_TOO_LARGE", None)


async def test_without_an_answer_of_the_platform_nobody_tries_again(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()
    given = {
        "leaseToken": token,
        "category": "TRANSIENT",
        "message": "No answer in 30 s.",
        "outcomeUnknown": True,
    }

    told = [await publisher.call("reportFailed", **given) for _ in range(2)]

    unknown = FINAL | {"outcome": "UNKNOWN"}
    assert told == [unknown, unknown | {"receipt": "REPEATED"}]
    publisher.clock.set_seconds(86_400)
    assert await publisher.claim() == []


async def test_a_failure_that_is_reported_again_counts_once(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()
    given = {"leaseToken": token, "category": "RATE_LIMITED", "message": "Slow down."}
    first = await publisher.call("reportFailed", **given)
    publisher.clock.set_seconds(1)

    again = await publisher.call("reportFailed", **given)

    assert again == first | {"receipt": "REPEATED"}
    assert len((await publisher.destination_log(post))["attemptLog"]) == 1


async def test_what_fails_before_it_was_started_has_one_attempt(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    token = await publisher.claim_token()

    told = await publisher.call(
        "reportFailed", leaseToken=token, category="CONTENT_REJECTED", message="Too long."
    )

    assert told == FINAL
    assert [each["number"] for each in (await publisher.destination_log(post))["attemptLog"]] == [1]


async def test_a_publication_that_was_reported_stands(publisher: PublisherClient) -> None:
    await publisher.add_post()
    token = await publisher.start_token()
    await publisher.call("reportPublished", leaseToken=token, platformPostId="17")

    assert await publisher.expect_error(
        "reportFailed", leaseToken=token, category="TRANSIENT", message="Down."
    ) == ("CONFLICT", None, "This lease has reported that the post is published; that stands.")
