"""The end of a process whose shutdown hangs, and the signals to a supervisor and from it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

PROGRAM = """
import sys, time
from datetime import timedelta
from app.runtime.shutdown import limited_cleanup
from app.observability.logs import configure_logging

configure_logging("info", "json")
limit, duration = map(float, sys.argv[1:])
with limited_cleanup(timedelta(seconds=limit) if limit else None) as begin_cleanup:
    begin_cleanup()
    time.sleep(duration)
time.sleep(0.4)
"""

SUPERVISOR = """
import signal, sys, time
import uvicorn
from app.supervisor import Supervisor

supervisor = Supervisor(uvicorn.Config("", workers=2, log_config=None), sockets=[])
"""

INTERRUPTED_WAIT = """
def trace(frame, event, argument):
    signal.raise_signal(signal.SIGTERM)
    return trace

sys.settrace(trace)
has_ended = supervisor.should_exit.wait(60)
sys.settrace(None)
print(has_ended)
"""
"""A signal in each line that the wait for a signal runs."""

SIGNALS = """
class Process:
    times = []

    def terminate(self):
        self.times.append(time.monotonic())

process = Process()
process.process = process
supervisor.processes.append(process)
for number in map(int, sys.argv[1:]):
    signal.raise_signal(number)
supervisor.terminate_all()
print(process.times[-1] - process.times[0] >= 0.1)
"""
"""Print whether a server process gets two signals with enough time between them to notice both."""

RESTART = """
import app.supervisor

class Process:
    def __init__(self, *_):
        self.process = self

    def start(self):
        pass

    def wait_until_ready(self, *_):
        return True

    def is_alive(self):
        return True

    def terminate(self):
        supervisor.should_exit.set()

app.supervisor.Process = Process
old = Process()
supervisor.processes.append(old)
supervisor.restart_all()
print(supervisor._stopping_processes == [old])
"""
"""Print whether the end of a supervisor during a restart also ends the replaced process."""


def run_program(program: str, *arguments: object) -> str:
    """Run a program that must succeed within a minute, and return its output."""
    command = (sys.executable, "-c", program, *map(str, arguments))
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return ended.stdout


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


def test_signal_may_interrupt_a_supervisor_at_any_step() -> None:
    assert run_program(SUPERVISOR + INTERRUPTED_WAIT) == "True\n"


def test_end_during_a_restart_also_ends_the_replaced_process() -> None:
    assert run_program(SUPERVISOR + RESTART) == "True\n"


@pytest.mark.parametrize(
    ("signals", "skips_delay"),
    [
        ([signal.SIGTERM], False),
        ([signal.SIGINT], True),
        ([signal.SIGTERM, signal.SIGTERM], True),
        ([signal.SIGINT, signal.SIGTERM], True),
    ],
)
def test_signals_in_quick_succession_skip_the_delay(
    signals: list[signal.Signals], skips_delay: bool
) -> None:
    numbers = map(int, signals)

    assert run_program(SUPERVISOR + SIGNALS, *numbers) == f"{skips_delay}\n"
