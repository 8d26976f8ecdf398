"""Errors of the publishing protocol: code, argument, and no effect."""

from typing import Any

import pytest

from app.domain.leases import LeaseCodec, LeaseKind
from tests.factories import NOW, unknown
from tests.graphql.schema.mutations.publisher_client import (
    SECOND,
    URL,
    PublisherClient,
    seconds_after_now,
)

FAILED = {"category": "PERMANENT", "message": "No."}


INVALID_CLAIMS: list[tuple[dict[str, Any], str, str]] = [
    ({"limit": 0}, "limit", "limit must be from 1 to 100; it is 0."),
    ({"limit": 101}, "limit", "limit must be from 1 to 100; it is 101."),
    ({"leaseSeconds": 0}, "leaseSeconds", "leaseSeconds must be from 1 to 3,600; it is 0."),
    ({"waitSeconds": -1}, "waitSeconds", "waitSeconds must be from 0 to 20; it is -1."),
    ({"waitSeconds": 21}, "waitSeconds", "waitSeconds must be from 0 to 20; it is 21."),
    ({"platforms": ["x", "x"]}, "platforms", "platforms names a platform twice."),
    (
        {"platforms": ["Instagram"]},
        "platforms[0]",
        "platforms[0] must be a word of lower-case letters, digits, _ and -, such as instagram.",
    ),
]


@pytest.mark.parametrize("name", ["claimDestinations", "claimVerifications"])
async def test_claim_with_invalid_arguments_is_rejected(
    publisher: PublisherClient, name: str
) -> None:
    await publisher.add_post()
    await publisher.add_post(unknown(due_at=NOW - 3600 * SECOND))

    for arguments, argument, message in INVALID_CLAIMS:
        error = await publisher.expect_error(name, **arguments)
        assert error == ("VALIDATION_ERROR", f"input.{argument}", message)


INVALID_CALLS: dict[str, dict[str, Any]] = {
    "startAttempt": {},
    "extendLease": {"leaseSeconds": 60},
    "releaseClaim": {},
    "reportPublished": {"platformPostUrl": URL},
    "reportFailed": FAILED,
}


@pytest.mark.parametrize("name", INVALID_CALLS)
async def test_forged_lease_token_is_rejected(publisher: PublisherClient, name: str) -> None:
    await publisher.add_post()
    token = await publisher.start_token()
    lease = LeaseCodec(bytes(32), LeaseKind.PUBLISHING).decode(token, "leaseToken")
    forged = LeaseCodec(b"another secret", LeaseKind.PUBLISHING).encode(lease)
    verification = LeaseCodec(bytes(32), LeaseKind.VERIFICATION).encode(lease)
    for invalid_token in ("", "lease", "é", "x" * 10_000, token + "=", forged, verification):
        error = await publisher.expect_error(name, leaseToken=invalid_token, **INVALID_CALLS[name])
        assert error[:2] == ("VALIDATION_ERROR", "input.leaseToken"), invalid_token


INVALID_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("startAttempt", {"worker": "w" * 201}, ".worker"),
    ("extendLease", {"leaseSeconds": 0}, ".leaseSeconds"),
    ("reportPublished", {}, ".platformPostUrl"),
    ("reportPublished", {"platformPostUrl": "javascript:alert(1)"}, ".platformPostUrl"),
    ("reportPublished", {"platformPostId": "x" * 501}, ".platformPostId"),
    (
        "reportPublished",
        {"platformPostUrl": URL, "publishedAt": seconds_after_now(901)},
        ".publishedAt",
    ),
    ("reportFailed", {"message": "No."}, ""),
    ("reportFailed", FAILED | {"category": "BAD"}, ".category"),
    ("reportFailed", FAILED | {"message": " \n"}, ".message"),
    ("reportFailed", FAILED | {"code": ""}, ".code"),
    ("reportFailed", FAILED | {"httpStatus": 99}, ".httpStatus"),
    ("reportFailed", FAILED | {"retryAfterSeconds": 2**31}, ".retryAfterSeconds"),
    ("reportFailed", FAILED | {"outcomeUnknown": "perhaps"}, ".outcomeUnknown"),
]


async def test_invalid_argument_of_lease_or_report_is_rejected_by_name(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    for name, arguments, argument in INVALID_ARGUMENTS:
        error = await publisher.expect_error(name, leaseToken=token, **arguments)
        assert error[:2] == ("VALIDATION_ERROR", f"input{argument}"), arguments
