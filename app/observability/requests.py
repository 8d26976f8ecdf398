"""What is logged and counted about each HTTP request. Knows no request itself, only its facts."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

import structlog
from structlog.typing import FilteringBoundLogger

from app.domain.ids import ApiKeyId, WorkspaceId
from app.observability.metrics import Metrics


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """What may be told about a request: no header, no query string and nothing of the body.

    It is not frozen, since one is made for each request, and that takes three times as long.
    """

    request_id: str
    method: str
    route: str | None
    """The path template; None for a path that nothing serves."""
    path: str
    """As it was sent, but for its length: it is to be quoted wherever it is written."""
    status: int
    duration: timedelta
    body_bytes: int
    client_address: str | None
    api: str | None
    api_key_id: ApiKeyId | None
    workspace_id: WorkspaceId | None
    operation_name: str | None
    operation_type: str | None
    error_codes: tuple[str, ...]
    is_latency_measured: bool
    """Whether its duration is one to judge the server by."""


class RequestRecorder:
    """Writes one line for each request, and one with a traceback for each failure of ours."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Bound here, and not anew for each line: logging is configured before an application is made.
        self._logger: FilteringBoundLogger = structlog.get_logger("app.requests").bind()

    def request_started(self) -> None:
        self._metrics.request_started()

    def request_failed(self, request_id: str, exception: Exception) -> None:
        """Tell of a failure that the caller only sees masked, or as unavailable."""
        self._logger.error("request failed", request_id=request_id, exc_info=exception)

    def request_finished(self, record: RequestRecord) -> None:
        self._metrics.request_finished(
            api=record.api,
            route=record.route,
            method=record.method,
            status=record.status,
            seconds=record.duration.total_seconds() if record.is_latency_measured else None,
        )
        if record.operation_type:
            self._metrics.operation_finished(
                record.operation_type, next(iter(record.error_codes), None)
            )
        level = logging.ERROR if record.status >= 500 else logging.INFO
        if self._logger.is_enabled_for(level):  # before a line is made of it
            self._logger.log(level, "request", **_log_fields(record))


def _log_fields(record: RequestRecord) -> dict[str, object]:
    fields = {
        "request_id": record.request_id,
        "method": record.method,
        # Percent-encoded it holds no character that could forge a line of a log.
        "path": record.route or quote(record.path, errors="replace"),
        "status": record.status,
        "duration_ms": round(record.duration.total_seconds() * 1000, 1),
        "bytes": record.body_bytes,
        "client": record.client_address,
        "api": record.api,
        "api_key_id": record.api_key_id and str(record.api_key_id),
        "workspace_id": record.workspace_id and str(record.workspace_id),
        "operation": record.operation_name,
        "operation_type": record.operation_type,
        "errors": list(record.error_codes) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
