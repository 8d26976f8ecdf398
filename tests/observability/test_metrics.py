"""The metrics of one app, and of several processes together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.observability.metrics import METRICS_CONTENT_TYPE, Metrics, render_metrics

WORKER_SCRIPT = """
import os, sys
from app.observability.metrics import Metrics, render_metrics
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.request_started()
    metrics.request_finished(
        api="rest", route="/v1/posts", method="GET", status=200, seconds=0.02
    )
metrics.request_started()
if sys.argv[2] == "shows":
    sys.stdout.buffer.write(render_metrics(metrics))
sys.stdout.flush()
os._exit(0)  # as if killed: what was in progress stays behind
"""


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def sample_names(text: bytes) -> set[str]:
    return {name for name, _ in samples(text)}


def count_request(metrics: Metrics, **request: object) -> None:
    facts = {"api": "rest", "route": "/v1/posts", "method": "GET", "status": 200, "seconds": 0.1}
    metrics.request_started()
    metrics.request_finished(**{**facts, **request})  # type: ignore[arg-type]


def test_two_apps_in_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    count_request(one)

    labels = {"api": "rest", "route": "/v1/posts", "method": "GET", "status": "2xx"}
    counted = ("post_results_http_requests_total", frozenset(labels.items()))
    assert samples(render_metrics(one))[counted] == 1
    assert counted not in samples(render_metrics(other))


def test_requests_in_progress_are_those_that_started_and_did_not_finish() -> None:
    metrics = Metrics()
    count_request(metrics)
    metrics.request_started()
    metrics.request_started()

    in_progress = ("post_results_http_requests_in_progress", frozenset[tuple[str, str]]())
    assert samples(render_metrics(metrics))[in_progress] == 2


def test_refusals_for_a_rate_limit_are_counted() -> None:
    metrics = Metrics()
    count_request(metrics, status=429)
    count_request(metrics, status=429, api=None)
    count_request(metrics, status=401)

    found = samples(render_metrics(metrics))
    name = "post_results_rate_limited_requests_total"
    assert found[name, frozenset({("api", "rest")})] == 1
    assert found[name, frozenset({("api", "unmatched")})] == 1


def test_whatever_a_caller_invents_falls_under_one_label() -> None:
    metrics = Metrics()
    for number in range(100):
        count_request(metrics, method=f"METHOD{number}", route=None)
        metrics.operation_finished(f"type{number}", f"CODE{number}")

    found = samples(render_metrics(metrics))
    labels = {"api": "rest", "route": "unmatched", "method": "other", "status": "2xx"}
    assert found["post_results_http_requests_total", frozenset(labels.items())] == 100
    operation = frozenset({("type", "other"), ("code", "other")})
    assert found["post_results_graphql_operations_total", operation] == 100


@pytest.mark.parametrize(
    ("code", "label"),
    [(None, "ok"), ("not_found", "not_found"), ("surprise", "other")],
)
def test_an_operation_has_the_code_of_its_error(code: str | None, label: str) -> None:
    metrics = Metrics()
    metrics.operation_finished("mutation", code)

    found = samples(render_metrics(metrics))
    labels = frozenset({("type", "mutation"), ("code", label)})
    assert found["post_results_graphql_operations_total", labels] == 1


def test_the_process_and_the_platform_are_described() -> None:
    text = render_metrics(Metrics())

    assert {"process_resident_memory_bytes", "python_info"} <= sample_names(text)
    assert METRICS_CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("is_shared", [False, True])
def test_what_is_overdue_is_shown_as_it_was_read_and_by_whichever_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    metrics = Metrics()
    if is_shared:
        monkeypatch.setattr(metrics, "shared_directory", str(tmp_path))

    gauge = ("post_results_destinations_overdue", frozenset[tuple[str, str]]())
    for count in (7, 0):
        assert samples(render_metrics(metrics, overdue_count=count))[gauge] == count
    assert gauge not in samples(render_metrics(metrics, overdue_count=None))
    assert list(tmp_path.iterdir()) == []


def test_any_process_shows_the_sum_of_all(tmp_path: Path) -> None:
    def worker(requests: int, task: str) -> bytes:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", WORKER_SCRIPT, str(requests), task]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout

    worker(3, "dies")
    worker(2, "dies")
    found = samples(worker(1, "shows"))

    labels = {"api": "rest", "route": "/v1/posts", "method": "GET", "status": "2xx"}
    of_all = frozenset(labels.items())
    assert found["post_results_http_requests_total", of_all] == 6
    assert found["post_results_http_request_duration_seconds_count", of_all] == 6
    # The dead workers' unfinished requests are gone; the living one has one.
    assert found["post_results_http_requests_in_progress", frozenset()] == 1
    assert "python_info" in {name for name, _ in found}
    assert "process_resident_memory_bytes" not in {name for name, _ in found}
