"""Requests that a session cookie authenticates, and the origin of the server, without any database."""

from typing import Any

import pytest

from app.http.request import FROM_TRUSTED_PROXY
from app.http.session_cookies import SessionCookies, origin_of

NAME = "post-results-fvcqplwi"
TOKEN = "0123456789abcdef"
OWN = {
    b"host": b"test",
    b"origin": b"http://test",
    b"cookie": f"a=b; {NAME}={TOKEN}; c=d".encode(),
}
"""Headers of a request from a page of the board."""


def signing_key() -> bytes:
    return bytes(32)


COOKIES = SessionCookies(None, signing_key, None)


def scope(scheme: str = "http", **state: object) -> dict[str, Any]:
    return {"type": "http", "scheme": scheme, "state": state}


def without(name: bytes) -> dict[bytes, bytes]:
    return {key: value for key, value in OWN.items() if key != name}


def test_session_counts_with_the_own_origin() -> None:
    assert COOKIES.read(scope(), OWN) == TOKEN


@pytest.mark.parametrize(
    "headers",
    [
        without(b"cookie"),
        without(b"origin"),
        OWN | {b"origin": b"http://other.example"},
        OWN | {b"origin": b"https://test"},
        OWN | {b"origin": b"http://test:81"},
        OWN | {b"origin": b"http://test.example"},
        OWN | {b"origin": b"null"},
        OWN | {b"authorization": b"Bearer pe_live_" + b"0" * 32},
        OWN | {b"authorization": b"Basic dXNlcg=="},
        OWN | {b"authorization": b""},
        OWN | {b"cookie": f"other{NAME}={TOKEN}".encode()},
        OWN | {b"cookie": f"{NAME}x={TOKEN}".encode()},
        OWN | {b"cookie": f"post-results-00000000={TOKEN}".encode()},
        OWN | {b"cookie": f"__Host-{NAME}={TOKEN}".encode()},
        OWN | {b"x-forwarded-host": b"other.example", b"origin": b"http://other.example"},
    ],
)
def test_session_counts_for_nothing_else(headers: dict[bytes, bytes]) -> None:
    assert COOKIES.read(scope(), headers) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (without(b"origin"), TOKEN),
        (OWN, TOKEN),
        (without(b"origin") | {b"sec-fetch-site": b"same-origin"}, TOKEN),
        (without(b"origin") | {b"sec-fetch-site": b"same-site"}, None),
        (without(b"origin") | {b"sec-fetch-site": b"cross-site"}, None),
        (without(b"origin") | {b"sec-fetch-site": b"none"}, None),
        (OWN | {b"origin": b"http://other.example"}, None),
        (without(b"origin") | {b"authorization": b"Bearer x"}, None),
        (without(b"cookie"), None),
    ],
)
def test_download_needs_no_origin_but_never_another_one(
    headers: dict[bytes, bytes], expected: str | None
) -> None:
    assert COOKIES.read_download(scope(), headers) == expected


@pytest.mark.parametrize(
    ("scheme", "state", "headers", "expected"),
    [
        ("http", {}, {b"host": b"Test:8000"}, "http://test:8000"),
        ("https", {}, {b"host": b"test:443"}, "https://test"),
        ("ws", {}, {b"host": b"[::1]:80"}, "http://[::1]"),
        ("wss", {}, {b"host": b"test"}, "https://test"),
        ("http", {}, {}, "http://"),
        ("http", {}, {b"host": b"a", b"x-forwarded-host": b"b"}, "http://a"),
        (
            "https",
            {FROM_TRUSTED_PROXY: True},
            {b"host": b"a", b"x-forwarded-host": b"b.example, c"},
            "https://b.example",
        ),
        ("https", {FROM_TRUSTED_PROXY: True}, {b"host": b"a"}, "https://a"),
        (
            "https",
            {FROM_TRUSTED_PROXY: False},
            {b"host": b"a", b"x-forwarded-host": b"b"},
            "https://a",
        ),
    ],
)
def test_own_origin_is_that_of_the_request(
    scheme: str, state: dict[str, object], headers: dict[bytes, bytes], expected: str
) -> None:
    assert COOKIES.own_origin(scope(scheme, **state), headers) == expected


def test_public_url_replaces_the_origin_of_the_request() -> None:
    cookies = SessionCookies("https://Results.Example.com:443/board", signing_key, None)
    assert cookies.own_origin(scope(), {b"host": b"10.0.0.5:8000"}) == "https://results.example.com"
    headers = {b"origin": b"https://results.example.com", b"cookie": f"__Host-{NAME}=t".encode()}
    assert cookies.read(scope(), headers) == "t"
    assert cookies.read(scope(), OWN) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a:80", "http://a"),
        ("https://a:80/x/", "https://a:80"),
        ("https://a:443", "https://a"),
        ("http://a:443", "http://a:443"),
    ],
)
def test_origin_has_no_default_port(url: str, expected: str) -> None:
    assert origin_of(url) == expected


def test_deployments_on_one_host_have_different_cookies() -> None:
    other = SessionCookies(None, lambda: b"another deployment", None)
    assert other.read(scope(), OWN) is None
