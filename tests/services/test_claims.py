"""What is given out to whom: in which order, in which shares, once, and never what may not go out."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.destinations import DestinationStatus, ErrorCategory
from app.domain.ids import PostId, WorkspaceId
from app.domain.post_commands import PostChanges
from app.services.claims import (
    CLAIM_POLL_INTERVAL,
    Claim,
    ClaimRequest,
    claim_destinations,
    poll_for_claims,
)
from app.services.posts import cancel_post, change_post, delete_post
from app.services.reports import Publisher
from app.services.retries import retry_one_post
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
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.services.publishing_calls import (
    MINUTE,
    claim,
    claim_for_verification,
    destination_states,
    error_code,
    run_concurrently,
    write_context,
)

SECOND = timedelta(seconds=1)


def claimed_post_ids(claims: list[Claim]) -> list[PostId]:
    return [each.post.id for each in claims]


async def add_due(database: Database, workspace: WorkspaceId, count: int, platform: str) -> None:
    account = await add_account(database, workspace, platform=platform)
    for _ in range(count):
        await add_post(database, workspace, {account: queued()})


# What, and in which order.


async def test_the_longest_due_come_first_whatever_made_them_due(acme: Tenant) -> None:
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
    assert [each.lease.fence for each in claims] == [1, 2, 2, 1]
    for each in claims:
        state = each.destination.state
        assert each.expires_at == state.lease_expires_at == state.claimable_at == NOW + MINUTE
        assert (each.lease.token, each.lease.fence) == (state.lease_token, state.fence)
        assert each.lease.destination_id == each.destination.id
        assert each.account.id == account
        assert state == (await destination_states(acme.database, acme.workspace, each.post.id))[0]
    assert await claim(acme.database) == []


async def test_a_limit_is_kept(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, 5, "x")
    assert [len(await claim(acme.database, 2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_what_may_not_go_out_is_not_claimed(database: Database) -> None:
    local = await add_workspace(database)
    mirror = await add_workspace(database, mirror_of="https://example.com")
    unclaimable = replace(queued(), claimable_at=None)
    account = await add_account(database, local)
    mirrored = await add_account(database, mirror)
    for state in (
        queued(NOW + SECOND),
        waiting_for_retry(NOW + SECOND),
        claimed(),
        started(NOW - MINUTE, lease_expires_at=NOW),
        published(),
        failed(),
        unknown(due_at=NOW - MINUTE),
        being_verified(),
    ):
        await add_post(database, local, {account: state})
    await add_post(database, local, {account: draft()}, is_draft=True)
    await add_post(database, local, {account: unclaimable}, deleted_at=NOW)
    await add_post(database, local, {account: unclaimable}, imported_at=NOW)
    await add_post(database, mirror, {mirrored: unclaimable})
    before = await all_rows(database)

    assert await claim(database) == []
    assert await claim(database, platforms=["instagram"]) == []
    assert await claim(database, platforms=[]) == []
    assert await all_rows(database) == before


@pytest.mark.parametrize(
    "blocked",
    [
        {"is_active": False},
        {"needs_reconnection_since": NOW},
        {"token_expires_at": NOW},
    ],
    ids=str,
)
async def test_what_is_due_on_an_account_that_cannot_post_fails_instead(
    acme: Tenant, blocked: dict[str, object]
) -> None:
    cannot = await add_account(acme.database, acme.workspace, **blocked)  # type: ignore[arg-type]
    can = await add_account(acme.database, acme.workspace)
    lost = claimed(NOW - 2 * MINUTE, lease_expires_at=NOW)
    post = await add_post(acme.database, acme.workspace, {cannot: queued(), can: queued()})
    other = await add_post(acme.database, acme.workspace, {cannot: lost})

    claims = await claim(acme.database)

    assert [each.account.id for each in claims] == [can]
    failed_one, kept, failed_too = await destination_states(
        acme.database, acme.workspace, post.id, other.id
    )
    for state in (failed_one, failed_too):
        assert state.status is DestinationStatus.FAILED
        assert (state.error_category, state.attempts) == (ErrorCategory.AUTH, 0)
    assert kept.status is DestinationStatus.PUBLISHING
    assert await find_problems(acme.database) == []


# In which shares.


async def test_each_workspace_has_its_share_and_what_one_leaves_is_the_others(
    database: Database,
) -> None:
    workspaces = [await add_workspace(database) for _ in range(4)]
    for workspace, count in zip(workspaces, (30, 30, 30, 1), strict=True):
        await add_due(database, workspace, count, "x")

    claims = await claim(database, 12)

    counts = Counter(each.lease.workspace_id for each in claims)
    assert counts[workspaces[3]] == 1
    assert all(3 <= counts[each] <= 5 for each in workspaces[:3])
    assert 10 <= len(claims) <= 12


async def test_few_claims_begin_anywhere_so_that_nobody_waits_for_a_large_workspace(
    database: Database,
) -> None:
    crowded, small = sorted([await add_workspace(database) for _ in range(2)])
    await add_due(database, crowded, 30, "x")
    await add_due(database, small, 1, "x")

    for start, expected in (
        (UUID(int=1), small),
        (UUID(int=0), crowded),
        (UUID(int=2**128 - 1), crowded),
    ):
        starts = iter([start])
        wish = ClaimRequest(limit=1, lease_duration=MINUTE, platforms=None)
        claims = await claim_destinations(
            database,
            Publisher(None, None),
            wish,
            new_id=lambda starts=starts: next(starts, uuid4()),  # type: ignore[misc]
            now=NOW,
        )
        assert [each.lease.workspace_id for each in claims] == [expected]


async def test_each_platform_has_its_share_and_what_one_leaves_is_the_others(acme: Tenant) -> None:
    for platform, count in (("x", 30), ("instagram", 30), ("threads", 1), ("tiktok", 30)):
        await add_due(acme.database, acme.workspace, count, platform)

    claims = await claim(acme.database, 9, platforms=["x", "instagram", "threads"])

    counts = Counter(each.destination.platform for each in claims)
    assert counts["threads"] == 1
    assert all(3 <= counts[each] <= 5 for each in ("x", "instagram"))
    assert set(counts) == {"x", "instagram", "threads"}


async def test_one_claim_at_a_time_finds_what_is_due_on_any_of_many_platforms(acme: Tenant) -> None:
    for platform in ("x", "instagram"):
        await add_due(acme.database, acme.workspace, 1, platform)
    platforms = ["threads", "x", "tiktok", "instagram"]

    claims = [await claim(acme.database, 1, platforms=platforms) for _ in range(3)]

    assert [len(each) for each in claims] == [1, 1, 0]
    assert {each.destination.platform for some in claims for each in some} == {"x", "instagram"}


async def test_a_platform_that_is_named_twice_gives_nothing_twice(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, 3, "x")

    claims = await claim(acme.database, 10, platforms=["x", "x"])

    assert [each.lease.fence for each in claims] == [1, 1, 1]
    assert len(set(claimed_post_ids(claims))) == 3


async def test_a_key_claims_and_looks_in_its_own_workspace_alone(database: Database) -> None:
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
        assert [each.lease.workspace_id for each in claims] == [ours]
    assert {(row[0], row[3]) for row in (await all_rows(database))["event"]} == {(ours, key.id)}


# To whom.


async def test_many_claimers_at_once_are_given_each_row_once(
    database: Database, database_url: str
) -> None:
    for _ in range(3):
        await add_due(database, await add_workspace(database), 20, "x")

    async def claimer() -> list[Claim]:
        async with Database(database_url, timeout=MINUTE) as own:
            return [each for _ in range(12) for each in await claim(own, 3)]

    given = [each for some in await asyncio.gather(*(claimer() for _ in range(6))) for each in some]

    assert len({each.destination.id for each in given}) == len(given) == 60
    assert {each.lease.fence for each in given} == {1}
    assert await find_problems(database) == []


COMMANDS = ("change", "cancel", "delete", "retry")


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_claim_and_a_command_of_the_same_post_come_one_after_the_other(
    acme: Tenant, database_url: str, command: str
) -> None:
    account = await add_account(acme.database, acme.workspace)
    before = failed(attempts=0) if command == "retry" else queued()
    posts = [
        (await add_post(acme.database, acme.workspace, {account: before})).id for _ in range(8)
    ]

    async with Database(database_url, timeout=MINUTE, pool_size=12) as busy:
        commands: dict[str, Callable[[PostId], Awaitable[object]]] = {
            "change": lambda post: change_post(
                busy,
                write_context(acme.workspace),
                post,
                PostChanges(content="New"),
                account_ids=None,
                expected_version=None,
                new_id=uuid4,
            ),
            "cancel": lambda post: cancel_post(
                busy, write_context(acme.workspace), post, expected_version=None
            ),
            "delete": lambda post: delete_post(
                busy, write_context(acme.workspace), post, expected_version=None
            ),
            "retry": lambda post: retry_one_post(
                busy,
                write_context(acme.workspace),
                post,
                account_ids=None,
                force=False,
                idempotency_key=None,
            ),
        }
        work = commands[command]
        codes, claims = await asyncio.gather(
            run_concurrently(error_code(work(post)) for post in posts),
            run_concurrently(claim(busy, 3) for _ in range(4)),
        )

    given = {each.post.id for some in claims for each in some}
    assert len(given) == sum(len(some) for some in claims)
    for post, code in zip(posts, codes, strict=True):
        (state,) = await destination_states(acme.database, acme.workspace, post)
        assert (state.lease_token is not None) == (post in given)
        if command in ("cancel", "delete"):
            assert (code is None) != (post in given)
        elif command == "retry":
            assert code is None
    assert await find_problems(acme.database) == []


async def test_what_somebody_is_changing_is_passed_over_and_waited_for_by_nobody(
    acme: Tenant,
) -> None:
    """On SQLite there is one writer at a time, and nothing to pass over."""
    if acme.database.is_sqlite:
        return
    account = await add_account(acme.database, acme.workspace)
    first, second = [
        (await add_post(acme.database, acme.workspace, {account: queued(NOW - each * SECOND)})).id
        for each in (2, 1)
    ]
    async with acme.database.write_engine.begin() as connection:
        await connection.exec_driver_sql(f"SELECT 1 FROM post WHERE id = '{first}' FOR UPDATE")
        async with asyncio.timeout(5):
            assert claimed_post_ids(await claim(acme.database)) == [second]
    assert claimed_post_ids(await claim(acme.database)) == [first]


# Verifications and waiting.


async def test_unknown_outcomes_are_looked_at_the_longest_unknown_first(acme: Tenant) -> None:
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
    given_up = replace(being_verified(expires_at=NOW - 3 * MINUTE), settled_at=NOW)
    posts.append((await add_post(acme.database, acme.workspace, {account: given_up})).id)

    claims = await claim_for_verification(acme.database)

    assert claimed_post_ids(claims) == [posts[each] for each in (4, 0, 2, 1)]
    for each in claims:
        state = each.destination.state
        assert each.expires_at == state.verifiable_at == NOW + MINUTE
        assert (each.lease.token, each.lease.fence) == (state.verification_token, state.fence)
    assert claimed_post_ids(await claim_for_verification(acme.database, now=NOW + SECOND)) == [posts[3]]


async def test_who_waits_looks_again_until_there_is_something_or_the_time_is_up(
    acme: Tenant,
) -> None:
    await add_due(acme.database, acme.workspace, 1, "x")
    due = await claim(acme.database)
    slept: list[float] = []
    answers: list[list[Claim]] = [[], [], due]

    async def next_result() -> list[Claim]:
        return answers.pop(0) if answers else []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def is_stopping() -> bool:
        return False

    assert await poll_for_claims(next_result, 10 * CLAIM_POLL_INTERVAL, sleep, is_stopping) == due
    assert slept == [0.25, 0.25]
    assert await poll_for_claims(next_result, 3 * CLAIM_POLL_INTERVAL, sleep, is_stopping) == []
    assert len(slept) == 5
    assert await poll_for_claims(next_result, timedelta(0), sleep, is_stopping) == []
    assert len(slept) == 5


async def test_who_waits_claims_nothing_more_once_it_is_to_stop() -> None:
    asked: list[float] = []

    async def claim_nothing() -> list[Claim]:
        asked.append(len(asked))
        return []

    async def sleep(_seconds: float) -> None:
        asked.append(-1)

    assert (
        await poll_for_claims(claim_nothing, 10 * CLAIM_POLL_INTERVAL, sleep, lambda: -1 in asked) == []
    )
    assert asked == [0, -1]
    assert await poll_for_claims(claim_nothing, 10 * CLAIM_POLL_INTERVAL, sleep, lambda: True) == []
    assert asked == [0, -1, 2]
