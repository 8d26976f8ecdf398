"""Headers of trusted proxies: dropped from the requests of all other clients, and read."""

from typing import Any

import pytest

from app.domain.sessions import ProxyIdentity
from app.http.proxy_headers import ProxyHeaders
from app.http.request import FROM_TRUSTED_PROXY

HEADERS = ProxyHeaders("X-Forwarded-User", "X-Forwarded-Groups")
USER, GROUPS = (b"x-forwarded-user", b"jane"), (b"x-forwarded-groups", b"a, b")
HOST = (b"host", b"test")


def scope_of(kind: str, headers: list[tuple[bytes, bytes]], **state: object) -> dict[str, Any]:
    return {"type": kind, "path": "/", "headers": headers, "state": state}


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("state", [{}, {FROM_TRUSTED_PROXY: False}])
def test_headers_of_other_clients_are_dropped(kind: str, state: dict[str, object]) -> None:
    scope = scope_of(kind, [USER, HOST, GROUPS, USER], **state)
    assert HEADERS.drop_untrusted(scope) == scope_of(kind, [HOST], **state)
    del scope["state"]
    assert HEADERS.drop_untrusted(scope)["headers"] == [HOST]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_headers_of_trusted_proxies_are_left(kind: str) -> None:
    scope = scope_of(kind, [USER, HOST, GROUPS], **{FROM_TRUSTED_PROXY: True})
    assert HEADERS.drop_untrusted(scope) is scope


def test_lifespan_has_no_headers() -> None:
    scope = {"type": "lifespan"}
    assert HEADERS.drop_untrusted(scope) is scope


def test_only_the_header_of_the_user_is_dropped_without_groups() -> None:
    headers = ProxyHeaders("X-Forwarded-User", None)
    assert headers.drop_untrusted(scope_of("http", [USER, GROUPS]))["headers"] == [GROUPS]
    assert headers.read(scope_of("http", [USER, GROUPS])) == ProxyIdentity((b"jane",), ())


@pytest.mark.parametrize(
    ("headers", "identity"),
    [
        ([USER, HOST, GROUPS], ProxyIdentity((b"jane",), (b"a, b",))),
        ([USER, USER, GROUPS, GROUPS], ProxyIdentity((b"jane",) * 2, (b"a, b",) * 2)),
        ([(USER[0], b""), USER], ProxyIdentity((b"", b"jane"), ())),
        ([(USER[0], b""), GROUPS], None),
        ([GROUPS], None),
    ],
)
def test_every_value_is_read_if_a_user_is_named(
    headers: list[tuple[bytes, bytes]], identity: ProxyIdentity | None
) -> None:
    assert HEADERS.read(scope_of("http", headers)) == identity
