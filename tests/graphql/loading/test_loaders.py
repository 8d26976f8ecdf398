"""Statements, list entries and connections that a response needs."""

import asyncio
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import update

from app.db.core.database import Database
from app.db.models import Account
from app.domain.destinations import Outcome
from app.domain.ids import AccountId, DestinationId
from app.graphql.loading.loaders import Loaders
from app.graphql.loading.response_limit import ResponseLimit
from app.services import missing_keys
from tests.clients import Tenant, app_client
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    failed,
    published,
)
from tests.graphql.tenant_objects import add_post_in_states, client_with_settings, node_id
from tests.raw_statements import run_raw
from tests.recording_driver import RecordingDriver, record_statements
from tests.rest.envelope import success_data

PAGE_QUERY = """
{
  posts(first: 100) {
    nodes {
      postId accountIds
      destinations {
        status accountName isOverdue diagnosis { fix }
        account { accountId accountName readiness { canPost } token { expired } }
      }
    }
  }
}
"""


async def add_posts_with_attempts(acme: Tenant, count: int) -> list[str]:
    """Add posts on two accounts each, one of them shared; return the ids, newest first."""
    shared = await add_account(acme.database, acme.workspace)
    others = [await add_account(acme.database, acme.workspace) for _ in range(3)]
    ids = []
    for number in range(count):
        post = await add_post(
            acme.database,
            acme.workspace,
            {shared: published(), others[number % 3]: failed()},
            created_at=NOW + timedelta(seconds=number),
        )
        await add_attempt(
            acme.database, acme.workspace, post.destinations[1], outcome=Outcome.FAILED
        )
        ids.append(str(post.id))
    return ids[::-1]


@pytest.mark.parametrize("count", [1, 5, 100])
async def test_page_of_posts_takes_two_statements_at_any_size(acme: Tenant, count: int) -> None:
    ids = await add_posts_with_attempts(acme, count)
    with record_statements(acme.database) as statements:
        data = await acme.client.query(PAGE_QUERY)
    nodes = data["posts"]["nodes"]
    assert [node["postId"] for node in nodes] == ids
    assert [
        [destination["account"]["accountId"] for destination in node["destinations"]]
        for node in nodes
    ] == [node["accountIds"] for node in nodes]
    page, joined = (statement.text.replace("\n", " ") for statement in statements)
    assert " FROM post " in page
    assert " FROM destination JOIN account " in joined


APRIL = 'from: "2026-04-01", to: "2026-05-01"'


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ("{ posts { totalCount nodes { destinations { account { accountId } } } } }", 3),
        ("{ posts(orderBy: {field: PUBLISHED_AT}, first: 6) { nodes { postId } } }", 2),
        ("{ posts(orderBy: {field: PUBLISHED_AT}, first: 5) { nodes { postId } } }", 1),
        ("{ posts { nodes { destinations { attemptLog { number } } } } }", 3),
        ("{ posts { nodes { destinations { account { health { status } } } } } }", 3),
        ("{ destinations { nodes { post { postId } account { accountId } accountName } } }", 2),
        ("{ destinations { nodes { attemptLog { number } } } }", 2),
        ("{ destinations { nodes { post { destinations { post { postId } } } } } }", 4),
        ("{ accounts { health { status activity { queuedCount } } } }", 2),
        ("{ accounts { openFailures { count } } }", 2),
        ("{ accounts { unknownCount { count } lastFailure { errorCode } } }", 3),
        (
            "{ accountConnection { totalCount nodes { accountName profileUrl openFailures { capped } } } }",
            3,
        ),
        (f"{{ accounts {{ stats({APRIL}) {{ lateness {{ p50Seconds }} }} }} }}", 5),
        ("{ viewer { scopes workspace { name } } errorCatalog { code } }", 0),
        ("{ viewer { stats { totalPosts postsLast30d accounts } } }", 3),
        ("{ analyticsSummary { posts { total } byPlatform { total } } }", 8),
        (
            f"{{ outcomeStats({APRIL}) {{ buckets {{ counts {{ lateness {{ p50Seconds }} }} }} }} }}",
            4,
        ),
        (f"{{ outcomeStats({APRIL}) {{ buckets {{ counts {{ attempts }} }} }} }}", 8),
        (f"{{ calendar({APRIL}, bucket: DAY) {{ buckets {{ counts {{ total }} }} }} }}", 1),
        (f"{{ calendar({APRIL}, bucket: DAY) {{ buckets {{ posts {{ postId }} }} }} }}", 2),
        ("{ a: account(accountId: 1) { id } b: account(accountId: 2) { id } }", 1),
    ],
)
async def test_children_are_loaded_in_batches(acme: Tenant, document: str, count: int) -> None:
    await add_posts_with_attempts(acme, 6)
    with record_statements(acme.database) as statements:
        await acme.client.query(document)
    assert len(statements) == count


async def test_nodes_of_one_type_are_loaded_in_one_statement(acme: Tenant) -> None:
    posts = await add_posts_with_attempts(acme, 4)
    data = await acme.client.query("{ destinations { nodes { id } } }")
    ids = [
        *(node["id"] for node in data["destinations"]["nodes"]),
        *(node_id("Post", key) for key in posts),
        *(node_id("Account", number) for number in range(1, 5)),
    ]
    with record_statements(acme.database) as statements:
        data = await acme.client.query(
            "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[*ids, *ids]
        )
    assert data["nodes"] == [{"id": key} for key in [*ids, *ids]]
    assert len(statements) == 3


async def test_statements_are_prepared_once(acme: Tenant) -> None:
    await add_posts_with_attempts(acme, 2)
    document = """
        query ($after: String) {
          posts(first: 1, after: $after, filter: {search: "a", platform: ["instagram"]}) {
            totalCount
            pageInfo { endCursor }
            nodes { destinations { attemptLog { number } post { id } account { health { status } } } }
          }
          destinations(filter: {overdue: false}) { totalCount nodes { id } }
          analyticsSummary { posts { total } }
          viewer { stats { totalPosts accounts } }
          accounts { id }
        }
    """
    token = (await add_api_key(acme.database, acme.workspace)).token
    recorded_database = Database(acme.database.url, wrap_driver=RecordingDriver)
    async with recorded_database, app_client(recorded_database, token=token) as client:
        after = (await client.query(document))["posts"]["pageInfo"]["endCursor"]
        for variables in ({}, {"after": after}):
            prepared = []
            for _ in range(2):
                with record_statements(recorded_database) as statements:
                    await client.query(document, **variables)
                prepared.append({statement.compiled for statement in statements})
            assert prepared[0] == prepared[1]


async def test_one_connection_serves_concurrent_requests(acme: Tenant) -> None:
    post = await add_post_in_states(acme, failed())
    await add_attempt(acme.database, acme.workspace, post.destinations[0], outcome=Outcome.FAILED)
    document = """
        query ($id: ID!) {
          node(id: $id) { id }
          posts {
            totalCount
            nodes { destinations { account { health { status } } attemptLog { number } post { id } } }
          }
          destinations { totalCount nodes { account { accountName } post { id } } }
          accounts { health { status } }
          analyticsSummary { posts { total } byPlatform { total } }
          viewer { stats { totalPosts } }
        }
    """
    id_ = node_id("Post", post.id)
    expected = await acme.client.query(document, id=id_)
    key = await add_api_key(acme.database, acme.workspace)
    narrow = Database(acme.database.url, pool_size=1)
    async with narrow, app_client(narrow, token=key.token) as client:
        answers = await asyncio.gather(*(client.query(document, id=id_) for _ in range(20)))
    assert expected["posts"]["nodes"][0]["destinations"][0]["attemptLog"] == [{"number": 1}]
    assert answers == [expected] * 20


CYCLIC_QUERY = "posts { nodes { destinations { post { destinations { status } } } } }"


@pytest.mark.parametrize(
    ("document", "entries"),
    [
        ("{ posts { nodes { destinations { status } } } }", 2),
        ("{ posts { nodes { a: destinations { status } b: destinations { status } } } }", 4),
        ("{ accounts { accountId } posts { nodes { accountIds } } }", 4),
        (f"{{ {CYCLIC_QUERY} }}", 2 + 2 * 2),
    ],
)
@pytest.mark.parametrize("is_fast", ["yes", "no"])
async def test_response_entry_limit_counts_entries_of_whole_response(
    acme: Tenant, document: str, entries: int, is_fast: str
) -> None:
    """The repeated request runs the prepared document."""
    await add_post_in_states(acme, published(), published())
    answers = []
    for limit in (entries, entries - 1):
        settings = {"GRAPHQL_MAX_LIST_ENTRIES": str(limit), "FAST_PATH": is_fast}
        async with client_with_settings(acme, **settings) as client:
            answers += [await client.execute(document) for _ in range(2)]
    response, repeated, *rejected = answers

    assert response == repeated
    assert "errors" not in response
    assert rejected == 2 * [
        {
            "errors": [
                {
                    "message": f"The lists in the response have at least {entries} entries; at most"
                    f" {entries - 1} are allowed. Request smaller pages or fewer lists.",
                    "extensions": {"code": "LIMIT_EXCEEDED"},
                }
            ]
        }
    ]


async def test_rest_api_has_no_response_entry_limit(acme: Tenant) -> None:
    await add_post_in_states(acme, published(), published())
    async with client_with_settings(acme, GRAPHQL_MAX_LIST_ENTRIES="1") as client:
        page = success_data(await client.get("/v1/posts"))

    assert [len(post["destinations"]) for post in page["posts"]] == [2]


def make_loaders(tenant: Tenant) -> Loaders:
    return Loaders(
        tenant.database.reader(tenant.workspace),
        partial(missing_keys.read_worker_key_times, tenant.database),
        partial(
            missing_keys.accounts_with_unreadable_checkpoints, tenant.database, tenant.workspace
        ),
        lambda: NOW,
        ResponseLimit(None, None),
    )


async def test_loader_accepts_any_number_of_keys(acme: Tenant) -> None:
    (destination,) = (await add_post_in_states(acme, failed())).destinations
    attempt = await add_attempt(acme.database, acme.workspace, destination, outcome=Outcome.FAILED)
    keys = [DestinationId(uuid4()) for _ in range(40_000)]
    with record_statements(acme.database) as statements:
        loaded = await make_loaders(acme).attempts_by_destination_id.load_many([*keys, destination])
    assert [[row.id for row in rows] for rows in loaded] == [*([] for _ in keys), [attempt]]
    assert len(statements) == 21  # of 2,000 keys each


async def test_loader_reads_each_key_once_and_caches_nothing(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    by_id = make_loaders(acme).accounts_by_id
    keys = [account, AccountId(account + 1), account]
    with record_statements(acme.database) as statements:
        rows = await by_id.load_many(keys)
    assert [row and row.account_name for row in rows] == ["acme", None, "acme"]
    assert len(statements) == 1

    renaming = update(Account).values(account_name="b")
    await acme.database.write_all_workspaces(lambda session: run_raw(session, renaming))
    rows = await by_id.load_many(keys)
    assert [row and row.account_name for row in rows] == ["b", None, "b"]
