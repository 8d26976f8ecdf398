"""What is logged and counted about each WebSocket. Knows no socket itself, only its facts."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.domain.ids import ApiKeyId, WorkspaceId
from app.observability.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketRecord:
    """What may be told about a WebSocket."""

    socket_id: str
    code: int
    """Why it was closed, by either side; 1006 where the connection just ended."""
    duration: timedelta
    operations: int
    client_address: str | None
    api_key_id: ApiKeyId | None
    workspace_id: WorkspaceId | None


class SocketRecorder:
    """Writes one line for each WebSocket, at its end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def socket_opened(self) -> None:
        self._metrics.socket_opened()

    def operation_finished(self, operation_type: str, error_code: str | None) -> None:
        self._metrics.operation_finished(operation_type, error_code)

    def socket_closed(self, record: SocketRecord) -> None:
        self._metrics.socket_closed()
        fields = {
            "socket_id": record.socket_id,
            "code": record.code,
            "duration_ms": round(record.duration.total_seconds() * 1000, 1),
            "operations": record.operations,
            "client": record.client_address,
            "api_key_id": record.api_key_id and str(record.api_key_id),
            "workspace_id": record.workspace_id and str(record.workspace_id),
        }
        structlog.get_logger("app.sockets").info(
            "socket", **{name: value for name, value in fields.items() if value is not None}
        )
