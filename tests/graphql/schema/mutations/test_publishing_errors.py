"""Errors of the publishing protocol: code, argument, and no effect."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.api_keys import Scope
from app.domain.ids import WorkspaceId
from app.domain.leases import LeaseCodec, LeaseKind
from tests.factories import NOW, add_workspace, unknown
from tests.graphql.schema.mutations.publisher_client import (
    SECOND,
    URL,
    PublisherClient,
    seconds_after_now,
)

TEN_YEARS = 315_360_000
FAILED = {"category": "PERMANENT", "message": "No."}


@pytest.mark.parametrize("name", ["claimDestinations", "claimVerifications"])
@pytest.mark.parametrize(
    ("arguments", "argument", "message"),
    [
        ({"limit": 0}, "limit", "limit must be from 1 to 100; it is 0."),
        ({"limit": 10_000}, "limit", "limit must be from 1 to 100; it is 10,000."),
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
            {"platforms": ["Instagram"]},
            "platforms[0]",
            "platforms[0] must be a word of lower-case letters, digits, _ and -, such as instagram.",
        ),
    ],
)
async def test_claim_with_invalid_arguments_is_rejected(
    publisher: PublisherClient, name: str, arguments: dict[str, Any], argument: str, message: str
) -> None:
    await publisher.add_post()
    await publisher.add_post(unknown(due_at=NOW - 3600 * SECOND))

    assert await publisher.expect_error(name, **arguments) == (
        "VALIDATION_ERROR",
        f"input.{argument}",
        message,
    )


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
async def test_forged_lease_token_is_rejected(publisher: PublisherClient, name: str) -> None:
    await publisher.add_post()
    token = await publisher.start_token()
    kind = LeaseKind.VERIFICATION
    lease = LeaseCodec(bytes(32), LeaseKind.PUBLISHING).decode(token, "leaseToken")
    forged = LeaseCodec(b"another secret", LeaseKind.PUBLISHING).encode(lease)
    verification = LeaseCodec(bytes(32), kind).encode(lease)
    for invalid_token in (*TOKENS.values(), token + "=", token[:-1], forged, verification):
        error = await publisher.expect_error(name, leaseToken=invalid_token, **INVALID_CALLS[name])
        assert error[:2] == ("VALIDATION_ERROR", "input.leaseToken"), invalid_token


@pytest.mark.parametrize("name", INVALID_CALLS)
async def test_missing_lease_token_is_rejected(publisher: PublisherClient, name: str) -> None:
    code, argument, _ = await publisher.expect_error(name, **INVALID_CALLS[name])

    assert (code, argument) == ("VALIDATION_ERROR", "input")


@pytest.mark.parametrize("name", INVALID_CALLS)
async def test_lease_of_another_workspace_is_lost(publisher: PublisherClient, name: str) -> None:
    await publisher.add_post()
    other = await publisher.with_key(
        Scope.PUBLISH, workspace=await add_workspace(publisher.database)
    )
    token = await publisher.start_token()
    codec = LeaseCodec(bytes(32), LeaseKind.PUBLISHING)
    lease = codec.decode(token, "leaseToken")
    nonexistent = replace(lease, workspace_id=WorkspaceId(other.workspace))
    for foreign in (token, codec.encode(nonexistent)):
        error = await other.expect_error(name, leaseToken=foreign, **INVALID_CALLS[name])
        assert error[:2] == ("LEASE_LOST", None)


INVALID_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("reportPublished", {}, ".platformPostUrl"),
    ("reportPublished", {"platformPostUrl": "javascript:alert(1)"}, ".platformPostUrl"),
    ("reportPublished", {"platformPostId": "x" * 501}, ".platformPostId"),
    (
        "reportPublished",
        {"platformPostUrl": URL, "publishedAt": seconds_after_now(301)},
        ".publishedAt",
    ),
    ("reportPublished", {"platformPostUrl": URL, "publishedAt": "yesterday"}, ".publishedAt"),
    ("reportFailed", {"message": "No."}, ""),
    ("reportFailed", {"category": "PERMANENT"}, ""),
    ("reportFailed", {"category": "BAD", "message": "No."}, ".category"),
    ("reportFailed", FAILED | {"message": " \n"}, ".message"),
    ("reportFailed", FAILED | {"code": ""}, ".code"),
    ("reportFailed", FAILED | {"httpStatus": 99}, ".httpStatus"),
    ("reportFailed", FAILED | {"retryAfterSeconds": -1}, ".retryAfterSeconds"),
    ("reportFailed", FAILED | {"retryAfterSeconds": 2**31}, ".retryAfterSeconds"),
    ("reportFailed", FAILED | {"outcomeUnknown": "perhaps"}, ".outcomeUnknown"),
    ("startAttempt", {"worker": "w" * 201}, ".worker"),
    ("extendLease", {"leaseSeconds": 0}, ".leaseSeconds"),
]


@pytest.mark.parametrize(("name", "arguments", "argument"), INVALID_ARGUMENTS)
async def test_invalid_argument_of_lease_or_report_is_rejected_by_name(
    publisher: PublisherClient, name: str, arguments: dict[str, Any], argument: str
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()

    code, field, _ = await publisher.expect_error(name, leaseToken=token, **arguments)

    assert (code, field) == ("VALIDATION_ERROR", f"input{argument}")
