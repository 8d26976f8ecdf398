"""Sign-in and sign-out of the board, and what a session may do."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.db.core.database import Database
from app.db.models import ApiKey
from app.domain.api_keys import Scope
from app.domain.sessions import MAX_SESSIONS_PER_KEY
from app.domain.times import format_instant
from app.services.api_keys import revoke_key
from app.settings import read_settings
from tests.board_browser import COOKIE_NAME, ORIGIN, Browser
from tests.clients import Tenant, app_client
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_account, add_api_key, add_post, add_workspace, queued
from tests.rest.envelope import failure_error, success_data

ENDED = "The session has ended. Sign in again."
UNUSABLE_KEY = "The API key is unknown, revoked or expired. Use another key."
UNKNOWN_KEY = "pe_live_" + 32 * "0"
ALL_SCOPES = tuple(Scope)
CREATE_DRAFT = 'mutation { createPost(input: {content: "x", draft: true}) { post { id } } }'


async def key_of(tenant: Tenant, **options: Any) -> str:
    return (await add_api_key(tenant.database, tenant.workspace, **options)).token


async def test_sign_in_returns_the_session_and_its_cookie(acme: Tenant) -> None:
    browser = Browser(acme.client)
    data = await browser.sign_in(await key_of(acme), person=" Ann ")
    assert data == {
        "person": "Ann",
        "scopes": ["read", "write"],
        "expiresAt": "2026-04-16T03:00:00.000Z",
    }
    body = await browser.post_graphql(
        "{ viewer { scopes session { person expiresAt } apiKey { name }"
        " server { startedAt now changesRetentionSeconds } } }"
    )
    assert body["data"]["viewer"] == {
        "scopes": ["READ", "WRITE"],
        "session": {"person": "Ann", "expiresAt": "2026-04-16T03:00:00.000Z"},
        "server": {
            "startedAt": "2026-04-15T15:00:00.000Z",
            "now": "2026-04-15T15:00:00.000Z",
            "changesRetentionSeconds": 2_592_000,
        },
        "apiKey": {"name": "Test key"},
    }


async def test_a_key_has_no_session(acme: Tenant) -> None:
    data = await acme.client.query("{ viewer { session { person } server { version } } }")
    assert data["viewer"] == {"session": None, "server": {"version": "0.1.0"}}


async def test_cookie_over_https_is_secure_and_of_this_host_only(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    settings = read_settings({"PUBLIC_URL": "https://Results.example.com:443/x"})
    async with app_client(database, settings=settings) as client:
        browser = Browser(client, origin="https://results.example.com")
        response = await browser.post_session(key=key.token)
        success_data(response)
        cookie, _, attributes = response.headers["Set-Cookie"].partition("; ")
        assert attributes == "Path=/; Max-Age=604800; HttpOnly; SameSite=Strict; Secure"
        name, _, value = cookie.partition("=")
        assert name == f"__Host-{COOKIE_NAME}"
        browser.headers["Cookie"] = cookie
        assert await browser.is_signed_in()
        browser.headers["Cookie"] = f"{COOKIE_NAME}={value}"  # as a page over http could set it
        assert not await browser.is_signed_in()


@pytest.mark.parametrize(
    ("key_scopes", "body", "expected"),
    [
        (ALL_SCOPES, {}, ["read", "write", "admin", "raw"]),
        (ALL_SCOPES, {"readOnly": True}, ["read", "raw"]),
        (ALL_SCOPES, {"fullAccess": True}, [*ALL_SCOPES]),
        ((Scope.READ,), {"fullAccess": True}, ["read"]),
        ((Scope.PUBLISH,), {}, []),
    ],
)
async def test_session_has_at_most_the_scopes_of_its_key(
    acme: Tenant, key_scopes: tuple[Scope, ...], body: dict[str, bool], expected: list[str]
) -> None:
    browser = Browser(acme.client)
    data = await browser.sign_in(await key_of(acme, scopes=key_scopes), **body)
    assert data["scopes"] == expected
    viewer = (await browser.post_graphql("{ viewer { scopes } }"))["data"]["viewer"]
    assert viewer["scopes"] == [Scope(scope).name for scope in expected]


async def test_read_only_session_cannot_write(acme: Tenant) -> None:
    browser = Browser(acme.client)
    await browser.sign_in(await key_of(acme), readOnly=True)
    body = await browser.post_graphql(CREATE_DRAFT)
    assert body["errors"][0]["extensions"]["code"] == "INSUFFICIENT_SCOPE"


async def test_changes_by_a_session_name_the_person(acme: Tenant) -> None:
    browser = Browser(acme.client)
    await browser.sign_in(await key_of(acme, name="board"), person="Ann Ü")
    body = await browser.post_graphql(CREATE_DRAFT)
    assert "errors" not in body, body
    data = await acme.client.query("{ changes { nodes { actor { keyName person } } } }")
    (change,) = data["changes"]["nodes"]
    assert change["actor"] == {"keyName": "board", "person": "Ann Ü"}


async def test_session_publishes_only_with_full_access_and_names_the_person(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: queued()})
    claim = "mutation { claimDestinations(input: {}) { claims { leaseToken } } }"
    browser, key = Browser(acme.client), await key_of(acme)
    await browser.sign_in(key, person="Ann")
    refused = await browser.post_graphql(claim)
    assert refused["errors"][0]["extensions"]["code"] == "INSUFFICIENT_SCOPE"
    await browser.sign_in(key, person="Ann", fullAccess=True)
    (claimed,) = (await browser.post_graphql(claim))["data"]["claimDestinations"]["claims"]
    body = await browser.post_graphql(
        f'mutation {{ startAttempt(input: {{leaseToken: "{claimed["leaseToken"]}"}}) {{ attempt }} }}'
    )
    assert body["data"]["startAttempt"] == {"attempt": 1}
    data = await acme.client.query("{ changes { nodes { actor { person } } } }")
    assert {change["actor"]["person"] for change in data["changes"]["nodes"]} == {"Ann"}


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        (None, "This request has no Origin header"),
        ("http://other.example", "This request comes from a page of http://other.example"),
        ("https://test", "This request comes from a page of https://test"),
        ("http://test:8080", "This request comes from a page of http://test:8080"),
        ("null", "This request comes from a page of null"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_sign_in_and_out_of_another_origin_are_refused(
    acme: Tenant, origin: str | None, problem: str, method: str
) -> None:
    browser = Browser(acme.client)
    key = await key_of(acme)
    await browser.sign_in(key)
    options: dict[str, Any] = {"json": {"key": key}} if method == "POST" else {}
    if origin is None:
        del browser.headers["Origin"]
    else:
        browser.headers["Origin"] = origin
    response = await browser.request(method, "/board/session", **options)
    assert failure_error(response, 403) == {
        "code": "origin_not_allowed",
        "message": f"{problem}, but this server's own origin is http://test. Open the board there. If its"
        " address in the browser is another one, the operator of the server sets PUBLIC_URL to it.",
        "retryable": False,
        "details": None,
    }
    assert "Set-Cookie" not in response.headers
    browser.headers["Origin"] = ORIGIN
    assert await browser.is_signed_in()


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"key=1", 400, "invalid_json", None),
        (b"[]", 400, "invalid_json", "The body must be a JSON object, not a list."),
        (b" " * 2**20, 413, "body_too_large", "The body is larger than the limit of 16384 bytes."),
        (b"{}", 400, "validation_error", "key is missing."),
        (b'{"key": 5}', 400, "validation_error", "key must be a string."),
        (b'{"key": " \\"\\" "}', 400, "validation_error", "key is empty. Enter an API key."),
        (b'{"key": "a\\u0000b"}', 400, "validation_error", "key must not contain a NUL character."),
        (
            b'{"key": "k", "readOnly": 1}',
            400,
            "validation_error",
            "readOnly must be true or false.",
        ),
        (
            b'{"key": "k", "readOnly": true, "fullAccess": true}',
            400,
            "validation_error",
            "readOnly and fullAccess exclude each other: set one of them.",
        ),
        (
            b'{"key": "k", "person": "a\\u0000b"}',
            400,
            "validation_error",
            "person must not contain a NUL character.",
        ),
        (b'{"key": "k", "person": "\\ud800"}', 400, "invalid_json", None),
        (
            b'{"key": "k", "person": "' + b"a" * 1000 + b'"}',
            400,
            "validation_error",
            "person is 1000 characters long; at most 100 are allowed.",
        ),
        (
            '{"key": "k", "person": "a\u202eb"}'.encode(),
            400,
            "validation_error",
            "person must be printable and not empty.",
        ),
        (
            b'{"key": "pe_live_nonsense"}',
            401,
            "invalid_api_key",
            "The API key is malformed: it is pe_live_ followed by 32 lower-case hex digits.",
        ),
        (json.dumps({"key": UNKNOWN_KEY}).encode(), 401, "invalid_api_key", UNUSABLE_KEY),
    ],
)
async def test_hostile_sign_in_is_refused(
    acme: Tenant, body: bytes, status: int, code: str, message: str | None
) -> None:
    response = await Browser(acme.client).request(
        "POST", "/board/session", content=body, headers={"Content-Type": "application/json"}
    )
    error = failure_error(response, status)
    assert error["code"] == code
    assert message is None or error["message"] == message
    assert UNKNOWN_KEY not in response.text
    assert "Set-Cookie" not in response.headers


async def test_sign_in_takes_json_only(acme: Tenant) -> None:
    response = await Browser(acme.client).request(
        "POST", "/board/session", content=b"{}", headers={"Content-Type": "text/plain"}
    )
    assert failure_error(response, 415)["code"] == "unsupported_media_type"


async def test_spaces_and_quotes_around_a_key_are_removed(acme: Tenant) -> None:
    await Browser(acme.client).sign_in(f' "{await key_of(acme)}"\n')


async def test_revoked_expired_and_unknown_keys_have_the_same_response(acme: Tenant) -> None:
    keys = [
        await key_of(acme, revoked_at=NOW),
        await key_of(acme, expires_at=NOW),
        UNKNOWN_KEY,
    ]
    browser = Browser(acme.client)
    errors = [failure_error(await browser.post_session(key=key), 401) for key in keys]
    assert [error["message"] for error in errors] == [UNUSABLE_KEY] * 3


async def test_sign_out_ends_the_session_and_deletes_the_cookie(acme: Tenant) -> None:
    key = await key_of(acme)
    browser, another = Browser(acme.client), Browser(acme.client)
    await browser.sign_in(key)
    await another.sign_in(key)
    response = await browser.sign_out()
    assert success_data(response) == {"sessionsEnded": 1}
    assert response.headers["Set-Cookie"] == (
        f"{COOKIE_NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
    )
    assert response.headers["Cache-Control"] == "no-store"
    assert (await browser.is_signed_in(), await another.is_signed_in()) == (False, True)


async def test_sign_out_of_an_ended_session_deletes_the_cookie(acme: Tenant) -> None:
    browser = Browser(acme.client)
    await browser.sign_in(await key_of(acme))
    await browser.sign_out()
    for query in ("", "?everywhere=true"):
        response = await browser.sign_out(query)
        assert success_data(response) == {"sessionsEnded": 0}
        assert response.headers["Set-Cookie"].startswith(f"{COOKIE_NAME}=; Path=/; Max-Age=0;")
    del browser.headers["Cookie"]
    assert success_data(await browser.sign_out()) == {"sessionsEnded": 0}


async def test_sign_out_everywhere_ends_the_sessions_of_the_same_key(acme: Tenant) -> None:
    key, other_key = await key_of(acme), await key_of(acme)
    browsers = [Browser(acme.client) for _ in range(3)]
    for browser, each in zip(browsers, (key, key, other_key), strict=True):
        await browser.sign_in(each)
    response = await browsers[0].sign_out("?everywhere=1")
    assert failure_error(response, 400)["message"] == "everywhere must be true or false."
    response = await browsers[0].sign_out("?everywhere=true")
    assert success_data(response) == {"sessionsEnded": 2}
    assert [await browser.is_signed_in() for browser in browsers] == [False, False, True]


@pytest.mark.parametrize(
    ("key_scopes", "options"),
    [
        (ALL_SCOPES, {"readOnly": True}),
        ((Scope.READ, Scope.RAW, Scope.PUBLISH), {}),
        ((Scope.PUBLISH,), {}),
    ],
)
async def test_session_that_may_only_read_ends_only_itself(
    acme: Tenant, key_scopes: tuple[Scope, ...], options: dict[str, bool]
) -> None:
    key = await key_of(acme, scopes=key_scopes)
    reader, other = Browser(acme.client), Browser(acme.client)
    await reader.sign_in(key, **options)
    await other.sign_in(key)
    before = await all_rows(acme.database)

    response = await reader.sign_out("?everywhere=true")
    error = failure_error(response, 403)
    assert (error["code"], error["message"]) == (
        "insufficient_scope",
        "This session may only read, so it can end only itself. Sign out without everywhere=true, or"
        " sign in with write access.",
    )
    assert "Set-Cookie" not in response.headers
    assert await all_rows(acme.database) == before
    assert success_data(await reader.sign_out()) == {"sessionsEnded": 1}
    assert len((await all_rows(acme.database))["session"]) == 1


async def test_next_sign_in_of_a_browser_ends_its_previous_session(acme: Tenant) -> None:
    browser, key = Browser(acme.client), await key_of(acme)
    await browser.sign_in(key)
    previous = browser.cookie
    await browser.sign_in(key)
    assert await browser.is_signed_in()
    browser.headers["Cookie"] = previous
    assert not await browser.is_signed_in()


async def test_session_sees_its_own_workspace_only(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    for workspace, content in ((acme.workspace, "ours"), (other, "theirs")):
        account = await add_account(acme.database, workspace)
        await add_post(acme.database, workspace, {account: queued()}, content=content)
    theirs = Browser(acme.client)
    await theirs.sign_in((await add_api_key(acme.database, other)).token)
    body = await theirs.post_graphql("{ posts { nodes { content } } }")
    assert body["data"]["posts"]["nodes"] == [{"content": "theirs"}]


async def test_session_ends_with_its_key(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    browser = Browser(acme.client)
    await browser.sign_in(key.token)
    await revoke_key(acme.database, key.id, now=NOW)
    assert not await browser.is_signed_in()


async def test_sessions_of_a_revoked_key_are_deleted(acme: Tenant) -> None:
    key, other = [await add_api_key(acme.database, acme.workspace) for _ in range(2)]
    for each in (key, key, other):
        await Browser(acme.client).sign_in(each.token)
    await revoke_key(acme.database, key.id, now=NOW)
    assert len((await all_rows(acme.database))["session"]) == 1


async def test_session_loses_scopes_with_its_key(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    browser = Browser(acme.client)
    await browser.sign_in(key.token)
    async with acme.database.write_engine.begin() as connection:
        await connection.execute(
            update(ApiKey).where(ApiKey.id == key.id).values(scopes=[Scope.READ, Scope.ADMIN])
        )
    body = await browser.post_graphql()
    assert body["data"]["viewer"] == {"scopes": ["READ"]}


async def test_sign_in_ends_the_oldest_of_too_many_sessions(acme: Tenant) -> None:
    clock = MovableClock()
    settings = read_settings({"RATE_LIMIT": "off"})
    key, other = [await key_of(acme) for _ in range(2)]
    async with app_client(acme.database, clock=clock, settings=settings) as client:
        browsers = [Browser(client) for _ in range(MAX_SESSIONS_PER_KEY + 1)]
        other_browser = Browser(client)
        await other_browser.sign_in(other)
        for browser in browsers:
            clock.now += timedelta(milliseconds=1)
            await browser.sign_in(key)
        signed_in = [await each.is_signed_in() for each in (*browsers, other_browser)]
    assert signed_in == [False] + [True] * (MAX_SESSIONS_PER_KEY + 1)


async def test_sessions_share_the_limit_of_new_posts_of_their_key(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    settings = read_settings({"CREATE_RATE_LIMIT": "2/minute"})
    async with app_client(database, settings=settings) as client:
        browsers = [Browser(client) for _ in range(2)]
        for browser in browsers:
            await browser.sign_in(key.token)
            assert "errors" not in await browser.post_graphql(CREATE_DRAFT)
        body = await browsers[0].post_graphql(CREATE_DRAFT)
    assert body["errors"][0]["message"] == (
        "Too many new posts: 2 per minute are allowed for one API key. Try again in 60 s."
    )


async def test_requests_by_ended_sessions_leave_sign_in_possible(acme: Tenant) -> None:
    settings = read_settings({"FAILED_AUTH_RATE_LIMIT": "1/minute"})
    async with app_client(acme.database, settings=settings) as client:
        browser = Browser(client)
        await browser.sign_in(await key_of(acme))
        await browser.sign_out()
        assert [await browser.is_signed_in() for _ in range(3)] == [False] * 3
        assert (await browser.post_session(key=UNKNOWN_KEY)).status_code == 401
        assert (await browser.post_session(key=UNKNOWN_KEY)).status_code == 429


class MovableClock:
    """A clock that the test sets."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize(
    ("key_lifetime", "end"),
    [
        (None, timedelta(hours=12)),
        (timedelta(hours=1), timedelta(hours=1)),
    ],
)
async def test_unused_session_ends_after_12_hours_or_with_its_key(
    database: Database, key_lifetime: timedelta | None, end: timedelta
) -> None:
    clock = MovableClock()
    key = await add_api_key(
        database,
        await add_workspace(database),
        expires_at=None if key_lifetime is None else NOW + key_lifetime,
    )
    async with app_client(database, clock=clock) as client:
        browser = Browser(client)
        data = await browser.sign_in(key.token)
        assert data["expiresAt"] == format_instant(NOW + end)
        clock.now = NOW + end - timedelta(milliseconds=1)
        assert await browser.is_signed_in()
        clock.now = NOW + end
        body = await browser.post_graphql()
        assert [error["message"] for error in body["errors"]] == [ENDED]


async def test_rate_limits_of_a_session_are_its_own(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    settings = read_settings({"RATE_LIMIT": "2/minute", "BOARD_RATE_LIMIT": "3/minute"})
    async with app_client(database, token=key.token, settings=settings) as client:
        browsers = Browser(client), Browser(client)
        for browser in browsers:
            await browser.sign_in(key.token)  # counted for the key
        assert (await client.get("/v1/me")).status_code == 429
        assert [await browsers[0].is_signed_in() for _ in range(3)] == [True] * 3
        refused = await browsers[0].request("POST", "/graphql", json={"query": "{ __typename }"})
        assert (refused.status_code, refused.headers["X-RateLimit-Limit"]) == (429, "3")
        assert refused.json()["errors"][0]["message"] == (
            "Too many requests: 3 per minute are allowed for one session. Try again in 60 s."
        )
        assert await browsers[1].is_signed_in()


async def test_failed_sign_ins_count_as_failed_authentications(database: Database) -> None:
    settings = read_settings({"FAILED_AUTH_RATE_LIMIT": "1/minute"})
    async with app_client(database, settings=settings) as client:
        browser = Browser(client)
        statuses = [(await browser.post_session(key=UNKNOWN_KEY)).status_code for _ in range(2)]
    assert statuses == [401, 429]


async def test_without_board_there_is_no_sign_in_and_no_cookie_counts(acme: Tenant) -> None:
    browser = Browser(acme.client)
    await browser.sign_in(await key_of(acme))
    settings = read_settings({"BOARD": "no"})
    async with app_client(acme.database, settings=settings) as client:
        without_board = Browser(client)
        without_board.headers = browser.headers
        for method in ("POST", "DELETE", "GET"):
            response = await without_board.request(method, "/board/session")
            assert failure_error(response, 404)["code"] == "not_found"
        assert not await without_board.is_signed_in()
        assert (await without_board.request("GET", "/v1/destinations.csv")).status_code == 401
