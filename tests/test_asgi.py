"""The application as a whole: its edge, its operator's pages, and what it does when things go wrong."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import httpx
import orjson
import pytest
import structlog
from sqlalchemy import QueuePool, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.asgi import create_app
from app.db.core.database import Database, Driver, WriteSession
from app.db.core.statements import AnyRow, AnySelect, CompiledStatement, Record, Statement
from app.db.core.tenancy import WorkspaceIdOrParam
from app.db.migrations import SchemaMismatch, migrate
from app.domain.errors import ServiceUnavailable
from app.settings import read_settings
from tests import postgres
from tests.clients import UNLIMITED_SETTINGS, Client, app_client, client_for
from tests.db.core.test_database import MINUTE_LONG_STATEMENT, only_on_sqlite
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    published,
    queued,
    started,
    waiting_for_retry,
)
from tests.http import asgi


async def add_key(database: Database) -> str:
    """The token of a key to a workspace with one post."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    await add_post(database, workspace, {account: queued()})
    return (await add_api_key(database, workspace)).token


def enveloped(response: httpx.Response, code: str, message: str, *, retryable: bool) -> None:
    """Assert that a response is this error in the envelope of the REST API."""
    assert response.json() == {
        "data": None,
        "error": {"message": message, "code": code, "retryable": retryable, "details": None},
        "meta": {
            "request_id": response.headers["X-Request-Id"],
            "timestamp": "2026-04-15T15:00:00.000Z",
        },
    }


MASKED = (
    "Something went wrong on this server. Try again; if it stays, give its operator the request id."
)

# The edge.


async def test_every_answer_has_an_id_of_its_own(database: Database) -> None:
    async with app_client(database) as client:
        answers = [await client.get(path) for path in ("/livez", "/nowhere", "/graphql", "/v1/me")]

    ids = [response.headers["X-Request-Id"] for response in answers]
    assert len(set(ids)) == 4
    assert all(re.fullmatch("[0-9a-f]{8}", each) for each in ids)


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/v1", "/v2/posts", "/graphql/", "/graphql/x", "/livez/", "//graphql"]
)
async def test_an_unknown_path_is_not_found_in_the_envelope(database: Database, path: str) -> None:
    message = "This path was not found. GraphQL is at /graphql, the REST API under /v1."
    async with app_client(database) as client:
        for method in ("GET", "POST", "DELETE"):
            response = await client.request(method, f"http://test{path}")
            assert response.status_code == 404
            enveloped(response, "not_found", message, retryable=False)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_the_pages_of_the_operator_can_only_be_read(database: Database, path: str) -> None:
    async with app_client(database) as client:
        assert (await client.get(path)).status_code == 200
        response = await client.request("POST", path)

    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    message = "POST is not possible here; use GET, HEAD."
    enveloped(response, "method_not_allowed", message, retryable=False)


async def test_pages_of_the_configured_origins_may_call_and_read_the_headers(
    database: Database,
) -> None:
    origin = "https://app.example.com"
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    settings = read_settings({"CORS_ORIGINS": origin, "RATE_LIMIT": "1/hour"})
    async with app_client(database, token=await add_key(database), settings=settings) as client:
        allowed = await client.request(
            "OPTIONS", "/graphql", headers={"Origin": origin, **preflight}
        )
        refused = await client.request(
            "OPTIONS", "/graphql", headers={"Origin": "https://evil.example", **preflight}
        )
        answers = [
            await client.get("/graphql?query={__typename}", headers={"Origin": origin}),
            await client.get("/graphql?query={__typename}", headers={"Origin": origin}),
            await client.with_token(None).get("/graphql", headers={"Origin": origin}),
            await client.get("/nowhere", headers={"Origin": origin}),
        ]

    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == origin
    assert {"authorization", "content-type"} <= set(
        allowed.headers["Access-Control-Allow-Headers"].lower().split(", ")
    )
    assert refused.status_code == 400
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert [response.status_code for response in answers] == [200, 429, 401, 404]
    for response in answers:
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Credentials" not in response.headers
        exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
        assert exposed >= {"X-Request-Id", "X-RateLimit-Remaining", "Retry-After"}


# The operator's pages.


async def test_a_running_service_is_alive_and_ready(database: Database) -> None:
    async with app_client(database) as client:
        alive, ready = await client.get("/livez"), await client.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


@pytest.fixture
def losable(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    """The URL of an empty database, and what takes it away."""
    if engine == "sqlite":
        folder = tmp_path / "data"
        folder.mkdir()
        yield f"sqlite+aiosqlite:///{folder / 'lost.db'}", lambda: folder.rename(tmp_path / "gone")
        return
    with ExitStack() as stack:
        server_url = request.getfixturevalue("postgresql_server_url")
        yield stack.enter_context(postgres.new_database(server_url)), stack.close


async def nothing_is_read(database: Database) -> None:
    """Wait until what a server reads on its own, when it has started, has been read."""
    pool = cast("QueuePool", database.read_engine.pool)
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.005)
            if pool.checkedout() == 0:
                return


async def test_a_service_that_lost_its_database_says_so_and_nothing_else(
    losable: tuple[str, Callable[[], object]],
) -> None:
    url, lose = losable
    database = Database(url)
    await migrate(database, now=NOW, random_bytes=bytes)
    async with database, app_client(database, token=await add_key(database)) as client:
        assert (await client.get("/readyz")).status_code == 200
        await nothing_is_read(database)
        await database.read_engine.dispose()  # connections that are open may outlive the file
        await asyncio.to_thread(lose)
        alive, ready = await client.get("/livez"), await client.get("/readyz")
        asked, read = await client.get("/graphql?query={__typename}"), await client.get("/v1/me")

    message = "The database did not answer in time. Try again in a moment."
    assert alive.status_code == 200
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable", "reason": message})
    assert (asked.status_code, asked.headers["Retry-After"]) == (503, "2")
    extensions = {"code": "SERVICE_UNAVAILABLE", "retryAfter": 2}
    assert asked.json() == {"errors": [{"message": message, "extensions": extensions}]}
    assert (read.status_code, read.headers["Retry-After"]) == (503, "2")
    enveloped(read, "service_unavailable", message, retryable=True)


async def test_a_database_of_another_version_is_not_served(empty_database_url: str) -> None:
    with pytest.raises(SchemaMismatch, match="run post-results migrate"):
        async with Database(empty_database_url) as database, app_client(database):
            pytest.fail("it started")


@only_on_sqlite
async def test_an_app_closes_its_own_database_and_leaves_one_open_that_was_given(
    database_url: str,
) -> None:
    def is_open() -> bool:
        """SQLite removes its log when the last connection is closed."""
        return Path(f"{make_url(database_url).database}-wal").exists()

    app = create_app(read_settings({"DATABASE_URL": database_url}))
    async with app.router.lifespan_context(app), client_for(app, token=None) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert is_open()
    assert not is_open()

    async with Database(database_url) as given:
        async with app_client(given) as client:
            assert (await client.get("/readyz")).status_code == 200
        assert is_open()
        await given.ping()
    assert not is_open()


async def test_the_metrics_count_requests_and_operations(database: Database) -> None:
    async with app_client(database, token=await add_key(database)) as client:
        await client.query("{ posts { totalCount } }")
        await client.query("{ posts { totalCount } }")
        await client.execute("{ posts(first: 0) { totalCount } }")
        await client.with_token(None).get("/graphql")
        await client.get("/v1/me")
        await client.get("/nowhere/5")
        response = await client.get("/metrics")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    counted = {
        line
        for line in response.text.splitlines()
        if re.match(r"post_results_(http_requests_total|graphql_operations_total)", line)
    }
    requests = "post_results_http_requests_total"
    operations = "post_results_graphql_operations_total"
    assert counted == {
        f'{requests}{{door="graphql",method="POST",route="/graphql",status="2xx"}} 3.0',
        f'{requests}{{door="graphql",method="GET",route="/graphql",status="4xx"}} 1.0',
        f'{requests}{{door="rest",method="GET",route="/v1/me",status="2xx"}} 1.0',
        f'{requests}{{door="unmatched",method="GET",route="unmatched",status="4xx"}} 1.0',
        f'{operations}{{code="ok",type="query"}} 3.0',
        f'{operations}{{code="validation_error",type="query"}} 1.0',
    }
    assert "post_results_http_requests_in_progress 1.0" in response.text
    assert "post_results_http_request_duration_seconds_bucket" in response.text
    assert "process_resident_memory_bytes" in response.text


async def overdue(client: Client) -> str | None:
    """What the metrics say of it."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    found = re.search(r"^post_results_destinations_overdue (.*)$", response.text, re.MULTILINE)
    return found and found[1]


async def test_the_metrics_tell_what_is_overdue_in_all_workspaces(database: Database) -> None:
    long_ago, just_now = NOW - timedelta(minutes=5), NOW - timedelta(minutes=4)
    for _ in range(2):
        workspace = await add_workspace(database)
        accounts = [await add_account(database, workspace) for _ in range(5)]
        states = (
            queued(long_ago),
            queued(just_now),
            started(NOW - timedelta(hours=1), lease_expires_at=long_ago),
            waiting_for_retry(NOW, due_at=NOW - timedelta(days=1)),
            published(),
        )
        await add_post(database, workspace, dict(zip(accounts, states, strict=True)))
    async with app_client(database) as client:
        assert await overdue(client) == "4.0"


async def test_the_metrics_are_read_while_the_database_is_away(database_url: str) -> None:
    database = UnreliableDatabase(database_url)
    async with database, app_client(database) as client:
        assert await overdue(client) == "0.0"
        database.fails = True
        with structlog.testing.capture_logs() as logs:
            assert await overdue(client) is None
        assert [each["event"] for each in logs if each["log_level"] == "warning"] == [
            "overdue destinations not counted"
        ]
        database.fails = False


@pytest.mark.parametrize("prefix", ["", "/post-results"])
async def test_a_prefix_may_be_stripped_or_kept_by_the_proxy(
    database: Database, prefix: str
) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "ROOT_PATH": "/post-results"})
    async with app_client(database, token=await add_key(database), settings=settings) as client:
        for path in ("/livez", "/v1/me", "/api/v1/posts", "/graphql?query={__typename}"):
            assert (await client.get(f"{prefix}{path}")).status_code == 200, path
        refused = await client.with_token(None).get(f"{prefix}/graphql")
        unknown = await client.get(f"{prefix}/post-resultsX")

    assert refused.json()["errors"][0]["extensions"] == {"code": "INVALID_API_KEY"}
    assert unknown.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("root_path", ["", "/post-results"])
async def test_the_path_of_graphql_is_told_and_counted_as_its_route(
    database: Database, root_path: str
) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "ROOT_PATH": root_path})
    with structlog.testing.capture_logs() as logs:
        async with app_client(database, token=await add_key(database), settings=settings) as client:
            for method in ("GET", "POST", "DELETE"):
                await client.request(method, f"{root_path}/graphql?query={{__typename}}")
            await client.get(f"{root_path}/graphql/x")
            metrics = (await client.get(f"{root_path}/metrics")).text

    assert [(each["path"], each["method"], each["status"]) for each in logs[:4]] == [
        ("/graphql", "GET", 200),
        ("/graphql", "POST", 415),
        ("/graphql", "DELETE", 405),
        (f"{root_path}/graphql/x", "GET", 404),
    ]
    counted = re.findall(
        r'^post_results_http_requests_total\{.*method="(\w+)",route="(.+)",', metrics, re.MULTILINE
    )
    assert sorted(counted) == [
        ("DELETE", "/graphql"),
        ("GET", "/graphql"),
        ("GET", "unmatched"),
        ("POST", "/graphql"),
    ]


async def test_when_a_key_was_used_is_kept_at_the_stop(database: Database) -> None:
    token = await add_key(database)
    last_used = "{ viewer { apiKey { lastUsedAt } } }"
    async with app_client(database, token=token) as client:
        assert await client.query(last_used) == {"viewer": {"apiKey": {"lastUsedAt": None}}}
    async with app_client(database, token=token, now=NOW + timedelta(days=1)) as client:
        data = await client.query(last_used)

    assert data == {"viewer": {"apiKey": {"lastUsedAt": "2026-04-15T15:00:00.000Z"}}}


async def analysed_tables(database: Database) -> set[str]:
    """The tables that SQLite's planner has statistics of."""
    async with database.unscoped_connection() as connection:
        if await connection.scalar(text("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")):
            return set(await connection.scalars(text("SELECT tbl FROM sqlite_stat1")))
    return set()


@only_on_sqlite
async def test_a_service_gives_the_planner_statistics_when_it_has_started(
    database: Database, database_url: str
) -> None:
    token = await add_key(database)
    async with Database(database_url) as served, app_client(served, token=token) as client:
        await client.get("/livez")

    assert {"api_key", "post", "destination"} <= await analysed_tables(database)


@only_on_sqlite
async def test_a_service_starts_and_serves_while_another_process_writes(
    database: Database, database_url: str
) -> None:
    token = await add_key(database)

    async def meanwhile(session: WriteSession) -> set[str]:
        await session.execute(text("SELECT 1"))
        impatient = Database(database_url, timeout=timedelta(milliseconds=50))
        with structlog.testing.capture_logs() as logs:
            async with impatient, app_client(impatient, token=token) as client:
                assert (await client.get("/v1/me")).status_code == 200
        return {entry["work"] for entry in logs if entry["event"] == "housekeeping failed"}

    assert await database.write(meanwhile) == {"refresh_statistics", "write_key_usage"}
    assert await analysed_tables(database) == set()


class UnreliableDatabase(Database):
    """Cannot be read over all workspaces at the times that are told."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.fails = False
        self.reads: Counter[object] = Counter()
        """By the tasks that read."""

    @asynccontextmanager
    async def unscoped_connection(self) -> AsyncIterator[AsyncConnection]:
        self.reads[asyncio.current_task()] += 1
        if self.fails:
            raise ServiceUnavailable("The disk is gone.")
        async with super().unscoped_connection() as connection:
            yield connection

    async def several_reads(self) -> None:
        """So many that both who read again and again have begun and ended one, and begun the next."""
        self.reads.clear()
        async with asyncio.timeout(60):
            while True:
                await asyncio.sleep(0.005)
                if sum(each >= 3 for each in self.reads.values()) == 2:
                    return


async def test_housekeeping_that_goes_on_failing_is_logged_once(database_url: str) -> None:
    database = UnreliableDatabase(database_url)
    with structlog.testing.capture_logs() as logs:
        async with database, app_client(database, maintenance_interval=timedelta(milliseconds=1)):
            for fails in (False, True, False, True, False):
                database.fails = fails
                await database.several_reads()

    failures = Counter(
        (entry["work"], entry["log_level"])
        for entry in logs
        if entry["event"] == "housekeeping failed"
    )
    assert failures == {("fail_due_posts", "warning"): 2, ("settle_leases", "warning"): 2}


# When things go wrong.


class Stalled:
    """A driver that after so many statements runs one that takes a minute instead of the next one."""

    def __init__(self, statements_left: int) -> None:
        self._statements_left = statements_left
        self._driver: Driver | None = None
        self.is_stalled = asyncio.Event()
        self.was_cancelled = asyncio.Event()

    def __call__(self, driver: Driver) -> Driver:
        self._driver = driver
        return self

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        assert self._driver is not None
        if "FROM api_key" in query.sql.replace("\n", ""):
            return await self._driver.fetch(query, arguments)
        self._statements_left -= 1
        if self._statements_left != -1:
            return await self._driver.fetch(query, arguments)
        self.is_stalled.set()
        try:
            return await self._driver.fetch(replace(query, sql=str(MINUTE_LONG_STATEMENT)), ())
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise

    async def close(self) -> None:
        assert self._driver is not None
        await self._driver.close()


def stalling(url: str, *, after: int) -> tuple[Database, Stalled]:
    """A database with one connection for what a workspace reads, and what holds it up."""
    stalled = Stalled(after)
    patient = timedelta(minutes=5)
    return Database(url, pool_size=1, timeout=patient, wrap_driver=stalled), stalled


POSTS = "{ posts { nodes { destinations { attemptLog { number } } } } }"
STALLS = pytest.mark.parametrize("after", [0, 1, 2], ids=["page", "along", "loader"])


@STALLS
async def test_what_takes_too_long_is_given_up(database_url: str, after: int) -> None:
    database, stalled = stalling(database_url, after=after)
    settings = read_settings({"RATE_LIMIT": "off", "REQUEST_TIMEOUT": "0.3"})
    async with (
        database,
        app_client(database, token=await add_key(database), settings=settings) as client,
    ):
        response = await client.request("POST", "/graphql", json={"query": POSTS})
        async with asyncio.timeout(5):
            await stalled.was_cancelled.wait()
            # The one connection is free again.
            posts = await client.query(POSTS)
        ready = await client.get("/readyz")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {
        "errors": [
            {
                "message": "No answer within 0.3 s; the request was given up.",
                "extensions": {"code": "SERVICE_UNAVAILABLE", "retryAfter": 5},
            }
        ]
    }
    assert posts == {"posts": {"nodes": [{"destinations": [{"attemptLog": []}]}]}}
    assert ready.status_code == 200


@STALLS
async def test_the_work_ends_when_the_client_leaves(database_url: str, after: int) -> None:
    database, stalled = stalling(database_url, after=after)
    token = await add_key(database)
    app = create_app(UNLIMITED_SETTINGS, clock=lambda: NOW, database=database)
    body = orjson.dumps({"query": POSTS})
    caller = asgi.ASGIClient(body)
    headers = [
        (b"authorization", f"Bearer {token}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    async with database, app.router.lifespan_context(app), asyncio.timeout(10):
        request = asyncio.create_task(
            app(asgi.http_scope("POST", "/graphql", headers), caller.receive, caller.send)
        )
        await stalled.is_stalled.wait()
        caller.disconnect()
        await request
        await stalled.was_cancelled.wait()
        await database.ping()

    assert caller.sent == []


def refuse_to_confine(_statement: AnySelect, workspace: WorkspaceIdOrParam) -> AnySelect:
    raise LookupError(f"SELECT secret FROM sqlite in /app/db.py for {workspace}")


async def test_an_unexpected_failure_in_a_field_is_masked(database_url: str) -> None:
    database = Database(database_url, workspace_filter=refuse_to_confine)
    async with database, app_client(database, token=await add_key(database)) as client:
        response = await client.get("/graphql?query={viewer{scopes},accounts{id}}")

    request_id = response.headers["X-Request-Id"]
    assert response.status_code == 200
    assert response.json() == {
        "data": {"viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]}, "accounts": None},
        "errors": [
            {
                "message": MASKED,
                "locations": [{"line": 1, "column": 17}],
                "path": ["accounts"],
                "extensions": {"code": "INTERNAL_ERROR", "requestId": request_id},
            }
        ],
    }


class BrokenDatabase(Database):
    """Fails in a way that nobody foresaw, once it is told to."""

    is_broken = False

    @asynccontextmanager
    async def unscoped_connection(self) -> AsyncIterator[AsyncConnection]:
        if self.is_broken:
            raise LookupError("SELECT secret FROM sqlite in /app/db.py")
        async with super().unscoped_connection() as connection:
            yield connection

    async def fetch_unscoped(self, statement: Statement, **values: object) -> AnyRow | None:
        if self.is_broken:
            raise LookupError("SELECT secret FROM sqlite in /app/db.py")
        return await super().fetch_unscoped(statement, **values)


async def test_an_unexpected_failure_elsewhere_is_masked_at_every_door(database_url: str) -> None:
    database = BrokenDatabase(database_url)
    async with database, app_client(database, token=await add_key(database)) as client:
        database.is_broken = True
        answers = [await client.get(path) for path in ("/graphql", "/v1/me", "/readyz")]

    assert [response.status_code for response in answers] == [500, 500, 500]
    extensions = {"code": "INTERNAL_ERROR", "requestId": answers[0].headers["X-Request-Id"]}
    assert answers[0].json() == {"errors": [{"message": MASKED, "extensions": extensions}]}
    for response in answers[1:]:
        enveloped(response, "internal_error", MASKED, retryable=True)
