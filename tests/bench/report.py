"""What is printed of a run: tables and lists in Markdown. Measures and judges nothing."""

from collections.abc import Iterable, Iterator, Mapping

from tests.bench.contender_list import ENGINES, NO_ENGINE, POST_RESULTS_SERVER, Name
from tests.bench.requests import QUESTIONS
from tests.bench.results import Results, Verdict
from tests.bench.startup import StartupTimes

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
    "ours ÷ it",
)


def render_report(
    results: Results,
    verdicts: Iterable[Verdict],
    starts: Iterable[StartupTimes],
    machine: Mapping[str, str],
) -> Iterator[str]:
    """Line by line."""
    for question in QUESTIONS:
        if results.rounds.get(question):
            yield from ("", f"### {_TITLES[question]}", "", *_results_table(results, question))
    yield from ("", "### Goals", "")
    for verdict in verdicts:
        yield f"- {verdict.goal} · {verdict.measured or 'not measured'} · {_VERDICT_LABELS[verdict.is_met]}"
    yield from ("", "### Starts", "")
    for start in starts:
        yield f"- {start}"
    yield from ("", "### Machine and versions", "")
    yield from (f"- {name} {value}" for name, value in machine.items())


_VERDICT_LABELS = {True: "met", False: "**not met**", None: "–"}


def _results_table(results: Results, question: str) -> Iterator[str]:
    yield from _table_row(_COLUMNS)
    yield from _table_row(["---", *["--:"] * (len(_COLUMNS) - 1)])
    medians = {name: results.median(question, name) for name in results.rounds[question]}
    known = {name: median for name, median in medians.items() if median is not None}
    for name, median in sorted(known.items(), key=lambda each: -each[1].requests_per_second):
        all_rounds = [each.requests_per_second for each in results.rounds[question][name]]
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
                _ratio_cells(results, question, name),
            )
        )


def _ratio_cells(results: Results, question: str, name: Name) -> str:
    """Of ours on the same engine, or on each where the other reads no data."""
    engines = ENGINES if name.engine == NO_ENGINE else (name.engine,)
    ratios = [results.ratio(question, Name(POST_RESULTS_SERVER, engine), name) for engine in engines]
    return " / ".join(_format_ratio(each) for each in ratios if each is not None)


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"


def _table_row(cells: Iterable[str]) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
