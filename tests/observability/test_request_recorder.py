"""Log lines and metrics of requests."""

import os
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from app.http.middleware import ErrorMiddleware
from app.http.request_logging import RequestLoggingMiddleware
from starlette.types import Receive, Scope, Send

from app.domain.ids import ApiKeyId, WorkspaceId
from app.observability.logs import configure_logging
from app.observability.metrics import Metrics
from app.observability.request_recorder import RequestRecord, RequestRecorder
from tests.http.asgi import (
    NO_TIME,
    UNMATCHED_RECORD,
    http_client,
    make_rate_limits,
    render_error,
    stepping_clock,
)
from tests.observability.conftest import log_lines

TOKEN = "pe_live_0123456789abcdef0123456789abcdef"

READ_REQUEST = RequestRecord(
    request_id="0000cafe",
    method="POST",
    route="/graphql",
    path="/graphql",
    status=200,
    duration=timedelta(microseconds=12_345),
    body_bytes=512,
    client_address="203.0.113.7",
    api="graphql",
    api_key_id=ApiKeyId(UUID(int=1)),
    workspace_id=WorkspaceId(UUID(int=2)),
    operation_name="Posts",
    operation_type="query",
    error_codes=("not_found", "bad_cursor"),
    is_latency_measured=True,
)
UNMATCHED_REQUEST = replace(
    UNMATCHED_RECORD, method="BREW", path="/no\nsuch pot/é\ud800", duration=NO_TIME
)


def metrics_for(*requests: RequestRecord) -> Metrics:
    metrics = Metrics()
    recorder = RequestRecorder(metrics)
    for request in requests:
        recorder.request_started()
        recorder.request_finished(request)
    return metrics


def test_request_is_one_line_with_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    metrics_for(READ_REQUEST, UNMATCHED_REQUEST)

    lines = log_lines(capsys)
    assert [line.pop("logger") for line in lines] == 2 * ["app.requests"]
    assert lines == [
        {
            "level": "info",
            "event": "request finished",
            "request_id": "0000cafe",
            "method": "POST",
            "path": "/graphql",
            "status": 200,
            "duration_ms": 12.3,
            "bytes": 512,
            "client": "203.0.113.7",
            "api": "graphql",
            "api_key_id": "00000000-0000-0000-0000-000000000001",
            "workspace_id": "00000000-0000-0000-0000-000000000002",
            "operation": "Posts",
            "operation_type": "query",
            "errors": ["not_found", "bad_cursor"],
        },
        {
            "level": "info",
            "event": "request finished",
            "request_id": "00000001",
            "method": "BREW",
            "path": "/no%0Asuch%20pot/%C3%A9%3F",
            "status": 404,
            "duration_ms": 0.0,
            "bytes": 0,
        },
    ]


async def test_failure_is_logged_with_traceback_and_without_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "json")
    recorder = RequestRecorder(Metrics())

    async def failing_app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("internals")

    app = RequestLoggingMiddleware(
        ErrorMiddleware(failing_app, render=render_error, report=recorder.request_failed),
        observer=recorder,
        rate_limits=make_rate_limits(),
        random_bytes=os.urandom,
        monotonic=stepping_clock(),
    )
    async with http_client(app) as client:
        response = await client.get(
            f"/posts/{TOKEN}?search=confidential", headers={"Authorization": f"Bearer {TOKEN}"}
        )

    failed, finished = log_lines(capsys)
    assert (failed["level"], failed["event"]) == ("error", "request failed")
    assert str(failed["exception"]).endswith("LookupError: internals")
    assert (finished["level"], finished["status"], finished["path"]) == ("error", 500, "/posts/***")
    assert {failed["request_id"], finished["request_id"]} == {response.headers["X-Request-Id"]}
    for secret in (TOKEN, "Authorization", "confidential"):
        assert secret not in repr((failed, finished))


def test_requests_are_counted_and_timed_by_labels() -> None:
    long_poll = replace(READ_REQUEST, duration=timedelta(seconds=30), is_latency_measured=False)
    registry = metrics_for(READ_REQUEST, READ_REQUEST, UNMATCHED_REQUEST, long_poll).registry

    read = {"api": "graphql", "route": "/graphql", "method": "POST", "status": "2xx"}
    unmatched = {"api": "unmatched", "route": "unmatched", "method": "other", "status": "4xx"}
    counts = "post_results_http_requests_total"
    durations = "post_results_http_request_duration_seconds"
    assert registry.get_sample_value(counts, read) == 3
    assert registry.get_sample_value(counts, unmatched) == 1
    assert registry.get_sample_value(f"{durations}_count", read) == 2
    assert registry.get_sample_value(f"{durations}_sum", read) == pytest.approx(0.02469)
    assert registry.get_sample_value(f"{durations}_bucket", {**read, "le": "0.01"}) == 0
    assert registry.get_sample_value(f"{durations}_bucket", {**read, "le": "0.025"}) == 2


def test_operations_are_counted_by_type_and_first_error() -> None:
    registry = metrics_for(READ_REQUEST, UNMATCHED_REQUEST).registry

    name = "post_results_graphql_operations_total"
    assert registry.get_sample_value(name, {"type": "query", "code": "not_found"}) == 1
    operations = [
        sample for family in registry.collect() for sample in family.samples if sample.name == name
    ]
    assert len(operations) == 1


def test_successful_requests_are_not_logged_at_error_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("error", "json")
    metrics_for(READ_REQUEST)

    assert log_lines(capsys) == []
