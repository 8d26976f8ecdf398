"""Our server timed beside those that a user could pick instead: `python -m tests.bench`. Linux only.

Each server is one process on a core of its own; PostgreSQL and the load share another one. All must
answer the same before they are timed, in rotation. `scripts/bench` installs what it needs.
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
from tests.bench.requests import QUESTIONS
from tests.bench.results import Results, verdicts
from tests.bench.rounds import choose_cores, temporary_databases, seed_all, sample_ids, start_all, run_rounds
from tests.bench.seeding import Dataset
from tests.bench.servers import ServerFailed, peak_memory_mb
from tests.bench.startup import StartupTimes, measure_startup
from tests.bench.verification import ResponseMismatch


def run(
    stack: ExitStack,
    urls: Mapping[str, str],
    token: str,
    all_ids: Sequence[UUID],
    only: str,
    rounds: int,
    seconds: int,
    connections: int,
) -> tuple[Results, list[StartupTimes]]:
    """Start, verify and time those whose name has the pattern."""
    bodies = Path(stack.enter_context(tempfile.TemporaryDirectory()), "bodies")
    bodies.mkdir()
    chosen = [each for each in contenders(urls, bodies) if re.search(only, str(each.name))]
    if not chosen or chosen[0].name.server == FIXED_BODY:
        raise click.UsageError("--only must leave a server, and one that reads data.")
    server_cpu, asking_cpu = choose_cores()
    database_pid = machine.postgresql_pid(urls[POSTGRESQL]) if POSTGRESQL in urls else None
    if database_pid is not None:
        linux_processes.pin(database_pid, asking_cpu)
    ids = sample_ids(all_ids)
    servers = start_all(stack, chosen, bodies, token, ids, server_cpu)
    took = list(measure_startup(servers, ids[0]))
    load = Load(seconds=seconds, connections=connections, cpu=asking_cpu)
    measured = run_rounds(servers, QUESTIONS, ids, load, rounds, database_pid)
    return Results(measured, {each.name: peak_memory_mb(each) for each in servers}), took


def as_json(results: Results, versions: Mapping[str, str]) -> str:
    rounds = {
        question: {str(name): [asdict(each) for each in figures] for name, figures in by.items()}
        for question, by in results.rounds.items()
    }
    memory = {str(name): peak for name, peak in results.peak_memory_mb.items()}
    goals = [asdict(each) for each in verdicts(results)]
    known = {"rounds": rounds, "peak_memory_mb": memory, "goals": goals, "versions": versions}
    return json.dumps(known, indent=2)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=3, show_default=True, type=click.IntRange(1, 60))
@click.option("--connections", default=16, show_default=True, type=click.IntRange(1, 1000))
@click.option("--only", default="", help="A regular expression, such as 'results|mercurius'.")
@click.option("--engines", default="both", type=click.Choice([*ENGINES, "both"]))
@click.option("--posts", default=20_000, show_default=True, type=click.IntRange(100))
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Where to put figures.")
@click.option("--quick", is_flag=True, help="One round of one second.")
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
    """Print how many requests our server answers, and how many the others do."""
    if quick:
        rounds = seconds = 1
    drawing = Dataset(posts, datetime.now(UTC))
    wanted = ENGINES if engines == "both" else (engines,)
    with ExitStack() as stack:
        urls = stack.enter_context(temporary_databases(wanted))
        ids = seed_all(urls, drawing)
        try:
            results, took = run(
                stack, urls, drawing.api_key.token, ids, only, rounds, seconds, connections
            )
        except (ResponseMismatch, ServerFailed) as failure:
            click.echo(str(failure), err=True)
            sys.exit(1)
        versions = dict(machine.describe_machine(urls.get(POSTGRESQL)))
    for line in render_report(results, verdicts(results), took, versions):
        click.echo(line)
    if json_file is not None:
        json_file.write_text(as_json(results, versions))


if __name__ == "__main__":
    main()
