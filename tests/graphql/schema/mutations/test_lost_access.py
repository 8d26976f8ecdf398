"""`Account.onLostAccess`, and what clients see of destinations that wait for a reconnection."""

from datetime import timedelta

from app.domain.accounts import LostAccessPolicy
from app.domain.ids import AccountId
from app.services.accounts import mark_reconnected
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_account, add_post, queued
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.services.publishing_calls import write_context

HOUR = timedelta(hours=1)
CONNECT = """
mutation ($input: ConnectAccountInput!) {
  payload: connectAccount(input: $input) { account { accountId onLostAccess } }
}
"""
UPDATE = """
mutation ($input: UpdateAccountInput!) {
  payload: updateAccount(input: $input) { account { accountId onLostAccess } }
}
"""
DESTINATIONS = """
{ destinations {
  nodes { status nextRetryAt awaitsOutcome isOverdue outlook { attempt nextAt sentence } }
} }
"""


def account(policy: str) -> dict[str, object]:
    return {"account": {"accountId": 1, "onLostAccess": policy}}


async def test_policy_is_set_by_connect_and_update(acme: Tenant) -> None:
    new = {"platform": "x", "platformUserId": "17"}
    assert await run_mutation(acme, CONNECT, **new) == account("FAIL")
    assert await run_mutation(acme, CONNECT, **new, onLostAccess="WAIT") == account("WAIT")
    assert await run_mutation(acme, CONNECT, **new) == account("WAIT")
    assert await run_mutation(acme, UPDATE, accountId=1, displayName="A") == account("WAIT")
    assert await run_mutation(acme, UPDATE, accountId=1, onLostAccess="FAIL") == account("FAIL")
    before = await all_rows(acme.database)

    assert await expect_refusal(acme, UPDATE, accountId=1, onLostAccess=None) == (
        "VALIDATION_ERROR",
        "input.onLostAccess",
        "onLostAccess must not be null. Omit it to leave it unchanged.",
    )
    assert await all_rows(acme.database) == before


async def test_new_account_waits_if_requested(acme: Tenant) -> None:
    answer = await run_mutation(acme, CONNECT, platform="x", onLostAccess="WAIT")
    assert answer == account("WAIT")


async def add_waiting_post(tenant: Tenant) -> AccountId:
    account_id = await add_account(
        tenant.database,
        tenant.workspace,
        needs_reconnection_since=NOW - HOUR,
        on_lost_access=LostAccessPolicy.WAIT,
        created_at=NOW - 9 * HOUR,
    )
    await add_post(tenant.database, tenant.workspace, {account_id: queued(NOW - HOUR)})
    return account_id


async def test_waiting_destination_is_queued_with_an_outlook(acme: Tenant) -> None:
    account_id = await add_waiting_post(acme)
    expected = {"status": "QUEUED", "nextRetryAt": None, "awaitsOutcome": True, "isOverdue": False}
    sentences = [
        "It waits until its account is reconnected. After that, `retryAfterReconnect` publishes it."
        " Otherwise it fails at 2026-04-16 14:00 UTC.",
        "It waits for `retryAfterReconnect`, because it was late for at least an hour when its account was"
        " reconnected. Without a retry, it fails at 2026-04-16 14:00 UTC.",
    ]

    for sentence in sentences:
        data = await acme.client.query(DESTINATIONS)
        outlook = {"attempt": None, "nextAt": None, "sentence": sentence}
        assert data["destinations"]["nodes"] == [{**expected, "outlook": outlook}]
        for overdue, count in ((True, 0), (False, 1)):
            data = await acme.client.query(
                "query ($overdue: Boolean!)"
                " { destinations(filter: {overdue: $overdue}) { totalCount } }",
                overdue=overdue,
            )
            assert data["destinations"]["totalCount"] == count
        context = write_context(acme.workspace)
        await mark_reconnected(acme.database, context, account_id, None, idempotency_key=None)


async def test_waiting_destination_is_not_counted_as_one_that_will_fail(acme: Tenant) -> None:
    await add_waiting_post(acme)
    failing = await add_account(acme.database, acme.workspace, is_active=False)
    await add_post(acme.database, acme.workspace, {failing: queued(NOW + HOUR)})
    data = await acme.client.query(
        '{ boardCounts(since: "2026-04-15T00:00:00Z")'
        " { willFail { count } brokenAccounts { count } overdue { count } } }"
    )
    assert data["boardCounts"] == {
        "willFail": {"count": 1},
        "brokenAccounts": {"count": 2},
        "overdue": {"count": 0},
    }
