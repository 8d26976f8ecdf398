"""Publishers of accounts: who claims their destinations, and changes while others write."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.statements import Statement
from app.db.models import Destination
from app.db.repositories.accounts import load_accounts
from app.domain.account_commands import NewAccount
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationState
from app.domain.idempotency import parse_client_key
from app.domain.ids import AccountId, WorkspaceId
from app.services.accounts import connect_account, update_account
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.retries import retry_one_post
from app.services.unit_of_work import UnitOfWork
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
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
    create,
    error_code,
    new_post,
    run_concurrently,
    write_context,
)

EXTERNAL, SANDBOX = AccountPublisher.EXTERNAL, AccountPublisher.SANDBOX
SECOND = timedelta(seconds=1)

DECIDED = [
    draft(),
    queued(),
    queued(NOW + MINUTE),
    waiting_for_retry(),
    published(),
    failed(),
]
UNDECIDED = {
    "leased": claimed(),
    "started": started(),
    "started, lease expired": started(NOW - MINUTE, lease_expires_at=NOW - SECOND),
    "unknown": unknown(settled_at=NOW),
    "being verified": being_verified(),
}


async def add_sandbox_account(
    tenant: Tenant, publisher: AccountPublisher, states: Sequence[DestinationState] = ()
) -> AccountId:
    """Add an account on the platform `sandbox` with a post for each state."""
    account = await add_account(
        tenant.database, tenant.workspace, platform="sandbox", publisher=publisher
    )
    for state in states:
        await add_post(
            tenant.database, tenant.workspace, {account: state}, is_draft=state == draft()
        )
    return account


async def change_publisher(
    database: Database, workspace: WorkspaceId, account: AccountId, publisher: AccountPublisher
) -> None:
    await update_account(
        database,
        write_context(workspace),
        account,
        {"publisher": publisher},
        idempotency_key=None,
    )


async def stored_publishers(tenant: Tenant, account: AccountId) -> list[AccountPublisher]:
    """Publisher of the account, and those of its destinations."""
    reader = tenant.database.reader(tenant.workspace)
    rows = await reader.rows(
        Statement(select(Destination.publisher).where(Destination.account_id == account))
    )
    stored = (await load_accounts(reader, [account]))[account]
    return [stored.publisher, *(row.publisher for row in rows)]


async def test_publishers_share_a_platform_and_claim_only_their_own(acme: Tenant) -> None:
    accounts = {
        publisher: await add_sandbox_account(
            acme, publisher, [*[queued()] * 20, *[unknown(settled_at=NOW)] * 5]
        )
        for publisher in (EXTERNAL, SANDBOX)
    }

    for take, count in ((claim, 20), (claim_for_verification, 5)):
        batches = await asyncio.gather(
            *(take(acme.database, 7, of=publisher) for publisher in accounts for _ in range(4))
        )
        for index, (publisher, account) in enumerate(accounts.items()):
            claims = [c for batch in batches[4 * index : 4 * index + 4] for c in batch]
            assert {c.account.id for c in claims} == {account}, publisher
            assert len(claims) == count


@pytest.mark.parametrize("platforms", [["sandbox"], ["sandbox", "x"]])
async def test_platform_does_not_include_accounts_of_other_publishers(
    acme: Tenant, platforms: list[str]
) -> None:
    await add_sandbox_account(acme, SANDBOX, [queued()])
    assert await claim(acme.database, platforms=platforms) == []
    assert len(await claim(acme.database, platforms=platforms, of=SANDBOX)) == 1


async def test_changed_publisher_is_that_of_all_destinations(acme: Tenant) -> None:
    other = await add_sandbox_account(acme, EXTERNAL, [queued()])
    account = await add_sandbox_account(acme, EXTERNAL, DECIDED)

    await change_publisher(acme.database, acme.workspace, account, SANDBOX)

    assert await stored_publishers(acme, account) == [SANDBOX] * (1 + len(DECIDED))
    assert await stored_publishers(acme, other) == [EXTERNAL] * 2
    assert {c.account.id for c in await claim(acme.database)} == {other}
    claims = await claim(acme.database, of=SANDBOX)
    assert [c.account.id for c in claims] == [account] * 1


@pytest.mark.parametrize("state", UNDECIDED)
async def test_publisher_of_undecided_post_cannot_be_changed(acme: Tenant, state: str) -> None:
    account = await add_sandbox_account(acme, SANDBOX, [*DECIDED, UNDECIDED[state]])
    before = await all_rows(acme.database)

    change = change_publisher(acme.database, acme.workspace, account, EXTERNAL)

    assert await error_code(change) == "conflict"
    assert await all_rows(acme.database) == before


async def test_concurrent_change_and_claim_are_serialized(acme: Tenant, database_url: str) -> None:
    """No destination is leased to a publisher that its account no longer has."""
    publishers = (EXTERNAL, SANDBOX)
    async with Database(database_url, timeout=MINUTE, pool_size=12) as busy:
        for round_number in range(8):
            before, after = publishers[round_number % 2], publishers[1 - round_number % 2]
            account = await add_sandbox_account(acme, before, [queued()] * 6)
            change = change_publisher(busy, acme.workspace, account, after)
            (code,), batches = await asyncio.gather(
                run_concurrently([error_code(change)]),
                run_concurrently(claim(busy, 2, of=of) for of in publishers * 2),
            )
            claims = [c for batch in batches for c in batch if c.account.id == account]
            assert {c.destination.publisher for c in claims} <= {before if code else after}
            assert set(await stored_publishers(acme, account)) == {before if code else after}


async def test_concurrent_change_and_new_posts_are_serialized(
    acme: Tenant, database_url: str
) -> None:
    account = await add_sandbox_account(acme, EXTERNAL)
    async with Database(database_url, timeout=MINUTE, pool_size=12) as busy:
        create_one = partial(create, busy, acme.workspace, new_post([account]))
        for publisher in (SANDBOX, EXTERNAL) * 4:
            codes = await run_concurrently(
                error_code(call)
                for call in (
                    create_one(),
                    create_one(),
                    change_publisher(busy, acme.workspace, account, publisher),
                    create_one(),
                    create_one(),
                )
            )
            assert codes == [None] * 5
            assert set(await stored_publishers(acme, account)) == {publisher}
    assert len(await stored_publishers(acme, account)) == 1 + 8 * 4


async def test_concurrent_change_and_retries_are_serialized(
    acme: Tenant, database_url: str
) -> None:
    account = await add_sandbox_account(acme, EXTERNAL)
    posts = [
        (await add_post(acme.database, acme.workspace, {account: failed()})).id for _ in range(8)
    ]
    retry = partial(retry_one_post, account_ids=None, force=False, idempotency_key=None)

    async with Database(database_url, timeout=MINUTE, pool_size=12) as busy:
        codes = await run_concurrently(
            [
                error_code(change_publisher(busy, acme.workspace, account, SANDBOX)),
                *(error_code(retry(busy, write_context(acme.workspace), post)) for post in posts),
            ]
        )

    assert codes == [None] * 9
    assert await stored_publishers(acme, account) == [SANDBOX] * 9
    assert len(await claim(acme.database, of=SANDBOX)) == 8


async def test_connection_without_a_publisher_repeats_one_from_before_accounts_had_publishers(
    database: Database,
) -> None:
    context = write_context(await add_workspace(database))
    key = parse_client_key("connect-1", "idempotencyKey")
    members = {
        "platform": "x",
        "account_name": "acme",
        "display_name": None,
        "platform_user_id": None,
        "platform_username": None,
        "avatar_url": None,
        "token_expires_at": None,
    }

    async def work(_uow: UnitOfWork) -> StoredOutcome:
        return {"id": 41}

    await run_idempotently(database, context, key, members, work)

    new_account = NewAccount(**members, publisher=None, on_lost_access=None)  # type: ignore[arg-type]
    assert await connect_account(database, context, new_account, key, credentials=None) == 41
