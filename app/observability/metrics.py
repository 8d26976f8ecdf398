"""Prometheus metrics of the service. Every label has few, known values."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from app.domain.errors import ErrorCode

METRICS_CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OPERATION_TYPES = ("query", "mutation", "subscription")
_OTHER = "other"
_UNMATCHED = "unmatched"
_NO_ERROR = "ok"
_CODE_LABELS = frozenset((_NO_ERROR, *ErrorCode))
_REQUEST_LABELS = ("api", "route", "method", "status")
_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RequestLabels(NamedTuple):
    """Labels by which requests are counted."""

    api: str | None
    route: str | None
    """Path template; None for a path without a route."""
    method: str
    status: int
    operation_type: str | None
    error_code: str | None
    """Code of the first error; None for a success."""


class Metrics:
    """Metrics of one app, in their own registry.

    Several server processes share the directory PROMETHEUS_MULTIPROC_DIR. It must be set before
    `prometheus_client` is imported, because the library chooses its storage at import.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.shared_directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, multiprocess_mode="livesum", registry=self.registry)
        self._requests = counter(
            "post_results_http_requests", "Finished HTTP requests.", _REQUEST_LABELS
        )
        self._durations = Histogram(
            "post_results_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its response; excludes long polls and"
            " streams.",
            _REQUEST_LABELS,
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self._in_progress = gauge(
            "post_results_http_requests_in_progress", "HTTP requests in progress."
        )
        self._rate_limited = counter(
            "post_results_rate_limited_requests", "HTTP requests refused by a rate limit.", ("api",)
        )
        self._operations = counter(
            "post_results_graphql_operations",
            "GraphQL operations by type and by the code of their first error.",
            ("type", "code"),
        )
        self._sockets = gauge("post_results_websockets_open", "Open WebSockets.")
        self._subscriptions = gauge(
            "post_results_subscriptions_open", "Open subscriptions and long polls."
        )
        self._dropped_lines = counter(
            "post_results_log_lines_dropped",
            "Lines of requests that were not logged, because the reader of the log was too slow.",
        )
        self._repeated_failures = counter(
            "post_results_repeated_failures",
            "Failures that were not logged, because one with the same cause was logged in the last minute.",
        )
        if not self.shared_directory:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)

    def set_requests_in_progress(self, count: int) -> None:
        self._in_progress.set(count)

    def requests_finished(self, labels: RequestLabels, durations: Sequence[float | None]) -> None:
        """Count responses with their durations in seconds, None if not measured."""
        api, route = labels.api or _UNMATCHED, labels.route or _UNMATCHED
        method = labels.method if labels.method in _METHODS else _OTHER
        values = (api, route, method, f"{labels.status // 100}xx")
        self._requests.labels(*values).inc(len(durations))
        histogram = self._durations.labels(*values)
        for seconds in durations:
            if seconds is not None:
                histogram.observe(seconds)
        if labels.status == 429:
            self._rate_limited.labels(api).inc(len(durations))
        if labels.operation_type is not None:
            self.operations_finished(labels.operation_type, labels.error_code, len(durations))

    def repeated_failures_dropped(self, count: int) -> None:
        self._repeated_failures.inc(count)

    def log_lines_dropped(self, count: int) -> None:
        self._dropped_lines.inc(count)

    def socket_opened(self) -> None:
        self._sockets.inc()

    def socket_closed(self) -> None:
        self._sockets.dec()

    def subscriptions_changed(self, delta: int) -> None:
        """Add to the number of open subscriptions; `delta` is negative when some ended."""
        self._subscriptions.inc(delta)

    def operations_finished(
        self, operation_type: str, error_code: str | None, count: int = 1
    ) -> None:
        """Count GraphQL operations by the code of their first error."""
        code = _NO_ERROR if error_code is None else error_code
        self._operations.labels(
            operation_type if operation_type in _OPERATION_TYPES else _OTHER,
            code if code in _CODE_LABELS else _OTHER,
        ).inc(count)


def render_metrics(metrics: Metrics, *, overdue_count: int | None = None) -> bytes:
    """Render the metrics of all processes as METRICS_CONTENT_TYPE.

    `overdue_count` is the current number of overdue destinations; None leaves the metric out.
    """
    data = CollectorRegistry()
    if overdue_count is not None:
        data.register(_OverdueCollector(overdue_count))
    return _render_process_metrics(metrics) + generate_latest(data)


class _OverdueCollector(Collector):
    """Gauge of the database, which is the same for all processes and must not be summed."""

    def __init__(self, count: int) -> None:
        self._count = count

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "post_results_destinations_overdue",
            "Destinations whose due time or lease expiry passed at least five minutes ago, and that no"
            " publisher has claimed or reported since.",
            self._count,
        )


def _render_process_metrics(metrics: Metrics) -> bytes:
    if not metrics.shared_directory:
        return generate_latest(metrics.registry)
    _remove_dead_processes(Path(metrics.shared_directory))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, metrics.shared_directory)  # type: ignore[no-untyped-call]
    # Without process metrics: they would be those of the one process that handles this request.
    PlatformCollector(registry=registry)
    return generate_latest(registry)


def _remove_dead_processes(directory: Path) -> None:
    """Remove the gauges of killed processes from the sums; their counters stay."""
    for file in directory.glob("gauge_live*_*.db"):
        process_id = int(file.stem.rpartition("_")[2])
        if not _is_alive(process_id):
            with suppress(FileNotFoundError):  # another process removed the file meanwhile
                mark_process_dead(process_id, str(directory))  # type: ignore[no-untyped-call]


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process of another user
    return True
