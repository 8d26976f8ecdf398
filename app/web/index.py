"""The root path: a redirect for browsers, and an index of the API for other clients."""

from collections.abc import Callable

from starlette.responses import JSONResponse, PlainTextResponse, Response

from app import __version__
from app.http.headers import json_weight, parse_accept
from app.http.paths import (
    DOCS_PATH,
    GRAPHQL_PATH,
    LIVENESS_PATH,
    METRICS_PATH,
    READINESS_PATH,
    REST_PATH,
)
from app.http.request import HttpRequest
from app.http.routing import Route

_INDEX_LINKS = {
    "graphql": GRAPHQL_PATH,
    "rest": REST_PATH,
    "docs": DOCS_PATH,
    "livez": LIVENESS_PATH,
    "readyz": READINESS_PATH,
    "metrics": METRICS_PATH,
}
"""Links of the index: name → path below ROOT_PATH."""

_INDEX_HEADERS = {"Vary": "Accept", "Cache-Control": "no-cache"}


def index_route(page_path: Callable[[], str]) -> Route:
    """Route of `/` for GET and HEAD, without an API key.

    Browsers are redirected to the path that `page_path` returns.
    """

    async def index(request: HttpRequest) -> Response:
        root_path = request.root_path
        if _prefers_html(request.combined_header(b"accept")):
            location = root_path + page_path()
            headers = {**_INDEX_HEADERS, "Location": location}
            return PlainTextResponse(f"See {location}\n", 302, headers=headers)
        links = {name: root_path + path for name, path in _INDEX_LINKS.items()}
        content = {"name": "post-results", "version": __version__, "links": links}
        return JSONResponse(content, headers=_INDEX_HEADERS)

    return Route("/", {"GET": index})


def _prefers_html(accept: str) -> bool:
    weights = parse_accept(accept)
    return weights.get("text/html", 0) > json_weight(weights)
