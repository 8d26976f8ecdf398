"""What is logged and counted about each WebSocket. Knows no socket itself, only its facts."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.domain.ids import ApiKeyId, WorkspaceId
from app.observability.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSocket:
    """What may be told about a WebSocket."""

    socket_id: str
    code: int
    """Why it was closed, by either side; 1006 where the connection just ended."""
    duration: timedelta
    operations: int
    client_address: str | None
    api_key_id: ApiKeyId | None
    workspace_id: WorkspaceId | None


class SocketObserver:
    """Writes one line for each WebSocket, at its end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def socket_opened(self) -> None:
        self._metrics.socket_opened()

    def operation_finished(self, operation_type: str, error_code: str | None) -> None:
        self._metrics.operation_finished(operation_type, error_code)

    def socket_closed(self, socket: FinishedSocket) -> None:
        self._metrics.socket_closed()
        fields = {
            "socket_id": socket.socket_id,
            "code": socket.code,
            "duration_ms": round(socket.duration.total_seconds() * 1000, 1),
            "operations": socket.operations,
            "client": socket.client_address,
            "api_key_id": socket.api_key_id and str(socket.api_key_id),
            "workspace_id": socket.workspace_id and str(socket.workspace_id),
        }
        structlog.get_logger("app.sockets").info(
            "socket", **{name: value for name, value in fields.items() if value is not None}
        )
