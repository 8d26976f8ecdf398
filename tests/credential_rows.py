"""Encrypted credentials of accounts and checkpoints, and the objects by which a worker reads them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from app.db.core.database import Database
from app.db.repositories.checkpoints import save_checkpoint
from app.db.repositories.credentials import (
    PendingVerification,
    find_credentials,
    set_credentials,
    settle_verification,
)
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.ids import AccountId, DestinationId, WorkspaceId
from app.services.credential_files import CredentialFiles
from app.services.publishing_secrets import PublishingSecrets
from app.services.secret_cipher import (
    SecretCipher,
    checkpoint_row_name,
    credential_row_name,
    new_secrets_key,
)
from app.settings import Settings, read_settings
from tests.clients import Tenant, app_client
from tests.factories import NOW, add_api_key, add_workspace

KEY, OTHER_KEY = new_secrets_key(), new_secrets_key()
CIPHER, OTHER_CIPHER, NO_CIPHER = SecretCipher([KEY]), SecretCipher([OTHER_KEY]), SecretCipher([])
PLATFORM = "bluesky"
VALUES = {"identifier": "alice.test", "password": "abcd-efgh-ijkl-mnop"}


SERVER_SETTINGS = read_settings({"RATE_LIMIT": "off", "WEBHOOKS": "no", "SECRETS_KEY": KEY})
"""Settings of a server that stores credentials."""


@asynccontextmanager
async def open_credentials_tenant(
    database: Database, settings: Settings = SERVER_SETTINGS
) -> AsyncIterator[Tenant]:
    """An empty workspace, and a client whose key may also set credentials."""
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, scopes=(*DEFAULT_SCOPES, Scope.CREDENTIALS))
    async with app_client(database, token=key.token, settings=settings) as client:
        yield Tenant(database, workspace, client)


async def add_credentials(
    database: Database,
    workspace: WorkspaceId,
    account: AccountId,
    values: Mapping[str, object] = VALUES,
    *,
    cipher: SecretCipher = CIPHER,
    platform: str = PLATFORM,
    set_at: datetime = NOW,
    is_verified: bool = True,
) -> None:
    """Store credentials; verified ones are those of a worker's verification."""
    row_name = credential_row_name(workspace, account, platform)
    data = cipher.encrypt_data(json.dumps(values).encode(), row_name)
    await database.write(
        workspace,
        lambda session: set_credentials(session, account, data, set_at, is_verified=False),
    )
    if is_verified:
        pending = PendingVerification(workspace, account, set_at, verify_attempts=0)
        await database.write(
            workspace,
            lambda session: settle_verification(
                session, pending, verified_at=set_at, verify_at=None, error=None
            ),
        )


async def add_checkpoint(
    database: Database,
    workspace: WorkspaceId,
    destination: DestinationId,
    value: Mapping[str, object],
    *,
    cipher: SecretCipher = CIPHER,
    saved_at: datetime = NOW,
) -> None:
    data = cipher.encrypt_data(
        json.dumps(value).encode(), checkpoint_row_name(workspace, destination)
    )
    await database.write(
        workspace, lambda session: save_checkpoint(session, destination, data, saved_at)
    )


async def stored_values(
    database: Database,
    workspace: WorkspaceId,
    account: AccountId,
    *,
    cipher: SecretCipher = CIPHER,
    platform: str = PLATFORM,
) -> dict[str, Any]:
    """Decrypt the stored credentials of an account."""
    stored = await find_credentials(database.reader(workspace), account)
    assert stored is not None
    values: dict[str, Any] = json.loads(
        cipher.decrypt_data(stored.data, credential_row_name(workspace, account, platform))
    )
    return values


class StoppedClock:
    """A clock that only the test moves forward; a sleep lets other tasks run."""

    def __init__(self) -> None:
        self.now = NOW
        self.on_sleep: Callable[[], object] = lambda: None

    async def sleep(self, _seconds: float) -> None:
        self.on_sleep()
        await asyncio.sleep(0.001)


def publishing_secrets(
    database: Database,
    *,
    cipher: SecretCipher = CIPHER,
    directory: Path | None = None,
    clock: StoppedClock | None = None,
) -> PublishingSecrets:
    clock = clock or StoppedClock()
    return PublishingSecrets(
        database=database,
        cipher=cipher,
        files=CredentialFiles(directory),
        clock=lambda: clock.now,
        sleep=clock.sleep,
    )
