"""Expired leases: late reports, and what other publishers may do."""

import asyncio
from typing import Any

import pytest

from app.db.core.database import Database
from app.domain.ids import PostId
from app.services.expirations import settle_expired_leases
from tests.graphql.schema.mutations.publisher_client import (
    PUBLISHED_REPORT,
    SECOND,
    URL,
    PublisherClient,
    open_publisher,
    seconds_after_now,
)

NOT_SENT = {"category": "TRANSIENT", "notSent": True}


async def test_expired_lease_without_start_is_claimable_again(publisher: PublisherClient) -> None:
    await publisher.add_post()
    stale = await publisher.claim_token(leaseSeconds=60)
    publisher.clock.set_seconds(59.9)
    assert await publisher.claim() == []
    publisher.clock.set_seconds(60)
    held = await publisher.claim_token()

    calls: dict[str, dict[str, Any]] = {
        "startAttempt": {},
        "extendLease": {"leaseSeconds": 60},
        "releaseClaim": {},
        "reportFailed": {"category": "PERMANENT", "message": "No."},
    }
    for name, arguments in calls.items():
        error = await publisher.expect_error(name, leaseToken=stale, **arguments)
        assert error[:2] == ("LEASE_LOST", None), name
    assert (await publisher.call("startAttempt", leaseToken=held))["attempt"] == 1


@pytest.mark.parametrize("is_settled", [False, True])
async def test_late_publication_settles_unknown_outcome(
    database: Database, is_settled: bool
) -> None:
    tick = SECOND / 50 if is_settled else None
    async with open_publisher(database, expiration_interval=tick) as publisher:
        post = await publisher.add_post()
        token = await publisher.lost_token()
        if is_settled:
            await wait_for_unknown_outcome(publisher, post)
        assert await publisher.claim() == []

        report = await publisher.call("reportPublished", leaseToken=token, platformPostUrl=URL)

        assert report == PUBLISHED_REPORT
        assert (await publisher.destination_log(post))["platformPostUrl"] == URL


async def test_late_publication_settles_destination_claimed_by_another_publisher(
    publisher: PublisherClient,
) -> None:
    post = await publisher.add_post()
    late = await publisher.lost_token()
    await verify_lost_lease(publisher, "NOT_PUBLISHED")
    held = await publisher.start_token()

    report = await publisher.call("reportPublished", leaseToken=late, platformPostUrl=URL)

    assert report == PUBLISHED_REPORT | {"attempts": 2}
    error = await publisher.expect_error("extendLease", leaseToken=held, leaseSeconds=60)
    assert error[:2] == ("LEASE_LOST", None)
    repeated = await publisher.call("reportPublished", leaseToken=held, platformPostId="second")
    assert (repeated["receipt"], repeated["status"]) == ("DUPLICATE", "PUBLISHED")
    assert (await publisher.destination_log(post))["platformPostUrl"] == URL
    assert (await publisher.events())[-1] == "destination.duplicated"
    data = await publisher.client.query(
        "{ destinations(filter: {duplicated: true}) { nodes { postId isDuplicated } }"
        ' boardCounts(since: "2026-04-15T15:00:00Z") { duplicated { count } } }'
    )
    assert data == {
        "destinations": {"nodes": [{"postId": str(post), "isDuplicated": True}]},
        "boardCounts": {"duplicated": {"count": 1}},
    }


@pytest.mark.parametrize("failure", [{"category": "PERMANENT"}, NOT_SENT])
async def test_late_failure_is_only_logged(
    publisher: PublisherClient, failure: dict[str, object]
) -> None:
    post = await publisher.add_post()
    token = await publisher.lost_token()
    await verify_lost_lease(publisher, "STILL_UNKNOWN")
    before = await publisher.destination_log(post)
    arguments = {"leaseToken": token, "message": "No.", **failure}

    reports = [await publisher.call("reportFailed", **arguments) for _ in range(2)]

    unknown = {"status": "FAILED", "outcome": "UNKNOWN"}
    assert reports == [
        PUBLISHED_REPORT | unknown | {"receipt": receipt} for receipt in ("LATE", "REPEATED")
    ]
    after = await publisher.destination_log(post)
    regular, late = sorted(after.pop("attemptLog"), key=lambda attempt: attempt["kind"] == "LATE")
    assert [regular] == before.pop("attemptLog")
    assert after == before
    assert (late["kind"], late["outcome"], late["message"], late["number"]) == (
        "LATE",
        "FAILED",
        "No.",
        None,
    )


async def wait_for_unknown_outcome(publisher: PublisherClient, post: PostId) -> None:
    async with asyncio.timeout(20):
        while (await publisher.destination_log(post))["outcome"] != "UNKNOWN":  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def verify_lost_lease(publisher: PublisherClient, finding: str) -> None:
    """Settle the expired lease, then report a verification of its destination."""
    await settle_expired_leases(publisher.database, publisher.clock.now)
    (claim,) = (await publisher.call("claimVerifications"))["claims"]
    assert claim["lastStartedAt"] == seconds_after_now(0)
    assert claim["lastWorker"] == "w1"
    await publisher.call(
        "reportVerified", verificationToken=claim["verificationToken"], finding=finding
    )
