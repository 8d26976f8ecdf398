"""Stored credentials and checkpoints: checks, rotation from other keys, and lost keys."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from app.db.core.database import Database
from app.db.core.statements import CompiledStatement
from app.db.repositories.accounts import load_accounts
from app.db.repositories.checkpoints import find_checkpoint
from app.db.repositories.credentials import find_credentials
from app.db.repositories.duplicate_checks import PendingCheck, add_check
from app.db.repositories.encrypted_rows import (
    CREDENTIALS,
    list_encrypted_rows,
    replace_encrypted_rows,
)
from app.domain.credentials import KEY_GRACE
from app.domain.destinations import DestinationState
from app.domain.ids import AccountId, DestinationId, WorkspaceId
from app.services.expirations import prune_checkpoints
from app.services.missing_keys import record_keys
from app.services.secret_cipher import SecretCipher, checkpoint_row_name, new_secrets_key
from app.services.stored_secrets import (
    Rotation,
    UnreadableSecret,
    discard_unreadable_credentials,
    find_unreadable,
    rotate_secrets,
)
from app.services.webhook_deliveries import decrypted_secrets
from app.settings import SettingsError
from tests.credential_rows import (
    CIPHER,
    KEY,
    NO_CIPHER,
    OTHER_CIPHER,
    OTHER_KEY,
    PLATFORM,
    VALUES,
    add_checkpoint,
    add_credentials,
    stored_values,
)
from tests.db.all_tables import all_rows
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
from tests.hpke_credential_rows import (
    HPKE_KEY,
    HPKE_KEY_ID,
    OTHER_HPKE_KEY,
    add_hpke_checkpoint,
    add_hpke_credentials,
)
from tests.recording_driver import InterceptingWriter
from tests.webhook_events import stored_webhook
from tests.webhook_rows import SECRET, add_webhook

ROTATING = SecretCipher([OTHER_KEY, KEY])
OLD_ID, NEW_ID = CIPHER.key_id, OTHER_CIPHER.key_id
CHECKPOINT = {"container": "17889"}
LOST_CIPHER = SecretCipher([new_secrets_key()])
DAY, TICK = timedelta(days=1), timedelta(milliseconds=1)


async def add_account_with_credentials(
    database: Database, workspace: WorkspaceId, cipher: SecretCipher = CIPHER
) -> AccountId:
    account = await add_account(database, workspace, platform=PLATFORM)
    await add_credentials(database, workspace, account, cipher=cipher)
    return account


async def add_destination(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> DestinationId:
    return (await add_post(database, workspace, {account: queued()})).destinations[0]


def missing(key_id: str | None) -> str:
    return f"SECRETS_KEY does not have the key {key_id}"


async def test_rotation_encrypts_everything_with_the_first_key(database: Database) -> None:
    rows = []
    for _ in range(2):
        workspace = await add_workspace(database)
        account = await add_account_with_credentials(database, workspace)
        destination = await add_destination(database, workspace, account)
        await add_checkpoint(database, workspace, destination, CHECKPOINT)
        rows.append((workspace, account, destination))
    new = await add_account_with_credentials(database, workspace, OTHER_CIPHER)

    result = await rotate_secrets(database, ROTATING, NOW)

    assert result == Rotation(4, [], is_complete=True, other_key_count=0)
    for workspace, account, destination in rows:
        assert await stored_values(database, workspace, account, cipher=OTHER_CIPHER) == VALUES
        checkpoint = await find_checkpoint(database.reader(workspace), destination)
        assert checkpoint is not None
        assert OTHER_CIPHER.decrypt_data(
            checkpoint, checkpoint_row_name(workspace, destination)
        ) == (b'{"container": "17889"}')
    assert await stored_values(database, workspace, new, cipher=OTHER_CIPHER) == VALUES
    assert await find_unreadable(database, OTHER_CIPHER, NOW) == []
    again = await rotate_secrets(database, ROTATING, NOW)
    assert again == Rotation(0, [], is_complete=True, other_key_count=0)


async def add_rows_of_every_key(
    database: Database,
) -> list[tuple[WorkspaceId, AccountId, DestinationId]]:
    """Credentials and checkpoints in the HPKE format, and of an older SECRETS_KEY."""
    rows = []
    workspace = await add_workspace(database, name="Acme")
    for is_hpke in (True, False):
        account = await add_account(database, workspace, platform=PLATFORM)
        destination = await add_destination(database, workspace, account)
        if is_hpke:
            await add_hpke_credentials(database, workspace, account)
            await add_hpke_checkpoint(database, workspace, destination, CHECKPOINT)
        else:
            await add_credentials(database, workspace, account)
            await add_checkpoint(database, workspace, destination, CHECKPOINT)
        rows.append((workspace, account, destination))
    return rows


async def test_rotation_encrypts_what_has_the_hpke_format(database: Database) -> None:
    rows = await add_rows_of_every_key(database)
    before = await all_rows(database)
    all_keys = SecretCipher([OTHER_KEY, KEY], [HPKE_KEY])

    assert await find_unreadable(database, all_keys, NOW) == []
    assert await all_rows(database) == before
    result = await rotate_secrets(database, all_keys, NOW)

    assert result == Rotation(4, [], is_complete=True, other_key_count=0)
    for workspace, account, destination in rows:
        assert await stored_values(database, workspace, account, cipher=OTHER_CIPHER) == VALUES
        checkpoint = await find_checkpoint(database.reader(workspace), destination)
        assert checkpoint is not None
        row_name = checkpoint_row_name(workspace, destination)
        assert OTHER_CIPHER.decrypt_data(checkpoint, row_name) == b'{"container": "17889"}'
    assert await find_unreadable(database, OTHER_CIPHER, NOW) == []


@pytest.mark.parametrize("hpke_keys", [(), (OTHER_HPKE_KEY,)])
async def test_rotation_names_what_has_the_hpke_format_without_its_key(
    database: Database, hpke_keys: Sequence[str]
) -> None:
    (hpke, other) = await add_rows_of_every_key(database)
    problem = f"CREDENTIALS_KEY does not have the key {HPKE_KEY_ID}"

    cipher = SecretCipher([OTHER_KEY, KEY], hpke_keys)
    result = await rotate_secrets(database, cipher, NOW)

    assert result == Rotation(
        count=2,
        unreadable=[
            UnreadableSecret("Acme", f"destination {hpke[2]}", problem),
            UnreadableSecret("Acme", f"account {hpke[1]}", problem),
        ],
        is_complete=True,
        other_key_count=2,
    )
    assert await stored_values(database, *other[:2], cipher=OTHER_CIPHER) == VALUES
    rotating = SecretCipher([OTHER_KEY], [HPKE_KEY])
    assert await stored_values(database, *hpke[:2], cipher=rotating) == VALUES


@pytest.mark.parametrize("killed_at", range(1, 7))
async def test_killed_rotation_is_resumed(database: Database, killed_at: int) -> None:
    """It is killed at each of its statements: in a transaction, or between two."""
    rows = await add_rows_of_every_key(database)
    workspace = rows[0][0]
    webhooks = [await add_webhook(database, workspace, cipher=CIPHER) for _ in range(2)]
    all_keys = SecretCipher([OTHER_KEY, KEY], [HPKE_KEY])
    statements = 0
    writer = database.writer

    def kill(statement: CompiledStatement, _arguments: Sequence[object]) -> CompiledStatement:
        nonlocal statements
        statements += 1
        if statements == killed_at:
            raise asyncio.CancelledError
        return statement

    database.writer = InterceptingWriter(writer, kill)
    try:
        with pytest.raises(asyncio.CancelledError):
            await rotate_secrets(database, all_keys, NOW)
    finally:
        database.writer = writer

    assert await find_unreadable(database, all_keys, NOW) == []
    result = await rotate_secrets(database, all_keys, NOW)

    assert result.unreadable == []
    assert result.count <= 6
    assert await find_unreadable(database, OTHER_CIPHER, NOW) == []
    for workspace, account, _ in rows:
        assert await stored_values(database, workspace, account, cipher=OTHER_CIPHER) == VALUES
    for webhook_id in webhooks:
        stored = await stored_webhook(database, workspace, webhook_id)
        assert decrypted_secrets(OTHER_CIPHER, workspace, stored, NOW) == [SECRET]


async def test_rotation_does_not_end_a_refresh(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account_with_credentials(database, workspace)
    reader = database.reader(workspace)
    before = await find_credentials(reader, account)
    assert before is not None

    await rotate_secrets(database, ROTATING, NOW)

    after = await find_credentials(reader, account)
    assert after is not None
    assert after.data.key_id == NEW_ID
    assert replace(after, data=before.data) == before


@pytest.mark.parametrize(("cipher_of_other", "count"), [(CIPHER, 1), (OTHER_CIPHER, 0)])
async def test_rotation_repeats_rows_that_change_meanwhile_and_counts_only_what_it_has_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch, cipher_of_other: SecretCipher, count: int
) -> None:
    workspace = await add_workspace(database)
    account = await add_account_with_credentials(database, workspace)
    new_values = {"identifier": "alice.test", "password": "new"}
    write = database.write_all_workspaces

    async def write_after_another_process(work: Callable[[Any], Awaitable[Any]]) -> Any:
        monkeypatch.undo()
        await add_credentials(database, workspace, account, new_values, cipher=cipher_of_other)
        return await write(work)

    monkeypatch.setattr(database, "write_all_workspaces", write_after_another_process)

    result = await rotate_secrets(database, ROTATING, NOW)

    assert result == Rotation(count, [], is_complete=True, other_key_count=0)
    assert await stored_values(database, workspace, account, cipher=OTHER_CIPHER) == new_values


async def test_credentials_that_are_set_during_a_rotation_stay(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account_with_credentials(database, workspace)
    rows = await list_encrypted_rows(
        database.all_workspaces, CREDENTIALS, except_key=None, after=None, limit=9
    )
    new_values = {"identifier": "alice.test", "password": "new"}
    await add_credentials(database, workspace, account, new_values)
    stale = OTHER_CIPHER.encrypt_data(b"{}", "")

    replaced = await database.write_all_workspaces(
        lambda session: replace_encrypted_rows(session, CREDENTIALS, [(rows[0], stale)])
    )

    assert replaced == 0
    assert await stored_values(database, workspace, account) == new_values


async def test_rotation_reads_all_batches(database: Database) -> None:
    workspace = await add_workspace(database)
    for _ in range(201):
        await add_account_with_credentials(database, workspace)

    result = await rotate_secrets(database, ROTATING, NOW)

    assert result == Rotation(201, [], is_complete=True, other_key_count=0)


async def test_rotation_needs_a_key(database: Database) -> None:
    with pytest.raises(SettingsError, match="SECRETS_KEY is not set: it must have the new key"):
        await rotate_secrets(database, NO_CIPHER, NOW)


async def test_credentials_are_not_discarded_without_a_key(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account_with_credentials(database, workspace)

    with pytest.raises(SettingsError, match="SECRETS_KEY is not set: it must have the new key"):
        await discard_unreadable_credentials(database, NO_CIPHER, NOW)
    assert await stored_values(database, workspace, account) == VALUES


async def test_unreadable_rows_are_named_and_stay_unchanged(database: Database) -> None:
    workspace = await add_workspace(database, name="Acme")
    lost = await add_account_with_credentials(database, workspace, OTHER_CIPHER)
    await add_account_with_credentials(database, workspace)
    destination = await add_destination(database, workspace, lost)
    await add_checkpoint(database, workspace, destination, CHECKPOINT, cipher=OTHER_CIPHER)
    unreadable = [
        UnreadableSecret("Acme", f"destination {destination}", missing(NEW_ID)),
        UnreadableSecret("Acme", f"account {lost}", missing(NEW_ID)),
    ]

    assert await find_unreadable(database, CIPHER, NOW) == unreadable
    result = await rotate_secrets(database, CIPHER, NOW)

    assert (result.count, result.unreadable) == (0, unreadable)
    assert await stored_values(database, workspace, lost, cipher=OTHER_CIPHER) == VALUES


async def test_lost_key_makes_accounts_need_reconnection(database: Database) -> None:
    workspace = await add_workspace(database, name="Acme")
    lost = await add_account_with_credentials(database, workspace)
    kept = await add_account_with_credentials(database, workspace, OTHER_CIPHER)
    destination = await add_destination(database, workspace, lost)
    await add_checkpoint(database, workspace, destination, CHECKPOINT)

    assert await discard_unreadable_credentials(database, OTHER_CIPHER, NOW) == 1

    assert await find_unreadable(database, OTHER_CIPHER, NOW) == [
        UnreadableSecret("Acme", f"destination {destination}", missing(OLD_ID))
    ]
    reader = database.reader(workspace)
    assert await find_credentials(reader, lost) is None
    accounts = await load_accounts(reader, [lost, kept])
    assert [accounts[each].needs_reconnection_since for each in (lost, kept)] == [NOW, None]
    assert await stored_events(database) == [
        StoredEvent(1, "account.changed", "discardCredentials", lost, {"needs_reconnection_since"})
    ]


@pytest.mark.parametrize("is_hpke", [False, True])
async def test_credentials_that_a_running_worker_can_decrypt_are_not_discarded(
    database: Database, *, is_hpke: bool
) -> None:
    """The command has another key, as in a shell without the settings of the service."""
    workspace = await add_workspace(database)
    cipher = SecretCipher([KEY], [HPKE_KEY] if is_hpke else [])
    account = await add_account(database, workspace, platform=PLATFORM)
    await add_account_with_credentials(database, workspace, LOST_CIPHER)
    if is_hpke:
        await add_hpke_credentials(database, workspace, account)
    else:
        await add_credentials(database, workspace, account)
    await record_keys(database, cipher, NOW)
    before = await all_rows(database)

    with pytest.raises(SettingsError) as raised:
        await discard_unreadable_credentials(database, OTHER_CIPHER, NOW + KEY_GRACE - TICK)

    assert str(raised.value) == (
        "Nothing was deleted: running workers can decrypt 1 of these credentials (keys:"
        f" {HPKE_KEY_ID if is_hpke else OLD_ID}). Run the command with the SECRETS_KEY and CREDENTIALS_KEY of"
        " the workers."
    )
    assert await all_rows(database) == before


async def test_credentials_of_stopped_workers_are_discarded(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account_with_credentials(database, workspace)
    await record_keys(database, CIPHER, NOW)

    assert await discard_unreadable_credentials(database, OTHER_CIPHER, NOW + KEY_GRACE) == 1

    assert await find_credentials(database.reader(workspace), account) is None


async def test_credentials_in_the_hpke_format_are_discarded_only_with_another_hpke_key(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform=PLATFORM)
    await add_hpke_credentials(database, workspace, account)
    await add_account_with_credentials(database, workspace, LOST_CIPHER)
    before = await all_rows(database)

    with pytest.raises(SettingsError) as raised:
        await discard_unreadable_credentials(database, CIPHER, NOW)

    assert str(raised.value) == (
        "Nothing was deleted: CREDENTIALS_KEY, which is not set, encrypts 1 of these credentials. Set it. If"
        " it is lost, set the credentials again with setAccountCredentials, or disconnect the accounts."
    )
    assert await all_rows(database) == before
    with_other_key = SecretCipher([KEY], [OTHER_HPKE_KEY])
    assert await discard_unreadable_credentials(database, with_other_key, NOW) == 2


@pytest.mark.parametrize(
    ("state", "age", "has_check", "is_pruned"),
    [
        (failed(), 8 * DAY, False, True),
        (queued(), 8 * DAY, False, True),
        (failed(), 6 * DAY, False, False),
        (unknown(), 8 * DAY, False, False),
        (published(NOW - 2 * DAY), 2 * DAY, False, True),
        (published(NOW - 2 * DAY), 2 * DAY, True, False),
        (published(NOW - DAY + TICK), 2 * DAY, False, False),
        (published(NOW - DAY), 8 * DAY, True, False),
        (published(NOW - DAY), 8 * DAY, False, True),
    ],
)
async def test_checkpoints_that_no_attempt_lookup_or_check_needs_are_pruned(
    database: Database,
    state: DestinationState,
    age: timedelta,
    *,
    has_check: bool,
    is_pruned: bool,
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: state})
    destination = post.destinations[0]
    await add_checkpoint(database, workspace, destination, CHECKPOINT, saved_at=NOW - age)
    if has_check:
        check = PendingCheck(workspace, destination, post.id, account, NOW, NOW, attempts=0)
        await database.write(workspace, partial(add_check, check=check))

    await prune_checkpoints(database, NOW)

    stored = await find_checkpoint(database.reader(workspace), destination)
    assert (stored is None) == is_pruned
