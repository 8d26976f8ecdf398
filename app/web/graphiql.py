"""Serves the GraphiQL page and its files, with a strict Content-Security-Policy."""

from html import escape
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from app.domain.errors import NotFound, ServiceUnavailable
from app.http.request_headers import combined_header, parse_accept
from app.http.state import request_state

PAGE_PATH = "/graphiql"
STATIC_DIR = Path(__file__).parent / "static"
"""Output of the build: index.html, and assets, each also compressed as .br and .gz."""

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # the editor creates style elements
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
"""Content-Encoding → file suffix, in the order of the server's preference."""
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
}
"""Used instead of the system's table, which other programs may have changed."""


class GraphiQLPage:
    """The page; visitors enter their API key there.

    `demo_key` is embedded in the page for every visitor; empty without a demo. The page is not
    served if only trusted documents may run (`trusted_only`).
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
            Route(PAGE_PATH, self._serve_page),
            Route(f"{PAGE_PATH}/assets/{{name}}", self._serve_asset),
        ]

    def render(self) -> Response:
        """Return the page; raise NotFound with trusted documents, ServiceUnavailable if not built."""
        if self._trusted_only:
            raise NotFound("GraphiQL is not available: this server runs trusted documents only.")
        try:
            template = Template((self._static_dir / "index.html").read_text("utf-8"))
        except FileNotFoundError:
            raise ServiceUnavailable(
                "GraphiQL has not been built. Run scripts/pages; the API works without it."
            ) from None
        headers = {**_SECURITY_HEADERS, "Cache-Control": "no-cache", "Vary": "Accept"}
        return HTMLResponse(template.substitute(self._attributes), headers=headers)

    async def _serve_page(self, request: Request) -> Response:
        request_state(request.scope)["api"] = "graphiql"
        return self.render()

    async def _serve_asset(self, request: Request) -> Response:
        state = request_state(request.scope)
        state["api"] = "graphiql"
        name = request.path_params["name"]
        accepted = parse_accept(combined_header(request.scope, b"accept-encoding"))
        encoding = next((coding for coding in _ENCODINGS if accepted.get(coding, 0) > 0), None)
        files = {file.name: file for file in (self._static_dir / "assets").glob("*")}
        file = files.get(name + _ENCODINGS[encoding] if encoding else name)
        if file is None or name.endswith(tuple(_ENCODINGS.values())):
            raise NotFound("This file is not part of the current page. Reload the page.")
        # Large files may take longer than the request timeout on a slow connection.
        state["disable_timeout"]()
        headers = {
            **_SECURITY_HEADERS,
            "Cache-Control": _IMMUTABLE_CACHE,
            "Vary": "Accept-Encoding",
        }
        if encoding:
            headers["Content-Encoding"] = encoding
        media_type = _MEDIA_TYPES[Path(name).suffix]
        return FileResponse(file, headers=headers, media_type=media_type)
