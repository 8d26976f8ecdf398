"""Measures the numbers and filtered lists of a large workspace: `python -m tests.bench.numbers`.

One client sends each GraphQL document several times over HTTP, to one server process. The median time of each
must not exceed its limit.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import httpx

from app.domain.times import format_instant
from tests.bench.contender_list import ENGINES
from tests.bench.rounds import seed_all, temporary_databases
from tests.bench.seeding import DESTINATIONS_PER_POST, Dataset
from tests.servers import ServerProcess, run_server

TIMEOUT_SECONDS = 60
LIST_LIMIT, NUMBERS_LIMIT, COUNTS_LIMIT = 50, 300, 50
"""Longest median times in milliseconds."""


@dataclass(frozen=True, slots=True)
class Read:
    """A document, and the limit in milliseconds for its median time; None only reports the time."""

    document: str
    limit: int | None


@dataclass(frozen=True, slots=True)
class ReadTimes:
    """Times of a read in milliseconds; the first one includes the compilation of its document."""

    first: float
    others: Sequence[float]
    limit: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.others)

    @property
    def is_good(self) -> bool:
        return self.limit is None or self.median <= self.limit

    def __str__(self) -> str:
        limit = "" if self.limit is None else f", limit {self.limit}"
        mark = "" if self.is_good else "  TOO SLOW"
        return f"{self.median:8.1f} ms, first {self.first:8.1f}{limit}{mark}"


def build_reads(now: datetime) -> dict[str, Read]:
    """Return the reads by name."""
    day, week, month = (_quote(now - timedelta(days=days)) for days in (1, 7, 30))
    to, quarter = _quote(now), _quote(now - timedelta(days=90))
    return {
        "board counts": Read(_BOARD_COUNTS, COUNTS_LIMIT),
        "by platform and day, 30 days": _statistics(
            month, to, "interval: DAY, groupBy: [PLATFORM]"
        ),
        "by account, 30 days": _statistics(month, to, "groupBy: [ACCOUNT]"),
        "by hour of week, 30 days": _statistics(month, to, "groupBy: [HOUR_OF_WEEK]"),
        "by hour of week, 90 days": _statistics(quarter, to, "groupBy: [HOUR_OF_WEEK]", limit=None),
        "by day in Berlin, 30 days": _statistics(
            month, to, 'interval: DAY, timezone: "Europe/Berlin"'
        ),
        "failure groups": Read(_FAILURE_GROUPS.format(filters=""), NUMBERS_LIMIT),
        "failure groups of a week": Read(
            _FAILURE_GROUPS.format(filters=f"failedAfter: {week}"), NUMBERS_LIMIT
        ),
        "calendar of a month": Read(
            f"{{ calendar(from: {month}, to: {to}, bucket: DAY) {{ buckets {{"
            " counts { total published failed } posts { postId } } } }",
            NUMBERS_LIMIT,
        ),
        "analytics of a month": Read(
            "{ analyticsSummary(period: MONTH) { posts { total } byPlatform { platform total } } }",
            NUMBERS_LIMIT,
        ),
        **{
            f"list: {name}": _list(filters, order)
            for name, (filters, order) in {
                "failed, by time of failure": ("status: [FAILED]", "FAILED_AT"),
                "failed today": (f"failedAfter: {day}", "FAILED_AT"),
                "failed on an account": ("status: [FAILED], accountId: [7]", "FAILED_AT"),
                "by lateness": ("", "LATENESS"),
                "failed, by lateness": ("status: [FAILED]", "LATENESS"),
                "late by an hour": ("lateBySeconds: 3600", "CREATED_AT"),
                "late by an hour, by lateness": ("lateBySeconds: 3600", "LATENESS"),
                "late by a second, by lateness": ("lateBySeconds: 1", "LATENESS"),
                "retrying": ("retrying: true", "NEXT_RETRY_AT"),
                "duplicated": ("duplicated: true", "CREATED_AT"),
                "caused by the user": ("source: [USER]", "FAILED_AT"),
                "caused by the user, by lateness": ("source: [USER]", "LATENESS"),
                "to reconnect": ("nextAction: [RECONNECT_ACCOUNT]", "FAILED_AT"),
                "unknown outcomes": ("outcome: [UNKNOWN]", "FAILED_AT"),
                "scheduled in a week": (
                    f"scheduledAfter: {week}, scheduledBefore: {to}",
                    "SCHEDULED_FOR",
                ),
                "updated this week": (f"updatedAfter: {week}", "UPDATED_AT"),
            }.items()
        },
        "dry run: retry on a platform": Read(
            _DRY_RUN.format(
                mutation="retryDestinations", argument='filter: {platform: ["instagram"]}'
            ),
            None,
        ),
        "dry run: retry failures of a week": Read(
            _DRY_RUN.format(
                mutation="retryDestinations", argument=f"filter: {{failedAfter: {week}}}"
            ),
            None,
        ),
        "dry run: reconcile a platform": Read(
            _DRY_RUN.format(
                mutation="reconcileDestinations",
                argument='finding: NOT_PUBLISHED, filter: {platform: ["instagram"]}',
            ),
            None,
        ),
        "dry run: cancel what is due later": Read(
            _DRY_RUN.format(mutation="cancelPosts", argument=f"filter: {{scheduledAfter: {to}}}"),
            None,
        ),
    }


_BOARD_COUNTS = """query($since: DateTime!) { boardCounts(since: $since) {
  failed { count } unknown { count } overdue { count } retrying { count } publishing { count }
  dueSoon { count } willFail { count } duplicated { count } brokenAccounts { count }
} }"""
"""The answers to one time are shared, so each request has another one."""

_FAILURE_GROUPS = """{{ failureGroups(first: 20, filter: {{{filters}}}) {{ nodes {{
  key message count postCount accountCount lastSeen hourlyCounts retryableCount refusedCount
}} }} }}"""
_DRY_RUN = """mutation {{ {mutation}(input: {{dryRun: true, first: 1, {argument}}}) {{
  plannedCount
}} }}"""


def _statistics(start: str, end: str, arguments: str, limit: int | None = NUMBERS_LIMIT) -> Read:
    counts = (
        "published failed unknown attempts successRate"
        " lateness { p50Seconds p95Seconds p99Seconds maxSeconds }"
    )
    return Read(
        f"{{ outcomeStats(from: {start}, to: {end}, {arguments}) {{ buckets {{ counts {{ {counts} }}"
        f" groups {{ platform accountId hourOfWeek counts {{ {counts} }} }} }} }} }}",
        limit,
    )


def _list(filters: str, order: str) -> Read:
    return Read(
        f"{{ destinations(first: 50, orderBy: {{field: {order}}}, filter: {{{filters}}}) {{"
        " nodes { destinationId status error } } }",
        LIST_LIMIT,
    )


def _quote(time: datetime) -> str:
    return f'"{format_instant(time)}"'


def measure_reads(
    server: ServerProcess, token: str, now: datetime, repetitions: int
) -> Iterator[tuple[str, ReadTimes]]:
    """Yield the times of each read, after the server has answered it."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT_SECONDS) as client:
        for name, read in build_reads(now).items():
            times = []
            for number in range(repetitions + 1):
                since = format_instant(now - timedelta(days=1, milliseconds=number))
                variables = {"since": since} if "$since" in read.document else {}
                started = time.perf_counter()
                response = client.post(
                    "/graphql", json={"query": read.document, "variables": variables}
                )
                times.append((time.perf_counter() - started) * 1000)
                if "errors" in response.json():
                    raise click.ClickException(f"{name}: {response.text}")
            yield name, ReadTimes(times[0], times[1:], read.limit)


@click.command()
@click.option("--destinations", default=1_000_000, show_default=True, type=click.IntRange(1_000))
@click.option("--repetitions", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--engines", default="both", type=click.Choice([*ENGINES, "both"]))
def main(destinations: int, repetitions: int, engines: str) -> None:
    """Print the median time of each read. Exits with 1 if one exceeds its limit."""
    chosen = ENGINES if engines == "both" else (engines,)
    dataset = Dataset(destinations // DESTINATIONS_PER_POST, datetime.now(UTC))
    is_good = True
    with temporary_databases(chosen) as urls, tempfile.TemporaryDirectory() as folder:
        seed_all(urls, dataset)
        for engine, url in urls.items():
            click.echo(engine)
            settings = {"DATABASE_URL": url, "RATE_LIMIT": "off"}
            with run_server(Path(folder), settings) as server:
                token = dataset.api_key.token
                for name, times in measure_reads(server, token, dataset.now, repetitions):
                    click.echo(f"  {name:40} {times}")
                    is_good = is_good and times.is_good
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
