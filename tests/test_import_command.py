"""The import command as a process of its own: fed by a pipe, watched on a terminal, killed in between."""

import asyncio
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
from tests.factories import add_workspace
from tests.servers import TIMEOUT_SECONDS

POSTS = 1000
COMMAND = [sys.executable, "-m", "app", "import", "--workspace", "Acme"]


def a_post(number: int) -> str:
    result = '{"account_id": 1, "platform": "x", "status": "published", "attempts": 1}'
    return f'{{"post_id": "{UUID(int=number)}", "content": "", "destinations": [{result}]}}\n'


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    async def run() -> None:
        async with Database(database_url) as database:
            await add_workspace(database, name="Acme")

    asyncio.run(run())
    return {**os.environ, "DATABASE_URL": database_url}


@pytest.fixture
def importing(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command, reading a pipe."""
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


def counts(database_url: str) -> tuple[int, int]:
    """How many posts and destinations there are."""

    async def count() -> tuple[int, int]:
        async with Database(database_url) as database, database.snapshot() as connection:
            return (
                await connection.scalar(select(func.count()).select_from(Post)) or 0,
                await connection.scalar(select(func.count()).select_from(Destination)) or 0,
            )

    return asyncio.run(count())


def problems(database_url: str) -> list[str]:
    async def find() -> list[str]:
        async with Database(database_url) as database:
            return await find_problems(database)

    return asyncio.run(find())


def test_a_pipe_is_read_to_its_end_without_a_bar(importing: subprocess.Popen[str]) -> None:
    out, err = importing.communicate(a_post(1) + a_post(2) + a_post(1), timeout=TIMEOUT_SECONDS)

    assert (out, err) == ("2 new, 0 changed, 1 unchanged, 0 refused\n", "")
    assert importing.returncode == 0


def test_an_import_that_is_killed_loses_no_post_and_is_run_again(
    importing: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    posts = [a_post(number) for number in range(1, POSTS + 1)]
    assert importing.stdin is not None
    importing.stdin.write("".join(posts))
    importing.stdin.flush()
    url = environment["DATABASE_URL"]
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (brought_in := counts(url)[0]):
        assert time.monotonic() < deadline
    importing.send_signal(signal.SIGKILL)
    importing.wait(TIMEOUT_SECONDS)
    left = counts(url)

    again = subprocess.run(
        [*COMMAND, "-"],
        env=environment,
        input="".join(posts),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )

    assert 0 < brought_in <= left[0] < POSTS
    assert left[0] == left[1]
    assert again.stdout == f"{POSTS - left[0]} new, 0 changed, {left[0]} unchanged, 0 refused\n"
    assert counts(url) == (POSTS, POSTS)
    assert problems(url) == []


def test_ctrl_c_breaks_off_the_waiting_for_more_of_a_pipe(
    importing: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    assert importing.stdin is not None
    assert importing.stderr is not None
    first_batch = [a_post(number) for number in range(1, 200)] + ["{}\n"] * 2
    importing.stdin.write("".join(first_batch))
    importing.stdin.flush()
    refusals = [importing.stderr.readline() for _ in range(2)]
    importing.send_signal(signal.SIGINT)
    out, err = importing.communicate(timeout=TIMEOUT_SECONDS)

    assert [line[:17] for line in refusals] == ["refused line 200:", "refused line 201:"]
    assert (out, importing.returncode) == ("", 1)
    assert err == "Broken off after 199 new, 0 changed, 0 unchanged, 2 refused.\n\nAborted!\n"
    assert counts(environment["DATABASE_URL"]) == (199, 199)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("redirection", "code", "sentence"),
    [
        ("<&-", 2, "Error: Invalid value for 'FILE': standard input is closed."),
        ("</dev/null >/dev/full", 1, "post-results: [Errno 28] No space left on device"),
    ],
)
def test_a_stream_that_cannot_be_used_is_told_in_a_sentence(
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


def test_a_person_sees_how_far_it_is(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "posts.ndjson"
    file.write_text("".join(a_post(number) for number in range(1, 401)) + "{\n")
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
    assert "\x1b[Krefused line 401: It is not JSON: it ends too early.\r\n" in shown
