"""Error catalog and preview of retry schedules."""

from typing import Any

import pytest

from app.db.core.database import Database
from app.domain.diagnosis import ADVICE
from app.domain.errors import concrete_errors
from tests.clients import Tenant, app_client
from tests.factories import add_api_key, add_workspace

CATALOG = """
query ($part: ErrorCatalogPart) {
  errorCatalog(part: $part) {
    code source retryable fix errorCode httpStatus category nextAction
  }
}
"""

REQUEST = [
    {
        "code": error.code.name,
        "source": "SYSTEM" if error.http_status in (500, 503) else "USER",
        "retryable": error.http_status in (429, 500, 503),
        "fix": error.fix,
        "errorCode": error.code.name,
        "httpStatus": error.http_status,
        "category": None,
        "nextAction": None,
    }
    for error in concrete_errors()
]
PUBLISHING = [
    {
        "code": advice.code,
        "source": advice.source.name,
        "retryable": advice.retryable,
        "fix": advice.fix,
        "errorCode": None,
        "httpStatus": None,
        "category": advice.category.name,
        "nextAction": advice.next_action.name,
    }
    for advice in ADVICE
]


@pytest.mark.parametrize(
    ("part", "entries"),
    [("REQUEST", REQUEST), ("PUBLISHING", PUBLISHING), (None, REQUEST + PUBLISHING)],
)
async def test_catalog_lists_every_error_of_domain(
    acme: Tenant, part: str | None, entries: list[dict[str, object]]
) -> None:
    assert await acme.client.query(CATALOG, part=part) == {"errorCatalog": entries}


async def test_catalog_codes_are_unique(acme: Tenant) -> None:
    data = await acme.client.query("{ errorCatalog { code } }")
    codes = [entry["code"] for entry in data["errorCatalog"]]
    assert len(codes) == len(set(codes)) == len(REQUEST) + len(PUBLISHING)


async def test_catalog_needs_key_without_scope(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database), scopes=[])
    async with app_client(database, token=key.token) as client:
        assert await client.query(CATALOG) == {"errorCatalog": REQUEST + PUBLISHING}


PREVIEW = """
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
    data = await acme.client.query(PREVIEW, platform="x", category=category, **arguments)
    return dict(data["previewRetrySchedule"])


@pytest.mark.parametrize("category", ["TRANSIENT", "UNCLASSIFIED"])
async def test_transient_failure_is_retried_with_growing_waits(acme: Tenant, category: str) -> None:
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


async def test_rate_limited_failure_is_retried_when_platform_allows(acme: Tenant) -> None:
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
async def test_final_failure_has_no_retries(acme: Tenant, category: str) -> None:
    assert await preview(acme, category) == {
        "retries": False,
        "maxAttempts": 1,
        "givesUpAfterSeconds": None,
        "continues": False,
        "waits": [],
    }


async def test_invalid_preview_argument_is_rejected_by_name(acme: Tenant) -> None:
    right = {"platform": "x", "category": "AUTH"}
    assert await acme.client.expect_error(PREVIEW, **right | {"platform": "a\0b"}) == (
        "VALIDATION_ERROR",
        "platform",
        "platform must not contain a NUL character.",
    )
    assert await acme.client.expect_error(PREVIEW, **right, retryAfterSeconds=-1) == (
        "VALIDATION_ERROR",
        "retryAfterSeconds",
        "retryAfterSeconds must not be negative; it is -1.",
    )
    assert (await preview(acme, "RATE_LIMITED", retryAfterSeconds=2**31 - 1))["retries"] is True
