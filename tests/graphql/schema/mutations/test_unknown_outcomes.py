"""Unknown outcomes: verification by publishers, reconciliation by people; and external results."""

from typing import Any
from uuid import uuid4

import pytest

from app.services.expirations import settle_expired_leases
from tests.factories import draft
from tests.graphql.schema.mutations.publisher_client import (
    PUBLISHED_REPORT,
    URL,
    PublisherClient,
    seconds_after_now,
)

LEASE_EXPIRED_ERROR = "The publisher did not report the platform's response in time."
PUBLISHED_FINDING = {"finding": "PUBLISHED", "platformPostUrl": URL}


async def add_unknown_post(publisher: PublisherClient) -> str:
    """Add a post with an unknown outcome and set the clock to 61 s after NOW; return the UUID."""
    post = await publisher.add_post()
    await publisher.lost_token()
    await settle_expired_leases(publisher.database, publisher.clock.now)
    return str(post)


async def claim_verification(publisher: PublisherClient, **arguments: Any) -> dict[str, Any]:
    """Claim the only unknown outcome."""
    (claim,) = (await publisher.call("claimVerifications", **arguments))["claims"]
    return dict(claim)


async def test_verification_contains_last_attempt(publisher: PublisherClient) -> None:
    post = await add_unknown_post(publisher)

    claim = await claim_verification(publisher, leaseSeconds=30)

    names = ("postId", "error", "lastStartedAt", "lastWorker", "attempts", "leaseExpiresAt")
    assert {name: claim[name] for name in names} == {
        "postId": post,
        "error": LEASE_EXPIRED_ERROR,
        "lastStartedAt": seconds_after_now(0),
        "lastWorker": "w1",
        "attempts": 1,
        "leaseExpiresAt": seconds_after_now(91),
    }
    assert (await publisher.call("claimVerifications"))["claims"] == []
    publisher.clock.set_seconds(91)
    await claim_verification(publisher, platforms=["instagram"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (PUBLISHED_FINDING, ("RECORDED", "PUBLISHED", "PUBLISHED", False)),
        ({"finding": "NOT_PUBLISHED"}, ("RECORDED", "QUEUED", "NONE", True)),
        ({"finding": "STILL_UNKNOWN"}, ("RECORDED", "FAILED", "UNKNOWN", False)),
    ],
)
async def test_finding_determines_outcome_and_only_published_may_be_repeated(
    publisher: PublisherClient, arguments: dict[str, Any], expected: tuple[object, ...]
) -> None:
    await add_unknown_post(publisher)
    token = (await claim_verification(publisher))["verificationToken"]
    report = {"verificationToken": token, **arguments}

    answer = await publisher.call("reportVerified", **report)

    assert tuple(answer[name] for name in ("receipt", "status", "outcome", "willRetry")) == expected
    assert answer["attempts"] == 1
    if arguments == PUBLISHED_FINDING:
        assert await publisher.call("reportVerified", **report) == answer | {"receipt": "REPEATED"}
    else:
        assert (await publisher.expect_error("reportVerified", **report))[0] == "LEASE_LOST"


@pytest.mark.parametrize("name", ["reportVerified", "reconcileDestination"])
async def test_publication_fields_are_allowed_only_with_published_finding(
    publisher: PublisherClient, name: str
) -> None:
    await add_unknown_post(publisher)
    claim = await claim_verification(publisher)
    key = "verificationToken" if name == "reportVerified" else "destinationId"

    for arguments, argument in (
        ({"finding": "PUBLISHED"}, ".platformPostUrl"),
        ({"finding": "NOT_PUBLISHED", "platformPostUrl": URL}, ".platformPostUrl"),
        ({"finding": "NOT_PUBLISHED", "platformPostId": "1"}, ".platformPostId"),
        ({"finding": "NOT_PUBLISHED", "publishedAt": seconds_after_now(0)}, ".publishedAt"),
        ({"finding": "PERHAPS"}, ".finding"),
        ({}, ""),
    ):
        error = await publisher.expect_error(name, **{key: claim[key]}, **arguments)
        assert error[:2] == ("VALIDATION_ERROR", f"input{argument}"), arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            PUBLISHED_FINDING | {"publishedAt": seconds_after_now(2)},
            ("PUBLISHED", "PUBLISHED", URL, seconds_after_now(2), None),
        ),
        ({"finding": "NOT_PUBLISHED"}, ("FAILED", "FAILED", None, None, "NOT_PUBLISHED")),
    ],
)
async def test_reconciliation_settles_unknown_outcome(
    publisher: PublisherClient, arguments: dict[str, Any], expected: tuple[object, ...]
) -> None:
    await add_unknown_post(publisher)
    finding = {"destinationId": (await claim_verification(publisher))["destinationId"], **arguments}

    answer = await publisher.call("reconcileDestination", **finding)

    names = ("status", "outcome", "platformPostUrl", "publishedAt", "errorCode")
    assert tuple(answer["destination"][name] for name in names) == expected
    error = await publisher.expect_error("reconcileDestination", **finding)
    assert error[:2] == ("CONFLICT", None)


FAILED = {"outcome": "FAILED", "category": "PERMANENT", "message": "No."}
UNKNOWN = {"outcome": "UNKNOWN", "message": "No answer."}


def result_input(post: object, **fields: Any) -> dict[str, Any]:
    defaults = {"postId": str(post), "accountId": 1, "attemptKey": "job-1", "outcome": "PUBLISHED"}
    return defaults | ({} if "outcome" in fields else {"platformPostId": "17"}) | fields


async def test_external_result_counts_once(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    arguments = result_input(
        post, startedAt=seconds_after_now(-5), worker="queue-7", publishedAt=seconds_after_now(-2)
    )

    reports = [await publisher.call("recordResult", **arguments) for _ in range(2)]

    assert reports == [PUBLISHED_REPORT, PUBLISHED_REPORT | {"receipt": "REPEATED"}]
    stored = await publisher.destination_log(post)
    (attempt,) = stored["attemptLog"]
    assert (stored["publishedAt"], attempt["startedAt"], attempt["worker"]) == (
        seconds_after_now(-2),
        seconds_after_now(-5),
        "queue-7",
    )


async def test_external_failures_before_sending_do_not_count(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    failure = {"outcome": "FAILED", "category": "TRANSIENT", "message": "No.", "notSent": True}

    for number in range(1, 7):
        arguments = result_input(post, attemptKey=f"job-{number}", **failure)
        report = await publisher.call("recordResult", **arguments)

    assert (report["attempts"], report["willRetry"]) == (6, True)
    log = (await publisher.destination_log(post))["attemptLog"]
    assert [attempt["notSent"] for attempt in log] == [True] * 6


async def test_external_result_needs_free_destination_of_submitted_post(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post()
    await publisher.claim_token()
    draft_post = await publisher.add_post(draft())

    assert await publisher.expect_error("recordResult", **result_input(post)) == (
        "LEASED",
        None,
        "Another publisher holds this destination. Try again when its lease has ended.",
    )
    for arguments, expected in (
        (result_input(draft_post, accountId=2, **FAILED), ("CONFLICT", None)),
        (result_input(post, accountId=2), ("NOT_FOUND", None)),
        (result_input(uuid4()), ("NOT_FOUND", None)),
        (result_input(post, accountId=0), ("INVALID_ID", "input.accountId")),
    ):
        assert (await publisher.expect_error("recordResult", **arguments))[:2] == expected


async def test_external_result_rejects_fields_of_other_outcomes(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"attemptKey": "k" * 256}, "attemptKey"),
        ({"worker": "w" * 201}, "worker"),
        ({"startedAt": seconds_after_now(901)}, "startedAt"),
        ({"outcome": "PUBLISHED"}, "platformPostUrl"),
        *(({name: "No."}, name) for name in ("message", "code", "raw")),
        *(({name: 0}, name) for name in ("httpStatus", "retryAfterSeconds")),
        ({"category": "AUTH"}, "category"),
        ({"notSent": True}, "notSent"),
        (UNKNOWN | {"notSent": True}, "notSent"),
        (FAILED | {"notSent": True}, "notSent"),
        ({"outcome": "FAILED"}, "category"),
        ({"outcome": "FAILED", "category": "AUTH"}, "message"),
        (FAILED | {"retryAfterSeconds": -1}, "retryAfterSeconds"),
        (FAILED | {"platformPostId": "1"}, "platformPostId"),
        ({"outcome": "UNKNOWN"}, "message"),
        (UNKNOWN | {"platformPostId": "1"}, "platformPostId"),
    ]
    for arguments, argument in cases:
        error = await publisher.expect_error("recordResult", **result_input(post, **arguments))
        assert error[:2] == ("VALIDATION_ERROR", f"input.{argument}"), arguments
