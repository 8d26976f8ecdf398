"""One load of one question on one server, by wrk, and what it cost. Decides nothing."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import linux_processes
from tests.bench.servers import ContenderProcess

_SCRIPT = Path(__file__).with_name("load.lua")
_SHUTDOWN_TIMEOUT = 30
_REQUESTS_PER_CONNECTION = 2
"""With fewer, how long the first ones took decides what is measured."""
_RUNTIME_MARGIN = 5


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked at once and for how long, and by which core."""

    seconds: int
    connections: int
    cpu: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Times are in milliseconds, CPU is in seconds per 1,000 requests."""

    requests_per_second: float
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float
    """0 where the database is no process of its own."""


def run_load(
    server: ContenderProcess, question: str, ids: Sequence[object], load: Load, *, database_pid: int | None
) -> Figures:
    """Figures of one load, all of whose answers were 200; ServerFailed otherwise.

    Who answers too few is asked for longer.
    """
    for seconds in (load.seconds, load.seconds * _RUNTIME_MARGIN):
        before = _cpu_times(server, database_pid)
        found = _run_wrk(server, question, ids, replace(load, seconds=seconds))
        after = _cpu_times(server, database_pid)
        server.check_alive()
        if found[0] >= _REQUESTS_PER_CONNECTION * load.connections:
            break
    answers, microseconds, p50, p99, errors = found
    if errors or not answers:
        raise server.failure(f"answered {question} {answers} times and failed {errors} times")
    server_cpu, database_cpu = (
        (end - start) * 1000 / answers for start, end in zip(before, after, strict=True)
    )
    return Figures(
        requests_per_second=answers * 1e6 / microseconds,
        p50=p50 / 1000,
        p99=p99 / 1000,
        server_cpu=server_cpu,
        database_cpu=database_cpu,
    )


def _run_wrk(server: ContenderProcess, question: str, ids: Sequence[object], load: Load) -> list[int]:
    """What the script prints in the end."""
    request = server.contender.requests[question]
    wanted = ids if request.takes_post_id else ids[:1]
    with tempfile.TemporaryDirectory() as folder:
        id_file, body_file = Path(folder, "ids"), Path(folder, "body")
        id_file.write_text("".join(f"{each}\n" for each in wanted))
        body_file.write_text(request.body or "")
        body = str(body_file) if request.body else "-"
        command = ["taskset", "--cpu-list", str(load.cpu), "wrk", "--threads=1", "--timeout=20s"]
        command += [f"--connections={load.connections}", f"--duration={load.seconds}s"]
        command += [f"--script={_SCRIPT}", server.url, "--"]
        command += [request.path, body, str(id_file), server.token or "-"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=load.seconds + _SHUTDOWN_TIMEOUT,
            check=False,
        )
    if found := re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout):
        return [int(each) for each in found.groups()]
    raise server.failure(f"could not be asked {question}: {(done.stdout + done.stderr)[-500:]}")


def _cpu_times(server: ContenderProcess, database_pid: int | None) -> tuple[float, float]:
    database = 0.0 if database_pid is None else linux_processes.cpu_seconds(database_pid)
    return linux_processes.cpu_seconds(server.pid), database
