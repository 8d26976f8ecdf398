"""Renders the results of a run as Markdown tables and lists."""

from collections.abc import Iterable, Iterator, Mapping

from tests.bench.contender_list import ENGINES, NO_ENGINE, POST_RESULTS_SERVER, Name
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
)


def render_report(
    results: Results,
    verdicts: Iterable[Verdict],
    machine: Mapping[str, str],
) -> Iterator[str]:
    """Lines of the report."""
    for query in QUERIES:
        if results.rounds.get(query):
            yield from ("", f"### {_TITLES[query]}", "", *_results_table(results, query))
    yield from ("", "### post-results ÷ server, on the same engine", "")
    yield from (_COMPARISON_LEGEND, "", *_comparison_table(results))
    yield from ("", "### Goals", "")
    for verdict in verdicts:
        label = _VERDICT_LABELS[verdict.is_met]
        yield f"- {verdict.goal} · {verdict.measured or 'not measured'} · {label}"
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
            )
        )


_COMPARISON_LEGEND = (
    "`rate`: requests per second. `CPU`: CPU time of a request, without that of PostgreSQL."
    " `p99`: milliseconds of the server itself."
)


def _comparison_table(results: Results) -> Iterator[str]:
    queries = [query for query in QUERIES if results.rounds.get(query)]
    columns = [f"{query} {value}" for query in queries for value in ("rate", "CPU", "p99")]
    yield from _table_row(["server", *columns, "peak MB", "private MB"])
    yield from _table_row(["---", *["--:"] * (len(columns) + 2)])
    names = dict.fromkeys(name for query in queries for name in results.rounds[query])
    for name in sorted(names, key=lambda name: name.engine):
        cells = [cell for query in queries for cell in _comparison_cells(results, query, name)]
        memory = results.memory[name]
        yield from _table_row([str(name), *cells, f"{memory.peak:.0f}", f"{memory.private:.0f}"])


def _comparison_cells(results: Results, query: str, name: Name) -> tuple[str, str, str]:
    """Ratios of post-results on the same engine, or on each engine for a server without data; and p99."""
    median = results.median(query, name)
    if median is None:
        return "", "", ""
    ours = [
        Name(POST_RESULTS_SERVER, engine)
        for engine in (ENGINES if name.engine == NO_ENGINE else (name.engine,))
    ]
    rates, cpu_times = (
        " / ".join(
            _format_ratio(ratio) for server in ours if (ratio := divide(query, server, name))
        )
        for divide in (results.ratio, results.cpu_ratio)
    )
    return rates, cpu_times, f"{median.p99:.2f}"


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"


def _table_row(cells: Iterable[str]) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
