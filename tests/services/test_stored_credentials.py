"""All stored credentials: canaries at the start of a worker, checks, rotation, and lost keys."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from structlog.testing import capture_logs

from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.db.repositories.checkpoints import find_checkpoint
from app.db.repositories.credential_verifications import due_verifications
from app.db.repositories.credentials import (
    delete_unused_canaries,
    find_credentials,
    insert_canary,
    list_canaries,
)
from app.domain.ids import AccountId, DestinationId, WorkspaceId
from app.services.credential_keys import (
    CANARY,
    CANARY_ROW,
    CredentialKeys,
    checkpoint_row,
    new_private_key,
)
from app.services.expirations import prune_checkpoints
from app.services.stored_credentials import (
    Resealing,
    UnreadableRow,
    check_canaries,
    find_unreadable_rows,
    reseal,
)
from app.settings import SettingsError
from tests.credential_rows import (
    KEYS,
    OTHER_KEYS,
    OTHER_PRIVATE_KEY,
    PLATFORM,
    PRIVATE_KEY,
    VALUES,
    add_checkpoint,
    add_credentials,
    public_key,
    stored_values,
)
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    failed,
    published,
    queued,
    unknown,
)
from tests.graphql.schema.mutations.mutation_calls import StoredEvent, stored_events

ROTATING = CredentialKeys([OTHER_PRIVATE_KEY, PRIVATE_KEY])
NO_KEYS = CredentialKeys([])
OLD_ID, NEW_ID = public_key(KEYS).id, public_key(OTHER_KEYS).id
CHECKPOINT = {"container": "17889"}
DAY = timedelta(days=1)


async def add_account_with_credentials(
    database: Database, workspace: WorkspaceId, keys: CredentialKeys = KEYS
) -> AccountId:
    account = await add_account(database, workspace, platform=PLATFORM)
    await add_credentials(database, workspace, account, keys=keys)
    return account


async def add_destination(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> DestinationId:
    return (await add_post(database, workspace, {account: queued()})).destinations[0]


async def canary_ids(database: Database) -> list[str]:
    return [canary.key_id for canary in await list_canaries(database.all_workspaces)]


def missing(key_id: str) -> str:
    return f"CREDENTIALS_KEY does not have the key {key_id}"


def summaries(unreadable: list[UnreadableRow]) -> list[tuple[str, str, str]]:
    return [(each.row.workspace_name, each.subject, each.problem) for each in unreadable]


async def test_worker_starts_without_stored_credentials(database: Database) -> None:
    with capture_logs() as lines:
        await check_canaries(database, NO_KEYS, NOW)

    assert lines == []


@pytest.mark.parametrize("keys", [NO_KEYS, OTHER_KEYS])
async def test_worker_that_can_read_no_credentials_does_not_start(
    database: Database, keys: CredentialKeys
) -> None:
    await add_account_with_credentials(database, await add_workspace(database))

    with pytest.raises(SettingsError) as caught:
        await check_canaries(database, keys, NOW)

    assert str(caught.value) == (
        f"CREDENTIALS_KEY lacks the private key of {OLD_ID}, which a worker needs to read the stored"
        " credentials of accounts. If that key is lost, set a new one and run `post-results credentials"
        " rotate --discard-unreadable`; the accounts must then be connected again."
    )


async def test_worker_that_can_read_some_credentials_starts_with_a_warning(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    unreadable = await add_account_with_credentials(database, workspace)
    await add_account_with_credentials(database, workspace, OTHER_KEYS)

    with capture_logs() as lines:
        await check_canaries(database, ROTATING, NOW)
    assert lines == []
    assert await due_verifications(database.all_workspaces, NOW, limit=9) == []

    with capture_logs() as lines:
        await check_canaries(database, OTHER_KEYS, NOW)
    assert lines == [
        {
            "event": "some credentials cannot be read",
            "log_level": "warning",
            "reason": f"CREDENTIALS_KEY lacks the private key of {OLD_ID}. Run `post-results credentials"
            " check`.",
        }
    ]
    # The next verification shows the reason at the account.
    (due,) = await due_verifications(database.all_workspaces, NOW, limit=9)
    assert (due.account_id, due.verify_attempts) == (unreadable, 0)


async def test_rotation_encrypts_everything_with_the_first_key(database: Database) -> None:
    rows = []
    for _ in range(2):
        workspace = await add_workspace(database)
        account = await add_account_with_credentials(database, workspace)
        destination = await add_destination(database, workspace, account)
        await add_checkpoint(database, workspace, destination, CHECKPOINT)
        rows.append((workspace, account, destination))
    new = await add_account_with_credentials(database, workspace, OTHER_KEYS)

    result = await reseal(database, ROTATING, NOW, discards_unreadable=False)

    assert result == Resealing(count=4, discarded=0, unreadable=[])
    for workspace, account, destination in rows:
        assert await stored_values(database, workspace, account, keys=OTHER_KEYS) == VALUES
        checkpoint = await find_checkpoint(database.reader(workspace), destination)
        assert checkpoint is not None
        assert OTHER_KEYS.open(checkpoint, checkpoint_row(workspace, destination)) == (
            b'{"container": "17889"}'
        )
    assert await stored_values(database, workspace, new, keys=OTHER_KEYS) == VALUES
    assert await find_unreadable_rows(database, OTHER_KEYS) == []
    assert await canary_ids(database) == [NEW_ID]
    await check_canaries(database, OTHER_KEYS, NOW)
    again = await reseal(database, ROTATING, NOW, discards_unreadable=False)
    assert again == Resealing(count=0, discarded=0, unreadable=[])


async def test_rotation_does_not_end_a_refresh(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account_with_credentials(database, workspace)
    reader = database.reader(workspace)
    before = await find_credentials(reader, account)
    assert before is not None

    await reseal(database, ROTATING, NOW, discards_unreadable=False)

    after = await find_credentials(reader, account)
    assert after is not None
    assert after.data.key_id == NEW_ID
    assert replace(after, data=before.data) == before


async def test_rotation_reads_all_batches(database: Database) -> None:
    workspace = await add_workspace(database)
    for _ in range(201):
        await add_account_with_credentials(database, workspace)

    result = await reseal(database, ROTATING, NOW, discards_unreadable=False)

    assert result == Resealing(count=201, discarded=0, unreadable=[])


async def test_rotation_needs_a_key(database: Database) -> None:
    with pytest.raises(SettingsError, match="CREDENTIALS_KEY is not set: it must have the new key"):
        await reseal(database, NO_KEYS, NOW, discards_unreadable=True)


async def test_unreadable_rows_are_named_and_stay_unchanged(database: Database) -> None:
    workspace = await add_workspace(database, name="Acme")
    lost = await add_account_with_credentials(database, workspace, OTHER_KEYS)
    await add_account_with_credentials(database, workspace)
    destination = await add_destination(database, workspace, lost)
    await add_checkpoint(database, workspace, destination, CHECKPOINT, keys=OTHER_KEYS)
    unreadable = [
        ("Acme", f"account {lost}", missing(NEW_ID)),
        ("Acme", f"destination {destination}", missing(NEW_ID)),
    ]

    assert summaries(await find_unreadable_rows(database, KEYS)) == unreadable
    result = await reseal(database, KEYS, NOW, discards_unreadable=False)

    assert (result.count, summaries([*result.unreadable])) == (0, unreadable)
    assert await stored_values(database, workspace, lost, keys=OTHER_KEYS) == VALUES
    assert sorted(await canary_ids(database)) == sorted([OLD_ID, NEW_ID])


async def test_only_canaries_of_keys_that_no_row_uses_are_deleted(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account_with_credentials(database, workspace)
    destination = await add_destination(database, workspace, account)
    await add_checkpoint(database, workspace, destination, CHECKPOINT, keys=OTHER_KEYS)
    for keys in (OTHER_KEYS, CredentialKeys([new_private_key()])):
        canary = public_key(keys).seal(CANARY, CANARY_ROW)
        await database.write_all_workspaces(partial(insert_canary, canary=canary))

    await database.write_all_workspaces(delete_unused_canaries)

    assert await canary_ids(database) == sorted([OLD_ID, NEW_ID])


async def test_lost_key_makes_accounts_need_reconnection(database: Database) -> None:
    workspace = await add_workspace(database, name="Acme")
    lost = await add_account_with_credentials(database, workspace)
    kept = await add_account_with_credentials(database, workspace, OTHER_KEYS)
    destination = await add_destination(database, workspace, lost)
    await add_checkpoint(database, workspace, destination, CHECKPOINT)

    result = await reseal(database, OTHER_KEYS, NOW, discards_unreadable=True)

    assert (result.count, result.discarded, summaries([*result.unreadable])) == (
        0,
        1,
        [("Acme", f"destination {destination}", missing(OLD_ID))],
    )
    reader = database.reader(workspace)
    assert await find_credentials(reader, lost) is None
    accounts = await load_accounts(reader, [lost, kept])
    assert [accounts[each].needs_reconnection_since for each in (lost, kept)] == [NOW, None]
    assert await stored_events(database) == [
        StoredEvent(1, "account.changed", "discardCredentials", lost, {"needs_reconnection_since"})
    ]
    await check_canaries(database, OTHER_KEYS, NOW)


async def test_old_checkpoints_are_pruned_except_of_unknown_outcomes(database: Database) -> None:
    workspace = await add_workspace(database)
    kept: list[DestinationId] = []
    pruned: list[DestinationId] = []
    for state, age, is_kept in (
        (published(), 8 * DAY, False),
        (failed(), 8 * DAY, False),
        (queued(), 8 * DAY, False),
        (unknown(), 8 * DAY, True),
        (published(), 6 * DAY, True),
    ):
        account = await add_account(database, workspace)
        destination = (await add_post(database, workspace, {account: state})).destinations[0]
        await add_checkpoint(database, workspace, destination, CHECKPOINT, saved_at=NOW - age)
        (kept if is_kept else pruned).append(destination)

    await prune_checkpoints(database, NOW)

    reader = database.reader(workspace)
    assert [await find_checkpoint(reader, each) is not None for each in (*kept, *pruned)] == [
        *[True] * 2,
        *[False] * 3,
    ]
