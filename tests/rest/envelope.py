"""REST responses: unwraps them, checks their envelope, and builds expected results."""

import json
from typing import Any

import httpx

from app.domain.times import format_instant
from tests.factories import NOW


def success_data(response: httpx.Response) -> Any:
    """The data of a response with status 200."""
    body = check_envelope(response)
    assert response.status_code == 200, body
    assert body["error"] is None
    return body["data"]


def failure_error(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a response with this status."""
    body = check_envelope(response)
    assert response.status_code == status, body
    assert body["data"] is None
    assert list(body["error"]) == ["message", "code", "retryable", "details"]
    assert body["error"]["retryable"] is (status == 429 or status >= 500)
    error: dict[str, Any] = body["error"]
    return error


def check_envelope(response: httpx.Response) -> dict[str, Any]:
    """Check what all envelopes have in common, and return the body."""
    assert response.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert list(body) == ["data", "error", "meta"]
    assert body["meta"] == {
        "request_id": response.headers["X-Request-Id"],
        "timestamp": format_instant(NOW),
    }
    return body


def result_data(
    account_id: int, destination_id: object, *, error: str | None = None, **values: object
) -> dict[str, object]:
    """The result of a destination in the documented order of keys, by default one without attempts."""
    return {
        "account_id": account_id,
        "account_name": "@acme",
        "platform": "instagram",
        "status": "queued",
        "published_at": None,
        "platform_post_id": None,
        "platform_post_url": None,
        "error": error,
        "attempts": 0,
        "next_retry_at": None,
        "id": str(destination_id),
        "social_account_id": account_id,
        "last_error": error,
    } | values


def ordered_json(value: object) -> str:
    """JSON text for comparisons in which the order of keys counts."""
    return json.dumps(value, indent=1)
