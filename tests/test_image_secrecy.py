"""Images in `data:` URLs are read by publishers only: no answer, event, log or other table has them."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.graphql.engine.executable_schema import create_schema
from app.services.secret_cipher import new_secrets_key
from app.settings import GraphQLLimits
from tests.clients import run_with_database
from tests.db.all_tables import dump_rows
from tests.domain.test_media import URL, image_url
from tests.factories import add_account, add_api_key, add_workspace
from tests.graphql.generated_queries import build_argumentless_query
from tests.graphql.schema.mutations.publisher_client import mutation_document
from tests.graphql.schema.mutations.test_posts import CREATE, CREATE_SEVERAL, UPDATE
from tests.graphql.tenants import NO_LIMITS
from tests.servers import ServerStarter
from tests.test_credential_secrecy import RecordingClient

pytestmark = pytest.mark.slow

SETTINGS: Any = {**NO_LIMITS, "LOG_LEVEL": "debug", "SECRETS_KEY": new_secrets_key()}
IMAGE = b"\x89PNG\r\n\x1a\nopen sesame, said Ali Baba"
ENCODED = base64.b64encode(IMAGE).decode()
MEDIA = [
    {"url": f"data:image/png;base64,{ENCODED}", "alt": "A cave"},
    {"url": f"DATA:,{quote(IMAGE)}"},
]
FORMS = (ENCODED.encode(), quote(IMAGE).encode(), IMAGE[8:], IMAGE[8:].hex().encode())
SUBSCRIBE = (
    "subscription ($after: String) { changes(after: $after) { values previous post { media } } }"
)
READ_PATHS = (
    "/v1/posts",
    "/v1/posts/{post_id}",
    "/v1/posts/{post_id}/results",
    "/v1/changes",
    "/v1/destinations.csv",
    "/v1/destinations.ndjson",
    "/v1/webhooks/{webhook_id}/deliveries",
    "/metrics",
)


def write_images_in_every_way(client: RecordingClient) -> str:
    """Create and change posts with images, and pass images in invalid requests; return an id."""
    sale = {"content": "Sale", "accountIds": [1], "media": MEDIA}
    for _ in range(2):
        created = client.execute(CREATE, {"input": {**sale, "idempotencyKey": "k1"}})
    post = created["data"]["payload"]["post"]
    bulk = {"posts": [sale, {**sale, "content": "a\0"}], "idempotencyKey": "k2"}
    assert client.execute(CREATE_SEVERAL, {"input": bulk})["data"]["payload"]["succeeded"] == 1
    key = {"postId": post["postId"]}
    for change in (
        {"media": [*post["media"], {"url": URL}]},
        {"media": MEDIA[:1], "idempotencyKey": "k3"},
        {"content": "Else", "media": MEDIA[::-1]},
    ):
        assert "errors" not in client.execute(UPDATE, {"input": {**key, **change}})
    too_large = image_url(300_000) + ENCODED
    for media in (
        [*MEDIA, {"url": too_large}],
        [{"url": MEDIA[0]["url"] + "%"}],
        [*MEDIA, {"data": {"contentType": None, "size": 1, "sha256": "0" * 64}}],
        [*MEDIA, {"alt": "\0"}],
        MEDIA * 51,
    ):
        assert client.execute(UPDATE, {"input": {**key, "media": media}})["errors"]
    assert client.execute(UPDATE, {"input": {**key, "media": MEDIA, "unknown": 1}})["errors"]
    message = client.execute_by_websocket(UPDATE, {"input": {**key, "media": MEDIA}})
    assert message["payload"]["data"]["payload"]["post"]["media"] == post["media"]
    return str(post["postId"])


def read_everything(client: RecordingClient, post_id: str, webhook_id: str) -> None:
    query = build_argumentless_query(create_schema(GraphQLLimits()).graphql_schema)
    data = client.execute(query.document, query.variables)["data"]
    assert data["posts"]["edges"][0]["node"]["media"][0]["data"]["size"] == len(IMAGE)
    for path in READ_PATHS:
        url = path.format(post_id=post_id, webhook_id=webhook_id)
        assert client.request("GET", url).status_code == 200, path
    assert client.execute_by_websocket(SUBSCRIBE, {"after": first_cursor(client)})["payload"][
        "data"
    ]
    body = client.request("GET", f"/v1/posts/{post_id}").json()["data"]
    assert client.request("PATCH", f"/v1/posts/{post_id}", json=body).status_code == 200
    assert client.request("POST", "/v1/posts", json=body).status_code == 201


def first_cursor(client: RecordingClient) -> str:
    answer = client.execute("{ changes(first: 1) { endCursor } }", {})
    return str(answer["data"]["changes"]["endCursor"])


def test_planted_images_are_read_by_publishers_only(
    start_server: ServerStarter, empty_database_url: str, tmp_path: Path
) -> None:
    server = start_server("--with-worker", **SETTINGS)
    server.wait_until_ready()
    token = run_with_database(empty_database_url, _add_account_and_key)
    client, publisher = (RecordingClient(server.url, token) for _ in range(2))
    hook = {"url": "https://hooks.example/", "events": ["post.updated"], "name": "n"}
    webhook_id = client.request("POST", "/v1/webhooks", json=hook).json()["data"]["id"]

    read_everything(client, write_images_in_every_way(client), webhook_id)
    claims = publisher.execute(mutation_document("claimDestinations"), {"input": {}})
    server.stop()
    rows = run_with_database(empty_database_url, dump_rows)

    media = [claim["media"] for claim in claims["data"]["payload"]["claims"]]
    assert sorted(len(each) for each in media) == [0, 2, 2]
    assert MEDIA in media
    assert [answer for answer in client.answers if contains_image(answer)] == []
    assert {table for table, row in rows if contains_image(row.encode())} == {"post"}
    logs = [file.read_bytes() for file in tmp_path.rglob("*.log")]
    assert [contains_image(log) for log in logs] == [False]


def contains_image(data: bytes) -> bool:
    return any(form in data for form in FORMS)


async def _add_account_and_key(database: Database) -> str:
    workspace = await add_workspace(database, name="Acme")
    await add_account(database, workspace)
    scopes = [scope for scope in Scope if scope is not Scope.PUBLISH_ALL]
    return (await add_api_key(database, workspace, scopes=scopes)).token


def test_search_finds_what_it_should() -> None:
    assert all(contains_image(item["url"].encode()) for item in MEDIA)
    assert contains_image(b"..." + IMAGE)
    assert not contains_image(b"open sesame")
