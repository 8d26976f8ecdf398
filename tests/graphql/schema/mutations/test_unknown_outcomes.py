"""Unknown outcomes: verification by publishers, reconciliation by people; and external results."""

from typing import Any
from uuid import uuid4

import pytest

from app.services.expirations import settle_expired_leases
from tests.factories import add_account, draft
from tests.graphql.schema.mutations.publisher_client import (
    PUBLISHED_REPORT,
    URL,
    PublisherClient,
    seconds_after_now,
)

LEASE_EXPIRED_ERROR = "The lease ended before the publisher reported the platform's response."
PUBLISHED_FINDING = {"finding": "PUBLISHED", "platformPostUrl": URL}


async def add_unknown_post(publisher: PublisherClient) -> str:
    """Add a post with an unknown outcome and set the clock to 61 s after NOW; return the UUID."""
    post = await publisher.add_post()
    await publisher.lost_token()
    await settle_expired_leases(publisher.database, publisher.clock.now)
    return str(post)


async def claim_verification(publisher: PublisherClient, **arguments: Any) -> str:
    """Claim the only unknown outcome and return its token."""
    (claim,) = (await publisher.call("claimVerifications", **arguments))["claims"]
    return str(claim["verificationToken"])


async def test_verification_contains_last_attempt(
    publisher: PublisherClient,
) -> None:
    post = await add_unknown_post(publisher)

    (claim,) = (await publisher.call("claimVerifications", leaseSeconds=30))["claims"]

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
    assert len((await publisher.call("claimVerifications", platforms=["instagram"]))["claims"]) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (PUBLISHED_FINDING, ("RECORDED", "PUBLISHED", "PUBLISHED", False)),
        ({"finding": "NOT_PUBLISHED"}, ("RECORDED", "QUEUED", "NONE", True)),
        ({"finding": "STILL_UNKNOWN"}, ("RECORDED", "FAILED", "UNKNOWN", False)),
    ],
)
async def test_finding_determines_outcome(
    publisher: PublisherClient, arguments: dict[str, Any], expected: tuple[object, ...]
) -> None:
    await add_unknown_post(publisher)
    token = await claim_verification(publisher)

    answer = await publisher.call("reportVerified", verificationToken=token, **arguments)

    assert tuple(answer[name] for name in ("receipt", "status", "outcome", "willRetry")) == expected
    assert answer["attempts"] == 1


async def test_only_published_finding_may_be_repeated(
    publisher: PublisherClient,
) -> None:
    await add_unknown_post(publisher)
    token = await claim_verification(publisher)
    await publisher.call("reportVerified", verificationToken=token, **PUBLISHED_FINDING)

    repeated = await publisher.call("reportVerified", verificationToken=token, **PUBLISHED_FINDING)
    other = await publisher.expect_error(
        "reportVerified", verificationToken=token, finding="NOT_PUBLISHED"
    )

    assert (repeated["receipt"], repeated["status"]) == ("REPEATED", "PUBLISHED")
    assert other[0] == "LEASE_LOST"


@pytest.mark.parametrize("name", ["reportVerified", "reconcileDestination"])
@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"finding": "PUBLISHED"}, ".platformPostUrl"),
        ({"finding": "NOT_PUBLISHED", "platformPostUrl": URL}, ".platformPostUrl"),
        ({"finding": "NOT_PUBLISHED", "platformPostId": "1"}, ".platformPostId"),
        ({"finding": "NOT_PUBLISHED", "publishedAt": seconds_after_now(0)}, ".publishedAt"),
        ({"finding": "PERHAPS"}, ".finding"),
        ({}, ""),
    ],
)
async def test_publication_fields_are_allowed_only_with_published_finding(
    publisher: PublisherClient, name: str, arguments: dict[str, Any], argument: str
) -> None:
    await add_unknown_post(publisher)
    (claim,) = (await publisher.call("claimVerifications"))["claims"]
    keys = {
        "reportVerified": {"verificationToken": claim["verificationToken"]},
        "reconcileDestination": {"destinationId": claim["destinationId"]},
    }

    code, field, _ = await publisher.expect_error(name, **keys[name], **arguments)

    assert (code, field) == ("VALIDATION_ERROR", f"input{argument}")


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
    (claim,) = (await publisher.call("claimVerifications"))["claims"]

    answer = await publisher.call(
        "reconcileDestination", destinationId=claim["destinationId"], **arguments
    )

    names = ("status", "outcome", "platformPostUrl", "publishedAt", "errorCode")
    assert tuple(answer["destination"][name] for name in names) == expected
    error = await publisher.expect_error(
        "reconcileDestination", destinationId=claim["destinationId"], **arguments
    )
    assert error[:2] == ("CONFLICT", None)


async def test_reconciliation_of_nonexistent_destination_is_not_found(
    publisher: PublisherClient,
) -> None:
    error = await publisher.expect_error(
        "reconcileDestination", destinationId=str(uuid4()), **PUBLISHED_FINDING
    )

    assert error[:2] == ("NOT_FOUND", None)


def result_input(post: object, **fields: Any) -> dict[str, Any]:
    defaults = {"postId": str(post), "accountId": 1, "attemptKey": "job-1", "outcome": "PUBLISHED"}
    return defaults | ({} if "outcome" in fields else {"platformPostId": "17"}) | fields


FAILED = {"outcome": "FAILED", "category": "PERMANENT", "message": "No."}


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


async def test_external_result_is_rejected_while_destination_is_leased(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post()
    await publisher.claim_token()

    error = await publisher.expect_error("recordResult", **result_input(post))

    assert error == (
        "LEASED",
        None,
        "Another publisher holds this destination. Try again when its lease has ended.",
    )


async def test_external_result_needs_submitted_post_and_its_account(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post(draft(), is_draft=True)
    other = await add_account(publisher.database, publisher.workspace)
    for arguments, code in (
        (result_input(post, **FAILED), "CONFLICT"),
        (result_input(post, accountId=other, platformPostId="1"), "NOT_FOUND"),
        (result_input(uuid4()), "NOT_FOUND"),
    ):
        assert (await publisher.expect_error("recordResult", **arguments))[0] == code


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"attemptKey": ""}, "attemptKey"),
        ({"attemptKey": "k" * 256}, "attemptKey"),
        ({"attemptKey": "a\nb"}, "attemptKey"),
        ({"worker": "w" * 201}, "worker"),
        ({"startedAt": seconds_after_now(301)}, "startedAt"),
        ({"outcome": "PUBLISHED"}, "platformPostUrl"),
        ({"message": "No."}, "message"),
        ({"category": "AUTH"}, "category"),
        ({"retryAfterSeconds": 0}, "retryAfterSeconds"),
        ({"outcome": "FAILED"}, "category"),
        ({"outcome": "FAILED", "category": "AUTH"}, "message"),
        (FAILED | {"retryAfterSeconds": -1}, "retryAfterSeconds"),
        (FAILED | {"platformPostId": "1"}, "platformPostId"),
        ({"outcome": "UNKNOWN"}, "message"),
        ({"outcome": "UNKNOWN", "message": "No answer.", "platformPostId": "1"}, "platformPostId"),
    ],
)
async def test_external_result_rejects_fields_of_other_outcomes(
    publisher: PublisherClient, arguments: dict[str, Any], argument: str
) -> None:
    post = await publisher.add_post()

    code, field, _ = await publisher.expect_error("recordResult", **result_input(post, **arguments))

    assert (code, field) == ("VALIDATION_ERROR", f"input.{argument}")


async def test_external_result_rejects_impossible_account_number(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post()

    error = await publisher.expect_error(
        "recordResult", **result_input(post, accountId=0, platformPostId="1")
    )

    assert error[:2] == ("INVALID_ID", "input.accountId")
