"""Settings, database and workspace of a command, and the error that it reports."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import TypeVar

from app.db.core.database import Database, open_database
from app.db.migrations import check_schema_version
from app.db.repositories.workspaces import WorkspaceRef, find_workspace_by_name
from app.domain.validation.text import validate_name
from app.settings import Settings, read_settings

T = TypeVar("T")

DatabaseWork = Callable[[Database], Coroutine[None, None, T]]

MAX_OPERATOR_NAME_LENGTH = 200


class CommandError(Exception):
    """Failure of a command; the message is a sentence for the operator."""


def load_settings() -> Settings:
    """Read the settings from the environment; raises SettingsError."""
    return read_settings(os.environ)


def run_on_current_schema(work: DatabaseWork[T]) -> T:
    """Run `work` like `run_with_database`, after checking that the database has this version's schema."""

    async def check_and_run(database: Database) -> T:
        await check_schema_version(database)
        return await work(database)

    return run_with_database(check_and_run)


def run_with_database(work: DatabaseWork[T]) -> T:
    """Open the database of the settings, run `work` on it, and close it."""
    settings = load_settings()

    async def run() -> T:
        async with open_database(settings) as database:
            return await work(database)

    return asyncio.run(run())


async def get_workspace(database: Database, name: str) -> WorkspaceRef:
    """Return a workspace by its name; raises CommandError if there is none."""
    workspace = await find_workspace_by_name(
        database.all_workspaces,
        validate_name(name, "--workspace", max_length=MAX_OPERATOR_NAME_LENGTH),
    )
    if workspace is None:
        raise CommandError(f"There is no workspace named {name}.")
    return workspace
