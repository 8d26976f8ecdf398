"""Measures whether read latency depends on the number of posts or the depth of a page.

`python -m tests.bench.scaling`: one client reads the results of one post, and pages by cursor. Only the
ratio to the smallest size counts, not the latency itself.
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
from tests.bench.requests import GRAPHQL, POST_FIELDS, POST_ID_PLACEHOLDER, graphql_request
from tests.bench.rounds import SEED, choose_cores, seed_all, temporary_databases
from tests.bench.seeding import Dataset
from tests.bench.servers import ContenderProcess, ServerFailed, run_contender

MAX_FLAT_RATIO = 1.5
"""Largest ratio to the smallest size that counts as flat."""

_SIZE_DIVISORS = (25, 5, 1)
_DEPTHS = (0, 2, 20, 200, 800)
"""Depths of the measured pages, in thousandths of the posts."""
_POSTS_PER_ROUND = 10_000
"""More than one round can request, and different in each round."""
_CURSOR_COUNT = 100

_RESULTS_QUERY = "Q1"
_FIRST_PAGE = "page"
_PAGE_AFTER = "page after a cursor"
_PAGE_QUERY = (
    "query($after: String) { posts(first: 20, after: $after) {"
    f" nodes {{ postId {POST_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }} }}"
)
_REQUESTS = {
    _RESULTS_QUERY: GRAPHQL["Q1"],
    _FIRST_PAGE: graphql_request(_PAGE_QUERY, after=None),
    _PAGE_AFTER: graphql_request(_PAGE_QUERY, after=POST_ID_PLACEHOLDER),
}
_CURSORS_QUERY = (
    "query($from: DateTime!, $n: Int!) { posts(first: $n, filter: { createdBefore: $from }) {"
    " edges { cursor node { postId } } } }"
)


@dataclass(frozen=True, slots=True)
class CostByScale:
    """Latency of an operation in milliseconds, by size of a dimension."""

    operation: str
    dimension: str
    rounds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, size: int, milliseconds: float) -> None:
        self.rounds.setdefault(size, []).append(milliseconds)

    def medians(self) -> dict[int, float]:
        return {size: statistics.median(rounds) for size, rounds in self.rounds.items()}

    def ratios(self) -> dict[int, float]:
        """Ratios of the medians to that of the first size."""
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
            return f"{self.operation} is flat: at most {ratios[worst]:.2f} times the first size."
        return (
            f"{self.operation} is NOT flat: {ratios[worst]:.1f} times the first size at {worst:,}"
            f" {self.dimension}; the limit is {MAX_FLAT_RATIO:g}."
        )


@dataclass(frozen=True, slots=True)
class BenchmarkServer:
    """A post-results server with a dataset."""

    dataset: Dataset
    ids: Sequence[UUID]
    server: ContenderProcess
    database_pid: int | None

    def measure_latency(self, query: str, post_ids: Sequence[object], load: Load) -> float:
        """Median latency in milliseconds."""
        return run_load(self.server, query, post_ids, load, database_pid=self.database_pid).p50

    def cursors(self, depth: int) -> list[str]:
        """Cursors of the post with `depth` newer posts, and of the next older ones."""
        just_after = self.dataset.created_at(depth) + timedelta(milliseconds=1)
        request = graphql_request(
            _CURSORS_QUERY, **{"from": format_instant(just_after)}, n=_CURSOR_COUNT
        )
        edges = json.loads(self.server.send(request))["data"]["posts"]["edges"]
        if edges[0]["node"]["postId"] != str(self.ids[-1 - depth]):
            raise ServerFailed(f"{self.server.name} has another post at depth {depth:,}")
        return [edge["cursor"] for edge in edges]


def open_servers(
    stack: ExitStack, posts: int, engines: Sequence[str]
) -> dict[str, BenchmarkServer]:
    """Engine → server with this number of posts."""
    server_cpu, load_cpu = choose_cores()
    urls = stack.enter_context(temporary_databases(engines))
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    dataset = Dataset(posts, datetime.now(UTC))
    started = time.monotonic()
    ids = seed_all(urls, dataset)
    click.echo(f"Seeded in {time.monotonic() - started:,.0f} s", err=True)
    servers = {}
    for contender in contenders(urls, logs):
        if contender.name.server == POST_RESULTS_SERVER:
            engine = contender.name.engine
            pid = machine.postgresql_pid(urls[engine]) if engine == POSTGRESQL else None
            if pid is not None:
                linux_processes.pin(pid, load_cpu)
            process = run_contender(
                replace(contender, requests=_REQUESTS),
                cpu=server_cpu,
                token=dataset.api_key.token,
                post_id=ids[0],
                logs=logs,
            )
            servers[engine] = BenchmarkServer(dataset, ids, stack.enter_context(process), pid)
    return servers


def measure_scaling(
    servers: Sequence[BenchmarkServer], rounds: int, load: Load
) -> tuple[CostByScale, CostByScale]:
    """Measure the servers of one engine in rotation, after one warm-up round."""
    rng = random.Random(SEED)
    results = CostByScale("One post's results", "posts")
    pages = CostByScale("A page by cursor", "posts before it")
    largest = servers[-1]
    depths = [thousandths * largest.dataset.posts // 1000 for thousandths in _DEPTHS]
    cursors = {depth: largest.cursors(depth - 1) for depth in depths if depth}
    for number in range(rounds + 1):
        for server in servers:
            post_ids = rng.sample(server.ids, min(len(server.ids), _POSTS_PER_ROUND))
            latency = server.measure_latency(_RESULTS_QUERY, post_ids, load)
            if number:
                results.add(server.dataset.posts, latency)
        for depth in depths:
            query = _PAGE_AFTER if depth else _FIRST_PAGE
            after = cursors.get(depth, [POST_ID_PLACEHOLDER])
            latency = largest.measure_latency(query, after, load)
            if number:
                pages.add(depth, latency)
        click.echo(f"Round {number} of {rounds}", err=True)
    return results, pages


@click.command()
@click.option("--posts", default=500_000, show_default=True, type=click.IntRange(10_000))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1, 60))
@click.option("--engines", default="both", type=click.Choice([*ENGINES, "both"]))
def main(posts: int, rounds: int, seconds: int, engines: str) -> None:
    """Print the latency of reads with a 25th, a fifth and all of the posts, and of deep pages.

    Exits with 1 if a latency is not flat.
    """
    chosen = ENGINES if engines == "both" else (engines,)
    load = Load(seconds=seconds, connections=1, cpu=choose_cores()[1])
    measured: dict[str, tuple[CostByScale, ...]] = {}
    with ExitStack() as stack:
        try:
            sizes = [open_servers(stack, posts // divisor, chosen) for divisor in _SIZE_DIVISORS]
            for engine in chosen:
                measured[engine] = measure_scaling(
                    [servers[engine] for servers in sizes], rounds, load
                )
        except ServerFailed as failure:
            click.echo(str(failure), err=True)
            sys.exit(1)
    for engine, costs in measured.items():
        click.echo(engine)
        for cost in costs:
            click.echo(f"  {cost.operation}")
            click.echo("\n".join(f"  {line}" for line in cost.lines()))
    for engine, costs in measured.items():
        for cost in costs:
            click.echo(f"{engine}: {cost.verdict()}")
    sys.exit(not all(cost.is_flat for costs in measured.values() for cost in costs))


if __name__ == "__main__":
    main()
