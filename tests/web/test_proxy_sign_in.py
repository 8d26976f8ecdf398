"""Sign-in by a proxy: which requests its headers authenticate, and what the person may do."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from app.asgi import DEFAULT_CONNECTION_TIMEOUTS
from app.db.core.database import Database
from app.domain.ids import WorkspaceId
from app.graphql.service import ConnectionTimeouts
from app.http.request import FROM_TRUSTED_PROXY
from app.settings import read_settings
from tests.board_browser import Browser
from tests.clients import app_lifespan, client_for
from tests.factories import (
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    queued,
)
from tests.graphql.transport.websocket_client import WebSocketClient, connect
from tests.rest.envelope import failure_error

FILE = """
group_header = "X-Groups"
[users.jane]
workspace = "acme"
scopes = ["read", "write"]
[users.ben]
workspace = "beta"
scopes = ["read"]
[groups.support]
workspace = "acme"
scopes = ["read"]
"""
NO_RATE_LIMIT = MappingProxyType({"RATE_LIMIT": "off"})
NEEDS_KEY = "This request needs an API key: send 'Authorization: Bearer <key>'."
NO_ACCESS = (
    "ann has no access to this board: the file of BOARD_PROXY_USERS has neither this user nor a group of"
    " theirs."
)
PROXY_SIGNS_IN = (
    "The proxy in front of this server signs you in and out; the board cannot. Sign out there."
)
VIEWER = "{ viewer { scopes workspace { name } session { person expiresAt } } }"
CREATE_DRAFT = 'mutation { createPost(input: {content: "x", draft: true}) { post { id } } }'


def behind_proxy(app: ASGIApp) -> ASGIApp:
    """The app as the connections of a trusted proxy reach it."""

    async def call(scope: ASGIScope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {FROM_TRUSTED_PROXY: True}}, receive, send)

    return call


@pytest.fixture
async def workspaces(database: Database) -> dict[str, WorkspaceId]:
    """The workspaces of the file, by name."""
    return {name: await add_workspace(database, name=name) for name in ("acme", "beta")}


@asynccontextmanager
async def open_app(
    database: Database,
    folder: Path,
    settings: Mapping[str, str] = NO_RATE_LIMIT,
    connection_timeouts: ConnectionTimeouts = DEFAULT_CONNECTION_TIMEOUTS,
) -> AsyncIterator[ASGIApp]:
    """Open the app with the users of FILE."""
    file = folder / "users.toml"
    file.write_text(FILE)
    chosen = {
        "BOARD_PROXY_USER": "X-User",
        "BOARD_PROXY_USERS": str(file),
        "TRUSTED_PROXIES": "10.0.0.1",
        **settings,
    }
    async with app_lifespan(
        database, settings=read_settings(chosen), connection_timeouts=connection_timeouts
    ) as app:
        yield app


@pytest.fixture
async def app(
    database: Database,
    tmp_path: Path,
    workspaces: dict[str, WorkspaceId],
) -> AsyncIterator[ASGIApp]:
    async with open_app(database, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def open_browser(app: ASGIApp, **headers: str) -> AsyncIterator[Browser]:
    async with client_for(app, token=None) as client:
        browser = Browser(client)
        browser.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
        yield browser


@pytest.fixture
async def jane(app: ASGIApp) -> AsyncIterator[Browser]:
    """A browser of the user jane, behind the proxy."""
    async with open_browser(behind_proxy(app), X_User="jane") as browser:
        yield browser


async def test_viewer_is_the_person_in_the_workspace_of_the_file(jane: Browser) -> None:
    assert await jane.post_graphql(VIEWER) == {
        "data": {
            "viewer": {
                "scopes": ["READ", "WRITE"],
                "workspace": {"name": "acme"},
                "session": {"person": "jane", "expiresAt": None},
            }
        }
    }
    body = await jane.post_graphql("{ viewer { apiKey { name keyPrefix scopes } } }")
    assert body["data"]["viewer"]["apiKey"] == {
        "name": "single sign-on",
        "keyPrefix": "",
        "scopes": ["READ", "WRITE"],
    }


async def test_groups_apply_to_users_without_an_entry(app: ASGIApp) -> None:
    async with open_browser(behind_proxy(app), X_User="ann", X_Groups="x, support") as ann:
        viewer = (await ann.post_graphql(VIEWER))["data"]["viewer"]
        refused = await ann.post_graphql(CREATE_DRAFT)
    assert (viewer["scopes"], viewer["session"]["person"]) == (["READ"], "ann")
    assert refused["errors"][0]["extensions"]["code"] == "INSUFFICIENT_SCOPE"


async def test_changes_name_the_person(jane: Browser) -> None:
    assert "errors" not in await jane.post_graphql(CREATE_DRAFT)
    body = await jane.post_graphql("{ changes { nodes { actor { keyName person } } } }")
    assert body["data"]["changes"]["nodes"] == [
        {"actor": {"keyName": "single sign-on", "person": "jane"}}
    ]


async def test_repeated_mutation_of_a_person_has_one_effect(jane: Browser) -> None:
    text = CREATE_DRAFT.replace("draft: true", 'draft: true, idempotencyKey: "k-1"')
    first, second = [await jane.post_graphql(text) for _ in range(2)]
    assert "errors" not in first
    assert first == second


async def test_people_see_their_own_workspace_only(
    database: Database, workspaces: dict[str, WorkspaceId], app: ASGIApp
) -> None:
    for name, workspace in workspaces.items():
        account = await add_account(database, workspace)
        await add_post(database, workspace, {account: queued()}, content=f"of {name}")
    async with open_browser(behind_proxy(app), X_User="ben") as ben:
        body = await ben.post_graphql("{ posts { nodes { content } } }")
    assert body["data"]["posts"]["nodes"] == [{"content": "of beta"}]


async def test_unmapped_user_is_refused_even_with_a_cookie(
    database: Database, app: ASGIApp
) -> None:
    key = await add_api_key(database, await add_workspace(database))
    async with open_browser(behind_proxy(app)) as browser:
        await browser.sign_in(key.token)
        assert await browser.is_signed_in()
        browser.headers["X-User"] = "ann"
        response = await browser.request("POST", "/graphql", json={"query": VIEWER})
        export = await browser.request("GET", "/v1/destinations.csv")
    (error,) = response.json()["errors"]
    assert (response.status_code, error["message"]) == (403, NO_ACCESS)
    assert error["extensions"]["code"] == "USER_NOT_ALLOWED"
    assert failure_error(export, 403) == {
        "message": NO_ACCESS,
        "code": "user_not_allowed",
        "retryable": False,
        "details": None,
    }


# Which requests the header authenticates


async def status_of(browser: Browser, method: str, path: str, **options: Any) -> int:
    return (await browser.request(method, path, **options)).status_code


QUERY = {"query": "{ __typename }"}
OTHER = {"Origin": "http://other.example"}


async def test_header_counts_for_graphql_and_exports(jane: Browser) -> None:
    assert await status_of(jane, "POST", "/graphql", json=QUERY) == 200
    assert await status_of(jane, "GET", "/v1/destinations.csv") == 200


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/graphql?query={__typename}", {}),
        ("POST", "/graphql", {"json": QUERY, "headers": OTHER}),
        ("POST", "/graphql", {"json": QUERY, "headers": {"Origin": ""}}),
        ("POST", "/graphql", {"json": QUERY, "headers": {"Authorization": "Basic x"}}),
        ("POST", "/graphql", {"json": QUERY, "headers": {"Authorization": "Bearer x"}}),
        (
            "POST",
            "/graphql",
            {"content": '{"query": "{__typename}"}', "headers": {"Content-Type": "text/plain"}},
        ),
        ("GET", "/v1/me", {}),
        ("POST", "/v1/posts", {"json": {"content": "x"}}),
        ("GET", "/v1/destinations.csv", {"headers": OTHER}),
        ("GET", "/v1/destinations.csv", {"headers": {"Sec-Fetch-Site": "cross-site"}}),
        ("GET", "/v1/destinations.csv", {"headers": {"Authorization": "Bearer x"}}),
    ],
)
async def test_header_counts_for_no_other_request(
    jane: Browser, method: str, path: str, options: dict[str, Any]
) -> None:
    assert await status_of(jane, method, path, **options) == 401


async def test_key_beside_the_header_is_the_one_that_counts(
    database: Database, jane: Browser
) -> None:
    key = await add_api_key(database, await add_workspace(database), name="CI")
    headers = {"Authorization": f"Bearer {key.token}"}
    body = await jane.post_graphql(
        "{ viewer { apiKey { name } session { person } } }", headers=headers
    )
    assert body["data"]["viewer"] == {"apiKey": {"name": "CI"}, "session": None}


async def test_header_of_another_peer_is_ignored(database: Database, app: ASGIApp) -> None:
    key = await add_api_key(database, await add_workspace(database))
    async with open_browser(app, X_User="jane") as browser:
        body = await browser.post_graphql(VIEWER)
        assert [error["message"] for error in body["errors"]] == [NEEDS_KEY]
        assert await status_of(browser, "GET", "/v1/destinations.csv") == 401
        await browser.sign_in(key.token, person="Ann")
        body = await browser.post_graphql("{ viewer { session { person } } }")
        assert body["data"]["viewer"]["session"] == {"person": "Ann"}
        assert await status_of(browser, "DELETE", "/board/session") == 200


async def test_header_is_ignored_without_the_setting(database: Database) -> None:
    async with (
        app_lifespan(database) as app,
        open_browser(behind_proxy(app), X_User="jane") as browser,
    ):
        assert not await browser.is_signed_in()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_proxy_signs_in_and_out(database: Database, jane: Browser, method: str) -> None:
    key = await add_api_key(database, await add_workspace(database))
    options: dict[str, Any] = {"json": {"key": key.token}} if method == "POST" else {}
    response = await jane.request(method, "/board/session", **options)
    assert failure_error(response, 409)["message"] == PROXY_SIGNS_IN
    assert "Set-Cookie" not in response.headers


@pytest.mark.usefixtures("workspaces")
async def test_each_person_has_the_rate_limit_of_a_session(
    database: Database, tmp_path: Path
) -> None:
    limits = {"RATE_LIMIT": "1/minute", "BOARD_RATE_LIMIT": "2/minute"}
    async with (
        open_app(database, tmp_path, limits) as app,
        open_browser(behind_proxy(app), X_User="jane") as jane,
        open_browser(behind_proxy(app), X_User="ann", X_Groups="support") as ann,
    ):
        assert [await status_of(jane, "POST", "/graphql", json=QUERY) for _ in range(3)] == [
            200,
            200,
            429,
        ]
        assert await status_of(ann, "POST", "/graphql", json=QUERY) == 200


async def test_publishing_is_never_granted(database: Database, jane: Browser) -> None:
    claim = "mutation { claimDestinations(input: {}) { claims { leaseToken } } }"
    body = await jane.post_graphql(claim)
    assert body["errors"][0]["extensions"]["code"] == "INSUFFICIENT_SCOPE"


# WebSockets


@asynccontextmanager
async def open_socket(app: ASGIApp, **headers: str) -> AsyncIterator[WebSocketClient]:
    async with connect(app, headers={"host": "test", "origin": "http://test", **headers}) as socket:
        await socket.wait_accepted()
        socket.send(type="connection_init")
        yield socket


async def test_socket_is_authenticated_by_the_header(app: ASGIApp) -> None:
    async with open_socket(behind_proxy(app), **{"x-user": "jane"}) as socket:
        assert await socket.receive() == {"type": "connection_ack"}
        socket.subscribe("a", "{ viewer { session { person } } }")
        assert await socket.next_payload("a") == {
            "data": {"viewer": {"session": {"person": "jane"}}}
        }


@pytest.mark.parametrize(
    "headers",
    [{"origin": ""}, {"origin": "https://test"}, {"authorization": "Basic x"}],
)
async def test_socket_ignores_the_header_otherwise(app: ASGIApp, headers: dict[str, str]) -> None:
    async with open_socket(behind_proxy(app), **{"x-user": "jane"}, **headers) as socket:
        assert await socket.wait_closed() == (4403, NEEDS_KEY)


async def test_socket_of_another_peer_ignores_the_header(app: ASGIApp) -> None:
    async with open_socket(app, **{"x-user": "jane"}) as socket:
        assert await socket.wait_closed() == (4403, NEEDS_KEY)


@pytest.mark.usefixtures("workspaces")
async def test_socket_must_be_opened_again_after_an_interval(
    database: Database, tmp_path: Path
) -> None:
    timeouts = ConnectionTimeouts(proxy_check_interval=timedelta(milliseconds=20))
    async with (
        open_app(database, tmp_path, connection_timeouts=timeouts) as app,
        open_socket(behind_proxy(app), **{"x-user": "jane"}) as socket,
    ):
        assert await socket.receive() == {"type": "connection_ack"}
        assert await socket.wait_closed() == (
            1013,
            "Connect again, so that the proxy checks whether you are still signed in.",
        )


async def test_socket_of_an_unmapped_user_is_closed(app: ASGIApp) -> None:
    async with open_socket(behind_proxy(app), **{"x-user": "ann"}) as socket:
        assert await socket.wait_closed() == (4403, NO_ACCESS)
