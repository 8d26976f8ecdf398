"""Reads a request body up to a size limit and parses it as one JSON object."""

import json
import re
from functools import lru_cache

import orjson
from starlette.requests import ClientDisconnect

from app.domain.errors import BodyTooLarge, InvalidJson, UnsupportedMediaType
from app.http.headers import parse_parameters
from app.http.request import HttpRequest

MAX_BODY_DEPTH = 100
"""Levels of nested objects and lists; deeper ones would exhaust the stack of recursive code."""

_DECIMAL = re.compile(rb"[0-9]{1,100}")
_DIGITS_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_DIGIT_RUN = b"0" * 19
_LONG_INTEGER = re.compile(r"-?[0-9]{19}", re.ASCII)
_MIN_INTEGER = -(2**63)
_MAX_INTEGER = 2**64 - 1
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def require_json(request: HttpRequest) -> None:
    """Raise UnsupportedMediaType unless Content-Type is JSON in UTF-8."""
    if not is_json(request):
        raise UnsupportedMediaType("Send the request as application/json in UTF-8.")


def is_json(request: HttpRequest) -> bool:
    """Return whether Content-Type is JSON in UTF-8."""
    return _is_json_type(request.headers.get(b"content-type", b""))


@lru_cache(maxsize=32)
def _is_json_type(content_type: bytes) -> bool:
    media_type, parameters = parse_parameters(content_type.decode("latin-1"))
    charset = parameters.get("charset", "utf-8").lower()
    return media_type == "application/json" and charset in ("utf-8", "utf8")


async def read_body(request: HttpRequest, limit: int) -> bytes:
    """Read the whole body.

    Raises BodyTooLarge as soon as more than `limit` bytes are announced or arrive, and
    UnsupportedMediaType for a compressed body, whose real size is unknown in advance.
    """
    headers = request.headers
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("Send the body uncompressed, without a Content-Encoding.")
    content_length = headers.get(b"content-length", b"")
    if _DECIMAL.fullmatch(content_length) and int(content_length) > limit:
        raise _body_too_large(limit)
    chunks: list[bytes] = []
    remaining, is_complete = limit, False
    while not is_complete:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        remaining -= len(chunks[-1])
        if remaining < 0:
            raise _body_too_large(limit)
        is_complete = not message.get("more_body", False)
    return b"".join(chunks)


def _body_too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the limit of {limit} bytes.")


def read_json_object(body: bytes) -> dict[str, object]:
    """Parse one JSON object; raise InvalidJson with the problem and its position.

    Integers of more than 64 bits are refused, because they would silently lose digits.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(_describe_json_error(body, error)) from None
    if not isinstance(document, dict):
        raise InvalidJson(f"The body must be a JSON object, not {_json_type_name(document)}.")
    # Cheap tests first: deep nesting needs many brackets, and a large number many digits.
    if body.count(b"{") + body.count(b"[") > MAX_BODY_DEPTH:
        _check_depth(document)
    if _LONG_DIGIT_RUN in body.translate(_DIGITS_TO_ZEROS):
        json.loads(body, parse_int=_check_integer)
    return document


def _describe_json_error(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "The body is empty; it must be a JSON object."
    if body.startswith(_BYTE_ORDER_MARKS):
        return "The body starts with a byte order mark; send JSON in UTF-8 without one."
    try:
        body.decode()
    except UnicodeDecodeError as problem:
        return f"The body is not UTF-8: invalid byte at offset {problem.start}."
    if _LONG_INTEGER.match(error.doc, error.pos):
        return _INTEGER_TOO_LARGE
    return f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."


_INTEGER_TOO_LARGE = "The body has an integer that does not fit into 64 bits."


def _json_type_name(document: object) -> str:
    match document:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "a number"


def _check_depth(document: dict[str, object]) -> None:
    # Level by level: recursion is what the limit protects against.
    level: list[object] = [document]
    for _ in range(MAX_BODY_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise InvalidJson(f"The body is nested deeper than {MAX_BODY_DEPTH} levels.")


def _children(node: object) -> list[object]:
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [value for value in values if isinstance(value, dict | list)]


def _check_integer(digits: str) -> None:
    if not _MIN_INTEGER <= int(digits) <= _MAX_INTEGER:
        raise InvalidJson(_INTEGER_TOO_LARGE)
