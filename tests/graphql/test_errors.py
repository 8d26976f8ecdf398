"""Errors: each has a code, names what is wrong in the caller's words, and tells nothing internal."""

import re
from typing import Any

import pytest
import structlog.testing
from sqlalchemy.exc import OperationalError

from app.db.engine import AnySelect, Database, within_workspace
from app.domain.errors import ErrorCode
from app.domain.ids import WorkspaceId
from tests.clients import Tenant, serving
from tests.factories import (
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    published,
)

POST_STATUSES = "DRAFT, SCHEDULED, PUBLISHING, PUBLISHED, PARTIALLY_FAILED, FAILED"
UUID_FORM = (
    "The id must be a UUID in its 36-character form, such as f47ac10b-58cc-4372-a567-0e02b2c3d479."
)
ACCOUNT_ID_FORM = "An account id is a whole number from 1 to 2147483647."
TIME_FORM = (
    "The time must be an ISO 8601 date and time between the years 1 and 9999, such as"
    " 2026-04-15T14:30:05.000Z; without an offset it is read as UTC."
)


@pytest.mark.parametrize(
    ("arguments", "code", "field", "message"),
    [
        (
            "filter: {status: [DONE]}",
            "VALIDATION_ERROR",
            "filter.status",
            f"filter.status[0]: Value 'DONE' does not exist in 'PostStatus' enum."
            f" Use one of {POST_STATUSES}.",
        ),
        (
            "filter: {status: draft}",
            "VALIDATION_ERROR",
            "filter.status",
            f"filter.status: Value 'draft' does not exist in 'PostStatus' enum."
            f" Use one of {POST_STATUSES}.",
        ),
        (
            'filter: {status: "DRAFT"}',
            "VALIDATION_ERROR",
            "filter.status",
            "filter.status: Enum 'PostStatus' cannot represent non-enum value: \"DRAFT\"."
            f" Use one of {POST_STATUSES}.",
        ),
        (
            "filter: {status: [null]}",
            "VALIDATION_ERROR",
            "filter.status",
            "filter.status[0]: Expected value of non-null type 'PostStatus!' not to be null.",
        ),
        (
            "orderBy: {direction: UP}",
            "VALIDATION_ERROR",
            "orderBy.direction",
            "orderBy.direction: Value 'UP' does not exist in 'OrderDirection' enum. Use one of ASC, DESC.",
        ),
        (
            "filter: {createdAfter: 5}",
            "VALIDATION_ERROR",
            "filter.createdAfter",
            "filter.createdAfter: A DateTime is a string, such as 2026-04-15T14:30:05.000Z.",
        ),
        (
            'filter: {createdAfter: "yesterday"}',
            "VALIDATION_ERROR",
            "filter.createdAfter",
            f"filter.createdAfter: {TIME_FORM}",
        ),
        (
            'filter: {createdBefore: "0001-01-01T00:00:00+01:00"}',
            "VALIDATION_ERROR",
            "filter.createdBefore",
            f"filter.createdBefore: {TIME_FORM}",
        ),
        (
            "filter: {accountId: [2147483648]}",
            "INVALID_ID",
            "filter.accountId",
            f"filter.accountId[0]: {ACCOUNT_ID_FORM}",
        ),
        (
            'filter: {accountId: "1"}',
            "INVALID_ID",
            "filter.accountId",
            f"filter.accountId: {ACCOUNT_ID_FORM}",
        ),
        (
            "filter: {search: 5}",
            "VALIDATION_ERROR",
            "filter.search",
            "filter.search: String cannot represent a non string value: 5",
        ),
        (
            "filter: {statuses: DRAFT}",
            "VALIDATION_ERROR",
            "filter",
            "filter: Expected value of type 'PostFilter' not to include unknown field 'statuses'."
            " Did you mean 'status'? Found: { statuses: DRAFT }.",
        ),
        (
            "filter: 5",
            "VALIDATION_ERROR",
            "filter",
            "filter: Expected value of type 'PostFilter' to be an object, found: 5.",
        ),
        (
            "first: 2147483648",
            "VALIDATION_ERROR",
            "first",
            "first must be from 1 to 100.",
        ),
        (
            "first: 1.5",
            "VALIDATION_ERROR",
            "first",
            "first must be from 1 to 100.",
        ),
    ],
)
async def test_a_bad_literal_is_refused_with_its_place(
    acme: Tenant, arguments: str, code: str, field: str, message: str
) -> None:
    refusal = await acme.client.refusal(f"{{ posts({arguments}) {{ nodes {{ id }} }} }}")
    assert refusal == (code, field, message)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ('{ post(postId: "1") { id } }', "postId"),
        ('{ post(postId: "f47ac10b58cc4372a5670e02b2c3d479") { id } }', "postId"),
        ('{ post(postId: "{f47ac10b-58cc-4372-a567-0e02b2c3d479}") { id } }', "postId"),
        ('{ destinations(filter: {postId: ["x"]}) { nodes { id } } }', "filter.postId[0]"),
        ('query ($id: UUID = "x") { post(postId: $id) { id } }', "$id"),
    ],
)
async def test_a_malformed_uuid_is_an_invalid_id(acme: Tenant, document: str, place: str) -> None:
    assert await acme.client.refusal(document) == (
        "INVALID_ID",
        place.removesuffix("[0]"),
        f"{place}: {UUID_FORM}",
    )


@pytest.mark.parametrize(
    ("type_", "argument", "value", "code", "field", "message"),
    [
        (
            "PostFilter",
            "filter",
            {"status": ["DRAFT", "DONE"]},
            "VALIDATION_ERROR",
            "filter.status",
            "filter.status[1]: Value 'DONE' does not exist in"
            f" 'PostStatus' enum. Use one of {POST_STATUSES}.",
        ),
        (
            "PostFilter",
            "filter",
            {"status": [5]},
            "VALIDATION_ERROR",
            "filter.status",
            "filter.status[0]: Enum 'PostStatus' cannot represent"
            f" non-string value: 5. Use one of {POST_STATUSES}.",
        ),
        (
            "PostFilter",
            "filter",
            {"createdAfter": "soon"},
            "VALIDATION_ERROR",
            "filter.createdAfter",
            f"filter.createdAfter: {TIME_FORM}",
        ),
        (
            "PostFilter",
            "filter",
            {"accountId": [None]},
            "VALIDATION_ERROR",
            "filter.accountId",
            "filter.accountId[0]: Expected value of non-null type 'Int!' not to be null.",
        ),
        (
            "PostFilter",
            "filter",
            {"accountId": 2**31},
            "INVALID_ID",
            "filter.accountId",
            f"filter.accountId: {ACCOUNT_ID_FORM}",
        ),
        (
            "Int",
            "first",
            -(2**31) - 1,
            "VALIDATION_ERROR",
            "first",
            "first must be from 1 to 100.",
        ),
        (
            "Int",
            "first",
            True,
            "VALIDATION_ERROR",
            "first",
            "first must be from 1 to 100.",
        ),
        (
            "Int",
            "first",
            "True",
            "VALIDATION_ERROR",
            "first",
            "first must be from 1 to 100.",
        ),
        (
            "PostFilter",
            "filter",
            {"y": [None, False, "None"]},
            "VALIDATION_ERROR",
            "filter",
            "filter: Expected value of type 'PostFilter' not to include"
            " unknown field 'y', found: {'y': [null, false, 'None']}.",
        ),
        (
            "Int!",
            "first",
            None,
            "VALIDATION_ERROR",
            "first",
            "first: Expected value of non-null type 'Int!' not to be null.",
        ),
        (
            "PostOrderField",
            "orderBy: {field: $value}",
            None,
            "VALIDATION_ERROR",
            "orderBy.field",
            "Argument 'orderBy' has invalid value at .field: Expected variable '$value' provided to"
            " non-null type 'PostOrderField!' not to be null.",
        ),
    ],
)
async def test_a_bad_variable_is_refused_with_its_place(
    acme: Tenant,
    type_: str,
    argument: str,
    value: object,
    code: str,
    field: str,
    message: str,
) -> None:
    given = argument if "$" in argument else f"{argument}: $value"
    refusal = await acme.client.refusal(
        f"query ($value: {type_}) {{ posts({given}) {{ nodes {{ id }} }} }}", value=value
    )
    assert refusal == (code, field, message)


async def test_a_variable_with_a_malformed_uuid_is_an_invalid_id(acme: Tenant) -> None:
    refusal = await acme.client.refusal(
        "query ($ids: [UUID!]) { destinations(filter: {postId: $ids}) { nodes { id } } }",
        ids=["f47ac10b-58cc-4372-a567-0e02b2c3d479", "x"],
    )
    assert refusal == (
        "INVALID_ID",
        "filter.postId",
        f"filter.postId[1]: {UUID_FORM}",
    )


async def test_every_bad_variable_is_reported(acme: Tenant) -> None:
    answer = await acme.client.answer(
        "query ($a: Int!, $filter: PostFilter)"
        " { account(accountId: $a) { id } posts(filter: $filter) { nodes { id } } }",
        filter={"status": "DONE", "search": 5},
    )
    assert "data" not in answer
    assert [error["extensions"] for error in answer["errors"]] == [
        {"code": "VALIDATION_ERROR", "field": field}
        for field in ("accountId", "filter.status", "filter.search")
    ]


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
    answer = await acme.client.answer(document, **variables)
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
    answer = await acme.client.answer(document)

    (error,) = answer["errors"]
    assert (error["message"], error["extensions"]["code"]) == (message, code)


@pytest.mark.parametrize(
    ("document", "variables", "field", "length"),
    [
        ("query ($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": [False] * 101}, "ids", 101),
        (
            "query ($f: PostFilter) { posts(filter: $f) { totalCount } }",
            {"f": {f"unknown{number}": 1 for number in range(102)}},
            "filter",
            102,
        ),
    ],
)
async def test_too_many_values_are_refused_before_any_is_looked_at(
    acme: Tenant, document: str, variables: dict[str, Any], field: str, length: int
) -> None:
    assert await acme.client.refusal(document, **variables) == (
        "LIMIT_EXCEEDED",
        field,
        f"{field} has {length} values; at most 100 are allowed.",
    )


async def test_of_what_is_wrong_with_one_literal_the_first_five_are_told(acme: Tenant) -> None:
    members = " ".join(f"unknown{number}: 1" for number in range(90))

    answer = await acme.client.answer(f"{{ posts(filter: {{{members}}}) {{ totalCount }} }}")

    assert [error["extensions"] for error in answer["errors"]] == [
        {"code": "VALIDATION_ERROR", "field": "filter"}
    ] * 5


async def test_what_a_field_refuses_stands_at_its_path_and_alone(acme: Tenant) -> None:
    answer = await acme.client.answer(
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


class Broken:
    """A way into a workspace that fails for some tables."""

    def __init__(self, error: Exception, *tables: str) -> None:
        self._error = error
        self._tables = set(tables)

    def __call__(self, statement: AnySelect, workspace_id: WorkspaceId) -> AnySelect:
        confined = within_workspace(statement, workspace_id)
        if any(f"FROM {table} " in f"{confined} ".replace("\n", " ") for table in self._tables):
            raise self._error
        return confined


async def prepared(database: Database) -> str:
    """A post with all that hangs on it; the token of a key that may read it."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: published()}, content="Kept")
    await add_attempt(database, workspace, post.destinations[0])
    return (await add_api_key(database, workspace)).token


def masked(error: dict[str, Any]) -> dict[str, Any]:
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
    token = await prepared(database)
    failure = RuntimeError("SELECT secret FROM /app/db/posts.py")
    broken = Database(database_url, confine=Broken(failure, "post"))
    async with serving(broken, token=token) as client:
        with structlog.testing.capture_logs() as logs:
            answer = await client.answer("{ posts { nodes { id } } viewer { scopes } }")
    assert answer["data"] == {
        "posts": None,
        "viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]},
    }
    (error,) = answer["errors"]
    assert masked(error)["path"] == ["posts"]
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
    token = await prepared(database)
    selection = "account { accountName } accountName attemptLog { number } post { content }"
    whole = {
        "account": {"accountName": "acme"},
        "accountName": "acme",
        "attemptLog": [{"number": 1}],
        "post": {"content": "Kept"},
    }
    document = f"{{ destinations {{ nodes {{ {selection} }} }} errorCatalog {{ code }} }}"
    broken = Database(database_url, confine=Broken(RuntimeError("broken"), table))
    async with serving(broken, token=token) as client:
        answer = await client.answer(document)
    assert len(answer["data"]["errorCatalog"]) > 0
    if kept:
        assert answer["data"]["destinations"] == {"nodes": [whole | lost]}
        paths = [["destinations", "nodes", 0, name] for name in lost]
    else:
        assert answer["data"]["destinations"]["nodes"] == [whole | lost]
        paths = [["destinations", "nodes", 0, "post"]]
    assert sorted(masked(error)["path"] for error in answer["errors"]) == paths


async def test_a_total_that_fails_leaves_the_page(database: Database, database_url: str) -> None:
    token = await prepared(database)

    def uncounted(statement: AnySelect, workspace_id: WorkspaceId) -> AnySelect:
        if "count(" in str(statement):
            raise RuntimeError("broken")
        return within_workspace(statement, workspace_id)

    async with serving(Database(database_url, confine=uncounted), token=token) as client:
        answer = await client.answer("{ posts { totalCount nodes { content } } }")
    assert answer["data"] == {"posts": {"totalCount": None, "nodes": [{"content": "Kept"}]}}
    (error,) = answer["errors"]
    assert masked(error)["path"] == ["posts", "totalCount"]


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
    token = await prepared(database)
    broken = Database(
        database_url, confine=Broken(RuntimeError("x"), "post", "destination", "account")
    )
    async with serving(broken, token=token) as client:
        answer = await client.answer(document)
    assert answer["data"]["viewer"]["scopes"] == ["READ", "WRITE", "PUBLISH"]
    (error,) = answer["errors"]
    masked(error)


async def test_a_database_that_does_not_answer_is_a_reason_to_try_again(
    database: Database, database_url: str
) -> None:
    token = await prepared(database)

    class Locked(Exception):
        sqlstate = "55P03"
        sqlite_errorname = "SQLITE_BUSY"

    failure = OperationalError("SELECT 1", {}, Locked("locked"))
    broken = Database(database_url, confine=Broken(failure, "post"))
    async with serving(broken, token=token) as client:
        with structlog.testing.capture_logs() as logs:
            answer = await client.answer("{ posts { nodes { id } } }")
    assert answer["data"] == {"posts": None}
    (error,) = answer["errors"]
    assert error["message"] == ("The database did not answer in time. Try again in a moment.")
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": 2}
    (report,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert report["event"] == "resolver failed"
    assert report["exc_info"].__cause__ is failure
