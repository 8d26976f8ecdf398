"""previewRetrySchedule: what the policy of a platform and a category comes to, told for people."""

from typing import Any

import pytest

from app.domain.api_keys import Scope
from tests.clients import Tenant
from tests.factories import add_api_key

DOCUMENT = """
query($platform: String!, $category: ErrorCategory!, $retryAfterSeconds: Int) {
  previewRetrySchedule(
    platform: $platform, category: $category, retryAfterSeconds: $retryAfterSeconds
  ) {
    retries maxAttempts givesUpAfterSeconds continues
    waits { afterAttempt earliestSeconds latestSeconds }
  }
}
"""


async def preview(acme: Tenant, category: str, **arguments: Any) -> dict[str, Any]:
    data = await acme.client.query(DOCUMENT, platform="x", category=category, **arguments)
    return dict(data["previewRetrySchedule"])


@pytest.mark.parametrize("category", ["TRANSIENT", "UNCLASSIFIED"])
async def test_a_passing_fault_is_retried_with_growing_waits(acme: Tenant, category: str) -> None:
    assert await preview(acme, category, retryAfterSeconds=600) == {
        "retries": True,
        "maxAttempts": 5,
        "givesUpAfterSeconds": 24 * 60 * 60,
        "continues": False,
        "waits": [
            {"afterAttempt": number, "earliestSeconds": 0, "latestSeconds": longest}
            for number, longest in enumerate((30, 60, 120, 240), start=1)
        ],
    }


async def test_a_rate_limit_is_retried_when_the_platform_allows(acme: Tenant) -> None:
    assert await preview(acme, "RATE_LIMITED", retryAfterSeconds=2000) == {
        "retries": True,
        "maxAttempts": None,
        "givesUpAfterSeconds": 72 * 60 * 60,
        "continues": True,
        "waits": [
            {"afterAttempt": number, "earliestSeconds": 2000, "latestSeconds": longest}
            for number, longest in enumerate((*[2000] * 7, 3600), start=1)
        ],
    }


@pytest.mark.parametrize("category", ["AUTH", "CONTENT_REJECTED", "PERMANENT"])
async def test_what_is_final_at_once_is_not_retried(acme: Tenant, category: str) -> None:
    assert await preview(acme, category) == {
        "retries": False,
        "maxAttempts": 1,
        "givesUpAfterSeconds": None,
        "continues": False,
        "waits": [],
    }


async def test_a_wrong_argument_is_named(acme: Tenant) -> None:
    right = {"platform": "x", "category": "AUTH"}
    assert await acme.client.expect_error(DOCUMENT, **right | {"platform": "a\0b"}) == (
        "VALIDATION_ERROR",
        "platform",
        "platform must not contain a NUL character.",
    )
    assert await acme.client.expect_error(DOCUMENT, **right, retryAfterSeconds=-1) == (
        "VALIDATION_ERROR",
        "retryAfterSeconds",
        "retryAfterSeconds must not be negative; it is -1.",
    )
    assert (await preview(acme, "RATE_LIMITED", retryAfterSeconds=2**31 - 1))["retries"] is True


async def test_it_needs_the_scope_to_read(acme: Tenant) -> None:
    writer = await add_api_key(acme.database, acme.workspace, scopes=[Scope.WRITE])
    client = acme.client.with_token(writer.token)
    assert await client.expect_error(DOCUMENT, platform="x", category="AUTH") == (
        "INSUFFICIENT_SCOPE",
        None,
        "This needs an API key with the scope read.",
    )
