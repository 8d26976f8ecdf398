"""Outcomes that nobody knows: verified by publishers, reconciled by people. And results from elsewhere."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from app.db.core.database import Database
from app.services.expired_leases import settle_expired_leases
from tests.factories import add_account, draft
from tests.graphql.schema.mutations.publisher_client import (
    URL,
    PublisherClient,
    open_publisher,
    seconds_after_now,
)

INVALID_MESSAGE = "VALIDATION_ERROR"
LEASE_EXPIRED_ERROR = "The publisher went away before it reported what the platform answered."
PUBLISHED_FINDING = {"finding": "PUBLISHED", "platformPostUrl": URL}


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[PublisherClient]:
    async with open_publisher(database) as opened:
        yield opened


async def add_unknown_post(publisher: PublisherClient) -> str:
    """The UUID of a post whose only destination is of unknown outcome, a minute after NOW."""
    post = await publisher.add_post()
    await publisher.lost_token()
    await settle_expired_leases(publisher.database, publisher.clock.now)
    return str(post)


async def claim_verification(publisher: PublisherClient, **arguments: Any) -> str:
    """The token of the one outcome to look into."""
    (claim,) = (await publisher.call("claimVerifications", **arguments))["claims"]
    return str(claim["verificationToken"])


async def test_a_verification_tells_what_is_known_of_the_last_attempt(
    publisher: PublisherClient,
) -> None:
    post = await add_unknown_post(publisher)

    (claim,) = (await publisher.call("claimVerifications", leaseSeconds=30))["claims"]

    shown = ("postId", "error", "lastStartedAt", "lastWorker", "attempts", "leaseExpiresAt")
    assert {name: claim[name] for name in shown} == {
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
    ("given", "told"),
    [
        (PUBLISHED_FINDING, ("RECORDED", "PUBLISHED", "PUBLISHED", False)),
        ({"finding": "NOT_PUBLISHED"}, ("RECORDED", "QUEUED", "NONE", True)),
        ({"finding": "STILL_UNKNOWN"}, ("RECORDED", "FAILED", "UNKNOWN", False)),
    ],
)
async def test_a_finding_settles_the_outcome_or_leaves_it(
    publisher: PublisherClient, given: dict[str, Any], told: tuple[object, ...]
) -> None:
    await add_unknown_post(publisher)
    token = await claim_verification(publisher)

    answer = await publisher.call("reportVerified", verificationToken=token, **given)

    assert tuple(answer[name] for name in ("receipt", "status", "outcome", "willRetry")) == told
    assert answer["attempts"] == 1


async def test_a_publication_that_was_found_may_be_told_twice_and_nothing_else(
    publisher: PublisherClient,
) -> None:
    await add_unknown_post(publisher)
    token = await claim_verification(publisher)
    await publisher.call("reportVerified", verificationToken=token, **PUBLISHED_FINDING)

    again = await publisher.call("reportVerified", verificationToken=token, **PUBLISHED_FINDING)
    other = await publisher.expect_error(
        "reportVerified", verificationToken=token, finding="NOT_PUBLISHED"
    )

    assert (again["receipt"], again["status"]) == ("REPEATED", "PUBLISHED")
    assert other[0] == "LEASE_LOST"


async def test_what_could_not_be_told_is_looked_into_again_later(
    publisher: PublisherClient,
) -> None:
    await add_unknown_post(publisher)
    token = await claim_verification(publisher)
    await publisher.call("reportVerified", verificationToken=token, finding="STILL_UNKNOWN")

    assert (await publisher.call("claimVerifications"))["claims"] == []
    publisher.clock.set_seconds(61 + 300)
    assert await claim_verification(publisher) != token


@pytest.mark.parametrize("name", ["reportVerified", "reconcileDestination"])
@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"finding": "PUBLISHED"}, ".platformPostUrl"),
        ({"finding": "NOT_PUBLISHED", "platformPostUrl": URL}, ".platformPostUrl"),
        ({"finding": "NOT_PUBLISHED", "platformPostId": "1"}, ".platformPostId"),
        ({"finding": "NOT_PUBLISHED", "publishedAt": seconds_after_now(0)}, ".publishedAt"),
        ({"finding": "PERHAPS"}, ".finding"),
        ({}, ""),
    ],
)
async def test_a_place_goes_with_a_publication_and_with_nothing_else(
    publisher: PublisherClient, name: str, given: dict[str, Any], argument: str
) -> None:
    await add_unknown_post(publisher)
    (claim,) = (await publisher.call("claimVerifications"))["claims"]
    of = {
        "reportVerified": {"verificationToken": claim["verificationToken"]},
        "reconcileDestination": {"destinationId": claim["destinationId"]},
    }

    code, field, _ = await publisher.expect_error(name, **of[name], **given)

    assert (code, field) == (INVALID_MESSAGE, f"input{argument}")


@pytest.mark.parametrize(
    ("given", "stands"),
    [
        (
            PUBLISHED_FINDING | {"publishedAt": seconds_after_now(2)},
            ("PUBLISHED", "PUBLISHED", URL, seconds_after_now(2), None),
        ),
        ({"finding": "NOT_PUBLISHED"}, ("FAILED", "FAILED", None, None, "NOT_PUBLISHED")),
    ],
)
async def test_a_person_settles_what_nobody_knew(
    publisher: PublisherClient, given: dict[str, Any], stands: tuple[object, ...]
) -> None:
    await add_unknown_post(publisher)
    (claim,) = (await publisher.call("claimVerifications"))["claims"]

    answer = await publisher.call(
        "reconcileDestination", destinationId=claim["destinationId"], **given
    )

    names = ("status", "outcome", "platformPostUrl", "publishedAt", "errorCode")
    assert tuple(answer["destination"][name] for name in names) == stands
    told = await publisher.expect_error(
        "reconcileDestination", destinationId=claim["destinationId"], **given
    )
    assert told[:2] == ("CONFLICT", None)


async def test_nobody_reconciles_what_is_nowhere(publisher: PublisherClient) -> None:
    told = await publisher.expect_error("reconcileDestination", destinationId=str(uuid4()), **PUBLISHED_FINDING)

    assert told[:2] == ("NOT_FOUND", None)


# Results from elsewhere.


def result_input(post: object, **fields: Any) -> dict[str, Any]:
    ours = {"postId": str(post), "accountId": 1, "attemptKey": "job-1", "outcome": "PUBLISHED"}
    return ours | ({} if "outcome" in fields else {"platformPostId": "17"}) | fields


FAILED = {"outcome": "FAILED", "category": "PERMANENT", "message": "No."}


async def test_a_result_from_elsewhere_counts_once(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    given = result_input(
        post, startedAt=seconds_after_now(-5), worker="queue-7", publishedAt=seconds_after_now(-2)
    )

    told = [await publisher.call("recordResult", **given) for _ in range(2)]

    published = {
        "receipt": "RECORDED",
        "status": "PUBLISHED",
        "outcome": "PUBLISHED",
        "attempts": 1,
        "willRetry": False,
        "nextRetryAt": None,
    }
    assert told == [published, published | {"receipt": "REPEATED"}]
    stored = await publisher.destination_log(post)
    (attempt,) = stored["attemptLog"]
    assert (stored["publishedAt"], attempt["startedAt"], attempt["worker"]) == (
        seconds_after_now(-2),
        seconds_after_now(-5),
        "queue-7",
    )


async def test_the_same_attempt_cannot_have_ended_otherwise(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    told = await publisher.call("recordResult", **result_input(post, **FAILED))
    assert (told["status"], told["attempts"]) == ("FAILED", 1)

    assert await publisher.expect_error("recordResult", **result_input(post)) == (
        "CONFLICT",
        None,
        "The attempt with this attemptKey is on record as failed already.",
    )


async def test_no_failure_is_recorded_of_what_is_final(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    await publisher.call("recordResult", **result_input(post))

    told = await publisher.expect_error("recordResult", **result_input(post, attemptKey="2", **FAILED))

    assert told == (
        "CONFLICT",
        None,
        "The destination is published; a failure cannot be recorded any more.",
    )
    again = await publisher.call("recordResult", **result_input(post, attemptKey="3"))
    assert again["receipt"] == "DUPLICATE"


async def test_while_another_publisher_holds_it_no_result_is_taken(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post()
    await publisher.claim_token()

    told = await publisher.expect_error("recordResult", **result_input(post))

    assert told == (
        "LEASED",
        None,
        "Another publisher holds this destination. Try again when its lease has ended.",
    )


async def test_drafts_strange_posts_and_strange_accounts_have_no_results(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post(draft(), is_draft=True)
    other = await add_account(publisher.database, publisher.workspace)
    for given, code in (
        (result_input(post, **FAILED), "CONFLICT"),
        (result_input(post, accountId=other, platformPostId="1"), "NOT_FOUND"),
        (result_input(uuid4()), "NOT_FOUND"),
    ):
        assert (await publisher.expect_error("recordResult", **given))[0] == code


@pytest.mark.parametrize(
    ("given", "argument"),
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
async def test_a_result_must_say_what_belongs_to_its_outcome(
    publisher: PublisherClient, given: dict[str, Any], argument: str
) -> None:
    post = await publisher.add_post()

    code, field, _ = await publisher.expect_error("recordResult", **result_input(post, **given))

    assert (code, field) == (INVALID_MESSAGE, f"input.{argument}")


async def test_a_number_that_no_account_can_have_is_no_id(publisher: PublisherClient) -> None:
    post = await publisher.add_post()

    told = await publisher.expect_error(
        "recordResult", **result_input(post, accountId=0, platformPostId="1")
    )

    assert told[:2] == ("INVALID_ID", "input.accountId")
