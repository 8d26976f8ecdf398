"""Logs and counts each HTTP request."""

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
    """Logged data of a request: no header, no query string and nothing of the body.

    Not frozen: one is built for each request, and building a frozen one takes three times as long.
    """

    request_id: str
    method: str
    route: str | None
    """Path template; None for a path without a route."""
    path: str
    """Path as sent, shortened; must be quoted wherever it is written."""
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
    """False for long polls and streams, whose duration says nothing about the server."""


class RequestRecorder:
    """Recorder that writes one line per request, and one with a traceback per server error."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Bound once and not per line: logging is configured before an application is created.
        self._logger: FilteringBoundLogger = structlog.get_logger("app.requests").bind()

    def request_started(self) -> None:
        self._metrics.request_started()

    def request_failed(self, request_id: str, exception: Exception) -> None:
        """Log a failure that the client sees only masked or as unavailable."""
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
        if self._logger.is_enabled_for(level):  # checked before the fields are built
            self._logger.log(level, "request finished", **_request_fields(record))


def _request_fields(record: RequestRecord) -> dict[str, object]:
    fields = {
        "request_id": record.request_id,
        "method": record.method,
        # Percent-encoding leaves no character that could forge a log line.
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
