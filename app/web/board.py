"""The page of the board. Its data comes from the API; sign-in is in `sessions`."""

from collections.abc import Mapping
from pathlib import Path

from starlette.responses import Response

from app.http.headers import find_cookie
from app.http.paths import BOARD_PATH
from app.http.request import HttpRequest
from app.http.routing import Route
from app.web.static_files import SECURITY_HEADERS, asset_response, template_response

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_DENIED_FEATURES = (
    "accelerometer",
    "autoplay",
    "camera",
    "clipboard-read",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "gamepad",
    "geolocation",
    "gyroscope",
    "hid",
    "idle-detection",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "picture-in-picture",
    "publickey-credentials-create",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "storage-access",
    "usb",
    "xr-spatial-tracking",
)
"""Features to deny, as a Permissions-Policy has no wildcard; the page copies text, by clipboard-write."""

_SECURITY_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _DENIED_FEATURES),
    "X-Frame-Options": "DENY",
}


_THEME_COOKIE = "post-results-board-theme"
"""Cookie in which the page stores the theme that the user has chosen."""


def _theme(headers: Mapping[bytes, bytes]) -> str:
    """Return the stored theme, for the page to have it from its first paint without another request."""
    theme = find_cookie(headers, _THEME_COOKIE)
    return theme if theme in ("light", "dark") else "system"


def documents_file(static_dir: Path) -> Path:
    """Return the file with the GraphQL documents of the page: a JSON object of ids and texts."""
    return static_dir / "board" / "documents.json"


class BoardPage:
    """Serves one page for all paths of the board, whose script shows what belongs to the path."""

    def __init__(self, *, key_prefix: str, demo_key: str, static_dir: Path) -> None:
        """Create the page; `demo_key` is empty on a server without demo data."""
        self._attributes = {"key_prefix": key_prefix, "demo_key": demo_key}
        self._folder = static_dir / "board"

    @property
    def routes(self) -> list[Route]:
        """Routes of the page; those of other paths below `/board` must come first."""
        return [
            Route(f"{BOARD_PATH}/assets/{{name}}", {"GET": self._serve_asset}),
            Route(BOARD_PATH, {"GET": self._serve_page}),
            Route(f"{BOARD_PATH}/{{view:path}}", {"GET": self._serve_page}),
        ]

    @property
    def is_built(self) -> bool:
        return self._template_file.is_file()

    @property
    def _template_file(self) -> Path:
        return self._folder / "index.html"

    async def _serve_page(self, request: HttpRequest) -> Response:
        request.api = "board"
        attributes = {
            **self._attributes,
            "root_path": request.root_path,
            "theme": _theme(request.headers),
        }
        return template_response(
            self._template_file, attributes, _SECURITY_HEADERS, name="The board"
        )

    async def _serve_asset(self, request: HttpRequest) -> Response:
        request.api = "board"
        return asset_response(self._folder / "assets", request, _SECURITY_HEADERS)
