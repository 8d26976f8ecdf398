"""A path prefix, stripped by the proxy or not: what is behind sees the same in both cases."""

import pytest
from starlette.types import Receive, Scope, Send

from app.http.root_path import RootPathMiddleware
from tests.http import asgi


async def scope_under(scope: Scope, root_path: str) -> Scope:
    """The scope that an app under this root path is called with."""
    scopes: list[Scope] = []

    async def capture_scope(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    caller = asgi.ASGIClient()
    await RootPathMiddleware(capture_scope, root_path=root_path)(scope, caller.receive, caller.send)
    return scopes[0]


@pytest.mark.parametrize(
    ("path", "path_seen"),
    [
        ("/posts", "/results/posts"),
        ("/results/posts", "/results/posts"),
        ("/results", "/results"),
        ("/resultsX", "/results/resultsX"),
        ("/", "/results/"),
    ],
)
async def test_every_path_has_the_prefix_once(path: str, path_seen: str) -> None:
    asked = asgi.http_scope(path=path)
    for type_ in ("http", "websocket"):
        scope = await scope_under({**asked, "type": type_}, "/results")
        assert scope == {**asked, "type": type_, "path": path_seen, "root_path": "/results"}


async def test_without_a_prefix_nothing_changes() -> None:
    asked = asgi.http_scope(path="/posts")
    assert await scope_under(asked, "") == asked


async def test_what_has_no_path_is_passed_on() -> None:
    assert await scope_under({"type": "lifespan"}, "/results") == {"type": "lifespan"}
