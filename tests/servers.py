"""Starts the commands of the service as separate processes, as an operator does."""

import json
import os
import re
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.settings import DEMO_KEY_SECRET
from tests.command_processes import StartProcess, fork

DEMO_KEY = f"pe_live_{DEMO_KEY_SECRET}"
DEMO_POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
TIMEOUT_SECONDS = 60
"""Limit of each step, for busy machines; only a failure takes this long."""


class LoggedProcess:
    """A process of `post-results`, whose output and log are written to files."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *arguments: str,
        start: StartProcess = fork,
    ) -> None:
        number = len(list(folder.iterdir()))
        self._out = folder / f"{number}.out"
        self._log = folder / f"{number}.log"
        settings = {**os.environ, "PORT": "0", **environment}
        self.process = start(arguments, settings, self._out, self._log)

    def wait_for_output(self, pattern: str) -> re.Match[str]:
        """Wait until the output matches the pattern, and return the match."""
        while not (match := re.search(pattern, self._out.read_text())):
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.02)
        return match

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(TIMEOUT_SECONDS) == 0, self._log.read_text()

    def kill(self) -> None:
        """Kill the process and its children."""
        self.process.send_signal(signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_SECONDS)

    def startup_error(self) -> str:
        """The log of a process that must fail to start, without output."""
        output, log = self.failed_start()
        assert output == ""
        return log

    def failed_start(self) -> tuple[str, str]:
        """Output and log of a process that must fail to start."""
        assert self.process.wait(TIMEOUT_SECONDS) == 1
        return self._out.read_text(), self._log.read_text()

    def log_events(self) -> list[dict[str, Any]]:
        """The log, which must have one JSON object per line."""
        lines = self._log.read_text().splitlines()
        assert [line for line in lines if not line.startswith("{")] == []
        return [json.loads(line) for line in lines]


class ServerProcess(LoggedProcess):
    """A process of `post-results serve`."""

    key: str
    """API key of its banner: of the first workspace, at the first start only, or of the demo."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *arguments: str,
        start: StartProcess = fork,
    ) -> None:
        super().__init__(folder, environment, "serve", *arguments, start=start)

    def wait_until_ready(self) -> list[str]:
        """Wait until the server is ready, and return the lines of its startup banner."""
        self.url = self.wait_for_output(r"(http\S+)/readyz\n")[1]
        assert self.get("/readyz").json()["status"] == "ready"
        banner = self._out.read_text()
        if shown := re.search(r"\n  key +(\S+)", banner):
            self.key = shown[1]
        return banner.splitlines()

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.get(self.url + path, headers=headers, timeout=TIMEOUT_SECONDS)

    def wait_for_starts(self, count: int) -> None:
        """Wait until so many server processes have started since the start."""
        ends_at = time.monotonic() + TIMEOUT_SECONDS
        while self._log.read_text().count('"Application startup complete."') < count:
            assert time.monotonic() < ends_at
            time.sleep(0.05)

    def request_log(self) -> list[dict[str, Any]]:
        """The log entries of requests."""
        return [event for event in self.log_events() if event["event"] == "request finished"]


class ServerStarter:
    """Starts servers on one database; they are killed at the end of the test."""

    def __init__(self, folder: Path, database_url: str, stack: ExitStack) -> None:
        self._folder = folder
        self._database_url = database_url
        self._stack = stack

    def __call__(
        self, *arguments: str, start: StartProcess = fork, **environment: str
    ) -> ServerProcess:
        settings = {"DATABASE_URL": self._database_url, **environment}
        server = ServerProcess(self._folder, settings, *arguments, start=start)
        self._stack.callback(server.kill)
        return server

    def ready(
        self, *arguments: str, start: StartProcess = fork, **environment: str
    ) -> ServerProcess:
        """Start a server and wait until it is ready."""
        server = self(*arguments, start=start, **environment)
        server.wait_until_ready()
        return server


@contextmanager
def run_server(
    folder: Path, environment: Mapping[str, str], *arguments: str, start: StartProcess = fork
) -> Iterator[ServerProcess]:
    """A server that is ready; it must stop without an error at the end of the block.

    Its output and log are in a new folder inside `folder`.
    """
    logs = Path(tempfile.mkdtemp(dir=folder))
    server = ServerProcess(logs, environment, *arguments, start=start)
    try:
        server.wait_until_ready()
        yield server
        server.stop()
    finally:
        server.kill()


class ServerGroup:
    """Server processes on one database, each with a port that stays the same after a restart."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        count: int,
        *,
        start: StartProcess = fork,
        **settings: str,
    ) -> None:
        self._folder = folder
        self._start_process = start
        shared = {"DATABASE_URL": database_url, "RATE_LIMIT": "off", **settings}
        self._environments = [{**shared, "PORT": str(unused_port())} for _ in range(count)]
        self.urls = [f"http://127.0.0.1:{env['PORT']}" for env in self._environments]
        self._servers: dict[int, ServerProcess] = {}

    def start(self) -> None:
        for index in range(len(self.urls)):
            self._start(index)

    def __getitem__(self, index: int) -> ServerProcess:
        return self._servers[index]

    def kill_and_restart(self, index: int) -> None:
        self._servers[index].kill()
        self._start(index)

    def restart(self, index: int, **environment: str) -> None:
        """Stop a server by SIGTERM and start it with these variables in addition."""
        self._servers[index].stop()
        self._start(index, **environment)

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()

    def kill(self) -> None:
        for server in self._servers.values():
            server.kill()

    def _start(self, index: int, **environment: str) -> None:
        settings = {**self._environments[index], **environment}
        self._servers[index] = ServerProcess(self._folder, settings, start=self._start_process)
        self._servers[index].wait_until_ready()


def unused_port() -> int:
    """A local port on which no process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class LogError:
    """A kind of warning or error in the log of a server."""

    level: str
    event: str
    cause: str
    """Last line of the traceback; empty without one."""

    @property
    def is_unexpected(self) -> bool:
        """An error other than an unavailable database."""
        unavailable = "app.domain.errors.ServiceUnavailable: "
        return self.level == "error" and not self.cause.startswith(unavailable)

    def __str__(self) -> str:
        return f"{self.level}, {self.event}: {self.cause}"[:300]


def log_errors(folder: Path) -> Counter[LogError]:
    """Count the warnings and errors in the logs of a folder.

    The entries of failed requests are not counted, because the cause of a failure has its own entry.
    """
    lines = [line for log in sorted(folder.glob("*.log")) for line in log.read_text().splitlines()]
    errors = map(_parse_log_error, lines)
    return Counter(error for error in errors if error is not None)


def _parse_log_error(line: str) -> LogError | None:
    try:
        event = json.loads(line)
    except ValueError:
        return LogError("error", "not a line of the log", line)
    if event["level"] in ("debug", "info") or event["event"] == "request finished":
        return None
    traceback = str(event.get("exception", "")).splitlines() or [""]
    return LogError(event["level"], event["event"], traceback[-1])
