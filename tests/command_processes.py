"""Runs the command `post-results` in separate processes, with stdout and stderr in files.

Importing the service takes longer than starting it. Therefore most processes are forked from one that
imported the service and created its schema, but has neither a database nor an event loop.
"""

import gc
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import alembic.command  # noqa: F401 - which a migration imports
import uvloop  # noqa: F401 - which uvicorn imports when it starts

from app.cli import main
from app.graphql.engine.executable_schema import create_schema
from app.settings import read_settings

_defaults = read_settings({})
create_schema(_defaults.graphql, use_fast_path=_defaults.fast_path)
gc.freeze()  # as after the imports of `python -m app`

_multiprocessing = multiprocessing.get_context("forkserver")
_multiprocessing.set_forkserver_preload([__name__])


class CommandProcess(Protocol):
    """A process that leads its own process group, which contains its children."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Exit status, or None while it runs."""

    def wait(self, timeout: float) -> int:
        """Wait at most `timeout` seconds for the end, and return the exit status."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""


StartProcess: TypeAlias = Callable[[Sequence[str], Mapping[str, str], Path, Path], CommandProcess]
"""Starts the command with arguments, environment, and files for stdout and stderr."""


def spawn(
    arguments: Sequence[str], environment: Mapping[str, str], out: Path, log: Path
) -> CommandProcess:
    """Start a new interpreter, as an operator does."""
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
    """Fork the process that imported the service; much faster than `spawn`."""
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
    sys.stdin = None  # a supervisor passes its number to processes that do not inherit it
    os.environ.clear()
    os.environ.update(environment)
    main(arguments)
