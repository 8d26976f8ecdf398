"""The documents behind the routes: valid, named, and within the limits of everybody."""

from uuid import uuid4

import pytest
from graphql import OperationDefinitionNode, OperationType, parse, validate

from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.executable_schema import core_schema, create_schema
from app.graphql.engine.limits import collect_stats, enforce_limits, parse_document
from app.rest.endpoints import ENDPOINTS, Endpoint
from app.settings import GraphQLLimits, SettingsError, read_settings
from tests.clients import Tenant, app_client
from tests.factories import add_account, add_accounts, add_api_key, add_post, draft
from tests.rest.envelope import success_data

SCHEMA = core_schema(create_schema(GraphQLLimits()))
LOWEST = {
    "GRAPHQL_MAX_DEPTH": 5,
    "GRAPHQL_MAX_TOKENS": 200,
    "GRAPHQL_MAX_FIELDS": 50,
    "GRAPHQL_MAX_ALIASES": 30,
    "GRAPHQL_MAX_ROOT_FIELDS": 1,
    "GRAPHQL_MAX_OPERATIONS": 1,
    "GRAPHQL_MAX_NODES": 100,
    "GRAPHQL_MAX_IDS": 100,
}
TIGHTEST = read_settings(
    {
        **{variable: str(lowest) for variable, lowest in LOWEST.items()},
        "GRAPHQL_MAX_DIRECTIVES": "0",
        "RATE_LIMIT": "off",
    }
)


def named(call: Endpoint) -> str:
    return f"{call.method} {call.path}"


@pytest.mark.parametrize("call", ENDPOINTS, ids=named)
def test_every_document_is_valid(call: Endpoint) -> None:
    assert validate(SCHEMA, parse(call.document)) == []


@pytest.mark.parametrize("call", ENDPOINTS, ids=named)
def test_every_document_is_one_named_operation_that_only_reads_where_the_method_does(
    call: Endpoint,
) -> None:
    operations = [
        definition
        for definition in parse(call.document).definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    kind = OperationType.QUERY if call.method == "GET" else OperationType.MUTATION
    assert [each.operation for each in operations] == [kind]
    assert operations[0].name is not None


@pytest.mark.parametrize("call", ENDPOINTS, ids=named)
def test_every_document_keeps_the_tightest_limits_that_can_be_set(call: Endpoint) -> None:
    index = DocumentIndex(parse_document(call.document, TIGHTEST.graphql))
    enforce_limits(collect_stats(index), TIGHTEST.graphql)


@pytest.mark.parametrize(("variable", "lowest"), LOWEST.items())
def test_a_limit_that_is_tighter_cannot_be_set(variable: str, lowest: int) -> None:
    with pytest.raises(SettingsError, match=f"{variable} must be a whole number from {lowest} to"):
        read_settings({variable: str(lowest - 1)})


async def test_a_full_page_and_a_full_filter_keep_the_tightest_limits(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    for _ in range(101):
        await add_post(acme.database, acme.workspace, {account: draft()})
    key = await add_api_key(acme.database, acme.workspace)
    platforms = ",".join(["instagram", *(f"p{number}" for number in range(99))])
    async with app_client(acme.database, token=key.token, settings=TIGHTEST) as client:
        page = success_data(await client.get(f"/v1/posts?limit=100&platform={platforms}"))

    assert (len(page["posts"]), page["total"]) == (100, 101)


async def test_a_full_bulk_and_a_full_list_of_posts_keep_the_tightest_limits(acme: Tenant) -> None:
    accounts = await add_accounts(acme.database, acme.workspace, 101)
    settings = {f"{number}": number for number in range(101)}
    post = {
        "content": "Sale",
        "account_ids": accounts,
        "platform_content": {"x": {"settings": settings}},
    }
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=TIGHTEST) as client:
        posts = [post] * 9 + [{**post, "account_ids": accounts[:2]}] * 41
        made = await client.request("POST", "/v1/posts/bulk", json={"posts": posts})
        post_ids = [str(uuid4()) for _ in range(200)]
        retried = await client.request(
            "POST", "/v1/posts/retry-failed", json={"post_ids": post_ids}
        )

    assert made.json()["data"]["summary"] == {"total": 50, "succeeded": 50, "failed": 0}
    assert success_data(retried)["retried_count"] == 0


def test_no_document_is_used_twice() -> None:
    assert len({call.document for call in ENDPOINTS}) == len(ENDPOINTS)
