"""All secrets that the database stores: checked, and encrypted again with another key."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from app.db.core.database import Database
from app.db.repositories.webhooks import (
    StoredWebhook,
    list_all_webhooks,
    load_webhook_for_update,
    update_webhooks,
)
from app.domain.ids import WebhookId, WorkspaceId
from app.services.secret_cipher import SecretCipher, SecretNotReadable
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction
from app.services.webhook_deliveries import secret_row


@dataclass(frozen=True, slots=True)
class UnreadableSecret:
    """A secret that the keys do not decrypt."""

    workspace_id: WorkspaceId
    webhook_id: WebhookId
    problem: str


async def find_unreadable(database: Database, cipher: SecretCipher) -> list[UnreadableSecret]:
    """Return the webhooks of all workspaces with a secret that the keys do not decrypt."""
    unreadable = []
    for workspace_id, webhook in await list_all_webhooks(database.all_workspaces):
        webhook_id = webhook.endpoint.id
        try:
            for encrypted in _encrypted_secrets(webhook):
                cipher.decrypt(encrypted, secret_row(workspace_id, webhook_id))
        except SecretNotReadable as error:
            unreadable.append(UnreadableSecret(workspace_id, webhook_id, str(error)))
    return unreadable


async def reencrypt_secrets(database: Database, cipher: SecretCipher, now: datetime) -> int:
    """Encrypt the secrets of all workspaces with the first key; return the number of webhooks.

    Raises SecretNotReadable at the first secret that the keys do not decrypt.
    """
    webhooks = await list_all_webhooks(database.all_workspaces)
    for workspace_id, webhook in webhooks:
        write_context = WriteContext(
            workspace_id=workspace_id, actor=None, operation="rotateSecretsKey", now=now
        )
        work = partial(_reencrypt, cipher, webhook.endpoint.id)
        await run_in_transaction(database, write_context, work)
    return len(webhooks)


async def _reencrypt(cipher: SecretCipher, webhook_id: WebhookId, uow: UnitOfWork) -> None:
    webhook = await load_webhook_for_update(uow.reader, webhook_id)
    if webhook is None:  # deleted since it was listed
        return
    previous = webhook.encrypted_previous_secret
    reencrypted = replace(
        webhook,
        encrypted_secret=cipher.reencrypt(webhook.encrypted_secret),
        encrypted_previous_secret=None if previous is None else cipher.reencrypt(previous),
    )
    await update_webhooks(uow.session, uow.write_context.workspace_id, [reencrypted])


def _encrypted_secrets(webhook: StoredWebhook) -> Iterator[str]:
    yield webhook.encrypted_secret
    if webhook.encrypted_previous_secret is not None:
        yield webhook.encrypted_previous_secret
