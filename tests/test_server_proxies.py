"""The server behind proxies, as a real process: forwarded headers, people signed in, and paths."""

import re
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from app.domain.errors import TooManyConnections
from app.http.connection_limits import ConnectionLimits, ConnectionState
from app.server import with_ipv4_mapped
from tests.servers import DEMO_KEY, TIMEOUT_SECONDS, ServerStarter

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("trusted_proxies", "client"),
    [("", "127.0.0.1"), ("127.0.0.1", "203.0.113.9"), ("10.0.0.0/8", "127.0.0.1")],
)
def test_forwarded_address_is_trusted_of_trusted_proxy_only(
    start_server: ServerStarter, trusted_proxies: str, client: str
) -> None:
    server = start_server.ready(TRUSTED_PROXIES=trusted_proxies)
    server.get("/livez", **{"X-Forwarded-For": "203.0.113.9"})
    server.stop()

    (request,) = [event for event in server.request_log() if event["path"] == "/livez"]
    assert request["client"] == client


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("trusted_proxies", "status", "is_secure"), [("127.0.0.1", 200, True), ("", 403, False)]
)
def test_forwarded_origin_is_trusted_of_trusted_proxy_only(
    start_server: ServerStarter, trusted_proxies: str, status: int, is_secure: bool
) -> None:
    server = start_server.ready("--demo", TRUSTED_PROXIES=trusted_proxies)
    response = httpx.post(
        f"{server.url}/board/session",
        json={"key": DEMO_KEY},
        headers={
            "Origin": "https://results.example.com",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "results.example.com",
        },
        timeout=TIMEOUT_SECONDS,
    )

    assert response.status_code == status
    assert response.headers.get("Set-Cookie", "").startswith("__Host-") is is_secure
    assert (f"own origin is {server.url}." in response.text) is not is_secure
    server.stop()
    assert DEMO_KEY not in str(server.log_events())


PROXY_USERS = '[users.jane]\nworkspace = "Demo"\nscopes = ["read"]\n'


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("trusted_proxies", "status", "close_code"), [("127.0.0.1", 200, None), ("10.0.0.1", 401, 4403)]
)
def test_user_of_trusted_proxy_only_is_signed_in(
    start_server: ServerStarter,
    tmp_path: Path,
    trusted_proxies: str,
    status: int,
    close_code: int | None,
) -> None:
    file = tmp_path / "users.toml"
    file.write_text(PROXY_USERS)
    server = start_server.ready(
        "--demo",
        TRUSTED_PROXIES=trusted_proxies,
        BOARD_PROXY_USER="X-Forwarded-User",
        BOARD_PROXY_USERS=str(file),
    )
    headers = {"Origin": server.url, "X-Forwarded-User": "jane"}
    response = httpx.post(
        f"{server.url}/graphql",
        json={"query": "{ viewer { session { person } } }"},
        headers=headers,
        timeout=TIMEOUT_SECONDS,
    )
    assert response.status_code == status
    assert ('{"person":"jane"}' in response.text) is (status == 200)
    with connect(
        f"ws{server.url.removeprefix('http')}/graphql",
        additional_headers=headers,
        subprotocols=[Subprotocol("graphql-transport-ws")],
    ) as client:
        client.send('{"type": "connection_init"}')
        try:
            assert client.recv(TIMEOUT_SECONDS) == '{"type":"connection_ack"}'
        except ConnectionClosed:
            assert client.close_code == close_code
        else:
            assert close_code is None
    server.stop()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_unknown_workspace_of_proxy_users_is_refused_after_the_first_key_was_shown(
    start_server: ServerStarter, tmp_path: Path
) -> None:
    file = tmp_path / "users.toml"
    file.write_text(PROXY_USERS)
    server = start_server(
        TRUSTED_PROXIES="127.0.0.1", BOARD_PROXY_USER="X-User", BOARD_PROXY_USERS=str(file)
    )
    output, log = server.failed_start()
    assert log == (
        f"post-results: BOARD_PROXY_USERS: {file} has users.jane with the workspace Demo, which does not"
        " exist. Correct the name, or create it with 'post-results workspaces create Demo'.\n"
    )
    assert re.search("  key      pe_live_[0-9a-f]{32}\n", output)


def test_ipv4_clients_of_an_ipv6_socket_match_ipv4_networks() -> None:
    networks = with_ipv4_mapped(["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"])
    limits = ConnectionLimits(max_total=100, max_per_address=1, trusted_proxies=networks)

    assert networks[4:] == ["::ffff:127.0.0.1/128", "::ffff:10.0.0.0/104"]
    for _ in range(2):
        limits.acquire("::ffff:10.1.2.3", lambda: None)
        limits.acquire("10.1.2.3", lambda: None)
    limits.acquire("::ffff:11.1.2.3", lambda: None).change_state(ConnectionState.BUSY)
    with pytest.raises(TooManyConnections):
        limits.acquire("11.1.2.3", lambda: None)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_root_path_works_stripped_or_kept(start_server: ServerStarter) -> None:
    server = start_server.ready("--demo", ROOT_PATH="/social/results")
    assert server.url.endswith("/social/results")
    origin = server.url.removesuffix("/social/results")
    headers = {"Authorization": f"Bearer {DEMO_KEY}"}
    with_prefix, without_prefix = (
        httpx.get(f"{base}/v1/accounts", headers=headers).json()["data"]
        for base in (server.url, origin)
    )
    server.stop()

    assert with_prefix == without_prefix
