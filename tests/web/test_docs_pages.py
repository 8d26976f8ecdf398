"""The documentation pages, as HTTP clients and browsers receive them."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import httpx
import pytest
from playwright.async_api import Browser

from app.db.core.database import Database
from app.http.routing import Router
from app.web.docs import DocsPages
from app.web.static_files import STATIC_DIR
from tests.clients import UNLIMITED_SETTINGS, app_client
from tests.guides import GUIDES
from tests.http.asgi import CallRecorder, build_application, http_client
from tests.servers import ServerProcess
from tests.web.page_session import open_page

PLACEHOLDER = "<!-- graphiql ../graphiql -->"
GUIDE_NAMES = sorted(file.stem for file in GUIDES.glob("*.md"))


@pytest.fixture
def static_dir(tmp_path: Path) -> Path:
    """A small build."""
    docs = tmp_path / "docs"
    (docs / "assets").mkdir(parents=True)
    (docs / "index.html").write_text("<h1>Documentation</h1>")
    (docs / "rest.html").write_text(f"<h1>REST $id</h1>{PLACEHOLDER}")
    (docs / "assets" / "docs-1A.css").write_text("p {}")
    return tmp_path


async def get(
    path: str, static_dir: Path, *, links_graphiql: bool = True
) -> tuple[httpx.Response, CallRecorder]:
    recorder = CallRecorder()
    pages = DocsPages(links_graphiql=links_graphiql, static_dir=static_dir)
    async with http_client(
        build_application(Router(pages.routes, "Not found."), recorder)
    ) as client:
        return await client.get(path, headers={"Accept-Encoding": "identity"}), recorder


async def test_index_has_the_headers_of_every_page(static_dir: Path) -> None:
    response, recorder = await get("/docs", static_dir)

    assert (response.status_code, response.text) == (200, "<h1>Documentation</h1>")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert "default-src 'none'; script-src 'self'" in response.headers["content-security-policy"]
    assert recorder.routes == [("docs", "/docs")]


@pytest.mark.parametrize(
    ("links_graphiql", "link"), [(True, '<a href="../graphiql">GraphiQL</a>'), (False, "")]
)
async def test_guide_links_graphiql_only_where_it_is_served(
    static_dir: Path, links_graphiql: bool, link: str
) -> None:
    response, _ = await get("/docs/rest", static_dir, links_graphiql=links_graphiql)

    assert (response.status_code, response.text) == (200, f"<h1>REST $id</h1>{link}")


async def test_assets_are_cached_forever(static_dir: Path) -> None:
    response, _ = await get("/docs/assets/docs-1A.css", static_dir)

    assert (response.status_code, response.text) == (200, "p {}")
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path", ["/docs/index", "/docs/nope", "/docs/REST", "/docs/rest.html", "/docs/" + 251 * "a"]
)
async def test_unknown_guide_is_not_found(static_dir: Path, path: str) -> None:
    response, _ = await get(path, static_dir)

    assert response.status_code == 404
    assert response.json()["message"] == "This guide was not found. See /docs."


async def test_pages_that_are_not_built_are_unavailable(tmp_path: Path) -> None:
    response, _ = await get("/docs", tmp_path)

    assert response.status_code == 503
    assert response.json()["message"] == (
        "The documentation pages have not been built. Run scripts/pages, or read app/docs."
    )


class Links(HTMLParser):
    """Targets and ids of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.targets.extend(value for name in ("href", "src") if (value := values.get(name)))
        if identifier := values.get("id"):
            self.ids.add(identifier)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("require_built_page")
async def test_every_link_between_built_pages_resolves(
    database: Database,
) -> None:
    pages: dict[str, Links] = {}
    async with app_client(database) as client:
        pending = ["/docs"]
        while pending:
            path = pending.pop()
            if path in pages:
                continue
            response = await client.get(path)
            assert response.status_code == 200, path
            is_guide = path.startswith("/docs") and "/assets/" not in path
            pages[path] = Links(response.text if is_guide else "")
            pending += [
                urldefrag(urljoin(path, target)).url
                for target in pages[path].targets
                if not target.startswith(("data:", "http:", "https:"))
            ]

    assert sorted(
        path.removeprefix("/docs/") for path in pages if "/assets/" not in path
    ) == sorted(["/docs", "/graphiql", *GUIDE_NAMES])
    for path, page in pages.items():
        for target in page.targets:
            url, fragment = urldefrag(urljoin(path, target))
            if fragment and url in pages:
                assert fragment in pages[url].ids, f"{path} links to {target}"


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("require_built_page")
async def test_trusted_documents_leave_the_docs_without_a_graphiql_link(
    database: Database, tmp_path: Path
) -> None:
    manifest = tmp_path / "documents.json"
    manifest.write_text('{"abc": "query Q { __typename }"}')
    settings = replace(UNLIMITED_SETTINGS, trusted_documents=(manifest,))
    async with app_client(database, settings=settings) as client:
        response = await client.get("/docs/graphql")

    assert response.status_code == 200
    assert "/graphiql" not in Links(response.text).targets


@pytest.mark.usefixtures("require_built_page")
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
async def test_browser_shows_every_guide_without_policy_violations(
    browser: Browser, demo_server: ServerProcess, color_scheme: str
) -> None:
    async with open_page(browser, f"{demo_server.url}/docs", color_scheme=color_scheme) as session:
        for name in GUIDE_NAMES:
            await session.page.goto(f"{demo_server.url}/docs/{name}")
            assert await session.page.locator("h1").count() == 1
            widths = "[document.documentElement.scrollWidth, window.innerWidth]"
            scroll_width, window_width = await session.page.evaluate(widths)
            assert scroll_width <= window_width
        background = "getComputedStyle(document.body).backgroundColor"
        is_dark = color_scheme == "dark"
        assert (await session.page.evaluate(background) == "rgb(20, 23, 28)") is is_dark


@pytest.mark.usefixtures("require_built_page")
def test_build_has_a_page_for_every_guide() -> None:
    pages = sorted(file.stem for file in (STATIC_DIR / "docs").glob("*.html"))
    assert pages == sorted(["index", *GUIDE_NAMES])
