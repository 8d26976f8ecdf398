"""Format of log lines, and what they never contain."""

import io
import json
import logging
import re
import sqlite3
import subprocess
import sys
import uuid
from contextlib import redirect_stderr
from typing import Any

import asyncpg
import pytest
import structlog
import uvicorn
from sqlalchemy import insert, text

from app.db.core.database import Database
from app.db.core.statements import AnyStatement
from app.db.models import Workspace
from app.observability.logs import configure_logging, log_handler
from tests.db.core.test_database import INTEGRITY_ERRORS
from tests.factories import NOW, add_workspace
from tests.observability.conftest import log_lines
from tests.raw_statements import run_raw

TOKEN = "pe_live_0123456789abcdef0123456789abcdef"


def logged_events(capsys: pytest.CaptureFixture[str]) -> list[object]:
    return [line["event"] for line in log_lines(capsys)]


def test_lines_are_json_objects(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.stdlib.get_logger("app.db").info("database migrated", revision="0001", name="Zoë\n")

    (line,) = log_lines(capsys)
    assert list(line.items()) == [
        ("level", "info"),
        ("logger", "app.db"),
        ("event", "database migrated"),
        ("revision", "0001"),
        ("name", "Zoë\n"),
    ]


def test_lines_of_libraries_have_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 42)
    logging.getLogger("apscheduler").warning("Late")

    assert log_lines(capsys) == [
        {"level": "info", "logger": "uvicorn.error", "event": "Started server process [42]"},
        {"level": "warning", "logger": "apscheduler", "event": "Late"},
    ]


WARNINGS = """
from app.observability.logs import configure_logging

class Executor:  # with the name of a class of graphql-core
    async def execute_fields(self):
        pass

async def load():
    pass

configure_logging("info", "json")
Executor().execute_fields()
load()
"""


def test_python_warnings_are_lines_except_unstarted_coroutines_of_cancelled_executions() -> None:
    process = subprocess.run(
        [sys.executable, "-c", WARNINGS], capture_output=True, text=True, check=True
    )

    (line,) = map(json.loads, process.stderr.splitlines())
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "RuntimeWarning: coroutine 'load' was never awaited" in line["event"]


def test_uvicorn_logging_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    uvicorn.Config("app:nothing")
    configure_logging("info", "json")
    logging.getLogger("uvicorn.error").info("Started")
    logging.getLogger("uvicorn.access").info('127.0.0.1 - "GET /?key=secret HTTP/1.1" 200')

    assert logged_events(capsys) == ["Started"]


def test_repeated_configuration_writes_lines_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    configure_logging("info", "json")
    structlog.stdlib.get_logger("app").info("once")

    assert logged_events(capsys) == ["once"]


def test_lines_below_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    log = structlog.stdlib.get_logger("app")
    log.info("quiet")
    log.warning("loud")
    logging.getLogger("uvicorn.error").info("quiet")

    assert logged_events(capsys) == ["loud"]


@pytest.mark.parametrize(
    "name", ["uvicorn.error", "sqlalchemy.engine", "aiosqlite", "asyncio", "alembic"]
)
def test_libraries_do_not_log_data_at_debug(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", "json")
    logging.getLogger(name).debug("parameters: %s", ["content"])
    structlog.stdlib.get_logger("app").debug("ours")

    assert logged_events(capsys) == ["ours"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_traceback_has_no_variable_values(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", log_format)
    password = "hunter2"[::-1]
    try:
        raise LookupError(f"{len(password)} letters")
    except LookupError as error:
        structlog.stdlib.get_logger("app").error("failed", exc_info=error)

    output = capsys.readouterr().err
    assert "Traceback (most recent call last)" in output
    assert "LookupError: 7 letters" in output
    assert password not in output


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (TOKEN, f"/v1/{TOKEN}"),
        (TOKEN, f"['{TOKEN}']"),
        (TOKEN, f'"{TOKEN}"'),
        (TOKEN, f"line\n{TOKEN}\n"),
        ("abc.def-ghi", "Authorization: Bearer abc.def-ghi"),
        ("abc.def-ghi", "{'authorization': 'bearer abc.def-ghi'}"),
        ("hunter2", "postgresql://owner:hunter2@db.example.com/results"),
        ("MfKQ9r8GKYqrTwjU", "{'secret': 'whsec_MfKQ9r8GKYqrTwjU/PbSb+4e='}"),
        ("PbSb", "whsec_MfKQ9r8G-KYqr_Twj/PbSb+4e="),
    ],
)
def test_secrets_are_redacted(
    log_format: str, secret: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", log_format)
    structlog.stdlib.get_logger("app").info("seen", text=text)
    try:
        raise LookupError(text)
    except LookupError:
        logging.getLogger("library").exception("failed with %s", text)

    output = capsys.readouterr().err
    assert secret not in output
    assert output.count("***") == 3


def test_ids_are_not_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    ids = {"post": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "request_id": "0000cafe"}
    structlog.stdlib.get_logger("app").info("seen", **ids)

    assert log_lines(capsys) == [{"level": "info", "logger": "app", "event": "seen", **ids}]


def test_console_lines_are_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    structlog.stdlib.get_logger("app").info("database migrated", revision="0001")

    output = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[info +\] database migrated +\[app\] revision=0001\n",
        output,
    )


class RecordingFile(io.RawIOBase):
    """File that records each system call that would write to it."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.calls.append(bytes(data))
        return len(self.calls[-1])


def test_each_system_call_writes_complete_lines_that_a_pipe_takes_at_once() -> None:
    file = RecordingFile()
    lines = [f"{number} {'x' * (number % 400)}\n" for number in range(1000)]
    too_long = "y" * 5000 + "\n"
    stream = io.TextIOWrapper(io.BufferedWriter(file), write_through=True)
    with redirect_stderr(stream):
        configure_logging("info", "json")
        handler = log_handler()
        assert handler is not None
        handler.write("".join(lines))
        handler.write(f"a\n{too_long}b\n")

    *calls, before, long_call, after = file.calls
    assert (before, long_call, after) == (b"a\n", too_long.encode(), b"b\n")
    assert b"".join(calls).decode() == "".join(lines)
    assert all(call.endswith(b"\n") and len(call) <= 4096 for call in calls)
    assert len(calls) == 47


DATABASE_ERRORS: tuple[type[Exception], ...] = (sqlite3.Error, asyncpg.PostgresError)

VALUES = {
    "id": uuid.uuid4(),
    "name": "confidential",
    "kind": "local",
    "event_seq": 0,
    "next_account_id": 1,
    "created_at": NOW,
}


async def log_failure(database: Database, statement: AnyStatement, **values: object) -> Exception:
    """Execute a statement that must fail, log its exception and return it."""
    with pytest.raises(DATABASE_ERRORS) as caught:
        await database.write_all_workspaces(lambda session: run_raw(session, statement, **values))
    structlog.stdlib.get_logger("app").error("failed", exc_info=caught.value)
    return caught.value


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    ("violation", "names"),
    [
        ({"event_seq": -1}, {"sqlite": "ck_workspace_event_seq"}),
        ({"event_seq": None}, {"sqlite": "workspace.event_seq", "postgresql": "event_seq"}),
        ({}, {"sqlite": "workspace.name", "postgresql": "uq_workspace_name"}),
    ],
    ids=["check", "not null", "unique"],
)
async def test_violated_constraint_is_logged_without_row(
    database: Database,
    engine: str,
    violation: dict[str, object],
    names: dict[str, str],
    log_format: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", log_format)
    await add_workspace(database, name="confidential")

    failure = await log_failure(database, insert(Workspace).values(VALUES | violation))

    assert isinstance(failure, INTEGRITY_ERRORS)

    output = capsys.readouterr().err
    assert "Traceback" in output
    assert names.get(engine, names["sqlite"]) in output
    assert "confidential" not in output


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_rejected_value_is_not_logged(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "console")

    await log_failure(database, text("SELECT CAST(:word AS uuid)"), word="confidential")

    output = capsys.readouterr().err
    assert "invalid input for query argument $1" in output
    assert "confidential" not in output
