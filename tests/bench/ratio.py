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

from tests.bench.contender_list import DATA_LIMIT, OURS, SQLITE, Name, contenders
from tests.bench.load import Figures, Load
from tests.bench.requests import QUESTIONS
from tests.bench.rounds import cores, databases, seed_all, some_of, start_all, time_all
from tests.bench.seeding import Drawing
from tests.bench.servers import ServerFailed
from tests.bench.verification import Differs

TABLE = Path(__file__).with_name("ratios.toml")
MARGIN = 0.2
"""By which a ratio may be above what is expected."""

_OURS, _LIMIT = Name(OURS, SQLITE), Name(DATA_LIMIT, SQLITE)
_POSTS = 5_000
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Expected:
    """The committed table: a ratio for each question, and what they were measured with."""

    origin: str
    ratios: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
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

    def or_better(self, again: "Measured") -> "Measured":
        """The best of the rounds of both."""
        ours, limit = zip(self.cpu, again.cpu, strict=True)
        our_rates, limit_rates = zip(self.rates, again.rates, strict=True)
        return replace(self, cpu=(min(ours), min(limit)), rates=(max(our_rates), max(limit_rates)))

    def line(self, expected: float) -> str:
        return (
            f"{self.question}  {self.ratio:5.2f} × the limit's CPU time, expected {expected:.2f}"
            f"  ({self.cpu[0]:.3f} and {self.cpu[1]:.3f} s per 1,000 requests;"
            f" {self.rates[0]:,.0f} and {self.rates[1]:,.0f} requests/s)"
        )


def best_of(question: str, ours: Sequence[Figures], limits: Sequence[Figures]) -> Measured:
    return Measured(
        question,
        cpu=(min(each.server_cpu for each in ours), min(each.server_cpu for each in limits)),
        rates=(
            max(each.requests_per_second for each in ours),
            max(each.requests_per_second for each in limits),
        ),
    )


def read_table(text: str) -> Expected:
    return Expected(**tomllib.loads(text))


def write_table(expected: Expected) -> str:
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


def slower(measured: Mapping[str, Measured], expected: Expected) -> list[str]:
    """The questions whose ratio is above what is expected by more than the margin."""
    return [
        question
        for question, found in measured.items()
        if found.ratio > expected.ratios[question] * (1 + MARGIN)
    ]


def faster(measured: Mapping[str, Measured], expected: Expected) -> list[str]:
    """Those that could lose more than the margin before anybody saw it."""
    return [
        question
        for question, found in measured.items()
        if found.ratio * (1 + MARGIN) < expected.ratios[question]
    ]


def failure(measured: Measured, expected: Expected) -> str:
    """What fell, by how much, and what to do."""
    wanted = expected.ratios[measured.question]
    return (
        f"{measured.question} takes {measured.ratio:.2f} times the CPU time of the data limit:"
        f" {measured.ratio / wanted - 1:.0%} more than the expected {wanted:.2f}, and {MARGIN:.0%} are"
        " let pass. Find what made it slower. If that is worth it, or if this machine differs from"
        f" that of the table ({expected.origin}), run scripts/ratio --renew, and say why in the commit."
    )


@contextmanager
def asking(rounds: int, seconds: int) -> Iterator[Callable[[Sequence[str]], dict[str, Measured]]]:
    """Measures these questions, on servers that run until the end."""
    with ExitStack() as stack:
        urls = stack.enter_context(databases([SQLITE]))
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        drawing = Drawing(_POSTS, datetime.now(UTC))
        ids = some_of(seed_all(urls, drawing))
        chosen = [each for each in contenders(urls, logs) if each.name in (_OURS, _LIMIT)]
        server_cpu, asking_cpu = cores()
        servers = start_all(stack, chosen, logs / "bodies", drawing.key.token, ids, server_cpu)
        load = Load(seconds=seconds, connections=_CONNECTIONS, cpu=asking_cpu)

        def ask(questions: Sequence[str]) -> dict[str, Measured]:
            timed = time_all(servers, questions, ids, load, rounds, database_pid=None)
            return {
                question: best_of(question, of[_OURS], of[_LIMIT]) for question, of in timed.items()
            }

        yield ask


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1, 60))
@click.option("--renew", is_flag=True, help="Write down what is measured as what is expected.")
@click.option("--tell", is_flag=True, help="Fail for nothing that was measured, only tell of it.")
def main(rounds: int, seconds: int, renew: bool, tell: bool) -> None:
    """Print our CPU time as a multiple of the data limit's; exits with 1 where it rose by too much."""
    try:
        with asking(rounds, seconds) as ask:
            measured = ask(QUESTIONS)
            if renew:
                ratios = {question: found.ratio for question, found in measured.items()}
                TABLE.write_text(write_table(Expected(_origin(rounds), ratios)))
            expected = read_table(TABLE.read_text())
            if again := slower(measured, expected):
                click.echo(f"Measuring {', '.join(again)} again ...", err=True)
                measured |= {
                    each: measured[each].or_better(found) for each, found in ask(again).items()
                }
    except (Differs, ServerFailed) as failed:
        click.echo(str(failed), err=True)
        sys.exit(1)
    for question, found in measured.items():
        click.echo(found.line(expected.ratios[question]))
    if gains := faster(measured, expected):
        click.echo(f"To keep what {', '.join(gains)} gained, run scripts/ratio --renew.")
    failures = [failure(measured[question], expected) for question in slower(measured, expected)]
    click.echo("\n".join(failures), err=True, nl=bool(failures))
    sys.exit(bool(failures) and not tell)


def _origin(rounds: int) -> str:
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"the best of {rounds} rounds, {versions}"


if __name__ == "__main__":
    main()
