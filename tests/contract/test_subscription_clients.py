"""What the field's clients are told of changes and of mistakes, by sockets and by events. No restarts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command_processes import fork
from tests.contract.subscription_clients import Clients, Writer, clients_of
from tests.servers import DEMO_POST, TIMEOUT_SECONDS, ServerProcess

CLIENTS = ["graphql-ws", "graphql-sse", "apollo", "urql", "urql by graphql-sse", "urql by fetch"]
UNKNOWN_KEY = "pe_live_" + "0" * 32
MANY = 1000
REFUSED = "The API key is unknown, revoked or expired. Use another key."

FOLLOW = """
    subscription Follow($postId: UUID!, $after: String) {
      postChanged(postId: $postId, after: $after) {
        __typename
        cursor
        change { __typename type operation }
        post { __typename id content }
      }
    }
    """
CREATE = """
    mutation Create($input: CreatePostInput!) {
      createPost(input: $input) { __typename post { __typename content status } }
    }
    """

every_client = pytest.mark.parametrize("client", CLIENTS)


class Service:
    """A server that tests may write to, and everybody who uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = {"DATABASE_URL": f"sqlite:///{folder / 'live.db'}", "RATE_LIMIT": "off"}
        logs = folder / "logs"
        logs.mkdir()
        self.server = ServerProcess(logs, self._settings, "--demo")
        self.server.wait_until_ready()
        self.writer = Writer(self.server)

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
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("live"))
    try:
        yield service
        service.stop()
    finally:
        service.server.kill()


@pytest.fixture(scope="module")
def writer(service: Service) -> Writer:
    return service.writer


@pytest.fixture(scope="module")
def clients(service: Service) -> Iterator[Clients]:
    with clients_of(service.server.url) as clients:
        yield clients


def data(found: dict[str, Any]) -> dict[str, Any]:
    return {"data": found, "errors": []}


def post_changed(cursor: str, operation: str, post: dict[str, Any]) -> dict[str, Any]:
    change = {"__typename": "Change", "type": "POST_CHANGED", "operation": operation}
    told = {"__typename": "PostChange", "cursor": cursor, "change": change, "post": post}
    return data({"postChanged": told})


@every_client
def test_each_change_is_told_as_it_happens(writer: Writer, clients: Clients, client: str) -> None:
    post_id, start = writer.draft("Spring"), writer.newest()
    following = clients.begin(client, FOLLOW, postId=post_id, after=start)

    for content in ("Summer", "Autumn"):
        writer.rewrite(post_id, content)
        told = following.told()
        post = told["data"]["postChanged"]["post"]
        cursor = writer.cursors(start, post_id)[-1]
        assert told == post_changed(cursor, "updatePost", post)
        assert post == {"__typename": "Post", "id": post["id"], "content": content}
    following.stop()


@every_client
def test_without_a_cursor_it_begins_with_what_comes_next(
    writer: Writer, clients: Clients, client: str
) -> None:
    post_id = writer.draft("Spring")
    following = clients.begin(client, FOLLOW, postId=post_id)
    told: list[Any] = []
    for number in range(MANY):
        writer.rewrite(post_id, f"Summer {number}")
        if told := following.told_since():
            break  # nobody is told when it has begun
    assert told[0]["data"]["postChanged"]["change"]["operation"] == "updatePost"
    following.stop()


@every_client
def test_who_stops_is_told_no_more_and_who_goes_on_is(
    writer: Writer, clients: Clients, client: str
) -> None:
    post_id, start = writer.draft("Spring"), writer.newest()
    stopping, going_on = (
        clients.begin(client, f"{FOLLOW}# {number}", postId=post_id, after=start)
        for number in range(2)
    )
    writer.rewrite(post_id, "Summer")
    assert stopping.told() == going_on.told()

    stopping.stop()
    writer.rewrite(post_id, "Autumn")
    assert going_on.told()["data"]["postChanged"]["post"]["content"] == "Autumn"
    assert [each for each in stopping.told_since() if each != "end"] == []
    going_on.stop()


@every_client
def test_a_query_and_a_mutation_go_the_same_way(clients: Clients, client: str) -> None:
    query = clients.begin(client, "query Viewer { viewer { __typename scopes } }")
    post = {"content": "By mutation", "draft": True}
    mutation = clients.begin(client, CREATE, input=post)

    assert query.told() == data(
        {"viewer": {"__typename": "Viewer", "scopes": ["READ", "WRITE", "PUBLISH"]}}
    )
    made = {"__typename": "Post", "content": "By mutation", "status": "DRAFT"}
    assert mutation.told() == data(
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
MISTAKES: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
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
    "cursor": (FOLLOW, {"postId": DEMO_POST, "after": "x"}, BAD_CURSOR),
    "id": (
        FOLLOW,
        {"postId": "x"},
        [
            f"postId: The id must be a UUID in its 36-character form, such as {DEMO_POST}.",
            {"code": "INVALID_ID", "field": "postId"},
        ],
    ),
    "post": (FOLLOW, {"postId": DEMO_POST.replace("f", "0")}, NOT_FOUND),
}


@every_client
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_its_code(clients: Clients, client: str, mistake: str) -> None:
    query, variables, error = MISTAKES[mistake]
    assert clients.begin(client, query, **variables).told() == {"data": None, "errors": [error]}


@pytest.fixture(scope="module")
def other_key(service: Service) -> str:
    return service.key_of_another_workspace()


@every_client
def test_what_is_of_another_workspace_is_not_to_be_had(
    writer: Writer, clients: Clients, other_key: str, client: str
) -> None:
    by_id = clients.begin(client, FOLLOW, key=other_key, postId=DEMO_POST)
    assert by_id.told() == {"data": None, "errors": [NOT_FOUND]}

    changes = "subscription Follow($after: String) { changes(after: $after) { cursor } }"
    by_cursor = clients.begin(client, changes, key=other_key, after=writer.newest())
    assert by_cursor.told() == {"data": None, "errors": [BAD_CURSOR]}


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ("graphql-ws", {"failure": [4403, REFUSED]}),
        ("graphql-sse, once", {"failure": "Server responded with 401: Unauthorized"}),
        (
            "apollo",
            {"data": None, "errors": [[f"Socket closed with event 4403 {REFUSED}", None]]},
        ),
        ("urql", {"failure": [4403, REFUSED]}),
        ("urql by fetch", {"data": None, "errors": [[REFUSED, {"code": "INVALID_API_KEY"}]]}),
    ],
)
def test_a_refused_key_is_said_to_be_refused(clients: Clients, client: str, told: Any) -> None:
    assert clients.begin(client, FOLLOW, key=UNKNOWN_KEY, postId=DEMO_POST).told() == told


def test_urql_gets_json_where_there_is_one_answer_though_it_could_read_events(
    clients: Clients,
) -> None:
    name, answers = "urql by fetch", "answers to urql by fetch"
    clients.told_since(answers)
    post = {"content": "By mutation", "draft": True}
    for operation in (
        clients.begin(name, "query Me { viewer { __typename } }"),
        clients.begin(name, CREATE, input=post),
    ):
        assert operation.told()["errors"] == []
        assert clients.told(answers) == "application/graphql-response+json; charset=utf-8"

    following = clients.begin(name, "subscription Follow { changes { cursor } }")
    assert clients.told(answers) == "text/event-stream; charset=utf-8"
    following.stop()


def test_apollo_keeps_what_it_shows_up_to_date(writer: Writer, clients: Clients) -> None:
    post_id, start = writer.draft("Spring"), writer.newest()
    query = """
        query Shown($postId: UUID!) {
          post(postId: $postId) { __typename id content status }
        }
        """
    shown = clients.begin("apollo", query, postId=post_id)
    before = shown.told()["data"]["post"]
    assert before["content"] == "Spring"
    clients.told_since("answers to apollo")

    following = clients.begin("apollo", FOLLOW, postId=post_id, after=start)
    writer.rewrite(post_id, "Summer")

    assert following.told()["data"]["postChanged"]["post"]["id"] == before["id"]
    assert shown.told() == data({"post": {**before, "content": "Summer"}})
    assert clients.told_since("answers to apollo") == []
    following.stop()
    shown.stop()
