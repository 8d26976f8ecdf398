"""The export command as a separate process: files, pipes, the progress bar, and failed exports."""

import gzip
import json
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import text

from app.db.core.database import Database
from tests.claim_benchmark import copy_post
from tests.clients import run_with_database
from tests.command_processes import fork
from tests.factories import add_account, add_post, add_workspace, failed, published
from tests.raw_statements import run_raw
from tests.servers import TIMEOUT_SECONDS

ARGUMENTS = ["export", "--workspace", "Acme"]
COMMAND = [sys.executable, "-m", "app", *ARGUMENTS]
COPIES = 1200
only_on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """Settings of the command; the workspace has 1,200 failed destinations and one that is published."""

    async def add_destinations(database: Database) -> None:
        workspace = await add_workspace(database, name="Acme")
        account = await add_account(database, workspace)
        await add_post(database, workspace, {account: published()})
        post = await add_post(database, workspace, {account: failed()})
        await database.write_all_workspaces(lambda session: copy_post(session, post.id, COPIES - 1))

    run_with_database(database_url, add_destinations)
    return {**os.environ, "DATABASE_URL": database_url}


def run_export(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder, "out"), Path(folder, "log")
        process = fork([*ARGUMENTS, *options], environment, out, log)
        status = process.wait(TIMEOUT_SECONDS)
        return subprocess.CompletedProcess(options, status, out.read_text(), log.read_text())


def test_filtered_rows_are_written_to_a_file(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "failed.ndjson"

    done = run_export(
        environment, "--format", "ndjson", "--output", str(file), "--status", "failed,queued"
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{file} has 1200 rows.\n"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["failed"] * COPIES
    assert list(tmp_path.iterdir()) == [file]


@only_on_sqlite
def test_standard_output_has_nothing_but_the_export(environment: dict[str, str]) -> None:
    done = run_export(
        environment, "--format", "csv", "--output", "-", "--max-attempts", "1", "--overdue", "false"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("account_id,account_name,")
    assert done.stdout.count("\n") == COPIES + 2


@only_on_sqlite
def test_output_is_compressed(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "results.csv.gz"
    assert run_export(environment, "--format", "csv", "--output", str(file), "--gzip").stderr == ""
    assert gzip.decompress(file.read_bytes()).count(b"\r\n") == COPIES + 2


@only_on_sqlite
def test_terminal_has_a_progress_bar(environment: dict[str, str]) -> None:
    terminal, terminal_of_process = pty.openpty()
    done = subprocess.run(
        [*COMMAND, "--format", "csv", "--output", "-"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=terminal_of_process,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    os.close(terminal_of_process)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)

    assert (done.returncode, done.stdout.count(b"\n")) == (0, COPIES + 2)
    assert "100%" in shown


@only_on_sqlite
def test_failed_export_changes_no_file(environment: dict[str, str], tmp_path: Path) -> None:
    async def break_last_row(database: Database) -> None:
        statement = (
            "UPDATE destination SET due_at = 'soon' WHERE id = (SELECT min(id) FROM destination)"
        )
        await database.write_all_workspaces(lambda session: run_raw(session, text(statement)))

    run_with_database(environment["DATABASE_URL"], break_last_row)
    file = tmp_path / "results.csv"
    file.write_text("complete")

    done = run_export(environment, "--format", "csv", "--output", str(file))

    assert (done.returncode, done.stdout) == (1, "")
    assert file.read_text() == "complete"
    assert list(tmp_path.iterdir()) == [file]


@only_on_sqlite
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--output", "-", "--status", "done"], "status must be one of queued, publishing,"),
        (["--output", "/dev/full"], "/dev/full cannot be written: No space left on device."),
        (["--output", "/missing/x.csv"], "/missing/x.csv cannot be written: No such file or"),
        (["--output", "-", "--workspace", "None"], "There is no workspace named None."),
    ],
)
def test_refused_export_is_explained_in_a_sentence(
    environment: dict[str, str], options: list[str], sentence: str
) -> None:
    done = run_export(environment, "--format", "csv", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"post-results: {sentence}")
    assert done.stderr.count("\n") == 1


@only_on_sqlite
def test_closed_pipe_ends_the_export(environment: dict[str, str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*COMMAND, "--format", "csv", "--output", "-"],
        env=environment,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    os.close(write_end)
    assert done.returncode == 1
    assert done.stderr == "post-results: Standard output cannot be written: Broken pipe.\n"
