"""GraphQL documents of the REST endpoints: valid, named, and within the tightest limits."""

from uuid import uuid4

import pytest
from graphql import OperationDefinitionNode, OperationType, parse, validate

from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.limits import collect_stats, enforce_limits, parse_document
from app.rest.endpoints import ENDPOINTS, Endpoint
from app.settings import GraphQLLimits, SettingsError, read_settings
from tests.clients import Tenant, app_client
from tests.factories import add_account, add_accounts, add_api_key, add_post, draft
from tests.rest.envelope import success_data

SCHEMA = create_schema(GraphQLLimits()).graphql_schema
LOWEST_LIMITS = {
    "GRAPHQL_MAX_DEPTH": 5,
    "GRAPHQL_MAX_TOKENS": 200,
    "GRAPHQL_MAX_FIELDS": 50,
    "GRAPHQL_MAX_ALIASES": 30,
    "GRAPHQL_MAX_ROOT_FIELDS": 1,
    "GRAPHQL_MAX_OPERATIONS": 1,
    "GRAPHQL_MAX_NODES": 100,
    "GRAPHQL_MAX_IDS": 100,
}
TIGHTEST_SETTINGS = read_settings(
    {
        **{variable: str(lowest) for variable, lowest in LOWEST_LIMITS.items()},
        "GRAPHQL_MAX_DIRECTIVES": "0",
        "RATE_LIMIT": "off",
    }
)


def endpoint_name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=endpoint_name)
def test_document_is_one_named_valid_operation_of_the_type_of_its_method(
    endpoint: Endpoint,
) -> None:
    document = parse(endpoint.operation.document)
    operations = [
        definition
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    changes_nothing = endpoint.method == "GET" or endpoint.path == "/posts/check"
    kind = OperationType.QUERY if changes_nothing else OperationType.MUTATION
    assert [operation.operation for operation in operations] == [kind]
    assert operations[0].name is not None
    assert validate(SCHEMA, document) == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=endpoint_name)
def test_document_fits_tightest_limits(endpoint: Endpoint) -> None:
    document = parse_document(endpoint.operation.document, TIGHTEST_SETTINGS.graphql)
    enforce_limits(collect_stats(DocumentIndex(document)), TIGHTEST_SETTINGS.graphql)


@pytest.mark.parametrize(("variable", "lowest"), LOWEST_LIMITS.items())
def test_limit_below_minimum_is_refused(variable: str, lowest: int) -> None:
    with pytest.raises(SettingsError, match=f"{variable} must be a whole number from {lowest} to"):
        read_settings({variable: str(lowest - 1)})


async def test_full_page_and_filter_fit_tightest_limits(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    for _ in range(101):
        await add_post(acme.database, acme.workspace, {account: draft()})
    key = await add_api_key(acme.database, acme.workspace)
    platforms = ",".join(["instagram", *(f"p{number}" for number in range(99))])
    async with app_client(acme.database, token=key.token, settings=TIGHTEST_SETTINGS) as client:
        page = success_data(await client.get(f"/v1/posts?limit=100&platform={platforms}"))

    assert (len(page["posts"]), page["total"]) == (100, 101)


async def test_full_bulk_and_id_list_fit_tightest_limits(acme: Tenant) -> None:
    accounts = await add_accounts(acme.database, acme.workspace, 101)
    settings = {f"{number}": number for number in range(101)}
    post = {
        "content": "Sale",
        "account_ids": accounts,
        "platform_content": {"x": {"settings": settings}},
    }
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=TIGHTEST_SETTINGS) as client:
        posts = [post] * 9 + [{**post, "account_ids": accounts[:2]}] * 41
        created = await client.request("POST", "/v1/posts/bulk", json={"posts": posts})
        post_ids = [str(uuid4()) for _ in range(200)]
        retried = await client.request(
            "POST", "/v1/posts/retry-failed", json={"post_ids": post_ids}
        )

    assert created.json()["data"]["summary"] == {"total": 50, "succeeded": 50, "failed": 0}
    assert success_data(retried)["retried_count"] == 0


def test_documents_are_distinct() -> None:
    assert len({endpoint.operation.document for endpoint in ENDPOINTS}) == len(ENDPOINTS)
