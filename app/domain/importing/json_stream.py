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
_WHITESPACE = re.compile(r"[ \t\n\r\ufeff]*")
_WHITESPACE_AND_CLOSERS = re.compile(r"[ \t\n\r\ufeff,\]}]*")
"""Between the entries of a list that is broken, there is what held it together."""
_VALUE_START_AFTER_NEWLINE = re.compile(r"(?<=\n)\ufeff?(?=[\[{])")
# An object with a member or a list of objects, also where the rest of it is not there yet.
_VALUE_START = re.compile(r"""(?<=\n)\ufeff?(?=[\[{])|(?=\{\s*(?:"|\Z)|\[\s*(?:\{|\Z))""")
MAX_CHUNK_LENGTH = 64 * 1024
"""Characters of a piece of a long line. What is behind an error is copied, but no more than a piece."""

_CHUNK = re.compile(rf"[^\n]{{0,{MAX_CHUNK_LENGTH - 1}}}(?:\n|[^\n])")
_ILLEGAL_CHARACTER = re.compile(r"[\0\ud800-\udfff]")
_MAX_TOKEN_LENGTH = len("\\ud83d\\ude00")
"""But for strings, of which it is told when they have no end, and for numbers, which may end anywhere."""

_NOT_UTF8 = "It is not JSON encoded in UTF-8."


@dataclass(frozen=True, slots=True)
class JsonText:
    """A value, and the line on which it begins, counted from 1."""

    line: int
    value: object


@dataclass(frozen=True, slots=True)
class MalformedJson:
    """What begins on a line and cannot be read; the reason is a sentence."""

    line: int
    reason: str


def iter_json_texts(lines: Iterable[bytes]) -> Iterator[JsonText | MalformedJson]:
    """Every text of a stream, in order; the lines keep their ends, and a long one may come in pieces.

    After a broken text, it goes on at the next line that begins with an object or a list: of texts on
    lines of their own, a broken one costs no other. After what is no JSON from its first character on,
    such as a page of HTML, it goes on with an object or a list on the same line too.
    """
    # What is not UTF-8 becomes lone surrogates, so that the text it is in can be told.
    decoder = getincrementaldecoder("utf-8")("surrogateescape")
    reader = _StreamParser()
    for line in lines:
        yield from reader.feed(decoder.decode(line))
    yield from reader.finish(decoder.decode(b"", final=True))


class _StreamParser:
    """Holds what was read and is not understood yet.

    It is tried again when twice as much is there, and so the work stays linear, however many lines a
    text has. What comes after a broken text is read piece by piece again, for the same reason.
    """

    def __init__(self) -> None:
        self._unread: deque[str] = deque()
        self._buffer: list[str] = []
        self._buffer_length = 0
        self._next_parse_length = 0
        self._line = 1
        self._column = 0
        """Characters of the first line that are done with."""
        self._separator = _WHITESPACE
        """What may be between two texts."""
        self._resync_pattern: re.Pattern[str] | None = None
        """After what is not JSON, until there is a place to go on at."""

    def feed(self, text: str) -> Iterator[JsonText | MalformedJson]:
        self._unread.append(text)
        while self._unread:
            self._append(self._unread.popleft())
            if self._buffer_length >= self._next_parse_length:
                yield from self._parse(is_final=False)

    def finish(self, text: str) -> Iterator[JsonText | MalformedJson]:
        yield from self.feed(text)
        while self._buffer_length and self._resync_pattern is None:
            yield from self._parse(is_final=True)
            yield from self.feed("")

    def _append(self, text: str) -> None:
        self._buffer.append(text)
        self._buffer_length += len(text)

    def _parse(self, *, is_final: bool) -> Iterator[JsonText | MalformedJson]:
        text = "".join(self._buffer)
        position = self._find_next_start(text, 0, 0)
        while position < len(text) and self._resync_pattern is None:
            try:
                value, end = _DECODER.raw_decode(text, position)
                text[position:end].encode()
            except (ValueError, RecursionError) as error:
                if not is_final and _may_be_incomplete(error, text, position):
                    break
                yield MalformedJson(self._line, self._error_reason(error, text, position))
                self._retain_unparsed(text, position)
                self._resync(text[position])
                return
            if not is_final and text.find("\n", end) < 0 and text[end - 1].isdigit():
                break  # for the number may go on
            yield JsonText(self._line, value)
            position = self._find_next_start(text, position, end)
        self._retain_unparsed(text, position)

    def _resync(self, first_character: str) -> None:
        """From behind the first character of what is not JSON."""
        self._resync_pattern = (
            _VALUE_START_AFTER_NEWLINE if first_character in "[{" else _VALUE_START
        )
        self._separator = _WHITESPACE_AND_CLOSERS
        (text,) = self._buffer
        self._unread.extendleft(reversed(_CHUNK.findall(text, 1)))
        self._column += 1
        self._buffer = []
        self._buffer_length = self._next_parse_length = 0

    def _find_next_start(self, text: str, consumed: int, position: int) -> int:
        """Where the next text begins, if it was read yet."""
        if self._resync_pattern:
            found = self._resync_pattern.search(text, position)
            if found:
                self._resync_pattern = None
            # The end of the line is kept, to know that what follows begins a line.
            start = found.end() if found else len(text) - text.endswith("\n")
        else:
            start = _match_end(self._separator, text, position)
        self._line += text.count("\n", consumed, start)
        return start

    def _retain_unparsed(self, text: str, position: int) -> None:
        line_start = text.rfind("\n", 0, position) + 1
        self._column = position - line_start + (0 if line_start else self._column)
        self._buffer = [text[position:]]
        self._buffer_length = len(text) - position
        self._next_parse_length = min(2 * self._buffer_length, MAX_TEXT_LENGTH)

    def _error_reason(self, error: Exception, text: str, position: int) -> str:
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
        if _ILLEGAL_CHARACTER.search(text, position, error.pos + 1):
            return _NOT_UTF8
        if _is_truncated(error, text):
            if len(text) - position >= MAX_TEXT_LENGTH:
                return f"It is longer than {MAX_TEXT_LENGTH // 1024**2} MiB."
            return "It is not JSON: it ends too early."
        problem = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
        line = self._line + text.count("\n", position, error.pos)
        column = error.colno + (self._column if error.lineno == 1 else 0)
        return f"It is not JSON: {problem} at line {line} column {column}."


def _may_be_incomplete(error: Exception, text: str, position: int) -> bool:
    """Whether more of the stream could make a text of it.

    What is cut has its first error at its very end, or where the token begins that is cut.
    """
    return (
        isinstance(error, json.JSONDecodeError)
        and (_is_truncated(error, text) or len(text) - error.pos < _MAX_TOKEN_LENGTH)
        and len(text) - position < MAX_TEXT_LENGTH
    )


def _is_truncated(error: json.JSONDecodeError, text: str) -> bool:
    is_at_the_end = _match_end(_WHITESPACE, text, error.pos) == len(text)
    return is_at_the_end or error.msg.startswith("Unterminated string")


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _reject_constant(_constant: str) -> NoReturn:
    """Of NaN and Infinity, which Python would read."""
    raise ValueError


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)
