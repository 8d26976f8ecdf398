"""Tests of claims: order, fair shares, concurrency, verifications and waiting."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from uuid import UUID, uuid4

import pytest

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.account_pauses import RemainingCalls
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationStatus
from app.domain.ids import AccountId, PostId
from app.domain.post_commands import PostUpdate
from app.services.claims import (
    CLAIM_POLL_INTERVAL,
    Claim,
    ClaimRequest,
    poll_for_claims,
)
from app.services.posts import cancel_post, delete_post, update_post
from app.services.retries import retry_one_post
from app.services.unit_of_work import Publisher
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    being_verified,
    claimed,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.recording_driver import record_writes
from tests.services.publishing_calls import (
    MINUTE,
    account_pauses,
    add_due,
    add_unclaimable,
    claim,
    claim_for_verification,
    claim_service,
    destination_states,
    error_code,
    run_concurrently,
    write_context,
)

SECOND = timedelta(seconds=1)


def claimed_post_ids(claims: list[Claim]) -> list[PostId]:
    return [claim.post.id for claim in claims]


# Order.


async def test_longest_due_destinations_are_claimed_first(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    due = {
        5: queued(NOW - 5 * SECOND),
        3: waiting_for_retry(NOW - 3 * SECOND, due_at=NOW - MINUTE),
        4: claimed(NOW - MINUTE, lease_expires_at=NOW - 4 * SECOND),
        0: queued(NOW),
    }
    posts = {
        since: (await add_post(acme.database, acme.workspace, {account: state})).id
        for since, state in due.items()
    }

    claims = await claim(acme.database)

    assert claimed_post_ids(claims) == [posts[since] for since in sorted(due, reverse=True)]
    assert [c.lease.fence for c in claims] == [1, 2, 2, 1]
    for c in claims:
        state = c.destination.state
        assert c.expires_at == state.lease_expires_at == state.claimable_at == NOW + MINUTE
        assert (c.lease.token, c.lease.fence) == (state.lease_token, state.fence)
        assert c.lease.destination_id == c.destination.id
        assert c.account.id == account
        assert state == (await destination_states(acme.database, acme.workspace, c.post.id))[0]
    assert await claim(acme.database) == []


async def test_claim_respects_its_limit(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, 5, "x")
    assert [len(await claim(acme.database, 2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_unclaimable_destinations_are_not_claimed(database: Database) -> None:
    await add_unclaimable(
        database,
        [
            queued(NOW + SECOND),
            waiting_for_retry(NOW + SECOND),
            claimed(),
            started(NOW - MINUTE, lease_expires_at=NOW),
            published(),
            failed(),
            unknown(due_at=NOW - MINUTE),
            being_verified(),
        ],
    )
    before = await all_rows(database)

    assert await claim(database) == []
    assert await claim(database, platforms=["instagram"]) == []
    assert await claim(database, platforms=[]) == []
    assert await all_rows(database) == before


@pytest.mark.parametrize(
    "blocked",
    [{"is_active": False}, {"needs_reconnection_since": NOW}, {"token_expires_at": NOW}],
    ids=str,
)
async def test_account_that_cannot_post_is_skipped_as_a_whole(
    acme: Tenant, blocked: dict[str, object]
) -> None:
    blocked_account = await add_account(acme.database, acme.workspace, **blocked)  # type: ignore[arg-type]
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(
        acme.database, acme.workspace, {blocked_account: queued(), account: queued()}
    )

    claims = await claim(acme.database)

    assert [c.account.id for c in claims] == [account]
    skipped, leased = await destination_states(acme.database, acme.workspace, post.id)
    assert skipped == queued()
    assert leased.status is DestinationStatus.PUBLISHING
    assert await find_problems(acme.database) == []


# Fair shares.


async def test_workspaces_get_fair_shares_and_divide_unused_ones(database: Database) -> None:
    workspaces = [await add_workspace(database) for _ in range(4)]
    for workspace, count in zip(workspaces, (30, 30, 30, 1), strict=True):
        await add_due(database, workspace, count, "x")

    claims = await claim(database, 12)

    counts = Counter(c.lease.workspace_id for c in claims)
    assert counts[workspaces[3]] == 1
    assert all(3 <= counts[workspace] <= 5 for workspace in workspaces[:3])
    assert len(claims) == 12


async def test_small_claims_start_at_a_random_workspace(database: Database) -> None:
    large, small = sorted([await add_workspace(database) for _ in range(2)])
    await add_due(database, large, 30, "x")
    await add_due(database, small, 1, "x")

    for start, expected in (
        (UUID(int=1), small),
        (UUID(int=0), large),
        (UUID(int=2**128 - 1), large),
    ):
        starts = iter([start])
        request = ClaimRequest(
            limit=1, lease_duration=MINUTE, publishers=[AccountPublisher.EXTERNAL]
        )
        service = replace(claim_service(database), new_id=partial(next, starts, uuid4()))
        claims = await service.claim_destinations(request)
        assert [c.lease.workspace_id for c in claims] == [expected]


async def test_platforms_get_fair_shares_and_divide_unused_ones(acme: Tenant) -> None:
    for platform, count in (("x", 30), ("instagram", 30), ("threads", 1), ("tiktok", 30)):
        await add_due(acme.database, acme.workspace, count, platform)

    claims = await claim(acme.database, 9, platforms=["x", "instagram", "threads"])

    counts = Counter(c.destination.platform for c in claims)
    assert counts["threads"] == 1
    assert all(3 <= counts[platform] <= 5 for platform in ("x", "instagram"))
    assert len(claims) == 9


@pytest.mark.parametrize("first_group", range(3))
async def test_publishers_get_fair_shares_and_divide_those_of_paused_accounts(
    acme: Tenant, first_group: int
) -> None:
    database, workspace = acme.database, acme.workspace
    publishers = [AccountPublisher.SANDBOX, AccountPublisher.WEBHOOK, AccountPublisher.BLUESKY]
    paused, large, small = [
        await add_account(database, workspace, publisher=publisher) for publisher in publishers
    ]
    for account, count in ((paused, 20), (large, 20), (small, 1)):
        for _ in range(count):
            await add_post(database, workspace, {account: queued()})
    await account_pauses(database).pause_if_used_up(workspace, paused, RemainingCalls(0, MINUTE))

    async def claim_nine(now: datetime) -> Counter[AccountId]:
        ids = chain([workspace, UUID(int=first_group)], iter(uuid4, None))
        request = ClaimRequest(limit=9, lease_duration=MINUTE, publishers=publishers)
        service = replace(claim_service(database, now=now), new_id=partial(next, ids))
        claims = await service.claim_destinations(request)
        assert len(set(claimed_post_ids(claims))) == len(claims)
        return Counter(c.account.id for c in claims)

    with record_writes(database) as statements:
        assert await claim_nine(NOW) == {large: 8, small: 1}
    locks = [each for each in statements if "claimable_at <=" in each.text]
    # On SQLite, one for each account.
    assert len(locks) <= 4

    after_pause = await claim_nine(NOW + 2 * MINUTE)
    assert after_pause.total() == 9
    assert after_pause[small] == 1
    assert min(after_pause[paused], after_pause[large]) >= 3


async def test_single_claims_reach_every_platform(acme: Tenant) -> None:
    for platform in ("x", "instagram"):
        await add_due(acme.database, acme.workspace, 1, platform)
    platforms = ["threads", "x", "tiktok", "instagram"]

    batches = [await claim(acme.database, 1, platforms=platforms) for _ in range(3)]

    assert [len(batch) for batch in batches] == [1, 1, 0]
    assert {c.destination.platform for batch in batches for c in batch} == {"x", "instagram"}


async def test_repeated_platform_is_claimed_once(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, 3, "x")

    claims = await claim(acme.database, 10, platforms=["x", "x"])

    assert [c.lease.fence for c in claims] == [1, 1, 1]
    assert len(set(claimed_post_ids(claims))) == 3


async def test_key_claims_and_verifies_only_in_its_workspace(database: Database) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    for workspace in (ours, theirs):
        account = await add_account(database, workspace)
        await add_post(database, workspace, {account: queued()})
        await add_post(database, workspace, {account: unknown(settled_at=NOW)})
    key = await add_api_key(database, ours)
    publisher = Publisher(ours, key.id)

    for claims in (
        await claim(database, publisher=publisher),
        await claim_for_verification(database, publisher=publisher),
    ):
        assert [c.lease.workspace_id for c in claims] == [ours]
    assert {(row[0], row[3]) for row in (await all_rows(database))["event"]} == {(ours, key.id)}


# Concurrency.


async def test_concurrent_claims_lease_each_destination_once(
    database: Database, database_url: str
) -> None:
    for _ in range(3):
        await add_due(database, await add_workspace(database), 20, "x")

    async def run_claimer() -> list[Claim]:
        async with Database(database_url, timeout=MINUTE) as own:
            return [c for _ in range(12) for c in await claim(own, 3)]

    batches = await asyncio.gather(*(run_claimer() for _ in range(6)))

    claims = [c for batch in batches for c in batch]
    assert len({c.destination.id for c in claims}) == len(claims) == 60
    assert {c.lease.fence for c in claims} == {1}
    assert await find_problems(database) == []


COMMANDS: dict[str, Callable[..., Awaitable[object]]] = {
    "change": partial(
        update_post,
        update=PostUpdate(content="New"),
        account_ids=None,
        expected_version=None,
        idempotency_key=None,
        new_id=uuid4,
    ),
    "cancel": partial(cancel_post, expected_version=None, idempotency_key=None),
    "delete": partial(delete_post, expected_version=None, idempotency_key=None),
    "retry": partial(retry_one_post, account_ids=None, force=False, idempotency_key=None),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_concurrent_claim_and_command_are_serialized(
    acme: Tenant, database_url: str, command: str
) -> None:
    account = await add_account(acme.database, acme.workspace)
    before = failed(attempts=0) if command == "retry" else queued()
    posts = [
        (await add_post(acme.database, acme.workspace, {account: before})).id for _ in range(8)
    ]

    async with Database(database_url, timeout=MINUTE, pool_size=12) as busy:
        context, run = write_context(acme.workspace), COMMANDS[command]
        codes, batches = await asyncio.gather(
            run_concurrently(error_code(run(busy, context, post)) for post in posts),
            run_concurrently(claim(busy, 3) for _ in range(4)),
        )

    claimed_ids = {c.post.id for batch in batches for c in batch}
    assert len(claimed_ids) == sum(len(batch) for batch in batches)
    for post, code in zip(posts, codes, strict=True):
        (state,) = await destination_states(acme.database, acme.workspace, post)
        assert (state.lease_token is not None) == (post in claimed_ids)
        if command in ("cancel", "delete"):
            assert (code is None) != (post in claimed_ids)
        elif command == "retry":
            assert code is None
    assert await find_problems(acme.database) == []


# Verifications and waiting.


async def test_longest_unknown_outcomes_are_verified_first(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    times = [NOW - 2 * MINUTE, NOW, NOW - MINUTE, NOW + SECOND]
    posts = [
        (
            await add_post(
                acme.database,
                acme.workspace,
                {account: unknown(due_at=NOW - timedelta(hours=1), settled_at=at)},
            )
        ).id
        for at in times
    ]
    abandoned = replace(being_verified(expires_at=NOW - 3 * MINUTE), settled_at=NOW)
    posts.append((await add_post(acme.database, acme.workspace, {account: abandoned})).id)

    claims = await claim_for_verification(acme.database)

    assert claimed_post_ids(claims) == [posts[index] for index in (4, 0, 2, 1)]
    for c in claims:
        state = c.destination.state
        assert c.expires_at == state.verifiable_at == NOW + MINUTE
        assert (c.lease.token, c.lease.fence) == (state.verification_token, state.fence)
    assert claimed_post_ids(await claim_for_verification(acme.database, now=NOW + SECOND)) == [
        posts[3]
    ]


async def test_waiting_claim_polls_until_it_finds_something_or_times_out(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, 1, "x")
    due = await claim(acme.database)
    sleeps: list[float] = []
    results: list[list[Claim]] = [[], [], due]

    async def next_result() -> list[Claim]:
        return results.pop(0) if results else []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)

    async def poll(intervals: int) -> list[Claim]:
        return await poll_for_claims(
            next_result, intervals * CLAIM_POLL_INTERVAL, sleep, lambda: False
        )

    assert await poll(10) == due
    assert sleeps == [0.25, 0.25]
    assert await poll(3) == []
    assert len(sleeps) == 5
    assert await poll(0) == []
    assert len(sleeps) == 5


async def test_waiting_claim_ends_when_stopping() -> None:
    calls: list[str] = []

    async def claim_nothing() -> list[Claim]:
        calls.append("claim")
        return []

    async def sleep(_seconds: float) -> None:
        calls.append("sleep")

    async def poll(is_stopping: Callable[[], bool]) -> list[Claim]:
        return await poll_for_claims(claim_nothing, 10 * CLAIM_POLL_INTERVAL, sleep, is_stopping)

    assert await poll(lambda: "sleep" in calls) == []
    assert calls == ["claim", "sleep"]
    assert await poll(lambda: True) == []
    assert calls == ["claim", "sleep", "claim"]
