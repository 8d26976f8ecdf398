"""Checks origin and subprotocol of a WebSocket handshake."""

from collections.abc import Collection

from starlette.types import Receive, Scope, Send

from app.domain.errors import OriginNotAllowed
from app.graphql.transport.http import graphql_error_response
from app.graphql.transport.websocket.connection import GraphQLWebSocket
from app.graphql.transport.websocket.messages import PROTOCOL, CloseCode
from app.graphql.transport.websocket.operation import WebSocketConfig
from app.http.request_headers import headers_dict
from app.http.state import request_state


class GraphQLWebSocketEndpoint:
    """ASGI app that accepts WebSockets."""

    def __init__(self, config: WebSocketConfig, *, allowed_origins: Collection[str]) -> None:
        """Allow pages of these origins besides the server's own; `*` allows all."""
        self._config = config
        self._allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        request_state(scope)["request_id"] = self._config.new_request_id()
        if not self._is_origin_allowed(scope):
            error = OriginNotAllowed(
                "Pages of this origin may not open a WebSocket. The operator can allow the origin in"
                " CORS_ORIGINS."
            )
            await graphql_error_response(scope, error)(scope, receive, send)
            return
        is_supported = PROTOCOL in scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if is_supported else None})
        if not is_supported:
            reason = f"Subprotocol not acceptable; use {PROTOCOL}."
            await _close(send, CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE, reason)
        else:
            await GraphQLWebSocket(self._config, scope, receive, send).run()

    def _is_origin_allowed(self, scope: Scope) -> bool:
        """Allow clients without an origin (no browsers), configured origins, and this host and port."""
        headers = headers_dict(scope)
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self._allowed_origins or "*" in self._allowed_origins:
            return True
        return origin.partition("://")[2] == headers.get(b"host", b"").decode("latin-1")


async def _close(send: Send, code: CloseCode, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})
