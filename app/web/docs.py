"""The documentation pages, built from the Markdown guides in `app/docs`."""

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.errors import NotFound, ServiceUnavailable
from app.http.state import request_state
from app.web.assets import STATIC_DIR, asset_response, page_response

DOCS_PATH = "/docs"

_GUIDE_NAME = re.compile(r"[a-z]+")
_GRAPHIQL_PLACEHOLDER = re.compile(r"<!-- graphiql (\S+) -->")


class DocsPages:
    """Index page and one page per guide. `links_graphiql` adds a link to the GraphiQL page."""

    def __init__(self, *, links_graphiql: bool, static_dir: Path = STATIC_DIR) -> None:
        self._graphiql_link = r'<a href="\1">GraphiQL</a>' if links_graphiql else ""
        self._folder = static_dir / "docs"

    @property
    def routes(self) -> list[Route]:
        return [
            Route(DOCS_PATH, self._serve_index),
            Route(f"{DOCS_PATH}/{{guide}}", self._serve_guide),
            Route(f"{DOCS_PATH}/assets/{{name}}", self._serve_asset),
        ]

    async def _serve_index(self, request: Request) -> Response:
        return self._page(request, "index")

    async def _serve_guide(self, request: Request) -> Response:
        guide: str = request.path_params["guide"]
        if not _GUIDE_NAME.fullmatch(guide) or guide == "index":
            raise _guide_not_found(request)
        return self._page(request, guide)

    async def _serve_asset(self, request: Request) -> Response:
        request_state(request.scope)["api"] = "docs"
        return asset_response(self._folder / "assets", request)

    def _page(self, request: Request, name: str) -> Response:
        request_state(request.scope)["api"] = "docs"
        if not self._folder.is_dir():
            raise ServiceUnavailable(
                "The documentation pages have not been built. Run scripts/pages, or read app/docs."
            )
        try:
            html = (self._folder / f"{name}.html").read_text("utf-8")
        except FileNotFoundError:
            raise _guide_not_found(request) from None
        return page_response(_GRAPHIQL_PLACEHOLDER.sub(self._graphiql_link, html))


def _guide_not_found(request: Request) -> NotFound:
    return NotFound(
        f"This guide was not found. See {request.scope.get('root_path', '')}{DOCS_PATH}."
    )
