"""The page of the board and its files, requested by an HTTP client."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from app.db.core.database import Database
from app.http.routing import Router
from app.web.board import BoardPage
from tests.clients import UNLIMITED_SETTINGS, app_client
from tests.http.asgi import CallRecorder, build_application, http_client
from tests.rest.envelope import failure_error

SCRIPT = b"console.log('board')"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
DEMO_KEY = "pe_live_" + "d" * 32


@pytest.fixture
def static_dir(tmp_path: Path) -> Path:
    """A small build."""
    assets = tmp_path / "board" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "board" / "index.html").write_text("$root_path|$key_prefix|$demo_key", "utf-8")
    (assets / "main-1A.js").write_bytes(SCRIPT)
    (assets / "main-1A.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "main-1A.js.br").write_bytes(b"in Brotli")
    (assets / "icon-1A.svg").write_bytes(b"<svg/>")
    return tmp_path


@pytest.fixture
def recorder() -> CallRecorder:
    return CallRecorder()


@pytest.fixture
async def client(
    anyio_backend: str, static_dir: Path, recorder: CallRecorder
) -> AsyncIterator[httpx.AsyncClient]:
    page = BoardPage(key_prefix="<pe>", demo_key='"', static_dir=static_dir)
    app = build_application(Router(page.routes, "Not found."), recorder)
    async with http_client(app) as http:
        yield http


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/board", "/board"),
        ("/board/", "/board/{view:path}"),
        ("/board/results?status=FAILED", "/board/{view:path}"),
        ("/board/w/acme/posts/1/a", "/board/{view:path}"),
        ("/board/%2e%2e/%00//", "/board/{view:path}"),
    ],
)
async def test_every_path_of_the_board_is_the_same_page(
    client: httpx.AsyncClient, recorder: CallRecorder, path: str, route: str
) -> None:
    response = await client.get(path)

    assert (response.status_code, response.text) == (200, "|&lt;pe&gt;|&quot;")
    assert recorder.routes == [("board", route)]


@pytest.mark.parametrize("path", ["/board", "/board/assets/main-1A.js"])
async def test_responses_have_strict_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers

    assert headers["content-security-policy"] == POLICY
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    features = [feature.split("=") for feature in headers["permissions-policy"].split(", ")]
    assert {allowed for _, allowed in features} == {"()"}
    assert {"camera", "geolocation", "microphone", "payment"} < {name for name, _ in features}


async def test_page_is_revalidated_and_supports_head(client: httpx.AsyncClient) -> None:
    response = await client.head("/board/posts/1")

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "18"
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("cookie", "theme"),
    [
        ("", "system"),
        ("a=b; post-results-board-theme=dark", "dark"),
        ("post-results-board-theme=light; post-results-board-theme=dark", "light"),
        ('post-results-board-theme="><script>', "system"),
        ("post-results-board-theme", "system"),
    ],
)
async def test_page_has_the_stored_theme(
    client: httpx.AsyncClient, static_dir: Path, cookie: str, theme: str
) -> None:
    (static_dir / "board" / "index.html").write_text("$theme", "utf-8")
    page = await client.get("/board/results", headers={"Cookie": cookie})
    assert page.text == theme


@pytest.mark.parametrize(
    ("accept_encoding", "encoding", "length"),
    [
        ("gzip, deflate, br, zstd", "br", 9),
        ("gzip", "gzip", len(gzip.compress(SCRIPT))),
        ("", None, len(SCRIPT)),
    ],
)
async def test_asset_is_compressed_and_cacheable(
    client: httpx.AsyncClient,
    recorder: CallRecorder,
    accept_encoding: str,
    encoding: str | None,
    length: int,
) -> None:
    response = await client.head(
        "/board/assets/main-1A.js", headers={"Accept-Encoding": accept_encoding}
    )

    assert response.status_code == 200
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["content-length"] == str(length)
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert recorder.routes == [("board", "/board/assets/{name}")]


async def test_icon_is_svg(client: httpx.AsyncClient) -> None:
    headers = {"Accept-Encoding": "identity"}
    response = await client.get("/board/assets/icon-1A.svg", headers=headers)
    assert response.headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("name", ["main-0Z.js", "main-1A.js.br", "%00"])
async def test_unknown_asset_is_not_found_with_fix(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/board/assets/{name}")
    assert response.json() == {
        "code": "not_found",
        "message": "This file was not found: the page has changed. Reload the page.",
        "id": "00000001",
    }


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
class TestMountedInApp:
    @pytest.mark.parametrize("prefix", ["", "/social/results"])
    async def test_page_names_root_path(
        self, database: Database, static_dir: Path, prefix: str
    ) -> None:
        settings = replace(UNLIMITED_SETTINGS, root_path="/social/results")
        async with app_client(database, settings=settings, static_dir=static_dir) as client:
            page = await client.get(f"{prefix}/board/results")
            asset = await client.get(f"{prefix}/board/assets/main-1A.js")

        assert page.text == "/social/results|pe_live_|"
        assert asset.content == SCRIPT

    async def test_key_is_embedded_in_demo_only(self, database: Database, static_dir: Path) -> None:
        for demo, text in ((False, "|pe_live_|"), (True, f"|pe_live_|{DEMO_KEY}")):
            settings = replace(UNLIMITED_SETTINGS, demo=demo, demo_api_key=DEMO_KEY)
            async with app_client(database, settings=settings, static_dir=static_dir) as client:
                assert (await client.get("/board")).text == text

    async def test_page_supports_get_only_and_leaves_session_path_alone(
        self, database: Database, static_dir: Path
    ) -> None:
        async with app_client(database, static_dir=static_dir) as client:
            page = await client.request("POST", "/board/results")
            session = await client.get("/board/session")

        assert (page.status_code, page.headers["Allow"]) == (405, "GET, HEAD")
        assert (session.status_code, session.headers["Allow"]) == (405, "DELETE, POST")

    async def test_missing_build_is_503_with_fix(self, database: Database, tmp_path: Path) -> None:
        async with app_client(database, static_dir=tmp_path) as client:
            page = await client.get("/board/results")
            probe = await client.get("/livez")

        assert failure_error(page, 503)["message"] == (
            "The board has not been built. Run scripts/pages; the API works without it."
        )
        assert probe.status_code == 200

    async def test_disabled_board_has_no_page(self, database: Database, static_dir: Path) -> None:
        settings = replace(UNLIMITED_SETTINGS, board=False)
        async with app_client(database, settings=settings, static_dir=static_dir) as client:
            for path in ("/board", "/board/", "/board/results", "/board/assets/main-1A.js"):
                assert failure_error(await client.get(path), 404)["code"] == "not_found"
