"""What runs are made of: seeded databases, verified servers, rounds of loads. Judges nothing."""

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import click
from sqlalchemy import make_url

from tests import postgres
from tests.bench import seeding
from tests.bench.contender_list import FIXED_BODY, POSTGRESQL, SQLITE, Contender, Name
from tests.bench.load import Figures, Load, run_load
from tests.bench.servers import ContenderProcess, run_contender
from tests.bench.verification import verify_all

SEED = 1
_VERIFIED_POSTS = 25
_REQUESTED_POSTS = 4000
_POSTGRESQL_SETTINGS = (
    "ALTER DATABASE {database} SET jit = off; ALTER DATABASE {database} SET random_page_cost = 1.1"
)
"""Of PostgreSQL, for a disk without a head; the same for all."""


@contextmanager
def temporary_databases(engines: Sequence[str]) -> Iterator[dict[str, str]]:
    """The URL of an empty database on each of these engines; they are gone at the end."""
    # A run that is told to end unwinds as at Ctrl-C, so that its servers end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="post-results-bench-"))
        urls = {SQLITE: f"sqlite+aiosqlite:///{folder}/bench.db"}
        if POSTGRESQL in engines:
            server = stack.enter_context(postgres.running_server())
            urls[POSTGRESQL] = stack.enter_context(postgres.new_database(server))
        yield {engine: urls[engine] for engine in engines}


def seed_all(urls: Mapping[str, str], dataset: seeding.Dataset) -> list[UUID]:
    """The ids of the posts, from the oldest to the newest."""
    click.echo(f"Seeding {dataset.posts:,} posts on {' and '.join(urls)} ...", err=True)
    ids = asyncio.run(seeding.seed(urls.values(), dataset))
    if POSTGRESQL in urls:
        url = urls[POSTGRESQL]
        with postgres.script_runner(url) as run:
            run(_POSTGRESQL_SETTINGS.format(database=make_url(url).database))
        seeding.vacuum(url)
    return ids


def choose_cores() -> tuple[int, int]:
    """One for the servers, and one for what asks them; the same where there is no other."""
    first, *_, last = sorted(os.sched_getaffinity(0)) * 2
    return first, last


def sample_ids(ids: Sequence[UUID]) -> list[UUID]:
    """Those that are asked about, always the same ones."""
    return random.Random(SEED).sample(ids, min(len(ids), _REQUESTED_POSTS))


def start_all(
    stack: ExitStack,
    contenders: Sequence[Contender],
    bodies: Path,
    token: str,
    ids: Sequence[UUID],
    cpu: int,
) -> list[ContenderProcess]:
    """Verified servers; the fixed bodies are those of one of them, so it comes last."""
    ids = ids[:_VERIFIED_POSTS]
    servers: list[ContenderProcess] = []
    verified: Mapping[str, Sequence[bytes]] = {}
    for contender in sorted(contenders, key=lambda each: each.name.server == FIXED_BODY):
        if contender.name.server == FIXED_BODY:
            verified = verify_all(servers, ids)
            for question, known in verified.items():
                middle = sorted(known, key=len)[len(known) // 2]
                (bodies / f"{question}.json").write_bytes(middle)
        started = run_contender(contender, cpu=cpu, token=token, post_id=ids[0], logs=bodies.parent)
        servers.append(stack.enter_context(started))
        click.echo(f"{contender.name} started", err=True)
    if not verified:
        verify_all(servers, ids)
    click.echo("All answer the same.", err=True)
    return servers


def run_rounds(
    servers: Sequence[ContenderProcess],
    questions: Sequence[str],
    ids: Sequence[UUID],
    load: Load,
    rounds: int,
    database_pid: int | None,
) -> dict[str, dict[Name, list[Figures]]]:
    """One round more than asked, the first of which warms up and does not count."""
    rng = random.Random(SEED)
    asked = {
        question: [each for each in servers if question in each.contender.requests]
        for question in questions
    }
    measured: dict[str, dict[Name, list[Figures]]] = {
        question: {each.name: [] for each in able} for question, able in asked.items()
    }
    for number in range(rounds + 1):
        for question, able in asked.items():
            for server in rng.sample(able, len(able)):
                figures = run_load(server, question, ids, load, database_pid=database_pid)
                if number:
                    measured[question][server.name].append(figures)
        click.echo(f"Round {number} of {rounds}", err=True)
    return measured
