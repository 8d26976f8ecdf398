"""The application as a whole: routes, errors, operator endpoints, maintenance and failures."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import httpx
import orjson
import pytest
import structlog
from sqlalchemy import make_url, text

from app.asgi import create_app
from app.db.core.database import Database
from app.db.core.statements import CompiledStatement, Record
from app.db.core.tenancy import S, WorkspaceIdOrParam
from app.db.migrations import SchemaMismatch, migrate
from app.domain.errors import ServiceUnavailable
from app.health import probe_routes
from app.http.paths import METRICS_PATH
from app.observability.metrics import Metrics
from app.services.secret_cipher import SecretCipher
from app.settings import read_settings
from tests import postgres
from tests.clients import (
    UNLIMITED_SETTINGS,
    Client,
    app_client,
    client_for,
    wait_for_startup_reads,
)
from tests.db.core.intercepting_driver import InterceptingDriver, WrappingDriver, do_nothing
from tests.db.core.test_database import MINUTE_LONG_STATEMENT, only_on_sqlite
from tests.db.core.test_sqlite import analysed_tables
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
from tests.recording_driver import RecordingDriver


async def add_key(database: Database) -> str:
    """Token of a key to a workspace with one post."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    await add_post(database, workspace, {account: queued()})
    return (await add_api_key(database, workspace)).token


def assert_error_envelope(
    response: httpx.Response, code: str, message: str, *, retryable: bool
) -> None:
    """Assert that a response is this error in the envelope of the REST API."""
    assert response.json() == {
        "data": None,
        "error": {"message": message, "code": code, "retryable": retryable, "details": None},
        "meta": {
            "request_id": response.headers["X-Request-Id"],
            "timestamp": "2026-04-15T15:00:00.000Z",
        },
    }


DISK_ERROR = ServiceUnavailable("The disk is gone.")
MASKED = (
    "Something went wrong on this server. Try again; if it stays, give its operator the request id."
)


async def test_every_response_has_unique_request_id(database: Database) -> None:
    async with app_client(database) as client:
        responses = [
            await client.get(path) for path in ("/livez", "/nowhere", "/graphql", "/v1/me")
        ]

    ids = [response.headers["X-Request-Id"] for response in responses]
    assert len(set(ids)) == 4
    assert all(re.fullmatch("[0-9a-f]{8}", request_id) for request_id in ids)


@pytest.mark.parametrize(
    "path",
    [
        *("/nowhere", "/graphql/", "/graphql/x", "/livez/", "//graphql"),
        *("/v1", "/v1/", "/v1/posts/", "/v1/nothing", "/v1/media", "/v1/campaigns/7"),
        *("/v1/analytics", "/v1/posts/x/nothing", "/api/v1/posts/x/results/first"),
        *("/v2/posts", "/api/posts", "/v1//posts", "/v1/%00"),
    ],
)
async def test_unknown_path_is_not_found_in_envelope(database: Database, path: str) -> None:
    message = "This path was not found. GraphQL is at /graphql, the REST API under /v1."
    async with app_client(database) as client:
        for method in ("GET", "POST", "DELETE"):
            response = await client.request(method, f"http://test{path}")
            assert response.status_code == 404
            assert_error_envelope(response, "not_found", message, retryable=False)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_operator_routes_allow_get_and_head_only(database: Database, path: str) -> None:
    async with app_client(database) as client:
        allowed = await client.get(path)
        response = await client.request("POST", path)
    assert (allowed.status_code, allowed.headers["Cache-Control"]) == (200, "no-store")

    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    message = "POST is not possible here; use GET, HEAD."
    assert_error_envelope(response, "method_not_allowed", message, retryable=False)


async def test_configured_origins_may_call_and_read_headers(database: Database) -> None:
    settings = read_settings({"CORS_ORIGINS": "https://app.example.com", "RATE_LIMIT": "off"})
    async with app_client(database, settings=settings) as client:
        for origin, status in (("https://app.example.com", 200), ("https://evil.example", 400)):
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            preflight = await client.request("OPTIONS", "/graphql", headers=headers)
            response = await client.get("/graphql", headers={"Origin": origin})
            assert (preflight.status_code, response.status_code) == (status, 401)
            for each in (preflight, response):
                allowed = each.headers.get("Access-Control-Allow-Origin")
                assert allowed == (origin if status == 200 else None)
                assert "Access-Control-Allow-Credentials" not in each.headers


@pytest.fixture
def removable_database(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    """URL of an empty database, and a function that removes it."""
    if engine == "sqlite":
        directory = tmp_path / "data"
        directory.mkdir()
        url = f"sqlite+aiosqlite:///{directory / 'lost.db'}"
        yield url, lambda: directory.rename(tmp_path / "gone")
        return
    with ExitStack() as stack:
        server_url = request.getfixturevalue("postgresql_server_url")
        yield stack.enter_context(postgres.new_database(server_url)), stack.close


async def test_lost_database_is_503_with_retry_after(
    removable_database: tuple[str, Callable[[], object]],
) -> None:
    url, remove = removable_database
    database = Database(url, wrap_driver=RecordingDriver)
    await migrate(database, now=NOW, random_bytes=bytes)
    async with database, app_client(database, token=await add_key(database)) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        await wait_for_startup_reads(database)
        await database.driver.close()  # open connections may outlive the file
        await asyncio.to_thread(remove)
        alive, ready = await client.get("/livez"), await client.get("/readyz")
        graphql, rest = await client.get("/graphql?query={__typename}"), await client.get("/v1/me")

    message = "The database is not available. Try again in a moment."
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable", "reason": message})
    assert ready.headers["Cache-Control"] == "no-store"
    assert (graphql.status_code, graphql.headers["Retry-After"]) == (503, "2")
    extensions = {"code": "SERVICE_UNAVAILABLE", "retryAfter": 2}
    assert graphql.json() == {"errors": [{"message": message, "extensions": extensions}]}
    assert (rest.status_code, rest.headers["Retry-After"]) == (503, "2")
    assert_error_envelope(rest, "service_unavailable", message, retryable=True)


async def test_database_that_does_not_answer_is_not_ready(database_url: str) -> None:
    driver = InterceptingDriver()
    database = Database(database_url, wrap_driver=driver)
    async with database, app_client(database) as client:
        driver.before_statement = asyncio.Event().wait
        response = await client.get("/readyz")

    assert response.status_code == 503
    reason = "The database did not answer within 3 s."
    assert response.json() == {"status": "unavailable", "reason": reason}


async def test_database_of_other_version_is_refused(empty_database_url: str) -> None:
    with pytest.raises(SchemaMismatch, match="run post-results migrate"):
        async with Database(empty_database_url) as database, app_client(database):
            pytest.fail("the app started")


@only_on_sqlite
async def test_app_closes_only_its_own_database(database_url: str) -> None:
    def is_open() -> bool:
        """SQLite removes its WAL file when the last connection is closed."""
        return Path(f"{make_url(database_url).database}-wal").exists()

    app = create_app(read_settings({"DATABASE_URL": database_url}))
    async with app.router.lifespan_context(app), client_for(app, token=None) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert is_open()
    assert not is_open()

    async with Database(database_url) as open_database:
        async with app_client(open_database) as client:
            assert (await client.get("/readyz")).status_code == 200
        assert is_open()
        await open_database.ping()
    assert not is_open()


async def test_metrics_count_requests_and_operations(database: Database) -> None:
    async with app_client(database, token=await add_key(database)) as client:
        await client.query("{ posts { totalCount } }")
        await client.query("{ posts { totalCount } }")
        await client.execute("{ posts(first: 0) { totalCount } }")
        await client.with_token(None).get("/graphql")
        await client.get("/v1/me")
        await client.get("/nowhere/5")
        response = await client.get("/metrics")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        line
        for line in response.text.splitlines()
        if re.match(r"post_results_(http_requests_total|graphql_operations_total)", line)
    }
    requests = "post_results_http_requests_total"
    operations = "post_results_graphql_operations_total"
    assert samples == {
        f'{requests}{{api="graphql",method="POST",route="/graphql",status="2xx"}} 3.0',
        f'{requests}{{api="graphql",method="GET",route="/graphql",status="4xx"}} 1.0',
        f'{requests}{{api="rest",method="GET",route="/v1/me",status="2xx"}} 1.0',
        f'{requests}{{api="unmatched",method="GET",route="unmatched",status="4xx"}} 1.0',
        f'{operations}{{code="ok",type="query"}} 3.0',
        f'{operations}{{code="validation_error",type="query"}} 1.0',
    }
    assert "post_results_http_requests_in_progress 1.0" in response.text
    assert "post_results_http_request_duration_seconds_bucket" in response.text
    assert "process_resident_memory_bytes" in response.text


async def current_values(client: Client) -> dict[str, float]:
    """Readiness and backlog as in the metrics."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    names = "ready|destinations_due|destinations_overdue|oldest_overdue_age_seconds"
    values = re.findall(rf"^post_results_({names}) (.*)$", response.text, re.MULTILINE)
    return {name: float(value) for name, value in values}


async def test_metrics_show_backlog_of_all_workspaces(database: Database) -> None:
    overdue, recent = NOW - timedelta(minutes=5), NOW - timedelta(minutes=4)
    backlog = {
        "ready": 1,
        "destinations_due": 6,
        "destinations_overdue": 4,
        "oldest_overdue_age_seconds": 300,
    }
    for _ in range(2):
        workspace = await add_workspace(database)
        accounts = [await add_account(database, workspace) for _ in range(5)]
        states = (
            queued(overdue),
            queued(recent),
            started(NOW - timedelta(hours=1), lease_expires_at=overdue),
            waiting_for_retry(NOW, due_at=NOW - timedelta(days=1)),
            published(),
        )
        await add_post(database, workspace, dict(zip(accounts, states, strict=True)))
    async with app_client(database) as client:
        assert await current_values(client) == backlog


async def test_backlog_is_read_again_after_ten_seconds(database: Database) -> None:
    seconds = 0.0
    routes = probe_routes(
        database,
        Metrics(),
        lambda: None,
        SecretCipher([]),
        lambda: NOW,
        monotonic=lambda: seconds,
        is_draining=lambda: True,
    )
    (show,) = [route.handlers["GET"] for route in routes if route.path == METRICS_PATH]
    workspace = await add_workspace(database)
    due: list[bytes] = []
    for seconds in (0, 9.9, 10):  # noqa: B007 - read by `monotonic`
        page = (await show(asgi.make_request())).body
        assert b"\npost_results_ready 0.0\n" in page
        due += re.findall(rb"^post_results_destinations_due (.*)$", page, re.MULTILINE)
        account = await add_account(database, workspace)
        await add_post(database, workspace, {account: queued()})
    assert due == [b"0.0", b"0.0", b"2.0"]


async def test_metrics_work_without_database(database_url: str) -> None:
    driver = InterceptingDriver()
    database = Database(database_url, wrap_driver=driver)
    async with database, app_client(database) as client:
        await wait_for_startup_reads(database)
        driver.before_statement = fail_as_unavailable
        with structlog.testing.capture_logs() as logs:
            assert await current_values(client) == {"ready": 0}
        assert sorted(log["event"] for log in logs if log["log_level"] == "warning") == [
            "backlog not read",
            "open circuit breakers not counted",
            "unreadable secrets not counted",
        ]
        driver.before_statement = do_nothing
        assert await current_values(client) == {"ready": 1}


@pytest.mark.parametrize("prefix", ["", "/post-results"])
async def test_proxy_may_strip_or_keep_prefix(database: Database, prefix: str) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "ROOT_PATH": "/post-results"})
    async with app_client(database, token=await add_key(database), settings=settings) as client:
        for path in ("/livez", "/v1/me", "/api/v1/posts", "/graphql?query={__typename}"):
            assert (await client.get(f"{prefix}{path}")).status_code == 200, path
        refused = await client.with_token(None).get(f"{prefix}/graphql")
        unknown = await client.get(f"{prefix}/post-resultsX")

    assert refused.json()["errors"][0]["extensions"] == {"code": "INVALID_API_KEY"}
    assert unknown.json()["error"]["code"] == "not_found"


async def test_key_usage_is_stored_at_shutdown(database: Database) -> None:
    token = await add_key(database)
    last_used = "{ viewer { apiKey { lastUsedAt } } }"
    async with app_client(database, token=token) as client:
        assert await client.query(last_used) == {"viewer": {"apiKey": {"lastUsedAt": None}}}
    async with app_client(database, token=token, now=NOW + timedelta(days=1)) as client:
        data = await client.query(last_used)

    assert data == {"viewer": {"apiKey": {"lastUsedAt": "2026-04-15T15:00:00.000Z"}}}


@only_on_sqlite
async def test_startup_refreshes_planner_statistics(database: Database, database_url: str) -> None:
    token = await add_key(database)
    async with Database(database_url) as served, app_client(served, token=token) as client:
        await client.get("/livez")

    assert {"api_key", "post", "destination"} <= await analysed_tables(database)


@only_on_sqlite
async def test_service_starts_during_write_of_other_process(
    database: Database, database_url: str
) -> None:
    token = await add_key(database)

    second_process = Database(database_url, timeout=timedelta(milliseconds=500))
    async with database.schema_transaction() as connection:
        await connection.execute(text("SELECT 1"))
        with structlog.testing.capture_logs() as logs:
            async with second_process, app_client(second_process, token=token) as client:
                assert (await client.get("/v1/me")).status_code == 200

    warnings = {(log["event"], log.get("task")) for log in logs if log["log_level"] == "warning"}
    assert warnings >= {
        ("last use of keys not stored", None),
        ("periodic task failed", "refresh_statistics"),
    }
    assert await analysed_tables(database) == set()


class ReadCounter:
    """Callback of an InterceptingDriver that counts the reads of each task, and fails them on demand."""

    def __init__(self) -> None:
        self.is_failing = False
        self._counts: Counter[object] = Counter()

    async def __call__(self) -> None:
        self._counts[asyncio.current_task()] += 1
        if self.is_failing:
            await fail_as_unavailable()

    async def wait_for_reads(self) -> None:
        """Wait until both periodic readers have started, finished and started again."""
        self._counts.clear()
        async with asyncio.timeout(60):
            while True:
                await asyncio.sleep(0.005)
                if sum(count >= 3 for count in self._counts.values()) == 2:
                    return


async def test_repeated_maintenance_failure_is_logged_once(database_url: str) -> None:
    reads = ReadCounter()
    database = Database(database_url, wrap_driver=InterceptingDriver(reads))
    with structlog.testing.capture_logs() as logs:
        async with database, app_client(database, expiration_interval=timedelta(milliseconds=1)):
            for is_failing in (False, True, False, True, False):
                reads.is_failing = is_failing
                await reads.wait_for_reads()

    failures = Counter(
        (entry["task"], entry["log_level"])
        for entry in logs
        if entry["event"] == "periodic task failed"
    )
    assert failures == {
        ("fail_due_on_blocked_accounts", "warning"): 2,
        ("settle_expired_leases", "warning"): 2,
    }


@dataclass(slots=True)
class StallingDriver(WrappingDriver):
    """Replaces one statement by one that takes a minute, after `statements_left` others."""

    statements_left: int
    is_stalled: asyncio.Event = field(default_factory=asyncio.Event)
    was_cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        # The server's own statements have no workspace, or read events.
        if "workspace" not in statement.parameters or "FROM event" in statement.sql:
            return await self.driver.fetch(statement, arguments)
        self.statements_left -= 1
        if self.statements_left != -1:
            return await self.driver.fetch(statement, arguments)
        self.is_stalled.set()
        slow = replace(statement, sql=str(MINUTE_LONG_STATEMENT), batch=None)
        try:
            return await self.driver.fetch(slow, ())
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise


def stalling_database(url: str, *, statements_before: int) -> tuple[Database, StallingDriver]:
    """A database with one read connection, and the driver that stalls it."""
    driver = StallingDriver(statements_before)
    timeout = timedelta(minutes=5)
    return Database(url, pool_size=1, timeout=timeout, wrap_driver=driver), driver


POSTS = "{ posts { nodes { destinations { attemptLog { number } } } } }"
stall_points = pytest.mark.parametrize(
    "statements_before", [0, 1, 2], ids=["page", "prefetch", "loader"]
)


@stall_points
async def test_slow_query_times_out_and_frees_connection(
    database_url: str, statements_before: int
) -> None:
    database, driver = stalling_database(database_url, statements_before=statements_before)
    settings = read_settings({"RATE_LIMIT": "off", "REQUEST_TIMEOUT": "1"})
    async with (
        database,
        app_client(database, token=await add_key(database), settings=settings) as client,
    ):
        # Opens the connection and reads the key, which are not what must take long.
        await client.query("{ __typename }")
        response = await client.request("POST", "/graphql", json={"query": POSTS})
        async with asyncio.timeout(30):
            await driver.was_cancelled.wait()
            # The only connection is free again.
            posts = await client.query(POSTS)
        ready = await client.get("/readyz")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {
        "errors": [
            {
                "message": "The request timed out after 1 s.",
                "extensions": {"code": "SERVICE_UNAVAILABLE", "retryAfter": 5},
            }
        ]
    }
    assert posts == {"posts": {"nodes": [{"destinations": [{"attemptLog": []}]}]}}
    assert ready.status_code == 200


@stall_points
async def test_disconnect_cancels_query(database_url: str, statements_before: int) -> None:
    database, driver = stalling_database(database_url, statements_before=statements_before)
    token = await add_key(database)
    app = create_app(UNLIMITED_SETTINGS, clock=lambda: NOW, database=database)
    body = orjson.dumps({"query": POSTS})
    client = asgi.ASGIClient(body)
    headers = [
        (b"authorization", f"Bearer {token}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    async with database, app.router.lifespan_context(app), asyncio.timeout(30):
        request = asyncio.create_task(
            app(asgi.http_scope("POST", "/graphql", headers), client.receive, client.send)
        )
        await driver.is_stalled.wait()
        client.disconnect()
        await request
        await driver.was_cancelled.wait()
        await database.ping()

    assert client.sent == []


def fail_restriction(_statement: S, workspace: WorkspaceIdOrParam) -> S:
    raise LookupError(f"SELECT secret FROM sqlite in /app/db.py for {workspace}")


async def test_unexpected_field_error_is_masked(database_url: str) -> None:
    database = Database(database_url, workspace_filter=fail_restriction)
    async with database, app_client(database, token=await add_key(database)) as client:
        response = await client.get("/graphql?query={viewer{scopes},accounts{id}}")
        rest = await client.get("/v1/accounts")

    assert rest.status_code == 500
    assert_error_envelope(rest, "internal_error", MASKED, retryable=True)
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


async def fail_as_unavailable() -> None:
    raise ServiceUnavailable("The disk is gone.")


async def fail_unexpectedly() -> None:
    raise LookupError("SELECT secret FROM sqlite in /app/db.py")


async def test_unexpected_error_is_masked_in_every_api(database_url: str) -> None:
    driver = InterceptingDriver()
    database = Database(database_url, wrap_driver=driver)
    async with database, app_client(database, token=await add_key(database)) as client:
        driver.before_statement = fail_unexpectedly
        responses = [await client.get(path) for path in ("/graphql", "/v1/me", "/readyz")]

    assert [response.status_code for response in responses] == [500, 500, 500]
    extensions = {"code": "INTERNAL_ERROR", "requestId": responses[0].headers["X-Request-Id"]}
    assert responses[0].json() == {"errors": [{"message": MASKED, "extensions": extensions}]}
    for response in responses[1:]:
        assert_error_envelope(response, "internal_error", MASKED, retryable=True)
