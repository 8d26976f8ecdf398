"""What publishers may not tell: each is refused with its code and argument, and changes nothing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.ids import DestinationId, WorkspaceId
from app.domain.leases import Lease, LeaseCodec, LeaseKind
from tests.factories import NOW, add_workspace, unknown
from tests.graphql.schema.mutations.publisher_client import (
    SECOND,
    URL,
    PublisherClient,
    open_publisher,
    seconds_after_now,
)

INVALID_MESSAGE = "VALIDATION_ERROR"
TEN_YEARS = 315_360_000
LEASE_LOST_MESSAGE = "The lease has ended, or somebody else has the destination by now."
UNKNOWN_TOKEN_MESSAGE = "leaseToken is none that was given out. Pass the one of the claim, unchanged."
FAILED = {"category": "PERMANENT", "message": "No."}


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[PublisherClient]:
    async with open_publisher(database) as opened:
        yield opened


@pytest.mark.parametrize("name", ["claimDestinations", "claimVerifications"])
@pytest.mark.parametrize(
    ("given", "argument", "message"),
    [
        ({"limit": 0}, "limit", "limit must be from 1 to 100; it is 0."),
        ({"limit": 10_000}, "limit", "limit must be from 1 to 100; it is 10,000."),
        (
            {"leaseSeconds": 0},
            "leaseSeconds",
            "leaseSeconds must be from 1 to 3,600; it is 0.",
        ),
        (
            {"leaseSeconds": TEN_YEARS},
            "leaseSeconds",
            "leaseSeconds must be from 1 to 3,600; it is 315,360,000.",
        ),
        (
            {"waitSeconds": -1},
            "waitSeconds",
            "waitSeconds must be from 0 to 20; it is -1.",
        ),
        (
            {"waitSeconds": 21},
            "waitSeconds",
            "waitSeconds must be from 0 to 20; it is 21.",
        ),
        (
            {"platforms": []},
            "platforms",
            "platforms must have from 1 to 20 platforms; it has 0. Leave it out for all.",
        ),
        (
            {"platforms": [f"p{number}" for number in range(21)]},
            "platforms",
            "platforms must have from 1 to 20 platforms; it has 21. Leave it out for all.",
        ),
        ({"platforms": ["x", "x"]}, "platforms", "platforms names a platform twice."),
        (
            {"platforms": ["x", "y" * 51]},
            "platforms[1]",
            "platforms[1] is 51 characters long; at most 50 are allowed.",
        ),
        (
            {"platforms": ["\0"]},
            "platforms[0]",
            "platforms[0] must not contain a NUL character.",
        ),
        (
            {"platforms": ["Instagram"]},
            "platforms[0]",
            "platforms[0] must be a word of lower-case letters, digits, _ and -, such as instagram.",
        ),
    ],
)
async def test_a_claim_out_of_its_ranges_takes_nothing(
    publisher: PublisherClient, name: str, given: dict[str, Any], argument: str, message: str
) -> None:
    await publisher.add_post()
    await publisher.add_post(unknown(due_at=NOW - 3600 * SECOND))

    assert await publisher.expect_error(name, **given) == (INVALID_MESSAGE, f"input.{argument}", message)


TOKENS = {
    "nothing": "",
    "a word": "lease",
    "another spelling": "=",
    "no ASCII": "é",
    "long": "x" * 10_000,
}
INVALID_CALLS: dict[str, dict[str, Any]] = {
    "startAttempt": {},
    "extendLease": {"leaseSeconds": 60},
    "releaseClaim": {},
    "reportPublished": {"platformPostUrl": URL},
    "reportFailed": FAILED,
}


@pytest.mark.parametrize("name", INVALID_CALLS)
async def test_a_token_that_was_not_given_out_is_none(
    publisher: PublisherClient, name: str
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()
    kind = LeaseKind.VERIFICATION
    lease = LeaseCodec(bytes(32), LeaseKind.PUBLISHING).decode(token, "leaseToken")
    forged = LeaseCodec(b"another secret", LeaseKind.PUBLISHING).encode(lease)
    verification = LeaseCodec(bytes(32), kind).encode(lease)
    for wrong in (*TOKENS.values(), token + "=", token[:-1], forged, verification):
        told = await publisher.expect_error(name, leaseToken=wrong, **INVALID_CALLS[name])
        assert told == (INVALID_MESSAGE, "input.leaseToken", UNKNOWN_TOKEN_MESSAGE), wrong


@pytest.mark.parametrize("name", INVALID_CALLS)
async def test_without_a_token_nothing_is_asked(publisher: PublisherClient, name: str) -> None:
    code, argument, _ = await publisher.expect_error(name, **INVALID_CALLS[name])

    assert (code, argument) == (INVALID_MESSAGE, "input")


@pytest.mark.parametrize("name", INVALID_CALLS)
async def test_a_foreign_lease_is_lost_whatever_it_is_of(
    publisher: PublisherClient, name: str
) -> None:
    await publisher.add_post()
    other = await publisher.with_key(
        Scope.PUBLISH, workspace=await add_workspace(publisher.database)
    )
    token = await publisher.start_token()
    codec = LeaseCodec(bytes(32), LeaseKind.PUBLISHING)
    lease = codec.decode(token, "leaseToken")
    gone = Lease(
        WorkspaceId(other.workspace), DestinationId(lease.destination_id), lease.fence, lease.token
    )
    for foreign in (token, codec.encode(gone)):
        told = await other.expect_error(name, leaseToken=foreign, **INVALID_CALLS[name])
        assert told == ("LEASE_LOST", None, LEASE_LOST_MESSAGE)


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({}, "platformPostUrl"),
        ({"publishedAt": seconds_after_now(0)}, "platformPostUrl"),
        ({"platformPostUrl": ""}, "platformPostUrl"),
        ({"platformPostUrl": "javascript:alert(1)"}, "platformPostUrl"),
        ({"platformPostUrl": "https://x.example/" + "x" * 2000}, "platformPostUrl"),
        ({"platformPostUrl": URL, "platformPostId": " "}, "platformPostId"),
        ({"platformPostId": "x" * 501}, "platformPostId"),
        ({"platformPostId": "\0"}, "platformPostId"),
        ({"platformPostUrl": URL, "publishedAt": seconds_after_now(301)}, "publishedAt"),
        ({"platformPostUrl": URL, "publishedAt": "yesterday"}, "publishedAt"),
    ],
)
async def test_a_publication_must_be_found_by_people(
    publisher: PublisherClient, given: dict[str, Any], argument: str
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    code, field, _ = await publisher.expect_error("reportPublished", leaseToken=token, **given)

    assert (code, field) == (INVALID_MESSAGE, f"input.{argument}")


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"message": "No."}, ""),
        ({"category": "PERMANENT"}, ""),
        ({"category": "BAD", "message": "No."}, ".category"),
        (FAILED | {"message": " \n"}, ".message"),
        (FAILED | {"code": ""}, ".code"),
        (FAILED | {"code": "A\nB"}, ".code"),
        (FAILED | {"code": "C" * 101}, ".code"),
        (FAILED | {"httpStatus": 99}, ".httpStatus"),
        (FAILED | {"httpStatus": 600}, ".httpStatus"),
        (FAILED | {"retryAfterSeconds": -1}, ".retryAfterSeconds"),
        (FAILED | {"retryAfterSeconds": TEN_YEARS}, ".retryAfterSeconds"),
        (FAILED | {"retryAfterSeconds": 2**31}, ".retryAfterSeconds"),
        (FAILED | {"outcomeUnknown": "perhaps"}, ".outcomeUnknown"),
    ],
)
async def test_a_failure_must_say_what_failed(
    publisher: PublisherClient, given: dict[str, Any], argument: str
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    code, field, _ = await publisher.expect_error("reportFailed", leaseToken=token, **given)

    assert (code, field) == (INVALID_MESSAGE, f"input{argument}")


@pytest.mark.parametrize(
    ("name", "given", "argument"),
    [
        ("startAttempt", {"worker": "w" * 201}, "worker"),
        ("startAttempt", {"worker": "\0"}, "worker"),
        ("extendLease", {"leaseSeconds": 0}, "leaseSeconds"),
        ("extendLease", {"leaseSeconds": 3601}, "leaseSeconds"),
    ],
)
async def test_a_lease_is_kept_within_its_limits(
    publisher: PublisherClient, name: str, given: dict[str, Any], argument: str
) -> None:
    await publisher.add_post()
    token = await publisher.claim_token()

    code, field, _ = await publisher.expect_error(name, leaseToken=token, **given)

    assert (code, field) == (INVALID_MESSAGE, f"input.{argument}")


async def test_an_attempt_that_was_not_started_has_an_outcome_that_is_known(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.claim_token()

    assert await publisher.expect_error(
        "reportFailed", leaseToken=token, outcomeUnknown=True, **FAILED
    ) == (
        "CONFLICT",
        None,
        "The attempt was not started, so its outcome is known. Release the claim.",
    )
