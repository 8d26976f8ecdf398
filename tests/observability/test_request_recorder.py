"""Metrics of requests, when they and the log lines are written, and a log that is not read."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, redirect_stderr
from typing import Any

import pytest

from app.observability.log_writer import MAX_BUFFERED_BYTES
from app.observability.logs import configure_logging
from app.observability.metrics import Metrics
from app.observability.request_recorder import RequestRecorder
from tests.http.asgi import VirtualTimeLoop
from tests.observability.request_records import (
    COUNTS,
    counted,
    make_record,
    read_record,
    record_request,
    registry_of,
)

TIMEOUT_SECONDS = 10


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
        *written, report = log_of(stream)
        assert [line["event"] for line in written] == ["request finished"] * (sent - int(lost))
        size = len(stream.getvalue())
        assert MAX_BUFFERED_BYTES - 64 * size / len(written) < size <= MAX_BUFFERED_BYTES

        record_request(recorder, record)
        recorder.close()
        later = log_of(stream)[sent - int(lost) + 1 :]
    del report["timestamp"]
    assert report == {
        "level": "warning",
        "logger": "app.requests",
        "event": "log lines dropped",
        "count": lost,
    }
    assert [line["event"] for line in later] == ["request finished"]
