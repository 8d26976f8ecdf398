"""Limit of tracebacks: one per cause and minute."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from app.observability.logs import configure_logging, log_handler
from app.observability.repeated_failures import RepeatedFailures
from tests.observability.conftest import log_lines


class ManualClock:
    """A monotonic clock that the test advances."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def process(clock: ManualClock) -> Callable[..., dict[str, Any] | None]:
    """Function that processes an event with fields; None if it is dropped."""
    processor = RepeatedFailures(clock)

    def process_event(event: str, **fields: object) -> dict[str, Any] | None:
        try:
            return dict(processor(None, "error", {"event": event, **fields}))
        except structlog.DropEvent:
            return None

    return process_event


Process = Callable[..., dict[str, Any] | None]


def refuse_connection() -> Exception:
    """Return an error as callers get it: with a cause, and a traceback of its own."""
    try:
        try:
            raise ConnectionRefusedError("database")
        except ConnectionRefusedError as error:
            raise RuntimeError("unavailable") from error
    except RuntimeError as error:
        return error


def test_same_cause_is_logged_once_a_minute(process: Process, clock: ManualClock) -> None:
    first = [
        process("request failed", request_id=n, exc_info=refuse_connection()) for n in (1, 2, 3)
    ]
    clock.now += 59.9
    later = process("request failed", request_id=4, exc_info=refuse_connection())
    clock.now += 0.1
    after_a_minute = process("request failed", request_id=5, exc_info=refuse_connection())

    assert first[0] is not None
    assert (first[0]["request_id"], "repeated" in first[0]) == (1, False)
    assert (first[1:], later) == ([None, None], None)
    assert after_a_minute is not None
    assert (after_a_minute["request_id"], after_a_minute["repeated"]) == (5, 3)
    clock.now += 60
    last = process("request failed", exc_info=refuse_connection())
    assert last is not None
    assert "repeated" not in last


def test_other_events_places_and_lines_without_traceback_are_logged(process: Process) -> None:
    errors = [refuse_connection(), ValueError("without a traceback"), KeyError("another type")]
    for event in ("request failed", "prefetch failed"):
        assert all(process(event, exc_info=error) is not None for error in errors)
        assert [process(event, exc_info=error) for error in errors] == [None] * 3
    try:
        raise ConnectionRefusedError("elsewhere")
    except ConnectionRefusedError:
        assert process("request failed", exc_info=True) is not None
        assert process("request failed", exc_info=True) is None
    assert [process("claim released") is not None for _ in range(2)] == [True, True]


def test_errors_that_refer_to_each_other_are_logged(process: Process) -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first

    assert process("request failed", exc_info=first) is not None


def test_dropped_lines_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    handler = log_handler()
    assert handler is not None
    logger = structlog.stdlib.get_logger("app.requests")
    for _ in range(5):
        logger.error("request failed", exc_info=refuse_connection())

    (line,) = log_lines(capsys)
    assert "ConnectionRefusedError: database" in str(line["exception"])
    assert (handler.repeated_failures.take_dropped(), handler.repeated_failures.take_dropped()) == (
        4,
        0,
    )
