"""Failure reports: retries, the attempt log, redaction, and unknown outcomes."""

from datetime import datetime
from typing import Any

import pytest

from tests.db.all_tables import all_rows
from tests.graphql.schema.mutations.publisher_client import (
    PUBLISHED_REPORT,
    PublisherClient,
    seconds_after_now,
)

FINAL = PUBLISHED_REPORT | {"status": "FAILED", "outcome": "FAILED"}
RETRIED = FINAL | {"status": "QUEUED", "outcome": "NONE", "willRetry": True}


async def fail_attempt(publisher: PublisherClient, **failure: object) -> dict[str, Any]:
    """Start an attempt of the only due destination, and report its failure."""
    token = await publisher.start_token()
    return await publisher.call("reportFailed", leaseToken=token, **failure)


def wait_for_retry(publisher: PublisherClient, report: dict[str, Any]) -> float:
    """Set the clock to the retry of a report; return the seconds until then."""
    retry_at = datetime.fromisoformat(report["nextRetryAt"])
    wait = (retry_at - publisher.clock.now).total_seconds()
    publisher.clock.now = retry_at
    return wait


async def test_retry_waits_as_long_as_the_platform_asks(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()
    details = {"category": "RATE_LIMITED", "httpStatus": 429, "retryAfterSeconds": 3600}

    report = await publisher.call("reportFailed", leaseToken=token, message="Busy.", **details)

    assert report == RETRIED | {"nextRetryAt": seconds_after_now(3600)}
    stored = await publisher.destination_log(post)
    error = (stored["error"], stored["errorCategory"], stored["errorCode"])
    assert error == ("Busy.", "RATE_LIMITED", "RATE_LIMITED")
    publisher.clock.set_seconds(3599.999)
    assert await publisher.claim() == []
    publisher.clock.set_seconds(3600)
    assert [claim["attempts"] for claim in await publisher.claim()] == [1]


async def test_failure_report_is_logged_completely_and_once(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    token = await publisher.start_token()
    arguments = {
        "leaseToken": token,
        "category": "PERMANENT",
        "code": "GONE",
        "message": "The page was deleted.",
        "httpStatus": 410,
        "retryAfterSeconds": 0,
        "raw": '{"error": "gone"}',
    }

    reports = []
    for seconds in (2, 3):
        publisher.clock.set_seconds(seconds)
        reports.append(await publisher.call("reportFailed", **arguments))

    assert reports == [FINAL, FINAL | {"receipt": "REPEATED"}]
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
            "notSent": False,
            "worker": "w1",
            "startedAt": seconds_after_now(0),
            "finishedAt": seconds_after_now(2),
        }
    ]


async def test_secrets_of_publisher_are_redacted_in_all_fields(publisher: PublisherClient) -> None:
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
    workers = [attempt["worker"] for log in logs for attempt in log["attemptLog"]]
    assert workers == ["[redacted]"] * 2
    assert logs[1]["error"] == "Refused [redacted]."
    assert logs[1]["attemptLog"][0]["code"] == "[redacted]"
    stored = str(await all_rows(publisher.database))
    assert "https://example.com/p/1?access_token=[redacted]" in stored
    assert secret not in stored


@pytest.mark.parametrize("category", ["TRANSIENT", "UNCLASSIFIED"])
async def test_failures_before_sending_are_retried_for_a_day_regardless_of_their_number(
    publisher: PublisherClient, category: str
) -> None:
    post = await publisher.add_post()
    failure = {"category": category, "message": "The login got no answer.", "notSent": True}
    waits = []

    while (report := await fail_attempt(publisher, **failure))["willRetry"]:
        waits.append(wait_for_retry(publisher, report))

    steps = [min(30 * 2**index, 3600) for index in range(len(waits))]
    assert all(step / 2 <= wait <= step for wait, step in zip(waits, steps, strict=True))
    assert len(waits) > 24
    assert 23 * 3600 <= sum(waits) <= 24 * 3600
    assert report == FINAL | {"attempts": len(waits) + 1}
    log = (await publisher.destination_log(post))["attemptLog"]
    assert [attempt["notSent"] for attempt in log] == [True] * (len(waits) + 1)


async def test_failures_before_sending_do_not_use_up_the_attempts_of_others(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    waits = []
    for not_sent in (True, True, *(False,) * 4):
        report = await fail_attempt(
            publisher, category="TRANSIENT", message="No.", notSent=not_sent
        )
        waits.append(wait_for_retry(publisher, report))
    report = await fail_attempt(publisher, category="TRANSIENT", message="No.")

    assert report == FINAL | {"attempts": 7}
    steps = [30 * 2**index for index in range(6)]
    assert all(step / 2 <= wait <= step for wait, step in zip(waits, steps, strict=True))


async def test_rate_limit_before_sending_keeps_the_policy_of_rate_limits(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    details = {"category": "RATE_LIMITED", "retryAfterSeconds": 3600, "notSent": True}

    report = await fail_attempt(publisher, message="Too many logins.", **details)

    assert report == RETRIED | {"nextRetryAt": seconds_after_now(3600)}


@pytest.mark.parametrize(
    ("details", "message"),
    [
        *(
            (
                {"category": category},
                "notSent is only allowed with TRANSIENT, RATE_LIMITED, UNCLASSIFIED. Failures of the"
                f" category {category} are not retried automatically.",
            )
            for category in ("AUTH", "CONTENT_REJECTED", "PERMANENT")
        ),
        (
            {"category": "TRANSIENT", "outcomeUnknown": True},
            "notSent and outcomeUnknown contradict each other. Set at most one of them.",
        ),
    ],
)
async def test_not_sent_is_refused_where_it_cannot_be_true(
    publisher: PublisherClient, details: dict[str, object], message: str
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    error = await publisher.expect_error(
        "reportFailed", leaseToken=token, message="No.", notSent=True, **details
    )

    assert error == ("VALIDATION_ERROR", "input.notSent", message)


async def test_unknown_outcome_is_not_retried(publisher: PublisherClient) -> None:
    await publisher.add_post()
    arguments = {
        "leaseToken": await publisher.start_token(),
        "category": "TRANSIENT",
        "message": "No answer in 30 s.",
        "outcomeUnknown": True,
    }

    reports = [await publisher.call("reportFailed", **arguments) for _ in range(2)]

    unknown = FINAL | {"outcome": "UNKNOWN"}
    assert reports == [unknown, unknown | {"receipt": "REPEATED"}]
    publisher.clock.set_seconds(86_400)
    assert await publisher.claim() == []
