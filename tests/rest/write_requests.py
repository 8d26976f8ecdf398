"""Helpers for writing requests: they unwrap the envelope and check that a refusal changes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from app.rest.operations import JsonObject
from tests.clients import Tenant
from tests.db.all_tables import broken_rules, dump_rows
from tests.rest.envelope import check_envelope, failure_error

SOON = "2026-04-15T16:00:00.000Z"
LATER = "2026-04-16T09:00:00.000Z"
PAST = "2026-04-15T14:59:59.999Z"

NOT_FUTURE_MESSAGE = "The time is not in the future."
EMPTY_POST_MESSAGE = "The post is empty: it needs content, media, or content for a platform."
TOO_LONG_WARNING = {
    "account_id": 1,
    "platform": "bluesky",
    "code": "TEXT_TOO_LONG",
    "message": "The text has 301 characters; Bluesky allows 300. Shorten the text by 1.",
}
"""Warning of a text of 301 characters, whose account differs."""


async def expect_success(
    tenant: Tenant,
    method: str,
    path: str,
    body: object = None,
    *,
    status: int = 200,
    **headers: str,
) -> Any:
    """The data of a request that must succeed with this status and break no rule."""
    before = await broken_rules(tenant.database)
    data = uncached_data(await send_json(tenant, method, path, body, **headers), status)
    assert await broken_rules(tenant.database) == before
    return data


async def create_post(tenant: Tenant, body: object, **headers: str) -> Any:
    """The data of a post that must be created."""
    return await expect_success(tenant, "POST", "/v1/posts", body, status=201, **headers)


async def expect_write_refusal(
    tenant: Tenant, method: str, path: str, body: object = None, *, status: int, **headers: str
) -> JsonObject:
    """The error of a request that must fail with this status and change nothing."""
    before = await dump_rows(tenant.database)
    error = failure_error(await send_json(tenant, method, path, body, **headers), status)
    assert await dump_rows(tenant.database) == before
    return error


async def send_json(
    tenant: Tenant, method: str, path: str, body: object = None, **headers: str
) -> httpx.Response:
    """Send a JSON body, or none; `_` in the name of a header stands for `-`."""
    dashed = {name.replace("_", "-"): value for name, value in headers.items()}
    options = {} if body is None else {"json": body}
    return await tenant.client.request(method, path, headers=dashed, **options)


def uncached_data(response: httpx.Response, status: int) -> Any:
    """The data of a write, whose response must not be cacheable."""
    body = check_envelope(response)
    assert response.status_code == status, body
    assert body["error"] is None
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    return body["data"]


def non_retryable_error(
    code: str, field: str | None, message: str, detail: str | None = None
) -> JsonObject:
    """An error that is not retryable; `detail` is the message without a prefixed field name."""
    details = {"validation_errors": [{"field": field, "message": detail or message}]}
    return {
        "message": message,
        "code": code,
        "retryable": False,
        "details": None if field is None else details,
    }


def field_error(code: str, field: str, message: str) -> JsonObject:
    """An error of a field, whose name is prefixed to a message that does not contain it."""
    full_message = message if field in message else f"{field}: {message}"
    return non_retryable_error(code, field, full_message, message)


def member_errors(
    code: str, table: Mapping[str, Mapping[str, Sequence[object]]]
) -> list[tuple[JsonObject, JsonObject]]:
    """Bodies with one invalid member, and their errors, from a table member → message → values."""
    return [
        ({member: value}, field_error(code, member, message))
        for member, messages in table.items()
        for message, values in messages.items()
        for value in values
    ]
