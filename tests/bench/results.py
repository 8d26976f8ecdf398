"""Results of all contenders: medians of the rounds, and ratios."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from tests.bench.contender_list import Name
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
