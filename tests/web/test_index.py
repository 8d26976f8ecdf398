"""The root path: a redirect for browsers, and an index of the API for other clients."""

from dataclasses import replace
from pathlib import Path

import pytest

from app import __version__
from app.db.core.database import Database
from tests.clients import UNLIMITED_SETTINGS, app_client

BROWSER_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.mark.parametrize("root_path", ["", "/social/results"])
async def test_index_links_every_part_of_the_api(database: Database, root_path: str) -> None:
    settings = replace(UNLIMITED_SETTINGS, root_path=root_path)
    async with app_client(database, settings=settings) as client:
        response = await client.get(f"{root_path}/")

    assert response.status_code == 200
    assert response.headers["Vary"] == "Accept"
    assert response.json() == {
        "name": "post-results",
        "version": __version__,
        "links": {
            "graphql": f"{root_path}/graphql",
            "rest": f"{root_path}/v1",
            "docs": f"{root_path}/docs",
            "livez": f"{root_path}/livez",
            "readyz": f"{root_path}/readyz",
            "metrics": f"{root_path}/metrics",
        },
    }


@pytest.mark.parametrize(
    ("root_path", "path", "accept", "location"),
    [
        ("", "/", BROWSER_ACCEPT, "/graphiql"),
        ("", "/", "text/html", "/graphiql"),
        ("", "/", "application/json;q=0.5, text/html", "/graphiql"),
        ("", "/", "text/html;q=0", None),
        ("", "/", "text/html;q=0.5, application/json", None),
        ("", "/", "text/html, */*", None),
        ("", "/", "application/json", None),
        ("", "/", "*/*", None),
        ("", "/", "", None),
        ("/social/results", "/", BROWSER_ACCEPT, "/social/results/graphiql"),
        ("/social/results", "/social/results/", BROWSER_ACCEPT, "/social/results/graphiql"),
        ("/social/results", "/social/results", BROWSER_ACCEPT, "/social/results/graphiql"),
    ],
)
async def test_clients_that_prefer_html_are_redirected_below_the_root_path(
    database: Database,
    tmp_path: Path,
    root_path: str,
    path: str,
    accept: str,
    location: str | None,
) -> None:
    settings = replace(UNLIMITED_SETTINGS, root_path=root_path)
    async with app_client(database, settings=settings, static_dir=tmp_path) as client:
        response = await client.get(path, headers={"Accept": accept})

    assert response.status_code == (302 if location else 200)
    assert response.headers.get("Location") == location
    assert response.headers["Vary"] == "Accept"


async def test_browsers_are_redirected_to_docs_with_trusted_documents(
    database: Database, tmp_path: Path
) -> None:
    manifest = tmp_path / "documents.json"
    manifest.write_text('{"typename": "{ __typename }"}')
    settings = replace(UNLIMITED_SETTINGS, trusted_documents=(manifest,))
    async with app_client(database, settings=settings, static_dir=tmp_path) as client:
        response = await client.get("/", headers={"Accept": BROWSER_ACCEPT})

    assert (response.status_code, response.headers["Location"]) == (302, "/docs")


@pytest.mark.parametrize(("board", "location"), [(True, "/x/board"), (False, "/x/graphiql")])
async def test_browsers_are_redirected_to_the_board_once_it_is_built(
    database: Database, tmp_path: Path, board: bool, location: str
) -> None:
    settings = replace(UNLIMITED_SETTINGS, root_path="/x", board=board)
    async with app_client(database, settings=settings, static_dir=tmp_path) as client:
        before = await client.get("/", headers={"Accept": BROWSER_ACCEPT})
        (tmp_path / "board").mkdir()
        (tmp_path / "board" / "index.html").touch()
        after = await client.get("/", headers={"Accept": BROWSER_ACCEPT})

    assert (before.headers["Location"], after.headers["Location"]) == ("/x/graphiql", location)


async def test_only_get_and_head_are_allowed(database: Database) -> None:
    async with app_client(database) as client:
        head = await client.request("HEAD", "/")
        others = [await client.request(method, "/") for method in ("POST", "PUT", "DELETE")]

    assert (head.status_code, head.content) == (200, b"")
    assert {response.status_code for response in others} == {405}
    assert {response.headers["Allow"] for response in others} == {"GET, HEAD"}
