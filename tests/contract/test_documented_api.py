"""The documented REST API: its example response, and the types that its npm client declares.

The documented example differs in two values: the status of the post, which follows from its results, and
`meta`, which is new in each response. Each result has three more keys than documented.

The npm client sends requests to /api/v1, treats a body with a non-null `error` as a failure, and returns
`data`.
"""

import re
from collections.abc import Iterator
from types import UnionType
from typing import Any

import orjson
import pytest

from app.rest.endpoints import PREFIXES
from tests.clients import Tenant
from tests.rest.envelope import check_envelope, success_data

POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
DOCUMENTED_RESPONSE = """
{
  "data": {
    "post_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "post_status": "partially_failed",
    "results": [
      {
        "account_id": 2280,
        "account_name": "@mybrand",
        "platform": "instagram",
        "status": "published",
        "published_at": "2026-04-15T14:30:05.000Z",
        "platform_post_id": "17895432678901234",
        "platform_post_url": "https://www.instagram.com/p/ABC123/",
        "error": null,
        "attempts": 1,
        "next_retry_at": null,
        "id": "d1e2f3a4-b5c6-7890-abcd-ef1234567890",
        "social_account_id": 2280,
        "last_error": null
      },
      {
        "account_id": 2282,
        "account_name": "@mybrand",
        "platform": "x",
        "status": "published",
        "published_at": "2026-04-15T14:30:03.000Z",
        "platform_post_id": "1780123456789012345",
        "platform_post_url": "https://x.com/mybrand/status/1780123456789012345",
        "error": null,
        "attempts": 1,
        "next_retry_at": null,
        "id": "e2f3a4b5-c6d7-8901-abcd-ef1234567890",
        "social_account_id": 2282,
        "last_error": null
      },
      {
        "account_id": 2285,
        "account_name": "My Brand Inc.",
        "platform": "linkedin",
        "status": "failed",
        "published_at": null,
        "platform_post_id": null,
        "platform_post_url": null,
        "error": "Token expired. Please reconnect your LinkedIn account.",
        "attempts": 3,
        "next_retry_at": null,
        "id": "f3a4b5c6-d7e8-9012-abcd-ef1234567890",
        "social_account_id": 2285,
        "last_error": "Token expired. Please reconnect your LinkedIn account."
      }
    ]
  },
  "error": null,
  "meta": {
    "request_id": "a1b2c3d4",
    "timestamp": "2026-04-15T15:00:00.000Z"
  }
}
"""

TEXT_OR_NULL = str | None

RESULT_TYPE = {
    "id": str,
    "platform": str,
    "account_id": int,
    "account_name": TEXT_OR_NULL,
    "social_account_id": int,
    "status": str,
    "published_at": TEXT_OR_NULL,
    "platform_post_id": TEXT_OR_NULL,
    "platform_post_url": TEXT_OR_NULL,
    "error": TEXT_OR_NULL,
    "last_error": TEXT_OR_NULL,
    "attempts": int,
    "next_retry_at": TEXT_OR_NULL,
}
POST_TYPE = {
    "id": str,
    "content": str,
    "scheduled_for": TEXT_OR_NULL,
    "timezone": str,
    "post_status": str,
    "created_at": str,
    "updated_at": str,
    "destinations": [RESULT_TYPE],
}
ACCOUNT_TYPE = {
    "id": int,
    "platform": str,
    "account_name": str,
    "platform_user_id": str,
    "platform_username": str,
    "display_name": TEXT_OR_NULL,
    "avatar_url": TEXT_OR_NULL,
    "is_active": bool,
    "health": {"status": str, "can_post": bool, "message": TEXT_OR_NULL},
}
PAGINATION_TYPE = {"limit": int, "offset": int, "total": int}
USAGE_TYPE = {"used": int, "limit": int}

RESPONSE_TYPES: dict[str, Any] = {
    f"/api/v1/posts/{POST}/results": {"post_id": str, "post_status": str, "results": [RESULT_TYPE]},
    f"/api/v1/posts/{POST}": POST_TYPE,
    "/api/v1/posts?limit=100": {
        "posts": [POST_TYPE],
        "pagination": PAGINATION_TYPE | {"has_more": bool},
    }
    | PAGINATION_TYPE,
    "/api/v1/accounts": {"accounts": [ACCOUNT_TYPE], "account_ids": [int], "total": int},
    "/api/v1/accounts/2280": ACCOUNT_TYPE,
    "/api/v1/accounts/2285/health": {
        "account_id": int,
        "platform": str,
        "account_name": str,
        "platform_account_id": str,
        "status": str,
        "can_post": bool,
        "reasons": [str],
        "is_active": bool,
        "needs_reconnection": bool,
        "needs_reconnection_since": TEXT_OR_NULL,
        "token": {
            "expires_at": TEXT_OR_NULL,
            "last_refresh": TEXT_OR_NULL,
            "expired": bool,
            "expiring_soon": bool,
        },
        "activity": {
            "last_published_at": TEXT_OR_NULL,
            "failures_last_7d": int,
            "permanent_failures_last_7d": int,
            "queued_count": int,
        },
        "connected_at": str,
    },
    "/api/v1/me": {
        "api_key": {
            "id": str,
            "key_prefix": str,
            "name": str,
            "scopes": [str],
            "last_used_at": str,
            "created_at": str,
            "expires_at": TEXT_OR_NULL,
        },
        "scopes": [str],
        "user": {"id": int, "email": str, "name": str},
        "organization": {
            "id": str,
            "name": str,
            "subscription_plan": str,
            "subscription_status": str,
            "subscription_source": TEXT_OR_NULL,
            "trial_end": TEXT_OR_NULL,
            "current_period_end": TEXT_OR_NULL,
            "cancel_at_period_end": bool,
            "entitled": bool,
        },
        "workspace": {"id": str, "name": str},
        "quota": {
            "accounts": USAGE_TYPE,
            "ai_credits": USAGE_TYPE | {"bonus": int},
            "storage_bytes": USAGE_TYPE,
            "team_seats": {"limit": int},
        },
        "stats": {"posts_last_30d": int, "total_posts": int},
    },
    "/api/v1/analytics/summary": {
        "period": str,
        "range": {"from": TEXT_OR_NULL, "to": str},
        "posts": dict.fromkeys(
            (
                *("total", "draft", "scheduled", "publishing"),
                *("published", "partially_failed", "failed"),
            ),
            int,
        ),
        "by_platform": [
            {"platform": str, "total": int, "scheduled": int, "published": int, "failed": int}
        ],
        "metrics": dict.fromkeys(
            ("views", "likes", "comments", "shares", "impressions", "clicks"), int
        ),
        "ai_credits": {"used_this_period": int, "bonus": int},
    },
}

_TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_TIME_FIELD_PATTERN = re.compile(r"_at$|_for$|_since$|^last_refresh$|_end$|^from$|^to$")


def type_mismatches(value: Any, expected: Any, path: str = "data") -> Iterator[str]:
    """Paths of the values that do not have the declared type."""
    match expected:
        case dict():
            for name, inner in expected.items():
                if name in value:
                    yield from type_mismatches(value[name], inner, f"{path}.{name}")
                else:
                    yield f"{path}.{name} is missing"
        case [inner]:
            for index, item in enumerate(value):
                yield from type_mismatches(item, inner, f"{path}[{index}]")
        case type() | UnionType() if not isinstance(value, expected) or (
            isinstance(value, bool) and expected is int
        ):
            yield f"{path} is {value!r}"
        case _:
            pass


def time_values(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of all values whose name is that of a time."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from time_values(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from time_values(inner, name)
    elif isinstance(value, str) and _TIME_FIELD_PATTERN.search(name):
        yield name, value


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_example_response_equals_the_documentation_byte_for_byte(
    demo_tenant: Tenant, prefix: str
) -> None:
    response = await demo_tenant.client.get(f"{prefix}/posts/{POST}/results")
    expected = orjson.loads(DOCUMENTED_RESPONSE)
    expected["meta"] = check_envelope(response)["meta"]
    assert response.content == orjson.dumps(expected)
    assert "Retry-After" not in response.headers


async def test_every_response_has_the_declared_types_and_times_in_utc_milliseconds(
    demo_tenant: Tenant,
) -> None:
    for path, expected in RESPONSE_TYPES.items():
        data = success_data(await demo_tenant.client.get(path))
        assert list(type_mismatches(data, expected)) == []
        times = [text for _, text in time_values(data)]
        assert [text for text in times if not _TIME_PATTERN.fullmatch(text)] == []


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_pagination_returns_every_post_once(demo_tenant: Tenant, prefix: str) -> None:
    post_ids: list[str] = []
    page: dict[str, Any] = {"pagination": {"has_more": True}}
    while page["pagination"]["has_more"]:
        page = success_data(
            await demo_tenant.client.get(f"{prefix}/posts?limit=100&offset={len(post_ids)}")
        )
        post_ids += [post["post_id"] for post in page["posts"]]
    assert len(post_ids) == len(set(post_ids)) == page["total"]
    assert page["total"] > 200
