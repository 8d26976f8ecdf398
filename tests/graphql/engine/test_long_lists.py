"""Long lists are completed in threads, with as many statements as short ones."""

import gc

import pytest

from app.settings import read_settings
from tests.clients import Client, Tenant, app_client
from tests.factories import add_account, add_api_key, add_post, failed
from tests.recording_driver import record_statements
from tests.running_computations import observe_computations

DOCUMENTS = {
    "accounts": """{ accounts { accountId lastFailure { error platform status post { content } }
        stats(from: "2026-04-01", to: "2026-04-15") { published failed lateness { p50Seconds } } } }""",
    "posts": """{ posts(first: 100) { nodes { postId destinations { platform status
        attemptLog { startedAt message } account { accountName health { status } } } } } }""",
    "destinations": """{ destinations(first: 100) { nodes { destinationId status post { content }
        attemptConnection(first: 1) { nodes { startedAt } } } } }""",
}
SHORT, LONG = 2, 90
"""Lengths of lists that are completed in the event loop, and in a thread."""

MAX_GARBAGE = 300
"""Objects that graphql-core's executor and the test's HTTP client leave, however long the list is."""


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_long_list_runs_as_many_statements_as_a_short_one(acme: Tenant, name: str) -> None:
    counts: list[int] = []
    for length in (SHORT, LONG - SHORT):
        for _ in range(length):
            account = await add_account(acme.database, acme.workspace)
            await add_post(acme.database, acme.workspace, {account: failed()})
        with record_statements(acme.database) as statements:
            await acme.client.query(DOCUMENTS[name])
        counts.append(len(statements))

    assert counts[1] == counts[0]


async def test_event_loop_runs_while_a_long_list_is_completed(acme: Tenant) -> None:
    has_computed: list[bool] = []
    for length in (SHORT, 0, LONG - SHORT):  # the first query also compiles the document
        for _ in range(length):
            account = await add_account(acme.database, acme.workspace)
            await add_post(acme.database, acme.workspace, {account: failed()})
        async with observe_computations() as observation:
            await acme.client.query(DOCUMENTS["accounts"])
        has_computed.append(observation.saw_computation)

    assert has_computed[1:] == [False, True]


async def test_error_in_a_long_list_has_the_index_of_its_item(acme: Tenant) -> None:
    for _ in range(60):
        await add_account(acme.database, acme.workspace)

    body = await acme.client.execute(
        """{ accounts { accountId isActive platform stats(from: "2026-04-15", to: "2026-04-14")
        { published } } }"""
    )

    assert [error["path"] for error in body["errors"]] == [
        ["accounts", index, "stats"] for index in range(60)
    ]
    assert {each["stats"] for each in body["data"]["accounts"]} == {None}


async def test_refused_response_leaves_few_objects_to_the_garbage_collection(acme: Tenant) -> None:
    for _ in range(LONG):
        account = await add_account(acme.database, acme.workspace)
        await add_post(acme.database, acme.workspace, {account: failed()})
    key = await add_api_key(acme.database, acme.workspace)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": str(LONG + 1)})
    document = """{ accounts { accountId stats(from: "2026-04-01", to: "2026-04-15") { failed }
        lastFailure { post { content } attemptLog { message } } } }"""
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        assert await _count_garbage(client, document) < MAX_GARBAGE

        code, path, _ = await client.expect_error(document)

    assert (code, path) == ("LIMIT_EXCEEDED", None)


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_loaded_rows_are_freed_without_garbage_collection(acme: Tenant, name: str) -> None:
    for _ in range(LONG):
        account = await add_account(acme.database, acme.workspace)
        await add_post(acme.database, acme.workspace, {account: failed()})

    assert await _count_garbage(acme.client, DOCUMENTS[name]) < MAX_GARBAGE


async def _count_garbage(client: Client, document: str) -> int:
    """Return the number of objects that a query leaves to the garbage collection."""
    counts: list[int] = []
    gc.disable()
    try:
        for _ in range(3):  # the first one also compiles the document
            gc.collect()
            await client.execute(document)
            counts.append(gc.collect())
    finally:
        gc.enable()
    return min(counts)
