"""Stored secrets of webhooks: which of them no key decrypts, and what is encrypted with another key."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.db.repositories.webhooks import update_webhooks
from app.domain.ids import WebhookId
from app.services.secret_cipher import SecretCipher, new_secrets_key, webhook_row_name
from app.services.stored_secrets import (
    Rotation,
    UnreadableSecret,
    find_unreadable,
    rotate_secrets,
)
from app.services.webhook_deliveries import decrypted_secrets
from tests.factories import NOW, add_workspace
from tests.services.webhook_calls import TenantWithoutServer
from tests.webhook_events import stored_webhook
from tests.webhook_rows import SECRET, add_webhook

LOST_KEY, OLD_KEY, NEW_KEY = (new_secrets_key() for _ in range(3))
LOST, OLD, NEW = SecretCipher([LOST_KEY]), SecretCipher([OLD_KEY]), SecretCipher([NEW_KEY])
BOTH = SecretCipher([NEW_KEY, OLD_KEY])
PREVIOUS_SECRET = SECRET.replace("AAEC", "BBEC")
HOUR = timedelta(hours=1)


@pytest.fixture
async def acme(database: Database) -> TenantWithoutServer:
    return TenantWithoutServer(database, await add_workspace(database, name="Acme"))


async def add_previous_secret(
    acme: TenantWithoutServer, webhook_id: WebhookId, cipher: SecretCipher, expires_in: timedelta
) -> None:
    stored = await stored_webhook(acme.database, acme.workspace, webhook_id)
    row_name = webhook_row_name(acme.workspace, webhook_id)
    changed = replace(
        stored,
        encrypted_previous_secret=cipher.encrypt(PREVIOUS_SECRET, row_name),
        previous_secret_expires_at=NOW + expires_in,
    )
    await acme.database.write(acme.workspace, lambda session: update_webhooks(session, [changed]))


async def secrets_that_sign(
    acme: TenantWithoutServer, webhook_id: WebhookId, cipher: SecretCipher
) -> list[str]:
    stored = await stored_webhook(acme.database, acme.workspace, webhook_id)
    return decrypted_secrets(cipher, acme.workspace, stored, NOW)


async def test_unreadable_secrets_are_named_and_all_others_encrypted_again(
    acme: TenantWithoutServer,
) -> None:
    zeta = TenantWithoutServer(acme.database, await add_workspace(acme.database, name="Zeta"))
    lost = await add_webhook(acme.database, acme.workspace, cipher=LOST, name="CRM")
    readable = await add_webhook(acme.database, acme.workspace, cipher=OLD)
    other_lost = await add_webhook(acme.database, zeta.workspace, cipher=LOST)
    other_readable = await add_webhook(acme.database, zeta.workspace, cipher=OLD)
    await add_previous_secret(acme, readable, OLD, HOUR)
    lost_before = await stored_webhook(acme.database, acme.workspace, lost)
    problem = "secret: no key of SECRETS_KEY decrypts it"
    unreadable = [
        UnreadableSecret("Acme", f"webhook {lost} (CRM)", problem),
        UnreadableSecret("Zeta", f"webhook {other_lost}", problem),
    ]

    assert await find_unreadable(acme.database, BOTH, NOW) == unreadable
    assert await rotate_secrets(acme.database, BOTH, NOW) == Rotation(
        3, unreadable, is_complete=True, other_key_count=2
    )

    assert await secrets_that_sign(acme, readable, NEW) == [SECRET, PREVIOUS_SECRET]
    assert await secrets_that_sign(zeta, other_readable, NEW) == [SECRET]
    assert await stored_webhook(acme.database, acme.workspace, lost) == lost_before


@pytest.mark.parametrize(
    ("cipher", "expires_in"),
    [
        pytest.param(OLD, timedelta(), id="readable"),
        pytest.param(LOST, -HOUR, id="unreadable"),
    ],
)
async def test_expired_previous_secret_is_removed(
    acme: TenantWithoutServer, cipher: SecretCipher, expires_in: timedelta
) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace, cipher=OLD)
    await add_previous_secret(acme, webhook_id, cipher, expires_in)

    assert await rotate_secrets(acme.database, BOTH, NOW) == Rotation(
        1, [], is_complete=True, other_key_count=0
    )

    stored = await stored_webhook(acme.database, acme.workspace, webhook_id)
    assert (stored.encrypted_previous_secret, stored.previous_secret_expires_at) == (None, None)
    assert await secrets_that_sign(acme, webhook_id, NEW) == [SECRET]


async def test_unreadable_previous_secret_stays_until_it_expires(acme: TenantWithoutServer) -> None:
    """Another process may have its key, and receivers still verify with it."""
    webhook_id = await add_webhook(acme.database, acme.workspace, cipher=OLD)
    await add_previous_secret(acme, webhook_id, LOST, HOUR)
    before = await stored_webhook(acme.database, acme.workspace, webhook_id)

    problem = "previous secret: no key of SECRETS_KEY decrypts it"
    unreadable = [UnreadableSecret("Acme", f"webhook {webhook_id}", problem)]
    assert await rotate_secrets(acme.database, BOTH, NOW) == Rotation(
        1, unreadable, is_complete=True, other_key_count=1
    )

    after = await stored_webhook(acme.database, acme.workspace, webhook_id)
    assert replace(after, encrypted_secret=before.encrypted_secret) == before
    assert await secrets_that_sign(acme, webhook_id, NEW) == [SECRET]
    assert await secrets_that_sign(acme, webhook_id, SecretCipher([NEW_KEY, LOST_KEY])) == [
        SECRET,
        PREVIOUS_SECRET,
    ]


async def test_unreadable_previous_secret_is_found_until_it_expires(
    acme: TenantWithoutServer,
) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace, cipher=NEW)
    await add_previous_secret(acme, webhook_id, LOST, HOUR)

    problem = "previous secret: no key of SECRETS_KEY decrypts it"
    assert await find_unreadable(acme.database, NEW, NOW) == [
        UnreadableSecret("Acme", f"webhook {webhook_id}", problem)
    ]
    assert await find_unreadable(acme.database, NEW, NOW + HOUR) == []
