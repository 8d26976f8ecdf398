"""Fixtures of all tests: a migrated database on each engine, tenants of the service, and servers.

A test that uses `database` or `database_url` runs once on each engine. An unavailable PostgreSQL is an
error. REQUIRE_EVERY_TEST=1 fails a run that skipped a test or ran no test on one of the engines.
"""

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.internal.conjecture.engine
import pytest
import structlog
from hypothesis import Phase

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.models import Base
from app.demo import DEMO_WORKSPACE_ID, load_demo
from app.domain.validation.post_contents import CONTENT_SCHEMA_VERSION
from app.services.expirations import settle_expired_leases
from app.web.static_files import STATIC_DIR
from tests import postgres
from tests.clients import Tenant, app_client
from tests.databases import (
    DatabaseTemplates,
    PostgreSQLTemplates,
    SQLiteTemplates,
    cached_database,
)
from tests.factories import KEY_PREFIX, NOW, add_api_key, add_workspace
from tests.platform_servers.mastodon import (
    MastodonMockServer,
    SnacServer,
    run_mastodon_mock,
    run_snac,
)
from tests.platform_servers.pds import PdsServer, run_pds
from tests.servers import DEMO_KEY, ServerProcess, ServerStarter, run_server

ENGINES = ("sqlite", "postgresql")

# No deadline, because the duration of an example depends on the load of the machine. The same examples in
# every run, so that a failure is caused by the tested change. A failing test ends soon, with one failure: by
# default, it searches for others, shrinks for five minutes, and then runs more examples to explain them.
hypothesis.settings.register_profile(
    "post-results",
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
hypothesis.settings.load_profile("post-results")
hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS = 30

_postgresql_server = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Event loops of uvloop, as in the server."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Database engine of this run of the test."""
    name: str = request.param
    request.node.user_properties.append(("engine", name))
    return name


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest) -> str:
    """URL of a migrated database that only this test uses."""
    fresh: Callable[[], str] = request.getfixturevalue(f"fresh_{engine}")
    return fresh()


@pytest.fixture
async def database(anyio_backend: str, database_url: str) -> AsyncIterator[Database]:
    """A migrated database. Its only row is that of the deployment, with a secret key of zeros."""
    async with cached_database(database_url) as opened:
        yield opened


@pytest.fixture
async def acme(database: Database) -> AsyncIterator[Tenant]:
    """An empty workspace, and a client with a key of the default scopes."""
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    async with app_client(database, token=key.token) as client:
        yield Tenant(database, workspace, client)


@pytest.fixture
def database_templates(engine: str, request: pytest.FixtureRequest) -> DatabaseTemplates:
    """Copies of filled databases, for tests whose rows take long to store."""
    templates: DatabaseTemplates = request.getfixturevalue(f"{engine}_templates")
    return templates


@pytest.fixture
def demo_database_url(database_templates: DatabaseTemplates) -> Iterator[str]:
    with database_templates.copy(_load_demo) as url:
        yield url


async def _load_demo(database: Database) -> None:
    await load_demo(database, token=DEMO_KEY, api_key_prefix=KEY_PREFIX, now=NOW)
    await settle_expired_leases(database, NOW)  # as a maintenance task would during a test


@pytest.fixture
async def demo_tenant(anyio_backend: str, demo_database_url: str) -> AsyncIterator[Tenant]:
    """The workspace of the demo data, without expired leases, and a client with its key."""
    async with (
        cached_database(demo_database_url) as database,
        app_client(database, token=DEMO_KEY) as client,
    ):
        yield Tenant(database, DEMO_WORKSPACE_ID, client)


@pytest.fixture
def empty_database_url(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """URL of a database without tables, for tests of migrations."""
    if engine == "sqlite":
        file = tmp_path / "empty.db"
        file.touch()
        yield f"sqlite+aiosqlite:///{file}"
        return
    with postgres.new_database(request.getfixturevalue("postgresql_server_url")) as url:
        yield url


@pytest.fixture
def start_server(empty_database_url: str, tmp_path: Path) -> Iterator[ServerStarter]:
    """Function that starts servers on one database, which is empty at first."""
    folder = tmp_path / "servers"
    folder.mkdir()
    with ExitStack() as stack:
        yield ServerStarter(folder, empty_database_url, stack)


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the demo data and no rate limits, for tests that only read; it must not answer 5xx."""
    folder = tmp_path_factory.mktemp("demo-server")
    settings = {"DATABASE_URL": f"sqlite:///{folder / 'demo.db'}", "RATE_LIMIT": "off"}
    with run_server(folder, settings, "--demo") as server:
        yield server
    assert [entry for entry in server.request_log() if entry["status"] >= 500] == []


# The servers of platforms are started by synchronous fixtures: an asynchronous fixture of a session would run
# all later tests in one event loop.
@pytest.fixture(scope="session")
def pds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PdsServer]:
    """A PDS, the server of Bluesky accounts; each test creates its own account."""
    with run_pds(tmp_path_factory.mktemp("pds")) as server:
        yield server


@pytest.fixture(scope="session")
def snac(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnacServer]:
    """A server with the API of Mastodon; each test creates its own account."""
    with run_snac(tmp_path_factory.mktemp("snac")) as server:
        yield server


@pytest.fixture(scope="session")
def mastodon_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MastodonMockServer]:
    """A mock of Mastodon; each test creates its own account."""
    with run_mastodon_mock(tmp_path_factory.mktemp("mastodon-mock")) as server:
        yield server


@pytest.fixture(scope="session")
def require_built_page() -> None:
    """Skip the test unless the page was built."""
    if not (STATIC_DIR / "index.html").exists():
        pytest.skip("The page was not built; run scripts/pages.")


@pytest.fixture(scope="session")
def fresh_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Function that replaces the database file by a migrated one and returns its URL."""
    template = tmp_path_factory.mktemp("template") / "migrated.db"
    _migrate(f"sqlite+aiosqlite:///{template}")
    file = tmp_path_factory.mktemp("database") / "post-results.db"

    def reset() -> str:
        for old_file in file.parent.iterdir():
            old_file.unlink()
        shutil.copyfile(template, file)
        return f"sqlite+aiosqlite:///{file}"

    return reset


@pytest.fixture(scope="session")
def fresh_postgresql(postgresql_server_url: str) -> Iterator[Callable[[], str]]:
    """Function that empties the database and returns its URL."""
    with postgres.new_database(postgresql_server_url) as url:
        _migrate(url)
        with postgres.script_runner(url) as run:

            def reset() -> str:
                run(_RESET_SCRIPT)
                return url

            yield reset


@pytest.fixture(scope="session")
def sqlite_templates(tmp_path_factory: pytest.TempPathFactory) -> DatabaseTemplates:
    return SQLiteTemplates(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="session")
def postgresql_templates(postgresql_server_url: str) -> Iterator[DatabaseTemplates]:
    with ExitStack() as exit_stack:
        yield PostgreSQLTemplates(postgresql_server_url, exit_stack)


@pytest.fixture(scope="session")
def postgresql_server_url(pytestconfig: pytest.Config) -> str:
    return _start_postgresql_once(pytestconfig)


def _migrate(url: str) -> None:
    async def run() -> None:
        async with Database(url) as opened:
            await migrate(opened, now=NOW, random_bytes=bytes)

    asyncio.run(run())


_RESET_SCRIPT = "".join(
    f"DELETE FROM {table.name};" for table in reversed(Base.metadata.sorted_tables)
) + (
    "INSERT INTO deployment (id, secret_key, created_at, content_schema_version)"
    f" VALUES (1, decode(repeat('00', 32), 'hex'), '{NOW.isoformat()}', {CONTENT_SCHEMA_VERSION})"
)


def _start_postgresql_once(config: pytest.Config) -> str:
    """Start one server per run; the workers of pytest-xdist use that of their controller."""
    if _postgresql_server not in config.stash:
        exit_stack = ExitStack()
        config.add_cleanup(exit_stack.close)
        config.stash[_postgresql_server] = exit_stack.enter_context(postgres.running_server())
    return config.stash[_postgresql_server]


def pytest_configure(config: pytest.Config) -> None:
    if worker_input := getattr(config, "workerinput", None):
        config.stash[_postgresql_server] = worker_input["postgresql_server_url"]
    # Plain tracebacks, as the service prints them: a rich traceback takes a second for each expected failure.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])


def pytest_collection_finish() -> None:
    # Imported modules stay in memory; freezing them makes each garbage collection faster. Rarer collections
    # save a twelfth of the time of tests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["postgresql_server_url"] = _start_postgresql_once(node.config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _missing_test_runs(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = _tests_by_engine(terminalreporter)
    summary = ", ".join(f"{engine} {count} tests" for engine, count in counts.items())
    terminalreporter.write_line(f"engines: {summary}")
    for problem in _missing_test_runs(terminalreporter):
        terminalreporter.write_line(problem, red=True)


def _missing_test_runs(reporter: pytest.TerminalReporter) -> list[str]:
    """Problems of a run that requires every test; empty in xdist workers, which see only their reports."""
    is_worker = hasattr(reporter.config, "workerinput")
    if is_worker or os.environ.get("REQUIRE_EVERY_TEST") != "1":
        return []
    engines = _tests_by_engine(reporter).items()
    skipped = len(reporter.stats.get("skipped", []))
    return [f"No test ran on {engine}." for engine, count in engines if count == 0] + (
        [f"{skipped} tests were skipped; REQUIRE_EVERY_TEST=1 allows none."] if skipped else []
    )


def _tests_by_engine(reporter: pytest.TerminalReporter) -> dict[str, int]:
    properties = [
        item
        for reports in reporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for item in report.user_properties
    ]
    return {engine: properties.count(("engine", engine)) for engine in ENGINES}
