"""Measures the post-results server and alternatives: `python -m tests.bench`. Linux only.

Each server is one process on its own core; PostgreSQL and the load generator share another core. All servers
must return the same responses before they are measured in rotation. `scripts/bench` installs them.
"""

import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import click

from tests.bench import linux_processes, machine
from tests.bench.contender_list import ENGINES, FIXED_BODY, POSTGRESQL, contenders
from tests.bench.load import Load
from tests.bench.report import render_report
from tests.bench.requests import QUERIES
from tests.bench.results import Results, verdicts
from tests.bench.rounds import (
    ResponseMismatch,
    choose_cores,
    run_rounds,
    sample_ids,
    seed_all,
    start_all,
    temporary_databases,
)
from tests.bench.seeding import Dataset
from tests.bench.servers import ServerFailed


def run(
    stack: ExitStack,
    urls: Mapping[str, str],
    token: str,
    all_ids: Sequence[UUID],
    only: str,
    rounds: int,
    seconds: int,
    connections: int,
) -> Results:
    """Start, verify and measure the servers whose name matches `only`."""
    bodies = Path(stack.enter_context(tempfile.TemporaryDirectory()), "bodies")
    bodies.mkdir()
    selected = [c for c in contenders(urls, bodies) if re.search(only, str(c.name))]
    if not selected or selected[0].name.server == FIXED_BODY:
        raise click.UsageError("--only must match at least one server that reads data.")
    server_cpu, load_cpu = choose_cores()
    database_pid = machine.postgresql_pid(urls[POSTGRESQL]) if POSTGRESQL in urls else None
    if database_pid is not None:
        linux_processes.pin(database_pid, load_cpu)
    ids = sample_ids(all_ids)
    servers = start_all(stack, selected, bodies, token, ids, server_cpu)
    load = Load(seconds=seconds, connections=connections, cpu=load_cpu)
    results = run_rounds(servers, QUERIES, ids, load, rounds, database_pid)
    memory = {server.name: linux_processes.memory(server.pid) for server in servers}
    return Results(results, memory)


def as_json(results: Results, versions: Mapping[str, str]) -> str:
    rounds = {
        query: {str(name): [*map(asdict, rounds)] for name, rounds in by_name.items()}
        for query, by_name in results.rounds.items()
    }
    report = {
        "rounds": rounds,
        "peak_memory_mb": {str(name): memory.peak for name, memory in results.memory.items()},
        "private_memory_mb": {str(name): memory.private for name, memory in results.memory.items()},
        "goals": [*map(asdict, verdicts(results))],
        "versions": versions,
    }
    return json.dumps(report, indent=2)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=3, show_default=True, type=click.IntRange(1, 60))
@click.option("--connections", default=16, show_default=True, type=click.IntRange(1, 1000))
@click.option("--only", default="", help="A regular expression, such as 'results|mercurius'.")
@click.option("--engines", default="both", type=click.Choice([*ENGINES, "both"]))
@click.option("--posts", default=20_000, show_default=True, type=click.IntRange(100))
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="File for the results.")
@click.option("--quick", is_flag=True, help="Run one round of one second.")
def main(
    rounds: int,
    seconds: int,
    connections: int,
    only: str,
    engines: str,
    posts: int,
    json_file: Path | None,
    quick: bool,
) -> None:
    """Print the throughput of the post-results server and of the others."""
    if quick:
        rounds = seconds = 1
    dataset = Dataset(posts, datetime.now(UTC))
    chosen_engines = ENGINES if engines == "both" else (engines,)
    with ExitStack() as stack:
        urls = stack.enter_context(temporary_databases(chosen_engines))
        ids = seed_all(urls, dataset)
        try:
            results = run(
                stack, urls, dataset.api_key.token, ids, only, rounds, seconds, connections
            )
        except (ResponseMismatch, ServerFailed) as error:
            click.echo(str(error), err=True)
            sys.exit(1)
        versions = dict(machine.describe_machine(urls.get(POSTGRESQL)))
    for line in render_report(results, verdicts(results), versions):
        click.echo(line)
    if json_file is not None:
        json_file.write_text(as_json(results, versions))


if __name__ == "__main__":
    main()
