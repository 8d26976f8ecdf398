"""Exports of destinations: content of both formats, filters, order, snapshot, memory and cleanup."""

import asyncio
import csv
import io
import json
import sqlite3
import zlib
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import String, cast, func, select, text, update

from app.db.core.database import Database
from app.db.core.paging import Direction, PageRequest
from app.db.core.row_streams import open_row_stream
from app.db.core.statements import Statement
from app.db.models import Destination
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import DestinationOrderField, destinations_page
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import ServiceUnavailable
from app.domain.failure_groups import failure_group
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId
from app.domain.times import format_instant
from app.services.exports import (
    COLUMNS,
    ExportChunk,
    ExportFormat,
    export_destinations,
)
from tests.claim_benchmark import copy_post
from tests.db.core.test_database import only_on_postgresql
from tests.db.repositories.many_posts import add_many_posts
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    draft,
    failed,
    published,
    started,
    unknown,
    waiting_for_retry,
)
from tests.raw_statements import run_raw

WORKSPACE = WorkspaceId(UUID(int=1))
FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"


def open_export(
    database: Database,
    workspace: WorkspaceId = WORKSPACE,
    export_format: ExportFormat = ExportFormat.NDJSON,
    *,
    use_gzip: bool = False,
    adds_end: bool = False,
    **filters: Any,
) -> AsyncGenerator[ExportChunk, None]:
    return export_destinations(
        database,
        workspace,
        DestinationCriteria(**filters),
        export_format=export_format,
        use_gzip=use_gzip,
        adds_end=adds_end,
        now=NOW,
    )


async def export(
    database: Database,
    workspace: WorkspaceId,
    export_format: ExportFormat,
    *,
    use_gzip: bool = False,
    **filters: Any,
) -> list[ExportChunk]:
    chunks = open_export(database, workspace, export_format, use_gzip=use_gzip, **filters)
    return [chunk async for chunk in chunks]


async def export_text(
    database: Database, workspace: WorkspaceId, export_format: ExportFormat, **filters: Any
) -> str:
    chunks = await export(database, workspace, export_format, **filters)
    return b"".join(chunk.data for chunk in chunks).decode()


async def exported_rows(
    database: Database, workspace: WorkspaceId, **filters: Any
) -> list[dict[str, Any]]:
    exported = await export_text(database, workspace, ExportFormat.NDJSON, **filters)
    return [json.loads(line) for line in exported.splitlines()]


async def test_every_state_is_exported_in_both_formats(database: Database) -> None:
    workspace = await add_workspace(database)
    first = await add_account(database, workspace, id=7, account_name='Söhne, "quoted"')
    second = await add_account(database, workspace, account_name=None, platform="x")
    late = published(NOW + timedelta(milliseconds=1500))
    states = [
        late,
        replace(published(NOW - timedelta(seconds=3)), platform_post_url=None),
        failed(error="First line\nsecond", attempts=2),
        unknown(),
        waiting_for_retry(),
        started(),
    ]
    expected = []
    for number, state in enumerate(states):
        post = await add_post(
            database,
            workspace,
            {first: state},
            reference=f"ref-{number}",
            created_at=NOW - timedelta(minutes=number),
        )
        expected.append(expected_row(post.id, post.destinations[0], 7, number, state))
    other = await add_post(
        database, workspace, {second: draft()}, is_draft=True, created_at=NOW - timedelta(days=1)
    )
    expected.append(
        expected_row(other.id, other.destinations[0], second, None, draft())
        | {"account_name": f"x account {second}", "platform": "x", "reference": None}
    )
    await add_post(database, workspace, {first: failed()}, deleted_at=NOW)

    lines = await export_text(database, workspace, ExportFormat.NDJSON)
    table = await export_text(database, workspace, ExportFormat.CSV)

    assert [json.loads(line) for line in lines.splitlines()] == expected
    assert lines.endswith("}\n")
    assert [list(json.loads(line)) for line in lines.splitlines()] == [list(COLUMNS)] * 7
    header, *rows = csv.reader(io.StringIO(table, newline=""), strict=True)
    assert header == list(COLUMNS)
    assert rows == [
        ["" if value is None else str(value) for value in row.values()] for row in expected
    ]
    assert table.count("\r\n") == 8
    assert '7,"Söhne, ""quoted""",instagram,published,2026-04-15T15:00:01.500Z,' in table
    assert ',"First line\nsecond",2,,' in table


def expected_row(
    post_id: UUID, destination_id: UUID, account: int, number: int | None, state: DestinationState
) -> dict[str, Any]:
    def instant(time: datetime | None) -> str | None:
        return None if time is None else format_instant(time)

    return {
        "account_id": account,
        "account_name": 'Söhne, "quoted"',
        "platform": "instagram",
        "status": state.status.value,
        "published_at": instant(state.published_at),
        "platform_post_id": state.platform_post_id,
        "platform_post_url": state.platform_post_url,
        "error": state.error,
        "attempts": state.attempts,
        "next_retry_at": instant(state.next_retry_at),
        "id": str(destination_id),
        "social_account_id": account,
        "last_error": state.error,
        "post_id": str(post_id),
        "reference": f"ref-{number}",
        "scheduled_for": instant(state.due_at),
        "outcome": state.outcome.value,
        "error_category": state.error_category and state.error_category.value,
        "error_code": state.error_code,
        "lateness_seconds": None if state.lateness_ms is None else state.lateness_ms / 1000,
    }


@pytest.mark.parametrize("start", FORMULA_STARTS)
async def test_text_of_csv_never_begins_like_a_formula(database: Database, start: str) -> None:
    formula = f'{start}HYPERLINK("http://evil.example","x")'
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="-x", account_name=formula)
    early = replace(
        published(NOW - timedelta(seconds=3)), platform_post_id=formula, platform_post_url=formula
    )
    for state in (early, failed(error=formula, code=formula)):
        await add_post(database, workspace, {account: state}, reference=formula)

    table = await export_text(database, workspace, ExportFormat.CSV)
    rows = list(csv.DictReader(io.StringIO(table, newline=""), strict=True))

    escaped = [cell for row in rows for cell in row.values() if "HYPERLINK" in cell]
    assert escaped == [f"'{formula}"] * 9
    assert {row["platform"] for row in rows} == {"'-x"}
    assert {row["lateness_seconds"] for row in rows} == {"-3.0", ""}
    cells = [
        cell for row in rows for cell in row.values() if cell.startswith(tuple(FORMULA_STARTS))
    ]
    assert cells == ["-3.0"]
    exported = await exported_rows(database, workspace)
    assert {row["account_name"] for row in exported} == {formula}


async def test_export_without_rows_has_only_the_header(database: Database) -> None:
    workspace = await add_workspace(database)
    header = ",".join(COLUMNS).encode() + b"\r\n"

    assert await export(database, workspace, ExportFormat.CSV) == [(header, 0)]
    assert await export(database, workspace, ExportFormat.NDJSON) == [(b"", 0)]
    (compressed,) = await export(database, workspace, ExportFormat.CSV, use_gzip=True)
    assert zlib.decompress(compressed.data, wbits=31) == header


@pytest.fixture
async def many(database: Database) -> Database:
    """A database with 1,200 failed destinations."""
    await add_workspace(database, id=WORKSPACE)
    account = await add_account(database, WORKSPACE)
    post = await add_post(database, WORKSPACE, {account: failed()})
    await database.write_all_workspaces(lambda session: copy_post(session, post.id, 1199))
    return database


async def test_rows_are_read_in_batches(many: Database) -> None:
    chunks = await export(many, WORKSPACE, ExportFormat.NDJSON)

    assert [chunk.row_count for chunk in chunks] == [500, 500, 200, 0]
    assert [chunk.data.count(b"\n") for chunk in chunks] == [500, 500, 200, 0]


@pytest.mark.parametrize("export_format", ExportFormat)
async def test_gzip_has_the_same_content(many: Database, export_format: ExportFormat) -> None:
    plain = await export(many, WORKSPACE, export_format)
    compressed = await export(many, WORKSPACE, export_format, use_gzip=True)

    data = b"".join(chunk.data for chunk in compressed)
    assert zlib.decompress(data, wbits=31) == b"".join(chunk.data for chunk in plain)
    assert [chunk.row_count for chunk in compressed] == [chunk.row_count for chunk in plain]
    assert len(data) < sum(len(chunk.data) for chunk in plain) / 3


WEEK_AGO = NOW - timedelta(days=7)
MONTHS_AGO = NOW - timedelta(days=100)
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "status": {"status": [DestinationStatus.FAILED]},
    "statuses": {"status": [DestinationStatus.FAILED, DestinationStatus.QUEUED]},
    "platform": {"platform": ["platform-1", "platform-2"]},
    "account": {"account_id": [AccountId(3)]},
    "url": {"platform_post_url": ["https://www.instagram.com/p/C1a2b3c4d5e/"]},
    "nothing": {"account_id": []},
    "category": {"error_category": [ErrorCategory.TRANSIENT]},
    "code": {"error_code": ["CAPTION_TOO_LONG"]},
    "outcome": {"outcome": [Outcome.PUBLISHED, Outcome.UNKNOWN]},
    "failed": {"failed_after": MONTHS_AGO, "failed_before": WEEK_AGO},
    "source": {"source": [ErrorSource.USER]},
    "action": {"next_action": [NextAction.WAIT, NextAction.EDIT_POST]},
    "attempts": {"max_attempts": 0},
    "scheduled": {"scheduled_after": MONTHS_AGO, "scheduled_before": WEEK_AGO},
    "updated": {"updated_after": MONTHS_AGO, "updated_before": WEEK_AGO},
    "settled": {"settled_after": MONTHS_AGO, "settled_before": WEEK_AGO},
    "draft": {"draft": True},
    "not imported": {"imported": False, "platform": ["platform-3"]},
    "awaiting": {"awaits_outcome": True, "platform": ["platform-3"]},
    "late": {"late_by_seconds": 1},
    "retrying": {"retrying": True},
    "no media warning": {"media_warning": False, "platform": ["platform-3"]},
    "valid content": {"invalid_content": False, "platform": ["platform-3"]},
    "not duplicated": {"duplicated": False, "platform": ["platform-3"]},
    "not cancelled": {"cancelled": False, "status": [DestinationStatus.FAILED]},
    "search": {"search": "SALE starts", "platform": ["platform-3"]},
    "reference": {"reference": "reference-10"},
    "published": {"published_after": MONTHS_AGO, "published_before": WEEK_AGO},
    "retry": {"next_retry_after": MONTHS_AGO, "next_retry_before": WEEK_AGO},
    "overdue": {"overdue": True},
    "not overdue": {"overdue": False, "platform": ["platform-3"]},
    "short text": {"search": "s", "platform": ["platform-3"]},
}


async def test_each_filter_selects_what_the_list_has_in_its_order(database: Database) -> None:
    await add_many_posts(database, WORKSPACE)
    rows = (await exported_rows(database, WORKSPACE, status=[DestinationStatus.PUBLISHING]))[:3]
    group = failure_group("platform-2", failed())
    filters = {
        **FILTERS,
        "post": {"post_id": [PostId(UUID(row["post_id"])) for row in rows]},
        "id": {"destination_id": [DestinationId(UUID(row["id"])) for row in rows]},
        "group": {"failure_group": [group]},
    }
    assert {name for each in filters.values() for name in each} == {
        field.name for field in fields(DestinationCriteria)
    }
    for name, values in filters.items():
        page = await destinations_page(
            database.reader(WORKSPACE),
            DestinationCriteria(**values),
            DestinationOrderField.CREATED_AT,
            Direction.DESC,
            PageRequest(size=5000),
            NOW,
        )
        exported = await exported_rows(database, WORKSPACE, **values)
        assert [row["id"] for row in exported] == [str(row.id) for row in page.rows], name
        assert bool(exported) is (name != "nothing"), name


async def test_rows_are_those_of_one_snapshot(many: Database) -> None:
    before = await export_text(many, WORKSPACE, ExportFormat.NDJSON)
    chunks = open_export(many)
    read = (await anext(chunks)).data
    await many.write_all_workspaces(
        lambda session: run_raw(
            session,
            update(Destination)
            .where(Destination.error.is_not(None))
            .values(error="changed during the export"),
        )
    )
    await many.write_all_workspaces(
        lambda session: run_raw(session, text("UPDATE post SET deleted_at = created_at"))
    )

    read += b"".join([chunk.data async for chunk in chunks])

    assert read.decode() == before
    assert await export_text(many, WORKSPACE, ExportFormat.NDJSON) == ""


async def test_closed_export_leaves_no_transaction(many: Database) -> None:
    chunks = open_export(many)
    await anext(chunks)
    assert await open_snapshots(many) == 1
    await chunks.aclose()
    assert await open_snapshots(many) == 0


async def open_snapshots(database: Database) -> int:
    """Count the transactions that still see an old snapshot."""
    if database.is_sqlite:  # such a reader prevents a checkpoint of later writes
        await database.write_all_workspaces(
            lambda session: run_raw(session, text("UPDATE deployment SET id = id"))
        )
        with closing(sqlite3.connect(str(database.url.database), timeout=0)) as connection:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return int(busy)
    async with database.read_engine.connect() as connection:
        found = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
            )
        )
        return int(found or 0)


async def test_cancelled_read_ends_its_statement(many: Database) -> None:
    slow = (
        func.hex(func.randomblob(2_000_000))
        if many.is_sqlite
        else cast(func.pg_sleep(0.05), String)
    )
    statement = Statement(select(Destination.id).where(func.length(slow) < 0))
    task = asyncio.create_task(read_one(many, statement))
    await asyncio.sleep(0.1)

    task.cancel()
    loop = asyncio.get_running_loop()
    cancelled_at = loop.time()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert loop.time() - cancelled_at < 2  # all rows take 30 seconds and more
    assert await open_snapshots(many) == 0


async def read_one(database: Database, statement: Statement) -> None:
    async with open_row_stream(database, WORKSPACE, statement, {}) as stream:
        await stream.read(1, lambda columns: columns)


async def test_unavailable_database_is_reported(tmp_path: Path) -> None:
    async with Database.from_file(tmp_path / "missing.db") as missing:
        with pytest.raises(ServiceUnavailable):
            await export(missing, WORKSPACE, ExportFormat.CSV)


@only_on_postgresql
async def test_lost_connection_is_reported(many: Database) -> None:
    chunks = open_export(many)
    await anext(chunks)
    async with many.read_engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND datname = current_database()"
            )
        )
    with pytest.raises(ServiceUnavailable):
        await anext(chunks)
