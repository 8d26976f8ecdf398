"""Renders the results of a run as Markdown tables and lists."""

from collections.abc import Iterable, Iterator, Mapping

from tests.bench.contender_list import ENGINES, NO_ENGINE, POST_RESULTS_SERVER, Name
from tests.bench.load import StartupTimes
from tests.bench.requests import QUERIES
from tests.bench.results import Results, Verdict

_TITLES = {
    "Q1": "Q1: one post's results",
    "Q2": "Q2: 20 posts with destinations and accounts",
    "Q3": "Q3: 100 posts with destinations and accounts",
    "R1": "R1: one post's results by REST",
}
_COLUMNS = (
    "server",
    "requests/s",
    "min–max",
    "p50 ms",
    "p99 ms",
    "CPU s/1,000",
    "PostgreSQL CPU s/1,000",
    "peak MB",
    "post-results ÷ server",
)


def render_report(
    results: Results,
    verdicts: Iterable[Verdict],
    starts: Iterable[StartupTimes],
    machine: Mapping[str, str],
) -> Iterator[str]:
    """Lines of the report."""
    for query in QUERIES:
        if results.rounds.get(query):
            yield from ("", f"### {_TITLES[query]}", "", *_results_table(results, query))
    yield from ("", "### Goals", "")
    for verdict in verdicts:
        label = _VERDICT_LABELS[verdict.is_met]
        yield f"- {verdict.goal} · {verdict.measured or 'not measured'} · {label}"
    yield from ("", "### Startup", "")
    for start in starts:
        yield f"- {start}"
    yield from ("", "### Machine and versions", "")
    yield from (f"- {name} {value}" for name, value in machine.items())


_VERDICT_LABELS = {True: "met", False: "**not met**", None: "–"}


def _results_table(results: Results, query: str) -> Iterator[str]:
    yield from _table_row(_COLUMNS)
    yield from _table_row(["---", *["--:"] * (len(_COLUMNS) - 1)])
    medians = {name: results.median(query, name) for name in results.rounds[query]}
    measured = {name: median for name, median in medians.items() if median is not None}
    for name, median in sorted(measured.items(), key=lambda item: -item[1].requests_per_second):
        all_rounds = [result.requests_per_second for result in results.rounds[query][name]]
        yield from _table_row(
            (
                f"**{name}**" if name.server == POST_RESULTS_SERVER else str(name),
                f"{median.requests_per_second:,.0f}",
                f"{min(all_rounds):,.0f}–{max(all_rounds):,.0f}",
                f"{median.p50:.2f}",
                f"{median.p99:.2f}",
                f"{median.server_cpu:.3f}",
                f"{median.database_cpu:.3f}",
                f"{results.peak_memory_mb.get(name, 0):.0f}",
                _ratio_cells(results, query, name),
            )
        )


def _ratio_cells(results: Results, query: str, name: Name) -> str:
    """Ratio of post-results on the same engine, or on each engine for a server without data."""
    engines = ENGINES if name.engine == NO_ENGINE else (name.engine,)
    ratios = [results.ratio(query, Name(POST_RESULTS_SERVER, engine), name) for engine in engines]
    return " / ".join(_format_ratio(ratio) for ratio in ratios if ratio is not None)


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"


def _table_row(cells: Iterable[str]) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
