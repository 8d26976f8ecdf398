"""Serves the GraphiQL page and its assets."""

from html import escape
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.errors import NotFound, ServiceUnavailable
from app.http.state import request_state
from app.web.assets import STATIC_DIR, asset_response, page_response

PAGE_PATH = "/graphiql"


class GraphiQLPage:
    """GraphiQL page, which asks its user for an API key.

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
            Route(PAGE_PATH, self._serve_page),
            Route(f"{PAGE_PATH}/assets/{{name}}", self._serve_asset),
        ]

    def render(self) -> Response:
        """Return the page; raises NotFound if only trusted documents run, ServiceUnavailable if not built."""
        if self._trusted_only:
            raise NotFound("GraphiQL was not found: this server executes trusted documents only.")
        try:
            template = Template((self._static_dir / "index.html").read_text("utf-8"))
        except FileNotFoundError:
            raise ServiceUnavailable(
                "GraphiQL has not been built. Run scripts/pages; the API works without it."
            ) from None
        return page_response(template.substitute(self._attributes))

    async def _serve_page(self, request: Request) -> Response:
        request_state(request.scope)["api"] = "graphiql"
        return self.render()

    async def _serve_asset(self, request: Request) -> Response:
        request_state(request.scope)["api"] = "graphiql"
        return asset_response(self._static_dir / "assets", request)
