"""Secrets that a process, or all running workers, cannot decrypt: counted, and described for the operator."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db.core.database import Database
from app.db.core.statements import AnyRow
from app.db.repositories.accounts import has_sandbox_accounts
from app.db.repositories.encrypted_rows import CHECKPOINTS, CREDENTIALS, count_rows_by_key
from app.db.repositories.webhooks import list_webhook_secrets
from app.db.repositories.worker_keys import (
    count_accounts_without_worker,
    record_worker_keys,
    worker_key_times,
)
from app.domain.credentials import KEY_GRACE, UnreadableSecrets, is_hpke_key
from app.services.secret_cipher import (
    SecretCipher,
    SecretNotReadable,
    load_cipher,
    webhook_row_name,
)
from app.settings import Settings, SettingsError

RECORD_INTERVAL = timedelta(seconds=20)
"""Interval at which a worker reports that it has its keys."""


@dataclass(frozen=True, slots=True)
class MissingKeys:
    """Numbers of secrets by what a process can decrypt."""

    has_key: bool
    """False if SECRETS_KEY is not set."""
    unreadable_webhooks: int
    readable_webhooks: int
    unreadable_accounts: int
    """Accounts with credentials of another SECRETS_KEY."""
    readable_accounts: int
    hpke_accounts: int
    """Accounts with credentials of a CREDENTIALS_KEY, which the process may have."""
    hpke_checkpoints: int

    @property
    def problem(self) -> str | None:
        """Sentences about SECRETS_KEY for the operator; None if the process decrypts all of its secrets."""
        secrets = [
            f"the {noun} of {count} {owner}{'s' * (count != 1)}"
            for noun, count, owner in (
                ("secrets", self.unreadable_webhooks, "webhook"),
                ("credentials", self.unreadable_accounts, "account"),
            )
            if count
        ]
        if not secrets:
            return None
        what = f"this process cannot decrypt {' and '.join(secrets)}."
        if not self.has_key:
            return f"SECRETS_KEY is not set: {what} Set it to their key, and restart."
        return (
            f"SECRETS_KEY lacks a key: {what} Add their key, and restart;"
            " `post-results secrets check` names them."
        )

    def hpke_settings_problem(self, settings: Settings) -> str | None:
        """Sentence about HPKE_KEY_VARIABLES; None if none is set and nothing in the HPKE format is left."""
        numbers = (("account", self.hpke_accounts), ("checkpoint", self.hpke_checkpoints))
        left = [f"{count} {noun}{'s' * (count != 1)}" for noun, count in numbers if count]
        if left:
            return (
                f"CREDENTIALS_KEY, which the next version does not read, encrypts {' and '.join(left)}: run"
                " `post-results secrets rotate` with CREDENTIALS_KEY and SECRETS_KEY."
            )
        if settings.hpke_key_variables:
            return f"Nothing needs {' and '.join(settings.hpke_key_variables)} any more: remove the setting."
        return None


async def key_warnings(database: Database, settings: Settings) -> list[str]:
    """Return sentences about missing keys, and about HPKE_KEY_VARIABLES, for a start."""
    missing = await find_missing_keys(database, load_cipher(settings))
    return [*filter(None, (missing.problem, missing.hpke_settings_problem(settings)))]


async def find_missing_keys(database: Database, cipher: SecretCipher) -> MissingKeys:
    """Count the secrets of all workspaces that a process with these keys can, and cannot, decrypt."""
    webhooks = await list_webhook_secrets(database.all_workspaces)
    # In a thread, because an installation may have many.
    unreadable_webhooks = await asyncio.to_thread(_count_unreadable, cipher, webhooks)
    accounts = await count_rows_by_key(database.all_workspaces, CREDENTIALS)
    checkpoints = await count_rows_by_key(database.all_workspaces, CHECKPOINTS)
    return MissingKeys(
        has_key=cipher.key_id is not None,
        unreadable_webhooks=unreadable_webhooks,
        readable_webhooks=len(webhooks) - unreadable_webhooks,
        unreadable_accounts=sum(
            count
            for key_id, count in accounts.items()
            if key_id not in cipher.key_ids and not is_hpke_key(key_id)
        ),
        readable_accounts=sum(
            count for key_id, count in accounts.items() if key_id in cipher.key_ids
        ),
        hpke_accounts=sum(count for key_id, count in accounts.items() if is_hpke_key(key_id)),
        hpke_checkpoints=sum(count for key_id, count in checkpoints.items() if is_hpke_key(key_id)),
    )


def _count_unreadable(cipher: SecretCipher, webhooks: Sequence[AnyRow]) -> int:
    count = 0
    for webhook in webhooks:
        try:
            cipher.decrypt(
                webhook.encrypted_secret, webhook_row_name(webhook.workspace_id, webhook.id)
            )
        except SecretNotReadable:
            count += 1
    return count


async def count_unreadable(
    database: Database, cipher: SecretCipher, now: datetime
) -> UnreadableSecrets:
    """Count what a server process, and all running workers for at least KEY_GRACE, cannot decrypt."""
    missing = await find_missing_keys(database, cipher)
    return UnreadableSecrets(
        missing.problem,
        missing.unreadable_webhooks,
        await count_accounts_without_worker(database.all_workspaces, now - KEY_GRACE),
    )


async def record_keys(database: Database, cipher: SecretCipher, now: datetime) -> None:
    """Store that a worker with these keys is running."""
    await database.write_all_workspaces(
        lambda session: record_worker_keys(session, cipher.key_ids, now)
    )


async def require_readable_webhooks(database: Database, settings: Settings) -> None:
    """Raise SettingsError if a worker that only delivers webhooks could sign none."""
    missing = await find_missing_keys(database, load_cipher(settings))
    if missing.unreadable_webhooks and not missing.readable_webhooks:
        raise SettingsError(missing.problem)
    if not missing.has_key:
        raise SettingsError(
            "SECRETS_KEY is not set, so a worker that only delivers webhooks has nothing to do."
        )


async def require_readable_accounts(database: Database, settings: Settings) -> None:
    """Raise SettingsError if a worker could publish on no account, because it lacks their keys."""
    missing = await find_missing_keys(database, load_cipher(settings))
    is_any_unreadable = missing.unreadable_accounts or missing.hpke_accounts
    if missing.readable_accounts or not is_any_unreadable:
        return
    if not await has_sandbox_accounts(database.all_workspaces):
        problems = (missing.problem, missing.hpke_settings_problem(settings))
        raise SettingsError(" ".join(filter(None, problems)))


async def read_worker_key_times(database: Database) -> Mapping[str, datetime]:
    """Return the time at which a worker last reported to have a key, by id of the key.

    Keys belong to the installation, not to a workspace.
    """
    return await worker_key_times(database.all_workspaces)
