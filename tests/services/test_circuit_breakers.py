"""Circuit breakers in the database: what opens and closes them, and what waits for them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import repeat

import pytest
from structlog.testing import capture_logs

from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.db.repositories.claims import ClaimTime, accounts_to_claim_from
from app.db.repositories.outages import count_open_breakers
from app.db.repositories.overdue import read_backlog
from app.db.repositories.posts import load_posts
from app.db.repositories.server_failures import count_live_workers
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import FAILURE_WINDOW, OpenBreakers, ServerFailure, ServerOutage
from app.domain.credentials import parse_credentials
from app.domain.destinations import Backlog, DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import AccountId, PostId, WorkspaceId
from app.domain.operations import CLAIM_DESTINATIONS, FAIL_WITHOUT_SERVER
from app.domain.posts import PostStatus
from app.domain.retry_policy import DEFAULT_POLICIES, NOT_SENT, RetryPolicies
from app.platforms.server_contacts import ServerContacts
from app.services.accounts import set_account_credentials
from app.services.circuit_breakers import CircuitBreakers, prune_breakers
from app.services.claims import Claim
from app.services.credentials import prepare_credentials
from app.services.expirations import MAX_TRANSACTIONS_PER_RUN, fail_after_outages
from app.services.outages import WaitingAccounts, list_outages
from tests.circuit_breaker_rows import ORIGIN, account_breaker
from tests.clients import Tenant
from tests.credential_rows import CIPHER, VALUES
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    insert_objects,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.services.publishing_calls import (
    claim,
    claim_for_verification,
    destination_states,
    write_context,
)
from tests.services.test_expirations import changed_destinations
from tests.test_concurrency import deadlock_count

MASTODON = AccountPublisher.MASTODON
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DAY = timedelta(days=1)
WAIT = timedelta(seconds=11, milliseconds=250)
"""Wait before the first probe, for the random number 0.5."""
DUE = NOW - MINUTE


@dataclass(frozen=True)
class Platform:
    """Workers on a database, and the accounts on one server."""

    database: Database
    publisher: AccountPublisher = MASTODON
    worker: str = "worker-1"

    def breakers(self, now: datetime) -> CircuitBreakers:
        return CircuitBreakers(
            database=self.database,
            worker_name=self.worker,
            clock=lambda: now,
            random=repeat(0.5).__next__,
        )

    async def add_account(
        self, workspace: WorkspaceId, posts: int = 1, due_at: datetime = DUE
    ) -> AccountId:
        account = await add_account(
            self.database,
            workspace,
            platform=self.publisher.platform or "own",
            publisher=self.publisher,
        )
        for _ in range(posts):
            await add_post(self.database, workspace, {account: queued(due_at)})
        return account

    async def fail(
        self,
        workspace: WorkspaceId,
        account: AccountId,
        times: int = 1,
        *,
        claimed: Claim | None = None,
        failure: ServerFailure = ServerFailure.NO_ANSWER,
        origin: str = ORIGIN,
        now: datetime = NOW,
    ) -> bool:
        """Report failed calls; return whether the account waits for a breaker."""
        row = (await load_accounts(self.database.reader(workspace), [account]))[account]
        server = None if claimed is None else claimed.server
        waits = False
        for _ in range(times):
            waits = await self.breakers(now).record_calls(
                workspace, row, server, ServerContacts({origin: failure})
            )
        return waits

    async def succeed(self, claimed: Claim, *, now: datetime = NOW, origin: str = ORIGIN) -> None:
        assert not await self.record(claimed, ServerContacts({origin: None}), now=now)

    async def record(
        self, claimed: Claim, contacts: ServerContacts, *, now: datetime = NOW
    ) -> bool:
        """Report the calls of an attempt; return whether the account waits for a breaker."""
        return await self.breakers(now).record_calls(
            claimed.lease.workspace_id, claimed.account, claimed.server, contacts
        )

    async def claim(self, now: datetime = NOW, limit: int = 100) -> list[Claim]:
        return await claim(self.database, limit, of=self.publisher, now=now)

    async def claimed_accounts(self, now: datetime = NOW) -> Counter[AccountId]:
        return Counter(each.account.id for each in await self.claim(now))

    async def open_counts(self, now: datetime = NOW) -> OpenBreakers:
        return await count_open_breakers(self.database.all_workspaces, now)


@pytest.fixture
def platform(database: Database) -> Platform:
    return Platform(database)


async def test_account_waits_after_three_failures_and_no_other_one(
    platform: Platform, acme: Tenant
) -> None:
    broken, other = [await platform.add_account(acme.workspace, posts=3) for _ in range(2)]
    assert not await platform.fail(acme.workspace, broken, 2)
    assert await platform.fail(acme.workspace, broken)

    assert await platform.claimed_accounts() == {other: 3}
    assert await platform.open_counts() == OpenBreakers(accounts=1, servers=0)
    assert await list_outages(acme.database.reader(acme.workspace), NOW) == [
        WaitingAccounts(ServerOutage(ORIGIN, NOW, NOW, NOW + WAIT), "mastodon", [broken])
    ]


async def test_one_probe_at_a_time_runs_until_one_succeeds(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace, posts=4)
    await platform.fail(acme.workspace, account, 3)
    assert await platform.claim(NOW + WAIT - SECOND) == []

    first_at = NOW + WAIT
    claims = await asyncio.gather(*(platform.claim(first_at) for _ in range(3)))
    ((probe,),) = [each for each in claims if each]
    assert await platform.claim(first_at + MINUTE - SECOND) == []
    assert await platform.fail(acme.workspace, account, claimed=probe, now=first_at)
    second_at = first_at + 2 * WAIT
    assert await platform.claim(second_at - SECOND) == []
    (second,) = await platform.claim(second_at)
    await platform.succeed(second, now=second_at)

    assert await platform.claimed_accounts(second_at) == {account: 2}
    assert await platform.open_counts(second_at) == OpenBreakers(0, 0)


async def test_probe_whose_worker_died_is_followed_by_another_one_after_a_minute(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace, posts=2)
    await platform.fail(acme.workspace, account, 3)
    assert len(await platform.claim(NOW + WAIT)) == 1
    assert len(await platform.claim(NOW + WAIT + MINUTE)) == 1


async def test_probe_that_called_no_server_is_released(platform: Platform, acme: Tenant) -> None:
    account = await platform.add_account(acme.workspace, posts=2)
    await platform.fail(acme.workspace, account, 3)
    (probe,) = await platform.claim(NOW + WAIT)
    assert not await platform.record(probe, ServerContacts(), now=NOW + WAIT)
    assert len(await platform.claim(NOW + WAIT)) == 1


async def test_probe_that_ends_late_does_not_release_the_next_one(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace, posts=3)
    await platform.fail(acme.workspace, account, 3)
    (first,) = await platform.claim(NOW + WAIT)
    second_at = NOW + WAIT + MINUTE
    (second,) = await platform.claim(second_at)
    await platform.record(first, ServerContacts(), now=second_at)
    assert await platform.claim(second_at) == []
    assert await platform.fail(acme.workspace, account, claimed=second, now=second_at)
    await platform.record(first, ServerContacts(), now=second_at)
    assert await platform.claim(second_at + WAIT) == []


async def test_probe_that_waits_for_the_login_of_another_attempt_is_released(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace, posts=2)
    await platform.fail(acme.workspace, account, 3)
    (probe,) = await platform.claim(NOW + WAIT)
    assert await platform.record(probe, ServerContacts(has_failed_login=True), now=NOW + WAIT)
    assert len(await platform.claim(NOW + WAIT)) == 1


async def open_server(platform: Platform, workspace: WorkspaceId) -> list[AccountId]:
    """Add four accounts on a server, of which three fail."""
    accounts = [await platform.add_account(workspace, posts=2) for _ in range(4)]
    (last,) = [each for each in await platform.claim(limit=4) if each.account.id == accounts[3]]
    await platform.succeed(last)
    for account, waits in zip(accounts, (False, False, True), strict=False):
        assert await platform.fail(workspace, account) is waits
    return accounts


async def test_server_fails_for_all_its_accounts_and_recovers_for_all_at_once(
    platform: Platform, acme: Tenant
) -> None:
    accounts = await open_server(platform, acme.workspace)
    assert await platform.claim() == []
    outage = ServerOutage(ORIGIN, NOW, NOW, NOW + WAIT)
    assert await list_outages(acme.database.reader(acme.workspace), NOW) == [
        WaitingAccounts(outage, "mastodon", accounts)
    ]
    assert await platform.open_counts() == OpenBreakers(accounts=0, servers=1)

    claims = await asyncio.gather(*(platform.claim(NOW + WAIT) for _ in range(3)))
    ((probe,),) = [each for each in claims if each]
    assert await platform.claim(NOW + WAIT) == []
    await platform.succeed(probe, now=NOW + WAIT)

    claimed = await platform.claimed_accounts(NOW + WAIT)
    assert sum(claimed.values()) == 3
    assert claimed + Counter([probe.account.id]) == Counter(accounts)
    assert await list_outages(acme.database.reader(acme.workspace), NOW + WAIT) == []


async def test_probe_of_a_server_closes_the_breakers_of_its_accounts_too(
    platform: Platform, acme: Tenant
) -> None:
    accounts = await open_server(platform, acme.workspace)
    for account in accounts[:3]:
        await platform.fail(acme.workspace, account, 2, now=NOW + SECOND)
    assert await platform.open_counts() == OpenBreakers(accounts=3, servers=1)
    (probe,) = await platform.claim(NOW + WAIT)
    assert probe.account.id == accounts[3]
    await platform.succeed(probe, now=NOW + WAIT)

    assert await platform.open_counts() == OpenBreakers(accounts=0, servers=0)
    assert set(accounts[:3]) <= (await platform.claimed_accounts(NOW + WAIT)).keys()


async def test_account_behind_an_open_breaker_is_skipped_without_a_lock(
    platform: Platform, acme: Tenant
) -> None:
    """Claims read its destinations only when a probe is due."""

    async def found(now: datetime) -> dict[AccountId, bool]:
        claimable = await accounts_to_claim_from(
            acme.database.reader(acme.workspace),
            ClaimTime.CLAIMABLE,
            now,
            publishers=[MASTODON],
            platforms=None,
            key_ids=None,
            rotation_start=AccountId(1),
            limit=100,
        )
        return {each.id: each.needs_probe for each in claimable}

    accounts = await open_server(platform, acme.workspace)
    alone, other = [await platform.add_account(acme.workspace) for _ in range(2)]
    await platform.fail(acme.workspace, alone, 3, origin="https://other.example")
    assert await found(NOW + WAIT - SECOND) == {other: False}
    assert await found(NOW + WAIT) == {**dict.fromkeys([*accounts, alone], True), other: False}


async def test_failed_probe_of_a_server_postpones_the_next_one(
    platform: Platform, acme: Tenant
) -> None:
    await open_server(platform, acme.workspace)
    (probe,) = await platform.claim(NOW + WAIT)
    assert await platform.fail(acme.workspace, probe.account.id, claimed=probe, now=NOW + WAIT)
    assert await platform.claim(NOW + 3 * WAIT - SECOND) == []
    assert len(await platform.claim(NOW + 3 * WAIT)) == 1


async def test_failures_of_calls_from_before_the_opening_postpone_no_probe(
    platform: Platform, acme: Tenant
) -> None:
    accounts = await open_server(platform, acme.workspace)
    alone = await platform.add_account(acme.workspace)
    await platform.fail(acme.workspace, alone, 3, origin="https://other.example")
    before = await stored_breakers(platform)
    later = NOW + WAIT - SECOND
    assert await platform.fail(acme.workspace, accounts[3], now=later)
    assert await platform.fail(acme.workspace, alone, origin="https://other.example", now=later)

    after = await stored_breakers(platform)
    assert after["server_breaker"] == before["server_breaker"]
    assert after["account_breaker"][-1] == before["account_breaker"][-1]
    assert sorted((await platform.claimed_accounts(NOW + WAIT)).values()) == [1, 1]


async def stored_breakers(platform: Platform) -> dict[str, list[tuple[object, ...]]]:
    rows = await all_rows(platform.database)
    return {name: sorted(rows[name]) for name in ("account_breaker", "server_breaker")}


LOGIN_ORIGIN = "https://login.example"


async def test_login_server_recovers_by_a_probe_that_ends_on_another_server(
    platform: Platform, acme: Tenant
) -> None:
    accounts = [await platform.add_account(acme.workspace, posts=2) for _ in range(3)]
    for account in accounts:
        await platform.fail(acme.workspace, account, origin=LOGIN_ORIGIN)
    assert await platform.open_counts() == OpenBreakers(accounts=0, servers=1)
    (probe,) = await platform.claim(NOW + WAIT)
    contacts = ServerContacts({LOGIN_ORIGIN: None, ORIGIN: None})
    assert not await platform.record(probe, contacts, now=NOW + WAIT)

    assert await platform.open_counts() == OpenBreakers(accounts=0, servers=0)
    assert (await platform.claimed_accounts(NOW + WAIT)).keys() == set(accounts)


async def test_login_server_that_answers_recovers_though_the_next_server_fails(
    platform: Platform, acme: Tenant
) -> None:
    accounts = [await platform.add_account(acme.workspace, posts=2) for _ in range(3)]
    for account in accounts:
        await platform.fail(acme.workspace, account, origin=LOGIN_ORIGIN)
    (probe,) = await platform.claim(NOW + WAIT)
    contacts = ServerContacts({LOGIN_ORIGIN: None, ORIGIN: ServerFailure.NO_ANSWER})
    assert not await platform.record(probe, contacts, now=NOW + WAIT)

    (stored,) = (await all_rows(platform.database))["server_breaker"]
    assert stored[:6] == (MASTODON, LOGIN_ORIGIN, 0, None, None, False)
    failing = [row[2] for row in (await all_rows(platform.database))["account_breaker"]]
    assert sorted(failing) == [0, 0, 1]


@pytest.mark.parametrize("fails", [False, True])
async def test_probe_that_called_another_server_is_followed_by_another_one_immediately(
    platform: Platform, acme: Tenant, fails: bool
) -> None:
    """For instance, the account has moved meanwhile."""
    await open_server(platform, acme.workspace)
    (probe,) = await platform.claim(NOW + WAIT)
    other = "https://other.example"
    if fails:
        assert not await platform.fail(
            acme.workspace, probe.account.id, claimed=probe, origin=other, now=NOW + WAIT
        )
    else:
        await platform.succeed(probe, now=NOW + WAIT, origin=other)

    assert await platform.open_counts(NOW + WAIT) == OpenBreakers(accounts=0, servers=1)
    claimed = await platform.claim(NOW + WAIT)
    on_server = [each for each in claimed if each.server and each.server.server_is_open]
    assert len(on_server) == 1


async def test_workers_that_probe_several_servers_at_once_do_not_deadlock(
    platform: Platform, acme: Tenant
) -> None:
    accounts = [await platform.add_account(acme.workspace, posts=9) for _ in range(18)]
    for number, account in enumerate(accounts):
        await platform.fail(acme.workspace, account, origin=f"https://{number % 6}.example")
    deadlocks = await deadlock_count(platform.database)
    at = NOW
    for probes in range(8):
        at += 6 * MINUTE
        claims = await asyncio.gather(*(platform.claim(at) for _ in range(6)))
        assert sum(map(len, claims)) == 6, probes
    assert await deadlock_count(platform.database) == deadlocks


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "locked_row",
    ["account_breaker WHERE account_id = {}", "server_breaker WHERE origin LIKE '%/{}.%'"],
)
async def test_probe_that_cannot_begin_on_both_breakers_begins_on_neither(
    platform: Platform, acme: Tenant, locked_row: str
) -> None:
    """Otherwise, all accounts on the server would wait a minute for a probe that does not run."""
    first, second = [await platform.add_account(acme.workspace) for _ in range(2)]
    for account in (first, second):
        origin = f"https://{account}.example"
        await platform.fail(
            acme.workspace, account, 3, failure=ServerFailure.UNREACHABLE, origin=origin
        )
    assert await platform.open_counts() == OpenBreakers(accounts=2, servers=2)

    async with platform.database.write_engine.begin() as connection:
        await connection.exec_driver_sql(f"SELECT 1 FROM {locked_row.format(first)} FOR UPDATE")
        assert await platform.claimed_accounts(NOW + WAIT) == {second: 1}
    assert await platform.claimed_accounts(NOW + WAIT) == {first: 1}


async def test_checks_of_unknown_outcomes_wait_for_the_server_too(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace, posts=0)
    for _ in range(2):
        await add_post(acme.database, acme.workspace, {account: unknown(due_at=NOW - HOUR)})
    await platform.fail(acme.workspace, account, 3)

    async def claimed(now: datetime) -> int:
        return len(await claim_for_verification(acme.database, of=MASTODON, now=now))

    assert [await claimed(NOW), await claimed(NOW + WAIT), await claimed(NOW + WAIT)] == [0, 1, 0]


async def test_publishers_of_the_user_have_a_breaker_for_each_account(
    database: Database, acme: Tenant
) -> None:
    own = Platform(database, AccountPublisher.WEBHOOK)
    accounts = [await own.add_account(acme.workspace) for _ in range(5)]
    for account in accounts[:4]:
        await own.fail(acme.workspace, account, 9, failure=ServerFailure.UNREACHABLE)

    assert await own.open_counts() == OpenBreakers(accounts=4, servers=0)
    assert await own.claimed_accounts() == {accounts[4]: 1}
    outages = await list_outages(database.reader(acme.workspace), NOW)
    assert [(each.outage.host, each.account_ids) for each in outages] == [
        (None, [account]) for account in accounts[:4]
    ]


async def test_hostile_workspace_stops_only_itself(platform: Platform, acme: Tenant) -> None:
    """Its accounts fail on a shared server, its own publishers claim to be that server."""
    hostile = await add_workspace(platform.database)
    victim = await platform.add_account(acme.workspace, posts=2)
    (good,) = await platform.claim(limit=1)
    await platform.succeed(good)
    own = replace(platform, publisher=AccountPublisher.WEBHOOK)
    for _ in range(20):
        account = await platform.add_account(hostile)
        await platform.fail(hostile, account, 20)
        publisher = await own.add_account(hostile)
        await own.fail(hostile, publisher, 20, failure=ServerFailure.UNREACHABLE)
    for worker in ("worker-1", "worker-2"):
        await replace(platform, worker=worker).breakers(NOW).report_worker()

    assert await platform.open_counts() == OpenBreakers(accounts=40, servers=0)
    assert await platform.claimed_accounts() == {victim: 1}
    assert await list_outages(acme.database.reader(acme.workspace), NOW) == []


async def test_breaker_that_one_workspace_opened_closes_when_another_one_is_answered(
    platform: Platform, acme: Tenant
) -> None:
    """Before that, no account of the other one was known to be on the server."""
    hostile = await add_workspace(platform.database)
    victim = await platform.add_account(acme.workspace, posts=2)
    for _ in range(3):
        await platform.fail(hostile, await platform.add_account(hostile, posts=0))
    assert await platform.open_counts() == OpenBreakers(accounts=0, servers=1)
    (first,) = await platform.claim(limit=1)
    await platform.succeed(first)

    assert await platform.open_counts() == OpenBreakers(accounts=0, servers=0)
    for _ in range(3):
        await platform.fail(hostile, await platform.add_account(hostile, posts=0))
    assert await platform.claimed_accounts() == {victim: 1}


async def test_workspace_cannot_open_the_breaker_of_a_login_server_of_others(
    platform: Platform, acme: Tenant
) -> None:
    """The last call of an account is to the server with its records."""
    await platform.add_account(acme.workspace)
    (claimed,) = await platform.claim()
    await platform.record(claimed, ServerContacts({LOGIN_ORIGIN: None, ORIGIN: None}))
    hostile = await add_workspace(platform.database)
    for _ in range(5):
        account = await platform.add_account(hostile)
        await platform.fail(hostile, account, 3, origin=LOGIN_ORIGIN)
    assert await platform.open_counts() == OpenBreakers(accounts=5, servers=0)


async def test_single_failure_of_another_workspace_does_not_open_the_breaker_of_a_server(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace)
    (claimed,) = await platform.claim()
    await platform.succeed(claimed)
    hostile = await add_workspace(platform.database)
    for _ in range(5):
        await platform.fail(hostile, await platform.add_account(hostile), 9)
    assert not await platform.fail(acme.workspace, account)
    assert await platform.open_counts() == OpenBreakers(accounts=5, servers=0)


async def test_failures_before_an_answer_do_not_open_the_breaker_of_a_server(
    platform: Platform, acme: Tenant
) -> None:
    accounts = [await platform.add_account(acme.workspace) for _ in range(5)]
    for account in accounts[:2]:
        await platform.fail(acme.workspace, account, 2)
    answered_at = NOW + SECOND
    (claimed,) = [each for each in await platform.claim() if each.account.id == accounts[4]]
    await platform.succeed(claimed, now=answered_at)
    for account in (*accounts[:2], accounts[2]):
        waits = await platform.fail(acme.workspace, account, now=answered_at + SECOND)
    assert waits

    ((*_, failing_since, _, _, _, _, stored_at),) = (await all_rows(platform.database))[
        "server_breaker"
    ]
    assert failing_since == stored_at == answered_at


async def test_answers_are_stored_only_while_calls_of_the_server_fail(
    platform: Platform, acme: Tenant
) -> None:
    accounts = [await platform.add_account(acme.workspace, posts=4) for _ in range(2)]
    breakers = platform.breakers(NOW)
    claimed = [each for each in await platform.claim() if each.account.id == accounts[0]]
    await platform.succeed(claimed[0])
    assert (await stored_breakers(platform))["server_breaker"] == []
    await platform.fail(acme.workspace, accounts[1])
    for each in claimed:
        await breakers.record_calls(
            acme.workspace, each.account, each.server, ServerContacts({ORIGIN: None})
        )
    ((*_, answered_at),) = (await stored_breakers(platform))["server_breaker"]
    assert answered_at == NOW


async def test_failures_of_two_workspaces_open_the_breaker_of_their_server(
    platform: Platform, acme: Tenant
) -> None:
    other = await add_workspace(platform.database)
    accounts = [await platform.add_account(acme.workspace) for _ in range(2)]
    for account in accounts:
        await platform.fail(acme.workspace, account)
    failed_once = await platform.add_account(other)
    assert not await platform.fail(other, failed_once)
    assert await platform.fail(other, failed_once)

    assert await platform.open_counts() == OpenBreakers(accounts=0, servers=1)
    stored = (await all_rows(platform.database))["server_breaker"]
    assert stored == [(MASTODON, ORIGIN, 1, NOW, NOW, True, NOW + WAIT, 0, None)]


@pytest.mark.parametrize(("live", "servers"), [(["worker-1"], 1), (["worker-1", "worker-2"], 0)])
async def test_connections_of_one_worker_count_only_without_another_worker(
    platform: Platform, acme: Tenant, live: Sequence[str], servers: int
) -> None:
    for worker in live:
        await replace(platform, worker=worker).breakers(NOW).report_worker()
    account = await platform.add_account(acme.workspace)
    await platform.fail(acme.workspace, account, 3, failure=ServerFailure.UNREACHABLE)
    assert (await platform.open_counts()).servers == servers

    second = replace(platform, worker="worker-2")
    await second.fail(
        acme.workspace,
        await platform.add_account(acme.workspace),
        failure=ServerFailure.UNREACHABLE,
    )
    assert (await platform.open_counts()).servers == 1


async def test_first_answer_to_an_account_does_not_end_an_outage_of_several_workspaces(
    platform: Platform, acme: Tenant
) -> None:
    other = await add_workspace(platform.database)
    for _ in range(2):
        await platform.fail(other, await platform.add_account(other, posts=0))
        await platform.fail(acme.workspace, await platform.add_account(acme.workspace, posts=0))
    new = await platform.add_account(acme.workspace, posts=2)
    (claimed,) = await platform.claim(limit=1)
    await platform.succeed(claimed, now=NOW + MINUTE)
    assert claimed.account.id == new
    (stored,) = (await stored_breakers(platform))["server_breaker"]
    assert stored[2:] == (1, NOW, NOW, True, NOW + WAIT, 0, NOW + MINUTE)


async def test_recovery_of_a_server_closes_no_breaker_that_opened_before_the_outage(
    platform: Platform, acme: Tenant
) -> None:
    broken = await platform.add_account(acme.workspace, posts=0)
    await platform.fail(acme.workspace, broken, 3, now=NOW - MINUTE)
    accounts = [await platform.add_account(acme.workspace, posts=2) for _ in range(3)]
    (claimed,) = await platform.claim(limit=1)
    await platform.succeed(claimed, now=NOW - SECOND)
    for account in accounts:
        await platform.fail(acme.workspace, account, 3)
    assert await platform.open_counts() == OpenBreakers(accounts=3, servers=1)
    (probe,) = await platform.claim(NOW + WAIT)
    await platform.succeed(probe, now=NOW + WAIT)
    outages = await list_outages(acme.database.reader(acme.workspace), NOW)
    assert [each.account_ids for each in outages] == [[broken]]


async def test_opening_is_logged_once(platform: Platform, acme: Tenant) -> None:
    accounts = [await platform.add_account(acme.workspace) for _ in range(8)]
    for account in accounts[:2]:
        await platform.fail(acme.workspace, account)
    with capture_logs() as logs:
        await asyncio.gather(*(platform.fail(acme.workspace, each) for each in accounts[2:]))
        (probe,) = await platform.claim(NOW + WAIT)
        await platform.succeed(probe, now=NOW + WAIT)
    events = [each["event"] for each in logs]
    assert events == ["server breaker opened", "server breaker closed"]


async def test_first_failures_at_the_same_time_are_all_counted(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace)
    await asyncio.gather(*(platform.fail(acme.workspace, account) for _ in range(3)))
    assert await platform.open_counts() == OpenBreakers(accounts=1, servers=0)


async def test_connections_count_for_the_server_only_by_the_workers_without_one(
    platform: Platform, acme: Tenant
) -> None:
    """An account whose calls fail otherwise does not lend its other worker to an interrupted network."""
    second = replace(platform, worker="worker-2")
    for each in (platform, second):
        await each.breakers(NOW).report_worker()
    account = await platform.add_account(acme.workspace)
    for each in (platform, second, platform):
        await each.fail(acme.workspace, account)
    await platform.fail(acme.workspace, account, 2, failure=ServerFailure.UNREACHABLE)
    assert await platform.open_counts() == OpenBreakers(accounts=1, servers=0)

    await second.fail(acme.workspace, account, failure=ServerFailure.UNREACHABLE)
    assert await platform.open_counts() == OpenBreakers(accounts=1, servers=1)


async def test_worker_that_stopped_reporting_does_not_count(platform: Platform) -> None:
    await platform.breakers(NOW).report_worker()
    await replace(platform, worker="worker-2").breakers(NOW + 2 * MINUTE).report_worker()
    assert await count_live_workers(platform.database.all_workspaces, NOW) == 1


async def test_new_credentials_close_the_breaker_of_an_account(
    platform: Platform, acme: Tenant
) -> None:
    account = await platform.add_account(acme.workspace)
    await platform.fail(acme.workspace, account, 3)
    await set_account_credentials(
        acme.database,
        write_context(acme.workspace),
        account,
        prepare_credentials(parse_credentials(VALUES), CIPHER, b""),
        idempotency_key=None,
    )
    assert await platform.claimed_accounts() == {account: 1}
    assert (await all_rows(acme.database))["account_breaker"] == []


async def test_what_waits_for_a_server_is_not_overdue(platform: Platform, acme: Tenant) -> None:
    await platform.add_account(acme.workspace, due_at=NOW - HOUR)
    waiting = await platform.add_account(acme.workspace, due_at=NOW - HOUR)
    await platform.fail(acme.workspace, waiting, 3)
    assert await read_backlog(acme.database.all_workspaces, NOW) == Backlog(2, 1, NOW - HOUR)
    # Nothing probes it.
    later = NOW + WAIT + 5 * MINUTE
    assert (await read_backlog(acme.database.all_workspaces, later)).overdue == 2


async def failed_posts(
    acme: Tenant, posts: Sequence[PostId]
) -> list[tuple[DestinationStatus, Outcome, int, str | None]]:
    states = await destination_states(acme.database, acme.workspace, *posts)
    return [(each.status, each.outcome, each.attempts, each.error_code) for each in states]


async def add_outage(
    platform: Platform,
    workspace: WorkspaceId,
    account: AccountId,
    *,
    since: datetime,
    last_failed_at: datetime = NOW - MINUTE,
    origin: str = ORIGIN,
) -> None:
    """Open the breaker of an account, whose next probe is due now."""
    breaker = account_breaker(
        workspace,
        account,
        since=since,
        last_failed_at=last_failed_at,
        next_probe_at=NOW,
        origin=origin,
    )
    await platform.database.write_all_workspaces(lambda session: insert_objects(session, breaker))


@pytest.mark.parametrize(
    ("since", "last_failed_at"),
    [(NOW - DAY + SECOND, NOW), (NOW - 2 * DAY, NOW - FAILURE_WINDOW)],
    ids=["shorter", "not probed"],
)
async def test_late_post_does_not_fail_unless_its_server_was_tried_for_a_day(
    platform: Platform, acme: Tenant, since: datetime, last_failed_at: datetime
) -> None:
    """For instance, no worker has run for two days."""
    account = await platform.add_account(acme.workspace, due_at=NOW - 2 * DAY)
    await add_outage(platform, acme.workspace, account, since=since, last_failed_at=last_failed_at)
    await fail_after_outages(acme.database, NOW, DEFAULT_POLICIES)
    assert await platform.claimed_accounts() == {account: 1}


@pytest.mark.parametrize("by_maintenance", [True, False])
async def test_post_fails_after_a_day_of_waiting_without_an_attempt(
    platform: Platform, acme: Tenant, by_maintenance: bool
) -> None:
    account = await platform.add_account(acme.workspace, posts=0)
    states = (
        queued(NOW - DAY),
        replace(queued(NOW - 3 * DAY), round_started_at=NOW - HOUR, claimable_at=NOW - HOUR),
        waiting_for_retry(DUE, due_at=NOW - DAY),
    )
    posts = [(await add_post(acme.database, acme.workspace, {account: each})).id for each in states]
    await add_outage(platform, acme.workspace, account, since=NOW - DAY)
    before = await failed_posts(acme, posts)
    if by_maintenance:
        await fail_after_outages(acme.database, NOW - SECOND, DEFAULT_POLICIES)
        assert await failed_posts(acme, posts) == before
        await fail_after_outages(acme.database, NOW, DEFAULT_POLICIES)
    else:
        claims = [await platform.claim(NOW + minutes * MINUTE) for minutes in range(3)]
        assert [[each.post.id for each in claimed] for claimed in claims] == [[], [posts[1]], []]

    failed = (DestinationStatus.FAILED, Outcome.FAILED)
    after = await failed_posts(acme, posts)
    assert (after[0], after[2]) == (
        (*failed, 0, "PLATFORM_UNAVAILABLE"),
        (*failed, 1, "PLATFORM_UNAVAILABLE"),
    )
    assert after[1][0] in {DestinationStatus.QUEUED, DestinationStatus.PUBLISHING}
    loaded = await load_posts(acme.database.reader(acme.workspace), posts)
    assert [loaded[post].status is PostStatus.FAILED for post in posts] == [True, False, True]
    operation = FAIL_WITHOUT_SERVER if by_maintenance else CLAIM_DESTINATIONS
    assert set(await changed_destinations(acme.database, operation)) == {
        loaded[post].destinations[0].id for post in (posts[::2] if by_maintenance else posts)
    }
    (state, *_) = await destination_states(acme.database, acme.workspace, posts[0])
    assert (state.error, state.error_category, state.not_sent) == (
        "social.example has not answered since 2026-04-14 15:00 UTC. The post was not sent within 24"
        " hours.",
        ErrorCategory.TRANSIENT,
        True,
    )


async def test_accounts_with_a_longer_wait_do_not_delay_the_failures_of_others(
    platform: Platform, acme: Tenant
) -> None:
    """More of them wait than one run of maintenance has transactions."""
    two_days = replace(DEFAULT_POLICIES.by_kind[NOT_SENT], max_age=timedelta(days=2))
    policies = RetryPolicies(DEFAULT_POLICIES.by_kind, {"mastodon": {NOT_SENT: two_days}})
    bluesky = replace(platform, publisher=AccountPublisher.BLUESKY)
    waiting = [
        await platform.add_account(acme.workspace, posts=0) for _ in range(MAX_TRANSACTIONS_PER_RUN)
    ]
    waiting.append(await bluesky.add_account(acme.workspace, posts=0))
    posts = []
    for number, account in enumerate(waiting):
        post = await add_post(acme.database, acme.workspace, {account: queued(NOW - 3 * DAY)})
        posts.append(post.id)
        since = NOW - (30 if number < MAX_TRANSACTIONS_PER_RUN else 24) * HOUR
        origin = f"https://{number}.example"
        await add_outage(platform, acme.workspace, account, since=since, origin=origin)

    await fail_after_outages(acme.database, NOW, policies)
    states = await destination_states(acme.database, acme.workspace, *posts)
    assert [each.status for each in states] == [
        *[DestinationStatus.QUEUED] * MAX_TRANSACTIONS_PER_RUN,
        DestinationStatus.FAILED,
    ]
    await fail_after_outages(acme.database, NOW, DEFAULT_POLICIES)
    states = await destination_states(acme.database, acme.workspace, *posts)
    assert {each.status for each in states} == {DestinationStatus.FAILED}


async def test_closed_breaker_of_a_server_is_pruned(platform: Platform, acme: Tenant) -> None:
    await open_server(platform, acme.workspace)
    await prune_breakers(platform.database, NOW + HOUR)
    (probe,) = await platform.claim(NOW + WAIT)
    await platform.succeed(probe, now=NOW + WAIT)
    await prune_breakers(platform.database, NOW + WAIT + 5 * MINUTE)
    assert len((await all_rows(platform.database))["server_breaker"]) == 1
    await prune_breakers(platform.database, NOW + WAIT + 6 * MINUTE)
    assert (await all_rows(platform.database))["server_breaker"] == []
