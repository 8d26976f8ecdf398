"""The GraphiQL page and its files, requested by an HTTP client."""

import asyncio
import gzip
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from app.db.core.database import Database
from app.http.routing import Router
from app.web.graphiql import GraphiQLPage
from app.web.static_files import STATIC_DIR
from tests.clients import UNLIMITED_SETTINGS, app_client
from tests.external_programs import ROOT
from tests.http.asgi import ASGIClient, CallRecorder, build_application, http_client, http_scope

BROWSER_HEADERS = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:;"
    " img-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
SCRIPT = b"console.log('graphiql')"
DEMO_KEY = "pe_live_" + "d" * 32


@pytest.fixture
def build_directory(tmp_path: Path) -> Path:
    """A small build."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (tmp_path / "index.html").write_text("<p data-prefix='$key_prefix' data-key='$demo_key'>")
    (assets / "main-1A.js").write_bytes(SCRIPT)
    (assets / "main-1A.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "main-1A.js.br").write_bytes(b"in Brotli")
    return tmp_path


def make_page(
    static_dir: Path, *, key_prefix: str = "", demo_key: str = "", trusted_only: bool = False
) -> GraphiQLPage:
    return GraphiQLPage(
        key_prefix=key_prefix, demo_key=demo_key, trusted_only=trusted_only, static_dir=static_dir
    )


@pytest.fixture
def recorder() -> CallRecorder:
    return CallRecorder()


@pytest.fixture
async def page_client(
    anyio_backend: str, build_directory: Path, recorder: CallRecorder
) -> AsyncIterator[httpx.AsyncClient]:
    graphiql = make_page(build_directory, key_prefix="<pe>")
    async with http_client(
        build_application(Router(graphiql.routes, "Not found."), recorder)
    ) as client:
        yield client


async def test_page_has_strict_security_headers(
    page_client: httpx.AsyncClient, recorder: CallRecorder
) -> None:
    response = await page_client.get("/graphiql")

    assert response.status_code == 200
    assert response.text == "<p data-prefix='&lt;pe&gt;' data-key=''>"
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["vary"] == "Accept"
    assert recorder.routes == [("graphiql", "/graphiql")]


async def test_page_supports_head(page_client: httpx.AsyncClient) -> None:
    response = await page_client.head("/graphiql")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "40"


@pytest.mark.parametrize(
    ("accept_encoding", "encoding", "length"),
    [
        ("gzip, deflate, br, zstd", "br", 9),
        ("BR;q=0.1, gzip", "br", 9),
        ("gzip", "gzip", len(gzip.compress(SCRIPT))),
        ("br;q=0, gzip;q=1.0", "gzip", len(gzip.compress(SCRIPT))),
        ("zstd", None, len(SCRIPT)),
        ("br;q=0", None, len(SCRIPT)),
        ("", None, len(SCRIPT)),
    ],
)
async def test_asset_is_served_in_accepted_encoding(
    page_client: httpx.AsyncClient, accept_encoding: str, encoding: str | None, length: int
) -> None:
    headers = {"Accept-Encoding": accept_encoding}
    response = await page_client.head("/graphiql/assets/main-1A.js", headers=headers)

    assert response.status_code == 200
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["content-length"] == str(length)
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["vary"] == "Accept-Encoding"


async def test_asset_is_cacheable_forever(
    page_client: httpx.AsyncClient, recorder: CallRecorder
) -> None:
    response = await page_client.get(
        "/graphiql/assets/main-1A.js", headers={"Accept-Encoding": "gzip"}
    )

    assert response.content == SCRIPT
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert recorder.routes == [("graphiql", "/graphiql/assets/{name}")]


async def test_asset_has_no_request_timeout(build_directory: Path) -> None:
    class SlowClient(ASGIClient):
        async def send(self, message: Message) -> None:
            await asyncio.sleep(0.3)
            await super().send(message)

    router = Router(make_page(build_directory).routes, "Not found.")
    app = build_application(router, timeout=timedelta(seconds=0.5))
    client = SlowClient()
    await app(http_scope(path="/graphiql/assets/main-1A.js"), client.receive, client.send)

    assert (client.status, client.body) == (200, SCRIPT)


@pytest.mark.parametrize(
    "name",
    ["main-1A.css", "main-1A.js.gz", "main-1A.js.br", "", "%2e%2e%2findex.html", "%00", "x" * 300],
)
async def test_other_names_are_not_found(page_client: httpx.AsyncClient, name: str) -> None:
    for encoding in ("identity", "gzip"):
        headers = {"Accept-Encoding": encoding}
        response = await page_client.get(f"/graphiql/assets/{name}", headers=headers)
        assert response.status_code == 404


async def test_outdated_asset_is_not_found_with_fix(page_client: httpx.AsyncClient) -> None:
    response = await page_client.get("/graphiql/assets/main-0Z.js")
    assert response.json() == {
        "code": "not_found",
        "message": "This file was not found: the page has changed. Reload the page.",
        "id": "00000001",
    }


async def test_newer_build_replaces_older_one(
    page_client: httpx.AsyncClient, build_directory: Path
) -> None:
    plain = {"Accept-Encoding": "identity"}
    assert (await page_client.get("/graphiql/assets/main-1A.js", headers=plain)).status_code == 200
    (build_directory / "assets" / "main-1A.js").rename(build_directory / "assets" / "main-2B.js")
    (build_directory / "index.html").write_text("Newer")

    assert (await page_client.get("/graphiql")).text == "Newer"
    assert (await page_client.get("/graphiql/assets/main-1A.js", headers=plain)).status_code == 404
    assert (await page_client.get("/graphiql/assets/main-2B.js", headers=plain)).content == SCRIPT


def test_page_is_utf_8_in_every_locale(build_directory: Path) -> None:
    (build_directory / "index.html").write_text("post-results · GraphQL", "utf-8")
    program = (
        "from pathlib import Path; from app.web.graphiql import GraphiQLPage;"
        "page = GraphiQLPage(key_prefix='', demo_key='', trusted_only=False, static_dir=Path('.')).render();"
        "import sys; sys.stdout.buffer.write(page.body)"
    )
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=build_directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **locale},
        capture_output=True,
        check=True,
    )
    assert process.stdout.decode("utf-8") == "post-results · GraphQL"


async def test_demo_key_is_embedded(build_directory: Path) -> None:
    graphiql = make_page(build_directory, key_prefix="pe_live_", demo_key=DEMO_KEY)
    assert graphiql.render().body == f"<p data-prefix='pe_live_' data-key='{DEMO_KEY}'>".encode()


async def get_page(page: GraphiQLPage) -> httpx.Response:
    app = build_application(Router(page.routes, "Not found."))
    async with http_client(app) as client:
        return await client.get("/graphiql")


async def test_page_is_not_found_with_trusted_documents(build_directory: Path) -> None:
    response = await get_page(make_page(build_directory, trusted_only=True))

    assert response.status_code == 404
    assert response.json() == {
        "code": "not_found",
        "message": "GraphiQL was not found: this server executes trusted documents only.",
        "id": "00000001",
    }


async def test_missing_build_is_503_with_fix(tmp_path: Path) -> None:
    response = await get_page(make_page(tmp_path))

    assert response.status_code == 503
    assert response.json()["message"] == (
        "GraphiQL has not been built. Run scripts/pages; the API works without it."
    )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("require_built_page")
class TestMountedInApp:
    async def test_graphql_path_serves_page_to_browsers(self, database: Database) -> None:
        async with app_client(database) as client:
            at_graphql = await client.get("/graphql", headers=BROWSER_HEADERS)
            at_own_path = await client.get("/graphiql")

        assert at_graphql.text == at_own_path.text
        assert at_graphql.headers["content-security-policy"] == POLICY

    async def test_every_built_asset_is_served(self, database: Database) -> None:
        names = [
            file.name
            for file in (STATIC_DIR / "assets").iterdir()
            if file.suffix not in (".br", ".gz")
        ]
        assert len(names) > 5
        async with app_client(database) as client:
            for name in names:
                response = await client.get(f"/graphiql/assets/{name}")
                assert response.status_code == 200
                assert response.headers["content-encoding"] == "gzip"
                assert response.content == (STATIC_DIR / "assets" / name).read_bytes()

    async def test_key_is_embedded_in_demo_only(self, database: Database) -> None:
        settings = replace(UNLIMITED_SETTINGS, demo_api_key=DEMO_KEY)
        for demo in (False, True):
            async with app_client(database, settings=replace(settings, demo=demo)) as client:
                assert (DEMO_KEY in (await client.get("/graphiql")).text) is demo
