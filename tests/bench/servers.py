"""Runs a contender as a separate process on one core."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.bench.contender_list import Contender
from tests.bench.requests import Request
from tests.servers import unused_port

_START_TIMEOUT = 60
_STOP_TIMEOUT = 15
_REQUEST_TIMEOUT = 30
_LOG_TAIL_LENGTH = 3000


class ServerFailed(Exception):
    """A server did not start, ended, or did not respond with 200; the message contains its log."""


class ContenderProcess:
    """A running contender, which writes its output into the file `log`."""

    def __init__(
        self,
        contender: Contender,
        process: subprocess.Popen[bytes],
        *,
        port: int,
        token: str | None,
        log: Path,
    ) -> None:
        self.contender = contender
        self.name = contender.name
        self.pid = process.pid
        self.url = f"http://127.0.0.1:{port}"
        self.start_seconds = 0.0
        """Time from the start to the first response."""
        self.token = token
        self._process = process
        self._http = httpx.Client(base_url=self.url, timeout=_REQUEST_TIMEOUT)
        self.log = log

    def send(self, request: Request) -> bytes:
        """Send a request and return the body; ServerFailed unless the status is 200."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        method = "GET" if request.body is None else "POST"
        response = self._http.request(method, request.path, headers=headers, content=request.body)
        if response.status_code != 200:
            raise self.failure(f"answered {response.status_code}: {response.text[:300]}")
        return response.content

    def failure(self, reason: str) -> ServerFailed:
        log = self.log.read_text(errors="replace")[-_LOG_TAIL_LENGTH:]
        return ServerFailed(f"{self.name} {reason}\n{log}")

    def check_alive(self) -> None:
        status = self._process.poll()
        if status is not None:
            raise self.failure(f"ended with status {status}")

    def wait_for_first_response(self, started_at: float, post_id: object) -> None:
        """Wait for the first response, to a query of this post; `started_at` is a monotonic time."""
        request = self.contender.requests[self.contender.first_query].with_post_id(post_id)
        while time.monotonic() < started_at + _START_TIMEOUT:
            self.check_alive()
            with suppress(httpx.TransportError):
                self.send(request)
                self.start_seconds = time.monotonic() - started_at
                return
            time.sleep(0.01)
        raise self.failure(f"did not respond within {_START_TIMEOUT} s")

    def stop(self) -> None:
        """Send SIGTERM, and after a timeout SIGKILL."""
        self._http.close()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def run_contender(
    contender: Contender, *, cpu: int, token: str, post_id: object, logs: Path
) -> Iterator[ContenderProcess]:
    """Start a contender, wait for its first response, and stop it at the end."""
    port = unused_port()
    log = logs / f"{contender.name.server}-{contender.name.engine}.log"
    started = time.monotonic()
    with log.open("wb") as to_log:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(cpu), *contender.command],
            cwd=contender.folder,
            env={
                **os.environ,
                "PYTHONDONTWRITEBYTECODE": "",  # as where a user runs it, later starts are faster
                **contender.environment,
                "PORT": str(port),
            },
            stdout=to_log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C does not stop it before us
        )
    own_token = token if contender.requires_api_key else None
    server = ContenderProcess(contender, process, port=port, token=own_token, log=log)
    try:
        server.wait_for_first_response(started, post_id)
        yield server
    finally:
        server.stop()
