"""What is counted and timed, as Prometheus reads it. Every label has few and known values."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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
_ERROR_CODES = frozenset(code.value for code in ErrorCode)
_OTHER = "other"
_UNMATCHED = "unmatched"
_NO_ERROR = "ok"
_REQUEST_LABELS = ("api", "route", "method", "status")
_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one app, in a registry of its own.

    With several server processes PROMETHEUS_MULTIPROC_DIR names a directory that they share. It
    must be set before `prometheus_client` is imported, when the library decides where values live.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.shared_directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._requests = Counter(
            "post_results_http_requests",
            "HTTP requests that were answered.",
            _REQUEST_LABELS,
            registry=self.registry,
        )
        self._durations = Histogram(
            "post_results_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its answer, but for answers that were"
            " held back until something happened, or stayed open.",
            _REQUEST_LABELS,
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self._in_progress = Gauge(
            "post_results_http_requests_in_progress",
            "HTTP requests that are being worked on.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._rate_limited = Counter(
            "post_results_rate_limited_requests",
            "HTTP requests that were refused because of a rate limit.",
            ("api",),
            registry=self.registry,
        )
        self._operations = Counter(
            "post_results_graphql_operations",
            "GraphQL operations by type and by the code of their first error.",
            ("type", "code"),
            registry=self.registry,
        )
        self._sockets = Gauge(
            "post_results_websockets_open",
            "WebSockets that are open.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._subscriptions = Gauge(
            "post_results_subscriptions_open",
            "Subscriptions, and requests that wait for results, that are open.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        if not self.shared_directory:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)

        # To look one up by its labels each time costs more than to count.
        self._route_metrics: dict[
            tuple[str | None, str | None, str, int], tuple[Counter, Histogram]
        ] = {}
        self._operation_counters: dict[tuple[str, str], Counter] = {}

    def request_started(self) -> None:
        self._in_progress.inc()

    def request_finished(
        self,
        *,
        api: str | None,
        route: str | None,
        method: str,
        status: int,
        seconds: float | None,
    ) -> None:
        """Count an answer; `route` is a path template, never a path. None is for what is not timed."""
        self._in_progress.dec()
        method = method if method in _METHODS else _OTHER
        requests, durations = self._get_route_metrics(api, route, method, status // 100)
        requests.inc()
        if seconds is not None:
            durations.observe(seconds)
        if status == 429:
            self._rate_limited.labels(api or _UNMATCHED).inc()

    def _get_route_metrics(
        self, api: str | None, route: str | None, method: str, status_class: int
    ) -> tuple[Counter, Histogram]:
        key = (api, route, method, status_class)
        found = self._route_metrics.get(key)
        if found is None:
            labels = (api or _UNMATCHED, route or _UNMATCHED, method, f"{status_class}xx")
            found = self._requests.labels(*labels), self._durations.labels(*labels)
            self._route_metrics[key] = found
        return found

    def socket_opened(self) -> None:
        self._sockets.inc()

    def socket_closed(self) -> None:
        self._sockets.dec()

    def subscriptions_changed(self, delta: int) -> None:
        """Count so many more, or fewer."""
        self._subscriptions.inc(delta)

    def operation_finished(self, operation_type: str, error_code: str | None) -> None:
        """Count a GraphQL operation; the code is that of its first error."""
        labels = (
            operation_type if operation_type in _OPERATION_TYPES else _OTHER,
            _NO_ERROR if error_code is None else _code_label(error_code),
        )
        found = self._operation_counters.get(labels)
        if found is None:
            found = self._operation_counters[labels] = self._operations.labels(*labels)
        found.inc()


def render_metrics(metrics: Metrics, *, overdue_count: int | None = None) -> bytes:
    """All metrics as METRICS_CONTENT_TYPE; those of every process, if several share.

    `overdue` is how many destinations are, read just now; None, where that is not known, leaves it out.
    """
    data = CollectorRegistry()
    if overdue_count is not None:
        data.register(_Overdue(overdue_count))
    return _render_process_metrics(metrics) + generate_latest(data)


class _Overdue(Collector):
    """A fact of the database and of no process, so it is neither kept nor added up."""

    def __init__(self, count: int) -> None:
        self._count = count

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "post_results_destinations_overdue",
            "Destinations that were due, or whose lease ended, five minutes ago or earlier, and that nobody"
            " has taken up or reported since.",
            self._count,
        )


def _render_process_metrics(metrics: Metrics) -> bytes:
    if not metrics.shared_directory:
        return generate_latest(metrics.registry)
    _remove_dead_processes(Path(metrics.shared_directory))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, metrics.shared_directory)  # type: ignore[no-untyped-call]
    # What the library knows of a process is left out: it would be that of whichever one answers.
    PlatformCollector(registry=registry)
    return generate_latest(registry)


def _code_label(code: str) -> str:
    return code if code in _ERROR_CODES else _OTHER


def _remove_dead_processes(directory: Path) -> None:
    """Take what a killed process had in progress out of the sum; its counts stay."""
    for file in directory.glob("gauge_live*_*.db"):
        process_id = int(file.stem.rpartition("_")[2])
        if not _is_alive(process_id):
            with suppress(FileNotFoundError):  # another process was asked at the same time
                mark_process_dead(process_id, str(directory))  # type: ignore[no-untyped-call]


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
