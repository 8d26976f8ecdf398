"""Error catalog and preview of retry schedules."""

import pytest

from app.domain.diagnosis import ADVICE
from app.domain.errors import concrete_errors
from tests.clients import Tenant

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


def test_catalog_codes_are_unique() -> None:
    codes = [entry["code"] for entry in REQUEST + PUBLISHING]
    assert len(codes) == len(set(codes))


PREVIEW = """
query(
  $platform: String!, $category: ErrorCategory!, $retryAfterSeconds: Int, $notSent: Boolean = false
) {
  previewRetrySchedule(
    platform: $platform
    category: $category
    retryAfterSeconds: $retryAfterSeconds
    notSent: $notSent
  ) {
    retries maxAttempts givesUpAfterSeconds continues
    waits { afterAttempt earliestSeconds latestSeconds }
  }
}
"""


@pytest.mark.parametrize(
    ("category", "expected", "waits"),
    [
        ("TRANSIENT", (True, 5, 24 * 60 * 60, False), [(15, 30), (30, 60), (60, 120), (120, 240)]),
        ("RATE_LIMITED", (True, None, 72 * 60 * 60, True), [*[(2000, 2000)] * 7, (2000, 3600)]),
        ("AUTH", (False, 1, None, False), []),
    ],
)
async def test_preview_shows_retry_schedule_of_category(
    acme: Tenant, category: str, expected: tuple[object, ...], waits: list[tuple[int, int]]
) -> None:
    data = await acme.client.query(PREVIEW, platform="x", category=category, retryAfterSeconds=2000)
    names = ("retries", "maxAttempts", "givesUpAfterSeconds", "continues")
    assert data["previewRetrySchedule"] == {
        **dict(zip(names, expected, strict=True)),
        "waits": [
            {"afterAttempt": number, "earliestSeconds": earliest, "latestSeconds": latest}
            for number, (earliest, latest) in enumerate(waits, start=1)
        ],
    }


async def test_preview_shows_retry_schedule_of_failures_before_sending(acme: Tenant) -> None:
    data = await acme.client.query(PREVIEW, platform="x", category="TRANSIENT", notSent=True)
    preview = data["previewRetrySchedule"]
    names = ("retries", "maxAttempts", "givesUpAfterSeconds", "continues")
    assert [preview[name] for name in names] == [True, None, 24 * 60 * 60, True]
    assert [wait["latestSeconds"] for wait in preview["waits"]] == [
        *(30 * 2**index for index in range(7)),
        3600,
    ]


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
    assert await acme.client.expect_error(PREVIEW, **right, notSent=True) == (
        "VALIDATION_ERROR",
        "notSent",
        "notSent is only allowed with TRANSIENT, RATE_LIMITED, UNCLASSIFIED. Failures of the category AUTH"
        " are not retried automatically.",
    )
    longest = {"platform": "x", "category": "RATE_LIMITED", "retryAfterSeconds": 2**31 - 1}
    data = await acme.client.query(PREVIEW, **longest)
    assert data["previewRetrySchedule"]["retries"] is True
