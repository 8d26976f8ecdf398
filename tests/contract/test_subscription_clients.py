"""Changes and errors that third-party clients receive over WebSockets and server-sent events."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.db.core.database import Database
from tests.contract.subscription_clients import PostEditor, SubscriptionClients, start_clients
from tests.factories import add_api_key, add_workspace
from tests.servers import DEMO_POST, ServerProcess, run_server

CLIENTS = ["graphql-ws", "graphql-sse", "apollo", "urql", "urql by graphql-sse", "urql by fetch"]
UNKNOWN_KEY = "pe_live_" + "0" * 32
MANY_EVENTS = 1000
INVALID_KEY_MESSAGE = "The API key is unknown, revoked or expired. Use another key."

POST_CHANGED_SUBSCRIPTION = """
    subscription Changes($postId: UUID!, $after: String) {
      postChanged(postId: $postId, after: $after) {
        __typename
        cursor
        change { __typename type operation }
        post { __typename id content }
      }
    }
    """
CREATE_MUTATION = """
    mutation Create($input: CreatePostInput!) {
      createPost(input: $input) { __typename post { __typename content status } }
    }
    """

all_clients = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def writable_server(folder: Path) -> Iterator[ServerProcess]:
    """A server that tests may write to."""
    settings = {"DATABASE_URL": f"sqlite:///{folder / 'live.db'}", "RATE_LIMIT": "off"}
    with run_server(folder, settings, "--demo") as server:
        yield server
    assert [event for event in server.log_events() if event["level"] != "info"] == []


@pytest.fixture(scope="module")
def editor(writable_server: ServerProcess) -> Iterator[PostEditor]:
    with closing(PostEditor(writable_server)) as editor:
        yield editor


@pytest.fixture(scope="module")
def clients(writable_server: ServerProcess) -> Iterator[SubscriptionClients]:
    with start_clients(writable_server.url) as clients:
        yield clients


def data_message(value: dict[str, Any]) -> dict[str, Any]:
    return {"data": value, "errors": []}


def post_changed_message(cursor: str, operation: str, post: dict[str, Any]) -> dict[str, Any]:
    change = {"__typename": "Change", "type": "POST_CHANGED", "operation": operation}
    value = {"__typename": "PostChange", "cursor": cursor, "change": change, "post": post}
    return data_message({"postChanged": value})


@all_clients
def test_each_change_is_received_as_it_happens(
    editor: PostEditor, clients: SubscriptionClients, client: str
) -> None:
    post_id, start = editor.create_draft("Spring"), editor.latest_cursor()
    subscription = clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, postId=post_id, after=start)

    for content in ("Summer", "Autumn"):
        editor.update_content(post_id, content)
        message = subscription.next_message()
        post = message["data"]["postChanged"]["post"]
        cursor = editor.cursors_after(start, post_id)[-1]
        assert message == post_changed_message(cursor, "updatePost", post)
        assert post == {"__typename": "Post", "id": post["id"], "content": content}
    subscription.stop()


@all_clients
def test_subscription_without_a_cursor_starts_with_the_next_change(
    editor: PostEditor, clients: SubscriptionClients, client: str
) -> None:
    post_id = editor.create_draft("Spring")
    subscription = clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, postId=post_id)
    messages: list[Any] = []
    for number in range(MANY_EVENTS):
        editor.update_content(post_id, f"Summer {number}")
        if messages := subscription.drain_messages():
            break  # clients do not report the start of a subscription
    assert messages[0]["data"]["postChanged"]["change"]["operation"] == "updatePost"
    subscription.stop()


@all_clients
def test_response_of_many_pieces_is_received(
    editor: PostEditor, clients: SubscriptionClients, client: str
) -> None:
    post_id, start = editor.create_draft("Spring"), editor.latest_cursor()
    subscription = clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, postId=post_id, after=start)
    content = 90_000 * "ä"
    editor.update_content(post_id, content)
    assert subscription.next_message()["data"]["postChanged"]["post"]["content"] == content
    subscription.stop()


@all_clients
def test_stopped_subscription_receives_nothing_while_another_continues(
    editor: PostEditor, clients: SubscriptionClients, client: str
) -> None:
    post_id, start = editor.create_draft("Spring"), editor.latest_cursor()
    stopped, continuing = (
        clients.subscribe(
            client, f"{POST_CHANGED_SUBSCRIPTION}# {number}", postId=post_id, after=start
        )
        for number in range(2)
    )
    editor.update_content(post_id, "Summer")
    assert stopped.next_message() == continuing.next_message()

    stopped.stop()
    editor.update_content(post_id, "Autumn")
    assert continuing.next_message()["data"]["postChanged"]["post"]["content"] == "Autumn"
    assert [message for message in stopped.drain_messages() if message != "end"] == []
    continuing.stop()


@all_clients
def test_queries_and_mutations_use_the_same_transport(
    clients: SubscriptionClients, client: str
) -> None:
    query = clients.subscribe(client, "query Viewer { viewer { __typename scopes } }")
    post = {"content": "By mutation", "draft": True}
    mutation = clients.subscribe(client, CREATE_MUTATION, input=post)

    assert query.next_message() == data_message(
        {"viewer": {"__typename": "Viewer", "scopes": ["READ", "WRITE", "PUBLISH"]}}
    )
    created = {"__typename": "Post", "content": "By mutation", "status": "DRAFT"}
    assert mutation.next_message() == data_message(
        {"createPost": {"__typename": "CreatePostPayload", "post": created}}
    )


NOT_FOUND = [
    "The post was not found: this workspace has none with that id.",
    {"code": "NOT_FOUND", "field": "postId"},
]
BAD_CURSOR = [
    "after is not a cursor of this list in this order. Pass one that an earlier page returned,"
    " unchanged, or leave it out.",
    {"code": "BAD_CURSOR", "field": "after"},
]
INVALID_OPERATIONS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "document": (
        "subscription Changes { nothing }",
        {},
        [
            "Cannot query field 'nothing' on type 'Subscription'.",
            {"code": "GRAPHQL_VALIDATION_FAILED"},
        ],
    ),
    "type": (
        "subscription Changes($types: [Zzz!]) { changes(types: $types) { cursor } }",
        {},
        ["Unknown type 'Zzz'.", {"code": "GRAPHQL_VALIDATION_FAILED"}],
    ),
    "cursor": (POST_CHANGED_SUBSCRIPTION, {"postId": DEMO_POST, "after": "x"}, BAD_CURSOR),
    "id": (
        POST_CHANGED_SUBSCRIPTION,
        {"postId": "x"},
        [
            f"postId: The id must be a UUID in its 36-character form, such as {DEMO_POST}.",
            {"code": "INVALID_ID", "field": "postId"},
        ],
    ),
    "post": (POST_CHANGED_SUBSCRIPTION, {"postId": DEMO_POST.replace("f", "0")}, NOT_FOUND),
}


@all_clients
@pytest.mark.parametrize("invalid", INVALID_OPERATIONS)
def test_invalid_operation_has_an_error_code(
    clients: SubscriptionClients, client: str, invalid: str
) -> None:
    query, variables, error = INVALID_OPERATIONS[invalid]
    message = clients.subscribe(client, query, **variables).next_message()
    assert message == {"data": None, "errors": [error]}


@pytest.fixture(scope="module")
def other_key(writable_server: ServerProcess, folder: Path) -> str:
    """A key of another workspace."""

    async def add_key() -> str:
        async with Database.from_file(folder / "live.db") as database:
            return (await add_api_key(database, await add_workspace(database))).token

    return asyncio.run(add_key())


@all_clients
def test_posts_and_cursors_of_another_workspace_are_not_found(
    editor: PostEditor, clients: SubscriptionClients, other_key: str, client: str
) -> None:
    by_id = clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, key=other_key, postId=DEMO_POST)
    assert by_id.next_message() == {"data": None, "errors": [NOT_FOUND]}

    changes = "subscription Changes($after: String) { changes(after: $after) { cursor } }"
    by_cursor = clients.subscribe(client, changes, key=other_key, after=editor.latest_cursor())
    assert by_cursor.next_message() == {"data": None, "errors": [BAD_CURSOR]}


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ("graphql-ws", {"failure": [4403, INVALID_KEY_MESSAGE]}),
        ("graphql-sse, once", {"failure": "Server responded with 401: Unauthorized"}),
        (
            "apollo",
            {
                "data": None,
                "errors": [[f"Socket closed with event 4403 {INVALID_KEY_MESSAGE}", None]],
            },
        ),
        ("urql", {"failure": [4403, INVALID_KEY_MESSAGE]}),
        (
            "urql by fetch",
            {"data": None, "errors": [[INVALID_KEY_MESSAGE, {"code": "INVALID_API_KEY"}]]},
        ),
    ],
)
def test_invalid_key_is_reported(clients: SubscriptionClients, client: str, message: Any) -> None:
    subscription = clients.subscribe(
        client, POST_CHANGED_SUBSCRIPTION, key=UNKNOWN_KEY, postId=DEMO_POST
    )
    assert subscription.next_message() == message


def test_urql_receives_json_for_single_results_and_a_stream_for_subscriptions(
    clients: SubscriptionClients,
) -> None:
    name, responses = "urql by fetch", "responses to urql by fetch"
    clients.drain_messages(responses)
    post = {"content": "By mutation", "draft": True}
    for operation in (
        clients.subscribe(name, "query Me { viewer { __typename } }"),
        clients.subscribe(name, CREATE_MUTATION, input=post),
    ):
        assert operation.next_message()["errors"] == []
        assert clients.next_message(responses) == "application/graphql-response+json; charset=utf-8"

    subscription = clients.subscribe(name, "subscription Changes { changes { cursor } }")
    assert clients.next_message(responses) == "text/event-stream; charset=utf-8"
    subscription.stop()


def test_apollo_updates_cached_queries_from_subscriptions(
    editor: PostEditor, clients: SubscriptionClients
) -> None:
    post_id, start = editor.create_draft("Spring"), editor.latest_cursor()
    query = """
        query Cached($postId: UUID!) {
          post(postId: $postId) { __typename id content status }
        }
        """
    cached = clients.subscribe("apollo", query, postId=post_id)
    before = cached.next_message()["data"]["post"]
    assert before["content"] == "Spring"
    clients.drain_messages("responses to apollo")

    subscription = clients.subscribe(
        "apollo", POST_CHANGED_SUBSCRIPTION, postId=post_id, after=start
    )
    editor.update_content(post_id, "Summer")

    assert subscription.next_message()["data"]["postChanged"]["post"]["id"] == before["id"]
    assert cached.next_message() == data_message({"post": {**before, "content": "Summer"}})
    assert clients.drain_messages("responses to apollo") == []
    subscription.stop()
    cached.stop()
