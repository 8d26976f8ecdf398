"""Describes the machine, the versions and the commit of a run."""

import asyncio
import json
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import asyncpg
from sqlalchemy import make_url

from tests.bench import linux_processes
from tests.bench.contender_list import PEERS, ROOT

T = TypeVar("T")

_PYTHON_PACKAGES = (
    "strawberry-graphql",
    "graphql-core",
    "uvicorn",
    "uvloop",
    "httptools",
    "starlette",
)
_PYTHON_DATABASE_PACKAGES = ("sqlalchemy", "asyncpg", "aiosqlite", "orjson")


def describe_machine(postgresql_url: str | None) -> Iterator[tuple[str, str]]:
    """Names and values for the report."""
    yield "commit", _git_commit()
    yield "CPU", _cpu_model()
    yield "cores", str(os.cpu_count())
    yield "system", f"{platform.system()} {platform.release()}"
    yield "Python", platform.python_version()
    for name in (*_PYTHON_PACKAGES, *_PYTHON_DATABASE_PACKAGES):
        with suppress(ImportError):  # uvloop is not available on every platform
            yield name, version(name)
    yield "SQLite", sqlite3.sqlite_version
    if postgresql_url is not None:
        yield "PostgreSQL", asyncio.run(_with_connection(postgresql_url, _server_version))
    yield "Node.js", _command_output("node", "--version")
    for name in json.loads((PEERS / "package.json").read_text())["dependencies"]:
        installed = PEERS / "node_modules" / name / "package.json"
        if installed.exists():
            yield name, json.loads(installed.read_text())["version"]
    yield "wrk", _command_output("wrk", "--version").split(" [")[0].removeprefix("wrk ")


def postgresql_pid(url: str) -> int | None:
    """Process id of the PostgreSQL server; None if it runs on another machine."""

    async def read_parent_pid(connection: asyncpg.Connection) -> int | None:
        backend = int(await connection.fetchval("SELECT pg_backend_pid()"))
        is_local = linux_processes.process_name(backend) == "postgres"
        return linux_processes.parent_pid(backend) if is_local else None

    return asyncio.run(_with_connection(url, read_parent_pid))


async def _server_version(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval("SHOW server_version"))


async def _with_connection(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    try:
        return await work(connection)
    finally:
        await connection.close()


def _git_commit() -> str:
    commit = _command_output("git", "rev-parse", "--short", "HEAD")
    changed = _command_output("git", "status", "--porcelain", "--untracked-files=no")
    return f"{commit} with changes" if changed else commit


def _cpu_model() -> str:
    match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _command_output(*command: str) -> str:
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return (completed.stdout + completed.stderr).partition("\n")[0].strip()
