"""Measures one server: throughput, CPU time and latency under load, and response times after its start."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import linux_processes
from tests.bench.servers import ContenderProcess

LOAD_SCRIPT = Path(__file__).with_name("load.lua")
_SHUTDOWN_TIMEOUT = 30
_REQUESTS_PER_CONNECTION = 2
"""Minimum; with fewer requests, the first responses dominate the measurement."""
_DURATION_FACTORS = (1, 5, 15)


@dataclass(frozen=True, slots=True)
class Load:
    """Duration, number of connections, and core of the load generator."""

    seconds: int
    connections: int
    cpu: int


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Result of one load. Times are in milliseconds, CPU times in seconds per 1,000 requests."""

    requests_per_second: float
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float
    """0 if the database has no separate process."""


def run_load(
    server: ContenderProcess,
    query: str,
    ids: Sequence[object],
    load: Load,
    *,
    database_pid: int | None,
) -> LoadResult:
    """Run one load; ServerFailed unless every response has status 200.

    The load is repeated with a longer duration if there are too few responses.
    """
    for seconds in (load.seconds * factor for factor in _DURATION_FACTORS):
        before = _cpu_times(server, database_pid)
        output = _run_wrk(server, query, ids, replace(load, seconds=seconds))
        after = _cpu_times(server, database_pid)
        server.check_alive()
        if output[0] >= _REQUESTS_PER_CONNECTION * load.connections:
            break
    responses, microseconds, p50, p99, errors = output
    if errors or not responses:
        raise server.failure(f"answered {query} {responses} times and failed {errors} times")
    server_cpu, database_cpu = (
        (end - start) * 1000 / responses for start, end in zip(before, after, strict=True)
    )
    return LoadResult(
        requests_per_second=responses * 1e6 / microseconds,
        p50=p50 / 1000,
        p99=p99 / 1000,
        server_cpu=server_cpu,
        database_cpu=database_cpu,
    )


def _run_wrk(server: ContenderProcess, query: str, ids: Sequence[object], load: Load) -> list[int]:
    """Run wrk and return the numbers that load.lua prints."""
    request = server.contender.requests[query]
    post_ids = ids if request.takes_post_id else ids[:1]
    with tempfile.TemporaryDirectory() as folder:
        id_file, body_file = Path(folder, "ids"), Path(folder, "body")
        id_file.write_text("".join(f"{post_id}\n" for post_id in post_ids))
        body_file.write_text(request.body or "")
        body = str(body_file) if request.body else "-"
        command = ["taskset", "--cpu-list", str(load.cpu), "wrk", "--threads=1", "--timeout=20s"]
        command += [f"--connections={load.connections}", f"--duration={load.seconds}s"]
        command += [f"--script={LOAD_SCRIPT}", server.url, "--"]
        command += [request.path, body, str(id_file), server.token or "-"]
        completed = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=load.seconds + _SHUTDOWN_TIMEOUT,
            check=False,
        )
    if match := re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", completed.stdout):
        return [*map(int, match.groups())]
    output = (completed.stdout + completed.stderr)[-500:]
    raise server.failure(f"could not be loaded with {query}: {output}")


def _cpu_times(server: ContenderProcess, database_pid: int | None) -> tuple[float, float]:
    database = 0.0 if database_pid is None else linux_processes.cpu_seconds(database_pid)
    return linux_processes.cpu_seconds(server.pid), database
