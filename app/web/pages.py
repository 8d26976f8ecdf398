"""Pages for browsers: the root path, GraphiQL, and the documentation built from `app/docs`."""

import re
from html import escape
from pathlib import Path
from string import Template

from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)

from app import __version__
from app.domain.errors import NotFound, ServiceUnavailable
from app.http.headers import json_weight, parse_accept
from app.http.paths import (
    DOCS_PATH,
    GRAPHIQL_PATH,
    GRAPHQL_PATH,
    LIVENESS_PATH,
    METRICS_PATH,
    READINESS_PATH,
    REST_PATH,
)
from app.http.request import HttpRequest
from app.http.routing import Route

STATIC_DIR = Path(__file__).parent / "static"
"""Output of the build: HTML files, and folders of assets in which each file also exists as .br and .gz."""

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Monaco, the editor, writes style elements
        "font-src 'self' data:",
        "img-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_IMMUTABLE_CACHE = "public, max-age=31536000, immutable"
_ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""Content codings and their file suffixes, the preferred one first."""
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
}
"""Media types by suffix; fixed, because other programs can change the table of the operating system."""

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
_GUIDE_NAME = re.compile(r"[a-z]+")
_GRAPHIQL_PLACEHOLDER = re.compile(r"<!-- graphiql (\S+) -->")


def index_route(page_path: str) -> Route:
    """Route of `/` for GET and HEAD, without an API key; browsers are redirected to `page_path`."""

    async def index(request: HttpRequest) -> Response:
        root_path = request.root_path
        if _prefers_html(request.combined_header(b"accept")):
            location = root_path + page_path
            headers = {**_INDEX_HEADERS, "Location": location}
            return PlainTextResponse(f"See {location}\n", 302, headers=headers)
        links = {name: root_path + path for name, path in _INDEX_LINKS.items()}
        content = {"name": "post-results", "version": __version__, "links": links}
        return JSONResponse(content, headers=_INDEX_HEADERS)

    return Route("/", {"GET": index})


class GraphiQLPage:
    """Serves GraphiQL, which asks its user for an API key.

    `demo_key` is filled in for every visitor; it is empty on a server without demo data. A server that
    executes trusted documents only does not serve the page.
    """

    def __init__(
        self, *, key_prefix: str, demo_key: str, trusted_only: bool, static_dir: Path = STATIC_DIR
    ) -> None:
        self._attributes = {"key_prefix": escape(key_prefix), "demo_key": escape(demo_key)}
        self._trusted_only = trusted_only
        self._static_dir = static_dir

    @property
    def routes(self) -> list[Route]:
        return [
            Route(GRAPHIQL_PATH, {"GET": self._serve_page}),
            Route(f"{GRAPHIQL_PATH}/assets/{{name}}", {"GET": self._serve_asset}),
        ]

    def render(self) -> Response:
        """The page; NotFound with trusted documents only, ServiceUnavailable before it is built."""
        if self._trusted_only:
            raise NotFound("GraphiQL was not found: this server executes trusted documents only.")
        try:
            template = Template((self._static_dir / "index.html").read_text("utf-8"))
        except FileNotFoundError:
            raise ServiceUnavailable(
                "GraphiQL has not been built. Run scripts/pages; the API works without it."
            ) from None
        return _page_response(template.substitute(self._attributes))

    async def _serve_page(self, request: HttpRequest) -> Response:
        request.api = "graphiql"
        return self.render()

    async def _serve_asset(self, request: HttpRequest) -> Response:
        request.api = "graphiql"
        return _asset_response(self._static_dir / "assets", request)


class DocsPages:
    """Serves an index page and one page per guide. `links_graphiql` adds a link to the GraphiQL page."""

    def __init__(self, *, links_graphiql: bool, static_dir: Path = STATIC_DIR) -> None:
        self._graphiql_link = r'<a href="\1">GraphiQL</a>' if links_graphiql else ""
        self._folder = static_dir / "docs"

    @property
    def routes(self) -> list[Route]:
        return [
            Route(DOCS_PATH, {"GET": self._serve_index}),
            Route(f"{DOCS_PATH}/{{guide}}", {"GET": self._serve_guide}),
            Route(f"{DOCS_PATH}/assets/{{name}}", {"GET": self._serve_asset}),
        ]

    async def _serve_index(self, request: HttpRequest) -> Response:
        return self._page(request, "index")

    async def _serve_guide(self, request: HttpRequest) -> Response:
        guide: str = request.path_parameters["guide"]
        if not _GUIDE_NAME.fullmatch(guide) or guide == "index":
            raise _guide_not_found(request)
        return self._page(request, guide)

    async def _serve_asset(self, request: HttpRequest) -> Response:
        request.api = "docs"
        return _asset_response(self._folder / "assets", request)

    def _page(self, request: HttpRequest, name: str) -> Response:
        request.api = "docs"
        if not self._folder.is_dir():
            raise ServiceUnavailable(
                "The documentation pages have not been built. Run scripts/pages, or read app/docs."
            )
        try:
            html = (self._folder / f"{name}.html").read_text("utf-8")
        except FileNotFoundError:
            raise _guide_not_found(request) from None
        return _page_response(_GRAPHIQL_PLACEHOLDER.sub(self._graphiql_link, html))


def _prefers_html(accept: str) -> bool:
    weights = parse_accept(accept)
    return weights.get("text/html", 0) > json_weight(weights)


def _guide_not_found(request: HttpRequest) -> NotFound:
    return NotFound(f"This guide was not found. See {request.root_path}{DOCS_PATH}.")


def _page_response(html: str) -> Response:
    """Build an HTML page. Browsers revalidate it, because it names assets of the current build."""
    headers = {**_SECURITY_HEADERS, "Cache-Control": "no-cache", "Vary": "Accept"}
    return HTMLResponse(html, headers=headers)


def _asset_response(folder: Path, request: HttpRequest) -> Response:
    """Return the asset named by the path parameter `name`, compressed if the client accepts that.

    Asset names contain a hash of the content, so browsers never revalidate them.
    """
    name: str = request.path_parameters["name"]
    accepted = parse_accept(request.combined_header(b"accept-encoding"))
    encoding = next((coding for coding in _ENCODINGS if accepted.get(coding, 0) > 0), None)
    files = {file.name: file for file in folder.glob("*")}
    file = files.get(name + _ENCODINGS[encoding] if encoding else name)
    if file is None or name.endswith(tuple(_ENCODINGS.values())):
        raise NotFound("This file was not found: the page has changed. Reload the page.")
    request.has_timeout = False  # megabytes take time on a slow connection
    headers = {**_SECURITY_HEADERS, "Cache-Control": _IMMUTABLE_CACHE, "Vary": "Accept-Encoding"}
    if encoding:
        headers["Content-Encoding"] = encoding
    return FileResponse(file, headers=headers, media_type=_MEDIA_TYPES[Path(name).suffix])
