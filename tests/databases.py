"""Databases of the tests: opened with one object each, and copied from filled templates."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path

from app.db.core.database import Database
from app.db.core.tenancy import WorkspaceFilter, restrict_to_workspace
from app.db.migrations import migrate
from tests import postgres
from tests.clients import run_with_database
from tests.factories import NOW
from tests.recording_driver import RecordingDriver, RecordingWriter

Fill = Callable[[Database], Awaitable[None]]
"""Function that stores rows in a migrated database."""


workspace_filter: WorkspaceFilter = restrict_to_workspace
"""Filter of the databases of tests; `tests.tenancy_removals` replaces it."""


@cache
def cached_database(url: str) -> Database:
    """Share one object between tests, so that each statement is compiled once. Connections are per test."""
    return Database(
        url,
        workspace_filter=workspace_filter,
        wrap_driver=RecordingDriver,
        wrap_writer=RecordingWriter,
    )


class DatabaseTemplates(ABC):
    """Databases of one engine, each filled once per process by a function, of which tests get copies."""

    def __init__(self) -> None:
        self._templates: dict[Fill, str] = {}

    def copy(self, fill: Fill) -> AbstractContextManager[str]:
        """Return a context with the URL of a copy, always the same one, so one copy can exist at a time.

        It runs an event loop to fill the template, so it must not be called in one.
        """
        if fill not in self._templates:
            url = self._create()
            run_with_database(url, _migrate)
            run_with_database(url, fill)
            self._templates[fill] = url
        return self._copy(self._templates[fill])

    @abstractmethod
    def _create(self) -> str:
        """Create an empty database and return its URL."""

    @abstractmethod
    def _copy(self, url: str) -> AbstractContextManager[str]:
        """Copy a database to which nothing is connected."""


async def _migrate(database: Database) -> None:
    await migrate(database, now=NOW, random_bytes=bytes)


class SQLiteTemplates(DatabaseTemplates):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _create(self) -> str:
        return f"sqlite+aiosqlite:///{self._folder / f'{len(self._templates)}.db'}"

    @contextmanager
    def _copy(self, url: str) -> Iterator[str]:
        template = Path(url.partition("///")[2])
        copy = template.with_suffix(".copy")
        shutil.copyfile(template, copy)
        yield f"sqlite+aiosqlite:///{copy}"
        for file in self._folder.glob(f"{copy.name}*"):  # with the log and the lock files
            file.unlink()


class PostgreSQLTemplates(DatabaseTemplates):
    def __init__(self, server_url: str, exit_stack: ExitStack) -> None:
        """Set the server; the exit stack drops the templates."""
        super().__init__()
        self._server_url = server_url
        self._exit_stack = exit_stack

    def _create(self) -> str:
        return self._exit_stack.enter_context(postgres.new_database(self._server_url))

    def _copy(self, url: str) -> AbstractContextManager[str]:
        return postgres.database_copy(self._server_url, url)
