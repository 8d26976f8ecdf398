"""The thread that writes log lines: order, a full buffer, and the end."""

import threading
import time

import pytest

from app.observability.log_writer import LogWriter

TIMEOUT_SECONDS = 10


class Log:
    """Receives lines. Each write waits until it is allowed, unless the reader is fast."""

    def __init__(self, *, is_slow: bool = False) -> None:
        self.writes: list[str] = []
        self.is_writing = threading.Event()
        self.may_write = threading.Event()
        if not is_slow:
            self.may_write.set()

    def write(self, lines: str) -> None:
        self.is_writing.set()
        assert self.may_write.wait(TIMEOUT_SECONDS)
        self.writes.append(lines)

    @property
    def text(self) -> str:
        return "".join(self.writes)


def test_lines_are_written_in_order() -> None:
    log = Log()
    writer = LogWriter(log.write)
    lines = [f"line {number}\n" for number in range(1000)]

    assert all(writer.put(line) for line in lines)
    writer.close()

    assert log.text == "".join(lines)


def test_writer_of_no_line_has_no_thread() -> None:
    before = set(threading.enumerate())
    writer = LogWriter(Log().write)
    after = set(threading.enumerate())
    writer.close()

    assert after <= before  # threads of other tests may have ended


def test_slow_log_delays_no_caller_and_is_written_at_once_later() -> None:
    log = Log(is_slow=True)
    writer = LogWriter(log.write)
    writer.put("first\n")
    assert log.is_writing.wait(TIMEOUT_SECONDS)

    assert writer.put("second\n")
    assert writer.put("third\n")
    assert log.writes == []
    log.may_write.set()
    writer.close()

    assert log.writes == ["first\n", "second\nthird\n"]


def test_full_buffer_drops_lines_until_there_is_room() -> None:
    log = Log(is_slow=True)
    writer = LogWriter(log.write, max_buffered_bytes=20)
    assert writer.put("1234567890")
    assert log.is_writing.wait(TIMEOUT_SECONDS)

    # Also what is being written takes room.
    assert [writer.put(lines) for lines in ("12345678901", "1234567890", "1")] == [
        False,
        True,
        False,
    ]
    log.may_write.set()
    writer.close()
    assert log.text == "1234567890" * 2
    assert writer.put("1" * 20)
    writer.close()
    assert log.text == "1234567890" * 2 + "1" * 20


def test_end_does_not_wait_for_a_log_that_no_one_reads() -> None:
    log = Log(is_slow=True)
    writer = LogWriter(log.write)
    writer.put("lost\n")
    started_at = time.monotonic()

    writer.close()

    assert 0.9 < time.monotonic() - started_at < TIMEOUT_SECONDS / 2
    log.may_write.set()


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), ValueError("closed")])
def test_failed_write_loses_only_its_lines(error: Exception) -> None:
    log = Log()
    attempts = []

    def write(lines: str) -> None:
        attempts.append(lines)
        if len(attempts) == 1:
            raise error
        log.write(lines)

    writer = LogWriter(write, max_buffered_bytes=10)
    writer.put("lost\n")
    writer.close()
    assert writer.put("23456789\n")
    writer.close()

    assert attempts == ["lost\n", "23456789\n"]
    assert log.text == "23456789\n"


def test_thread_that_could_not_start_is_started_for_the_next_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    log = Log()
    writer = LogWriter(log.write)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            writer.put("first\n")
    writer.put("second\n")
    writer.close()

    assert log.text == "first\nsecond\n"
