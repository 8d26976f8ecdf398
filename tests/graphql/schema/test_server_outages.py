"""Field `serverOutages`: servers for which accounts of the workspace wait."""

from datetime import timedelta

from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from app.domain.times import format_instant
from tests.circuit_breaker_rows import account_breaker, server_breaker
from tests.clients import Tenant
from tests.factories import NOW, add_account, add_workspace, insert_objects

MINUTE = timedelta(minutes=1)
SINCE, NEXT_TRY = NOW - 20 * MINUTE, NOW + 3 * MINUTE


async def add_mastodon_account(tenant: Tenant) -> AccountId:
    return await add_account(
        tenant.database,
        tenant.workspace,
        platform="mastodon",
        publisher=AccountPublisher.MASTODON,
    )


async def test_outage_of_a_server_is_listed_once_with_its_accounts_the_longest_first(
    acme: Tenant,
) -> None:
    waiting, also_waiting, alone, fine = [await add_mastodon_account(acme) for _ in range(4)]
    own = await add_account(
        acme.database, acme.workspace, platform="blog", publisher=AccountPublisher.WEBHOOK
    )
    stranger = await add_workspace(acme.database)
    foreign = await add_account(acme.database, stranger)
    workspace = acme.workspace
    own_publisher = account_breaker(workspace, own, since=NOW - 5 * MINUTE, next_probe_at=NEXT_TRY)
    own_publisher.publisher, own_publisher.origin = AccountPublisher.WEBHOOK, None
    rows = (
        account_breaker(workspace, waiting, since=None, next_probe_at=NEXT_TRY),
        account_breaker(workspace, also_waiting, since=None, next_probe_at=NEXT_TRY),
        account_breaker(
            workspace, fine, since=None, next_probe_at=NEXT_TRY, origin="https://fine.example"
        ),
        account_breaker(
            workspace,
            alone,
            since=NOW - MINUTE,
            next_probe_at=NEXT_TRY,
            origin="https://other.example:8443",
        ),
        own_publisher,
        account_breaker(
            stranger, foreign, since=NOW - 60 * MINUTE, next_probe_at=NEXT_TRY, origin="https://far"
        ),
        server_breaker(since=SINCE, next_probe_at=NEXT_TRY),
    )
    await acme.database.write_all_workspaces(lambda session: insert_objects(session, *rows))

    data = await acme.client.query(
        "{ serverOutages { host platform since nextTryAt accountIds sentence } }"
    )

    next_try = format_instant(NEXT_TRY)
    next_sentence = "The server is tried again at 2026-04-15 15:03 UTC."
    assert data["serverOutages"] == [
        {
            "host": "social.example",
            "platform": "mastodon",
            "since": format_instant(SINCE),
            "nextTryAt": next_try,
            "accountIds": [waiting, also_waiting],
            "sentence": f"social.example has not answered since 2026-04-15 14:40 UTC. {next_sentence}",
        },
        {
            "host": None,
            "platform": "blog",
            "since": format_instant(NOW - 5 * MINUTE),
            "nextTryAt": next_try,
            "accountIds": [own],
            "sentence": "The publisher of the account has not answered since 2026-04-15 14:55 UTC."
            f" {next_sentence}",
        },
        {
            "host": "other.example:8443",
            "platform": "mastodon",
            "since": format_instant(NOW - MINUTE),
            "nextTryAt": next_try,
            "accountIds": [alone],
            "sentence": f"other.example:8443 has not answered since 2026-04-15 14:59 UTC. {next_sentence}",
        },
    ]
