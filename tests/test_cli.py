"""The command line, run in this process; `serve` is tested in test_server."""

import os
import re
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from app import __version__
from app.asgi import now_utc
from app.cli import main
from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Account
from app.domain.ids import AccountId, WebhookId, WorkspaceId
from app.services.missing_keys import record_keys
from app.services.secret_cipher import SecretCipher, new_secrets_key
from app.settings import settings_table
from tests.board_browser import Browser
from tests.clients import app_client, run_with_database
from tests.credential_rows import (
    KEY,
    OTHER_CIPHER,
    OTHER_KEY,
    PLATFORM,
    add_credentials,
)
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_account, add_workspace
from tests.hpke_credential_rows import HPKE_KEY, HPKE_KEY_ID, add_hpke_credentials
from tests.observability.conftest import restore_logging  # noqa: F401 - for commands that serve
from tests.raw_statements import run_raw
from tests.webhook_rows import SECRETS_KEY, add_webhook

NO_SUCH_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
RESULTS = """
{"data": {
  "post_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479",
  "post_status": "failed",
  "results": [
    {"account_id": 1, "platform": "x", "status": "failed", "error": "Timed out", "attempts": 3}
  ]
}, "error": null, "meta": {"request_id": "a1b2c3d4", "timestamp": "2026-04-15T15:00:00.000Z"}}
"""
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class CommandRunner:
    """Runs commands and returns their output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.set_variable = monkeypatch.setenv
        self._capsys = capsys

    def __call__(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        status, out, err = self.run(*arguments)
        assert (status, err) == (0, "")
        return out

    def expect_error(self, *arguments: str) -> str:
        """The one sentence of a command that must fail and print nothing else."""
        status, out, err = self.run(*arguments)
        assert (status, out) == (1, "")
        assert err.startswith("post-results: ")
        assert err.count("\n") == 1
        return err.removeprefix("post-results: ").removesuffix("\n")

    def run(self, *arguments: str) -> tuple[int | str | None, str, str]:
        """Exit status, output and errors."""
        self._capsys.readouterr()  # drop what was logged before
        with pytest.raises(SystemExit) as exit_info:
            main(arguments)
        captured = self._capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandRunner:
    """The command without settings."""
    return CommandRunner(monkeypatch, capsys)


@pytest.fixture
def post_results(runner: CommandRunner, database_url: str) -> CommandRunner:
    """The command on a migrated, empty database."""
    runner.set_variable("DATABASE_URL", database_url)
    return runner


def read_all_rows(database_url: str) -> dict[str, list[Any]]:
    return run_with_database(database_url, all_rows)


def add_account_with_number(database_url: str, workspace_id: WorkspaceId, account_id: int) -> None:
    """Add an account whose number is not below the workspace's counter."""

    async def add(session: AllWorkspacesWriteSession) -> None:
        values = {
            "workspace_id": workspace_id,
            "id": account_id,
            "platform": "x",
            "is_active": True,
        }
        times = dict.fromkeys(("connected_at", "created_at", "updated_at"), NOW)
        await run_raw(session, insert(Account).values(**values, **times))

    run_with_database(database_url, lambda database: database.write_all_workspaces(add))


def viewer_status(database_url: str, token: str) -> int:
    """HTTP status of `GET /v1/me` with a key."""

    async def get_status(database: Database) -> int:
        async with app_client(database, token=token, now=now_utc()) as client:
            return (await client.get("/v1/me")).status_code

    return run_with_database(database_url, get_status)


def test_repeated_migration_changes_nothing(runner: CommandRunner, empty_database_url: str) -> None:
    runner.set_variable("DATABASE_URL", empty_database_url)

    assert runner("migrate") == "The database is up to date.\n"
    before = read_all_rows(empty_database_url)
    assert runner("migrate") == "The database is up to date.\n"
    assert read_all_rows(empty_database_url) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("workspaces", "list"),
        ("workspaces", "create", "Acme"),
        ("keys", "list"),
        ("keys", "create", "--workspace", "Acme", "--name", "site"),
        ("keys", "revoke", NO_SUCH_ID),
        ("check",),
    ],
)
def test_command_requires_migrated_database(
    runner: CommandRunner, empty_database_url: str, arguments: tuple[str, ...]
) -> None:
    runner.set_variable("DATABASE_URL", empty_database_url)

    assert runner.expect_error(*arguments) == (
        "The database is not at the version of this server: run post-results migrate."
    )


@pytest.mark.parametrize(
    "arguments",
    [("workspaces", "create", "Acme"), ("keys", "list"), ("check",), ("backup", "backup.db")],
)
def test_missing_database_file_is_reported_and_not_created(
    runner: CommandRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    runner.set_variable("DATABASE_URL", "sqlite:///post-result.db")

    assert runner.expect_error(*arguments) == (
        "There is no database at post-result.db: correct DATABASE_URL, or run post-results migrate"
        " to create one."
    )
    assert list(tmp_path.iterdir()) == []


def test_workspace_is_created_and_listed(post_results: CommandRunner) -> None:
    local = post_results("workspaces", "create", "Acme & Söhne")
    mirror = post_results("workspaces", "create", "Copy", "--mirror-of", "https://api.example.com")

    listed = post_results("workspaces", "list").splitlines()
    assert re.fullmatch(UUID + "\n", local)
    assert len(listed) == 2
    assert re.fullmatch(rf"{local.strip()}  {INSTANT}  local  Acme & Söhne", listed[0])
    assert re.fullmatch(
        rf"{mirror.strip()}  {INSTANT}  mirror of https://api\.example\.com  Copy", listed[1]
    )


def test_key_works_until_revoked(post_results: CommandRunner, database_url: str) -> None:
    post_results("workspaces", "create", "Acme")

    token = post_results("keys", "create", "--workspace", "Acme", "--name", "site").strip()

    assert re.fullmatch("pe_live_[0-9a-f]{32}", token)
    listed = post_results("keys", "list")
    row = re.fullmatch(rf"({UUID})  {token[:12]}…  valid  Acme  read,write,publish  site\n", listed)
    assert row, listed
    assert viewer_status(database_url, token) == 200

    assert post_results("keys", "revoke", row[1].upper()) == "The key is revoked.\n"

    assert viewer_status(database_url, token) == 401
    listed = post_results("keys", "list")
    assert re.fullmatch(rf"{row[1]}  \S+…  revoked {INSTANT}  Acme  \S+  site\n", listed), listed


def test_session_is_listed_and_revoked(post_results: CommandRunner, database_url: str) -> None:
    post_results("workspaces", "create", "Acme")
    token = post_results("keys", "create", "--workspace", "Acme", "--name", "site").strip()
    run_with_database(database_url, lambda database: sign_in(database, token))

    listed = post_results("sessions", "list")
    row = re.fullmatch(
        rf"({UUID})  used {INSTANT}  expires {INSTANT}  Acme  read,write"
        rf"  key {token[:12]}… valid  (Ann|—)\n({UUID})  .*  (Ann|—)\n",
        listed,
    )
    assert row, listed
    assert (row[2], row[4]) == ("Ann", "—")
    assert post_results("sessions", "revoke", row[1].upper()) == "The session is revoked.\n"

    assert post_results("sessions", "list").splitlines() == listed.splitlines()[1:]
    assert post_results.expect_error("sessions", "revoke", row[1]) == (
        f"There is no session with the id {row[1]}."
    )
    assert post_results.expect_error("sessions", "revoke", "Ann") == (
        f"The id must be a UUID in its 36-character form, such as {NO_SUCH_ID}."
    )


async def sign_in(database: Database, token: str) -> None:
    """Sign in twice, with and without a name."""
    async with app_client(database, clock=now_utc) as client:
        await Browser(client).sign_in(token, person="Ann")
        await Browser(client).sign_in(token)


DECRYPTED = "All stored secrets can be decrypted.\n"


def with_other_key(count: int) -> str:
    return f"Not encrypted with the first key: {count}\n"


CANNOT_BE_DECRYPTED = (
    "post-results: {} of the stored secrets cannot be decrypted. Add the key with which they were encrypted,"
    " or rotate the secrets of these webhooks with rotateWebhookSecret, and set these credentials again with"
    " setAccountCredentials. Checkpoints of destinations can be read only with their key. Without it, settle"
    " unknown outcomes with reconcileDestination; other checkpoints are deleted within a week.\n"
)


ENCRYPTED_BY_HPKE = (
    "CREDENTIALS_KEY, which the next version does not read, encrypts the credentials of 1 account: run"
    " `post-results secrets rotate` with CREDENTIALS_KEY and SECRETS_KEY.\n"
)


def test_webhooks_with_unreadable_secrets_are_named(
    post_results: CommandRunner, database_url: str
) -> None:
    webhooks = run_with_database(database_url, add_webhooks_of_lost_and_stored_keys)
    post_results.set_variable("SECRETS_KEY", f"{new_secrets_key()},{SECRETS_KEY}")
    unreadable = (
        f"Acme  webhook {webhooks[0]} (CRM)  secret: no key of SECRETS_KEY decrypts it\n"
        f"Acme  webhook {webhooks[1]}  secret: no key of SECRETS_KEY decrypts it\n"
    )
    fix = CANNOT_BE_DECRYPTED.format(2)

    checked = f"{unreadable}{with_other_key(3)}"
    assert post_results.run("secrets", "check") == (1, checked, fix)
    rotated = f"Encrypted with the first key: 1\n{with_other_key(2)}{unreadable}"
    assert post_results.run("secrets", "rotate") == (1, rotated, fix)


def test_secrets_that_the_keys_decrypt_are_no_problem(post_results: CommandRunner) -> None:
    post_results.set_variable("SECRETS_KEY", new_secrets_key())

    assert post_results("secrets", "check") == f"{DECRYPTED}{with_other_key(0)}"
    rotated = f"Encrypted with the first key: 0\n{with_other_key(0)}"
    assert post_results("secrets", "rotate") == rotated


async def add_webhooks_of_lost_and_stored_keys(database: Database) -> list[WebhookId]:
    workspace, lost = await add_workspace(database, name="Acme"), SecretCipher([new_secrets_key()])
    named = await add_webhook(database, workspace, id=uuid.UUID(int=1), name="CRM", cipher=lost)
    unnamed = await add_webhook(database, workspace, id=uuid.UUID(int=2), cipher=lost)
    return [named, unnamed, await add_webhook(database, workspace)]


def test_unreadable_credentials_are_named_and_discarded_on_request(
    post_results: CommandRunner, database_url: str
) -> None:
    account = run_with_database(database_url, add_account_of_lost_key)
    post_results.set_variable("SECRETS_KEY", KEY)
    unreadable = (
        f"Acme  account {account}  SECRETS_KEY does not have the key {OTHER_CIPHER.key_id}\n"
    )
    fix = CANNOT_BE_DECRYPTED.format(1)

    checked = f"{unreadable}{with_other_key(1)}"
    assert post_results.run("secrets", "check") == (1, checked, fix)
    count = "Encrypted with the first key: 0\n"
    rotated = f"{count}{with_other_key(1)}{unreadable}"
    assert post_results.run("secrets", "rotate") == (1, rotated, fix)
    discarded = f"{count}{with_other_key(0)}Accounts whose credentials were deleted: 1\n"
    assert post_results("secrets", "rotate", "--discard-unreadable") == discarded
    assert post_results("secrets", "check") == f"{DECRYPTED}{with_other_key(0)}"


def test_nothing_is_changed_if_running_workers_can_decrypt_what_would_be_discarded(
    post_results: CommandRunner, database_url: str
) -> None:
    """Neither are credentials deleted, nor is anything encrypted again."""
    run_with_database(database_url, add_account_of_running_worker_and_webhook)
    before = run_with_database(database_url, all_rows)
    post_results.set_variable("SECRETS_KEY", f"{KEY},{SECRETS_KEY}")

    assert post_results.expect_error("secrets", "rotate", "--discard-unreadable") == (
        "Nothing was deleted: running workers can decrypt 1 of these credentials (keys:"
        f" {OTHER_CIPHER.key_id}). Run the command with the SECRETS_KEY and CREDENTIALS_KEY of the workers."
    )

    assert run_with_database(database_url, all_rows) == before


async def add_account_of_running_worker_and_webhook(database: Database) -> None:
    await add_account_of_lost_key(database)
    await record_keys(database, OTHER_CIPHER, now_utc())
    await add_webhook(database, await add_workspace(database, name="Beta"))


def test_rotated_credentials_need_only_the_first_key(
    post_results: CommandRunner, database_url: str
) -> None:
    run_with_database(database_url, add_account_of_lost_key)
    post_results.set_variable("SECRETS_KEY", f"{KEY},{OTHER_KEY}")

    assert post_results("secrets", "check") == f"{DECRYPTED}{with_other_key(1)}"
    rotated = f"Encrypted with the first key: 1\n{with_other_key(0)}"
    assert post_results("secrets", "rotate") == rotated

    post_results.set_variable("SECRETS_KEY", KEY)
    assert post_results("secrets", "check") == f"{DECRYPTED}{with_other_key(0)}"


def test_rotation_needs_a_key(post_results: CommandRunner) -> None:
    assert post_results.expect_error("secrets", "rotate") == (
        "SECRETS_KEY is not set: it must have the new key, then the old."
    )


def test_credentials_in_the_hpke_format_are_counted_until_they_are_rotated(
    post_results: CommandRunner, database_url: str
) -> None:
    run_with_database(database_url, add_account_of_hpke_key)
    post_results.set_variable("SECRETS_KEY", KEY)
    post_results.set_variable("CREDENTIALS_KEY", HPKE_KEY)

    assert post_results("secrets", "check") == f"{DECRYPTED}{with_other_key(1)}{ENCRYPTED_BY_HPKE}"
    rotated = f"Encrypted with the first key: 1\n{with_other_key(0)}"
    assert post_results("secrets", "rotate") == rotated
    nothing = "Nothing needs CREDENTIALS_KEY any more: remove the setting.\n"
    assert post_results("secrets", "check") == f"{DECRYPTED}{with_other_key(0)}{nothing}"
    post_results.set_variable("CREDENTIALS_KEY", "")
    assert post_results("secrets", "check") == f"{DECRYPTED}{with_other_key(0)}"


@pytest.mark.parametrize("secrets_key", ["", KEY], ids=["no key", "a key"])
def test_check_without_the_hpke_key_reports_everything(
    post_results: CommandRunner, database_url: str, secrets_key: str
) -> None:
    run_with_database(database_url, add_account_of_hpke_key)
    post_results.set_variable("SECRETS_KEY", secrets_key)
    key_problem = f"CREDENTIALS_KEY does not have the key {HPKE_KEY_ID}"
    problem = key_problem if secrets_key else "SECRETS_KEY is not set"
    checked = f"Acme  account 1  {problem}\n{with_other_key(1)}"

    assert post_results.run("secrets", "check") == (1, checked, CANNOT_BE_DECRYPTED.format(1))


async def add_account_of_hpke_key(database: Database) -> None:
    workspace = await add_workspace(database, name="Acme")
    account = await add_account(database, workspace, platform=PLATFORM)
    await add_hpke_credentials(database, workspace, account)


async def add_account_of_lost_key(database: Database) -> AccountId:
    workspace = await add_workspace(database, name="Acme")
    account = await add_account(database, workspace, platform=PLATFORM)
    await add_credentials(database, workspace, account, cipher=OTHER_CIPHER)
    return account


def test_key_has_requested_scopes_and_expiry(post_results: CommandRunner) -> None:
    post_results("workspaces", "create", "Acme")
    create = ("keys", "create", "--workspace", "Acme", "--expires-in-days", "30", "--name", "jobs")

    post_results(*create, "--scope", "admin", "--scope", "publish:all", "--scope", "admin")

    listed = post_results("keys", "list")
    row = re.fullmatch(
        rf"{UUID}  \S+…  expires ({INSTANT})  Acme  admin,publish:all  jobs\n", listed
    )
    assert row, listed
    in_thirty_days = (now_utc() + timedelta(days=30)).isoformat(timespec="milliseconds")
    assert row[1][:10] in (
        in_thirty_days[:10],
        (now_utc() + timedelta(days=29.99)).isoformat()[:10],
    )


INVALID_ARGUMENTS: dict[str, dict[str, list[list[str]]]] = {
    "workspaces create": {
        "A workspace named Acme already exists.": [["Acme"]],
        "NAME must be printable and not empty.": [["  "], ["two\nlines"]],
        "NAME is 201 characters long; at most 200 are allowed.": [["x" * 201]],
        "--mirror-of must be a URL that starts with http:// or https://.": [
            ["Copy", "--mirror-of", "api"]
        ],
    },
    "keys create": {
        "There is no workspace named Umbrella.": [["--workspace", "Umbrella", "--name", "x"]],
        "--name must be printable and not empty.": [["--workspace", "Acme", "--name", ""]],
        "--workspace must be printable and not empty.": [["--workspace", "\t", "--name", "x"]],
    },
    "keys revoke": {
        f"There is no key with the id {NO_SUCH_ID}.": [[NO_SUCH_ID]],
        f"The id must be a UUID in its 36-character form, such as {NO_SUCH_ID}.": [["site"]],
    },
}
"""Command → message → arguments."""


@pytest.mark.parametrize("command", INVALID_ARGUMENTS)
def test_invalid_argument_is_refused_and_nothing_changed(
    post_results: CommandRunner, database_url: str, command: str
) -> None:
    post_results("workspaces", "create", "Acme")
    post_results("keys", "create", "--workspace", "Acme", "--name", "site")
    before = read_all_rows(database_url)

    for message, argument_lists in INVALID_ARGUMENTS[command].items():
        for arguments in argument_lists:
            assert post_results.expect_error(*command.split(), *arguments) == message
    assert read_all_rows(database_url) == before


@pytest.mark.parametrize(
    ("option", "value"),
    [("--scope", "all"), ("--expires-in-days", "0"), ("--expires-in-days", "36501")],
)
def test_invalid_option_is_a_usage_error(
    post_results: CommandRunner, database_url: str, option: str, value: str
) -> None:
    post_results("workspaces", "create", "Acme")

    status, out, err = post_results.run(
        "keys", "create", "--workspace", "Acme", "--name", "x", option, value
    )

    assert (status, out) == (2, "")
    assert f"Invalid value for '{option}'" in err
    assert read_all_rows(database_url)["api_key"] == []


def test_import_counts_results_and_fails_if_a_record_is_refused(
    post_results: CommandRunner, tmp_path: Path
) -> None:
    post_results("workspaces", "create", "Acme")
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(RESULTS)
    bad.write_text(f'{{"post_id": "{NO_SUCH_ID}", "content": 1, "destinations": []}}\n{{"pos')

    assert post_results("import", str(good), "--workspace", "Acme", "--dry-run") == (
        "1 new, 0 changed, 0 unchanged, 0 refused; nothing was written\n"
    )
    for summary in (
        "1 new, 0 changed, 0 unchanged, 0 refused\n",
        "0 new, 0 changed, 1 unchanged, 0 refused\n",
    ):
        assert post_results("import", str(good), "--workspace", "Acme") == summary
    assert post_results.run("import", str(bad), "--workspace", "Acme") == (
        1,
        "0 new, 0 changed, 0 unchanged, 2 refused\n",
        f"refused post {NO_SUCH_ID}: content must be a string.\n"
        "refused line 2: The JSON text is incomplete.\n",
    )
    assert post_results("check") == "No problems found.\n"


def test_import_that_cannot_start_changes_nothing(
    post_results: CommandRunner, database_url: str, tmp_path: Path
) -> None:
    post_results("workspaces", "create", "Acme")
    file = tmp_path / "results.json"
    file.write_text(RESULTS)
    before = read_all_rows(database_url)

    assert post_results.expect_error("import", str(file), "--workspace", "Acne") == (
        "There is no workspace named Acne."
    )
    assert post_results.expect_error("import", "/proc/self/mem", "--workspace", "Acme") == (
        "/proc/self/mem cannot be read: Input/output error."
    )
    status, out, err = post_results.run("import", str(tmp_path), "--workspace", "Acme")
    assert (status, out) == (2, "")
    assert err.endswith(f"Error: Invalid value for 'FILE': '{tmp_path}': Is a directory\n")
    assert read_all_rows(database_url) == before


def test_backup_is_restored_into_empty_database(
    post_results: CommandRunner, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    post_results("workspaces", "create", "Acme")
    post_results("keys", "create", "--workspace", "Acme", "--name", "site")
    file = tmp_path / "backup.db"

    assert post_results("backup", str(file)) == f"{file} has 3 rows.\n"
    assert post_results.expect_error("backup", str(file)) == (
        f"{file} exists; choose another name, or use --replace."
    )
    assert post_results("backup", "--replace", str(file)) == f"{file} has 3 rows.\n"
    post_results.set_variable("DATABASE_URL", empty_database_url)
    assert post_results("restore", str(file)) == "The database has 3 rows.\n"

    assert read_all_rows(empty_database_url) == read_all_rows(database_url)
    assert post_results.expect_error("restore", str(file)) == (
        "The target database already has rows in workspace; nothing was copied. Use an empty database."
    )
    assert post_results("check") == "No problems found.\n"


def test_unwritable_backup_is_refused_with_reason(
    post_results: CommandRunner, tmp_path: Path
) -> None:
    no_directory = tmp_path / "no-such-folder" / "backup.db"

    assert post_results.expect_error("backup", str(no_directory)) == (
        f"{no_directory} cannot be written: No such file or directory."
    )
    assert not no_directory.parent.exists()


def test_check_reports_violated_invariant_and_fails(
    post_results: CommandRunner, database_url: str
) -> None:
    workspace_id = post_results("workspaces", "create", "Acme").strip()
    add_account_with_number(database_url, WorkspaceId(uuid.UUID(workspace_id)), 4)

    status, out, err = post_results.run("check")

    assert (status, err) == (1, "post-results: 1 problem found.\n")
    assert out == (
        f"Workspace {workspace_id}: account 4 is not below next_account_id, which is 1.\n"
    )


def test_unreachable_database_is_reported_without_password(runner: CommandRunner) -> None:
    url = "postgresql://someone:hidden-password@127.0.0.1:1/nothing"
    runner.set_variable("DATABASE_URL", url)

    error = runner.expect_error("workspaces", "list")

    assert error.startswith("The database of DATABASE_URL cannot be used: ")
    assert "Connect call failed" in error
    assert "hidden-password" not in error


@pytest.mark.parametrize("command", ["migrate", "check", "serve"])
def test_file_that_is_not_a_database_is_reported(
    runner: CommandRunner, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database at all, but long enough to be read as the first page of one" * 20)
    runner.set_variable("DATABASE_URL", f"sqlite:///{file}")
    runner.set_variable("PORT", "0")

    assert runner.expect_error(command) == (
        "The database of DATABASE_URL cannot be used: file is not a database. The database is damaged, or"
        " belongs to another program. Stop the server, run post-results check, and restore a backup."
    )
    assert file.read_text().startswith("no database at all")


@pytest.mark.parametrize("command", ["migrate", "check", "serve", "schema"])
def test_malformed_setting_stops_command(runner: CommandRunner, command: str) -> None:
    runner.set_variable("PORT", "eighty")

    assert runner.expect_error(command) == (
        "PORT must be a whole number from 0 to 65535; it is 'eighty'."
    )


def test_schema_and_settings_are_printed_as_documented(post_results: CommandRunner) -> None:
    committed = Path(__file__).parent.parent / "schema.graphql"

    assert post_results("schema") == committed.read_text()
    assert post_results("settings") == settings_table() + "\n"
    assert post_results("--version") == f"post-results, version {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "migrate",
        "workspaces",
        "keys",
        "import",
        "backup",
        "restore",
        "check",
        "schema",
        "settings",
    ],
)
def test_every_command_has_help(post_results: CommandRunner, command: str) -> None:
    assert command in post_results("--help")
    assert post_results(command, "--help").startswith(f"Usage: post-results {command} ")


def test_threads_of_server_process_do_not_wait_long_for_event_loop(tmp_path: Path) -> None:
    script = "import sys, app.asgi; app.asgi.create_app_from_env()"
    script += "; print(f'{sys.getswitchinterval():g}')"
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/p.db"}
    completed = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert completed.stdout == "0.0001\n"


def test_imports_of_the_command_are_not_searched_for_garbage() -> None:
    script = "import app.__main__, gc; print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    script += "; print('collections of all objects:', gc.get_stats()[2]['collections'])"
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert completed.stdout == "True True\ncollections of all objects: 0\n"
