"""A response that would be too large is replaced by an error, however often it has one long text."""

import pytest

from app.graphql.engine.errors import OperationResult, to_json
from tests.clients import Tenant
from tests.factories import add_accounts, add_post, published
from tests.graphql.tenant_objects import client_with_settings

LIMIT = {"GRAPHQL_MAX_RESPONSE_BYTES": "1000000"}
CONTENT = "ü" * 25_000
"""50,000 bytes in UTF-8."""
ACCOUNTS = 6

DOCUMENTS = {
    "joined rows": "{ posts { nodes { destinations { status } %s } } }",
    "loaded rows": "{ destinations { nodes { post { %s destinations { attemptLog { raw } } } } } }",
    "one row": "{ destinations { nodes { post { postId %s } } } }",
}


def aliased(count: int) -> str:
    return " ".join(f"content{number}: content" for number in range(count))


async def add_long_post(tenant: Tenant) -> None:
    accounts = await add_accounts(tenant.database, tenant.workspace, ACCOUNTS)
    await add_post(
        tenant.database,
        tenant.workspace,
        {account: published() for account in accounts},
        content=CONTENT,
    )


@pytest.mark.parametrize("fast_path", ["yes", "no"])
@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [("joined rows", 19, 20), ("loaded rows", 3, 4), ("one row", 3, 4)],
)
async def test_long_text_counts_as_often_as_the_response_has_it(
    acme: Tenant, name: str, allowed: int, refused: int, fast_path: str
) -> None:
    await add_long_post(acme)
    async with client_with_settings(acme, **LIMIT, FAST_PATH=fast_path) as client:
        data = await client.query(DOCUMENTS[name] % aliased(allowed))
        body = await client.execute(DOCUMENTS[name] % aliased(refused))

    assert str(data).count(CONTENT) == allowed * (1 if name == "joined rows" else ACCOUNTS)
    assert "data" not in body
    (error,) = body["errors"]
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert error["message"].startswith("The response would have about 1,")
    assert error["message"].endswith(
        " bytes; at most 1,000,000 are allowed. Request smaller pages, or the long fields `content`,"
        " `media` and `raw` once."
    )


async def test_mutation_with_a_too_large_response_is_executed(acme: Tenant) -> None:
    accounts = await add_accounts(acme.database, acme.workspace, ACCOUNTS)
    document = (
        "mutation ($input: CreatePostInput!) { createPost(input: $input) { post"
        f" {{ destinations {{ post {{ {aliased(4)} }} }} }} }} }}"
    )
    async with client_with_settings(acme, **LIMIT) as client:
        body = await client.execute(document, input={"content": CONTENT, "accountIds": accounts})
        created = await client.query("{ posts { nodes { content } } }")

    assert created["posts"]["nodes"] == [{"content": CONTENT}]
    assert body["data"] is None
    (error,) = body["errors"]
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert error["message"].endswith(
        "at most 1,000,000 are allowed. The mutation was executed: read its results in smaller pages."
    )


@pytest.mark.parametrize("max_text_bytes", [0, 1 << 40])
async def test_large_and_small_responses_are_encoded_the_same(max_text_bytes: int) -> None:
    data: dict[str, object] = {
        "a": [{"b": {"c": [{"d": {"e": ["ü", 1.5, None, True]}}]}}, []],
        "f": {},
        "g": None,
    }
    result = OperationResult(is_executed=True, data=data, errors=[], max_text_bytes=max_text_bytes)

    assert await to_json(result) == (
        '{"data":{"a":[{"b":{"c":[{"d":{"e":["ü",1.5,null,true]}}]}},[]],"f":{},"g":null}}'.encode()
    )
