"""All secrets that the database stores: checked, and encrypted again with another key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from app.db.core.database import Database
from app.db.repositories.webhooks import (
    StoredWebhook,
    WebhookOfWorkspace,
    list_all_webhooks,
    load_webhook_for_update,
    update_webhooks,
)
from app.domain.ids import WebhookId
from app.services.secret_cipher import SecretCipher, SecretNotReadable
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction
from app.services.webhook_deliveries import secret_row


@dataclass(frozen=True, slots=True)
class UnreadableSecret:
    """A secret that the keys do not decrypt."""

    webhook_id: WebhookId
    webhook_name: str | None
    workspace_name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Reencryption:
    """Result of encrypting all secrets again."""

    count: int
    """Webhooks whose secrets the first key encrypts now."""
    unreadable: Sequence[UnreadableSecret]
    """Secrets of other webhooks, which stay unchanged."""


async def find_unreadable(
    database: Database, cipher: SecretCipher, now: datetime
) -> list[UnreadableSecret]:
    """Return every secret of a webhook that the keys do not decrypt, in all workspaces.

    Expired previous secrets are ignored: they sign nothing.
    """
    unreadable = []
    for found in await list_all_webhooks(database.all_workspaces):
        row = secret_row(found.workspace_id, found.webhook.endpoint.id)
        for label, encrypted in _unexpired_secrets(found.webhook, now).items():
            try:
                cipher.decrypt(encrypted, row)
            except SecretNotReadable as error:
                unreadable.append(_unreadable(found, f"{label}: {error}"))
    return unreadable


async def reencrypt_secrets(
    database: Database, cipher: SecretCipher, now: datetime
) -> Reencryption:
    """Encrypt the secrets of all workspaces with the first key, and remove expired previous secrets.

    Secrets that the keys do not decrypt stay unchanged: another process may have their key.
    """
    count = 0
    unreadable: list[UnreadableSecret] = []
    for found in await list_all_webhooks(database.all_workspaces):
        write_context = WriteContext.without_actor(found.workspace_id, "rotateSecretsKey", now)
        work = partial(_reencrypt, cipher, found.webhook.endpoint.id)
        problems = await run_in_transaction(database, write_context, work)
        count += problems == []
        unreadable += [_unreadable(found, problem) for problem in problems or ()]
    return Reencryption(count, unreadable)


async def _reencrypt(
    cipher: SecretCipher, webhook_id: WebhookId, uow: UnitOfWork
) -> list[str] | None:
    """Encrypt the secrets of a webhook, and return the problems of those that stay unchanged.

    Return None if the webhook was deleted.
    """
    webhook = await load_webhook_for_update(uow.reader, webhook_id)
    if webhook is None:
        return None
    workspace_id, now = uow.write_context.workspace_id, uow.write_context.now
    row = secret_row(workspace_id, webhook_id)
    secrets = _unexpired_secrets(webhook, now)
    problems = []
    for label, encrypted in secrets.items():
        try:
            secrets[label] = cipher.reencrypt(encrypted, row)
        except SecretNotReadable as error:
            problems.append(f"{label}: {error}")
    has_previous = _PREVIOUS_SECRET in secrets
    reencrypted = replace(
        webhook,
        encrypted_secret=secrets[_SECRET],
        encrypted_previous_secret=secrets.get(_PREVIOUS_SECRET),
        previous_secret_expires_at=webhook.previous_secret_expires_at if has_previous else None,
    )
    await update_webhooks(uow.session, [reencrypted])
    return problems


_SECRET, _PREVIOUS_SECRET = "secret", "previous secret"


def _unexpired_secrets(webhook: StoredWebhook, now: datetime) -> dict[str, str]:
    """Return the encrypted secrets that sign, by their labels."""
    secrets = {_SECRET: webhook.encrypted_secret}
    previous = webhook.unexpired_previous_secret(now)
    if previous is not None:
        secrets[_PREVIOUS_SECRET] = previous
    return secrets


def _unreadable(found: WebhookOfWorkspace, problem: str) -> UnreadableSecret:
    endpoint = found.webhook.endpoint
    return UnreadableSecret(endpoint.id, endpoint.name, found.workspace_name, problem)
