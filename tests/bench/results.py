"""What was measured of all contenders: medians over the rounds, ratios, and whether goals are met."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from tests.bench.contender_list import (
    DATA_LIMIT,
    ENGINES,
    FIXED_BODY,
    NO_ENGINE,
    POST_RESULTS_SERVER,
    POSTGRESQL,
    GRAPHQL_PEERS,
    SQLITE,
    Name,
)
from tests.bench.load import Figures


@dataclass(frozen=True, slots=True)
class Results:
    rounds: Mapping[str, Mapping[Name, Sequence[Figures]]]
    """By question, of each server the figures of its rounds."""
    peak_memory_mb: Mapping[Name, float]

    def median(self, question: str, name: Name) -> Figures | None:
        """Each figure's own median; None where it was not measured."""
        measured = self.rounds.get(question, {}).get(name)
        if not measured:
            return None
        return Figures(
            *(
                statistics.median(getattr(each, figure.name) for each in measured)
                for figure in fields(Figures)
            )
        )

    def ratio(self, question: str, server: Name, baseline: Name) -> float | None:
        """How many times as many requests a second ours answers."""
        one, two = self.median(question, server), self.median(question, baseline)
        if one is None or two is None:
            return None
        return one.requests_per_second / two.requests_per_second


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, what it was measured to be, and whether that is enough; None where it was not measured."""

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
    for server, engine, factors in _THROUGHPUT_GOALS:
        for question, factor in zip(("Q1", "Q2", "Q3"), factors, strict=True):
            yield _throughput_verdict(results, question, engine, Name(server, engine), factor)
    for engine in ENGINES:
        limit = Name(DATA_LIMIT, engine)
        for question, share in zip(("Q1", "Q2", "Q3"), _SHARE_OF_DATA_LIMIT, strict=True):
            yield _share_verdict(results, question, engine, limit, share)
    fastify = Name("fastify", POSTGRESQL)
    yield _throughput_verdict(results, "R1", POSTGRESQL, fastify, _R1_AGAINST_FASTIFY)
    for engine in ENGINES:
        fixed = Name(FIXED_BODY, NO_ENGINE)
        yield _share_verdict(results, "R1", engine, fixed, _R1_SHARE_OF_FIXED_BODY)
    for engine in ENGINES:
        yield _p99_verdict(results, engine)
        yield _memory_verdict(results, engine)


def _throughput_verdict(results: Results, question: str, engine: str, other: Name, factor: float) -> Verdict:
    goal = f"{question} {engine} ≥ {factor:g} × {other}"
    ratio = results.ratio(question, Name(POST_RESULTS_SERVER, engine), other)
    return Verdict(goal) if ratio is None else Verdict(goal, f"{ratio:.2f} ×", ratio >= factor)


def _share_verdict(results: Results, question: str, engine: str, other: Name, share: float) -> Verdict:
    goal = f"{question} {engine} ≥ {share:.0%} of {other}"
    ratio = results.ratio(question, Name(POST_RESULTS_SERVER, engine), other)
    return Verdict(goal) if ratio is None else Verdict(goal, f"{ratio:.0%}", ratio >= share)


def _p99_verdict(results: Results, engine: str) -> Verdict:
    goal = f"Q1 {engine} p99 ≤ {_Q1_P99_AGAINST_BEST:g} × the best peer's"
    ours = results.median("Q1", Name(POST_RESULTS_SERVER, engine))
    peers = [results.median("Q1", Name(each, engine)) for each in GRAPHQL_PEERS]
    slowest = [each.p99 for each in peers if each is not None]
    if ours is None or not slowest:
        return Verdict(goal)
    ratio = ours.p99 / min(slowest)
    return Verdict(goal, f"{ratio:.2f} ×", ratio <= _Q1_P99_AGAINST_BEST)


def _memory_verdict(results: Results, engine: str) -> Verdict:
    goal = f"peak memory {engine} ≤ {_PEAK_MEMORY_MB} MB"
    peak = results.peak_memory_mb.get(Name(POST_RESULTS_SERVER, engine))
    return (
        Verdict(goal) if peak is None else Verdict(goal, f"{peak:.0f} MB", peak <= _PEAK_MEMORY_MB)
    )
