"""JSON texts out of a stream of lines: one a line, over many lines, or one after the other. No meaning."""

import json
import re
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

MAX_TEXT_LENGTH = 64 * 1024 * 1024
"""Characters of a JSON text. Half read, it is given up there, so that memory has an end too."""

# With the byte order mark, for each of several files that were put together may begin with one.
_SPACE = re.compile(r"[ \t\n\r\ufeff]*")
_SPACE_AND_REMAINS = re.compile(r"[ \t\n\r\ufeff,\]}]*")
"""Between the entries of a list that is broken, there is what held it together."""
_BEGINNING_OF_A_LINE = re.compile(r"(?<=\n)\ufeff?(?=[\[{])")
# An object with a member or a list of objects, also where the rest of it is not there yet.
_BEGINNING = re.compile(r"""(?<=\n)\ufeff?(?=[\[{])|(?=\{\s*(?:"|\Z)|\[\s*(?:\{|\Z))""")
MAX_PIECE_LENGTH = 64 * 1024
"""Characters of a piece of a long line. What is behind an error is copied, but no more than a piece."""

_PIECE = re.compile(rf"[^\n]{{0,{MAX_PIECE_LENGTH - 1}}}(?:\n|[^\n])")
_NEVER_IN_JSON = re.compile(r"[\0\ud800-\udfff]")
_LONGEST_TOKEN = len("\\ud83d\\ude00")
"""But for strings, of which it is told when they have no end, and for numbers, which may end anywhere."""

_NOT_UTF8 = "It is not JSON encoded in UTF-8."


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
    """Every text of a stream, in order; the lines keep their ends, and a long one may come in pieces.

    After a broken text, it goes on at the next line that begins with an object or a list: of texts on
    lines of their own, a broken one costs no other. After what is no JSON from its first character on,
    such as a page of HTML, it goes on with an object or a list on the same line too.
    """
    # What is not UTF-8 becomes lone surrogates, so that the text it is in can be told.
    decoder = getincrementaldecoder("utf-8")("surrogateescape")
    reader = _Reader()
    for line in lines:
        yield from reader.texts_up_to(decoder.decode(line))
    yield from reader.texts_at_the_end(decoder.decode(b"", final=True))


class _Reader:
    """Holds what was read and is not understood yet.

    It is tried again when twice as much is there, and so the work stays linear, however many lines a
    text has. What comes after a broken text is read piece by piece again, for the same reason.
    """

    def __init__(self) -> None:
        self._unread: deque[str] = deque()
        self._parts: list[str] = []
        self._length = 0
        self._try_at = 0
        self._line = 1
        self._column = 0
        """Characters of the first line that are done with."""
        self._space = _SPACE
        """What may be between two texts."""
        self._beginning: re.Pattern[str] | None = None
        """After what is not JSON, until there is a place to go on at."""

    def texts_up_to(self, text: str) -> Iterator[JsonText | NotJson]:
        self._unread.append(text)
        while self._unread:
            self._take(self._unread.popleft())
            if self._length >= self._try_at:
                yield from self._read(is_the_end=False)

    def texts_at_the_end(self, text: str) -> Iterator[JsonText | NotJson]:
        yield from self.texts_up_to(text)
        while self._length and self._beginning is None:
            yield from self._read(is_the_end=True)
            yield from self.texts_up_to("")

    def _take(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _read(self, *, is_the_end: bool) -> Iterator[JsonText | NotJson]:
        text = "".join(self._parts)
        position = self._go_on(text, 0, 0)
        while position < len(text) and self._beginning is None:
            try:
                value, end = _DECODER.raw_decode(text, position)
                text[position:end].encode()
            except (ValueError, RecursionError) as error:
                if not is_the_end and _may_go_on(error, text, position):
                    break
                yield NotJson(self._line, self._reason(error, text, position))
                self._keep(text, position)
                self._read_again(text[position])
                return
            if not is_the_end and text.find("\n", end) < 0 and text[end - 1].isdigit():
                break  # for the number may go on
            yield JsonText(self._line, value)
            position = self._go_on(text, position, end)
        self._keep(text, position)

    def _read_again(self, first: str) -> None:
        """From behind the first character of what is not JSON."""
        self._beginning = _BEGINNING_OF_A_LINE if first in "[{" else _BEGINNING
        self._space = _SPACE_AND_REMAINS
        (text,) = self._parts
        self._unread.extendleft(reversed(_PIECE.findall(text, 1)))
        self._column += 1
        self._parts = []
        self._length = self._try_at = 0

    def _go_on(self, text: str, done: int, position: int) -> int:
        """Where the next text begins, if it was read yet."""
        if self._beginning:
            found = self._beginning.search(text, position)
            if found:
                self._beginning = None
            # The end of the line is kept, to know that what follows begins a line.
            start = found.end() if found else len(text) - text.endswith("\n")
        else:
            start = _end_of(self._space, text, position)
        self._line += text.count("\n", done, start)
        return start

    def _keep(self, text: str, position: int) -> None:
        line_start = text.rfind("\n", 0, position) + 1
        self._column = position - line_start + (0 if line_start else self._column)
        self._parts = [text[position:]]
        self._length = len(text) - position
        self._try_at = min(2 * self._length, MAX_TEXT_LENGTH)

    def _reason(self, error: Exception, text: str, position: int) -> str:
        match error:
            case RecursionError():
                return "It is nested too deeply."
            case UnicodeEncodeError():
                return _NOT_UTF8
            case json.JSONDecodeError():
                return self._syntax_error(error, text, position)
            case _:
                return "It has a number that is none of JSON's, or has thousands of digits."

    def _syntax_error(self, error: json.JSONDecodeError, text: str, position: int) -> str:
        if _NEVER_IN_JSON.search(text, position, error.pos + 1):
            return _NOT_UTF8
        if _is_cut(error, text):
            if len(text) - position >= MAX_TEXT_LENGTH:
                return f"It is longer than {MAX_TEXT_LENGTH // 1024**2} MiB."
            return "It is not JSON: it ends too early."
        problem = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
        line = self._line + text.count("\n", position, error.pos)
        column = error.colno + (self._column if error.lineno == 1 else 0)
        return f"It is not JSON: {problem} at line {line} column {column}."


def _may_go_on(error: Exception, text: str, position: int) -> bool:
    """Whether more of the stream could make a text of it.

    What is cut has its first error at its very end, or where the token begins that is cut.
    """
    return (
        isinstance(error, json.JSONDecodeError)
        and (_is_cut(error, text) or len(text) - error.pos < _LONGEST_TOKEN)
        and len(text) - position < MAX_TEXT_LENGTH
    )


def _is_cut(error: json.JSONDecodeError, text: str) -> bool:
    is_at_the_end = _end_of(_SPACE, text, error.pos) == len(text)
    return is_at_the_end or error.msg.startswith("Unterminated string")


def _end_of(space: re.Pattern[str], text: str, position: int) -> int:
    found = space.match(text, position)
    return found.end() if found else position


def _refuse(_constant: str) -> NoReturn:
    """Of NaN and Infinity, which Python would read."""
    raise ValueError


_DECODER = json.JSONDecoder(parse_constant=_refuse)
