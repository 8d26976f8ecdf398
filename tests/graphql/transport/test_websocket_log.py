"""The log line of a WebSocket."""

import re
from typing import Any

import pytest
import structlog

from tests.graphql.live_tenant import LiveTenant
from tests.graphql.transport.websocket_client import connect


async def logged_socket(tenant: LiveTenant, *, address: str, token: str | None) -> dict[str, Any]:
    """Open a WebSocket, with a key run one query, disconnect, and return the log line."""
    with structlog.testing.capture_logs() as logs:
        async with connect(tenant.app, address=address) as socket:
            await socket.wait_accepted()
            if token is not None:
                socket.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
                assert await socket.receive() == {"type": "connection_ack"}
                payload = {"query": "{ __typename }"}
                socket.send(type="subscribe", id="1", payload=payload)
                assert (await socket.receive())["type"] == "next"
                assert (await socket.receive())["type"] == "complete"
            socket.disconnect(1001)
    (line,) = [dict(log) for log in logs if log["event"] == "websocket closed"]
    assert line.pop("duration_ms") >= 0
    assert re.fullmatch("[0-9a-f]{8}", line.pop("socket_id"))
    return line


async def test_socket_is_logged_with_its_key(live_tenant: LiveTenant) -> None:
    data = await live_tenant.client.query("{ viewer { apiKey { keyId } } }")
    line = await logged_socket(live_tenant, address="192.0.2.1", token=live_tenant.token)

    assert line == {
        "event": "websocket closed",
        "log_level": "info",
        "code": 1001,
        "operations": 1,
        "client": "192.0.2.1",
        "api_key_id": data["viewer"]["apiKey"]["keyId"],
        "workspace_id": str(live_tenant.workspace),
    }


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("x\x85\x9b2K", "x%C2%85%C2%9B2K"),
        ("pe_live_" + "0" * 32, "***"),
    ],
)
async def test_unauthenticated_socket_is_logged_with_its_cleaned_address(
    live_tenant: LiveTenant, address: str, client: str
) -> None:
    line = await logged_socket(live_tenant, address=address, token=None)

    assert line == {
        "event": "websocket closed",
        "log_level": "info",
        "code": 1001,
        "operations": 0,
        "client": client,
    }
