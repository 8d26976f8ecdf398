"""Exports over HTTP: headers, formats, parameters, limits, and streams that cannot be completed."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Message

from app.asgi import DEFAULT_CONNECTION_TIMEOUTS
from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import InvalidInput
from app.domain.ids import WorkspaceId
from app.graphql.schema.inputs import DestinationFilterInput
from app.graphql.service import ConnectionTimeouts
from app.http.request import ABORT
from app.observability.logs import configure_logging
from app.rest.endpoints import PREFIXES
from app.rest.exports import FILTERS, read_filter
from app.services.api_keys import revoke_key
from app.services.exports import COLUMNS
from app.settings import read_settings
from tests.claim_benchmark import copy_post
from tests.clients import Client, Tenant, app_lifespan, client_for, run_with_database
from tests.db.core.test_database import only_on_postgresql
from tests.domain.errors import TIME_MESSAGE
from tests.factories import (
    NOW,
    AddedKey,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
    published,
)
from tests.graphql.transport.asgi_connection import ASGIConnection
from tests.graphql.transport.test_untimed_requests import request_counts
from tests.observability.conftest import log_lines, restore_logging  # noqa: F401 - for all tests
from tests.raw_statements import run_raw
from tests.rest.envelope import failure_error
from tests.rest.write_requests import non_retryable_error
from tests.servers import ServerStarter

PATH = "/v1/destinations.ndjson"
PATHS = [f"{prefix}/destinations.{name}" for prefix in PREFIXES for name in ("csv", "ndjson")]
STALL_TIMEOUT = timedelta(seconds=2)


async def add_batches(database: Database, workspace: WorkspaceId) -> None:
    """Add 1,200 destinations."""
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: failed()})
    await database.write_all_workspaces(lambda session: copy_post(session, post.id, 1199))


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


# Slots


async def test_workspace_has_half_of_the_slots_and_the_others_are_for_other_workspaces(
    database: Database,
) -> None:
    async with open_export(database, settings={"MAX_EXPORTS": "2"}) as export:
        await export.wait_started()
        second = await export.start_another(export.workspace)
        other = await export.start_another(await add_workspace(database))
        assert await other.wait_started() == 200
        assert second.has_no_messages()

        assert await export.read_rest() == (1200, True)
        assert await second.wait_started() == 200
        assert await second.read_rest() == (1200, True)
        assert await other.read_rest() == (0, True)


async def test_waiting_exports_start_round_robin_by_workspace(database: Database) -> None:
    async with open_export(database, settings={"MAX_EXPORTS": "1"}) as export:
        await export.wait_started()
        same = [await export.start_another(export.workspace) for _ in range(2)]
        other = await export.start_another(await add_workspace(database))

        assert await export.read_rest() == (1200, True)
        assert await same[0].wait_started() == 200
        assert await same[0].read_rest() == (1200, True)
        assert await other.wait_started() == 200
        assert same[1].has_no_messages()
        assert await other.read_rest() == (0, True)
        assert await same[1].read_rest() == (1200, True)


async def test_export_without_a_slot_in_time_is_refused(database: Database) -> None:
    timeouts = replace(DEFAULT_CONNECTION_TIMEOUTS, export_slot_timeout=timedelta(seconds=0.2))
    async with open_export(database, timeouts=timeouts) as export:
        await export.wait_started()
        response = await export.client.get(PATH)
        head = await export.client.request("HEAD", PATH)
        await export.read_rest()
        await expect_next_export(export)

    error = failure_error(response, 429)
    assert (error["code"], error["message"]) == (
        "rate_limit_exceeded",
        "Other exports are running, and none of them has ended within 0.2 s. Wait for those of this"
        " workspace, or try again in 5 s.",
    )
    assert response.headers["Retry-After"] == "5"
    assert head.status_code == 200


async def test_waiting_export_whose_client_disconnects_leaves_the_queue(database: Database) -> None:
    async with open_export(database) as export:
        await export.wait_started()
        second = await export.start_another(export.workspace)
        second.disconnect()
        await second.wait_finished()
        await export.read_rest()
        await expect_next_export(export)

    assert second.has_no_messages()


QUICKLY_SLOW = replace(DEFAULT_CONNECTION_TIMEOUTS, slow_export_period=timedelta(seconds=0.5))
"""Timeouts with which a client that reads nothing is slow after half a second."""


async def test_slow_client_loses_its_slot_to_another_workspace(database: Database) -> None:
    async with open_export(
        database, settings={"MAX_EXPORTS": "1"}, timeouts=QUICKLY_SLOW
    ) as export:
        await export.wait_started()
        assert await export.read_part() > 0
        other = await export.start_another(await add_workspace(database))
        assert await other.wait_started() == 200
        assert await other.read_rest() == (0, True)

        await export.wait_finished()
        assert export.is_aborted
        assert await export.read_rest() == (0, False)


async def test_slow_client_keeps_its_slot_if_only_its_own_workspace_waits(
    database: Database,
) -> None:
    async with open_export(database, timeouts=QUICKLY_SLOW) as export:
        await export.wait_started()
        same = await export.start_another(export.workspace)
        rows = await export.read_part()
        await asyncio.sleep(1.2)
        rest, has_end = await export.read_rest()
        assert (rows + rest, has_end) == (1200, True)
        assert await same.read_rest() == (1200, True)


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


# Incomplete exports


class ExportConnection(ASGIConnection):
    """Client that reads one message of an export at a time, with a client for other requests."""

    def __init__(
        self,
        database: Database,
        app: ASGIApp,
        client: Client,
        workspace: WorkspaceId,
        key: AddedKey,
    ) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {key.token}".encode())],
            "state": {ABORT: self.abort},
        }
        super().__init__(app, scope, [{"type": "http.request", "body": b"", "more_body": False}])
        self.stop_reading()
        self.database = database
        self.app = app
        self.client = client
        self.workspace = workspace
        self.key = key
        self.is_aborted = False
        self.received_bytes = 0
        self._reads_all = False

    async def start_another(self, workspace: WorkspaceId) -> "ExportConnection":
        """Start an export of a workspace on another connection, and wait until it runs or waits."""
        key = await add_api_key(self.database, workspace)
        another = ExportConnection(self.database, self.app, self.client, workspace, key)
        await asyncio.sleep(0.1)
        return another

    def abort(self) -> None:
        self.is_aborted = True
        self.disconnect()

    def disconnect(self) -> None:
        self.to_app.put_nowait({"type": "http.disconnect"})

    def on_message(self, message: Message) -> None:
        self.received_bytes += len(message.get("body", b""))
        if not self._reads_all:
            self.stop_reading()

    async def wait_started(self) -> int:
        """Wait for the start of the response, and return its status."""
        status: int = (await self.next_asgi_message())["status"]
        return status

    async def read_part(self) -> int:
        """Read the next part of the body, and return its number of rows."""
        self._can_read.set()
        body: bytes = (await self.next_asgi_message())["body"]
        return body.count(b"\n")

    async def read_rest(self) -> tuple[int, bool]:
        """Read until the app has returned; return the number of rows, and whether the body has an end."""
        self._reads_all = True
        self._can_read.set()
        await self.wait_finished()
        rows, has_end = 0, False
        while not self.has_no_messages():
            message = await self.next_asgi_message()
            rows += message.get("body", b"").count(b"\n")
            has_end = not message.get("more_body", True)
        return rows, has_end


@asynccontextmanager
async def open_export(
    database: Database,
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    timeouts: ConnectionTimeouts = DEFAULT_CONNECTION_TIMEOUTS,
    statement: str | None = None,
) -> AsyncIterator[ExportConnection]:
    """Start an export of 1,200 destinations, in batches of 500, after a statement that changes some."""
    workspace = await add_workspace(database)
    await add_batches(database, workspace)
    if statement is not None:
        await database.write_all_workspaces(lambda session: run_raw(session, text(statement)))
    key = await add_api_key(database, workspace)
    async with (
        app_lifespan(
            database,
            settings=read_settings({"RATE_LIMIT": "off", **settings}),
            connection_timeouts=timeouts,
        ) as app,
        client_for(app, token=key.token) as client,
    ):
        connection = ExportConnection(database, app, client, workspace, key)
        try:
            yield connection
        finally:
            await connection.close()


async def expect_next_export(export: ExportConnection) -> None:
    """Check that the key may export again."""
    response = await export.client.get(PATH)
    assert (response.status_code, response.text.count("\n")) == (200, 1200)


async def test_client_that_does_not_read_is_disconnected(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    timeouts = replace(DEFAULT_CONNECTION_TIMEOUTS, export_stall_timeout=STALL_TIMEOUT)
    async with open_export(database, timeouts=timeouts) as export:
        assert await export.wait_started() == 200
        assert await export.read_part() > 0
        await export.wait_finished()
        assert export.is_aborted
        assert await export.read_rest() == (0, False)
        await expect_next_export(export)

    timed_out, finished, _ = [
        line
        for line in log_lines(capsys)
        if line["event"] in ("export timed out", "request finished")
    ]
    assert timed_out["request_id"] == finished["request_id"]
    assert (finished["status"], finished["errors"]) == (200, ["service_unavailable"])


async def test_client_that_reads_slowly_gets_all_rows(database: Database) -> None:
    timeouts = replace(DEFAULT_CONNECTION_TIMEOUTS, export_stall_timeout=STALL_TIMEOUT)
    async with open_export(database, timeouts=timeouts) as export:
        assert await export.wait_started() == 200
        rows = 0
        while rows < 1000:
            await asyncio.sleep(0.8)
            rows += await export.read_part()
        rest, has_end = await export.read_rest()
        assert (rows + rest, has_end) == (1200, True)


@only_on_postgresql
async def test_database_without_progress_is_reported_in_the_envelope(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    timeouts = replace(DEFAULT_CONNECTION_TIMEOUTS, send_timeout=STALL_TIMEOUT)
    async with (
        app_lifespan(database, connection_timeouts=timeouts) as app,
        client_for(app, token=key.token) as client,
    ):
        async with database.write_engine.begin() as connection:
            await connection.execute(text("LOCK TABLE destination IN ACCESS EXCLUSIVE MODE"))
            response = await client.get(PATH)
        assert (await client.get(PATH)).status_code == 200

    error = failure_error(response, 503)
    assert error["message"] == "The export took too long. Try again, or select fewer destinations."
    assert response.headers["Retry-After"] == "5"


async def test_export_breaks_off_after_its_timeout(database: Database) -> None:
    async with open_export(database, settings={"EXPORT_TIMEOUT": "3"}) as export:
        assert await export.wait_started() == 200
        assert await export.read_part() > 0
        await export.wait_finished()
        assert export.is_aborted
        assert await export.read_rest() == (0, False)


async def test_revoked_key_ends_its_export(database: Database) -> None:
    timeouts = replace(DEFAULT_CONNECTION_TIMEOUTS, key_recheck_interval=timedelta(0))
    async with open_export(database, timeouts=timeouts) as export:
        assert await export.wait_started() == 200
        await revoke_key(database, export.key.id, now=NOW)
        assert await export.read_rest() == (500, False)
        assert export.is_aborted


async def test_disconnect_ends_the_export(database: Database) -> None:
    async with open_export(database) as export:
        assert await export.wait_started() == 200
        assert await export.read_part() > 0
        export.disconnect()
        await export.wait_finished()
        await expect_next_export(export)


only_on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BREAK_LAST_ROW = (
    "UPDATE destination SET due_at = 'soon' WHERE id = (SELECT min(id) FROM destination)"
)
"""SQLite stores what is no time; no row can be read wrongly on PostgreSQL."""


@only_on_sqlite
async def test_failure_after_the_first_rows_breaks_the_connection(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    async with open_export(database, statement=BREAK_LAST_ROW) as export:
        assert await export.wait_started() == 200
        assert await export.read_rest() == (1000, False)
        assert export.is_aborted

    failure, finished = [
        line
        for line in log_lines(capsys)
        if line["event"] in ("request failed", "request finished")
    ]
    assert str(failure["exception"]).endswith("ValueError: Invalid isoformat string: 'soon'")
    assert (finished["status"], finished["errors"]) == (200, ["internal_error"])


@only_on_sqlite
async def test_failure_before_the_first_rows_has_the_envelope(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: failed()})
    await acme.database.write_all_workspaces(lambda session: run_raw(session, text(BREAK_LAST_ROW)))

    assert failure_error(await acme.client.get(PATH), 500)["code"] == "internal_error"


@only_on_sqlite
@pytest.mark.parametrize("path", PATHS[:2])
def test_http_client_notices_an_incomplete_export(
    start_server: ServerStarter, empty_database_url: str, path: str
) -> None:
    async def add_key(database: Database) -> str:
        workspace = await add_workspace(database)
        await add_batches(database, workspace)
        await database.write_all_workspaces(lambda session: run_raw(session, text(BREAK_LAST_ROW)))
        return (await add_api_key(database, workspace)).token

    server = start_server.ready()
    token = run_with_database(empty_database_url, add_key)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream("GET", server.url + path, headers=headers) as response:
        assert response.status_code == 200
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            response.read()
    server.stop()
