"""The live line stays last, whatever else is written."""

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


def test_the_line_is_drawn_over_the_one_before_and_cut() -> None:
    terminal = Terminal()
    line = StatusLine(terminal)
    line.show("one")
    line.show("x" * 100)

    assert terminal.getvalue() == f"{ERASE}one{ERASE}{'x' * 79}"


def test_whatever_is_written_stands_above_it() -> None:
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


def test_log_lines_stand_above_it() -> None:
    terminal = Terminal()
    with redirect_stderr(terminal):
        configure_logging("info", "json")
        with open_status_line() as line:
            assert line is not None
            line.show("one")
            logging.getLogger("app").info("told")
            assert sys.stderr is line
        logging.getLogger("app").info("told later")

    first, second = terminal.getvalue().split('"event": "told"')
    assert first.startswith(f'{ERASE}one{ERASE}{{"timestamp": ')
    assert second.startswith(f'}}\n{ERASE}one\n{{"timestamp": ')


def test_without_a_terminal_there_is_none() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream), open_status_line() as line:
        assert line is None
    assert stream.getvalue() == ""
