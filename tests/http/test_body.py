"""Reading a body up to its limit, and as one JSON object."""

import json
import re

import pytest
from starlette.requests import ClientDisconnect, Request

from app.domain.errors import BodyTooLarge, InvalidJson, UnsupportedMediaType
from app.http.body import MAX_JSON_DEPTH, read_body, read_json_object, require_json
from app.http.request_headers import RawHeaders
from tests.http.asgi import ASGIClient, http_scope

MEBIBYTE = 1024 * 1024


def make_request(client: ASGIClient, content_length: str | None = None) -> Request:
    headers = [(b"content-length", content_length.encode())] if content_length else []
    return Request(http_scope("POST", headers=headers), client.receive)


async def test_a_body_of_exactly_the_limit_is_read_whole() -> None:
    client = ASGIClient(b"a" * (MEBIBYTE - 1), b"b")

    body = await read_body(make_request(client, str(MEBIBYTE)), MEBIBYTE)

    assert body == b"a" * (MEBIBYTE - 1) + b"b"


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"identity, gzip"])
async def test_a_compressed_body_is_refused_unread(coding: bytes) -> None:
    client = ASGIClient(b"{}")
    request = Request(http_scope("POST", headers=[(b"content-encoding", coding)]), client.receive)

    with pytest.raises(UnsupportedMediaType) as refusal:
        await read_body(request, MEBIBYTE)

    assert refusal.value.message == "Send the body as it is, without a Content-Encoding."
    assert client.pieces_taken == 0


async def test_a_body_that_announces_too_much_is_refused_unread() -> None:
    client = ASGIClient(b"a" * (MEBIBYTE + 1))

    with pytest.raises(BodyTooLarge) as refusal:
        await read_body(make_request(client, str(MEBIBYTE + 1)), MEBIBYTE)

    assert refusal.value.message == (
        "The body is larger than 1048576 bytes, the most that is accepted."
    )
    assert client.pieces_taken == 0


@pytest.mark.parametrize("content_length", [None, "1", "-1", "1e3", "²", "9" * 5000])
async def test_a_body_that_announces_something_else_is_read_no_further_than_the_limit(
    content_length: str | None,
) -> None:
    client = ASGIClient(b"a" * MEBIBYTE, b"b", b"never read")

    with pytest.raises(BodyTooLarge):
        await read_body(make_request(client, content_length), MEBIBYTE)

    assert client.pieces_taken == 2


async def test_a_request_without_a_body_has_an_empty_one() -> None:
    assert await read_body(make_request(ASGIClient()), MEBIBYTE) == b""


async def test_a_client_that_leaves_during_its_body_is_not_an_empty_body() -> None:
    client = ASGIClient(b"half", b"the other half")
    client.disconnect()

    with pytest.raises(ClientDisconnect):
        await read_body(make_request(client), MEBIBYTE)


def test_a_json_object_is_read() -> None:
    body = '{"query": "{ viewer { id } }", "variables": {"é": [1, -2.5, null, true]}}'.encode()

    assert read_json_object(body) == {
        "query": "{ viewer { id } }",
        "variables": {"é": [1, -2.5, None, True]},
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty; it must be a JSON object."),
        (b" \r\n", "The body is empty; it must be a JSON object."),
        (b"null", "The body must be a JSON object, not null."),
        (b"true", "The body must be a JSON object, not true or false."),
        (b"1", "The body must be a JSON object, not a number."),
        (b"1.5", "The body must be a JSON object, not a number."),
        (b'"{}"', "The body must be a JSON object, not a string."),
        (b"[{}]", "The body must be a JSON object, not a list."),
        (
            b"\xef\xbb\xbf{}",
            "The body starts with a byte order mark; send JSON in UTF-8 without one.",
        ),
        (
            '{"a": 1}'.encode("utf-16"),
            "The body starts with a byte order mark; send JSON in UTF-8 without one.",
        ),
        (b'{"a": "\xff"}', "The body is not UTF-8: see byte 7, counted from 0."),
        (b'{"a": "\xed\xa0\x80"}', "The body is not UTF-8: see byte 7, counted from 0."),
        (b'{"a": %s}' % (b"9" * 5000), "The body has an integer that does not fit into 64 bits."),
        (b'{"a": -%s}' % (b"9" * 5000), "The body has an integer that does not fit into 64 bits."),
        (b'{"a": 18446744073709551616}', "The body has an integer that does not fit into 64 bits."),
        (
            b'{"a": [-9223372036854775809]}',
            "The body has an integer that does not fit into 64 bits.",
        ),
    ],
)
def test_anything_but_a_json_object_is_refused_with_a_sentence(body: bytes, message: str) -> None:
    with pytest.raises(InvalidJson) as refusal:
        read_json_object(body)

    assert refusal.value.message == message


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": 1} {}',
        b"{'a': 1}",
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00\\ud800"}',
        b'{"a": "\n"}',
        b'{"a": "',
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_broken_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson) as refusal:
        read_json_object(body)

    assert re.fullmatch(
        r"The body is not JSON: .+ at line \d+, column \d+\.", refusal.value.message
    )


def test_a_refusal_of_broken_json_says_where_it_breaks() -> None:
    with pytest.raises(InvalidJson) as refusal:
        read_json_object(b'{"a":\n tru}')

    assert refusal.value.message.endswith(" at line 2, column 2.")


@pytest.mark.parametrize(
    "number", [0, 2**63, -(2**63), 2**64 - 1, 1234567890123456789, 1.5e300, -1e19]
)
def test_numbers_that_keep_their_value_are_read(number: float) -> None:
    assert read_json_object(b'{"a": %s}' % json.dumps(number).encode()) == {"a": number}


def test_many_digits_in_a_string_are_no_number() -> None:
    digits = "9" * 5000

    assert read_json_object(b'{"a": "%s"}' % digits.encode()) == {"a": digits}


@pytest.mark.parametrize("nested", [(b'{"a":', b"}"), (b'{"a":[', b"]}")])
def test_json_is_read_down_to_the_deepest_level_and_no_deeper(nested: tuple[bytes, bytes]) -> None:
    opening, closing = nested
    levels = MAX_JSON_DEPTH // len(closing)
    deepest = opening * levels + b"1" + closing * levels

    assert list(read_json_object(deepest)) == ["a"]
    with pytest.raises(InvalidJson) as refusal:
        read_json_object(b'{"a":' + deepest + b"}")
    assert refusal.value.message == "The body is nested deeper than 100 levels."


def test_brackets_in_a_string_are_no_levels() -> None:
    text = "[{" * (MAX_JSON_DEPTH + 1)

    assert read_json_object(b'{"a": "%s"}' % text.encode()) == {"a": text}


def test_a_depth_that_the_parser_accepts_but_the_stack_does_not_is_refused() -> None:
    with pytest.raises(InvalidJson):
        read_json_object(b'{"a":' * 1000 + b"1" + b"}" * 1000)


def test_a_broad_document_is_not_a_deep_one() -> None:
    body = b'{"a": [' + b",".join([b"[]"] * 100_000) + b"]}"

    assert read_json_object(body) == {"a": [[]] * 100_000}


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"Application/JSON", b'application/json; charset="UTF-8"'],
)
def test_json_in_utf_8_is_what_is_required(content_type: bytes) -> None:
    require_json({b"content-type": content_type})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b""},
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/json; charset=latin-1"},
        {b"content-type": b"application/jsonl"},
    ],
)
def test_anything_else_is_no_media_type_that_is_read(headers: RawHeaders) -> None:
    with pytest.raises(UnsupportedMediaType) as refusal:
        require_json(headers)
    assert refusal.value.message == "Send the request as application/json in UTF-8."
