"""REST results that wait for a server that does not answer."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.times import format_instant
from tests.circuit_breaker_rows import account_breaker, server_breaker
from tests.clients import Tenant, app_client
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    insert_objects,
    published,
    queued,
    waiting_for_retry,
)
from tests.rest.envelope import success_data

SINCE, NEXT_TRY = NOW - timedelta(minutes=20), NOW + timedelta(minutes=3)
SENTENCE = (
    "social.example has not answered since 2026-04-15 14:40 UTC. The server is tried again at 2026-04-15"
    " 15:03 UTC."
)
WAITING = {"error": SENTENCE, "next_retry_at": format_instant(NEXT_TRY), "last_error": SENTENCE}


@pytest.mark.parametrize("of_server", [False, True])
async def test_only_due_results_show_the_outage_for_which_they_wait(
    acme: Tenant, of_server: bool
) -> None:
    accounts = [
        await add_account(
            acme.database, acme.workspace, platform="mastodon", publisher=AccountPublisher.MASTODON
        )
        for _ in range(5)
    ]
    due, retrying, later, done, other = accounts
    post = await add_post(
        acme.database,
        acme.workspace,
        {
            due: queued(NOW),
            retrying: waiting_for_retry(NOW),
            later: queued(NOW + timedelta(hours=1)),
            done: published(),
            other: queued(NOW),
        },
    )
    stranger = await add_workspace(acme.database)
    stranger_account = await add_account(acme.database, stranger, id=other)
    rows: list[Any] = [
        *(
            account_breaker(
                acme.workspace,
                account,
                since=None if of_server else SINCE,
                next_probe_at=NEXT_TRY,
            )
            for account in (due, retrying, later, done)
        ),
        account_breaker(stranger, stranger_account, since=SINCE, next_probe_at=NEXT_TRY),
    ]
    if of_server:
        rows.append(server_breaker(since=SINCE, next_probe_at=NEXT_TRY))
    await acme.database.write_all_workspaces(lambda session: insert_objects(session, *rows))
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token) as client:
        results = success_data(await client.get(f"/v1/posts/{post.id}/results"))["results"]
        read = success_data(await client.get(f"/v1/posts/{post.id}"))["destinations"]
        (listed,) = success_data(await client.get("/v1/posts"))["posts"]

    shown = {
        each["account_id"]: {name: each[name] for name in WAITING}
        for each in results
        if each["error"] == SENTENCE
    }
    assert shown == {due: WAITING, retrying: WAITING}
    by_account = {each["account_id"]: each for each in results}
    assert by_account[later]["error"] is None
    assert by_account[done]["error"] is None
    assert by_account[other]["error"] is None
    assert by_account[due]["status"] == "queued"
    assert by_account[due]["attempts"] == 0
    for destinations in (read, listed["destinations"]):
        assert [{**each, "scheduled_for": None} for each in destinations] == [
            {**each, "scheduled_for": None} for each in results
        ]
