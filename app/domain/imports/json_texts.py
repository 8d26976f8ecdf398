"""JSON texts out of a stream of lines: one a line, over many lines, or one after the other. No meaning."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

MAX_TEXT_LENGTH = 64 * 1024 * 1024
"""Characters of one JSON text, and bytes of a line that are read at once."""

_SPACE = re.compile(r"[ \t\n\r]*")
_BEGINNING = re.compile(r"^[\[{]", re.MULTILINE)
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class JsonText:
    """A value, and the line on which it begins, counted from 1."""

    line: int
    value: object


@dataclass(frozen=True, slots=True)
class NotJson:
    """What begins on a line and cannot be read; the reason is a sentence."""

    line: int
    reason: str


def json_texts(lines: Iterable[bytes]) -> Iterator[JsonText | NotJson]:
    """Every text of a stream, in order; the lines keep their ends, as files yield them.

    After what is not JSON, it goes on at the next line that begins with an object or a list: of texts
    on lines of their own, a broken one costs no other.
    """
    reader = _Reader()
    for line in lines:
        yield from reader.texts_up_to(line)
    yield from reader.texts_at_the_end()


class _Reader:
    """Holds what was read and is not understood yet.

    No token of JSON goes over the end of a line, so what is cut there has its first error at its very
    end. It is tried again when twice as much is there, and so the work stays linear, however many lines
    a text has.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._try_at = 0
        self._line = 1
        self._skips_a_line = False

    def texts_up_to(self, line: bytes) -> Iterator[JsonText | NotJson]:
        if self._skips_a_line:
            self._skips_a_line = not line.endswith(b"\n")
            self._line += not self._skips_a_line
            return
        # What is not UTF-8 becomes lone surrogates, so that the text it is in can be told.
        text = line.decode("utf-8", "surrogateescape")
        self._parts.append(text)
        self._length += len(text)
        if self._length >= self._try_at:
            yield from self._read(is_the_end=False)

    def texts_at_the_end(self) -> Iterator[JsonText | NotJson]:
        yield from self._read(is_the_end=True)

    def _read(self, *, is_the_end: bool) -> Iterator[JsonText | NotJson]:
        text = "".join(self._parts)
        position = int(self._line == 1 and text.startswith(_BYTE_ORDER_MARK))
        while (position := self._after_space(text, position)) < len(text):
            try:
                value, end = _DECODER.raw_decode(text, position)
                text[position:end].encode()
            except (ValueError, RecursionError) as error:
                if not is_the_end and _is_cut(error, text, position):
                    break
                yield NotJson(self._line, _reason(error, text, position, self._line))
                end = _next_beginning(text, position)
                self._skips_a_line = end == len(text) and not text.endswith("\n")
            else:
                yield JsonText(self._line, value)
            self._line += text.count("\n", position, end)
            position = end
        rest = text[position:]
        self._parts, self._length, self._try_at = [rest], len(rest), 2 * len(rest)

    def _after_space(self, text: str, position: int) -> int:
        end = _end_of_space(text, position)
        self._line += text.count("\n", position, end)
        return end


def _end_of_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _is_cut(error: Exception, text: str, position: int) -> bool:
    """Whether more lines could make a text of it."""
    return (
        isinstance(error, json.JSONDecodeError)
        and _end_of_space(text, error.pos) == len(text)
        and len(text) - position < MAX_TEXT_LENGTH
    )


def _next_beginning(text: str, position: int) -> int:
    end_of_line = text.find("\n", position)
    if end_of_line < 0:
        return len(text)
    found = _BEGINNING.search(text, end_of_line + 1)
    return found.start() if found else len(text)


def _reason(error: Exception, text: str, position: int, line: int) -> str:
    if len(text) - position >= MAX_TEXT_LENGTH:
        return f"It is longer than {MAX_TEXT_LENGTH // 1024**2} MiB."
    match error:
        case json.JSONDecodeError() if _end_of_space(text, error.pos) == len(text):
            return "It is not JSON: it ends too early."
        case json.JSONDecodeError() if text[error.pos].isprintable():
            wrong_line = line + text.count("\n", position, error.pos)
            return f"It is not JSON: {error.msg.lower()} at line {wrong_line} column {error.colno}."
        case json.JSONDecodeError() | UnicodeEncodeError():
            return "It is not JSON encoded in UTF-8."
        case RecursionError():
            return "It is nested too deeply."
        case _:
            return "It has a number that is none of JSON's, or has thousands of digits."


def _refuse(_constant: str) -> NoReturn:
    """Of NaN and Infinity, which Python would read."""
    raise ValueError


_DECODER = json.JSONDecoder(parse_constant=_refuse)
