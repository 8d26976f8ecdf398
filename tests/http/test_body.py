"""Reading a body up to its size limit and parsing it as one JSON object."""

import json
import re

import pytest
from starlette.requests import ClientDisconnect, Request

from app.domain.errors import BodyTooLarge, InvalidJson, UnsupportedMediaType
from app.http.body import MAX_BODY_DEPTH, read_body, read_json_object, require_json
from app.http.request_scope import RawHeaders
from tests.http.asgi import ASGIClient, http_scope

MEBIBYTE = 1024 * 1024


def make_request(client: ASGIClient, content_length: str | None = None) -> Request:
    headers = [(b"content-length", content_length.encode())] if content_length else []
    return Request(http_scope("POST", headers=headers), client.receive)


async def test_body_at_limit_is_read() -> None:
    client = ASGIClient(b"a" * (MEBIBYTE - 1), b"b")

    body = await read_body(make_request(client, str(MEBIBYTE)), MEBIBYTE)

    assert body == b"a" * (MEBIBYTE - 1) + b"b"


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"identity, gzip"])
async def test_compressed_body_is_refused_unread(coding: bytes) -> None:
    client = ASGIClient(b"{}")
    request = Request(http_scope("POST", headers=[(b"content-encoding", coding)]), client.receive)

    with pytest.raises(UnsupportedMediaType) as caught:
        await read_body(request, MEBIBYTE)

    assert caught.value.message == "Send the body uncompressed, without a Content-Encoding."
    assert client.pieces_taken == 0


async def test_announced_oversized_body_is_refused_unread() -> None:
    client = ASGIClient(b"a" * (MEBIBYTE + 1))

    with pytest.raises(BodyTooLarge) as caught:
        await read_body(make_request(client, str(MEBIBYTE + 1)), MEBIBYTE)

    assert caught.value.message == "The body is larger than the limit of 1048576 bytes."
    assert client.pieces_taken == 0


@pytest.mark.parametrize("content_length", [None, "1", "-1", "1e3", "²", "9" * 5000])
async def test_unannounced_oversized_body_is_read_up_to_limit(
    content_length: str | None,
) -> None:
    client = ASGIClient(b"a" * MEBIBYTE, b"b", b"never read")

    with pytest.raises(BodyTooLarge):
        await read_body(make_request(client, content_length), MEBIBYTE)

    assert client.pieces_taken == 2


async def test_request_without_body_has_empty_body() -> None:
    assert await read_body(make_request(ASGIClient()), MEBIBYTE) == b""


async def test_disconnect_during_body_raises() -> None:
    client = ASGIClient(b"half", b"the other half")
    client.disconnect()

    with pytest.raises(ClientDisconnect):
        await read_body(make_request(client), MEBIBYTE)


def test_json_object_is_parsed() -> None:
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
        (b'{"a": "\xff"}', "The body is not UTF-8: invalid byte at offset 7."),
        (b'{"a": "\xed\xa0\x80"}', "The body is not UTF-8: invalid byte at offset 7."),
        (b'{"a": %s}' % (b"9" * 5000), "The body has an integer that does not fit into 64 bits."),
        (b'{"a": -%s}' % (b"9" * 5000), "The body has an integer that does not fit into 64 bits."),
        (b'{"a": 18446744073709551616}', "The body has an integer that does not fit into 64 bits."),
        (
            b'{"a": [-9223372036854775809]}',
            "The body has an integer that does not fit into 64 bits.",
        ),
    ],
)
def test_other_body_is_refused_with_reason(body: bytes, message: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_json_object(body)

    assert caught.value.message == message


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
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_json_object(body)

    assert re.fullmatch(r"The body is not JSON: .+ at line \d+, column \d+\.", caught.value.message)


def test_malformed_json_error_has_position() -> None:
    with pytest.raises(InvalidJson) as caught:
        read_json_object(b'{"a":\n tru}')

    assert caught.value.message.endswith(" at line 2, column 2.")


@pytest.mark.parametrize(
    "number", [0, 2**63, -(2**63), 2**64 - 1, 1234567890123456789, 1.5e300, -1e19]
)
def test_exact_numbers_are_parsed(number: float) -> None:
    assert read_json_object(b'{"a": %s}' % json.dumps(number).encode()) == {"a": number}


def test_long_digits_in_string_are_allowed() -> None:
    digits = "9" * 5000

    assert read_json_object(b'{"a": "%s"}' % digits.encode()) == {"a": digits}


@pytest.mark.parametrize("nested", [(b'{"a":', b"}"), (b'{"a":[', b"]}")])
def test_nesting_is_limited(nested: tuple[bytes, bytes]) -> None:
    opening, closing = nested
    levels = MAX_BODY_DEPTH // len(closing)
    deepest = opening * levels + b"1" + closing * levels

    assert list(read_json_object(deepest)) == ["a"]
    with pytest.raises(InvalidJson) as caught:
        read_json_object(b'{"a":' + deepest + b"}")
    assert caught.value.message == "The body is nested deeper than 100 levels."


def test_brackets_in_string_are_not_nesting() -> None:
    text = "[{" * (MAX_BODY_DEPTH + 1)

    assert read_json_object(b'{"a": "%s"}' % text.encode()) == {"a": text}


def test_deep_document_that_parses_is_refused() -> None:
    with pytest.raises(InvalidJson):
        read_json_object(b'{"a":' * 1000 + b"1" + b"}" * 1000)


def test_broad_document_is_not_nested() -> None:
    body = b'{"a": [' + b",".join([b"[]"] * 100_000) + b"]}"

    assert read_json_object(body) == {"a": [[]] * 100_000}


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"Application/JSON", b'application/json; charset="UTF-8"'],
)
def test_json_content_type_is_accepted(content_type: bytes) -> None:
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
def test_other_content_type_is_refused(headers: RawHeaders) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        require_json(headers)
    assert caught.value.message == "Send the request as application/json in UTF-8."
