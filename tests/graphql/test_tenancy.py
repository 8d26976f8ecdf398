"""A workspace sees itself alone: what another one holds changes no byte of any answer.

The questions are made from the schema. A new argument is asked about as soon as it exists; if its
values could name something, it must be said here what that would be (KNOWN).
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputType,
    OperationType,
    build_schema,
    get_named_type,
    parse,
    validate,
)

import app.graphql
from app.db.core.database import Database
from app.domain.ids import DestinationId, NodeKind, encode_node_id
from app.domain.leases import Lease, LeaseCodec, LeaseKind
from app.domain.times import format_instant
from app.graphql.engine.executable_schema import core_schema, create_schema
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
from tests.graphql.tenants import (
    FOREIGN_ACCOUNT,
    FOREIGN_CODE,
    FOREIGN_DESTINATION,
    FOREIGN_PLATFORM,
    FOREIGN_POST,
    FOREIGN_REFERENCE,
    FOREIGN_WORD,
    FOREIGN_WORKSPACE,
    OWN_WORKSPACE,
    SHARED_ACCOUNT,
    SHARED_DESTINATIONS,
    SHARED_POST,
    add_foreign_workspace,
    add_own_workspace,
)

SCHEMA = core_schema(create_schema(GraphQLLimits()))
NO_LIMITS = {
    "RATE_LIMIT": "off",
    "GRAPHQL_MAX_FIELDS": "100000",
    "GRAPHQL_MAX_ALIASES": "100000",
    "GRAPHQL_MAX_NODES": "100000",
    "GRAPHQL_MAX_ROOT_FIELDS": "1000",
    "GRAPHQL_MAX_TOKENS": "100000",
}
NONEXISTENT = UUID("00000000-0000-4000-8000-00000000dead")

TYPES_WITHOUT_ROWS = ("Query.previewRetrySchedule(platform)",)
"""Places of fields that read no row, though elsewhere their values name something."""


class ValueTriple(NamedTuple):
    """Three values of one meaning: of the asking workspace, of the other one alone, and of none."""

    own: object
    foreign: object
    nonexistent: object


NODE_IDS = (
    ValueTriple(*(encode_node_id(NodeKind.POST, key) for key in (SHARED_POST, FOREIGN_POST, NONEXISTENT))),
    ValueTriple(
        *(
            encode_node_id(NodeKind.DESTINATION, key)
            for key in (SHARED_DESTINATIONS[0], FOREIGN_DESTINATION, NONEXISTENT)
        )
    ),
    ValueTriple(
        *(
            encode_node_id(NodeKind.ACCOUNT, key)
            for key in (SHARED_ACCOUNT, FOREIGN_ACCOUNT, 2**31 - 1)
        )
    ),
)


def lease_tokens(kind: LeaseKind) -> ValueTriple:
    """Leases as they would be given out: of one's own, of the other's, and of what is there no more."""
    codec = LeaseCodec(bytes(32), kind)
    return ValueTriple(
        *(
            codec.encode(Lease(workspace, DestinationId(destination), 1, UUID(int=1)))
            for workspace, destination in (
                (OWN_WORKSPACE, SHARED_DESTINATIONS[0]),
                (FOREIGN_WORKSPACE, FOREIGN_DESTINATION),
                (OWN_WORKSPACE, NONEXISTENT),
            )
        )
    )


KNOWN_VALUES: dict[str, tuple[ValueTriple, ...]] = {
    "id: ID": NODE_IDS,
    "ids: ID": NODE_IDS,
    "postId: UUID": (ValueTriple(str(SHARED_POST), str(FOREIGN_POST), str(NONEXISTENT)),),
    "accountId: Int": (ValueTriple(SHARED_ACCOUNT, FOREIGN_ACCOUNT, 2**31 - 1),),
    "platform: String": (ValueTriple("x", FOREIGN_PLATFORM, "nowhere"),),
    "search: String": (ValueTriple("SPRING", FOREIGN_WORD, "nowhere"),),
    "reference: String": (ValueTriple("spring", FOREIGN_REFERENCE, "nowhere"),),
    "errorCode: String": (ValueTriple("CAPTION_TOO_LONG", FOREIGN_CODE, "NOWHERE"),),
    "destinationId: UUID": (
        ValueTriple(str(SHARED_DESTINATIONS[0]), str(FOREIGN_DESTINATION), str(NONEXISTENT)),
    ),
    "leaseToken: String": (lease_tokens(LeaseKind.PUBLISHING),),
    "verificationToken: String": (lease_tokens(LeaseKind.VERIFICATION),),
}
CURSORS = ("after: String", "before: String")
PLAIN_VALUES: dict[str, tuple[object, ...]] = {
    "first: Int": (1, 100),
    "last: Int": (1, 100),
    "offset: Int": (1, 10_000),
    "maxAttempts: Int": (0, 1),
    "retryAfterSeconds: Int": (0, 60),
    "httpStatus: Int": (400, 500),
    "leaseSeconds: Int": (60, 3600),
    "limit: Int": (1, 100),
    "waitSeconds: Int": (0,),
    "message: String": ("It failed.",),
    "attemptKey: String": ("1",),
}
"""What names nothing; it is asked before and after the other workspace exists, and so are the
values of every enum, of Boolean and of DateTime."""


def query_positions() -> Iterator[ArgumentPosition]:
    """Of everything that reads; what changes something has a matrix of its own."""
    return (
        place
        for place in argument_positions(SCHEMA)
        if place.operation is OperationType.QUERY and str(place) not in TYPES_WITHOUT_ROWS
    )


def value_meaning(name: str, type_: GraphQLInputType) -> str:
    """Values of one name and type mean the same everywhere, whether one is taken or several."""
    return f"{name}: {get_named_type(type_)}"


def plain_values(name: str, type_: GraphQLInputType) -> tuple[object, ...] | None:
    """Values that cannot name anything; None where they could."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLEnumType):
        return tuple(named.values)
    if named.name == "Boolean":
        return True, False
    if named.name == "DateTime":
        return (format_instant(NOW),)
    return PLAIN_VALUES.get(value_meaning(name, type_))


def known_values(name: str, type_: GraphQLInputType, position: str) -> tuple[ValueTriple, ...]:
    if (found := KNOWN_VALUES.get(value_meaning(name, type_))) is None:
        raise LookupError(
            f"The tenancy matrix does not know how to fill {position} with a foreign value: say in"
            f" KNOWN what '{value_meaning(name, type_)}' names, or in PLAIN that it names nothing."
        )
    return found


def own_value(name: str, type_: GraphQLInputType) -> object:
    """A value of the asking workspace, where one is required beside what a question is about."""
    plain = plain_values(name, type_)
    return plain[0] if plain else known_values(name, type_, name)[0].own


class HttpResponse(NamedTuple):
    status: int
    body: bytes


class TenancyCase(NamedTuple):
    """One place, asked with a value of the other workspace and with one of nobody's."""

    position: str
    foreign: HttpResponse
    nonexistent: HttpResponse


async def send_query(client: Client, query: GeneratedQuery) -> HttpResponse:
    asked = {"query": query.document, "variables": query.variables}
    response = await client.request("POST", "/graphql", json=asked)
    return HttpResponse(response.status_code, response.content)


async def tenancy_cases(own: Client, foreign: Client) -> AsyncIterator[TenancyCase]:
    """The matrix: every place whose values could name something, with all that they could name."""
    for place in query_positions():
        if plain_values(place.name, place.type) is not None:
            continue
        if value_meaning(place.name, place.type) in CURSORS:
            cursor = await end_cursor(foreign, place)
            triples = [ValueTriple(await end_cursor(own, place), cursor, cursor[::-1])]
        else:
            triples = list(known_values(place.name, place.type, str(place)))
        for known in triples:
            for variant in value_variants(known, takes_a_list=place.takes_list):
                own_answer, *others = [
                    await send_query(own, build_query(SCHEMA, place, value, own_value)) for value in variant
                ]
                assert own_answer not in others, f"{place} finds nothing at all"
                yield TenancyCase(str(place), *others)


def value_variants(values: ValueTriple, *, takes_a_list: bool) -> list[tuple[object, ...]]:
    """A list is asked with the value alone, and behind one that finds nothing."""
    if not takes_a_list:
        return [values]
    return [tuple([value] for value in values), tuple([values.nonexistent, value] for value in values)]


async def end_cursor(client: Client, position: ArgumentPosition) -> str:
    """A cursor of the list that takes the cursors of this place, made for this client."""
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


def disable_tenancy(database_url: str) -> Database:
    """A database whose reads are not confined to a workspace."""
    return Database(database_url, workspace_filter=lambda statement, workspace_id: statement)


@pytest.fixture(params=["yes", "no"], ids=["fast", "plain"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """What a document asks for a second time takes another way than the first, where that is allowed."""
    return read_settings({**NO_LIMITS, "FAST_PATH": request.param})


@asynccontextmanager
async def open_both_clients(database: Database, settings: Settings) -> AsyncIterator[tuple[Client, Client]]:
    """Clients of the two workspaces."""
    own, foreign = await add_own_workspace(database), await add_foreign_workspace(database)
    async with database, app_client(database, token=own, settings=settings) as client:
        yield client, client.with_token(foreign)


async def test_a_foreign_value_is_answered_like_one_that_exists_nowhere(
    database: Database, settings: Settings
) -> None:
    async with open_both_clients(database, settings) as (own, foreign):
        async for cell in tenancy_cases(own, foreign):
            assert cell.foreign == cell.nonexistent, cell.position


async def test_the_matrix_turns_red_where_nothing_confines_reads_to_the_workspace(
    database_url: str, settings: Settings
) -> None:
    async with open_both_clients(disable_tenancy(database_url), settings) as (own, foreign):
        matrix = [cell async for cell in tenancy_cases(own, foreign)]

    leaking = [cell.position for cell in matrix if cell.foreign != cell.nonexistent]
    # Cursors are signed for their workspace, which no filter has a part in.
    assert leaking == [
        cell.position for cell in matrix if not cell.position.endswith(("(after)", "(before)"))
    ]
    assert len(leaking) >= 20


async def test_a_value_that_could_name_something_must_be_known_to_the_matrix() -> None:
    grown = build_schema(
        """
        type Query { version: Int, post: Post }
        type Post { comments(filter: CommentFilter, after: String, first: Int): Comment }
        input CommentFilter { authorName: String, isHidden: Boolean }
        type Comment { node: Node }
        interface Node { id: ID! }
        type Author implements Node { id: ID!, posts(postId: UUID!): Post }
        scalar UUID
        type Mutation { retry(input: RetryInput!): Post }
        input RetryInput { postId: UUID!, webhookId: UUID! }
        type Subscription { changes(after: String): Post }
        """
    )
    found = {str(place): place for place in argument_positions(grown)}
    assert list(found) == [
        "Post.comments(filter.authorName)",
        "Post.comments(filter.isHidden)",
        "Post.comments(after)",
        "Post.comments(first)",
        "Author.posts(postId)",
        "Mutation.retry(input.postId)",
        "Mutation.retry(input.webhookId)",
        "Subscription.changes(after)",
    ]

    unknown = [found["Post.comments(filter.authorName)"], found["Mutation.retry(input.webhookId)"]]
    for place in unknown:
        assert plain_values(place.name, place.type) is None
        with pytest.raises(LookupError, match=re.escape(f"does not know how to fill {place} ")):
            known_values(place.name, place.type, str(place))
    with pytest.raises(LookupError, match="does not know how to fill webhookId "):
        build_query(grown, found["Mutation.retry(input.postId)"], str(NONEXISTENT), own_value)

    question = build_query(grown, found["Author.posts(postId)"], str(NONEXISTENT), own_value)
    assert validate(grown, parse(question.document)) == []
    assert question == (
        "query ($v0: UUID!) { post { comments { node { ... on Author { posts(postId: $v0)"
        " { __typename comments { __typename node { __typename"
        " ... on Author { Author_id: id  } } } } } } } } }",
        {"v0": str(NONEXISTENT)},
    )


def test_the_graphql_layer_can_only_read_inside_a_workspace() -> None:
    for file in Path(app.graphql.__path__[0]).rglob("*.py"):
        assert "read_all_workspaces" not in file.read_text(), file


CUSTOM_PERIOD = """query ($from: DateTime) {
    analyticsSummary(period: CUSTOM, from: $from) {
        posts { total draft scheduled publishing published partiallyFailed failed }
        byPlatform { platform total scheduled published failed }
    }
}"""


def all_queries() -> dict[str, GeneratedQuery]:
    """Every question there is, with every value that is known for its place."""
    questions = {
        "what needs no value": build_argumentless_query(SCHEMA),
        "a custom period": GeneratedQuery(CUSTOM_PERIOD, {"from": format_instant(NOW)}),
    }
    for place in query_positions():
        values = plain_values(place.name, place.type)
        if values is None and value_meaning(place.name, place.type) not in CURSORS:
            found = known_values(place.name, place.type, str(place))
            values = tuple(value for known in found for value in known)
        for value in values or ():
            given = [value] if place.takes_list else value
            questions[f"{place} = {value}"] = build_query(SCHEMA, place, given, own_value)
    return questions


async def responses_before_and_after(
    database: Database, settings: Settings, queries: Mapping[str, GeneratedQuery]
) -> tuple[dict[str, HttpResponse], dict[str, HttpResponse]]:
    """The answers of a workspace while it is alone, and when there is another one beside it."""
    async with app_client(
        database, token=await add_own_workspace(database), settings=settings
    ) as client:
        before = {name: await send_query(client, each) for name, each in queries.items()}
        await add_foreign_workspace(database)
        after = {name: await send_query(client, each) for name, each in queries.items()}
    return before, after


async def test_no_answer_changes_when_another_workspace_fills(
    database: Database, settings: Settings
) -> None:
    before, after = await responses_before_and_after(database, settings, all_queries())

    assert after == before
    assert not [name for name, (_, body) in after.items() if re.search(b"foreign|quokka", body)]
    assert b'"errors"' not in before["what needs no value"].body


async def test_every_answer_changes_where_nothing_confines_reads_to_the_workspace(
    database_url: str, settings: Settings
) -> None:
    changing = {"what needs no value", "a custom period", "Query.posts(first) = 100"} | {
        f"{place} = {known.foreign}"
        for place in query_positions()
        for known in KNOWN_VALUES.get(value_meaning(place.name, place.type), ())
    }
    questions = {name: each for name, each in all_queries().items() if name in changing}
    async with disable_tenancy(database_url) as database:
        before, after = await responses_before_and_after(database, settings, questions)

    assert {name for name in after if after[name] != before[name]} == changing


# What changes something.

POSITIONS_IN_MUTATIONS = {
    **{
        name: KNOWN_VALUES[name]
        for name in (
            "postId: UUID",
            "accountId: Int",
            "destinationId: UUID",
            "leaseToken: String",
            "verificationToken: String",
        )
    },
    "accountIds: Int": KNOWN_VALUES["accountId: Int"],
    "platforms: String": KNOWN_VALUES["platform: String"],
}
"""What the inputs of mutations name. Filters are those of the lists that are read."""

NEW_VALUES = {
    "content",
    "timezone",
    "mediaIds",
    "media",
    "platformContent",
    "reference",
    "idempotencyKey",
    "expectedVersion",
    "platform",
    "accountName",
    "displayName",
    "platformUserId",
    "platformUsername",
    "avatarUrl",
    "platformPostId",
    "platformPostUrl",
    "code",
    "raw",
    "worker",
}
"""What is stored as it is given, or compared with what its own post or workspace has."""


def mutation_positions() -> list[ArgumentPosition]:
    """The places of mutations whose values name something."""
    found = [
        place for place in argument_positions(SCHEMA) if place.operation is OperationType.MUTATION
    ]
    unknown = [
        place
        for place in found
        if "filter" not in place.names
        and value_meaning(place.name, place.type) not in {*POSITIONS_IN_MUTATIONS, *CURSORS}
        and place.name not in NEW_VALUES
        and plain_values(place.name, place.type) is None
    ]
    assert unknown == [], "say in NAMED_BY_CHANGES what these name, or that they are NEW_VALUES"
    return [place for place in found if value_meaning(place.name, place.type) in POSITIONS_IN_MUTATIONS]


async def check_mutations(client: Client) -> AsyncIterator[TenancyCase]:
    """Each place with what the other workspace has and with what nobody has, which no answer repeats."""
    for place in mutation_positions():
        ((_, *strange),) = POSITIONS_IN_MUTATIONS[value_meaning(place.name, place.type)]
        answers = []
        for value in strange:
            given = [value] if place.takes_list else value
            status, body = await send_query(
                client, add_required_content(build_query(SCHEMA, place, given, own_value))
            )
            # Errors repeat what they refuse, and say where that stood.
            shown = re.sub(rb'"locations":.*?\],|\b%b\b' % str(value).encode(), b"", body)
            answers.append(HttpResponse(status, shown))
        yield TenancyCase(str(place), *answers)


def add_required_content(query: GeneratedQuery) -> GeneratedQuery:
    """A new post is refused for want of content before anybody looks at its accounts, a publication
    for want of a place."""
    (given,) = query.variables.values()
    assert isinstance(given, dict)
    if "PUBLISHED" in (given.get("finding"), given.get("outcome")) or "leaseToken" in given:
        place = re.search(r"report(Published|Verified)|reconcile|recordResult", query.document)
        given |= {"platformPostId": "1"} if place else {}
    for post in given.get("posts", [given]):
        if "createPost" in query.document:
            post["content"] = "Sale"
    return query


async def test_no_change_reaches_or_tells_of_another_workspace(
    database: Database, settings: Settings
) -> None:
    async with open_both_clients(database, settings) as (own, _):
        before = await all_rows(database)
        async for cell in check_mutations(own):
            assert cell.foreign == cell.nonexistent, cell.position
        after = await all_rows(database)

    assert workspace_rows(FOREIGN_WORKSPACE, after) == workspace_rows(FOREIGN_WORKSPACE, before)


def workspace_rows(workspace: UUID, rows: Mapping[str, list[tuple[Any, ...]]]) -> dict[str, list[Any]]:
    return {table: [row for row in found if workspace in row] for table, found in rows.items()}


async def test_changes_would_reach_another_workspace_if_nothing_confined_their_reads(
    database_url: str, settings: Settings
) -> None:
    async with open_both_clients(disable_tenancy(database_url), settings) as (own, _):
        leaking = [cell.position async for cell in check_mutations(own) if cell.foreign != cell.nonexistent]

    # There the own post is looked at first: it does not go to them, or cannot be changed any more.
    # A lease tells its workspace, which is compared with the key's before anything is read.
    tight = {
        *(
            str(place)
            for place in mutation_positions()
            if place.name in ("leaseToken", "verificationToken", "platforms")
        ),
        "Mutation.recordResult(input.accountId)",
        "Mutation.retryPost(input.accountIds)",
        "Mutation.schedulePost(input.accountIds)",
        "Mutation.updatePost(input.accountIds)",
    }
    assert set(leaking) == {str(place) for place in mutation_positions()} - tight
