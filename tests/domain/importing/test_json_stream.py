"""JSON texts out of a stream: every style of writing them, and whatever is no JSON between them."""

import json
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.importing.json_stream import (
    MAX_TEXT_LENGTH,
    JsonText,
    MalformedJson,
    iter_json_texts,
)

TOO_EARLY = "It is not JSON: it ends too early."
TOO_LONG = "It is longer than 64 MiB."
TOO_DEEP = "It is nested too deeply."
NOT_UTF8 = "It is not JSON encoded in UTF-8."
BAD_NUMBER = "It has a number that is none of JSON's, or has thousands of digits."
BOM = b"\xef\xbb\xbf"

TEXT = st.text(st.characters(codec="utf-8"))
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
    max_leaves=5,
)
OBJECTS = st.dictionaries(TEXT, JSON_VALUES, min_size=1, max_size=2)
STYLES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"ensure_ascii": False},
        {"indent": 2},
        {"indent": 0, "ensure_ascii": False},
        {"indent": "\t", "separators": (" ,", "\r\n: ")},
    ]
)


def lines_of(stream: bytes) -> Iterator[bytes]:
    """As a file yields them: only LF ends a line."""
    start = 0
    while start < len(stream):
        end = stream.find(b"\n", start) + 1 or len(stream)
        yield stream[start:end]
        start = end


def read(stream: bytes) -> list[JsonText | MalformedJson]:
    return list(iter_json_texts(lines_of(stream)))


def in_pieces(stream: bytes, length: int) -> Iterator[bytes]:
    return (stream[start : start + length] for start in range(0, len(stream), length))


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"\n \t\r\n\n", []),
        (b'{"a":1}', [(1, {"a": 1})]),
        (b'{"a":1}\n[2]\n', [(1, {"a": 1}), (2, [2])]),
        (b'{"a":1}\r\n[2]\r\n', [(1, {"a": 1}), (2, [2])]),
        (b"[1]\r[2]\r", [(1, [1]), (1, [2])]),
        (b"\n\n[1]\n\n\n[2]\n\n", [(3, [1]), (6, [2])]),
        (b'{\n  "a": [\n    1\n  ]\n}\n[\n2\n]\n', [(1, {"a": [1]}), (6, [2])]),
        (b'\n\n{\r\n\r\n"a"\r\n:1}\r\n [2]', [(3, {"a": 1}), (7, [2])]),
        (b"[1][2]{}\n[3] [4]", [(1, [1]), (1, [2]), (1, {}), (2, [3]), (2, [4])]),
        (b"[1\n][2\n][3]", [(1, [1]), (2, [2]), (3, [3])]),
        (b'"a" 1 2.5e3 true null', [(1, "a"), (1, 1), (1, 2500.0), (1, True), (1, None)]),
        (BOM, []),
        (BOM + b"[1]\n", [(1, [1])]),
        (BOM + b"\n[1]\n" + BOM + b"[2]" + BOM, [(2, [1]), (3, [2])]),
        ('["\ufeff\u2028\x85"]\n'.encode(), [(1, ["\ufeff\u2028\x85"])]),
        (rb'["\ud83d\ude00\ud800"]', [(1, ["😀\ud800"])]),
        (b'{"a":1,"a":2}', [(1, {"a": 2})]),
    ],
)
def test_texts_are_found_with_the_line_on_which_they_begin(
    stream: bytes, expected: list[tuple[int, object]]
) -> None:
    assert read(stream) == [JsonText(line, value) for line, value in expected]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b'{"a": [1, 2', TOO_EARLY),
        (b'{"a": [1, 2,', TOO_EARLY),
        (b'{"a', TOO_EARLY),
        (b'{"a": "\xc3\xa4', TOO_EARLY),
        (b"{", TOO_EARLY),
        (b"[1 2]", "It is not JSON: expecting ',' delimiter at line 1 column 4."),
        (b'{"a" 1}', "It is not JSON: expecting ':' delimiter at line 1 column 6."),
        (b"nothing", "It is not JSON: expecting value at line 1 column 1."),
        (b'{"a": nul', "It is not JSON: expecting value at line 1 column 7."),
        (b"<html>[]</html>", "It is not JSON: expecting value at line 1 column 1."),
        (b'["a\tb"]', "It is not JSON: invalid control character at line 1 column 4."),
        (b"[NaN]", BAD_NUMBER),
        (b'{"a": -Infinity}', BAD_NUMBER),
        (b"[" + b"9" * 5000 + b"]", BAD_NUMBER),
        (b"[" * 100_000, TOO_DEEP),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, TOO_DEEP),
        (b'["\xff"]', NOT_UTF8),
        (b'["\xed\xa0\x80"]', NOT_UTF8),
        (b"\xff\xfe", NOT_UTF8),
        (b"\x1f\x8b\x08\x00 gzip", "It is not JSON: expecting value at line 1 column 1."),
        ('{"a": 1}'.encode("utf-16"), NOT_UTF8),
        ('{"a": 1}'.encode("utf-16-le"), NOT_UTF8),
        ('{"a": 1}'.encode("utf-16-be"), NOT_UTF8),
        ('{"ä": 1}'.encode("latin-1"), NOT_UTF8),
    ],
)
def test_what_is_not_json_is_told_by_its_line_and_a_reason(broken: bytes, reason: str) -> None:
    assert read(broken) == [MalformedJson(1, reason)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (
            b'{"a":1}\n{"a": [1,\n{"a":3}\n{"a":4}\n',
            [(1, 1), "expecting ',' delimiter at line 4 column 1", (3, 3), (4, 4)],
        ),
        (
            b'{"a":1}\r\n{"a": "tex\r\n{"a":3}\r\n',
            [(1, 1), "invalid control character at line 2 column 11", (3, 3)],
        ),
        (
            b'{"a":1} {"a": [2, oops]} {"a":0}\n{"a":3}\n',
            [(1, 1), "expecting value at line 1 column 19", (2, 3)],
        ),
        (
            b'{"a":1} {"a": "tex\n{"a":2}\n',
            [(1, 1), "invalid control character at line 1 column 19", (2, 2)],
        ),
        (
            b'{"a":1} {"a":\n\n  oops}\n  {"a":0}\n{"a":3}\n',
            [(1, 1), "expecting value at line 3 column 3", (5, 3)],
        ),
        (
            b'{"a":1}\n\xef\xbb\xbf oops\n\n\xef\xbb\xbf{"a":2}\n',
            [(1, 1), "expecting value at line 2 column 3", (4, 2)],
        ),
    ],
)
def test_a_broken_text_costs_no_other_that_begins_a_line(
    stream: bytes, expected: list[str | tuple[int, int]]
) -> None:
    found = [
        (each.line, each.value["a"])
        if isinstance(each, JsonText) and isinstance(each.value, dict)
        else each
        for each in read(stream)
    ]
    (broken,) = (each for each in found if isinstance(each, MalformedJson))
    told = broken.reason.removeprefix("It is not JSON: ").removesuffix(".")
    assert [told if each is broken else each for each in found] == expected


def test_a_broken_text_over_many_lines_is_told_once() -> None:
    pretty = json.dumps([{"a": number} for number in range(1000)], indent=1)
    broken = pretty.replace('"a": 7\n', '"a": oops\n')

    found = read(f'{broken}\n{{"a": "good"}}\n'.encode())

    assert found == [
        MalformedJson(1, "It is not JSON: expecting value at line 24 column 8."),
        JsonText(3003, {"a": "good"}),
    ]


def test_of_a_list_that_ends_too_early_the_entries_on_lines_of_their_own_are_found() -> None:
    found = read(b'[\n{"a":1},\n{"a":2}\n')
    assert found == [MalformedJson(1, TOO_EARLY), JsonText(2, {"a": 1}), JsonText(3, {"a": 2})]


def test_of_a_list_that_is_broken_the_entries_on_lines_of_their_own_are_found() -> None:
    found = read(b'[\n{"a":1},\n{"a":oops},\n{"a":3},\n{"a":4}\n]\n[5]}\n')
    assert found == [
        MalformedJson(1, "It is not JSON: expecting value at line 3 column 6."),
        JsonText(2, {"a": 1}),
        MalformedJson(3, "It is not JSON: expecting value at line 3 column 6."),
        JsonText(4, {"a": 3}),
        JsonText(5, {"a": 4}),
        JsonText(7, [5]),
    ]


def test_commas_and_brackets_are_no_space_where_nothing_is_broken() -> None:
    assert read(b'{"a":1},\n{"a":2}\n') == [
        JsonText(1, {"a": 1}),
        MalformedJson(1, "It is not JSON: expecting value at line 1 column 8."),
        JsonText(2, {"a": 2}),
    ]


@pytest.mark.parametrize("length", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(
    "page", [b'{"a":3}', b'{\n\t "a": 3}', b'[{"a":3}]', b'[\r\n {\n"a": 3}\n]']
)
def test_what_follows_garbage_on_its_line_is_found(page: bytes, length: int) -> None:
    stream = b'{"a":1}<html>{502} []</html>' + page + b"\n[4]\n"
    line_ends = page.count(b"\n")
    value: object = {"a": 3}

    found = list(iter_json_texts(in_pieces(stream, length)))

    assert found == [
        JsonText(1, {"a": 1}),
        MalformedJson(1, "It is not JSON: expecting value at line 1 column 8."),
        JsonText(1, [value] if page.startswith(b"[") else value),
        JsonText(2 + line_ends, [4]),
    ]


@pytest.mark.parametrize(
    "broken", [b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b'{"a":oops}', b'{"a', b"[1\xff]"]
)
@pytest.mark.parametrize("length", [1, 7, 4096, 10**6])
def test_pieces_of_a_line_are_no_lines(broken: bytes, length: int) -> None:
    stream = b'{"a":1}\n' + broken + b'{"a":0}\n{"a":2}\n'

    found = list(iter_json_texts(in_pieces(stream, length)))

    assert [each for each in found if isinstance(each, JsonText)] == [
        JsonText(1, {"a": 1}),
        JsonText(3, {"a": 2}),
    ]
    assert [each.line for each in found if isinstance(each, MalformedJson)] == [2]


# The limit.


def test_a_text_may_be_as_long_as_the_limit() -> None:
    text = b'["' + b"a" * (MAX_TEXT_LENGTH - 5) + b'"]\n'
    (found,) = iter_json_texts([text])
    assert isinstance(found, JsonText)
    assert isinstance(found.value, list)
    assert len(found.value[0]) == MAX_TEXT_LENGTH - 5


def test_a_longer_line_is_refused_and_read_on_after_it() -> None:
    line = b'["' + b"a" * MAX_TEXT_LENGTH + b'"]\n'
    found = list(iter_json_texts([*in_pieces(line, MAX_TEXT_LENGTH), b"[2]\n"]))
    assert found == [MalformedJson(1, TOO_LONG), JsonText(2, [2])]


def test_a_longer_text_over_many_lines_is_refused_and_read_on_after_it() -> None:
    quarter = b'"' + b"a" * (MAX_TEXT_LENGTH // 4) + b'",\n'
    found = list(iter_json_texts([b"[\n", *[quarter] * 5, b"1]\n", b"[8]\n"]))
    assert found == [MalformedJson(1, TOO_LONG), JsonText(8, [8])]


def test_a_line_of_many_texts_may_be_longer_than_the_limit_of_one() -> None:
    text = b'["' + b"a" * (MAX_TEXT_LENGTH * 3 // 5) + b'"]'
    found = list(iter_json_texts([*in_pieces(text * 2, MAX_TEXT_LENGTH), b"\n[2]\n"]))
    assert [each.line for each in found if isinstance(each, JsonText)] == [1, 1, 2]


# The work.


def characters_tried(lines: Sequence[bytes]) -> int:
    """In all attempts to read a text together, and in counting the lines up to an error."""
    tried = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal tried
        if event == "call" and frame.f_code is json.JSONDecoder.raw_decode.__code__:
            tried += len(frame.f_locals["s"]) - frame.f_locals["idx"]
        if event == "call" and frame.f_code is json.JSONDecodeError.__init__.__code__:
            tried += frame.f_locals["pos"]

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        list(iter_json_texts(lines))
    finally:
        sys.setprofile(before)
    return tried


@pytest.mark.parametrize(
    "stream",
    [
        json.dumps([{"number": number} for number in range(16_666)], indent=2).encode(),
        b'{"a": [\n' + b"1,\n" * 50_000,
        b'{"a": 1}\n' * 50_000,
        b"oops\n" * 50_000,
        b"[\n" + b'{"a": 1},\n' * 50_000,
        b"[\n" + b'{"a": oops},\n' * 50_000,
        b"oops {[\n" * 50_000,
    ],
    ids=["pretty", "cut", "lines", "garbage", "cut list", "broken list", "garbage with brackets"],
)
def test_the_work_is_linear_in_the_length_of_the_stream(stream: bytes) -> None:
    lines = list(lines_of(stream))
    assert len(lines) >= 50_000
    assert characters_tried(lines) <= 6 * len(stream)


def test_garbage_between_the_texts_of_a_line_costs_no_more_than_its_piece() -> None:
    pieces = list(in_pieces(b'{"a":1}x' * 5000, 4096))
    assert len(list(iter_json_texts(pieces))) == 10_000
    assert characters_tried(pieces) <= 10_000 * 2 * 4096


# Anything at all.


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[JsonText]]:
    """Values written in any mix of styles, and where they are to be found."""
    stream = draw(st.sampled_from(["", "\ufeff", "\n", " \r\n"]))
    texts = []
    for value in draw(st.lists(JSON_VALUES, max_size=6)):
        texts.append(JsonText(1 + stream.count("\n"), value))
        stream += json.dumps(value, **draw(STYLES))
        # What has no end of its own needs a space.
        spaces = ["\n", "\r\n", "\n\n ", " ", "\t"]
        stream += draw(st.sampled_from(["", *spaces] if isinstance(value, list | dict) else spaces))
    return stream.encode(), texts


@given(streams(), st.integers(1, 40))
def test_values_written_in_any_mix_of_styles_come_back(
    written: tuple[bytes, list[JsonText]], length: int
) -> None:
    stream, texts = written
    assert repr(read(stream)) == repr(texts)
    assert repr(list(iter_json_texts(in_pieces(stream, length)))) == repr(texts)


@given(st.binary() | st.text('[]{}",:1e-nulNaI \n').map(str.encode), st.integers(1, 40))
def test_any_bytes_are_read_without_failing_and_in_order(stream: bytes, length: int) -> None:
    for found in (read(stream), list(iter_json_texts(in_pieces(stream, length)))):
        lines = [each.line for each in found]
        assert lines == sorted(lines)
        assert all(1 <= line <= 1 + stream.count(b"\n") for line in lines)


@given(
    st.lists(
        OBJECTS.map(json.dumps).map(str.encode)
        | st.binary().map(lambda garbage: garbage.translate(None, b'[{"'))
    )
)
def test_whole_objects_on_lines_of_their_own_are_found_between_garbage(lines: list[bytes]) -> None:
    stream = b"\n".join(lines)
    expected = [
        JsonText(number, json.loads(line))
        for number, line in enumerate(stream.split(b"\n"), 1)
        if line.startswith(b"{")
    ]
    found = read(stream)
    assert [
        each for each in found if isinstance(each, JsonText) and isinstance(each.value, dict)
    ] == (expected)


@given(st.lists(st.tuples(OBJECTS, st.none() | st.integers(1))))
def test_of_objects_on_lines_of_their_own_only_the_cut_ones_are_lost(
    entries: list[tuple[dict[str, object], int | None]],
) -> None:
    written = [json.dumps(value).encode() for value, _ in entries]
    lengths = [
        len(text) if cut is None else cut % len(text)
        for text, (_, cut) in zip(written, entries, strict=True)
    ]
    lines = [text[:length] for text, length in zip(written, lengths, strict=True)]

    found = read(b"\n".join(lines))

    assert [each for each in found if isinstance(each, JsonText)] == [
        JsonText(number, entries[number - 1][0])
        for number, line in enumerate(lines, 1)
        if line == written[number - 1]
    ]
    assert {each.line for each in found if isinstance(each, MalformedJson)} == {
        number for number, line in enumerate(lines, 1) if line not in (b"", written[number - 1])
    }
