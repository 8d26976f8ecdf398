"""REST results that wait for a server that does not answer."""

from datetime import timedelta
from typing import Any

import pytest

from app.db.models import AccountBreaker, ServerBreaker
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import ServerFailure
from app.domain.times import format_instant
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
ORIGIN = "https://social.example"
SENTENCE = (
    "social.example has not answered since 2026-04-15 14:40 UTC. The server is tried again at 2026-04-15"
    " 15:03 UTC."
)
WAITING = {"error": SENTENCE, "next_retry_at": format_instant(NEXT_TRY), "last_error": SENTENCE}


def account_breaker(workspace: object, account: object, *, is_open: bool) -> AccountBreaker:
    """The breaker of an account on the server, which is open since SINCE or closed."""
    return AccountBreaker(
        workspace_id=workspace,
        account_id=account,
        publisher=AccountPublisher.MASTODON,
        origin=ORIGIN,
        failures=3 if is_open else 0,
        failing_since=SINCE if is_open else None,
        last_failed_at=NOW if is_open else None,
        is_open=is_open,
        open_until=NEXT_TRY if is_open else None,
        failed_probes=0,
        failure=ServerFailure.NO_ANSWER if is_open else None,
        worker="worker-1" if is_open else None,
        is_of_several_workers=False,
    )


def server_breaker() -> ServerBreaker:
    return ServerBreaker(
        publisher=AccountPublisher.MASTODON,
        origin=ORIGIN,
        failures=1,
        failing_since=SINCE,
        last_failed_at=NOW,
        is_open=True,
        open_until=NEXT_TRY,
        failed_probes=0,
    )


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
            account_breaker(acme.workspace, account, is_open=not of_server)
            for account in (due, retrying, later, done)
        ),
        account_breaker(stranger, stranger_account, is_open=True),
    ]
    if of_server:
        rows.append(server_breaker())
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
