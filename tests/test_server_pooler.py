"""Server processes behind PgBouncer: start, migration, requests, live updates and workers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.command_processes import fork
from tests.db.core.test_database import only_on_postgresql
from tests.pgbouncer import POOL_SIZE, run_pgbouncer
from tests.servers import (
    DEMO_KEY,
    DEMO_POST,
    TIMEOUT_SECONDS,
    ServerProcess,
    ServerStarter,
    log_errors,
)
from tests.test_server_subscriptions import (
    create_post,
    current_cursor,
    open_websocket,
    receive_message,
    subscribe_to_changes,
)

pytestmark = [pytest.mark.slow, only_on_postgresql]

CLAIM = "mutation { claimDestinations(input: {limit: 1}) { claims { leaseToken } } }"


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_two_servers_and_their_workers_share_few_connections(
    start_server: ServerStarter, empty_database_url: str, tmp_path: Path, mode: str
) -> None:
    def read(server: ServerProcess) -> int:
        return server.get(f"/v1/posts/{DEMO_POST}/results", DEMO_KEY).status_code

    with run_pgbouncer(empty_database_url, mode) as pgbouncer, ThreadPoolExecutor(40) as executor:
        servers = [
            start_server(
                "--demo", "--with-worker", start=fork, RATE_LIMIT="off", **pgbouncer.settings()
            )
            for _ in range(2)
        ]
        list(executor.map(ServerProcess.wait_until_ready, servers))
        statuses = set(executor.map(read, servers * 20 * POOL_SIZE))
        reader, writer = servers
        exported = reader.get("/v1/destinations.ndjson", DEMO_KEY)
        with open_websocket(reader) as connection:
            subscribe_to_changes(connection, current_cursor(reader))
            create_post(writer)
            message = receive_message(connection)
        claim = httpx.post(
            f"{writer.url}/graphql",
            json={"query": CLAIM},
            headers={"Authorization": f"Bearer {DEMO_KEY}"},
            timeout=TIMEOUT_SECONDS,
        )
        for server in servers:
            server.stop()

    assert statuses == {200}
    assert exported.text.count("\n") > 500  # more than one batch
    assert message["payload"]["data"]["changes"]["type"] == "POST_CREATED"
    assert claim.json()["data"]["claimDestinations"]["claims"] is not None
    # A batch may wait too long for a connection; its reads then run alone.
    errors = {error for error in log_errors(tmp_path / "servers") if error.level == "error"}
    assert errors == set()


def test_undeclared_pooler_prevents_the_start(
    start_server: ServerStarter, empty_database_url: str
) -> None:
    with run_pgbouncer(empty_database_url, "transaction") as pgbouncer:
        error = start_server(DATABASE_URL=pgbouncer.url).startup_error()

    assert error == (
        "post-results: A connection that must lead to PostgreSQL itself leads to a connection pooler: set"
        " DATABASE_POOLER to session or transaction if DATABASE_URL is that of a pooler, and"
        " DATABASE_DIRECT_URL to the URL of PostgreSQL.\n"
    )
