"""Metrics of one app, and of several processes together."""

import asyncio
import os
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.domain.accounts import AccountPublisher
from app.domain.attempts import Attempt, AttemptKind, Evidence
from app.domain.destinations import Backlog, Outcome
from app.domain.outbound_rules import OutboundRules
from app.domain.settlement import Receipt, Transition
from app.observability.metrics import (
    METRICS_CONTENT_TYPE,
    Metrics,
    RequestLabels,
    render_metrics,
)
from app.outbound.client import OutboundClient
from app.platforms import ADAPTER_PLATFORMS, make_adapters
from tests.domain.attempt_histories import PUBLICATION
from tests.factories import NOW, published

WORKER_SCRIPT = """
import os, sys
from datetime import UTC, datetime
from app.observability.metrics import Metrics, RequestLabels, render_metrics
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.requests_finished(
        RequestLabels("rest", "/v1/posts", "GET", 200, None, None), [0.02]
    )
metrics.set_requests_in_progress(1)
if sys.argv[2] == "render":
    now = datetime.now(UTC)
    page = render_metrics(metrics, is_ready=True, backlog=None, unreadable=None, breakers=None, now=now)
    sys.stdout.buffer.write(page)
sys.stdout.flush()
os._exit(0)  # like a kill: requests stay in progress
"""


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def render(metrics: Metrics) -> bytes:
    return render_metrics(
        metrics, is_ready=True, backlog=None, unreadable=None, breakers=None, now=NOW
    )


READ = RequestLabels("rest", "/v1/posts", "GET", 200, None, None)


def count_requests(metrics: Metrics, *requests: RequestLabels) -> None:
    for labels in requests:
        metrics.requests_finished(labels, [0.1])


def test_apps_in_one_process_count_separately() -> None:
    first, second = Metrics(), Metrics()
    count_requests(first, READ)

    labels = {"api": "rest", "route": "/v1/posts", "method": "GET", "status": "2xx"}
    sample = ("post_results_http_requests_total", frozenset(labels.items()))
    assert samples(render(first))[sample] == 1
    assert sample not in samples(render(second))


def test_rate_limited_requests_are_counted() -> None:
    metrics = Metrics()
    refused = READ._replace(status=429)
    count_requests(metrics, refused, refused._replace(api=None), READ._replace(status=401))

    values = samples(render(metrics))
    name = "post_results_rate_limited_requests_total"
    assert values[name, frozenset({("api", "rest")})] == 1
    assert values[name, frozenset({("api", "unmatched")})] == 1


@pytest.mark.parametrize(
    ("kind", "code", "labels"),
    [
        ("mutation", None, {"type": "mutation", "code": "ok"}),
        ("mutation", "not_found", {"type": "mutation", "code": "not_found"}),
        ("mutation", "unknown", {"type": "mutation", "code": "other"}),
        ("type{}", "CODE{}", {"type": "other", "code": "other"}),
    ],
)
def test_operations_are_counted_by_type_and_code_and_unknown_ones_together(
    kind: str, code: str | None, labels: dict[str, str]
) -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.operations_finished(kind.format(number), code and code.format(number))

    values = samples(render(metrics))
    assert values["post_results_graphql_operations_total", frozenset(labels.items())] == 100


def test_process_and_platform_metrics_are_included() -> None:
    names = {name for name, _ in samples(render(Metrics()))}

    assert {"process_resident_memory_bytes", "python_info"} <= names
    assert METRICS_CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("is_shared", [False, True])
def test_current_values_are_not_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    metrics = Metrics()
    if is_shared:
        monkeypatch.setattr(metrics, "shared_directory", str(tmp_path))

    def current_values(is_ready: bool, backlog: Backlog | None) -> dict[str, float]:
        values = samples(
            render_metrics(
                metrics, is_ready=is_ready, backlog=backlog, unreadable=None, breakers=None, now=NOW
            )
        )
        names = ("ready", "destinations_due", "destinations_overdue", "oldest_overdue_age_seconds")
        keys = {name: (f"post_results_{name}", frozenset[tuple[str, str]]()) for name in names}
        return {name: values[key] for name, key in keys.items() if key in values}

    late = Backlog(due=9, overdue=7, oldest_overdue_since=NOW - timedelta(hours=1))
    for _ in range(2):
        assert current_values(True, late) == {
            "ready": 1,
            "destinations_due": 9,
            "destinations_overdue": 7,
            "oldest_overdue_age_seconds": 3600,
        }
    assert current_values(True, Backlog(0, 0, None)) == {
        "ready": 1,
        "destinations_due": 0,
        "destinations_overdue": 0,
        "oldest_overdue_age_seconds": 0,
    }
    assert current_values(False, None) == {"ready": 0}
    assert list(tmp_path.iterdir()) == []


def test_every_process_renders_sum_of_all(tmp_path: Path) -> None:
    def worker(requests: int, task: str) -> bytes:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", WORKER_SCRIPT, str(requests), task]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout

    worker(3, "exit")
    worker(2, "exit")
    values = samples(worker(1, "render"))

    labels = {"api": "rest", "route": "/v1/posts", "method": "GET", "status": "2xx"}
    label_set = frozenset(labels.items())
    assert values["post_results_http_requests_total", label_set] == 6
    assert values["post_results_http_request_duration_seconds_count", label_set] == 6
    # Unfinished requests of dead processes are gone; the living one has one.
    assert values["post_results_http_requests_in_progress", frozenset()] == 1
    names = {name for name, _ in values}
    assert "python_info" in names
    assert "process_resident_memory_bytes" not in names


# Platforms.

PLATFORM_SCRIPT = """
import sys
from datetime import UTC, datetime
from app.observability.metrics import Metrics, render_metrics
from tests.observability.test_metrics import ENDED
metrics = Metrics(["sandbox"])
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    metrics.transition_committed(f"platform-{number}", ENDED)
now = datetime.now(UTC)
page = render_metrics(metrics, is_ready=True, backlog=None, unreadable=None, breakers=None, now=now)
sys.stdout.buffer.write(page)
"""

ENDED = Transition(
    state=published(),
    attempts=(
        Attempt(
            id=UUID(int=1),
            kind=AttemptKind.REGULAR,
            number=1,
            fence=1,
            started_at=NOW,
            outcome=Outcome.PUBLISHED,
        ),
    ),
    evidence=Evidence(fence=1, counted=True, publication=PUBLICATION, reported_at=NOW),
)
"""A first attempt that has published."""


def published_counts(page: bytes) -> dict[str, float]:
    """Published attempts by the label of the platform."""
    counts = {}
    for (name, label_set), value in samples(page).items():
        labels = dict(label_set)
        if name == "post_results_attempts_total" and labels["outcome"] == "published":
            counts[labels["platform"]] = value
    return counts


def test_first_twenty_platforms_and_those_with_an_adapter_have_labels() -> None:
    metrics = Metrics(["sandbox"])
    assert published_counts(render(metrics)) == {"sandbox": 0}
    for _ in range(2):
        for number in range(30):
            metrics.transition_committed(f"platform-{number}", ENDED)
        metrics.transition_committed("sandbox", ENDED)

    own = {f"platform-{number}": 2 for number in range(20)}
    assert published_counts(render(metrics)) == {"sandbox": 2, **own, "other": 20}


def test_number_of_publications_is_that_of_the_lateness() -> None:
    """A duplicate and a report that completes a publication count none; an early publication counts."""
    metrics = Metrics(["sandbox"])
    assert ENDED.evidence is not None
    duplicate = Transition(state=published(), evidence=replace(ENDED.evidence, counted=False))
    completed = Transition(
        state=published(), receipt=Receipt.REPEATED, completed_evidence=ENDED.evidence
    )
    early = replace(ENDED, state=published(NOW - timedelta(hours=1)), attempts=())
    for transition in (ENDED, duplicate, completed, early):
        metrics.transition_committed("x", transition)

    values = samples(render(metrics))
    name = "post_results_publication_lateness_seconds_count"
    assert {
        dict(label_set)["platform"]: value
        for (each, label_set), value in values.items()
        if each == name
    } == {"sandbox": 0, "x": 2}


def test_processes_share_the_labels_of_platforms(tmp_path: Path) -> None:
    def run(first: int, end: int) -> dict[str, float]:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", PLATFORM_SCRIPT, str(first), str(end)]
        process = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        return published_counts(process.stdout)

    def once(first: int, end: int) -> dict[str, float]:
        return {f"platform-{number}": 1 for number in range(first, end)}

    assert run(0, 12) == {"sandbox": 0, **once(0, 12)}
    assert run(8, 30) == {"sandbox": 0, **once(0, 20), **dict.fromkeys(once(8, 12), 2), "other": 10}


@pytest.mark.parametrize(
    "content",
    [b"", struct.pack("<iii", 32, 0, 32) + bytes(20)],
    ids=["empty", "shorter than its key"],
)
def test_unfinished_file_of_another_process_fails_no_transition(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    metrics = Metrics()
    (tmp_path / "counter_1.db").write_bytes(content)
    metrics.transition_committed("x", ENDED)

    monkeypatch.setattr(metrics, "shared_directory", None)
    assert published_counts(render(metrics)) == {"x": 1}


def test_labels_are_the_platforms_of_all_adapters() -> None:
    adapters = make_adapters(
        sandbox_file=None,
        client=OutboundClient(OutboundRules()),
        now=lambda: NOW,
        sleep=asyncio.sleep,
    )
    platforms = [publisher.platform for publisher in adapters]
    assert list(ADAPTER_PLATFORMS) == [platform for platform in platforms if platform is not None]
    assert adapters.keys() == {*AccountPublisher} - {AccountPublisher.EXTERNAL}
