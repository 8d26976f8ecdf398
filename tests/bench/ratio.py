"""Compares the CPU time of a request, relative to the data limit, with the expected ratio.

`python -m tests.bench.ratio` measures on SQLite, with access log and rate limits. CPU time depends less on
the load of the machine than elapsed time. Its ratio to the data limit in the same run depends less on the
machine.
"""

import json
import platform
import sqlite3
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.bench.contender_list import DATA_LIMIT, POST_RESULTS_SERVER, SQLITE, Name, contenders
from tests.bench.load import Load, LoadResult
from tests.bench.requests import QUERIES
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

RATIO_TABLE = Path(__file__).with_name("ratios.toml")
MARGIN = 0.35
"""Allowed increase of a ratio."""
MAX_RUNS = 3
"""Runs in which a query may reach its expected ratio."""

_POST_RESULTS, _DATA_LIMIT = Name(POST_RESULTS_SERVER, SQLITE), Name(DATA_LIMIT, SQLITE)
_POSTS = 5_000
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class ExpectedRatios:
    """The committed table: the ratio of each query, and the origin of the measurement."""

    origin: str
    ratios: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MeasuredRatio:
    """Best rounds of post-results and of the data limit for one query.

    The best rounds are used because disturbances only add time. Medians are too noisy: on a busy machine,
    rounds of one query differ by half, those of the limit by a fifth, and medians by more than the margin.
    """

    query: str
    cpu: tuple[float, float]
    """Seconds per 1,000 requests."""
    rates: tuple[float, float]
    """Requests per second."""

    @property
    def ratio(self) -> float:
        return self.cpu[0] / self.cpu[1]

    def line(self, expected: float) -> str:
        return (
            f"{self.query}  {self.ratio:5.2f} × the limit's CPU time, expected {expected:.2f}"
            f"  ({self.cpu[0]:.3f} and {self.cpu[1]:.3f} s per 1,000 requests;"
            f" {self.rates[0]:,.0f} and {self.rates[1]:,.0f} requests/s)"
        )


def best_measurement(
    query: str, ours: Sequence[LoadResult], limits: Sequence[LoadResult]
) -> MeasuredRatio:
    return MeasuredRatio(
        query,
        cpu=(min(r.server_cpu for r in ours), min(r.server_cpu for r in limits)),
        rates=(
            max(r.requests_per_second for r in ours),
            max(r.requests_per_second for r in limits),
        ),
    )


def parse_ratios(text: str) -> ExpectedRatios:
    return ExpectedRatios(**tomllib.loads(text))


def format_ratios(expected: ExpectedRatios) -> str:
    lines = (f"{query} = {ratio:.2f}" for query, ratio in expected.ratios.items())
    return "\n".join(
        [
            "# CPU time of a request with access log and rate limits, divided by that of the data limit, on"
            " SQLite.",
            "# scripts/ratio compares new measurements with this table; scripts/ratio --renew rewrites it.",
            f"origin = {json.dumps(expected.origin, ensure_ascii=False)}",
            "",
            "[ratios]",
            *lines,
            "",
        ]
    )


def regressions(measured: Mapping[str, MeasuredRatio], expected: ExpectedRatios) -> list[str]:
    """Queries whose ratio exceeds the expected one by more than the margin."""
    return [
        query
        for query, result in measured.items()
        if result.ratio > expected.ratios[query] * (1 + MARGIN)
    ]


def improvements(measured: Mapping[str, MeasuredRatio], expected: ExpectedRatios) -> list[str]:
    """Queries whose ratio could rise by more than the margin without being detected."""
    return [
        query
        for query, result in measured.items()
        if result.ratio * (1 + MARGIN) < expected.ratios[query]
    ]


def regression_message(measured: MeasuredRatio, expected: ExpectedRatios) -> str:
    """Message with the increase of a ratio and the next step."""
    expected_ratio = expected.ratios[measured.query]
    return (
        f"{measured.query} takes {measured.ratio:.2f} times the CPU time of the data limit:"
        f" {measured.ratio / expected_ratio - 1:.0%} more than the expected {expected_ratio:.2f};"
        f" {MARGIN:.0%} are allowed. Find the cause. If the change is worth it, or if the machine differs"
        f" from that of the table ({expected.origin}), run scripts/ratio --renew and give the reason"
        " in the commit."
    )


MeasureRatios = Callable[[Sequence[str]], dict[str, MeasuredRatio]]


def measure_runs(
    measure: MeasureRatios, expected: ExpectedRatios
) -> Iterator[dict[str, MeasuredRatio]]:
    """Measure all queries, and up to `MAX_RUNS` times those with a regression in every run."""
    queries: Sequence[str] = QUERIES
    for _ in range(MAX_RUNS):
        run = measure(queries)
        yield run
        queries = regressions(run, expected)
        if not queries:
            return


def best_of_runs(runs: Iterable[Mapping[str, MeasuredRatio]]) -> dict[str, MeasuredRatio]:
    """The lowest ratio of each query."""
    best: dict[str, MeasuredRatio] = {}
    for run in runs:
        for query, result in run.items():
            best[query] = min(best.get(query, result), result, key=lambda each: each.ratio)
    return best


@contextmanager
def measuring_function(rounds: int, seconds: int) -> Iterator[MeasureRatios]:
    """Start the servers and yield a function that measures queries."""
    with ExitStack() as stack:
        urls = stack.enter_context(temporary_databases([SQLITE]))
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dataset = Dataset(_POSTS, datetime.now(UTC))
        ids = sample_ids(seed_all(urls, dataset))
        compared = [c for c in contenders(urls, logs) if c.name in (_POST_RESULTS, _DATA_LIMIT)]
        server_cpu, load_cpu = choose_cores()
        servers = start_all(
            stack, compared, logs / "bodies", dataset.api_key.token, ids, server_cpu
        )
        load = Load(seconds=seconds, connections=_CONNECTIONS, cpu=load_cpu)

        def measure(queries: Sequence[str]) -> dict[str, MeasuredRatio]:
            results = run_rounds(servers, queries, ids, load, rounds, database_pid=None)
            return {
                query: best_measurement(query, by_name[_POST_RESULTS], by_name[_DATA_LIMIT])
                for query, by_name in results.items()
            }

        yield measure


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1, 60))
@click.option("--renew", is_flag=True, help="Write the measured ratios as the expected ones.")
def main(rounds: int, seconds: int, renew: bool) -> None:
    """Print the CPU time relative to the data limit; exit with 1 if it increased too much."""
    expected = parse_ratios(RATIO_TABLE.read_text())
    runs = []
    try:
        with measuring_function(rounds, seconds) as measure:
            if renew:
                ratios = {query: result.ratio for query, result in measure(QUERIES).items()}
                renewed = ExpectedRatios(_measurement_origin(rounds), ratios)
                RATIO_TABLE.write_text(format_ratios(renewed))
                click.echo(RATIO_TABLE.read_text(), nl=False)
                return
            for run in measure_runs(measure, expected):
                runs.append(run)
                click.echo(f"Run {len(runs)} of up to {MAX_RUNS}")
                for query, result in run.items():
                    click.echo(result.line(expected.ratios[query]))
    except (ResponseMismatch, ServerFailed) as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    best = best_of_runs(runs)
    if faster := improvements(best, expected):
        click.echo(f"{', '.join(faster)} became faster; run scripts/ratio --renew to expect that.")
    messages = [regression_message(best[query], expected) for query in regressions(best, expected)]
    click.echo("\n".join(messages), err=True, nl=bool(messages))
    sys.exit(bool(messages))


def _measurement_origin(rounds: int) -> str:
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"the best of {rounds} rounds, {versions}"


if __name__ == "__main__":
    main()
