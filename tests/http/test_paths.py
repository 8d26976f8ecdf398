"""A path prefix: the app sees the same path whether or not the proxy strips it."""

import pytest

from app.http.paths import add_root_path
from tests.http.asgi import http_scope


@pytest.mark.parametrize("kind", ["http", "websocket"])
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
def test_every_path_gets_prefix_once(path: str, full_path: str, kind: str) -> None:
    original = {**http_scope(path=path), "type": kind}

    assert add_root_path(original, "/results") == {
        **original,
        "path": full_path,
        "root_path": "/results",
    }
    assert original["path"] == path


def test_lifespan_scope_is_passed_on() -> None:
    scope = {"type": "lifespan"}
    assert add_root_path(scope, "/results") is scope
