"""Measures how soon a server with demo data responds: `python -m tests.bench.startup`.

The first start creates the database and the bytecode of the code, and is not counted.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from app.settings import Settings
from tests.bench import linux_processes
from tests.bench.contender_list import (
    ENGINES,
    POST_RESULTS_SERVER,
    SQLITE,
    Contender,
    Name,
)
from tests.bench.requests import GRAPHQL, Request
from tests.bench.rounds import choose_cores, temporary_databases
from tests.bench.servers import run_contender


@dataclass(frozen=True, slots=True)
class DemoStartup:
    """Times in seconds since the start of a server with demo data."""

    live: float
    """Time to the response of `/livez`."""
    first_result: float
    """Time to the result of a GraphQL query that is sent after it."""
    cpu: float
    """CPU time until then, which depends less on the load of the machine."""

    def __str__(self) -> str:
        return (
            f"/livez {self.live:.2f} s, first GraphQL result {self.first_result:.2f} s,"
            f" CPU time {self.cpu:.2f} s"
        )

    def best(self, other: "DemoStartup") -> "DemoStartup":
        return DemoStartup(
            min(self.live, other.live),
            min(self.first_result, other.first_result),
            min(self.cpu, other.cpu),
        )


def start_demo(engine: str, url: str, logs: Path) -> DemoStartup:
    """Start the server on one core, wait for two responses, and stop it."""
    query = GRAPHQL["Q2"]
    contender = Contender(
        name=Name(POST_RESULTS_SERVER, engine),
        command=(sys.executable, "-m", "app", "serve", "--demo"),
        environment={"DATABASE_URL": url},
        requests={"live": Request("/livez"), "Q2": query},
        requires_api_key=True,
    )
    token, (cpu, _) = Settings().demo_key(), choose_cores()
    with run_contender(contender, cpu=cpu, token=token, post_id=None, logs=logs) as server:
        sent = time.monotonic()
        server.send(query)
        first_result = server.start_seconds + time.monotonic() - sent
        return DemoStartup(
            server.start_seconds, first_result, linux_processes.cpu_seconds(server.pid)
        )


@click.command()
@click.option("--starts", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--engine", default=SQLITE, show_default=True, type=click.Choice(ENGINES))
def main(starts: int, engine: str) -> None:
    """Print the times of each start on an existing database, and the best of each."""
    with temporary_databases([engine]) as urls, tempfile.TemporaryDirectory() as logs:
        click.echo(f"new database: {start_demo(engine, urls[engine], Path(logs))}")
        best = None
        for number in range(1, starts + 1):
            startup = start_demo(engine, urls[engine], Path(logs))
            click.echo(f"start {number}: {startup}")
            best = startup if best is None else best.best(startup)
        click.echo(f"best: {best}")


if __name__ == "__main__":
    main()
