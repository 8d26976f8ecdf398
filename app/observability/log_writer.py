"""Writes log lines in a thread, so that a slow reader of the log never delays the event loop."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

MAX_BUFFERED_BYTES = 8 << 20
_CLOSE_TIMEOUT = timedelta(seconds=1)
"""Longest wait for the last lines; a log that no one reads must not delay the exit."""


class LogWriter:
    """Bounded buffer of lines, and the thread that writes them."""

    def __init__(
        self, write: Callable[[str], object], max_buffered_bytes: int = MAX_BUFFERED_BYTES
    ) -> None:
        """Create a writer; `write` is called in its thread, with one or more complete lines."""
        self._write = write
        self._max_buffered_bytes = max_buffered_bytes
        self._condition = threading.Condition()
        self._buffer: list[str] = []
        self._buffered_bytes = 0
        """Size of the buffer, and of what is being written."""
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def put(self, lines: str) -> bool:
        """Write lines soon; return False, and drop them, if the buffer is full.

        Raises RuntimeError if the thread cannot start; the next call tries again.
        """
        with self._condition:
            if self._buffered_bytes + len(lines) > self._max_buffered_bytes:
                return False
            self._buffer.append(lines)
            self._buffered_bytes += len(lines)
            self._condition.notify()
        if self._thread is None:
            self._is_closing = False
            thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            thread.start()
            self._thread = thread
        return True

    def close(self) -> None:
        """Wait until all lines are written, but not longer than _CLOSE_TIMEOUT."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_CLOSE_TIMEOUT.total_seconds())

    def _run(self) -> None:
        while lines := self._take():
            # Without stderr, there is no other place to report that it is gone.
            with suppress(OSError, ValueError):
                self._write(lines)
            with self._condition:
                self._buffered_bytes -= len(lines)

    def _take(self) -> str:
        """Wait for lines and remove them from the buffer; return an empty text when closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._buffer or self._is_closing)
            lines = "".join(self._buffer)
            self._buffer.clear()
            return lines
