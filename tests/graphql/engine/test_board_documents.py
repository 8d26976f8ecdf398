"""Documents of the board: by id beside the documents of clients, within limits of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from app.graphql.engine.executable_schema import check_document, create_schema
from app.settings import GraphQLLimits, read_settings
from app.web.board import documents_file
from app.web.static_files import STATIC_DIR
from tests.clients import Client, Tenant, app_client, app_lifespan
from tests.factories import add_accounts, add_api_key
from tests.graphql.live_tenant import LiveTenant
from tests.graphql.transport.graphql_requests import (
    NO_POSTS,
    POST,
    TYPENAME,
    RequestForm,
    error_codes,
    persisted_query,
    rejection,
    request_forms,
    sha256,
)
from tests.graphql.transport.websocket_client import connect_and_init

TOTAL = "query Total { posts { totalCount } }"
CHANGES = "subscription Changes($after: String) { changes(after: $after) { type } }"
DEEP = (
    "query Deep { posts { nodes { destinations { post { destinations { account { id } } } } } } }"
)
WIDE = "query Wide { a: __typename b: __typename }"
PAGES = "query Pages($first: Int) { a: posts(first: $first) { nodes { id } } b: posts { nodes { id } } }"
ACCOUNTS = "query Accounts { accounts { id } }"
IDS = "query Nodes($ids: [ID!]!) { nodes(ids: $ids) { id } }"
UNKNOWN_ID = rejection(
    "VALIDATION_ERROR",
    "This documentId is unknown, and this server has no trusted documents; send the document as query.",
    "documentId",
)


def by_id(text: str) -> dict[str, object]:
    return {"documentId": sha256(text)}


@pytest.fixture
def static_dir(tmp_path: Path) -> Path:
    """A build of the board that has only documents."""
    file = documents_file(tmp_path)
    file.parent.mkdir()
    texts = (TOTAL, CHANGES, DEEP, WIDE, PAGES, ACCOUNTS, IDS)
    file.write_bytes(orjson.dumps({sha256(text): text for text in texts}))
    return tmp_path


@pytest.fixture
def trusted(tmp_path: Path) -> str:
    """Value of TRUSTED_DOCUMENTS with one other document."""
    file = tmp_path / "trusted.json"
    file.write_bytes(orjson.dumps({"typename": "{ __typename }"}))
    return str(file)


@asynccontextmanager
async def board_client(tenant: Tenant, static_dir: Path, **settings: str) -> AsyncIterator[Client]:
    """Open a client of a service with the documents of the board."""
    key = await add_api_key(tenant.database, tenant.workspace)
    chosen = read_settings({"RATE_LIMIT": "off", **settings})
    async with app_client(
        tenant.database, token=key.token, settings=chosen, static_dir=static_dir
    ) as client:
        yield client


@request_forms
async def test_a_board_document_is_executed_by_id_beside_any_query(
    acme: Tenant, static_dir: Path, form: RequestForm
) -> None:
    async with board_client(acme, static_dir) as client:
        assert await form.send(client, by_id(TOTAL)) == (200, NO_POSTS)
        assert await form.send(client, {"query": "{ __typename }"}) == (200, TYPENAME)
        assert await form.send(client, by_id("{ __typename }")) == (400, UNKNOWN_ID)


@request_forms
async def test_a_board_document_is_executed_by_id_beside_trusted_documents(
    acme: Tenant, static_dir: Path, trusted: str, form: RequestForm
) -> None:
    async with board_client(acme, static_dir, TRUSTED_DOCUMENTS=trusted) as client:
        assert await form.send(client, by_id(TOTAL)) == (200, NO_POSTS)
        assert await form.send(client, {"documentId": "typename"}) == (200, TYPENAME)
        for refused in (
            {"query": TOTAL},
            by_id(TOTAL) | {"query": TOTAL},
            persisted_query(sha256(TOTAL)),
            {"documentId": "other"},
        ):
            assert error_codes((await form.send(client, refused))[1]) == ["DOCUMENT_NOT_TRUSTED"]


async def test_a_board_document_is_unknown_without_board(
    acme: Tenant, static_dir: Path, trusted: str
) -> None:
    async with board_client(acme, static_dir, BOARD="no") as client:
        assert await POST.send(client, by_id(TOTAL)) == (400, UNKNOWN_ID)
    async with board_client(acme, static_dir, BOARD="no", TRUSTED_DOCUMENTS=trusted) as client:
        assert error_codes((await POST.send(client, by_id(TOTAL)))[1]) == ["DOCUMENT_NOT_TRUSTED"]


async def test_there_are_no_board_documents_before_the_build(acme: Tenant, tmp_path: Path) -> None:
    async with board_client(acme, tmp_path) as client:
        assert await POST.send(client, by_id(TOTAL)) == (400, UNKNOWN_ID)


@pytest.mark.parametrize("is_trusted", [False, True])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_board_document_is_executed_over_a_websocket(
    live_tenant: LiveTenant, static_dir: Path, trusted: str, is_trusted: bool
) -> None:
    settings = read_settings({"TRUSTED_DOCUMENTS": trusted} if is_trusted else {})
    database = live_tenant.database
    async with (
        app_lifespan(database, settings=settings, static_dir=static_dir) as app,
        connect_and_init(app, live_tenant.token) as socket,
    ):
        socket.send(type="subscribe", id="q", payload=by_id(TOTAL))
        assert await socket.next_payload("q") == NO_POSTS
        assert await socket.receive() == {"type": "complete", "id": "q"}
        data = await live_tenant.client.query("{ changes { latestCursor } }")
        after = data["changes"]["latestCursor"]
        socket.send(
            type="subscribe", id="s", payload=by_id(CHANGES) | {"variables": {"after": after}}
        )
        await live_tenant.create_post()
        assert await socket.next_payload("s") == {"data": {"changes": {"type": "POST_CREATED"}}}
        socket.send(type="subscribe", id="u", payload=by_id("{ unknown }"))
        while (message := await socket.receive())["id"] != "u":
            assert message["id"] == "s"
        codes = error_codes({"errors": message["payload"]})
        assert codes == ["DOCUMENT_NOT_TRUSTED" if is_trusted else "VALIDATION_ERROR"]


@pytest.mark.parametrize(
    ("text", "variables", "settings"),
    [
        (DEEP, {}, {"GRAPHQL_MAX_DEPTH": "5"}),
        (WIDE, {}, {"GRAPHQL_MAX_ROOT_FIELDS": "1"}),
        (PAGES, {"first": 100}, {"GRAPHQL_MAX_NODES": "100"}),
        (ACCOUNTS, {}, {"GRAPHQL_MAX_LIST_ENTRIES": "1"}),
    ],
)
@pytest.mark.parametrize("fast_path", ["yes", "no"])
async def test_lowered_limits_apply_to_documents_of_clients_only(
    acme: Tenant,
    static_dir: Path,
    text: str,
    variables: dict[str, object],
    settings: dict[str, str],
    fast_path: str,
) -> None:
    await add_accounts(acme.database, acme.workspace, 2)
    async with board_client(acme, static_dir, FAST_PATH=fast_path, **settings) as client:
        for _ in range(2):  # prepared for one, then for the other
            status, body = await POST.send(client, by_id(text) | {"variables": variables})
            assert (status, body.get("errors")) == (200, None)
            _, body = await POST.send(client, {"query": text, "variables": variables})
            assert error_codes(body) == ["LIMIT_EXCEEDED"]


async def test_default_limits_apply_to_board_documents_where_those_of_clients_are_raised(
    acme: Tenant, static_dir: Path
) -> None:
    variables: dict[str, object] = {"variables": {"ids": ["x"] * 101}}
    async with board_client(acme, static_dir, GRAPHQL_MAX_IDS="101") as client:
        _, body = await POST.send(client, {"query": IDS} | variables)
        assert set(error_codes(body)) == {"INVALID_ID"}
        _, body = await POST.send(client, by_id(IDS) | variables)
        assert error_codes(body) == ["LIMIT_EXCEEDED"]


@pytest.mark.usefixtures("require_built_page")
def test_documents_of_the_built_board_are_within_the_default_limits() -> None:
    limits = GraphQLLimits()
    schema = create_schema(limits)
    documents = orjson.loads(documents_file(STATIC_DIR).read_bytes())
    for document_id, text in documents.items():
        check_document(schema, text, limits)
        assert sha256(text) == document_id
