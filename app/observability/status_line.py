"""Status line at the bottom of a terminal; other output appears above it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import TextIO

_ERASE = "\r\x1b[K"
_DEFAULT_COLUMNS = 80


class StatusLine(io.TextIOBase):
    """Terminal stream that keeps a status line below everything written to it."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._line = ""
        self._is_shown = False

    def show(self, line: str) -> None:
        """Replace the status line, cut to the terminal's width."""
        self._line = line
        self._draw()

    def write(self, text: str) -> int:
        self._erase()
        self._terminal.write(text)
        if text.endswith("\n"):  # never in the middle of a line
            self._draw()
        return len(text)

    def flush(self) -> None:
        self._terminal.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._terminal.encoding

    def end(self) -> None:
        """Leave the last status line in place and continue below it."""
        if self._is_shown:
            self._terminal.write("\n")
            self._terminal.flush()
        self._is_shown, self._line = False, ""

    def _draw(self) -> None:
        if self._line:
            self._terminal.write(f"{_ERASE}{self._line[: self._columns() - 1]}")
            self._terminal.flush()
            self._is_shown = True

    def _columns(self) -> int:
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._terminal.fileno()).columns or _DEFAULT_COLUMNS
        return _DEFAULT_COLUMNS

    def _erase(self) -> None:
        if self._is_shown:
            self._terminal.write(_ERASE)
            self._is_shown = False


@contextmanager
def open_status_line() -> Iterator[StatusLine | None]:
    """Show a status line on stderr during the context; yield None unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    line = StatusLine(sys.stderr)
    with redirect_stderr(line):
        try:
            yield line
        finally:
            line.end()
