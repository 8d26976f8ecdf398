"""Prometheus metrics of the service. Every label has few, known values."""

import os
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
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

from app.domain.circuit_breakers import OpenBreakers
from app.domain.credentials import UnreadableSecretCounts
from app.domain.destinations import MAX_DUE, MAX_OVERDUE, Backlog, Outcome
from app.domain.errors import ErrorCode
from app.domain.settlement import Transition

METRICS_CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OPERATION_TYPES = ("query", "mutation", "subscription")
_OTHER = "other"
_UNMATCHED = "unmatched"
_ATTEMPT_OUTCOMES = (Outcome.PUBLISHED, Outcome.FAILED, Outcome.UNKNOWN)
_NO_ERROR = "ok"
_CODE_LABELS = frozenset((_NO_ERROR, *ErrorCode))
_REQUEST_LABELS = ("api", "route", "method", "status")
_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LATENESS_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
_FEED_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
_MAX_OTHER_PLATFORMS = 20
"""Platforms without an adapter that have a label of their own."""


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

    def __init__(self, adapter_platforms: Collection[str] = ()) -> None:
        """Create the metrics; the platforms with an adapter always have a label of their own."""
        self.registry = CollectorRegistry()
        self.shared_directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._platform_labels = _PlatformLabels(adapter_platforms, self.shared_directory)
        counter = partial(Counter, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        gauge = partial(Gauge, multiprocess_mode="livesum", registry=self.registry)
        self._requests = counter(
            "post_results_http_requests", "Finished HTTP requests.", _REQUEST_LABELS
        )
        self._durations = histogram(
            "post_results_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its response; excludes long polls and"
            " streams.",
            _REQUEST_LABELS,
            buckets=_DURATION_BUCKETS,
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
        self._attempts = counter(
            "post_results_attempts",
            "Ended attempts to publish, by outcome; without late reports and verifications.",
            ("platform", "outcome"),
        )
        self._duplicates = counter(
            "post_results_duplicate_publications",
            "Reports that a destination was published once more.",
            ("platform",),
        )
        self._lateness = histogram(
            "post_results_publication_lateness_seconds",
            "Time from the due time of a destination to its publication; 0 for an early one.",
            ("platform",),
            buckets=_LATENESS_BUCKETS,
        )
        self._feed_lag = histogram(
            "post_results_feed_lag_seconds",
            "Time from a change to its arrival at the subscriptions of a process; the oldest change of"
            " each read.",
            buckets=_FEED_LAG_BUCKETS,
        )
        for platform in adapter_platforms:
            self._create_platform_series(platform)
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

    def transition_committed(self, platform: str, transition: Transition) -> None:
        """Count the attempts that a transition has ended, and the publication in it."""
        is_new = platform not in self._platform_labels
        label = self._platform_labels[platform]
        if is_new:
            self._create_platform_series(label)
        for attempt in transition.attempts:
            if attempt.number is not None and attempt.outcome in _ATTEMPT_OUTCOMES:
                self._attempts.labels(label, attempt.outcome).inc()
        if transition.evidence is None:
            return
        if not transition.evidence.counted:
            self._duplicates.labels(label).inc()
        elif transition.state.lateness_ms is not None:
            self._lateness.labels(label).observe(max(transition.state.lateness_ms, 0) / 1000)

    def _create_platform_series(self, label: str) -> None:
        """Create the series of a platform at the start of its first attempt: a rate needs a zero before."""
        for outcome in _ATTEMPT_OUTCOMES:
            self._attempts.labels(label, outcome)
        self._duplicates.labels(label)
        self._lateness.labels(label)

    def changes_read(self, lag: timedelta) -> None:
        """Record the time since the oldest change that a process has read for its subscriptions."""
        self._feed_lag.observe(max(lag.total_seconds(), 0))

    def operations_finished(
        self, operation_type: str, error_code: str | None, count: int = 1
    ) -> None:
        """Count GraphQL operations by the code of their first error."""
        code = _NO_ERROR if error_code is None else error_code
        self._operations.labels(
            operation_type if operation_type in _OPERATION_TYPES else _OTHER,
            code if code in _CODE_LABELS else _OTHER,
        ).inc(count)


def render_metrics(
    metrics: Metrics,
    *,
    is_ready: bool,
    backlog: Backlog | None,
    unreadable: UnreadableSecretCounts | None,
    breakers: OpenBreakers | None,
    now: datetime,
) -> bytes:
    """Render the metrics of all processes as METRICS_CONTENT_TYPE.

    `backlog`, `unreadable` and `breakers` are those of the database; None leaves their metrics out.
    """
    current_values = CollectorRegistry()
    current_values.register(_CurrentValuesCollector(is_ready, backlog, unreadable, breakers, now))
    return _render_process_metrics(metrics) + generate_latest(current_values)


class _CurrentValuesCollector(Collector):
    """Gauges that are read at a scrape.

    Those of the database are the same for all processes and must not be summed.
    """

    def __init__(
        self,
        is_ready: bool,
        backlog: Backlog | None,
        unreadable: UnreadableSecretCounts | None,
        breakers: OpenBreakers | None,
        now: datetime,
    ) -> None:
        self._is_ready = is_ready
        self._backlog = backlog
        self._unreadable = unreadable
        self._breakers = breakers
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "post_results_ready",
            "1 if the process that answered the scrape is ready as in /readyz, otherwise 0.",
            self._is_ready,
        )
        if self._unreadable is not None:
            yield GaugeMetricFamily(
                "post_results_unreadable_webhooks",
                "Webhooks whose secret the process that answered the scrape cannot decrypt.",
                self._unreadable.webhooks,
            )
            yield GaugeMetricFamily(
                "post_results_unreadable_accounts",
                "Accounts whose credentials no running worker can decrypt.",
                self._unreadable.accounts,
            )
            yield GaugeMetricFamily(
                "post_results_unreadable_checkpoints",
                "Destinations that wait, because no running worker can decrypt their checkpoint.",
                self._unreadable.checkpoints,
            )
        if self._breakers is not None:
            gauge = GaugeMetricFamily(
                "post_results_circuit_breakers_open",
                "Accounts and servers whose calls have failed repeatedly, so that posts wait for them.",
                labels=("scope",),
            )
            gauge.add_metric(("account",), self._breakers.accounts)
            gauge.add_metric(("server",), self._breakers.servers)
            yield gauge
        if self._backlog is None:
            return
        overdue_since = self._backlog.oldest_overdue_since or self._now
        yield GaugeMetricFamily(
            "post_results_destinations_due",
            f"Destinations that can be claimed now, up to {MAX_DUE}.",
            self._backlog.due,
        )
        yield GaugeMetricFamily(
            "post_results_destinations_overdue",
            "Destinations whose due time or lease expiry passed at least five minutes ago, and that no"
            f" publisher has claimed or reported since, up to {MAX_OVERDUE}.",
            self._backlog.overdue,
        )
        yield GaugeMetricFamily(
            "post_results_oldest_overdue_age_seconds",
            "Time for which the oldest overdue destination has waited; 0 if none is overdue.",
            (self._now - overdue_since).total_seconds(),
        )


class _PlatformLabels(dict[str, str]):
    """Labels by platform: the platform itself for a limited number, because clients choose the names."""

    def __init__(self, adapter_platforms: Iterable[str], shared_directory: str | None) -> None:
        super().__init__((platform, platform) for platform in adapter_platforms)
        self._max_labels = len(self) + _MAX_OTHER_PLATFORMS
        self._shared_directory = shared_directory

    def __missing__(self, platform: str) -> str:
        """Return the platform if it is one of the first, else `other`."""
        for label in (*self._labels_of_all_processes(), platform):
            if len(self) < self._max_labels:
                self[label] = label
        return self.get(platform, _OTHER)

    def _labels_of_all_processes(self) -> set[str]:
        if self._shared_directory is None or len(self) == self._max_labels:
            return set()
        try:
            families = MultiProcessCollector(None, self._shared_directory).collect()  # type: ignore[no-untyped-call]
        except (OSError, ValueError, RuntimeError, struct.error):
            return set()  # another process is creating its file, or left one incomplete
        labels = (sample.labels for family in families for sample in family.samples)
        return {label["platform"] for label in labels if "platform" in label} - {_OTHER}


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
