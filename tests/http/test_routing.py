"""Routes: paths, parameters, methods, and the errors of unknown ones."""

import pytest

from app.domain.errors import MethodNotAllowed, NotFound
from app.http.application import Handler
from app.http.request import HttpRequest
from app.http.responses import BytesResponse
from app.http.routing import ANY_METHOD, Route, Router
from tests.http.asgi import http_scope, make_request

Call = tuple[str, str | None, dict[str, str]]
"""Name of the handler that was called, and route and path parameters of the request."""


def make_router(calls: list[Call]) -> Router:
    """Create a router whose handlers append to `calls`."""

    def handler(name: str) -> Handler:
        async def handle(request: HttpRequest) -> BytesResponse:
            calls.append((name, request.route, dict(request.path_parameters)))
            return BytesResponse(name.encode(), 200, ())

        return handle

    return Router(
        [
            Route("/", {"GET": handler("index")}),
            Route("/any", {ANY_METHOD: handler("any")}),
            Route("/posts/bulk", {"POST": handler("bulk")}),
            Route("/posts/{post_id}", {"GET": handler("read"), "DELETE": handler("delete")}),
            Route("/posts/{post_id}/files/{name}.txt", {"PUT": handler("file")}),
            Route("/posts", {"GET": handler("list"), "POST": handler("create")}),
            Route("/views/{user}/{view:path}", {"GET": handler("view")}),
        ],
        "Not here; GraphQL is at {root}/graphql.",
    )


async def send(method: str, path: str, root_path: str = "") -> Call:
    """Run the router and return the one call of a handler."""
    calls: list[Call] = []
    scope = {**http_scope(method, path), "root_path": root_path}
    response = await make_router(calls)(make_request(scope))
    ((name, *_),) = calls
    assert response == BytesResponse(name.encode(), 200, ())
    return calls[0]


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("GET", "/", ("index", "/", {})),
        ("GET", "/posts", ("list", "/posts", {})),
        ("HEAD", "/posts", ("list", "/posts", {})),
        ("POST", "/posts", ("create", "/posts", {})),
        ("POST", "/posts/bulk", ("bulk", "/posts/bulk", {})),
        ("GET", "/posts/17", ("read", "/posts/{post_id}", {"post_id": "17"})),
        ("DELETE", "/posts/é \n", ("delete", "/posts/{post_id}", {"post_id": "é \n"})),
        (
            "PUT",
            "/posts/17/files/a.b.txt",
            (
                "file",
                "/posts/{post_id}/files/{name}.txt",
                {"post_id": "17", "name": "a.b"},
            ),
        ),
        *(
            (
                "GET",
                f"/views/17/{view}",
                ("view", "/views/{user}/{view:path}", {"user": "17", "view": view}),
            )
            for view in ("", "a", "a/b//c/", "\n")
        ),
        ("GET", "/any", ("any", "/any", {})),
        ("BREW", "/any", ("any", "/any", {})),
    ],
)
async def test_first_route_of_the_path_gets_the_request(method: str, path: str, call: Call) -> None:
    assert await send(method, path) == call
    assert await send(method, f"/results{path}", root_path="/results") == call


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//",
        "/post",
        "/Posts",
        "/posts/",
        "/posts/17/",
        "/posts/17/files/a-txt",
        "/posts\n",
        "/a/b",
        "/views/17",
        "/views//a",
    ],
)
async def test_unknown_path_is_not_found_and_has_no_route(path: str) -> None:
    request = make_request({**http_scope(path=f"/results{path}"), "root_path": "/results"})

    with pytest.raises(NotFound) as caught:
        await make_router([])(request)

    assert caught.value.message == "Not here; GraphQL is at /results/graphql."
    assert request.route is None


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET, HEAD"),
        ("get", "/posts", "GET, HEAD, POST"),
        ("OPTIONS", "/posts", "GET, HEAD, POST"),
        ("GET", "/posts/bulk", "POST"),
        ("HEAD", "/posts/bulk", "POST"),
        ("*", "/posts/17", "DELETE, GET, HEAD"),
    ],
)
async def test_unknown_method_is_refused_with_those_of_the_route(
    method: str, path: str, allowed: str
) -> None:
    request = make_request(http_scope(method, path))

    with pytest.raises(MethodNotAllowed) as caught:
        await make_router([])(request)

    assert caught.value.allowed == allowed
    assert caught.value.message == f"{method} is not possible here; use {allowed}."
    assert request.route is not None
