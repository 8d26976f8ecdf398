"""Errors: each has a code, names what is wrong in the caller's words, and tells nothing internal."""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import asyncpg
import pytest
import structlog.testing

from app.db.core.database import Database, Driver
from app.db.core.statements import AnySelect, CompiledStatement, Record
from app.db.core.tenancy import WorkspaceIdOrParam, restrict_to_workspace
from app.domain.errors import ErrorCode
from tests.clients import Tenant, app_client
from tests.factories import (
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    published,
)

BAD_DOCUMENTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "GRAPHQL_PARSE_FAILED": [
        (document, {})
        for document in (
            "{",
            "}",
            "query",
            "{ posts( }",
            "{ a: }",
            "{ posts(first: 01) { nodes { id } } }",
            '{ node(id: "\\uD800") { id } }',
            '{ node(id: "open) { id } }',
            "{ viewer { scopes } } 5",
            "{ viewer { scopes } \x07 }",
            "fragment on on Post { id }",
            "\ufeff\ufeff{",
            "DROP TABLE post",
        )
    ],
    "GRAPHQL_VALIDATION_FAILED": [
        (document, {})
        for document in (
            "{ nope }",
            "{ posts }",
            "{ viewer { scopes { a } } }",
            "{ viewer { scopes @nope } }",
            "{ viewer { scopes @skip } }",
            "{ viewer { ...F } }",
            "{ viewer { ...F } } fragment F on Nope { id }",
            "{ viewer { ...F } } fragment F on Viewer { ...F }",
            "{ viewer { scopes } } fragment F on Viewer { scopes }",
            "{ post { id } }",
            '{ post(postId: "f47ac10b-58cc-4372-a567-0e02b2c3d479", x: 1) { id } }',
            "{ a: viewer { scopes } a: accounts { id } }",
            "{ posts(first: $n) { nodes { id } } }",
            "query ($n: Nope) { posts(first: $n) { nodes { id } } }",
            "query ($n: String) { posts(first: $n) { nodes { id } } }",
            "query ($n: Int) { viewer { scopes } }",
            "query ($n: Int, $n: Int) { posts(first: $n) { nodes { id } } }",
            "query ($p: Post) { posts(filter: $p) { nodes { id } } }",
            "{ viewer { scopes ... on Account { id } } }",
            "{ posts(first: 1, first: 2) { nodes { id } } }",
            "mutation { nope }",
            "{ __schema { nope } }",
            "type Query { a: Int } { viewer { scopes } }",
        )
    ],
    "VALIDATION_ERROR": [
        ("query A { __typename } query B { __typename }", {}),
        ("{ posts(first: 0) { nodes { id } } }", {}),
        ("{ posts(filter: {search: 1e400}) { nodes { id } } }", {}),
        ("query ($n: Int!) { posts(first: $n) { nodes { id } } }", {}),
        ("query ($n: Int) { posts(first: $n) { nodes { id } } }", {"n": "1; DROP TABLE post"}),
        ("query ($n: Int) { posts(first: $n) { nodes { id } } }", {"n": {"a": [1]}}),
        ("query ($n: Int) { posts(first: $n) { nodes { id } } }", {"n": 1e300}),
        ("query ($f: PostFilter) { posts(filter: $f) { nodes { id } } }", {"f": {"x": None}}),
        ("query ($f: PostFilter) { posts(filter: $f) { nodes { id } } }", {"f": [[]]}),
        ("query ($s: Boolean = true) { viewer { scopes @skip(if: $s) } }", {"s": None}),
        ("query ($p: AnalyticsPeriod) { analyticsSummary(period: $p) { end } }", {"p": None}),
        ('{ analyticsSummary(from: "2026-02-30") { end } }', {}),
        ("{ errorCatalog(part: ALL) { code } }", {}),
    ],
    "INVALID_ID": [
        ("{ node(id: 5) { id } }", {}),
        ("{ node(id: 99999999999999999999) { id } }", {}),
        ('{ nodes(ids: ["\'; --"]) { id } }', {}),
        ("query ($id: UUID!) { post(postId: $id) { id } }", {"id": ["a"]}),
        ("{ account(accountId: -2147483648) { id } }", {}),
    ],
    "BAD_CURSOR": [('{ posts(after: "eyJ9") { nodes { id } } }', {})],
    "LIMIT_EXCEEDED": [
        ("{ a " * 16 + "}" * 16, {}),
        ("{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }", {}),
        ("{ viewer { scopes } } " * 6, {}),
        ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x"] * 101}),
    ],
}

INTERNAL = re.compile(
    r"traceback|\.py\b|/app/|sqlalchemy|sqlite|asyncpg|postgres|strawberry|graphql-core|psycopg"
    r"|\bSELECT\b|object at 0x|Exception|NoneType|keyword argument|\bNone\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    ("code", "document", "variables"),
    [
        (code, document, variables)
        for code, cases in BAD_DOCUMENTS.items()
        for document, variables in cases
    ],
)
async def test_a_bad_document_is_refused_with_a_code_and_nothing_internal(
    acme: Tenant, code: str, document: str, variables: dict[str, Any]
) -> None:
    answer = await acme.client.execute(document, **variables)
    assert not any((answer.get("data") or {}).values())
    assert {error["extensions"]["code"] for error in answer["errors"]} == {code}
    assert code in ErrorCode.__members__
    for error in answer["errors"]:
        assert error.keys() <= {"message", "locations", "path", "extensions"}
        assert error["extensions"].keys() <= {"code", "field"}
        assert not INTERNAL.search(error["message"]), error["message"]


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        (
            f"{{ {'a' * 200_000} }}",
            "GRAPHQL_VALIDATION_FAILED",
            f"Cannot query field '{'a' * 99}…' on type 'Query'.",
        ),
        (
            f"{{ posts(first: {'9' * 5000}) {{ totalCount }} }}",
            "VALIDATION_ERROR",
            "first must be from 1 to 100.",
        ),
        (
            f'{{ "{"a " * 100_000}" }}',
            "GRAPHQL_PARSE_FAILED",
            f"Syntax Error: Expected Name, found String '{'a ' * 478}a…",
        ),
    ],
    ids=["long name", "long number", "long text"],
)
async def test_what_is_long_is_not_sent_back_whole(
    acme: Tenant, document: str, code: str, message: str
) -> None:
    answer = await acme.client.execute(document)

    (error,) = answer["errors"]
    assert (error["message"], error["extensions"]["code"]) == (message, code)


async def test_what_a_field_refuses_stands_at_its_path_and_alone(acme: Tenant) -> None:
    answer = await acme.client.execute(
        "{\n  small: posts(first: 1) { nodes { id } }\n  big: posts(first: 101) { nodes { id } } }"
    )
    assert answer == {
        "data": {"small": {"nodes": []}, "big": None},
        "errors": [
            {
                "message": "first must be from 1 to 100; it is 101.",
                "locations": [{"line": 3, "column": 3}],
                "path": ["big"],
                "extensions": {"code": "VALIDATION_ERROR", "field": "first"},
            }
        ],
    }


class FailingRestriction:
    """A way into a workspace that fails for some tables, and for accounts where they come along too."""

    def __init__(self, error: Exception, *tables: str) -> None:
        self._error = error
        self._tables = set(tables)

    def __call__(self, statement: AnySelect, workspace: WorkspaceIdOrParam) -> AnySelect:
        confined = restrict_to_workspace(statement, workspace)
        read = (
            rf"(FROM|JOIN) {each}\b" if each == "account" else rf"FROM {each}\b"
            for each in self._tables
        )
        if any(re.search(each, str(confined)) for each in read):
            raise self._error
        return confined


class FailingDriver:
    """A driver that fails for statements in which some words stand."""

    def __init__(self, driver: Driver, error: Exception, pattern: str) -> None:
        self._driver = driver
        self._error = error
        self._words = pattern

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if self._words in query.sql.replace("\n", " "):
            raise self._error
        return await self._driver.fetch(query, arguments)

    async def close(self) -> None:
        await self._driver.close()


def table_locked_error() -> sqlite3.OperationalError:
    """What the driver says of a table that somebody else has locked."""
    with (
        closing(sqlite3.connect("file:locked?mode=memory&cache=shared", uri=True)) as one,
        closing(sqlite3.connect("file:locked?mode=memory&cache=shared", uri=True)) as other,
    ):
        one.execute("BEGIN")
        one.execute("CREATE TABLE post (id INTEGER)")
        try:
            other.execute("SELECT * FROM post")
        except sqlite3.OperationalError as error:
            return error
    raise AssertionError("it was not locked")


async def add_full_post(database: Database) -> str:
    """A post with all that hangs on it; the token of a key that may read it."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: published()}, content="Kept")
    await add_attempt(database, workspace, post.destinations[0])
    return (await add_api_key(database, workspace)).token


def check_masked(error: dict[str, Any]) -> dict[str, Any]:
    """The error without its place, after it was checked that it is masked, with a request id."""
    request_id = error["extensions"]["requestId"]
    assert re.fullmatch(r"[0-9a-f]{8}", request_id)
    assert error["extensions"] == {"code": "INTERNAL_ERROR", "requestId": request_id}
    assert error["message"] == (
        "Something went wrong on this server. Try again; if it stays, give its operator the request"
        " id."
    )
    return error


async def test_our_own_failure_is_masked_and_logged_under_its_request_id(
    database: Database, database_url: str
) -> None:
    token = await add_full_post(database)
    failure = RuntimeError("SELECT secret FROM /app/db/posts.py")
    broken = Database(database_url, workspace_filter=FailingRestriction(failure, "post"))
    async with broken, app_client(broken, token=token) as client:
        with structlog.testing.capture_logs() as logs:
            answer = await client.execute("{ posts { nodes { id } } viewer { scopes } }")
    assert answer["data"] == {
        "posts": None,
        "viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]},
    }
    (error,) = answer["errors"]
    assert check_masked(error)["path"] == ["posts"]
    (report,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert report["event"] == "resolver failed"
    assert report["request_id"] == error["extensions"]["requestId"]
    assert report["path"] == ["posts"]
    assert report["exc_info"] is failure


@pytest.mark.parametrize(
    ("table", "lost", "kept"),
    [
        ("account", {"account": None, "accountName": None}, ("attemptLog", "post")),
        ("attempt", {"attemptLog": None}, ("account", "accountName", "post")),
        ("post", {"post": None}, ()),
    ],
)
async def test_a_part_that_fails_leaves_the_rest(
    database: Database, database_url: str, table: str, lost: dict[str, None], kept: tuple[str, ...]
) -> None:
    token = await add_full_post(database)
    selection = "account { accountName } accountName attemptLog { number } post { content }"
    whole = {
        "account": {"accountName": "acme"},
        "accountName": "acme",
        "attemptLog": [{"number": 1}],
        "post": {"content": "Kept"},
    }
    document = f"{{ destinations {{ nodes {{ {selection} }} }} errorCatalog {{ code }} }}"
    broken = Database(
        database_url, workspace_filter=FailingRestriction(RuntimeError("broken"), table)
    )
    async with broken, app_client(broken, token=token) as client:
        answer = await client.execute(document)
    assert len(answer["data"]["errorCatalog"]) > 0
    if kept:
        assert answer["data"]["destinations"] == {"nodes": [whole | lost]}
        paths = [["destinations", "nodes", 0, name] for name in lost]
    else:
        assert answer["data"]["destinations"]["nodes"] == [whole | lost]
        paths = [["destinations", "nodes", 0, "post"]]
    assert sorted(check_masked(error)["path"] for error in answer["errors"]) == paths


async def test_a_total_that_fails_leaves_the_page(database: Database, database_url: str) -> None:
    token = await add_full_post(database)

    def fail_count(statement: AnySelect, workspace: WorkspaceIdOrParam) -> AnySelect:
        if "count(" in str(statement):
            raise RuntimeError("broken")
        return restrict_to_workspace(statement, workspace)

    broken = Database(database_url, workspace_filter=fail_count)
    async with broken, app_client(broken, token=token) as client:
        answer = await client.execute("{ posts { totalCount nodes { content } } }")
    assert answer["data"] == {"posts": {"totalCount": None, "nodes": [{"content": "Kept"}]}}
    (error,) = answer["errors"]
    assert check_masked(error)["path"] == ["posts", "totalCount"]


@pytest.mark.parametrize(
    "document",
    [
        '{ post(postId: "f47ac10b-58cc-4372-a567-0e02b2c3d479") { id } viewer { scopes } }',
        '{ node(id: "UG9zdDpmNDdhYzEwYi01OGNjLTQzNzItYTU2Ny0wZTAyYjJjM2Q0Nzk=") { id } viewer'
        " { scopes } }",
        '{ nodes(ids: ["QWNjb3VudDox"]) { id } viewer { scopes } }',
        "{ posts { nodes { id } } viewer { scopes } }",
        "{ destinations { nodes { id } } viewer { scopes } }",
        "{ account(accountId: 1) { id } viewer { scopes } }",
        "{ accounts { id } viewer { scopes } }",
        "{ analyticsSummary { end } viewer { scopes } }",
        "{ viewer { scopes stats { accounts } } }",
    ],
)
async def test_no_way_in_takes_its_neighbours_down(
    database: Database, database_url: str, document: str
) -> None:
    token = await add_full_post(database)
    broken = Database(
        database_url,
        workspace_filter=FailingRestriction(RuntimeError("x"), "post", "destination", "account"),
    )
    async with broken, app_client(broken, token=token) as client:
        answer = await client.execute(document)
    assert answer["data"]["viewer"]["scopes"] == ["READ", "WRITE", "PUBLISH"]
    (error,) = answer["errors"]
    check_masked(error)


async def test_a_database_that_does_not_answer_is_a_reason_to_try_again(
    database: Database, database_url: str
) -> None:
    token = await add_full_post(database)
    failure = (
        table_locked_error() if database.is_sqlite else asyncpg.LockNotAvailableError("locked")
    )
    broken = Database(
        database_url, wrap_driver=lambda driver: FailingDriver(driver, failure, "FROM post ")
    )
    async with broken, app_client(broken, token=token) as client:
        with structlog.testing.capture_logs() as logs:
            answer = await client.execute("{ posts { nodes { id } } }")
    assert answer["data"] == {"posts": None}
    (error,) = answer["errors"]
    assert error["message"] == ("The database did not answer in time. Try again in a moment.")
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": 2}
    (report,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert report["event"] == "resolver failed"
    assert report["exc_info"].__cause__ is failure
