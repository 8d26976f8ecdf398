"""Counts secrets that a process, or all running workers, cannot decrypt, and describes them in sentences."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db.core.database import Database
from app.db.core.statements import AnyRow
from app.db.repositories.accounts import has_sandbox_accounts
from app.db.repositories.checkpoints import (
    accounts_waiting_with_keys,
    checkpoint_key_ids,
    count_waiting_with_keys,
)
from app.db.repositories.encrypted_rows import CHECKPOINTS, CREDENTIALS, count_rows_by_key
from app.db.repositories.webhooks import list_webhook_secrets
from app.db.repositories.worker_keys import (
    count_accounts_without_worker,
    record_worker_keys,
    worker_key_times,
)
from app.domain.credentials import (
    KEY_GRACE,
    UnreadableSecretCounts,
    is_hpke_key,
    is_unreadable_by_workers,
)
from app.domain.ids import AccountId, WorkspaceId
from app.domain.times import FIRST_INSTANT
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
class RowCounts:
    """Numbers of encrypted rows."""

    accounts: int
    """Accounts with credentials."""
    checkpoints: int

    def __bool__(self) -> bool:
        return self.accounts + self.checkpoints > 0

    @property
    def phrases(self) -> list[str]:
        """Phrases that name what is encrypted."""
        return [
            *_phrase("credentials", self.accounts, "account"),
            *_phrase("checkpoints", self.checkpoints, "destination"),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretCounts:
    """Numbers of webhooks, accounts and checkpoints by the keys that their secrets need."""

    has_key: bool
    """False if SECRETS_KEY is not set."""
    has_hpke_key: bool
    """False if CREDENTIALS_KEY is not set."""
    unreadable_webhooks: int
    """Webhooks whose current secret the process cannot decrypt; previous secrets do not count."""
    readable_webhooks: int
    readable_accounts: int
    """Accounts whose credentials the process can decrypt, with those of `readable_hpke`."""
    unreadable: RowCounts
    """Rows of another SECRETS_KEY."""
    unreadable_hpke: RowCounts
    """Rows of a CREDENTIALS_KEY that the process lacks or ignores."""
    readable_hpke: RowCounts
    """Rows of a CREDENTIALS_KEY that the process has."""

    @property
    def problems(self) -> list[str]:
        """Sentences about what the process cannot decrypt."""
        return [*filter(None, (self.secrets_key_problem, self._credentials_key_problem))]

    @property
    def secrets_key_problem(self) -> str | None:
        """Sentences about secrets that need another SECRETS_KEY; None without any."""
        secrets = [
            *_phrase("secrets", self.unreadable_webhooks, "webhook"),
            *self.unreadable.phrases,
        ]
        if not secrets:
            return None
        what = f"this process cannot decrypt {_join(secrets)}."
        if not self.has_key:
            return f"SECRETS_KEY is not set: {what} Set it to their key, and restart."
        return (
            f"SECRETS_KEY lacks a key: {what} Add their key, and restart;"
            " `post-results secrets check` lists what is affected."
        )

    @property
    def _credentials_key_problem(self) -> str | None:
        """Sentences about rows that need another CREDENTIALS_KEY; None without any."""
        if not self.unreadable_hpke:
            return None
        what = f"this process cannot decrypt {_join(self.unreadable_hpke.phrases)}."
        if not self.has_hpke_key:
            return f"CREDENTIALS_KEY is not set: {what} Set it to their key, beside SECRETS_KEY, and restart."
        if not self.has_key:
            return (
                f"CREDENTIALS_KEY is ignored, because SECRETS_KEY is not set: {what} Run `post-results"
                " secrets new-key`, set SECRETS_KEY to the key, and restart."
            )
        return (
            f"CREDENTIALS_KEY lacks a key: {what} Add their key, and restart; `post-results secrets check`"
            " lists what is affected."
        )

    @property
    def rotation_reminder(self) -> str | None:
        """Sentence about rows that have to be encrypted with SECRETS_KEY; None without any."""
        if not self.readable_hpke:
            return None
        return (
            "CREDENTIALS_KEY, which the next version does not read, encrypts"
            f" {_join(self.readable_hpke.phrases)}: run `post-results secrets rotate` with CREDENTIALS_KEY"
            " and SECRETS_KEY."
        )

    def hpke_settings_problem(self, settings: Settings) -> str | None:
        """Sentence about HPKE_KEY_VARIABLES that can be removed, now or after a rotation; None otherwise."""
        if settings.hpke_key_variables and not (self.readable_hpke or self.unreadable_hpke):
            return f"Nothing needs {' and '.join(settings.hpke_key_variables)} any more: remove the setting."
        return self.rotation_reminder


def _phrase(noun: str, count: int, owner: str) -> list[str]:
    """Return a phrase about the secrets of owners; none without any."""
    return [f"the {noun} of {count} {owner}{'s' * (count != 1)}"] if count else []


def _join(phrases: Sequence[str]) -> str:
    """Join phrases by commas, and the last one by "and"."""
    *first, last = phrases
    return f"{', '.join(first)} and {last}" if first else last


async def key_warnings(database: Database, settings: Settings) -> list[str]:
    """Return sentences about missing keys, and about HPKE_KEY_VARIABLES, for a start."""
    counts = await count_secrets(database, load_cipher(settings))
    return [*counts.problems, *filter(None, [counts.hpke_settings_problem(settings)])]


async def count_secrets(database: Database, cipher: SecretCipher) -> SecretCounts:
    """Count webhooks by whether the keys decrypt their secret, and other rows by the key that they name."""
    webhooks = await list_webhook_secrets(database.all_workspaces)
    # In a thread, because an installation may have many.
    unreadable_webhooks = await asyncio.to_thread(_count_undecryptable_webhooks, cipher, webhooks)
    accounts = await count_rows_by_key(database.all_workspaces, CREDENTIALS)
    checkpoints = await count_rows_by_key(database.all_workspaces, CHECKPOINTS)

    def count_rows(*, is_hpke: bool, is_readable: bool) -> RowCounts:
        return RowCounts(
            *(
                sum(
                    count
                    for key_id, count in counts.items()
                    if is_hpke_key(key_id) is is_hpke and (key_id in cipher.key_ids) is is_readable
                )
                for counts in (accounts, checkpoints)
            )
        )

    return SecretCounts(
        has_key=cipher.key_id is not None,
        has_hpke_key=cipher.has_hpke_keys,
        unreadable_webhooks=unreadable_webhooks,
        readable_webhooks=len(webhooks) - unreadable_webhooks,
        readable_accounts=sum(
            count for key_id, count in accounts.items() if key_id in cipher.key_ids
        ),
        unreadable=count_rows(is_hpke=False, is_readable=False),
        unreadable_hpke=count_rows(is_hpke=True, is_readable=False),
        readable_hpke=count_rows(is_hpke=True, is_readable=True),
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
        [*counts.problems, *filter(None, [counts.rotation_reminder])],
        counts.unreadable_webhooks,
        await count_accounts_without_worker(database.all_workspaces, now - KEY_GRACE),
        await _count_waiting_checkpoints(database, now),
    )


async def _count_waiting_checkpoints(database: Database, now: datetime) -> int:
    key_ids = await _checkpoint_keys_without_worker(database, now)
    if not key_ids:
        return 0
    return await count_waiting_with_keys(database.all_workspaces, key_ids, now - KEY_GRACE)


async def accounts_with_unreadable_checkpoints(
    database: Database, workspace_id: WorkspaceId, ids: Sequence[AccountId], now: datetime
) -> Set[AccountId]:
    """Return those of the accounts with posts that wait, because no running worker has a checkpoint's key.

    A checkpoint counts KEY_GRACE after it was saved.
    """
    key_ids = await _checkpoint_keys_without_worker(database, now)
    if not key_ids:
        return frozenset()
    reader = database.reader(workspace_id)
    return await accounts_waiting_with_keys(reader, ids, key_ids, now - KEY_GRACE)


async def _checkpoint_keys_without_worker(database: Database, now: datetime) -> list[str]:
    """Return the keys of checkpoints that no worker has had for KEY_GRACE."""
    key_ids = await checkpoint_key_ids(database.all_workspaces)
    times = await worker_key_times(database.all_workspaces) if key_ids else {}
    return [
        each for each in key_ids if is_unreadable_by_workers(FIRST_INSTANT, times.get(each), now)
    ]


async def record_keys(database: Database, cipher: SecretCipher, now: datetime) -> None:
    """Store that a worker with these keys is running."""
    await database.write_all_workspaces(
        lambda session: record_worker_keys(session, cipher.key_ids, now)
    )


async def require_readable_webhooks(database: Database, settings: Settings) -> None:
    """Raise SettingsError if a worker that only delivers webhooks could sign none."""
    counts = await count_secrets(database, load_cipher(settings))
    if counts.unreadable_webhooks and not counts.readable_webhooks:
        raise SettingsError(counts.secrets_key_problem)
    if not counts.has_key:
        raise SettingsError(
            "SECRETS_KEY is not set, so a worker that only delivers webhooks has nothing to do."
        )


async def require_readable_accounts(database: Database, settings: Settings, now: datetime) -> None:
    """Raise SettingsError if a worker could publish on no account, because it lacks their keys."""
    counts = await count_secrets(database, load_cipher(settings))
    is_any_unreadable = counts.unreadable.accounts or counts.unreadable_hpke.accounts
    if counts.readable_accounts or not is_any_unreadable:
        return
    if not await has_sandbox_accounts(database.all_workspaces, now):
        raise SettingsError(" ".join(counts.problems))


async def read_worker_key_times(database: Database) -> Mapping[str, datetime]:
    """Return the time at which a worker last reported to have a key, by id of the key.

    Keys belong to the installation, not to a workspace.
    """
    return await worker_key_times(database.all_workspaces)
