"""Our CPU time for a request beside the data limit's, against what is expected. Knows no other server.

`python -m tests.bench.ratio`, on SQLite: the time that a process has computed depends less on what else the
machine does than the time that passes, and a multiple of the limit's in the same run less on the machine.
"""

import json
import platform
import sqlite3
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.bench.contender_list import DATA_LIMIT, POST_RESULTS_SERVER, SQLITE, Name, contenders
from tests.bench.load import Figures, Load
from tests.bench.requests import QUESTIONS
from tests.bench.rounds import choose_cores, temporary_databases, seed_all, sample_ids, start_all, run_rounds
from tests.bench.seeding import Dataset
from tests.bench.servers import ServerFailed
from tests.bench.verification import ResponseMismatch

RATIO_TABLE = Path(__file__).with_name("ratios.toml")
MARGIN = 0.2
"""By which a ratio may be above what is expected."""

_POST_RESULTS, _DATA_LIMIT = Name(POST_RESULTS_SERVER, SQLITE), Name(DATA_LIMIT, SQLITE)
_POSTS = 5_000
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class ExpectedRatios:
    """The committed table: a ratio for each question, and what they were measured with."""

    origin: str
    ratios: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MeasuredRatio:
    """The best of one question's rounds, ours and the limit's: whatever disturbs one only adds to it.

    A median does not do here: on a machine with much else to do, our rounds of one question differ by half,
    and the limit's by a fifth, so that the medians of two runs differ by more than the margin.
    """

    question: str
    cpu: tuple[float, float]
    """Seconds per 1,000 requests."""
    rates: tuple[float, float]
    """Requests a second."""

    @property
    def ratio(self) -> float:
        return self.cpu[0] / self.cpu[1]

    def best(self, other: "MeasuredRatio") -> "MeasuredRatio":
        """The best of the rounds of both."""
        ours, limit = zip(self.cpu, other.cpu, strict=True)
        our_rates, limit_rates = zip(self.rates, other.rates, strict=True)
        return replace(self, cpu=(min(ours), min(limit)), rates=(max(our_rates), max(limit_rates)))

    def line(self, expected: float) -> str:
        return (
            f"{self.question}  {self.ratio:5.2f} × the limit's CPU time, expected {expected:.2f}"
            f"  ({self.cpu[0]:.3f} and {self.cpu[1]:.3f} s per 1,000 requests;"
            f" {self.rates[0]:,.0f} and {self.rates[1]:,.0f} requests/s)"
        )


def best_measurement(question: str, ours: Sequence[Figures], limits: Sequence[Figures]) -> MeasuredRatio:
    return MeasuredRatio(
        question,
        cpu=(min(each.server_cpu for each in ours), min(each.server_cpu for each in limits)),
        rates=(
            max(each.requests_per_second for each in ours),
            max(each.requests_per_second for each in limits),
        ),
    )


def read_table(text: str) -> ExpectedRatios:
    return ExpectedRatios(**tomllib.loads(text))


def write_table(expected: ExpectedRatios) -> str:
    lines = (f"{question} = {ratio:.2f}" for question, ratio in expected.ratios.items())
    return "\n".join(
        [
            "# Our CPU time for a request, as a multiple of the data limit's in the same run, on SQLite.",
            "# scripts/ratio compares with it, and scripts/ratio --renew writes it anew.",
            f"origin = {json.dumps(expected.origin, ensure_ascii=False)}",
            "",
            "[ratios]",
            *lines,
            "",
        ]
    )


def regressions(measured: Mapping[str, MeasuredRatio], expected: ExpectedRatios) -> list[str]:
    """The questions whose ratio is above what is expected by more than the margin."""
    return [
        question
        for question, found in measured.items()
        if found.ratio > expected.ratios[question] * (1 + MARGIN)
    ]


def improvements(measured: Mapping[str, MeasuredRatio], expected: ExpectedRatios) -> list[str]:
    """Those that could lose more than the margin before anybody saw it."""
    return [
        question
        for question, found in measured.items()
        if found.ratio * (1 + MARGIN) < expected.ratios[question]
    ]


def regression_message(measured: MeasuredRatio, expected: ExpectedRatios) -> str:
    """What fell, by how much, and what to do."""
    wanted = expected.ratios[measured.question]
    return (
        f"{measured.question} takes {measured.ratio:.2f} times the CPU time of the data limit:"
        f" {measured.ratio / wanted - 1:.0%} more than the expected {wanted:.2f}, and {MARGIN:.0%} are"
        " let pass. Find what made it slower. If that is worth it, or if this machine differs from"
        f" that of the table ({expected.origin}), run scripts/ratio --renew, and say why in the commit."
    )


@contextmanager
def measuring_function(rounds: int, seconds: int) -> Iterator[Callable[[Sequence[str]], dict[str, MeasuredRatio]]]:
    """Measures these questions, on servers that run until the end."""
    with ExitStack() as stack:
        urls = stack.enter_context(temporary_databases([SQLITE]))
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        drawing = Dataset(_POSTS, datetime.now(UTC))
        ids = sample_ids(seed_all(urls, drawing))
        chosen = [each for each in contenders(urls, logs) if each.name in (_POST_RESULTS, _DATA_LIMIT)]
        server_cpu, asking_cpu = choose_cores()
        servers = start_all(stack, chosen, logs / "bodies", drawing.api_key.token, ids, server_cpu)
        load = Load(seconds=seconds, connections=_CONNECTIONS, cpu=asking_cpu)

        def measure(questions: Sequence[str]) -> dict[str, MeasuredRatio]:
            timed = run_rounds(servers, questions, ids, load, rounds, database_pid=None)
            return {
                question: best_measurement(question, of[_POST_RESULTS], of[_DATA_LIMIT]) for question, of in timed.items()
            }

        yield measure


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1, 60))
@click.option("--renew", is_flag=True, help="Write down what is measured as what is expected.")
@click.option("--tell", is_flag=True, help="Fail for nothing that was measured, only tell of it.")
def main(rounds: int, seconds: int, renew: bool, tell: bool) -> None:
    """Print our CPU time as a multiple of the data limit's; exits with 1 where it rose by too much."""
    try:
        with measuring_function(rounds, seconds) as ask:
            measured = ask(QUESTIONS)
            if renew:
                ratios = {question: found.ratio for question, found in measured.items()}
                RATIO_TABLE.write_text(write_table(ExpectedRatios(_measurement_origin(rounds), ratios)))
            expected = read_table(RATIO_TABLE.read_text())
            if again := regressions(measured, expected):
                click.echo(f"Measuring {', '.join(again)} again ...", err=True)
                measured |= {
                    each: measured[each].best(found) for each, found in ask(again).items()
                }
    except (ResponseMismatch, ServerFailed) as failed:
        click.echo(str(failed), err=True)
        sys.exit(1)
    for question, found in measured.items():
        click.echo(found.line(expected.ratios[question]))
    if gains := improvements(measured, expected):
        click.echo(f"To keep what {', '.join(gains)} gained, run scripts/ratio --renew.")
    failures = [regression_message(measured[question], expected) for question in regressions(measured, expected)]
    click.echo("\n".join(failures), err=True, nl=bool(failures))
    sys.exit(bool(failures) and not tell)


def _measurement_origin(rounds: int) -> str:
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"the best of {rounds} rounds, {versions}"


if __name__ == "__main__":
    main()
