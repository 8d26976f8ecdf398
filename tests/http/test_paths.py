"""A path prefix: the app sees the same path whether or not the proxy strips it."""

import pytest
from starlette.types import Receive, Scope, Send

from app.http.middleware import RootPathMiddleware
from tests.http import asgi


async def scope_under(scope: Scope, root_path: str) -> Scope:
    """The scope that an app under this root path receives."""
    scopes: list[Scope] = []

    async def capture_scope(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    client = asgi.ASGIClient()
    await RootPathMiddleware(capture_scope, root_path=root_path)(scope, client.receive, client.send)
    return scopes[0]


@pytest.mark.parametrize(
    ("path", "full_path"),
    [
        ("/posts", "/results/posts"),
        ("/results/posts", "/results/posts"),
        ("/results", "/results/"),
        ("/resultsX", "/results/resultsX"),
        ("/", "/results/"),
    ],
)
async def test_every_path_gets_prefix_once(path: str, full_path: str) -> None:
    original = asgi.http_scope(path=path)
    for type_ in ("http", "websocket"):
        scope = await scope_under({**original, "type": type_}, "/results")
        assert scope == {**original, "type": type_, "path": full_path, "root_path": "/results"}


async def test_empty_prefix_changes_nothing() -> None:
    original = asgi.http_scope(path="/posts")
    assert await scope_under(original, "") == original


async def test_lifespan_scope_is_passed_on() -> None:
    assert await scope_under({"type": "lifespan"}, "/results") == {"type": "lifespan"}
