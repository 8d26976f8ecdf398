"""PgBouncer in front of the PostgreSQL server of the tests, with the configuration of the guide."""

import configparser
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import URL, make_url

from app.db.core.database import Database
from tests.guides import guide
from tests.servers import TIMEOUT_SECONDS, unused_port

POOL_SIZE = 4
"""Connections to PostgreSQL."""


@dataclass(frozen=True, slots=True)
class PgBouncer:
    """A running PgBouncer in front of one database."""

    url: str
    direct_url: str
    mode: str

    def settings(self) -> dict[str, str]:
        """Environment of a server that uses it."""
        return {
            "DATABASE_URL": self.url,
            "DATABASE_DIRECT_URL": self.direct_url,
            "DATABASE_POOLER": self.mode,
        }

    def database(self, **options: object) -> Database:
        return Database(self.url, pooler=self.mode, direct_url=self.direct_url, **options)  # type: ignore[arg-type]

    async def connect(self) -> asyncpg.Connection:
        """Connect as another client, which uses no prepared statements."""
        dsn = make_url(self.url).set(drivername="postgresql")
        return await asyncpg.connect(
            dsn.render_as_string(hide_password=False), statement_cache_size=0
        )


@contextmanager
def run_pgbouncer(database_url: str, mode: str, **options: object) -> Iterator[PgBouncer]:
    """Start PgBouncer; `options` replace those of the section `pgbouncer` in the guide."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed; run scripts/clients.")
    server = make_url(database_url)
    url = URL.create(
        server.drivername,
        server.username,
        server.password or "secret",
        "127.0.0.1",
        unused_port(),
        server.database,
    )
    # PgBouncer refuses to run as root, and its user must be able to read the files.
    with tempfile.TemporaryDirectory(prefix="post-results-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _write_configuration(folder, server, url, {"pool_mode": mode, **options})
        user = ["-u", _unprivileged_user(server)] if os.getuid() == 0 else []
        process = subprocess.Popen([program, "-q", *user, str(folder / "pgbouncer.ini")])
        try:
            _wait_until_listening(url)
            yield PgBouncer(url.render_as_string(hide_password=False), database_url, mode)
        finally:
            process.kill()
            process.wait(TIMEOUT_SECONDS)


def _write_configuration(folder: Path, server: URL, url: URL, options: dict[str, object]) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(guide("operating").section("Poolers").block("ini"))
    host, port = server.host or server.query["host"], server.port or 5432
    parser["databases"] = {
        str(server.database): f"host={host} port={port} dbname={server.database}"
    }
    users = folder / "userlist.txt"
    users.write_text(f'"{url.username}" "{url.password}"\n')
    own = {
        "auth_file": users,
        "listen_port": url.port,
        "unix_socket_dir": "",
        "default_pool_size": POOL_SIZE,
        # Otherwise it would make up for named prepared statements.
        "max_prepared_statements": 0,
        **options,
    }
    parser["pgbouncer"].update({key: str(value) for key, value in own.items()})
    with (folder / "pgbouncer.ini").open("w") as file:
        parser.write(file)


def _unprivileged_user(server: URL) -> str:
    """Return the owner of the server's socket, which the bundled server shares with no other user."""
    host = str(server.host or server.query["host"])
    return Path(host).owner() if host.startswith("/") else "daemon"


def _wait_until_listening(url: URL) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection((url.host, url.port)):
            return
        assert time.monotonic() < end
        time.sleep(0.01)
