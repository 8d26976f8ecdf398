"""Credentials that clients set appear nowhere: not in files, logs, metrics, the change feed or any answer."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.ids import WorkspaceId
from app.graphql.engine.executable_schema import create_schema
from app.services.backup import backup
from app.settings import GraphQLLimits
from tests.clients import run_with_database
from tests.credential_rows import KEY
from tests.db.all_tables import dump_rows
from tests.factories import NOW, add_api_key, add_workspace
from tests.graphql.generated_queries import build_argumentless_query
from tests.graphql.schema.mutations.test_credentials import CONNECT, SET
from tests.graphql.tenants import NO_LIMITS
from tests.servers import TIMEOUT_SECONDS, ServerProcess, ServerStarter

pytestmark = pytest.mark.slow

SETTINGS: Any = {**NO_LIMITS, "LOG_LEVEL": "debug", "SECRETS_KEY": KEY}
SECRET = "sesame-Ali-Baba-40"
CREDENTIALS = {"identifier": "alice.test", "password": SECRET, "session": {"jwt": SECRET}}
FORMS = (SECRET.encode(), SECRET.encode().hex().encode(), SECRET[::-1].encode(), KEY.encode())
LITERAL = f"""
mutation {{
  setAccountCredentials(input: {{accountId: 1, credentials: {{password: "{SECRET}"}}}}) {{ __typename }}
}}
"""
INVALID_SYNTAX = (
    LITERAL.replace("password:", "password"),
    LITERAL.replace(f'"{SECRET}"', f'"""{SECRET}""" """{SECRET}"""'),
    LITERAL.replace("credentials:", ""),
)
READ_PATHS = (
    "/v1/accounts",
    "/v1/changes",
    "/v1/me",
    "/metrics",
    "/readyz",
    "/v1/accounts/1/health",
)


class RecordingClient:
    """Sends requests, and records everything that a server answers."""

    def __init__(self, url: str, token: str) -> None:
        self.answers: list[bytes] = []
        self._url, self._headers = url, {"Authorization": f"Bearer {token}"}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        options["headers"] = self._headers | options.get("headers", {})
        response = httpx.request(method, self._url + path, timeout=TIMEOUT_SECONDS, **options)
        self.answers.append(response.content + str(response.headers).encode())
        return response

    def execute(self, query: str, variables: object, **parameters: object) -> dict[str, Any]:
        body = {"query": query, "variables": variables, **parameters}
        answer: dict[str, Any] = self.request("POST", "/graphql", json=body).json()
        return answer

    def execute_by_websocket(self, query: str, variables: object) -> dict[str, Any]:
        url = self._url.replace("http", "ws", 1) + "/graphql"
        protocol = Subprotocol("graphql-transport-ws")
        with connect(url, subprotocols=[protocol], additional_headers=self._headers) as socket:
            socket.send(json.dumps({"type": "connection_init"}))
            self.answers.append(str(socket.recv(TIMEOUT_SECONDS)).encode())
            payload = {"query": query, "variables": variables}
            socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            text = str(socket.recv(TIMEOUT_SECONDS))
        self.answers.append(text.encode())
        message: dict[str, Any] = json.loads(text)
        return message


def set_credentials_in_every_way(client: RecordingClient) -> None:
    """Set the credentials by valid requests, and pass them in invalid ones."""
    connection = {"platform": "bluesky", "credentials": CREDENTIALS, "idempotencyKey": "k1"}
    assert "errors" not in client.execute(CONNECT, {"input": connection})
    to_set = {"accountId": 1, "credentials": CREDENTIALS}
    for _ in range(2):
        repeated = {"input": {**to_set, "idempotencyKey": "k2"}}
        assert "errors" not in client.execute(SET, repeated)
    message = client.execute_by_websocket(SET, {"input": to_set})
    assert message["payload"]["data"]["payload"]["account"]["hasCredentials"] is True

    unreachable = {"identifier": "alice.test", "appPassword": SECRET, "service": "http://127.0.0.1"}
    verified = {"platform": "bluesky", "publisher": "BLUESKY", "verify": True}
    assert client.execute(CONNECT, {"input": {**verified, "credentials": unreachable}})["errors"]
    code = {"authorization": SECRET, "code": SECRET}
    by_code = {"platform": "mastodon", "publisher": "MASTODON", "verify": True, "credentials": code}
    assert client.execute(CONNECT, {"input": by_code})["errors"]
    for invalid in (
        {**to_set, "unknown": 1},
        {"accountId": 1, "credential": CREDENTIALS},
        {"accountId": 1, "credentials": SECRET},
        {"accountId": 99, "credentials": CREDENTIALS},
        SECRET,
    ):
        assert client.execute(SET, {"input": invalid})["errors"]
        assert client.execute_by_websocket(SET, {"input": invalid})["payload"]
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": sha256(LITERAL)}}
    assert client.execute(LITERAL, {}, extensions=persisted)["errors"]
    for document in INVALID_SYNTAX:
        (error,) = client.execute(document, {})["errors"]
        assert error["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    by_hash = client.execute("", {}, extensions=persisted)
    assert by_hash["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    in_url = {"query": SET, "variables": json.dumps({"input": to_set})}
    assert client.request("GET", "/graphql", params=in_url).status_code == 405
    assert client.request("POST", "/graphql", params=in_url, content=b"{}").status_code >= 400
    cut_body = json.dumps({"query": SET, "variables": {"input": to_set}})[:-3]
    assert client.request("POST", "/graphql", content=cut_body).status_code >= 400


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_everything(client: RecordingClient) -> None:
    query = build_argumentless_query(create_schema(GraphQLLimits()).graphql_schema)
    data = client.execute(query.document, query.variables)["data"]
    assert data["accounts"][0]["hasCredentials"] is True
    for path in READ_PATHS:
        assert client.request("GET", path).status_code == 200, path


@contextmanager
def running_server(start_server: ServerStarter) -> Iterator[ServerProcess]:
    server = start_server("--with-worker", **SETTINGS)
    server.wait_until_ready()
    yield server
    server.stop()


def test_planted_credentials_are_found_nowhere(
    start_server: ServerStarter, empty_database_url: str, tmp_path: Path
) -> None:
    with running_server(start_server) as server:
        token = run_with_database(empty_database_url, _add_key)
        client = RecordingClient(server.url, token)
        set_credentials_in_every_way(client)
        read_everything(client)
        backup_file = tmp_path / "backup.db"
        rows = run_with_database(empty_database_url, lambda database: _dump(database, backup_file))
        files = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    files |= {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert [name for name, data in files.items() if contains_secret(data)] == []
    assert [answer for answer in client.answers if contains_secret(answer)] == []
    assert [row for row in rows if contains_secret(str(row).encode())] == []
    assert len([row for row in rows if row[0] in ("credential", "idempotency_key")]) == 3
    assert backup_file in files
    assert any(file.suffix == ".log" for file in files)


def contains_secret(data: bytes) -> bool:
    return any(form in data for form in FORMS)


async def _add_key(database: Database) -> str:
    workspace: WorkspaceId = await add_workspace(database, name="Acme")
    scopes = [scope for scope in Scope if scope is not Scope.PUBLISH_ALL]
    return (await add_api_key(database, workspace, scopes=scopes)).token


async def _dump(database: Database, file: Path) -> list[tuple[str, str]]:
    await backup(database, file, now=NOW, random_bytes=lambda length: b"x" * length)
    return await dump_rows(database)


def test_search_finds_what_it_should() -> None:
    planted = json.dumps(CREDENTIALS).encode()

    assert contains_secret(planted)
    assert contains_secret(planted.hex().encode())
    assert not contains_secret(b"sesame")
