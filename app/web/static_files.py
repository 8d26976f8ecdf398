"""Files of the build: HTML pages, and assets with their compressed forms."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

from starlette.responses import FileResponse, HTMLResponse, Response

from app.domain.errors import NotFound, ServiceUnavailable
from app.http.headers import parse_accept
from app.http.request import HttpRequest

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
SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of the pages and assets of GraphiQL and the documentation."""

_IMMUTABLE_CACHE = "public, max-age=31536000, immutable"
_ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""Content codings and their file suffixes, the preferred one first."""
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
}
"""Media types by suffix; fixed, because other programs can change the table of the operating system."""


def template_response(
    file: Path, attributes: Mapping[str, str], security_headers: Mapping[str, str], *, name: str
) -> Response:
    """Build an HTML page from a template and the texts of its attributes.

    Raises ServiceUnavailable, with the name of the page, if it has not been built.
    """
    try:
        template = Template(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ServiceUnavailable(
            f"{name} has not been built. Run scripts/pages; the API works without it."
        ) from None
    escaped = {key: escape(value) for key, value in attributes.items()}
    return page_response(template.substitute(escaped), security_headers)


def page_response(html: str, security_headers: Mapping[str, str]) -> Response:
    """Build an HTML page. Browsers revalidate it, because it names assets of the current build."""
    headers = {**security_headers, "Cache-Control": "no-cache", "Vary": "Accept"}
    return HTMLResponse(html, headers=headers)


def asset_response(
    folder: Path, request: HttpRequest, security_headers: Mapping[str, str]
) -> Response:
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
    headers = {**security_headers, "Cache-Control": _IMMUTABLE_CACHE, "Vary": "Accept-Encoding"}
    if encoding:
        headers["Content-Encoding"] = encoding
    return FileResponse(file, headers=headers, media_type=_MEDIA_TYPES[Path(name).suffix])
