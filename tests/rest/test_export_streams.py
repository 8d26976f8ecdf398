"""Slots of exports, and streams that cannot be completed or whose clients read slowly."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from app.asgi import DEFAULT_CONNECTION_TIMEOUTS
from app.db.core.database import Database
from app.observability.logs import configure_logging
from app.services.api_keys import revoke_key
from tests.clients import Tenant, app_lifespan, client_for, run_with_database
from tests.db.core.test_database import only_on_postgresql
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
)
from tests.observability.conftest import log_lines, restore_logging  # noqa: F401 - for all tests
from tests.raw_statements import run_raw
from tests.rest.envelope import failure_error
from tests.rest.export_connection import (
    PATH,
    PATHS,
    ExportConnection,
    add_batches,
    open_export,
)
from tests.servers import ServerStarter

STALL_TIMEOUT = timedelta(seconds=2)


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


QUICKLY_SLOW = replace(DEFAULT_CONNECTION_TIMEOUTS, slow_client_period=timedelta(seconds=0.5))
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


# Incomplete exports


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
