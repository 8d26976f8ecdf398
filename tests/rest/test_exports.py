"""Exports over HTTP: headers, formats, parameters, and the end line."""

import asyncio
import csv
import io
import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from starlette.datastructures import QueryParams

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import InvalidInput
from app.graphql.schema.inputs import DestinationFilterInput
from app.observability.logs import configure_logging
from app.rest.exports import FILTERS, read_filter
from app.services.exports import COLUMNS
from tests.clients import Tenant
from tests.domain.errors import TIME_MESSAGE
from tests.factories import (
    add_account,
    add_api_key,
    add_post,
    failed,
    published,
)
from tests.graphql.transport.test_untimed_requests import request_counts
from tests.observability.conftest import log_lines, restore_logging  # noqa: F401 - for all tests
from tests.rest.envelope import failure_error
from tests.rest.export_connection import PATH, PATHS, add_batches, open_export
from tests.rest.write_requests import non_retryable_error

# Complete exports


@pytest.mark.parametrize("path", PATHS)
async def test_export_is_a_file_that_is_not_cached(acme: Tenant, path: str) -> None:
    account = await add_account(acme.database, acme.workspace, id=7)
    post = await add_post(acme.database, acme.workspace, {account: published()})
    response = await acme.client.get(path, headers={"Accept-Encoding": "identity"})

    name = path.rpartition("/")[2]
    assert response.status_code == 200
    assert response.headers["Content-Type"] == (
        "text/csv; charset=utf-8; header=present"
        if name.endswith("csv")
        else "application/x-ndjson"
    )
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "X-RateLimit-Remaining" in response.headers
    assert {"ETag", "Content-Length", "Content-Encoding"}.isdisjoint(response.headers)
    (row,) = (
        csv.DictReader(io.StringIO(response.text, newline=""))
        if name.endswith("csv")
        else map(json.loads, response.text.splitlines())
    )
    assert tuple(row) == COLUMNS
    assert (row["post_id"], str(row["account_id"])) == (str(post.id), "7")


@pytest.mark.parametrize("path", PATHS)
async def test_head_has_the_headers_of_get(acme: Tenant, path: str) -> None:
    get, head = [await acme.client.request(method, path) for method in ("GET", "HEAD")]
    changing = ("date", "x-request-id")
    assert (head.status_code, head.content) == (200, b"")
    assert {name: value for name, value in head.headers.items() if name not in changing} == {
        name: value for name, value in get.headers.items() if name not in changing
    }


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, br", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None)],
)
async def test_export_is_compressed_if_the_client_accepts_it(
    acme: Tenant, accepted: str, encoding: str | None
) -> None:
    response = await acme.client.get("/v1/destinations.csv", headers={"Accept-Encoding": accepted})
    assert response.headers.get("Content-Encoding") == encoding
    assert response.text == ",".join(COLUMNS) + "\r\n"


async def test_export_has_the_rows_that_the_parameters_select(acme: Tenant) -> None:
    accounts = [await add_account(acme.database, acme.workspace) for _ in range(2)]
    for account in accounts:
        await add_post(acme.database, acme.workspace, {account: failed()})
        await add_post(acme.database, acme.workspace, {account: published()})

    response = await acme.client.get(f"{PATH}?status=failed&account_id={accounts[1]}")

    (row,) = map(json.loads, response.text.splitlines())
    assert (row["status"], row["account_id"]) == ("failed", accounts[1])


async def test_request_timeout_does_not_apply_and_bytes_are_logged(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    async with open_export(database, settings={"REQUEST_TIMEOUT": "0.1"}) as export:
        assert await export.wait_started() == 200
        await asyncio.sleep(0.3)
        assert await export.read_rest() == (1200, True)
        assert not export.is_aborted

    (line,) = [line for line in log_lines(capsys) if line["event"] == "request finished"]
    assert (line["path"], line["status"]) == (PATH, 200)
    assert line["bytes"] == export.received_bytes
    assert "errors" not in line


async def test_export_is_counted_but_not_timed(acme: Tenant) -> None:
    await acme.client.get(PATH)
    assert await request_counts(acme.client, PATH) == (1, 0)


# Parameters


def test_every_parameter_sets_its_filter() -> None:
    post = UUID(int=7)
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    times = {"after": ("2026-01-01", start), "before": ("2026-01-02T01:00:00+01:00", end)}
    parameters: dict[str, tuple[str, Any]] = {
        "destination_id": (str(post), [post]),
        "status": ("failed,queued", [DestinationStatus.FAILED, DestinationStatus.QUEUED]),
        "platform": ("x, instagram", ["x", "instagram"]),
        "account_id": ("7", [7]),
        "post_id": (str(post).upper(), [post]),
        "platform_post_url": ("https://a.example/b", ["https://a.example/b"]),
        "error_category": ("auth", [ErrorCategory.AUTH]),
        "error_code": ("TIMEOUT", ["TIMEOUT"]),
        "outcome": ("unknown", [Outcome.UNKNOWN]),
        "failure_group": (f"1-{32 * '0'}", [f"1-{32 * '0'}"]),
        "source": ("user,platform", [ErrorSource.USER, ErrorSource.PLATFORM]),
        "next_action": ("wait", [NextAction.WAIT]),
        "max_attempts": ("3", 3),
        "overdue": ("false", False),
        "late_by_seconds": ("60", 60),
        "retrying": ("true", True),
        "duplicated": ("true", True),
        "invalid_content": ("true", True),
        "media_warning": ("true", True),
        "cancelled": ("false", False),
        "draft": ("true", True),
        "imported": ("false", False),
        "awaits_outcome": ("true", True),
        "search": ("sale, 50 %", "sale, 50 %"),
        "reference": ("a,b", "a,b"),
        **{
            f"{event}_{side}": value
            for event in ("failed", "scheduled", "published", "next_retry", "settled", "updated")
            for side, value in times.items()
        },
    }
    query = QueryParams({name: text for name, (text, _) in parameters.items()})

    assert read_filter(query) == DestinationFilterInput(
        **{name: value for name, (_, value) in parameters.items()}
    )
    assert FILTERS.keys() == {field.name for field in fields(DestinationFilterInput)}
    assert FILTERS.keys() == parameters.keys()
    assert read_filter(QueryParams(dict.fromkeys(FILTERS, ""))) == DestinationFilterInput()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "status",
            "done",
            "status must be one of queued, publishing, published, failed; it is 'done'.",
        ),
        (
            "outcome",
            "FAILED",
            "outcome must be one of none, published, failed, unknown; it is 'FAILED'.",
        ),
        ("overdue", "yes", "overdue must be one of true, false; it is 'yes'."),
        (
            "max_attempts",
            "-1",
            "max_attempts must be a whole number from 0 to 999,999,999; it is '-1'.",
        ),
        ("error_code", "\0", "error_code must not contain a NUL character."),
        *((name, "soon", TIME_MESSAGE) for name in FILTERS if name.endswith(("after", "before"))),
    ],
)
def test_bad_value_is_refused_by_its_name(name: str, value: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_filter(QueryParams({name: value}))
    assert caught.value.argument == name
    assert caught.value.message in (message, message.removeprefix(f"{name} "))


async def test_bad_value_is_reported_in_the_envelope(acme: Tenant) -> None:
    response = await acme.client.get(f"{PATH}?overdue=1")
    assert failure_error(response, 400) == non_retryable_error(
        "validation_error", "overdue", "overdue must be one of true, false; it is '1'."
    )


# Permissions and limits


@pytest.mark.parametrize("path", PATHS)
async def test_export_requires_a_key_with_the_scope_read(acme: Tenant, path: str) -> None:
    assert failure_error(await acme.client.with_token(None).get(path), 401)
    scopes = [scope for scope in Scope if scope is not Scope.READ]
    key = await add_api_key(acme.database, acme.workspace, scopes=scopes)
    for method in ("GET", "HEAD"):
        response = await acme.client.with_token(key.token).request(method, path)
        assert response.status_code == 403
    error = failure_error(await acme.client.with_token(key.token).get(path), 403)
    assert error["message"] == "This needs an API key with the scope read."


@pytest.mark.parametrize("path", PATHS)
async def test_export_allows_only_get_and_head(acme: Tenant, path: str) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        response = await acme.client.request(method, path)
        assert response.headers["Allow"] == "GET, HEAD"
        assert failure_error(response, 405)["code"] == "method_not_allowed"


# End line


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_end_line_has_the_number_of_rows(acme: Tenant, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    empty = await acme.client.get(f"{PATH}?end=true", headers=headers)
    await add_batches(acme.database, acme.workspace)
    *rows, end = (await acme.client.get(f"{PATH}?end=true", headers=headers)).text.splitlines()
    without = await acme.client.get(f"{PATH}?end=false", headers=headers)

    assert empty.text == '{"end":true,"count":0}\n'
    assert end == '{"end":true,"count":1200}'
    assert rows == without.text.splitlines()
    assert len(rows) == 1200


async def test_end_line_is_refused_for_csv(acme: Tenant) -> None:
    response = await acme.client.get("/v1/destinations.csv?end=true")
    assert failure_error(response, 400) == non_retryable_error(
        "validation_error",
        "end",
        "end can be true only for NDJSON, whose lines may differ: use destinations.ndjson.",
    )
    assert (await acme.client.get("/v1/destinations.csv?end=false")).status_code == 200


async def test_value_of_end_is_true_or_false(acme: Tenant) -> None:
    response = await acme.client.get(f"{PATH}?end=yes")
    assert failure_error(response, 400) == non_retryable_error(
        "validation_error", "end", "end must be one of true, false; it is 'yes'."
    )
