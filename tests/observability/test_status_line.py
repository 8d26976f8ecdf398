"""The status line stays below all other output."""

import io
import logging
import sys
from contextlib import redirect_stderr

from app.observability.logs import configure_logging
from app.observability.status_line import StatusLine, open_status_line

ERASE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_line_replaces_previous_one_and_is_cut() -> None:
    terminal = Terminal()
    line = StatusLine(terminal)
    line.show("one")
    line.show("x" * 100)

    assert terminal.getvalue() == f"{ERASE}one{ERASE}{'x' * 79}"


def test_output_appears_above_line() -> None:
    terminal = Terminal()
    line = StatusLine(terminal)
    line.write("before\n")
    line.show("one")
    line.write("a part ")
    line.write("and the rest\n")
    line.end()
    line.write("after\n")

    assert terminal.getvalue() == (
        f"before\n{ERASE}one{ERASE}a part and the rest\n{ERASE}one\nafter\n"
    )


def test_log_lines_appear_above_line() -> None:
    terminal = Terminal()
    with redirect_stderr(terminal):
        configure_logging("info", "json")
        with open_status_line() as line:
            assert line is not None
            line.show("one")
            logging.getLogger("app").info("first")
            assert sys.stderr is line
        logging.getLogger("app").info("second")

    before, after = terminal.getvalue().split('"event":"first"')
    assert before.startswith(f'{ERASE}one{ERASE}{{"timestamp":')
    assert after.startswith(f'}}\n{ERASE}one\n{{"timestamp":')


def test_no_status_line_without_terminal() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream), open_status_line() as line:
        assert line is None
    assert stream.getvalue() == ""
