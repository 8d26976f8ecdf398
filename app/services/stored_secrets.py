"""All secrets that the database stores: checked, and encrypted again with another key."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from app.db.core.database import Database
from app.db.repositories.credentials import delete_credentials, find_credentials
from app.db.repositories.encrypted_rows import (
    CHECKPOINTS,
    CREDENTIALS,
    EncryptedRow,
    EncryptedTable,
    count_rows_by_key,
    list_encrypted_rows,
    replace_encrypted_rows,
)
from app.db.repositories.webhooks import (
    StoredWebhook,
    list_all_webhooks,
    load_webhook_for_update,
    update_webhooks,
)
from app.db.repositories.worker_keys import worker_key_times
from app.domain.account_commands import mark_needs_reconnection
from app.domain.credentials import KEY_GRACE, is_hpke_key
from app.domain.ids import AccountId, DestinationId, WebhookId
from app.services.accounts import get_account_for_update
from app.services.secret_cipher import (
    SecretCipher,
    SecretNotReadable,
    checkpoint_row_name,
    credential_row_name,
    webhook_row_name,
)
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction
from app.settings import SettingsError

_BATCH_SIZE = 200
"""Rows that are read, and encrypted again, together; each has about 22 KiB at most."""

_MAX_ROUNDS = 10
"""Rounds of a rotation; without processes that store secrets with an old key, few are needed."""

_TABLES = (CHECKPOINTS, CREDENTIALS)
"""Checkpoints first: a worker that has the key of rotated credentials has that of their checkpoints."""

_SECRET, _PREVIOUS_SECRET = "encrypted_secret", "encrypted_previous_secret"
_LABELS = {_SECRET: "secret", _PREVIOUS_SECRET: "previous secret"}


@dataclass(frozen=True, slots=True)
class UnreadableSecret:
    """A secret that no key decrypts."""

    workspace_name: str
    subject: str
    """Webhook, account or destination, for a person."""
    problem: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """Result of encrypting all secrets again."""

    count: int
    """Secrets that were encrypted again; the others had the first key already."""
    unreadable: Sequence[UnreadableSecret]
    """Secrets that stay unchanged, because no key decrypts them."""
    is_complete: bool
    """False if the last round still found secrets to encrypt: processes store them with another key."""
    other_key_count: int
    """Secrets without the first key afterwards."""


async def find_unreadable(
    database: Database, cipher: SecretCipher, now: datetime
) -> list[UnreadableSecret]:
    """Return every secret of a webhook, credentials and checkpoint that the keys do not decrypt.

    Expired previous secrets of webhooks are ignored: they sign nothing.
    """
    unreadable = []
    for found in await list_all_webhooks(database.all_workspaces):
        row_name = webhook_row_name(found.workspace_id, found.webhook.endpoint.id)
        for name, encrypted in _unexpired_secrets(found.webhook, now):
            try:
                cipher.decrypt(encrypted, row_name)
            except SecretNotReadable as error:
                unreadable.append(
                    _unreadable_webhook(found.workspace_name, found.webhook, name, error)
                )
    for table in _TABLES:
        async for rows in _list_batches(database, table, except_key=None):
            unreadable += [secret for _, secret in _decrypt_rows(cipher, rows).unreadable]
    return unreadable


async def count_secrets_of_other_keys(
    database: Database, cipher: SecretCipher, now: datetime
) -> int:
    """Count the secrets that the first key has not encrypted; without keys, all secrets.

    Expired previous secrets of webhooks do not count.
    """
    webhooks = await list_all_webhooks(database.all_workspaces)
    count = sum(_count_secrets_of_other_keys(cipher, each.webhook, now) for each in webhooks)
    # Credentials first: a checkpoint gets a key that the credentials of its account have at that time.
    for table in (CREDENTIALS, CHECKPOINTS):
        numbers = await count_rows_by_key(database.all_workspaces, table)
        count += sum(number for key_id, number in numbers.items() if key_id != cipher.key_id)
    return count


async def rotate_secrets(database: Database, cipher: SecretCipher, now: datetime) -> Rotation:
    """Encrypt all secrets with the first key. May be repeated, and run while other processes change them.

    Repeats a round over all secrets until one finds nothing to encrypt, because other processes may have
    stored something with an older key after the round had read its table. Each transaction encrypts one
    webhook or some rows, so that a run after a killed one goes on with the others. What no key decrypts stays
    unchanged: another process may have its key. Raises SettingsError without keys.
    """
    key_id = _require_key_id(cipher)
    count = 0
    for _ in range(_MAX_ROUNDS):
        steps = [
            await _rotate_webhooks(database, cipher, now),
            *[await _rotate_table(database, cipher, key_id, table) for table in _TABLES],
        ]
        last = _sum_steps(steps)
        count += last.replaced
        if not last.found:
            break
    return Rotation(
        count,
        last.unreadable,
        is_complete=not last.found,
        other_key_count=await count_secrets_of_other_keys(database, cipher, now),
    )


async def discard_unreadable_credentials(
    database: Database, cipher: SecretCipher, now: datetime
) -> int:
    """Delete the credentials that no key decrypts, and return how many. Their accounts need reconnection.

    Checkpoints stay, because publishing without them could publish a post twice. Raises SettingsError, and
    deletes nothing, without keys, and if it would delete what a running worker or CREDENTIALS_KEY decrypts.
    """
    key_id = _require_key_id(cipher)
    await _require_lost_keys(database, cipher, now)
    count = 0
    async for rows in _list_batches(database, CREDENTIALS, except_key=key_id):
        for row, _ in _decrypt_rows(cipher, rows).unreadable:
            count += await _discard_credentials(database, row, now)
    return count


async def _require_lost_keys(database: Database, cipher: SecretCipher, now: datetime) -> None:
    """Raise SettingsError if credentials whose key the cipher lacks have one that is not lost."""
    numbers = await count_rows_by_key(database.all_workspaces, CREDENTIALS)
    seen_at = await worker_key_times(database.all_workspaces)
    lacking = numbers.keys() - cipher.key_ids
    in_use = {each for each in lacking if each in seen_at and seen_at[each] > now - KEY_GRACE}
    if in_use:
        count = sum(numbers[each] for each in in_use)
        raise SettingsError(
            f"Nothing was deleted: running workers can decrypt {count} of these credentials (keys:"
            f" {', '.join(sorted(in_use))}). Run the command with the SECRETS_KEY and CREDENTIALS_KEY of the"
            " workers."
        )
    hpke_count = sum(numbers[each] for each in lacking if is_hpke_key(each))
    if hpke_count and not any(map(is_hpke_key, cipher.key_ids)):
        raise SettingsError(
            f"Nothing was deleted: CREDENTIALS_KEY, which is not set, encrypts {hpke_count} of these"
            " credentials. Set it. If it is lost, set the credentials again with setAccountCredentials, or"
            " disconnect the accounts."
        )


def _require_key_id(cipher: SecretCipher) -> str:
    """Return the id of the key that encrypts; raises SettingsError without one."""
    if cipher.key_id is None:
        raise SettingsError("SECRETS_KEY is not set: it must have the new key, then the old.")
    return cipher.key_id


class _RotationStep(NamedTuple):
    """Result of encrypting some or all secrets once."""

    found: int
    """Secrets of other keys that could be decrypted."""
    replaced: int
    """Those of them that were encrypted again; other processes have changed the others meanwhile."""
    unreadable: Sequence[UnreadableSecret]


def _sum_steps(steps: Sequence[_RotationStep]) -> _RotationStep:
    return _RotationStep(
        sum(each.found for each in steps),
        sum(each.replaced for each in steps),
        [secret for each in steps for secret in each.unreadable],
    )


async def _rotate_webhooks(
    database: Database, cipher: SecretCipher, now: datetime
) -> _RotationStep:
    """Encrypt the secrets of the webhooks with other keys, each webhook in a transaction of its own."""
    steps = []
    for found in await list_all_webhooks(database.all_workspaces):
        has_expired = found.webhook.encrypted_previous_secret is not None and (
            found.webhook.unexpired_previous_secret(now) is None
        )
        if has_expired or _count_secrets_of_other_keys(cipher, found.webhook, now):
            write_context = WriteContext.without_actor(found.workspace_id, "rotateSecretsKey", now)
            work = partial(_rotate_webhook, cipher, found.workspace_name, found.webhook.endpoint.id)
            steps.append(await run_in_transaction(database, write_context, work))
    return _sum_steps(steps)


async def _rotate_webhook(
    cipher: SecretCipher, workspace_name: str, webhook_id: WebhookId, uow: UnitOfWork
) -> _RotationStep:
    """Encrypt the secrets of a webhook, and remove an expired previous one."""
    webhook = await load_webhook_for_update(uow.reader, webhook_id)
    if webhook is None:  # deleted meanwhile
        return _RotationStep(0, 0, [])
    workspace_id, now = uow.write_context.workspace_id, uow.write_context.now
    row_name = webhook_row_name(workspace_id, webhook_id)
    secrets = dict(_unexpired_secrets(webhook, now))
    unreadable = []
    for name, encrypted in secrets.items():
        try:
            secrets[name] = cipher.reencrypt(encrypted, row_name)
        except SecretNotReadable as error:
            unreadable.append(_unreadable_webhook(workspace_name, webhook, name, error))
    has_previous = _PREVIOUS_SECRET in secrets
    rotated = replace(
        webhook,
        encrypted_secret=secrets[_SECRET],
        encrypted_previous_secret=secrets.get(_PREVIOUS_SECRET),
        previous_secret_expires_at=webhook.previous_secret_expires_at if has_previous else None,
    )
    if rotated != webhook:
        await update_webhooks(uow.session, [rotated])
    count = sum(getattr(webhook, name) != encrypted for name, encrypted in secrets.items())
    return _RotationStep(count, count, unreadable)


async def _rotate_table(
    database: Database, cipher: SecretCipher, key_id: str, table: EncryptedTable
) -> _RotationStep:
    """Encrypt the rows of a table that have another key."""
    steps = []
    async for rows in _list_batches(database, table, except_key=key_id):
        readable, unreadable = _decrypt_rows(cipher, rows)
        encrypted = [(row, cipher.encrypt_data(data, _row_name(row))) for row, data in readable]
        replaced = 0
        if encrypted:
            replaced = await database.write_all_workspaces(
                partial(replace_encrypted_rows, table=table, rows=encrypted)
            )
        steps.append(_RotationStep(len(readable), replaced, [secret for _, secret in unreadable]))
    return _sum_steps(steps)


async def _discard_credentials(database: Database, row: EncryptedRow, now: datetime) -> bool:
    """Delete the credentials of a row, and mark its account; return False if they were changed meanwhile."""
    account_id = AccountId(int(row.id))
    write_context = WriteContext.without_actor(row.workspace_id, "discardCredentials", now)

    async def work(uow: UnitOfWork) -> bool:
        account = await get_account_for_update(uow, account_id)
        stored = await find_credentials(uow.reader, account_id)
        if stored is None or stored.data != row.data:
            return False
        await delete_credentials(uow.session, account_id)
        await uow.save_accounts([mark_needs_reconnection(account, write_context.now, now)])
        return True

    return await run_in_transaction(database, write_context, work)


async def _list_batches(
    database: Database, table: EncryptedTable, *, except_key: str | None
) -> AsyncIterator[list[EncryptedRow]]:
    """Yield the rows of all workspaces in batches, except those of a key if it is not None."""
    last: EncryptedRow | None = None
    while rows := await list_encrypted_rows(
        database.all_workspaces, table, except_key=except_key, after=last, limit=_BATCH_SIZE
    ):
        yield rows
        last = rows[-1]


class _DecryptedRows(NamedTuple):
    """Encrypted rows by whether the keys decrypt them."""

    readable: list[tuple[EncryptedRow, bytes]]
    """Rows with their decrypted data."""
    unreadable: list[tuple[EncryptedRow, UnreadableSecret]]


def _decrypt_rows(cipher: SecretCipher, rows: Sequence[EncryptedRow]) -> _DecryptedRows:
    decrypted = _DecryptedRows([], [])
    for row in rows:
        try:
            decrypted.readable.append((row, cipher.decrypt_data(row.data, _row_name(row))))
        except SecretNotReadable as error:
            subject = f"{'destination' if isinstance(row.id, UUID) else 'account'} {row.id}"
            secret = UnreadableSecret(row.workspace_name, subject, str(error))
            decrypted.unreadable.append((row, secret))
    return decrypted


def _row_name(row: EncryptedRow) -> str:
    if isinstance(row.id, UUID):
        return checkpoint_row_name(row.workspace_id, DestinationId(row.id))
    return credential_row_name(row.workspace_id, AccountId(row.id), row.platform)


def _unexpired_secrets(webhook: StoredWebhook, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the fields of the secrets that sign, with the encrypted secrets."""
    yield _SECRET, webhook.encrypted_secret
    previous = webhook.unexpired_previous_secret(now)
    if previous is not None:
        yield _PREVIOUS_SECRET, previous


def _count_secrets_of_other_keys(
    cipher: SecretCipher, webhook: StoredWebhook, now: datetime
) -> int:
    """Count the secrets of a webhook that sign, and that the first key has not encrypted."""
    return sum(
        not cipher.has_first_key(encrypted) for _, encrypted in _unexpired_secrets(webhook, now)
    )


def _unreadable_webhook(
    workspace_name: str, webhook: StoredWebhook, field: str, error: SecretNotReadable
) -> UnreadableSecret:
    name = f" ({webhook.endpoint.name})" if webhook.endpoint.name else ""
    subject = f"webhook {webhook.endpoint.id}{name}"
    return UnreadableSecret(workspace_name, subject, f"{_LABELS[field]}: {error}")
