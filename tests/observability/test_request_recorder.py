"""Log lines and metrics of requests, and when they are written."""

import asyncio
import io
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, redirect_stderr
from typing import Any
from uuid import UUID

import pytest
import structlog
from prometheus_client import CollectorRegistry

from app.domain.ids import ApiKeyId, WorkspaceId
from app.http.request import ApiRequest
from app.observability.log_writer import MAX_BUFFERED_BYTES
from app.observability.logs import configure_logging
from app.observability.metrics import Metrics
from app.observability.request_recorder import RequestRecord, RequestRecorder
from tests.http.asgi import VirtualTimeLoop, build_application, http_client, raising
from tests.observability.conftest import log_lines

TOKEN = "pe_live_0123456789abcdef0123456789abcdef"
COUNTS = "post_results_http_requests_total"
TIMEOUT_SECONDS = 10


def make_record(**values: object) -> RequestRecord:
    """Create the record of a GET request without a route."""
    record = RequestRecord("00000001", None)
    for name, value in {"method": "GET", "path": "/", **values}.items():
        setattr(record, name, value)
    return record


def read_record(**values: object) -> RequestRecord:
    """Create the record of a GraphQL query with all fields."""
    return make_record(
        **{
            "request_id": "0000cafe",
            "method": "POST",
            "route": "/graphql",
            "path": "/graphql",
            "body_bytes": 512,
            "client_address": "203.0.113.7",
            "api": "graphql",
            "api_key_id": ApiKeyId(UUID(int=1)),
            "workspace_id": WorkspaceId(UUID(int=2)),
            "operation_name": "Posts",
            "operation_type": "query",
            "error_codes": ("not_found", "bad_cursor"),
            **values,
        }
    )


READ_FIELDS = {
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
}


def record_request(
    recorder: RequestRecorder,
    record: RequestRecord,
    status: int = 200,
    seconds: float = 0.012_345,
) -> None:
    recorder.request_started()
    recorder.request_finished(record, status, seconds)


@pytest.fixture
async def recorder(anyio_backend: str) -> AsyncIterator[RequestRecorder]:
    recorder = RequestRecorder(Metrics())
    yield recorder
    recorder.close()


def registry_of(recorder: RequestRecorder) -> CollectorRegistry:
    return recorder._metrics.registry


def counted(recorder: RequestRecorder) -> float:
    """Number of requests in the metrics, of all labels."""
    families = registry_of(recorder).collect()
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == COUNTS)


# Lines


async def test_request_is_one_line_with_all_fields(
    recorder: RequestRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    record_request(recorder, read_record())
    unmatched = make_record(method="BREW", path="/no\nsuch pot/é\ud800")
    record_request(recorder, unmatched, status=404, seconds=0)
    recorder.close()

    lines = log_lines(capsys)
    assert [list(line.items())[:3] for line in lines] == [
        [("level", "info"), ("logger", "app.requests"), ("event", "request finished")]
    ] * 2
    assert [dict(list(line.items())[3:]) for line in lines] == [
        READ_FIELDS,
        {
            "request_id": "00000001",
            "method": "BREW",
            "path": "/no%0Asuch%20pot/%C3%A9%3F",
            "status": 404,
            "duration_ms": 0.0,
            "bytes": 0,
        },
    ]


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_line_is_like_those_of_structlog(
    recorder: RequestRecorder, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", log_format)
    record_request(recorder, read_record())
    record_request(recorder, read_record(), status=500)
    recorder.close()
    log = structlog.get_logger("app.requests")
    log.info("request finished", **READ_FIELDS)
    log.error("request finished", **{**READ_FIELDS, "status": 500})

    timestamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    lines = re.sub(timestamp, "TIME", capsys.readouterr().err).splitlines()
    assert len(lines) == 4
    assert lines[:2] == lines[2:]
    assert lines[0].count("TIME") == 1


@pytest.mark.parametrize(
    ("level", "statuses"), [("info", [200, 499, 500, 503]), ("error", [500, 503])]
)
async def test_failures_of_the_server_are_logged_at_error_level(
    recorder: RequestRecorder,
    level: str,
    statuses: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level, "json")
    for status in (200, 499, 500, 503):
        record_request(recorder, make_record(), status)
    recorder.close()

    levels = {200: "info", 499: "info", 500: "error", 503: "error"}
    assert [(line["status"], line["level"]) for line in log_lines(capsys)] == [
        (status, levels[status]) for status in statuses
    ]


async def test_nothing_is_written_before_logging_is_configured(
    recorder: RequestRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("app").setLevel(logging.INFO)
    record_request(recorder, make_record())
    recorder.close()

    assert capsys.readouterr().err == ""
    assert counted(recorder) == 1


async def test_failure_is_logged_with_traceback_and_without_secrets(
    recorder: RequestRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")

    app = build_application(raising(LookupError("internals")), recorder)
    async with http_client(app) as client:
        response = await client.get(
            f"/posts/{TOKEN}?search=confidential", headers={"Authorization": f"Bearer {TOKEN}"}
        )
    recorder.close()

    failed, finished = log_lines(capsys)
    assert (failed["level"], failed["event"]) == ("error", "request failed")
    assert str(failed["exception"]).endswith("LookupError: internals")
    assert (finished["level"], finished["status"], finished["path"]) == ("error", 500, "/posts/***")
    assert finished["errors"] == ["internal_error"]
    assert {failed["request_id"], finished["request_id"]} == {response.headers["X-Request-Id"]}
    for secret in (TOKEN, "Authorization", "confidential"):
        assert secret not in repr((failed, finished))


# Texts that clients choose


CLIENT_TEXTS = ("method", "path", "operation_name", "client_address")


@pytest.mark.parametrize("name", CLIENT_TEXTS)
@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_secrets_in_texts_of_the_client_are_redacted(
    recorder: RequestRecorder, name: str, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", log_format)
    record_request(recorder, make_record(**{name: f"/{TOKEN}"}))
    recorder.close()

    line = capsys.readouterr().err
    assert TOKEN not in line
    assert line.count("***") == 1


@pytest.mark.parametrize("name", CLIENT_TEXTS)
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "separator",
    ["\n", "\r", "\x00", "\x1b[2K", "\x7f", "\x85", "\x9b2K", "\u2028", "\u202e", "\ud800"],
)
async def test_text_of_a_client_cannot_forge_or_hide_a_line(
    recorder: RequestRecorder,
    name: str,
    log_format: str,
    separator: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", log_format)
    record_request(recorder, make_record(**{name: f"/a{separator}2026 [info] forged"}))
    recorder.close()

    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert "/a%" in line


@pytest.mark.parametrize("name", ["path", "operation_name"])
async def test_long_texts_of_clients_are_cut(
    recorder: RequestRecorder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    record_request(recorder, make_record(**{name: "/" + "x" * 1000}))
    recorder.close()

    (line,) = log_lines(capsys)
    assert line[{"operation_name": "operation"}.get(name, name)] == "/" + "x" * 199


# Metrics


async def test_requests_are_counted_and_timed_by_labels(recorder: RequestRecorder) -> None:
    record_request(recorder, read_record())
    record_request(recorder, read_record())
    record_request(recorder, make_record(method="BREW"), status=404)
    record_request(recorder, read_record(is_latency_measured=False), seconds=30)
    recorder.flush()

    registry = registry_of(recorder)
    read = {"api": "graphql", "route": "/graphql", "method": "POST", "status": "2xx"}
    unmatched = {"api": "unmatched", "route": "unmatched", "method": "other", "status": "4xx"}
    durations = "post_results_http_request_duration_seconds"
    assert registry.get_sample_value(COUNTS, read) == 3
    assert registry.get_sample_value(COUNTS, unmatched) == 1
    assert registry.get_sample_value(f"{durations}_count", read) == 2
    assert registry.get_sample_value(f"{durations}_sum", read) == pytest.approx(0.02469)
    assert registry.get_sample_value(f"{durations}_bucket", {**read, "le": "0.01"}) == 0
    assert registry.get_sample_value(f"{durations}_bucket", {**read, "le": "0.025"}) == 2


async def test_operations_are_counted_by_type_and_first_error(recorder: RequestRecorder) -> None:
    record_request(recorder, read_record())
    record_request(recorder, read_record(error_codes=()))
    record_request(recorder, make_record(error_codes=("not_found",)), status=404)
    recorder.flush()

    registry = registry_of(recorder)
    name = "post_results_graphql_operations_total"
    operations = {
        (sample.labels["type"], sample.labels["code"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }
    assert operations == {("query", "not_found"): 1, ("query", "ok"): 1}


async def test_requests_in_progress_are_shown(recorder: RequestRecorder) -> None:
    for _ in range(3):
        recorder.request_started()
    recorder.request_finished(make_record(), 200, 0.1)
    recorder.flush()

    name = "post_results_http_requests_in_progress"
    assert registry_of(recorder).get_sample_value(name) == 2


# Times


@pytest.fixture
def virtual_time() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield runner


@pytest.mark.parametrize("seconds", [0, 0.05, 0.1, 5])
def test_finished_request_is_recorded_within_a_tenth_of_a_second(
    virtual_time: asyncio.Runner, seconds: float
) -> None:
    async def run() -> None:
        recorder = RequestRecorder(Metrics())
        recorder.request_started()
        await asyncio.sleep(seconds)
        recorder.request_finished(make_record(), 200, seconds)
        assert counted(recorder) == 0
        await asyncio.sleep(0.1001)
        assert counted(recorder) == 1

    virtual_time.run(run())


def test_idle_recorder_sets_no_timer(virtual_time: asyncio.Runner) -> None:
    async def run() -> None:
        recorder = RequestRecorder(Metrics())
        record_request(recorder, make_record())
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        timers = loop.timers
        await asyncio.sleep(60)
        assert loop.timers == timers + 1  # of this sleep

    virtual_time.run(run())


@pytest.mark.parametrize(
    ("statuses", "recorded"),
    [([200, 500], 2), ([404, 503], 2), ([200] * 63, 0), ([200] * 64, 64), ([200] * 65, 64)],
)
async def test_failure_or_full_batch_is_recorded_immediately(
    recorder: RequestRecorder, statuses: list[int], recorded: int
) -> None:
    for status in statuses:
        record_request(recorder, make_record(), status)

    assert counted(recorder) == recorded


async def test_line_is_written_without_a_further_request(
    recorder: RequestRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    record_request(recorder, make_record())

    output = ""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not output:
            await asyncio.sleep(0.01)
            output = capsys.readouterr().err
    assert json.loads(output)["event"] == "request finished"


# A log that no one reads


class StalledStream(io.StringIO):
    """Stream whose writes wait until its reader continues."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()

    def write(self, text: str) -> int:
        assert self.is_read.wait(TIMEOUT_SECONDS)
        return super().write(text)


@asynccontextmanager
async def stalled_log() -> AsyncIterator[StalledStream]:
    """Replace stderr by a stream that no one reads, for lines in the format `json`."""
    stream = StalledStream()
    with redirect_stderr(stream):
        configure_logging("info", "json")
        try:
            yield stream
        finally:
            stream.is_read.set()


def log_of(stream: StalledStream) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_log_that_is_not_read_drops_lines_and_delays_no_request(
    recorder: RequestRecorder,
) -> None:
    record = read_record(operation_name="x" * 200)
    dropped = "post_results_log_lines_dropped_total"
    async with stalled_log() as stream:
        sent = 0
        while not registry_of(recorder).get_sample_value(dropped):
            for _ in range(64):
                record_request(recorder, record)
            sent += 64
        assert stream.getvalue() == ""
        for _ in range(128):
            record_request(recorder, record)
            sent += 1
        lost = registry_of(recorder).get_sample_value(dropped)
        assert lost == 3 * 64
        assert counted(recorder) == sent

        stream.is_read.set()
        recorder.close()
        written = log_of(stream)
        assert len(written) == sent - lost
        size = len(stream.getvalue())
        assert MAX_BUFFERED_BYTES - 64 * size / len(written) < size <= MAX_BUFFERED_BYTES

        record_request(recorder, record)
        record_request(recorder, record)
        recorder.close()
        report, *later = log_of(stream)[len(written) :]
    del report["timestamp"]
    assert report == {
        "level": "warning",
        "logger": "app.requests",
        "event": "log lines dropped",
        "count": lost,
    }
    assert [line["event"] for line in later] == ["request finished"] * 2


async def test_end_waits_a_second_for_a_log_that_is_not_read(recorder: RequestRecorder) -> None:
    loop = asyncio.get_running_loop()
    async with stalled_log():
        record_request(recorder, make_record())
        started_at = loop.time()
        recorder.close()
        assert 0.9 < loop.time() - started_at < TIMEOUT_SECONDS / 2


async def test_record_of_a_socket_has_no_method_and_path() -> None:
    request = ApiRequest("0000cafe", None, None)
    assert (request.method, request.path, request.body_bytes) == ("", "", 0)
