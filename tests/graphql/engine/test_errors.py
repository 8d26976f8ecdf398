"""Errors have a code, a message for the client, and no internal details."""

import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import asyncpg
import pytest
import structlog.testing

from app.db.core.database import Database, ReadDriver
from app.db.core.statements import AnySelect
from app.db.core.tenancy import WorkspaceIdOrParam, restrict_to_workspace
from app.domain.errors import ErrorCode
from tests.clients import Client, Tenant, app_client
from tests.factories import (
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    published,
)
from tests.graphql.engine.failing_driver import FailingDriver

BAD_DOCUMENTS: Mapping[str, Sequence[str]] = {
    "GRAPHQL_PARSE_FAILED": (
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
    ),
    "GRAPHQL_VALIDATION_FAILED": (
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
    ),
    "VALIDATION_ERROR": (
        "query A { __typename } query B { __typename }",
        "{ posts(first: 0) { nodes { id } } }",
        "{ posts(filter: {search: 1e400}) { nodes { id } } }",
        "query ($n: Int!) { posts(first: $n) { nodes { id } } }",
        '{ analyticsSummary(from: "2026-02-30") { end } }',
        "{ errorCatalog(part: ALL) { code } }",
        "{ failureGroups(orderBy: null) { nodes { id } } }",
        '{ failureGroups(filter: {failureGroup: ["1-x"]}) { nodes { id } } }',
        "{ failureGroups(first: 101) { nodes { id } } }",
        "{ accountConnection(first: 101) { nodes { id } } }",
        '{ accounts(filter: {search: "\\u0000"}) { id } }',
    ),
    "INVALID_ID": (
        "{ node(id: 5) { id } }",
        "{ node(id: 99999999999999999999) { id } }",
        '{ nodes(ids: ["\'; --"]) { id } }',
        '{ node(id: "RmFpbHVyZUdyb3VwOjEteA==") { id } }',
        "{ account(accountId: -2147483648) { id } }",
        "{ accountConnection(filter: {accountId: [0]}) { nodes { id } } }",
    ),
    "BAD_CURSOR": (
        '{ posts(after: "eyJ9") { nodes { id } } }',
        '{ failureGroups(after: "eyJ9") { nodes { id } } }',
        '{ accountConnection(after: "eyJ9") { nodes { id } } }',
    ),
    "LIMIT_EXCEEDED": (
        "{ a " * 16 + "}" * 16,
        "{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }",
        "{ viewer { scopes } } " * 6,
    ),
}
FIRST_POSTS = "query ($n: Int) { posts(first: $n) { nodes { id } } }"
FILTERED_POSTS = "query ($f: PostFilter) { posts(filter: $f) { nodes { id } } }"
BAD_VARIABLES: Sequence[tuple[str, str, object]] = (
    ("VALIDATION_ERROR", FIRST_POSTS, {"n": "1; DROP TABLE post"}),
    ("VALIDATION_ERROR", FIRST_POSTS, {"n": {"a": [1]}}),
    ("VALIDATION_ERROR", FIRST_POSTS, {"n": 1e300}),
    ("VALIDATION_ERROR", FILTERED_POSTS, {"f": {"x": None}}),
    ("VALIDATION_ERROR", FILTERED_POSTS, {"f": [[]]}),
    (
        "VALIDATION_ERROR",
        "query ($s: Boolean = true) { viewer { scopes @skip(if: $s) } }",
        {"s": None},
    ),
    (
        "VALIDATION_ERROR",
        "query ($p: AnalyticsPeriod) { analyticsSummary(period: $p) { end } }",
        {"p": None},
    ),
    ("INVALID_ID", "query ($id: UUID!) { post(postId: $id) { id } }", {"id": ["a"]}),
    ("LIMIT_EXCEEDED", "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x"] * 101}),
)

INTERNAL = re.compile(
    r"traceback|\.py\b|/app/|sqlalchemy|sqlite|asyncpg|postgres|strawberry|graphql-core|psycopg"
    r"|\bSELECT\b|object at 0x|Exception|NoneType|keyword argument|\bNone\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    ("code", "document", "variables"),
    [
        *((code, document, {}) for code, cases in BAD_DOCUMENTS.items() for document in cases),
        *BAD_VARIABLES,
    ],
)
async def test_a_bad_document_is_rejected_with_a_code_and_without_internals(
    acme: Tenant, code: str, document: str, variables: dict[str, Any]
) -> None:
    result = await acme.client.execute(document, **variables)
    assert not any((result.get("data") or {}).values())
    assert {error["extensions"]["code"] for error in result["errors"]} == {code}
    assert code in ErrorCode.__members__
    for error in result["errors"]:
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
            f'{{ errorCatalog(part: "{"a " * 100_000}") {{ code }} }}',
            "VALIDATION_ERROR",
            f"part: Enum 'ErrorCatalogPart' cannot represent non-enum value: \"{'a ' * 468}…",
        ),
    ],
    ids=["long name", "long number", "long text"],
)
async def test_long_values_are_shortened_in_messages(
    acme: Tenant, document: str, code: str, message: str
) -> None:
    result = await acme.client.execute(document)

    (error,) = result["errors"]
    assert (error["message"], error["extensions"]["code"]) == (message, code)


@pytest.mark.parametrize(
    ("text", "token"), [('"sesame"', "String"), ('"""sesame "open" """', "BlockString")]
)
async def test_syntax_error_does_not_quote_strings(acme: Tenant, text: str, token: str) -> None:
    result = await acme.client.execute(f"{{ posts(first {text}) {{ totalCount }} }}")

    (error,) = result["errors"]
    assert error["message"] == f"Syntax Error: Expected ':', found {token}."


async def test_an_error_of_a_field_has_its_path_and_leaves_other_fields(acme: Tenant) -> None:
    result = await acme.client.execute(
        "{\n  small: posts(first: 1) { nodes { id } }\n  big: posts(first: 101) { nodes { id } } }"
    )
    assert result == {
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
    """A workspace filter that fails for tables that are read, and for accounts also if they are joined."""

    def __init__(self, error: Exception, *tables: str) -> None:
        self._error = error
        self._tables = tables

    def __call__(self, statement: AnySelect, workspace: WorkspaceIdOrParam) -> AnySelect:
        restricted = restrict_to_workspace(statement, workspace)
        patterns = (
            rf"(FROM|JOIN) {table}\b" if table == "account" else rf"FROM {table}\b"
            for table in self._tables
        )
        tables, _, _ = str(restricted).partition("EXISTS")
        if any(re.search(pattern, tables) for pattern in patterns):
            raise self._error
        return restricted


def table_locked_error() -> sqlite3.OperationalError:
    """The driver's error for a table locked by another connection."""
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
    raise AssertionError("the table is not locked")


@asynccontextmanager
async def client_of_failing_database(
    database: Database, url: str, **options: Any
) -> AsyncIterator[Client]:
    """A client on another `Database` with these options, with a post, its account and its attempt."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: published()}, content="Kept")
    await add_attempt(database, workspace, post.destinations[0])
    token = (await add_api_key(database, workspace)).token
    failing_database = Database(url, **options)
    async with failing_database, app_client(failing_database, token=token) as client:
        yield client


def check_masked(error: dict[str, Any]) -> dict[str, Any]:
    """Check that the error is masked and has a request id, and return it."""
    request_id = error["extensions"]["requestId"]
    assert re.fullmatch(r"[0-9a-f]{8}", request_id)
    assert error["extensions"] == {"code": "INTERNAL_ERROR", "requestId": request_id}
    assert error["message"] == (
        "Something went wrong on this server. Try again; if it stays, give its operator the request"
        " id."
    )
    return error


async def test_an_internal_failure_is_masked_and_logged_with_the_request_id(
    database: Database, database_url: str
) -> None:
    failure = RuntimeError("SELECT secret FROM /app/db/posts.py")
    restriction = FailingRestriction(failure, "post")
    async with client_of_failing_database(
        database, database_url, workspace_filter=restriction
    ) as client:
        with structlog.testing.capture_logs() as logs:
            result = await client.execute("{ posts { nodes { id } } viewer { scopes } }")
    assert result["data"] == {"posts": None, "viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]}}
    (error,) = result["errors"]
    assert check_masked(error)["path"] == ["posts"]
    (log_entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert log_entry["event"] == "resolver failed"
    assert log_entry["request_id"] == error["extensions"]["requestId"]
    assert log_entry["path"] == ["posts"]
    assert log_entry["exc_info"] is failure


@pytest.mark.parametrize(
    ("table", "failed_fields"),
    [
        ("account", ["account", "accountName"]),
        ("attempt", ["attemptConnection", "attemptLog"]),
        ("post", ["post"]),
    ],
)
async def test_a_failed_relation_leaves_the_other_fields(
    database: Database, database_url: str, table: str, failed_fields: list[str]
) -> None:
    selection = (
        "account { accountName } accountName post { content }"
        " attemptConnection { nodes { number } } attemptLog { number }"
    )
    destination = {
        "account": {"accountName": "acme"},
        "accountName": "acme",
        "attemptConnection": {"nodes": [{"number": 1}]},
        "attemptLog": [{"number": 1}],
        "post": {"content": "Kept"},
    }
    restriction = FailingRestriction(RuntimeError("broken"), table)
    async with client_of_failing_database(
        database, database_url, workspace_filter=restriction
    ) as client:
        result = await client.execute(
            f"{{ destinations {{ nodes {{ {selection} }} }} errorCatalog {{ code }} }}"
        )
    assert len(result["data"]["errorCatalog"]) > 0
    assert result["data"]["destinations"] == {"nodes": [destination | dict.fromkeys(failed_fields)]}
    assert sorted(check_masked(error)["path"] for error in result["errors"]) == [
        ["destinations", "nodes", 0, name] for name in failed_fields
    ]


@pytest.mark.parametrize(
    "field",
    [
        'post(postId: "f47ac10b-58cc-4372-a567-0e02b2c3d479") { id }',
        'node(id: "UG9zdDpmNDdhYzEwYi01OGNjLTQzNzItYTU2Ny0wZTAyYjJjM2Q0Nzk=") { id }',
        'nodes(ids: ["QWNjb3VudDox"]) { id }',
        "posts { nodes { id } }",
        "destinations { nodes { id } }",
        "failureGroups { nodes { id } }",
        "account(accountId: 1) { id }",
        "accounts { id }",
        "accountConnection { nodes { id } }",
        "analyticsSummary { end }",
        'outcomeStats(from: "2026-04-14", to: "2026-04-15") { end }',
        'calendar(from: "2026-04-14", to: "2026-04-15") { end }',
        "viewer { stats { accounts } }",
    ],
)
async def test_a_failed_root_field_leaves_the_others(
    database: Database, database_url: str, field: str
) -> None:
    restriction = FailingRestriction(RuntimeError("x"), "post", "destination", "account")
    async with client_of_failing_database(
        database, database_url, workspace_filter=restriction
    ) as client:
        result = await client.execute(f"{{ {field} viewer {{ scopes }} }}")
    assert result["data"]["viewer"]["scopes"] == ["READ", "WRITE", "PUBLISH"]
    (error,) = result["errors"]
    check_masked(error)


async def test_a_locked_table_is_reported_as_temporarily_unavailable(
    database: Database, database_url: str
) -> None:
    failure = (
        table_locked_error() if database.is_sqlite else asyncpg.LockNotAvailableError("locked")
    )
    async with client_of_failing_database(
        database,
        database_url,
        wrap_driver=lambda driver: FailingDriver(driver, failure, "FROM post "),
    ) as client:
        with structlog.testing.capture_logs() as logs:
            result = await client.execute("{ posts { nodes { id } } }")
    assert result["data"] == {"posts": None}
    (error,) = result["errors"]
    assert error["message"] == ("The database is not available. Try again in a moment.")
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": 2}
    (log_entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert log_entry["event"] == "resolver failed"
    assert log_entry["exc_info"].__cause__ is failure


@pytest.mark.parametrize(
    "root", ["posts { nodes { destinations {", "destinations { nodes { account {"]
)
async def test_an_unreachable_database_is_not_asked_again_for_a_relation(
    database: Database, database_url: str, root: str
) -> None:
    """Each further statement would wait for its timeout."""
    drivers: list[FailingDriver] = []

    def wrap(driver: ReadDriver) -> FailingDriver:
        drivers.append(FailingDriver(driver, TimeoutError(), "ORDER BY destination."))
        return drivers[-1]

    async with client_of_failing_database(database, database_url, wrap_driver=wrap) as client:
        result = await client.execute(f"{{ {root} id }} }} }} viewer {{ scopes }} }}")
    assert result["data"]["viewer"] == {"scopes": ["READ", "WRITE", "PUBLISH"]}
    (error,) = result["errors"]
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": 2}
    assert drivers[0].failures == 1


async def test_errors_after_the_first_100_are_only_counted(acme: Tenant) -> None:
    for _ in range(4):
        await add_account(acme.database, acme.workspace)
    statistics = " ".join(
        f'stats{number}: stats(from: "2026-04-15", to: "2026-04-14") {{ published }}'
        for number in range(30)
    )

    body = await acme.client.execute(f"{{ accounts {{ {statistics} }} }}")

    *errors, last = body["errors"]
    assert len({tuple(error["path"]) for error in errors}) == 100
    assert {error["extensions"]["code"] for error in errors} == {"VALIDATION_ERROR"}
    assert last == {
        "message": "There are 20 more errors; at most 100 are returned.",
        "extensions": {"code": "LIMIT_EXCEEDED"},
    }
    assert len(body["data"]["accounts"]) == 4
