"""Whether reads cost the same however much is stored, and however deep a page lies. Times nobody else.

`python -m tests.bench.scaling`: one client asks our server for one post's results, and for pages by
cursor. What counts is the ratio to the smallest; no time is asked for.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import click

from app.domain.times import format_instant
from tests.bench import linux_processes, machine
from tests.bench.contender_list import ENGINES, POST_RESULTS_SERVER, POSTGRESQL, contenders
from tests.bench.load import Load, run_load
from tests.bench.requests import POST_ID_PLACEHOLDER, GRAPHQL, POST_FIELDS, graphql_request
from tests.bench.rounds import SEED, choose_cores, temporary_databases, seed_all
from tests.bench.seeding import Dataset
from tests.bench.servers import ContenderProcess, ServerFailed, run_contender

MAX_FLAT_RATIO = 1.5
"""Times the smallest, up to which a cost counts as the same."""

_SIZE_DIVISORS = (25, 5, 1)
_DEPTHS_IN_THOUSANDS = (0, 2, 20, 200, 800)
_POSTS_PER_ROUND = 10_000
"""Of one round; more than it can ask for, and other ones than those of the round before."""
_CURSOR_COUNT = 100

_RESULTS_QUESTION = "Q1"
_FIRST_PAGE = "page"
_PAGE_AFTER = "page after a cursor"
_PAGE_QUERY = (
    "query($after: String) { posts(first: 20, after: $after) {"
    f" nodes {{ postId {POST_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }} }}"
)
_REQUESTS = {
    _RESULTS_QUESTION: GRAPHQL["Q1"],
    _FIRST_PAGE: graphql_request(_PAGE_QUERY, after=None),
    _PAGE_AFTER: graphql_request(_PAGE_QUERY, after=POST_ID_PLACEHOLDER),
}
_CURSORS_QUERY = (
    "query($from: DateTime!, $n: Int!) { posts(first: $n, filter: { createdBefore: $from }) {"
    " edges { cursor node { postId } } } }"
)


@dataclass(frozen=True, slots=True)
class CostByScale:
    """What one thing costs, in milliseconds, by how much of something there is."""

    operation: str
    dimension: str
    rounds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, size: int, milliseconds: float) -> None:
        self.rounds.setdefault(size, []).append(milliseconds)

    def medians(self) -> dict[int, float]:
        return {size: statistics.median(of_rounds) for size, of_rounds in self.rounds.items()}

    def ratios(self) -> dict[int, float]:
        """To the first."""
        medians = self.medians()
        first = next(iter(medians.values()))
        return {size: median / first for size, median in medians.items()}

    @property
    def is_flat(self) -> bool:
        return max(self.ratios().values()) <= MAX_FLAT_RATIO

    def lines(self) -> Iterator[str]:
        ratios = self.ratios()
        for size, median in self.medians().items():
            yield f"  {size:>9,} {self.dimension}  {median:8.3f} ms  {ratios[size]:6.2f} ×"

    def verdict(self) -> str:
        ratios = self.ratios()
        worst = max(ratios, key=lambda size: ratios[size])
        if self.is_flat:
            return f"{self.operation} is flat: at most {ratios[worst]:.2f} times the first."
        return (
            f"{self.operation} is NOT flat: {ratios[worst]:.1f} times the first at {worst:,}"
            f" {self.dimension}, where {MAX_FLAT_RATIO:g} would do."
        )


@dataclass(frozen=True, slots=True)
class BenchmarkServer:
    """A server of ours before so many posts."""

    dataset: Dataset
    ids: Sequence[UUID]
    server: ContenderProcess
    database_pid: int | None

    def measure_latency(self, question: str, post_ids: Sequence[object], load: Load) -> float:
        """Half of the answers took at most so many milliseconds."""
        figures = run_load(self.server, question, post_ids, load, database_pid=self.database_pid)
        return figures.p50

    def cursors(self, depth: int) -> list[str]:
        """Of the posts that so many are newer than, and of older ones; found by when it was created."""
        just_after = self.dataset.created_at(depth) + timedelta(milliseconds=1)
        asked = graphql_request(_CURSORS_QUERY, **{"from": format_instant(just_after)}, n=_CURSOR_COUNT)
        edges = json.loads(self.server.send(asked))["data"]["posts"]["edges"]
        if edges[0]["node"]["postId"] != str(self.ids[-1 - depth]):
            raise ServerFailed(f"{self.server.name} has another post at depth {depth:,}")
        return [edge["cursor"] for edge in edges]


def open_servers(stack: ExitStack, posts: int, engines: Sequence[str]) -> dict[str, BenchmarkServer]:
    """By engine, a server before as many posts."""
    server_cpu, asking_cpu = choose_cores()
    urls = stack.enter_context(temporary_databases(engines))
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    drawing = Dataset(posts, datetime.now(UTC))
    started = time.monotonic()
    ids = seed_all(urls, drawing)
    click.echo(f"Seeded in {time.monotonic() - started:,.0f} s", err=True)
    stores = {}
    for contender in contenders(urls, logs):
        if contender.name.server == POST_RESULTS_SERVER:
            engine = contender.name.engine
            pid = machine.postgresql_pid(urls[engine]) if engine == POSTGRESQL else None
            if pid is not None:
                linux_processes.pin(pid, asking_cpu)
            server = run_contender(
                replace(contender, requests=_REQUESTS),
                cpu=server_cpu,
                token=drawing.api_key.token,
                post_id=ids[0],
                logs=logs,
            )
            stores[engine] = BenchmarkServer(drawing, ids, stack.enter_context(server), pid)
    return stores


def measure(servers: Sequence[BenchmarkServer], rounds: int, load: Load) -> tuple[CostByScale, CostByScale]:
    """On one engine, in rotation; one round more than asked, the first of which does not count."""
    rng = random.Random(SEED)
    results = CostByScale("One post's results", "posts")
    pages = CostByScale("A page by cursor", "posts before it")
    largest = servers[-1]
    depths = [each * largest.dataset.posts // 1000 for each in _DEPTHS_IN_THOUSANDS]
    cursors = {depth: largest.cursors(depth - 1) for depth in depths if depth}
    for number in range(rounds + 1):
        for store in servers:
            asked = rng.sample(store.ids, min(len(store.ids), _POSTS_PER_ROUND))
            took = store.measure_latency(_RESULTS_QUESTION, asked, load)
            if number:
                results.add(store.dataset.posts, took)
        for depth in depths:
            question = _PAGE_AFTER if depth else _FIRST_PAGE
            took = largest.measure_latency(question, cursors.get(depth, [POST_ID_PLACEHOLDER]), load)
            if number:
                pages.add(depth, took)
        click.echo(f"Round {number} of {rounds}", err=True)
    return results, pages


@click.command()
@click.option("--posts", default=500_000, show_default=True, type=click.IntRange(10_000))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1, 60))
@click.option("--engines", default="both", type=click.Choice([*ENGINES, "both"]))
def main(posts: int, rounds: int, seconds: int, engines: str) -> None:
    """Print what reads cost with a 25th, a fifth and all of so many posts, and deep in all of them.

    Exits with 1 where something is not flat.
    """
    wanted = ENGINES if engines == "both" else (engines,)
    load = Load(seconds=seconds, connections=1, cpu=choose_cores()[1])
    measured: dict[str, tuple[CostByScale, ...]] = {}
    with ExitStack() as stack:
        try:
            sizes = [open_servers(stack, posts // part, wanted) for part in _SIZE_DIVISORS]
            for engine in wanted:
                measured[engine] = measure([each[engine] for each in sizes], rounds, load)
        except ServerFailed as failure:
            click.echo(str(failure), err=True)
            sys.exit(1)
    for engine, growths in measured.items():
        click.echo(engine)
        for growth in growths:
            click.echo(f"  {growth.operation}")
            click.echo("\n".join(f"  {line}" for line in growth.lines()))
    for engine, growths in measured.items():
        for growth in growths:
            click.echo(f"{engine}: {growth.verdict()}")
    sys.exit(not all(each.is_flat for growths in measured.values() for each in growths))


if __name__ == "__main__":
    main()
