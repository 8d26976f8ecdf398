"""A response that would be too large is replaced by an error, however often it has one long text."""

import orjson
import pytest

from tests.clients import Tenant
from tests.factories import add_accounts, add_post, published
from tests.graphql.tenant_objects import client_with_settings

LIMIT = {"GRAPHQL_MAX_RESPONSE_BYTES": "1000000"}
CONTENT = "ü" * 25_000
"""50,000 bytes in UTF-8."""
ACCOUNTS = 6
TOO_LARGE = (
    "The response would have more than 1,000,000 bytes, which is the limit. Request smaller pages, or the"
    " long fields `content`, `media` and `raw` once."
)

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
    assert error["message"] == TOO_LARGE


@pytest.mark.parametrize("fast_path", ["yes", "no"])
async def test_many_short_values_count(acme: Tenant, fast_path: str) -> None:
    accounts = await add_accounts(acme.database, acme.workspace, 150)
    for _ in range(2):
        await add_post(acme.database, acme.workspace, dict.fromkeys(accounts, published()))
    copies = " ".join(
        f"account{number}: account {{ accountId platform displayName isActive connectedAt createdAt }}"
        for number in range(25)
    )
    document = f"{{ posts(first: %d) {{ nodes {{ destinations {{ {copies} }} }} }} }}"
    async with client_with_settings(acme, **LIMIT, FAST_PATH=fast_path) as client:
        data = await client.query(document % 1)
        body = await client.execute(document % 2)

    assert [len(post["destinations"]) for post in data["posts"]["nodes"]] == [150]
    assert body == {
        "errors": [{"message": TOO_LARGE, "extensions": {"code": "LIMIT_EXCEEDED"}}],
    }


@pytest.mark.parametrize("fast_path", ["yes", "no"])
async def test_json_counts_as_often_as_it_is_selected(acme: Tenant, fast_path: str) -> None:
    platform_content: dict[str, object] = {"x": {"lists": [[]] * 15_000}}
    await add_post(acme.database, acme.workspace, {}, platform_content=platform_content)
    copies = " ".join(f"json{number}: platformContent" for number in range(23))
    async with client_with_settings(acme, **LIMIT, FAST_PATH=fast_path) as client:
        data = await client.query("{ posts { nodes { a: platformContent b: platformContent } } }")
        body = await client.execute(f"{{ posts {{ nodes {{ {copies} }} }} }}")

    assert data["posts"]["nodes"] == [{"a": platform_content, "b": platform_content}]
    assert body == {
        "errors": [{"message": TOO_LARGE, "extensions": {"code": "LIMIT_EXCEEDED"}}],
    }


async def test_created_posts_above_the_limit_are_null_with_one_error(acme: Tenant) -> None:
    document = (
        "mutation ($posts: [PostInput!]!) { createPosts(input: {posts: $posts})"
        f" {{ failed results {{ index post {{ {aliased(2)} }} }} }} }}"
    )
    posts = [{"content": f"{number}{CONTENT}", "draft": True} for number in range(12)]
    async with client_with_settings(acme, **LIMIT) as client:
        body = await client.execute(document, posts=posts)
        created = await client.query("{ posts { totalCount } }")

    assert created["posts"]["totalCount"] == 12
    payload = body["data"]["createPosts"]
    assert payload["failed"] == 0
    assert [result["index"] for result in payload["results"]] == [*range(12)]
    assert [result["post"] is None for result in payload["results"]] == [False] * 9 + [True] * 3
    (error,) = body["errors"]
    assert error["message"] == TOO_LARGE
    assert error["path"] == ["createPosts", "results", 9, "post", "content1"]
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED"}


async def test_large_response_is_encoded_like_a_small_one(acme: Tenant) -> None:
    await add_post(
        acme.database, acme.workspace, content=CONTENT, media=[{"a": [1.5, True, {}, []]}]
    )
    selection = "postId mediaIds platformContent media timezone destinations { status }"
    document = f"{{ posts {{ nodes {{ {selection} %s }} }} accounts {{ accountId }} }}"
    async with client_with_settings(acme) as client:
        small, large = [
            await client.request("POST", "/graphql", json={"query": document % fields})
            for fields in ("", aliased(25))
        ]

    expected = small.json()
    expected["data"]["posts"]["nodes"][0] |= {f"content{number}": CONTENT for number in range(25)}
    assert len(large.content) > 1_250_000
    assert large.content == orjson.dumps(expected)
