"""Removes the workspace condition of one statement at a time, and runs the tests that execute the statement.

First it records which tests execute which restricted statements that write or lock. Then it removes each
condition, and one of these tests must fail. It prints a table, and exits with 1 if a removal is not noticed.
Arguments are paths of further tests to record.

`--list` prints the statements that run in all workspaces, with their reasons.

The module is also the pytest plugin of these runs.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Insert, Select, UpdateBase

from app.db.core.statements import AnySelect
from app.db.core.tenancy import S, WorkspaceIdOrParam, restrict_to_workspace, value_columns
from tests import databases, postgres

TESTS = ("tests/db/repositories/test_write_tenancy.py", "tests/db/repositories/test_api_keys.py")
MAX_TESTS = 20
"""Tests that are run for one statement, those with the fewest statements first."""
RUNS_AT_A_TIME = 2

_RECORD, REMOVE = "TENANCY_RECORD", "TENANCY_REMOVE"
"""Variables of the plugin: the file in which to record, and the statement to leave unrestricted."""


# The plugin.


def pytest_configure() -> None:
    if _RECORD in os.environ:
        databases.workspace_filter = record
    elif REMOVE in os.environ:
        databases.workspace_filter = remove


def pytest_runtest_setup() -> None:
    if _RECORD in os.environ:  # the filter is called when a database compiles a statement
        databases.cached_database.cache_clear()


def record(statement: S, workspace_id: WorkspaceIdOrParam) -> S:
    restricted = restrict_to_workspace(statement, workspace_id)
    text = sql_text(statement)
    if writes_or_locks(statement) and sql_text(restricted) != text:
        test, _, _phase = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")
        with Path(os.environ[_RECORD]).open("a") as file:
            file.write(json.dumps([text, test]) + "\n")
    return restricted


def writes_or_locks(statement: object) -> bool:
    is_locking = isinstance(statement, Select) and statement._for_update_arg is not None
    return isinstance(statement, UpdateBase) or is_locking


def sql_text(statement: AnySelect | UpdateBase) -> str:
    columns = value_columns(statement) if isinstance(statement, Insert) else None
    return str(statement.compile(column_keys=columns))


def remove(statement: S, workspace_id: WorkspaceIdOrParam) -> S:
    is_removed = sql_text(statement) == os.environ[REMOVE]
    return statement if is_removed else restrict_to_workspace(statement, workspace_id)


# The script.


@dataclass(frozen=True, slots=True)
class Removal:
    """Result of the tests without the condition of one statement."""

    statement: str
    tests: Sequence[str]
    failed: str | None
    """First test that failed; None if the removal was not noticed."""


def run_pytest(tests: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "tests.tenancy_removals",
                "-p",
                "no:cacheprovider",
            ),
            *("-q", "-x", "--tb=no", *tests),
        ],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def record_tests(tests: Sequence[str], folder: Path) -> Mapping[str, Sequence[str]]:
    """Return for each restricted statement the tests that execute it, the most specific ones first."""
    file = folder / "statements"
    run = run_pytest(tests, **{_RECORD: str(file)})
    if run.returncode != 0:
        raise SystemExit(f"The tests must pass before a condition is removed.\n{run.stdout}")
    pairs = {tuple(json.loads(line)) for line in file.read_text().splitlines()}
    statements = defaultdict(set)
    for statement, test in pairs:
        statements[test].add(statement)
    by_statement: dict[str, list[str]] = defaultdict(list)
    for test in sorted(statements, key=lambda each: (len(statements[each]), each)):
        for statement in statements[test]:
            by_statement[statement].append(test)
    return by_statement


def try_removal(statement: str, tests: Sequence[str]) -> Removal:
    tests = tests[:MAX_TESTS]
    run = run_pytest(tests, **{REMOVE: statement})
    if run.returncode not in (0, 1):
        raise SystemExit(f"The tests did not run.\n{run.stdout}{run.stderr}")
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return Removal(statement, tests, failed[0].split(" - ")[0] if failed else None)


def table_of(removals: Sequence[Removal]) -> Iterator[str]:
    """Yield two lines for each removal, and a summary."""
    for removal in sorted(removals, key=lambda each: each.statement):
        yield " ".join(removal.statement.split())[:160]
        yield f"    {len(removal.tests)} tests: {removal.failed or 'NOT NOTICED'}"
    unnoticed = sum(removal.failed is None for removal in removals)
    yield f"{len(removals)} removals, {unnoticed} not noticed"


def unrestricted_statements() -> Iterator[str]:
    """Yield module, name and reason of each statement that runs in all workspaces."""
    for path in sorted(Path("app").rglob("*.py")):
        for definition in ast.parse(path.read_text()).body:
            match definition:
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.FunctionDef(name=name):
                    for reason in _reasons(definition):
                        yield f"{path.with_suffix('')}.{name}: {reason}".replace("/", ".")


def _reasons(definition: ast.AST) -> Iterator[str]:
    """Yield the reasons of the statements in a definition; each must be a literal."""
    for node in ast.walk(definition):
        match node:
            case ast.Call(func=ast.Name(id="AllWorkspacesStatement"), keywords=keywords):
                for each in keywords:
                    yield str(ast.literal_eval(each.value))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", help="further tests to record")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print(*unrestricted_statements(), sep="\n")  # noqa: T201
        return
    with postgres.running_server() as url, tempfile.TemporaryDirectory() as folder:
        os.environ["TEST_POSTGRES_URL"] = url
        tests = record_tests([*TESTS, *arguments.tests], Path(folder))
        with ThreadPoolExecutor(RUNS_AT_A_TIME) as executor:
            removals = [*executor.map(try_removal, tests, tests.values())]
    print(*table_of(removals), sep="\n")  # noqa: T201
    raise SystemExit(any(removal.failed is None for removal in removals))


if __name__ == "__main__":
    main()
