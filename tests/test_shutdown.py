"""The end of a process whose shutdown hangs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

PROGRAM = """
import sys, time
from datetime import timedelta
from app.shutdown import limited_cleanup
from app.observability.logs import configure_logging

configure_logging("info", "json")
limit, duration = map(float, sys.argv[1:])
with limited_cleanup(timedelta(seconds=limit) if limit else None) as begin_cleanup:
    begin_cleanup()
    time.sleep(duration)
time.sleep(0.4)
"""


def run_cleanup(limit: float, duration: float, stderr: int) -> "subprocess.CompletedProcess[bytes]":
    """Run a cleanup of this duration in a process, with a limit unless it is 0."""
    arguments = (sys.executable, "-c", PROGRAM, str(limit), str(duration))
    return subprocess.run(arguments, stderr=stderr, check=False, timeout=30)


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """Pipe that no one reads, and that takes no more bytes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


def test_process_ends_if_its_cleanup_exceeds_the_limit() -> None:
    ended = run_cleanup(0.1, 60, subprocess.PIPE)

    line = json.loads(ended.stderr)
    assert ended.returncode == 1
    assert (line["level"], line["event"]) == ("error", "shutdown not finished in time")
    assert line["limit_seconds"] == 0.1


def test_process_ends_although_no_one_reads_its_log(full_pipe: int) -> None:
    assert run_cleanup(0.1, 60, full_pipe).returncode == 1


@pytest.mark.parametrize(("limit", "duration"), [(0.3, 0), (0, 0.4)])
def test_cleanup_within_the_limit_ends_normally(limit: float, duration: float) -> None:
    ended = run_cleanup(limit, duration, subprocess.PIPE)

    assert (ended.returncode, ended.stderr) == (0, b"")
