"""Our server timed beside those that a user could pick instead: `python -m tests.bench`. Linux only.

Each server is one process on a core of its own; PostgreSQL and the load share another one. All must
answer the same before they are timed, in rotation. `scripts/bench` installs what it needs.
"""

import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import make_url

from tests import postgres
from tests.bench import machine, proc, seeding
from tests.bench.lineup import ENGINES, FIXED_BODY, POSTGRESQL, SQLITE, Contender, Name, contenders
from tests.bench.load import Figures, Load, run_load
from tests.bench.report import report
from tests.bench.requests import QUESTIONS
from tests.bench.results import Results, verdicts
from tests.bench.servers import Server, ServerFailed, peak_memory_mb, running
from tests.bench.starting import Start, starts
from tests.bench.verification import Differs, ask_all

_VERIFIED_POSTS = 25
_ASKED_POSTS = 4000
_SEED = 1
_SHARED_SETTINGS = (
    "ALTER DATABASE {database} SET jit = off; ALTER DATABASE {database} SET random_page_cost = 1.1"
)
"""Of PostgreSQL, for a disk without a head; the same for all."""


@contextmanager
def databases(engines: Sequence[str]) -> Iterator[dict[str, str]]:
    """The URL of an empty database on each of these engines."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="post-results-bench-"))
        urls = {SQLITE: f"sqlite+aiosqlite:///{folder}/bench.db"}
        if POSTGRESQL in engines:
            server = stack.enter_context(postgres.running_server())
            urls[POSTGRESQL] = stack.enter_context(postgres.new_database(server))
        yield {engine: urls[engine] for engine in engines}


def seed_all(urls: Mapping[str, str], drawn: seeding.Drawn) -> None:
    for engine, url in urls.items():
        asyncio.run(seeding.seed(url, drawn))
        if engine == POSTGRESQL:
            with postgres.running_scripts(url) as run:
                run(_SHARED_SETTINGS.format(database=make_url(url).database))
            seeding.vacuum(url)


def start_all(
    stack: ExitStack,
    chosen: Sequence[Contender],
    bodies: Path,
    drawn: seeding.Drawn,
    ids: Sequence[object],
    cpu: int,
) -> list[Server]:
    """Verified servers; the fixed bodies are those of one of them, so it comes last."""
    servers: list[Server] = []
    verified: Mapping[str, Sequence[bytes]] = {}
    for contender in sorted(chosen, key=lambda each: each.name.server == FIXED_BODY):
        if contender.name.server == FIXED_BODY:
            verified = ask_all(servers, ids)
            for question, known in verified.items():
                middle = sorted(known, key=len)[len(known) // 2]
                (bodies / f"{question}.json").write_bytes(middle)
        started = running(
            contender, cpu=cpu, token=drawn.key.token, post_id=ids[0], logs=bodies.parent
        )
        servers.append(stack.enter_context(started))
        click.echo(f"{contender.name} started", err=True)
    if not verified:
        ask_all(servers, ids)
    click.echo("All answer the same.", err=True)
    return servers


def time_all(
    servers: Sequence[Server],
    ids: Sequence[object],
    load: Load,
    rounds: int,
    database_pid: int | None,
) -> dict[str, dict[Name, list[Figures]]]:
    """One round more than asked, the first of which warms up and does not count."""
    measured: dict[str, dict[Name, list[Figures]]] = {}
    rng = random.Random(_SEED)
    for question in QUESTIONS:
        asked = [each for each in servers if question in each.contender.requests]
        of_question = measured.setdefault(question, {each.name: [] for each in asked})
        for number in range(rounds + 1):
            for server in rng.sample(asked, len(asked)):
                figures = run_load(server, question, ids, load, database_pid=database_pid)
                if number:
                    of_question[server.name].append(figures)
            click.echo(f"{question} round {number} of {rounds}", err=True)
    return measured


def run(
    stack: ExitStack,
    urls: Mapping[str, str],
    drawn: seeding.Drawn,
    only: str,
    rounds: int,
    seconds: int,
    connections: int,
) -> tuple[Results, list[Start]]:
    """Start, verify and time those whose name has the pattern."""
    bodies = Path(stack.enter_context(tempfile.TemporaryDirectory()), "bodies")
    bodies.mkdir()
    chosen = [each for each in contenders(urls, bodies) if re.search(only, str(each.name))]
    if not chosen or chosen[0].name.server == FIXED_BODY:
        raise click.UsageError("--only must leave a server, and one that reads data.")
    first_cpu, *_, last_cpu = sorted(os.sched_getaffinity(0)) * 2
    database_pid = machine.postgresql_pid(urls[POSTGRESQL]) if POSTGRESQL in urls else None
    if database_pid is not None:
        proc.pin(database_pid, last_cpu)
    ids = random.Random(_SEED).sample(drawn.post_ids, min(len(drawn.post_ids), _ASKED_POSTS))
    servers = start_all(stack, chosen, bodies, drawn, ids[:_VERIFIED_POSTS], first_cpu)
    took = list(starts(servers, ids[0]))
    load = Load(seconds=seconds, connections=connections, cpu=last_cpu)
    measured = time_all(servers, ids, load, rounds, database_pid)
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
    # A run that is told to end unwinds as at Ctrl-C, so that its servers end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if quick:
        rounds = seconds = 1
    drawn = seeding.draw(posts, datetime.now(UTC))
    wanted = ENGINES if engines == "both" else (engines,)
    with ExitStack() as stack:
        urls = stack.enter_context(databases(wanted))
        click.echo(f"Seeding {posts} posts on {' and '.join(wanted)} ...", err=True)
        seed_all(urls, drawn)
        try:
            results, took = run(stack, urls, drawn, only, rounds, seconds, connections)
        except (Differs, ServerFailed) as failure:
            click.echo(str(failure), err=True)
            sys.exit(1)
        versions = dict(machine.described(urls.get(POSTGRESQL)))
    for line in report(results, verdicts(results), took, versions):
        click.echo(line)
    if json_file is not None:
        json_file.write_text(as_json(results, versions))


if __name__ == "__main__":
    main()
