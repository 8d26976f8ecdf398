"""Restarts of PostgreSQL, by a fast shutdown or by a simulated crash."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeAlias

from tests import postgres

MAX_DOWNTIME = 2.0
"""Seconds."""

Outage: TypeAlias = Callable[[], None]
"""Causes an outage and returns after its end."""


@dataclass(frozen=True, slots=True)
class RestartedDatabase:
    """An empty database, and the restarts of its server during the run."""

    url: str
    restarts: Sequence[Outage]


@contextmanager
def restarted_postgresql(restarts: int, randomness: Random) -> Iterator[RestartedDatabase]:
    with postgres.local_server() as server, postgres.new_database(server.url) as url:
        outages = [
            partial(
                _restart,
                server,
                randomness.choice((_fast_shutdown, _crash)),
                randomness.uniform(0, MAX_DOWNTIME),
            )
            for _ in range(restarts)
        ]
        yield RestartedDatabase(url, outages)


def _restart(
    server: postgres.LocalServer, stop: Callable[[postgres.LocalServer], None], downtime: float
) -> None:
    stop(server)
    time.sleep(downtime)
    server.start()


def _fast_shutdown(server: postgres.LocalServer) -> None:
    """Abort transactions and notify clients, as an operator does."""
    server.stop()


def _crash(server: postgres.LocalServer) -> None:
    """Stop immediately, so that the server recovers at its next start."""
    pid = server.main_pid()
    os.kill(pid, signal.SIGQUIT)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
