"""The command `post-results` in a process of its own, with its output and errors in files. No tests.

To import the service takes a process longer than to start it. So most are forked from one that has
imported it and does nothing else; in these, every module is as where it was imported anew.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from app.cli import main

_multiprocessing = multiprocessing.get_context("forkserver")
_multiprocessing.set_forkserver_preload([__name__])


class CommandProcess(Protocol):
    """It leads a group of its own, to which whatever it starts belongs."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Its exit status, once it has ended."""

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended, which must be within so many seconds."""

    def send_signal(self, sig: int) -> None:
        """Nothing, once it has ended."""


StartProcess: TypeAlias = Callable[[Sequence[str], Mapping[str, str], Path, Path], CommandProcess]
"""Starts the command with arguments, in an environment; the files are for its output and errors."""


def spawn(
    arguments: Sequence[str], environment: Mapping[str, str], out: Path, log: Path
) -> CommandProcess:
    """As an operator starts it; the only one that can serve with several processes."""
    with out.open("w") as to_out, log.open("w") as to_log:
        return subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            env=environment,
            stdout=to_out,
            stderr=to_log,
            start_new_session=True,
        )


def fork(
    arguments: Sequence[str], environment: Mapping[str, str], out: Path, log: Path
) -> CommandProcess:
    """Much sooner."""
    for file in (out, log):
        file.write_bytes(b"")
    return _ForkedProcess(list(arguments), dict(environment), out, log)


class _ForkedProcess:
    def __init__(
        self, arguments: list[str], environment: dict[str, str], out: Path, log: Path
    ) -> None:
        self._process = _multiprocessing.Process(
            target=_run_command, args=(arguments, environment, out, log)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def _run_command(arguments: list[str], environment: dict[str, str], out: Path, log: Path) -> None:
    os.setsid()
    for file, descriptor in ((out, 1), (log, 2)):
        os.dup2(os.open(file, os.O_WRONLY), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    main(arguments)
