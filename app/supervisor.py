"""Supervisor of several server processes: their signals, restarts and end."""

import signal
import socket
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

_POLL_INTERVAL_SECONDS = 0.1
"""Interval at which the supervisor checks whether a process that it replaces has ended."""

logger = structlog.stdlib.get_logger(__name__)


class Supervisor(Multiprocess):
    """Supervisor of several server processes, which stops them also while it replaces them.

    SIGTERM stops each process after SHUTDOWN_DELAY; SIGINT and a second signal skip the delay. So does
    SIGHUP: the port stays open, and a draining process would answer probes with 503 meanwhile.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.should_exit = _StopEvent()
        self._skips_delay = False
        self._stopping_processes: list[Process] = []
        """Processes that a restart has stopped, and that may still be running."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_stop_signal)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._on_restart_signal)

    def _on_stop_signal(self, number: int, _frame: FrameType | None) -> None:
        is_second = self.should_exit.is_set()
        if is_second or number == signal.SIGINT:
            self._skips_delay = True
        if is_second:
            self._send_second_signal()
        self.should_exit.set()

    def _on_restart_signal(self, number: int, _frame: FrameType | None) -> None:
        """Queue a restart, unless one is queued already."""
        if number not in self.signal_queue:
            self.signal_queue.append(number)

    def _send_second_signal(self) -> None:
        for process in (*self.processes, *self._stopping_processes):
            process.process.terminate()

    def restart_all(self) -> None:
        """Replace each process by a new one, which serves before the old one stops."""
        timeout = self.config.timeout_worker_healthcheck
        for index, old in enumerate(self.processes):
            new = Process(self.config, self.sockets)
            new.start()
            is_ready = new.wait_until_ready(timeout, self.should_exit)
            if self.should_exit.is_set():
                self._stopping_processes.append(new)
                new.terminate()
                return
            if not is_ready:
                new.kill()
                new.join()
                logger.error("new server process not ready in time, restart aborted", pid=new.pid)
                return
            self.processes[index] = new
            self._stopping_processes.append(old)
            old.terminate()
            while old.process.is_alive():
                if self.should_exit.wait(_POLL_INTERVAL_SECONDS):
                    return
                old.process.terminate()  # repeated, as a busy process may notice two signals as one
        self._stopping_processes.clear()

    def terminate_all(self) -> None:
        super().terminate_all()
        if self._skips_delay:
            time.sleep(_POLL_INTERVAL_SECONDS)  # the kernel merges pending signals of one kind
            self._send_second_signal()

    def join_all(self) -> None:
        for process in (*self.processes, *self._stopping_processes):
            process.join()


class _StopEvent(threading.Event):
    """Event that a signal handler may set while it interrupts `wait` in the same thread.

    The handler would wait for the lock of an ordinary event forever, if `wait` holds it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self._wakeups: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._wakeups.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            with suppress(Empty):
                self._wakeups.get(timeout=timeout)
        return self._is_set
