"""What the field's clients are told of changes and of mistakes, by sockets and by events. No restarts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command_processes import fork
from tests.contract.subscription_clients import SubscriptionClients, PostEditor, start_clients
from tests.servers import DEMO_POST, TIMEOUT_SECONDS, ServerProcess

CLIENTS = ["graphql-ws", "graphql-sse", "apollo", "urql", "urql by graphql-sse", "urql by fetch"]
UNKNOWN_KEY = "pe_live_" + "0" * 32
MANY_EVENTS = 1000
INVALID_KEY_MESSAGE = "The API key is unknown, revoked or expired. Use another key."

POST_CHANGED_SUBSCRIPTION = """
    subscription Follow($postId: UUID!, $after: String) {
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


class ServerFixture:
    """A server that tests may write to, and everybody who uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = {"DATABASE_URL": f"sqlite:///{folder / 'live.db'}", "RATE_LIMIT": "off"}
        logs = folder / "logs"
        logs.mkdir()
        self.server = ServerProcess(logs, self._settings, "--demo")
        self.server.wait_until_ready()
        self.writer = PostEditor(self.server)

    def key_of_another_workspace(self) -> str:
        self._command("workspaces", "create", "other")
        return self._command("keys", "create", "--workspace", "other", "--name", "key").strip()

    def _command(self, *arguments: str) -> str:
        out, log = self._folder / "command.out", self._folder / "command.log"
        process = fork(arguments, {**os.environ, **self._settings}, out, log)
        assert process.wait(TIMEOUT_SECONDS) == 0, log.read_text()
        return out.read_text()

    def stop(self) -> None:
        self.writer.close()
        self.server.stop()
        assert [each for each in self.server.log_events() if each["level"] != "info"] == []


@pytest.fixture(scope="module")
def writable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFixture]:
    service = ServerFixture(tmp_path_factory.mktemp("live"))
    try:
        yield service
        service.stop()
    finally:
        service.server.kill()


@pytest.fixture(scope="module")
def editor(service: ServerFixture) -> PostEditor:
    return service.writer


@pytest.fixture(scope="module")
def clients(service: ServerFixture) -> Iterator[SubscriptionClients]:
    with start_clients(service.server.url) as clients:
        yield clients


def data_message(value: dict[str, Any]) -> dict[str, Any]:
    return {"data": value, "errors": []}


def post_changed_message(cursor: str, operation: str, post: dict[str, Any]) -> dict[str, Any]:
    change = {"__typename": "Change", "type": "POST_CHANGED", "operation": operation}
    told = {"__typename": "PostChange", "cursor": cursor, "change": change, "post": post}
    return data_message({"postChanged": told})


@all_clients
def test_each_change_is_told_as_it_happens(writer: PostEditor, clients: SubscriptionClients, client: str) -> None:
    post_id, start = writer.create_draft("Spring"), writer.latest_cursor()
    following = clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, postId=post_id, after=start)

    for content in ("Summer", "Autumn"):
        writer.update_content(post_id, content)
        told = following.next_message()
        post = told["data"]["postChanged"]["post"]
        cursor = writer.cursors_after(start, post_id)[-1]
        assert told == post_changed_message(cursor, "updatePost", post)
        assert post == {"__typename": "Post", "id": post["id"], "content": content}
    following.stop()


@all_clients
def test_without_a_cursor_it_begins_with_what_comes_next(
    writer: PostEditor, clients: SubscriptionClients, client: str
) -> None:
    post_id = writer.create_draft("Spring")
    following = clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, postId=post_id)
    told: list[Any] = []
    for number in range(MANY_EVENTS):
        writer.update_content(post_id, f"Summer {number}")
        if told := following.drain_messages():
            break  # nobody is told when it has begun
    assert told[0]["data"]["postChanged"]["change"]["operation"] == "updatePost"
    following.stop()


@all_clients
def test_who_stops_is_told_no_more_and_who_goes_on_is(
    writer: PostEditor, clients: SubscriptionClients, client: str
) -> None:
    post_id, start = writer.create_draft("Spring"), writer.latest_cursor()
    stopping, going_on = (
        clients.subscribe(client, f"{POST_CHANGED_SUBSCRIPTION}# {number}", postId=post_id, after=start)
        for number in range(2)
    )
    writer.update_content(post_id, "Summer")
    assert stopping.next_message() == going_on.next_message()

    stopping.stop()
    writer.update_content(post_id, "Autumn")
    assert going_on.next_message()["data"]["postChanged"]["post"]["content"] == "Autumn"
    assert [each for each in stopping.drain_messages() if each != "end"] == []
    going_on.stop()


@all_clients
def test_a_query_and_a_mutation_go_the_same_way(clients: SubscriptionClients, client: str) -> None:
    query = clients.subscribe(client, "query Viewer { viewer { __typename scopes } }")
    post = {"content": "By mutation", "draft": True}
    mutation = clients.subscribe(client, CREATE_MUTATION, input=post)

    assert query.next_message() == data_message(
        {"viewer": {"__typename": "Viewer", "scopes": ["READ", "WRITE", "PUBLISH"]}}
    )
    made = {"__typename": "Post", "content": "By mutation", "status": "DRAFT"}
    assert mutation.next_message() == data_message(
        {"createPost": {"__typename": "CreatePostPayload", "post": made}}
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
        "subscription Follow { nothing }",
        {},
        [
            "Cannot query field 'nothing' on type 'Subscription'.",
            {"code": "GRAPHQL_VALIDATION_FAILED"},
        ],
    ),
    "type": (
        "subscription Follow($types: [Zzz!]) { changes(types: $types) { cursor } }",
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
@pytest.mark.parametrize("mistake", INVALID_OPERATIONS)
def test_a_mistake_has_its_code(clients: SubscriptionClients, client: str, mistake: str) -> None:
    query, variables, error = INVALID_OPERATIONS[mistake]
    assert clients.subscribe(client, query, **variables).next_message() == {"data": None, "errors": [error]}


@pytest.fixture(scope="module")
def other_key(service: ServerFixture) -> str:
    return service.key_of_another_workspace()


@all_clients
def test_what_is_of_another_workspace_is_not_to_be_had(
    writer: PostEditor, clients: SubscriptionClients, other_key: str, client: str
) -> None:
    by_id = clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, key=other_key, postId=DEMO_POST)
    assert by_id.next_message() == {"data": None, "errors": [NOT_FOUND]}

    changes = "subscription Follow($after: String) { changes(after: $after) { cursor } }"
    by_cursor = clients.subscribe(client, changes, key=other_key, after=writer.latest_cursor())
    assert by_cursor.next_message() == {"data": None, "errors": [BAD_CURSOR]}


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ("graphql-ws", {"failure": [4403, INVALID_KEY_MESSAGE]}),
        ("graphql-sse, once", {"failure": "Server responded with 401: Unauthorized"}),
        (
            "apollo",
            {"data": None, "errors": [[f"Socket closed with event 4403 {INVALID_KEY_MESSAGE}", None]]},
        ),
        ("urql", {"failure": [4403, INVALID_KEY_MESSAGE]}),
        ("urql by fetch", {"data": None, "errors": [[INVALID_KEY_MESSAGE, {"code": "INVALID_API_KEY"}]]}),
    ],
)
def test_a_refused_key_is_said_to_be_refused(clients: SubscriptionClients, client: str, told: Any) -> None:
    assert clients.subscribe(client, POST_CHANGED_SUBSCRIPTION, key=UNKNOWN_KEY, postId=DEMO_POST).next_message() == told


def test_urql_gets_json_where_there_is_one_answer_though_it_could_read_events(
    clients: SubscriptionClients,
) -> None:
    name, answers = "urql by fetch", "answers to urql by fetch"
    clients.drain_messages(answers)
    post = {"content": "By mutation", "draft": True}
    for operation in (
        clients.subscribe(name, "query Me { viewer { __typename } }"),
        clients.subscribe(name, CREATE_MUTATION, input=post),
    ):
        assert operation.next_message()["errors"] == []
        assert clients.next_message(answers) == "application/graphql-response+json; charset=utf-8"

    following = clients.subscribe(name, "subscription Follow { changes { cursor } }")
    assert clients.next_message(answers) == "text/event-stream; charset=utf-8"
    following.stop()


def test_apollo_keeps_what_it_shows_up_to_date(writer: PostEditor, clients: SubscriptionClients) -> None:
    post_id, start = writer.create_draft("Spring"), writer.latest_cursor()
    query = """
        query Shown($postId: UUID!) {
          post(postId: $postId) { __typename id content status }
        }
        """
    shown = clients.subscribe("apollo", query, postId=post_id)
    before = shown.next_message()["data"]["post"]
    assert before["content"] == "Spring"
    clients.drain_messages("answers to apollo")

    following = clients.subscribe("apollo", POST_CHANGED_SUBSCRIPTION, postId=post_id, after=start)
    writer.update_content(post_id, "Summer")

    assert following.next_message()["data"]["postChanged"]["post"]["id"] == before["id"]
    assert shown.next_message() == data_message({"post": {**before, "content": "Summer"}})
    assert clients.drain_messages("answers to apollo") == []
    following.stop()
    shown.stop()
