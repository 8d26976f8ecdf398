"""The import command as a separate process: reading a pipe, on a terminal, interrupted and killed."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.db.core.database import Database
from app.db.models import Destination, Post
from app.db.tools.integrity import find_problems
from tests.clients import run_with_database
from tests.factories import add_workspace
from tests.servers import TIMEOUT_SECONDS

POSTS = 1000
COMMAND = [sys.executable, "-m", "app", "import", "--workspace", "Acme"]


def make_post_line(number: int) -> str:
    result = '{"account_id": 1, "platform": "x", "status": "published", "attempts": 1}'
    return f'{{"post_id": "{UUID(int=number)}", "content": "", "destinations": [{result}]}}\n'


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    run_with_database(database_url, lambda database: add_workspace(database, name="Acme"))
    return {**os.environ, "DATABASE_URL": database_url}


@pytest.fixture
def import_process(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The import command, which reads a pipe."""
    process = subprocess.Popen(
        [*COMMAND, "-"],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        yield process
        process.kill()


def stored_counts(database_url: str) -> tuple[int, int]:
    """Numbers of stored posts and destinations."""

    async def count(database: Database) -> tuple[int, int]:
        async with database.snapshot() as connection:
            return (
                await connection.scalar(select(func.count()).select_from(Post)) or 0,
                await connection.scalar(select(func.count()).select_from(Destination)) or 0,
            )

    return run_with_database(database_url, count)


def test_other_commands_start_without_the_modules_of_imports() -> None:
    script = "import app.cli, sys; print([name for name in sys.modules if 'app.domain.importing' in name])"

    output = subprocess.check_output([sys.executable, "-c", script])

    assert output == b"[]\n"


def test_pipe_is_read_to_its_end_without_a_progress_bar(
    import_process: subprocess.Popen[str],
) -> None:
    out, err = import_process.communicate(
        make_post_line(1) + make_post_line(2) + make_post_line(1), timeout=TIMEOUT_SECONDS
    )

    assert (out, err) == ("2 new, 0 changed, 1 unchanged, 0 refused\n", "")
    assert import_process.returncode == 0


@pytest.mark.slow
def test_killed_import_can_be_repeated_without_losing_a_post(
    import_process: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    posts = [make_post_line(number) for number in range(1, POSTS + 1)]
    assert import_process.stdin is not None
    import_process.stdin.write("".join(posts))
    import_process.stdin.flush()
    url = environment["DATABASE_URL"]
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (imported := stored_counts(url)[0]):
        assert time.monotonic() < deadline
    import_process.send_signal(signal.SIGKILL)
    import_process.wait(TIMEOUT_SECONDS)
    stored = stored_counts(url)

    again = subprocess.run(
        [*COMMAND, "-"],
        env=environment,
        input="".join(posts),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )

    assert 0 < imported <= stored[0] < POSTS
    assert stored[0] == stored[1]
    assert again.stdout == f"{POSTS - stored[0]} new, 0 changed, {stored[0]} unchanged, 0 refused\n"
    assert stored_counts(url) == (POSTS, POSTS)
    assert run_with_database(url, find_problems) == []


def test_ctrl_c_interrupts_the_wait_for_more_input(
    import_process: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    assert import_process.stdin is not None
    assert import_process.stderr is not None
    first_batch = [make_post_line(number) for number in range(1, 200)] + ["{}\n"] * 2
    import_process.stdin.write("".join(first_batch))
    import_process.stdin.flush()
    rejections = [import_process.stderr.readline() for _ in range(2)]
    import_process.send_signal(signal.SIGINT)
    out, err = import_process.communicate(timeout=TIMEOUT_SECONDS)

    assert [line[:17] for line in rejections] == ["refused line 200:", "refused line 201:"]
    assert (out, import_process.returncode) == ("", 1)
    assert err == "Interrupted after 199 new, 0 changed, 0 unchanged, 2 refused.\n\nAborted!\n"
    assert stored_counts(environment["DATABASE_URL"]) == (199, 199)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("redirection", "code", "sentence"),
    [
        ("<&-", 2, "Error: Invalid value for 'FILE': standard input is closed."),
        ("</dev/null >/dev/full", 1, "post-results: [Errno 28] No space left on device"),
    ],
)
def test_unusable_stream_is_reported_in_a_sentence(
    environment: dict[str, str], redirection: str, code: int, sentence: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, "-"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", code)
    assert done.stderr.splitlines()[-1] == sentence
    assert "Traceback" not in done.stderr


def test_terminal_has_a_progress_bar(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "posts.ndjson"
    file.write_text("".join(make_post_line(number) for number in range(1, 401)) + "{\n")
    terminal, terminal_of_process = pty.openpty()

    done = subprocess.run(
        [*COMMAND, str(file)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=terminal_of_process,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    os.close(terminal_of_process)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)

    assert (done.returncode, done.stdout) == (1, b"400 new, 0 changed, 0 unchanged, 1 refused\n")
    assert "100%" in shown
    assert "\x1b[Krefused line 401: The JSON text is incomplete.\r\n" in shown
