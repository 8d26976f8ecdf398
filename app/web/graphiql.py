"""Serving the page and its files, under a policy that lets a browser ask nobody but this server."""

from html import escape
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from app.domain.errors import NotFound, ServiceUnavailable
from app.http.preferences import parse_accept
from app.http.request_headers import combined_header
from app.http.state import request_state

PAGE_PATH = "/graphiql"
STATIC_DIR = Path(__file__).parent / "static"
"""What the build leaves behind: index.html, and each file of assets also as .br and .gz."""

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # the editor writes its measures into style elements
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
"""In the order of our preference."""
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
}
"""Not the system's table, in which any program may have changed them."""


class GraphiQLPage:
    """The page, for people who come with a browser; it asks for an API key itself.

    `demo_key` is put into the page for everybody to use; empty where there is no demo to show. Where
    `trusted_only` documents run, there is no page to write others.
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
        """The page; NotFound where it would be of no use, ServiceUnavailable if not built."""
        if self._trusted_only:
            raise NotFound(
                "This server runs trusted documents only, so it has no page to write others."
            )
        try:
            template = Template((self._static_dir / "index.html").read_text("utf-8"))
        except FileNotFoundError:
            raise ServiceUnavailable(
                "This page has not been built. Run scripts/pages; the API works without it."
            ) from None
        headers = {**_SECURITY_HEADERS, "Cache-Control": "no-cache", "Vary": "Accept"}
        return HTMLResponse(template.substitute(self._attributes), headers=headers)

    async def _serve_page(self, request: Request) -> Response:
        request_state(request.scope)["api"] = "explorer"
        return self.render()

    async def _serve_asset(self, request: Request) -> Response:
        state = request_state(request.scope)
        state["api"] = "explorer"
        name = request.path_params["name"]
        accepted = parse_accept(combined_header(request.scope, b"accept-encoding"))
        encoding = next((each for each in _ENCODINGS if accepted.get(each, 0) > 0), None)
        files = {file.name: file for file in (self._static_dir / "assets").glob("*")}
        file = files.get(name + _ENCODINGS[encoding] if encoding else name)
        if file is None or name.endswith(tuple(_ENCODINGS.values())):
            raise NotFound("This file is not part of the page any more; load the page again.")
        # Megabytes may take their time on a slow line.
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
