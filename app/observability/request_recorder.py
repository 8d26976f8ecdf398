"""Logs and counts the HTTP requests of a process, in batches."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import structlog
from structlog.typing import EventDict

from app.domain.ids import ApiKeyId, WorkspaceId
from app.domain.times import format_instant
from app.observability.log_writer import LogWriter
from app.observability.logs import (
    MAX_CLIENT_TEXT,
    clean_text,
    log_handler,
)
from app.observability.metrics import Metrics, RequestLabels

_FLUSH_INTERVAL = timedelta(seconds=0.1)
_MAX_BATCH = 64
"""Requests that are flushed together, in well under a millisecond: the event loop waits for it."""

logger = structlog.stdlib.get_logger("app.requests")
request_logger = logging.getLogger("app.requests")
"""The same logger, for its level: lines of requests do not pass through structlog."""


class RequestRecord:
    """Logged data of a request: no header, no query string and nothing of the body."""

    request_id: str
    client_address: str | None
    """IP address; None for a Unix socket."""
    method: str
    path: str
    """Path as sent; must be quoted wherever it is written."""
    route: str | None = None
    """Path template; None for a path without a route."""
    api: str | None = None
    """API that was called: `graphql`, `rest`, …; a label of metrics, so one of a few words."""
    api_key_id: ApiKeyId | None = None
    workspace_id: WorkspaceId | None = None
    operation_name: str | None = None
    """Name of the GraphQL operation, chosen by the client."""
    operation_type: str | None = None
    """`query`, `mutation` or `subscription`."""
    error_codes: tuple[str, ...] = ()
    """Codes of the errors in the response, in lower case for every API."""
    body_bytes = 0
    """Bytes of the response's body that were sent."""
    is_latency_measured = True
    """False for long polls and streams, whose duration says nothing about the server."""


class RequestRecorder:
    """Recorder that writes one line per request, and one with a traceback per failure of the server.

    Lines and metrics of finished requests are collected, and flushed after _FLUSH_INTERVAL at the
    latest: encoding many lines together takes a fraction of the time.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._writer = LogWriter(_write_lines)
        self._lines: list[EventDict] = []
        self._durations: dict[RequestLabels, list[float | None]] = {}
        """Seconds of each finished request; None if not measured."""
        self._in_progress = 0
        self._finished = 0
        self._dropped_lines = 0
        self._flush_timer: asyncio.TimerHandle | None = None

    def request_started(self) -> None:
        self._in_progress += 1
        if self._flush_timer is None:
            self._schedule_flush()

    def request_failed(self, request_id: str, exception: Exception) -> None:
        """Log a failure that the client sees only masked or as unavailable."""
        logger.error("request failed", request_id=request_id, exc_info=exception)

    def request_finished(self, request: RequestRecord, status: int, seconds: float) -> None:
        """Record the end of a request; called once for each start, also after a failure or a timeout."""
        self._in_progress -= 1
        self._finished += 1
        labels = RequestLabels(
            request.api,
            request.route,
            request.method,
            status,
            request.operation_type,
            request.error_codes[0] if request.error_codes else None,
        )
        self._durations.setdefault(labels, []).append(
            seconds if request.is_latency_measured else None
        )
        has_failed = status >= 500
        if request_logger.isEnabledFor(logging.ERROR if has_failed else logging.INFO):
            level = "error" if has_failed else "info"
            self._lines.append(_raw_fields(request, status, seconds, level))
        if has_failed or self._finished >= _MAX_BATCH:
            self.flush()
        elif self._flush_timer is None:  # the timer of its start has fired: the request was slow
            self._schedule_flush()

    def flush(self) -> None:
        """Count all finished requests, and pass their lines to the thread that writes them."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        durations, self._durations = self._durations, {}
        lines, self._lines = self._lines, []
        self._finished = 0
        self._metrics.set_requests_in_progress(self._in_progress)
        if (handler := log_handler()) is not None:
            self._metrics.repeated_failures_dropped(handler.repeated_failures.take_dropped())
        for labels, seconds in durations.items():
            self._metrics.requests_finished(labels, seconds)
        if lines or self._dropped_lines:
            self._write(lines)

    def close(self) -> None:
        """Flush, and wait until the lines are written."""
        self.flush()
        self._writer.close()

    def _schedule_flush(self) -> None:
        self._flush_timer = asyncio.get_running_loop().call_later(
            _FLUSH_INTERVAL.total_seconds(), self.flush
        )

    def _write(self, lines: list[EventDict]) -> None:
        """Pass lines to the writer; while its buffer is full, count the dropped ones."""
        handler = log_handler()
        if handler is None:
            return
        events = [_finish_fields(line) for line in lines]
        if self._dropped_lines:
            events.insert(0, _dropped_fields(self._dropped_lines))
        if self._writer.put(handler.render(events)):
            self._dropped_lines = 0
        else:
            self._dropped_lines += len(lines)
            self._metrics.log_lines_dropped(len(lines))


def _write_lines(lines: str) -> None:
    handler = log_handler()
    if handler is not None:
        handler.write(lines)


def _raw_fields(request: RequestRecord, status: int, seconds: float, level: str) -> EventDict:
    """Collect the fields of a request's line; `_finish_fields` converts them later, together with others."""
    return {
        "timestamp": time.time(),
        "level": level,
        "logger": request_logger.name,
        "event": "request finished",
        "request_id": request.request_id,
        "method": request.method,
        "path": request.route or quote(request.path[:MAX_CLIENT_TEXT], errors="replace"),
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "bytes": request.body_bytes,
        "client": request.client_address,
        "api": request.api,
        "api_key_id": request.api_key_id,
        "workspace_id": request.workspace_id,
        "operation": request.operation_name and request.operation_name[:MAX_CLIENT_TEXT],
        "operation_type": request.operation_type,
        "errors": [*request.error_codes] or None,
    }


def _finish_fields(fields: EventDict) -> EventDict:
    """Leave out empty fields, format the time, and clean what the client has chosen."""
    finished = {name: value for name, value in fields.items() if value is not None}
    finished["timestamp"] = format_instant(datetime.fromtimestamp(fields["timestamp"], UTC))
    for name in _CLIENT_FIELDS & finished.keys():
        finished[name] = clean_text(finished[name])
    return finished


_CLIENT_FIELDS = frozenset({"method", "path", "client", "operation"})


def _dropped_fields(count: int) -> EventDict:
    return {
        "timestamp": format_instant(datetime.now(UTC)),
        "level": "warning",
        "logger": request_logger.name,
        "event": "log lines dropped",
        "count": count,
    }
