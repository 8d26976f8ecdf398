"""All secrets that the database stores: checked, and encrypted again with another key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from app.db.core.database import Database
from app.db.repositories.webhooks import (
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
    """Current secrets of other webhooks, which stay unchanged."""


async def find_unreadable(
    database: Database, cipher: SecretCipher, now: datetime
) -> list[UnreadableSecret]:
    """Return every secret of a webhook that the keys do not decrypt, in all workspaces.

    Expired previous secrets are ignored: they sign nothing.
    """
    unreadable = []
    for found in await list_all_webhooks(database.all_workspaces):
        row = secret_row(found.workspace_id, found.webhook.endpoint.id)
        secrets = {
            "secret": found.webhook.encrypted_secret,
            "previous secret": found.webhook.unexpired_previous_secret(now),
        }
        for label, encrypted in secrets.items():
            if encrypted is not None:
                try:
                    cipher.decrypt(encrypted, row)
                except SecretNotReadable as error:
                    unreadable.append(_unreadable(found, f"{label}: {error}"))
    return unreadable


async def reencrypt_secrets(
    database: Database, cipher: SecretCipher, now: datetime
) -> Reencryption:
    """Encrypt the secrets of all workspaces with the first key.

    Previous secrets that have expired or that the keys do not decrypt are removed: they sign nothing.
    """
    count, unreadable = 0, []
    for found in await list_all_webhooks(database.all_workspaces):
        write_context = WriteContext(
            workspace_id=found.workspace_id, actor=None, operation="rotateSecretsKey", now=now
        )
        work = partial(_reencrypt, cipher, found.webhook.endpoint.id)
        try:
            count += await run_in_transaction(database, write_context, work)
        except SecretNotReadable as error:
            unreadable.append(_unreadable(found, f"secret: {error}"))
    return Reencryption(count, unreadable)


async def _reencrypt(cipher: SecretCipher, webhook_id: WebhookId, uow: UnitOfWork) -> int:
    """Encrypt the secrets of a webhook; return 0 if it was deleted. Raises SecretNotReadable."""
    webhook = await load_webhook_for_update(uow.reader, webhook_id)
    if webhook is None:
        return 0
    workspace_id = uow.write_context.workspace_id
    row = secret_row(workspace_id, webhook_id)
    secret = cipher.reencrypt(webhook.encrypted_secret, row)
    previous = webhook.unexpired_previous_secret(uow.write_context.now)
    if previous is not None:
        try:
            previous = cipher.reencrypt(previous, row)
        except SecretNotReadable:
            previous = None
    reencrypted = replace(
        webhook,
        encrypted_secret=secret,
        encrypted_previous_secret=previous,
        previous_secret_expires_at=None if previous is None else webhook.previous_secret_expires_at,
    )
    await update_webhooks(uow.session, workspace_id, [reencrypted])
    return 1


def _unreadable(found: WebhookOfWorkspace, problem: str) -> UnreadableSecret:
    endpoint = found.webhook.endpoint
    return UnreadableSecret(endpoint.id, endpoint.name, found.workspace_name, problem)
