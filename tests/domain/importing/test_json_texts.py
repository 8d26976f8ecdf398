"""Reading of JSON files: one document, or one text per line."""

from io import BytesIO

import pytest

from app.domain.importing.records import (
    MAX_TEXT_BYTES,
    JsonText,
    iter_json_texts,
)

INCOMPLETE = "The JSON text is incomplete."
NOT_UTF8 = "The text is not encoded in UTF-8."
BAD_NUMBER = "The JSON text has NaN, Infinity or a number with thousands of digits."
TOO_DEEP = "The JSON text is nested too deeply."
BOM = b"\xef\xbb\xbf"


def read_texts(data: bytes) -> list[tuple[int, object]]:
    """Line and value, or line and reason, of each text of a file."""
    return [
        (text.line, text.value)
        if isinstance(text, JsonText)
        else (int(text.label.removeprefix("line ")), text.reason)
        for text in iter_json_texts(BytesIO(data).readline)
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n \t\r\n\n", []),
        (BOM, []),
        (b'{"a":1}', [(1, {"a": 1})]),
        (b'{"a":1}\n[2]\n', [(1, {"a": 1}), (2, [2])]),
        (b'{"a":1}\r\n[2]\r\n', [(1, {"a": 1}), (2, [2])]),
        (b"\n\n[1]\n\n\n[2]\n\n", [(3, [1]), (6, [2])]),
        (BOM + b"\n[1]\n" + BOM + b"[2]", [(2, [1]), (3, [2])]),
        (b'{\n  "a": [\n    1\n  ]\n}\n', [(1, {"a": [1]})]),
        (b'\n\n{\r\n\r\n"a"\r\n:1}\r\n', [(3, {"a": 1})]),
        (b"[\n[1]\n]", [(1, [[1]])]),
        ('["\ufeff\u2028\x85"]\n'.encode(), [(1, ["\ufeff\u2028\x85"])]),
        (rb'["\ud83d\ude00\ud800"]', [(1, ["😀\ud800"])]),
    ],
)
def test_file_is_one_document_or_one_text_per_line(
    data: bytes, expected: list[tuple[int, object]]
) -> None:
    assert read_texts(data) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": [1, 2', INCOMPLETE),
        (b'{"a": "\xc3\xa4', INCOMPLETE),
        (b"[1 2]", "The text is not JSON: expecting ',' delimiter at line 2 column 4."),
        (b"<html>[]</html>", "The text is not JSON: expecting value at line 2 column 1."),
        (b"[1] [2]", "The text is not JSON: extra data at line 2 column 5."),
        (b'["a\tb"]', "The text is not JSON: invalid control character at line 2 column 4."),
        (b"[NaN]", BAD_NUMBER),
        (b'{"a": -Infinity}', BAD_NUMBER),
        (b"[" + b"9" * 5000 + b"]", BAD_NUMBER),
        (b"[" * 100_000, TOO_DEEP),
        (b'["\xff"]', NOT_UTF8),
        (b'["\xed\xa0\x80"]', NOT_UTF8),
        (b"\xff\xfe", NOT_UTF8),
        (b'["' + b"a" * MAX_TEXT_BYTES + b'"]', "The text is longer than 64 MiB."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_malformed_line_is_reported_and_skipped(line: bytes, reason: str) -> None:
    assert read_texts(b"[1]\n" + line + b"\n[3]\n") == [(1, [1]), (2, reason), (3, [3])]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": \n[1]\n[2]\n', [(1, INCOMPLETE), (2, [1]), (3, [2])]),
        (b'{\n "a": 1,\n', [(1, INCOMPLETE)]),
        (
            b'\n{\n "a": 1\n "b": 2\n}\n',
            [(2, "The text is not JSON: expecting ',' delimiter at line 4 column 2.")],
        ),
        (
            b"[\n" + (b"1" * 1022 + b",\n") * (MAX_TEXT_BYTES // 1024),
            [(1, "The text is longer than 64 MiB.")],
        ),
    ],
    ids=["truncated first line", "truncated document", "malformed document", "long document"],
)
def test_incomplete_first_line_begins_a_document_unless_the_second_is_complete(
    data: bytes, expected: list[tuple[int, object]]
) -> None:
    assert read_texts(data) == expected


def test_lines_are_parsed_one_at_a_time() -> None:
    requested = []

    def readline(_limit: int) -> bytes:
        requested.append(1)
        return b"[1]\n"

    texts = iter_json_texts(readline)
    assert [next(texts) for _ in range(1000)] == [JsonText(line, [1]) for line in range(1, 1001)]
    assert len(requested) == 1000
