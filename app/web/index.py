"""The root path `/`: redirects browsers to a page, and gives other clients an index of the API."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app import __version__
from app.http.request_headers import combined_header, parse_accept

API_PATHS = {
    "graphql": "/graphql",
    "rest": "/v1",
    "docs": "/docs",
    "livez": "/livez",
    "readyz": "/readyz",
    "metrics": "/metrics",
}
"""Links of the index by name, each a path below ROOT_PATH."""

_JSON_MEDIA_RANGES = ("application/json", "application/*", "*/*")
_HEADERS = {"Vary": "Accept", "Cache-Control": "no-cache"}


def index_route(page_path: str) -> Route:
    """Create the route of `/` for GET and HEAD, without an API key; redirects browsers to `page_path`."""

    async def index(request: Request) -> Response:
        root_path = request.scope.get("root_path", "")
        if _prefers_html(combined_header(request.scope, b"accept")):
            location = root_path + page_path
            headers = {**_HEADERS, "Location": location}
            return PlainTextResponse(f"See {location}\n", 302, headers=headers)
        links = {name: root_path + path for name, path in API_PATHS.items()}
        content = {"name": "post-results", "version": __version__, "links": links}
        return JSONResponse(content, headers=_HEADERS)

    return Route("/", index)


def _prefers_html(accept: str) -> bool:
    weights = parse_accept(accept)
    json_weight = next((weights[name] for name in _JSON_MEDIA_RANGES if name in weights), 0)
    return weights.get("text/html", 0) > json_weight
