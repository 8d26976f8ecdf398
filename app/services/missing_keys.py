"""Counts secrets that a process, or all running workers, cannot decrypt, and describes them in sentences."""

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
from app.domain.credentials import KEY_GRACE, UnreadableSecretCounts, is_hpke_key
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
class SecretCounts:
    """Numbers of webhooks, accounts and checkpoints by the keys that their secrets need."""

    has_key: bool
    """False if SECRETS_KEY is not set."""
    unreadable_webhooks: int
    """Webhooks whose current secret the process cannot decrypt; previous secrets do not count."""
    readable_webhooks: int
    unreadable_accounts: int
    """Accounts with credentials of another SECRETS_KEY."""
    readable_accounts: int
    """Accounts whose credentials the process can decrypt; may include `hpke_accounts`."""
    hpke_accounts: int
    """Accounts with credentials of a CREDENTIALS_KEY, which the process may have."""
    hpke_checkpoints: int
    """Checkpoints of a CREDENTIALS_KEY, which the process may have."""

    @property
    def problem(self) -> str | None:
        """Sentences about webhook secrets and credentials that need another SECRETS_KEY; None without any."""
        secrets = [
            f"the {noun} of {_format_count(count, owner)}"
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
            " `post-results secrets check` lists the affected webhooks and accounts."
        )

    def hpke_settings_problem(self, settings: Settings) -> str | None:
        """Sentence about HPKE_KEY_VARIABLES; None if none is set and nothing in the HPKE format is left."""
        numbers = (("account", self.hpke_accounts), ("checkpoint", self.hpke_checkpoints))
        left = [_format_count(count, noun) for noun, count in numbers if count]
        if left:
            return (
                f"CREDENTIALS_KEY, which the next version does not read, encrypts {' and '.join(left)}: run"
                " `post-results secrets rotate` with CREDENTIALS_KEY and SECRETS_KEY."
            )
        if settings.hpke_key_variables:
            return f"Nothing needs {' and '.join(settings.hpke_key_variables)} any more: remove the setting."
        return None


def _format_count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


async def key_warnings(database: Database, settings: Settings) -> list[str]:
    """Return sentences about missing keys, and about HPKE_KEY_VARIABLES, for a start."""
    counts = await count_secrets(database, load_cipher(settings))
    return [*filter(None, (counts.problem, counts.hpke_settings_problem(settings)))]


async def count_secrets(database: Database, cipher: SecretCipher) -> SecretCounts:
    """Count webhooks by whether the keys decrypt their secret, and accounts by the key of their credentials.

    Checkpoints count only if CREDENTIALS_KEY encrypts them.
    """
    webhooks = await list_webhook_secrets(database.all_workspaces)
    # In a thread, because an installation may have many.
    unreadable_webhooks = await asyncio.to_thread(_count_undecryptable_webhooks, cipher, webhooks)
    accounts = await count_rows_by_key(database.all_workspaces, CREDENTIALS)
    checkpoints = await count_rows_by_key(database.all_workspaces, CHECKPOINTS)
    return SecretCounts(
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


def _count_undecryptable_webhooks(cipher: SecretCipher, webhooks: Sequence[AnyRow]) -> int:
    count = 0
    for webhook in webhooks:
        try:
            cipher.decrypt(
                webhook.encrypted_secret, webhook_row_name(webhook.workspace_id, webhook.id)
            )
        except SecretNotReadable:
            count += 1
    return count


async def count_unreadable_secrets(
    database: Database, cipher: SecretCipher, now: datetime
) -> UnreadableSecretCounts:
    """Count what a server process, and all running workers for at least KEY_GRACE, cannot decrypt."""
    counts = await count_secrets(database, cipher)
    return UnreadableSecretCounts(
        counts.problem,
        counts.unreadable_webhooks,
        await count_accounts_without_worker(database.all_workspaces, now - KEY_GRACE),
    )


async def record_keys(database: Database, cipher: SecretCipher, now: datetime) -> None:
    """Store that a worker with these keys is running."""
    await database.write_all_workspaces(
        lambda session: record_worker_keys(session, cipher.key_ids, now)
    )


async def require_readable_webhooks(database: Database, settings: Settings) -> None:
    """Raise SettingsError if a worker that only delivers webhooks could sign none."""
    counts = await count_secrets(database, load_cipher(settings))
    if counts.unreadable_webhooks and not counts.readable_webhooks:
        raise SettingsError(counts.problem)
    if not counts.has_key:
        raise SettingsError(
            "SECRETS_KEY is not set, so a worker that only delivers webhooks has nothing to do."
        )


async def require_readable_accounts(database: Database, settings: Settings, now: datetime) -> None:
    """Raise SettingsError if a worker could publish on no account, because it lacks their keys."""
    counts = await count_secrets(database, load_cipher(settings))
    is_any_unreadable = counts.unreadable_accounts or counts.hpke_accounts
    if counts.readable_accounts or not is_any_unreadable:
        return
    if not await has_sandbox_accounts(database.all_workspaces, now):
        problems = (counts.problem, counts.hpke_settings_problem(settings))
        raise SettingsError(" ".join(filter(None, problems)))


async def read_worker_key_times(database: Database) -> Mapping[str, datetime]:
    """Return the time at which a worker last reported to have a key, by id of the key.

    Keys belong to the installation, not to a workspace.
    """
    return await worker_key_times(database.all_workspaces)
