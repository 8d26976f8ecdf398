"""Reading a body up to its size limit and parsing it as one JSON object."""

import json
import re

import pytest
from starlette.requests import ClientDisconnect

from app.domain.errors import BodyTooLarge, InvalidJson, PostResultsError, UnsupportedMediaType
from app.http.body import MAX_BODY_DEPTH, read_body, read_json_object, require_json
from app.http.request import HttpRequest
from tests.domain.errors import expect_error
from tests.http.asgi import ASGIClient, http_scope, make_request

MEBIBYTE = 1024 * 1024


def body_request(client: ASGIClient, **headers: str | None) -> HttpRequest:
    raw = [
        (name.replace("_", "-").encode(), value.encode())
        for name, value in headers.items()
        if value
    ]
    return make_request(http_scope("POST", headers=raw), client)


@pytest.mark.parametrize("pieces", [(), (b"a" * (MEBIBYTE - 1), b"b")])
async def test_body_up_to_limit_is_read(pieces: tuple[bytes, ...]) -> None:
    body = b"".join(pieces)
    request = body_request(ASGIClient(*pieces), content_length=str(len(body)))

    assert await read_body(request, MEBIBYTE) == body


@pytest.mark.parametrize(
    ("headers", "error_type", "message"),
    [
        *(
            (
                {"content_encoding": coding},
                UnsupportedMediaType,
                "Send the body uncompressed, without a Content-Encoding.",
            )
            for coding in ("gzip", "br", "identity, gzip")
        ),
        (
            {"content_length": str(MEBIBYTE + 1)},
            BodyTooLarge,
            "The body is larger than the limit of 1048576 bytes.",
        ),
    ],
)
async def test_compressed_or_announced_oversized_body_is_refused_unread(
    headers: dict[str, str], error_type: type[PostResultsError], message: str
) -> None:
    client = ASGIClient(b"{}")

    with pytest.raises(error_type) as caught:
        await read_body(body_request(client, **headers), MEBIBYTE)

    assert caught.value.message == message
    assert client.pieces_taken == 0


@pytest.mark.parametrize("content_length", [None, "1", "-1", "1e3", "²", "9" * 5000])
async def test_unannounced_oversized_body_is_read_up_to_limit(
    content_length: str | None,
) -> None:
    client = ASGIClient(b"a" * MEBIBYTE, b"b", b"never read")

    with pytest.raises(BodyTooLarge):
        await read_body(body_request(client, content_length=content_length), MEBIBYTE)

    assert client.pieces_taken == 2


async def test_disconnect_during_body_raises() -> None:
    client = ASGIClient(b"half", b"the other half")
    client.disconnect()

    with pytest.raises(ClientDisconnect):
        await read_body(body_request(client), MEBIBYTE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"query": "{ viewer { id } }", "variables": {"é": [1, -2.5, null, true]}}',
            {"query": "{ viewer { id } }", "variables": {"é": [1, -2.5, None, True]}},
        ),
        *(
            (json.dumps({"a": value}), {"a": value})
            for value in (0, 2**63, -(2**63), 2**64 - 1, 1234567890123456789, 1.5e300, -1e19)
        ),
        (f'{{"a": "{"9" * 5000}"}}', {"a": "9" * 5000}),
        (f'{{"a": "{"[{" * (MAX_BODY_DEPTH + 1)}"}}', {"a": "[{" * (MAX_BODY_DEPTH + 1)}),
        (f'{{"a": [{",".join(["[]"] * 100_000)}]}}', {"a": [[]] * 100_000}),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_json_object_is_parsed_exactly(text: str, expected: dict[str, object]) -> None:
    assert read_json_object(text.encode()) == expected


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
    assert expect_error(InvalidJson, read_json_object, body).message == message


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
        b'{"a": 1} x',
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_malformed_json_is_refused(body: bytes) -> None:
    message = expect_error(InvalidJson, read_json_object, body).message
    assert re.fullmatch(r"The body is not JSON: .+ at line \d+, column \d+\.", message)


def test_malformed_json_error_has_position() -> None:
    error = expect_error(InvalidJson, read_json_object, b'{"a":\n tru}')
    assert error.message.endswith(" at line 2, column 2.")


@pytest.mark.parametrize("nested", [(b'{"a":', b"}"), (b'{"a":[', b"]}")])
def test_nesting_is_limited(nested: tuple[bytes, bytes]) -> None:
    opening, closing = nested
    levels = MAX_BODY_DEPTH // len(closing)
    deepest = opening * levels + b"1" + closing * levels

    assert list(read_json_object(deepest)) == ["a"]
    error = expect_error(InvalidJson, read_json_object, b'{"a":' + deepest + b"}")
    assert error.message == "The body is nested deeper than 100 levels."


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"application/json;",
        b"Application/JSON",
        b'Application/JSON;Charset="UTF-8"',
        b'application/json; charset="UTF-8"',
        b"application/json; charset=utf8; profile=x",
    ],
)
def test_json_content_type_is_accepted(content_type: bytes) -> None:
    require_json(make_request(http_scope("POST", headers=[(b"content-type", content_type)])))


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b";",
        b"text/plain",
        b"application/graphql",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/graphql-response+json",
        b"application/json; charset=latin-1",
        b"application/json; charset=utf-16",
        b"application/jsonl",
        b"=; charset*=utf-8''utf-8",
    ],
)
def test_other_content_type_is_refused(content_type: bytes | None) -> None:
    headers = [] if content_type is None else [(b"content-type", content_type)]
    request = make_request(http_scope("POST", headers=headers))

    error = expect_error(UnsupportedMediaType, require_json, request)
    assert error.message == "Send the request as application/json in UTF-8."
