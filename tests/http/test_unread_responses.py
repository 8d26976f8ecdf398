"""Changes of an API key whose unread responses fill its share of the memory of large responses."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import orjson

from app.db.core.database import Database
from app.domain.ids import AccountId
from tests.clients import Client
from tests.factories import add_api_key
from tests.graphql.live_tenant import LiveTenant, open_live_tenant
from tests.graphql.transport.sse_client import open_stream

LARGE_MEDIA = [{"alt": 70_000 * "x"} for _ in range(10)]
LARGE_FIELDS = " ".join(f"media{number}: media" for number in range(24))
LARGE_QUERY = f"{{ posts(first: 3) {{ nodes {{ {LARGE_FIELDS} }} }} }}"
"""Query whose response has 50 MB for three posts: three responses fill the share of a key that is alone."""
CONTENTS = "{ posts(first: 10) { nodes { content } } }"
CREATE_POST = """
mutation ($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }
"""
LARGE_UPDATE = f"""
mutation ($postId: UUID!, $content: String!) {{
  updatePost(input: {{ postId: $postId, content: $content }}) {{ post {{ {LARGE_FIELDS} }} }}
}}
"""
"""Mutation whose response has 17 MB: eight responses fill the share of a key that is alone."""
UNSENT = {
    "data": None,
    "errors": [
        {
            "message": "The mutation was executed, but its result of 16,802,952 bytes is not sent, because"
            " too many large responses wait until their clients have read them. Query what it changed.",
            "extensions": {"code": "LIMIT_EXCEEDED"},
        }
    ],
}
REFUSAL = (
    "Too many large responses wait until their clients have read them, with this API key or in total."
    " Read each response to its end, or request smaller pages."
)


@asynccontextmanager
async def fill_share(tenant: LiveTenant) -> AsyncIterator[None]:
    """Leave large responses of three posts unread during the context."""
    for _ in range(3):
        await tenant.create_post("large", media=LARGE_MEDIA)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            stream = await stack.enter_async_context(
                open_stream(tenant.app, tenant.token, LARGE_QUERY, accept="application/json")
            )
            stream.stop_reading()
            assert (await stream.wait_started())[0] == 200
        yield


async def create_by_rest(client: Client, account: AccountId) -> httpx.Response:
    return await client.request(
        "POST",
        "/v1/posts",
        json={"content": "by REST", "account_ids": [account]},
        headers={"Idempotency-Key": "rest"},
    )


async def create_by_graphql(client: Client, account: AccountId) -> httpx.Response:
    variables = {
        "input": {"content": "by GraphQL", "accountIds": [account], "idempotencyKey": "graphql"}
    }
    return await client.request(
        "POST", "/graphql", json={"query": CREATE_POST, "variables": variables}
    )


async def stored_contents(client: Client) -> list[str]:
    nodes = (await client.query(CONTENTS))["posts"]["nodes"]
    return sorted(node["content"] for node in nodes)


async def test_a_refused_change_changes_nothing_and_may_be_repeated(database: Database) -> None:
    async with open_live_tenant(database) as tenant:
        client, account = tenant.client, tenant.account
        async with fill_share(tenant):
            rest = await create_by_rest(client, account)
            graphql = await create_by_graphql(client, account)

            assert (rest.status_code, rest.headers["Retry-After"]) == (503, "5")
            assert rest.json()["error"] == {
                "message": REFUSAL,
                "code": "service_unavailable",
                "retryable": True,
                "details": None,
            }
            assert (graphql.status_code, graphql.headers["Retry-After"]) == (503, "5")
            assert graphql.json() == {
                "errors": [
                    {
                        "message": REFUSAL,
                        "extensions": {"code": "SERVICE_UNAVAILABLE", "retryAfter": 5},
                    }
                ]
            }
            assert await stored_contents(client) == ["large"] * 3

        created = await create_by_rest(client, account), await create_by_graphql(client, account)
        repeated = await create_by_rest(client, account), await create_by_graphql(client, account)
        assert [response.status_code for response in created] == [201, 200]
        assert await stored_contents(client) == ["by GraphQL", "by REST", *["large"] * 3]
    assert repeated[0].json()["data"] == created[0].json()["data"]
    assert repeated[1].json() == created[1].json()


async def test_another_key_may_change_something_meanwhile(database: Database) -> None:
    async with open_live_tenant(database) as tenant:
        other = await add_api_key(database, tenant.workspace)
        async with fill_share(tenant):
            response = await create_by_rest(tenant.client.with_token(other.token), tenant.account)

    assert response.status_code == 201


async def test_results_of_simultaneous_changes_are_sent_until_they_fill_the_share(
    database: Database,
) -> None:
    async with open_live_tenant(database) as tenant:
        post_id = await tenant.create_post("large", media=LARGE_MEDIA)
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(
                    open_stream(
                        tenant.app,
                        tenant.token,
                        LARGE_UPDATE,
                        {"postId": str(post_id), "content": f"content {number}"},
                        accept="application/json",
                    )
                )
                for number in range(11)
            ]
            for stream in streams:
                stream.stop_reading()
            lengths = {
                stream: int((await stream.wait_started())[1]["content-length"])
                for stream in streams
            }
            unsent = [stream for stream, length in lengths.items() if length < 1000]
            assert len(streams) - len(unsent) == 8
            for stream in unsent:
                stream.resume_reading()
                message = await stream.next_asgi_message()
                assert orjson.loads(message["body"]) == UNSENT
        post = (await tenant.client.query("{ posts(first: 1) { nodes { version } } }"))["posts"]
    assert post == {"nodes": [{"version": 12}]}
