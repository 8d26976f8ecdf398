"""Tenancy: data of another workspace changes no byte of any response.

The queries are generated from the schema, so every new argument is tested automatically. If its values can
identify rows, KNOWN_VALUES must contain examples.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID

import orjson
import pytest
from graphql import (
    OperationType,
    build_schema,
    parse,
    validate,
)
from sqlalchemy import Select, literal

import app.graphql
from app.db.core.database import Database
from app.db.core.tenancy import S, WorkspaceIdOrParam
from app.db.core.types import PortableUuid
from app.domain.times import format_instant
from app.graphql.engine.executable_schema import create_schema
from app.settings import GraphQLLimits, Settings, read_settings
from tests.clients import Client, app_client
from tests.db.all_tables import all_rows
from tests.factories import NOW
from tests.graphql.generated_queries import (
    ArgumentPosition,
    GeneratedQuery,
    argument_positions,
    build_argumentless_query,
    build_query,
)
from tests.graphql.tenancy_values import (
    CURSORS,
    KNOWN_VALUES,
    NONEXISTENT,
    SIGNED,
    ValueTriple,
    known_values,
    own_value,
    plain_values,
    value_meaning,
)
from tests.graphql.tenants import (
    FOREIGN_WORKSPACE,
    NO_LIMITS,
    add_foreign_workspace,
    add_own_workspace,
)

SCHEMA = create_schema(GraphQLLimits()).graphql_schema

POSITIONS_WITHOUT_ROWS = (
    "Query.previewRetrySchedule(platform)",
    "Query.failureGroups(filter.platformPostUrl)",
)
"""Positions of fields that read no row with arguments that identify rows elsewhere."""


CHECK_OF_INPUT = "Query.checkPost("
"""Check of a post, whose errors name values of its input. `schema.test_post_checks` tests its tenancy."""


def query_positions() -> Iterator[ArgumentPosition]:
    """Yield the argument positions of queries; mutations have their own matrix."""
    return (
        position
        for position in argument_positions(SCHEMA)
        if position.operation is OperationType.QUERY
        and str(position) not in POSITIONS_WITHOUT_ROWS
        and not str(position).startswith(CHECK_OF_INPUT)
    )


class HttpResponse(NamedTuple):
    status: int
    body: bytes


class TenancyCase(NamedTuple):
    """Responses to a foreign and to a nonexistent value at one position."""

    position: str
    foreign: HttpResponse
    nonexistent: HttpResponse


async def send_query(client: Client, query: GeneratedQuery) -> HttpResponse:
    payload = {"query": query.document, "variables": query.variables}
    response = await client.request("POST", "/graphql", json=payload)
    return HttpResponse(response.status_code, response.content)


async def tenancy_cases(own: Client, foreign: Client) -> AsyncIterator[TenancyCase]:
    """Yield the matrix: every position whose values identify rows, with all example values."""
    for position in query_positions():
        if plain_values(position.name, position.type) is not None:
            continue
        if value_meaning(position.name, position.type) in CURSORS:
            cursor = await end_cursor(foreign, position)
            triples = [ValueTriple(await end_cursor(own, position), cursor, cursor[::-1])]
        else:
            triples = list(known_values(position.name, position.type, str(position)))
        for triple in triples:
            for variant in value_variants(triple, takes_list=position.takes_list):
                own_answer, *others = [
                    await send_query(own, build_query(SCHEMA, position, value, own_value))
                    for value in variant
                ]
                assert own_answer not in others, f"{position} matches no row"
                yield TenancyCase(str(position), *others)


def value_variants(values: ValueTriple, *, takes_list: bool) -> list[tuple[object, ...]]:
    """Return the values; for a list, alone and after a nonexistent value."""
    if not takes_list:
        return [values]
    return [
        tuple([value] for value in values),
        tuple([values.nonexistent, value] for value in values),
    ]


async def end_cursor(client: Client, position: ArgumentPosition) -> str:
    """Return a cursor of the list at the position, for this client's workspace."""
    _, body = await send_query(client, build_query(SCHEMA, position, None, own_value))
    return next(find_cursors(orjson.loads(body)))


def find_cursors(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("endCursor"), str):
            yield value["endCursor"]
        for child in value.values():
            yield from find_cursors(child)
    elif isinstance(value, list):
        for child in value:
            yield from find_cursors(child)


@cache
def disable_tenancy(database_url: str) -> Database:
    """Open a database whose reads are not limited to a workspace; each statement is compiled once."""
    return Database(database_url, workspace_filter=use_workspace_without_effect)


def use_workspace_without_effect(statement: S, workspace_id: WorkspaceIdOrParam) -> S:
    """Keep the parameter of reads, without which they cannot run in a batch."""
    if isinstance(statement, Select):
        return cast("S", statement.where(literal(NONEXISTENT, PortableUuid()) != workspace_id))
    return statement


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """With the fast path, a repeated document runs compiled code."""
    return read_settings({**NO_LIMITS, "FAST_PATH": request.param})


with_and_without_fast_path = pytest.mark.parametrize(
    ("engine", "settings"),
    [("sqlite", "yes"), ("sqlite", "no"), ("postgresql", "yes")],
    indirect=True,
)
"""The execution without the fast path has the same statements, so it is tested on one engine."""

with_fast_path = pytest.mark.parametrize(
    ("engine", "settings"), [("sqlite", "yes"), ("postgresql", "yes")], indirect=True
)
"""For tests that a query would detect a leak, which depends on its rows and statements only."""


@asynccontextmanager
async def open_both_clients(
    database: Database, settings: Settings
) -> AsyncIterator[tuple[Client, Client]]:
    """Open clients of the own and the foreign workspace."""
    own, foreign = await add_own_workspace(database), await add_foreign_workspace(database)
    async with database, app_client(database, token=own, settings=settings) as client:
        yield client, client.with_token(foreign)


@with_and_without_fast_path
async def test_foreign_and_nonexistent_values_have_equal_responses(
    database: Database, settings: Settings
) -> None:
    async with open_both_clients(database, settings) as (own, foreign):
        async for case in tenancy_cases(own, foreign):
            assert case.foreign == case.nonexistent, case.position


@with_fast_path
async def test_tenancy_matrix_detects_missing_workspace_filter(
    database_url: str, settings: Settings
) -> None:
    async with open_both_clients(disable_tenancy(database_url), settings) as (own, foreign):
        matrix = [case async for case in tenancy_cases(own, foreign)]

    leaking = [case.position for case in matrix if case.foreign != case.nonexistent]
    # Cursors are signed per workspace, independent of the filter.
    assert leaking == [
        case.position for case in matrix if not case.position.endswith(("(after)", "(before)"))
    ]
    assert len(leaking) >= 20


async def test_argument_with_unknown_meaning_fails_matrix() -> None:
    schema = build_schema(
        """
        type Query { version: Int, post: Post }
        type Post { comments(filter: CommentFilter, after: String, first: Int): Comment }
        input CommentFilter { authorName: String, isHidden: Boolean }
        type Comment { node: Node }
        interface Node { id: ID! }
        type Author implements Node { id: ID!, posts(postId: UUID!): Post }
        scalar UUID
        type Mutation { retry(input: RetryInput!): Post }
        input RetryInput { postId: UUID!, boardId: UUID! }
        type Subscription { changes(after: String): Post }
        """
    )
    positions = {str(position): position for position in argument_positions(schema)}
    assert list(positions) == [
        "Post.comments(filter.authorName)",
        "Post.comments(filter.isHidden)",
        "Post.comments(after)",
        "Post.comments(first)",
        "Author.posts(postId)",
        "Mutation.retry(input.postId)",
        "Mutation.retry(input.boardId)",
        "Subscription.changes(after)",
    ]

    unknown = [
        positions["Post.comments(filter.authorName)"],
        positions["Mutation.retry(input.boardId)"],
    ]
    for position in unknown:
        assert plain_values(position.name, position.type) is None
        with pytest.raises(LookupError, match=re.escape(f"does not know how to fill {position} ")):
            known_values(position.name, position.type, str(position))
    with pytest.raises(LookupError, match="does not know how to fill boardId "):
        build_query(schema, positions["Mutation.retry(input.postId)"], str(NONEXISTENT), own_value)

    query = build_query(schema, positions["Author.posts(postId)"], str(NONEXISTENT), own_value)
    assert validate(schema, parse(query.document)) == []
    assert query == (
        "query ($v0: UUID!) { post { comments { node { ... on Author { posts(postId: $v0)"
        " { __typename comments { __typename node { __typename"
        " ... on Author { Author_id: id  } } } } } } } } }",
        {"v0": str(NONEXISTENT)},
    )


_UNRESTRICTED = ("all_workspaces", "snapshot", "schema_transaction", "driver", "writer")
"""Attributes of a database by which statements run without a workspace."""


def test_graphql_layer_reads_only_within_workspace(tmp_path: Path) -> None:
    database = Database.from_file(tmp_path / "unused.db")
    assert [name for name in _UNRESTRICTED if not hasattr(database, name)] == []
    pattern = re.compile(rf"\.(?:{'|'.join(_UNRESTRICTED)}|\w+_(?:engine|connection))\b")
    for file in Path(app.graphql.__path__[0]).rglob("*.py"):
        assert pattern.findall(file.read_text()) == [], file


CUSTOM_PERIOD = """query ($from: DateTime) {
    analyticsSummary(period: CUSTOM, from: $from) {
        posts { total draft scheduled publishing published partiallyFailed failed }
        byPlatform { platform total scheduled published failed }
    }
}"""


def all_queries() -> dict[str, GeneratedQuery]:
    """Return a query for every position and every value."""
    queries = {
        "no arguments": build_argumentless_query(SCHEMA),
        "a custom period": GeneratedQuery(CUSTOM_PERIOD, {"from": format_instant(NOW)}),
    }
    for position in query_positions():
        values = plain_values(position.name, position.type)
        if values is None and value_meaning(position.name, position.type) not in CURSORS:
            triples = known_values(position.name, position.type, str(position))
            values = tuple(value for triple in triples for value in triple)
        for value in values or ():
            argument = [value] if position.takes_list else value
            queries[f"{position} = {value}"] = build_query(SCHEMA, position, argument, own_value)
    return queries


def one_query_per_document(queries: dict[str, GeneratedQuery]) -> dict[str, GeneratedQuery]:
    first_names = {query.document: name for name, query in reversed(queries.items())}
    return {name: queries[name] for name in first_names.values()}


async def responses_before_and_after(
    database: Database, settings: Settings, queries: dict[str, GeneratedQuery]
) -> tuple[dict[str, HttpResponse], dict[str, HttpResponse]]:
    """Return the responses before and after the foreign workspace is added."""
    async with app_client(
        database, token=await add_own_workspace(database), settings=settings
    ) as client:
        before = {name: await send_query(client, query) for name, query in queries.items()}
        await add_foreign_workspace(database)
        # In reverse order, because the cache of documents is smaller than all of them.
        after = {name: await send_query(client, query) for name, query in reversed(queries.items())}
    return before, after


@with_and_without_fast_path
async def test_responses_do_not_change_with_data_of_another_workspace(
    database: Database, settings: Settings
) -> None:
    queries = all_queries()
    if not settings.fast_path:  # the same statements compare the values of arguments
        queries = one_query_per_document(queries)
    before, after = await responses_before_and_after(database, settings, queries)

    assert after == before
    assert not [name for name, (_, body) in after.items() if re.search(b"foreign|quokka", body)]
    assert b'"errors"' not in before["no arguments"].body


@with_fast_path
async def test_responses_change_without_workspace_filter(
    database_url: str, settings: Settings
) -> None:
    changing = {"no arguments", "a custom period", "Query.posts(first) = 100"} | {
        f"{position} = {triple.foreign}"
        for position in query_positions()
        for triple in KNOWN_VALUES.get(value_meaning(position.name, position.type), ())
    }
    queries = {name: query for name, query in all_queries().items() if name in changing}
    async with disable_tenancy(database_url) as database:
        before, after = await responses_before_and_after(database, settings, queries)

    assert {name for name in after if after[name] != before[name]} == changing


POSITIONS_IN_MUTATIONS = {
    "postId: UUID": KNOWN_VALUES["postId: UUID"],
    "accountId: Int": KNOWN_VALUES["accountId: Int"],
    "destinationId: UUID": KNOWN_VALUES["destinationId: UUID"],
    "leaseToken: String": KNOWN_VALUES["leaseToken: String"],
    "verificationToken: String": KNOWN_VALUES["verificationToken: String"],
    "accountIds: Int": KNOWN_VALUES["accountId: Int"],
    "platforms: String": KNOWN_VALUES["platform: String"],
    "webhookId: UUID": KNOWN_VALUES["webhookId: UUID"],
    "deliveryId: UUID": KNOWN_VALUES["deliveryId: UUID"],
}
"""Values that identify rows in inputs of mutations; filters are tested with queries."""

NEW_VALUES = {
    *("content", "timezone", "mediaIds", "media", "platformContent", "reference"),
    *("platform", "accountName", "displayName", "avatarUrl", "name", "description", "url"),
    *("platformUserId", "platformUsername", "platformPostId", "platformPostUrl"),
    *("idempotencyKey", "expectedVersion", "code", "raw", "worker", "copyOf"),
}
"""Arguments that are stored, or compared only with rows of their own post or workspace."""


def mutation_positions() -> list[ArgumentPosition]:
    """Return the positions of mutations whose values identify rows."""
    positions = [
        position
        for position in argument_positions(SCHEMA)
        if position.operation is OperationType.MUTATION
    ]
    unknown = [
        position
        for position in positions
        if "filter" not in position.names
        and value_meaning(position.name, position.type) not in {*POSITIONS_IN_MUTATIONS, *SIGNED}
        and position.name not in NEW_VALUES
        and plain_values(position.name, position.type) is None
    ]
    assert unknown == [], "add these to POSITIONS_IN_MUTATIONS or NEW_VALUES"
    return [
        position
        for position in positions
        if value_meaning(position.name, position.type) in POSITIONS_IN_MUTATIONS
    ]


async def check_mutations(client: Client) -> AsyncIterator[TenancyCase]:
    """Yield each position with a foreign and a nonexistent value, removed from the responses.

    Deletions are the last, because other mutations find nothing after them.
    """
    for position in sorted(mutation_positions(), key=lambda each: "delete" in str(each)):
        ((_, *other_values),) = POSITIONS_IN_MUTATIONS[value_meaning(position.name, position.type)]
        answers = []
        for value in other_values:
            argument = [value] if position.takes_list else value
            status, body = await send_query(
                client, add_required_content(build_query(SCHEMA, position, argument, own_value))
            )
            # Error messages contain the value and its location.
            comparable = re.sub(rb'"locations":.*?\],|\b%b\b' % str(value).encode(), b"", body)
            answers.append(HttpResponse(status, comparable))
        yield TenancyCase(str(position), *answers)


def add_required_content(query: GeneratedQuery) -> GeneratedQuery:
    """Add the content of a post or the id of a publication, whose absence would be reported first."""
    (variables,) = query.variables.values()
    assert isinstance(variables, dict)
    if (
        "PUBLISHED" in (variables.get("finding"), variables.get("outcome"))
        or "leaseToken" in variables
    ):
        publishes = re.search(r"report(Published|Verified)|reconcile|recordResult", query.document)
        variables |= {"platformPostId": "1"} if publishes else {}
    if "redeliverWebhook" in query.document and not variables.keys() & {
        "deliveryId",
        "failedSince",
    }:
        variables["failedSince"] = format_instant(NOW)
    if "reconcileDestinations" in query.document:
        variables["finding"] = "NOT_PUBLISHED"
    for post in variables.get("posts", [variables]):
        if "createPost" in query.document:
            post["content"] = "Sale"
    return query


@with_and_without_fast_path
async def test_mutations_neither_change_nor_reveal_another_workspace(
    database: Database, settings: Settings
) -> None:
    async with open_both_clients(database, settings) as (own, _):
        before = await all_rows(database)
        async for case in check_mutations(own):
            assert case.foreign == case.nonexistent, case.position
        after = await all_rows(database)

    assert workspace_rows(FOREIGN_WORKSPACE, after) == workspace_rows(FOREIGN_WORKSPACE, before)


def workspace_rows(
    workspace: UUID, rows: Mapping[str, list[tuple[Any, ...]]]
) -> dict[str, list[Any]]:
    return {table: [row for row in found if workspace in row] for table, found in rows.items()}


@with_fast_path
async def test_mutations_reach_another_workspace_without_workspace_filter(
    database_url: str, settings: Settings
) -> None:
    async with open_both_clients(disable_tenancy(database_url), settings) as (own, _):
        leaking = [
            case.position async for case in check_mutations(own) if case.foreign != case.nonexistent
        ]

    # These are checked against the own post first, which rejects them.
    # A lease token contains its workspace, which is compared with the key before any read.
    # The delivery of a foreign webhook is not one of the own webhook.
    # A filter reconciles unknown outcomes and cancels waiting posts only, which the foreign values are not.
    unaffected = {
        "Mutation.cancelPosts(input.filter.postId)",
        *(
            str(position)
            for position in mutation_positions()
            if position.names[:2] == ("input", "filter") and "reconcile" in str(position)
        ),
        *(
            str(position)
            for position in mutation_positions()
            if position.name in ("leaseToken", "verificationToken", "platforms")
            and "Webhook" not in str(position)
        ),
        "Mutation.redeliverWebhook(input.deliveryId)",
        "Mutation.recordResult(input.accountId)",
        "Mutation.retryPost(input.accountIds)",
        "Mutation.schedulePost(input.accountIds)",
        "Mutation.updatePost(input.accountIds)",
    }
    assert set(leaking) == {str(position) for position in mutation_positions()} - unaffected
