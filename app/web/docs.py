"""The documentation pages, built from `app/docs`."""

import re
from pathlib import Path

from starlette.responses import Response

from app.domain.errors import NotFound, ServiceUnavailable
from app.http.paths import DOCS_PATH
from app.http.request import HttpRequest
from app.http.routing import Route
from app.web.static_files import SECURITY_HEADERS, asset_response, page_response

_GUIDE_NAME = re.compile(r"[a-z-]{1,100}")
"""Names of guides; file systems refuse longer ones than 255 bytes with an error of their own."""

_GRAPHIQL_PLACEHOLDER = re.compile(r"<!-- graphiql (\S+) -->")


class DocsPages:
    """Serves an index page and one page per guide. `links_graphiql` adds a link to the GraphiQL page."""

    def __init__(self, *, links_graphiql: bool, static_dir: Path) -> None:
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
        return asset_response(self._folder / "assets", request, SECURITY_HEADERS)

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
        return page_response(_GRAPHIQL_PLACEHOLDER.sub(self._graphiql_link, html), SECURITY_HEADERS)


def _guide_not_found(request: HttpRequest) -> NotFound:
    return NotFound(f"This guide was not found. See {request.root_path}{DOCS_PATH}.")
