"""Results of all contenders: medians of the rounds, ratios, and verdicts about the goals."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from tests.bench.contender_list import (
    DATA_LIMIT,
    ENGINES,
    FIXED_BODY,
    GRAPHQL_PEERS,
    NO_ENGINE,
    POST_RESULTS_SERVER,
    POSTGRESQL,
    SQLITE,
    Name,
)
from tests.bench.linux_processes import Memory
from tests.bench.load import LoadResult


@dataclass(frozen=True, slots=True)
class Results:
    """Results of all rounds."""

    rounds: Mapping[str, Mapping[Name, Sequence[LoadResult]]]
    """Query → server → results of its rounds."""
    memory: Mapping[Name, Memory]

    def median(self, query: str, name: Name) -> LoadResult | None:
        """Median of each number; None if it was not measured."""
        rounds = self.rounds.get(query, {}).get(name)
        if not rounds:
            return None
        return LoadResult(
            *(
                statistics.median(getattr(result, number.name) for result in rounds)
                for number in fields(LoadResult)
            )
        )

    def ratio(self, query: str, server: Name, baseline: Name) -> float | None:
        """Requests per second of a server, divided by those of the baseline; None if not measured."""
        one, two = self.median(query, server), self.median(query, baseline)
        if one is None or two is None:
            return None
        return one.requests_per_second / two.requests_per_second

    def cpu_ratio(self, query: str, server: Name, baseline: Name) -> float | None:
        """CPU time of a request, without that of PostgreSQL; divided like `ratio`."""
        one, two = self.median(query, server), self.median(query, baseline)
        if one is None or two is None or not two.server_cpu:
            return None
        return one.server_cpu / two.server_cpu


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, the measured value, and whether the goal is met; None if it was not measured."""

    goal: str
    measured: str | None = None
    is_met: bool | None = None


_THROUGHPUT_GOALS = (
    ("mercurius-loaders", POSTGRESQL, (1.6, 3, 3)),
    ("mercurius-prefetch", POSTGRESQL, (1.5, 1.7, 1.6)),
    ("mercurius-prefetch", SQLITE, (1.1, 1.5, 1.8)),
    ("yoga", POSTGRESQL, (6, 6, 5)),
    ("postgraphile", POSTGRESQL, (5, 3, 2.5)),
)
_SHARE_OF_DATA_LIMIT = (0.7, 0.85, 0.85)
_R1_AGAINST_FASTIFY = 1.6
_R1_SHARE_OF_FIXED_BODY = 0.6
_Q1_P99_AGAINST_BEST = 1.2
_PEAK_MEMORY_MB = 110


def verdicts(results: Results) -> Iterator[Verdict]:
    """Verdicts about all goals."""
    for server, engine, factors in _THROUGHPUT_GOALS:
        for query, factor in zip(("Q1", "Q2", "Q3"), factors, strict=True):
            yield _throughput_verdict(results, query, engine, Name(server, engine), factor)
    for engine in ENGINES:
        limit = Name(DATA_LIMIT, engine)
        for query, share in zip(("Q1", "Q2", "Q3"), _SHARE_OF_DATA_LIMIT, strict=True):
            yield _share_verdict(results, query, engine, limit, share)
    fastify = Name("fastify", POSTGRESQL)
    yield _throughput_verdict(results, "R1", POSTGRESQL, fastify, _R1_AGAINST_FASTIFY)
    for engine in ENGINES:
        fixed = Name(FIXED_BODY, NO_ENGINE)
        yield _share_verdict(results, "R1", engine, fixed, _R1_SHARE_OF_FIXED_BODY)
    for engine in ENGINES:
        yield _p99_verdict(results, engine)
        yield _memory_verdict(results, engine)


def _throughput_verdict(
    results: Results, query: str, engine: str, other: Name, factor: float
) -> Verdict:
    goal = f"{query} {engine} ≥ {factor:g} × {other}"
    ratio = results.ratio(query, Name(POST_RESULTS_SERVER, engine), other)
    return Verdict(goal) if ratio is None else Verdict(goal, f"{ratio:.2f} ×", ratio >= factor)


def _share_verdict(results: Results, query: str, engine: str, other: Name, share: float) -> Verdict:
    goal = f"{query} {engine} ≥ {share:.0%} of {other}"
    ratio = results.ratio(query, Name(POST_RESULTS_SERVER, engine), other)
    return Verdict(goal) if ratio is None else Verdict(goal, f"{ratio:.0%}", ratio >= share)


def _p99_verdict(results: Results, engine: str) -> Verdict:
    goal = f"Q1 {engine} p99 ≤ {_Q1_P99_AGAINST_BEST:g} × the best peer"
    ours = results.median("Q1", Name(POST_RESULTS_SERVER, engine))
    peers = [results.median("Q1", Name(server, engine)) for server in GRAPHQL_PEERS]
    p99s = [peer.p99 for peer in peers if peer is not None]
    if ours is None or not p99s:
        return Verdict(goal)
    ratio = ours.p99 / min(p99s)
    return Verdict(goal, f"{ratio:.2f} ×", ratio <= _Q1_P99_AGAINST_BEST)


def _memory_verdict(results: Results, engine: str) -> Verdict:
    goal = f"peak memory {engine} ≤ {_PEAK_MEMORY_MB} MB"
    memory = results.memory.get(Name(POST_RESULTS_SERVER, engine))
    if memory is None:
        return Verdict(goal)
    return Verdict(goal, f"{memory.peak:.0f} MB", memory.peak <= _PEAK_MEMORY_MB)
