"""Publishing protocol: claims, starts, reports, and repeated calls."""

import asyncio

from app.domain.accounts import AccountPublisher
from app.domain.destinations import Outcome
from tests.factories import (
    NOW,
    add_account,
    add_attempt,
    add_post,
    queued,
    waiting_for_retry,
)
from tests.graphql.schema.mutations.publisher_client import (
    PUBLISHED_REPORT,
    URL,
    PublisherClient,
    seconds_after_now,
)


async def test_claim_contains_everything_needed_to_publish(publisher: PublisherClient) -> None:
    account = await add_account(
        publisher.database,
        publisher.workspace,
        platform="x",
        account_name=None,
        display_name="Acme",
        platform_user_id="77",
        platform_username="acme",
    )
    post = await add_post(
        publisher.database,
        publisher.workspace,
        {account: waiting_for_retry(NOW)},
        platform_content={"x": {"content": "Short", "settings": {"a": 1}}, "y": {"content": "Y"}},
        media_ids=["m1"],
        media=[{"url": "https://example.com/1.png"}],
        reference="r-1",
        scheduled_for=NOW,
        timezone="Europe/Berlin",
    )
    await add_attempt(
        publisher.database, publisher.workspace, post.destinations[0], outcome=Outcome.FAILED
    )

    (claim,) = await publisher.claim(leaseSeconds=30)

    token = claim.pop("leaseToken")
    assert claim == {
        "leaseExpiresAt": seconds_after_now(30),
        "workspaceId": str(publisher.workspace),
        "destinationId": str(post.destinations[0]),
        "postId": str(post.id),
        "accountId": account,
        "platform": "x",
        "accountName": "Acme",
        "platformUserId": "77",
        "platformUsername": "acme",
        "content": "Short",
        "postContent": "Spring sale starts today",
        "platformContent": {
            "x": {"content": "Short", "settings": {"a": 1}},
            "y": {"content": "Y"},
        },
        "mediaIds": ["m1"],
        "media": [{"url": "https://example.com/1.png"}],
        "reference": "r-1",
        "scheduledFor": seconds_after_now(0),
        "timezone": "Europe/Berlin",
        "attempts": 1,
    }
    assert await publisher.call("startAttempt", leaseToken=token) == {
        "receipt": "RECORDED",
        "attempt": 2,
        "startedAt": seconds_after_now(0),
        "leaseExpiresAt": seconds_after_now(30),
    }


async def test_claim_start_and_report_publish_a_post(publisher: PublisherClient) -> None:
    post = await publisher.add_post()
    token = await publisher.claim_token()
    publisher.clock.set_seconds(1)
    await publisher.call("startAttempt", leaseToken=token, worker="w1")
    publisher.clock.set_seconds(3)

    report = await publisher.call(
        "reportPublished",
        leaseToken=token,
        platformPostUrl=URL,
        platformPostId="17",
        publishedAt=seconds_after_now(2),
    )

    assert report == PUBLISHED_REPORT
    assert await publisher.destination_log(post) == {
        "status": "PUBLISHED",
        "outcome": "PUBLISHED",
        "platformPostUrl": URL,
        "platformPostId": "17",
        "publishedAt": seconds_after_now(2),
        "error": None,
        "errorCategory": None,
        "errorCode": None,
        "attempts": 1,
        "attemptLog": [
            {
                "number": 1,
                "kind": "REGULAR",
                "outcome": "PUBLISHED",
                "category": None,
                "code": None,
                "message": None,
                "httpStatus": None,
                "retryAfterSeconds": None,
                "notSent": False,
                "worker": "w1",
                "startedAt": seconds_after_now(1),
                "finishedAt": seconds_after_now(3),
            }
        ],
    }
    assert await publisher.claim() == []


async def test_repeated_calls_are_idempotent(publisher: PublisherClient) -> None:
    await publisher.add_post()
    token = await publisher.claim_token()
    started = [await publisher.call("startAttempt", leaseToken=token) for _ in range(2)]
    publisher.clock.set_seconds(5)
    extended = [
        await publisher.call("extendLease", leaseToken=token, leaseSeconds=90) for _ in range(2)
    ]
    reported = [
        await publisher.call("reportPublished", leaseToken=token, platformPostId="17")
        for _ in range(2)
    ]

    at_first = {
        "receipt": "RECORDED",
        "attempt": 1,
        "startedAt": seconds_after_now(0),
        "leaseExpiresAt": seconds_after_now(60),
    }
    assert started == [at_first, at_first | {"receipt": "REPEATED"}]
    assert extended == [{"leaseExpiresAt": seconds_after_now(95)}] * 2
    assert reported == [PUBLISHED_REPORT, PUBLISHED_REPORT | {"receipt": "REPEATED"}]
    repeated = await publisher.expect_error("startAttempt", leaseToken=token)
    assert repeated[:2] == ("LEASE_LOST", None)


async def test_released_claim_is_immediately_claimable(publisher: PublisherClient) -> None:
    await publisher.add_post()
    (claim,) = await publisher.claim()

    released = await publisher.call("releaseClaim", leaseToken=claim["leaseToken"])

    assert released == {"destinationId": claim["destinationId"], "status": "QUEUED"}
    assert (await publisher.expect_error("releaseClaim", leaseToken=claim["leaseToken"]))[0] == (
        "LEASE_LOST"
    )
    (other,) = await publisher.claim()
    assert other["destinationId"] == claim["destinationId"]
    assert other["leaseToken"] != claim["leaseToken"]


async def test_claims_filter_by_platform(publisher: PublisherClient) -> None:
    for platform in ("x", "x", "x", "mastodon", "linkedin"):
        account = await add_account(publisher.database, publisher.workspace, platform=platform)
        await add_post(publisher.database, publisher.workspace, {account: queued()})

    claims = await publisher.claim(platforms=["mastodon", "x", "nowhere"], limit=100)

    assert sorted(claim["platform"] for claim in claims) == ["mastodon", "x", "x", "x"]
    assert [claim["platform"] for claim in await publisher.claim(platforms=["linkedin"])] == [
        "linkedin"
    ]
    assert await publisher.claim() == []


async def test_claims_are_of_external_accounts_unless_another_publisher_is_named(
    publisher: PublisherClient,
) -> None:
    for of in AccountPublisher:
        account = await add_account(
            publisher.database, publisher.workspace, platform="sandbox", publisher=of
        )
        await add_post(publisher.database, publisher.workspace, {account: queued()})

    for arguments, account_id in (({}, 1), ({"publisher": "SANDBOX"}, 2)):
        claims = await publisher.claim(**arguments)
        assert [claim["accountId"] for claim in claims] == [account_id]
        assert await publisher.claim(**arguments) == []


async def test_waiting_claim_returns_when_destination_becomes_due(
    publisher: PublisherClient,
) -> None:
    waiting = asyncio.ensure_future(publisher.claim(waitSeconds=20))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    post = await publisher.add_post()

    async with asyncio.timeout(10):
        (claim,) = await waiting
    assert claim["postId"] == str(post)
