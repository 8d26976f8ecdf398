"""Measures outages of a Bluesky server with many due posts: `python -m tests.outages`.

Two workers with the default settings publish on accounts without a valid session, so that each account must
log in after the outage. The server limits logins and posts as the reference server does. All waits and
intervals have their real lengths, but time in which everything waits is skipped; a table shows how many
times faster it passed. Exits with 1 if a post is FAILED, double or lost.
"""

import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from app.observability.logs import configure_logging
from tests.outages.pds import OutageMode
from tests.outages.run import OutageResult, OutageScenario, run_outage
from tests.server_kills import temporary_database
from tests.virtual_time import run_in_virtual_time

ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_COLUMNS = {
    "engine": 10,
    "outage": 15,
    "FAILED": 6,
    "double": 6,
    "lost": 5,
    "logins in it": 12,
    "logins after": 12,
    "refused logins": 14,
    "requests in it": 14,
    "max attempts": 12,
    "last post after": 15,
    "time": 18,
}
"""Names and widths."""


def format_row(engine: str, scenario: OutageScenario, result: OutageResult) -> str:
    """Return a line of the table; counts of accounts are their median and their maximum."""
    speed = result.virtual_duration / result.duration
    last = "never" if result.last_after is None else f"{result.last_after.total_seconds():.0f} s"
    cells = (
        ENGINES[engine],
        f"{scenario.duration // timedelta(minutes=1)} min {scenario.mode}",
        result.failed,
        result.double,
        result.lost(scenario),
        _format_counts(result.during.logins),
        _format_counts(result.after.logins),
        result.refused_logins,
        _format_counts(result.during.all),
        result.max_attempts,
        last,
        f"{result.duration.total_seconds():.0f} s, {speed:.0f} × faster",
    )
    return _format_cells(cells)


def _format_counts(counts: Counter[str]) -> str:
    return f"{statistics.median(counts.values()):.0f} / {max(counts.values())}"


def _format_cells(cells: Sequence[object]) -> str:
    return "  ".join(
        str(cell).rjust(width) for cell, width in zip(cells, _COLUMNS.values(), strict=True)
    )


def measure(engine: str, scenario: OutageScenario) -> OutageResult:
    """Run a scenario on a new database."""
    with tempfile.TemporaryDirectory() as folder, temporary_database(engine, Path(folder)) as url:
        return run_in_virtual_time(run_outage(url, scenario))


@click.command()
@click.option(
    "--minutes",
    type=click.IntRange(min=1),
    multiple=True,
    default=[5, 60, 360],
    show_default=True,
    help="Duration of an outage; can be repeated.",
)
@click.option(
    "--mode",
    "modes",
    type=click.Choice([mode.value for mode in OutageMode]),
    multiple=True,
    default=[OutageMode.UNAVAILABLE.value],
    show_default=True,
    help="Answers of the server that is away: 503, no connection, or none at all; can be repeated.",
)
@click.option(
    "--engine",
    "engines",
    type=click.Choice([*ENGINES]),
    multiple=True,
    default=[*ENGINES],
    help="Only this engine.",
)
@click.option("--posts", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--accounts", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--posts-per-hour",
    type=click.IntRange(min=1),
    help="Posts that the server accepts for an account; otherwise those of the reference server.",
)
@click.option(
    "--sessions", "has_sessions", is_flag=True, help="Begin with a valid session of each account."
)
def main(
    minutes: Sequence[int],
    modes: Sequence[str],
    engines: Sequence[str],
    posts: int,
    accounts: int,
    posts_per_hour: int | None,
    has_sessions: bool,
) -> None:
    """Print a line for each outage; exit with 1 if a post is FAILED, double or lost."""
    configure_logging("error", "text")
    click.echo(f"{posts} due posts on {accounts} accounts; counts of accounts are median / maximum")
    click.echo(_format_cells([*_COLUMNS]))
    is_clean = True
    for duration in minutes:
        for mode in modes:
            for engine in engines:
                scenario = OutageScenario(
                    mode=OutageMode(mode),
                    duration=timedelta(minutes=duration),
                    posts=posts,
                    accounts=accounts,
                    has_sessions=has_sessions,
                    posts_per_hour=posts_per_hour,
                )
                result = measure(engine, scenario)
                click.echo(format_row(engine, scenario, result))
                is_clean &= not (result.failed or result.double or result.lost(scenario))
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
