"""Claims of workers that cannot decrypt all credentials: such accounts are skipped, and no row changes."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.statements import Statement
from app.db.models import Destination
from app.db.repositories.checkpoints import find_checkpoint
from app.db.repositories.credentials import find_credentials
from app.db.repositories.duplicate_checks import PendingCheck, add_check
from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId, WorkspaceId
from app.domain.retry_policy import DEFAULT_POLICIES
from app.platforms.protocol import CredentialValues
from app.services.claims import Claim, ClaimRequest, ClaimService
from app.services.duplicate_checks import DuplicateCheckService
from app.services.publishing_secrets import RequestNew
from app.services.secret_cipher import SecretCipher
from app.services.stored_secrets import rotate_secrets
from tests.credential_rows import (
    CIPHER,
    KEY,
    NO_CIPHER,
    OTHER_CIPHER,
    OTHER_KEY,
    add_checkpoint,
    add_credentials,
    publishing_secrets,
)
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    claimed,
    failed,
    published,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.hpke_credential_rows import HPKE_KEY, add_hpke_credentials
from tests.recording_driver import record_writes
from tests.services.publishing_calls import MINUTE, OPERATOR_PUBLISHER

BLUESKY = AccountPublisher.BLUESKY
BOTH, NEW_FIRST = SecretCipher([KEY, OTHER_KEY]), SecretCipher([OTHER_KEY, KEY])
UNKNOWN = unknown(settled_at=NOW)
EXPIRED = claimed(NOW - MINUTE, lease_expires_at=NOW - timedelta(seconds=1))


def worker(database: Database, cipher: SecretCipher) -> ClaimService:
    return ClaimService(
        database=database,
        publisher=OPERATOR_PUBLISHER,
        key_ids=cipher.key_ids,
        policies=DEFAULT_POLICIES,
        new_id=uuid4,
        clock=lambda: NOW,
    )


async def claim(database: Database, cipher: SecretCipher, limit: int = 100) -> list[Claim]:
    request = ClaimRequest(limit=limit, lease_duration=MINUTE, publishers=[BLUESKY])
    return await worker(database, cipher).claim_destinations(request)


async def claim_verifications(database: Database, cipher: SecretCipher) -> list[Claim]:
    request = ClaimRequest(limit=100, lease_duration=MINUTE, publishers=[BLUESKY])
    return await worker(database, cipher).claim_verifications(request)


def account_ids(claims: Sequence[Claim]) -> list[AccountId]:
    return sorted(claim.account.id for claim in claims)


async def test_accounts_of_other_keys_are_skipped_and_their_rows_stay(database: Database) -> None:
    workspace, other_workspace = await add_workspace(database), await add_workspace(database)
    unreadable = [
        await add_account(database, each, id=1, publisher=BLUESKY, platform="bluesky")
        for each in (workspace, other_workspace)
    ]
    readable, without_credentials = [
        await add_account(database, workspace, id=id_, publisher=BLUESKY, platform="bluesky")
        for id_ in (2, 3)
    ]
    for each, account in zip((workspace, other_workspace), unreadable, strict=True):
        await add_credentials(database, each, account, cipher=OTHER_CIPHER)
        for state in (queued(), EXPIRED, UNKNOWN):
            await add_post(database, each, {account: state})
    await add_credentials(database, workspace, readable)
    for state in (queued(), queued(NOW + MINUTE), EXPIRED, failed(), published(), UNKNOWN):
        await add_post(database, workspace, {readable: state})
    await add_post(database, workspace, {without_credentials: queued()})
    external = await add_account(database, workspace, id=4)
    await add_post(database, workspace, {external: queued()})

    claims = await claim(database, CIPHER)
    verifications = await claim_verifications(database, CIPHER)

    assert account_ids(claims) == [2, 2, 3]
    assert {each.lease.workspace_id for each in claims} == {workspace}
    assert account_ids(verifications) == [2]
    rest = await all_rows(database)
    with record_writes(database) as writes:
        assert await claim(database, CIPHER) == []
        assert await claim_verifications(database, CIPHER) == []
    assert writes == []
    assert await all_rows(database) == rest
    assert account_ids(await claim(database, OTHER_CIPHER)) == [1, 1, 1, 1]
    assert account_ids(await claim_verifications(database, OTHER_CIPHER)) == [1, 1]


async def test_account_without_an_attempt_is_claimed_once_a_worker_has_its_key(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, publisher=BLUESKY, platform="bluesky")
    await add_credentials(database, workspace, account)
    await add_post(database, workspace, {account: queued()})
    before = await all_rows(database)

    for cipher in (NO_CIPHER, OTHER_CIPHER):
        assert await claim(database, cipher) == []
    assert await all_rows(database) == before

    (claimed_now,) = await claim(database, BOTH)
    assert claimed_now.destination.state.attempts == 0


async def test_destinations_with_a_checkpoint_of_another_key_are_skipped(
    database: Database,
) -> None:
    workspace, other_workspace = await add_workspace(database), await add_workspace(database)
    account, waiting = [
        await add_account(database, workspace, publisher=BLUESKY, platform="bluesky")
        for _ in range(2)
    ]
    other = await add_account(
        database, other_workspace, id=3, publisher=BLUESKY, platform="bluesky"
    )
    for each, owner, cipher in (
        (workspace, account, OTHER_CIPHER),
        (workspace, account, CIPHER),
        (workspace, waiting, OTHER_CIPHER),
        (other_workspace, other, CIPHER),
    ):
        for state in (waiting_for_retry(NOW), UNKNOWN):
            post = await add_post(database, each, {owner: state})
            await add_checkpoint(database, each, post.destinations[0], {"n": 1}, cipher=cipher)
    await add_post(database, workspace, {account: queued()})

    assert account_ids(await claim(database, NO_CIPHER)) == [account]
    rest = await all_rows(database)
    with record_writes(database) as writes:
        assert await claim(database, NO_CIPHER) == []
        assert await claim_verifications(database, NO_CIPHER) == []
    assert (writes, await all_rows(database)) == ([], rest)
    assert account_ids(await claim(database, CIPHER)) == [account, other]
    assert account_ids(await claim_verifications(database, CIPHER)) == [account, other]
    assert account_ids(await claim(database, OTHER_CIPHER)) == [account, waiting]
    assert account_ids(await claim_verifications(database, OTHER_CIPHER)) == [account, waiting]


async def test_duplicate_check_with_a_checkpoint_of_another_key_is_left_to_others(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, publisher=BLUESKY, platform="bluesky")
    post = await add_post(database, workspace, {account: published()})
    (destination,) = post.destinations
    await add_checkpoint(database, workspace, destination, {"n": 1})
    check = PendingCheck(workspace, destination, post.id, account, NOW, NOW, attempts=0)
    await database.write(workspace, partial(add_check, check=check))

    due = {
        name: await DuplicateCheckService(
            database=database, key_ids=cipher.key_ids, new_id=uuid4, clock=lambda: NOW
        ).due()
        for name, cipher in (("none", NO_CIPHER), ("other", OTHER_CIPHER), ("own", BOTH))
    }

    assert due == {"none": [], "other": [], "own": [[check]]}


async def test_readable_accounts_have_equal_shares_and_the_limit_holds(database: Database) -> None:
    workspace = await add_workspace(database)
    accounts = [
        await add_account(database, workspace, publisher=BLUESKY, platform="bluesky")
        for _ in range(4)
    ]
    for account in accounts:
        cipher = OTHER_CIPHER if account == accounts[0] else CIPHER
        await add_credentials(database, workspace, account, cipher=cipher)
        for _ in range(5):
            await add_post(database, workspace, {account: queued()})

    claims = await claim(database, CIPHER, limit=6)

    assert account_ids(claims) == [each for each in accounts[1:] for _ in range(2)]


async def test_credentials_in_the_hpke_format_are_claimed_with_their_key(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, publisher=BLUESKY, platform="bluesky")
    await add_hpke_credentials(database, workspace, account)
    await add_post(database, workspace, {account: queued()})

    for cipher in (CIPHER, SecretCipher([], [HPKE_KEY])):
        assert await claim(database, cipher) == []
    assert account_ids(await claim(database, SecretCipher([KEY], [HPKE_KEY]))) == [account]


@pytest.mark.parametrize(
    ("server", "other_worker"),
    [
        pytest.param(NEW_FIRST, CIPHER, id="server first"),
        pytest.param(CIPHER, NEW_FIRST, id="worker first"),
    ],
)
async def test_no_attempt_fails_while_processes_have_different_keys(
    database: Database, server: SecretCipher, other_worker: SecretCipher
) -> None:
    """Each order in which processes get a new key, with credentials set and renewed meanwhile."""
    workspace = await add_workspace(database)
    old, new = [
        await add_account(database, workspace, publisher=BLUESKY, platform="bluesky")
        for _ in range(2)
    ]
    await add_credentials(database, workspace, old)
    await add_credentials(database, workspace, new, cipher=server)
    for account in (old, new):
        await add_post(database, workspace, {account: queued()})
    workers = [other_worker, NEW_FIRST]
    read: list[AccountId] = []
    for cipher in workers:
        for each in await claim(database, cipher, limit=1):
            credentials = publishing_secrets(database, cipher=cipher).credentials(each)
            renewed = await credentials.refresh(await credentials.get(), renew(len(read)))
            await publishing_secrets(database, cipher=cipher).checkpoint(each).save({"n": 1})
            assert await credentials.get() == renewed
            read.append(each.account.id)
    # What the worker with both keys has stored, one with the old key alone still reads.
    for account in (old, new) if server is CIPHER else (old,):
        assert await is_readable(database, workspace, account, CIPHER)

    await rotate_secrets(database, NEW_FIRST, NOW)

    assert sorted(read) == [old, new]
    for account in (old, new):
        assert await is_readable(database, workspace, account, OTHER_CIPHER)
        assert not await is_readable(database, workspace, account, CIPHER)


def renew(number: int) -> RequestNew:
    async def request_new(_values: CredentialValues) -> CredentialValues:
        return {"access": str(number)}

    return request_new


async def is_readable(
    database: Database, workspace: WorkspaceId, account: AccountId, cipher: SecretCipher
) -> bool:
    """Whether a worker decrypts the credentials of an account, and the checkpoint of its only post."""
    reader = database.reader(workspace)
    (destination,) = await reader.rows(
        Statement(select(Destination.id).where(Destination.account_id == account))
    )
    credentials = await find_credentials(reader, account)
    checkpoint = await find_checkpoint(reader, destination.id)
    assert credentials is not None
    assert checkpoint is not None
    key_ids = {credentials.data.key_id, checkpoint.key_id}
    assert len(key_ids) == 1
    return key_ids <= cipher.key_ids
