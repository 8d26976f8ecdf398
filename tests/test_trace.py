"""No change makes a path through the code longer unnoticed."""

import re

import pytest

from tests.guides import GUIDES, ROOT
from tests.trace import INTERPRETER, MARGIN, PATHS, PathCounts, Trace, read_table, trace_path


@pytest.mark.parametrize("name", PATHS)
async def test_path_is_not_longer_than_accepted(name: str) -> None:
    interpreter, accepted = read_table()
    trace = await trace_path(name)
    assert trace.counts().statements <= accepted[name].statements
    if interpreter == INTERPRETER:  # other versions call some methods more or less often
        assert trace.counts().calls <= accepted[name].calls * MARGIN, "\n".join(trace.steps)
        assert trace.counts().functions <= accepted[name].functions * MARGIN


def test_table_names_every_path() -> None:
    _, accepted = read_table()
    assert list(accepted) == list(PATHS)


def test_counts_distinguish_calls_functions_files_and_statements() -> None:
    steps = ["a.py:f", "a.py:f", "a.py:g", "b.py:f", "SQL: SELECT 1"]
    assert Trace(steps).counts() == PathCounts(calls=4, functions=3, files=2, statements=1)


def test_functions_in_the_contributing_guide_exist() -> None:
    text = (GUIDES / "contributing.md").read_text()
    lines = re.findall(r"^([\w/]+\.py): (.+)$", text, re.MULTILINE)
    assert len(lines) > 100
    for file, calls in lines:
        source = (ROOT / "app" / file).read_text()
        names = {re.split(r"\W+", re.sub(r" ×\d+$", "", call))[-1] for call in calls.split(", ")}
        names.discard("")  # <lambda>
        if "@dataclass" in source:
            names -= {"__init__", "__eq__", "__hash__"}  # generated
        missing = {name for name in names if f"def {name}(" not in source}
        assert not missing, f"{file}: {missing}"
