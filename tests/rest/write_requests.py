"""Requests that change something: their answers out of the envelope, and that a refusal changes nothing."""

from typing import Any

import httpx

from app.db.tools.integrity import find_problems
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.rest.envelope import check_envelope, failure_error

SOON = "2026-04-15T16:00:00.000Z"
LATER = "2026-04-16T09:00:00.000Z"
PAST = "2026-04-15T14:59:59.999Z"


async def expect_success(
    tenant: Tenant,
    method: str,
    path: str,
    body: object = None,
    *,
    status: int = 200,
    **headers: str,
) -> Any:
    """The data of a request that must succeed with this status, and bring nothing out of order."""
    before = sorted(await find_problems(tenant.database))
    data = uncached_data(await send_json(tenant, method, path, body, **headers), status)
    assert sorted(await find_problems(tenant.database)) == before
    return data


async def expect_error(
    tenant: Tenant, method: str, path: str, body: object = None, *, status: int, **headers: str
) -> dict[str, Any]:
    """The error of a request that must fail with this status and change nothing."""
    before = await all_rows(tenant.database)
    error = failure_error(await send_json(tenant, method, path, body, **headers), status)
    assert await all_rows(tenant.database) == before
    return error


async def send_json(
    tenant: Tenant, method: str, path: str, body: object = None, **headers: str
) -> httpx.Response:
    """A JSON body, or none; `_` in the name of a header stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    options = {} if body is None else {"json": body}
    return await tenant.client.request(method, path, headers=named, **options)


def uncached_data(response: httpx.Response, status: int) -> Any:
    """The data of a change, which nobody may keep."""
    body = check_envelope(response)
    assert response.status_code == status, body
    assert body["error"] is None
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    return body["data"]


def non_retryable_error(
    code: str, field: str | None, message: str, detail: str | None = None
) -> dict[str, Any]:
    """An error that no repetition mends; `detail` is the message where that has no name before it."""
    details = {"validation_errors": [{"field": field, "message": detail or message}]}
    return {
        "message": message,
        "code": code,
        "retryable": False,
        "details": None if field is None else details,
    }
