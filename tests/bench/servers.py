"""A contender as a process of its own, pinned to one core: started, asked, stopped. Times no load."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.bench import linux_processes
from tests.bench.contender_list import POST_RESULTS_SERVER, Contender
from tests.bench.requests import Request

_START_TIMEOUT = 60
_STOP_TIMEOUT = 15
_REQUEST_TIMEOUT = 30
_LOG_TAIL_LENGTH = 3000


class ServerFailed(Exception):
    """It did not start, died, or answered something else than 200; the message has its log."""


class ContenderProcess:
    """A running contender. Ours gets its key with each request; the others want none."""

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
        """From its start to its first answer."""
        self.token = token
        self._process = process
        self._http = httpx.Client(base_url=self.url, timeout=_REQUEST_TIMEOUT)
        self._log = log

    def send(self, request: Request) -> bytes:
        """The body of a 200."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        method = "GET" if request.body is None else "POST"
        answer = self._http.request(method, request.path, headers=headers, content=request.body)
        if answer.status_code != 200:
            raise self.failure(f"answered {answer.status_code}: {answer.text[:300]}")
        return answer.content

    def failure(self, reason: str) -> ServerFailed:
        log = self._log.read_text(errors="replace")[-_LOG_TAIL_LENGTH:]
        return ServerFailed(f"{self.name} {reason}\n{log}")

    def check_alive(self) -> None:
        status = self._process.poll()
        if status is not None:
            raise self.failure(f"ended with status {status}")

    def wait_for_first_response(self, started_at: float, post_id: object) -> None:
        """Until its first answer, about this post; `started` is of the monotonic clock."""
        request = self.contender.requests[self.contender.first_request_name].with_post_id(post_id)
        while time.monotonic() < started_at + _START_TIMEOUT:
            self.check_alive()
            with suppress(httpx.TransportError):
                self.send(request)
                self.start_seconds = time.monotonic() - started_at
                return
            time.sleep(0.01)
        raise self.failure("did not answer in time")

    def stop(self) -> None:
        """In order, or by force where that takes too long."""
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
    """The server, from its first answer on; it is stopped at the end, whatever happens."""
    port = _free_port()
    log = logs / f"{contender.name.server}-{contender.name.engine}.log"
    started = time.monotonic()
    with log.open("wb") as to_log:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(cpu), *contender.command],
            cwd=contender.folder,
            env={**os.environ, **contender.environment, "PORT": str(port)},
            stdout=to_log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C leaves the order to us
        )
    own_token = token if contender.name.server == POST_RESULTS_SERVER else None
    server = ContenderProcess(contender, process, port=port, token=own_token, log=log)
    try:
        server.wait_for_first_response(started, post_id)
        yield server
    finally:
        server.stop()


def peak_memory_mb(server: ContenderProcess) -> float:
    return linux_processes.peak_memory_mb(server.pid)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
