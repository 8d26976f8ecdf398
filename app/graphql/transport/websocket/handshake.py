"""Which WebSockets are accepted, and by which protocol. What then runs on one is in socket."""

from collections.abc import Collection

from starlette.types import Receive, Scope, Send

from app.domain.errors import OriginNotAllowed
from app.graphql.transport.http import graphql_error_response
from app.graphql.transport.websocket.config import WebSocketConfig
from app.graphql.transport.websocket.connection import GraphQLWebSocket
from app.graphql.transport.websocket.messages import PROTOCOL, CloseCode
from app.http.request_headers import headers_dict
from app.http.state import request_state


class GraphQLWebSocketEndpoint:
    """WebSockets of one path; an ASGI app."""

    def __init__(self, config: WebSocketConfig, *, allowed_origins: Collection[str]) -> None:
        """Pages of other `origins` than the server's own may open one; `*` stands for all."""
        self._config = config
        self._allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        request_state(scope)["request_id"] = self._config.new_request_id()
        if not self._is_origin_allowed(scope):
            error = OriginNotAllowed(
                "Pages of this origin may not open a WebSocket. The operator names the origins of pages in"
                " CORS_ORIGINS."
            )
            await graphql_error_response(scope, error)(scope, receive, send)
            return
        speaks = PROTOCOL in scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if speaks else None})
        if not speaks:
            reason = f"Subprotocol not acceptable; use {PROTOCOL}."
            await _close(send, CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE, reason)
        else:
            await GraphQLWebSocket(self._config, scope, receive, send).run()

    def _is_origin_allowed(self, scope: Scope) -> bool:
        """Only browsers name an origin; a page on this server has the same host and port."""
        headers = headers_dict(scope)
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self._allowed_origins or "*" in self._allowed_origins:
            return True
        return origin.partition("://")[2] == headers.get(b"host", b"").decode("latin-1")


async def _close(send: Send, code: CloseCode, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})
