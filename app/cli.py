"""The command `post-results` and its subcommands."""

import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import click

from app import __version__
from app.asgi import now_utc
from app.cli_accounts import accounts
from app.cli_database import (
    MAX_OPERATOR_NAME_LENGTH,
    CommandError,
    get_workspace,
    load_settings,
    run_on_current_schema,
    run_with_database,
)
from app.cli_import_export import export_command, import_command
from app.cli_secrets import secrets_group
from app.db.core.database import Database
from app.db.core.failures import describe_failure
from app.db.migrations import SchemaMismatch, migrate
from app.db.repositories import api_keys as key_rows
from app.db.repositories import sessions as session_rows
from app.db.repositories import workspaces as workspace_rows
from app.db.tools.copying import TargetNotEmpty
from app.db.tools.integrity import find_problems
from app.demo import DemoRefused, ensure_secrets_key_file
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.errors import Conflict, InvalidInput, ServiceUnavailable
from app.domain.ids import ApiKeyId, SessionId, parse_uuid
from app.domain.times import format_instant
from app.domain.validation.text import validate_name, validate_url
from app.graphql.engine.executable_schema import create_schema, print_sdl
from app.server import serve_forever
from app.services.api_keys import create_key, revoke_key
from app.services.backup import BackupError, backup, restore
from app.services.secret_cipher import SecretNotReadable
from app.services.sessions import revoke_session
from app.services.workspaces import create_workspace
from app.settings import SECRETS_KEY_FILE, SettingsError, settings_table
from app.worker.process import run_webhook_worker, run_worker

_OPERATOR_ERRORS = (
    CommandError,
    SecretNotReadable,
    SettingsError,
    SchemaMismatch,
    BackupError,
    DemoRefused,
    TargetNotEmpty,
    ServiceUnavailable,
    InvalidInput,
    Conflict,
    OSError,
)
"""Failures that an operator can fix: shown as a sentence, without a traceback."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; report an expected failure as one sentence on stderr and exit with 1.

    `arguments` default to those of the process.
    """
    try:
        cli(arguments, prog_name="post-results")
    except _OPERATOR_ERRORS as error:
        click.echo(f"post-results: {_error_message(error)}", err=True)
        if isinstance(error, OSError):
            _discard_output()
        sys.exit(1)


def _discard_output() -> None:
    """Redirect stdout to null: otherwise Python would flush it at exit, fail, and change the status."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _error_message(error: Exception) -> str:
    """Return the message; for an unavailable database with the cause, which is hidden from API clients."""
    if isinstance(error, ServiceUnavailable) and error.__cause__ is not None:
        return f"The database of DATABASE_URL cannot be used: {describe_failure(error.__cause__)}"
    return str(error)


@click.group()
@click.version_option(__version__)
def cli() -> None:
    """post-results records what happened to every social post on every platform.

    Settings come from the environment; `post-results settings` lists them.
    """


@cli.command()
@click.option(
    "--demo", is_flag=True, help="Load the demo data once, and show the demo key to every visitor."
)
@click.option("--with-worker", is_flag=True, help="Also publish, in each server process.")
def serve(demo: bool, with_worker: bool) -> None:
    """Migrate the database, then serve GraphQL, REST and GraphiQL."""
    # Each server process reads its settings from the environment.
    if demo:
        os.environ["DEMO"] = "yes"
    if with_worker:
        os.environ["WITH_WORKER"] = "yes"
    settings = load_settings()
    if settings.demo and not settings.secrets_key:
        os.environ[SECRETS_KEY_FILE] = str(ensure_secrets_key_file(settings))
        settings = load_settings()
    serve_forever(settings)


@cli.command("worker")
@click.option(
    "--only", type=click.Choice(["webhooks"]), help="Deliver webhooks, and publish nothing."
)
def worker_command(only: str | None) -> None:
    """Migrate the database, then publish due posts and deliver webhooks until a signal."""
    run = run_webhook_worker if only == "webhooks" else run_worker
    run(load_settings(), now_utc)


@cli.command("migrate")
def migrate_command() -> None:
    """Migrate the database to this version."""
    run_with_database(
        lambda database: migrate(database, now=now_utc(), random_bytes=secrets.token_bytes)
    )
    click.echo("The database is up to date.")


@cli.group()
def workspaces() -> None:
    """Create and list workspaces."""


@workspaces.command("create")
@click.argument("name")
@click.option("--mirror-of", metavar="URL", help="Create a read-only mirror of another service.")
def workspaces_create(name: str, mirror_of: str | None) -> None:
    """Create a workspace and print its id."""
    workspace_id = run_on_current_schema(
        lambda database: create_workspace(
            database,
            name=validate_name(name, "NAME", max_length=MAX_OPERATOR_NAME_LENGTH),
            mirror_of=None if mirror_of is None else validate_url(mirror_of, "--mirror-of"),
            now=now_utc(),
            random_bytes=secrets.token_bytes,
        )
    )
    if workspace_id is None:
        raise CommandError(f"A workspace named {name} already exists.")
    click.echo(workspace_id)


@workspaces.command("list")
def workspaces_list() -> None:
    """List all workspaces."""

    async def work(database: Database) -> None:
        for row in await workspace_rows.list_workspaces(database.all_workspaces):
            kind = f"mirror of {row.mirror_of}" if row.mirror_of else row.kind
            click.echo(f"{row.id}  {format_instant(row.created_at)}  {kind}  {row.name}")

    run_on_current_schema(work)


@cli.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command("create")
@click.option("--workspace", required=True, metavar="NAME", help="The workspace's name.")
@click.option("--name", required=True, help="Purpose of the key.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="Repeat for several; default: read, write, publish. publish:all covers all workspaces.",
)
@click.option("--expires-in-days", type=click.IntRange(min=1, max=36500), help="Default: never.")
def keys_create(
    workspace: str, name: str, scopes: tuple[str, ...], expires_in_days: int | None
) -> None:
    """Create a key and print it; the key cannot be shown again."""

    async def work(database: Database) -> str:
        owner = await get_workspace(database, workspace)
        now = now_utc()
        key = await create_key(
            database,
            owner.id,
            name=validate_name(name, "--name", max_length=MAX_OPERATOR_NAME_LENGTH),
            scopes=[Scope(scope) for scope in dict.fromkeys(scopes)] or DEFAULT_SCOPES,
            expires_at=now + timedelta(days=expires_in_days) if expires_in_days else None,
            api_key_prefix=load_settings().api_key_prefix,
            now=now,
            random_bytes=secrets.token_bytes,
        )
        return key.token

    click.echo(run_on_current_schema(work))


@keys.command("list")
def keys_list() -> None:
    """List the keys of all workspaces by their prefixes; full keys are not stored."""

    async def work(database: Database) -> None:
        now = now_utc()
        for row in await key_rows.list_keys(database.all_workspaces):
            state = _key_state(row.expires_at, row.revoked_at, now)
            click.echo(
                f"{row.id}  {row.display_prefix}…  {state}"
                f"  {row.workspace_name}  {','.join(row.scopes)}  {row.name}"
            )

    run_on_current_schema(work)


def _key_state(expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> str:
    if revoked_at is not None:
        return f"revoked {format_instant(revoked_at)}"
    if expires_at is None:
        return "valid"
    return f"{'expires' if now < expires_at else 'expired'} {format_instant(expires_at)}"


@keys.command("revoke")
@click.argument("key_id")
def keys_revoke(key_id: str) -> None:
    """Revoke a key by its id."""
    is_revoked = run_on_current_schema(
        lambda database: revoke_key(database, ApiKeyId(parse_uuid(key_id, "KEY_ID")), now=now_utc())
    )
    if not is_revoked:
        raise CommandError(f"There is no key with the id {key_id}.")
    click.echo("The key is revoked.")


for command in (secrets_group, accounts, import_command, export_command):
    cli.add_command(command)


@cli.group("sessions")
def sessions_group() -> None:
    """List and revoke sessions of the board."""


@sessions_group.command("list")
def sessions_list() -> None:
    """List the sessions of all workspaces, with their persons and keys."""

    async def work(database: Database) -> None:
        now = now_utc()
        for row in await session_rows.list_sessions(database.all_workspaces, now):
            key_state = _key_state(row.expires_at, row.revoked_at, now)
            click.echo(
                f"{row.session_id}  used {format_instant(row.session_last_used_at)}"
                f"  expires {format_instant(row.session_expires_at)}  {row.workspace_name}"
                f"  {','.join(row.session_scopes)}  key {row.display_prefix}… {key_state}"
                f"  {row.person or '—'}"
            )

    run_on_current_schema(work)


@sessions_group.command("revoke")
@click.argument("session_id")
def sessions_revoke(session_id: str) -> None:
    """Revoke a session by its id."""
    is_revoked = run_on_current_schema(
        lambda database: revoke_session(database, SessionId(parse_uuid(session_id, "SESSION_ID")))
    )
    if not is_revoked:
        raise CommandError(f"There is no session with the id {session_id}.")
    click.echo("The session is revoked.")


@cli.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--replace", is_flag=True, help="Replace an older backup when the new one is complete."
)
def backup_command(file: Path, replace: bool) -> None:
    """Write a consistent copy of the database to FILE, an SQLite database."""
    try:
        rows = run_with_database(
            lambda database: backup(
                database, file, replace=replace, now=now_utc(), random_bytes=secrets.token_bytes
            )
        )
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
    click.echo(f"{file} has {sum(rows.values())} rows.")


@cli.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
def restore_command(file: Path) -> None:
    """Load the backup in FILE into the empty database of DATABASE_URL, SQLite or PostgreSQL."""
    rows = run_with_database(
        lambda database: restore(file, database, now=now_utc(), random_bytes=secrets.token_bytes)
    )
    click.echo(f"The database has {sum(rows.values())} rows.")


@cli.command("check")
def check_command() -> None:
    """Check the integrity of the database and all invariants; exit with 1 if there is a problem."""
    # find_problems checks the schema version itself, to report a database without one.
    problems = run_with_database(find_problems)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise CommandError(
            "1 problem found." if len(problems) == 1 else f"{len(problems)} problems found."
        )
    click.echo("No problems found.")


@cli.command("schema")
def schema_command() -> None:
    """Print the GraphQL schema in SDL."""
    click.echo(print_sdl(create_schema(load_settings().graphql)), nl=False)


@cli.command("settings")
def settings_command() -> None:
    """Print all settings as a Markdown table."""
    click.echo(settings_table())
