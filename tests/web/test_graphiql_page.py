"""The page and its files, as an HTTP client gets them."""

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
from starlette.routing import Router
from starlette.types import Message

from app.db.core.database import Database
from app.web.graphiql import STATIC_DIR, GraphiQLPage
from tests.clients import UNLIMITED_SETTINGS, app_client
from tests.external_programs import ROOT
from tests.http.asgi import ASGIClient, RecordingObserver, build_middleware, http_client, http_scope

BROWSER_HEADERS = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:;"
    " img-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
SCRIPT = b"console.log('explore')"
DEMO_KEY = "pe_live_" + "d" * 32


@pytest.fixture
def build_directory(tmp_path: Path) -> Path:
    """A build that is small enough to look at."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (tmp_path / "index.html").write_text("<p data-prefix='$key_prefix' data-key='$demo_key'>")
    (assets / "main-1A.js").write_bytes(SCRIPT)
    (assets / "main-1A.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "main-1A.js.br").write_bytes(b"in Brotli")
    return tmp_path


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def client(
    anyio_backend: str, build_directory: Path, observer: RecordingObserver
) -> AsyncIterator[httpx.AsyncClient]:
    explorer = GraphiQLPage(
        key_prefix="<pe>", demo_key="", trusted_only=False, static_dir=build_directory
    )
    async with http_client(build_middleware(Router(routes=explorer.routes), observer)) as client:
        yield client


async def test_the_page_lets_a_browser_ask_nobody_but_this_server(
    client: httpx.AsyncClient, observer: RecordingObserver
) -> None:
    response = await client.get("/graphiql")

    assert response.status_code == 200
    assert response.text == "<p data-prefix='&lt;pe&gt;' data-key=''>"
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["vary"] == "Accept"
    assert [(item.api, item.route) for item in observer.finished] == [("explorer", "/graphiql")]


async def test_the_page_can_be_asked_for_without_its_body(client: httpx.AsyncClient) -> None:
    response = await client.head("/graphiql")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "40"


@pytest.mark.parametrize(
    ("accepted", "encoding", "length"),
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
async def test_a_file_comes_as_its_reader_can_take_it(
    client: httpx.AsyncClient, accepted: str, encoding: str | None, length: int
) -> None:
    headers = {"Accept-Encoding": accepted}
    response = await client.head("/graphiql/assets/main-1A.js", headers=headers)

    assert response.status_code == 200
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["content-length"] == str(length)
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["vary"] == "Accept-Encoding"


async def test_a_file_may_be_kept_forever_for_its_name_changes_with_it(
    client: httpx.AsyncClient, observer: RecordingObserver
) -> None:
    response = await client.get("/graphiql/assets/main-1A.js", headers={"Accept-Encoding": "gzip"})

    assert response.content == SCRIPT
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert [(item.api, item.route) for item in observer.finished] == [
        ("explorer", "/graphiql/assets/{name}")
    ]


async def test_a_file_may_take_its_time_on_a_slow_line(build_directory: Path) -> None:
    class SlowClient(ASGIClient):
        async def send(self, message: Message) -> None:
            await asyncio.sleep(0.3)
            await super().send(message)

    explorer = GraphiQLPage(
        key_prefix="", demo_key="", trusted_only=False, static_dir=build_directory
    )
    timeout = timedelta(seconds=0.5)
    app = build_middleware(Router(routes=explorer.routes), RecordingObserver(), timeout=timeout)
    client = SlowClient()
    await app(http_scope(path="/graphiql/assets/main-1A.js"), client.receive, client.send)

    assert (client.status, client.body) == (200, SCRIPT)


@pytest.mark.parametrize(
    "name",
    ["main-1A.css", "main-1A.js.gz", "main-1A.js.br", "", "%2e%2e%2findex.html", "%00", "x" * 300],
)
async def test_nothing_else_can_be_had(client: httpx.AsyncClient, name: str) -> None:
    for accepted in ("identity", "gzip"):
        response = await client.get(
            f"/graphiql/assets/{name}", headers={"Accept-Encoding": accepted}
        )
        assert response.status_code == 404


async def test_a_file_of_an_older_build_says_what_to_do(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphiql/assets/main-0Z.js")
    assert response.json() == {
        "code": "not_found",
        "message": "This file is not part of the page any more; load the page again.",
        "id": "00000001",
    }


async def test_a_newer_build_takes_the_place_of_an_older_one(
    client: httpx.AsyncClient, build_directory: Path
) -> None:
    plain = {"Accept-Encoding": "identity"}
    assert (await client.get("/graphiql/assets/main-1A.js", headers=plain)).status_code == 200
    (build_directory / "assets" / "main-1A.js").rename(build_directory / "assets" / "main-2B.js")
    (build_directory / "index.html").write_text("Newer")

    assert (await client.get("/graphiql")).text == "Newer"
    assert (await client.get("/graphiql/assets/main-1A.js", headers=plain)).status_code == 404
    assert (await client.get("/graphiql/assets/main-2B.js", headers=plain)).content == SCRIPT


def test_the_page_is_utf_8_whatever_the_locale_is(build_directory: Path) -> None:
    (build_directory / "index.html").write_text("post-results · GraphQL", "utf-8")
    program = (
        "from pathlib import Path; from app.web.graphiql import GraphiQLPage;"
        "page = Explorer(key_prefix='', demo_key='', trusted_only=False, built=Path('.')).page();"
        "import sys; sys.stdout.buffer.write(page.body)"
    )
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=build_directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **locale},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode("utf-8") == "post-results · GraphQL"


async def test_a_demo_puts_its_key_into_the_page(build_directory: Path) -> None:
    explorer = GraphiQLPage(
        key_prefix="pe_live_", demo_key=DEMO_KEY, trusted_only=False, static_dir=build_directory
    )
    assert explorer.render().body == f"<p data-prefix='pe_live_' data-key='{DEMO_KEY}'>".encode()


async def test_where_only_trusted_documents_run_there_is_no_page_to_write_others(
    build_directory: Path,
) -> None:
    explorer = GraphiQLPage(
        key_prefix="pe_live_", demo_key="", trusted_only=True, static_dir=build_directory
    )
    async with http_client(
        build_middleware(Router(routes=explorer.routes), RecordingObserver())
    ) as client:
        response = await client.get("/graphiql")

    assert response.status_code == 404
    assert response.json() == {
        "code": "not_found",
        "message": "This server runs trusted documents only, so it has no page to write others.",
        "id": "00000001",
    }


# In the service.


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("require_built_page")
class TestMountedInApp:
    async def test_a_browser_gets_the_page_where_programs_post(self, database: Database) -> None:
        async with app_client(database) as client:
            at_graphql = await client.get("/graphql", headers=BROWSER_HEADERS)
            at_its_own = await client.get("/graphiql")

        assert at_graphql.text == at_its_own.text
        assert at_graphql.headers["content-security-policy"] == POLICY

    async def test_everything_that_was_built_can_be_had(self, database: Database) -> None:
        names = [item.name for item in (STATIC_DIR / "assets").iterdir() if item.suffix != ".br"]
        names = [name for name in names if not name.endswith(".gz")]
        assert len(names) > 5
        async with app_client(database) as client:
            for name in names:
                response = await client.get(f"/graphiql/assets/{name}")
                assert response.status_code == 200
                assert response.headers["content-encoding"] == "gzip"
                assert response.content == (STATIC_DIR / "assets" / name).read_bytes()

    async def test_only_a_demo_gives_its_key_away(self, database: Database) -> None:
        settings = replace(UNLIMITED_SETTINGS, demo_api_key=DEMO_KEY)
        for demo in (False, True):
            async with app_client(database, settings=replace(settings, demo=demo)) as client:
                assert (DEMO_KEY in (await client.get("/graphiql")).text) is demo


async def test_without_a_build_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    explorer = GraphiQLPage(
        key_prefix="pe_live_", demo_key="", trusted_only=False, static_dir=tmp_path
    )
    async with http_client(
        build_middleware(Router(routes=explorer.routes), RecordingObserver())
    ) as client:
        response = await client.get("/graphiql")

    assert response.status_code == 503
    assert response.json()["message"] == (
        "This page has not been built. Run scripts/pages; the API works without it."
    )
