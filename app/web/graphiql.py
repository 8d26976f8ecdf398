"""The GraphiQL page."""

from pathlib import Path

from starlette.responses import Response

from app.domain.errors import NotFound
from app.http.paths import GRAPHIQL_PATH
from app.http.request import HttpRequest
from app.http.routing import Route
from app.web.static_files import SECURITY_HEADERS, asset_response, template_response


class GraphiQLPage:
    """Serves GraphiQL, which asks its user for an API key.

    `demo_key` is filled in for every visitor; it is empty on a server without demo data. A server that
    executes trusted documents only does not serve the page.
    """

    def __init__(
        self, *, key_prefix: str, demo_key: str, trusted_only: bool, static_dir: Path
    ) -> None:
        self._attributes = {"key_prefix": key_prefix, "demo_key": demo_key}
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
        return template_response(
            self._static_dir / "index.html", self._attributes, SECURITY_HEADERS, name="GraphiQL"
        )

    async def _serve_page(self, request: HttpRequest) -> Response:
        request.api = "graphiql"
        return self.render()

    async def _serve_asset(self, request: HttpRequest) -> Response:
        request.api = "graphiql"
        return asset_response(self._static_dir / "assets", request, SECURITY_HEADERS)
